/* gpu_draw.c: tokens drawn on the device. A draw is a few dispatches behind a step's own (kernels/sample*.wgsl), in the same
 * submit; they leave the token, its position and the count of draws where the next step reads them, so that the host sends
 * nothing per token and reads the id, four bytes, some steps later. Draws may wait for each other, to be one submit and one
 * readback: that is the host's work that they save. */
#include "gpu/gpu_ahead.h"

#include <stdio.h>

enum {
    CHUNK = 1024, /* as in kernels/sample.wgsl */
    PLACES = 16,  /* at least DP_DRAWS_MOST, a power of two */
    WORK_WORDS = 3 * 4096 + 8 + 3 * 1024 /* as in kernels/sample_bins.wgsl */
};

typedef enum draw_stage { TOP, WEIGH, KEEP, PICK } draw_stage;

typedef struct draw_read {
    dp_gpu_read read; /* 0: it comes with another's, or is not sent yet, or over */
    size_t draws;     /* whose ids it brings, from this one on */
    bool here;
    int32_t id;
    bool fetches;     /* what is read is a record (gpu_fetch.c) */
    double submitted; /* seconds that sending took */
} draw_read;

struct dp_gpu_draws {
    dp_gpu_buffer best, scaled, work, ids, drawn;
    dp_gpu_dispatch stages[DP_GPU_DRAW_DISPATCHES]; /* bindings 0: not made yet */
    dp_gpu_dispatch chosen[DP_GPU_DRAW_DISPATCHES]; /* those that the rules need */
    size_t chosen_count;
    uint32_t params, groups; /* groups: chunks of the vocabulary */
    bool has_params;
    int32_t ids_capacity;
    draw_read reads[DP_DRAWS_MOST]; /* a ring */
    size_t first, count;
    dp_gpu_dispatch *kept; /* of the last `unsent` draws */
    size_t kept_count, kept_capacity, unsent;
    uint32_t places; /* of `drawn`, a ring, too */
    uint32_t made; /* draws, those of earlier generations included */
};

static uint32_t bits(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }
static dp_gpu_range whole(dp_gpu_buffer buffer) { return (dp_gpu_range){buffer, 0, 0}; }

static void forget_stages(dp_plan *plan) {
    dp_gpu_draws *d = plan->draws;
    for (size_t i = 0; i < DP_GPU_DRAW_DISPATCHES; i++) dp_gpu_bindings_free(plan->backend->gpu, d->stages[i].bindings);
    memset(d->stages, 0, sizeof d->stages);
    d->chosen_count = 0;
}

/* Records are all wanted: what the device fetched stays fetched. */
static dp_status land(dp_plan *plan) {
    dp_gpu_draws *d = plan->draws;
    for (size_t i = 0; d && i < d->count; i++) {
        draw_read *r = &d->reads[(d->first + i) % DP_DRAWS_MOST];
        if (!r->read || !r->fetches) continue;
        dp_gpu_read read = r->read;
        r->read = 0;
        TRY(dp_gpu_fetch_end(plan, read, r->submitted, &r->id));
        r->here = true;
    }
    if (plan->backend->flying == plan) plan->backend->flying = NULL;
    return DP_OK;
}

static void drop_reads(dp_plan *plan) {
    dp_gpu_draws *d = plan->draws;
    if (land(plan) != DP_OK) dp_gpu_fetch_lost(plan);
    if (plan->backend->flying == plan) plan->backend->flying = NULL;
    for (; d && d->count; d->count--, d->first = (d->first + 1) % DP_DRAWS_MOST)
        if (d->reads[d->first].read) dp_gpu_read_drop(plan->backend->gpu, d->reads[d->first].read);
    if (d) d->unsent = d->kept_count = 0;
}

/* Where something failed, what the device fetched for it is not known: nothing under way is any good, nor what is in slots. */
static dp_status unless_lost(dp_plan *plan, dp_status status) {
    char message[512];
    if (status == DP_OK || status == DP_WAITING || !dp_gpu_fetches(plan->program)) return status;
    snprintf(message, sizeof message, "%s", dp_error_message());
    drop_reads(plan);
    dp_gpu_fetch_lost(plan);
    return dp_fail(status, "%s", message);
}

