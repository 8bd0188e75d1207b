/* gpu_decode_dot.c: products of one token with quantised matrices: kernels/dot_*.wgsl. */
#include "gpu/gpu_decode.h"

static uint32_t ceil_div(uint32_t a, uint32_t b) { return (a + b - 1) / b; }

/* ---- shapes ---- */

/* Threads that a product can do with: about half of what a large GPU runs at once (132 cores of 2048). */
enum { THREADS_ENOUGH = 65536 };

/* Threads that may share a row. */
static uint32_t lanes_most(const dp_planner *p) {
    const dp_gpu_caps *caps = dp_gpu_get_caps(p->plan->backend->gpu);
    return caps->subgroups && caps->subgroup_min == caps->subgroup_max && caps->subgroup_max >= 4 ? DP_MIN(caps->subgroup_max, 32u) : 32;
}

/* Threads that share a row: as many as leave few of them idle in the last step. */
static uint32_t lanes_for(const dp_planner *p, uint32_t units) {
    uint32_t most = lanes_most(p), best = 4, best_slots = ceil_div(units, 4) * 4;
    for (uint32_t lanes = 8; lanes <= most; lanes *= 2) {
        uint32_t slots = ceil_div(units, lanes) * lanes;
        if (slots * 9 <= best_slots * 10) {
            best = lanes;
            best_slots = slots;
        }
    }
    return best;
}

static dp_dot_shape shape_of(const dp_planner *p, uint32_t rows, uint32_t units, uint32_t tile, uint32_t lanes) {
    const dp_gpu_caps *caps = dp_gpu_get_caps(p->plan->backend->gpu);
    dp_dot_shape s = {.lanes = lanes, .threads = 128, .steps = ceil_div(units, lanes)};
    if (tile) {
        s.rows = rows >= 8192 ? 4 : 2;
        while (s.rows < 4 && (tile / s.rows * s.lanes > 512 || tile / s.rows * s.lanes > caps->workgroup_size)) s.rows *= 2;
        s.threads = tile / s.rows * s.lanes;
    } else {
        s.rows = rows >= 8192 ? 4 : rows >= 3072 ? 2 : 1;
    }
    s.tile = s.threads / s.lanes * s.rows;
    return s;
}

dp_dot_shape dp_decode_shape(const dp_planner *p, uint32_t rows, uint32_t units, uint32_t tile) {
    return shape_of(p, rows, units, tile, lanes_for(p, units));
}

/* The same for all that is not experts'. Few and short rows leave most of a device idle, and then steps one after another cost more
 * than threads without a unit in the last one: so as many share a row as there are units for, or until they are enough. */
static dp_dot_shape dense_shape(const dp_planner *p, uint32_t rows, uint32_t units, uint32_t tile) {
    dp_dot_shape s = dp_decode_shape(p, rows, units, tile);
    uint32_t most = DP_MIN(lanes_most(p), units);
    while (s.lanes < most && rows / s.rows * s.lanes < THREADS_ENOUGH) {
        s = shape_of(p, rows, units, tile, 2 * s.lanes);
        s.spread = true;
    }
    return s;
}

/* When units are fetched (kernels/dot_rows.wgsl), as was measured on one GPU: with Q8_0 a unit is many loads and little work, with
 * MXFP4 work decides, and two matrices at once want all registers, which few threads have. */
static uint32_t fetch_for(const dp_kernel_variant *v, const dp_dot_shape *shape) {
    if (v->dtype == DP_MXFP4) return v->kernel == DP_KERNEL_DOT_EXPERTS_ACT ? 0 : 1;
    return v->dtype == DP_Q8_0 || shape->spread ? 1 : 2;
}

