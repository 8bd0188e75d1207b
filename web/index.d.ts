// Types of doppler-web; what everything means: docs/WEB.md.

export const version: string;

export type ErrorCode = 'abort' | 'argument' | 'memory' | 'io' | 'not-found' | 'format' | 'corrupt' | 'unsupported' | 'context' |
  'storage-full' | 'device' | 'network' | 'http' | 'content-type' | 'locked' | 'crashed' | 'closed' | 'storage' | 'internal';

export class DopplerError extends Error {
  readonly code: ErrorCode;
  readonly details: Record<string, unknown>;
}
/** code "network", "http" or "content-type" */
export class NetworkError extends DopplerError {}
/** code "corrupt" */
export class CorruptError extends DopplerError {}
/** code "device" */
export class DeviceError extends DopplerError {}
/** code "storage-full" */
export class StorageFullError extends DopplerError {
  readonly details: Shortage & Record<string, unknown>;
}

export interface CachedModel {
  key: string;
  name: string;
  /** Where it came from; empty if it was converted here. */
  url: string;
  bytes: number;
  complete: boolean;
  /** Milliseconds since 1970. */
  added: number;
  used: number;
}

/** All in bytes. */
export interface Shortage {
  needed: number;
  available: number;
  missing: number;
  quota: number;
  usage: number;
  /** The least recently used first. */
  evictable: Pick<CachedModel, 'key' | 'name' | 'bytes' | 'used'>[];
  /** Keys of those that would be removed. */
  chosen?: string[];
}

export interface Progress {
  phase: 'download' | 'verify' | 'load' | 'convert';
  /** Bytes, but for phase "load" before the weights move: tensors. */
  done: number;
  total: number;
  bytesPerSecond?: number;
  secondsLeft?: number;
  what?: string;
}

/** A URL of an RDRR folder or a .gguf file; a file, files or a folder of the user; a model in the browser's storage. */
export type Source = string | URL | Blob | File | File[] | FileList | FileSystemFileHandle | FileSystemDirectoryHandle | { key: string };

export interface WorkerOptions {
  /** Where doppler.wasm is, if not beside the package. */
  wasm?: string | URL;
  /** Makes the worker, where a bundler or a policy wants it made its own way. */
  worker?: () => Worker;
  /** false: as if the browser could not suspend WebAssembly. */
  jspi?: boolean;
}

export interface RoomOptions {
  /** Asked before the least recently used models are removed to make room. Without it, shortage is an error. */
  onShortage?: (shortage: Shortage) => boolean | Promise<boolean>;
  /** Consent given beforehand. */
  allowEviction?: boolean;
}

export interface LoadOptions extends WorkerOptions, RoomOptions {
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal;
  /** Default "auto": the GPU where there is a real one, else the CPU; `engine.notice` then says why. */
  backend?: 'auto' | 'gpu' | 'cpu' | 'cpu-ref';
  budgets?: {
    /** Positions of the KV cache; default: the smaller of the model's context and 4096. */
    context?: number;
    /** Tokens of a prompt per step. */
    batch?: number;
    kv?: 'f16' | 'f32';
    /** Bytes of the GPU's memory for weights, KV cache and activations. Experts that do not fit are paged through slots there; else layers are. */
    vram?: number;
    /** Bytes of WebAssembly's memory: on the GPU what holds experts that are in no slot [512 MiB]; on the CPU all there is. */
    ram?: number;
    /** Bytes that the site may store altogether, below the browser's quota: a model that does not fit is a StorageFullError, or others go with consent. */
    disk?: number;
    /** Slots for each layer's experts, whatever the budget allows. */
    slots?: number;
  };
  /** true: hash what is stored now; false: never. Default: when its file was written or a day has passed. Damaged shards are loaded again. */
  verify?: boolean;
}

export interface ModelInfo {
  name: string;
  architecture: string;
  quantization: string;
  layers: number;
  hidden: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  vocab: number;
  context: number;
  experts: number;
  expertsPerToken: number;
  parameters: number;
  weightBytes: number;
  activeBytes: number;
  kvBytesPerToken: number;
  tokenizer: boolean;
  chat: boolean;
}

export interface GenerationStats {
  promptTokens: number;
  newTokens: number;
  /** Tokens of the conversation that the session still held. */
  cachedTokens: number;
  prefillSeconds: number;
  decodeSeconds: number;
  firstTokenSeconds?: number;
  prefillTokensPerSecond: number;
  decodeTokensPerSecond: number;
  reason: 'stop' | 'length' | 'context' | 'abort';
}

export interface AdapterInfo {
  name: string;
  vendor: string;
  driver: string;
  software: boolean;
  f16: boolean;
  subgroups: boolean;
  subgroupMin: number;
  subgroupMax: number;
  timestamps: boolean;
  bufferMax: number;
  bindingMax: number;
  workgroupMemory: number;
  workgroupSize: number;
}

