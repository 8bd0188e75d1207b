// page_load.mjs: a model of several hundred megabytes from the browser's storage to the GPU in Chromium (SwiftShader): how fast the engine
// loads it, and what a page without the engine reaches there: reading alone, making buffers alone, sending alone, and together.
//   node bench/page_load.mjs [ROUNDS]      (build/doppler and web/doppler.wasm must be there)
// A round is one load and one of each of these: what a machine gives changes from minute to minute.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openPage, startChromium, startServer } from '../tests/web/browser.mjs';
import { sendFile } from '../tools/serve.mjs';

const rounds = Number(process.argv[2] ?? 7);
const folder = mkdtempSync(join(tmpdir(), 'doppler-load-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
execFileSync('build/doppler', ['synth', '--like', 'qwen3-0.6b', join(folder, 'model'), '--quiet']);

/** The worker of the page without the engine. Each case is prepared, and then timed until the GPU has done all of it. */
const WORKER = `
const SIZE = 4 << 20, COUNT = 96, PIECE = 1 << 19, STAGES = 8;
const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
const memory = new Uint8Array(new WebAssembly.Memory({ initial: 16 }).buffer, 0, PIECE).fill(7);
let device, handle;
async function setUp() {
  const file = await (await navigator.storage.getDirectory()).getFileHandle('raw', { create: true });
  handle = await file.createSyncAccessHandle();
  for (let at = 0; at < COUNT * SIZE; at += PIECE) handle.write(memory, { at });
  handle.flush();
  device = await (await navigator.gpu.requestAdapter()).requestDevice();
}
const room = (list, bytes) => { while (list.length < COUNT && list.length * SIZE < bytes) list.push(device.createBuffer({ size: SIZE, usage })); };
const ring = () => Array.from({ length: STAGES }, () => ({ buffer: device.createBuffer({ size: SIZE, usage: GPUBufferUsage.COPY_SRC | GPUBufferUsage.MAP_WRITE, mappedAtCreation: true }) }));
/** Through the ring; ahead: bytes of buffers that are there before they are filled, fewer and fewer. */
async function send(list, stages, ahead, reads) {
  for (let i = 0; i < COUNT; i++) {
    room(list, (i + STAGES) * SIZE + ahead * (1 - i / COUNT));
    const stage = stages.shift();
    await stage.mapped;
    const bytes = new Uint8Array(stage.buffer.getMappedRange());
    for (let at = 0; at < SIZE; at += PIECE) {
      if (reads) handle.read(memory, { at: i * SIZE + at });
      bytes.set(memory, at);
    }
    stage.buffer.unmap();
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(stage.buffer, 0, list[i], 0, SIZE);
    device.queue.submit([encoder.finish()]);
    stage.mapped = stage.buffer.mapAsync(GPUMapMode.WRITE);
    stages.push(stage);
  }
}
const cases = {
  read: () => ({ run() { for (let at = 0; at < COUNT * SIZE; at += PIECE) handle.read(memory, { at }); } }),
  make: () => ({ list: [], run({ list }) { room(list, COUNT * SIZE); } }),
  send: () => sending(COUNT * SIZE, false),
  'read and send': () => sending(COUNT * SIZE, true),
  'all, 128 MB of room ahead': () => sending(128 << 20, true),
  'all, none ahead': () => sending(0, true),
};
function sending(ahead, reads) {
  const given = { list: [], stages: ring(), run: ({ list, stages }) => send(list, stages, ahead, reads) };
  room(given.list, ahead);
  return given;
}
onmessage = async ({ data }) => {
  if (!device) await setUp();
  const given = cases[data]();
  await device.queue.onSubmittedWorkDone();
  await new Promise((resolve) => setTimeout(resolve, 100));
  const start = performance.now();
  await given.run(given);
  await device.queue.onSubmittedWorkDone();
  postMessage(COUNT * SIZE / (performance.now() - start) / 1e6);
  for (const stage of given.stages ?? []) await stage.mapped;
  for (const buffer of [...given.list ?? [], ...(given.stages ?? []).map((stage) => stage.buffer)]) buffer.destroy();
};`;

const server = await startServer(async (request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost');
  if (pathname === '/raw.js') response.writeHead(200, { 'Content-Type': 'text/javascript' }).end(WORKER);
  else if (/^\/large\/[\w.]+$/.test(pathname)) await sendFile(request, response, join(folder, 'model', pathname.slice(7)));
  else return false;
  return true;
});
const context = await startChromium(), page = await openPage(context, server);

/** Loads the model, first of all from its address. */
const load = () => page.evaluate(async () => {
  await globalThis.engine?.unload();
  const [stored] = await Doppler.cache.list(), start = performance.now();
  let first, last, bytes;
  globalThis.engine = await Doppler.load(stored ? { key: stored.key } : '/large/', { backend: 'gpu', context: 256, onProgress: ({ phase, what, total }) => {
    if (phase !== 'load' || what !== 'to the GPU') return;
    last = performance.now();
    first ??= last;
    bytes = total;
  } });
  return { rate: bytes / (last - first) / 1e6, seconds: (performance.now() - start) / 1000 };
});

const raw = (name) => page.evaluate((which) => new Promise((resolve) => {
  globalThis.raw ??= new Worker('/raw.js');
  globalThis.raw.onmessage = ({ data }) => resolve(data);
  globalThis.raw.postMessage(which);
}), name);

const told = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  return `median ${sorted[sorted.length >> 1].toFixed(2)}, ${sorted[0].toFixed(2)} to ${sorted.at(-1).toFixed(2)}`;
};
const CASES = ['read', 'make', 'send', 'read and send', 'all, 128 MB of room ahead', 'all, none ahead'];
const engine = [], alone = CASES.map(() => []);
await load();
for (let i = 0; i < rounds; i++) {
  engine.push(await load());
  await page.evaluate(() => globalThis.engine.unload());
  for (const [k, name] of CASES.entries()) alone[k].push(await raw(name));
}
console.log(`the engine, to the GPU: ${told(engine.map(({ rate }) => rate))} GB/s; the whole load: ${told(engine.map(({ seconds }) => seconds))} s`);
for (const [k, name] of CASES.entries()) console.log(`a page without it, ${name}: ${told(alone[k])} GB/s`);
await context.close();
process.exit(0);
