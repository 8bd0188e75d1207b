/* residency.c: see residency.h. The sum that must stay below the budget:
 *
 *   base       what the process held when the weights' turn came: program, tokenizer, vectors
 *   plain      matrices outside the experts: all, or as many as fit beside two buffers that the others pass through
 *   slots      of all layers: as many as fit, at least the experts of one token
 *   guesses    a few buffers for experts that the next layer may use, if they fit beside these
 *   sessions   activations and KV caches, full
 *   slack      stacks, page tables, what allocators keep */
#include "engine/residency.h"

#include "engine/residency_units.h"

#include <stdio.h>

enum { MB = 1000000 };

static uint64_t slack_of(uint64_t budget) { return 8 * (uint64_t)MB + budget / 100; }

static uint64_t matrix_bytes(const dp_program *program) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < program->weight_count; i++) bytes += dp_weight_bytes(&program->weights[i]);
    return bytes;
}

static int32_t experts_per_token(const dp_program *program) {
    int32_t k = 0;
    for (size_t i = 0; i < program->op_count; i++)
        if (program->ops[i].kind == DP_OP_ROUTE) k = DP_MAX(k, program->ops[i].route.k);
    return k;
}

/* ---- maps or pages? ---- */

static bool fits_budget(const dp_residency *r) { return r->base + r->weights + r->first_session + slack_of(r->budget) <= r->budget; }

/* Mapped weights may be dropped and read again, so only what is missing altogether asks for a budget of our own. */
static void set_automatic_budget(dp_residency *r) {
    uint64_t available = dp_host_memory_available();
    if (r->weights + r->first_session <= available) return;
    r->budget = r->base + available / 10 * 9;
    r->available = available;
}

/* Host memory is the tier below a device's slots: it holds all experts if it can, else what a budget leaves room for. */
static dp_status init_below_device(dp_residency *r, const dp_builder *builder, const dp_model_desc *desc, bool *paged) {
    TRY(dp_residency_init_device(r, builder, desc, paged));
    r->wanted_slots = 0;
    r->used_experts = 1; /* a step goes through a single one */
    if (!r->budget) set_automatic_budget(r);
    return *paged || r->streamed.units ? dp_residency_init_home(r, builder->program, desc->misses, *paged) : DP_OK;
}

static dp_status init(dp_residency *r, const dp_builder *builder, const dp_model_desc *desc) {
    bool device = r->backend->api->device_bytes != NULL, paged = false;
    TRY(dp_mutex_new(&r->lock));
    if (desc->expert_slots < 0) return dp_fail(DP_E_ARG, "expert_slots is %d, expected 0 or more", (int)desc->expert_slots);
    if ((unsigned)desc->misses > DP_MISSES_FETCH) return dp_fail(DP_E_ARG, "misses is %d, expected upload, cpu, auto or fetch", (int)desc->misses);
    if ((unsigned)desc->cache >= DP_CACHE_BELADY) return dp_fail(DP_E_ARG, "cache policy %d: expected LRU or LRFU", (int)desc->cache);
    if (desc->vram && !device) return dp_fail(DP_E_UNSUPPORTED, "a budget of graphics memory was set, but the CPU computes");
    if (device) TRY(init_below_device(r, builder, desc, &paged));
    else if (!r->budget && !desc->expert_slots) set_automatic_budget(r);
    if (!device) paged = (r->budget && !fits_budget(r)) || (desc->expert_slots && r->used_experts);
    if (!paged) return DP_OK;
    r->pages = dp_calloc(1, sizeof *r->pages);
    if (!r->pages) return dp_no_memory(sizeof *r->pages);
    r->pages->experts_only = device;
    return DP_OK;
}

dp_status dp_residency_init(dp_residency *r, const dp_builder *builder, const dp_model_desc *desc, dp_backend *backend,
                            dp_session_needs session) {
    *r = (dp_residency){.budget = desc->ram, .base = dp_host_memory_resident(), .first_session = session.host, .vram_first = session.device,
                        .weights = matrix_bytes(builder->program), .wanted_slots = desc->expert_slots,
                        .used_experts = experts_per_token(builder->program), .backend = backend};
    return init(r, builder, desc);
}

bool dp_residency_is_paged(const dp_residency *r) { return r->pages != NULL; }

/* ---- what fits ---- */

static uint64_t slots_bytes(const dp_residency *r, int32_t each) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < r->pages->layer_count; i++) {
        const dp_page_layer *l = &r->pages->layers[i];
        bytes += (uint64_t)DP_MIN(each, l->experts) * (l->slot_bytes + DP_DIRECT);
    }
    return bytes;
}

static int32_t least_slots(const dp_residency *r) { return r->wanted_slots ? r->wanted_slots : r->used_experts; }

