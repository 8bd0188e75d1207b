/* fast_matmul.c: products with weight matrices on the vectorised path: activations quantised once per slot, tokens
 * sorted by expert, rows cut into tasks. The arithmetic is in fast_dot.h and fast_panel.h. */
#include "cpu/fast.h"
#include "cpu/ref.h"

/* ---- activations ---- */

typedef struct quantize_work {
    const dp_cpu_kernels *kernels;
    const float *x;
    dp_act_unit *units;
    int32_t cols;
    const bool *only; /* rows are pairs: those of these experts; NULL: all rows */
    const int32_t *ids;
} quantize_work;

static void quantize_task(void *context, int32_t index, int32_t thread) {
    (void)thread;
    const quantize_work *work = context;
    size_t row = (size_t)index;
    if (work->only && !work->only[work->ids[index]]) return;
    work->kernels->quantize(work->x + row * (size_t)work->cols, work->cols, work->units + row * (size_t)dp_act_units(work->cols));
}

enum { THREADED_COLS = 16384 }; /* fewer are quantised before a thread has woken */

static void quantize_slot(dp_cpu_run *run, int32_t slot, quantize_work work, int32_t rows) {
    dp_act_cache *cache = &run->fast->acts[slot];
    if (cache->valid) return;
    if ((int64_t)rows * work.cols >= THREADED_COLS) dp_pool_run(run->pool, quantize_task, &work, rows);
    else
        for (int32_t i = 0; i < rows; i++) quantize_task(&work, i, 0);
    cache->valid = true;
}

/* Fills fast->x with the rows of `slot` in the form that the weight wants. */
static void point_at_rows(dp_cpu_run *run, const dp_cpu_kernels *kernels, const dp_op *op, int32_t rows) {
    struct dp_cpu_fast *fast = run->fast;
    const dp_weight *w = &run->program->weights[op->weight];
    const float *x = run->slots[op->src];
    size_t cols = (size_t)w->cols, units = (size_t)dp_act_units(w->cols);
    if (!dp_fast_is_quantized(w->dtype)) {
        for (size_t i = 0; i < (size_t)rows; i++) fast->x[i] = x + i * cols;
        return;
    }
    dp_act_unit *acts = fast->acts[op->src].units;
    bool pairs = run->only && op->kind == DP_OP_MOE_MATMUL && op->moe_matmul.per_expert;
    const int32_t *ids = pairs ? (const int32_t *)(const void *)run->slots[op->src2] : NULL;
    quantize_slot(run, op->src, (quantize_work){kernels, x, acts, w->cols, pairs ? run->only : NULL, ids}, rows);
    for (size_t i = 0; i < (size_t)rows; i++) fast->x[i] = acts + i * units;
}

/* ---- tasks ---- */

/* Task = (group of tokens, or expert) x (chunk of rows); chunks of one group follow each other. */
typedef struct matmul_work {
    const dp_cpu_kernels *kernels;
    struct dp_cpu_fast *fast;
    const dp_weight *weight;
    const float *bias;
    int32_t tokens;              /* plain: all */
    int32_t group;               /* plain: tokens per task */
    const uint8_t *packed;       /* for kernels that pack: blocks of all tokens, or of the experts; else NULL */
    int32_t chunk, chunks;       /* rows per task; tasks that cover all rows */
} matmul_work;

enum { TASKS_PER_THREAD = 8, MOST_CHUNK_ROWS = 512 };

static void cut_rows(matmul_work *work, int32_t groups, int32_t threads) {
    int32_t rows = work->weight->rows, step = work->kernels->panel_rows;
    int64_t tasks = threads > 1 ? (int64_t)threads * TASKS_PER_THREAD / groups + 1 : 1;
    int32_t chunk = (int32_t)(rows / tasks) / step * step;
    work->chunk = DP_MAX(step, DP_MIN(chunk, MOST_CHUNK_ROWS));
    work->chunks = (rows + work->chunk - 1) / work->chunk;
}

