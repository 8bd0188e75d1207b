// program.js: a worker that runs a test program compiled to WebAssembly, with the package's own WASI and GPU host.
// In: {url, args, files: [path below the repository], strict}. Out: {line} per line of output, then {code}.
import { FileTree, Folder, MemoryFile } from '/web/src/files.js';
import { GpuHost } from '/web/src/gpu.js';
import { putDeep } from '/web/src/store.js';
import { Exit, wasi } from '/web/src/wasi.js';

async function run({ url, args, files, strict }) {
  const tree = new FileTree(), repository = new Folder();
  tree.mount('repository', repository);
  await Promise.all(files.map(async (path) => putDeep(repository, path, new MemoryFile(new Uint8Array(await (await fetch(`/repository/${path}`)).arrayBuffer())))));
  const gpu = new GpuHost({ canWait: true, strict });
  let exports;
  const memory = () => exports.memory.buffer;
  gpu.memory = memory;
  const imports = gpu.imports();
  for (const name of GpuHost.waiting) imports[name] = new WebAssembly.Suspending(imports[name]);
  const unused = () => 1; // the callbacks of src/web, which these programs do not reach
  Object.assign(imports, { on_text: unused, on_prefill: unused, on_progress: unused });
  const module = await WebAssembly.compileStreaming(fetch(url));
  const host = { memory, args: ['test', ...args], print: (line) => postMessage({ line }) };
  exports = (await WebAssembly.instantiate(module, { wasi_snapshot_preview1: wasi(tree, host), doppler: imports })).exports;
  try {
    await WebAssembly.promising(exports._start)();
    return 0;
  } catch (error) {
    if (error instanceof Exit) return error.code;
    throw error;
  }
}

addEventListener('message', ({ data }) => run(data).then((code) => postMessage({ code }), (error) => postMessage({ line: String(error.stack), code: 99 })));
