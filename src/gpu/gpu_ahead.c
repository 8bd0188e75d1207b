/* gpu_ahead.c: single tokens of a model whose experts share slots. The device knows which expert is in which slot and runs on
 * behind each router, up to the end of the token where experts are likely to be there, on the supposition that they are. Each
 * layer's choice is noted and read with the token. Where one was in no slot, what ran behind was for nothing: the host brings it,
 * the layer's input is put back and the device runs from there again. Keys and values of such runs are overwritten. Or the host computes
 * it (gpu_missed.c): then the device stops before it adds the experts' outputs to the residual. */
#include "gpu/gpu_ahead.h"

#define LIKELY 0.5  /* chances below it are not worth running on for */
#define FORGET 0.25 /* the weight of the last token in what is known of a layer */

/* ---- life ---- */

/* Columns of the largest row that the host may compute experts for. */
static size_t row_columns(const dp_plan *plan) {
    int32_t most = 0;
    for (size_t i = 0; i < plan->block_count; i++) {
        int32_t row = dp_gpu_missed_row(plan->program, plan->blocks[i].first - 1);
        if (row >= 0) most = DP_MAX(most, plan->program->slots[row].cols);
    }
    return (size_t)most;
}

static void lay_out_record(dp_plan *plan, dp_gpu_ahead *a, size_t ids) {
    size_t columns = row_columns(plan);
    if (dp_gpu_fetches(plan->program)) a->fetched = DP_AHEAD_IDS + ids;
    a->used_words = a->shares = a->row = a->record_words = DP_AHEAD_IDS + (a->fetched ? 2 : 1) * ids;
    if (!columns || a->fetched) return;
    a->row = a->shares + ids;
    a->record_words = a->row + columns;
}

static dp_status make(dp_plan *plan, dp_gpu_ahead *a) {
    size_t ids = 0;
    for (size_t i = 0; i < plan->block_count; i++) {
        plan->blocks[i].choice = (uint32_t)ids;
        plan->blocks[i].back = SIZE_MAX;
        plan->blocks[i].found = LIKELY;
        plan->blocks[i].row = -1;
        ids += (size_t)plan->blocks[i].k;
    }
    lay_out_record(plan, a, ids);
    a->used = dp_malloc(a->record_words * sizeof *a->used);
    a->places = dp_malloc(plan->block_count * sizeof *a->places);
    if (!a->used || !a->places) return dp_no_memory(a->record_words * 4);
    TRY(dp_gpu_table_new(plan, ids));
    if (a->record_words > a->row) TRY(dp_gpu_missed_new(plan, a->record_words - a->row));
    return dp_gpu_buffer_new(plan->backend->gpu, a->record_words * 4, "record", &a->record);
}

dp_status dp_gpu_ahead_new(dp_plan *plan) {
    plan->ahead = dp_calloc(1, sizeof *plan->ahead);
    return plan->ahead ? make(plan, plan->ahead) : dp_no_memory(sizeof *plan->ahead);
}

void dp_gpu_ahead_free(dp_plan *plan) {
    dp_gpu_ahead *a = plan->ahead;
    if (!a) return;
    dp_gpu_table_free(plan);
    dp_gpu_buffer_free(plan->backend->gpu, a->record);
    dp_free(a->used);
    dp_free(a->places);
    dp_free(plan->missed.outputs);
    dp_free(a);
    plan->ahead = NULL;
}

uint64_t dp_gpu_ahead_bytes(const dp_program *program) {
    uint64_t bytes = 0, seen = 0;
    for (size_t i = 1; i < program->op_count; i++) {
        const dp_op *op = &program->ops[i];
        if (op->kind != DP_OP_ROUTE) continue;
        uint64_t row = (uint64_t)program->slots[program->ops[i - 1].src].cols, experts = (uint64_t)program->slots[op->src].cols;
        bytes += (row + dp_decode_packed_words(program, program->ops[i - 1].src) + 3 * experts + 1 + 4 * (uint64_t)op->route.k) * 4;
        bytes += dp_gpu_fetch_bytes(); /* who asks may not know yet whether the device will fetch */
        seen = DP_MAX(seen, row * 4);
    }
    return bytes + seen;
}

