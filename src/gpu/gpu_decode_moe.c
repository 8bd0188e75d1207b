/* gpu_decode_moe.c: a mixture of experts for one token in three dispatches: the router's product; gate, up and their product of
 * all chosen experts; down of all of them with their weighted sum, the residual and the norm behind it. A router of f32 is
 * multiplied by the product that makes its input instead, in parts that the second adds up (kernels/dot_route.wgsl). The second
 * chooses the experts from the router's logits itself (kernels/choose.wgsl) and tells the third; routers that do not choose by
 * logits have a dispatch for that in front of it (kernels/route.wgsl). */
#include "gpu/gpu_decode.h"

enum { MOE_OPS = DP_DECODE_MIXTURE_OPS, EXPERTS_MOST = 512, IN_PARTS_MOST = 128 /* rows of a router; each thread holds some of them */ };

typedef dp_decode_mixture moe;

static moe moe_at(const dp_planner *p, size_t ahead) {
    return (moe){dp_decode_op(p, ahead), dp_decode_op(p, ahead + 1), dp_decode_op(p, ahead + 2), dp_decode_op(p, ahead + 3),
                 dp_decode_op(p, ahead + 4), dp_decode_op(p, ahead + 5), dp_decode_op(p, ahead + 6), dp_decode_op(p, ahead + 7)};
}

static bool has_kinds(const moe *m) {
    return m->router->kind == DP_OP_MATMUL && m->route->kind == DP_OP_ROUTE && m->gate->kind == DP_OP_MOE_MATMUL &&
           m->up->kind == DP_OP_MOE_MATMUL && m->act->kind == DP_OP_ACT_MUL && m->down->kind == DP_OP_MOE_MATMUL &&
           m->sum->kind == DP_OP_MOE_SUM && m->add->kind == DP_OP_ADD;
}

static bool is_connected(const moe *m) {
    return m->route->src == m->router->dst && m->gate->src == m->router->src && m->up->src == m->router->src &&
           m->gate->src2 == m->route->dst2 && m->up->src2 == m->route->dst2 && m->act->src == m->gate->dst &&
           m->act->src2 == m->up->dst && m->act->dst == m->gate->dst && m->down->src == m->act->dst &&
           m->down->src2 == m->route->dst2 && m->sum->src == m->down->dst && m->sum->src2 == m->route->dst &&
           m->add->dst == m->add->src && m->add->src2 == m->sum->dst && m->add->dst != m->sum->dst;
}

/* Routers whose choice is by logits and whose weights are a softmax. */
bool dp_decode_is_choosable(const dp_decode_mixture *m) {
    const dp_op *r = m->route;
    return (r->route.kind == DP_ROUTE_SOFTMAX || (r->route.kind == DP_ROUTE_TOPK_SOFTMAX && r->route.normalise)) && r->bias < 0;
}

/* Other routers choose in a dispatch of their own. */
static bool is_routable(const dp_planner *p, const moe *m) {
    return dp_decode_cols(p, m->route->src) <= EXPERTS_MOST && m->route->route.k <= DP_DECODE_CHOICES_MOST;
}

static bool fits(const dp_planner *p, const moe *m) {
    const dp_weight *router = dp_decode_matrix(p, m->router), *gate = dp_decode_matrix(p, m->gate),
                    *up = dp_decode_matrix(p, m->up), *down = dp_decode_matrix(p, m->down);
    return router->cols % 64 == 0 && dp_decode_device(p, m->router->weight)->part_count == 1 &&
           dp_decode_takes(p, m->gate->weight) && dp_decode_takes(p, m->up->weight) &&
           dp_decode_takes(p, m->down->weight) && gate->dtype == up->dtype && gate->rows == up->rows &&
           gate->rows % 16 == 0 && down->rows % 16 == 0 && (m->gate->bias < 0) == (m->up->bias < 0) &&
           !m->gate->moe_matmul.per_expert && !m->up->moe_matmul.per_expert && m->down->moe_matmul.per_expert &&
           dp_gpu_get_caps(p->plan->backend->gpu)->storage_buffers >= 8;
}

