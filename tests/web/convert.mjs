// convert.mjs: conversion in the page gives the same files as the tool; local files and folders run; what goes wrong with
// devices and workers is told, and loading again helps.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, openPage, runTests, startChromium, startServer, test } from './browser.mjs';
import { sendFile } from '../../tools/serve.mjs';

const server = await startServer(async (request, response) => {
  const match = /^\/data\/([A-Za-z0-9._/-]+)$/.exec(request.url);
  if (!match || match[1].includes('..')) return false;
  await sendFile(request, response, join('tests/data', match[1]));
  return true;
});
const context = await startChromium();
const page = await openPage(context, server);
const folder = mkdtempSync(join(tmpdir(), 'doppler-convert-'));
const sha256 = (data) => createHash('sha256').update(data).digest('hex');

/** The files that the tool makes: {name: sha256}. */
function byTool(input, options = []) {
  const out = join(folder, 'model');
  rmSync(out, { recursive: true, force: true });
  execFileSync('build/doppler', ['convert', input, out, '--quiet', ...options]);
  return Object.fromEntries(readdirSync(out).sort().map((name) => [name, sha256(readFileSync(join(out, name)))]));
}

/** What the page made of a model: {key, files: {name: sha256}, phases, wasmBytes}, read back from the storage. */
const convertIn = (options) => page.evaluate(async (o) => {
  const phases = new Set(), picked = document.querySelector('input[type=file]');
  const source = o.url ? new File([await (await fetch(o.url)).blob()], o.name) : picked.files;
  const { key, wasmBytes } = await Doppler.convert(source, { quantize: o.quantize, sharding: o.sharding, onProgress: (p) => phases.add(p.phase) });
  const model = await (await (await navigator.storage.getDirectory()).getDirectoryHandle('doppler')).getDirectoryHandle(key);
  const hex = async (data) => Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', data)), (b) => b.toString(16).padStart(2, '0')).join('');
  const about = JSON.parse(await (await (await model.getFileHandle('model.json')).getFile()).text());
  const shards = await (await model.getFileHandle('shards.bin')).getFile(), files = {};
  for (const s of about.shards) files[s.filename] = await hex(await shards.slice(s.offset, s.offset + s.size).arrayBuffer());
  for await (const [filename, handle] of (await model.getDirectoryHandle('files')).entries()) files[decodeURIComponent(filename)] = await hex(await (await handle.getFile()).arrayBuffer());
  return { key, wasmBytes, files: Object.fromEntries(Object.entries(files).sort()), phases: [...phases] };
}, options);
const byPage = (name, options = {}) => convertIn({ url: `/data/gguf/${name}`, name, ...options });

// ---- a checkpoint as Hugging Face publishes them: a reference model's config and names, its weights some numbers ----

const ROWS = 1 << 18; // of the vocabulary, so that the checkpoint is larger than the memory that conversion may take
const CHUNK = Uint16Array.from({ length: 1 << 20 }, (_, i) => 0x3c00 | (Math.imul(i, 2654435761) >>> 16 & 0x81ff)); // bf16 near 0.01, with signs

/** Writes one safetensors file of bf16 tensors: {name: shape}. */
function writeSafetensors(path, tensors) {
  let at = 0;
  const header = Buffer.from(JSON.stringify(Object.fromEntries(Object.entries(tensors).map(([name, shape]) => {
    const bytes = 2 * shape.reduce((a, b) => a * b, 1);
    return [name, { dtype: 'BF16', shape, data_offsets: [at, at += bytes] }];
  }))));
  const file = openSync(path, 'w'), size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(header.length));
  writeSync(file, size);
  writeSync(file, header);
  const data = Buffer.from(CHUNK.buffer);
  for (let left = at; left > 0; left -= data.length) writeSync(file, data, 0, Math.min(left, data.length));
  closeSync(file);
  return at;
}

