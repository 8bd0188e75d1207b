/* fast_pack.c: activations rearranged for kernels that multiply blocks of tokens (dp_pack_fn): those of a slot once for
 * all plain products with it, those of experts in the order of their pairs. The memory is taken at first use. */
#include "cpu/fast.h"

enum { CACHE_LINE = 64 };

static dp_status reserve(dp_packed *packed, size_t bytes) {
    if (packed->bytes >= bytes) return DP_OK;
    dp_free(packed->memory);
    *packed = (dp_packed){0};
    packed->memory = dp_malloc(bytes + CACHE_LINE);
    if (!packed->memory) return dp_no_memory(bytes + CACHE_LINE);
    packed->bytes = bytes;
    packed->blocks = (uint8_t *)packed->memory + (CACHE_LINE - (uintptr_t)packed->memory % CACHE_LINE);
    return DP_OK;
}

typedef struct pack_work {
    dp_pack_fn pack;
    const struct dp_cpu_fast *fast;
    uint8_t *blocks;
    const float *x;      /* row 0 of the slot */
    int32_t cols, parts;
    int32_t rows;        /* plain */
    int32_t divisor;     /* experts: pairs that share a row of the slot */
    int32_t fewest;      /* experts: those with fewer tokens are not packed */
} pack_work;

/* Block `block` from tokens [from, to): rows of the slot as they lie, or as `order` says. */
static void pack_block(const pack_work *work, size_t block, int32_t from, int32_t to, const int32_t *order) {
    const float *x[DP_PACK_TOKENS];
    for (int32_t t = from; t < to; t++)
        x[t - from] = work->x + (size_t)(order ? order[t] / work->divisor : t) * (size_t)work->cols;
    work->pack(x, to - from, work->cols, work->parts, work->blocks + block * dp_pack_bytes(work->cols, work->parts));
}

static void slot_task(void *context, int32_t index, int32_t thread) {
    (void)thread;
    const pack_work *work = context;
    int32_t from = index * DP_PACK_TOKENS;
    pack_block(work, (size_t)index, from, DP_MIN(from + DP_PACK_TOKENS, work->rows), NULL);
}

dp_status dp_fast_pack_slot(dp_cpu_run *run, const dp_cpu_kernels *kernels, const dp_op *op, int32_t rows, const uint8_t **out) {
    const dp_weight *w = &run->program->weights[op->weight];
    dp_packed *packed = &run->fast->acts[op->src].packed;
    int32_t blocks = (rows + DP_PACK_TOKENS - 1) / DP_PACK_TOKENS, parts = dp_pack_parts(w->dtype);
    if (packed->valid_parts != parts) {
        TRY(reserve(packed, (size_t)blocks * dp_pack_bytes(w->cols, parts)));
        pack_work work = {.pack = kernels->pack,
                          .blocks = packed->blocks,
                          .x = run->slots[op->src],
                          .cols = w->cols,
                          .parts = parts,
                          .rows = rows};
        dp_pool_run(run->pool, slot_task, &work, blocks);
        packed->valid_parts = parts;
    }
    *out = packed->blocks;
    return DP_OK;
}

/* An expert's blocks start where no earlier expert's can end: n tokens fill at most n / 16 + 1 blocks. */
size_t dp_fast_expert_block(const struct dp_cpu_fast *fast, int32_t index) {
    return (size_t)(fast->starts[fast->active[index]] / DP_PACK_TOKENS + index);
}

static void expert_task(void *context, int32_t index, int32_t thread) {
    (void)thread;
    const pack_work *work = context;
    int32_t expert = work->fast->active[index], start = work->fast->starts[expert], end = work->fast->starts[expert + 1];
    if (end - start < work->fewest) return;
    size_t block = dp_fast_expert_block(work->fast, index);
    for (int32_t t = start; t < end; t += DP_PACK_TOKENS) pack_block(work, block++, t, DP_MIN(t + DP_PACK_TOKENS, end), work->fast->order);
}

dp_status dp_fast_pack_experts(dp_cpu_run *run, const dp_cpu_kernels *kernels, const dp_op *op, int32_t active) {
    const dp_weight *w = &run->program->weights[op->weight];
    struct dp_cpu_fast *fast = run->fast;
    int32_t parts = dp_pack_parts(w->dtype), pairs = run->step->count * op->moe_matmul.k;
    TRY(reserve(&fast->experts, (size_t)(pairs / DP_PACK_TOKENS + active + 1) * dp_pack_bytes(w->cols, parts)));
    pack_work work = {.pack = kernels->pack,
                      .fast = fast,
                      .blocks = fast->experts.blocks,
                      .x = run->slots[op->src],
                      .cols = w->cols,
                      .parts = parts};
    work.divisor = op->moe_matmul.per_expert ? 1 : op->moe_matmul.k;
    work.fewest = kernels->panel_tokens;
    dp_pool_run(run->pool, expert_task, &work, active);
    return DP_OK;
}