static bool is_own(const dp_planner *p, const moe *m, size_t behind) {
    const int32_t slots[] = {m->router->dst, m->route->dst, m->route->dst2, m->gate->dst, m->up->dst, m->down->dst, m->sum->dst};
    for (size_t i = 0; i < DP_COUNT(slots); i++)
        if (!dp_decode_unread(p, slots[i], behind)) return false;
    return true;
}

bool dp_decode_mixture_at(const dp_planner *p, size_t ahead, dp_decode_mixture *out) {
    *out = moe_at(p, ahead);
    return has_kinds(out) && is_connected(out) && is_routable(p, out) && is_own(p, out, ahead + MOE_OPS);
}

size_t dp_decode_moe_ops(const dp_planner *p, size_t ahead) {
    moe m;
    return dp_decode_mixture_at(p, ahead, &m) && fits(p, &m) ? MOE_OPS : 0;
}

const dp_op *dp_decode_router_in_parts(const dp_planner *p, size_t ahead, int32_t src) {
    moe m = moe_at(p, ahead);
    if (!dp_decode_moe_ops(p, ahead) || m.router->src != src || !dp_decode_is_choosable(&m)) return NULL;
    const dp_weight *w = dp_decode_matrix(p, m.router);
    return w->dtype == DP_F32 && w->rows <= IN_PARTS_MOST ? m.router : NULL;
}

/* ---- dispatches ---- */

/* A router of floats reads the residual, and applies the norm that lies between. */
static dp_status router(dp_planner *p, const moe *m) {
    const dp_op *op = m->router, *norm = p->packed_norm;
    const dp_weight *w = dp_decode_matrix(p, op);
    const dp_gpu_weight *data = dp_decode_device(p, op->weight);
    dp_gpu_range packed;
    if (dp_decode_is_dot(p, op)) return dp_decode_store(p, op);
    TRY(dp_decode_packed(p, op->src, &packed));
    bool plain = w->dtype == DP_F32;
    dp_recipe r = {.variant = {DP_KERNEL_ROUTER,
                               w->dtype,
                               {op->bias >= 0, plain, !plain, (uint32_t)w->cols / 32, dp_decode_bits(norm->norm.eps),
                                dp_decode_bits(norm->norm.offset)}},
                   .ranges = {dp_decode_whole(data->quants), dp_decode_whole(data->scales),
                              dp_decode_slot(p, norm->src), dp_decode_vector(p, norm->weight), packed,
                              dp_decode_vector(p, op->bias), dp_decode_slot(p, op->dst)},
                   .range_count = 7,
                   .grid = {(uint32_t)w->rows, 1, 1},
                   .planned = {.rows = DP_GRID_TOKENS, .axis = 1}};
    return dp_gpu_plan_add(p, &r);
}

/* The biases of gate and up behind each other. */
static dp_status join_biases(dp_planner *p, const moe *m, size_t n, dp_gpu_range *out) {
    *out = dp_decode_whole(p->plan->backend->nothing);
    if (m->gate->bias < 0) return DP_OK;
    float *both = dp_malloc(2 * n * sizeof *both);
    if (!both) return dp_no_memory(2 * n * sizeof *both);
    dp_status status = dp_decode_read_vector(p, m->gate->bias, both, n);
    if (status == DP_OK) status = dp_decode_read_vector(p, m->up->bias, both + n, n);
    if (status == DP_OK) status = dp_decode_buffer(p, 2 * n * sizeof *both, both, "expert biases", &out->buffer);
    dp_free(both);
    return status;
}

/* Paged experts: the choice and where they are. */
static dp_status place(dp_planner *p, const moe *m) {
    uint32_t k = (uint32_t)m->route->route.k;
    const dp_kernel_variant v = {DP_KERNEL_PLACE, DP_F32, {dp_decode_cols(p, m->route->src), k, m->route->route.normalise}};
    const dp_kernel_variant routed = {DP_KERNEL_PLACE_ROUTED, DP_F32, {k, true}};
    if (dp_decode_is_choosable(m)) return dp_gpu_place_fused(p, &v, m->router->dst, m->add->dst, m->router->src);
    TRY(dp_gpu_plan_route(p, m->route, p->plan->placed));
    return dp_gpu_place_fused(p, &routed, m->route->dst2, m->add->dst, m->router->src);
}

