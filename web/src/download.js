// download.js: a model from a URL into the store. Shards come several at a time, continue where they stopped (within a
// shard, over lost connections and reloads), are retried with growing pauses, and are hashed when they have arrived.
import { CorruptError, DopplerError, NetworkError, throwIfAborted } from './errors.js';
import { makeRoom, StoredModel } from './store.js';

const PARALLEL = 6;
const ATTEMPTS = 6, PAUSE = 400, PAUSE_MOST = 15000, SILENCE = 30000; // milliseconds
const MARK_EVERY = 4 << 20;    // bytes between two records of how far a shard is
const GGUF_PIECE = 64 << 20;   // bytes of a file that come, and are hashed, like a shard
const SMALL_FILES = ['tokenizer.json', 'tokenizer_config.json', 'generation_config.json', 'chat_template.jinja', 'config.json', 'special_tokens_map.json'];

export const sleep = (ms, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, ms);
  signal?.addEventListener('abort', () => {
    clearTimeout(timer);
    reject(new DOMException('aborted', 'AbortError'));
  }, { once: true });
});

// ---- requests ----

/** What makes another attempt worthwhile. */
function isPassing(error) {
  return error instanceof NetworkError && (error.code === 'network' || (error.code === 'http' && (error.details.status >= 500 || [408, 425, 429].includes(error.details.status))));
}

const HINTS = { 401: '; it wants to know who asks: take a public address, or a file', 403: '; it refuses: take a public address, or a file',
  404: '; expected the folder of an RDRR model (with its manifest.json) or a .gguf file: is the address right?' };

async function request(url, { headers, signal, cache }) {
  let response;
  try {
    response = await fetch(url, { headers, signal, cache });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new NetworkError('network', `${url}: no connection (${error.message}); is the server up, and does it allow this page (CORS)?`, { url });
  }
  if (!response.ok) {
    response.body?.cancel().catch(() => {});
    const wait = Number(response.headers.get('retry-after')) * 1000 || 0;
    throw new NetworkError('http', `${url}: the server answers ${response.status} ${response.statusText}${HINTS[response.status] ?? ''}`, { url, status: response.status, wait });
  }
  return response;
}

/** Tries again while the reason may pass. `progressed` tells whether the attempt got anywhere, which starts the count anew. */
async function persistently(attempt, signal) {
  for (let tries = 1; ; tries++) {
    const progress = { made: false };
    try {
      return await attempt(progress);
    } catch (error) {
      throwIfAborted(signal);
      if (progress.made) tries = 1;
      if (!isPassing(error) || tries >= ATTEMPTS) throw error;
      const pause = Math.max(error.details.wait ?? 0, Math.min(PAUSE * 2 ** (tries - 1), PAUSE_MOST));
      await sleep(pause * (0.75 + Math.random() / 2), signal);
    }
  }
}

/** The body, piece by piece; a server that falls silent is an error. */
async function* pieces(response, url, signal) {
  const reader = response.body.getReader();
  try {
    for (;;) {
      let timer;
      const silence = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new NetworkError('network', `${url}: no data for ${SILENCE / 1000} seconds`, { url })), SILENCE);
      });
      let part;
      try {
        part = await Promise.race([reader.read(), silence]);
      } catch (error) {
        if (signal?.aborted || error instanceof DopplerError) throw error;
        throw new NetworkError('network', `${url}: the connection was lost (${error.message})`, { url });
      } finally {
        clearTimeout(timer);
      }
      if (part.done) return;
      yield part.value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function isHtml(response) {
  return /^text\/html/i.test(response.headers.get('content-type') ?? '');
}

/** A small file, whole; undefined if the server has none. */
async function small(url, signal, optional = true) {
  return persistently(async () => {
    let response;
    try {
      response = await request(url, { signal });
    } catch (error) {
      if (optional && error.details?.status >= 400 && error.details.status < 500 && ![408, 425, 429].includes(error.details.status)) return undefined;
      throw error;
    }
    if (isHtml(response)) {
      response.body?.cancel().catch(() => {});
      if (optional) return undefined; // a server that answers everything with its start page
      throw new NetworkError('content-type', `${url}: expected JSON, the server sends a web page (text/html); is this the address of a model?`, { url });
    }
    try {
      return new Uint8Array(await response.arrayBuffer());
    } catch (error) {
      throwIfAborted(signal);
      throw new NetworkError('network', `${url}: the connection was lost (${error.message})`, { url });
    }
  }, signal);
}

