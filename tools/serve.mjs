// Serves folders of this repository to a browser, with what the demo and the tests need: content types, byte ranges.
//   node tools/serve.mjs [--port 8080] [--open-to-network]
// The demo is at /web/demo/, the package at /web/, the bundled model at /models/storyteller/.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const types = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.css': 'text/css', '.json': 'application/json',
  '.wasm': 'application/wasm', '.svg': 'image/svg+xml', '.ts': 'text/plain', '.md': 'text/plain' };
const folders = { web: 'web', models: 'models' };

/** "bytes=a-b" as [first, last], undefined if there is no range to serve. */
function rangeOf(header, size) {
  const match = /^bytes=(\d+)-(\d*)$/.exec(header ?? '');
  if (!match) return undefined;
  const first = Number(match[1]), last = match[2] ? Math.min(Number(match[2]), size - 1) : size - 1;
  return first <= last ? [first, last] : undefined;
}

/** Answers with a file; `transform` may wrap the stream (tests cut it). */
export async function sendFile(request, response, path) {
  let info;
  try {
    info = await stat(path);
  } catch {
    info = undefined;
  }
  if (!info?.isFile()) {
    response.writeHead(404, { 'Content-Type': 'text/plain' }).end('not found');
    return;
  }
  const range = rangeOf(request.headers.range, info.size);
  const headers = { 'Content-Type': types[extname(path)] ?? 'application/octet-stream', 'Accept-Ranges': 'bytes', 'Cache-Control': 'no-cache',
    'Content-Length': range ? range[1] - range[0] + 1 : info.size };
  if (range) headers['Content-Range'] = `bytes ${range[0]}-${range[1]}/${info.size}`;
  response.writeHead(range ? 206 : 200, headers);
  if (request.method === 'HEAD') response.end();
  else createReadStream(path, range ? { start: range[0], end: range[1] } : {}).on('error', () => response.destroy()).pipe(response);
}

/** The file behind a URL's path, undefined outside the served folders. */
export function fileOf(url) {
  const path = normalize(decodeURIComponent(new URL(url, 'http://localhost').pathname));
  const [, first, ...rest] = path.split('/');
  if (!folders[first] || path.includes('..')) return undefined;
  return join(root, folders[first], ...rest, path.endsWith('/') ? 'index.html' : '');
}

/** handle: may answer a request itself and return true. */
export function makeServer(handle = async () => false) {
  return createServer(async (request, response) => {
    try {
      if (await handle(request, response)) return;
      if (request.url === '/') {
        response.writeHead(302, { Location: '/web/demo/' }).end();
        return;
      }
      const path = fileOf(request.url);
      if (path) await sendFile(request, response, path);
      else response.writeHead(404, { 'Content-Type': 'text/plain' }).end('not found');
    } catch (error) {
      response.writeHead(500).end(String(error));
    }
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const at = process.argv.indexOf('--port'), port = at > 0 ? Number(process.argv[at + 1]) : 8080;
  const host = process.argv.includes('--open-to-network') ? '0.0.0.0' : '127.0.0.1';
  makeServer().listen(port, host, () => console.log(`DOPPLER in the browser: http://localhost:${port}/`));
}
