/* gpu_lean.c: one-token steps on devices that are programs (SwiftShader), where a dispatch takes longer than most of what it
 * computes and barriers are slow: a layer in five dispatches, with experts in six, without a barrier (kernels/lean.wgsl).
 * Activations stay f32. The norm of a residual costs no dispatch: what adds to the residual leaves it times the norm's gain, with
 * sums of squares, in the packed twin of the norm's slot, and products that read it apply the factor to their results. What is
 * not taken here runs the plain dispatches of gpu_plan.c. */
#include "gpu/gpu_decode.h"

enum { LANES = 4, ROWS = DP_LEAN_ROWS, K_DIM_MOST = 128 }; /* as in kernels/lean.wgsl */

static uint32_t tiles(uint32_t rows) { return (rows + ROWS - 1) / ROWS; }

static bool takes(const dp_planner *p, int32_t weight) {
    const dp_weight *w = &p->plan->program->weights[weight];
    return dp_kernels_reads(w->dtype) && w->cols % 64 == 0 && dp_decode_device(p, weight)->part_count == 1;
}

static bool is_product(const dp_planner *p, const dp_op *op) {
    return op->kind == DP_OP_MATMUL && op->bias < 0 && takes(p, op->weight);
}

static bool takes_experts(const dp_planner *p, const dp_decode_mixture *m) {
    const dp_weight *gate = dp_decode_matrix(p, m->gate), *up = dp_decode_matrix(p, m->up);
    return is_product(p, m->router) && takes(p, m->gate->weight) && takes(p, m->up->weight) && takes(p, m->down->weight) &&
           m->gate->bias < 0 && m->up->bias < 0 && m->down->bias < 0 && gate->dtype == up->dtype && gate->rows == up->rows &&
           !m->gate->moe_matmul.per_expert && !m->up->moe_matmul.per_expert && m->down->moe_matmul.per_expert;
}

static bool mixture_at(const dp_planner *p, size_t ahead, dp_decode_mixture *out) {
    return dp_decode_mixture_at(p, ahead, out) && takes_experts(p, out);
}

size_t dp_lean_reads(const dp_planner *p, size_t ahead) {
    dp_decode_mixture m;
    if (mixture_at(p, ahead, &m)) return DP_DECODE_MIXTURE_OPS;
    return is_product(p, dp_decode_op(p, ahead)) ? 1 : 0;
}

/* ---- recipes ---- */

/* Matrix i of a kernel: its bindings and constants. */
static void set_matrix(const dp_planner *p, dp_recipe *r, size_t i, int32_t weight) {
    const dp_weight *w = &p->plan->program->weights[weight];
    const dp_gpu_weight *data = dp_decode_device(p, weight);
    dp_repack_size bytes = dp_gpu_part_bytes(w, (uint32_t)(w->experts ? w->experts : w->rows));
    uint32_t *c = r->variant.constants;
    if (i == 0) r->variant.dtype = w->dtype;
    else c[DP_LEAN_SECOND + i - 1] = w->dtype;
    c[DP_LEAN_CHUNKS] = (uint32_t)w->cols / 32;
    c[DP_LEAN_MATRIX0 + i] = (uint32_t)w->rows;
    c[DP_LEAN_BYTES0 + 2 * i] = (uint32_t)bytes.quants;
    c[DP_LEAN_BYTES0 + 2 * i + 1] = (uint32_t)bytes.scales;
    r->ranges[2 * i] = dp_decode_whole(data->quants);
    r->ranges[2 * i + 1] = dp_decode_whole(data->scales);
}

/* The row in a slot, or what its norm has left of it. */
static dp_status set_source(dp_planner *p, dp_recipe *r, size_t at, int32_t slot) {
    const dp_packed_twin *twin = &p->twins[slot];
    r->ranges[at] = dp_decode_slot(p, slot);
    if (!twin->valid) return DP_OK;
    r->variant.constants[DP_LEAN_NORM] = 1;
    r->variant.constants[DP_LEAN_EPS] = dp_decode_bits(twin->norm->norm.eps);
    return dp_decode_packed(p, slot, &r->ranges[at]);
}