dp_gpu_buffer dp_gpu_ahead_drawn(const dp_plan *plan) { return plan->ahead ? plan->ahead->record : 0; }

/* ---- planning ---- */

/* Whether nothing but these slots, of which `other` may be -1, is read from `op` on before it is written. */
static bool needs_only(const dp_planner *p, size_t op, int32_t row, int32_t other) {
    for (size_t i = 0; i < p->plan->program->slot_count; i++) {
        int32_t slot = (int32_t)i;
        if (slot != row && slot != other && !dp_decode_unread(p, slot, op - p->index)) return false;
    }
    return true;
}

static dp_status add_back(dp_planner *p, dp_gpu_block *b, dp_gpu_range kept, dp_gpu_range row, dp_gpu_range packed, const uint32_t *words) {
    dp_recipe r = {.variant = {DP_KERNEL_PUT_BACK, DP_F32, {0}},
                   .ranges = {kept, row, packed},
                   .range_count = 3,
                   .params = {words[0], words[1]},
                   .grid = {(words[0] + words[1] + 63) / 64, 1, 1}};
    dp_when when = p->when;
    p->when = DP_WHEN_BACK;
    dp_status status = dp_gpu_plan_add(p, &r);
    p->when = when;
    if (status == DP_OK) b->back = p->plan->planned_count - 1;
    return status;
}

/* How a block's experts are placed. */
typedef struct placing {
    int32_t block;
    const dp_kernel_variant *variant;
    dp_gpu_range from, to;
    int32_t row, packed; /* slots whose row and packed twin are all that a run from `resume` on needs */
    bool resumes;        /* there are such */
    size_t resume;
    bool fused;          /* the products behind it are two, and the second adds to that row */
} placing;

/* Where placing is to put what the host needs to compute what of the block is in no slot. */
static void show_shares(const dp_planner *p, dp_gpu_block *b, const placing *how, uint32_t words[2]) {
    const dp_gpu_ahead *a = p->plan->ahead;
    b->row = how->row;
    b->scale = how->variant->kernel == DP_KERNEL_PLACE ? p->plan->program->ops[b->first - 1].route.scale : 1;
    words[0] = (uint32_t)a->shares + b->choice;
    words[1] = (uint32_t)a->row;
}

static bool can_compute(const dp_planner *p, const dp_gpu_block *b, const placing *how) {
    return how->fused && how->row >= 0 && dp_gpu_missed_row(p->plan->program, b->first - 1) == how->row;
}

/* What placing must know where the device fetches what is in no slot. */
static void show_uses(const dp_plan *plan, const dp_gpu_block *b, dp_recipe *r) {
    dp_page_uses uses = plan->program->pager->api->uses(plan->program->pager, b->layer);
    r->variant.kernel = r->variant.kernel == DP_KERNEL_PLACE ? DP_KERNEL_PLACE_FETCH : DP_KERNEL_PLACE_ROUTED_FETCH;
    r->params[7] = b->uses;
    r->params[8] = (uint32_t)plan->ahead->fetched + b->choice;
    r->params[9] = (uint32_t)b->experts;
    r->params[10] = dp_decode_bits((float)uses.half_life);
}

