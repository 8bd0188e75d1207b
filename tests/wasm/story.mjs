// Lets the bundled model write in WebAssembly and compares the text with the native program's, both on the reference
// backend and greedy: node story.mjs doppler.wasm
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WASI } from 'node:wasi';

const model = 'models/storyteller';
const folder = mkdtempSync(join(tmpdir(), 'doppler-story-'));
const file = join(folder, 'story.txt');
const out = openSync(file, 'w');
const nothing = new Proxy({}, { get: (_, name) => () => { throw new Error(`${name} was called`); } }); // no GPU here
const wasi = new WASI({ version: 'preview1', args: [], env: {}, preopens: { '/model': model }, stdout: out });
const module = new WebAssembly.Module(readFileSync(process.argv[2]));
const instance = new WebAssembly.Instance(module, { wasi_snapshot_preview1: wasi.wasiImport, doppler: nothing });
wasi.initialize(instance);
const status = instance.exports.story();
closeSync(out);
const story = readFileSync(file, 'utf8').trim();
rmSync(folder, { recursive: true });

const native = execFileSync('build/doppler', ['run', model, 'Tell me a story about a brave fox.', '--device', 'cpu-ref',
  '--greedy', '--max-tokens', '40', '--quiet'], { encoding: 'utf8' }).trim();
const same = status === 0 && story !== '' && story === native;
if (!same) console.log(`FAIL story: status ${status}\n  wasm:   ${story}\n  native: ${native}`);
console.log(same ? '1 passed, 0 failed' : '0 passed, 1 failed');
process.exitCode = same ? 0 : 1;