// ---- what there is to load ----

/** The address of a folder, with its slash. */
export function folderUrl(url) {
  const absolute = new URL(url, globalThis.location?.href);
  absolute.pathname = absolute.pathname.replace(/\/manifest\.json$/, '/').replace(/([^/])$/, '$1/');
  return absolute;
}

function readManifest(bytes, url) {
  let manifest;
  try {
    manifest = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw new DopplerError('format', `${url}: not a JSON file (${error.message}); is this the address of an RDRR model?`);
  }
  if (!Array.isArray(manifest?.shards)) throw new DopplerError('format', `${url}: "shards" is missing: not the manifest of an RDRR model`);
  const shards = [...manifest.shards].map((s, i) => ({ index: s.index ?? i, filename: s.filename ?? s.fileName, size: s.size, hash: s.hash ?? s.blake3 })).sort((a, b) => a.index - b.index);
  for (const { filename, size } of shards) {
    if (typeof filename !== 'string' || filename.startsWith('/') || filename.split('/').includes('..')) throw new DopplerError('format', `${url}: unsafe shard name ${JSON.stringify(filename)}`);
    if (!Number.isSafeInteger(size) || size < 0) throw new DopplerError('format', `${url}: shard ${filename} has size ${size}`);
  }
  return { manifest, shards };
}

/** An RDRR model: its small files, its shards. */
async function planFolder(url, signal) {
  const base = folderUrl(url), at = addresses(base);
  const bytes = await small(at('manifest.json'), signal, false);
  const { manifest, shards } = readManifest(bytes, at('manifest.json'));
  const extra = typeof manifest.tensorsFile === 'string' ? [manifest.tensorsFile] : [];
  const loaded = await Promise.all([...SMALL_FILES, ...extra].map(async (name) => [name, await small(at(name), signal)]));
  const files = [['manifest.json', bytes], ...loaded.filter(([, data]) => data)];
  return { url: base.href, name: manifest.modelId ?? base.pathname.split('/').at(-2), algorithm: manifest.hashAlgorithm ?? 'sha256', shards, files, at };
}

/** {size, ranges: whether the server sends parts} of a file. */
async function probe(url, signal) {
  return persistently(async () => {
    const response = await request(url, { headers: { Range: 'bytes=0-0' }, signal });
    response.body?.cancel().catch(() => {});
    if (isHtml(response)) throw new NetworkError('content-type', `${url}: expected a GGUF file, the server sends a web page (text/html); is this the address of the file itself?`, { url });
    const ranges = response.status === 206;
    let size = Number(ranges ? response.headers.get('content-range')?.split('/')[1] : response.headers.get('content-length'));
    if (!(size > 0)) size = Number((await request(url, { method: 'HEAD', signal })).headers.get('content-length')); // other sites' servers hide the range
    if (!(size > 0)) throw new NetworkError('content-type', `${url}: the server does not say how large the file is (Content-Length)`, { url });
    return { size, ranges };
  }, signal);
}

/** The files of a model that was split: "name-00001-of-00003.gguf" and so on. */
function partUrls(url) {
  const [, head, count, tail] = /^(.*-)\d{5}-of-(\d{5})(\.gguf.*)$/i.exec(url.href) ?? [];
  return head ? Array.from({ length: Number(count) }, (_, i) => `${head}${String(i + 1).padStart(5, '0')}-of-${count}${tail}`) : [url.href];
}

/** A GGUF model: nobody promises hashes, so those of its pieces as they arrived are kept. */
async function planFile(url, signal) {
  const absolute = new URL(url, globalThis.location?.href), nameOf = (href) => decodeURIComponent(new URL(href).pathname.split('/').pop());
  const shards = [], parts = [];
  for (const href of partUrls(absolute)) {
    const { size, ranges } = await probe(href, signal), filename = nameOf(href), piece = ranges ? GGUF_PIECE : size;
    parts.push({ filename, size, first: shards.length });
    for (let start = 0; start < size; start += piece) shards.push({ index: shards.length, filename, size: Math.min(piece, size - start), start: ranges ? start : undefined });
  }
  return { url: absolute.href, name: nameOf(absolute.href), algorithm: 'sha256', shards, parts, files: [], at: addresses(absolute.href) };
}