static uint64_t plain_bytes(const dp_residency *r, bool streamed, uint64_t *largest) {
    uint64_t bytes = 0;
    *largest = 0;
    for (int32_t i = 0; i < r->pages->plain_count; i++) {
        uint64_t unit = r->pages->units.list[i].bytes + DP_DIRECT;
        *largest = DP_MAX(*largest, unit);
        bytes += unit;
    }
    return streamed ? DP_STREAM_SLOTS * *largest : bytes;
}

/* As numbers of megabytes: needs are rounded up, what there is is rounded down. */
static unsigned long long mb(uint64_t bytes) { return (bytes + MB - 1) / MB; }
static unsigned long long mb_down(uint64_t bytes) { return bytes / MB; }

/* Which tier is short, and of what: "the RAM budget of 20 MB is 4 MB short". */
static void describe_short(const dp_residency *r, uint64_t need, char out[200]) {
    unsigned long long missing = mb(need) - mb_down(r->budget);
    if (r->available)
        snprintf(
            out, 200,
            "host memory is %llu MB short: %llu MB can be had now, of which the model may take %llu MB, this program included",
            missing, mb_down(r->available), mb_down(r->budget));
    else snprintf(out, 200, "the RAM budget of %llu MB is %llu MB short", mb_down(r->budget), missing);
}

/* need: for one token, `fixed` and its experts' slots and what plain matrices must have. */
static dp_status say_short(const dp_residency *r, uint64_t fixed, uint64_t need) {
    uint64_t largest, slots = slots_bytes(r, least_slots(r)), all = slots_bytes(r, INT32_MAX), plain = plain_bytes(r, false, &largest);
    uint64_t layers = need - fixed - slots;
    char what[200], parts[100] = "", experts[100] = "", better[100] = "";
    describe_short(r, need, what);
    if (layers) snprintf(parts, sizeof parts, ", %llu for layers%s", mb(layers), layers < plain ? " that pass through" : "");
    if (slots) snprintf(experts, sizeof experts, ", %llu for %d experts a layer", mb(slots), (int)least_slots(r));
    if (layers < plain) snprintf(better, sizeof better, "with %llu MB no layer is read again, ", mb(fixed + plain + slots));
    return dp_fail(
        DP_E_MEMORY,
        "%s: one token needs %llu MB (%llu for the program and its sessions%s%s); %swith %llu MB everything fits%s",
        what, mb(need), mb(fixed), parts, experts, better, mb(fixed + plain + all),
        r->available ? "; end other programs, or take fewer positions or a smaller model" : "");
}

/* The same number for all layers, then one more for the first of them as long as that fits. */
static void deal_slots(dp_residency *r, uint64_t left) {
    uint64_t one = 0;
    for (size_t i = 0; i < r->pages->layer_count; i++) one += r->pages->layers[i].slot_bytes + DP_DIRECT;
    uint64_t each = one ? left / one : 0;
    left -= each * one;
    for (size_t i = 0; i < r->pages->layer_count; i++) {
        const dp_page_layer *l = &r->pages->layers[i];
        uint64_t slots = each, more = l->slot_bytes + DP_DIRECT;
        if (left >= more) slots++, left -= more;
        if (r->wanted_slots) slots = (uint64_t)r->wanted_slots;
        r->slots[i] = (int32_t)DP_MIN(slots, (uint64_t)l->experts);
    }
}

static dp_status plan_slots(dp_residency *r, uint64_t sessions) {
    uint64_t fixed = r->base + sessions + slack_of(r->budget), least = slots_bytes(r, least_slots(r));
    if (!r->budget) {
        deal_slots(r, UINT64_MAX / 2);
        return DP_OK;
    }
    if (fixed + r->weights + least > r->budget) return say_short(r, fixed, fixed + r->weights + least);
    deal_slots(r, r->budget - fixed - r->weights);
    return DP_OK;
}

/* Which plain units pass through. Those that stay are spread evenly, so that reading the next of the others goes on
 * while several layers compute. r->weights becomes what plain matrices take. */
static dp_status plan_plain(dp_residency *r, bool *streamed) {
    uint64_t largest, all = plain_bytes(r, false, &largest), fixed = r->base + r->first_session + slack_of(r->budget);
    uint64_t least = slots_bytes(r, least_slots(r)), need = fixed + DP_STREAM_SLOTS * largest + least;
    r->weights = all;
    if (!r->budget || fixed + all + least <= r->budget) return DP_OK;
    if (need > r->budget) return say_short(r, fixed, DP_MIN(need, fixed + all + least));
    uint64_t room = r->budget - need;
    double share = (double)room / (double)all, owed = 0;
    r->weights = DP_STREAM_SLOTS * largest;
    for (int32_t i = 0; i < r->pages->plain_count; i++) {
        uint64_t bytes = r->pages->units.list[i].bytes + DP_DIRECT;
        owed += share * (double)bytes;
        streamed[i] = owed < (double)bytes;
        if (streamed[i]) continue;
        owed -= (double)bytes;
        r->weights += bytes;
    }
    return DP_OK;
}

