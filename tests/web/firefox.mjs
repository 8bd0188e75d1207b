// firefox.mjs: doppler-web in Debian's Firefox, which has no WebGPU here: the CPU path, with JSPI and without, the storage, and
// conversion. The page drives itself and reports, so no driver is needed.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, runTests, startServer, test } from './browser.mjs';
import { sendFile } from '../../tools/serve.mjs';

const PROMPT = 'Tell me a story about a brave fox.';
const STORY = execFileSync('build/doppler', ['run', 'models/storyteller', PROMPT, '--backend', 'cpu-ref', '--greedy', '--max-tokens', '24', '--quiet'],
  { encoding: 'utf8' }).trim();

const PAGE = `<!doctype html><meta charset="utf-8"><title>doppler</title><link rel="icon" href="data:,"><script type="module">
  import { Doppler } from '/web/index.js';
  const report = {};
  const story = async (engine) => (await engine.chat.completions.create({ messages: [{ role: 'user', content: ${JSON.stringify(PROMPT)} }], temperature: 0, max_tokens: 24 })).choices[0].message.content.trim();
  try {
    report.adapter = await Doppler.adapter();
    for (const jspi of [true, false]) {
      const engine = await Doppler.load('/models/storyteller/', { jspi, onProgress: ({ phase }) => phase === 'verify' && (report.hashed = true) });
      report['story' + jspi] = await story(engine);
      report['engine' + jspi] = { backend: engine.backend, notice: engine.notice, stats: await engine.stats() };
      const stop = new AbortController();
      setTimeout(() => stop.abort(), 60);
      await engine.chat.completions.create({ messages: [{ role: 'user', content: 'Again.' }], signal: stop.signal, max_tokens: 900 }).then(({ choices }) => report['abort' + jspi] = choices[0].finish_reason);
      await engine.unload();
    }
    const [one, two] = await Promise.all([1, 2].map(() => Doppler.load('/models/storyteller/', { backend: 'cpu' })));
    report.both = [await story(one), await story(two)];
    await one.unload();
    await two.unload();
    const file = new File([await (await fetch('/data/llama.Q4_K_M.gguf')).blob()], 'llama.gguf');
    const { key } = await Doppler.convert(file, {});
    const converted = await Doppler.load({ key }, { backend: 'cpu' });
    report.converted = (await converted.logits([1, 2, 3])).every(Number.isFinite);
    await converted.unload();
    report.models = (await Doppler.cache.list()).length;
    report.evicted = await Doppler.cache.evict(key);
    report.left = (await Doppler.cache.list()).length;
  } catch (error) {
    report.error = String(error.code) + ' ' + error.message + ' ' + error.stack;
  }
  await fetch('/report', { method: 'POST', body: JSON.stringify(report) });
</script>`;

let finish;
const finished = new Promise((resolve) => finish = resolve);
const server = await startServer(async (request, response) => {
  if (request.url === '/firefox.html') response.writeHead(200, { 'Content-Type': 'text/html' }).end(PAGE);
  else if (request.url === '/data/llama.Q4_K_M.gguf') await sendFile(request, response, 'tests/data/gguf/llama.Q4_K_M.gguf');
  else if (request.url === '/report') {
    let body = '';
    for await (const part of request) body += part;
    response.end();
    finish(JSON.parse(body));
  } else return false;
  return true;
});

const profile = mkdtempSync(join(tmpdir(), 'doppler-firefox-'));
writeFileSync(join(profile, 'user.js'), ['browser.shell.checkDefaultBrowser', 'datareporting.policy.dataSubmissionEnabled', 'app.update.enabled', 'browser.aboutwelcome.enabled', 'network.captive-portal-service.enabled',
  'network.connectivity-service.enabled', 'extensions.update.enabled', 'app.normandy.enabled'].map((name) => `user_pref("${name}", false);\n`).join(''));
const firefox = spawn('firefox-esr', ['--headless', '--no-remote', '--profile', profile, `${server.address_}/firefox.html`],
  { stdio: 'ignore', env: { ...process.env, HOME: profile, MOZ_DISABLE_CONTENT_SANDBOX: '1' } });
const report = await Promise.race([finished, new Promise((resolve) => setTimeout(resolve, 240000, { error: 'no report after 240 s' })),
  new Promise((resolve) => firefox.on('exit', (code) => resolve({ error: `Firefox ended with ${code}` })))]);
console.log(JSON.stringify({ adapter: report.adapter, decode: [report.enginetrue?.stats.last?.decodeTokensPerSecond, report.enginefalse?.stats.last?.decodeTokensPerSecond] }));

test('the page ran to its end', async () => expect(!report.error, report.error));
for (const jspi of [true, false]) {
  test(`the bundled model writes what the reference writes, ${jspi ? 'with' : 'without'} JSPI`, async () => {
    expect(report[`story${jspi}`] === STORY, `expected "${STORY}", got "${report[`story${jspi}`]}"`);
    const { backend, notice } = report[`engine${jspi}`];
    expect(backend === 'gpu' || notice.length > 10, `on the ${backend} without a word`);
    expect(report[`abort${jspi}`] === 'abort', `the aborted answer ended with ${report[`abort${jspi}`]}`);
  });
}
test('two engines share the stored model', async () => expect(report.both?.every((text) => text === STORY), JSON.stringify(report.both)));
test('what was stored a moment ago is not hashed again', async () => expect(report.both && !report.hashed, JSON.stringify(report)));
test('a GGUF file is converted, opened and evicted', async () => {
  expect(report.converted && report.models === 2 && report.evicted === true && report.left === 1, JSON.stringify(report));
});

process.on('exit', () => rmSync(profile, { recursive: true, force: true, maxRetries: 3 }));
firefox.kill();
await new Promise((resolve) => setTimeout(resolve, 500));
await runTests();