static void run_tile(const matmul_work *work, dp_tile *tile, int32_t chunk, int32_t thread, bool few) {
    tile->weight = work->weight;
    tile->first = chunk * work->chunk;
    tile->rows = DP_MIN(work->chunk, work->weight->rows - tile->first);
    tile->scratch = dp_fast_scratch(work->fast, thread);
    if (few) work->kernels->dot(tile);
    else work->kernels->panel(tile);
}

static const uint8_t *packed_block(const matmul_work *work, size_t block) {
    return work->packed ? work->packed + block * dp_pack_bytes(work->weight->cols, dp_pack_parts(work->weight->dtype)) : NULL;
}

/* Products of f32 weights stay in f32. */
static bool packs(const dp_cpu_kernels *kernels, const dp_weight *w) { return kernels->pack && w->dtype != DP_F32; }

static void matmul_task(void *context, int32_t index, int32_t thread) {
    const matmul_work *work = context;
    int32_t token = index / work->chunks * work->group;
    dp_tile tile = {
        .matrix = work->weight->data,
        .tokens = DP_MIN(work->group, work->tokens - token),
        .x = work->fast->x + token,
        .packed = packed_block(work, (size_t)(token / DP_PACK_TOKENS)),
        .y = work->fast->y + token,
        .bias = work->bias,
    };
    run_tile(work, &tile, index % work->chunks, thread, work->tokens < work->kernels->panel_tokens);
}

static void expert_task(void *context, int32_t index, int32_t thread) {
    const matmul_work *work = context;
    int32_t expert = work->fast->active[index / work->chunks];
    int32_t start = work->fast->starts[expert];
    dp_tile tile = {
        .matrix = work->weight->expert[expert],
        .tokens = work->fast->starts[expert + 1] - start,
        .x = work->fast->pair_x + start,
        .packed = packed_block(work, dp_fast_expert_block(work->fast, index / work->chunks)),
        .y = work->fast->y + start,
        .bias = work->bias ? work->bias + (size_t)expert * (size_t)work->weight->rows : NULL,
    };
    run_tile(work, &tile, index % work->chunks, thread, tile.tokens < work->kernels->panel_tokens);
}

static dp_status check_dtype(const dp_weight *w) {
    if (dp_fast_multiplies(w->dtype)) return DP_OK;
    return dp_fail(DP_E_UNSUPPORTED, "%s: cannot multiply with dtype %s", w->name, dp_dtype_get(w->dtype)->name);
}

/* ---- plain ---- */

/* Fewer row chunks than threads can share: cut the tokens too. A panel is then unpacked once per group. */
static int32_t group_of_tokens(const matmul_work *work, int32_t threads) {
    int32_t panels = work->weight->rows / work->kernels->panel_rows;
    if (panels >= 2 * threads || work->tokens < 128) return work->tokens;
    int32_t groups = DP_MIN(work->tokens / 64, 2 * threads / DP_MAX(panels, 1) + 1);
    int32_t group = (work->tokens + groups - 1) / groups;
    return (group + DP_PACK_TOKENS - 1) / DP_PACK_TOKENS * DP_PACK_TOKENS;
}

dp_status dp_fast_matmul(dp_cpu_run *run, const dp_op *op, const dp_cpu_kernels *kernels) {
    const dp_weight *w = &run->program->weights[op->weight];
    TRY(check_dtype(w));
    int32_t rows = dp_cpu_rows(run, op->dst), threads = dp_pool_threads(run->pool);
    if (rows == 0) return DP_OK;
    bool pack = packs(kernels, w) && rows >= kernels->panel_tokens;
    if (!pack) point_at_rows(run, kernels, op, rows);
    for (int32_t t = 0; t < rows; t++) run->fast->y[t] = run->slots[op->dst] + (size_t)t * (size_t)w->rows;
    matmul_work work = {.kernels = kernels, .fast = run->fast, .weight = w, .bias = dp_ref_vector(run, op->bias), .tokens = rows};
    if (pack) TRY(dp_fast_pack_slot(run, kernels, op, rows, &work.packed));
    work.group = group_of_tokens(&work, threads);
    int32_t groups = (rows + work.group - 1) / work.group;
    cut_rows(&work, groups, threads);
    dp_pool_run(run->pool, matmul_task, &work, groups * work.chunks);
    return DP_OK;
}

