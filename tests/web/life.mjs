// life.mjs: the life of a model in the browser: a download whose connections die, resume, reload, offline, shortage of storage, two
// tabs, eviction. Damage is integrity.mjs's.
import { expect, openPage, runTests, startChromium, startServer, test } from './browser.mjs';
import { faults, faulty, gate, loadIn, reset, shardRequests } from './support/faulty.mjs';

const server = await startServer(faulty);
const context = await startChromium();
let page = await openPage(context, server);
const URL_ = '/faulty/';

const load = (source = URL_, options = {}) => loadIn(page, source, options);
const list = () => page.evaluate(() => Doppler.cache.list());
const clear = () => page.evaluate(async () => {
  for (const { key } of await Doppler.cache.list()) await Doppler.cache.evict(key);
});
let told;

test('lost connections and errors of the server are survived, each shard continuing where it stopped', async () => {
  reset();
  Object.assign(faults, { cut: 5, fail: 2 });
  const loaded = await load();
  told = loaded.text;
  expect(told?.length > 5, `the model does not run: ${JSON.stringify(loaded)}`);
  expect(shardRequests().some((r) => /^bytes=[1-9]/.test(r.range)), 'no shard was continued with a range request');
  const last = loaded.seen.at(-1);
  expect(last.done === last.total && loaded.seen.some((p) => p.bytesPerSecond > 0), `unexpected progress ${JSON.stringify(last)}`);
});

test('what is stored is used without the server', async () => {
  reset();
  const again = await load();
  expect(again.text === told, JSON.stringify(again));
  expect(faults.requests.length === 0, `the server was asked for ${JSON.stringify(faults.requests)}`);
});

test('a model is evicted', async () => {
  const [model] = await list();
  expect(model.complete && model.name === 'storyteller' && model.bytes > 6.7e6, `unexpected ${JSON.stringify(model)}`);
  expect(await page.evaluate((key) => Doppler.cache.evict(key), model.key) === true, 'evict says that there was none');
  expect((await list()).length === 0, 'it is still listed');
});

test('a reload in the middle continues the download and repeats no finished shard', async () => {
  reset();
  const middle = gate.close(12);
  page.evaluate((from) => Doppler.load(from, { backend: 'cpu' }), URL_).catch(() => {});
  await middle;
  await page.close();
  const before = shardRequests();
  expect(before.length > 12 && before.length < 49, `${before.length} shards were asked for before the reload`);
  page = await openPage(context, server);
  const [half] = await list();
  expect(half && !half.complete, `unexpected ${JSON.stringify(half)}`);
  reset();
  const loaded = await load();
  expect(loaded.text === told, JSON.stringify(loaded));
  expect(shardRequests().length < 49 - before.length + 8, `${shardRequests().length} shards were asked for again, ${before.length} before`);
});

test('a half-loaded model does not count', async () => {
  await clear();
  reset();
  gate.close(3);
  const aborted = await page.evaluate(async (from) => {
    const stop = new AbortController();
    const onProgress = (p) => p.phase === 'download' && p.done > 0 && stop.abort();
    return Doppler.load(from, { backend: 'cpu', signal: stop.signal, onProgress }).catch((error) => error.name);
  }, URL_);
  expect(aborted === 'AbortError', `expected AbortError, got ${aborted}`);
  const [half] = await list();
  const opened = await load({ key: half.key });
  expect(opened.code === 'not-found', JSON.stringify(opened));
});

test('an address that is no model, a page in place of a shard', async () => {
  await clear();
  reset();
  faults.html = 'manifest.json';
  const page1 = await load();
  expect(page1.code === 'content-type', JSON.stringify(page1));
  reset();
  faults.html = 'shard_00002.bin';
  const page2 = await load();
  expect(page2.code === 'content-type' && /shard_00002/.test(page2.message), JSON.stringify(page2));
});

