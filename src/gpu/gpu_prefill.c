/* gpu_prefill.c: steps of many tokens: attention and products with weights in tiles, on the matrix units where there are such
 * units. For these activations are packed to f16 first (once for the products that share them). Experts' products are
 * grouped, so that each expert's weights are read once a tile of its pairs. */
#include "gpu/gpu_plan.h"

typedef dp_planner planner;
typedef dp_recipe recipe;

enum {
    PACKED_MIN = 256, /* bytes of a scratch buffer at least */
    PLAIN_ROWS = 64, PLAIN_COLS = 128, /* of a tile without matrix units */
    BUSY = 96,        /* workgroups that keep a large GPU busy: with fewer, smaller tiles are faster */
};

/* What a workgroup of matmul_matrix.wgsl computes: side_t x side_n subgroups, each with frag_t x 2 matrices. */
typedef struct tile {
    uint32_t side_t, side_n, frag_t;
} tile;
static const tile large_tile = {2, 4, 4}, small_tile = {2, 2, 2};

static dp_gpu_range whole(dp_gpu_buffer buffer) { return (dp_gpu_range){buffer, 0, 0}; }
static dp_gpu_range slot(const planner *p, int32_t index) { return whole(p->plan->slots[index]); }
static dp_gpu_range nothing(const planner *p) { return whole(p->plan->backend->nothing); }

static const dp_gpu_weight *weight(const planner *p, int32_t index) {
    return &((const dp_gpu_weight *)p->plan->program->device)[index];
}

static uint32_t ceil_div(uint32_t a, uint32_t b) { return (a + b - 1) / b; }

static dp_grid_rows rows_of(const planner *p, int32_t index) {
    return p->plan->program->slots[index].rows == DP_ROWS_TOKENS ? DP_GRID_TOKENS : DP_GRID_OUTPUTS;
}

static bool usable(const dp_plan *plan) {
    const dp_gpu_caps *caps = dp_gpu_get_caps(plan->backend->gpu);
    return !plan->backend->exact && caps->subgroup_matrix && caps->matrix_m == caps->matrix_n && caps->matrix_m == caps->matrix_k &&
           (caps->matrix_m == 8 || caps->matrix_m == 16) && caps->subgroup_min == caps->subgroup_max &&
           caps->subgroup_max <= 2 * caps->matrix_m && caps->storage_buffers >= 7 &&
           caps->workgroup_memory >= 32768;
}

static uint32_t side(const dp_plan *plan) { return dp_gpu_get_caps(plan->backend->gpu)->matrix_m; }

static uint32_t tile_rows(const dp_plan *plan, tile t) { return usable(plan) ? t.side_t * t.frag_t * side(plan) : PLAIN_ROWS; }
static uint32_t tile_cols(const dp_plan *plan, tile t) { return usable(plan) ? t.side_n * 2 * side(plan) : PLAIN_COLS; }

static bool fits(const dp_plan *plan, tile t) {
    const dp_gpu_caps *caps = dp_gpu_get_caps(plan->backend->gpu);
    uint32_t rows = tile_rows(plan, t), memory = (rows + tile_cols(plan, t)) * 144 + rows * 8;
    return memory <= caps->workgroup_memory && t.side_t * t.side_n * caps->subgroup_max <= caps->workgroup_size;
}

/* Rows of src from which large tiles are faster for a product of n columns. */
static int32_t large_from(const dp_plan *plan, uint32_t n) {
    if (!usable(plan) || !fits(plan, large_tile)) return INT32_MAX;
    uint32_t across = ceil_div(n, tile_cols(plan, large_tile)), least = (ceil_div(BUSY, across) - 1) * tile_rows(plan, large_tile);
    return (int32_t)DP_MAX(least, tile_rows(plan, small_tile)) + 1;
}

/* Tiles of groups at most, when `tokens` choose k experts each. */
static uint32_t tiles_most(const dp_plan *plan, uint32_t experts, uint32_t k) {
    uint32_t pairs = (uint32_t)plan->size.tokens * k;
    return DP_MIN(experts, pairs) + pairs / tile_rows(plan, small_tile);
}

/* ---- scratch ---- */

static uint32_t experts_of(const dp_program *program, const dp_op *op) { return (uint32_t)program->weights[op->weight].experts; }

typedef struct scratch {
    uint64_t halves, scales, groups; /* bytes, 0: not needed */
} scratch;

static scratch scratch_of(const dp_plan *plan) {
    uint64_t packed = PACKED_MIN, scales = PACKED_MIN, groups = 0;
    for (size_t i = 0; i < plan->program->op_count; i++) {
        const dp_op *op = &plan->program->ops[i];
        bool moe = op->kind == DP_OP_MOE_MATMUL;
        if (!moe && op->kind != DP_OP_MATMUL) continue;
        uint32_t k = moe ? (uint32_t)op->moe_matmul.k : 1;
        uint64_t rows = (uint64_t)plan->size.tokens * (moe && op->moe_matmul.per_expert ? k : 1);
        packed = DP_MAX(packed, rows * (uint64_t)plan->program->weights[op->weight].cols * 2);
        scales = DP_MAX(scales, rows * 4);
        if (moe)
            groups = DP_MAX(groups, 4 * (1 + 3 * (uint64_t)tiles_most(plan, experts_of(plan->program, op), k) +
                                         (uint64_t)plan->size.tokens * k));
    }
    return usable(plan) ? (scratch){packed + 64, scales, groups} : (scratch){0, 0, groups};
}

