/* gpu_decode.c: the plan of one-token steps, where time goes to reading weights and to the number of dispatches: ops that
 * follow each other become one dispatch, and quantised matrices meet activations rounded to 8 bits (kernels/pack.wgsl).
 * Other steps, and devices opened as exact, run the plain dispatches of gpu_plan.c. A fused dispatch may leave out slots
 * that nothing else reads. */
#include "gpu/gpu_plan.h"

enum { MODE_STORE, MODE_ADD, MODE_PAIR, MODE_ACT };

static const dp_op *op_at(const dp_planner *p, size_t ahead) {
    static const dp_op none = {.kind = DP_OP_COUNT, .dst = -1, .dst2 = -1, .src = -1, .src2 = -1, .weight = -1, .bias = -1};
    size_t i = p->index + ahead;
    return i < p->plan->program->op_count ? &p->plan->program->ops[i] : &none;
}

static const dp_weight *matrix_of(const dp_planner *p, const dp_op *op) { return &p->plan->program->weights[op->weight]; }
static const dp_gpu_weight *device_of(const dp_planner *p, int32_t index) { return &((const dp_gpu_weight *)p->plan->program->device)[index]; }
static dp_gpu_range all_of(dp_gpu_buffer buffer) { return (dp_gpu_range){buffer, 0, 0}; }
static uint32_t float_bits(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }

/* A product that the integer kernels take: they read a matrix in one binding. */
static bool is_dot(const dp_planner *p, const dp_op *op) {
    if (op->kind != DP_OP_MATMUL) return false;
    const dp_weight *w = matrix_of(p, op);
    return dp_kernels_dots(w->dtype) && w->cols % 64 == 0 && device_of(p, op->weight)->part_count == 1;
}

/* Whether a slot's content is not read from `ahead` on before it is written anew. */
static bool is_unread(const dp_planner *p, int32_t slot, size_t ahead) {
    const dp_program *program = p->plan->program;
    for (size_t i = p->index + ahead; i < program->op_count; i++) {
        const dp_op *op = &program->ops[i];
        if (op->src == slot || op->src2 == slot) return false;
        if (op->dst == slot || op->dst2 == slot) return true;
    }
    return slot != program->logits;
}

static dp_grid_rows grid_rows(const dp_planner *p, int32_t slot) {
    return p->plan->program->slots[slot].rows == DP_ROWS_TOKENS ? DP_GRID_TOKENS : DP_GRID_OUTPUTS;
}

/* ---- packed activations ---- */

/* The packed twin of a slot's row: 20 bits a byte more than the row's columns. */
static dp_status packed_buffer(dp_planner *p, int32_t slot, dp_gpu_range *out) {
    dp_plan *plan = p->plan;
    uint64_t groups = (uint64_t)plan->program->slots[slot].cols / 16;
    if (!plan->packed[slot]) TRY(dp_gpu_buffer_new(plan->backend->gpu, groups * 24, "packed", &plan->packed[slot]));
    *out = all_of(plan->packed[slot]);
    return DP_OK;
}

/* split: only in steps whose attention was split. */
static dp_status pack_row(dp_planner *p, int32_t slot, bool split) {
    dp_gpu_range packed;
    uint32_t groups = (uint32_t)p->plan->program->slots[slot].cols / 16;
    TRY(packed_buffer(p, slot, &packed));
    dp_recipe r = {.variant = {DP_KERNEL_PACK_ROW, DP_F32, {0}},
                   .ranges = {all_of(p->plan->slots[slot]), packed},
                   .range_count = 2,
                   .params = {groups},
                   .grid = {(groups + 63) / 64, 1, 1},
                   .planned = {.rows = grid_rows(p, slot), .axis = 1, .by_length = split, .split = split}};
    p->packed_slot = slot;
    return dp_gpu_plan_add(p, &r);
}

