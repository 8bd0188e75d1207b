// speed.mjs: a model of several hundred megabytes on the GPU: what it takes of the page's memory, how fast its weights go from the
// browser's storage to the device, and that the page's thread is never held up. Rates are printed, not judged:
// they are the machine's.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sendFile } from '../../tools/serve.mjs';
import { expect, longestTask, openPage, runTests, startChromium, startServer, test } from './browser.mjs';

const LONG = 50; // milliseconds: what a browser calls a long task; of processor time here
const folder = mkdtempSync(join(tmpdir(), 'doppler-speed-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
execFileSync('build/doppler', ['synth', '--like', 'qwen3-0.6b', join(folder, 'model'), '--quiet']);
const server = await startServer(async (request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost');
  if (!/^\/large\/[\w.]+$/.test(pathname)) return false;
  await sendFile(request, response, join(folder, 'model', pathname.slice(7)));
  return true;
});
const context = await startChromium();
const page = await openPage(context, server);
const devtools = await context.newCDPSession(page);
const workers = []; // sessions
devtools.on('Target.attachedToTarget', ({ sessionId }) => workers.push(sessionId));
await devtools.send('Target.setAutoAttach', { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });

/** Bytes of JavaScript in the page and in its workers. */
async function heaps() {
  const asked = workers.map((sessionId) => new Promise((resolve) => {
    devtools.on('Target.receivedMessageFromTarget', (event) => event.sessionId === sessionId && resolve(JSON.parse(event.message).result?.usedSize ?? 0));
    devtools.on('Target.detachedFromTarget', (event) => event.sessionId === sessionId && resolve(0));
    devtools.send('Target.sendMessageToTarget', { sessionId, message: JSON.stringify({ id: 1, method: 'Runtime.getHeapUsage' }) }).catch(() => resolve(0));
  }));
  return { page: (await devtools.send('Runtime.getHeapUsage')).usedSize, workers: await Promise.all(asked) };
}

/** Loads a model and says what that took. */
const load = (source) => page.evaluate(async (given) => {
  let first, last, bytes;
  await globalThis.engine?.unload();
  globalThis.engine = await Doppler.load(given, { backend: 'gpu', context: 256, onProgress: ({ phase, what, total }) => {
    if (phase !== 'load' || what !== 'to the GPU') return;
    last = performance.now();
    first ??= last;
    bytes = total;
  } });
  const { memory, backend } = await engine.stats();
  return { backend, memory, bytes, rate: bytes / (last - first) / 1e6 };
}, source);

test('several hundred megabytes: below 200 MB of WebAssembly and 100 MB of JavaScript, the page never held up', async () => {
  const { longest, result: { backend, memory, bytes, rate } } = await longestTask(page, () => load('/large/'));
  const heap = await heaps(), used = heap.page + heap.workers.reduce((sum, size) => sum + size, 0);
  console.log(`     ${Math.round(bytes / 1e6)} MB, to the GPU at ${rate.toFixed(2)} GB/s; WebAssembly ${Math.round(memory.wasm / 1e6)} MB, JavaScript ${(used / 1e6).toFixed(1)} MB`);
  expect(backend === 'gpu' && bytes > 300e6 && memory.gpu > bytes, `unexpected ${JSON.stringify({ backend, bytes, memory })}`);
  expect(memory.wasm < 200e6, `${memory.wasm} bytes of WebAssembly's memory`);
  expect(heap.workers.some((size) => size > 0) && used < 100e6, `JavaScript: ${JSON.stringify(heap)} bytes`);
  expect(longest <= LONG, `a task of ${longest} ms on the page's thread, more than ${LONG}`);
});

test('the same from the browser\'s storage', async () => {
  const [{ key }] = await page.evaluate(() => Doppler.cache.list());
  const { longest, result: { memory, rate } } = await longestTask(page, () => load({ key }));
  console.log(`     to the GPU at ${rate.toFixed(2)} GB/s; the longest task of the page took ${longest.toFixed(1)} ms`);
  expect(memory.wasm < 200e6 && longest <= LONG, JSON.stringify({ memory, longest }));
});

test('the bundled model on the GPU, from an empty cache: its first token, and no long task', async () => {
  await page.evaluate(() => engine.unload());
  const fresh = await openPage(context, server);
  const { longest, result: found } = await longestTask(fresh, () => fresh.evaluate(async () => {
    for (const { key } of await Doppler.cache.list()) await Doppler.cache.evict(key);
    const start = performance.now();
    const engine = await Doppler.load('/models/storyteller/', { backend: 'gpu' });
    let first;
    const request = { messages: [{ role: 'user', content: 'Tell me a story about a brave fox.' }], max_tokens: 24, stream: true };
    for await (const { choices: [{ delta }] } of await engine.chat.completions.create(request)) if (delta.content) first ??= performance.now();
    const { last } = await engine.stats();
    await engine.unload();
    return { seconds: (first - start) / 1000, rate: last.decodeTokensPerSecond };
  }));
  console.log(`     first token after ${found.seconds.toFixed(2)} s, then ${found.rate.toFixed(1)} tokens/s with the kernels' compilation`);
  expect(found.seconds > 0 && found.rate > 0 && longest <= LONG, JSON.stringify({ ...found, longest }));
  await fresh.close();
});

await runTests().finally(() => context.close());
