// slab.js: what kernels only read lies side by side in buffers of up to SLAB_BYTES, which the device is asked for once they are full,
// or wanted. A buffer takes browsers two calls between processes and some 50 microseconds, whatever its size; and one that
// the first copy into it fills whole need not be cleared (stage.js). Below 4 MB Dawn gives it a power of two.
import { STAGE_BYTES } from './stage.js';

const ALIGN = 256; // bytes: what every device allows bindings to begin at

export const SLAB_BYTES = STAGE_BYTES;
const AHEAD_BYTES = 192 << 20; // 0.1 s of a device that gives memory slowly; what is sent waits behind it

export class Slabs {
  /** @param {(home: {size: number, label: string}) => unknown} make makes home.buffer; what it gives comes back from `add` */
  constructor(make) {
    this.make = make;
    this.open = undefined; // the one that is being filled
  }

  /** A place for `size` bytes, with room behind it for what is to lie beside them, `together` in all; made: what `make` gave, if the slab
   * before was full. */
  add(size, together, label) {
    const made = this.open && this.open.size + ALIGN + together > SLAB_BYTES ? this.close() : undefined;
    const home = this.open ??= { buffer: undefined, size: 0, label, users: 0 };
    const item = { home, base: Math.ceil(home.size / ALIGN) * ALIGN, size };
    home.size = item.base + size;
    home.users++;
    return { item, made };
  }

  /** Has the open one made: it is to be used. */
  close() {
    const home = this.open;
    this.open = undefined;
    return home && this.make(home);
  }

  /** Nobody wants it any more. */
  drop(home) {
    if (this.open === home) this.open = undefined;
    home.buffer?.destroy();
  }
}

/** Buffers that weights are going to take, made before they are asked for: as they were the last time that the model was loaded. */
export class Ahead {
  /** @param {unknown} sizes as they are found in the storage
   * @param {(size: number, index: number) => GPUBuffer} make */
  constructor(sizes, make) {
    let bytes = 0;
    const likely = Array.isArray(sizes) ? sizes.filter((size) => Number.isSafeInteger(size) && size > 0 && size % 4 === 0) : [];
    this.buffers = likely.filter((size) => (bytes += size) <= AHEAD_BYTES).map(make);
  }

  /** The next one, if it is what is asked for; else all that are left are given back. */
  take(size) {
    if (this.buffers[0]?.size !== size) this.drop();
    return this.buffers.shift();
  }

  drop() {
    for (const buffer of this.buffers.splice(0)) buffer?.destroy();
  }
}
