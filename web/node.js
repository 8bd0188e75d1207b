// doppler-web in Node 24 or later: models from folders and files of the disk, on the CPU, or on the GPU with the package `webgpu`
// (an optional peer) installed. The interface is that of index.js; the engine runs in the caller's thread.
import { closeSync, fstatSync, openSync, readFileSync, readSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Doppler as Page, DopplerError } from './index.js';
import { throwIfAborted } from './src/errors.js';
import { Folder } from './src/files.js';
import { Service } from './src/service.js';

export * from './index.js';

/** A file of the disk, in the core's file tree. */
class DiskFile {
  constructor(path) {
    this.fd = openSync(path, 'r');
    this.size = fstatSync(this.fd).size;
  }
  read(offset, out) {
    return readSync(this.fd, out, 0, out.length, offset);
  }
}

function mount(tree, path) {
  const single = statSync(path).isFile(), root = single ? dirname(path) : path, files = [], folder = new Folder();
  for (const name of readdirSync(root)) {
    if (!statSync(join(root, name)).isFile() || (single && !name.endsWith('.gguf'))) continue;
    files.push(folder.put(name, new DiskFile(join(root, name))));
  }
  tree.mount('model', folder);
  return { path: single ? `/model/${basename(path)}` : '/model', release: () => files.forEach(({ fd }) => closeSync(fd)) };
}

// The kernels are the package's own: checks for what a page may send cost half of the speed. As gpu_native_dawn.c.
const DAWN = ['enable-dawn-features=disable_robustness,skip_validation,disable_workgroup_init,vulkan_enable_f16_on_nvidia,use_vulkan_memory_model',
  'disable-dawn-features=timestamp_quantization'];

/** navigator.gpu, or what the package `webgpu` makes; undefined if it is not there. */
async function findGpu(given) {
  if (given || globalThis.navigator?.gpu) return given ?? navigator.gpu;
  try {
    const { create, globals } = await import('webgpu');
    Object.assign(globalThis, globals);
    return create(DAWN);
  } catch {
    return undefined;
  }
}

let module;
const wasm = (path) => module ??= WebAssembly.compile(readFileSync(path ?? new URL('./doppler.wasm', import.meta.url)));

/** What client.js is to a page. */
class Local {
  constructor(host) {
    this.service = new Service(host);
  }
  async call(method, args, { signal, onEvent = () => {} } = {}) {
    throwIfAborted(signal);
    return this.service[method](args ?? {}, { signal, tell: onEvent });
  }
  close() {
    this.crashed = new DopplerError('closed', 'the engine was closed');
  }
}

export class Doppler extends Page {
  /** @param {string|URL} source a folder (RDRR, Hugging Face) or a .gguf file; gpu: a GPU object, instead of the package's */
  static async load(source, { onProgress, signal, gpu, jspi, wasm: path, ...options } = {}) {
    const folder = source instanceof URL || String(source).startsWith('file:') ? fileURLToPath(source) : String(source);
    const host = { module: () => wasm(path), gpu: options.backend === 'cpu' ? undefined : await findGpu(gpu), jspi, mount: (tree) => mount(tree, folder) };
    const client = new Local(host);
    return new Doppler(client, await client.call('load', { source: folder, request: { ...options, ...options.budgets } }, { signal, onEvent: onProgress }));
  }
}
