/* doppler.h: the public interface of DOPPLER, an engine that runs language models.
 *
 * Objects and who owns them
 *   engine     what computes: the CPU and its threads, or a GPU. One per process is usual.
 *   model      the weights, tokenizer and program of one checkpoint. Immutable: any number of sessions share it.
 *   session    one conversation: KV cache and position. Use it from one thread at a time;
 *              two sessions of one model may run on two threads.
 *   tokenizer  text <-> token ids, and the chat template. Immutable; a decoder belongs to one thread at a time.
 * What `*_new`, `*_open` return is released by the matching `*_free`, `*_close`; NULL is accepted there.
 * Children are released before their parents: sessions, then the model, then the engine; decoders before their tokenizer.
 * Memory that a function hands out through `char **` or `int32_t **` is released with dp_free().
 * Other pointers that are returned belong to the object that was asked, and live as long as it if nothing else is said.
 * What a descriptor points to is the caller's, and is needed until the call returns; where longer, its comment says so.
 *
 * Descriptors: a zeroed dp_*_desc means "the default for everything", and so does NULL where no field is needed. Other
 * arguments are not NULL unless the comment says so. Text is UTF-8, and NUL-terminated unless a size comes with it. Sizes are
 * bytes, times seconds. Arrays are written [rows][columns], row after row without gaps.
 * Errors: functions return a dp_status; dp_error_message() then says, for this thread, what was wrong, where,
 * what was expected and what to do. Outputs are untouched on error. The library never prints, exits or aborts.
 * Callbacks run on the thread that made the call, and must not change the object that is at work.
 */
#ifndef DOPPLER_H
#define DOPPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DP_VERSION_STRING "0.1.0"

/* ---- status ---------------------------------------------------------------------------------------------- */

typedef enum dp_status {
    DP_OK = 0,
    DP_E_ARG = 1,         /* the call breaks this header's contract */
    DP_E_MEMORY = 2,      /* an allocation failed */
    DP_E_IO = 3,          /* the operating system refused a read or a write */
    DP_E_NOT_FOUND = 4,   /* no such file, tensor or model */
    DP_E_FORMAT = 5,      /* a file is malformed or truncated */
    DP_E_CORRUPT = 6,     /* bytes do not match their hash */
    DP_E_UNSUPPORTED = 7, /* well-formed, but an architecture, dtype, tokenizer, feature or GPU we do not have */
    DP_E_CONTEXT = 8,     /* the prompt or the generation does not fit the context */
    DP_E_DISK_FULL = 9,
    DP_E_CANCELLED = 10, /* a callback asked to stop */
    DP_E_DEVICE = 11,    /* the device failed or was lost */
    DP_STATUS_COUNT
} dp_status;

/* Short constant name of a status, e.g. "format". Never NULL. */
const char *dp_status_name(dp_status status);
/* What the last failing call on this thread had to say. Valid until the next call on this thread. Never NULL. */
const char *dp_error_message(void);
/* Releases memory that this library handed out. */
void dp_free(void *memory);

/* Replaces the allocator of the whole process; call it before anything else, or never. Any thread may call fn, several at once.
 * realloc-shaped: (user, NULL, n) allocates, (user, p, n) resizes, (user, p, 0) frees and returns NULL. */
typedef void *(*dp_realloc_fn)(void *user, void *memory, size_t size);
void dp_set_allocator(dp_realloc_fn fn, void *user);

/* Called now and then during long work. done and total are bytes; what names the phase or file, until the callback returns.
 * Return false to cancel: the work then ends with DP_E_CANCELLED and leaves nothing half-done. */
typedef bool (*dp_progress_fn)(void *user, const char *what, uint64_t done, uint64_t total);

/* ---- engine ---------------------------------------------------------------------------------------------- */

typedef struct dp_engine dp_engine;

typedef enum dp_backend_kind {
    DP_BACKEND_AUTO = 0,    /* the best GPU if there is one (never a software GPU), else the CPU */
    DP_BACKEND_CPU = 1,     /* vectorised, threaded */
    DP_BACKEND_CPU_REF = 2, /* plain scalar C in f32 and double sums: the specification, slow */
    DP_BACKEND_GPU = 3      /* WebGPU */
} dp_backend_kind;