/* Where the device fetches nothing is kept, as nothing is run again. */
static dp_status add_place(dp_planner *p, const placing *how) {
    dp_plan *plan = p->plan;
    dp_gpu_block *b = &plan->blocks[how->block - 1];
    dp_gpu_range nothing = dp_decode_whole(plan->backend->nothing), sink = dp_decode_whole(plan->backend->sink),
                 kept = sink, packed = nothing;
    uint32_t words[2] = {0, 0}, seen[2] = {0, 0}; /* that are kept; where the host sees some */
    bool fetches = plan->ahead->fetched > 0, resumes = how->resumes && !fetches, seeing = !fetches && can_compute(p, b, how);
    b->back = SIZE_MAX;
    b->row = -1;
    b->resume = how->resume;
    if (seeing) show_shares(p, b, how, seen);
    if (seeing || resumes) {
        words[0] = dp_decode_cols(p, how->row);
        words[1] = how->packed < 0 || !resumes ? 0 : (uint32_t)dp_decode_packed_words(plan->program, how->packed);
        TRY(dp_decode_buffer(p, ((uint64_t)words[0] + words[1]) * 4, NULL, "kept", &kept.buffer));
        if (words[1]) TRY(dp_decode_packed(p, how->packed, &packed));
    }
    if (resumes) TRY(add_back(p, b, kept, dp_decode_slot(p, how->row), words[1] ? packed : sink, words));
    dp_recipe r = {.variant = *how->variant,
                   .ranges = {how->from, dp_decode_whole(plan->ahead->table), words[0] ? dp_decode_slot(p, how->row) : nothing, packed,
                              dp_decode_whole(plan->ahead->record), how->to, kept},
                   .range_count = 7,
                   .params = {b->table, (uint32_t)plan->ahead->slot_words + b->choice, DP_AHEAD_IDS + b->choice, words[0], words[1], seen[0], seen[1]},
                   .grid = {1 + (words[0] + words[1] + 63) / 64, 1, 1},
                   .planned = {.rows = DP_GRID_TOKENS, .axis = 1, .at_most = 1}};
    if (fetches) show_uses(plan, b, &r);
    TRY(dp_gpu_plan_add(p, &r));
    return fetches ? dp_gpu_fetch_add(p, how->block) : DP_OK;
}

/* Whether the router before is one fused dispatch: then it reads no more than the residual and its packed twin. */
static bool is_router_fused(const dp_planner *p) {
    size_t fused = 0;
    for (size_t i = p->plan->planned_count; i-- > 0 && p->plan->planned[i].op + 1 >= p->index;)
        fused += p->plan->planned[i].op + 1 == p->index && p->plan->planned[i].when == DP_WHEN_FUSED;
    return fused == 1;
}

dp_status dp_gpu_place_fused(dp_planner *p, const dp_kernel_variant *variant, int32_t from, int32_t residual, int32_t packed) {
    bool back = is_router_fused(p) && needs_only(p, p->index - 1, residual, packed);
    return add_place(p, &(placing){dp_gpu_block_of(p->plan, p->index + 1), variant, dp_decode_slot(p, from),
                                   dp_decode_whole(p->plan->placed), residual, packed, back, p->index - 1, true});
}

/* The last op up to the router where a single slot holds all that is needed, and none of the ops between them writes to it. */
static int32_t find_row(const dp_planner *p, size_t *resume) {
    const dp_program *program = p->plan->program;
    for (size_t at = p->index; at > 0 && program->ops[at].layer == p->op->layer; at--) {
        int32_t row = program->ops[at].src;
        if (row < 0 || !needs_only(p, at, row, -1)) continue;
        for (size_t i = at; i < p->index; i++)
            if (program->ops[i].dst == row || program->ops[i].dst2 == row) return -1;
        *resume = at;
        return row;
    }
    return -1;
}

dp_status dp_gpu_place_routed(dp_planner *p) {
    const dp_kernel_variant v = {DP_KERNEL_PLACE_ROUTED, DP_F32, {(uint32_t)p->op->route.k}};
    placing how = {dp_gpu_block_of(p->plan, p->index + 1), &v, dp_decode_slot(p, p->op->dst2), dp_decode_whole(p->plan->places), -1, -1, false, 0, false};
    if (!how.block) return DP_OK;
    how.row = find_row(p, &how.resume);
    how.resumes = how.row >= 0;
    return add_place(p, &how);
}

/* ---- a token ---- */

typedef struct token_run {
    dp_plan *plan;
    const dp_step *step;
    size_t count, draw; /* dispatches of the step, of a draw behind them */
    bool watched;       /* by somebody who is to see nothing that is then done again; or layers pass through in order */
} token_run;

