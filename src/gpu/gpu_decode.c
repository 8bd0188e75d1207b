/* gpu_decode.c: the plan of one-token steps, where time goes to reading weights and to the number of dispatches: ops
 * that follow each other become one dispatch, and quantised matrices meet activations rounded to 8 bits
 * (kernels/pack.wgsl). The norm of a residual costs no dispatch: what adds to the residual packs it, times the norm's
 * gain, with sums of squares, and the product that reads it applies the norm's factor to its results. Other steps,
 * and devices opened as exact run the plain dispatches of gpu_plan.c; those that are programs have gpu_lean.c. A fused dispatch may
 * leave out slots that nothing else reads. */
#include "gpu/gpu_decode.h"

const dp_op *dp_decode_op(const dp_planner *p, size_t ahead) {
    static const dp_op none = {.kind = DP_OP_COUNT, .dst = -1, .dst2 = -1, .src = -1, .src2 = -1, .weight = -1, .bias = -1};
    size_t i = p->index + ahead;
    return i < p->plan->program->op_count ? &p->plan->program->ops[i] : &none;
}

static bool has_dots(const dp_weight *w) { return dp_kernels_dots(w->dtype) && w->cols % 64 == 0; }

bool dp_decode_takes(const dp_planner *p, int32_t weight) {
    return has_dots(&p->plan->program->weights[weight]) && dp_decode_device(p, weight)->part_count == 1;
}

bool dp_decode_is_dot(const dp_planner *p, const dp_op *op) { return op->kind == DP_OP_MATMUL && has_dots(dp_decode_matrix(p, op)); }

bool dp_decode_unread(const dp_planner *p, int32_t slot, size_t ahead) {
    const dp_program *program = p->plan->program;
    for (size_t i = p->index + ahead; i < program->op_count; i++) {
        const dp_op *op = &program->ops[i];
        if (op->src == slot || op->src2 == slot) return false;
        if (op->dst == slot || op->dst2 == slot) return true;
    }
    return slot != program->logits;
}

dp_gpu_range dp_decode_vector(const dp_planner *p, int32_t weight) {
    return dp_decode_whole(weight < 0 ? p->plan->backend->nothing : dp_decode_device(p, weight)->quants);
}

dp_status dp_decode_buffer(dp_planner *p, uint64_t size, const void *data, const char *label, dp_gpu_buffer *out) {
    dp_plan *plan = p->plan;
    if (!dp_grow((void **)&plan->owned, &plan->owned_capacity, plan->owned_count + 1, sizeof *plan->owned))
        return dp_no_memory(sizeof *plan->owned);
    TRY(dp_gpu_buffer_new(plan->backend->gpu, size, label, out));
    plan->owned[plan->owned_count++] = *out;
    return data ? dp_gpu_write(plan->backend->gpu, *out, 0, data, (size_t)size) : DP_OK;
}

dp_status dp_decode_read_vector(const dp_planner *p, int32_t weight, float *out, size_t n) {
    const dp_weight *w = &p->plan->program->weights[weight];
    if (!w->data || w->dtype != DP_F32) return dp_fail(DP_E_ARG, "%s: not a vector", w->name);
    memcpy(out, w->data, n * sizeof *out);
    return DP_OK;
}

/* ---- packed activations ---- */

/* Experts among which a router that reads the slot chooses, at most. */
static uint64_t experts_of(const dp_program *program, int32_t slot) {
    uint64_t most = 0;
    for (size_t i = 0; i + 1 < program->op_count; i++) {
        const dp_op *op = &program->ops[i], *route = op + 1;
        if (op->src == slot && route->kind == DP_OP_ROUTE && route->src == op->dst)
            most = DP_MAX(most, (uint64_t)program->slots[op->dst].cols);
    }
    return most;
}

uint64_t dp_decode_packed_words(const dp_program *program, int32_t slot) {
    return (uint64_t)program->slots[slot].cols / 16 * (11 + (experts_of(program, slot) + 3) / 4 * 4);
}

