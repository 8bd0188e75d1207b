/* synth_weights.c: random weights, made directly as valid blocks: every bit of a quant is random, scales are fixed so
 * that the values have the wanted standard deviation. Nothing is quantised, so it runs as fast as the random numbers.
 * A byte depends on the seed, the tensor's name and its position only, not on how the tensor is cut into reads. */
#include "convert/synth.h"

#include "base/hash.h"

#include <math.h>

/* What the values of a tensor are to look like. */
typedef struct look {
    float mean;      /* 1 for norms */
    float deviation; /* of uniform or block-wise uniform values */
} look;

typedef struct weights {
    uint64_t seed;
    bool plus_one_norms; /* Gemma: norms are stored around 0 */
    bool tied;
} weights;

static look look_of(const weights *w, const dp_source_tensor *t) {
    dp_str name = dp_str_of(t->name);
    float cols = (float)t->shape[t->n_dims - 1];
    if (dp_str_ends(name, "bias")) return (look){0, 0.02f};
    if (dp_str_ends(name, ".sinks")) return (look){0, 0.5f};
    if (t->n_dims == 1) return (look){w->plus_one_norms ? 0.0f : 1.0f, 0.05f};
    if (dp_str_ends(name, "embed_tokens.weight") && !w->tied) return (look){0, 0.5f};
    if (dp_str_ends(name, ".gate.weight") || dp_str_ends(name, ".router.weight")) return (look){0, 2 / sqrtf(cols)};
    return (look){0, 1 / sqrtf(cols)};
}

/* ---- block formats: where the scales stand ---- */

/* Standard deviation of the quants alone: uniform over 2^bits integers, or over the FP4 values. */
static float quant_deviation(dp_dtype dtype) {
    switch (dtype) {
    case DP_Q4_0:
    case DP_Q4_1:
    case DP_Q4_K:
        return 4.61f;
    case DP_Q5_0:
    case DP_Q5_1:
    case DP_Q5_K:
        return 9.23f;
    case DP_Q6_K:
        return 18.47f;
    case DP_Q8_0:
        return 73.9f;
    case DP_MXFP4:
        return 2.926f;
    default:
        return 1;
    }
}

enum { SUB_SCALE = 32 }; /* of every sub-block of the K formats; fits 6 bits */

/* Twelve bytes of eight 6-bit scales and mins, all SUB_SCALE. */
static void set_sub_scales(uint8_t *sc) {
    memset(sc, SUB_SCALE | (SUB_SCALE >> 4) << 6, 8);
    memset(sc + 8, (SUB_SCALE & 15) | (SUB_SCALE & 15) << 4, 4);
}

/* Overwrites the scales in a block of random bytes. Middle: what is subtracted so that the mean is 0, in quants. */
static void set_scales(dp_dtype dtype, float scale, uint8_t *block) {
    float middle = dtype == DP_Q4_1 || dtype == DP_Q4_K ? 7.5f : 15.5f;
    switch (dtype) {
    case DP_Q4_0:
    case DP_Q5_0:
    case DP_Q8_0:
        dp_store_u16(block, dp_f32_to_f16(scale));
        break;
    case DP_Q4_1:
    case DP_Q5_1:
        dp_store_u16(block, dp_f32_to_f16(scale));
        dp_store_u16(block + 2, dp_f32_to_f16(-scale * middle));
        break;
    case DP_Q4_K:
    case DP_Q5_K:
        dp_store_u16(block, dp_f32_to_f16(scale / SUB_SCALE));
        dp_store_u16(block + 2, dp_f32_to_f16(scale * middle / SUB_SCALE));
        set_sub_scales(block + 4);
        break;
    case DP_Q6_K:
        memset(block + 192, SUB_SCALE, 16);
        dp_store_u16(block + 208, dp_f32_to_f16(scale / SUB_SCALE));
        break;
    case DP_MXFP4:
        block[0] = (uint8_t)(127 + lrintf(log2f(scale)));
        break;
    default:
        break;
    }
}

/* Random bytes of a stream; first is a multiple of 8. */
static void fill_random(uint64_t key, uint64_t first, uint8_t *out, size_t size) {
    uint64_t word = first / 8;
    for (; size >= 8; size -= 8, out += 8) dp_store_u64(out, dp_splitmix64(key + word++));
    uint64_t last = dp_splitmix64(key + word);
    memcpy(out, &last, size);
}

enum { FLOAT_BATCH = 256 };

/* Float formats: uniform values with that deviation. */
static void fill_floats(const dp_source_tensor *t, const look *l, uint64_t key, int64_t first, int64_t n,
                        uint8_t *out) {
    const dp_dtype_info *info = dp_dtype_get(t->dtype);
    float values[FLOAT_BATCH], width = l->deviation * sqrtf(3.0f);
    for (int64_t done = 0; done < n; done += FLOAT_BATCH) {
        int64_t count = DP_MIN(n - done, FLOAT_BATCH);
        for (int64_t i = 0; i < count; i++) {
            int64_t at = first + done + i;
            uint64_t word = dp_splitmix64(key + (uint64_t)at / 2);
            uint32_t bits = (uint32_t)(at % 2 ? word >> 32 : word) >> 8;
            values[i] = l->mean + width * ((float)bits / 8388608.0f - 1.0f);
        }
        info->quantize(values, out, (size_t)count);
        out += (size_t)count * info->bytes;
    }
}

static dp_status read_weights(const dp_source *source, size_t tensor, int64_t first, int64_t n, dp_scratch *scratch,
                              void *out) {
    const weights *w = source->state;
    const dp_source_tensor *t = &source->tensors[tensor];
    const dp_dtype_info *info = dp_dtype_get(t->dtype);
    uint64_t key = dp_splitmix64(dp_fnv1a64(t->name, strlen(t->name)) ^ w->seed);
    look l = look_of(w, t);
    (void)scratch;
    if (info->block == 1) {
        fill_floats(t, &l, key, first, n, out);
        return DP_OK;
    }
    float scale = l.deviation / quant_deviation(t->dtype);
    size_t size = (size_t)dp_dtype_bytes(t->dtype, n);
    fill_random(key, dp_dtype_bytes(t->dtype, first), out, size);
    for (size_t at = 0; at < size; at += info->bytes) set_scales(t->dtype, scale, (uint8_t *)out + at);
    return DP_OK;
}

enum { GRAIN = 1024 }; /* elements: a multiple of 8 bytes in every format */

dp_status dp_synth_weights(dp_source *source, const dp_mixture *mixture, uint64_t seed) {
    bool gemma = false;
    for (size_t i = 0; i < source->count; i++) {
        dp_source_tensor *t = &source->tensors[i];
        t->dtype =
            dp_mixture_choose(mixture, &(dp_mixture_tensor){t->name, t->dtype, t->n_dims, t->shape[t->n_dims - 1]});
        t->grain = GRAIN;
        gemma |= strstr(t->name, "pre_feedforward_layernorm") != NULL;
    }
    weights *state = dp_arena_alloc(&source->arena, sizeof *state);
    if (!state) return dp_no_memory(sizeof *state);
    *state = (weights){.seed = seed, .plus_one_norms = gemma, .tied = mixture->tied};
    source->state = state;
    source->read = read_weights;
    return DP_OK;
}
