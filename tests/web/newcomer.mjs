// newcomer.mjs: the first hour with doppler-web: the packed package installed in an empty folder, the page of its README, a plain
// static server without byte ranges; then what one gets wrong, each answered with what, where, and what to do.
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { expect, runTests, startChromium, test } from './browser.mjs';

const folder = mkdtempSync(join(tmpdir(), 'doppler-newcomer-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const quietly = { stdio: ['ignore', 'pipe', 'ignore'], encoding: 'utf8' };
const tarball = execFileSync('npm', ['pack', '--silent', '--pack-destination', folder], { ...quietly, cwd: 'web' }).trim();
writeFileSync(join(folder, 'package.json'), '{"private": true}');
execFileSync('npm', ['install', '--offline', '--no-audit', '--no-fund', `./${tarball}`], { ...quietly, cwd: folder });
const readme = readFileSync('web/README.md', 'utf8'), block = (language) => new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``).exec(readme)[1];
writeFileSync(join(folder, 'index.html'), block('html'));
writeFileSync(join(folder, 'sw.js'), block('js'));
cpSync('models/storyteller', join(folder, 'model'), { recursive: true });
execFileSync('build/doppler', ['convert', 'models/storyteller', join(folder, 'story.gguf'), '--quiet']);
writeFileSync(join(folder, 'cut.gguf'), readFileSync(join(folder, 'story.gguf')).subarray(0, 3e6));
copyFileSync(join(folder, 'cut.gguf'), join(folder, 'mended.gguf'));
writeFileSync(join(folder, 'web.html'), '<p>Welcome');

const types = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm', '.json': 'application/json' };
const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost'), path = join(folder, pathname.endsWith('/') ? `${pathname}index.html` : pathname);
  if (pathname.startsWith('/app/')) response.writeHead(200, { 'Content-Type': 'text/html' }).end('<p>an application that answers everything');
  else if (!existsSync(path)) response.writeHead(404).end();
  else response.writeHead(200, { 'Content-Type': types[extname(path)] ?? 'application/octet-stream', 'Content-Length': statSync(path).size }).end(readFileSync(path));
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const { port } = server.address(), address = `http://localhost:${port}/`;
const context = await startChromium({ flags: ['--host-resolver-rules=MAP example.test 127.0.0.1'] });
const page = await context.newPage();
const failed = [];
page.on('pageerror', (error) => failed.push(error.message));

/** Waits for a text of the model in the README's page. */
async function story(what) {
  await page.waitForFunction(() => document.getElementById('out').textContent.length > 60, undefined, { timeout: 60000 });
  const text = await page.textContent('#out');
  expect(/^[A-Z][^%]*[a-z]/.test(text) && !/: \d+ %|address|storage/.test(text), `${what}: ${text}`);
}

test('the page of the README tells a story: of the model beside it, and of a GGUF file that is picked', async () => {
  await page.goto(address);
  await story('from the address');
  await page.setInputFiles('#file', join(folder, 'story.gguf'));
  await page.waitForFunction(() => document.getElementById('out').textContent.length < 40);
  await story('from the file');
  expect(failed.length === 0, failed.join('\n'));
});

test('it does so without a network, too', async () => {
  await page.evaluate(() => navigator.serviceWorker.ready);
  await page.reload(); // the service worker now sees the page and its scripts
  await story('once more');
  await new Promise((resolve) => (server.close(resolve), server.closeAllConnections()));
  await page.reload();
  await story('offline');
  const kept = await page.evaluate(async () => (await Promise.all((await caches.keys()).map(async (name) => (await (await caches.open(name)).keys()).map(({ url }) => url)))).flat());
  expect(!kept.some((url) => /shard_/.test(url)), 'the service worker keeps shards a second time');
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
});

/** What loading something says, in a page of an origin. */
const tell = (tab, source, options = {}) => tab.evaluate(async ([text, o]) => {
  const { Doppler } = await import('./node_modules/doppler-web/index.js');
  try {
    const engine = await Doppler.load(text instanceof Object ? new Blob([new Uint8Array(text.bytes)]) : text, { backend: 'cpu', ...o });
    await engine.unload();
    return 'ok';
  } catch (error) {
    return `${error.code}: ${error.message}`;
  }
}, [source, options]);

const MISTAKES = [ // source, options, what the message says of: what, where, what to do
  ['nowhere/', {}, /^http: \S+nowhere\/manifest\.json: the server answers 404 .*is the address right\?/],
  ['nothing.gguf', {}, /^http: \S+nothing\.gguf: the server answers 404 .*is the address right\?/],
  ['app/model/', {}, /^content-type: \S+app\/model\/manifest\.json: .*a web page .*is this the address/],
  ['app/model.gguf', {}, /^content-type: \S+app\/model\.gguf: .*a web page .*is this the address/],
  ['https://', {}, /^argument: load: "https:\/\/" is not an address; expected/],
  ['C:\\models\\a.gguf', {}, /^argument: load: .*expected an address .*pass the File/],
  ['cut.gguf', {}, /^format: cut\.gguf: .*beyond the end of cut\.gguf .*truncated\?/],
  [{ bytes: [71, 71, 85, 70] }, {}, /^format: model\.gguf: truncated/],
  ['model/', { wasm: '/nowhere.wasm' }, /^not-found: \/nowhere\.wasm: the server answers 404; put doppler\.wasm/],
  ['model/', { wasm: '/web.html' }, /^format: \/web\.html: not the engine's WebAssembly module .*doppler\.wasm/],
  ['model/', { backend: 'tpu' }, /^argument: .*"tpu": expected one of auto, gpu/],
  ['model/', { budgets: { context: -3 } }, /^argument: .*budgets\.context: expected a number of at least 0.*-3/],
  ['model/', { budgets: { context: 1e9 } }, /^context: .*1000000000 positions .*at most 1024/],
];

test('what one gets wrong is answered with what, where, and what to do', async () => {
  for (const [source, options, message] of MISTAKES) {
    const found = await tell(page, source, options);
    expect(message.test(found), `${JSON.stringify(source)} ${JSON.stringify(options)}: ${found}`);
  }
});

test('a file that was mended on the server is loaded anew', async () => {
  expect(/^format: /.test(await tell(page, 'mended.gguf')), 'half a file was loaded');
  copyFileSync(join(folder, 'story.gguf'), join(folder, 'mended.gguf'));
  expect(await tell(page, 'mended.gguf') === 'ok', 'the mended file was not');
});

test('shortage is told in numbers that people read', async () => {
  await page.goto(address);
  await story('before the shortage');
  const session = await context.newCDPSession(page), usage = await page.evaluate(() => navigator.storage.estimate().then((e) => e.usage));
  await session.send('Storage.overrideQuotaForOrigin', { origin: address.slice(0, -1), quotaSize: usage + 4e6 });
  const found = await tell(page, 'story.gguf');
  await session.send('Storage.overrideQuotaForOrigin', { origin: address.slice(0, -1) });
  expect(/^storage-full: the browser's storage is .*\d MB (short|more are needed).*; removing .* would free .*allowEviction/.test(found), found);
});

test('a page without HTTPS is told what it lacks, and still runs files', async () => {
  const tab = await context.newPage();
  await tab.goto(`http://example.test:${port}/web.html`);
  expect(/^storage: http:\/\/example\.test:\d+: browsers give storage only .*https:\/\/ or localhost.*File/.test(await tell(tab, 'model/')), await tell(tab, 'model/'));
  const text = await tab.evaluate(async () => {
    const { Doppler } = await import('./node_modules/doppler-web/index.js');
    const engine = await Doppler.load(await (await fetch('story.gguf')).blob());
    const { choices } = await engine.chat.completions.create({ messages: [{ role: 'user', content: 'Tell me a story.' }], max_tokens: 8 });
    return `${engine.notice}: ${choices[0].message.content}`;
  });
  expect(/WebGPU needs a page from https.*: \S+/.test(text), text);
  await tab.close();
});

test('a model is removed', async () => {
  const left = await page.evaluate(async () => {
    const { Doppler } = await import('./node_modules/doppler-web/index.js');
    for (const { key } of await Doppler.cache.list()) await Doppler.cache.evict(key);
    return Doppler.cache.list();
  });
  expect(left.length === 0, JSON.stringify(left));
});

await runTests().finally(() => context.close());
