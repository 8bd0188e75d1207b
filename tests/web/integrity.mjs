// integrity.mjs: bytes that are not what they should be, on the server or in the browser's storage, never get into a text: they are
// found when they arrive, when a model is opened whose file was written, once a day besides, and when experts are paged.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sendFile } from '../../tools/serve.mjs';
import { expect, openPage, runTests, startChromium, startServer, test } from './browser.mjs';
import { faults, faulty, loadIn, reset, shardRequests } from './support/faulty.mjs';

const folder = mkdtempSync(join(tmpdir(), 'doppler-integrity-')), large = join(folder, 'large.gguf');
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
execFileSync('build/doppler', ['synth', '--like', 'qwen3-0.6b', '--layers', '1', large, '--quiet']); // more than two pieces of 64 MiB

let ranges = true;
const asked = []; // of /gguf/: [name, range]
const server = await startServer(async (request, response) => {
  const [, name] = /^\/gguf\/([^?]+)/.exec(request.url) ?? [];
  if (!name) return faulty(request, response);
  asked.push([name, request.headers.range]);
  if (!ranges) delete request.headers.range;
  await sendFile(request, response, name === 'large.gguf' ? large : 'tests/data/gguf/llama.Q4_K_M.gguf');
  return true;
});
const context = await startChromium();
const page = await openPage(context, server);
const URL_ = '/faulty/';
const load = (source = URL_, options = {}) => loadIn(page, source, options);
const list = () => page.evaluate(() => Doppler.cache.list());
const shardNames = () => shardRequests().map((request) => request.name).join();

/** Overwrites bytes of a stored model, `at` bytes into a shard, and changes what its model.json says. */
const damage = (key, { shard = 5, at = 1000, about = {} } = {}) => page.evaluate(async ([name, index, offset, changes]) => {
  const stored = await (await (await navigator.storage.getDirectory()).getDirectoryHandle('doppler')).getDirectoryHandle(name);
  const write = async (file, change) => {
    const handle = await stored.getFileHandle(file), writable = await handle.createWritable({ keepExistingData: file === 'shards.bin' });
    await writable.write(change);
    await writable.close();
    return handle.getFile();
  };
  const json = JSON.parse(await (await (await stored.getFileHandle('model.json')).getFile()).text());
  const { size, lastModified } = await write('shards.bin', { type: 'write', position: json.shards[index].offset + offset, data: new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]) });
  if (changes.at !== undefined) json.checked = { stamp: `${size} ${lastModified}`, at: Date.now() + changes.at };
  await write('model.json', JSON.stringify(json));
}, [key, shard, at, about]);

let told, key;

test('a shard that is damaged on the server is named, never used, and replaced once the server is well', async () => {
  reset();
  faults.damage = 'shard_00003.bin';
  const damaged = await load();
  expect(damaged.code === 'corrupt' && damaged.details.shard === 'shard_00003.bin', JSON.stringify(damaged));
  expect(shardRequests().filter((r) => r.name === 'shard_00003.bin').length === 2, 'it was not tried a second time');
  reset();
  const loaded = await load();
  told = loaded.text;
  [{ key }] = await list();
  expect(told?.length > 5, JSON.stringify(loaded));
});

test('a shard that was overwritten in the storage is noticed and loaded again, alone, by address and by key', async () => {
  for (const source of [URL_, { key }]) {
    reset();
    await damage(key);
    const repaired = await load(source);
    expect(repaired.text === told && repaired.verified, JSON.stringify(repaired));
    expect(shardNames() === 'shard_00005.bin', JSON.stringify(faults.requests));
    reset();
    expect((await load(source)).text === told && faults.requests.length === 0, 'the mended model is loaded again');
  }
});

test('bytes that rotted under an unchanged date are found when a day has passed, and by verify at once', async () => {
  for (const [at, options] of [[-25 * 3600e3, {}], [0, { verify: true }]]) {
    reset();
    await damage(key, { about: { at } });
    const repaired = await load(URL_, options);
    expect(repaired.text === told && shardNames() === 'shard_00005.bin', JSON.stringify([repaired, faults.requests]));
  }
});

test('experts that are paged are hashed when they are read; the next load mends them', async () => {
  reset();
  const { shards } = await (await fetch(`${server.address_}/models/storyteller/manifest.json`)).json();
  const expert = shards.length - 1; // of the last layer
  await damage(key, { shard: expert });
  const paged = { budgets: { slots: 2 } };
  const found = await page.evaluate(async ([from, options]) => {
    const engine = await Doppler.load(from, { backend: 'cpu', ...options });
    const code = await engine.generate('Once upon a time, a dog and a cat', { temperature: 0, maxTokens: 60 }).text().then(() => 'none', (error) => `${error.code}: ${error.message}`);
    await engine.unload();
    return code;
  }, [URL_, paged]);
  expect(/^corrupt: .*shard/.test(found), found);
  const mended = await load(URL_, paged);
  expect(mended.text === told && shardNames() === shards[expert].filename, JSON.stringify([mended, faults.requests]));
});

test('without its address a damaged model says what to do, and does not run', async () => {
  const converted = await page.evaluate(async () => {
    const file = new File([await (await fetch('/gguf/llama.gguf')).blob()], 'llama.gguf');
    return (await Doppler.convert(file)).key;
  });
  await damage(converted, { shard: 0 });
  for (const attempt of [1, 2]) {
    const refused = await load({ key: converted });
    expect(refused.code === 'corrupt' && /convert it again/.test(refused.message), `attempt ${attempt}: ${JSON.stringify(refused)}`);
  }
  await page.evaluate((name) => Doppler.cache.evict(name), converted);
});

const logits = (source, options = {}) => page.evaluate(async ([from, o]) => {
  const engine = await Doppler.load(from, { backend: 'cpu', context: 64, ...o }), values = await engine.logits([1, 2, 3]);
  await engine.unload();
  return [values.length, values[0], values.at(-1)].join();
}, [source, options]);

test('a GGUF file from an address comes in pieces, whose hashes as they arrived are kept', async () => {
  asked.length = 0;
  const address = '/gguf/large.gguf', whole = await logits(address);
  const parts = asked.filter(([, range]) => range !== 'bytes=0-0').map(([, range]) => range);
  expect(parts.length > 1 && parts[1].startsWith('bytes=67108864-'), JSON.stringify(asked));
  const { key: stored } = (await list()).find((model) => model.name === 'large.gguf');
  asked.length = 0;
  await damage(stored, { shard: 1 });
  expect(await logits(address) === whole, 'the mended file gives other logits');
  expect(asked.length === 1 && asked[0][1].startsWith('bytes=67108864-'), `more than the damaged piece was asked for: ${JSON.stringify(asked)}`);
  await page.evaluate((name) => Doppler.cache.evict(name), stored);
});

test('a GGUF file from a server that sends no parts comes whole', async () => {
  ranges = false;
  const whole = await logits('/gguf/llama.gguf');
  ranges = true;
  expect(whole === await logits('/gguf/again.gguf'), 'the logits are others');
});

test('of a GGUF model in several files all are loaded', async () => {
  asked.length = 0;
  const loaded = await load('/gguf/m-00001-of-00003.gguf'); // three times the same file, which says nothing of parts
  const names = [...new Set(asked.map(([name]) => name))].sort().join();
  expect(loaded.text && names === 'm-00001-of-00003.gguf,m-00002-of-00003.gguf,m-00003-of-00003.gguf', `${names}: ${JSON.stringify(loaded)}`);
});

await runTests().finally(() => context.close());
