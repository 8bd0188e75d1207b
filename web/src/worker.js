// worker.js: the dedicated worker that an engine of the page lives in. Messages in: {id, method, args} and {abort: id};
// out: {id, result} or {id, error}, and {id, event} while it runs.
import './core.js'; // what the modules below import in turn, so that all are fetched at once
import './device.js';
import './files.js';
import './gpu.js';
import './slab.js';
import './stage.js';
import './wasi.js';
import { convertLocal } from './convert.js';
import { fetchModel, folderUrl, isGgufUrl, sleep } from './download.js';
import { CorruptError, DopplerError, isCrash, packError } from './errors.js';
import { Service } from './service.js';
import * as store from './store.js';
import { checkStored, Verifier } from './verify.js';

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
      if (!response.ok) throw new DopplerError('not-found', `${url}: the server answers ${response.status}; put doppler.wasm of the package there, or pass its address as \`wasm\``);
      return WebAssembly.compile(await response.arrayBuffer()).catch((reason) => {
        throw new DopplerError('format', `${url}: not the engine's WebAssembly module (${reason.message}); is it doppler.wasm of the package?`);
      });
    }
  })();
  return module;
}

/** Whether other models may be removed to make room: asked, or said beforehand. */
const consentOf = ({ allowEviction }, { ask }) => (allowEviction === 'ask' ? (shortage) => ask('shortage', shortage) : () => Boolean(allowEviction));

// ---- loading ----

/** Takes a lock until the returned function is called, whose promise settles when others may have it; resolves to undefined if only
 * a free one was wanted and it is not. */
function holdLock(name, options) {
  return new Promise((resolve, reject) => {
    const over = navigator.locks.request(name, options, (lock) => (lock ? new Promise((release) => resolve(() => (release(), over))) : resolve(undefined)));
    over.catch(reject);
  });
}

/** The right to write a model; undefined if a tab writes it at this moment: then one waits as a reader. */
async function holdAlone(key, signal) {
  const name = store.lockName(key), start = performance.now();
  for (;;) {
    const release = await holdLock(name, { ifAvailable: true });
    if (release) return release;
    const { held } = await navigator.locks.query();
    if (held.some((lock) => lock.name === name && lock.mode === 'exclusive')) return undefined;
    if (performance.now() - start > store.PATIENCE) throw new DopplerError('locked', `${key}: it must be written, but a tab is using it; unload it there first`);
    await sleep(50, signal);
  }
}

const STUCK = 300000, LOOK = 30000; // milliseconds

/** The right to use a model. A tab that writes it is waited for as long as it gets on. */
async function holdShared(key, signal) {
  const stop = new AbortController(), name = store.lockName(key);
  let wrote = performance.now(), before;
  const watch = setInterval(async () => {
    const now = await store.StoredModel.open(key).then((model) => model?.stamp()).catch(() => undefined);
    if (now !== before) (before = now, wrote = performance.now());
    else if (performance.now() - wrote > STUCK) stop.abort();
  }, LOOK);
  try {
    return await holdLock(name, { mode: 'shared', signal: signal ? AbortSignal.any([signal, stop.signal]) : stop.signal });
  } catch (error) {
    if (!stop.signal.aborted || signal?.aborted) throw error;
    throw new DopplerError('locked', `${key}: another tab brings this model and has not got on for ${STUCK / 60000} minutes; close it, and load again`);
  } finally {
    clearInterval(watch);
  }
}

/** A stored model that can be used as it is; undefined if something must be loaded. fit: nor one that could not be read before. */
async function usable(key, fit = false) {
  const model = await store.StoredModel.open(key);
  return model?.about?.complete && !model.about.damaged && !(fit && model.about.unfit) && await model.isWhole() ? model : undefined;
}

/** Brings what is missing of a URL's model, unless a tab is about to. */
async function bring(key, url, request, { tell, signal, ask }) {
  const release = await holdAlone(key, signal);
  if (!release) return;
  try {
    await fetchModel(key, url, { verifier: new Verifier(wasmModule), onProgress: tell, signal, verify: request.verify, consent: consentOf(request, { ask }), disk: request.disk });
  } finally {
    release();
  }
}

async function whyNot(key) {
  const about = (await store.StoredModel.open(key))?.about;
  if (!about) return new DopplerError('not-found', `${key}: no such model in the browser's storage`);
  if (!about.complete) return new DopplerError('not-found', `${key}: only a part of it is in the browser's storage; load it from its address again`);
  if (about.damaged) return new CorruptError(`${about.name}: its bytes in the browser's storage are damaged; remove the model and convert it again`, { key });
  return new DopplerError('storage', `${about.name}: a part of it is gone from the browser's storage; load it from its address, or convert it, again`);
}

/** Takes part in the model, which stays as it is meanwhile; from a URL it is brought before if need be. */
async function hold(key, url, request, context) {
  store.needStorage();
  for (let verify = url && request.verify, anew = Boolean(url); ; verify = anew = false) {
    const release = await holdShared(key, context.signal);
    try {
      const model = verify ? undefined : await usable(key, anew);
      if (model) return { model, release };
      url ??= await originOf(key);
      if (!url) throw await whyNot(key);
    } catch (error) {
      release();
      throw error;
    }
    await release(); // else it is still in the way of the next one
    await bring(key, url, { ...request, verify }, context);
  }
}

/** Where a stored model came from, which mends one that is damaged. */
async function originOf(key) {
  const about = (await store.StoredModel.open(key))?.about;
  return about?.damaged && about.complete ? about.url : undefined;
}

/** Brings a stored model, or one from a URL, into the tree. */
async function mountCached(tree, key, url, request, context) {
  const { model, release: shared } = await hold(key, url, request, context);
  context.onRoom(model.about.room);
  const touched = model.touch(); // beside the reading
  try {
    const { folder, file, release } = await model.mount();
    tree.mount('model', folder);
    return { path: isGgufName(model.about.name) ? `/model/${model.contents()[0].filename}` : '/model',
      check: (tell, signal) => request.verify === false ? undefined : checkStored(model, file, new Verifier(wasmModule), { tell, signal }),
      damaged: () => model.suspect(),
      tookRoom: (sizes) => model.keepRoom(sizes),
      unfit: () => model.about.parts && model.about.url && model.unfit(),
      title: model.about.name,
      release: async () => {
        release();
        await touched;
        return shared();
      } };
  } catch (error) {
    await touched;
    shared();
    throw error;
  }
}

const isGgufName = (name) => /\.gguf$/i.test(name);

function mountFiles(tree, files) {
  tree.mount('model', store.mountLocal(files));
  const gguf = files.filter((f) => isGgufName(f.name)).map((f) => f.name).sort();
  return { path: gguf.length && !files.some((f) => f.name === 'manifest.json') ? `/model/${gguf[0]}` : '/model', title: files[0]?.webkitRelativePath?.split('/')[0] || files[0]?.name, release: () => {} };
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
  if (data.ping) postMessage({ pong: true });
  else if (data.abort) running.get(data.abort)?.abort();
  else serve(data);
});