dp_status dp_decode_packed(dp_planner *p, int32_t slot, dp_gpu_range *out) {
    dp_plan *plan = p->plan;
    uint64_t cols = (uint64_t)plan->program->slots[slot].cols;
    uint64_t bytes = (plan->backend->lean ? cols + (cols / DP_LEAN_ROWS + 3) / 4 * 4 : dp_decode_packed_words(plan->program, slot)) * 4;
    uint64_t made = DP_DECODE_CHOICES_MOST * 16; /* four words for each choice behind experts' products */
    if (!plan->packed[slot]) TRY(dp_gpu_buffer_new(plan->backend->gpu, bytes + made, "packed", &plan->packed[slot]));
    *out = dp_decode_whole(plan->packed[slot]);
    return DP_OK;
}

dp_status dp_decode_pack_row(dp_planner *p, int32_t slot) {
    dp_gpu_range packed;
    uint32_t groups = dp_decode_cols(p, slot) / 16;
    TRY(dp_decode_packed(p, slot, &packed));
    dp_recipe r = {.variant = {DP_KERNEL_PACK_ROW, DP_F32, {0}},
                   .ranges = {dp_decode_slot(p, slot), packed},
                   .range_count = 2,
                   .params = {groups},
                   .grid = {(groups + 63) / 64, 1, 1},
                   .planned = {.rows = dp_decode_rows(p, slot), .axis = 1}};
    p->packed_slot = slot;
    p->packed_norm = NULL;
    return dp_gpu_plan_add(p, &r);
}

/* ---- norms ---- */

static bool is_row_norm(const dp_planner *p, const dp_op *op) {
    return op->kind == DP_OP_NORM && op->norm.kind == DP_NORM_RMS && op->norm.count == 1 && op->bias < 0 && op->norm.group % 64 == 0 &&
           p->plan->program->slots[op->dst].cols == op->norm.group;
}

/* How many ops from `ahead` on read packed activations together; 0: none. */
static size_t reads(const dp_planner *p, size_t ahead) {
    size_t experts = dp_decode_moe_ops(p, ahead);
    return experts ? experts : dp_decode_is_dot(p, dp_decode_op(p, ahead)) ? 1 : 0;
}

/* Whether all that reads the slot from `ahead` on until it is written anew takes its packed twin. */
static bool is_packed_only(const dp_planner *p, int32_t slot, size_t ahead) {
    for (;; ahead++) {
        const dp_op *op = dp_decode_op(p, ahead);
        if (op->kind == DP_OP_COUNT) return slot != p->plan->program->logits;
        if (op->src == slot || op->src2 == slot) {
            size_t ops = p->plan->backend->lean ? dp_lean_reads(p, ahead) : reads(p, ahead);
            if (!ops) return false;
            ahead += ops - 1;
        }
        if (op->dst == slot || op->dst2 == slot) return true;
    }
}

dp_decode_norm dp_decode_next_norm(const dp_planner *p, int32_t residual, size_t ahead) {
    const dp_op *op = dp_decode_op(p, ahead), *next = dp_decode_op(p, ahead + 1);
    if (is_row_norm(p, op) && op->src == residual && op->dst != residual && is_packed_only(p, op->dst, ahead + 1))
        return (dp_decode_norm){op, 1};
    if (op->kind == DP_OP_SELECT && op->src == residual && is_row_norm(p, next) && next->src == op->dst && next->dst == op->dst &&
        is_packed_only(p, next->dst, ahead + 2))
        return (dp_decode_norm){next, 2};
    return (dp_decode_norm){NULL, 0};
}

/* The final norm of a single token may as well read what SELECT would copy. */
static dp_status norm_pack(dp_planner *p, const dp_op *op, int32_t src) {
    dp_gpu_range packed;
    TRY(dp_decode_packed(p, op->dst, &packed));
    dp_recipe r = {.variant = {DP_KERNEL_NORM_PACK, DP_F32, {0}},
                   .ranges = {dp_decode_slot(p, src), dp_decode_vector(p, op->weight), dp_decode_slot(p, op->dst), packed},
                   .range_count = 4,
                   .params = {(uint32_t)op->norm.group / 16, dp_decode_bits(op->norm.eps), dp_decode_bits(op->norm.offset)},
                   .grid = {1, 1, 1},
                   .planned = {.rows = dp_decode_rows(p, op->dst), .axis = 1}};
    p->packed_slot = op->dst;
    p->packed_norm = op;
    return dp_gpu_plan_add(p, &r);
}

