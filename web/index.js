// doppler-web: language models in the page. See docs/WEB.md; types in index.d.ts.
import { Client } from './src/client.js';
import { CorruptError, DeviceError, DopplerError, NetworkError, StorageFullError, throwIfAborted } from './src/errors.js';
import { iterate } from './src/stream.js';

export { CorruptError, DeviceError, DopplerError, NetworkError, StorageFullError };
export const version = '0.1.0';

const UNLOAD_PATIENCE = 1500; // milliseconds
const SAMPLING = { temperature: 0.7, topP: 0.95, minP: 0.05, topK: 0, repetitionPenalty: 1, repeatLast: 64 };
const FINISH = { stop: 'stop', length: 'length', context: 'length', abort: 'abort' };

/** A source as the worker takes it. Relative URLs are the page's. */
function sourceOf(source) {
  const list = (value) => Array.isArray(value) || (typeof FileList !== 'undefined' && value instanceof FileList);
  if (typeof source === 'string' || source instanceof URL) return { url: new URL(source, globalThis.document?.baseURI ?? globalThis.location?.href).href };
  if (source instanceof Blob) return { files: [source] };
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

/** Whether there is a folder for a model, seen from the page: a worker that hangs cannot tell. */
async function isStored(key) {
  const root = await navigator.storage.getDirectory();
  return root.getDirectoryHandle('doppler').then((all) => all.getDirectoryHandle(key)).then(() => true, (error) => error.name !== 'NotFoundError');
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

const snake = { topP: 'top_p', topK: 'top_k', minP: 'min_p', maxTokens: 'max_tokens', repetitionPenalty: 'repetition_penalty', repeatLast: 'repeat_last', showSpecial: 'show_special' };

/** Sampling options in either spelling, with defaults. */
function requestOf(given) {
  const request = { ...SAMPLING };
  for (const key of ['temperature', 'topP', 'topK', 'minP', 'maxTokens', 'repetitionPenalty', 'repeatLast', 'seed', 'showSpecial']) {
    const value = given[key] ?? given[snake[key]];
    if (value !== undefined && value !== null) request[key] = value;
  }
  request.maxTokens ??= given.max_completion_tokens;
  for (const [key, value] of Object.entries(request))
    if (key !== 'showSpecial' && value !== undefined && (typeof value !== 'number' || !Number.isFinite(value))) throw new DopplerError('argument', `${key}: expected a number, found ${value}`);
  request.stop = given.stop === undefined || given.stop === null ? [] : [].concat(given.stop);
  return request;
}

export class Doppler {
  #client;
  #signal;

  /** Use Doppler.load. */
  constructor(client, loaded) {
    this.#client = client;
    Object.assign(this, loaded); // model, backend, notice, device
    /** The part of OpenAI's interface that makes sense here. */
    this.chat = { completions: { create: (request) => this.#complete(request) } };
  }

  /**
   * Opens a model in a worker of its own.
   * @param {string|URL|File|File[]|FileList|FileSystemHandle|{key: string}} source
   */
  static async load(source, { onProgress, signal, onShortage, wasm, jspi, worker, ...options } = {}) {
    const given = await sourceOf(source);
    throwIfAborted(signal);
    const client = new Client({ wasm, jspi, worker });
    const request = { ...options, ...options.budgets, allowEviction: onShortage ? 'ask' : options.allowEviction };
    delete request.budgets;
    try {
      return new Doppler(client, await client.call('load', { source: given, request }, { signal, onEvent: answering(client, onProgress, onShortage), expendable: true }));
    } catch (error) {
      client.close();
      throw error;
    }
  }

  // ---- generation ----

  #run(args, options, push, signal) {
    return this.#client.call('generate', { ...args, request: requestOf(options) }, { signal, onEvent: (event) => {
      if (event.text) push(event.text);
      else if (event.prefill) options.onPrefill?.(event.prefill);
    } });
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

  #complete(request) {
    if (!Array.isArray(request?.messages)) throw new DopplerError('argument', 'chat.completions.create: messages must be an array');
    const args = { messages: request.messages, tools: request.tools, variables: request.template_variables };
    const head = { id: `chatcmpl-${crypto.randomUUID()}`, created: Math.floor(Date.now() / 1000), model: this.model.name };
    return request.stream ? this.#chunks(args, request, head) : this.#whole(args, request, head);
  }

  async #whole(args, request, head) {
    let content = '';
    const stats = await this.#run(args, request, (piece) => content += piece, request.signal);
    return { ...head, object: 'chat.completion', usage: usageOf(stats),
      choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: FINISH[stats.reason], logprobs: null }] };
  }

  async* #chunks(args, request, head) {
    const chunk = (delta, more = {}) => ({ ...head, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: null, logprobs: null }], ...more });
    let stats;
    yield chunk({ role: 'assistant', content: '' });
    for await (const piece of iterate((push, signal) => this.#run(args, request, push, signal).then((s) => stats = s), request.signal)) yield chunk({ content: piece });
    const end = chunk({});
    end.choices[0].finish_reason = FINISH[stats.reason];
    end.usage = usageOf(stats);
    yield end;
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
    const client = new Client({ wasm, jspi, worker }); // its own: the cache answers meanwhile, and it may be ended
    try {
      return await client.call('convert', { files: list, title, key, request: { ...request, sharding, allowEviction: onShortage ? 'ask' : request.allowEviction } },
        { signal, onEvent: answering(client, onProgress, onShortage), expendable: true, present: () => isStored(key) });
    } catch (error) {
      client.close();
      await helperClient().call('cacheDiscard', { key }).catch(() => {}); // what was written of it
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

function usageOf({ promptTokens, cachedTokens, newTokens, ...extra }) {
  const prompt = promptTokens + cachedTokens;
  return { prompt_tokens: prompt, completion_tokens: newTokens, total_tokens: prompt + newTokens, prompt_tokens_details: { cached_tokens: cachedTokens }, extra };
}