typedef struct dp_engine_desc {
    dp_backend_kind backend;
    int32_t threads;         /* of the CPU; 0: one per core that the process may use; at most 1024 */
    /* At most these instructions of the CPU: "scalar", "avx2", "avxvnni", "avx512", "amx", "neon", "dotprod", "i8mm", "wasm".
     * NULL: the best it has. */
    const char *cpu_isa;
    int32_t gpu_adapter;     /* 0: the best; else the "index" that dp_devices lists, from 1 on */
    const char *gpu_library; /* path of the WebGPU library; NULL: the usual names */
    bool gpu_plain;          /* as if the adapter had neither f16 nor subgroups, for tests */
    uint64_t gpu_part_bytes; /* weights are split into parts of at most so many bytes, for tests; 0: what the adapter can bind */
} dp_engine_desc;

/* DP_E_UNSUPPORTED if a GPU was asked for and there is none that will do, or no WebGPU library; with AUTO the CPU computes then. */
dp_status dp_engine_open(const dp_engine_desc *desc, dp_engine **out);
void dp_engine_close(dp_engine *engine);
/* What runs: e.g. "cpu, avx512+vnni, 8 threads". */
const char *dp_engine_describe(const dp_engine *engine);

/* The CPU and the GPUs of this machine as JSON: "cpu" {name, cores, memoryBytes, memoryAvailableBytes (now), diskBytes,
 * diskFreeBytes (for the current folder)}, "gpus" [{index, name, vendor, driver, api, software, unifiedMemory, memoryBytes, f16,
 * subgroups, subgroupSize [least, most], subgroupMatrix, matrixShape, timestamps, and limits}], best first, "gpuError":
 * null or why there is none. library: as gpu_library above. Without a GPU the call succeeds and the list is empty. */
dp_status dp_devices(const char *library, char **json);

/* How much the tiers of memory hold and how fast they feed each other, measured with reads of a model's files and, where
 * there is a GPU, uploads; a few seconds. JSON: "host" {totalBytes, availableBytes}, "store" {freeBytes, smallReadP50,
 * smallReadP95 (4 KiB), readBytes, readP50, readP95, bytesPerSecond (one reader), readers, readersP50, readersP95,
 * readersBytesPerSecond}, "device" null or {name, memoryBytes, unifiedMemory, uploadBytesPerSecond, roundTripSeconds}.
 * P50 and P95 are seconds that half, and 95 in 100, of the reads took at most. Reads go past the system's file cache.
 * Of desc only backend, gpu_adapter and gpu_library count. */
dp_status dp_measure_tiers(const dp_engine_desc *desc, const char *model, char **json);

/* Bytes of a GPU. All 0 on the CPU, whose memory is the process's own, and each where it is not known. */
typedef struct dp_device_memory {
    uint64_t weights, kv, activations; /* of all models and sessions that are open with this engine */
    uint64_t transfer;                 /* buffers to write to the GPU, read from it and pass parameters */
    uint64_t total;                    /* what it has */
    bool unified;                      /* that is host memory */
} dp_device_memory;
void dp_engine_memory(const dp_engine *engine, dp_device_memory *out);

typedef struct dp_tier {
    uint64_t total, free; /* bytes, now, as far as the system tells; UINT64_MAX: not known */
} dp_tier;
typedef struct dp_capabilities {
    bool gpu;     /* a GPU computes, else the CPU does and vram is 0 */
    bool unified; /* what computes shares host memory: the CPU, and most GPUs of small machines */
    dp_tier vram; /* only this process's own use is known, so that of others counts as free */
    dp_tier ram;  /* within the limits of control groups */
    dp_tier disk;
} dp_capabilities;
/* The tiers that weights can lie in, with this engine. store: a folder on the disk that is meant; NULL: the current one. How fast
 * the tiers are dp_measure_tiers says. */
dp_status dp_engine_capabilities(const dp_engine *engine, const char *store, dp_capabilities *out);

/* ---- model ----------------------------------------------------------------------------------------------- */

typedef struct dp_model dp_model;

/* What leaves a layer's slots when another expert must come: what was used least, uses fading with time; what was used
 * longest ago; or, in dp_cache_replay only, what is needed last. */
typedef enum dp_cache_policy { DP_CACHE_LRFU = 0, DP_CACHE_LRU = 1, DP_CACHE_BELADY = 2 } dp_cache_policy;

