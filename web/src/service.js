// service.js: one engine with one model, as methods that a page calls (through worker.js) or Node (node.js). What differs between
// the two is the host: {module(): WebAssembly.Module, gpu: GPU or undefined, jspi?, mount(tree, source, request, context), storage?()},
// where mount puts a model into the tree and returns {path, release, title?, check?, damaged?, unfit?, tookRoom?}, and storage tells {usage, quota, available, persisted}.
import { Core, hasJspi } from './core.js';
import { DopplerError, makeError, throwIfAborted } from './errors.js';
import { FileTree } from './files.js';
import { describeAdapter } from './device.js';

/** Tokens of a prompt per step. The CPU must come up for air; on a software GPU the kernels for many tokens take longer to
 * compile than a short prompt takes without them. */
function batchFor(backend, { gpu }) {
  if (backend !== 'gpu') return 32;
  return gpu.caps.software ? 4 : 0;
}

const WASM_MOST = 2 ** 32; // bytes that a module of 32-bit WebAssembly can address

/** Messages of the core name files of its own tree. */
const inWordsOf = (title, message) => (title && message ? message.replaceAll('/model/', '').replace(/^\/model\b/, title) : message);

export class Service {
  constructor(host) {
    this.host = host;
    this.tree = new FileTree();
    this.last = Promise.resolve();
    this.state = {};
  }

  /** One at a time: C has one stack. */
  exclusive(work) {
    const next = this.last.then(work, work);
    this.last = next.catch(() => {});
    return next;
  }

  // ---- opening the core on a backend ----

  /** open: for a device that is surely wanted. */
  async newCore(open) {
    return Core.create(this.host.module(), this.tree, { jspi: this.host.jspi ?? hasJspi, gpu: this.host.gpu, open });
  }

  /** What there is to compute with, and how much room; of what is open, and of what could be. */
  async capabilities() {
    const { gpu, storage } = this.host, { core, backend = '' } = this.state, found = await gpu?.requestAdapter({ powerPreference: 'high-performance' });
    const limits = {};
    for (const name in found?.limits) if (typeof found.limits[name] === 'number') limits[name] = found.limits[name];
    return { backend, webgpu: Boolean(gpu), jspi: core?.jspi ?? hasJspi, threads: 1, cores: globalThis.navigator?.hardwareConcurrency,
      isolated: Boolean(globalThis.crossOriginIsolated), adapter: core?.gpu.caps ?? (found ? describeAdapter(found) : null), features: [...found?.features ?? []].sort(), limits,
      memory: { ...this.memory(), wasmMost: WASM_MOST, device: globalThis.navigator?.deviceMemory && globalThis.navigator.deviceMemory * 2 ** 30 },
      storage: await storage?.().catch(() => undefined) };
  }

  memory() {
    const { core } = this.state;
    return { gpu: core?.gpu.bytes ?? 0, wasm: core?.memoryBytes() ?? 0, js: performance.memory?.usedJSHeapSize };
  }

  async adapter() {
    const { gpu } = this.host, found = await gpu?.requestAdapter({ powerPreference: 'high-performance' });
    return { webgpu: Boolean(gpu), jspi: hasJspi, adapter: found ? describeAdapter(found) : null };
  }

  /** A GPU that is one, or DopplerError "device". */
  async needRealGpu() {
    const { adapter } = await this.adapter();
    if (adapter?.software) throw makeError('device', `the only GPU here, ${adapter.name}, is a program on the CPU`);
  }

