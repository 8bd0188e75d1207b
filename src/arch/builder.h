/* builder.h: how an architecture turns a checkpoint into a program. The builder finds tensors by their Hugging Face
 * names, checks their shapes against the config, and appends ops. The first error sticks: building functions return
 * slot or weight indices and do nothing once `status` is bad, so that layer functions read straight through. Floor 4. */
#ifndef DP_BUILDER_H
#define DP_BUILDER_H

#include "format/checkpoint.h"
#include "graph/program.h"

/* Where the engine gets a weight's values. */
typedef enum dp_source_kind {
    DP_SOURCE_TENSOR,   /* a matrix, as stored; rows from first_row on */
    DP_SOURCE_VECTOR,   /* converted to F32 */
    DP_SOURCE_VALUES,   /* computed by the builder */
    DP_SOURCE_STACKED,  /* experts in one tensor [expert][rows][cols] */
    DP_SOURCE_SEPARATE, /* one tensor per expert */
    DP_SOURCE_MXFP4_HF, /* gpt-oss `_blocks` + `_scales`: rows first_row, first_row + row_step, ... of each expert */
    DP_SOURCE_ROWS_HF   /* gpt-oss biases: [expert][all rows], taken with first_row and row_step, as F32 */
} dp_source_kind;

typedef struct dp_weight_source {
    dp_source_kind kind;
    const dp_tensor *tensor;   /* blocks for MXFP4_HF */
    const dp_tensor *scales;   /* MXFP4_HF */
    const dp_tensor **experts; /* SEPARATE */
    const float *values;       /* VALUES */
    int64_t first_row, row_step;
} dp_weight_source;

/* What nearly every config says. Architectures read the rest themselves. */
typedef struct dp_shape {
    int32_t layers, hidden, intermediate, heads, kv_heads, head_dim, vocab, context;
    int32_t experts, experts_per_token;
    int32_t window; /* sliding_window, 0 if none */
    float norm_eps;
    bool tied; /* no lm_head tensor: the embedding is used */
} dp_shape;

typedef struct dp_builder {
    const dp_checkpoint *checkpoint;
    const dp_json *config;
    dp_shape shape;
    dp_program *program;
    dp_weight_source *sources; /* parallel to program->weights */
    size_t source_capacity;
    dp_map weight_map; /* name -> weight index, so that a tensor is entered once */
    dp_map slot_map;
    int32_t layer;     /* for labels; -1 outside */
    float norm_offset; /* added to norm gains: Gemma's 1 */
    dp_status status;
    dp_op scratch_op;  /* what dp_build_op returns after an error */
} dp_builder;

/* ---- architectures ---- */

typedef struct dp_arch {
    const char *name;
    const char *const *model_types; /* config.model_type, NULL-terminated */
    void (*build)(dp_builder *b);
} dp_arch;

/* Builds the program of a checkpoint; *out then holds program, sources and shape. Release with dp_builder_free. */
dp_status dp_arch_build(const dp_checkpoint *checkpoint, dp_builder **out);
void dp_builder_free(dp_builder *builder);
/* By config.model_type; NULL if we do not have it. */
const dp_arch *dp_arch_find(dp_str model_type);

/* ---- config, with the error stuck to the builder ---- */

int32_t dp_build_int(dp_builder *b, const char *key, int32_t fallback);
float dp_build_float(dp_builder *b, const char *key, float fallback);
bool dp_build_bool(dp_builder *b, const char *key, bool fallback);
dp_status dp_build_fail(dp_builder *b, dp_status status, const char *format, ...) DP_PRINTF(3, 4);

/* ---- weights: -1 when absent (or after an error). `name` may contain %d for the layer. ---- */

/* Must exist with this shape. */
int32_t dp_build_matrix(dp_builder *b, const char *name, int32_t rows, int32_t cols);
int32_t dp_build_vector(dp_builder *b, const char *name, int32_t n);
/* May be absent. */
int32_t dp_build_maybe_vector(dp_builder *b, const char *name, int32_t n);
bool dp_build_has(dp_builder *b, const char *name);
/* Values that the builder computed; copied. */
int32_t dp_build_values(dp_builder *b, const char *name, const float *values, int32_t n);
/* Expert matrices or biases. `part` is "gate_proj", "w1", ...; looks for "<prefix>.experts.<part>.weight" (stacked),
 * "<prefix>.experts.<e>.<part>.weight" (separate); prefix may contain %d for the layer. */
int32_t dp_build_experts(dp_builder *b, const char *prefix, const char *part, int32_t rows, int32_t cols);
int32_t dp_build_maybe_expert_bias(dp_builder *b, const char *prefix, const char *part, int32_t rows);

/* ---- slots and ops ---- */

/* The slot of that name; made on first use. One slot serves all layers. */
int32_t dp_build_slot(dp_builder *b, const char *name, int32_t cols);
int32_t dp_build_output_slot(dp_builder *b, const char *name, int32_t cols);
/* Appends; fills layer and label ("layers.3.<label>"). The returned op may be completed until the next append; on an
 * error it is a scratch op. */
dp_op *dp_build_op(dp_builder *b, dp_op_kind kind, const char *label, int32_t dst, int32_t src);

#endif
