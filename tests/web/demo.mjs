// demo.mjs: the demo page as a visitor uses it. Keeps screenshots in build/test-logs/web/.
import { mkdirSync } from 'node:fs';
import { expect, runTests, startChromium, startServer, test } from './browser.mjs';
import { makeGate } from './support/gate.mjs';

const shots = 'build/test-logs/web';
mkdirSync(shots, { recursive: true });
const gate = makeGate(); // before each shard
const server = await startServer(async (request) => {
  if (/shard_/.test(request.url)) await gate.pass();
  return false;
});
const context = await startChromium();
const page = await context.newPage();
const faults = [];
await page.addInitScript(() => { // so that a test can end them
  globalThis.workers = [];
  globalThis.Worker = class extends Worker {
    constructor(...given) {
      super(...given);
      workers.push(this);
    }
  };
});
page.on('pageerror', (error) => faults.push(error.message));
page.setDefaultTimeout(240000);

test('while a model comes the page says how much has, and it can be cancelled', async () => {
  await page.setViewportSize({ width: 390, height: 780 });
  await page.goto(`${server.address_}/web/demo/`);
  await page.screenshot({ path: `${shots}/demo-phone-welcome.png` });
  gate.close(12);
  await page.click('#bundled');
  await page.waitForFunction(() => /MB of 6\.7 MB, .*\/s/.test(document.getElementById('progress-text').textContent));
  const part = Number(await page.getAttribute('#progress', 'aria-valuenow'));
  await page.screenshot({ path: `${shots}/demo-loading.png` });
  expect(part > 0 && part < 100 && await page.textContent('#status') === 'Loading Storyteller', `${part} %`);
  await page.click('#cancel');
  await page.waitForSelector('#welcome:not([hidden])');
  expect(await page.isHidden('#error'), 'the cancellation is shown as an error');
  await page.waitForFunction(() => /incomplete/.test(document.getElementById('kept-list').textContent));
  gate.open();
});

test('the bundled model loads with a click and tells a story on the GPU', async () => {
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.goto(`${server.address_}/web/demo/`);
  await page.click('#settings-open');
  await page.selectOption('#backend', 'gpu');
  await page.click('#settings button[type=submit]');
  await page.click('#bundled');
  await page.waitForSelector('#chat:not([hidden])');
  expect(/storyteller on the GPU/.test(await page.textContent('#status')), `status: ${await page.textContent('#status')}`);
  await page.click('#settings-open');
  await page.fill('#maxTokens', '20');
  await page.fill('#seed', '7');
  await page.click('#settings button[type=submit]');
  await page.fill('#prompt', 'Tell me a story about a brave fox.');
  await page.press('#prompt', 'Enter');
  await page.waitForSelector('.again');
  const text = await page.textContent('.assistant .text');
  expect(text.length > 20, `the answer is "${text}"`);
  expect(Number(await page.textContent('#s-rate')) > 0, 'the speed is not shown');
  expect(/storyteller/.test(await page.textContent('#cache')), 'the cache does not list the model');
});

test('the same seed regenerates the same answer', async () => {
  const text = await page.textContent('.assistant .text');
  await page.click('.again');
  await page.waitForFunction(() => document.querySelectorAll('.assistant').length === 1 && document.querySelector('.again'));
  expect(await page.textContent('.assistant .text') === text, 'the regenerated answer differs');
  await page.screenshot({ path: `${shots}/demo-light.png` });
});

test('an answer stops when asked to', async () => {
  await page.click('#settings-open');
  await page.fill('#maxTokens', '500');
  await page.click('#settings button[type=submit]');
  await page.fill('#prompt', 'And then?');
  await page.click('#send');
  await page.waitForFunction(() => document.querySelectorAll('.assistant .text')[1]?.textContent.length > 10);
  await page.click('#stop');
  await page.waitForFunction(() => document.querySelectorAll('.again').length === 1 && document.querySelector('#stop').hidden);
  expect(/Stopped/.test(await page.textContent('.assistant:last-child .under')), 'the answer does not say that it was stopped');
});

test('dark, and on a phone', async () => {
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.screenshot({ path: `${shots}/demo-dark.png` });
  await page.setViewportSize({ width: 390, height: 780 });
  await page.waitForTimeout(400); // the panel moves aside
  await page.screenshot({ path: `${shots}/demo-phone.png` });
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  expect(overflow <= 0, `the page is ${overflow} pixels too wide`);
  await page.click('#panel-open');
  await page.click('#panel-close');
});

test('everything that can be used has a name and a visible size', async () => {
  const nameless = await page.evaluate(() => [...document.querySelectorAll('button, input, textarea, select, [role=progressbar]')]
    .filter((e) => !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.textContent.trim() || e.labels?.length)).map((e) => e.outerHTML));
  expect(nameless.length === 0, `without a name: ${nameless}`);
});