static void set_experts(const dp_planner *p, dp_recipe *r, size_t at, const dp_decode_mixture *m) {
    r->variant.constants[DP_LEAN_EXPERTS] = (uint32_t)dp_decode_matrix(p, m->down)->experts;
    r->variant.constants[DP_LEAN_CHOICES] = (uint32_t)m->route->route.k;
    r->ranges[at] = dp_decode_whole(p->plan->routed);
}

/* The sum with a residual, whose next norm it prepares. mixture: NULL: none. */
static dp_status add(dp_planner *p, const dp_op *op, const dp_decode_mixture *mixture, int32_t residual, dp_decode_norm next) {
    uint32_t rows = (uint32_t)dp_decode_matrix(p, op)->rows;
    dp_recipe r = {.variant = {DP_KERNEL_LEAN_ADD, DP_F32, {0}},
                   .range_count = 7,
                   .grid = {tiles(rows), 1, 1},
                   .planned = {.rows = dp_decode_rows(p, residual), .axis = 1, .behind = next.ops}};
    set_matrix(p, &r, 0, op->weight);
    TRY(set_source(p, &r, 2, op->src));
    r.ranges[3] = dp_decode_vector(p, -1);
    if (mixture) set_experts(p, &r, 3, mixture);
    r.ranges[4] = dp_decode_slot(p, residual);
    r.ranges[5] = dp_decode_vector(p, next.norm ? next.norm->weight : -1);
    r.ranges[6] = dp_decode_whole(p->plan->backend->sink);
    r.variant.constants[DP_LEAN_NEXT] = next.norm != NULL;
    if (next.norm) {
        TRY(dp_decode_packed(p, next.norm->dst, &r.ranges[6]));
        r.variant.constants[DP_LEAN_OFFSET] = dp_decode_bits(next.norm->norm.offset);
        p->packed_slot = next.norm->dst;
        p->packed_norm = next.norm;
    }
    return dp_gpu_plan_add(p, &r);
}

/* Gate, up and what the activation makes of them. */
static dp_status act(dp_planner *p, const dp_op *gate, const dp_op *up, const dp_op *op, const dp_decode_mixture *mixture) {
    dp_recipe r = {.variant = {DP_KERNEL_LEAN_ACT, DP_F32, {0}},
                   .range_count = 7,
                   .grid = {tiles((uint32_t)dp_decode_matrix(p, gate)->rows), mixture ? (uint32_t)mixture->route->route.k : 1, 1},
                   .planned = {.rows = dp_decode_rows(p, op->dst), .axis = 2}};
    set_matrix(p, &r, 0, gate->weight);
    set_matrix(p, &r, 1, up->weight);
    TRY(set_source(p, &r, 4, gate->src));
    r.ranges[5] = dp_decode_vector(p, -1);
    if (mixture) set_experts(p, &r, 5, mixture);
    r.ranges[6] = dp_decode_slot(p, op->dst);
    r.variant.constants[DP_LEAN_ACT] = dp_gpu_act_kind(op->act_mul.kind);
    r.variant.constants[DP_LEAN_ALPHA] = dp_decode_bits(op->act_mul.alpha);
    r.variant.constants[DP_LEAN_LIMIT] = dp_decode_bits(op->act_mul.limit);
    return dp_gpu_plan_add(p, &r);
}

static dp_status store(dp_planner *p, const dp_op *op) {
    dp_recipe r = {.variant = {DP_KERNEL_LEAN_STORE, DP_F32, {0}},
                   .range_count = 4,
                   .grid = {tiles((uint32_t)dp_decode_matrix(p, op)->rows), 1, 1},
                   .planned = {.rows = dp_decode_rows(p, op->dst), .axis = 1}};
    set_matrix(p, &r, 0, op->weight);
    TRY(set_source(p, &r, 2, op->src));
    r.ranges[3] = dp_decode_slot(p, op->dst);
    return dp_gpu_plan_add(p, &r);
}

