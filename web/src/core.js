// core.js: the C core as an object. It starts the WebAssembly module with what src/web/web.h lends, and turns the exports into
// methods. C's stack is one: a call that is suspended must be over before the next begins, so whoever uses a Core lets
// one method run at a time (worker.js has a queue).
import { abortError, errorOfStatus, makeError } from './errors.js';
import { GpuHost, WAITING } from './gpu.js';
import { wasi } from './wasi.js';

export const BACKEND = { cpu: 1, 'cpu-ref': 2, gpu: 3 };
const TIMESTAMPS = 4, NO_F16_NO_SUBGROUPS = 3; // flags of gpu_open, as gpu_web.c makes them
const REASONS = ['stop', 'stop', 'length', 'context', 'abort'];
const REQUEST_BYTES = 56;
const BREATH = 30; // milliseconds that the worker may be deaf to its messages
const TELL = 50;   // milliseconds between two words of progress

/** Whether WebAssembly can wait for promises here. */
export const hasJspi = typeof WebAssembly.Suspending === 'function' && typeof WebAssembly.promising === 'function';

const decoder = new TextDecoder();
const channel = typeof setImmediate === 'function' ? undefined : new MessageChannel(); // Node has setImmediate
const breathing = []; // those who wait for the channel, in turn
if (channel) channel.port1.onmessage = () => breathing.shift()();
/** Lets messages that have arrived be read. */
export function breathe() {
  return new Promise((resolve) => {
    if (!channel) {
      setImmediate(resolve);
      return;
    }
    breathing.push(resolve);
    channel.port2.postMessage(0);
  });
}

export class Core {
  /**
   * @param {WebAssembly.Module | Promise<WebAssembly.Module>} module
   * @param {import('./files.js').FileTree} tree
   * @param {{jspi?: boolean, gpu?: GPU, strict?: boolean, open?: {plain?: boolean}}} [options] open: the device is wanted, and is opened
   * while the module compiles
   */
  static async create(module, tree, { jspi = hasJspi, gpu, strict, open } = {}) {
    const core = new Core();
    core.jspi = jspi && hasJspi;
    core.gpu = new GpuHost({ gpu, canWait: core.jspi, strict });
    core.hooks = {};
    core.gpu.onCompile = (done, total) => core.hooks.onCompile?.(done, total);
    core.gpu.onWait = () => core.passText();
    core.held = '';
    core.breath = performance.now();
    const memory = () => core.exports.memory.buffer;
    core.gpu.memory = memory;
    core.device = open && core.prepare(open.plain);
    core.device?.catch(() => {}); // told by open()
    const instance = await WebAssembly.instantiate(await module, { wasi_snapshot_preview1: wasi(tree, { memory }), doppler: core.imports() });
    core.exports = instance.exports;
    core.exports._initialize();
    core.waiting = core.jspi ? Object.fromEntries(['web_open', 'web_load', 'web_session', 'web_eval', 'web_begin', 'web_step', 'web_convert', 'web_inspect']
      .map((name) => [name, WebAssembly.promising(core.exports[name])])) : core.exports;
    return core;
  }

  imports() {
    const functions = { ...this.gpu.imports(),
      on_text: (pointer, size) => this.hold(this.text(pointer, size)),
      on_prefill: (done, total) => this.report('onPrefill', done, total),
      on_progress: (what, done, total) => (this.tells(what, done, total) ? this.report('onProgress', this.text(what), done, total) : this.report()) };
    if (this.jspi) for (const name of [...GpuHost.waiting, 'on_text', 'on_prefill', 'on_progress']) functions[name] = new WebAssembly.Suspending(functions[name]);
    return functions;
  }

  /** Progress is told some times a second, its first and last word always: a message for each of a thousand tensors costs more than
   * its reading. what: the text's address. */
  tells(what, done, total) {
    const now = performance.now();
    if (this.told?.what === what && done < total && now - this.told.at < TELL) return false;
    this.told = { what, at: now };
    return true;
  }

  /** Tokens that the GPU draws come some at a time: their texts are passed on together, when it is waited for again. */
  hold(text) {
    if (!this.gpu.device) return this.report('onText', text);
    this.held += text;
    return this.report();
  }

  passText() {
    const text = this.held;
    this.held = '';
    if (text) this.hooks.onText?.(text);
  }

  /** Calls a hook; where C can wait and has not for a while, messages are read. 0 asks C to stop. */
  report(name, ...values) {
    this.hooks[name]?.(...values);
    const signal = this.signal;
    if (signal?.aborted) return 0;
    if (!this.jspi || performance.now() - this.breath < BREATH) return 1;
    return breathe().then(() => {
      this.breath = performance.now();
      return signal?.aborted ? 0 : 1;
    });
  }

  // ---- memory ----

  text(pointer, size) {
    const all = new Uint8Array(this.exports.memory.buffer, pointer >>> 0);
    return decoder.decode(all.subarray(0, size ?? all.indexOf(0)));
  }