void dp_decode_constants(const dp_planner *p, dp_kernel_variant *variant, const dp_dot_shape *shape, uint32_t units, uint32_t src_cols) {
    uint32_t *c = variant->constants;
    c[DP_DOT_LANES] = shape->lanes;
    c[DP_DOT_ROWS] = shape->rows;
    c[DP_DOT_THREADS] = shape->threads;
    c[DP_DOT_UNITS] = units;
    c[DP_DOT_STEPS] = shape->steps;
    c[DP_DOT_GROUPS] = src_cols / 16;
    c[DP_DOT_NORM] = p->packed_norm != NULL;
    c[DP_DOT_FETCH] = fetch_for(variant, shape);
    c[DP_DOT_EPS] = dp_decode_bits(p->packed_norm ? p->packed_norm->norm.eps : 0);
}

dp_status dp_decode_source(dp_planner *p, const dp_op *op, dp_gpu_range *out) {
    const dp_packed_twin *twin = &p->twins[op->src];
    if (p->packed_slot != op->src && twin->valid) p->packed_slot = op->src, p->packed_norm = twin->norm;
    if (p->packed_slot != op->src) TRY(dp_decode_pack_row(p, op->src));
    return dp_decode_packed(p, op->src, out);
}

/* A recipe with variant and grid; its ranges and parameters are the caller's. */
static dp_recipe recipe_of(const dp_planner *p, dp_kernel kernel, const dp_op *op, uint32_t tile, int32_t dst, dp_dot_shape *shape) {
    const dp_weight *w = dp_decode_matrix(p, op);
    uint32_t units = (uint32_t)w->cols / 64;
    dp_recipe r = {.variant = {kernel, w->dtype, {0}}, .grid = {1, 1, 1}, .planned = {.rows = dp_decode_rows(p, dst), .axis = 1}};
    *shape = dense_shape(p, (uint32_t)w->rows, units, tile);
    dp_decode_constants(p, &r.variant, shape, units, (uint32_t)w->cols);
    r.variant.constants[DP_DOT_BIAS] = op->bias >= 0;
    r.variant.constants[DP_DOT_MATRIX0] = (uint32_t)w->rows;
    r.grid[0] = ceil_div((uint32_t)w->rows, shape->tile);
    return r;
}

static void written(dp_planner *p, int32_t slot) {
    if (p->packed_slot == slot) p->packed_slot = -1;
}

/* ---- products ---- */

/* The rows of one part of the matrix. */
static dp_status store_part(dp_planner *p, const dp_op *op, const dp_gpu_part *part, dp_gpu_range src) {
    dp_gpu_range bias = dp_decode_vector(p, op->bias), dst = dp_decode_slot(p, op->dst);
    dp_dot_shape shape;
    dp_recipe r = recipe_of(p, DP_KERNEL_DOT_STORE, op, 0, op->dst, &shape);
    r.variant.constants[DP_DOT_MATRIX0] = part->count;
    r.grid[0] = ceil_div(part->count, shape.tile);
    dst.offset = 4 * (uint64_t)part->first;
    if (op->bias >= 0) bias.offset = dst.offset;
    memcpy(r.ranges, (dp_gpu_range[]){dp_decode_whole(part->quants), dp_decode_whole(part->scales), src, bias, dst}, 5 * sizeof *r.ranges);
    r.range_count = 5;
    return dp_gpu_plan_add(p, &r);
}

dp_status dp_decode_store(dp_planner *p, const dp_op *op) {
    const dp_gpu_weight *data = dp_decode_device(p, op->weight);
    dp_gpu_range src;
    TRY(dp_decode_source(p, op, &src));
    for (size_t i = 0; i < data->part_count; i++) TRY(store_part(p, op, &data->parts[i], src));
    written(p, op->dst);
    return DP_OK;
}