/** What there is to compute with, and how much room. Sizes in bytes. */
export interface Capabilities {
  /** Of the loaded model; empty before. */
  backend: string;
  webgpu: boolean;
  /** Whether calls into the engine can wait for the GPU; if not, they are made again until it has answered. */
  jspi: boolean;
  /** That the engine computes on: one, since it asks for no special headers. */
  threads: number;
  /** Of the machine, as the browser tells. */
  cores?: number;
  /** Whether the page is cross-origin isolated. */
  isolated: boolean;
  adapter: AdapterInfo | null;
  /** WebGPU's names. */
  features: string[];
  limits: Record<string, number>;
  /** gpu, wasm and js: taken now; wasmMost: what WebAssembly can address; device: the machine's, roughly, where the browser tells. */
  memory: Stats['memory'] & { wasmMost: number; device?: number };
  storage?: StorageRoom;
}

export interface StorageRoom {
  usage: number;
  quota: number;
  available: number;
  persisted: boolean;
}

export interface Stats {
  backend: string;
  device: string;
  notice: string;
  model: ModelInfo;
  jspi: boolean;
  /** Bytes by tier. js only where the browser tells. */
  memory: { gpu: number; wasm: number; js?: number };
  adapter?: AdapterInfo;
  load?: { seconds: number };
  last?: GenerationStats;
  /** Where experts are paged. */
  paging?: Paging;
}

/** Of the slots where weights are used; `host`: of the memory below a GPU's. */
export interface Paging extends PagingCounts {
  expertBytes: number;
  evictions: number;
  waitSeconds: number;
  latencyMean: number;
  latencyP50: number;
  latencyP95: number;
  latencyMax: number;
  residentExperts: number;
  ramBudget: number;
  vramBudget?: number;
  /** Layers that pass through the GPU's slots: how often all did, bytes sent, seconds that sending took. */
  streamed?: { units: number; passes: number; bytes: number; seconds: number };
  /** Of a GPU: new tokens, and their time; of it: waiting for the GPU, so often; submitting; bringing experts. */
  single?: { tokens: number; seconds: number; waits: number; waitSeconds: number; submitSeconds: number; bringSeconds: number };
  host?: PagingCounts & { bytes: number };
}
export interface PagingCounts {
  /** The least and the most of a layer. */
  slots: [number, number];
  hits: number;
  misses: number;
  /** Experts brought here, and their bytes. */
  reads: number;
  readBytes: number;
  layers: { layer: number; slots: number; resident: number; hits: number; misses: number; evictions: number; reads: number; bytes: number; latencyP50: number; latencyP95: number }[];
}

/** Also in the spelling of the OpenAI interface (top_p, max_tokens, ...). Defaults in brackets. */
export interface SamplingOptions {
  /** 0 is greedy [0.7] */
  temperature?: number;
  /** [0.95] */
  topP?: number;
  /** 0: off [0] */
  topK?: number;
  /** [0.05] */
  minP?: number;
  /** 1: off [1] */
  repetitionPenalty?: number;
  /** [64] */
  repeatLast?: number;
  /** [until the context is full] */
  maxTokens?: number;
  seed?: number;
  stop?: string | string[];
  /** Pass on the text of special tokens too. */
  showSpecial?: boolean;
}

export interface GenerateOptions extends SamplingOptions {
  signal?: AbortSignal;
  /** Add what the tokenizer puts in front of a text [true]. */
  special?: boolean;
  onPrefill?: (progress: { done: number; total: number }) => void;
  /** Kernels that the GPU's driver compiles before they first run: `total` of those that the next step needs. */
  onCompile?: (progress: { done: number; total: number }) => void;
  onEnd?: (stats: GenerationStats) => void;
}

export interface ChatMessage {
  role: 'system' | 'developer' | 'user' | 'assistant' | 'tool' | (string & {});
  content: string | { type: 'text'; text: string }[] | null;
  [key: string]: unknown;
}

/** Fields of OpenAI's interface that are not here (n, logprobs, response_format, penalties, ...) are refused where they ask for something. */
export interface CompletionOptions {
  /** Ignored: the engine has one. */
  model?: string;
  stream?: boolean;
  /** Without it the last chunk has the usage; with include_usage: true a chunk of its own, without choices. */
  stream_options?: { include_usage?: boolean } | null;
  temperature?: number | null;
  top_p?: number | null;
  top_k?: number;
  min_p?: number;
  repetition_penalty?: number;
  max_tokens?: number | null;
  max_completion_tokens?: number | null;
  seed?: number | null;
  stop?: string | string[] | null;
  /** As in GenerateOptions. */
  onPrefill?: (progress: { done: number; total: number }) => void;
  onCompile?: (progress: { done: number; total: number }) => void;
  signal?: AbortSignal;
}