/** Texts whose contrast with what is behind them is below WCAG's 4.5 (3 for large ones), and fields whose border is below 3. */
const pale = () => page.evaluate(() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a), 1];
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const color = rgba(getComputedStyle(e).backgroundColor);
      if (color[3] > 0.99) return color;
    }
    return [255, 255, 255, 1];
  };
  const light = ([r, g, b]) => [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4)).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
  const found = [];
  for (const e of document.body.querySelectorAll('*')) {
    const style = getComputedStyle(e);
    if (!e.checkVisibility({ visibilityProperty: true }) || e.closest('.hidden, svg')) continue;
    if ([...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) {
      const [r, g, b, a] = rgba(style.color), back = behind(e), ratio = contrast(over([r, g, b, a * Number(style.opacity)], back), back);
      const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && Number(style.fontWeight) >= 700);
      if (ratio < (large ? 3 : 4.5)) found.push(`${e.tagName} "${e.textContent.slice(0, 30)}" ${ratio.toFixed(2)}`);
    }
    if (e.matches('input:not([type=range], [type=checkbox]), textarea, select, button.quiet')) {
      const ratio = contrast(rgba(style.borderTopColor), behind(e.parentElement));
      if (ratio < 3) found.push(`the border of ${e.id || e.textContent} ${ratio.toFixed(2)}`);
    }
  }
  return found;
});

test('texts and fields stand out enough, light and dark, in the conversation, the settings and the choice of models', async () => {
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width: 1280, height: 800 });
    const found = await pale();
    await page.click('#settings-open');
    found.push(...await pale());
    await page.keyboard.press('Escape');
    await page.click('#change');
    found.push(...await pale());
    await page.screenshot({ path: `${shots}/demo-models-${colorScheme}.png` });
    await page.click('#back');
    expect(found.length === 0, `${colorScheme}: ${[...new Set(found)].join('; ')}`);
  }
});

test('the keyboard reaches everything, and shows where it is', async () => {
  await page.click('#change');
  await page.evaluate(() => document.activeElement?.blur());
  const reached = new Set();
  for (let i = 0; i < 30; i++) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => {
      const e = document.activeElement, shown = e.matches('input.hidden') ? e.nextElementSibling : e;
      return { id: e.id || e.className || e.textContent, ring: e === document.body || parseFloat(getComputedStyle(shown).outlineWidth) >= 2 };
    });
    expect(at.ring, `${at.id} has the focus and does not show it`);
    reached.add(at.id);
  }
  for (const id of ['settings-open', 'panel-open', 'theme', 'bundled', 'url', 'file', 'folder', 'keep', 'persist']) expect(reached.has(id), `${id} is not reached: ${[...reached]}`);
  await page.click('#back');
});

test('nothing moves for those who want it so', async () => {
  await page.emulateMedia({ reducedMotion: 'reduce' });
  const moving = await page.evaluate(() => [...document.querySelectorAll('*')].filter((e) => getComputedStyle(e).animationName !== 'none' || parseFloat(getComputedStyle(e).transitionDuration) > 0).map((e) => e.id));
  await page.emulateMedia({ reducedMotion: 'no-preference' });
  expect(moving.length === 0, `moving: ${moving}`);
});

test('an engine that crashes can be loaded again, and the conversation goes on', async () => {
  const answers = await page.locator('.assistant').count();
  await page.click('#settings-open');
  await page.selectOption('#backend', 'cpu');
  await page.fill('#maxTokens', '8');
  await page.click('#settings button[type=submit]');
  await page.evaluate(() => workers.forEach((worker) => worker.dispatchEvent(new ErrorEvent('error', { message: 'out of memory' }))));
  await page.fill('#prompt', 'What then?');
  await page.click('#send');
  await page.waitForSelector('#again:not([hidden])');
  await page.screenshot({ path: `${shots}/demo-crashed.png` });
  await page.click('#again');
  await page.waitForSelector('#chat:not([hidden])');
  await page.fill('#prompt', 'And now?');
  await page.click('#send');
  await page.waitForFunction((count) => document.querySelectorAll('.assistant').length === count && document.querySelector('#stop').hidden, answers + 2);
  expect((await page.textContent('.assistant:last-child .text')).length > 5, 'no answer behind the crash');
});

test('a wrong address is explained, and the page goes on', async () => {
  await page.click('#change');
  await page.fill('#url', `${server.address_}/models/nowhere/`);
  await page.click('#url-form button');
  await page.waitForSelector('#error:not([hidden])');
  expect(/404.*is the address right/.test(await page.textContent('#error p')), await page.textContent('#error p'));
  await page.waitForSelector('#welcome:not([hidden])');
  await page.screenshot({ path: `${shots}/demo-error.png` });
  expect(/storyteller on the [CG]PU/.test(await page.textContent('#status')), `the model that was there is gone: ${await page.textContent('#status')}`);
  await page.click('#back');
  expect(await page.locator('.assistant').count() > 1, 'the conversation is gone');
});

test('without a network the page opens, and a model that it has loads', async () => {
  await page.evaluate(() => navigator.serviceWorker.ready);
  await page.goto(`${server.address_}/web/demo/`); // the service worker now sees every file
  await page.waitForSelector('#kept-list li');
  await new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  });
  await page.reload();
  await page.click('#kept-list button:has-text("Load")');
  await page.waitForSelector('#chat:not([hidden])');
  await new Promise((resolve) => server.listen(new URL(server.address_).port, '127.0.0.1', resolve));
});

test('a model in the browser is listed and can be removed', async () => {
  await page.goto(`${server.address_}/web/demo/`);
  await page.waitForSelector('#kept-list li');
  await page.click('#kept-list button:has-text("Remove")');
  await page.waitForFunction(() => !document.querySelector('#kept-list li'));
});

test('no script failed', async () => {
  expect(faults.length === 0, faults.join('\n'));
});

await runTests().finally(() => context.close());
