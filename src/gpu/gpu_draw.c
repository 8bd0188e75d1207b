/* gpu_draw.c: tokens drawn on the device. A draw is a few dispatches behind a step's own (kernels/sample*.wgsl), in the same
 * submit; they leave the token, its position and the count of draws where the next step reads them, so that the host sends
 * nothing per token and reads the id, four bytes, some steps later. */
#include "gpu/gpu_plan.h"

enum { CHUNK = 1024 }; /* as in kernels/sample.wgsl */

struct dp_gpu_draws {
    dp_gpu_buffer best, ids, drawn;
    dp_gpu_dispatch dispatches[DP_GPU_DRAW_DISPATCHES];
    size_t dispatch_count;
    uint32_t params;
    bool has_params;
    int32_t ids_capacity;
    dp_gpu_read reads[DP_DRAWS_MOST]; /* a ring */
    size_t first, count;
};

static uint32_t bits(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }
static dp_gpu_range whole(dp_gpu_buffer buffer) { return (dp_gpu_range){buffer, 0, 0}; }

static void forget_dispatches(dp_plan *plan) {
    dp_gpu_draws *d = plan->draws;
    for (size_t i = 0; i < d->dispatch_count; i++) dp_gpu_bindings_free(plan->backend->gpu, d->dispatches[i].bindings);
    d->dispatch_count = 0;
}

static void drop_reads(dp_plan *plan) {
    dp_gpu_draws *d = plan->draws;
    for (; d && d->count; d->count--, d->first = (d->first + 1) % DP_DRAWS_MOST) dp_gpu_read_drop(plan->backend->gpu, d->reads[d->first]);
}

void dp_gpu_draws_free(dp_plan *plan) {
    dp_gpu_draws *d = plan->draws;
    if (!d) return;
    drop_reads(plan);
    forget_dispatches(plan);
    if (d->has_params) dp_gpu_params_give(plan->backend, d->params);
    dp_gpu_buffer_free(plan->backend->gpu, d->best);
    dp_gpu_buffer_free(plan->backend->gpu, d->ids);
    dp_gpu_buffer_free(plan->backend->gpu, d->drawn);
    dp_free(d);
    plan->draws = NULL;
}

/* ---- setting up ---- */

static dp_status add(dp_plan *plan, dp_kernel kernel, const dp_gpu_range *ranges, size_t count, uint32_t groups) {
    dp_gpu_draws *d = plan->draws;
    dp_gpu_dispatch *dispatch = &d->dispatches[d->dispatch_count];
    *dispatch = (dp_gpu_dispatch){.params = d->params, .grid = {groups, 1, 1}};
    TRY(dp_kernels_get(plan->backend->kernels, &(dp_kernel_variant){kernel, DP_F32, {0}}, &dispatch->pipeline));
    TRY(dp_gpu_bindings_new(plan->backend->gpu, dispatch->pipeline, ranges, count, &dispatch->bindings));
    d->dispatch_count++;
    return DP_OK;
}

static dp_status make_dispatches(dp_plan *plan, uint32_t groups) {
    const dp_gpu_draws *d = plan->draws;
    dp_gpu_buffer ids = d->ids ? d->ids : plan->backend->sink;
    const dp_gpu_range top[] = {whole(plan->step), whole(plan->slots[plan->program->logits]), whole(d->ids ? d->ids : plan->backend->nothing),
                                whole(plan->backend->sink), whole(d->best)};
    const dp_gpu_range pick[] = {whole(plan->step), whole(d->best), whole(plan->tokens), whole(ids), whole(d->drawn)};
    forget_dispatches(plan);
    TRY(add(plan, DP_KERNEL_SAMPLE_TOP, top, DP_COUNT(top), groups));
    return add(plan, DP_KERNEL_SAMPLE_PICK, pick, DP_COUNT(pick), 1);
}

static dp_status make(dp_plan *plan) {
    dp_gpu *gpu = plan->backend->gpu;
    uint32_t groups = ((uint32_t)plan->program->vocab + CHUNK - 1) / CHUNK;
    plan->draws = dp_calloc(1, sizeof *plan->draws);
    if (!plan->draws) return dp_no_memory(sizeof *plan->draws);
    TRY(dp_gpu_params_take(plan->backend, &plan->draws->params));
    plan->draws->has_params = true;
    TRY(dp_gpu_buffer_new(gpu, (uint64_t)groups * 8, "best", &plan->draws->best));
    return dp_gpu_buffer_new(gpu, 4, "drawn", &plan->draws->drawn);
}

/* The ids that the repetition penalty looks at: those of the last positions; draws add theirs. */
static dp_status bring_ids(dp_plan *plan, const dp_draw_rules *rules, int32_t window) {
    dp_gpu_draws *d = plan->draws;
    dp_gpu *gpu = plan->backend->gpu;
    if (d->ids_capacity < rules->context) {
        forget_dispatches(plan);
        dp_gpu_buffer_free(gpu, d->ids);
        d->ids = 0;
        d->ids_capacity = 0;
        TRY(dp_gpu_buffer_new(gpu, (uint64_t)rules->context * 4, "ids", &d->ids));
        d->ids_capacity = rules->context;
    }
    int32_t from = rules->count > window ? rules->count - window : 0;
    if (from == rules->count) return DP_OK;
    return dp_gpu_write(gpu, d->ids, (uint64_t)from * 4, rules->ids + from, (size_t)(rules->count - from) * 4);
}

