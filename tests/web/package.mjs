// package.mjs: what npm would publish: every file it needs and none besides, its size, and that the types name what there is.
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, runTests, test } from './browser.mjs';

const MOST = 600e3; // bytes of JavaScript and WebAssembly, compressed
const [pack] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json'], { cwd: 'web', encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
const files = pack.files.map((file) => file.path).sort();
const all = files.filter((name) => name.endsWith('.js')), scripts = all.filter((name) => name !== 'node.js'); // of a page

test('the package holds its scripts, types, module and worker, and no demo or test', async () => {
  for (const name of ['README.md', 'LICENSE', 'doppler.wasm', 'index.d.ts', 'index.js', 'package.json', 'src/worker.js', 'sw.js']) expect(files.includes(name), `${name} is missing of ${files}`);
  const odd = files.filter((name) => !/^(README\.md|LICENSE|package\.json|doppler\.wasm|index\.(js|d\.ts)|node\.js|sw\.js|src\/[a-z]+\.js)$/.test(name));
  expect(odd.length === 0, `unexpected: ${odd}`);
});

test('every import leads to a file of the package', async () => {
  for (const script of all) {
    const text = readFileSync(join('web', script), 'utf8');
    for (const [, target] of text.matchAll(/(?:from|import) '([^']+)'/g)) {
      const path = join(script, '..', target);
      expect(target.startsWith('.') ? files.includes(path) : script === 'node.js' && target.startsWith('node:'), `${script} imports ${target}`);
    }
  }
});

test('the service worker keeps every script', async () => {
  const kept = [...readFileSync('web/sw.js', 'utf8').matchAll(/'\.\/([^']+)'/g)].map(([, name]) => name);
  for (const name of [...scripts.filter((s) => s !== 'sw.js'), 'doppler.wasm']) expect(kept.includes(name), `sw.js does not keep ${name}`);
});

test('the types declare what index.js exports', async () => {
  const names = (text, pattern) => [...new Set([...text.matchAll(pattern)].flatMap(([, list]) => list.split(',').map((n) => n.trim())))].sort();
  const made = names(readFileSync('web/index.js', 'utf8'), /export (?:class |const |\{ )([\w, ]+)/g);
  const declared = names(readFileSync('web/index.d.ts', 'utf8'), /export (?:class |const )(\w+)/g);
  expect(JSON.stringify(made) === JSON.stringify(declared), `exported ${made}, declared ${declared}`);
});

test('a page in TypeScript compiles against the types', async () => {
  const options = ['--noEmit', '--strict', '--target', 'es2022', '--module', 'es2022', '--moduleResolution', 'bundler', '--lib', 'es2022,dom,dom.iterable,dom.asynciterable'];
  const folder = mkdtempSync(join(tmpdir(), 'doppler-types-'));
  try {
    mkdirSync(join(folder, 'node_modules'));
    symlinkSync(resolve('web'), join(folder, 'node_modules/doppler-web'));
    copyFileSync('tests/web/consumer.ts', join(folder, 'consumer.ts'));
    execFileSync(process.execPath, [resolve('tests/web/node_modules/typescript/bin/tsc'), ...options, 'consumer.ts'], { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    throw new Error(error.stdout || error);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('the example of the README is one of the types, too', async () => {
  const code = /```html\n([\s\S]*?)```/.exec(readFileSync('web/README.md', 'utf8'))[1], declared = readFileSync('web/index.d.ts', 'utf8');
  for (const [, name] of code.matchAll(/\b(?:engine|Doppler)\.(\w+)/g)) expect(new RegExp(`\\b${name}\\b`).test(declared), `README.md names ${name}`);
});

test('scripts and module stay below 600 kB compressed', async () => {
  const size = [...scripts, 'doppler.wasm'].reduce((sum, name) => sum + gzipSync(readFileSync(join('web', name)), { level: 9 }).length, 0);
  console.log(`     ${Math.round(size / 1000)} kB`);
  expect(size < MOST, `${size} bytes`);
});

await runTests();
