// programs.mjs: the op tests, the device's tests and the golden families, compiled to WebAssembly, on WebGPU in Chromium; and on
// its CPU, with SIMD and with relaxed SIMD.
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { sendFile } from '../../tools/serve.mjs';
import { expect, openPage, runTests, startChromium, startServer, test } from './browser.mjs';

/** Files below a folder, as paths from the repository. */
const below = (folder) => readdirSync(folder).flatMap((name) => {
  const path = join(folder, name);
  return statSync(path).isDirectory() ? below(path) : [path];
});
const files = [...below('tests/data/models'), ...below('tests/data/gguf')];

const server = await startServer(async (request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost');
  const path = pathname.startsWith('/repository/') ? pathname.slice(12) : pathname === '/tests/program.js' ? 'tests/web/program.js'
    : /^\/programs\/build-[\w/-]+\.wasm$/.test(pathname) ? pathname.slice(10) : undefined;
  if (!path || path.includes('..')) return false;
  await sendFile(request, response, path);
  return true;
});
// With bounds checks in every shader SwiftShader compiles for many minutes; engine.mjs and demo.mjs run with them.
const context = await startChromium({ flags: ['--enable-dawn-features=disable_robustness,disable_workgroup_init'] });
const page = await openPage(context, server);
await page.exposeFunction('note', (line) => process.env.VERBOSE && console.log(`  ${line}`));

/** Runs a program and expects that none of its tests fails and some pass. */
async function program(name, { args = [], strict = false, folder = 'build-wasm/web' } = {}) {
  const { code, lines } = await page.evaluate((job) => new Promise((resolve) => {
    const worker = new Worker('/tests/program.js', { type: 'module' }), seen = [];
    worker.onerror = (event) => resolve({ code: 98, lines: [event.message] });
    worker.onmessage = ({ data }) => {
      if (data.line !== undefined) (seen.push(data.line), note(data.line));
      if (data.code === undefined) return;
      worker.terminate();
      resolve({ code: data.code, lines: seen });
    };
    worker.postMessage(job);
  }), { url: `/programs/${folder}/${name}.wasm`, args, strict, files });
  console.log(`     ${name}: ${lines.at(-1)}`);
  const failures = lines.filter((line) => line.startsWith('FAIL'));
  expect(code === 0 && !failures.length && /^[1-9]\d* passed, 0 failed, 0 skipped$/.test(lines.at(-1)), `${name} ended with ${code}: ${(failures.length ? failures : lines.slice(-5)).join('\n')}`);
}

test('ops on the GPU', () => program('test_gpu_ops'));
// the others open a second device, or are about WebGPU's native library
const DEVICE = ['buffer_round_trips', 'staging_wraps', 'staged_pieces', 'bad_ranges', 'too_large_and', 'reads_in_flight', 'dispatches_in_order', 'timestamps', 'dispatch_cost', 'bad_bindings'];
test('the device interface', () => program('test_gpu_device', { strict: true, args: DEVICE }));
test('the families and quantised files against transformers, on the GPU', () => program('test_gpu', { args: ['on_the_gpu'] }));
test('the families against transformers, on the CPU', () => program('test_families'));

test('relaxed SIMD: the products of the CPU, and the families against transformers', async () => {
  for (const name of ['test_matmul_fast', 'test_attention_fast', 'test_rows_fast']) await program(name, { folder: 'build-wasm-relaxed/tests' });
  await program('test_families', { folder: 'build-wasm-relaxed/web' });
});

await runTests().finally(() => context.close());