/* The final norm of a single token may as well read what SELECT would copy. */
static dp_status norm_pack(dp_planner *p, const dp_op *op, int32_t src) {
    dp_gpu_range packed;
    TRY(packed_buffer(p, op->dst, &packed));
    dp_recipe r = {.variant = {DP_KERNEL_NORM_PACK, DP_F32, {0}},
                   .ranges = {all_of(p->plan->slots[src]), all_of(device_of(p, op->weight)->quants), all_of(p->plan->slots[op->dst]), packed},
                   .range_count = 4,
                   .params = {(uint32_t)op->norm.group / 16, float_bits(op->norm.eps), float_bits(op->norm.offset)},
                   .grid = {1, 1, 1},
                   .planned = {.rows = grid_rows(p, op->dst), .axis = 1}};
    p->packed_slot = op->dst;
    return dp_gpu_plan_add(p, &r);
}

static bool is_row_norm(const dp_planner *p, const dp_op *op) {
    return op->kind == DP_OP_NORM && op->norm.kind == DP_NORM_RMS && op->norm.count == 1 && op->bias < 0 && op->norm.group % 64 == 0 &&
           p->plan->program->slots[op->dst].cols == op->norm.group;
}

/* ---- products ---- */

/* How many rows a thread takes and how many threads share them: enough of both to keep the memory busy. */
static void shape_of(uint32_t rows, uint32_t units, dp_recipe *r) {
    uint32_t lanes = 32, each = rows >= 8192 ? 4 : rows >= 3072 ? 2 : 1;
    while (lanes > 4 && lanes > units) lanes /= 2;
    if (rows < 2048 && units >= 64) lanes = 64;
    r->variant.constants[0] = lanes;
    r->variant.constants[1] = each;
}

typedef struct dot {
    const dp_op *op, *second; /* second: MODE_PAIR and MODE_ACT */
    uint32_t mode, act;
    float alpha, limit;
    int32_t dst;
} dot;

static dp_status add_dot(dp_planner *p, const dot *d) {
    const dp_weight *w = matrix_of(p, d->op);
    const dp_gpu_weight *data = device_of(p, d->op->weight), *more = d->second ? device_of(p, d->second->weight) : data;
    uint32_t rows = (uint32_t)w->rows, rows2 = d->mode == MODE_PAIR ? (uint32_t)matrix_of(p, d->second)->rows : 0, units = (uint32_t)w->cols / 64;
    dp_gpu_range src, dst = all_of(p->plan->slots[d->dst]), sink = all_of(p->plan->backend->sink), nothing = all_of(p->plan->backend->nothing);
    if (p->packed_slot != d->op->src) TRY(pack_row(p, d->op->src, false));
    TRY(packed_buffer(p, d->op->src, &src));
    if (d->mode == MODE_ACT) TRY(packed_buffer(p, d->dst, &dst));
    dp_recipe r = {.variant = {DP_KERNEL_MATVEC_DOT, w->dtype, {32, 4, d->mode, d->op->bias >= 0, d->act}},
                   .ranges = {all_of(data->quants), all_of(data->scales), src, d->op->bias < 0 ? nothing : all_of(device_of(p, d->op->bias)->quants), dst,
                              all_of(more->quants), all_of(more->scales), d->mode == MODE_PAIR ? all_of(p->plan->slots[d->second->dst]) : sink},
                   .range_count = 8,
                   .params = {rows, rows2, units, 0, float_bits(d->alpha), float_bits(d->limit)},
                   .grid = {1, 1, 1},
                   .planned = {.rows = grid_rows(p, d->dst), .axis = 1, .hidden = d->mode == MODE_ACT}};
    if (d->mode != MODE_ACT) shape_of(rows + rows2, units, &r);
    uint32_t per_group = 128 / r.variant.constants[0] * r.variant.constants[1];
    r.params[3] = (rows + per_group - 1) / per_group;
    r.grid[0] = r.params[3] + (rows2 + per_group - 1) / per_group;
    if (d->mode == MODE_ACT) p->packed_slot = d->dst;
    else if (p->packed_slot == d->dst) p->packed_slot = -1;
    return dp_gpu_plan_add(p, &r);
}

