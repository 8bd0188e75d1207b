/* gpu_plan.c: turns each op of a program into dispatches whose pipelines, bindings and parameters are made once. What a
 * step changes is left open: positions come from the step buffer, grids from dp_planned. */
#include "gpu/gpu_plan.h"

typedef dp_planner planner;
typedef dp_recipe recipe;

/* ---- helpers: buffers, parameters, dispatches ---- */

static dp_gpu_range whole(dp_gpu_buffer buffer) { return (dp_gpu_range){buffer, 0, 0}; }
static dp_gpu_range slot(const planner *p, int32_t index) { return whole(p->plan->slots[index]); }
static dp_gpu_range nothing(const planner *p) { return whole(p->plan->backend->nothing); }

static const dp_gpu_weight *weight(const planner *p, int32_t index) {
    return &((const dp_gpu_weight *)p->plan->program->device)[index];
}

/* A vector (bias, gain, sinks, ...), or the stand-in for index -1. */
static dp_gpu_range vector(const planner *p, int32_t index) { return index < 0 ? nothing(p) : whole(weight(p, index)->quants); }

/* The same from element `first` on, for a part of a matrix that begins at that row. */
static dp_gpu_range from(dp_gpu_range range, uint32_t first) {
    range.offset += 4 * (uint64_t)first;
    return range;
}
static dp_gpu_range bias_from(const planner *p, uint32_t first) {
    return p->op->bias < 0 ? nothing(p) : from(vector(p, p->op->bias), first);
}

static uint32_t ceil_div(uint32_t a, uint32_t b) { return (a + b - 1) / b; }
static uint32_t bits(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }
static const dp_gpu_caps *caps_of(const planner *p) { return dp_gpu_get_caps(p->plan->backend->gpu); }
static uint32_t cols(const planner *p, int32_t index) { return (uint32_t)p->plan->program->slots[index].cols; }

static dp_grid_rows rows_of(const planner *p, int32_t index) {
    return p->plan->program->slots[index].rows == DP_ROWS_TOKENS ? DP_GRID_TOKENS : DP_GRID_OUTPUTS;
}

static void release(dp_gpu_backend *b, const dp_planned *planned) {
    dp_gpu_bindings_free(b->gpu, planned->dispatch.bindings);
    dp_gpu_params_give(b, planned->dispatch.params);
}

dp_status dp_gpu_plan_add(planner *p, const recipe *r) {
    dp_plan *plan = p->plan;
    dp_gpu *gpu = plan->backend->gpu;
    dp_planned planned = r->planned;
    if (planned.at_most == 0) planned.at_most = INT32_MAX;
    if (planned.per == 0) planned.per = 1;
    if (planned.times == 0) planned.times = 1;
    planned.op = p->index;
    planned.when = p->when;
    planned.block = p->block;
    planned.last = p->index;
    if (p->when != DP_WHEN_FUSED) planned.ops = 1;
    planned.either = !planned.by_length && p->op->kind != DP_OP_ATTENTION;
    memcpy(planned.dispatch.grid, r->grid, sizeof r->grid);
    TRY(dp_kernels_get(plan->backend->kernels, &r->variant, &planned.dispatch.pipeline));
    TRY(dp_gpu_bindings_new(gpu, planned.dispatch.pipeline, r->ranges, r->range_count, &planned.dispatch.bindings));
    dp_status status = dp_gpu_params_share(plan->backend, r->params, &planned.dispatch.params);
    if (status != DP_OK) {
        dp_gpu_bindings_free(gpu, planned.dispatch.bindings);
        return status;
    }
    if (!dp_grow((void **)&plan->planned, &plan->planned_capacity, plan->planned_count + 1, sizeof *plan->planned)) {
        release(plan->backend, &planned);
        return dp_no_memory(sizeof *plan->planned);
    }
    plan->planned[plan->planned_count++] = planned;
    return DP_OK;
}

/* ---- ops without weights ---- */

