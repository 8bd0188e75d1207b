// store.js: models in OPFS. A model is a folder doppler/<key>/ with
//   model.json  what it is: {version, key, url, name, bytes, complete, added, used, files, shards, algorithm, parts, checked, damaged, room}
//   shards.bin  all shards, one after the other, each from a multiple of 4096 on: one file, so one handle, whatever their count
//   state.bin   8 bytes a shard: how many bytes have arrived (Float64); -1 once the shard was hashed and is good
//   files/...   manifest, tokenizer and other small files
// parts: the files that the shards are pieces of, where they are not files themselves (GGUF). checked: {stamp, at}, when all shards
// were last hashed and what shards.bin was then. damaged: a hash was wrong since. unfit: a GGUF file that could not be read.
// room: sizes of the GPU's buffers that its weights took when it was loaded last.
// A shard counts only when state.bin says -1, a model only when model.json says complete; both are written after the
// bytes they vouch for were flushed. Writers hold the model's lock exclusively, readers share it (Web Locks), so that two
// tabs have one cache. Runs in the worker.
import { DopplerError, sizeText, StorageFullError } from './errors.js';
import { BlobFile, Folder, MemoryFile, RangeFile, sliceOf } from './files.js';

const ROOT = 'doppler', VERSION = 1, ALIGN = 4096, GOOD = -1;
const SLACK = 2 << 20; // bytes: browsers reserve more than is written, and count folders and names

export const lockName = (key) => `doppler:${key}`;

/** The folder name of a URL's model: readable, and different for different URLs. */
export function keyOf(url) {
  const path = new URL(url).pathname.replace(/\/(manifest\.json)?$/, '');
  const name = decodeURIComponent(path.split('/').pop() || 'model').replace(/[^A-Za-z0-9._-]+/g, '-').slice(0, 60);
  let hash = 0xcbf29ce484222325n; // FNV-1a, 64 bit
  for (const byte of new TextEncoder().encode(url)) hash = (hash ^ BigInt(byte)) * 0x100000001b3n & 0xffffffffffffffffn;
  return `${name}-${hash.toString(16).padStart(16, '0').slice(0, 10)}`;
}

/** Pages without HTTPS have neither files of their own nor locks. */
export function needStorage() {
  if (!globalThis.isSecureContext) throw new DopplerError('storage', `${location.origin}: browsers give storage only to pages from https:// or localhost; serve the page from there, or load a File, which needs none`);
  if (!navigator.storage?.getDirectory || !navigator.locks) throw new DopplerError('storage', 'this browser has no storage for files (OPFS); update it, or load a File, which needs none');
}

const ANSWER = 30000; // milliseconds
const METHODS = ['getDirectoryHandle', 'getFileHandle', 'createSyncAccessHandle', 'getFile'];

/** A storage that was cleared under open files may never answer again (Chromium): the wait becomes an error. */
export function answered(promise, what) {
  let timer;
  const silence = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new DopplerError('storage', `the browser's storage has not answered for ${ANSWER / 1000} seconds (${what}); it may hang since it was cleared: ` +
      'close all tabs of this site, or restart the browser, and load the model again')), ANSWER);
  });
  return Promise.race([promise, silence]).finally(() => clearTimeout(timer));
}

/** A handle whose answers, and those of the handles that it gives, are waited for as above. */
function patient(handle) {
  for (const name of METHODS) {
    const ask = handle[name];
    if (ask) handle[name] = async (...args) => {
      const found = await answered(ask.apply(handle, args), name);
      return found.kind ? patient(found) : found;
    };
  }
  return handle;
}

async function root() {
  needStorage();
  try {
    const top = await answered(navigator.storage.getDirectory(), 'getDirectory');
    return await patient(top).getDirectoryHandle(ROOT, { create: true });
  } catch (error) {
    if (error instanceof DopplerError) throw error;
    throw new DopplerError('storage', `the browser's storage cannot be used: ${error.message} If it was cleared a moment ago, load again; if that does not help, restart the browser`);
  }
}

async function writeFile(folder, name, data) {
  const file = await (await folder.getFileHandle(name, { create: true })).createSyncAccessHandle();
  try {
    file.truncate(0);
    file.write(data, { at: 0 });
    file.flush();
  } finally {
    file.close();
  }
}

