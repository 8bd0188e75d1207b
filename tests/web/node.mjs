// node.mjs: the package in Node: the CPU path in the version that runs the tests, the GPU in Node 24, with
// the package `webgpu`.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
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

// Node 24 and the optional peer are installed in tests/web/node24 (npm ci there); the driver is lavapipe, if it was set up.
const NODE = 'tests/web/node24/node_modules/node/bin/node';
if (existsSync(NODE) && existsSync('build/webgpu/run')) {
  test('in Node 24 the package `webgpu` gives the GPU, and it writes what the reference writes', async () => {
    const out = execFileSync('build/webgpu/run', ['--lavapipe', NODE, '--no-warnings', '--preserve-symlinks', '--preserve-symlinks-main', 'tests/web/node24/run.mjs', 'models/storyteller', PROMPT, '24', '2'],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], timeout: 300000 });
    const { text, device, rates, memory } = JSON.parse(out.trim().split('\n').at(-1));
    console.log(`     ${device}: ${rates.at(-1).toFixed(1)} tokens/s`);
    expect(/llvmpipe/.test(device) && text === STORY, `on ${device}: expected "${STORY}", got "${text}"`);
    expect(memory.wasm < 32e6 && memory.gpu > 6e6, `unexpected memory ${JSON.stringify(memory)}`);
  });
}

await runTests();