static dp_status elementwise(planner *p, uint32_t kind, float alpha, float limit) {
    const dp_op *op = p->op;
    bool in_place = op->dst == op->src;
    recipe r = {.variant = {DP_KERNEL_ELEMENTWISE, DP_F32, {kind, in_place, rows_of(p, op->dst) == DP_GRID_OUTPUTS}},
                .ranges = {whole(p->plan->step), in_place ? nothing(p) : slot(p, op->src),
                           op->src2 < 0 ? nothing(p) : slot(p, op->src2), slot(p, op->dst)},
                .range_count = 4,
                .params = {cols(p, op->dst), bits(alpha), bits(limit)},
                .grid = {1, 1, 1},
                .planned = {.rows = rows_of(p, op->dst), .axis = 0, .times = cols(p, op->dst), .per = 1024}};
    return dp_gpu_plan_add(p, &r);
}

uint32_t dp_gpu_act_kind(dp_act_kind kind) {
    static const uint32_t kinds[] = {[DP_ACT_SILU] = 1, [DP_ACT_GELU_TANH] = 2, [DP_ACT_GELU_ERF] = 3, [DP_ACT_SWIGLU_OAI] = 4};
    return kinds[kind];
}

static dp_status act_mul(planner *p) {
    return elementwise(p, dp_gpu_act_kind(p->op->act_mul.kind), p->op->act_mul.alpha, p->op->act_mul.limit);
}

static dp_status norm(planner *p) {
    const dp_op *op = p->op;
    bool in_place = op->dst == op->src;
    recipe r = {
        .variant = {DP_KERNEL_NORM,
                    DP_F32,
                    {op->norm.kind == DP_NORM_LAYER, op->bias >= 0, in_place, caps_of(p)->slow_barriers ? 4 : caps_of(p)->clears_slowly ? 64 : 256}},
        .ranges = {whole(p->plan->step), in_place ? nothing(p) : slot(p, op->src), vector(p, op->weight),
                   vector(p, op->bias), slot(p, op->dst)},
        .range_count = 5,
        .params = {cols(p, op->dst), (uint32_t)op->norm.group, (uint32_t)op->norm.stride, bits(op->norm.eps),
                   bits(op->norm.offset)},
        .grid = {(uint32_t)op->norm.count, 1, 1},
        .planned = {.rows = rows_of(p, op->dst), .axis = 1}};
    return dp_gpu_plan_add(p, &r);
}

static dp_status rope(planner *p, int32_t context) {
    const dp_op *op = p->op;
    bool in_place = op->dst == op->src, use_long = op->bias >= 0 && context > op->rope.long_context;
    uint32_t half = (uint32_t)op->rope.dim / 2;
    recipe r = {.variant = {DP_KERNEL_ROPE, DP_F32, {op->rope.pairs, in_place}},
                .ranges = {whole(p->plan->step), vector(p, use_long ? op->bias : op->weight),
                           in_place ? nothing(p) : slot(p, op->src), slot(p, op->dst)},
                .range_count = 4,
                .params = {(uint32_t)op->rope.heads, half, bits(use_long ? op->rope.long_scale : op->rope.scale),
                           cols(p, op->src), cols(p, op->dst), (uint32_t)op->rope.src_stride,
                           (uint32_t)op->rope.src_offset, (uint32_t)op->rope.dst_stride, (uint32_t)op->rope.dst_offset},
                .grid = {ceil_div((uint32_t)op->rope.heads * half, 64), 1, 1},
                .planned = {.rows = DP_GRID_TOKENS, .axis = 1}};
    return dp_gpu_plan_add(p, &r);
}

/* MODE 0: the wanted rows. MODE 1: sum of the experts' outputs. */
static dp_status rows(planner *p, uint32_t mode, uint32_t k) {
    const dp_op *op = p->op;
    recipe r = {.variant = {DP_KERNEL_ROWS, DP_F32, {mode}},
                .ranges = {whole(p->plan->step), slot(p, op->src), mode ? slot(p, op->src2) : nothing(p), slot(p, op->dst)},
                .range_count = 4,
                .params = {cols(p, op->dst), k},
                .grid = {ceil_div(cols(p, op->dst), 256), 1, 1},
                .planned = {.rows = rows_of(p, op->dst), .axis = 1}};
    return dp_gpu_plan_add(p, &r);
}