/* The sum with a residual, and the norm behind it if everything that reads it is packed. */
static dp_status add(dp_planner *p, size_t *ops) {
    const dp_op *op = dp_decode_op(p, 0), *sum = dp_decode_op(p, 1);
    const dp_gpu_weight *data = dp_decode_device(p, op->weight);
    uint32_t rows = (uint32_t)dp_decode_matrix(p, op)->rows;
    dp_decode_norm next = rows % 16 ? (dp_decode_norm){0} : dp_decode_next_norm(p, sum->dst, 2);
    dp_gpu_range src, packed = dp_decode_whole(p->plan->backend->sink);
    dp_dot_shape shape;
    TRY(dp_decode_source(p, op, &src));
    if (next.norm) TRY(dp_decode_packed(p, next.norm->dst, &packed));
    const dp_op *router = next.norm ? dp_decode_router_in_parts(p, 2 + next.ops, next.norm->dst) : NULL;
    dp_recipe r = recipe_of(p, DP_KERNEL_DOT_ADD, op, 16, sum->dst, &shape);
    r.variant.constants[DP_DOT_EXPERTS] = router ? (uint32_t)dp_decode_matrix(p, router)->rows : 0;
    r.variant.constants[DP_DOT_PACK] = next.norm != NULL;
    r.planned.behind = next.ops;
    memcpy(r.ranges,
           (dp_gpu_range[]){dp_decode_whole(data->quants), dp_decode_whole(data->scales), src,
                            dp_decode_vector(p, op->bias), dp_decode_slot(p, sum->dst),
                            dp_decode_vector(p, next.norm ? next.norm->weight : -1), packed,
                            dp_decode_vector(p, router ? router->weight : -1)},
           8 * sizeof *r.ranges);
    r.range_count = 8;
    r.variant.constants[DP_DOT_OFFSET] = dp_decode_bits(next.norm ? next.norm->norm.offset : 0);
    written(p, sum->dst);
    if (next.norm) {
        p->packed_slot = next.norm->dst;
        p->packed_norm = next.norm;
    }
    p->parts = router ? r.grid[0] : 0;
    *ops = 2 + next.ops;
    return dp_gpu_plan_add(p, &r);
}

static bool in_one(const dp_planner *p, const dp_op *op) { return op->kind == DP_OP_MATMUL && dp_decode_takes(p, op->weight); }

/* Gate, up and their product, packed for the product behind them, which must be the only one to read it. */
static bool is_gated(const dp_planner *p) {
    const dp_op *gate = dp_decode_op(p, 0), *up = dp_decode_op(p, 1), *act = dp_decode_op(p, 2), *down = dp_decode_op(p, 3);
    if (!in_one(p, up) || up->src != gate->src || gate->bias >= 0 || up->bias >= 0) return false;
    const dp_weight *a = dp_decode_matrix(p, gate), *b = dp_decode_matrix(p, up);
    return a->dtype == b->dtype && a->rows == b->rows && a->rows % 64 == 0 && act->kind == DP_OP_ACT_MUL &&
           act->src == gate->dst && act->src2 == up->dst && act->dst == gate->dst && dp_decode_is_dot(p, down) &&
           down->src == act->dst && dp_decode_unread(p, act->dst, 4) && dp_decode_unread(p, up->dst, 3);
}

static dp_status gated(dp_planner *p, size_t *ops) {
    const dp_op *gate = dp_decode_op(p, 0), *up = dp_decode_op(p, 1), *act = dp_decode_op(p, 2);
    const dp_gpu_weight *a = dp_decode_device(p, gate->weight), *b = dp_decode_device(p, up->weight);
    dp_gpu_range src, packed;
    dp_dot_shape shape;
    TRY(dp_decode_source(p, gate, &src));
    TRY(dp_decode_packed(p, act->dst, &packed));
    dp_recipe r = recipe_of(p, DP_KERNEL_DOT_ACT, gate, 16, act->dst, &shape);
    r.variant.constants[DP_DOT_SECOND] = dp_decode_matrix(p, up)->dtype;
    r.variant.constants[DP_DOT_ACT] = dp_gpu_act_kind(act->act_mul.kind);
    memcpy(r.ranges,
           (dp_gpu_range[]){dp_decode_whole(a->quants), dp_decode_whole(a->scales), dp_decode_whole(b->quants),
                            dp_decode_whole(b->scales), src, packed},
           6 * sizeof *r.ranges);
    r.range_count = 6;
    r.variant.constants[DP_DOT_ALPHA] = dp_decode_bits(act->act_mul.alpha);
    r.variant.constants[DP_DOT_LIMIT] = dp_decode_bits(act->act_mul.limit);
    r.planned.hidden = true;
    p->packed_slot = act->dst;
    p->packed_norm = NULL;
    *ops = 3;
    return dp_gpu_plan_add(p, &r);
}

