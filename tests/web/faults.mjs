// faults.mjs: what may go wrong around a running model: a tab that sleeps, storage that is cleared, files that are cut, a module that
// traps, memory that is refused, workers that are deaf. Each is told, and the same page goes on.
import { readFileSync } from 'node:fs';
import { expect, openPage, runTests, startChromium, startServer, test } from './browser.mjs';
import { makeGate } from './support/gate.mjs';

const MODEL = '/models/storyteller/';
const PROMPT = 'Once upon a time';

/** doppler.wasm with so many more pages of memory at most than it starts with: the memory section (5) gets a limit. */
function lessMemory(more) {
  const bytes = readFileSync('web/doppler.wasm');
  const number = (at) => { // LEB128: [value, next]
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return [value, at];
    }
  };
  const leb = (value) => (value < 128 ? [value] : [value % 128 | 128, ...leb(Math.floor(value / 128))]);
  for (let at = 8; at < bytes.length;) {
    const id = bytes[at], [size, start] = number(at + 1);
    if (id === 5) {
      const [least] = number(start + 2), limits = [1, 1, ...leb(least), ...leb(least + more)];
      return Buffer.concat([bytes.subarray(0, at), Buffer.from([5, limits.length, ...limits]), bytes.subarray(start + size)]);
    }
    at = start + size;
  }
  throw new Error('no memory section');
}

const within = (promise, seconds, what) => Promise.race([promise, new Promise((_, reject) => setTimeout(() => reject(new Error(`${what}: nothing after ${seconds} s`)), 1000 * seconds))]);
const gate = makeGate(); // before each shard
const server = await startServer(async (request, response) => {
  if (request.url === '/small.wasm') {
    response.writeHead(200, { 'Content-Type': 'application/wasm' }).end(lessMemory(40)); // 64 kB each
    return true;
  }
  if (/shard_/.test(request.url)) await gate.pass();
  return false;
});
const context = await startChromium();
const page = await openPage(context, server);
const devtools = await context.newCDPSession(page);
const clearStorage = () => devtools.send('Storage.clearDataForOrigin', { origin: server.address_, storageTypes: 'all' });

/** Loads the model anew in the same page; what it writes. */
const works = (source = MODEL, options = {}) => page.evaluate(async ([from, o, prompt]) => {
  await globalThis.engine?.unload().catch(() => {});
  globalThis.engine = await Doppler.load(from, { backend: 'cpu', ...o });
  return engine.generate(prompt, { temperature: 0, maxTokens: 8 }).text();
}, [source, options, PROMPT]);
const told = await works();

/** Starts a worker of the package with something of one's own in front, as globalThis.strange. */
const strangeWorker = (source) => page.evaluate((text) => {
  const module = (code) => URL.createObjectURL(new Blob([code], { type: 'text/javascript' }));
  globalThis.strange = (name) => globalThis.inner = new Worker(module(`import '${module(text)}'; import '${location.origin}/web/src/worker.js';`), { type: 'module', name });
}, source);

test('a tab that is frozen in the middle of a text goes on when it wakes', async () => {
  await page.evaluate((prompt) => {
    globalThis.pieces = 0;
    globalThis.whole = (async () => {
      let text = '';
      for await (const piece of engine.generate(prompt, { temperature: 0, maxTokens: 300 })) (text += piece, globalThis.pieces++);
      return text;
    })();
  }, PROMPT);
  await page.waitForFunction(() => globalThis.pieces > 10);
  await devtools.send('Page.setWebLifecycleState', { state: 'frozen' });
  await new Promise((resolve) => setTimeout(resolve, 1500));
  await devtools.send('Page.setWebLifecycleState', { state: 'active' });
  const text = await page.evaluate(() => globalThis.whole);
  expect(text.startsWith(told) && text.length > told.length, `"${text}" after the sleep, expected a longer "${told}"`);
});

test('clearing the storage does not disturb a model that runs', async () => {
  const pending = page.evaluate((prompt) => engine.generate(prompt, { temperature: 0, maxTokens: 200 }).text(), PROMPT);
  await clearStorage();
  expect((await pending).startsWith(told), 'the text differs');
  expect((await page.evaluate(() => Doppler.cache.list())).length === 0, 'the cleared model is still listed');
  expect(await works() === told, 'the model does not load again');
});

test('clearing the storage in the middle of a download is told, and the next attempt works', async () => {
  await page.evaluate(() => engine.unload());
  await clearStorage();
  const middle = gate.close(12);
  const pending = page.evaluate((from) => Doppler.load(from, { backend: 'cpu' })
    .then((engine) => engine.unload().then(() => 'none'), (error) => `${error.code}: ${error.message}`), MODEL);
  await middle;
  await clearStorage();
  gate.open();
  const code = await within(pending, 60, 'the download');
  expect(/^(storage|crashed): .*cleared/.test(code), `expected "storage" or "crashed", got ${code}`);
  expect(await works() === told, 'the model does not load again');
});

