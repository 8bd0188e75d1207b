// wasi.js: the part of WASI preview 1 that wasi-libc needs for what host_files.c, host_write.c and host_wasm.c do: files of
// a FileTree, the clock, randomness, text output. Nothing here waits.
import { Folder } from './files.js';

const OK = 0, BADF = 8, EXIST = 20, INVAL = 28, IO = 29, ISDIR = 31, NOENT = 44, NOSPC = 51, NOSYS = 52, NOTDIR = 54, NOTEMPTY = 55;
const DIRECTORY = 3, REGULAR = 4, CHARACTER = 2; // file types
const CREAT = 1, MUST_BE_FOLDER = 2, EXCL = 4, TRUNC = 8; // flags of path_open
const ROOT_FD = 3;
const ALL_RIGHTS = 0xffffffffffffffffn;

/** The process ended itself: proc_exit. */
export class Exit extends Error {
  constructor(code) {
    super(`exit ${code}`);
    this.code = code;
  }
}

/**
 * @param {import('./files.js').FileTree} tree
 * @param {{memory: () => ArrayBuffer, print?: (text: string) => void, args?: string[]}} host
 * @returns {Record<string, Function>} the module wasi_snapshot_preview1
 */
export function wasi(tree, { memory, print = (text) => console.log(text), args = [] }) {
  const open = new Map([[ROOT_FD, { node: tree.root, at: 0 }]]);
  const numbers = new WeakMap(); // inode numbers
  const outputs = { 1: '', 2: '' };
  const decoder = new TextDecoder(), encoder = new TextEncoder();
  let nextFd = ROOT_FD + 1, nextInode = 1;

  const view = () => new DataView(memory());
  const bytes = (pointer, size) => new Uint8Array(memory(), pointer, size);
  const text = (pointer, size) => decoder.decode(bytes(pointer, size));
  const inode = (node) => {
    if (!numbers.has(node)) numbers.set(node, nextInode++);
    return numbers.get(node);
  };
  const typeOf = (node) => (node instanceof Folder ? DIRECTORY : REGULAR);

  function putStat(pointer, node) {
    const v = view();
    bytes(pointer, 64).fill(0);
    v.setBigUint64(pointer, 1n, true);
    v.setBigUint64(pointer + 8, BigInt(inode(node)), true);
    v.setUint8(pointer + 16, typeOf(node));
    v.setBigUint64(pointer + 24, 1n, true);
    v.setBigUint64(pointer + 32, BigInt(node.size ?? 0), true);
    return OK;
  }

  /** Runs `each` over the buffers of an iovec list until one is cut short; the sum goes to `total`. */
  function scatter(list, count, total, each) {
    let sum = 0;
    for (let i = 0; i < count; i++) {
      const v = view();
      const size = v.getUint32(list + 8 * i + 4, true);
      const n = each(bytes(v.getUint32(list + 8 * i, true), size), sum);
      sum += n;
      if (n < size) break;
    }
    view().setUint32(total, sum, true);
    return OK;
  }

  function failed(error) {
    return error?.name === 'QuotaExceededError' ? NOSPC : IO;
  }

  function transfer(fd, list, count, offset, total, verb) {
    const file = open.get(fd);
    if (!file) return BADF;
    if (file.node instanceof Folder) return ISDIR;
    if (!file.node[verb]) return BADF;
    try {
      return scatter(list, count, total, (part, done) => file.node[verb](offset + done, part));
    } catch (error) {
      return failed(error);
    }
  }

  function output(fd, list, count, total) {
    return scatter(list, count, total, (part) => {
      outputs[fd] += decoder.decode(part.slice());
      const lines = outputs[fd].split('\n');
      outputs[fd] = lines.pop();
      for (const line of lines) print(line);
      return part.length;
    });
  }

  function openPath(path, flags, out) {
    let node = tree.find(path);
    const place = tree.parentOf(path);
    if (node && flags & CREAT && flags & EXCL) return EXIST;
    if (!node && !(flags & CREAT)) return NOENT;
    if (!node && !place) return NOENT;
    if (node && flags & MUST_BE_FOLDER && !(node instanceof Folder)) return NOTDIR;
    try {
      if (!node || (flags & TRUNC && !(node instanceof Folder))) node = place.folder.put(place.name, place.folder.create(place.name));
    } catch (error) {
      return failed(error);
    }
    open.set(nextFd, { node, at: 0 });
    view().setUint32(out, nextFd++, true);
    return OK;
  }

  function removePath(path, folders) {
    const place = tree.parentOf(path);
    const node = place?.folder.entries.get(place.name);
    if (!node) return NOENT;
    if (folders !== node instanceof Folder) return folders ? NOTDIR : ISDIR;
    if (folders && node.entries.size) return NOTEMPTY;
    place.folder.entries.delete(place.name);
    node.removed?.();
    return OK;
  }

  function readFolder(fd, buffer, size, cookie, used) {
    const folder = open.get(fd)?.node;
    if (!(folder instanceof Folder)) return folder ? NOTDIR : BADF;
    const names = [...folder.entries.keys()];
    let at = 0;
    for (let i = Number(cookie); i < names.length && at < size; i++) {
      const name = encoder.encode(names[i]), node = folder.entries.get(names[i]);
      const entry = new Uint8Array(24 + name.length), v = new DataView(entry.buffer);
      v.setBigUint64(0, BigInt(i + 1), true);
      v.setBigUint64(8, BigInt(inode(node)), true);
      v.setUint32(16, name.length, true);
      v.setUint8(20, typeOf(node));
      entry.set(name, 24);
      const part = entry.subarray(0, size - at); // a cut entry is asked for again
      bytes(buffer + at, part.length).set(part);
      at += part.length;
    }
    view().setUint32(used, at, true);
    return OK;
  }

  function seek(fd, offset, whence, out) {
    const file = open.get(fd);
    if (!file) return BADF;
    const base = whence === 0 ? 0 : whence === 1 ? file.at : file.node.size ?? 0;
    if (base + Number(offset) < 0) return INVAL;
    file.at = base + Number(offset);
    view().setBigUint64(out, BigInt(file.at), true);
    return OK;
  }

  /** Reads or writes where the descriptor stands, and moves it on. */
  function transferHere(fd, list, count, total, verb) {
    const file = open.get(fd);
    if (!file) return BADF;
    const status = transfer(fd, list, count, file.at, total, verb);
    if (status === OK) file.at += view().getUint32(total, true);
    return status;
  }

  function stringList(list, pointers, buffer) {
    const v = view();
    for (const item of list) {
      const data = encoder.encode(item + '\0');
      v.setUint32(pointers, buffer, true);
      bytes(buffer, data.length).set(data);
      pointers += 4;
      buffer += data.length;
    }
    return OK;
  }

  const functions = {
    args_sizes_get: (count, size) => {
      view().setUint32(count, args.length, true);
      view().setUint32(size, args.reduce((sum, a) => sum + encoder.encode(a).length + 1, 0), true);
      return OK;
    },
    args_get: (pointers, buffer) => stringList(args, pointers, buffer),
    environ_sizes_get: (count, size) => {
      view().setUint32(count, 0, true);
      view().setUint32(size, 0, true);
      return OK;
    },
    environ_get: () => OK,
    clock_time_get: (clock, precision, out) => {
      const ms = clock === 0 ? Date.now() : performance.now();
      view().setBigUint64(out, BigInt(Math.round(ms * 1e6)), true);
      return OK;
    },
    random_get: (pointer, size) => {
      for (let at = 0; at < size; at += 65536) crypto.getRandomValues(bytes(pointer + at, Math.min(65536, size - at)));
      return OK;
    },
    proc_exit: (code) => {
      throw new Exit(code);
    },
    sched_yield: () => OK,

    fd_prestat_get: (fd, out) => {
      if (fd !== ROOT_FD) return BADF;
      view().setUint32(out, 0, true);
      view().setUint32(out + 4, 1, true);
      return OK;
    },
    fd_prestat_dir_name: (fd, out) => {
      bytes(out, 1)[0] = 47; // "/"
      return OK;
    },
    fd_fdstat_get: (fd, out) => {
      const file = open.get(fd);
      if (!file && fd > 2) return BADF;
      bytes(out, 24).fill(0);
      view().setUint8(out, file ? typeOf(file.node) : CHARACTER);
      view().setBigUint64(out + 8, ALL_RIGHTS, true);
      view().setBigUint64(out + 16, ALL_RIGHTS, true);
      return OK;
    },
    fd_fdstat_set_flags: () => OK,
    fd_filestat_get: (fd, out) => (open.has(fd) ? putStat(out, open.get(fd).node) : BADF),
    fd_close: (fd) => (open.delete(fd) ? OK : BADF),
    fd_pread: (fd, list, count, offset, total) => transfer(fd, list, count, Number(offset), total, 'read'),
    fd_pwrite: (fd, list, count, offset, total) => transfer(fd, list, count, Number(offset), total, 'write'),
    fd_read: (fd, list, count, total) => transferHere(fd, list, count, total, 'read'),
    fd_write: (fd, list, count, total) => (fd <= 2 ? output(fd, list, count, total) : transferHere(fd, list, count, total, 'write')),
    fd_seek: seek,
    fd_sync: (fd) => {
      const node = open.get(fd)?.node;
      try {
        node?.flush?.();
      } catch (error) {
        return failed(error);
      }
      return node ? OK : BADF;
    },
    fd_readdir: readFolder,

    path_open: (fd, dirflags, path, size, flags, rights, inheriting, fdflags, out) => openPath(text(path, size), flags, out),
    path_filestat_get: (fd, flags, path, size, out) => {
      const node = tree.find(text(path, size));
      return node ? putStat(out, node) : NOENT;
    },
    path_create_directory: (fd, path, size) => {
      const place = tree.parentOf(text(path, size));
      if (!place) return NOENT;
      if (place.folder.entries.has(place.name)) return EXIST;
      place.folder.put(place.name, new Folder(place.folder.create));
      return OK;
    },
    path_remove_directory: (fd, path, size) => removePath(text(path, size), true),
    path_unlink_file: (fd, path, size) => removePath(text(path, size), false),
    path_rename: (fd, from, fromSize, toFd, to, toSize) => {
      const source = tree.parentOf(text(from, fromSize)), target = tree.parentOf(text(to, toSize));
      const node = source?.folder.entries.get(source.name);
      if (!node || !target) return NOENT;
      source.folder.entries.delete(source.name);
      target.folder.put(target.name, node);
      return OK;
    },
  };
  // a function that this file does not have fails with an error code, not with a trap
  return new Proxy(functions, { get: (all, name) => all[name] ?? (() => NOSYS) });
}