  alloc(size) {
    const pointer = this.exports.web_alloc(size) >>> 0;
    if (!pointer) throw makeError('memory', `no memory for ${size} bytes in WebAssembly`);
    return pointer;
  }

  /** Runs `use` with copies of the given texts and arrays in linear memory, which are freed behind it. */
  lend(values, use) {
    const pointers = values.map((value) => {
      const data = typeof value === 'string' ? new TextEncoder().encode(value + '\0') : new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
      const pointer = this.alloc(data.length);
      new Uint8Array(this.exports.memory.buffer, pointer, data.length).set(data);
      return pointer;
    });
    const free = () => pointers.forEach((pointer) => this.exports.web_free(pointer));
    let result;
    try {
      result = use(...pointers);
    } catch (error) {
      free();
      throw error;
    }
    if (!(result instanceof Promise)) {
      free();
      return result;
    }
    return result.finally(free);
  }

  // ---- errors ----

  failure(status) {
    if (this.signal?.aborted) return abortError();
    return errorOfStatus(status, this.text(this.exports.web_error()));
  }

  check(status) {
    if (status !== 0) throw this.failure(status);
  }

  /** For functions that return a pointer. */
  need(pointer) {
    if (!pointer) throw errorOfStatus(this.exports.web_status(), this.text(this.exports.web_error()));
    return pointer >>> 0;
  }

  async wait(name, ...values) {
    return this.waiting[name](...values);
  }

  /** The same for calls that cannot wait where there is no JSPI: they are made again once the GPU has answered, unless it was aborted. */
  async step(name, ...values) {
    for (let again = 0; ; again = 1) {
      const status = await this.wait(name, ...values, again);
      if (status !== WAITING || this.signal?.aborted) return status;
      await this.gpu.answer();
    }
  }

  /** Behind what made things on the GPU without waiting for their results. */
  async settled() {
    if (this.jspi || !this.gpu.device) return;
    const status = await this.gpu.settle();
    if (status !== 0) throw errorOfStatus(status, this.gpu.message);
  }

  // ---- engine and model ----

  prepare(plain) {
    return this.gpu.prepare(TIMESTAMPS | (plain ? NO_F16_NO_SUBGROUPS : 0));
  }

  /** @param {'gpu'|'cpu'|'cpu-ref'} backend plain: as if the GPU had neither f16 nor subgroups */
  async open(backend, plain = false) {
    if (backend === 'gpu') {
      try {
        await (this.device ?? this.prepare(plain));
      } catch (error) {
        throw makeError('device', error.message);
      }
    }
    this.check(await this.wait('web_open', BACKEND[backend], plain ? 1 : 0));
  }

  describe() {
    return this.text(this.exports.web_describe());
  }

  /** @param {{ram?: number, vram?: number, slots?: number, context?: number, batch?: number}} [options.budgets] 0: automatic */
  async load(path, { onProgress, signal, budgets = {} } = {}) {
    const given = new DataView(new ArrayBuffer(32)); // web_budgets
    ['ram', 'vram'].forEach((name, i) => given.setFloat64(8 * i, budgets[name] ?? 0, true));
    ['slots', 'context', 'batch'].forEach((name, i) => given.setInt32(16 + 4 * i, budgets[name] ?? 0, true));
    return this.during({ onProgress }, signal, async () => {
      this.check(await this.lend([path, given], (pointer, numbers) => this.wait('web_load', pointer, numbers)));
      await this.settled();
      return JSON.parse(this.text(this.need(this.exports.web_info())));
    });
  }

  /** What paging did so far; undefined where nothing is paged. */
  paging() {
    return JSON.parse(this.text(this.need(this.exports.web_paging()))) ?? undefined;
  }

  async session({ context = 0, batch = 0, kv = 0 } = {}) {
    this.check(await this.wait('web_session', context, batch, kv));
    await this.settled();
  }

  close() {
    this.exports.web_close();
  }

  /** Runs `work` with hooks and a signal in force. */
  async during(hooks, signal, work) {
    this.hooks = hooks;
    this.signal = signal;
    this.told = undefined;
    this.breath = performance.now();
    try {
      return await work();
    } finally {
      this.hooks = {};
      this.signal = undefined;
    }
  }

  // ---- text ----

  withCount(use) {
    const count = this.alloc(4);
    try {
      return use(count, () => new DataView(this.exports.memory.buffer).getUint32(count, true));
    } finally {
      this.exports.web_free(count);
    }
  }

  encode(text, special = false) {
    return this.withCount((count, length) => this.lend([text], (pointer) => {
      const ids = this.need(this.exports.web_encode(pointer, new TextEncoder().encode(text).length, special ? 1 : 0, count));
      const copy = new Int32Array(this.exports.memory.buffer.slice(ids, ids + 4 * length()));
      this.exports.web_free(ids);
      return copy;
    }));
  }

  decode(ids, skipSpecial = true) {
    return this.withCount((size, length) => this.lend([Int32Array.from(ids)], (pointer) => {
      const text = this.need(this.exports.web_decode(pointer, ids.length, skipSpecial ? 1 : 0, size));
      const copy = this.text(text, length());
      this.exports.web_free(text);
      return copy;
    }));
  }