dp_status dp_decode_routed(dp_planner *p) {
    return p->plan->routed ? DP_OK : dp_decode_buffer(p, 4 * DP_DECODE_CHOICES_MOST * 4, NULL, "routed", &p->plan->routed);
}

dp_status dp_decode_route(dp_planner *p, const dp_decode_mixture *m) {
    TRY(dp_decode_routed(p));
    return dp_gpu_plan_route(p, m->route, p->plan->routed);
}

/* What gate and up choose by. */
static dp_gpu_range choice(const dp_planner *p, const moe *m) {
    return p->block                    ? dp_decode_whole(p->plan->placed)
           : p->parts                  ? dp_decode_vector(p, m->router->bias)
           : dp_decode_is_choosable(m) ? dp_decode_slot(p, m->router->dst)
                                       : dp_decode_whole(p->plan->routed);
}

static void choices(const dp_planner *p, const moe *m, dp_kernel_variant *v) {
    v->constants[DP_DOT_PLACED] = p->block != 0 || !dp_decode_is_choosable(m);
    v->constants[DP_DOT_EXPERTS] = dp_decode_cols(p, m->route->src);
    v->constants[DP_DOT_CHOICES] = (uint32_t)m->route->route.k;
    v->constants[DP_DOT_NORMALISE] = m->route->route.normalise;
}

/* Of the kernels that may choose, and so must agree about the order of sums. */
static void constants(const dp_planner *p, const moe *m, const dp_dot_shape *shape, dp_kernel_variant *v) {
    const dp_weight *w = dp_decode_matrix(p, m->gate);
    dp_decode_constants(p, v, shape, (uint32_t)w->cols / 64, (uint32_t)w->cols);
    v->constants[DP_DOT_PARTS] = p->parts;
    v->constants[DP_DOT_ROUTER_BIAS] = m->router->bias >= 0;
    choices(p, m, v);
}

/* A router's logits from the parts that are there: where experts are paged, or somebody looks on. */
static dp_status add_parts(dp_planner *p, const moe *m) {
    const dp_weight *w = dp_decode_matrix(p, m->gate);
    dp_dot_shape shape = dp_decode_shape(p, (uint32_t)w->rows, (uint32_t)w->cols / 64, 16);
    dp_gpu_range src;
    TRY(dp_decode_source(p, m->router, &src));
    dp_recipe r = {.variant = {DP_KERNEL_DOT_LOGITS, DP_F32, {0}},
                   .ranges = {src, dp_decode_vector(p, m->router->bias), dp_decode_slot(p, m->router->dst)},
                   .range_count = 3,
                   .grid = {1, 1, 1},
                   .planned = {.rows = DP_GRID_TOKENS, .axis = 1, .traced = !dp_gpu_block_of(p->plan, p->index + 2)}};
    constants(p, m, &shape, &r.variant);
    return dp_gpu_plan_add(p, &r);
}

static dp_status gate_up(dp_planner *p, const moe *m) {
    const dp_weight *w = dp_decode_matrix(p, m->gate);
    const dp_gpu_weight *a = dp_decode_device(p, m->gate->weight), *b = dp_decode_device(p, m->up->weight);
    uint32_t rows = (uint32_t)w->rows, k = (uint32_t)m->route->route.k;
    dp_gpu_range src, packed, biases;
    TRY(dp_decode_source(p, m->gate, &src));
    TRY(dp_decode_packed(p, m->act->dst, &packed));
    TRY(join_biases(p, m, (size_t)w->experts * rows, &biases));
    dp_dot_shape shape = dp_decode_shape(p, rows, (uint32_t)w->cols / 64, 16);
    dp_recipe r = {.variant = {DP_KERNEL_DOT_EXPERTS_ACT, w->dtype, {0}},
                   .ranges = {dp_decode_whole(a->quants), dp_decode_whole(a->scales), dp_decode_whole(b->quants),
                              dp_decode_whole(b->scales), src, choice(p, m), biases, packed},
                   .range_count = 8,
                   .grid = {rows / shape.tile, k, 1},
                   .planned = {.rows = DP_GRID_TOKENS, .axis = 2}};
    constants(p, m, &shape, &r.variant);
    r.variant.constants[DP_DOT_MATRIX0] = rows;
    r.variant.constants[DP_DOT_BIAS] = m->gate->bias >= 0;
    r.variant.constants[DP_DOT_ACT] = dp_gpu_act_kind(m->act->act_mul.kind);
    r.variant.constants[DP_DOT_ALPHA] = dp_decode_bits(m->act->act_mul.alpha);
    r.variant.constants[DP_DOT_LIMIT] = dp_decode_bits(m->act->act_mul.limit);
    r.variant.constants[DP_DOT_SECOND] = w->dtype;
    r.variant.constants[DP_DOT_SCALE] = dp_decode_bits(dp_decode_is_choosable(m) ? m->route->route.scale : 1);
    p->packed_slot = m->act->dst;
    p->packed_norm = NULL;
    return dp_gpu_plan_add(p, &r);
}