async function readJson(folder, name) {
  for (let tries = 1; ; tries++) {
    try {
      return JSON.parse(await (await (await folder.getFileHandle(name)).getFile()).text());
    } catch (error) {
      if (error.name === 'NotFoundError' || tries === 3) return undefined; // missing, or cut by a crash
    }
    await new Promise((resolve) => setTimeout(resolve, 30)); // a tab may be writing it
  }
}

/** A handle that other tabs may have at the same time; undefined where the browser knows no such thing. */
async function sharedHandle(file) {
  let handle;
  try {
    handle = await file.createSyncAccessHandle({ mode: 'read-only' });
  } catch {
    return undefined; // someone has it alone
  }
  if (handle.mode === 'read-only') return handle;
  handle.close();
  return undefined;
}

/** One model's folder. */
export class StoredModel {
  constructor(key, folder, about) {
    this.key = key;
    this.folder = folder;
    this.about = about;
  }

  static async open(key, { create = false } = {}) {
    let folder;
    try {
      folder = await (await root()).getDirectoryHandle(key, { create });
    } catch (error) {
      if (error.name === 'NotFoundError') return undefined;
      throw error;
    }
    const about = await readJson(folder, 'model.json');
    if (!about && !create) return undefined;
    return new StoredModel(key, folder, about?.version === VERSION ? about : undefined);
  }

  /** Enters what the model consists of. shards: [{filename, size, hash}]; parts: [{filename, size, first}], first: the shard it begins with. */
  async describe({ url, name, algorithm, shards, manifest, parts }) {
    let offset = 0;
    const placed = shards.map((shard) => {
      const at = offset;
      offset = Math.ceil((offset + shard.size) / ALIGN) * ALIGN;
      return { ...shard, offset: at };
    });
    this.about = { version: VERSION, key: this.key, url, name, algorithm, shards: placed, bytes: offset, files: [], manifest, complete: false,
      added: Date.now(), used: Date.now(), parts };
    await this.save();
  }

  save() {
    const write = () => writeFile(this.folder, 'model.json', new TextEncoder().encode(JSON.stringify(this.about)));
    return this.saving = (this.saving ?? Promise.resolve()).then(write, write);
  }

  async putFile(name, data) {
    await writeFile(await this.folder.getDirectoryHandle('files', { create: true }), encodeURIComponent(name), data);
    this.about.files = [...this.about.files.filter((f) => f.name !== name), { name, size: data.length }];
  }

  /** For writing: the shards and their state, both open alone. */
  async openForWriting() {
    const open = async (name) => (await this.folder.getFileHandle(name, { create: true })).createSyncAccessHandle();
    const data = await open('shards.bin');
    try {
      this.writer = { data, state: await open('state.bin') };
    } catch (error) {
      data.close();
      throw error;
    }
    const state = new Float64Array(this.about.shards.length);
    this.writer.state.read(new Uint8Array(state.buffer), { at: 0 });
    this.arrived = state;
  }

  /** Whether there are as many bytes as there should be; `holds` says it of one shard, while it is open for writing. */
  async isWhole() {
    const file = await this.folder.getFileHandle('shards.bin').then((handle) => handle.getFile()).catch(() => undefined);
    return this.about.shards.every(({ offset, size }) => offset + size <= (file?.size ?? -1));
  }
  holds(index) {
    const { offset, size } = this.about.shards[index];
    return offset + size <= this.writer.data.getSize();
  }

  closeWriting() {
    this.writer?.data.close();
    this.writer?.state.close();
    this.writer = undefined;
  }

  isGood(index) {
    return this.arrived[index] === GOOD;
  }
  arrivedBytes(index) {
    return this.arrived[index] === GOOD ? this.about.shards[index].size : this.arrived[index];
  }
  writeShard(index, at, data) {
    this.writer.data.write(data, { at: this.about.shards[index].offset + at });
  }
  /** What was written, to be read again. */
  get written() {
    return new RangeFile(this.writer.data, 0, this.writer.data.getSize());
  }
  /** Records how much of a shard has arrived, behind the bytes themselves. */
  mark(index, bytes) {
    this.writer.data.flush();
    this.arrived[index] = bytes;
    this.writer.state.write(new Uint8Array(this.arrived.buffer, 8 * index, 8), { at: 8 * index });
    this.writer.state.flush();
  }
  /** found: its hash, which from then on is the one of a shard for which nobody promised another. */
  async markGood(index, found) {
    if (!this.about.shards[index].hash) {
      this.about.shards[index].hash = found;
      await this.save();
    }
    this.mark(index, GOOD);
  }

