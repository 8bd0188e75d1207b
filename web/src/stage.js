// stage.js: takes much to the device's buffers through a few that are mapped while they are filled. Against writeBuffer it spares
// the worker half of its copying, but wants to wait until the device has emptied one.
//
// What goes to one buffer piece by piece lies side by side here, and becomes one copy: browsers clear new buffers, unless the first
// thing that is written to them fills them whole.
const STAGES = 4;
export const STAGE_BYTES = 8 << 20;
const IDLE = 1000; // milliseconds after which their memory is given back

/** Ranges [from, to) without their seams. */
function joined(parts) {
  const list = [];
  for (const [from, to] of parts.sort(([a], [b]) => a - b)) {
    const last = list.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else list.push([from, to]);
  }
  return list;
}

export class Stages {
  constructor(device) {
    this.device = device;
    this.free = []; // those that are not being filled, in the order they were sent
    this.count = 0;
    this.current = undefined;
    this.begun = new WeakSet(); // buffers that something was taken to
  }

  /** Has them made one by one: while there is something else to wait for, whose answers come between them. */
  prepare() {
    if (this.closed || this.count >= STAGES) return;
    try {
      this.add();
    } catch {
      return; // told to whoever needs one
    }
    this.rest();
    setTimeout(() => this.prepare());
  }

  add() {
    const buffer = this.device.createBuffer({ label: 'staging', size: STAGE_BYTES, usage: GPUBufferUsage.MAP_WRITE | GPUBufferUsage.COPY_SRC, mappedAtCreation: true });
    this.count++;
    this.free.unshift({ buffer, ready: true });
  }

  /** One to fill; undefined: all are under way. */
  take() {
    if (this.current) return this.current;
    if (!this.free[0]?.ready && this.count < STAGES) this.add();
    if (!this.free[0].ready) return undefined;
    const stage = this.free.shift();
    this.current = Object.assign(stage, { bytes: new Uint8Array(stage.buffer.getMappedRange()), used: 0, copies: [], latest: new Map() });
    return stage;
  }

  /** Room for bytes from `offset` on of a buffer of `size` bytes: for all of that buffer, if it fits and nothing was sent there yet. */
  begin(stage, buffer, size, offset, count) {
    const left = STAGE_BYTES - stage.used, whole = size <= STAGE_BYTES && !this.begun.has(buffer), room = whole ? size : Math.min(count, left);
    if (!room || room > left) return undefined;
    const copy = { buffer, from: stage.used, offset: whole ? 0 : offset, room, parts: [] };
    this.begun.add(buffer);
    stage.used += room;
    stage.copies.push(copy);
    stage.latest.set(buffer, copy);
    return copy;
  }

  /** Takes bytes to buffer[offset..], whose size is `size`. How many were taken; 0: none before `mapped` has settled. */
  put(buffer, size, offset, bytes) {
    const stage = this.take();
    if (!stage) return 0;
    let copy = stage.latest.get(buffer);
    if (!copy || offset < copy.offset || offset >= copy.offset + copy.room) copy = this.begin(stage, buffer, size, offset, bytes.length);
    if (!copy) {
      this.send();
      return this.put(buffer, size, offset, bytes);
    }
    const at = offset - copy.offset, count = Math.min(bytes.length, copy.room - at);
    stage.bytes.set(count === bytes.length ? bytes : bytes.subarray(0, count), copy.from + at);
    copy.parts.push([at, at + count]);
    return count;
  }

  /** Settles when one can be filled. */
  get mapped() {
    clearTimeout(this.idle);
    return this.free[0].mapped;
  }

  /** Has the device begin with what is there: ahead of whatever else is queued. */
  send() {
    const stage = this.current;
    if (!stage) return;
    this.current = undefined;
    stage.buffer.unmap();
    const encoder = this.device.createCommandEncoder();
    for (const { buffer, from, offset, parts } of stage.copies)
      for (const [at, end] of joined(parts)) encoder.copyBufferToBuffer(stage.buffer, from + at, buffer, offset + at, end - at);
    this.device.queue.submit([encoder.finish()]);
    stage.ready = false;
    stage.bytes = stage.copies = stage.latest = undefined;
    stage.mapped = stage.buffer.mapAsync(GPUMapMode.WRITE).then(() => {
      stage.ready = true;
    });
    stage.mapped.catch(() => {}); // told to whoever waits for it
    this.free.push(stage);
    this.rest();
  }

  /** Their memory is given back if nothing is sent for a while. */
  rest() {
    clearTimeout(this.idle);
    this.idle = setTimeout(() => this.drop(), IDLE);
    this.idle.unref?.(); // Node need not wait for it
  }

  drop() {
    if (this.current) return;
    for (const { buffer } of this.free) buffer.destroy();
    this.free = [];
    this.count = 0;
  }

  close() {
    this.closed = true;
    clearTimeout(this.idle);
  }
}