/* ---- q, k and v ---- */

static bool are_joint(const dp_planner *p) {
    const dp_op *q = dp_decode_op(p, 0), *k = dp_decode_op(p, 1), *v = dp_decode_op(p, 2);
    return in_one(p, k) && in_one(p, v) && k->src == q->src && v->src == q->src && (q->bias < 0) == (k->bias < 0) &&
           (q->bias < 0) == (v->bias < 0) && dp_gpu_get_caps(p->plan->backend->gpu)->storage_buffers >= 8 &&
           dp_decode_attends(p, 3, q->dst, k->dst, v->dst);
}

/* Floats between the parts of plan->joined: bindings begin at multiples of 256 bytes. */
static uint32_t padded(uint32_t floats) { return ceil_div(floats, 64) * 64; }

static dp_status join(dp_planner *p, size_t *ops) {
    const dp_op *part[3] = {dp_decode_op(p, 0), dp_decode_op(p, 1), dp_decode_op(p, 2)};
    uint32_t rows[3], groups = 0, floats = 0, all = 0;
    dp_gpu_range src;
    dp_dot_shape shape;
    TRY(dp_decode_source(p, part[0], &src));
    dp_recipe r = recipe_of(p, DP_KERNEL_DOT_JOIN, part[0], 0, part[0]->dst, &shape);
    for (size_t i = 0; i < 3; i++) all += rows[i] = (uint32_t)dp_decode_matrix(p, part[i])->rows;
    shape = dense_shape(p, all, (uint32_t)dp_decode_matrix(p, part[0])->cols / 64, 0);
    dp_decode_constants(p, &r.variant, &shape, (uint32_t)dp_decode_matrix(p, part[0])->cols / 64, dp_decode_cols(p, part[0]->src));
    r.variant.constants[DP_DOT_BIAS] = 0; /* attention adds it */
    for (size_t i = 0; i < 3; i++) {
        const dp_gpu_weight *data = dp_decode_device(p, part[i]->weight);
        r.ranges[2 * i] = dp_decode_whole(data->quants);
        r.ranges[2 * i + 1] = dp_decode_whole(data->scales);
        if (i) r.variant.constants[DP_DOT_SECOND + i - 1] = dp_decode_matrix(p, part[i])->dtype;
        r.variant.constants[DP_DOT_MATRIX0 + i] = rows[i];
        groups += ceil_div(rows[i], shape.tile);
        floats += padded(rows[i]);
    }
    if (p->plan->joined_size < 4 * (uint64_t)floats) {
        p->plan->joined_size = 4 * (uint64_t)floats;
        TRY(dp_decode_buffer(p, p->plan->joined_size, NULL, "joined", &p->plan->joined));
    }
    r.ranges[6] = src;
    r.ranges[7] = dp_decode_whole(p->plan->joined);
    r.range_count = 8;
    r.grid[0] = groups;
    r.planned.hidden = true;
    p->joined = true;
    *ops = 3;
    return dp_gpu_plan_add(p, &r);
}

dp_status dp_decode_product(dp_planner *p, size_t *ops) {
    const dp_op *op = dp_decode_op(p, 0), *sum = dp_decode_op(p, 1);
    if (!dp_decode_is_dot(p, op)) return DP_OK;
    bool fuses = dp_decode_takes(p, op->weight);
    if (fuses && are_joint(p)) return join(p, ops);
    if (fuses && is_gated(p)) return gated(p, ops);
    if (fuses && sum->kind == DP_OP_ADD && sum->dst == sum->src && sum->src2 == op->dst && sum->dst != op->dst &&
        dp_decode_unread(p, op->dst, 2))
        return add(p, ops);
    *ops = 1;
    return dp_decode_store(p, op);
}