/** Where a shard of that name is. */
const addresses = (base) => (name) => new URL(name.split('/').map(encodeURIComponent).join('/'), base).href + (isGgufUrl(base) ? new URL(base).search : '');

export const isGgufUrl = (url) => /\.gguf$/i.test(new URL(url, globalThis.location?.href).pathname);

// ---- shards ----

/** Bytes, rate and time left, told a few times a second, also while nothing comes: a connection that stands still shows. */
class Meter {
  constructor(total, done, tell) {
    Object.assign(this, { total, done, tell, recent: [[performance.now(), done]], timer: setInterval(() => this.say(), 200) });
  }
  add(bytes) {
    this.done += bytes;
  }
  say() {
    const now = performance.now(), [then, before] = this.recent[0];
    const bytesPerSecond = now > then ? Math.max(0, (this.done - before) / (now - then) * 1000) : 0;
    this.recent.push([now, this.done]);
    while (now - this.recent[0][0] > 5000) this.recent.shift();
    this.tell({ phase: 'download', done: this.done, total: this.total, bytesPerSecond, secondsLeft: bytesPerSecond ? (this.total - this.done) / bytesPerSecond : undefined });
  }
  stop() {
    clearInterval(this.timer);
    if (this.done === this.total) this.say();
  }
}

/** The header that asks for what is missing of a shard. */
function rangeFor({ start, size }, at) {
  if (start !== undefined) return { Range: `bytes=${start + at}-${start + size - 1}` };
  return at ? { Range: `bytes=${at}-` } : undefined;
}

class Download {
  constructor(model, plan, verifier, meter, signal) {
    Object.assign(this, { model, plan, verifier, meter, signal });
  }

  async open(shard, at, url) {
    const response = await request(url, { headers: rangeFor(shard, at), signal: this.signal, cache: 'no-store' }); // it is kept here, once is enough
    let error;
    if (isHtml(response)) error = new NetworkError('content-type', `${url}: expected the bytes of a shard, the server sends a web page (text/html)`, { url });
    else if (shard.start !== undefined && response.status !== 206) error = new NetworkError('content-type', `${url}: a part was asked for, the server sends the whole file`, { url });
    if (!error) return response;
    response.body?.cancel().catch(() => {});
    throw error;
  }

  /** Continues a shard where it stopped. */
  async stream(index, part, progress) {
    const shard = this.plan.shards[index], url = this.plan.at(shard.filename);
    if (part.at >= shard.size) return;
    const response = await this.open(shard, part.at, url);
    if (part.at && response.status !== 206) { // the server sends it from the beginning
      this.meter.add(-part.at);
      part.at = 0;
    }
    let marked = part.at;
    try {
      for await (const data of pieces(response, url, this.signal)) {
        if (part.at + data.length > shard.size) throw new CorruptError(`${url}: the server sends more than the ${shard.size} bytes that were promised`, { url });
        this.model.writeShard(index, part.at, data);
        part.at += data.length;
        progress.made = true;
        this.meter.add(data.length);
        if (part.at - marked >= MARK_EVERY) this.model.mark(index, marked = part.at);
      }
    } finally {
      if (part.at !== marked && part.at < shard.size) this.model.mark(index, marked = part.at); // a whole one is hashed at once
    }
    if (part.at < shard.size) throw new NetworkError('network', `${url}: the connection ended after ${part.at} of ${shard.size} bytes`, { url });
  }

  /** {good, found} of a shard that is stored. */
  check(index) {
    return this.verifier.check(this.model.written, this.model.about.shards[index], this.plan.algorithm, this.signal);
  }

  async shard(index) {
    const { filename, size, hash } = this.plan.shards[index];
    const part = { at: Math.min(this.model.arrivedBytes(index), size) };
    for (let again = false; ; again = true) {
      await persistently((progress) => this.stream(index, part, progress), this.signal);
      const { good, found } = await this.check(index);
      if (good) {
        await this.model.markGood(index, found);
        return;
      }
      const url = this.plan.at(filename);
      this.model.mark(index, 0);
      if (again) throw new CorruptError(`${url}: the shard is damaged on the server: its hash is ${found}, the manifest says ${hash}`, { url, shard: filename, expected: hash, found });
      this.meter.add(-size);
      part.at = 0;
    }
  }

