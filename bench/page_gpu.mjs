// page_gpu.mjs: the bundled model on WebGPU in Chromium (SwiftShader), in turns with the native tool: the first text since the page was
// asked for, from an empty cache, and decoding.
//   node bench/page_gpu.mjs [ROUNDS] [TOKENS]      (build/doppler, web/doppler.wasm and build/webgpu with SwiftShader must be there)
// Each round has a browser of its own. Decoding is the median of nine stories on both sides; behind one in which kernels are compiled.
import { execFileSync } from 'node:child_process';
import { startChromium, startServer } from '../tests/web/browser.mjs';

const [rounds = 5, tokens = 64] = process.argv.slice(2).map(Number);
const MODEL = 'models/storyteller', STORIES = 9;
const PAGE = `<!doctype html><link rel="icon" href="data:,"><script type="module">
import { Doppler } from '/web/index.js';
const request = { messages: [{ role: 'user', content: 'Tell me a story about a brave fox.' }], max_tokens: ${tokens}, stream: true };
globalThis.told = (async () => {
  const engine = await Doppler.load('/${MODEL}/', { backend: 'gpu' });
  const loaded = performance.now();
  let first, last;
  const rates = [];
  for (let story = 0; story <= ${STORIES}; story++) {
    for await (const { choices: [{ delta }] } of await engine.chat.completions.create({ ...request, temperature: story ? 0 : undefined })) if (delta.content) first ??= performance.now();
    last = (await engine.stats()).last;
    if (story) rates.push((last.newTokens - 1) / last.decodeSeconds);
  }
  // the first token is not part of the time; what stands before it, on both sides
  return { loaded: loaded / 1000, first: first / 1000, rates, depth: last.promptTokens + last.cachedTokens };
})();
</script>`;
const server = await startServer(async (request, response) => {
  if (request.url !== '/bench.html') return false;
  response.writeHead(200, { 'Content-Type': 'text/html' }).end(PAGE);
  return true;
});

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

async function inPage() {
  const context = await startChromium(), page = await context.newPage();
  await page.goto(`${server.address_}/bench.html`);
  const told = await page.evaluate(() => globalThis.told);
  await context.close();
  return { ...told, rate: median(told.rates) };
}

function native(depth) {
  const out = execFileSync('build/webgpu/run', ['--swiftshader', 'build/doppler', 'bench', MODEL, '--device', 'gpu', '--no-bandwidth', '--prefill', '0', '--decode', `${tokens - 1}`, '--depth', `${depth - 1}`, '-r', `${STORIES}`], { encoding: 'utf8' });
  return Number(/^decode +([\d.]+)/m.exec(out)[1]);
}

const all = [];
for (let i = 1; i <= rounds; i++) {
  const page = await inPage(), round = { native: native(page.depth), ...page };
  all.push(round);
  console.log(`round ${i}: loaded after ${round.loaded.toFixed(2)} s, first text after ${round.first.toFixed(2)} s; decode: native ${round.native.toFixed(1)}, page ${round.rate.toFixed(1)} tokens/s`);
}
const [first, a, b] = ['first', 'native', 'rate'].map((name) => median(all.map((round) => round[name])));
console.log(`medians: first text after ${first.toFixed(2)} s; decode: native ${a.toFixed(1)}, page ${b.toFixed(1)} tokens/s: ${Math.round(100 * b / a)} %`);
process.exit(0);