/* What becomes of experts that a token chose and no slot on the GPU holds; a prompt's are always taken there. UPLOAD: they are taken to
 * slots before the token goes on: its logits are exactly those of a model that is there as a whole. CPU: the CPU computes them where they
 * lie in host memory, as it rounds, and a few are taken to slots beside that, those used most of late. FETCH: the GPU itself reads them
 * from host memory and chooses which go, without a word to the host: all experts are read into memory with the model, so it must have
 * room for them (DP_E_MEMORY), and the device must be able to (DP_E_UNSUPPORTED); logits are those of UPLOAD. So it fetches layers that pass
 * through, too, which the first token brings to memory. AUTO: FETCH, where
 * that can be; else UPLOAD or CPU, whichever took less time, measured as it goes, so that the same seed need not give the same text. */
typedef enum dp_misses { DP_MISSES_UPLOAD = 0, DP_MISSES_CPU = 1, DP_MISSES_AUTO = 2, DP_MISSES_FETCH = 3 } dp_misses;

/* Budgets. With `ram`, this process stays below that many bytes of memory: weights that do not fit are read from the
 * checkpoint's files when they are needed, experts into a number of slots per layer that the budget allows. Without it,
 * weights are mapped if they fit what memory is free, else the budget is most of that. Reading checks the hashes of
 * shards (RDRR) on first use. DP_E_MEMORY says what is short and by how much.
 * On a GPU, `vram` bounds weights, KV cache and activations there. Experts that do not fit are paged: the rest of the budget
 * becomes slots, to which they are taken when they are used; what is in no slot waits in host memory, which `ram` bounds, or
 * in the files. Layers of a model that is too large without experts, too, pass through slots, sent there again for each step.
 * Without `vram`, that happens if the model exceeds most of the device's memory. */
typedef struct dp_model_desc {
    bool verify; /* check the hash of every shard before use (RDRR) */
    dp_progress_fn progress;
    void *user;
    uint64_t ram;         /* bytes; 0: automatic */
    uint64_t vram;        /* the same of a GPU's memory; 0: automatic. DP_E_UNSUPPORTED on the CPU */
    int32_t expert_slots; /* of each layer, overrides what the budget allows; 0: by the budget */
    int32_t context, batch; /* of the session that a budget leaves room for, as in dp_session_desc; 0: the defaults */
    dp_cache_policy cache;
    dp_misses misses; /* of a GPU's slots */
    /* [mirror_count] folders with copies of the files, tried where a read or a hash fails. Needed until the model is closed. */
    const char *const *mirrors;
    size_t mirror_count;
} dp_model_desc;

typedef struct dp_model_info {
    const char *name;         /* modelId, general.name or the folder's name */
    const char *architecture; /* e.g. "llama" */
    const char *quantization; /* e.g. "Q4_K_M" or "BF16" */
    int32_t layers, hidden, heads, kv_heads, head_dim;
    int32_t vocab;   /* rows of the embedding, which may be more than ids of the tokenizer */
    int32_t context; /* positions that the model was made for */
    int32_t experts, experts_per_token; /* 0 when dense */
    uint64_t parameters;                /* all weights */
    uint64_t weight_bytes;              /* of all weights as stored */
    uint64_t active_bytes;              /* read to decode one token: a MoE counts its chosen experts, embeddings one row */
    uint64_t kv_bytes_per_token;        /* with an f16 cache, before any window takes effect */
} dp_model_info;

/* path: an RDRR folder, a .gguf file (first part of a split), or a Hugging Face folder. Without a budget weights are mapped, not
 * read, and on a GPU copied there. DP_E_NOT_FOUND, DP_E_FORMAT, DP_E_CORRUPT and DP_E_UNSUPPORTED (a model_type, dtype or
 * tokenizer that we do not have) name the file; DP_E_MEMORY says what is missing. */
dp_status dp_model_open(dp_engine *engine, const char *path, const dp_model_desc *desc, dp_model **out);
void dp_model_close(dp_model *model);
const dp_model_info *dp_model_get_info(const dp_model *model);

/* ---- paging: experts and layers that are not all in memory ---- */