static void find_places(const token_run *r) {
    const dp_plan *plan = r->plan;
    for (size_t i = r->count; i-- > 0;) {
        int32_t number = plan->planned[plan->queue_ops[i]].block;
        if (number) plan->ahead->places[number - 1] = i - 1;
    }
}

/* Whether the host may compute what of the block is in no slot. Then a stop is not right behind the choice but one dispatch further. */
static bool computes(const token_run *r, size_t block) { return r->plan->missed.computes && r->plan->blocks[block].row >= 0; }

/* Dispatches that place a block's choice, and fetch by it. */
static size_t place_count(const token_run *r) { return r->plan->ahead->fetched ? 2 : 1; }

static size_t chosen_at(const token_run *r, size_t block) { return r->plan->ahead->places[block] + place_count(r); }

static size_t stop_behind(const token_run *r, size_t block) { return chosen_at(r, block) + computes(r, block); }

/* Where the token stands: what runs next, and the first block whose experts are not known to be there. */
typedef struct standing {
    size_t from, to, block;
    bool stops; /* at that block: something is missing */
    dp_gpu_read read;
} standing;

/* Behind the dispatches that are worth running before the host looks again, where a block's choice is to be seen next. */
static size_t window_end(const token_run *r, const standing *at) {
    double chance = 1;
    if (r->plan->ahead->fetched && !r->watched) return r->count;
    for (size_t block = at->block; block < r->plan->block_count; block++) {
        const dp_gpu_block *b = &r->plan->blocks[block];
        chance *= b->found;
        if (r->watched || at->stops || b->back == SIZE_MAX || chance < LIKELY) return stop_behind(r, block);
    }
    return r->count;
}

static dp_status submit_watched(const token_run *r, size_t from, size_t to, bool places) {
    dp_step quiet = *r->step;
    size_t from_place = to - (places ? place_count(r) : 0);
    quiet.trace = NULL;
    TRY(dp_gpu_step_submit(r->plan, r->step, from, from_place));
    TRY(dp_gpu_step_submit(r->plan, &quiet, from_place, to));
    return dp_gpu_submit(r->plan->backend->gpu, r->plan->queue + to, to == r->count ? r->draw : 0);
}

/* What is read behind [from, to) of the queue, and what is submitted with it. */
typedef struct window {
    dp_gpu_range record;
    size_t end;   /* of that, what is drawn behind the queue's end included */
    bool product; /* what runs behind the choice while the host computes has a submit of its own, for which the read does not wait */
} window;

static window window_of(const token_run *r, size_t to, bool places) {
    dp_plan *plan = r->plan;
    bool part = plan->missed.computes && places; /* of a row that the host may compute something of */
    window w = {.record = {plan->ahead->record, 0, (part ? plan->ahead->record_words : plan->ahead->used_words) * 4}};
    w.product = part && plan->planned[plan->queue_ops[to - 1]].block;
    w.end = to + (to == r->count ? r->draw : 0) - w.product;
    return w;
}

/* Submits [from, to) of the queue and what is drawn behind its end; begins to read the record. */
static dp_status submit_window(const token_run *r, size_t from, size_t to, bool places, dp_gpu_read *read) {
    dp_plan *plan = r->plan;
    dp_gpu *gpu = plan->backend->gpu;
    window w = window_of(r, to, places);
    if (r->watched) {
        TRY(submit_watched(r, from, to, places));
        return dp_gpu_read_begin(gpu, w.record.buffer, 0, (size_t)w.record.size, read);
    }
    for (; w.end - from > DP_GPU_SUBMIT_PIECE; from += DP_GPU_SUBMIT_PIECE) TRY(dp_gpu_submit(gpu, plan->queue + from, DP_GPU_SUBMIT_PIECE));
    TRY(dp_gpu_submit_read(gpu, plan->queue + from, w.end - from, &w.record, read));
    return w.product ? dp_gpu_submit(gpu, plan->queue + w.end, 1) : DP_OK;
}