dp_status dp_gpu_draws_land(dp_gpu_backend *b) { return b->flying ? unless_lost(b->flying, land(b->flying)) : DP_OK; }

void dp_gpu_draws_free(dp_plan *plan) {
    dp_gpu_draws *d = plan->draws;
    if (!d) return;
    drop_reads(plan);
    forget_stages(plan);
    if (d->has_params) dp_gpu_params_give(plan->backend, d->params);
    const dp_gpu_buffer buffers[] = {d->best, d->scaled, d->work, d->ids, d->drawn == dp_gpu_ahead_drawn(plan) ? 0 : d->drawn};
    for (size_t i = 0; i < DP_COUNT(buffers); i++) dp_gpu_buffer_free(plan->backend->gpu, buffers[i]);
    dp_free(d->kept);
    dp_free(d);
    plan->draws = NULL;
}

/* ---- setting up ---- */

uint64_t dp_gpu_draws_bytes(const dp_program *program) {
    uint64_t vocab = (uint64_t)program->vocab;
    return (vocab + CHUNK - 1) / CHUNK * 16 + vocab * 4 + WORK_WORDS * 4 + PLACES * 4;
}

static dp_status make(dp_plan *plan) {
    dp_gpu *gpu = plan->backend->gpu;
    dp_gpu_draws *d = plan->draws = dp_calloc(1, sizeof *d);
    if (!d) return dp_no_memory(sizeof *d);
    d->groups = ((uint32_t)plan->program->vocab + CHUNK - 1) / CHUNK;
    TRY(dp_gpu_params_take(plan->backend, &d->params));
    d->has_params = true;
    TRY(dp_gpu_buffer_new(gpu, (uint64_t)d->groups * 16, "best", &d->best));
    TRY(dp_gpu_buffer_new(gpu, (uint64_t)plan->program->vocab * 4, "scaled", &d->scaled));
    TRY(dp_gpu_buffer_new(gpu, WORK_WORDS * 4, "work", &d->work));
    d->drawn = dp_gpu_ahead_drawn(plan);
    d->places = d->drawn ? 1 : PLACES;
    return d->drawn ? DP_OK : dp_gpu_buffer_new(gpu, PLACES * 4, "drawn", &d->drawn);
}

/* Adds a stage to those chosen. */
static dp_status choose(dp_plan *plan, draw_stage stage) {
    static const dp_kernel kernels[] = {DP_KERNEL_SAMPLE_TOP, DP_KERNEL_SAMPLE_WEIGH, DP_KERNEL_SAMPLE_KEEP, DP_KERNEL_SAMPLE_PICK};
    static const size_t counts[] = {6, 3, 4, 6};
    dp_gpu_draws *d = plan->draws;
    dp_gpu_dispatch *made = &d->stages[stage];
    const dp_gpu_range step = whole(plan->step), logits = whole(plan->slots[plan->program->logits]),
                       best = whole(d->best), scaled = whole(d->scaled), work = whole(d->work),
                       read_ids = whole(d->ids ? d->ids : plan->backend->nothing),
                       written_ids = whole(d->ids ? d->ids : plan->backend->sink);
    const dp_gpu_range ranges[][6] = {{step, logits, read_ids, scaled, best, work}, {scaled, best, work}, {step, scaled, best, work},
                                      {step, best, work, whole(plan->tokens), written_ids, whole(d->drawn)}};
    if (!made->bindings) {
        bool small = dp_gpu_get_caps(plan->backend->gpu)->clears_slowly;
        const dp_kernel_variant variant = {kernels[stage], DP_F32, {small ? 64 : 256, stage == PICK ? d->places : 0}};
        TRY(dp_kernels_get(plan->backend->kernels, &variant, &made->pipeline));
        TRY(dp_gpu_bindings_new(plan->backend->gpu, made->pipeline, ranges[stage], counts[stage], &made->bindings));
        made->params = d->params;
        made->grid[0] = stage == PICK ? 1 : d->groups;
        made->grid[1] = made->grid[2] = 1;
    }
    d->chosen[d->chosen_count++] = *made;
    return DP_OK;
}

