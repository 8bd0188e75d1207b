/* gpu_paged.c: steps of a model whose experts share slots on the device. A step of some tokens stops before each layer's experts:
 * the host reads which ones the router chose, has the pager bring those that are in no slot, and tells the products where each
 * is (plan->places). Products skip pairs without a place, so that a step goes through a layer's experts in groups; a pair's
 * result does not depend on its group. Single tokens: gpu_ahead.c. */
#include "base/hash.h"
#include "gpu/gpu_ahead.h"
#include "graph/pager.h"

/* ---- planning ---- */

static bool is_part(const dp_op *op) { return op->kind == DP_OP_MOE_MATMUL || op->kind == DP_OP_ACT_MUL; }

static dp_status add_block(dp_plan *plan, size_t route) {
    const dp_program *program = plan->program;
    const dp_op *op = &program->ops[route];
    if (!dp_grow((void **)&plan->blocks, &plan->block_capacity, plan->block_count + 1, sizeof *plan->blocks))
        return dp_no_memory(sizeof *plan->blocks);
    dp_gpu_block b = {.layer = op->layer, .k = op->route.k, .first = route + 1, .end = route + 1, .ids = op->dst2};
    for (; b.end < program->op_count && is_part(&program->ops[b.end]); b.end++) {
        const dp_op *part = &program->ops[b.end];
        if (part->kind != DP_OP_MOE_MATMUL) continue;
        if (b.weight_count == DP_GPU_BLOCK_WEIGHTS)
            return dp_fail(DP_E_UNSUPPORTED, "%s: an expert of more than %d matrices", part->label,
                           (int)DP_GPU_BLOCK_WEIGHTS);
        b.weights[b.weight_count++] = part->weight;
        b.experts = program->weights[part->weight].experts;
    }
    plan->blocks[plan->block_count++] = b;
    return DP_OK;
}

dp_status dp_gpu_paged_new(dp_plan *plan) {
    const dp_program *program = plan->program;
    dp_gpu *gpu = plan->backend->gpu;
    int32_t k = 0;
    if (!program->pager) return DP_OK;
    for (size_t i = 0; i < program->op_count; i++)
        if (program->ops[i].kind == DP_OP_ROUTE) TRY(add_block(plan, i));
    if (!plan->block_count) return DP_OK;
    for (size_t i = 0; i < plan->block_count; i++) k = DP_MAX(k, plan->blocks[i].k);
    size_t pairs = (size_t)plan->size.tokens * (size_t)k;
    plan->pairs = dp_malloc(pairs * sizeof *plan->pairs);
    if (!plan->pairs) return dp_no_memory(pairs * sizeof *plan->pairs);
    TRY(dp_gpu_storage_new(gpu, (uint64_t)pairs * 4, "places", &plan->places));
    TRY(dp_gpu_buffer_new(gpu, 4 * (uint64_t)k * 4, "placed", &plan->placed));
    return dp_gpu_ahead_new(plan);
}

void dp_gpu_paged_free(dp_plan *plan) {
    dp_gpu_ahead_free(plan);
    dp_gpu_buffer_free(plan->backend->gpu, plan->places);
    dp_gpu_buffer_free(plan->backend->gpu, plan->placed);
    dp_free(plan->pairs);
    dp_free(plan->blocks);
}

int32_t dp_gpu_block_of(const dp_plan *plan, size_t op) {
    for (size_t i = 0; i < plan->block_count; i++)
        if (op >= plan->blocks[i].first && op < plan->blocks[i].end) return (int32_t)i + 1;
    return 0;
}

dp_gpu_range dp_gpu_expert_ids(const dp_planner *p) {
    return (dp_gpu_range){p->block ? p->plan->places : p->plan->slots[p->op->src2], 0, 0};
}

uint32_t dp_gpu_expert_room(const dp_program *program, const dp_op *op) {
    dp_pager *pager = program->pager;
    return (uint32_t)(pager ? pager->api->slots(pager, op->layer) : program->weights[op->weight].experts);
}

/* ---- where the host cannot wait: a step is paused at a readback, and made again as a whole ---- */

/* Two steps with the same id do the same, but for tokens drawn on the device, which come one by one. */
static uint64_t step_id(const dp_step *step) {
    uint64_t id = step->tokens ? dp_fnv1a64(step->tokens, (size_t)step->count * sizeof *step->tokens) : 0;
    id = dp_splitmix64(id ^ (uint64_t)step->position);
    return dp_splitmix64(id ^ (uint64_t)step->count << 32 ^ (uint64_t)step->outputs);
}

void dp_gpu_paged_forget(dp_plan *plan) {
    if (plan->paused.under_way) dp_gpu_read_drop(plan->backend->gpu, plan->paused.read);
    plan->paused.under_way = false;
}

bool dp_gpu_paged_resumes(dp_plan *plan, const dp_step *step) {
    bool same = plan->paused.under_way && plan->paused.step == step_id(step) && plan->kv == step->kv;
    if (!same) dp_gpu_paged_forget(plan);
    return same;
}

dp_status dp_gpu_paged_await(dp_plan *plan, const dp_step *step, dp_gpu_read read, void *data) {
    dp_status status = dp_gpu_read_end(plan->backend->gpu, read, data);
    plan->paused.under_way = status == DP_WAITING;
    plan->paused.read = read;
    plan->paused.step = step_id(step);
    return status;
}

/* ---- a layer's experts ---- */

typedef struct block_run {
    dp_plan *plan;
    const dp_step *step;
    const dp_gpu_block *block;
    size_t from, to; /* its dispatches in the queue */
    size_t pairs;
    bool resumes;    /* its choice is being read already */
} block_run;