  /** All shards were hashed. */
  async finish() {
    Object.assign(this.about, { complete: true, used: Date.now(), damaged: undefined, unfit: undefined, checked: { stamp: await this.stamp(), at: Date.now() } });
    await this.save();
  }

  /** Changes when the shards are written. */
  async stamp() {
    const { size, lastModified } = await (await this.folder.getFileHandle('shards.bin')).getFile();
    return `${size} ${lastModified}`;
  }
  async vouch(stamp) {
    this.about.checked = { stamp, at: Date.now() };
    await this.save().catch(() => {}); // as in touch
  }
  /** sizes: what its weights took on the GPU, which the next load begins with. */
  async keepRoom(sizes) {
    if (String(sizes) === String(this.about.room ?? '')) return;
    this.about.room = sizes;
    await this.save().catch(() => {}); // as in touch
  }
  /** The file is no model: it is asked for again if the server has another by now. */
  async unfit() {
    this.about.unfit = true;
    await this.save();
  }
  /** A hash was wrong: the model does not count until it was mended. */
  async suspect() {
    this.about.damaged = true;
    await this.save();
  }

  /** The files that are in shards.bin: [{filename, offset, size}]. */
  contents() {
    const { parts, shards } = this.about;
    return parts ? parts.map(({ filename, size, first }) => ({ filename, size, offset: shards[first].offset })) : shards;
  }

  /** [name, bytes] of each, read side by side: every step asks another process. */
  async smallFiles() {
    if (!this.about.files.length) return [];
    const files = await this.folder.getDirectoryHandle('files');
    return Promise.all(this.about.files.map(async ({ name }) =>
      [name, new Uint8Array(await (await (await files.getFileHandle(encodeURIComponent(name))).getFile()).arrayBuffer())]));
  }

  /** The model as a folder of the core's file tree; `file`: its shards, one behind the other; `release` closes its files. */
  async mount() {
    const folder = new Folder(), small = this.smallFiles();
    small.catch(() => {}); // thrown below
    const entry = await this.folder.getFileHandle('shards.bin').catch(() => undefined);
    const handle = entry && await sharedHandle(entry), blob = entry && !handle ? await entry.getFile() : undefined;
    for (const { filename, offset, size } of this.contents()) putDeep(folder, filename, handle ? new RangeFile(handle, offset, size) : sliceOf(blob, offset, size));
    try {
      for (const [name, bytes] of await small) putDeep(folder, name, new MemoryFile(bytes));
    } catch (error) {
      handle?.close();
      throw error;
    }
    return { folder, file: handle ? new RangeFile(handle, 0, handle.getSize()) : blob && new BlobFile(blob), release: () => handle?.close() };
  }

  async touch() {
    this.about.used = Date.now();
    await this.save().catch(() => {}); // another tab may be writing it: its date is as good
  }
}

/** "a/b" becomes folders. */
export function putDeep(folder, path, entry) {
  const list = path.split('/');
  for (const name of list.slice(0, -1)) folder = folder.entries.get(name) ?? folder.put(name, new Folder());
  folder.put(list.at(-1), entry);
}

// ---- the cache as a whole ----

/** All models, the least recently used first: [{key, name, url, bytes, stored, complete, added, used}]. */
export async function list() {
  const models = [];
  for await (const [key, handle] of (await root()).entries()) {
    if (handle.kind !== 'directory') continue;
    const about = await readJson(handle, 'model.json');
    if (!about) {
      models.push({ key, name: key, url: '', bytes: 0, complete: false, added: 0, used: 0 });
      continue;
    }
    const { name, url, bytes, complete, added, used } = about;
    models.push({ key, name, url, bytes, complete, added, used });
  }
  return models.sort((a, b) => a.used - b.used);
}

