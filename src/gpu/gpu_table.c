/* gpu_table.c: the table that tells the device of each expert which slot it is in, and what a token is to use instead of what the
 * router chooses. Where the device chooses slots by itself, it also stands there how experts were used, and the device keeps it. */
#include "gpu/gpu_ahead.h"

/* ---- life ---- */

/* The clock, then the last use and the score of each expert. */
static size_t use_words(const dp_gpu_block *b) { return 1 + 2 * (size_t)b->experts; }

static void lay_out(dp_plan *plan, dp_gpu_ahead *a, size_t ids) {
    for (size_t i = 0; i < plan->block_count; i++) {
        plan->blocks[i].table = (uint32_t)a->slot_words;
        a->slot_words += (size_t)plan->blocks[i].experts;
    }
    a->words = a->uses = a->slot_words + ids;
    for (size_t i = 0; a->fetched && i < plan->block_count; i++) {
        plan->blocks[i].uses = (uint32_t)a->words;
        a->words += use_words(&plan->blocks[i]);
    }
}

dp_status dp_gpu_table_new(dp_plan *plan, size_t ids) {
    dp_gpu_ahead *a = plan->ahead;
    lay_out(plan, a, ids);
    a->changes = UINT64_MAX;
    a->slots = dp_malloc(a->words * sizeof *a->slots);
    if (!a->slots) return dp_no_memory(a->words * sizeof *a->slots);
    memset(a->slots, 0xFF, a->words * sizeof *a->slots); /* DP_GPU_NO_PLACE */
    return dp_gpu_storage_new(plan->backend->gpu, a->words * 4, "table", &a->table);
}

void dp_gpu_table_free(dp_plan *plan) {
    dp_gpu_buffer_free(plan->backend->gpu, plan->ahead->table);
    dp_free(plan->ahead->slots);
}

/* ---- slots ---- */

static dp_status write_table(dp_plan *plan, size_t from, size_t words) {
    return dp_gpu_write(plan->backend->gpu, plan->ahead->table, from * 4, plan->ahead->slots + from, words * 4);
}

static void copy_row(dp_plan *plan, const dp_gpu_block *b) {
    dp_pager *pager = plan->program->pager;
    memcpy(plan->ahead->slots + b->table, pager->api->where(pager, b->layer),
           (size_t)b->experts * sizeof(int32_t)); /* -1: DP_GPU_NO_PLACE */
}

static void copy_uses(dp_plan *plan, const dp_gpu_block *b) {
    dp_page_uses uses = plan->program->pager->api->uses(plan->program->pager, b->layer);
    uint32_t *words = plan->ahead->slots + b->uses;
    words[0] = (uint32_t)uses.clock;
    for (int32_t e = 0; e < b->experts; e++) {
        float score = (float)uses.score[e];
        words[1 + e] = (uint32_t)uses.last[e];
        memcpy(&words[1 + b->experts + e], &score, sizeof score);
    }
}

dp_status dp_gpu_table_refresh(dp_plan *plan) {
    dp_gpu_ahead *a = plan->ahead;
    dp_pager *pager = plan->program->pager;
    if (a->changes == pager->changes) return DP_OK;
    for (size_t i = 0; i < plan->block_count; i++) {
        if (a->fetched) TRY(dp_gpu_fetch_fill(plan, &plan->blocks[i]));
        copy_row(plan, &plan->blocks[i]);
        if (a->fetched) copy_uses(plan, &plan->blocks[i]);
    }
    TRY(write_table(plan, 0, a->words));
    a->changes = pager->changes;
    return DP_OK;
}

dp_status dp_gpu_table_tell(dp_plan *plan, const dp_gpu_block *b) {
    dp_pager *pager = plan->program->pager;
    if (plan->ahead->changes == pager->changes) return DP_OK;
    copy_row(plan, b);
    plan->ahead->changes = pager->changes;
    return write_table(plan, b->table, (size_t)b->experts);
}

/* ---- what is wanted instead of the router's choice ---- */

uint32_t *dp_gpu_table_wanted(const dp_plan *plan, const dp_gpu_block *b) { return plan->ahead->slots + plan->ahead->slot_words + b->choice; }

dp_status dp_gpu_table_tell_wanted(dp_plan *plan, const dp_gpu_block *b) {
    return write_table(plan, plan->ahead->slot_words + b->choice, (size_t)b->k);
}

dp_status dp_gpu_table_prepare_wanted(dp_plan *plan, const dp_step *step) {
    dp_gpu_ahead *a = plan->ahead;
    bool blind = step->routing && step->routing_blind;
    if (!blind && !a->wanting) return DP_OK;
    for (size_t i = 0; i < plan->block_count; i++) {
        const dp_gpu_block *b = &plan->blocks[i];
        uint32_t *ids = dp_gpu_table_wanted(plan, b);
        memset(ids, 0xFF, (size_t)b->k * sizeof *ids);
        if (blind) step->routing(step->routing_user, b->layer, (int32_t *)ids, 1, b->k);
        for (int32_t c = 0; blind && c < b->k; c++)
            if (ids[c] >= (uint32_t)b->experts)
                return dp_fail(DP_E_ARG, "layer %d: expert %d chosen, there are %d", (int)b->layer, (int)ids[c], (int)b->experts);
    }
    a->wanting = blind;
    return write_table(plan, a->slot_words, a->uses - a->slot_words);
}