uint64_t dp_gpu_prefill_bytes(const dp_plan *plan) {
    scratch s = scratch_of(plan);
    return s.halves + s.scales + s.groups;
}

dp_status dp_gpu_prefill_buffers(dp_plan *plan) {
    dp_gpu *gpu = plan->backend->gpu;
    scratch s = scratch_of(plan);
    if (s.halves) TRY(dp_gpu_buffer_new(gpu, s.halves, "halves", &plan->halves));
    if (s.scales) TRY(dp_gpu_buffer_new(gpu, s.scales, "halves scales", &plan->halves_scales));
    return s.groups ? dp_gpu_buffer_new(gpu, s.groups, "groups", &plan->groups) : DP_OK;
}

void dp_gpu_prefill_free(dp_plan *plan) {
    dp_gpu *gpu = plan->backend->gpu;
    dp_gpu_buffer_free(gpu, plan->halves);
    dp_gpu_buffer_free(gpu, plan->halves_scales);
    dp_gpu_buffer_free(gpu, plan->groups);
}

void dp_gpu_prefill_written(planner *p) {
    if (p->op->dst == p->halves_slot || p->op->dst2 == p->halves_slot) p->halves_slot = -1;
    if (p->op->dst == p->grouped_slot || p->op->dst2 == p->grouped_slot) p->grouped_slot = -1;
}

/* ---- dispatches ---- */

/* times: rows of src per token. */
static dp_status pack(planner *p, uint32_t times, int32_t from) {
    const dp_op *op = p->op;
    const dp_weight *w = &p->plan->program->weights[op->weight];
    if (!usable(p->plan) || (p->halves_slot == op->src && p->halves_order == w->dtype)) return DP_OK;
    recipe r = {.variant = {DP_KERNEL_PACK_F16, w->dtype, {0}},
                .ranges = {nothing(p), nothing(p), slot(p, op->src), whole(p->plan->halves), whole(p->plan->halves_scales)},
                .range_count = 5,
                .params = {(uint32_t)w->cols / 32},
                .grid = {1, 1, 1},
                .planned = {.rows = rows_of(p, op->src), .axis = 0, .times = times, .at_least = from}};
    p->halves_slot = op->src;
    p->halves_order = w->dtype;
    return dp_gpu_plan_add(p, &r);
}

static dp_status group(planner *p, uint32_t height, uint32_t tiles, int32_t from) {
    const dp_op *op = p->op;
    if (p->grouped_slot == op->src2) return DP_OK;
    recipe r = {.variant = {DP_KERNEL_GROUP, DP_F32, {p->block != 0}},
                .ranges = {whole(p->plan->step), dp_gpu_expert_ids(p), whole(p->plan->groups)},
                .range_count = 3,
                .params = {dp_gpu_expert_room(p->plan->program, op), (uint32_t)op->moe_matmul.k, height, tiles},
                .grid = {1, 1, 1},
                .planned = {.rows = DP_GRID_FIXED, .at_least = from}};
    p->grouped_slot = op->src2;
    return dp_gpu_plan_add(p, &r);
}

/* What plain and experts' products with a part of a weight share; grid, share and step are the caller's. */
static recipe product(const planner *p, const dp_gpu_part *part, uint32_t grouped, tile t) {
    const dp_op *op = p->op;
    const dp_weight *w = &p->plan->program->weights[op->weight];
    dp_gpu_range dst = slot(p, op->dst), bias = op->bias < 0 ? nothing(p) : whole(weight(p, op->bias)->quants);
    uint32_t n = grouped ? (uint32_t)w->rows : part->count;
    if (!grouped) dst.offset = 4 * (uint64_t)part->first;
    if (!grouped && op->bias >= 0) bias.offset = dst.offset;
    bool outputs = rows_of(p, op->dst) == DP_GRID_OUTPUTS;
    if (!usable(p->plan))
        return (recipe){
            .variant = {DP_KERNEL_MATMUL, w->dtype, {op->bias >= 0, outputs, grouped, grouped && p->block}},
            .ranges = {whole(part->quants), whole(part->scales), whole(grouped ? p->plan->groups : p->plan->step),
                       slot(p, op->src), bias, dst},
            .range_count = 6,
            .params = {n, (uint32_t)w->cols / 32, 1, (uint32_t)w->rows, grouped ? part->first : 0, part->count},
            .grid = {1, 1, 1}};
    return (recipe){.variant = {DP_KERNEL_MATMUL_MATRIX,
                                w->dtype,
                                {op->bias >= 0, outputs, grouped, t.side_t, t.side_n, t.frag_t, grouped && p->block}},
                    .ranges = {whole(part->quants), whole(part->scales),
                               whole(grouped ? p->plan->groups : p->plan->step), whole(p->plan->halves),
                               whole(p->plan->halves_scales), bias, dst},
                    .range_count = 7,
                    .params = {n, (uint32_t)w->cols / 32, 1, (uint32_t)w->rows, grouped ? part->first : 0, part->count},
                    .grid = {1, 1, 1}};
}

