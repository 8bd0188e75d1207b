// openai.js: the shapes of OpenAI's interface: what a request may say, in either spelling, and what comes back. Fields that would change
// the answer and are not known are refused, never ignored.
import { DopplerError } from './errors.js';

const SAMPLING = { temperature: 0.7, topP: 0.95, minP: 0.05, topK: 0, repetitionPenalty: 1, repeatLast: 64 };
const FINISH = { stop: 'stop', length: 'length', context: 'length', abort: 'abort' };
const snake = { topP: 'top_p', topK: 'top_k', minP: 'min_p', maxTokens: 'max_tokens', repetitionPenalty: 'repetition_penalty', repeatLast: 'repeat_last', showSpecial: 'show_special' };

/** Sampling options in either spelling, with defaults. */
export function samplingOf(given) {
  const request = { ...SAMPLING };
  for (const key of ['temperature', 'topP', 'topK', 'minP', 'maxTokens', 'repetitionPenalty', 'repeatLast', 'seed', 'showSpecial']) {
    const value = given[key] ?? given[snake[key]];
    if (value !== undefined && value !== null) request[key] = value;
  }
  request.maxTokens ??= given.max_completion_tokens ?? undefined;
  for (const [key, value] of Object.entries(request))
    if (key !== 'showSpecial' && value !== undefined && (typeof value !== 'number' || !Number.isFinite(value))) throw new DopplerError('argument', `${key}: expected a number, found ${value}`);
  request.stop = given.stop === undefined || given.stop === null ? [] : [].concat(given.stop);
  return request;
}

/** What OpenAI's interface has and the engine has not: whether a value asks for it, and what there is instead. */
const MISSING = {
  n: [(v) => v !== 1, 'one answer at a time is written; call again for another'],
  logprobs: [(v) => v !== false, 'engine.logits(ids) gives the logits of a text'],
  top_logprobs: [(v) => v !== 0, 'engine.logits(ids) gives the logits of a text'],
  response_format: [(v) => v.type !== 'text', 'ask for JSON in the prompt, and parse what comes'],
  tool_choice: [(v) => v !== 'auto' && v !== 'none', 'the model chooses'],
  logit_bias: [(v) => Object.keys(v).length > 0, 'there is no such bias'],
  frequency_penalty: [(v) => v !== 0, 'take repetition_penalty'],
  presence_penalty: [(v) => v !== 0, 'take repetition_penalty'],
  suffix: [(v) => v !== '', 'texts are continued, not filled in'],
  echo: [(v) => v !== false, 'the prompt is yours'],
  best_of: [(v) => v !== 1, 'one answer at a time is written'],
};

export function refuseMissing(request) {
  for (const [name, [asks, instead]] of Object.entries(MISSING)) {
    const value = request[name];
    if (value !== undefined && value !== null && asks(value)) throw new DopplerError('unsupported', `${name}: not supported: ${instead}`);
  }
}

function textOf(part) {
  if (part?.type === 'text' && typeof part.text === 'string') return part.text;
  throw new DopplerError('unsupported', `messages: a part of type "${part?.type}": models read text only`);
}

/** Messages as chat templates know them: contents are texts, and a developer is a system. */
export function messagesOf(request) {
  if (!Array.isArray(request?.messages) || !request.messages.length) throw new DopplerError('argument', 'chat.completions.create: messages must be an array of {role, content}');
  return request.messages.map((message, i) => {
    if (typeof message?.role !== 'string') throw new DopplerError('argument', `messages[${i}]: expected {role, content}, found ${JSON.stringify(message)}`);
    const content = Array.isArray(message.content) ? message.content.map(textOf).join('') : message.content;
    return { ...message, content, role: message.role === 'developer' ? 'system' : message.role };
  });
}

/** crypto.randomUUID is missing in pages without HTTPS. */
const randomId = () => crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('');

function usageOf({ promptTokens, cachedTokens, newTokens, ...extra }) {
  const prompt = promptTokens + cachedTokens;
  return { prompt_tokens: prompt, completion_tokens: newTokens, total_tokens: prompt + newTokens, prompt_tokens_details: { cached_tokens: cachedTokens }, extra };
}

/** What is the same in all parts of an answer, and the parts: of a chat, or of a text that is continued. */
export class Answer {
  constructor(model, { chat }) {
    this.chat = chat;
    this.head = { id: `${chat ? 'chatcmpl' : 'cmpl'}-${randomId()}`, created: Math.floor(Date.now() / 1000), model };
  }
  choice(content, reason) {
    return { index: 0, ...content, finish_reason: reason, logprobs: null };
  }
  whole(text, stats) {
    const content = this.chat ? { message: { role: 'assistant', content: text } } : { text };
    return { ...this.head, object: this.chat ? 'chat.completion' : 'text_completion', choices: [this.choice(content, FINISH[stats.reason])], usage: usageOf(stats) };
  }
  chunk(text, { reason = null, first = false } = {}) {
    const content = !this.chat ? { text: text ?? '' } : { delta: { ...(first ? { role: 'assistant' } : {}), ...(text === undefined ? {} : { content: text }) } };
    return { ...this.head, object: this.chat ? 'chat.completion.chunk' : 'text_completion', choices: [this.choice(content, reason)] };
  }
  /** The last chunks: usage comes with the reason, or behind it where that was asked for, as OpenAI has it. */
  * end(stats, options) {
    const last = this.chunk(undefined, { reason: FINISH[stats.reason] }), usage = usageOf(stats), separate = options?.include_usage;
    yield separate === undefined ? { ...last, usage } : last;
    if (separate) yield { ...last, choices: [], usage };
  }
}