dp_status dp_gpu_plan_route(planner *p, const dp_op *op, dp_gpu_buffer placed) {
    static const uint32_t kinds[] = {
        [DP_ROUTE_SOFTMAX] = 0, [DP_ROUTE_TOPK_SOFTMAX] = 1, [DP_ROUTE_SIGMOID_GROUPS] = 2, [DP_ROUTE_SPARSEMIXER] = 3};
    if (cols(p, op->src) > 512 || op->route.k > 32)
        return dp_fail(DP_E_UNSUPPORTED, "%u experts, %d per token: the GPU router takes up to 512 and 32",
                       cols(p, op->src), (int)op->route.k);
    recipe r = {
        .variant = {DP_KERNEL_ROUTE, DP_F32, {kinds[op->route.kind], op->bias >= 0, cols(p, op->src), placed != 0, caps_of(p)->slow_barriers ? 4 : 64}},
        .ranges = {slot(p, op->src), vector(p, op->bias), slot(p, op->dst), slot(p, op->dst2),
                   whole(placed ? placed : p->plan->backend->sink)},
        .range_count = 5,
        .params = {cols(p, op->src), (uint32_t)op->route.k, (uint32_t)op->route.groups, (uint32_t)op->route.top_groups,
                   op->route.normalise, bits(op->route.scale), bits(op->route.jitter)},
        .grid = {1, 1, 1},
        .planned = {.rows = DP_GRID_TOKENS, .axis = 0}};
    TRY(dp_gpu_plan_add(p, &r));
    return p->when == DP_WHEN_ALWAYS ? dp_gpu_place_routed(p) : DP_OK;
}

/* ---- attention ---- */

static dp_status kv_write(planner *p) {
    const dp_op *op = p->op;
    const dp_kv_spec *s = &p->plan->program->kv[op->kv_write.kv];
    const dp_gpu_kv_layer *layer = &p->kv->layers[op->kv_write.kv];
    uint32_t k_words = (uint32_t)s->k_dim / 2, v_words = (uint32_t)s->v_dim / 2, heads = (uint32_t)s->heads;
    recipe r = {.variant = {DP_KERNEL_KV_WRITE, DP_F32, {p->kv->exact}},
                .ranges = {whole(p->plan->step), slot(p, op->src), op->src2 < 0 ? nothing(p) : slot(p, op->src2), whole(layer->buffer)},
                .range_count = 4,
                .params = {heads, k_words, v_words, layer->capacity},
                .grid = {ceil_div(heads * (k_words + v_words), 64), 1, 1},
                .planned = {.rows = DP_GRID_TOKENS, .axis = 1}};
    return dp_gpu_plan_add(p, &r);
}

/* One workgroup a head and token, or, for a single token with a long past, DP_GPU_SPLITS of them and a merge. */
static dp_status attention(planner *p) {
    const dp_op *op = p->op;
    const dp_kv_spec *s = &p->plan->program->kv[op->attention.kv];
    const dp_gpu_kv_layer *layer = &p->kv->layers[op->attention.kv];
    uint32_t v_dim = (uint32_t)(s->v_dim ? s->v_dim : s->latent), heads = (uint32_t)op->attention.heads;
    bool sinks = op->weight >= 0;
    uint32_t threads = caps_of(p)->slow_barriers ? 4 : 64;
    while (threads * 16 < v_dim) threads *= 2;
    if (s->k_dim > 1024 || v_dim > 1024)
        return dp_fail(DP_E_UNSUPPORTED, "heads of %d and %u columns: the GPU takes up to 1024", (int)s->k_dim, v_dim);
    recipe r = {.variant = {DP_KERNEL_ATTENTION, DP_F32, {sinks, 1, p->kv->exact, (uint32_t)s->k_dim / 2, threads, ceil_div(v_dim, 2 * threads)}},
                .ranges = {whole(p->plan->step), slot(p, op->src), whole(layer->buffer), vector(p, op->weight),
                           slot(p, op->dst)},
                .range_count = 5,
                .params = {heads, (uint32_t)s->heads, (uint32_t)s->k_dim / 2, (uint32_t)s->v_dim / 2, v_dim,
                           layer->capacity, (uint32_t)s->window, bits(op->attention.scale),
                           bits(op->attention.softcap)},
                .grid = {1, heads, 1},
                .planned = {.rows = DP_GRID_TOKENS, .axis = 2}};
    bool tiled;
    TRY(dp_gpu_prefill_attention(p, &r, DP_GPU_MATVEC_MOST + 1, &tiled));
    if (tiled) r.planned.at_most = DP_GPU_MATVEC_MOST;
    TRY(dp_gpu_plan_add(p, &r));
    r.variant.constants[1] = DP_GPU_SPLITS;
    r.ranges[4] = whole(p->plan->partial);
    r.grid[0] = DP_GPU_SPLITS;
    r.planned.split = true;
    TRY(dp_gpu_plan_add(p, &r));
    recipe merge = {.variant = {DP_KERNEL_ATTENTION_MERGE, DP_F32, {sinks, DP_GPU_SPLITS}},
                    .ranges = {whole(p->plan->partial), vector(p, op->weight), slot(p, op->dst)},
                    .range_count = 3,
                    .params = {heads, v_dim},
                    .grid = {heads, 1, 1},
                    .planned = {.split = true}};
    return dp_gpu_plan_add(p, &merge);
}