/* The norm of a block's result, the sum with the residual and the norm behind that. */
static dp_status norm_add(dp_planner *p, size_t *ops) {
    const dp_op *op = dp_decode_op(p, 0), *add = dp_decode_op(p, 1);
    *ops = 0;
    if (op->src != op->dst || add->kind != DP_OP_ADD || add->dst != add->src || add->src2 != op->dst || add->dst == op->dst) return DP_OK;
    dp_decode_norm next = dp_decode_next_norm(p, add->dst, 2);
    if (!next.norm || !dp_decode_unread(p, op->dst, 2)) return DP_OK;
    dp_gpu_range packed;
    TRY(dp_decode_packed(p, next.norm->dst, &packed));
    dp_recipe r = {.variant = {DP_KERNEL_NORM_ADD, DP_F32, {0}},
                   .ranges = {dp_decode_slot(p, op->src), dp_decode_vector(p, op->weight), dp_decode_slot(p, add->dst),
                              dp_decode_vector(p, next.norm->weight), packed},
                   .range_count = 5,
                   .params = {(uint32_t)op->norm.group / 16, dp_decode_bits(op->norm.eps), dp_decode_bits(op->norm.offset),
                              dp_decode_bits(next.norm->norm.offset)},
                   .grid = {1, 1, 1},
                   .planned = {.rows = dp_decode_rows(p, add->dst), .axis = 1, .behind = next.ops}};
    p->packed_slot = next.norm->dst;
    p->packed_norm = next.norm;
    *ops = 2 + next.ops;
    return dp_gpu_plan_add(p, &r);
}

static dp_status norms(dp_planner *p, size_t *ops) {
    const dp_op *op = dp_decode_op(p, 0), *next = dp_decode_op(p, 1);
    if (is_row_norm(p, op)) {
        TRY(norm_add(p, ops));
        if (*ops || op->src == op->dst) return DP_OK;
        *ops = 1;
        return norm_pack(p, op, op->src);
    }
    if (op->kind == DP_OP_SELECT && is_row_norm(p, next) && next->src == op->dst && next->dst == op->dst) {
        *ops = 2;
        return norm_pack(p, next, op->src);
    }
    return DP_OK;
}

static void forget_twin(dp_planner *p, int32_t slot) {
    if (slot >= 0) p->twins[slot].valid = false;
}

/* What ops leave of packed twins: those of what they write are stale but for the one that they have packed. */
static void note_twins(dp_planner *p, size_t ops) {
    for (size_t i = 0; i < ops; i++) {
        forget_twin(p, dp_decode_op(p, i)->dst);
        forget_twin(p, dp_decode_op(p, i)->dst2);
    }
    if (p->packed_slot >= 0) p->twins[p->packed_slot] = (dp_packed_twin){true, p->packed_norm};
}

dp_status dp_gpu_fuse(dp_planner *p, size_t *ops) {
    static dp_status (*const usual[])(dp_planner *, size_t *) = {norms, dp_decode_moe, dp_decode_product, dp_decode_attention};
    static dp_status (*const lean[])(dp_planner *, size_t *) = {dp_lean_mixture, dp_lean_product, dp_lean_attention};
    const dp_op *op = dp_decode_op(p, 0);
    bool is_lean = p->plan->backend->lean;
    *ops = 0;
    if (!p->plan->backend->fuses || (is_lean && (p->plan->block_count || p->plan->stream))) return DP_OK;
    if (is_lean) p->packed_slot = -1;
    for (size_t i = 0; i < (is_lean ? DP_COUNT(lean) : DP_COUNT(usual)) && !*ops; i++) TRY((is_lean ? lean : usual)[i](p, ops));
    if (!*ops && (op->dst == p->packed_slot || op->dst2 == p->packed_slot)) p->packed_slot = -1;
    note_twins(p, DP_MAX(*ops, 1));
    return DP_OK;
}