/* Buffers to read experts ahead of need, where they take no slots that a token must have. */
static void plan_guesses(dp_residency *r) {
    uint64_t largest = 0, fixed = r->base + r->weights + r->first_session + slack_of(r->budget) + slots_bytes(r, least_slots(r));
    for (size_t i = 0; i < r->pages->layer_count; i++) largest = DP_MAX(largest, r->pages->layers[i].slot_bytes + DP_DIRECT);
    if (r->budget && fixed + DP_GUESS_SLOTS * largest > r->budget) return;
    r->pages->guess_count = DP_GUESS_SLOTS;
    r->weights += DP_GUESS_SLOTS * largest;
}

/* ---- life ---- */

static dp_status start(dp_residency *r, dp_builder *builder, const dp_model_desc *desc, bool *streamed) {
    dp_pages *pages = r->pages;
    r->base = DP_MAX(r->base, dp_host_memory_resident());
    TRY(plan_plain(r, streamed));
    r->weights += r->home + r->passing;
    if (!pages->experts_only) plan_guesses(r);
    TRY(plan_slots(r, r->first_session));
    TRY(dp_pages_start(pages, desc->cache, r->slots, streamed));
    TRY(dp_pages_read_plain(pages, desc->progress, desc->user));
    builder->program->pager = &pages->base;
    return pages->experts_only ? dp_residency_open_device(r, builder->program, desc->cache) : DP_OK;
}

dp_status dp_residency_open(dp_residency *r, dp_builder *builder, const dp_model_desc *desc) {
    if (!r->pages) return r->streamed.units ? dp_residency_open_device(r, builder->program, desc->cache) : DP_OK;
    TRY(dp_residency_cut(builder, desc, r->pages));
    dp_pages_measure(r->pages);
    r->slots = dp_calloc(r->pages->layer_count + 1, sizeof *r->slots);
    bool *streamed = dp_calloc((size_t)r->pages->plain_count + 1, sizeof *streamed);
    dp_status status = r->slots && streamed ? start(r, builder, desc, streamed) : dp_no_memory(r->pages->layer_count);
    dp_free(streamed);
    return status;
}

void dp_residency_close(dp_residency *r) {
    dp_device_free(r->device);
    dp_pages_free(r->pages);
    dp_free(r->slots);
    dp_free(r->unit_of);
    if (r->lock) dp_mutex_free(r->lock);
    *r = (dp_residency){0};
}

/* ---- sessions ---- */

static dp_status change_sessions(dp_residency *r, uint64_t sessions) {
    uint64_t need = r->base + r->weights + sessions + slack_of(r->budget);
    bool mapped = !r->pages && !r->backend->api->device_bytes;
    if (mapped && r->budget && need > r->budget) {
        char what[200];
        describe_short(r, need, what);
        return dp_fail(DP_E_MEMORY, "%s for this session", what);
    }
    if (!r->pages) return DP_OK;
    TRY(plan_slots(r, sessions ? sessions : r->first_session));
    dp_pages_resize(r->pages, r->slots);
    return DP_OK;
}

static dp_status reserve_locked(dp_residency *r, dp_session_needs session) {
    TRY(change_sessions(r, r->sessions + session.host));
    TRY(dp_residency_reserve_device(r, session.device));
    r->sessions += session.host;
    return DP_OK;
}

dp_status dp_residency_reserve(dp_residency *r, dp_session_needs session) {
    dp_mutex_lock(r->lock);
    dp_status status = reserve_locked(r, session);
    dp_mutex_unlock(r->lock);
    return status;
}

/* Slots grow again when the next session asks. */
void dp_residency_release(dp_residency *r, dp_session_needs session) {
    dp_mutex_lock(r->lock);
    r->sessions -= session.host;
    r->vram_sessions -= session.device;
    dp_mutex_unlock(r->lock);
}

dp_session_needs dp_residency_room(const dp_residency *r) {
    dp_session_needs room = {UINT64_MAX, UINT64_MAX};
    dp_mutex_lock(r->lock);
    uint64_t taken = r->base + r->weights + r->sessions + slack_of(r->budget) + (r->pages ? slots_bytes(r, least_slots(r)) : 0);
    if (r->budget) room.host = r->budget - DP_MIN(r->budget, taken);
    if (r->vram) room.device = r->vram - DP_MIN(r->vram, r->vram_weights + r->vram_sessions);
    dp_mutex_unlock(r->lock);
    return room;
}