/* The window that follows one behind which the host will compute. */
static void encode_next(const token_run *r, const standing *at) {
    const dp_plan *plan = r->plan;
    standing next = {.from = at->to, .block = at->block};
    if (!plan->missed.computes || at->to == r->count) return;
    while (next.block < plan->block_count && plan->ahead->places[next.block] < at->to) next.block++;
    next.to = window_end(r, &next);
    window w = window_of(r, next.to, next.block < plan->block_count && next.to < r->count);
    if (w.end - next.from <= DP_GPU_SUBMIT_PIECE) dp_gpu_encode(plan->backend->gpu, plan->queue + next.from, w.end - next.from, &w.record);
}

/* Shows the router's choice to who asked for it; *changed: it is to be another. */
static void show(const token_run *r, const dp_gpu_block *b, int32_t *ids, bool *changed) {
    const dp_step *step = r->step;
    size_t bytes = (size_t)b->k * sizeof *ids;
    uint32_t *wanted = dp_gpu_table_wanted(r->plan, b);
    *changed = false;
    if (!step->routing || step->routing_blind) return;
    memcpy(wanted, ids, bytes);
    step->routing(step->routing_user, b->layer, ids, 1, b->k);
    *changed = memcmp(wanted, ids, bytes) != 0;
    if (*changed) memcpy(wanted, ids, bytes);
    else memset(wanted, 0xFF, bytes);
    r->plan->ahead->wanting |= *changed;
}

/* Has what is missing of the block that the window stopped at computed. */
static dp_status compute(dp_plan *plan, const dp_gpu_block *b, const int32_t *ids) {
    const dp_gpu_ahead *a = plan->ahead;
    TRY(dp_gpu_missed_add(plan, b, ids, (const float *)(const void *)(a->used + a->shares + b->choice),
                          (const float *)(const void *)(a->used + a->row)));
    return dp_gpu_table_tell(plan, b);
}

/* Sees to it that a block's experts are there, or computed; *again: it is to run again with what there is now. */
static dp_status settle(const token_run *r, standing *at, bool *again) {
    dp_plan *plan = r->plan;
    dp_pager *pager = plan->program->pager;
    dp_gpu_block *b = &plan->blocks[at->block];
    int32_t *ids = (int32_t *)plan->ahead->used + DP_AHEAD_IDS + b->choice;
    if (plan->ahead->fetched) dp_gpu_fetch_take(plan, b);
    show(r, b, ids, again);
    if (plan->ahead->fetched && !*again) {
        at->block++;
        return DP_OK;
    }
    bool found = pager->api->found(pager, b->layer, ids, (size_t)b->k), here = computes(r, at->block);
    at->stops = !found && here && at->to != stop_behind(r, at->block);
    *again |= at->stops;
    if (at->stops) return DP_OK;
    at->block++;
    b->found += FORGET * ((found ? 1.0 : 0.0) - b->found);
    if (!found) dp_gpu_missed_count(plan, b, ids);
    if (!found && here) return compute(plan, b, ids);
    if (!found) {
        double start = dp_host_seconds();
        TRY(dp_gpu_paged_bring_all(plan, b, ids, b->k));
        plan->spent.bring += dp_host_seconds() - start;
        TRY(dp_gpu_table_tell(plan, b));
    }
    if (*again) TRY(dp_gpu_table_tell_wanted(plan, b));
    *again |= !found;
    return DP_OK;
}

/* From where the queue goes on to run a block again, having run up to `to`. */
static dp_status go_back(const token_run *r, size_t block, size_t to, size_t *from) {
    const dp_plan *plan = r->plan;
    const dp_gpu_block *b = &plan->blocks[block];
    size_t place = plan->ahead->places[block];
    if (to == chosen_at(r, block)) { /* nothing ran behind the choice, which is made again */
        *from = to;
        return dp_gpu_submit(plan->backend->gpu, plan->queue + place, 1);
    }
    if (to == r->count && r->draw) TRY(dp_gpu_draw_again(r->plan, r->step));
    *from = place;
    while (*from > 0 && plan->planned[plan->queue_ops[*from - 1]].op >= b->resume) --*from;
    return dp_gpu_submit(plan->backend->gpu, &plan->planned[b->back].dispatch, 1);
}

