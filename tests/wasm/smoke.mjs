// Loads the core as WebAssembly through Node's WASI and runs smoke.c: node smoke.mjs doppler.wasm
import { readFile } from 'node:fs/promises';
import { WASI } from 'node:wasi';

const nothing = new Proxy({}, { get: (_, name) => () => { throw new Error(`${name} was called`); } }); // no GPU here
const wasi = new WASI({ version: 'preview1', args: [], env: {}, preopens: {} });
const module = await WebAssembly.compile(await readFile(process.argv[2]));
const instance = await WebAssembly.instantiate(module, { wasi_snapshot_preview1: wasi.wasiImport, doppler: nothing });
wasi.initialize(instance);
const line = instance.exports.smoke();
if (line !== 0) console.log(`FAIL smoke.c:${line}`);
console.log(line === 0 ? '1 passed, 0 failed' : '0 passed, 1 failed');
process.exitCode = line === 0 ? 0 : 1;
