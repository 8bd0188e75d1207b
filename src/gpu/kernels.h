/* kernels.h: the WGSL sources, and pipelines made from them on demand. Floor 4. */
#ifndef DP_KERNELS_H
#define DP_KERNELS_H

#include "gpu/gpu.h"
#include "quant/quant.h"

/* Generated at build time; ends with a NULL name. */
typedef struct dp_kernel_source {
    const char *name, *wgsl;
} dp_kernel_source;
extern const dp_kernel_source dp_kernel_sources[];

typedef enum dp_kernel {
    DP_KERNEL_ELEMENTWISE, DP_KERNEL_NORM, DP_KERNEL_ROPE, DP_KERNEL_ROWS, DP_KERNEL_KV_WRITE, DP_KERNEL_ATTENTION,
    DP_KERNEL_ATTENTION_MERGE, DP_KERNEL_ROUTE, DP_KERNEL_ATTENTION_DECODE, DP_KERNEL_ATTENTION_DECODE_MERGE, DP_KERNEL_PACK_ROW,
    DP_KERNEL_NORM_PACK, DP_KERNEL_NORM_ADD, DP_KERNEL_GROUP, DP_KERNEL_PLACE, DP_KERNEL_PLACE_FETCH, DP_KERNEL_PLACE_ROUTED,
    DP_KERNEL_PLACE_ROUTED_FETCH, DP_KERNEL_FETCH, DP_KERNEL_PUT_BACK, DP_KERNEL_ATTENTION_TILED, DP_KERNEL_ATTENTION_MATRIX, DP_KERNEL_SAMPLE_TOP, DP_KERNEL_SAMPLE_WEIGH,
    DP_KERNEL_SAMPLE_KEEP, DP_KERNEL_SAMPLE_PICK,
    /* with a weight in front: bindings 0 and 1 */
    DP_KERNEL_EMBED, DP_KERNEL_MATVEC, DP_KERNEL_MATVEC_ROWS, DP_KERNEL_MATMUL, DP_KERNEL_ROUTER, DP_KERNEL_HEAD_TRANSPOSED, DP_KERNEL_PACK_F16,
    DP_KERNEL_MATMUL_MATRIX, /* on the matrix units */
    /* matrices against packed activations, two bindings each in front */
    DP_KERNEL_DOT_STORE, DP_KERNEL_DOT_JOIN, DP_KERNEL_DOT_ADD, DP_KERNEL_DOT_LOGITS,
    DP_KERNEL_DOT_ACT, DP_KERNEL_DOT_EXPERTS_ACT, DP_KERNEL_DOT_EXPERTS_ADD,
    /* single tokens on devices that are programs; matrices with two bindings each in front */
    DP_KERNEL_LEAN_STORE, DP_KERNEL_LEAN_JOIN, DP_KERNEL_LEAN_ADD, DP_KERNEL_LEAN_ACT, DP_KERNEL_LEAN_ROUTE, DP_KERNEL_LEAN_ATTEND,
    DP_KERNEL_COUNT
} dp_kernel;

enum { DP_KERNEL_CONSTANTS = 27 };

/* Places of the constants that all DP_KERNEL_DOT_* share; UNITS: 64 columns each, of a row; STEPS: of a lane through its
 * units; GROUPS: 16 columns each, of the activations. */
enum {
    DP_DOT_LANES, DP_DOT_ROWS, DP_DOT_THREADS, DP_DOT_UNITS, DP_DOT_STEPS, DP_DOT_GROUPS, DP_DOT_NORM, DP_DOT_BIAS, DP_DOT_PACK, DP_DOT_ACT,
    DP_DOT_EXPERTS, DP_DOT_CHOICES, DP_DOT_NORMALISE, DP_DOT_SECOND, DP_DOT_THIRD, /* dtypes of a second and third matrix */
    DP_DOT_MATRIX0, DP_DOT_MATRIX1, DP_DOT_MATRIX2, /* rows of the matrices */
    DP_DOT_PLACED, /* experts are in slots: choose_placed.wgsl */
    DP_DOT_EPS, DP_DOT_ALPHA, DP_DOT_LIMIT, DP_DOT_SCALE, DP_DOT_OFFSET, /* bits of f32: a uniform would be one more thing to wait for */
    DP_DOT_FETCH, /* when units are fetched: kernels/dot_rows.wgsl */
    DP_DOT_PARTS, DP_DOT_ROUTER_BIAS /* logits are sums of so many: kernels/choose_parts.wgsl */
};

/* The same for DP_KERNEL_ATTENTION_DECODE. SUBGROUP: the size of all subgroups if they are to be used, else 0. */
enum {
    DP_ATTEND_SINKS, DP_ATTEND_SPLITS, DP_ATTEND_PACK, DP_ATTEND_PAIRS, DP_ATTEND_NORMS, DP_ATTEND_BIAS, DP_ATTEND_K_DIM, DP_ATTEND_V_DIM,
    DP_ATTEND_HEADS, DP_ATTEND_KEYS, DP_ATTEND_SUBGROUP, DP_ATTEND_ROUND, DP_ATTEND_K_OWN, DP_ATTEND_V_OWN, DP_ATTEND_THREADS
};

/* Places of the constants that all DP_KERNEL_LEAN_* of matrices share (kernels/lean.wgsl). CHUNKS: 32 columns each, of a row. */
enum {
    DP_LEAN_CHUNKS, DP_LEAN_NORM, DP_LEAN_NEXT, DP_LEAN_ACT, DP_LEAN_EXPERTS, DP_LEAN_CHOICES, DP_LEAN_NORMALISE,
    DP_LEAN_SECOND, DP_LEAN_THIRD, /* dtypes of a second and third matrix */
    DP_LEAN_MATRIX0, DP_LEAN_MATRIX1, DP_LEAN_MATRIX2, /* rows of the matrices */
    DP_LEAN_BYTES0, DP_LEAN_BYTES1, DP_LEAN_BYTES2, DP_LEAN_BYTES3, DP_LEAN_BYTES4, DP_LEAN_BYTES5, /* of their bindings */
    DP_LEAN_EPS, DP_LEAN_ALPHA, DP_LEAN_LIMIT, DP_LEAN_SCALE, DP_LEAN_OFFSET /* bits of f32 */
};

/* A kernel with its overrides: what makes one pipeline. Unused constants are 0. */
typedef struct dp_kernel_variant {
    dp_kernel kernel;
    dp_dtype dtype; /* of the weight; DP_F32 where there is none */
    uint32_t constants[DP_KERNEL_CONSTANTS]; /* in the order of the kernel's table entry */
} dp_kernel_variant;

typedef struct dp_kernels dp_kernels;
dp_status dp_kernels_new(dp_gpu *gpu, dp_kernels **out);
void dp_kernels_free(dp_kernels *kernels);
/* Compiled on first use. */
dp_status dp_kernels_get(dp_kernels *kernels, const dp_kernel_variant *variant, dp_gpu_pipeline *out);

/* False for dtypes no kernel reads. */
bool dp_kernels_reads(dp_dtype dtype);
/* Whether packed activations (kernels/pack.wgsl) can meet it in integer dot products. */
bool dp_kernels_dots(dp_dtype dtype);

#endif
