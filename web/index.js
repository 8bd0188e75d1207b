// doppler-web: language models in the page. See docs/WEB.md; types in index.d.ts.
import { Client } from './src/client.js';
import { CorruptError, DeviceError, DopplerError, NetworkError, StorageFullError, throwIfAborted } from './src/errors.js';
import { Answer, messagesOf, refuseMissing, samplingOf } from './src/openai.js';
import { iterate } from './src/stream.js';

export { CorruptError, DeviceError, DopplerError, NetworkError, StorageFullError };
export const version = '0.1.0';

const UNLOAD_PATIENCE = 1500; // milliseconds
const BACKENDS = ['auto', 'gpu', 'cpu', 'cpu-ref'];

/** The address of a model. The pages of files on Hugging Face become the files. */
function urlOf(source) {
  let url;
  try {
    url = new URL(source, globalThis.document?.baseURI ?? globalThis.location?.href);
  } catch {
    throw new DopplerError('argument', `load: "${source}" is not an address; expected something like https://example.org/model/ or .../model.gguf`);
  }
  if (!/^(https?|blob):$/.test(url.protocol)) throw new DopplerError('argument', `load: ${url.href}: expected an address that begins with https:// or http://; for a file of the user pass the File`);
  return url.href.replace(/^(https:\/\/huggingface\.co\/[^/]+\/[^/]+)\/(?:blob|tree)\//, '$1/resolve/');
}

/** A source as the worker takes it. Relative URLs are the page's. */
function sourceOf(source) {
  const list = (value) => Array.isArray(value) || (typeof FileList !== 'undefined' && value instanceof FileList);
  if (typeof source === 'string' || source instanceof URL) return { url: urlOf(source) };
  if (source instanceof Blob) return { files: [source instanceof File ? source : new File([source], 'model.gguf')] };
  if (list(source)) return { files: [...source] };
  if (source?.kind === 'directory') return { folder: source };
  if (source?.kind === 'file') return source.getFile().then((file) => ({ files: [file] }));
  if (typeof source?.key === 'string') return { key: source.key };
  throw new DopplerError('argument', 'load: expected a URL, {key} of a cached model, a File, files, or a folder handle');
}

/** The one worker that answers questions about the cache and converts; an engine has its own. */
let helper;
function helperClient() {
  if (!helper || helper.crashed) helper = new Client();
  return helper;
}

/** Passes on what a worker tells, and answers what it asks. */
const answering = (client, onProgress, onShortage) => async (event) => {
  if (!event.ask) return onProgress?.(event);
  const value = await Promise.resolve(onShortage(event.details)).catch(() => false);
  return client.call('answer', { question: event.question, value: Boolean(value) });
};

/** Marks the site's storage: returns a function that tells whether it was cleared since. The files' own storage cannot be asked: where
 * a folder is opened during the clearing, or while a worker writes into what was cleared, Chromium's hangs for good, in all tabs of the site. */
function markStorage() {
  const MARK = 'doppler:writing';
  try {
    localStorage.setItem(MARK, '1');
  } catch {
    return () => false; // there is none, as a rule for files neither
  }
  return () => localStorage.getItem(MARK) === null;
}

async function filesOf(folder) {
  const files = [];
  for await (const entry of folder.values()) if (entry.kind === 'file') files.push(await entry.getFile());
  return files;
}

/** What files of the user are called: their folder's name, or the first one's. */
function titleOf(files) {
  const [first, ...rest] = (files[0].webkitRelativePath || files[0].name).split('/');
  return rest.length ? first : files.length > 1 && !/\.gguf$/i.test(first) ? 'model' : first.replace(/\.(gguf|safetensors|json)$/i, '');
}

function promptOf(request) {
  const { prompt } = request ?? {};
  if (typeof prompt === 'string' || (Array.isArray(prompt) && prompt.every(Number.isInteger))) return prompt;
  throw new DopplerError('argument', 'completions.create: prompt must be a text or an array of token ids');
}

/** What load may be told, before anything is begun. */
function checkOptions({ backend, budgets }) {
  if (backend !== undefined && !BACKENDS.includes(backend)) throw new DopplerError('argument', `load: backend "${backend}": expected one of ${BACKENDS.join(', ')}`);
  for (const name of ['context', 'batch', 'vram', 'ram', 'disk', 'slots']) {
    const value = budgets?.[name];
    if (value !== undefined && !(Number.isFinite(value) && value >= 0)) throw new DopplerError('argument', `load: budgets.${name}: expected a number of at least 0 (0: automatic), found ${value}`);
  }
}

export class Doppler {
  #client;
  #running = new Set(); // AbortControllers

  /** Use Doppler.load. */
  constructor(client, loaded) {
    this.#client = client;
    Object.assign(this, loaded); // model, backend, notice, device
    /** The part of OpenAI's interface that makes sense here. */
    this.chat = { completions: { create: (request) => this.#create(request, { messages: messagesOf(request), tools: request.tools, variables: request.template_variables }) } };
    this.completions = { create: (request) => this.#create(request, { prompt: promptOf(request) }) };
  }

  /**
   * Opens a model in a worker of its own.
   * @param {string|URL|File|File[]|FileList|FileSystemHandle|{key: string}} source
   */
  static async load(source, { onProgress, signal, onShortage, wasm, jspi, worker, ...options } = {}) {
    checkOptions(options);
    const given = await sourceOf(source);
    throwIfAborted(signal);
    const client = new Client({ wasm, jspi, worker });
    const request = { ...options, ...options.budgets, allowEviction: onShortage ? 'ask' : options.allowEviction };
    delete request.budgets;
    try {
      return new Doppler(client, await client.call('load', { source: given, request }, { signal, onEvent: answering(client, onProgress, onShortage), expendable: true, wasCleared: markStorage() }));
    } catch (error) {
      client.close();
      throw error;
    }
  }

  // ---- generation ----

  async #run(args, options, push, signal) {
    const stop = new AbortController();
    this.#running.add(stop);
    try {
      return await this.#client.call('generate', { ...args, request: samplingOf(options) }, { signal: signal ? AbortSignal.any([signal, stop.signal]) : stop.signal, onEvent: (event) => {
        if (event.text) push(event.text);
        else if (event.prefill) options.onPrefill?.(event.prefill);
        else if (event.compile) options.onCompile?.(event.compile);
      } });
    } finally {
      this.#running.delete(stop);
    }
  }

  /** Ends what is being written, as aborting its signal does. */
  interrupt() {
    for (const stop of this.#running) stop.abort();
  }

  /** Continues a text. An async iterator of pieces of text; `generate(...).text()` collects them. */
  generate(prompt, options = {}) {
    const args = { prompt: typeof prompt === 'string' ? prompt : [...prompt], special: options.special };
    const stream = iterate((push, signal) => this.#run(args, options, push, signal).then((stats) => options.onEnd?.(stats)), options.signal);
    stream.text = async () => {
      let text = '';
      for await (const piece of stream) text += piece;
      return text;
    };
    return stream;
  }

  #create(request, args) {
    refuseMissing(request);
    const answer = new Answer(this.model.name, { chat: Boolean(args.messages) });
    return request.stream ? this.#chunks(args, request, answer) : this.#whole(args, request, answer);
  }

  async #whole(args, request, answer) {
    let text = '';
    const stats = await this.#run(args, request, (piece) => text += piece, request.signal);
    return answer.whole(text, stats);
  }

  async* #chunks(args, request, answer) {
    let stats;
    if (answer.chat) yield answer.chunk('', { first: true });
    for await (const piece of iterate((push, signal) => this.#run(args, request, push, signal).then((s) => stats = s), request.signal)) yield answer.chunk(piece);
    yield* answer.end(stats, request.stream_options);
  }

  // ---- text ----

  tokenize(text, { special = false, signal } = {}) {
    return this.#client.call('tokenize', { text, special }, { signal });
  }
  detokenize(ids, { skipSpecial = true, signal } = {}) {
    return this.#client.call('detokenize', { ids: [...ids], skipSpecial }, { signal });
  }
  /** What the model reads for these messages. */
  template(messages, { tools, variables, signal } = {}) {
    return this.#client.call('template', { messages, tools, variables }, { signal });
  }
  /** Logits [ids.length * vocab] of a fresh session, for comparisons. */
  logits(ids, { signal } = {}) {
    return this.#client.call('logits', { ids: [...ids] }, { signal });
  }

  // ---- state ----

  stats() {
    return this.#client.call('stats');
  }

  /** What this browser and its device can do, and how much room there is. */
  capabilities() {
    return this.#client.call('capabilities');
  }

  /** Releases the model, the GPU and the worker. */
  async unload() {
    if (this.#client.crashed) return;
    // a worker may wait for ever for storage that was cleared meanwhile: its end releases the same
    const patience = new Promise((resolve) => setTimeout(resolve, UNLOAD_PATIENCE));
    await Promise.race([this.#client.call('unload').catch(() => {}), patience]);
    this.#client.close();
  }

  // ---- without an engine ----

  /** The same as engine.capabilities(), before a model is loaded. */
  static capabilities() {
    return helperClient().call('capabilities');
  }

  /** What this browser offers: {webgpu, jspi, adapter}. */
  static adapter() {
    return helperClient().call('adapter');
  }

  /**
   * A GGUF file or the files of a Hugging Face folder as an RDRR model in the browser's storage; load({key}) opens it.
   */
  static async convert(source, { onProgress, signal, onShortage, wasm, jspi, worker, ...request } = {}) {
    const { files, folder } = await sourceOf(source);
    if (!files && !folder) throw new DopplerError('argument', 'convert: expected a File, files, or a folder handle');
    const list = files ?? await filesOf(folder), sharding = ['auto', 'fixed', 'layer', 'expert'].indexOf(request.sharding ?? 'auto');
    if (!list.length) throw new DopplerError('argument', 'convert: no files were given');
    if (sharding < 0) throw new DopplerError('argument', `convert: unknown sharding "${request.sharding}"`);
    throwIfAborted(signal);
    const title = folder?.name ?? titleOf(list), key = (request.key ?? `${title}-converted`).replace(/[^A-Za-z0-9._-]+/g, '-');
    const wasCleared = markStorage(), client = new Client({ wasm, jspi, worker }); // its own: the cache answers meanwhile, and it may be ended
    try {
      return await client.call('convert', { files: list, title, key, request: { ...request, sharding, allowEviction: onShortage ? 'ask' : request.allowEviction } },
        { signal, onEvent: answering(client, onProgress, onShortage), expendable: true, wasCleared });
    } catch (error) {
      client.close();
      if (!wasCleared()) await helperClient().call('cacheDiscard', { key }).catch(() => {}); // what was written of it
      throw error;
    } finally {
      client.close();
    }
  }
}

/** The models in this browser's storage. */
Doppler.cache = {
  list: () => helperClient().call('cacheList'),
  evict: (key) => helperClient().call('cacheEvict', { key }),
  // asked from the page: some browsers show a question
  persist: () => navigator.storage.persist(),
  estimate: () => helperClient().call('cacheEstimate'),
};