  /** Opens what was asked for; "auto" takes the GPU where there is a real one, else the CPU, and says why. */
  async openBackend(wanted, plain) {
    const core = await this.newCore(wanted === 'gpu' ? { plain } : undefined);
    if (wanted !== 'cpu' && wanted !== 'cpu-ref') {
      try {
        if (wanted === 'auto') await this.needRealGpu();
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

  // ---- the model ----

  async close() {
    const { core, release } = this.state;
    this.state = {};
    try {
      core?.close();
    } finally {
      this.tree.unmount('model');
      await release?.();
    }
  }

  /** The same when C cannot be called any more. */
  abandon() {
    const { core, release } = this.state;
    this.state = {};
    core?.gpu.close();
    this.tree.unmount('model');
    release?.();
  }

  /** Hashes a stored model beside its loading, and tells of it once it is all that is left to wait for. Of experts that are paged the
   * core hashes what it reads. */
  checking({ check }, { vram, ram, slots }, { tell, signal }) {
    const stop = new AbortController(), paged = Boolean(vram || ram || slots), both = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
    let alone = false;
    const start = () => Promise.resolve(check?.((event) => alone && tell(event), both));
    const early = paged ? undefined : start();
    early?.catch(() => {});
    return {
      finish: (isPaged) => {
        alone = true;
        return early ?? (isPaged ? undefined : start());
      },
      /** Gives up; but bytes that are damaged explain every other error. */
      cancel: async (error) => {
        stop.abort();
        const found = await early?.then(() => undefined, (reason) => reason);
        return found?.details?.stored ? found : error;
      },
    };
  }

  async openModel({ source, request }, context) {
    await this.close();
    const start = performance.now(), state = this.state;
    const opening = this.openBackend(request.backend ?? 'auto', request.plain); // while the shards come
    opening.catch(() => {});
    let checking, mounted;
    try {
      const { ram, slots } = request, paged = Boolean(request.vram || ram || slots);
      const onRoom = (sizes) => opening.then(({ core, backend }) => backend === 'gpu' && core.gpu.beginRoom(paged ? [] : sizes), () => {});
      mounted = await this.host.mount(this.tree, source, request, { ...context, onRoom });
      Object.assign(state, { release: mounted.release, damaged: mounted.damaged });
      throwIfAborted(context.signal);
      Object.assign(state, await opening);
      const onProgress = (what, done, total) => context.tell({ phase: 'load', what, done, total });
      const session = { context: request.context ?? 0, batch: request.batch ?? batchFor(state.backend, state.core), kv: request.kv === 'f32' ? 1 : 0 };
      const vram = state.backend === 'gpu' ? request.vram : 0;
      checking = this.checking(mounted, { vram, ram, slots }, context);
      state.model = await state.core.load(mounted.path, { onProgress, signal: context.signal, budgets: { vram, ram, slots, ...session } });
      if (state.backend === 'gpu' && !paged) await mounted.tookRoom?.(state.core.gpu.endRoom());
      await state.core.session(session);
      await checking.finish(Boolean(state.core.paging()));
    } catch (error) {
      const reason = await checking?.cancel(error) ?? error;
      if (reason.code === 'format') await mounted?.unfit?.();
      if (reason instanceof DopplerError) reason.message = inWordsOf(mounted?.title, reason.message);
      state.core ??= (await opening.catch(() => undefined))?.core;
      await this.close();
      throw reason;
    }
    state.load = { seconds: (performance.now() - start) / 1000 };
    return { model: state.model, backend: state.backend, notice: state.notice, device: state.core.describe(), load: state.load };
  }

  core() {
    if (!this.state.model) throw new DopplerError('closed', 'no model is loaded');
    return this.state.core;
  }

  // ---- generation ----

  async run({ prompt, messages, tools, variables, special, request }, { tell, signal }) {
    const core = this.core(), text = messages ? core.chat(messages, tools, variables) : prompt;
    const ids = Array.isArray(text) ? Int32Array.from(text) : core.encode(text, special ?? !messages);
    const start = performance.now();
    let first;
    const result = await core.generate(ids, request, { signal,
      onPrefill: (done, total) => tell({ prefill: { done, total } }),
      onCompile: (done, total) => tell({ compile: { done, total } }),
      onText: (piece) => {
        first ??= performance.now() - start;
        tell({ text: piece });
      } }).catch(async (error) => {
      if (error.code === 'corrupt') await this.state.damaged?.(); // the next load mends it
      throw error;
    });
    const { more, ...numbers } = result;
    this.state.last = { ...numbers, firstTokenSeconds: first === undefined ? undefined : first / 1000,
      prefillTokensPerSecond: result.prefillSeconds > 0 ? result.promptTokens / result.prefillSeconds : 0,
      decodeTokensPerSecond: result.decodeSeconds > 0 ? result.newTokens / result.decodeSeconds : 0 };
    return this.state.last;
  }

  // ---- what is called by name ----

  /** What turns out to be damaged in the storage is mended there, once. */
  load(args, context) {
    return this.exclusive(() => this.openModel(args, context).catch((error) => {
      if (!error.details?.stored) throw error;
      return this.openModel(args, context);
    }));
  }
  unload() {
    return this.exclusive(() => this.close());
  }
  generate(args, context) {
    return this.exclusive(() => this.run(args, context));
  }
  tokenize({ text, special }) {
    return this.exclusive(() => [...this.core().encode(text, special)]);
  }
  detokenize({ ids, skipSpecial }) {
    return this.exclusive(() => this.core().decode(ids, skipSpecial));
  }
  template({ messages, tools, variables }) {
    return this.exclusive(() => this.core().chat(messages, tools, variables));
  }
  logits({ ids }) {
    return this.exclusive(() => this.core().logits(ids, this.state.model.vocab));
  }
  stats() {
    const { core, backend = '', notice = '', model, load, last } = this.state;
    return { backend, device: core?.describe() ?? '', notice, model, jspi: core?.jspi ?? hasJspi, adapter: core?.gpu.caps, load, last, memory: this.memory(),
      paging: model && core.paging() };
  }
}
