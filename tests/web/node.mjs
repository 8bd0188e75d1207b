// node.mjs: the package in Node: the CPU path in any version that runs the tests, the GPU where Node suspends WebAssembly (24 on) and
// the package `webgpu` is installed and finds an adapter.
import { execFileSync } from 'node:child_process';
import { Doppler } from '../../web/node.js';
import { expect, runTests, test } from './browser.mjs';

const PROMPT = 'Tell me a story about a brave fox.';
const STORY = execFileSync('build/doppler', ['run', 'models/storyteller', PROMPT, '--device', 'cpu-ref', '--greedy', '--max-tokens', '24', '--quiet'], { encoding: 'utf8' }).trim();

async function story(backend) {
  const engine = await Doppler.load('models/storyteller', { backend });
  let text = '';
  for await (const chunk of await engine.chat.completions.create({ messages: [{ role: 'user', content: PROMPT }], stream: true, temperature: 0, max_tokens: 24 })) text += chunk.choices[0].delta.content ?? '';
  const { last, memory } = await engine.stats();
  await engine.unload();
  return { text: text.trim(), rate: last.decodeTokensPerSecond, memory };
}

test('a folder of the disk runs on the CPU', async () => {
  const { text } = await story('cpu');
  expect(text === STORY, `expected "${STORY}", got "${text}"`);
});

test('a GGUF file runs, and errors have codes', async () => {
  const engine = await Doppler.load('tests/data/gguf/llama.Q4_K_M.gguf', { backend: 'cpu' });
  expect((await engine.logits([1, 2, 3])).every(Number.isFinite), 'logits are not numbers');
  await engine.unload();
  const code = await Doppler.load('models', { backend: 'cpu' }).then(() => 'none', (error) => error.code);
  expect(code === 'not-found', `expected not-found, got ${code}`);
});

const gpu = await import('webgpu').then(({ create, globals }) => {
  Object.assign(globalThis, globals);
  return create([]).requestAdapter();
}).catch(() => undefined);
if (gpu && typeof WebAssembly.Suspending === 'function') {
  test('the GPU', async () => {
    const { text, rate } = await story('gpu');
    console.log(`     ${rate.toFixed(1)} tokens/s`);
    expect(text === STORY, `expected "${STORY}", got "${text}"`);
  });
}

await runTests();