/* ---- ops that read weight matrices ---- */

/* Threads that share a row: enough for its chunks, so that short rows leave none idle. */
static uint32_t lanes_for(uint32_t chunks) {
    uint32_t lanes = 4;
    while (lanes < 64 && lanes < chunks) lanes *= 2;
    return lanes;
}

static dp_status embed(planner *p) {
    const dp_op *op = p->op;
    const dp_weight *w = &p->plan->program->weights[op->weight];
    const dp_gpu_weight *data = weight(p, op->weight);
    uint32_t chunks = (uint32_t)w->cols / 32;
    for (size_t i = 0; i < data->part_count; i++) {
        const dp_gpu_part *part = &data->parts[i];
        recipe r = {.variant = {DP_KERNEL_EMBED, w->dtype, {0}},
                    .ranges = {whole(part->quants), whole(part->scales), whole(p->plan->tokens), slot(p, op->dst)},
                    .range_count = 4,
                    .params = {chunks, bits(op->embed.scale), part->first, part->count},
                    .grid = {ceil_div(chunks, 64), 1, 1},
                    .planned = {.rows = DP_GRID_TOKENS, .axis = 1}};
        TRY(dp_gpu_plan_add(p, &r));
    }
    return DP_OK;
}

/* The part of matvec that differs between plain, per-head and expert products. */
typedef struct matvec_desc {
    uint32_t rows, src_cols, src_stride, src_offset, dst_stride, dst_offset, row_stride, row_offset, src_share, depth;
    bool ids;
    uint32_t times;  /* pairs per token */
    int32_t at_most; /* tokens */
} matvec_desc;

/* rows [first, first + rows) of a plain matrix, or all rows of the part's experts */
static dp_status matvec_part(planner *p, const matvec_desc *m, const dp_gpu_part *part, uint32_t first, uint32_t rows) {
    const dp_op *op = p->op;
    const dp_weight *w = &p->plan->program->weights[op->weight];
    uint32_t chunks = (uint32_t)w->cols / 32, lanes = lanes_for(chunks), dst_cols = cols(p, op->dst) / m->times;
    bool alone = caps_of(p)->slow_barriers, placed = m->ids && p->block;
    uint32_t threads = alone ? 4 : caps_of(p)->clears_slowly ? DP_MAX(lanes, 32u) : 128;
    recipe r = {
        .variant =
            alone ? (dp_kernel_variant){DP_KERNEL_MATVEC_ROWS, w->dtype, {op->bias >= 0, m->ids, placed, threads}}
                  : (dp_kernel_variant){DP_KERNEL_MATVEC, w->dtype, {lanes, op->bias >= 0, m->ids, placed, threads}},
        .ranges = {whole(part->quants), whole(part->scales), slot(p, op->src), bias_from(p, first),
                   m->ids ? dp_gpu_expert_ids(p) : nothing(p), from(slot(p, op->dst), first)},
        .range_count = 6,
        .params = {rows, chunks, m->src_cols, dst_cols, m->src_stride, m->src_offset, m->dst_stride, m->dst_offset,
                   m->row_stride, m->row_offset, m->src_share, part->first, part->count},
        .grid = {ceil_div(rows, alone ? 8 * threads : 4 * (threads / lanes)), 1, m->depth},
        .planned = {.rows = rows_of(p, op->dst), .axis = 1, .times = m->times, .at_most = m->at_most}};
    return dp_gpu_plan_add(p, &r);
}