/* ---- a mixture of experts ---- */

/* Few experts are chosen where their logits are; others by two dispatches more. */
static dp_status route(dp_planner *p, const dp_decode_mixture *m) {
    const dp_op *op = m->route;
    dp_recipe r = {.variant = {DP_KERNEL_LEAN_ROUTE, DP_F32, {0}},
                   .range_count = 4,
                   .grid = {1, 1, 1},
                   .planned = {.rows = DP_GRID_TOKENS, .axis = 1, .hidden = true}};
    TRY(dp_decode_routed(p));
    if (!dp_decode_is_choosable(m) || dp_decode_cols(p, op->src) > ROWS) {
        TRY(store(p, m->router));
        return dp_decode_route(p, m);
    }
    set_matrix(p, &r, 0, m->router->weight);
    TRY(set_source(p, &r, 2, m->router->src));
    r.ranges[3] = dp_decode_whole(p->plan->routed);
    r.variant.constants[DP_LEAN_CHOICES] = (uint32_t)op->route.k;
    r.variant.constants[DP_LEAN_NORMALISE] = op->route.normalise;
    r.variant.constants[DP_LEAN_SCALE] = dp_decode_bits(op->route.scale);
    return dp_gpu_plan_add(p, &r);
}

/* One part after the other: how many ops lie between the mixture's first and the planner's says which. */
dp_status dp_lean_mixture(dp_planner *p, size_t *ops) {
    dp_decode_mixture m;
    if (mixture_at(p, 0, &m)) {
        *ops = 2;
        return route(p, &m);
    }
    if (p->index >= 2 && mixture_at(p, (size_t)0 - 2, &m)) {
        *ops = 3;
        return act(p, m.gate, m.up, m.act, &m);
    }
    if (p->index < 5 || !mixture_at(p, (size_t)0 - 5, &m)) return DP_OK;
    dp_decode_norm next = dp_decode_next_norm(p, m.add->dst, 3);
    *ops = 3 + next.ops;
    return add(p, m.down, &m, m.add->dst, next);
}

/* ---- q, k and v, attention ---- */

/* Whether RoPE, the cache's new entries and attention stand at `ahead`, behind these products. */
static bool attends(const dp_planner *p, size_t ahead, int32_t q, int32_t k, int32_t v) {
    const dp_op *rope = dp_decode_op(p, ahead);
    if (rope->kind != DP_OP_ROPE || !dp_decode_attends(p, ahead, q, k, v)) return false;
    const dp_kv_spec *kv = &p->plan->program->kv[dp_decode_op(p, ahead + 3)->attention.kv];
    return rope->rope.dim % (2 * LANES) == 0 && kv->k_dim % 8 == 0 && kv->k_dim <= K_DIM_MOST && kv->v_dim % (8 * LANES) == 0;
}

static bool are_joint(const dp_planner *p) {
    const dp_op *q = dp_decode_op(p, 0), *k = dp_decode_op(p, 1), *v = dp_decode_op(p, 2);
    return is_product(p, q) && is_product(p, k) && is_product(p, v) && k->src == q->src && v->src == q->src &&
           attends(p, 3, q->dst, k->dst, v->dst);
}

