// consumer.ts: what a page written in TypeScript does with doppler-web. Nothing runs it: package.mjs lets the compiler check it.
import { Doppler, DopplerError, StorageFullError, version } from 'doppler-web';
import type { Capabilities, ChatCompletion, GenerationStats, Progress, Shortage, Stats } from 'doppler-web';

async function talk(file: File, folder: FileSystemDirectoryHandle, signal: AbortSignal): Promise<string> {
  const onProgress = ({ phase, done, total, secondsLeft }: Progress) => console.log(version, phase, done / total, secondsLeft ?? 0);
  const onShortage = async ({ missing, evictable }: Shortage) => missing < 1e9 && evictable.length > 0;
  const engine: Doppler = await Doppler.load('https://example.org/model/', { onProgress, onShortage, signal, backend: 'auto', budgets: { context: 2048, kv: 'f16' }, verify: true });
  const whole: ChatCompletion = await engine.chat.completions.create({ messages: [{ role: 'user', content: 'Hello' }], temperature: 0, max_tokens: 20 });
  let text: string = whole.choices[0].message.content;
  for await (const chunk of engine.chat.completions.create({ messages: [{ role: 'user', content: text }], stream: true, signal })) text += chunk.choices[0].delta.content ?? '';
  for await (const chunk of engine.completions.create({ prompt: [1, 2, 3], stream: true, stream_options: { include_usage: true } })) text += chunk.choices[0]?.text ?? chunk.usage?.total_tokens;
  engine.interrupt();
  for await (const piece of engine.generate([1, 2, 3], { maxTokens: 5, onEnd: (stats: GenerationStats) => console.log(stats.decodeTokensPerSecond) })) text += piece;
  const ids: number[] = await engine.tokenize(text, { special: true, signal });
  const logits: Float32Array = await engine.logits(ids, { signal });
  const stats: Stats = await engine.stats(), able: Capabilities = await Doppler.capabilities();
  console.log(logits.length, stats.memory.gpu, able.adapter?.name, able.limits.maxBufferSize, able.storage?.available);
  await engine.unload();

  const { key, bytes } = await Doppler.convert(folder, { quantize: 'q4_k_m', sharding: 'expert', signal, onShortage });
  const again = await Doppler.load({ key }, { worker: () => new Worker('worker.js', { type: 'module' }), wasm: new URL('https://example.org/doppler.wasm') });
  await (await Doppler.load(file)).unload();
  // @ts-expect-error: there is no such backend
  await Doppler.load(file, { backend: 'tpu' });
  // @ts-expect-error: messages are needed
  await again.chat.completions.create({ stream: true });
  return `${bytes} ${(await Doppler.cache.list()).map((model) => model.name)}`;
}

export const explain = (error: unknown): string => {
  if (error instanceof StorageFullError) return `${error.details.missing} bytes are missing`;
  return error instanceof DopplerError ? error.code : 'unknown';
};
export default talk;