static dp_status read_ids(const block_run *run) {
    dp_gpu *gpu = run->plan->backend->gpu;
    dp_gpu_read read = run->plan->paused.read;
    if (!run->resumes) TRY(dp_gpu_read_begin(gpu, run->plan->slots[run->block->ids], 0, run->pairs * 4, &read));
    run->plan->paused.from = run->from;
    TRY(dp_gpu_paged_await(run->plan, run->step, read, run->plan->pairs));
    if (!run->step->routing) return DP_OK;
    int32_t *ids = (int32_t *)run->plan->pairs;
    run->step->routing(run->step->routing_user, run->block->layer, ids, (size_t)run->step->count, run->block->k);
    return dp_gpu_write(gpu, run->plan->slots[run->block->ids], 0, ids, run->pairs * 4);
}

dp_status dp_gpu_paged_bring(const dp_plan *plan, const dp_gpu_block *b, const dp_page_group *group) {
    const dp_gpu_home *home = dp_gpu_home_of(plan->program, b->weights[0]);
    dp_gpu_puts puts = {.backend = plan->backend, .program = plan->program};
    if (home) return dp_gpu_home_bring(plan->backend, plan->program, home, group);
    for (int32_t e = 0; e < b->experts; e++) {
        if (!group->member[e] || !group->arrives[e]) continue;
        for (int32_t i = 0; i < b->weight_count; i++) TRY(dp_gpu_put(&puts, b->weights[i], e, group->slot[e]));
    }
    return dp_gpu_put_end(&puts);
}

static dp_status bring_groups(dp_plan *plan, const dp_gpu_block *b, const int32_t *ids, int32_t count) {
    dp_pager *pager = plan->program->pager;
    dp_page_group group;
    TRY(pager->api->want(pager, b->layer, ids, (size_t)count));
    do {
        TRY(pager->api->next(pager, &group));
        TRY(dp_gpu_paged_bring(plan, b, &group));
    } while (group.count);
    return DP_OK;
}

dp_status dp_gpu_paged_bring_all(dp_plan *plan, const dp_gpu_block *b, const int32_t *ids, int32_t count) {
    dp_status status = bring_groups(plan, b, ids, count);
    plan->program->pager->api->done(plan->program->pager);
    return status;
}

static dp_status submit(const block_run *run) {
    dp_step quiet = *run->step;
    quiet.trace = NULL;
    return dp_gpu_step_submit(run->plan, &quiet, run->from, run->to);
}

/* Some tokens, group by group. */
static dp_status run_groups(const block_run *run) {
    dp_pager *pager = run->plan->program->pager;
    uint32_t *places = dp_malloc(run->pairs * sizeof *places);
    dp_page_group group;
    dp_status status = places ? DP_OK : dp_no_memory(run->pairs * sizeof *places);
    while (status == DP_OK) {
        status = pager->api->next(pager, &group);
        if (status != DP_OK || !group.count) break;
        status = dp_gpu_paged_bring(run->plan, run->block, &group);
        for (size_t i = 0; i < run->pairs; i++) {
            uint32_t e = run->plan->pairs[i];
            places[i] = group.member[e] ? (uint32_t)group.slot[e] | e << 16 : DP_GPU_NO_PLACE;
        }
        if (status == DP_OK) status = dp_gpu_write(run->plan->backend->gpu, run->plan->places, 0, places, run->pairs * 4);
        if (status == DP_OK) status = submit(run);
    }
    dp_free(places);
    return status;
}

static dp_status run_block(const block_run *run) {
    dp_pager *pager = run->plan->program->pager;
    TRY(read_ids(run));
    TRY(pager->api->want(pager, run->block->layer, (const int32_t *)run->plan->pairs, run->pairs));
    TRY(run_groups(run));
    pager->api->done(pager);
    return dp_gpu_step_trace(run->plan, run->step, run->from, run->to);
}

/* ---- a step ---- */

static int32_t block_at(const dp_plan *plan, size_t at) { return plan->planned[plan->queue_ops[at]].block; }

static dp_status run_blocks(dp_plan *plan, const dp_step *step, size_t count, size_t *done) {
    bool resumes = dp_gpu_paged_resumes(plan, step);
    *done = resumes ? plan->paused.from : 0;
    for (size_t from = *done; from < count; from++) {
        int32_t number = block_at(plan, from);
        if (!number) continue;
        block_run run = {plan, step, &plan->blocks[number - 1], from, from, 0, resumes};
        resumes = false;
        run.pairs = (size_t)step->count * (size_t)run.block->k;
        while (run.to < count && block_at(plan, run.to) == number) run.to++;
        TRY(dp_gpu_step_submit(plan, step, *done, from));
        TRY(run_block(&run));
        *done = run.to;
        from = run.to - 1;
    }
    return DP_OK;
}

dp_status dp_gpu_paged_run(dp_plan *plan, const dp_step *step, size_t count, size_t *done) {
    *done = 0;
    if (!plan->block_count) return DP_OK;
    TRY(dp_gpu_draws_land(plan->backend));
    if (step->count == 1) {
        *done = count;
        return dp_gpu_paged_draw(plan, step, count, 0, NULL);
    }
    dp_status status = run_blocks(plan, step, count, done);
    if (status != DP_OK) plan->program->pager->api->done(plan->program->pager);
    return status;
}

dp_status dp_gpu_paged_draw(dp_plan *plan, const dp_step *step, size_t count, size_t draw, int32_t *id) {
    TRY(dp_gpu_draws_land(plan->backend));
    dp_status status = dp_gpu_ahead_run(plan, step, count, draw, id);
    if (status != DP_OK && status != DP_WAITING) dp_gpu_fetch_lost(plan);
    if (status != DP_OK) plan->program->pager->api->done(plan->program->pager);
    return status;
}
