/* gpu_fetch.c: a device that fetches experts by itself. Behind each router it gives slots to what the token chose and lacks
 * (kernels/place_fetch.wgsl), and reads it there from its home in host memory (gpu_home.c, kernels/fetch.wgsl): so a token is
 * one submit, whatever it lacks. What came where the host learns from the record, with the token. Longer steps go as elsewhere
 * (gpu_paged.c), but that the host has experts copied from their home. */
#include "gpu/gpu_ahead.h"

enum {
    FETCH_GROUPS = 128, /* that share an expert: enough to keep the bus busy */
    BIND_ALIGN = 256    /* the most that WebGPU lets a device ask for */
};

bool dp_gpu_fetches(const dp_program *program) { return program->pager && program->pager->homed; }

uint64_t dp_gpu_fetch_bytes(void) { return 2 * DP_GPU_HOME_WEIGHTS * BIND_ALIGN; }

/* ---- planning ---- */

/* Bindings and ends of an expert's parts, which the kernel has six of. */
static dp_status bind_parts(dp_planner *p, const dp_gpu_home *h, dp_gpu_range *ranges, uint32_t *ends) {
    const dp_program *program = p->plan->program;
    dp_gpu_buffer unused;
    uint32_t count = 0, end = 0;
    for (int32_t k = 0; k < h->weight_count; k++) {
        const dp_gpu_part *part = ((const dp_gpu_weight *)program->device)[h->weights[k]].parts;
        dp_repack_size size = dp_gpu_part_bytes(&program->weights[h->weights[k]], 1);
        ranges[count] = dp_decode_whole(part->quants);
        ends[count++] = end += (uint32_t)(size.quants / 16);
        if (!size.scales) continue;
        ranges[count] = dp_decode_whole(part->scales);
        ends[count++] = end += (uint32_t)(size.scales / 16);
    }
    TRY(dp_decode_buffer(p, dp_gpu_fetch_bytes(), NULL, "no part", &unused));
    for (uint32_t i = count; i < 2 * DP_GPU_HOME_WEIGHTS; i++) { /* written by none, but no two bindings may be the same */
        ranges[i] = (dp_gpu_range){unused, i * BIND_ALIGN, 16};
        ends[i] = end;
    }
    return DP_OK;
}

dp_status dp_gpu_fetch_add(dp_planner *p, int32_t block) {
    const dp_plan *plan = p->plan;
    const dp_gpu_ahead *a = plan->ahead;
    const dp_gpu_block *b = &plan->blocks[block - 1];
    const dp_gpu_home *h = dp_gpu_home_of(plan->program, b->weights[0]);
    dp_recipe r = {.variant = {DP_KERNEL_FETCH, DP_F32, {0}},
                   .ranges = {{h->buffer, 0, (uint64_t)h->expert_bytes * (uint64_t)h->experts}, dp_decode_whole(a->record)},
                   .range_count = 2 + 2 * DP_GPU_HOME_WEIGHTS,
                   .params = {DP_AHEAD_IDS + b->choice, (uint32_t)a->fetched + b->choice},
                   .grid = {FETCH_GROUPS, (uint32_t)b->k, 1},
                   .planned = {.rows = DP_GRID_TOKENS, .axis = 2, .at_most = 1}};
    TRY(bind_parts(p, h, r.ranges + 2, r.params + 2));
    int32_t around = p->block;
    p->block = block; /* where a step that is looked at stops, in front of it */
    dp_status status = dp_gpu_plan_add(p, &r);
    p->block = around;
    return status;
}

/* ---- slots ---- */

dp_status dp_gpu_fetch_fill(dp_plan *plan, const dp_gpu_block *b) {
    dp_pager *pager = plan->program->pager;
    const int32_t *slots = pager->api->where(pager, b->layer);
    int32_t *ids = dp_malloc((size_t)b->experts * sizeof *ids), empty = pager->api->slots(pager, b->layer), count = 0;
    if (!ids) return dp_no_memory((size_t)b->experts * sizeof *ids);
    for (int32_t e = 0; e < b->experts; e++) empty -= slots[e] >= 0;
    for (int32_t e = 0; e < b->experts && count < empty; e++)
        if (slots[e] < 0) ids[count++] = e;
    dp_status status = count ? dp_gpu_paged_bring_all(plan, b, ids, count) : DP_OK;
    dp_free(ids);
    return status;
}

void dp_gpu_fetch_take(dp_plan *plan, const dp_gpu_block *b) {
    dp_gpu_ahead *a = plan->ahead;
    dp_pager *pager = plan->program->pager;
    const int32_t *record = (const int32_t *)(const void *)a->used;
    pager->api->fetched(pager, b->layer, record + DP_AHEAD_IDS + b->choice, record + a->fetched + b->choice, (size_t)b->k);
    a->changes = pager->changes; /* the device knows */
}

/* ---- tokens under way ---- */

bool dp_gpu_fetch_flies(const dp_plan *plan, const dp_step *step) {
    return dp_gpu_fetches(plan->program) && !dp_gpu_ahead_is_watched(plan, step);
}

dp_status dp_gpu_fetch_begin(dp_plan *plan, const dp_step *step, dp_gpu_range *record) {
    TRY(dp_gpu_table_refresh(plan));
    *record = (dp_gpu_range){plan->ahead->record, 0, plan->ahead->used_words * 4};
    return dp_gpu_table_prepare_wanted(plan, step);
}

dp_status dp_gpu_fetch_end(dp_plan *plan, dp_gpu_read read, double submitted, int32_t *id) {
    dp_pager *pager = plan->program->pager;
    double start = dp_host_seconds();
    TRY(dp_gpu_read_end(plan->backend->gpu, read, plan->ahead->used));
    dp_page_token token = {.wait = dp_host_seconds() - start, .submit = submitted, .waits = 1};
    token.seconds = token.wait + token.submit;
    pager->api->token(pager, &token);
    for (size_t i = 0; i < plan->block_count; i++) dp_gpu_fetch_take(plan, &plan->blocks[i]);
    memcpy(id, &plan->ahead->used[DP_AHEAD_DRAWN], sizeof *id);
    return DP_OK;
}

/* Nothing in slots can be relied on then. A step that was under way has ended first: what it was promised it does not get. */
void dp_gpu_fetch_lost(dp_plan *plan) {
    dp_pager *pager = plan->program->pager;
    if (!dp_gpu_fetches(plan->program)) return;
    pager->api->done(pager);
    pager->api->forget(pager);
}
