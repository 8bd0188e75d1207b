/* gpu_decode.h: what the files of one-token plans share:
 *   gpu_decode.c            which ops go together; norms; packed activations
 *   gpu_decode_dot.c        products with matrices
 *   gpu_decode_moe.c        experts
 *   gpu_decode_attention.c  attention
 *   gpu_lean.c              all of that on devices that are programs
 * Ops are named by how far they lie ahead of planner->index. Floor 4. */
#ifndef DP_GPU_DECODE_H
#define DP_GPU_DECODE_H

#include "gpu/gpu_plan.h"

/* An op of kind DP_OP_COUNT behind the last. */
const dp_op *dp_decode_op(const dp_planner *p, size_t ahead);
/* Whether the op is a product that integer kernels take, which may be a dispatch for each part of its matrix. */
bool dp_decode_is_dot(const dp_planner *p, const dp_op *op);
/* Whether the matrix is one that fused dispatches take: in one binding. */
bool dp_decode_takes(const dp_planner *p, int32_t weight);
/* Whether a slot's content is not read from `ahead` on before it is written anew. */
bool dp_decode_unread(const dp_planner *p, int32_t slot, size_t ahead);

/* ---- packed activations (kernels/pack.wgsl) ---- */

/* Words of a slot's packed row: for each 16 columns bytes twice, a scale, a sum and a sum of squares; behind all of these, for each
 * 16 columns again, a part of the logits of the router that reads the slot, if one does, in whole fours. Lean rows are
 * columns and sums of squares of DP_LEAN_ROWS. */
enum { DP_LEAN_ROWS = 64 }; /* of a workgroup, as in kernels/lean.wgsl */
uint64_t dp_decode_packed_words(const dp_program *program, int32_t slot);
dp_status dp_decode_packed(dp_planner *p, int32_t slot, dp_gpu_range *out);
dp_status dp_decode_pack_row(dp_planner *p, int32_t slot);

/* The norm of a residual that a block's last product may prepare: all that read it take packed activations. norm is NULL
 * where there is none; ops: it and the SELECT that may stand before it. */
typedef struct dp_decode_norm {
    const dp_op *norm;
    size_t ops;
} dp_decode_norm;
dp_decode_norm dp_decode_next_norm(const dp_planner *p, int32_t residual, size_t ahead);

/* ---- the parts; *ops stays 0 where they do nothing ---- */

dp_status dp_decode_product(dp_planner *p, size_t *ops);
/* Finds a shape for a kernel of the DP_KERNEL_DOT_* family: rows of `units`; tile: rows of a workgroup, 0: any. */
typedef struct dp_dot_shape {
    uint32_t lanes, rows, threads, steps, tile;
    bool spread; /* over more lanes than units keep busy: rows are few */
} dp_dot_shape;
dp_dot_shape dp_decode_shape(const dp_planner *p, uint32_t rows, uint32_t units, uint32_t tile);
/* The constants of a variant that follow from the shape and the activations in the packed twin of `src`. */
void dp_decode_constants(const dp_planner *p, dp_kernel_variant *variant, const dp_dot_shape *shape, uint32_t units, uint32_t src_cols);
/* The packed twin of op->src, made if it is not there. */
dp_status dp_decode_source(dp_planner *p, const dp_op *op, dp_gpu_range *out);
/* op's product alone, into its slot. */
dp_status dp_decode_store(dp_planner *p, const dp_op *op);
/* Of op->bias and the like, or a stand-in. */
dp_gpu_range dp_decode_vector(const dp_planner *p, int32_t weight);

enum { DP_DECODE_CHOICES_MOST = 16, /* experts a token */
       DP_DECODE_MIXTURE_OPS = 8 };
typedef struct dp_decode_mixture {
    const dp_op *router, *route, *gate, *up, *act, *down, *sum, *add;
} dp_decode_mixture;
/* Whether the ops from `ahead` on are a mixture of experts up to the residual, whose slots nothing else reads. */
bool dp_decode_mixture_at(const dp_planner *p, size_t ahead, dp_decode_mixture *out);
/* Whether it chooses by logits, with a softmax for weights. */
bool dp_decode_is_choosable(const dp_decode_mixture *m);
/* The choice in a dispatch of its own, to plan->routed. */
dp_status dp_decode_route(dp_planner *p, const dp_decode_mixture *m);
dp_status dp_decode_routed(dp_planner *p); /* makes plan->routed */
dp_status dp_decode_moe(dp_planner *p, size_t *ops);
/* Whether ops from `ahead` on are a mixture of experts that dp_decode_moe takes; how many up to the residual. */
size_t dp_decode_moe_ops(const dp_planner *p, size_t ahead);
/* The router `ahead` if the product that makes its input, src, can multiply it too (kernels/dot_route.wgsl), else NULL. */
const dp_op *dp_decode_router_in_parts(const dp_planner *p, size_t ahead, int32_t src);

dp_status dp_decode_attention(dp_planner *p, size_t *ops);
/* Whether attention that dp_decode_attention takes begins `ahead`, with these slots. */
bool dp_decode_attends(const dp_planner *p, size_t ahead, int32_t q, int32_t k, int32_t v);

/* The parts on devices that are programs (gpu_lean.c): kernels/lean.wgsl. A slot's packed twin is what that says of a norm. */
dp_status dp_lean_mixture(dp_planner *p, size_t *ops);
dp_status dp_lean_product(dp_planner *p, size_t *ops);
dp_status dp_lean_attention(dp_planner *p, size_t *ops);
/* How many ops from `ahead` on they take together that read the slot `src` of the first one; 0: none. */
size_t dp_lean_reads(const dp_planner *p, size_t ahead);

/* A buffer that lives as long as the plan's dispatches. data: NULL or its content. */
dp_status dp_decode_buffer(dp_planner *p, uint64_t size, const void *data, const char *label, dp_gpu_buffer *out);
/* n floats of a vector, back from the device: the host may have dropped them since. */
dp_status dp_decode_read_vector(const dp_planner *p, int32_t weight, float *out, size_t n);

static inline const dp_weight *dp_decode_matrix(const dp_planner *p, const dp_op *op) { return &p->plan->program->weights[op->weight]; }
static inline const dp_gpu_weight *dp_decode_device(const dp_planner *p, int32_t index) {
    return &((const dp_gpu_weight *)p->plan->program->device)[index];
}
static inline dp_gpu_range dp_decode_whole(dp_gpu_buffer buffer) { return (dp_gpu_range){buffer, 0, 0}; }
static inline dp_gpu_range dp_decode_slot(const dp_planner *p, int32_t slot) { return dp_decode_whole(p->plan->slots[slot]); }
static inline uint32_t dp_decode_cols(const dp_planner *p, int32_t slot) { return (uint32_t)p->plan->program->slots[slot].cols; }
static inline uint32_t dp_decode_bits(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }
static inline dp_grid_rows dp_decode_rows(const dp_planner *p, int32_t slot) {
    return p->plan->program->slots[slot].rows == DP_ROWS_TOKENS ? DP_GRID_TOKENS : DP_GRID_OUTPUTS;
}

#endif
