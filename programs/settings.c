/* settings.c: the options that several commands share. Their defaults are the initial values here. */
#define _DEFAULT_SOURCE /* POSIX within -std=c11 */
#include <unistd.h>

#include "base/hash.h"
#include "host/host.h"
#include "tool.h"

settings set = {
    .kv = -1,
    .sampling = {.temperature = 0.7f,
                 .top_p = 0.95f,
                 .min_p = 0.05f,
                 .repetition_penalty = 1,
                 .repeat_last = 64},
};

#define QUIET_OPTION                                                                                                   \
    { "quiet", 'q', OPTION_FLAG, &set.quiet, NULL, "no progress, notes or summary on stderr", 0, 0 }

static const option quiet_only[] = {QUIET_OPTION, OPTIONS_END};
const option_group quiet_options = {"Output", quiet_only};

static const option output[] = {
    {"json", 0, OPTION_FLAG, &set.json, NULL, "print one JSON object instead of text for people", 0, 0},
    QUIET_OPTION,
    OPTIONS_END,
};
const option_group output_options = {"Output", output};

static const option engine[] = {
    {"device", 0, OPTION_TEXT, &set.device, "NAME",
     "what computes: cpu; gpu, or gpu:N for the Nth that `doppler devices` lists; cpu-ref, plain scalar f32, exact and slow; auto, the "
     "best GPU if there is one, else cpu (default: auto)",
     0, 0},
    {"backend", 0, OPTION_TEXT, &set.device, "NAME", "another name of --device", 0, 0},
    {"gpu-library", 0, OPTION_TEXT, &set.gpu_library, "FILE", "the WebGPU library (default: the usual names)", 0, 0},
    {"threads", 't', OPTION_INT, &set.threads, "N", "threads (default: one per available core)", 1, 1024},
    {"isa", 0, OPTION_TEXT, &set.isa, "NAME",
     "use at most this instruction set: scalar, avx2, avxvnni, avx512, amx, neon, dotprod, i8mm, wasm (default: the best here)", 0, 0},
    {"verify", 0, OPTION_FLAG, &set.verify, NULL, "check the hash of every shard before use", 0, 0},
    OPTIONS_END,
};
const option_group engine_options = {"Engine", engine};

static const option memory[] = {
    {"ram", 0, OPTION_SIZE, &set.ram, "SIZE",
     "memory this process may take: what does not fit is read from the model's files when needed (default: all that is free)",
     1 << 20, 0},
    {"vram", 0, OPTION_SIZE, &set.vram, "SIZE",
     "graphics memory to take: experts that do not fit are paged through slots there, or layers (default: what there is)",
     1 << 20, 0},
    {"slots", 0, OPTION_INT, &set.expert_slots, "N",
     "experts of each layer to keep in memory (default: as --ram allows)", 1, 65536},
    {"cache", 0, OPTION_CHOICE, &set.cache, "lrfu|lru",
     "which expert goes when another must come: the least used of late, or the longest unused (default: lrfu)", 0, 0},
    {"misses", 0, OPTION_CHOICE, &set.misses, "upload|cpu|auto|fetch",
     "what becomes of experts that a token needs and the GPU lacks: they are sent there; the CPU computes them; the GPU "
     "fetches them from memory by itself; auto: fetch where it can be, else whichever of the others is faster (default: upload; with it "
     "and with fetch tokens are exactly those of a model that is there as a whole)",
     0, 0},
    {"mirror", 0, OPTION_TEXTS, &set.mirrors, "FOLDER",
     "a copy of the model's files, for when reading one fails; several may be given", 0, 0},
    {"paging", 0, OPTION_FLAG, &set.paging_stats, NULL, "say at the end what paging did: hits, misses, bytes, times", 0,
     0},
    {"record-routing", 0, OPTION_TEXT, &set.record_routing, "FILE",
     "write down which experts are chosen, for cache-replay", 0, 0},
    OPTIONS_END,
};
const option_group memory_options = {"Memory", memory};

static const option session[] = {
    {"context", 'c', OPTION_INT, &set.context, "N",
     "positions of the KV cache (default: the model's context, at most 4096)", 1, INT32_MAX},
    {"batch", 'b', OPTION_INT, &set.batch, "N", "tokens per prefill chunk (default: 512)", 1, 65536},
    {"kv", 0, OPTION_CHOICE, &set.kv, "f16|f32", "type of the KV cache (default: f16)", 0, 0},
    OPTIONS_END,
};
const option_group session_options = {"Session", session};

static const option sampling[] = {
    {"greedy", 'g', OPTION_FLAG, &set.greedy, NULL, "always take the likeliest token", 0, 0},
    {"temperature", 'T', OPTION_FLOAT, &set.sampling.temperature, "X",
     "flattens (> 1) or sharpens (< 1) the distribution; 0 is greedy (default: 0.7)", 0, 100},
    {"top-k", 0, OPTION_INT, &set.sampling.top_k, "N", "only the N likeliest tokens; 0: off (default)", 0, INT32_MAX},
    {"top-p", 0, OPTION_FLOAT, &set.sampling.top_p, "X",
     "only the likeliest tokens that together reach X; 1: off (default: 0.95)", 0, 1},
    {"min-p", 0, OPTION_FLOAT, &set.sampling.min_p, "X",
     "only tokens at least X times as likely as the likeliest; 0: off (default: 0.05)", 0, 1},
    {"repetition-penalty", 0, OPTION_FLOAT, &set.sampling.repetition_penalty, "X",
     "makes recent tokens less likely; 1: off (default)", 0.01, 100},
    {"repeat-last", 0, OPTION_INT, &set.sampling.repeat_last, "N",
     "tokens that the penalty looks back on (default: 64)", 1, INT32_MAX},
    {"seed", 's', OPTION_SEED, &set.sampling.seed, "N", "same seed, same text (default: drawn, shown in the summary)",
     0, 0},
    {"stop", 0, OPTION_TEXTS, &set.stops, "TEXT", "end before this text; may be given several times", 0, 0},
    {"max-tokens", 'n', OPTION_INT, &set.max_tokens, "N", "end after N tokens (default: when the context is full)", 1,
     INT32_MAX},
    OPTIONS_END,
};
const option_group sampling_options = {"Sampling", sampling};

void settings_draw_seed(void) {
    uint64_t entropy = (uint64_t)(dp_host_seconds() * 1e9) ^ (uint64_t)dp_host_unix_time() << 20 ^ (uint64_t)getpid();
    set.sampling.seed = dp_splitmix64(entropy) % 1000000000; /* short enough to type again */
}

const dp_sampling *settings_sampling(void) {
    if (set.greedy) set.sampling.temperature = 0;
    return &set.sampling;
}