/* The ids that the repetition penalty looks at: those of the last positions; draws add theirs. */
static dp_status bring_ids(dp_plan *plan, const dp_draw_rules *rules, int32_t window) {
    dp_gpu_draws *d = plan->draws;
    dp_gpu *gpu = plan->backend->gpu;
    if (d->ids_capacity < rules->context) {
        forget_stages(plan);
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

/* What of the rules has an effect. */
typedef struct effect {
    bool penalty, race, filtered, binned;
    int32_t window, top_k;
    float top_p, min_p;
} effect;

static effect effect_of(const dp_sampling *s, int32_t vocab) {
    effect e = {.penalty = s->repetition_penalty != 0 && s->repetition_penalty != 1,
                .window = s->repeat_last ? s->repeat_last : 64,
                .top_p = 1};
    if (s->temperature == 0) return e;
    if (s->top_k < vocab) e.top_k = s->top_k;
    if (s->top_p > 0) e.top_p = s->top_p;
    e.min_p = s->min_p;
    e.binned = e.top_k > 0 || e.top_p < 1;
    e.filtered = e.binned || e.min_p > 0;
    e.race = !e.filtered; /* else after the filters */
    return e;
}

static dp_status set_rules(dp_plan *plan, const dp_draw_rules *rules, const effect *e) {
    const dp_sampling *s = &rules->sampling;
    dp_gpu_draws *d = plan->draws;
    const uint32_t words[16] = {(uint32_t)plan->program->vocab,
                                d->groups,
                                e->race,
                                e->penalty ? (uint32_t)e->window : 0,
                                bits(s->temperature),
                                bits(s->repetition_penalty),
                                (uint32_t)s->seed,
                                (uint32_t)(s->seed >> 32),
                                (uint32_t)e->top_k,
                                bits(e->top_p),
                                bits(e->min_p),
                                e->filtered};
    const uint32_t place[2] = {(uint32_t)rules->count, 0}, drawn = (uint32_t)rules->drawn; /* as if behind a step of no tokens */
    d->made = drawn;
    TRY(dp_gpu_params(plan->backend->gpu, d->params, 1, words));
    TRY(dp_gpu_write(plan->backend->gpu, plan->step, 0, place, sizeof place));
    return dp_gpu_write(plan->backend->gpu, plan->step, 16, &drawn, sizeof drawn);
}

static dp_status begin(dp_plan *plan, const dp_draw_rules *rules) {
    effect e = effect_of(&rules->sampling, plan->program->vocab);
    if (!plan->draws) {
        dp_status status = make(plan);
        if (status != DP_OK) dp_gpu_draws_free(plan);
        TRY(status);
    }
    if (e.penalty) TRY(bring_ids(plan, rules, e.window));
    plan->draws->chosen_count = 0;
    TRY(choose(plan, TOP));
    if (e.binned) TRY(choose(plan, WEIGH));
    if (e.filtered) TRY(choose(plan, KEEP));
    TRY(choose(plan, PICK));
    return set_rules(plan, rules, &e);
}

/* ---- drawing ---- */

static draw_read *next_read(dp_gpu_draws *d) { return &d->reads[(d->first + d->count) % DP_DRAWS_MOST]; }

dp_status dp_gpu_draw_again(dp_plan *plan, const dp_step *step) {
    const uint32_t words[5] = {(uint32_t)step->position, 1, 1, (uint32_t)step->context, plan->draws->made};
    return dp_gpu_write(plan->backend->gpu, plan->step, 0, words, sizeof words);
}

/* Puts the step's dispatches on the queue, those of the draw behind them. */
static dp_status queue_up(dp_plan *plan, const dp_step *step, size_t *count) {
    const dp_gpu_draws *d = plan->draws;
    *count = 0;
    if (step) TRY(dp_gpu_step_queue(plan, step, count));
    memcpy(plan->queue + *count, d->chosen, d->chosen_count * sizeof *d->chosen);
    return dp_gpu_prepare(plan->backend->gpu, plan->queue, *count + d->chosen_count);
}

/* Waits: what the step did is known only when its experts are. */
static dp_status draw_paged(dp_plan *plan, const dp_step *step, size_t count) {
    dp_gpu_draws *d = plan->draws;
    draw_read *next = next_read(d);
    *next = (draw_read){.here = true};
    TRY(dp_gpu_paged_draw(plan, step, count, d->chosen_count, &next->id));
    d->count++;
    d->made++;
    return dp_gpu_check(plan->backend->gpu);
}

/* What a draw reads behind a step whose experts the device fetches, which may fly as any other. */
static dp_status fly(dp_plan *plan, const dp_step *step, draw_read *next, dp_gpu_range *record) {
    if (plan->backend->flying != plan) TRY(dp_gpu_draws_land(plan->backend));
    plan->backend->flying = plan;
    next->fetches = true;
    return dp_gpu_fetch_begin(plan, step, record);
}

/* Submits these dispatches, with which the draws that are not sent yet, and `more` behind them, are made. */
static dp_status submit(dp_plan *plan, const dp_gpu_dispatch *dispatches, size_t count, const dp_gpu_range *record, size_t more) {
    dp_gpu_draws *d = plan->draws;
    draw_read *head = &d->reads[(d->first + d->count - d->unsent) % DP_DRAWS_MOST];
    head->draws = d->unsent + more;
    TRY(dp_gpu_submit_read(plan->backend->gpu, dispatches, count, record, &head->read));
    d->unsent = d->kept_count = 0;
    return DP_OK;
}

static dp_gpu_range all_drawn(const dp_gpu_draws *d) { return (dp_gpu_range){d->drawn, 0, (uint64_t)d->places * 4}; }

static dp_status send_kept(dp_plan *plan) {
    const dp_gpu_range record = all_drawn(plan->draws);
    return plan->draws->unsent ? submit(plan, plan->draws->kept, plan->draws->kept_count, &record, 0) : DP_OK;
}

static dp_status keep(dp_plan *plan, size_t from, size_t count) {
    dp_gpu_draws *d = plan->draws;
    if (!dp_grow((void **)&d->kept, &d->kept_capacity, d->kept_count + count, sizeof *d->kept)) return dp_no_memory(count * sizeof *d->kept);
    memcpy(d->kept + d->kept_count, plan->queue + from, count * sizeof *d->kept);
    d->kept_count += count;
    return DP_OK;
}

/* While others are under way, one submit; else pieces, so that the device begins while the rest is encoded. */
static dp_status draw_now(dp_plan *plan, size_t from, size_t count, const dp_gpu_range *record) {
    for (; plan->draws->count == 0 && count > DP_GPU_SUBMIT_PIECE + plan->draws->chosen_count; from += DP_GPU_SUBMIT_PIECE, count -= DP_GPU_SUBMIT_PIECE)
        TRY(dp_gpu_submit(plan->backend->gpu, plan->queue + from, DP_GPU_SUBMIT_PIECE));
    return submit(plan, plan->queue + from, count, record, 1);
}

static dp_status draw_with_others(dp_plan *plan, size_t from, size_t count, const dp_gpu_range *record, bool send) {
    dp_gpu_draws *d = plan->draws;
    TRY(keep(plan, from, count));
    if (send) return submit(plan, d->kept, d->kept_count, record, 1);
    d->unsent++;
    return DP_OK;
}

static dp_status draw(dp_plan *plan, const dp_step *step, bool send) {
    dp_gpu_draws *d = plan->draws;
    size_t count, done = 0;
    double start = dp_host_seconds();
    if (!d || !d->chosen_count) return dp_fail(DP_E_ARG, "a token is drawn before rules are set");
    if (d->count == DP_DRAWS_MOST) return dp_fail(DP_E_ARG, "more than %d draws under way", DP_DRAWS_MOST);
    if (step && step->tokens) TRY(send_kept(plan)); /* what is written for the step comes behind them */
    TRY(queue_up(plan, step, &count));
    if (step && plan->block_count && !dp_gpu_fetch_flies(plan, step)) return draw_paged(plan, step, count);
    draw_read *next = next_read(d);
    dp_gpu_range record = all_drawn(d);
    *next = (draw_read){0};
    if (step && plan->block_count) TRY(fly(plan, step, next, &record));
    if (step && plan->stream) {
        TRY(send_kept(plan));
        TRY(dp_gpu_step_submit(plan, step, 0, count));
        done = count;
    }
    size_t total = count - done + d->chosen_count;
    if (send && !d->unsent) TRY(draw_now(plan, done, total, &record));
    else TRY(draw_with_others(plan, done, total, &record, send));
    next->submitted = dp_host_seconds() - start;
    d->count++;
    d->made++;
    return dp_gpu_check(plan->backend->gpu);
}

/* Brings the ids of the first draw under way and those that were sent with it. */
static dp_status bring(dp_plan *plan) {
    dp_gpu_draws *d = plan->draws;
    draw_read *head = &d->reads[d->first];
    uint32_t words[PLACES] = {0};
    TRY(send_kept(plan));
    dp_status status = dp_gpu_read_end(plan->backend->gpu, head->read, words);
    if (status == DP_WAITING) return status;
    head->read = 0;
    for (size_t i = 0; i < head->draws; i++) {
        draw_read *one = &d->reads[(d->first + i) % DP_DRAWS_MOST];
        uint32_t number = d->made - (uint32_t)(d->count - i);
        one->here = true;
        one->id = (int32_t)words[number % d->places];
    }
    return status;
}

static dp_status take(dp_plan *plan, int32_t *id) {
    dp_gpu_draws *d = plan->draws;
    if (!d || !d->count) return dp_fail(DP_E_ARG, "no draw is under way");
    draw_read *r = &d->reads[d->first];
    dp_status status = DP_OK;
    if (!r->here) status = r->fetches ? dp_gpu_fetch_end(plan, r->read, r->submitted, &r->id) : bring(plan);
    if (status == DP_WAITING) return status;
    *id = r->id;
    d->first = (d->first + 1) % DP_DRAWS_MOST;
    d->count--;
    return status;
}

/* ---- the entries ---- */

bool dp_gpu_draw_is_far(const dp_plan *plan) { return !plan->draws && dp_gpu_get_caps(plan->backend->gpu)->clears_slowly; }

bool dp_gpu_draw_shares(const dp_plan *plan) { return dp_gpu_get_caps(plan->backend->gpu)->software; }

dp_status dp_gpu_draw_begin(dp_plan *plan, const dp_draw_rules *rules) {
    dp_mutex_lock(plan->backend->lock);
    dp_gpu_paged_forget(plan);
    dp_status status = begin(plan, rules);
    dp_mutex_unlock(plan->backend->lock);
    return status;
}

dp_status dp_gpu_draw(dp_plan *plan, const dp_step *step, bool send) {
    dp_mutex_lock(plan->backend->lock);
    dp_status status = unless_lost(plan, draw(plan, step, send));
    dp_mutex_unlock(plan->backend->lock);
    return status;
}

dp_status dp_gpu_drawn(dp_plan *plan, int32_t *id) {
    dp_mutex_lock(plan->backend->lock);
    dp_status status = unless_lost(plan, take(plan, id));
    dp_mutex_unlock(plan->backend->lock);
    return status;
}

void dp_gpu_draw_end(dp_plan *plan) {
    dp_mutex_lock(plan->backend->lock);
    drop_reads(plan);
    dp_mutex_unlock(plan->backend->lock);
}