typedef struct dp_paging_stats {
    bool paging;                     /* false: all weights are mapped, the rest is 0 */
    int32_t layers, experts;         /* layers with experts; the most experts of one */
    int32_t slots_least, slots_most; /* of a layer */
    int32_t resident_experts;        /* in slots now */
    int32_t streamed_units;          /* layers, embedding or head that are read again, or sent to the GPU, for each pass */
    uint64_t expert_bytes, plain_bytes; /* memory that slots and resident plain matrices take */
    uint64_t hits, misses;           /* experts that a step found in its slots, or not; a chunk asks once for each */
    uint64_t evictions, reads, read_bytes;
    uint64_t guesses, guesses_used;  /* experts read ahead while nothing else was to be read; those that were then wanted, of the misses */
    double latency_mean, latency_p50, latency_p95, latency_max; /* seconds from asking for an expert to having it */
    double wait_seconds;             /* that evaluations waited for reads */
    /* On a GPU all of the above tells of its slots, reads being experts brought there; of the host memory below: */
    int32_t host_slots_least, host_slots_most; /* of a layer; 0 on the CPU */
    uint64_t host_bytes, host_hits, host_misses, file_reads, file_bytes;
    bool fetched; /* the GPU fetches experts, or layers that pass through, from there by itself (DP_MISSES_FETCH) */
    /* Layers that pass through a GPU's slots: passes through the model, bytes sent, seconds that sending kept the host busy. */
    uint64_t streamed_passes, streamed_bytes;
    double streamed_seconds;
    /* Of the misses on a GPU: those that the CPU computed, their bytes, and seconds that this took. */
    uint64_t computed, computed_bytes;
    double compute_seconds;
    /* New tokens on a GPU, one at a time, and their time; of it: waiting for the GPU (so many times), submitting work to it, bringing
     * experts to its slots. compute_seconds are part of it, too; the rest is the host's own. */
    uint64_t single_tokens, device_waits;
    double single_seconds, device_wait_seconds, submit_seconds, bring_seconds;
} dp_paging_stats;

void dp_model_paging(dp_model *model, dp_paging_stats *stats);
/* The same and the counts of each layer, as a JSON object. */
dp_status dp_model_paging_json(dp_model *model, char **json);
void dp_model_paging_reset(dp_model *model); /* sets the counts to 0 */

/* Reads an expert into a slot of its layer; keeps it there whatever else comes; gives its slot up. Any thread. On a GPU these
 * are the slots in host memory, below its own. DP_OK and nothing to do where all weights are in memory; DP_E_ARG if there is no
 * such expert, or no slot that may be taken. */
dp_status dp_model_load_expert(dp_model *model, int32_t layer, int32_t expert);
dp_status dp_model_pin_expert(dp_model *model, int32_t layer, int32_t expert, bool pin);
dp_status dp_model_evict_expert(dp_model *model, int32_t layer, int32_t expert);

/* Replays routing that was recorded (`doppler ... --record-routing`; docs/TOOL.md has the format) with so many slots for
 * each layer's experts. A step asks once for each expert that its tokens use. */
typedef struct dp_replay_result {
    int32_t layers, experts;       /* the greatest numbers that the routing names, and one */
    uint64_t steps, uses, hits;    /* hits: uses that found the expert in a slot */
    uint64_t warm_uses, warm_hits; /* behind the first tenth of the steps */
} dp_replay_result;
dp_status dp_cache_replay(const char *trace, dp_cache_policy policy, int32_t slots, dp_replay_result *result);

/* ---- text ------------------------------------------------------------------------------------------------ */

typedef struct dp_tokenizer dp_tokenizer;
typedef struct dp_decoder dp_decoder;

/* path: a tokenizer.json (tokenizer_config.json, generation_config.json and chat_template.jinja beside it are used), a .gguf, or
 * a model folder, which needs no weights. DP_E_UNSUPPORTED names the part of a tokenizer that we do not have. */
dp_status dp_tokenizer_open(const char *path, dp_tokenizer **out);
void dp_tokenizer_close(dp_tokenizer *tokenizer);
/* The model's own tokenizer, NULL if it has none. Owned by the model. */
const dp_tokenizer *dp_model_tokenizer(const dp_model *model);

