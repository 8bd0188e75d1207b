// verify.js: whether the bytes that are stored are those that their hashes promise. Shards are hashed when they have arrived, and
// again when a model is opened whose file was written since, or that nobody has looked at for a day.
import { breathe, Hasher } from './core.js';
import { CorruptError, throwIfAborted } from './errors.js';

const TRUSTED = 24 * 3600e3;   // milliseconds
const AT_ONCE = 80 << 20;      // bytes: the browser's own hash, several times as fast, takes no pieces
const PIECE = 1 << 20;

const hexOf = (bytes) => Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');

/** Hashes one shard after the other, so that one is in memory at a time. */
export class Verifier {
  /** @param {() => Promise<WebAssembly.Module>} module what hashes where the browser does not */
  constructor(module) {
    this.module = module;
    this.last = Promise.resolve();
    this.room = new Uint8Array(0);
  }

  /** Reads into memory that is used again; shorter if the file is. */
  fill(file, at, size) {
    if (this.room.length < size) this.room = new Uint8Array(size);
    return this.room.subarray(0, file.read(at, this.room.subarray(0, size)));
  }

  async piecewise(file, { offset, size }, algorithm, signal) {
    this.hasher ??= await Hasher.create(await this.module());
    const hash = this.hasher.start(algorithm);
    try {
      for (let at = 0; at < size; at += PIECE) {
        this.hasher.update(hash, this.fill(file, offset + at, Math.min(PIECE, size - at)));
        if (at % (16 * PIECE) === 0) await breathe();
        throwIfAborted(signal);
      }
    } catch (error) {
      this.hasher.end(hash);
      throw error;
    }
    return this.hasher.end(hash);
  }

  /** The hash of a part of a file as hexadecimal digits. */
  digest(file, shard, algorithm, signal) {
    const work = async () => {
      throwIfAborted(signal);
      if (algorithm !== 'sha256' || shard.size > AT_ONCE || !globalThis.crypto?.subtle) return this.piecewise(file, shard, algorithm, signal);
      return hexOf(await crypto.subtle.digest('SHA-256', this.fill(file, shard.offset, shard.size)));
    };
    return this.last = this.last.then(work, work);
  }

  /** {good, found}; a shard without a hash is good. Some manifests say sha256 and mean BLAKE3. */
  async check(file, shard, algorithm, signal) {
    const found = await this.digest(file, shard, algorithm, signal), wanted = shard.hash?.toLowerCase();
    const good = !wanted || found === wanted || await this.digest(file, shard, algorithm === 'blake3' ? 'sha256' : 'blake3', signal) === wanted;
    return { good, found };
  }
}

/** Whether a model must be hashed before it is used. */
export const isDue = ({ checked }, stamp) => checked?.stamp !== stamp || !(Math.abs(Date.now() - checked.at) < TRUSTED);

/**
 * Hashes a model that is open for reading, if that is due; CorruptError with the shard's name if its bytes are others.
 * @param {import('./store.js').StoredModel} model
 * @param {{read: Function}} file its shards
 */
export async function checkStored(model, file, verifier, { tell, signal }) {
  const stamp = await model.stamp(), { shards, algorithm, name } = model.about, total = shards.reduce((sum, { size }) => sum + size, 0);
  if (!isDue(model.about, stamp)) return;
  let done = 0;
  for (const shard of shards) {
    const { good, found } = await verifier.check(file, shard, algorithm || 'sha256', signal);
    if (!good) {
      await model.suspect();
      throw new CorruptError(`${name}: ${shard.filename} is damaged in the browser's storage: its hash is ${found}, and should be ${shard.hash}; ` +
        `${model.about.url ? 'load the model from its address' : 'remove the model and convert it'} again`, { shard: shard.filename, expected: shard.hash, found, stored: true });
    }
    tell({ phase: 'verify', done: done += shard.size, total });
  }
  await model.vouch(stamp);
}