/* ---- experts ---- */

/* Counting sort of (token, choice) pairs into order, starts and active; *active counts the latter. */
static dp_status sort_pairs(const dp_cpu_run *run, const dp_weight *w, const int32_t *ids, int32_t pairs, int32_t *active) {
    struct dp_cpu_fast *fast = run->fast;
    memset(fast->starts, 0, ((size_t)w->experts + 1) * sizeof *fast->starts);
    for (int32_t p = 0; p < pairs; p++) {
        if (ids[p] < 0 || ids[p] >= w->experts)
            return dp_fail(DP_E_ARG, "%s: expert %d chosen, there are %d", w->name, (int)ids[p], (int)w->experts);
        fast->starts[ids[p] + 1]++;
    }
    *active = 0;
    for (int32_t e = 0; e < w->experts; e++) {
        if (fast->starts[e + 1] && (!run->only || run->only[e])) fast->active[(*active)++] = e;
        fast->starts[e + 1] += fast->starts[e];
    }
    for (int32_t p = pairs - 1; p >= 0; p--) fast->order[--fast->starts[ids[p] + 1]] = p;
    /* each start has moved down to where its expert begins: shift back by one expert */
    for (int32_t e = 0; e < w->experts; e++) fast->starts[e] = fast->starts[e + 1];
    fast->starts[w->experts] = pairs;
    return DP_OK;
}

dp_status dp_fast_moe_matmul(dp_cpu_run *run, const dp_op *op, const dp_cpu_kernels *kernels) {
    struct dp_cpu_fast *fast = run->fast;
    const dp_weight *w = &run->program->weights[op->weight];
    TRY(check_dtype(w));
    int32_t k = op->moe_matmul.k, pairs = run->step->count * k, active = 0;
    TRY(sort_pairs(run, w, (const int32_t *)(const void *)run->slots[op->src2], pairs, &active));
    if (active == 0) return DP_OK;
    point_at_rows(run, kernels, op, op->moe_matmul.per_expert ? pairs : run->step->count);
    for (int32_t i = 0; i < pairs; i++) {
        int32_t p = fast->order[i];
        fast->pair_x[i] = fast->x[op->moe_matmul.per_expert ? p : p / k];
        fast->y[i] = run->slots[op->dst] + (size_t)p * (size_t)w->rows;
    }
    matmul_work work = {.kernels = kernels, .fast = fast, .weight = w, .bias = dp_ref_vector(run, op->bias)};
    if (packs(kernels, w) && pairs >= kernels->panel_tokens) {
        TRY(dp_fast_pack_experts(run, kernels, op, active));
        work.packed = fast->experts.blocks;
    }
    cut_rows(&work, active, dp_pool_threads(run->pool));
    dp_pool_run(run->pool, expert_task, &work, active * work.chunks);
    return DP_OK;
}

/* ---- products per head ---- */

typedef struct heads_job {
    dp_cpu_run *run;
    const dp_op *op;
    const dp_cpu_kernels *kernels;
} heads_job;

static void head_task(void *context, int32_t head, int32_t thread) {
    const heads_job *job = context;
    job->kernels->head(job->run, job->op, head, (float *)(void *)dp_fast_scratch(job->run->fast, thread));
}

dp_status dp_fast_head_matmul(dp_cpu_run *run, const dp_op *op, const dp_cpu_kernels *kernels) {
    const dp_weight *w = &run->program->weights[op->weight];
    if ((size_t)w->cols * sizeof(float) > run->fast->scratch_bytes || !dp_dtype_get(w->dtype)->dequantize)
        return dp_ref_head_matmul(run, op);
    heads_job job = {run, op, kernels};
    dp_pool_run(run->pool, head_task, &job, op->head_matmul.heads);
    return DP_OK;
}