static bool are_alike(const dp_planner *p, const dp_op *a, const dp_op *b) {
    return is_dot(p, b) && a->src == b->src && a->dst != b->dst && a->bias < 0 && b->bias < 0 && matrix_of(p, a)->dtype == matrix_of(p, b)->dtype;
}

/* Gate, up and their product, packed for the product behind them, which must be the only one to read it. */
static bool is_gated(const dp_planner *p, const dp_op *gate, const dp_op *up, const dp_op *act) {
    const dp_op *down = op_at(p, 3);
    return act->kind == DP_OP_ACT_MUL && act->src == gate->dst && act->src2 == up->dst && act->dst == gate->dst && matrix_of(p, gate)->rows % 64 == 0 &&
           is_dot(p, down) && down->src == act->dst && is_unread(p, act->dst, 4) && is_unread(p, up->dst, 3);
}

static dp_status product(dp_planner *p, size_t *ops) {
    static const uint32_t acts[] = {[DP_ACT_SILU] = 1, [DP_ACT_GELU_TANH] = 2, [DP_ACT_GELU_ERF] = 3, [DP_ACT_SWIGLU_OAI] = 4};
    const dp_op *op = op_at(p, 0), *next = op_at(p, 1), *third = op_at(p, 2);
    dot d = {.op = op, .dst = op->dst};
    *ops = 1;
    if (are_alike(p, op, next)) {
        d.second = next;
        d.mode = MODE_PAIR;
        *ops = 2;
        if (is_gated(p, op, next, third)) {
            d.mode = MODE_ACT;
            d.act = acts[third->act_mul.kind];
            d.alpha = third->act_mul.alpha;
            d.limit = third->act_mul.limit;
            *ops = 3;
        }
    } else if (next->kind == DP_OP_ADD && next->dst == next->src && next->src2 == op->dst && next->dst != op->dst && is_unread(p, op->dst, 2)) {
        d.mode = MODE_ADD;
        d.dst = next->dst;
        *ops = 2;
    }
    return add_dot(p, &d);
}

/* ---- attention ---- */

static bool is_plain_rope(const dp_op *op, int32_t dim) {
    return op->kind == DP_OP_ROPE && op->dst == op->src && op->rope.src_stride == dim && op->rope.dst_stride == dim && op->rope.src_offset == 0 &&
           op->rope.dst_offset == 0;
}

/* q_rope, k_rope, kv_write, attention of heads that the kernel takes, with one table of frequencies, and an f16 cache. */
static bool is_rotated_attention(const dp_planner *p) {
    const dp_op *q = op_at(p, 0), *k = op_at(p, 1), *write = op_at(p, 2), *a = op_at(p, 3);
    if (p->kv->exact || write->kind != DP_OP_KV_WRITE || a->kind != DP_OP_ATTENTION || a->attention.kv != write->kv_write.kv) return false;
    const dp_kv_spec *s = &p->plan->program->kv[a->attention.kv];
    return is_plain_rope(q, s->k_dim) && is_plain_rope(k, s->k_dim) && q->weight == k->weight && q->bias == k->bias && q->rope.pairs == k->rope.pairs &&
           q->rope.dim == k->rope.dim && write->src == k->dst && write->src2 >= 0 && a->src == q->dst && s->k_dim % 16 == 0 && s->v_dim % 16 == 0 &&
           s->k_dim <= 256 && s->v_dim >= 16 && s->v_dim <= 256 && is_unread(p, q->dst, 4) && is_unread(p, k->dst, 3);
}