test('shortage of storage is told with numbers, and models go only with consent', async () => {
  await clear();
  reset();
  await load('/models/storyteller/');
  const session = await context.newCDPSession(page);
  const usage = await page.evaluate(() => navigator.storage.estimate().then((e) => e.usage));
  await session.send('Storage.overrideQuotaForOrigin', { origin: server.address_, quotaSize: usage + 4e6 });
  try {
    const short = await load();
    expect(short.code === 'storage-full' && short.details.missing > 1e6 && short.details.evictable.length === 1, JSON.stringify(short));
    expect((await list()).filter((m) => m.complete).length === 1, 'a model was removed without consent');
    const allowed = await load(URL_, { allowEviction: true });
    expect(allowed.text === told, JSON.stringify(allowed));
    const left = await list();
    expect(left.length === 1 && left[0].url.endsWith(URL_), `unexpected models ${JSON.stringify(left)}`);
  } finally {
    await session.send('Storage.overrideQuotaForOrigin', { origin: server.address_ });
  }
});

test('a budget of the disk bounds what the site stores', async () => {
  await clear();
  reset();
  const loadWithin = (disk, allowEviction) => page.evaluate(async ({ url, disk, allowEviction }) => {
    try {
      const engine = await Doppler.load(url, { backend: 'cpu', budgets: { disk }, allowEviction });
      await engine.unload();
      return 'loaded';
    } catch (error) {
      return { code: error.code, message: error.message, details: error.details };
    }
  }, { url: URL_, disk, allowEviction });
  expect(await loadWithin(-1) !== 'loaded', 'a negative budget');
  const short = await loadWithin(4e6);
  expect(short.code === 'storage-full' && short.details.missing > 1e6 && short.details.quota === 4e6 && /budget of the disk .* short.*budgets\.disk/.test(short.message), JSON.stringify(short));
  expect((await list()).every((m) => !m.complete), 'something was stored all the same');
  await load('/models/storyteller/');
  const usage = await page.evaluate(() => navigator.storage.estimate().then((e) => e.usage));
  expect((await loadWithin(usage + 4e6)).code === 'storage-full', 'the budget is not kept');
  expect(await loadWithin(usage + 4e6, true) === 'loaded', 'nothing was evicted with consent');
  expect((await list()).length === 1, 'both are there');
});

test('two tabs load one model at once: one download, both run, and eviction is refused', async () => {
  await clear();
  reset();
  const other = await openPage(context, server);
  const open = (tab) => tab.evaluate(async (from) => {
    globalThis.engine = await Doppler.load(from, { backend: 'cpu' });
    return engine.generate('Once upon a time', { temperature: 0, maxTokens: 8 }).text();
  }, URL_);
  const texts = await Promise.all([open(page), open(other)]);
  expect(texts.every((text) => text === told), JSON.stringify(texts));
  expect(shardRequests().length === 49, `${shardRequests().length} requests for 49 shards`);
  const refused = await page.evaluate((key) => Doppler.cache.evict(key).catch((error) => error.code), (await list())[0].key);
  expect(refused === 'locked', `eviction: ${refused}`);
  await page.evaluate(() => engine.unload());
  expect(await other.evaluate(() => engine.generate('Once upon a time', { temperature: 0, maxTokens: 8 }).text()) === told, 'the other tab stopped working');
  await other.close();
  expect(await page.evaluate((key) => Doppler.cache.evict(key), (await list())[0].key) === true, 'eviction after both tabs are done');
});

test('a model that is in use opens a second time, and is not written to meanwhile', async () => {
  await clear();
  reset();
  const found = await page.evaluate(async (from) => {
    const one = await Doppler.load(from, { backend: 'cpu' }), two = await Doppler.load(from, { backend: 'cpu' });
    const text = await two.generate('Once upon a time', { temperature: 0, maxTokens: 8 }).text();
    const verify = await Doppler.load(from, { backend: 'cpu', verify: true }).then(() => 'none', (error) => error.code);
    await one.unload();
    await two.unload();
    return { text, verify };
  }, URL_);
  expect(found.text === told && found.verify === 'locked', JSON.stringify(found));
});

test('a server that dies in the middle is told after some attempts; once it is back, what had arrived counts', async () => {
  await clear();
  reset();
  faults.dieAfter = 20;
  const down = await load();
  expect(down.code === 'network' && /no connection/.test(down.message) && shardRequests().length > 25, JSON.stringify(down));
  reset();
  expect((await load()).text === told, 'the model does not load once the server is back');
  expect(shardRequests().length < 49 - 10, `${shardRequests().length} shards were asked for again`);
});

await runTests().finally(() => context.close());