export interface ChatRequest extends CompletionOptions {
  messages: ChatMessage[];
  /** For the chat template. What the model answers stays text: calls in it are yours to parse. */
  tools?: unknown[];
  /** Variables of the model's chat template, e.g. {enable_thinking: false}. */
  template_variables?: Record<string, unknown>;
}

/** A text, or token ids, to be continued as they are. */
export interface TextRequest extends CompletionOptions {
  prompt: string | number[];
}

export interface TextCompletion {
  id: string;
  object: 'text_completion';
  created: number;
  model: string;
  choices: { index: 0; text: string; finish_reason: FinishReason | null; logprobs: null }[];
  /** Of streams: on the last chunk. */
  usage?: Usage;
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  prompt_tokens_details: { cached_tokens: number };
  extra: Omit<GenerationStats, 'promptTokens' | 'cachedTokens' | 'newTokens'>;
}

export type FinishReason = 'stop' | 'length' | 'abort';

export interface ChatCompletion {
  id: string;
  object: 'chat.completion';
  created: number;
  model: string;
  choices: { index: 0; message: { role: 'assistant'; content: string }; finish_reason: FinishReason; logprobs: null }[];
  usage: Usage;
}

export interface ChatCompletionChunk {
  id: string;
  object: 'chat.completion.chunk';
  created: number;
  model: string;
  choices: { index: 0; delta: { role?: 'assistant'; content?: string }; finish_reason: FinishReason | null; logprobs: null }[];
  /** On the last chunk. */
  usage?: Usage;
}

/** wasmBytes: the most memory that WebAssembly took. */
export interface Converted {
  key: string;
  name: string;
  bytes: number;
  wasmBytes: number;
}

export interface ConvertOptions extends WorkerOptions, RoomOptions {
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal;
  /** Default: as the input is. */
  quantize?: 'keep' | 'q4_k_m' | 'q5_k_m' | 'q8_0' | 'q6_k' | 'f16' | 'bf16' | 'mxfp4';
  sharding?: 'auto' | 'fixed' | 'layer' | 'expert';
  /** The model's name; default: from the input. */
  name?: string;
  /** Its key in the storage; default: from the file's name. */
  key?: string;
}

export class Doppler {
  private constructor();
  readonly model: ModelInfo;
  readonly backend: 'gpu' | 'cpu' | 'cpu-ref';
  /** Why it runs on the CPU, if that was not asked for; else empty. */
  readonly notice: string;
  readonly device: string;
  readonly load: { seconds: number };
  readonly chat: {
    completions: {
      create(request: ChatRequest & { stream: true }): AsyncGenerator<ChatCompletionChunk>;
      create(request: ChatRequest & { stream?: false }): Promise<ChatCompletion>;
    };
  };

  readonly completions: {
    create(request: TextRequest & { stream: true }): AsyncGenerator<TextCompletion>;
    create(request: TextRequest & { stream?: false }): Promise<TextCompletion>;
  };

  static load(source: Source, options?: LoadOptions): Promise<Doppler>;
  static convert(source: File | File[] | FileList | FileSystemFileHandle | FileSystemDirectoryHandle, options?: ConvertOptions): Promise<Converted>;
  static capabilities(): Promise<Capabilities>;
  static adapter(): Promise<{ webgpu: boolean; jspi: boolean; adapter: AdapterInfo | null }>;
  static readonly cache: {
    list(): Promise<CachedModel[]>;
    /** False if there is no such model; DopplerError "locked" while a tab uses it. */
    evict(key: string): Promise<boolean>;
    /** Asks the browser not to remove models when space gets short. */
    persist(): Promise<boolean>;
    estimate(): Promise<StorageRoom>;
  };

  /** Continues a text (or token ids). */
  generate(prompt: string | Iterable<number>, options?: GenerateOptions): AsyncGenerator<string> & { text(): Promise<string> };
  /** Ends what is being written, as aborting its signal does. */
  interrupt(): void;
  tokenize(text: string, options?: { special?: boolean; signal?: AbortSignal }): Promise<number[]>;
  detokenize(ids: Iterable<number>, options?: { skipSpecial?: boolean; signal?: AbortSignal }): Promise<string>;
  /** The text that the model reads for these messages. */
  template(messages: ChatMessage[], options?: { tools?: unknown[]; variables?: Record<string, unknown>; signal?: AbortSignal }): Promise<string>;
  /** Logits [ids][vocab] of a fresh session. */
  logits(ids: Iterable<number>, options?: { signal?: AbortSignal }): Promise<Float32Array>;
  stats(): Promise<Stats>;
  capabilities(): Promise<Capabilities>;
  unload(): Promise<void>;
}