/* Joins what the splits of a long past left, packed if the next product wants that. */
static dp_status merge(dp_planner *p, const dp_op *a, uint32_t v_dim, bool packs) {
    bool sinks = a->weight >= 0;
    dp_recipe r = {.variant = {DP_KERNEL_ATTENTION_MERGE, DP_F32, {sinks, DP_GPU_SPLITS}},
                   .ranges = {all_of(p->plan->partial), sinks ? all_of(device_of(p, a->weight)->quants) : all_of(p->plan->backend->nothing),
                              all_of(p->plan->slots[a->dst])},
                   .range_count = 3,
                   .params = {(uint32_t)a->attention.heads, v_dim},
                   .grid = {(uint32_t)a->attention.heads, 1, 1},
                   .planned = {.split = true, .by_length = true}};
    TRY(dp_gpu_plan_add(p, &r));
    return packs ? pack_row(p, a->dst, true) : DP_OK;
}

static dp_status rotated_attention(dp_planner *p) {
    const dp_op *q = op_at(p, 0), *k = op_at(p, 1), *write = op_at(p, 2), *a = op_at(p, 3), *next = op_at(p, 4);
    const dp_kv_spec *s = &p->plan->program->kv[a->attention.kv];
    const dp_gpu_kv_layer *layer = &p->kv->layers[a->attention.kv];
    bool sinks = a->weight >= 0, packs = is_dot(p, next) && next->src == a->dst && is_unread(p, a->dst, 5);
    bool use_long = q->bias >= 0 && p->kv->context > q->rope.long_context;
    dp_gpu_range dst = all_of(p->plan->slots[a->dst]);
    if (packs) TRY(packed_buffer(p, a->dst, &dst));
    dp_recipe r = {.variant = {DP_KERNEL_ATTENTION_DECODE, DP_F32, {sinks, 1, packs, q->rope.pairs}},
                   .ranges = {all_of(p->plan->step), all_of(p->plan->slots[q->src]), all_of(p->plan->slots[k->src]), all_of(p->plan->slots[write->src2]),
                              all_of(layer->buffer), all_of(device_of(p, use_long ? q->bias : q->weight)->quants),
                              sinks ? all_of(device_of(p, a->weight)->quants) : all_of(p->plan->backend->nothing), dst},
                   .range_count = 8,
                   .params = {(uint32_t)a->attention.heads, (uint32_t)s->heads, (uint32_t)s->k_dim, (uint32_t)s->v_dim, layer->capacity, (uint32_t)s->window,
                              float_bits(a->attention.scale), float_bits(a->attention.softcap), (uint32_t)q->rope.dim,
                              float_bits(use_long ? q->rope.long_scale : q->rope.scale)},
                   .grid = {1, (uint32_t)a->attention.heads, 1},
                   .planned = {.split = false, .by_length = true, .hidden = packs}};
    TRY(dp_gpu_plan_add(p, &r));
    r.variant.constants[1] = DP_GPU_SPLITS;
    r.planned.hidden = false;
    r.variant.constants[2] = false;
    r.ranges[7] = all_of(p->plan->partial);
    r.grid[0] = DP_GPU_SPLITS;
    r.planned.split = true;
    TRY(dp_gpu_plan_add(p, &r));
    TRY(merge(p, a, (uint32_t)s->v_dim, packs));
    p->packed_slot = packs ? a->dst : -1;
    return DP_OK;
}

dp_status dp_gpu_fuse(dp_planner *p, size_t *ops) {
    const dp_op *op = op_at(p, 0), *next = op_at(p, 1);
    *ops = 0;
    if (p->plan->backend->exact) return DP_OK;
    if (is_row_norm(p, op) && op->src != op->dst) {
        *ops = 1;
        return norm_pack(p, op, op->src);
    }
    if (op->kind == DP_OP_SELECT && is_row_norm(p, next) && next->src == op->dst && next->dst == op->dst) {
        *ops = 2;
        return norm_pack(p, next, op->src);
    }
    if (is_dot(p, op)) return product(p, ops);
    if (is_rotated_attention(p)) {
        *ops = 4;
        return rotated_attention(p);
    }
    if (op->dst == p->packed_slot || op->dst2 == p->packed_slot) p->packed_slot = -1;
    return DP_OK;
}
