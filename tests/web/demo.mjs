// demo.mjs: the demo page as a visitor uses it. Keeps screenshots in build/test-logs/web/.
import { mkdirSync } from 'node:fs';
import { expect, runTests, startChromium, startServer, test } from './browser.mjs';

const shots = 'build/test-logs/web';
mkdirSync(shots, { recursive: true });
const server = await startServer();
const context = await startChromium();
const page = await context.newPage();
const faults = [];
page.on('pageerror', (error) => faults.push(error.message));
page.setDefaultTimeout(240000);

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

test('a wrong address is explained, and the page goes on', async () => {
  await page.click('#change');
  await page.fill('#url', `${server.address_}/models/nowhere/`);
  await page.click('#url-form button');
  await page.waitForSelector('#error:not([hidden])');
  expect(/404/.test(await page.textContent('#error p')), await page.textContent('#error p'));
  await page.waitForSelector('#welcome:not([hidden])');
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