int32_t dp_tokenizer_vocab_size(const dp_tokenizer *tokenizer);
/* True if the id ends a generation: the end-of-text token or an end-of-turn token of the chat format. */
bool dp_tokenizer_is_end(const dp_tokenizer *tokenizer, int32_t id);

/* text [size] to ids [count], released with dp_free(). special: add what the tokenizer's post-processor adds (usually <s>).
 * Special tokens written in text are always matched. Bytes that are not UTF-8 count as U+FFFD. */
dp_status dp_tokenizer_encode(const dp_tokenizer *tokenizer, const char *text, size_t size, bool special, int32_t **ids,
                              size_t *count);
/* The end-of-text id, or -1. */
int32_t dp_tokenizer_eos(const dp_tokenizer *tokenizer);
/* ids [count] to text, NUL-terminated, released with dp_free(); its size without the NUL goes to *size unless that is NULL.
 * skip_special: special tokens leave no text. Ids beyond the vocabulary leave none either. */
dp_status dp_tokenizer_decode(const dp_tokenizer *tokenizer, const int32_t *ids, size_t count, bool skip_special,
                              char **text, size_t *size);

/* Streaming decode: feed one id, receive the whole characters that are complete so far (never half a UTF-8 sequence).
 * *text [*size] points into the decoder and is valid until its next call. dp_decoder_finish gives what is left; the decoder
 * then begins a new text. */
dp_status dp_decoder_new(const dp_tokenizer *tokenizer, bool skip_special, dp_decoder **out);
void dp_decoder_free(dp_decoder *decoder);
dp_status dp_decoder_feed(dp_decoder *decoder, int32_t id, const char **text, size_t *size);
dp_status dp_decoder_finish(dp_decoder *decoder, const char **text, size_t *size);

typedef struct dp_chat_desc {
    const char *messages;       /* a JSON array of {"role", "content", ...} */
    const char *tools;          /* a JSON array, or NULL */
    const char *variables;      /* a JSON object of further template variables, e.g. {"enable_thinking": false}, or NULL */
    bool add_generation_prompt; /* end with what opens the assistant's turn */
    int64_t now;                /* seconds since 1970 for strftime_now; 0: the host's clock */
} dp_chat_desc;
/* Renders the model's chat template to *text, released with dp_free(). It holds the special tokens that belong there: encode it
 * with special = false. DP_E_UNSUPPORTED if there is no template, or names a construct that we do not have; DP_E_ARG if the JSON
 * is none or the template refuses the messages (raise_exception); DP_E_CONTEXT if they have more than 16 MiB of text. */
dp_status dp_chat_render(const dp_tokenizer *tokenizer, const dp_chat_desc *desc, char **text);
/* False if the tokenizer came without a chat template. */
bool dp_chat_available(const dp_tokenizer *tokenizer);

/* ---- session --------------------------------------------------------------------------------------------- */

typedef struct dp_session dp_session;

typedef enum dp_kv_type { DP_KV_F16 = 0, DP_KV_F32 = 1 } dp_kv_type;

typedef struct dp_session_desc {
    int32_t context; /* positions, at most the model's context; 0: the smaller of that and 4096 */
    int32_t batch;   /* tokens per prefill chunk; 0: 512 */
    dp_kv_type kv;   /* how keys and values are stored; the reference backend always uses f32 */
} dp_session_desc;

/* DP_E_CONTEXT if the model was made for fewer positions; DP_E_MEMORY says how many would fit a budget. */
dp_status dp_session_new(dp_model *model, const dp_session_desc *desc, dp_session **out);
void dp_session_free(dp_session *session);

/* Runs ids [count] at the current position and advances it.
 * logits: NULL, or room for [count][vocab] floats. The last token's logits are kept either way.
 * DP_E_CONTEXT and DP_E_ARG (an id outside 0 to vocab - 1) come before anything is run. If a device fails on the way, the
 * session holds the chunks before that. */
dp_status dp_session_eval(dp_session *session, const int32_t *ids, size_t count, float *logits);
/* Logits [vocab] after the last evaluated token, NULL before the first, or if the device fails to deliver them. Valid until
 * the next call on the session. */