export const PATIENCE = 2000; // milliseconds: a tab that was just closed lets go of its locks and files a moment later

/** Runs `work` with the model's lock held alone; DopplerError "locked" while a tab uses the model. */
export async function alone(key, work) {
  try {
    return await navigator.locks.request(lockName(key), { signal: AbortSignal.timeout(PATIENCE) }, work);
  } catch (error) {
    if (error.name !== 'TimeoutError') throw error;
    throw new DopplerError('locked', `${key}: a tab is using this model; unload it there first`);
  }
}

/** Removes a model; one that a tab has open is refused. */
export async function evict(key) {
  const folder = await root();
  return alone(key, async () => {
    for (const start = performance.now(); ;) {
      try {
        await folder.removeEntry(key, { recursive: true });
        return true;
      } catch (error) {
        if (error.name === 'NotFoundError') return false;
        if (performance.now() - start > PATIENCE) throw new DopplerError('storage', `${key}: cannot be removed: ${error.message}`);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  });
}

/** Removes what was left of a model that did not become whole. */
export async function discard(key) {
  for (let tries = 1; ; tries++) {
    const model = await StoredModel.open(key);
    if (model?.about?.complete) return false;
    try {
      return await evict(key);
    } catch (error) {
      if (tries === 5) throw error; // a worker that was ended lets go of its files a few seconds later
    }
  }
}

/** Bytes: {usage, quota, available, persisted}. */
export async function estimate() {
  const { usage = 0, quota = 0 } = await navigator.storage.estimate();
  return { usage, quota, available: Math.max(0, quota - usage), persisted: await navigator.storage.persisted?.() ?? false };
}

/**
 * Makes sure that so many more bytes fit. consent: asked before the least recently used models are removed;
 * (shortage) => boolean, with shortage.evictable. disk: bytes that the site may store altogether; 0: what the browser gives. full: a
 * write has failed, so there is less room than the browser says (some tell every page the same quota).
 */
export async function makeRoom(bytes, key, consent, { disk = 0, full = false } = {}) {
  const { quota: told, usage } = await estimate();
  const budgeted = disk > 0 && (!told || disk < told), quota = budgeted ? disk : told;
  const needed = bytes + SLACK, available = full ? 0 : Math.max(0, quota - usage);
  if (!full && (!quota || needed <= available)) return;
  const missing = needed - available;
  const others = (await list()).filter((m) => m.key !== key && m.bytes > 0);
  const details = { needed, available, missing, quota, usage, evictable: others.map(({ key: k, name, bytes, used }) => ({ key: k, name, bytes, used })) };
  const chosen = [];
  let freed = 0;
  for (const model of others) if (freed < missing) (freed += model.bytes, chosen.push(model));
  const message = full ? `the browser's storage is full, and up to ${sizeText(missing)} more are needed`
    : `${budgeted ? 'the budget of the disk' : "the browser's storage"} is ${sizeText(missing)} short: ${sizeText(needed)} are needed, ${sizeText(available)} of ${sizeText(quota)} are free`;
  if (full ? !freed : freed < missing) {
    const gain = others.length ? `removing all other models would free ${sizeText(freed)}` : 'there are no other models to remove';
    throw new StorageFullError(`${message}; ${gain}: ${budgeted && !full ? 'raise budgets.disk' : 'free space on the disk'}, or take a smaller model`, details);
  }
  details.chosen = chosen.map((m) => m.key);
  if (!consent || !await consent(details)) {
    const names = chosen.map((m) => m.name).join(', ');
    throw new StorageFullError(`${message}; removing ${names} would free ${sizeText(freed)}: remove models, or allow it (onShortage, allowEviction)`, details);
  }
  for (const model of chosen) await evict(model.key);
}

/** A file or folder that the user chose, as part of the core's file tree: {folder, path}. */
export function mountLocal(files) {
  const folder = new Folder();
  for (const file of files) {
    const path = (file.webkitRelativePath || file.name).split('/');
    putDeep(folder, (path.length > 1 ? path.slice(1) : path).join('/'), new BlobFile(file));
  }
  return folder;
}
