// run.mjs: tells a story on the GPU through the package as it is installed here, and says how fast, in a line of JSON.
//   node --preserve-symlinks run.mjs MODEL PROMPT TOKENS [ROUNDS]
import { Doppler } from 'doppler-web';

const [model, prompt, tokens, rounds = '1'] = process.argv.slice(2);
const engine = await Doppler.load(model, { backend: 'gpu' });
const rates = [], seconds = [];
let text;
for (let i = 0; i < Number(rounds); i++) {
  const answer = await engine.chat.completions.create({ messages: [{ role: 'user', content: prompt }], temperature: 0, max_tokens: Number(tokens) });
  text = answer.choices[0].message.content.trim();
  rates.push(answer.usage.extra.decodeTokensPerSecond);
  seconds.push(answer.usage.extra.firstTokenSeconds);
}
const { device, memory, jspi } = await engine.stats();
await engine.unload();
console.log(JSON.stringify({ node: process.version, device, jspi, text, rates, seconds, memory }));
