// worker.js: the dedicated worker that an engine of the page lives in. Messages in: {id, method, args} and {abort: id};
// out: {id, result} or {id, error}, and {id, event} while it runs. Methods that use the core run one at a time.
import { convertLocal } from './convert.js';
import { Core, hasJspi, Hasher } from './core.js';
import { fetchModel, folderUrl, isGgufUrl } from './download.js';
import { DopplerError, makeError, packError, throwIfAborted } from './errors.js';
import { FileTree } from './files.js';
import { describeAdapter } from './gpu.js';
import * as store from './store.js';

let module; // of WebAssembly, compiled once
let options = {};
const tree = new FileTree();
const state = { core: undefined, model: undefined, backend: '', notice: '', release: undefined };
const running = new Map(); // id -> AbortController
const asked = new Map();   // questions to the page: number -> resolve
let questions = 0;
let last = Promise.resolve();

/** One at a time: C has one stack. */
function exclusive(work) {
  const next = last.then(work, work);
  last = next.catch(() => {});
  return next;
}

async function wasmModule() {
  module ??= (async () => {
    const url = options.wasm ?? new URL('../doppler.wasm', import.meta.url).href;
    try {
      return await WebAssembly.compileStreaming(fetch(url));
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      const response = await fetch(url); // served with another content type
      if (!response.ok) throw new DopplerError('not-found', `${url}: the server answers ${response.status}`);
      return WebAssembly.compile(await response.arrayBuffer());
    }
  })();
  return module;
}

// ---- opening the core on a backend ----

async function newCore() {
  return Core.create(await wasmModule(), tree, { jspi: options.jspi ?? hasJspi });
}

/** A GPU that is one, or DopplerError "device". */
async function needRealGpu() {
  const { adapter: found } = await adapter();
  if (found?.software) throw makeError('device', `the only GPU here, ${found.name}, is a program on the CPU`);
}

/** Opens what was asked for; "auto" takes the GPU where there is one that C can wait for, else the CPU, and says why. */
async function openBackend(wanted, plain) {
  const core = await newCore();
  if (wanted !== 'cpu' && wanted !== 'cpu-ref') {
    try {
      if (!core.jspi) throw makeError('device', 'this browser cannot let WebAssembly wait for the GPU (no JSPI)');
      if (wanted === 'auto') await needRealGpu();
      await core.open('gpu', plain);
      return { core, backend: 'gpu', notice: '' };
    } catch (error) {
      if (wanted === 'gpu' || error.code !== 'device') throw error;
      await core.open('cpu');
      return { core, backend: 'cpu', notice: `running on the CPU: ${error.message}` };
    }
  }
  await core.open(wanted);
  return { core, backend: wanted, notice: '' };
}

async function unload() {
  const { core, release } = state;
  Object.assign(state, { core: undefined, model: undefined, release: undefined, load: undefined });
  try {
    core?.close();
  } finally {
    tree.unmount('model');
    await release?.();
  }
}

// ---- loading ----

/** Takes a lock until the returned function is called. */
function holdLock(name, mode, signal) {
  return new Promise((resolve, reject) => {
    navigator.locks.request(name, { mode, signal }, () => new Promise((release) => resolve(release))).catch(reject);
  });
}

/** Brings a stored model, or one from a URL, into the tree. */
async function mountCached(key, url, request, { tell, signal, ask }) {
  const alone = await holdLock(store.lockName(key), 'exclusive', signal);
  let model;
  try {
    model = url ? await fetchModel(key, url, { hasher: await Hasher.create(await wasmModule()), onProgress: tell, signal, verify: request.verify,
      consent: request.allowEviction === 'ask' ? (shortage) => ask('shortage', shortage) : () => Boolean(request.allowEviction) }) : await store.StoredModel.open(key);
    if (!model?.about) throw new DopplerError('not-found', `${key}: no such model in the browser's storage`);
    if (!model.about.complete) throw new DopplerError('not-found', `${key}: only a part of it is in the browser's storage; load it from its address again`);
    await model.touch();
  } finally {
    alone();
  }
  const shared = await holdLock(store.lockName(key), 'shared', signal);
  try {
    const { folder, release } = await model.mount();
    tree.mount('model', folder);
    return { path: isGgufName(model.about.name) ? `/model/${model.about.shards[0].filename}` : '/model', release: () => {
      release();
      shared();
    } };
  } catch (error) {
    shared();
    throw error;
  }
}

const isGgufName = (name) => /\.gguf$/i.test(name);

function mountFiles(files) {
  tree.mount('model', store.mountLocal(files));
  const gguf = files.filter((f) => isGgufName(f.name)).map((f) => f.name).sort();
  return { path: gguf.length && !files.some((f) => f.name === 'manifest.json') ? `/model/${gguf[0]}` : '/model', release: () => {} };
}

async function filesOf(handle, prefix = '') {
  const files = [];
  for await (const entry of handle.values()) {
    if (entry.kind === 'file') files.push(await entry.getFile());
  }
  return files;
}