test('a storage that never answers, and a tab that holds a model and does nothing, are told', async () => {
  await page.evaluate(() => engine.unload());
  await strangeWorker(`const later = setTimeout, every = setInterval, now = performance.now.bind(performance);
    self.setTimeout = (f, ms, ...rest) => later(f, ms / 100, ...rest);
    self.setInterval = (f, ms, ...rest) => every(f, ms / 100, ...rest);
    performance.now = () => now() * 1000;
    if (self.name === 'mute') StorageManager.prototype.getDirectory = () => new Promise(() => {});`);
  const [mute, held] = await page.evaluate(async (from) => {
    const told = (source, name) => Doppler.load(source, { backend: 'cpu', worker: () => strange(name) }).then(() => 'none', (error) => `${error.code}: ${error.message}`);
    const found = [await told(from, 'mute')], [{ key }] = await Doppler.cache.list();
    const stop = new AbortController();
    await new Promise((begun) => navigator.locks.request(`doppler:${key}`, () => new Promise((release) => (stop.signal.addEventListener('abort', release), begun()))));
    found.push(await told({ key }, 'held'));
    stop.abort();
    return found;
  }, MODEL);
  expect(/^storage: .*not answered.*restart the browser/.test(mute), `the storage: ${mute}`);
  expect(/^locked: .*not got on for/.test(held), `the lock: ${held}`);
  expect(await works() === told, 'the model does not load again');
});

test('a file of the storage that was cut or removed is noticed and loaded again', async () => {
  for (const harm of ['cut', 'removed']) {
    await page.evaluate(() => engine.unload());
    const byKey = await page.evaluate(async (how) => {
      const [{ key }] = await Doppler.cache.list();
      const folder = await (await (await navigator.storage.getDirectory()).getDirectoryHandle('doppler')).getDirectoryHandle(key);
      if (how === 'removed') await folder.removeEntry('shards.bin');
      else {
        const writable = await (await folder.getFileHandle('shards.bin')).createWritable({ keepExistingData: true });
        await writable.truncate(3e6);
        await writable.close();
      }
      return Doppler.load({ key }, { backend: 'cpu' }).then(() => 'none', (error) => error.code);
    }, harm);
    expect(byKey === 'storage', `${harm}: expected "storage", got ${byKey}`);
    expect(await works() === told, `${harm}: the model does not load again`);
  }
});

test('a module that traps is told as a crash, and the next load works', async () => {
  await strangeWorker(`const make = WebAssembly.instantiate;
    let ruined = false;
    WebAssembly.instantiate = (module, imports) => {
      const tell = imports.doppler.on_prefill;
      imports.doppler.on_prefill = (...a) => {
        if (ruined) throw new WebAssembly.RuntimeError('unreachable');
        return tell(...a);
      };
      return make(module, imports);
    };
    addEventListener('message', ({ data }) => data === 'ruin' && (ruined = true));`);
  const codes = await page.evaluate(async ([from, prompt]) => {
    const engine = await Doppler.load(from, { backend: 'cpu', worker: strange, jspi: false });
    inner.postMessage('ruin');
    const code = (run) => run().then(() => 'none', (error) => error.code);
    const found = [await code(() => engine.generate(prompt, { maxTokens: 3 }).text()), await code(() => engine.tokenize('a'))];
    await engine.unload();
    return found;
  }, [MODEL, PROMPT]);
  expect(codes[0] === 'crashed' && /^(crashed|closed)$/.test(codes[1]), JSON.stringify(codes));
  expect(await works() === told, 'the model does not load again');
});

test('memory that the browser refuses is an error with a code, on the CPU and on the GPU', async () => {
  const cpu = await page.evaluate((from) => Doppler.load(from, { backend: 'cpu', wasm: '/small.wasm' }).then(() => 'none', (error) => `${error.code}: ${error.message}`), MODEL);
  expect(/^memory: /.test(cpu), `the CPU: ${cpu}`);
  await strangeWorker(`const make = GPUDevice.prototype.createBuffer;
    GPUDevice.prototype.createBuffer = function (desc) {
      if (desc.size > 50000 && desc.usage & GPUBufferUsage.STORAGE) throw new RangeError('createBuffer failed, size is too large');
      return make.call(this, desc);
    };`);
  const gpu = await page.evaluate((from) => Doppler.load(from, { backend: 'gpu', worker: strange }).then(() => 'none', (error) => `${error.code}: ${error.message}`), MODEL);
  expect(/^memory: .*no room for/.test(gpu), `the GPU: ${gpu}`);
  expect(await works() === told, 'the model does not load');
});

test('every call takes a signal that is aborted already', async () => {
  const names = await page.evaluate(async (from) => {
    const signal = AbortSignal.abort(), name = (run) => Promise.resolve().then(run).then(() => 'none', (error) => error.name);
    return [await name(() => Doppler.load(from, { signal })), await name(() => Doppler.convert(new File(['x'], 'a.gguf'), { signal })), await name(() => engine.tokenize('a', { signal })),
      await name(() => engine.detokenize([1], { signal })), await name(() => engine.template([], { signal })), await name(() => engine.logits([1], { signal })),
      await name(() => engine.generate('a', { signal }).text()), await name(() => engine.chat.completions.create({ messages: [{ role: 'user', content: 'a' }], signal }))];
  }, MODEL);
  expect(names.every((name) => name === 'AbortError'), names.join());
});

test('what this browser can do is told, with a model and without', async () => {
  const [before, after] = await page.evaluate(async () => [await Doppler.capabilities(), await engine.capabilities()]);
  expect(before.webgpu && before.jspi && /swiftshader/i.test(before.adapter.name) && before.adapter.software && before.limits.maxBufferSize > 1e6 && Array.isArray(before.features), JSON.stringify(before));
  expect(before.backend === '' && before.threads === 1 && before.memory.wasmMost === 2 ** 32 && before.storage.quota > before.storage.usage, JSON.stringify(before));
  expect(after.backend === 'cpu' && after.memory.wasm > 6e6 && after.storage.usage > 6.7e6, JSON.stringify(after));
});

await runTests().finally(() => context.close());