/** @returns {string} the folder of a checkpoint in two files with an index */
function checkpoint() {
  const path = join(folder, 'published'), from = 'tests/data/models/llama';
  mkdirSync(path);
  writeFileSync(join(path, 'config.json'), JSON.stringify({ ...JSON.parse(readFileSync(join(from, 'config.json'))), vocab_size: ROWS }));
  const all = Object.entries(JSON.parse(readFileSync(join(from, 'tensors.json')))).map(([name, [, shape]]) => [name, /embed_tokens|lm_head/.test(name) ? [ROWS, shape[1]] : shape]);
  const files = { 'model-00001-of-00002.safetensors': all.slice(0, 5), 'model-00002-of-00002.safetensors': all.slice(5) }, weight_map = {};
  let total_size = 0;
  for (const [name, tensors] of Object.entries(files)) {
    total_size += writeSafetensors(join(path, name), Object.fromEntries(tensors));
    for (const [tensor] of tensors) weight_map[tensor] = name;
  }
  writeFileSync(join(path, 'model.safetensors.index.json'), JSON.stringify({ metadata: { total_size }, weight_map }));
  return path;
}
const published = checkpoint();

/** Chooses files or a folder as the user does. */
async function pick(path) {
  await page.evaluate(() => {
    document.body.innerHTML = '<input type="file" multiple webkitdirectory>';
  });
  await page.setInputFiles('input[type=file]', path);
}

test('a Hugging Face folder becomes the same model in the page as in the tool, in memory that does not grow with it', async () => {
  const expected = byTool(published);
  await pick(published);
  const found = await convertIn({});
  expect(JSON.stringify(found.files) === JSON.stringify(expected), `expected ${JSON.stringify(expected, null, 1)}, found ${JSON.stringify(found.files, null, 1)}`);
  console.log(`     ${(found.wasmBytes / 1e6).toFixed(0)} MB of WebAssembly memory for ${(4 * ROWS * 256 / 1e6).toFixed(0)} MB of weights`);
  expect(found.key === 'published-converted' && found.wasmBytes < 100e6, JSON.stringify(found));
  await page.evaluate((key) => Doppler.cache.evict(key), found.key);
});

test('a conversion that is aborted on its way ends and leaves nothing, with JSPI and without', async () => {
  await pick(published);
  for (const jspi of [true, false]) {
    const found = await page.evaluate(async (suspends) => {
      const stop = new AbortController();
      const onProgress = ({ done }) => done > 0 && stop.abort();
      const name = await Doppler.convert(document.querySelector('input').files, { quantize: 'q4_k_m', jspi: suspends, signal: stop.signal, onProgress }).then(() => 'none', (error) => error.name);
      return { name, left: (await Doppler.cache.list()).filter((m) => m.key === 'published-converted').length };
    }, jspi);
    expect(found.name === 'AbortError' && found.left === 0, `jspi ${jspi}: ${JSON.stringify(found)}`);
  }
});

test('a conversion whose storage is cleared is told, with JSPI and without', async () => {
  const devtools = await context.newCDPSession(page);
  await pick(published);
  for (const jspi of [true, false]) {
    const pending = page.evaluate((suspends) => {
      let started;
      globalThis.converting = new Promise((resolve) => started = resolve);
      const onProgress = ({ done }) => done > 0 && started();
      return Doppler.convert(document.querySelector('input').files, { quantize: 'q4_k_m', jspi: suspends, onProgress }).then(() => 'none', (error) => `${error.code}: ${error.message}`);
    }, jspi);
    await page.waitForFunction(() => globalThis.converting).then(() => page.evaluate(() => globalThis.converting));
    await devtools.send('Storage.clearDataForOrigin', { origin: server.address_, storageTypes: 'all' });
    const found = await Promise.race([pending, page.waitForTimeout(120000).then(() => 'nothing after 120 s')]);
    expect(/^(storage|crashed): .*cleared/.test(found), `jspi ${jspi}: ${found}`);
    const next = await page.evaluate(() => Doppler.load('/models/storyteller/', { backend: 'cpu' }).then((engine) => engine.unload()).then(() => 'loaded', (error) => error.message));
    expect(next === 'loaded', `jspi ${jspi}: the next load: ${next}`);
  }
});

