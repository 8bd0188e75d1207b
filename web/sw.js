// sw.js: a service worker that keeps a page's own files, so that it opens without a network once it was visited; models are
// kept elsewhere (OPFS). It keeps the pages and scripts of its own folder and those below. For pages elsewhere, make a sw.js
// beside them of two lines and register that one:
//   self.DOPPLER = './node_modules/doppler-web/';
//   importScripts(self.DOPPLER + 'sw.js');
// The network comes first, so that a new version is seen at once; what cannot be had there comes from the cache.
const CACHE = 'doppler-page';
const FILES = ['./index.js', './doppler.wasm', './src/worker.js', './src/client.js', './src/convert.js', './src/core.js', './src/device.js', './src/download.js', './src/errors.js',
  './src/files.js', './src/gpu.js', './src/openai.js', './src/service.js', './src/slab.js', './src/stage.js', './src/store.js', './src/stream.js', './src/verify.js', './src/wasi.js'];
const WAIT = 4000; // milliseconds for a network that does not answer

addEventListener('install', (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES.map((name) => (self.DOPPLER ?? './') + name.slice(2)))).then(() => skipWaiting()));
});
addEventListener('activate', (event) => event.waitUntil(clients.claim()));

async function answer(request) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request, { signal: AbortSignal.timeout(WAIT) });
    if (response.ok && response.status === 200) await cache.put(request, response.clone());
    return response;
  } catch (error) {
    const kept = await cache.match(request, { ignoreSearch: true });
    if (kept) return kept;
    throw error;
  }
}

addEventListener('fetch', (event) => {
  const { request } = event, url = new URL(request.url);
  const own = url.origin === location.origin && url.href.startsWith(new URL('./', location.href).href);
  if (own && request.method === 'GET' && request.cache !== 'no-store' && !request.headers.has('range')) event.respondWith(answer(request));
});
