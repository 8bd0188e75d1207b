// engine.mjs: doppler-web in Chromium: the same texts as the native tool on every path, aborts, errors, counts.
import { execFileSync } from 'node:child_process';
import { expect, openPage, runTests, startChromium, startServer, test } from './browser.mjs';

const PROMPT = 'Tell me a story about a brave fox.';
const STORY = execFileSync('build/doppler', ['run', 'models/storyteller', PROMPT, '--backend', 'cpu-ref', '--greedy', '--max-tokens', '24', '--quiet'],
  { encoding: 'utf8' }).trim();

const server = await startServer();
const context = await startChromium();
const page = await openPage(context, server);

/** Loads the bundled model in the page as globalThis.engine. */
const load = (options = {}) => page.evaluate(async (o) => {
  await globalThis.engine?.unload();
  globalThis.engine = await Doppler.load('/models/storyteller/', o);
  return { backend: engine.backend, notice: engine.notice, device: engine.device, model: engine.model };
}, options);

/** What a chat streams, greedily. */
const story = (options = {}) => page.evaluate(async ([prompt, o]) => {
  let text = '', chunks = 0, last;
  for await (const chunk of await engine.chat.completions.create({ messages: [{ role: 'user', content: prompt }], stream: true, temperature: 0, max_tokens: 24, ...o })) {
    text += chunk.choices[0].delta.content ?? '';
    chunks++;
    last = chunk;
  }
  return { text: text.trim(), chunks, reason: last.choices[0].finish_reason, usage: last.usage };
}, [PROMPT, options]);

test('on the GPU the bundled model writes what the reference writes', async () => {
  const loaded = await load({ backend: 'gpu' });
  expect(loaded.backend === 'gpu' && /swiftshader/i.test(loaded.device), `expected the GPU, got ${JSON.stringify(loaded)}`);
  expect(loaded.model.name === 'storyteller' && loaded.model.layers === 6, `unexpected model ${JSON.stringify(loaded.model)}`);
  const told = await story();
  expect(told.text === STORY, `expected "${STORY}", got "${told.text}"`);
  expect(told.chunks > 10 && told.reason === 'length' && told.usage.completion_tokens === 24, `unexpected end ${JSON.stringify(told)}`);
});

test('a second turn reuses what the session holds', async () => {
  const again = await story();
  expect(again.text === STORY, `expected "${STORY}", got "${again.text}"`);
  expect(again.usage.prompt_tokens_details.cached_tokens === again.usage.prompt_tokens - 1, `expected the prompt to be cached but for its last token, got ${JSON.stringify(again.usage)}`);
});

test('weights stay out of the WebAssembly heap', async () => {
  const { memory } = await page.evaluate(() => engine.stats());
  expect(memory.gpu > 6.7e6 && memory.wasm < 32e6, `unexpected memory ${JSON.stringify(memory)}`);
});

test('an abort ends a generation between two tokens, and the engine goes on', async () => {
  const cut = await page.evaluate(async (prompt) => {
    const stop = new AbortController();
    let pieces = 0;
    try {
      for await (const chunk of await engine.chat.completions.create({ messages: [{ role: 'user', content: prompt }], stream: true, signal: stop.signal }))
        if (chunk.choices[0].delta.content && ++pieces === 3) stop.abort();
    } catch (error) {
      return { name: error.name, pieces };
    }
    return { pieces };
  }, PROMPT);
  expect(cut.pieces < 30, `the abort came late: ${JSON.stringify(cut)}`);
  expect((await story()).text === STORY, 'the story after the abort differs');
});

test('completions without streaming, stop strings, tokenize and its inverse', async () => {
  const found = await page.evaluate(async (prompt) => {
    const whole = await engine.chat.completions.create({ messages: [{ role: 'user', content: prompt }], temperature: 0, max_tokens: 24, stop: ['. '] });
    const ids = await engine.tokenize('Once upon a time');
    return { message: whole.choices[0].message, reason: whole.choices[0].finish_reason, ids, text: await engine.detokenize(ids) };
  }, PROMPT);
  expect(found.message.content === STORY.split('. ')[0] && found.reason === 'stop', `unexpected completion ${JSON.stringify(found)}`);
  expect(found.ids.length > 0 && found.text === 'Once upon a time', `unexpected tokens ${JSON.stringify(found)}`);
});

test('errors carry codes: a prompt that does not fit, a missing model, a wrong request', async () => {
  const codes = await page.evaluate(async () => {
    const code = async (run) => {
      try {
        await run();
      } catch (error) {
        return `${error.name}/${error.code}`;
      }
      return 'none';
    };
    return [await code(() => engine.generate('word '.repeat(3000)).text()), await code(() => Doppler.load('/models/nowhere/')),
      await code(() => Doppler.load('/test.html')), await code(() => engine.chat.completions.create({ messages: 'hello' })), await code(() => Doppler.load({ key: 'unknown' }))];
  });
  const wanted = ['DopplerError/context', 'NetworkError/http', 'NetworkError/http', 'DopplerError/argument', 'DopplerError/not-found'];
  expect(JSON.stringify(codes) === JSON.stringify(wanted), `expected ${wanted}, got ${codes}`);
});

test('on the CPU, with and without suspending (JSPI)', async () => {
  for (const jspi of [true, false]) {
    const loaded = await load({ backend: 'cpu', jspi });
    expect(loaded.backend === 'cpu', `unexpected backend ${loaded.backend}`);
    const told = await story();
    expect(told.text === STORY, `jspi ${jspi}: expected "${STORY}", got "${told.text}"`);
  }
});

test('without suspending the CPU is chosen and the engine says why', async () => {
  const loaded = await load({ jspi: false });
  expect(loaded.backend === 'cpu' && /JSPI/.test(loaded.notice), `unexpected ${JSON.stringify(loaded)}`);
});

test('left to itself the engine prefers the CPU to a GPU that is a program, says so, and is quick', async () => {
  await page.evaluate(() => engine.unload());
  const fresh = await openPage(context, server);
  const found = await fresh.evaluate(async (prompt) => {
    for (const { key } of await Doppler.cache.list()) await Doppler.cache.evict(key);
    const start = performance.now();
    const engine = await Doppler.load('/models/storyteller/');
    for await (const piece of engine.generate(prompt, { maxTokens: 4 })) if (piece) break;
    return { seconds: (performance.now() - start) / 1000, backend: engine.backend, notice: engine.notice };
  }, PROMPT);
  await fresh.close();
  console.log(`     first token after ${found.seconds.toFixed(2)} s, from an empty cache`);
  expect(found.backend === 'cpu' && /SwiftShader/i.test(found.notice) && found.seconds < 10, JSON.stringify(found));
});

test('no stall of the page above 50 ms while loading and generating', async () => {
  const longest = await page.evaluate(async (prompt) => {
    const long = [];
    const observer = new PerformanceObserver((list) => list.getEntries().forEach((entry) => long.push(entry.duration)));
    observer.observe({ type: 'longtask' });
    await engine.unload();
    globalThis.engine = await Doppler.load('/models/storyteller/', { backend: 'cpu' });
    await engine.chat.completions.create({ messages: [{ role: 'user', content: prompt }], max_tokens: 24 });
    observer.disconnect();
    return long;
  }, PROMPT);
  expect(longest.length === 0, `tasks of ${longest} ms on the page's thread`);
});

await runTests().finally(() => context.close());