async function mountSource(source, request, context) {
  if (source.url) return mountCached(store.keyOf((isGgufUrl(source.url) ? new URL(source.url, source.base) : folderUrl(source.url)).href), source.url, request, context);
  if (source.key) return mountCached(source.key, undefined, request, context);
  if (source.files) return mountFiles(source.files);
  if (source.folder) return mountFiles(await filesOf(source.folder));
  throw new DopplerError('argument', 'load: expected a URL, {key}, a File, files or a folder');
}

async function load({ source, request }, context) {
  await unload();
  const start = performance.now();
  const opening = openBackend(request.backend ?? 'auto', request.plain); // while the shards come
  opening.catch(() => {});
  let mounted;
  try {
    mounted = await mountSource(source, request, context);
    throwIfAborted(context.signal);
    Object.assign(state, await opening, { release: mounted.release });
    const onProgress = (what, done, total) => context.tell({ phase: 'load', what, done, total });
    state.model = await state.core.load(mounted.path, { onProgress, signal: context.signal });
    await state.core.session({ context: request.context ?? 0, batch: request.batch ?? batchFor(state), kv: request.kv === 'f32' ? 1 : 0 });
  } catch (error) {
    state.release ??= mounted?.release;
    const opened = await opening.catch(() => undefined);
    state.core ??= opened?.core;
    await unload();
    throw error;
  }
  state.load = { seconds: (performance.now() - start) / 1000 };
  return { model: state.model, backend: state.backend, notice: state.notice, device: state.core.describe(), load: state.load };
}

/** Tokens of a prompt per step. The CPU must come up for air; on a software GPU the kernels for many tokens take longer to
 * compile than a short prompt takes without them. */
function batchFor({ backend, core: { gpu } }) {
  if (backend !== 'gpu') return 32;
  return gpu.caps.software ? 4 : 0;
}

function core() {
  if (!state.model) throw new DopplerError('closed', 'no model is loaded');
  return state.core;
}

// ---- generation ----

async function generate({ prompt, messages, tools, variables, special, request }, { tell, signal }) {
  const c = core();
  const text = messages ? c.chat(messages, tools, variables) : prompt;
  const ids = Array.isArray(text) ? Int32Array.from(text) : c.encode(text, special ?? !messages);
  const start = performance.now();
  let first;
  const result = await c.generate(ids, request, { signal,
    onPrefill: (done, total) => tell({ prefill: { done, total } }),
    onText: (piece) => {
      first ??= performance.now() - start;
      tell({ text: piece });
    } });
  const { prefillSeconds, decodeSeconds, promptTokens, newTokens, cachedTokens, reason } = result;
  state.last = { promptTokens, newTokens, cachedTokens, prefillSeconds, decodeSeconds, reason, firstTokenSeconds: first === undefined ? undefined : first / 1000,
    prefillTokensPerSecond: prefillSeconds > 0 ? promptTokens / prefillSeconds : 0, decodeTokensPerSecond: decodeSeconds > 0 ? newTokens / decodeSeconds : 0 };
  return state.last;
}

// ---- what there is to know ----

function stats() {
  return { backend: state.backend, device: state.core?.describe() ?? '', notice: state.notice, model: state.model, jspi: state.core?.jspi ?? hasJspi,
    memory: { gpu: state.core?.gpu.bytes ?? 0, wasm: state.core?.memoryBytes() ?? 0, js: performance.memory?.usedJSHeapSize },
    adapter: state.core?.gpu.caps, load: state.load, last: state.last };
}

async function adapter() {
  const found = await navigator.gpu?.requestAdapter({ powerPreference: 'high-performance' });
  return { webgpu: Boolean(navigator.gpu), jspi: hasJspi, adapter: found ? describeAdapter(found) : null };
}

const methods = {
  setUp: (given) => {
    options = given;
    wasmModule().catch(() => {}); // begins to load; load() reports what goes wrong
  },
  load: (args, context) => exclusive(() => load(args, context)),
  unload: () => exclusive(unload),
  generate: (args, context) => exclusive(() => generate(args, context)),
  tokenize: ({ text, special }) => exclusive(() => [...core().encode(text, special)]),
  detokenize: ({ ids, skipSpecial }) => exclusive(() => core().decode(ids, skipSpecial)),
  template: ({ messages, tools, variables }) => exclusive(() => core().chat(messages, tools, variables)),
  logits: ({ ids }) => exclusive(() => core().logits(ids, state.model.vocab)),
  stats, adapter,
  cacheList: store.list,
  cacheEvict: ({ key }) => store.evict(key),
  cachePersist: () => navigator.storage.persist(),
  cacheEstimate: store.estimate,
  convert: (args, context) => exclusive(async () => convertLocal(await newCore(), tree, args, context)),
  answer: ({ question, value }) => asked.get(question)?.(value),
};

async function serve({ id, method, args }) {
  const abort = new AbortController();
  running.set(id, abort);
  const tell = (event) => postMessage({ id, event });
  const ask = (kind, details) => new Promise((resolve) => {
    asked.set(++questions, resolve);
    tell({ ask: kind, question: questions, details });
  });
  try {
    postMessage({ id, result: await methods[method](args ?? {}, { tell, ask, signal: abort.signal }) });
  } catch (error) {
    postMessage({ id, error: packError(error) });
  } finally {
    running.delete(id);
  }
}

addEventListener('message', ({ data }) => {
  if (data.abort) running.get(data.abort)?.abort();
  else serve(data);
});