static dp_status begin(dp_plan *plan, const dp_draw_rules *rules) {
    const dp_sampling *s = &rules->sampling;
    bool penalty = s->repetition_penalty != 0 && s->repetition_penalty != 1, race = s->temperature > 0;
    int32_t window = s->repeat_last ? s->repeat_last : 64;
    uint32_t groups = ((uint32_t)plan->program->vocab + CHUNK - 1) / CHUNK;
    bool cut = s->top_k > 0 && s->top_k < plan->program->vocab;
    if (race && (cut || (s->top_p > 0 && s->top_p < 1) || s->min_p > 0)) return dp_fail(DP_E_UNSUPPORTED, "top-k, top-p and min-p are not drawn on the GPU");
    if (!plan->draws) {
        dp_status status = make(plan);
        if (status != DP_OK) {
            dp_gpu_draws_free(plan);
            return status;
        }
    }
    dp_gpu_draws *d = plan->draws;
    if (penalty) TRY(bring_ids(plan, rules, window));
    if (!d->dispatch_count) TRY(make_dispatches(plan, groups));
    const uint32_t words[16] = {(uint32_t)plan->program->vocab, groups, race, penalty ? (uint32_t)window : 0, bits(s->temperature), bits(s->repetition_penalty),
                                (uint32_t)s->seed, (uint32_t)(s->seed >> 32)};
    TRY(dp_gpu_params(plan->backend->gpu, d->params, 1, words));
    const uint32_t place[2] = {(uint32_t)rules->count, 0}, drawn = (uint32_t)rules->drawn; /* as if behind a step of no tokens */
    TRY(dp_gpu_write(plan->backend->gpu, plan->step, 0, place, sizeof place));
    return dp_gpu_write(plan->backend->gpu, plan->step, 16, &drawn, sizeof drawn);
}

/* ---- drawing ---- */

/* While others are under way, one submit; else pieces, so that the device begins while the rest is encoded. */
static dp_status draw(dp_plan *plan, const dp_step *step) {
    dp_gpu_draws *d = plan->draws;
    dp_gpu *gpu = plan->backend->gpu;
    size_t count = 0, done = 0;
    if (!d || !d->dispatch_count) return dp_fail(DP_E_ARG, "a token is drawn before rules are set");
    if (d->count == DP_DRAWS_MOST) return dp_fail(DP_E_ARG, "more than %d draws under way", DP_DRAWS_MOST);
    if (step) TRY(dp_gpu_step_queue(plan, step, &count));
    for (; d->count == 0 && count - done > DP_GPU_SUBMIT_PIECE; done += DP_GPU_SUBMIT_PIECE)
        TRY(dp_gpu_submit(gpu, plan->queue + done, DP_GPU_SUBMIT_PIECE));
    const dp_gpu_dispatch *queue = d->dispatches;
    size_t total = d->dispatch_count;
    if (step) {
        memcpy(plan->queue + count, d->dispatches, d->dispatch_count * sizeof *d->dispatches);
        queue = plan->queue + done;
        total += count - done;
    }
    TRY(dp_gpu_submit_read(gpu, queue, total, &(dp_gpu_range){d->drawn, 0, 4}, &d->reads[(d->first + d->count) % DP_DRAWS_MOST]));
    d->count++;
    return dp_gpu_check(gpu);
}

static dp_status take(dp_plan *plan, int32_t *id) {
    dp_gpu_draws *d = plan->draws;
    if (!d || !d->count) return dp_fail(DP_E_ARG, "no draw is under way");
    dp_gpu_read read = d->reads[d->first];
    d->first = (d->first + 1) % DP_DRAWS_MOST;
    d->count--;
    return dp_gpu_read_end(plan->backend->gpu, read, id);
}

/* ---- the entries ---- */

dp_status dp_gpu_draw_begin(dp_plan *plan, const dp_draw_rules *rules) {
    dp_mutex_lock(plan->backend->lock);
    dp_status status = begin(plan, rules);
    dp_mutex_unlock(plan->backend->lock);
    return status;
}

dp_status dp_gpu_draw(dp_plan *plan, const dp_step *step) {
    dp_mutex_lock(plan->backend->lock);
    dp_status status = draw(plan, step);
    dp_mutex_unlock(plan->backend->lock);
    return status;
}

dp_status dp_gpu_drawn(dp_plan *plan, int32_t *id) {
    dp_mutex_lock(plan->backend->lock);
    dp_status status = take(plan, id);
    dp_mutex_unlock(plan->backend->lock);
    return status;
}

void dp_gpu_draw_end(dp_plan *plan) {
    dp_mutex_lock(plan->backend->lock);
    drop_reads(plan);
    dp_mutex_unlock(plan->backend->lock);
}
