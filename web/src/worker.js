// worker.js: the dedicated worker that an engine of the page lives in. Messages in: {id, method, args} and {abort: id};
// out: {id, result} or {id, error}, and {id, event} while it runs.
import { convertLocal } from './convert.js';
import { Hasher } from './core.js';
import { fetchModel, folderUrl, isGgufUrl } from './download.js';
import { DopplerError, isCrash, packError } from './errors.js';
import { Service } from './service.js';
import * as store from './store.js';

let module; // of WebAssembly, compiled once
let options = {};
const running = new Map(); // id -> AbortController
const asked = new Map();   // questions to the page: number -> resolve
let questions = 0;

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

/** Whether other models may be removed to make room: asked, or said beforehand. */
const consentOf = ({ allowEviction }, { ask }) => (allowEviction === 'ask' ? (shortage) => ask('shortage', shortage) : () => Boolean(allowEviction));

// ---- loading ----

/** Takes a lock until the returned function is called. */
function holdLock(name, mode, signal) {
  return new Promise((resolve, reject) => {
    navigator.locks.request(name, { mode, signal }, () => new Promise((release) => resolve(release))).catch(reject);
  });
}

/** Brings a stored model, or one from a URL, into the tree. */
async function mountCached(tree, key, url, request, { tell, signal, ask }) {
  const alone = await holdLock(store.lockName(key), 'exclusive', signal);
  let model;
  try {
    model = url ? await fetchModel(key, url, { hasher: await Hasher.create(await wasmModule()), onProgress: tell, signal, verify: request.verify,
      consent: consentOf(request, { ask }) }) : await store.StoredModel.open(key);
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

function mountFiles(tree, files) {
  tree.mount('model', store.mountLocal(files));
  const gguf = files.filter((f) => isGgufName(f.name)).map((f) => f.name).sort();
  return { path: gguf.length && !files.some((f) => f.name === 'manifest.json') ? `/model/${gguf[0]}` : '/model', release: () => {} };
}

async function filesOf(handle) {
  const files = [];
  for await (const entry of handle.values()) {
    if (entry.kind === 'file') files.push(await entry.getFile());
  }
  return files;
}

async function mountSource(tree, source, request, context) {
  if (source.url) return mountCached(tree, store.keyOf((isGgufUrl(source.url) ? new URL(source.url, source.base) : folderUrl(source.url)).href), source.url, request, context);
  if (source.key) return mountCached(tree, source.key, undefined, request, context);
  if (source.files) return mountFiles(tree, source.files);
  if (source.folder) return mountFiles(tree, await filesOf(source.folder));
  throw new DopplerError('argument', 'load: expected a URL, {key}, a File, files or a folder');
}

const service = new Service({ module: wasmModule, gpu: navigator.gpu, mount: mountSource, storage: store.estimate });

/** What the page may call besides the service's own methods. */
const methods = {
  setUp: (given) => {
    options = given;
    service.host.jspi = given.jspi;
    wasmModule().catch(() => {}); // begins to load; load() reports what goes wrong
  },
  cacheList: store.list,
  cacheEvict: ({ key }) => store.evict(key),
  cacheDiscard: ({ key }) => store.discard(key),
  cacheEstimate: store.estimate,
  convert: (args, context) => service.exclusive(async () => convertLocal(await service.newCore(), service.tree, args, { ...context, consent: consentOf(args.request, context) })),
  answer: ({ question, value }) => asked.get(question)?.(value),
};
const CALLS = new Set(['load', 'unload', 'generate', 'tokenize', 'detokenize', 'template', 'logits', 'stats', 'adapter', 'capabilities']);

async function serve({ id, method, args }) {
  const abort = new AbortController();
  running.set(id, abort);
  const tell = (event) => postMessage({ id, event });
  const ask = (kind, details) => new Promise((resolve) => {
    asked.set(++questions, resolve);
    tell({ ask: kind, question: questions, details });
  });
  const call = CALLS.has(method) ? service[method].bind(service) : methods[method];
  try {
    postMessage({ id, result: await call(args ?? {}, { tell, ask, signal: abort.signal }) });
  } catch (error) {
    if (isCrash(error)) service.abandon();
    postMessage({ id, error: packError(error) });
  } finally {
    running.delete(id);
  }
}

addEventListener('message', ({ data }) => {
  if (data.abort) running.get(data.abort)?.abort();
  else serve(data);
});
