/* program.h: the forward pass as data. An architecture describes its layers once (builder.h); the result is a flat list
 * of ops over fixed activation slots and a weight table, valid for any number of tokens. Backends walk it or turn it
 * into dispatches. Floor 3. */
#ifndef DP_PROGRAM_H
#define DP_PROGRAM_H

#include "base/arena.h"
#include "quant/quant.h"

typedef enum dp_op_kind {
#define OP(NAME, name) DP_OP_##NAME,
#include "graph/ops.def"
#undef OP
    DP_OP_COUNT
} dp_op_kind;

const char *dp_op_name(dp_op_kind kind);

/* An activation buffer: [rows][cols] of f32 (int32 for expert ids). */
typedef enum dp_slot_rows { DP_ROWS_TOKENS, DP_ROWS_OUTPUTS } dp_slot_rows;
typedef struct dp_slot {
    const char *name;
    dp_slot_rows rows;
    int32_t cols;
} dp_slot;

/* A weight as the backends see it. Vectors (norm gains, biases, sinks, RoPE tables) are always F32.
 * The engine fills `data`; a weight that is not resident has NULL there. */
typedef struct dp_weight {
    const char *name;
    dp_dtype dtype;
    int32_t rows, cols;   /* of one expert; a vector has rows 1 */
    int32_t experts;      /* 0: a plain weight */
    size_t row_bytes;
    size_t bytes;         /* of one expert, or of the whole plain weight */
    const void *data;     /* plain weights */
    const void **expert;  /* [experts], one contiguous [rows][cols] each */
} dp_weight;

/* Where the bytes of weights come from that are not in memory: `size` bytes at `offset` of a plain weight, or of one
 * expert (expert >= 0). */
typedef struct dp_weight_reader {
    dp_status (*read)(void *user, size_t weight, int32_t expert, uint64_t offset, void *data, size_t size);
    void *user;
} dp_weight_reader;

typedef enum dp_norm_kind { DP_NORM_RMS, DP_NORM_LAYER } dp_norm_kind;
/* SILU: g * sigmoid(g). GELU: g * (1 + erf(g / sqrt(2))) / 2, or its tanh approximation (arXiv 1606.08415). SWIGLU_OAI, of
 * gpt-oss's published code: g = min(g, limit), u = clamp(u, +-limit), g * sigmoid(alpha g) * (u + 1). */
typedef enum dp_act_kind { DP_ACT_SILU, DP_ACT_GELU_TANH, DP_ACT_GELU_ERF, DP_ACT_SWIGLU_OAI } dp_act_kind;
/* Of each token's logits the k best by a score are chosen, equals by the lower number.
 * SOFTMAX: p = softmax(all logits), the top k of p, divided by their sum if `normalise` (Mixtral, arXiv 2401.04088).
 * TOPK_SOFTMAX: softmax over the top k logits (gpt-oss).
 * SIGMOID_GROUPS: p = sigmoid(logits); chosen by p + correction among the experts of the top_groups of `groups` whose two best
 *   add up to most; weights p, divided by their sum if `normalise` (DeepSeek-V3, 2412.19437, and its published code).
 * SPARSEMIXER: one after the other; the weight of the best is its share in a softmax over those left within a relative distance
 *   of 2 jitter (Phi-MoE's published code; SparseMixer: 2310.00811). */
typedef enum dp_route_kind { DP_ROUTE_SOFTMAX, DP_ROUTE_TOPK_SOFTMAX, DP_ROUTE_SIGMOID_GROUPS, DP_ROUTE_SPARSEMIXER } dp_route_kind;

typedef struct dp_op {
    dp_op_kind kind;
    int32_t layer;        /* -1 outside the layers */
    const char *label;    /* "layers.3.q_proj" */
    int32_t dst, dst2;    /* slots, -1: none */
    int32_t src, src2;
    int32_t weight, bias; /* indices into weights, -1: none */
    union {
        struct { float scale; } embed;
        struct { dp_norm_kind kind; float eps, offset; int32_t count, group, stride; } norm;
        /* dst[t][h*dst_stride + dst_offset + j] from src[t][h*src_stride + src_offset + i].
         * Head h uses the `rows` rows of W from h*weight_stride + weight_offset on.
         * plain: j < rows, sum over i < W.cols. transposed: j < W.cols, sum over i < rows. */
        struct {
            int32_t heads, src_stride, src_offset, dst_stride, dst_offset, weight_stride, weight_offset, rows;
            bool transposed;
        } head_matmul;
        /* weight: frequencies [dim/2] (radians per position); bias: those for contexts above long_context, or -1.
         * pairs: turns (2i, 2i+1), otherwise (i, i + dim/2). cos and sin are multiplied by scale (long_scale). */
        struct {
            int32_t heads, src_stride, src_offset, dst_stride, dst_offset, dim;
            bool pairs;
            float scale, long_scale;
            int32_t long_context;
        } rope;
        struct { int32_t kv; } kv_write;
        /* weight: sinks [heads] or -1. window: position i sees j with i - j < window; 0: all. softcap 0: none. */
        struct { int32_t kv, heads; float scale, softcap; } attention;
        struct { dp_act_kind kind; float alpha, limit; } act_mul;
        /* bias: e_score_correction_bias [E] or -1. scale multiplies the weights at the end. jitter: sparsemixer's epsilon. */
        struct { dp_route_kind kind; int32_t k, groups, top_groups; bool normalise; float scale, jitter; } route;
        struct { int32_t k; bool per_expert; } moe_matmul; /* src2: ids; per_expert: src is [T][k][cols] */
        struct { int32_t k; } moe_sum;                     /* src2: weights */
        struct { float cap; } softcap;
    };
} dp_op;

enum { DP_ROUTE_GROUPS_MAX = 64 }; /* groups of experts that a router may have */

/* KV cache of one layer: K rows of kv_heads * k_dim, V rows of kv_heads * v_dim. v_dim 0: V is the first `latent`
 * columns of K (MLA), one kv_head. */
typedef struct dp_kv_spec {
    int32_t heads, k_dim, v_dim, latent;
    int32_t window; /* 0: all positions are kept */
} dp_kv_spec;

typedef struct dp_program {
    dp_arena arena;
    dp_op *ops;
    size_t op_count, op_capacity;
    dp_slot *slots;
    size_t slot_count, slot_capacity;
    dp_weight *weights;
    size_t weight_count, weight_capacity;
    dp_kv_spec *kv; /* one per layer that has a cache */
    size_t kv_count, kv_capacity;
    dp_weight_reader reader; /* for weights whose data is NULL; set by the engine, may have no function if there are none */
    struct dp_pager *pager; /* pager.h: NULL if every weight is resident */
    struct dp_experts *experts; /* experts.h: computes what a device's slots lack; NULL: it is brought there */
    void *device;   /* what the backend's load made of the weights; the backend's own */
    int32_t logits; /* slot [O][vocab] */
    int32_t vocab;
    int32_t layers;
} dp_program;

/* Bytes of a weight, of all its experts together. */
uint64_t dp_weight_bytes(const dp_weight *weight);
/* Bytes of weights that an op reads for one token: a matrix whole, its chosen experts, one row of an embedding. */
uint64_t dp_program_op_bytes(const dp_program *program, const dp_op *op);
/* The same for several tokens, as if they chose different experts while there are any. */
uint64_t dp_program_op_bytes_most(const dp_program *program, const dp_op *op, int32_t tokens);
void dp_program_free(dp_program *program);

#endif
