// gpu.js: the device interface of src/gpu/gpu.h over navigator.gpu. Objects stay here; C holds handles, 1 + an index.
//
// Errors come in three ways: from error scopes around what is made, as uncaptured errors of what is queued, and as the loss
// of the device. The first one is kept until a check. Where C can wait (JSPI), a check waits for the
// results of what is being made, and so does making buffers once much is under way; otherwise they come with a later call, and
// a readback that is not there yet, or a pipeline that a step needs, gives WAITING.
import { compilerMessage, describeAdapter, openDevice, Table } from './device.js';
import { Ahead, SLAB_BYTES, Slabs } from './slab.js';
import { STAGE_BYTES, Stages } from './stage.js';

const OK = 0, ARG = 1, MEMORY = 2, UNSUPPORTED = 7, DEVICE = 11; // dp_status
export const WAITING = 255; // DP_WAITING: C is to make the call again once `answer` is there
const PARAM_BYTES = 64, PARAM_SLOTS = 16384;
const UNSURE = 256 << 20; // bytes of buffers that may be under way before the results of those before them are waited for
const BATCH = 32 << 20; // bytes of buffers whose results come together
const WRITE_PIECE = 128 << 10; // bytes: larger writes cost browsers more copies between processes
const READBACK_KEEP = 1 << 20, READBACK_LEAST = 4096;
const TIMED_MAX = 1024;
const CANNOT_WAIT = 'this browser cannot suspend WebAssembly (no JSPI), and this needs to wait for the GPU';

export class GpuHost {
  /** @param {{gpu?: GPU, canWait: boolean, strict?: boolean}} options strict: making anything waits for its result.
   * onCompile, set by the core: told how many of the pipelines that are wanted have been compiled. onWait: called before
   * C waits, for a readback or for pipelines. */
  constructor({ gpu = globalThis.navigator?.gpu, canWait, strict = false }) {
    this.gpu = gpu;
    this.canWait = canWait;
    this.strict = strict && canWait;
    this.message = '';
    this.bytes = 0; // of all buffers
    this.memory = () => new ArrayBuffer(0); // set by the core
  }

  fail(status, message) {
    this.message = message;
    return status;
  }

  // ---- the device ----

  /** Opens the device ahead of gpu_open, which then need not wait. Throws what requestDevice throws. */
  async prepare(flags) {
    if (!this.gpu) throw new Error(globalThis.isSecureContext === false ? 'WebGPU needs a page from https:// or localhost' : 'this browser has no WebGPU');
    const adapter = await this.gpu.requestAdapter({ powerPreference: 'high-performance' });
    if (!adapter) throw new Error('WebGPU finds no adapter: is a graphics driver installed, and hardware acceleration switched on?');
    const caps = describeAdapter(adapter, flags);
    const device = await openDevice(adapter, caps);
    this.prepared?.device.destroy();
    this.prepared = { device, caps, flags, stages: new Stages(device) };
    return caps;
  }