const float *dp_session_logits(const dp_session *session);
/* Positions in the KV cache. */
int32_t dp_session_length(const dp_session *session);
int32_t dp_session_context(const dp_session *session);
/* The ids at the session's positions [length]; generated ones included. Valid until the next call on the session. */
const int32_t *dp_session_ids(const dp_session *session);
/* Forgets all positions from `length` on, and with them the logits: the next call must evaluate a token. Layers with a sliding
 * window may already have dropped what an earlier position needs; then the session goes back to 0. Returns the length it now has;
 * a length that is not shorter changes nothing. */
int32_t dp_session_truncate(dp_session *session, int32_t length);

/* How the next token follows from the logits, in this order. A filter keeps the best candidates and drops the others. */
typedef struct dp_sampling {
    float temperature;        /* logits are divided by it; 0: the greatest logit wins (the lowest id of equals) */
    int32_t top_k;            /* keep so many; 0: off */
    float top_p;              /* keep those that together reach this probability; 0 or 1: off */
    float min_p;              /* keep those with at least this share of the best one's probability; 0: off */
    float repetition_penalty; /* before all: logits of recent tokens are divided by it if positive, else multiplied
                               * (CTRL, arXiv 1909.05858); 0 or 1: off */
    int32_t repeat_last;      /* tokens that the penalty looks back on; 0: 64 */
    uint64_t seed;            /* same seed, same build, same device: same text */
} dp_sampling;

typedef enum dp_stop_reason {
    DP_STOP_END = 0,    /* an end token */
    DP_STOP_STRING = 1, /* a stop string */
    DP_STOP_LENGTH = 2, /* max_tokens */
    DP_STOP_CONTEXT = 3, /* the context is full */
    DP_STOP_CALLER = 4   /* on_token or on_text returned false */
} dp_stop_reason;

typedef struct dp_generate_desc {
    const int32_t *prompt; /* [prompt_count], evaluated first, as prefill. May be empty if the session's last token has logits */
    size_t prompt_count;
    dp_sampling sampling;
    int32_t max_tokens;       /* 0: until the context is full */
    const char *const *stops; /* [stop_count] strings: the text ends before the first of these */
    size_t stop_count;
    bool show_special; /* also pass on the text of special tokens */
    bool ignore_end;   /* end tokens are tokens like others: to measure speed */
    /* Every new token as soon as it is known, before its text; return false to stop. May be NULL. */
    bool (*on_token)(void *user, int32_t id);
    /* Whole UTF-8 characters as they come; return false to stop. May be NULL. */
    bool (*on_text)(void *user, const char *text, size_t size);
    /* After each prefill chunk; return false to cancel. May be NULL. */
    bool (*on_prefill)(void *user, size_t done, size_t total);
    void *user;
} dp_generate_desc;

typedef struct dp_generate_result {
    dp_stop_reason reason;
    int32_t prompt_tokens, new_tokens; /* an end token is not counted */
    double prefill_seconds; /* until the first new token has been passed on; on_prefill is not counted */
    double decode_seconds;  /* from there to the end, on_token and on_text included */
} dp_generate_result;

/* Evaluates the prompt and then draws and evaluates tokens until one of dp_stop_reason. The last token drawn (an end token, or
 * the last one counted) is not evaluated: the session's ids and logits end before it. A GPU draws tokens itself and runs a few
 * steps ahead of the host; what it ran beyond the end leaves no trace in the session. result may be NULL. DP_E_CONTEXT if the
 * prompt does not fit, DP_E_CANCELLED if on_prefill said so. */
dp_status dp_session_generate(dp_session *session, const dp_generate_desc *desc, dp_generate_result *result);

/* Calls back after every op of the program with its output: op "attention", label "layers.3.attention",
 * data [rows][cols] f32. Return false to stop with DP_E_CANCELLED. fn NULL turns it off. */
typedef bool (*dp_trace_fn)(void *user, const char *op, const char *label, const float *data, size_t rows, size_t cols);
void dp_session_set_trace(dp_session *session, dp_trace_fn fn, void *user);

/* Calls back with the experts that each layer's router chose for the tokens of an evaluation: ids [tokens][k]. The callback may
 * choose others instead, from 0 on; their weights stay the router's. fn NULL turns it off. DP_E_UNSUPPORTED at the next
 * evaluation on a backend that decides on the device. */