static dp_status matvec(planner *p, const matvec_desc *m) {
    const dp_gpu_weight *data = weight(p, p->op->weight);
    bool by_rows = data->part_count > 1 && !m->ids;
    for (size_t i = 0; i < data->part_count; i++) {
        const dp_gpu_part *part = &data->parts[i];
        TRY(matvec_part(p, m, part, by_rows ? part->first : 0, by_rows ? part->count : m->rows));
    }
    return DP_OK;
}

static dp_status matmul(planner *p) {
    const dp_op *op = p->op;
    const dp_weight *w = &p->plan->program->weights[op->weight];
    matvec_desc few = {.rows = (uint32_t)w->rows,
                       .src_cols = cols(p, op->src),
                       .src_share = 1,
                       .depth = 1,
                       .times = 1,
                       .at_most = DP_GPU_MATVEC_MOST};
    TRY(matvec(p, &few));
    return dp_gpu_prefill_matmul(p, DP_GPU_MATVEC_MOST + 1);
}

static dp_status moe_matmul(planner *p) {
    const dp_op *op = p->op;
    const dp_weight *w = &p->plan->program->weights[op->weight];
    uint32_t k = (uint32_t)op->moe_matmul.k;
    matvec_desc m = {.rows = (uint32_t)w->rows,
                     .src_cols = (uint32_t)w->cols,
                     .src_share = op->moe_matmul.per_expert ? 1 : k,
                     .depth = 1,
                     .ids = true,
                     .times = k};
    bool done;
    TRY(dp_gpu_prefill_moe_matmul(p, DP_GPU_MATVEC_MOST + 1, &done));
    if (done) m.at_most = DP_GPU_MATVEC_MOST;
    return matvec(p, &m);
}

static dp_status head_matmul(planner *p) {
    const dp_op *op = p->op;
    const dp_weight *w = &p->plan->program->weights[op->weight];
    const dp_gpu_weight *data = weight(p, op->weight);
    uint32_t heads = (uint32_t)op->head_matmul.heads, chunks = (uint32_t)w->cols / 32;
    if (data->part_count > 1)
        return dp_fail(DP_E_UNSUPPORTED,
                       "%s has %llu bytes: products per head need it in one binding, of which this GPU allows %llu",
                       w->name, (unsigned long long)w->bytes, (unsigned long long)p->plan->backend->part_most);
    matvec_desc m = {.rows = (uint32_t)op->head_matmul.rows,
                     .src_cols = cols(p, op->src),
                     .src_stride = (uint32_t)op->head_matmul.src_stride,
                     .src_offset = (uint32_t)op->head_matmul.src_offset,
                     .dst_stride = (uint32_t)op->head_matmul.dst_stride,
                     .dst_offset = (uint32_t)op->head_matmul.dst_offset,
                     .row_stride = (uint32_t)op->head_matmul.weight_stride,
                     .row_offset = (uint32_t)op->head_matmul.weight_offset,
                     .src_share = 1,
                     .depth = heads,
                     .times = 1};
    if (!op->head_matmul.transposed) return matvec(p, &m);
    recipe r = {.variant = {DP_KERNEL_HEAD_TRANSPOSED, w->dtype, {0}},
                .ranges = {whole(data->quants), whole(data->scales), slot(p, op->src), slot(p, op->dst)},
                .range_count = 4,
                .params = {m.rows, chunks, m.src_cols, cols(p, op->dst), m.src_stride, m.src_offset, m.dst_stride,
                           m.dst_offset, m.row_stride, m.row_offset},
                .grid = {ceil_div(chunks, 64), 1, heads},
                .planned = {.rows = DP_GRID_TOKENS, .axis = 1}};
    return dp_gpu_plan_add(p, &r);
}

/* ---- the whole program ---- */