test('a conversion for which there is no room says what is missing, and takes room with consent', async () => {
  const devtools = await context.newCDPSession(page);
  await page.evaluate(() => Doppler.load('/models/storyteller/', { backend: 'cpu' }).then((engine) => engine.unload()));
  const limit = async (room) => devtools.send('Storage.overrideQuotaForOrigin', { origin: server.address_, ...(room === undefined ? {} : { quotaSize: room + await page.evaluate(() => navigator.storage.estimate().then((e) => e.usage)) }) });
  const convert = (options) => page.evaluate(async (o) => {
    const file = new File([await (await fetch('/data/gguf/llama.Q4_K_M.gguf')).blob()], 'room.gguf'), asked = [];
    const onShortage = o.ask === undefined ? undefined : (shortage) => (asked.push(shortage), o.ask);
    return Doppler.convert(file, { onShortage }).then(({ key }) => ({ key, asked }), (error) => ({ code: error.code, details: error.details, asked }));
  }, options);
  try {
    await limit(1e6);
    const short = await convert({}), refused = await convert({ ask: false });
    expect(short.code === 'storage-full' && short.details.missing > 0 && short.details.evictable.some((m) => m.name === 'storyteller'), JSON.stringify(short));
    expect(refused.code === 'storage-full' && refused.asked.length === 1, JSON.stringify(refused));
    const oldest = short.details.evictable[0].key, taken = await convert({ ask: true });
    expect(taken.key === 'room-converted' && taken.asked[0].chosen[0] === oldest, JSON.stringify(taken));
    expect(!(await page.evaluate(() => Doppler.cache.list())).some((m) => m.key === oldest), 'the least recently used model is still there');
  } finally {
    await limit();
  }
});

for (const [name, quantize, sharding] of [['llama.Q4_K_M.gguf', 'keep', 'auto'], ['mixtral.Q4_K_M.gguf', 'q8_0', 'expert'], ['qwen3.Q4_K_M.gguf', 'f16', 'layer']]) {
  test(`${name} becomes the same ${quantize} model in the page as in the tool`, async () => {
    const expected = byTool(`tests/data/gguf/${name}`, ['--quantize', quantize, '--sharding', sharding]);
    const found = await byPage(name, { quantize, sharding });
    expect(JSON.stringify(found.files) === JSON.stringify(expected), `expected ${JSON.stringify(expected, null, 1)}, found ${JSON.stringify(found.files, null, 1)}`);
    expect(found.phases.includes('convert'), 'no progress was told');
    const logits = await page.evaluate(async (key) => {
      const engine = await Doppler.load({ key }, { backend: 'cpu' });
      const values = await engine.logits([1, 2, 3]);
      await engine.unload();
      return values.length > 0 && values.every(Number.isFinite);
    }, found.key);
    expect(logits, 'the converted model does not run');
  });
}

test('a conversion that is aborted leaves no model', async () => {
  const found = await page.evaluate(async () => {
    const before = (await Doppler.cache.list()).filter((m) => m.complete).length;
    const file = new File([await (await fetch('/data/gguf/llama.Q4_K_M.gguf')).blob()], 'cut.gguf');
    const stop = new AbortController();
    stop.abort();
    const name = await Doppler.convert(file, { signal: stop.signal }).catch((error) => error.name);
    return { name, more: (await Doppler.cache.list()).filter((m) => m.complete).length - before };
  });
  expect(found.name === 'AbortError' && found.more === 0, JSON.stringify(found));
});

test('a GGUF file from the user runs in place, on the CPU and on the GPU alike', async () => {
  const [cpu, gpu] = await page.evaluate(async () => {
    const file = new File([await (await fetch('/data/gguf/llama.Q4_K_M.gguf')).blob()], 'llama.gguf');
    const found = [];
    for (const backend of ['cpu', 'gpu']) {
      const engine = await Doppler.load(file, { backend });
      found.push(Array.from(await engine.logits([1, 5, 9, 13])));
      await engine.unload();
    }
    return found;
  });
  const error = Math.sqrt(cpu.reduce((sum, v, i) => sum + (v - gpu[i]) ** 2, 0) / cpu.reduce((sum, v) => sum + v * v, 0));
  expect(cpu.length > 0 && error < 5e-2, `relative error ${error}`);
});