typedef void (*dp_routing_fn)(void *user, int32_t layer, int32_t *ids, size_t tokens, int32_t k);
void dp_session_set_routing(dp_session *session, dp_routing_fn fn, void *user);
/* The same for a function that chooses all experts without looking at the router's choice, which ids then need not hold: a GPU
 * asks it before a token's step, and runs on as if the router had chosen so. */
void dp_session_choose_routing(dp_session *session, dp_routing_fn fn, void *user);

/* Calls back for every op of each evaluation with the time it took on the device and the bytes of weights it had to read:
 * of a mixture the experts that were chosen, each once (on a GPU as many as its tokens can choose at most). Measuring has
 * a cost of its own, so the sum exceeds an unmeasured evaluation. fn NULL turns it off. DP_E_UNSUPPORTED at the next
 * evaluation where a GPU has no timestamps. */
typedef void (*dp_profile_fn)(void *user, const char *op, const char *label, double seconds, uint64_t weight_bytes);
void dp_session_set_profile(dp_session *session, dp_profile_fn fn, void *user);

/* ---- files ----------------------------------------------------------------------------------------------- */

/* Everything a checkpoint says of itself, as JSON; docs/RDRR.md, section 10, lists the members. No weight is read. */
dp_status dp_inspect(const char *path, char **json);

typedef struct dp_verify_desc {
    dp_progress_fn progress; /* may be NULL */
    /* Called for each shard that is missing or whose bytes do not match its hash; the texts are gone afterwards. May be NULL. */
    void (*on_bad)(void *user, const char *file, const char *why);
    void *user;
} dp_verify_desc;
/* Checks structure and every hash (only RDRR has hashes). DP_E_CORRUPT if any shard is missing or does not match. */
dp_status dp_verify(const char *path, const dp_verify_desc *desc);

typedef enum dp_sharding { DP_SHARD_AUTO = 0, DP_SHARD_FIXED, DP_SHARD_LAYER, DP_SHARD_EXPERT } dp_sharding;

/* A model to write. It appears at its path whole or not at all; a run that is killed leaves no model there. */
typedef struct dp_output_desc {
    const char *path;     /* RDRR folder to make; a name ending in .gguf writes one GGUF file */
    const char *quantize; /* "keep", "q4_k_m", "q5_k_m", "q8_0", "q6_k", "f16", "bf16", "mxfp4"; NULL: the call's default */
    dp_sharding sharding; /* of RDRR; AUTO: expert for MoE, fixed otherwise */
    uint64_t shard_size;  /* bytes of a fixed shard, rounded up to a multiple of 4096; 0: 64 MiB */
    int32_t threads;      /* 0: one per core that the process may use */
    bool overwrite;       /* replace the model that is there; a folder of other files never is */
    dp_progress_fn progress;
    void *user;
} dp_output_desc;

typedef struct dp_convert_desc {
    const char *input; /* HF folder, .gguf or RDRR folder */
    const char *name;  /* modelId; NULL: from the input */
    dp_output_desc output;
} dp_convert_desc;

typedef struct dp_convert_result {
    uint64_t tensors, shards;
    uint64_t bytes_in;  /* of all tensors as they were stored */
    uint64_t bytes_out; /* of all shards, or of the file */
} dp_convert_result;
/* Copies a checkpoint, its tensors as they are (quantize NULL: "keep") or quantised; result may be NULL. DP_E_ARG if something
 * is at the output's path that must not be replaced; DP_E_DISK_FULL, and DP_E_CORRUPT if a shard of the input does not match its
 * hash, come before anything is written. */
dp_status dp_convert(const dp_convert_desc *desc, dp_convert_result *result);

/* Writes a model of a published model's exact shapes with random, numerically tame weights, for benchmarks. */
typedef struct dp_synth_desc {
    const char *like; /* a name that dp_synth_name gives, e.g. "llama-3.2-1b"; else DP_E_NOT_FOUND */
    uint64_t seed;    /* equal seeds give equal weights */
    int32_t layers;   /* keep only the first so many, where memory or disk are short; 0: all */
    dp_output_desc output; /* quantize NULL: "q4_k_m", for gpt-oss "mxfp4" */
} dp_synth_desc;
dp_status dp_synth(const dp_synth_desc *desc, dp_convert_result *result);
/* Name of the i-th shape dp_synth knows, NULL past the end. */
const char *dp_synth_name(size_t i);

#ifdef __cplusplus
}
#endif
#endif