static dp_status dense(planner *p, const dp_gpu_part *part, tile t, int32_t from, int32_t to) {
    recipe r = product(p, part, 0, t);
    r.grid[1] = ceil_div(part->count, tile_cols(p->plan, t));
    r.planned = (dp_planned){.rows = rows_of(p, p->op->dst), .axis = 0, .per = tile_rows(p->plan, t), .at_least = from, .at_most = to};
    return dp_gpu_plan_add(p, &r);
}

dp_status dp_gpu_prefill_matmul(planner *p, int32_t from) {
    TRY(pack(p, 1, from));
    const dp_gpu_weight *data = weight(p, p->op->weight);
    for (size_t i = 0; i < data->part_count; i++) {
        int32_t large = large_from(p->plan, data->parts[i].count);
        if (large <= p->plan->size.tokens) TRY(dense(p, &data->parts[i], large_tile, DP_MAX(from, large), INT32_MAX));
        TRY(dense(p, &data->parts[i], small_tile, from, large - 1));
    }
    return DP_OK;
}

dp_status dp_gpu_prefill_moe_matmul(planner *p, int32_t from, bool *done) {
    uint32_t experts = experts_of(p->plan->program, p->op), k = (uint32_t)p->op->moe_matmul.k;
    *done = experts <= 512;
    if (!*done) return DP_OK;
    uint32_t tiles = tiles_most(p->plan, experts, k);
    TRY(group(p, tile_rows(p->plan, small_tile), tiles, from));
    TRY(pack(p, p->op->moe_matmul.per_expert ? k : 1, from));
    const dp_gpu_weight *data = weight(p, p->op->weight);
    for (size_t i = 0; i < data->part_count; i++) {
        recipe r = product(p, &data->parts[i], 1, small_tile);
        r.params[2] = p->op->moe_matmul.per_expert ? 1 : k;
        r.grid[0] = ceil_div((uint32_t)p->plan->program->weights[p->op->weight].rows, tile_cols(p->plan, small_tile));
        r.grid[1] = tiles;
        r.planned = (dp_planned){.rows = DP_GRID_FIXED, .at_least = from};
        TRY(dp_gpu_plan_add(p, &r));
    }
    return DP_OK;
}

/* ---- attention ---- */

enum { TILE_TOKENS = 32, V_DIM_MOST = 512, MATRICES_MOST = 16 };

/* Matrices across a head on the matrix units; 0 where attention_matrix.wgsl does not take it. */
static uint32_t matrices_across(const planner *p, const dp_kv_spec *s) {
    const dp_gpu_caps *caps = dp_gpu_get_caps(p->plan->backend->gpu);
    uint32_t m = caps->matrix_m, dim = (uint32_t)s->k_dim;
    if (!usable(p->plan) || p->kv->exact || s->v_dim != s->k_dim || dim % m != 0 || dim / m > MATRICES_MOST ||
        caps->subgroup_max % m != 0)
        return 0;
    uint32_t memory = 2 * m * (dim / 8 + 1) * 16 + 4 * m * (m / 2 + 1) * 16 + 6 * m * 4;
    return memory <= caps->workgroup_memory ? dim / m : 0;
}

dp_status dp_gpu_prefill_attention(planner *p, const recipe *single, int32_t from, bool *done) {
    const dp_kv_spec *s = &p->plan->program->kv[p->op->attention.kv];
    uint32_t v_dim = (uint32_t)(s->v_dim ? s->v_dim : s->latent), lanes = v_dim <= 64 ? 16 : 32, matrices = matrices_across(p, s);
    *done = s->k_dim % 4 == 0 && v_dim % 4 == 0 && v_dim <= V_DIM_MOST;
    if (!*done) return DP_OK;
    recipe r = *single;
    r.planned = (dp_planned){.rows = DP_GRID_TOKENS, .axis = 0, .per = TILE_TOKENS, .at_least = from};
    r.variant = (dp_kernel_variant){
        DP_KERNEL_ATTENTION_TILED, DP_F32, {p->op->weight >= 0, lanes, ceil_div(v_dim, 4 * lanes), p->kv->exact}};
    if (matrices) {
        r.planned.per = 4 * side(p->plan);
        r.variant = (dp_kernel_variant){DP_KERNEL_ATTENTION_MATRIX, DP_F32, {p->op->weight >= 0, matrices}};
    }
    return dp_gpu_plan_add(p, &r);
}