  /** The model's chat template over the messages, as text. */
  chat(messages, tools, variables) {
    const texts = [JSON.stringify(messages), tools ? JSON.stringify(tools) : '', variables ? JSON.stringify(variables) : ''];
    return this.lend(texts, (m, t, v) => {
      const text = this.need(this.exports.web_chat(m, t, v));
      const copy = this.text(text);
      this.exports.web_free(text);
      return copy;
    });
  }

  // ---- generation ----

  putRequest(ids, o, stops, stopCount) {
    const pointer = this.alloc(REQUEST_BYTES), v = new DataView(this.exports.memory.buffer, pointer);
    const seed = BigInt(Math.trunc(o.seed ?? Math.random() * 2 ** 48));
    [ids, o.idCount, o.maxTokens ?? 0, o.topK ?? 0, o.repeatLast ?? 0, o.showSpecial ? 1 : 0].forEach((n, i) => v.setInt32(4 * i, n, true));
    [o.temperature, o.topP, o.minP, o.repetitionPenalty].forEach((n, i) => v.setFloat32(24 + 4 * i, n, true));
    v.setUint32(40, Number(seed & 0xffffffffn), true);
    v.setUint32(44, Number(seed >> 32n & 0xffffffffn), true);
    v.setUint32(48, stops, true);
    v.setUint32(52, stopCount, true);
    return pointer;
  }

  readResult(pointer) {
    const v = new DataView(this.exports.memory.buffer, pointer);
    return { prefillSeconds: v.getFloat64(0, true), decodeSeconds: v.getFloat64(8, true), reason: REASONS[v.getInt32(16, true)],
      promptTokens: v.getInt32(20, true), newTokens: v.getInt32(24, true), cachedTokens: v.getInt32(28, true), more: v.getInt32(32, true) !== 0 };
  }

  begin(ids, options) {
    const stops = options.stop ?? [];
    return this.lend([ids, stops.join('\0')], async (idsAt, stopsAt) => {
      const request = this.putRequest(idsAt, { ...options, idCount: ids.length }, stopsAt, stops.length);
      try {
        return this.need(await this.wait('web_begin', request));
      } finally {
        this.exports.web_free(request);
      }
    });
  }

  /** Generates behind the conversation `ids`; texts go to onText. An abort ends it with reason "abort". */
  async generate(ids, options, { onText, onPrefill, onCompile, signal } = {}) {
    return this.during({ onText, onPrefill, onCompile }, signal, async () => {
      const result = await this.begin(ids, options);
      try {
        while (this.readResult(result).more) {
          if (signal?.aborted) return { ...this.readResult(result), reason: 'abort', more: false };
          const status = await this.step('web_step');
          if (status !== 0 && signal?.aborted) return { ...this.readResult(result), reason: 'abort', more: false };
          this.check(status);
          if (!this.jspi) await breathe();
        }
        return this.readResult(result);
      } finally {
        this.passText();
        this.exports.web_end();
      }
    });
  }

  /** Logits [ids.length][vocab] from position 0 on, for tests. */
  async logits(ids, vocab) {
    const room = this.alloc(4 * ids.length * vocab);
    try {
      this.exports.web_truncate(0);
      if (this.jspi) this.check(await this.lend([Int32Array.from(ids)], (pointer) => this.wait('web_eval', pointer, ids.length, room)));
      else for (let i = 0; i < ids.length; i++) this.check(await this.step('web_eval_one', ids[i], room + 4 * i * vocab));
      return new Float32Array(this.exports.memory.buffer.slice(room, room + 4 * ids.length * vocab));
    } finally {
      this.exports.web_free(room);
    }
  }

  // ---- files ----

  async convert(input, output, { quantize = '', name = '', sharding = 0, onProgress, signal } = {}) {
    return this.during({ onProgress }, signal, async () => {
      this.check(await this.lend([input, output, quantize, name], (...pointers) => this.wait('web_convert', ...pointers, sharding)));
    });
  }

  memoryBytes() {
    return this.exports.web_memory();
  }
}

/** Hashes several files at once, in a module of its own: its calls come while the core's are suspended. */
export class Hasher {
  static async create(module) {
    const hasher = new Hasher();
    const core = await Core.create(module, { root: {} }, { jspi: false });
    hasher.core = core;
    hasher.room = core.alloc(Hasher.PIECE);
    return hasher;
  }
  start(algorithm) {
    return this.core.exports.web_hash_new(algorithm === 'blake3' ? 1 : 0) >>> 0;
  }
  update(hash, data) {
    for (let at = 0; at < data.length; at += Hasher.PIECE) {
      const part = data.subarray(at, at + Hasher.PIECE);
      new Uint8Array(this.core.exports.memory.buffer, this.room, part.length).set(part);
      this.core.exports.web_hash_update(hash, this.room, part.length);
    }
  }
  end(hash) {
    return this.core.text(this.core.exports.web_hash_end(hash) >>> 0);
  }
}
Hasher.PIECE = 1 << 18;