  async all() {
    const waiting = this.plan.shards.map((_, i) => i).filter((i) => !this.model.isGood(i));
    const stop = new AbortController(), outer = this.signal;
    this.signal = outer ? AbortSignal.any([outer, stop.signal]) : stop.signal;
    let failure;
    const lane = async () => {
      while (waiting.length && !failure) await this.shard(waiting.shift());
    };
    await Promise.all(Array.from({ length: PARALLEL }, () => lane().catch((error) => {
      failure ??= error;
      stop.abort();
    })));
    throwIfAborted(outer);
    if (failure) throw failure;
  }
}

/** Whether what is stored is (a part of) what the server has now. */
const sameShards = (stored, planned) => stored.length === planned.length &&
  stored.every(({ filename, size, start, hash }, i) => filename === planned[i].filename && size === planned[i].size && start === planned[i].start && (!planned[i].hash || hash === planned[i].hash));

/** Hashes the good shards of a stored model; those that are damaged must be loaded again. */
async function verifyStored(download, tell) {
  const { model, plan } = download, total = plan.shards.reduce((sum, { size }) => sum + size, 0);
  let done = 0;
  for (let i = 0; i < plan.shards.length; i++) {
    if (model.isGood(i) && !(model.holds(i) && (await download.check(i)).good)) model.mark(i, 0);
    tell({ phase: 'verify', done: done += plan.shards[i].size, total });
  }
}

/**
 * Brings the model of a URL into the store, or what is missing of it. The caller holds its lock.
 * @param {{verifier: import('./verify.js').Verifier, onProgress: Function, signal?: AbortSignal, verify?: boolean, consent?: Function, disk?: number}} options
 */
export async function fetchModel(key, url, options) {
  const work = { left: 0 }; // bytes that are not stored yet
  for (let tries = 0; ; tries++) {
    try {
      return await bring(key, url, options, work);
    } catch (error) {
      if (error.name !== 'QuotaExceededError' || tries === 2) throw error;
      await makeRoom(work.left, key, options.consent, { full: true });
    }
  }
}

async function bring(key, url, { verifier, onProgress, signal, verify, consent, disk }, work) {
  let model = await StoredModel.open(key), plan;
  const whole = Boolean(model?.about?.complete) && !model.about.unfit, ill = whole && (Boolean(model.about.damaged) || !await model.isWhole());
  if (whole && !verify && !ill) return model;
  if (whole) plan = planOfStored(model.about);
  else {
    plan = await (isGgufUrl(url) ? planFile(url, signal) : planFolder(url, signal));
    work.left = sizeOf(plan);
    if (!model?.about) await makeRoom(work.left, key, consent, { disk });
    model ??= await StoredModel.open(key, { create: true });
    if (!model.about || !sameShards(model.about.shards, plan.shards)) await begin(model, plan);
    for (const [name, data] of plan.files) await model.putFile(name, data);
    await model.save();
  }
  await model.openForWriting();
  const arrived = () => plan.shards.reduce((sum, _, i) => sum + model.arrivedBytes(i), 0), total = plan.shards.reduce((sum, s) => sum + s.size, 0);
  const download = new Download(model, plan, verifier, undefined, signal);
  try {
    if (verify || ill) await verifyStored(download, onProgress);
    download.meter = new Meter(total, arrived(), onProgress);
    if (arrived() < total) await makeRoom(total - arrived(), key, consent, { disk });
    await download.all();
  } finally {
    download.meter?.stop();
    work.left = total - arrived();
    model.closeWriting();
  }
  await model.finish();
  return model;
}

const sizeOf = (plan) => plan.shards.reduce((sum, s) => sum + s.size, 0) + plan.files.reduce((sum, [, data]) => sum + data.length, 0);

async function begin(model, plan) {
  for (const name of ['shards.bin', 'state.bin']) await model.folder.removeEntry(name).catch(() => {});
  await model.describe(plan);
}

function planOfStored(about) {
  return { ...about, algorithm: about.algorithm || 'sha256', files: [], at: addresses(about.url) };
}