static dp_status join(dp_planner *p) {
    dp_recipe r = {.variant = {DP_KERNEL_LEAN_JOIN, DP_F32, {0}},
                   .range_count = 8,
                   .planned = {.rows = DP_GRID_TOKENS, .axis = 1, .hidden = true},
                   .grid = {0, 1, 1}};
    uint64_t floats = 0;
    for (size_t i = 0; i < 3; i++) {
        const dp_op *op = dp_decode_op(p, i);
        set_matrix(p, &r, i, op->weight);
        r.grid[0] += tiles((uint32_t)dp_decode_matrix(p, op)->rows);
        floats += (uint64_t)dp_decode_matrix(p, op)->rows;
    }
    if (p->plan->joined_size < 4 * floats) {
        p->plan->joined_size = 4 * floats;
        TRY(dp_decode_buffer(p, 4 * floats, NULL, "joined", &p->plan->joined));
    }
    TRY(set_source(p, &r, 6, dp_decode_op(p, 0)->src));
    r.ranges[7] = dp_decode_whole(p->plan->joined);
    p->joined = true;
    return dp_gpu_plan_add(p, &r);
}

dp_status dp_lean_attention(dp_planner *p, size_t *ops) {
    if (!p->joined) return DP_OK;
    const dp_op *rope = dp_decode_op(p, 0), *o = dp_decode_op(p, 3);
    const dp_kv_spec *s = &p->plan->program->kv[o->attention.kv];
    const dp_gpu_kv_layer *layer = &p->kv->layers[o->attention.kv];
    bool use_long = rope->bias >= 0 && p->kv->context > rope->rope.long_context;
    uint32_t heads = (uint32_t)o->attention.heads;
    dp_recipe r = {.variant = {DP_KERNEL_LEAN_ATTEND,
                               DP_F32,
                               {o->weight >= 0, rope->rope.pairs, (uint32_t)s->k_dim / 8, (uint32_t)s->v_dim / (8 * LANES),
                                (uint32_t)rope->rope.dim / 2, heads, (uint32_t)s->heads, layer->capacity, (uint32_t)s->window,
                                dp_decode_bits(o->attention.scale), dp_decode_bits(o->attention.softcap),
                                dp_decode_bits(use_long ? rope->rope.long_scale : rope->rope.scale)}},
                   .ranges = {dp_decode_whole(p->plan->step), dp_decode_whole(p->plan->joined), dp_decode_whole(layer->buffer),
                              dp_decode_vector(p, use_long ? rope->bias : rope->weight), dp_decode_vector(p, o->weight),
                              dp_decode_slot(p, o->dst)},
                   .range_count = 6,
                   .grid = {1, heads, 1}};
    p->joined = false;
    *ops = 4;
    return dp_gpu_plan_add(p, &r);
}

/* ---- products ---- */

static bool is_gated(const dp_planner *p) {
    const dp_op *gate = dp_decode_op(p, 0), *up = dp_decode_op(p, 1), *op = dp_decode_op(p, 2);
    if (!is_product(p, up) || up->src != gate->src || op->kind != DP_OP_ACT_MUL) return false;
    const dp_weight *a = dp_decode_matrix(p, gate), *b = dp_decode_matrix(p, up);
    return a->dtype == b->dtype && a->rows == b->rows && op->src == gate->dst && op->src2 == up->dst && op->dst == gate->dst &&
           dp_decode_unread(p, up->dst, 3);
}

dp_status dp_lean_product(dp_planner *p, size_t *ops) {
    const dp_op *op = dp_decode_op(p, 0), *sum = dp_decode_op(p, 1);
    if (!is_product(p, op)) return DP_OK;
    *ops = 3;
    if (are_joint(p)) return join(p);
    if (is_gated(p)) return act(p, op, dp_decode_op(p, 1), dp_decode_op(p, 2), NULL);
    *ops = 1;
    if (sum->kind != DP_OP_ADD || sum->dst != sum->src || sum->src2 != op->dst || sum->dst == op->dst || !dp_decode_unread(p, op->dst, 2))
        return store(p, op);
    dp_decode_norm next = dp_decode_matrix(p, op)->rows % ROWS ? (dp_decode_norm){0} : dp_decode_next_norm(p, sum->dst, 2);
    *ops = 2 + next.ops;
    return add(p, op, NULL, sum->dst, next);
}
