/* source.h: the tensors of a model in canonical form, and how to get their bytes. Two kinds of source exist: a
 * checkpoint (source_checkpoint.c) and generated weights (synth.c); what writes a model knows neither. Floor 5.
 *
 * Canonical form: Hugging Face names, row order and norm convention, every expert a tensor of its own:
 *   model.layers.L.mlp.experts.E.gate_proj.weight, ...block_sparse_moe.experts.E.w1.weight
 * gpt-oss too: gate_proj, up_proj and down_proj with .weight (MXFP4 or float) and .bias. */
#ifndef DP_SOURCE_H
#define DP_SOURCE_H

#include "base/arena.h"
#include "base/json.h"
#include "format/checkpoint.h"
#include "quant/quant.h"

/* Reusable memory of one thread. Zero-initialise, dp_scratch_free. */
typedef struct dp_scratch {
    void *data;
    size_t capacity;
} dp_scratch;
dp_status dp_scratch_need(dp_scratch *scratch, size_t size);
void dp_scratch_free(dp_scratch *scratch);

typedef struct dp_source_tensor {
    const char *name;
    dp_dtype dtype;
    int32_t n_dims;
    int64_t shape[4];
    int64_t elements;
    int64_t grain; /* elements; reads start and end at multiples of it (or at the tensor's end) */
} dp_source_tensor;

typedef struct dp_source dp_source;
struct dp_source {
    dp_arena arena; /* owns what the fields point to */
    dp_source_tensor *tensors;
    size_t count;
    /* Elements [first, first + n) of a tensor as its dtype stores them. Any thread. */
    dp_status (*read)(const dp_source *source, size_t tensor, int64_t first, int64_t n, dp_scratch *scratch, void *out);
    const void *state; /* of the source's kind */
};

/* DeepSeek's key-value projections in two tensors each (source_apart.c): a source that reads from `original`, which must
 * outlive it. Without any, or with quantised ones, *out has no tensors. */
dp_status dp_source_apart(const dp_source *original, const dp_json *config, dp_source *out);

void dp_source_free(dp_source *source);
/* Bytes of `elements` values; the count is a multiple of the dtype's block. */
uint64_t dp_dtype_bytes(dp_dtype dtype, int64_t elements);
int64_t dp_shape_elements(const int64_t *shape, int32_t n_dims);

/* Rows of q and k within each head: Hugging Face order (half, i) <-> pair order (i, half) that RoPE on adjacent pairs
 * wants. `rows` rows of `row_bytes`, a multiple of head_dim; to_pairs picks the direction. */
typedef struct dp_head_rows {
    int64_t rows, head_dim;
    size_t row_bytes;
    bool to_pairs;
} dp_head_rows;
void dp_permute_heads(const dp_head_rows *desc, const void *from, void *to);
/* Number of heads whose rows `name` holds ("...q_proj.weight" or .bias, k_proj), 0 for any other tensor. */
int64_t dp_rope_heads(const char *name, const dp_json *config);

/* A view of an open checkpoint, which must outlive the source. */
dp_status dp_source_from_checkpoint(const dp_checkpoint *checkpoint, dp_source *out);

#endif