static dp_status down(dp_planner *p, const moe *m, dp_decode_norm next) {
    const dp_weight *w = dp_decode_matrix(p, m->down);
    const dp_gpu_weight *data = dp_decode_device(p, m->down->weight);
    uint32_t rows = (uint32_t)w->rows, units = (uint32_t)w->cols / 64, k = (uint32_t)m->route->route.k;
    dp_gpu_range src, packed = dp_decode_whole(p->plan->backend->sink);
    TRY(dp_decode_packed(p, m->act->dst, &src));
    if (next.norm) TRY(dp_decode_packed(p, next.norm->dst, &packed));
    dp_dot_shape shape = dp_decode_shape(p, rows, units * k, 16);
    dp_recipe r = {.variant = {DP_KERNEL_DOT_EXPERTS_ADD, w->dtype, {0}},
                   .ranges = {dp_decode_whole(data->quants), dp_decode_whole(data->scales), src,
                              dp_decode_vector(p, m->down->bias), dp_decode_slot(p, m->add->dst),
                              dp_decode_vector(p, next.norm ? next.norm->weight : -1), packed},
                   .range_count = 7,
                   .grid = {rows / shape.tile, 1, 1},
                   .planned = {.rows = DP_GRID_TOKENS, .axis = 1, .behind = next.ops}};
    dp_decode_constants(p, &r.variant, &shape, units, (uint32_t)w->cols * k);
    r.variant.constants[DP_DOT_MATRIX0] = rows;
    r.variant.constants[DP_DOT_BIAS] = m->down->bias >= 0;
    r.variant.constants[DP_DOT_PACK] = next.norm != NULL;
    r.variant.constants[DP_DOT_OFFSET] = dp_decode_bits(next.norm ? next.norm->norm.offset : 0);
    choices(p, m, &r.variant);
    p->packed_slot = next.norm ? next.norm->dst : -1;
    p->packed_norm = next.norm;
    return dp_gpu_plan_add(p, &r);
}

dp_status dp_decode_moe(dp_planner *p, size_t *ops) {
    if (p->routed) { /* behind the router, whose step this was */
        moe m = moe_at(p, (size_t)0 - 1);
        dp_decode_norm next = dp_decode_next_norm(p, m.add->dst, MOE_OPS - 1);
        p->routed = false;
        *ops = MOE_OPS - 1 + next.ops;
        int32_t block = dp_gpu_block_of(p->plan, p->index + 1);
        if (block) TRY(place(p, &m));
        else if (!dp_decode_is_choosable(&m)) TRY(dp_decode_route(p, &m));
        p->block = block;
        TRY(gate_up(p, &m));
        p->parts = 0;
        return down(p, &m, next);
    }
    moe m = moe_at(p, 0);
    bool normed = p->packed_slot == m.router->src && p->packed_norm;
    if (!dp_decode_moe_ops(p, 0)) return DP_OK;
    p->routed = true;
    if (!normed && !dp_decode_is_dot(p, m.router)) return DP_OK; /* the router's plain product, then the rest */
    *ops = 1;
    return p->parts ? add_parts(p, &m) : router(p, &m);
}
