// files.js: the file tree that the C core sees. Everything in it reads without waiting: memory, a Blob (through
// FileReaderSync, which workers have), a range of an OPFS file that is open. What needs waiting for is opened before.

/** Bytes in memory; grows when written. */
export class MemoryFile {
  constructor(bytes = new Uint8Array(0)) {
    this.bytes = bytes;
    this.size = bytes.length;
  }
  read(offset, out) {
    const part = this.bytes.subarray(offset, Math.min(offset + out.length, this.size));
    out.set(part);
    return part.length;
  }
  write(offset, data) {
    const end = offset + data.length;
    if (end > this.bytes.length) {
      const grown = new Uint8Array(Math.max(end, 2 * this.bytes.length, 1024));
      grown.set(this.bytes.subarray(0, this.size));
      this.bytes = grown;
    }
    this.bytes.set(data, offset);
    this.size = Math.max(this.size, end);
    return data.length;
  }
  contents() {
    return this.bytes.subarray(0, this.size);
  }
}

/** A Blob or File: what a user chose, or an OPFS file that another tab also reads. */
export class BlobFile {
  constructor(blob) {
    this.blob = blob;
    this.size = blob.size;
    this.reader = new FileReaderSync();
  }
  read(offset, out) {
    const part = new Uint8Array(this.reader.readAsArrayBuffer(this.blob.slice(offset, offset + out.length)));
    out.set(part);
    return part.length;
  }
}

/** A range of something that reads and writes at offsets: an OPFS access handle. */
export class RangeFile {
  /** @param {{read: Function, write?: Function}} handle FileSystemSyncAccessHandle or alike */
  constructor(handle, start, size) {
    this.handle = handle;
    this.start = start;
    this.size = size;
  }
  read(offset, out) {
    const wanted = Math.min(out.length, this.size - offset);
    if (wanted <= 0) return 0;
    return this.handle.read(wanted === out.length ? out : out.subarray(0, wanted), { at: this.start + offset });
  }
}

/** The same over a Blob, where there is no access handle. */
export function sliceOf(blob, start, size) {
  return new BlobFile(blob.slice(start, start + size));
}

/** Names and what they stand for. `create` decides what a new file is made of. */
export class Folder {
  constructor(create = () => new MemoryFile()) {
    this.entries = new Map();
    this.create = create;
  }
  put(name, entry) {
    this.entries.set(name, entry);
    return entry;
  }
}

/** Splits a path; the root is the empty list. */
function parts(path) {
  const list = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..') list.pop();
    else list.push(part);
  }
  return list;
}

/** The tree: what WASI's path functions work on. */
export class FileTree {
  constructor() {
    this.root = new Folder();
  }
  find(path) {
    let at = this.root;
    for (const part of parts(path)) {
      if (!(at instanceof Folder)) return undefined;
      at = at.entries.get(part);
    }
    return at;
  }
  /** The folder that holds the last part of the path, and that part. */
  parentOf(path) {
    const list = parts(path);
    const name = list.pop();
    const folder = this.find(list.join('/'));
    return folder instanceof Folder && name !== undefined ? { folder, name } : undefined;
  }
  /** Puts a folder at a path of the root, in place of what was there. */
  mount(name, folder) {
    this.root.put(name, folder);
  }
  unmount(name) {
    this.root.entries.delete(name);
  }
}