static dp_status plan_plain(planner *p, int32_t context) {
    switch (p->op->kind) {
    case DP_OP_EMBED: return embed(p);
    case DP_OP_NORM: return norm(p);
    case DP_OP_MATMUL: return matmul(p);
    case DP_OP_HEAD_MATMUL: return head_matmul(p);
    case DP_OP_ROPE: return rope(p, context);
    case DP_OP_KV_WRITE: return kv_write(p);
    case DP_OP_ATTENTION: return attention(p);
    case DP_OP_ADD: return elementwise(p, 0, 0, 0);
    case DP_OP_ACT_MUL: return act_mul(p);
    case DP_OP_ROUTE: return dp_gpu_plan_route(p, p->op, 0);
    case DP_OP_MOE_MATMUL: return moe_matmul(p);
    case DP_OP_MOE_SUM: return rows(p, 1, (uint32_t)p->op->moe_sum.k);
    case DP_OP_SELECT: return rows(p, 0, 1);
    case DP_OP_SOFTCAP: return elementwise(p, 5, 0, p->op->softcap.cap);
    case DP_OP_COUNT: break;
    }
    return dp_fail(DP_E_UNSUPPORTED, "op %d has no GPU kernel", (int)p->op->kind);
}

/* Fused dispatches stand before the plain ones of their first op; how many ops they do is known when they are made. */
static dp_status plan_op(planner *p, size_t *fused_to) {
    if (p->index >= *fused_to) {
        size_t ops = 0, first = p->plan->planned_count;
        p->when = DP_WHEN_FUSED;
        p->block = 0;
        TRY(dp_gpu_fuse(p, &ops));
        if (p->plan->planned_count > first) p->plan->planned[p->plan->planned_count - 1].ops = ops;
        for (size_t i = first; i < p->plan->planned_count; i++) p->plan->planned[i].last = p->index + ops - 1 - p->plan->planned[i].behind;
        *fused_to = p->index + ops;
    }
    p->when = p->index < *fused_to ? DP_WHEN_PLAIN : DP_WHEN_ALWAYS;
    p->block = dp_gpu_block_of(p->plan, p->index);
    if (p->block && p->plan->blocks[p->block - 1].first == p->index) p->halves_slot = -1; /* it runs for each group of experts */
    return plan_plain(p, p->kv->context);
}

void dp_gpu_plan_clear(dp_plan *plan) {
    for (size_t i = 0; i < plan->planned_count; i++) release(plan->backend, &plan->planned[i]);
    for (size_t i = 0; i < plan->owned_count; i++) dp_gpu_buffer_free(plan->backend->gpu, plan->owned[i]);
    dp_free(plan->owned);
    dp_free(plan->planned);
    dp_free(plan->queue);
    dp_free(plan->queue_ops);
    plan->owned = NULL;
    plan->owned_count = plan->owned_capacity = 0;
    plan->joined_size = 0;
    plan->routed = 0;
    plan->planned = NULL;
    plan->queue = NULL;
    plan->queue_ops = NULL;
    plan->planned_count = plan->planned_capacity = 0;
    plan->kv = NULL;
}

static dp_status plan_ops(planner *p) {
    const dp_program *program = p->plan->program;
    size_t fused_to = 0;
    for (p->index = 0; p->index < program->op_count; p->index++) {
        p->op = &program->ops[p->index];
        dp_status status = plan_op(p, &fused_to);
        if (status != DP_OK) return dp_fail_in(status, "%s", p->op->label);
        dp_gpu_prefill_written(p);
    }
    return DP_OK;
}

dp_status dp_gpu_plan_build(dp_plan *plan, const dp_kv *kv) {
    dp_gpu_plan_clear(plan);
    planner p = {.plan = plan, .kv = kv, .packed_slot = -1, .halves_slot = -1, .grouped_slot = -1};
    p.twins = dp_calloc(plan->program->slot_count + 1, sizeof *p.twins);
    dp_status status = p.twins ? plan_ops(&p) : dp_no_memory(plan->program->slot_count * sizeof *p.twins);
    dp_free(p.twins);
    TRY(status);
    plan->queue = dp_malloc((plan->planned_count + DP_GPU_DRAW_DISPATCHES) * sizeof *plan->queue);
    plan->queue_ops = dp_malloc(plan->planned_count * sizeof *plan->queue_ops);
    if (!plan->queue || !plan->queue_ops) return dp_no_memory(plan->planned_count * sizeof *plan->queue);
    plan->kv = kv;
    return DP_OK;
}
