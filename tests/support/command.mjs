// Runs a test program that was compiled to WebAssembly, in Node: node command.mjs PROGRAM.wasm [ARGUMENT...]
import { readFile } from 'node:fs/promises';
import { WASI } from 'node:wasi';

const nothing = new Proxy({}, { get: (_, name) => () => { throw new Error(`${name} was called`); } }); // no GPU here
const wasi = new WASI({ version: 'preview1', args: process.argv.slice(2), env: {}, preopens: {}, returnOnExit: true });
const module = await WebAssembly.compile(await readFile(process.argv[2]));
const instance = await WebAssembly.instantiate(module, { wasi_snapshot_preview1: wasi.wasiImport, doppler: nothing });
process.exitCode = wasi.start(instance);