  start({ device, caps, stages }) {
    this.device = device;
    this.queue = device.queue;
    this.caps = caps;
    this.error = undefined;
    this.lost = undefined;
    this.batch = undefined; // buffers whose error scope is open
    this.making = new Set(); // results not waited for yet
    this.compiling = { done: 0, total: 0 };
    this.refuse = false;
    this.unsure = 0;
    this.earlier = undefined; // settles with what was being made when results were waited for last
    this.buffers = new Table(); // {home: {buffer, size, users}, base, size}: bytes of a device's buffer from `base` on
    this.slabs = new Slabs((home) => this.makeWeights(home));
    this.room = []; // sizes of the buffers that weights took, in turn
    this.ahead = undefined; // those of them that are made before
    this.stages = stages;
    this.pipelines = new Table();
    this.bindings = new Table();
    this.reads = new Table();
    this.idleReads = new Map(); // capacity -> buffers
    this.stride = Math.max(device.limits.minUniformBufferOffsetAlignment, PARAM_BYTES);
    this.params = device.createBuffer({ label: 'parameters', size: PARAM_SLOTS * this.stride, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
    device.addEventListener('uncapturederror', (event) => this.note(event.error, ''));
    device.lost.then((info) => {
      if (this.device === device) this.lost = info.message || info.reason;
    });
  }

  close() {
    const device = this.device;
    this.device = undefined;
    this.bytes = 0;
    if (this.batch) this.closeBatch(this.batch);
    this.stages?.close();
    device?.destroy();
  }

  note(error, what) {
    if (this.error || !error) return;
    const status = typeof GPUOutOfMemoryError !== 'undefined' && error instanceof GPUOutOfMemoryError ? MEMORY : DEVICE;
    this.error = { status, message: `${what ? `${what}: ` : ''}${error.message}` };
  }

  take() {
    if (this.lost !== undefined) return this.fail(DEVICE, `the device ${this.caps.name} was lost: ${this.lost}`);
    if (!this.error) return OK;
    const { status, message } = this.error;
    this.error = undefined;
    return this.fail(status, message);
  }

  /** Runs `make` between error scopes; the promise settles when its error, if any, is noted. */
  scoped(make, describe) {
    const { device } = this;
    for (const filter of ['validation', 'internal', 'out-of-memory']) device.pushErrorScope(filter);
    const made = make(device);
    const errors = Promise.all([device.popErrorScope(), device.popErrorScope(), device.popErrorScope()]);
    const result = errors.then(async (list) => {
      const error = list.find(Boolean);
      if (error && !this.error) this.note(error, await describe(made));
    }, () => {}).finally(() => this.making.delete(result));
    this.making.add(result);
    return { made, result };
  }

  /** Buffers that are made one after the other share an error scope: one of its own for each costs more than making it. */
  inBatch(make, label, size) {
    const { device } = this;
    const batch = this.batch ?? { device, labels: [], bytes: 0 };
    if (!this.batch) {
      device.pushErrorScope('out-of-memory');
      batch.result = new Promise((resolve) => {
        batch.close = resolve;
      }).finally(() => this.making.delete(batch.result));
      this.making.add(batch.result);
      this.batch = batch;
      queueMicrotask(() => this.closeBatch(batch));
    }
    const made = make(device);
    batch.labels.push(label);
    batch.bytes += size;
    if (this.strict || batch.bytes >= BATCH) this.closeBatch(batch);
    return { made, result: batch.result };
  }

  closeBatch(batch) {
    if (this.batch !== batch) return;
    this.batch = undefined;
    const { device, labels, bytes } = batch, names = labels.length > 1 ? `${labels[0]} to ${labels.at(-1)}` : labels[0];
    batch.close(device.popErrorScope().then((error) => this.note(error, `the device ${this.caps.name} has no room for ${bytes} bytes (${names})`), () => {}));
  }

  async settle() {
    while (this.making.size) await Promise.all(this.making);
    return this.take();
  }

  /** A rejected wait usually means a lost device, which is told a moment later. */
  async afterFailure(error) {
    await Promise.race([this.device?.lost, new Promise((resolve) => setTimeout(resolve, 200))]);
    const status = this.take();
    return status === OK ? this.fail(DEVICE, String(error?.message ?? error)) : status;
  }

  // ---- buffers ----

  /** Makes home.buffer; gives the result, where it is to be waited for before more is made. */
  makeHome(home) {
    const { size, label } = home, usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    let batch;
    try {
      batch = this.inBatch((device) => device.createBuffer({ label, size, usage }), label, size);
    } catch (error) { // a size that no browser takes
      this.error ??= { status: MEMORY, message: `the device ${this.caps.name} has no room for ${size} bytes (${label}): ${error.message}` };
      return undefined;
    }
    home.buffer = batch.made;
    this.unsure += size;
    if (!this.strict && (!this.canWait || this.unsure < UNSURE)) return undefined;
    const before = this.strict ? batch.result : this.earlier;
    this.unsure = 0;
    this.earlier = Promise.all(this.making);
    return Promise.resolve(before);
  }

  /** The same for weights. */
  makeWeights(home) {
    this.room.push(home.size);
    home.buffer = this.ahead?.take(home.size);
    return home.buffer ? undefined : this.makeHome(home);
  }

  /** Begins with what a load needs while that waits for the storage: buffers of the sizes that weights took before, then mapped ones. */
  beginRoom(sizes) {
    if (this.strict || !this.device) return;
    this.ahead = new Ahead(sizes, (size, i) => {
      const home = { size, label: `weights ${i}` };
      this.makeHome(home);
      if (size > STAGE_BYTES && home.buffer) this.clear(home.buffer);
      return home.buffer;
    });
    if (this.canWait) this.stages.prepare();
  }

  /** Browsers clear what no copy fills whole when it is written first, and that then waits; unless it was cleared before. */
  clear(buffer) {
    const encoder = this.device.createCommandEncoder();
    encoder.clearBuffer(buffer);
    this.queue.submit([encoder.finish()]);
  }

  /** All weights are there: the sizes of the buffers that they took. */
  endRoom() {
    this.ahead?.drop();
    return this.room;
  }

  /** together: bytes of it and what is asked for next, which may lie in one buffer with others; 0: it has one of its own. */
  newBuffer(size, together, label, out) {
    const status = this.take();
    if (status !== OK) return status;
    if (this.refuse) {
      this.refuse = false;
      return this.fail(MEMORY, `the device ${this.caps.name} has no room for ${size} bytes (${label})`);
    }
    let item, made;
    if (together && together <= SLAB_BYTES && !this.strict) ({ item, made } = this.slabs.add(size, together, label));
    else {
      item = { home: { buffer: undefined, size, label, users: 1 }, base: 0, size };
      made = together ? this.makeWeights(item.home) : this.makeHome(item.home);
    }
    const handle = this.buffers.add(item);
    this.bytes += size;
    new DataView(this.memory()).setUint32(out, handle, true);
    const result = () => {
      const found = this.take();
      if (found !== OK) this.freeBuffer(handle);
      return found;
    };
    return made ? made.then(result) : result();
  }

  /** The device's buffer that something lies in. */
  homeOf({ home }) {
    if (!home.buffer) this.slabs.close();
    return home.buffer;
  }

  freeBuffer(handle) {
    const item = this.buffers.drop(handle);
    if (!item) return;
    this.bytes -= item.size;
    this.stages.send(); // copies into it may be among them
    if (!--item.home.users) this.slabs.drop(item.home);
  }

  range(handle, offset, size) {
    const item = this.buffers.get(handle);
    if (!item) return this.fail(ARG, `no buffer ${handle}`);
    if (offset % 4 || size % 4) return this.fail(ARG, `range ${offset} + ${size} of a buffer: both must be multiples of 4`);
    if (offset + size > item.size) return this.fail(ARG, `range ${offset} + ${size} leaves a buffer of ${item.size} bytes`);
    return this.homeOf(item) ? OK : this.take();
  }

  write(handle, offset, pointer, size) {
    const status = this.take() || this.range(handle, offset, size);
    if (status !== OK) return status;
    const item = this.buffers.get(handle), buffer = this.homeOf(item), memory = this.memory();
    this.stages.send();
    for (let at = 0; at < size; at += WRITE_PIECE) this.queue.writeBuffer(buffer, item.base + offset + at, memory, pointer + at, Math.min(WRITE_PIECE, size - at));
    return OK;
  }

  /** The same of what is much, through mapped buffers where C can wait for them. */
  stage(handle, offset, pointer, size) {
    if (!this.canWait) return this.write(handle, offset, pointer, size);
    const status = this.take() || this.range(handle, offset, size);
    if (status !== OK) return status;
    const item = this.buffers.get(handle), buffer = this.homeOf(item);
    try {
      for (let at = 0, count; at < size; at += count) {
        count = this.stages.put(buffer, item.home.size, item.base + offset + at, new Uint8Array(this.memory(), pointer + at, size - at));
        if (!count) return this.stages.mapped.then(() => this.stage(handle, offset + at, pointer + at, size - at), (error) => this.afterFailure(error));
      }
    } catch (error) {
      return this.afterFailure(error);
    }
    return OK;
  }

  // ---- readbacks ----

  readbackBuffer(size) {
    let capacity = READBACK_LEAST;
    while (capacity < size && capacity < READBACK_KEEP) capacity *= 2;
    capacity = Math.max(capacity, size);
    const buffer = this.idleReads.get(capacity)?.pop()
      ?? this.device.createBuffer({ label: 'readback', size: capacity, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    return { buffer, capacity };
  }

  /** encoder: what goes ahead of it in the same submit. */
  beginRead(source, offset, size, encoder = this.device.createCommandEncoder()) {
    const { buffer, capacity } = this.readbackBuffer(size);
    encoder.copyBufferToBuffer(source, offset, buffer, 0, size);
    this.stages.send();
    this.queue.submit([encoder.finish()]);
    const read = { buffer, capacity, size, ready: false };
    read.mapped = buffer.mapAsync(GPUMapMode.READ, 0, size).then(() => {
      read.ready = true;
    });
    read.mapped.catch((error) => {
      read.error = error; // reported by whoever waits for it
    });
    return read;
  }

  finishRead(read, pointer) {
    new Uint8Array(this.memory(), pointer, read.size).set(new Uint8Array(read.buffer.getMappedRange(0, read.size)));
    return this.recycleRead(read);
  }

  /** Given up before its data is there. */
  dropRead(handle) {
    const read = this.reads.drop(handle);
    read?.mapped.then(() => this.recycleRead(read), () => {});
  }

  recycleRead(read) {
    read.buffer.unmap();
    if (read.capacity > READBACK_KEEP) read.buffer.destroy();
    else if (this.idleReads.has(read.capacity)) this.idleReads.get(read.capacity).push(read.buffer);
    else this.idleReads.set(read.capacity, [read.buffer]);
    return OK;
  }

  async waitRead(read, pointer) {
    try {
      await read.mapped;
    } catch (error) {
      return this.afterFailure(error);
    }
    const status = this.making.size ? await this.settle() : this.take();
    return this.finishRead(read, pointer) || status;
  }

  endRead(handle, pointer) {
    const read = this.reads.get(handle);
    if (!read) return this.fail(ARG, `no readback ${handle} under way`);
    this.onWait?.();
    if (!this.canWait && !read.ready && !read.error) {
      this.awaited = read.mapped;
      return WAITING;
    }
    this.reads.drop(handle);
    if (this.canWait) return this.waitRead(read, pointer);
    if (read.error) return this.take() || this.fail(DEVICE, String(read.error.message ?? read.error));
    return this.finishRead(read, pointer) || this.take();
  }

  /** What C could not wait for: resolves once it is there, or failed. */
  async answer() {
    try {
      await this.awaited;
    } catch (error) {
      await this.afterFailure(error);
    }
    while (this.making.size) await Promise.all(this.making);
  }

  // ---- pipelines and bindings ----

  newPipeline({ label, code, entryPoint, bindings, constants }, out) {
    const status = this.take();
    if (status !== OK) return status;
    const params = bindings.endsWith('p');
    const kinds = [...(params ? bindings.slice(0, -1) : bindings)];
    if (kinds.some((kind) => kind !== 'r' && kind !== 'w')) return this.fail(ARG, `pipeline ${label}: bindings "${bindings}", expected r and w, and p at the end`);
    const entries = kinds.map((kind, binding) => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type: kind === 'r' ? 'read-only-storage' : 'storage' } }));
    if (params) entries.push({ binding: kinds.length, visibility: GPUShaderStage.COMPUTE, buffer: { type: 'uniform' } });
    const layout = this.device.createBindGroupLayout({ label, entries });
    const item = { layout, params, count: kinds.length, label, code, entryPoint, constants, pipeline: undefined };
    const handle = this.pipelines.add(item);
    new DataView(this.memory()).setUint32(out, handle, true);
    if (!this.strict) return OK;
    return this.compile(item).then(() => {
      const failed = this.take();
      if (failed !== OK) this.pipelines.drop(handle);
      return failed;
    });
  }

  /** Compiles a pipeline at once: one that nobody has prepared, at its first dispatch. */
  compile(item) {
    const { label, code, entryPoint, constants, layout } = item;
    let module;
    const { made, result } = this.scoped((device) => {
      module = device.createShaderModule({ label, code });
      return device.createComputePipeline({ label, layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }), compute: { module, entryPoint, constants } });
    }, () => compilerMessage(module, label));
    item.pipeline = made;
    item.code = '';
    return result;
  }

  /** The same aside: the browser compiles several side by side, and stalls nobody. */
  async compileAside(item) {
    const { device } = this, { label, code, entryPoint, constants, layout } = item;
    const module = device.createShaderModule({ label, code });
    try {
      const made = await device.createComputePipelineAsync({ label, layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }), compute: { module, entryPoint, constants } });
      item.pipeline ??= made;
      item.code = '';
      this.compiling.done++;
      this.onCompile?.(this.compiling.done, this.compiling.total);
    } catch (error) {
      const message = await compilerMessage(module, label);
      if (this.device === device) this.error ??= { status: DEVICE, message: message === label ? `${label}: ${error.message}` : message };
      item.wanted = undefined; // whoever asks again is told again
    }
  }

  /** The pipelines of these dispatches that are not compiled: plans name more of them than a short conversation ever runs. */
  notCompiled(pointer, count) {
    const words = new Uint32Array(this.memory(), pointer, 6 * count), found = new Set();
    for (let at = 0; at < words.length; at += 6) {
      const item = this.pipelines.get(words[at]);
      if (item && !item.pipeline) found.add(item);
    }
    return [...found];
  }

  /** Compiles what these dispatches need. Where C cannot wait it comes again behind each one. */
  prepareAll(pointer, count) {
    const status = this.take(), missing = status === OK ? this.notCompiled(pointer, count) : [];
    if (!missing.length) return status;
    this.onWait?.();
    if (missing.every((item) => !item.wanted)) this.compiling = { done: 0, total: 0 };
    this.compiling.total += missing.filter((item) => !item.wanted).length;
    const wanted = missing.map((item) => item.wanted ??= this.compileAside(item));
    if (this.canWait) return Promise.all(wanted).then(() => this.take());
    this.awaited = Promise.race(wanted);
    return WAITING;
  }

  newBindings(handle, ranges, count, out) {
    const status = this.take();
    const pipeline = this.pipelines.get(handle);
    if (status !== OK) return status;
    if (!pipeline) return this.fail(ARG, `no pipeline ${handle}`);
    if (count !== pipeline.count) return this.fail(ARG, `${count} ranges for a pipeline with ${pipeline.count} bindings`);
    const numbers = new Float64Array(this.memory().slice(ranges, ranges + 24 * count));
    const entries = [];
    for (let i = 0; i < count; i++) {
      const [buffer, offset, wanted] = numbers.subarray(3 * i, 3 * i + 3);
      const item = this.buffers.get(buffer);
      if (!item) return this.fail(ARG, `binding ${i}: no buffer ${buffer}`);
      const size = wanted || item.size - offset;
      if (size <= 0 || offset + size > item.size || size % 4 || offset % this.caps.bindingAlign)
        return this.fail(ARG, `binding ${i}: range ${offset} + ${wanted} of a buffer of ${item.size} bytes; offsets are multiples of ${this.caps.bindingAlign}`);
      if (size > this.caps.bindingMax) return this.fail(UNSUPPORTED, `binding ${i}: ${size} bytes, the device ${this.caps.name} allows ${this.caps.bindingMax}`);
      entries.push({ binding: i, resource: { buffer: this.homeOf(item), offset: item.base + offset, size } });
    }
    new DataView(this.memory()).setUint32(out, this.bindings.add({ entries, slot: -1, group: undefined }), true);
    return OK;
  }

  /** The group that binds these ranges and a parameter slot. Dispatches keep their slot, so it is made once, at the first
   * dispatch, and a dynamic offset, which costs calls of its own, is not needed. */
  groupOf(bindings, { layout, params, count }, slot) {
    if (bindings.slot !== slot) {
      const resource = { buffer: this.params, offset: slot * this.stride, size: PARAM_BYTES };
      const entries = params ? [...bindings.entries, { binding: count, resource }] : bindings.entries;
      bindings.group = this.device.createBindGroup({ layout, entries });
      bindings.slot = slot;
    }
    return bindings.group;
  }

  writeParams(first, count, pointer) {
    const status = this.take();
    if (status !== OK) return status;
    const rows = new Uint8Array(this.memory(), pointer, count * PARAM_BYTES), wide = new Uint8Array(count * this.stride);
    for (let i = 0; i < count; i++) wide.set(rows.subarray(i * PARAM_BYTES, (i + 1) * PARAM_BYTES), i * this.stride);
    this.queue.writeBuffer(this.params, first * this.stride, wide);
    return OK;
  }

  // ---- submits ----

  /** dispatches: six words each, pipeline, bindings, parameter slot, grid. before: the pipeline that is set already. */
  encode(pass, words, at, before = 0) {
    const pipeline = this.pipelines.get(words[at]);
    if (!pipeline.pipeline) this.compile(pipeline);
    if (words[at] !== before) pass.setPipeline(pipeline.pipeline);
    pass.setBindGroup(0, this.groupOf(this.bindings.get(words[at + 1]), pipeline, words[at + 2]));
    pass.dispatchWorkgroups(words[at + 3], words[at + 4], words[at + 5]);
  }

  checkDispatches(words) {
    const status = this.take();
    if (status !== OK) return status;
    for (let at = 0; at < words.length; at += 6) {
      if (!this.pipelines.get(words[at]) || !this.bindings.get(words[at + 1])) return this.fail(ARG, `dispatch ${at / 6}: no pipeline ${words[at]} or no bindings ${words[at + 1]}`);
      if (words[at + 2] >= PARAM_SLOTS) return this.fail(ARG, `dispatch ${at / 6}: parameter slot ${words[at + 2]}, there are ${PARAM_SLOTS}`);
      const most = Math.max(words[at + 3], words[at + 4], words[at + 5]);
      if (most > this.caps.workgroups) return this.fail(UNSUPPORTED, `dispatch ${at / 6}: ${most} workgroups in one dimension, the device allows ${this.caps.workgroups}`);
    }
    return OK;
  }

  encodeAll(words) {
    const encoder = this.device.createCommandEncoder(), pass = encoder.beginComputePass();
    for (let at = 0; at < words.length; at += 6) this.encode(pass, words, at, words[at - 6]);
    pass.end();
    return encoder;
  }

  submit(pointer, count) {
    const words = new Uint32Array(this.memory(), pointer, 6 * count);
    const status = this.checkDispatches(words);
    if (status !== OK || !count) return status;
    this.stages.send();
    this.queue.submit([this.encodeAll(words).finish()]);
    return OK;
  }

  submitRead(pointer, count, buffer, offset, size, out) {
    const words = new Uint32Array(this.memory(), pointer, 6 * count);
    const status = this.checkDispatches(words) || this.range(buffer, offset, size) || (size ? OK : this.fail(ARG, 'reading 0 bytes'));
    if (status !== OK) return status;
    const item = this.buffers.get(buffer), read = this.beginRead(this.homeOf(item), item.base + offset, size, this.encodeAll(words));
    new DataView(this.memory()).setUint32(out, this.reads.add(read), true);
    return OK;
  }

  async submitTimed(pointer, count, out) {
    const words = new Uint32Array(this.memory().slice(pointer, pointer + 24 * count));
    const status = this.checkDispatches(words);
    if (status !== OK) return status;
    this.stages.send();
    this.queries ??= this.device.createQuerySet({ type: 'timestamp', count: 2 * TIMED_MAX });
    this.queryResults ??= this.device.createBuffer({ label: 'timestamps', size: 16 * TIMED_MAX, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
    for (let done = 0; done < count; done += TIMED_MAX) {
      const part = Math.min(TIMED_MAX, count - done), encoder = this.device.createCommandEncoder();
      for (let i = 0; i < part; i++) {
        const pass = encoder.beginComputePass({ timestampWrites: { querySet: this.queries, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 } });
        this.encode(pass, words, 6 * (done + i));
        pass.end();
      }
      encoder.resolveQuerySet(this.queries, 0, 2 * part, this.queryResults, 0);
      this.queue.submit([encoder.finish()]);
      const read = this.beginRead(this.queryResults, 0, 16 * part);
      await read.mapped;
      const times = new BigUint64Array(read.buffer.getMappedRange(0, 16 * part).slice(0));
      read.buffer.destroy();
      const nanoseconds = new BigUint64Array(this.memory(), out + 8 * done, part);
      for (let i = 0; i < part; i++) nanoseconds[i] = times[2 * i + 1] > times[2 * i] ? times[2 * i + 1] - times[2 * i] : 0n;
    }
    return this.take();
  }

  async wait() {
    try {
      this.stages.send();
      await this.queue.onSubmittedWorkDone();
    } catch (error) {
      return this.afterFailure(error);
    }
    return this.settle();
  }

  // ---- what C imports ----

  /** The functions of gpu_web.c. Those named in `GpuHost.waiting` may return a promise. */
  imports() {
    const decoder = new TextDecoder();
    const text = (pointer) => {
      const all = new Uint8Array(this.memory(), pointer), end = all.indexOf(0);
      return decoder.decode(all.subarray(0, end));
    };
    const putText = (value, pointer, capacity) => {
      const data = new TextEncoder().encode(value).subarray(0, capacity - 1), room = new Uint8Array(this.memory(), pointer, capacity);
      room.set(data);
      room[data.length] = 0;
    };
    const begin = (caps, capacity) => {
      this.start(this.prepared);
      this.prepared = undefined;
      putText(JSON.stringify(this.caps), caps, capacity);
      return OK;
    };
    return {
      gpu_open: (flags, caps, capacity) => {
        if (this.prepared?.flags === flags) return begin(caps, capacity);
        if (!this.canWait) return this.fail(DEVICE, CANNOT_WAIT);
        return this.prepare(flags).then(() => begin(caps, capacity), (error) => this.fail(DEVICE, error.message));
      },
      gpu_close: () => this.close(),
      gpu_error: (pointer, capacity) => putText(this.message, pointer, capacity),
      gpu_check: () => (this.canWait && this.making.size ? this.settle() : this.take()),
      gpu_provoke: (fault) => {
        if (fault === 1) this.refuse = true;
        else {
          this.lost = 'destroyed'; // known here before the browser says so
          this.device.destroy();
        }
      },
      gpu_buffer_new: (size, together, label, out) => this.newBuffer(size, together, text(label), out),
      gpu_buffer_free: (buffer) => this.freeBuffer(buffer),
      gpu_write: (buffer, offset, pointer, size) => this.write(buffer, offset, pointer >>> 0, size),
      gpu_stage: (buffer, offset, pointer, size) => this.stage(buffer, offset, pointer >>> 0, size),
      gpu_stage_send: () => this.stages.send(),
      gpu_read_begin: (buffer, offset, size, out) => {
        const status = this.take() || this.range(buffer, offset, size) || (size ? OK : this.fail(ARG, 'reading 0 bytes'));
        if (status !== OK) return status;
        const item = this.buffers.get(buffer), read = this.beginRead(this.homeOf(item), item.base + offset, size);
        new DataView(this.memory()).setUint32(out, this.reads.add(read), true);
        return OK;
      },
      gpu_read_end: (read, pointer) => this.endRead(read, pointer >>> 0),
      gpu_read_drop: (read) => this.dropRead(read),
      gpu_pipeline_new: (label, wgsl, entry, bindings, constants, out) => this.newPipeline({
        label: text(label), code: text(wgsl), entryPoint: text(entry), bindings: text(bindings),
        constants: Object.fromEntries(text(constants).split(',').filter(Boolean).map((one) => one.split('=')).map(([name, value]) => [name, Number(value)])),
      }, out),
      gpu_pipeline_free: (pipeline) => this.pipelines.drop(pipeline),
      gpu_bindings_new: (pipeline, ranges, count, out) => this.newBindings(pipeline, ranges >>> 0, count, out),
      gpu_bindings_free: (bindings) => this.bindings.drop(bindings),
      gpu_params: (first, count, pointer) => this.writeParams(first, count, pointer >>> 0),
      gpu_prepare: (pointer, count) => this.prepareAll(pointer >>> 0, count),
      gpu_submit: (pointer, count) => this.submit(pointer >>> 0, count),
      gpu_submit_read: (pointer, count, buffer, offset, size, out) => this.submitRead(pointer >>> 0, count, buffer, offset, size, out),
      gpu_submit_timed: (pointer, count, out) => (this.canWait ? this.submitTimed(pointer >>> 0, count, out >>> 0) : this.fail(UNSUPPORTED, CANNOT_WAIT)),
      gpu_wait: () => (this.canWait ? this.wait() : this.take()),
    };
  }
}

GpuHost.waiting = ['gpu_open', 'gpu_check', 'gpu_prepare', 'gpu_buffer_new', 'gpu_stage', 'gpu_read_end', 'gpu_pipeline_new', 'gpu_submit_timed', 'gpu_wait'];
