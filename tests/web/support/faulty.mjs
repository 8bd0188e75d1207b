// faulty.mjs: the bundled model from a server with faults, which tests switch on, and a page that loads it and tells how that went.
import { createReadStream, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { makeGate } from './gate.mjs';

export const gate = makeGate(); // before each shard
export const faults = { cut: 0, damage: '', html: '', fail: 0, dieAfter: Infinity, requests: [] };

/** Serves /faulty/ from the bundled model, with the faults that are in force. */
export async function faulty(request, response) {
  const match = /^\/faulty\/(.*)$/.exec(request.url);
  if (!match) return false;
  const name = match[1], path = join('models/storyteller', name);
  faults.requests.push({ name, range: request.headers.range });
  if (shardRequests().length > faults.dieAfter) {
    request.socket.destroy();
    return true;
  }
  if (/shard_/.test(name)) await gate.pass();
  if (faults.fail-- > 0) {
    response.writeHead(503).end();
    return true;
  }
  if (name === faults.html) {
    response.writeHead(200, { 'Content-Type': 'text/html' }).end('<p>Welcome');
    return true;
  }
  let size;
  try {
    ({ size } = statSync(path));
  } catch {
    response.writeHead(404).end();
    return true;
  }
  const first = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
  response.writeHead(first ? 206 : 200, { 'Content-Length': size - first, 'Content-Type': 'application/octet-stream', 'Cache-Control': 'no-store',
    ...(first ? { 'Content-Range': `bytes ${first}-${size - 1}/${size}` } : {}) });
  if (name === faults.damage) {
    const bytes = readFileSync(path);
    bytes[bytes.length >> 1] ^= 1;
    response.end(bytes.subarray(first));
    return true;
  }
  const stream = createReadStream(path, { start: first, highWaterMark: 16384 });
  const cut = size > 100000 && faults.cut > 0 ? (faults.cut--, 40000) : Infinity;
  let sent = 0;
  for await (const part of stream) {
    response.write(part);
    sent += part.length;
    if (sent >= cut) {
      await new Promise((resolve) => setTimeout(resolve, 30));
      response.destroy();
      return true;
    }
  }
  response.end();
  return true;
}

export function reset() {
  gate.open();
  Object.assign(faults, { cut: 0, damage: '', html: '', fail: 0, dieAfter: Infinity, requests: [] });
}
export const shardRequests = () => faults.requests.filter((r) => r.name.startsWith('shard'));

/** Loads in the page, writes a few words, unloads. */
export const loadIn = (page, source, options = {}) => page.evaluate(async ([from, o]) => {
  const seen = [];
  try {
    globalThis.engine = await Doppler.load(from, { backend: 'cpu', ...o, onProgress: (p) => seen.push(p) });
    const text = await engine.generate('Once upon a time', { temperature: 0, maxTokens: 8 }).text();
    return { text, seen: seen.filter((p) => p.phase === 'download'), verified: seen.some((p) => p.phase === 'verify') };
  } catch (error) {
    return { code: error.code, message: error.message, details: error.details };
  } finally {
    await globalThis.engine?.unload();
    globalThis.engine = undefined;
  }
}, [source, options]);
