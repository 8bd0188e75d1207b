/* mixture.h: which block format each tensor gets. The rules are llama.cpp's, so that "Q4_K_M" means the same file
 * everywhere; they are decided on canonical (Hugging Face) names, before any format is written. Floor 5. */
#ifndef DP_MIXTURE_H
#define DP_MIXTURE_H

#include "base/json.h"
#include "quant/quant.h"

typedef enum dp_quantize {
    DP_QUANTIZE_KEEP,
    DP_QUANTIZE_Q4_K_M,
    DP_QUANTIZE_Q5_K_M,
    DP_QUANTIZE_Q6_K,
    DP_QUANTIZE_Q8_0,
    DP_QUANTIZE_F16,
    DP_QUANTIZE_BF16,
    DP_QUANTIZE_MXFP4 /* experts MXFP4, all other matrices Q8_0 */
} dp_quantize;

/* NULL means "keep". DP_E_ARG lists the names there are. */
dp_status dp_quantize_parse(const char *text, dp_quantize *out);
/* "Q4_K_M"; NULL for KEEP. */
const char *dp_quantize_label(dp_quantize quantize);

/* What the rules look at besides the tensor. */
typedef struct dp_mixture {
    dp_quantize quantize;
    int32_t layers, experts;
    bool tied;    /* no lm_head: the embedding is the output matrix too */
    bool seventy; /* the 80-layer Llama and Qwen 2 models get more bits for attn_v */
} dp_mixture;

/* From config.json (either spelling, text_config included). */
void dp_mixture_init(dp_mixture *mixture, dp_quantize quantize, const dp_json *config, bool tied);

typedef struct dp_mixture_tensor {
    const char *name; /* canonical */
    dp_dtype dtype;   /* as stored now */
    int32_t n_dims;
    int64_t cols; /* last dimension */
} dp_mixture_tensor;

/* False for what is never quantised: norms, biases, other vectors, routers, sinks, anything not a weight matrix. */
bool dp_mixture_quantizable(const dp_mixture_tensor *tensor);
/* The format to store the tensor in. A tensor that is quantised already is never stored in more bits than it has,
 * unless a float format was asked for. Vectors become F32 unless KEEP. */
dp_dtype dp_mixture_choose(const dp_mixture *mixture, const dp_mixture_tensor *tensor);

/* The number after ".layers." or -1; the number after ".experts." or -1. */
int32_t dp_name_layer(const char *name);
int32_t dp_name_expert(const char *name);

#endif