/* Behind a window whose record is here. */
static dp_status settle_all(const token_run *r, standing *at) {
    const dp_gpu_ahead *a = r->plan->ahead;
    while (at->block < r->plan->block_count && a->places[at->block] < at->to) {
        size_t block = at->block;
        bool again = false;
        TRY(settle(r, at, &again));
        if (again) return go_back(r, block, at->to, &at->from);
    }
    at->from = at->to;
    return DP_OK;
}

/* Waits for a window's record. */
static dp_status look(const token_run *r, const standing *at) {
    dp_plan *plan = r->plan;
    double start = dp_host_seconds();
    plan->paused.from = at->from;
    plan->paused.to = at->to;
    plan->paused.block = at->block;
    encode_next(r, at);
    TRY(dp_gpu_paged_await(plan, r->step, at->read, plan->ahead->used));
    plan->spent.wait += dp_host_seconds() - start;
    plan->spent.waits++;
    return DP_OK;
}

static dp_status run(const token_run *r, bool resumes) {
    dp_plan *plan = r->plan;
    const dp_gpu_ahead *a = plan->ahead;
    standing at = {.from = 0};
    if (resumes) at = (standing){plan->paused.from, plan->paused.to, plan->paused.block, false, plan->paused.read};
    while (at.from < r->count) {
        if (!resumes) {
            at.to = window_end(r, &at);
            bool sees = at.block < plan->block_count && a->places[at.block] < at.to;
            if (!sees && !r->draw) return dp_gpu_step_submit(plan, r->step, at.from, at.to);
            double start = dp_host_seconds();
            TRY(submit_window(r, at.from, at.to, sees && at.to < r->count, &at.read));
            plan->spent.submit += dp_host_seconds() - start;
        }
        resumes = false;
        TRY(look(r, &at));
        TRY(settle_all(r, &at));
    }
    return DP_OK;
}

static void end_token(dp_plan *plan) {
    plan->spent.seconds = dp_host_seconds() - plan->spent.seconds;
    plan->program->pager->api->token(plan->program->pager, &plan->spent);
}

/* What puts a block's input back stands on no queue. All blocks have the same pipeline for it. */
static dp_status prepare_back(const dp_plan *plan) {
    for (size_t i = 0; i < plan->block_count; i++)
        if (plan->blocks[i].back != SIZE_MAX)
            return dp_gpu_prepare(plan->backend->gpu, &plan->planned[plan->blocks[i].back].dispatch, 1);
    return DP_OK;
}

bool dp_gpu_ahead_is_watched(const dp_plan *plan, const dp_step *step) {
    return step->trace || step->profile || plan->stream || (step->routing && !step->routing_blind);
}

dp_status dp_gpu_ahead_run(dp_plan *plan, const dp_step *step, size_t count, size_t draw, int32_t *id) {
    token_run r = {plan, step, count, draw, dp_gpu_ahead_is_watched(plan, step)};
    bool resumes = dp_gpu_paged_resumes(plan, step);
    if (!resumes) {
        plan->spent = (dp_page_token){.seconds = dp_host_seconds()};
        dp_gpu_missed_begin(plan, !r.watched);
        TRY(prepare_back(plan));
        TRY(dp_gpu_table_refresh(plan));
        TRY(dp_gpu_table_prepare_wanted(plan, step));
    }
    find_places(&r);
    dp_gpu_missed_awake(plan, true);
    dp_status status = run(&r, resumes);
    dp_gpu_missed_awake(plan, false);
    TRY(status);
    dp_gpu_missed_end(plan);
    end_token(plan);
    if (draw) memcpy(id, &plan->ahead->used[DP_AHEAD_DRAWN], sizeof *id);
    return DP_OK;
}