test('what is no model is refused with a reason', async () => {
  const codes = await page.evaluate(async () => {
    const code = (source) => Doppler.load(source, { backend: 'cpu' }).then(() => 'none', (error) => `${error.code}: ${error.message}`);
    return [await code(new File(['GGUF and then nonsense'], 'a.gguf')), await code(new File([''], 'b.gguf')), await code([new File(['{}'], 'manifest.json')])];
  });
  expect(/^(format|unsupported)/.test(codes[0]) && /^format/.test(codes[1]) && !/^none|^internal/.test(codes[2]), codes.join('\n'));
});

test('a lost device is an error, and the next load works', async () => {
  const found = await page.evaluate(async () => {
    // the worker's device is destroyed from inside, as a crashed driver would
    const source = `import '/web/src/worker.js';
      const request = GPUAdapter.prototype.requestDevice;
      GPUAdapter.prototype.requestDevice = async function (...a) { const d = await request.apply(this, a); globalThis.device = d; return d; };
      addEventListener('message', ({ data }) => data === 'lose' && globalThis.device.destroy());`;
    let inner;
    const worker = () => inner = new Worker(URL.createObjectURL(new Blob([source.replaceAll("'/web", `'${location.origin}/web`)], { type: 'text/javascript' })), { type: 'module' });
    const engine = await Doppler.load('/models/storyteller/', { backend: 'gpu', worker });
    inner.postMessage('lose');
    const code = await engine.generate('Once upon a time', { maxTokens: 5 }).text().then(() => 'none', (error) => `${error.name} ${error.code}`);
    await engine.unload();
    const again = await Doppler.load('/models/storyteller/', { backend: 'gpu' });
    const works = await again.generate('Once', { maxTokens: 2 }).text();
    await again.unload();
    return { code, works };
  });
  expect(found.code === 'DeviceError device' && found.works.length > 0, JSON.stringify(found));
});

test('a worker that dies fails what is under way, and the next load works', async () => {
  const found = await page.evaluate(async () => {
    const source = `import '${location.origin}/web/src/worker.js'; addEventListener('message', ({ data }) => { if (data === 'die') setTimeout(() => { throw new Error('out of memory'); }); });`;
    let inner;
    const worker = () => inner = new Worker(URL.createObjectURL(new Blob([source], { type: 'text/javascript' })), { type: 'module' });
    const engine = await Doppler.load('/models/storyteller/', { backend: 'cpu', worker });
    const pending = engine.generate('Once', { maxTokens: 500 }).text().then(() => 'none', (error) => error.code);
    inner.postMessage('die');
    const codes = [await pending, await engine.tokenize('a').catch((error) => error.code)];
    const again = await Doppler.load('/models/storyteller/', { backend: 'cpu' });
    const works = await again.generate('Once', { maxTokens: 2 }).text();
    await again.unload();
    return { codes, works };
  });
  expect(JSON.stringify(found.codes) === '["crashed","crashed"]' && found.works.length > 0, JSON.stringify(found));
});

test('two engines in one page, one on the GPU, one on the CPU', async () => {
  const texts = await page.evaluate(async () => {
    const engines = await Promise.all([Doppler.load('/models/storyteller/', { backend: 'gpu' }), Doppler.load('/models/storyteller/', { backend: 'cpu' })]);
    const found = await Promise.all(engines.map((e) => e.generate('Once upon a time', { temperature: 0, maxTokens: 6 }).text()));
    await Promise.all(engines.map((e) => e.unload()));
    return found;
  });
  expect(texts[0] === texts[1] && texts[0].length > 0, JSON.stringify(texts));
});

await runTests().finally(async () => {
  await context.close();
  rmSync(folder, { recursive: true, force: true });
});
