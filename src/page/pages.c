/* pages.c: see pages.h. A layer's step: what is in a slot is handed out at once, reads of the rest begin before that, and
 * what was handed out makes room as soon as the next group is asked for. So a step needs no more slots than one, though
 * with fewer than a token's experts nothing is ever found. */
#include "page/pages_own.h"

static dp_pages *of(dp_pager *pager) { return (dp_pages *)pager; }

/* ---- where weights point ---- */

void dp_page_point(dp_pages *p, const dp_page_slot *slot, bool there) {
    const dp_unit *unit = slot->unit;
    for (int32_t i = 0; i < unit->part_count; i++) {
        const dp_unit_part *part = &p->units.parts[unit->first_part + i];
        dp_weight *w = &p->program->weights[part->weight];
        const void *data = there ? slot->memory + part->at : NULL;
        if (unit->expert >= 0) w->expert[unit->expert] = data;
        else w->data = data;
    }
}

void dp_page_empty(dp_pages *p, dp_page_slot *slot) {
    if (slot->state == DP_SLOT_READY) dp_page_point(p, slot, false);
    slot->state = DP_SLOT_EMPTY;
    slot->unit = NULL;
}

dp_status dp_page_failed(const dp_page_slot *slot, const dp_unit *unit) {
    if (unit->expert >= 0) return dp_fail(slot->status, "layer %d, expert %d: %s", (int)unit->layer, (int)unit->expert, slot->error);
    return dp_fail(slot->status, "weights of layer %d: %s", (int)unit->layer, slot->error);
}

void dp_page_count_read(dp_page_counts *counts, dp_page_slot *slot) {
    counts->reads++;
    counts->bytes += slot->bytes;
    dp_latency_add(&counts->latency, slot->seconds);
    slot->bytes = 0; /* counted */
}

/* ---- experts: all under the loader's lock ---- */

static const dp_unit *unit_of(const dp_pages *p, const dp_page_layer *l, int32_t expert) { return &p->units.list[l->first_unit + expert]; }

typedef struct choice {
    const dp_pages *pages;
    const dp_page_layer *layer;
} choice;

static bool may_go(const void *user, int32_t slot) {
    const choice *c = user;
    const dp_page_slot *s = c->layer->slots[slot];
    int32_t expert = c->layer->cache.holds[slot];
    if (s->held || s->state == DP_SLOT_LOADING) return false;
    if (expert < 0) return true;
    bool waits = c->pages->now == c->layer && c->pages->wanted[expert] == 1;
    return !waits && !c->layer->pinned[expert];
}

static void put_out(dp_pages *p, dp_page_layer *l, int32_t slot) {
    if (l->cache.holds[slot] >= 0) l->counts.evictions++;
    dp_page_empty(p, l->slots[slot]);
    dp_cache_put(&l->cache, slot, -1);
}

static dp_page_layer *layer_of(dp_pages *p, int32_t layer) {
    for (size_t i = 0; i < p->layer_count; i++)
        if (p->layers[i].layer == layer) return &p->layers[i];
    return NULL;
}

/* ---- guesses: buffers beside the slots, so that nothing leaves a slot for one ---- */

static dp_page_slot *guess_of(dp_pages *p, const dp_unit *unit) {
    for (int32_t i = 0; i < p->guess_count; i++)
        if (p->guesses[i]->unit == unit) return p->guesses[i];
    return NULL;
}

/* Weights never point into a guess, so forgetting it changes none. */
static void drop_guess(dp_pages *p, dp_page_slot *guess) {
    if (guess->unit) layer_of(p, guess->unit->layer)->counts.bytes += guess->bytes;
    guess->state = DP_SLOT_EMPTY;
    guess->unit = NULL;
}

/* What was read on a guess, or still is, changes places with the slot that is to hold it. False: there is no such. */
static bool take_guess(dp_pages *p, dp_page_slot **slot, const dp_unit *unit) {
    for (int32_t i = 0; i < p->guess_count; i++) {
        dp_page_slot *guess = p->guesses[i];
        if (guess->unit != unit) continue;
        if (guess->state == DP_SLOT_FAILED) drop_guess(p, guess); /* read again: an error then has its place */
        if (guess->state == DP_SLOT_EMPTY) return false;
        dp_loader_demand(p->loader, guess);
        p->guesses[i] = *slot;
        *slot = guess;
        return true;
    }
    return false;
}

/* ---- slots ---- */

/* Begins to read an expert that is in no slot; *started is false if no slot may be taken. */
static dp_status start_load(dp_pages *p, dp_page_layer *l, int32_t expert, bool *started) {
    int32_t slot = dp_cache_choose(&l->cache, may_go, &(choice){p, l});
    *started = slot >= 0;
    if (slot < 0) return DP_OK;
    put_out(p, l, slot);
    if (take_guess(p, &l->slots[slot], unit_of(p, l, expert))) {
        l->counts.guesses_used++;
        dp_cache_put(&l->cache, slot, expert);
        if (l->slots[slot]->state == DP_SLOT_READY) dp_page_count_read(&l->counts, l->slots[slot]);
        return DP_OK;
    }
    TRY(dp_slot_reserve(l->slots[slot], l->slot_bytes));
    dp_cache_put(&l->cache, slot, expert);
    dp_status status = dp_loader_start(p->loader, l->slots[slot], unit_of(p, l, expert), false);
    if (status != DP_OK) dp_cache_put(&l->cache, slot, -1);
    return status;
}

/* ---- new guesses ---- */

/* A buffer that nothing is read into, and that holds neither what the step wants nor one of the new guesses. */
static dp_page_slot *free_guess(dp_pages *p, const dp_page_layer *l, const int32_t *ids, size_t count) {
    for (int32_t i = 0; i < p->guess_count; i++) {
        const dp_unit *unit = p->guesses[i]->unit;
        bool taken = p->guesses[i]->state == DP_SLOT_LOADING;
        if (unit && p->now && unit->layer == p->now->layer) taken |= p->wanted[unit->expert] == 1;
        for (size_t j = 0; j < count; j++) taken |= unit == unit_of(p, l, ids[j]);
        if (!taken) return p->guesses[i];
    }
    return NULL;
}

static void start_guesses(dp_pages *p, dp_page_layer *l, const int32_t *ids, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const dp_unit *unit = unit_of(p, l, ids[i]);
        if (l->cache.slot_of[ids[i]] >= 0 || guess_of(p, unit)) continue;
        dp_page_slot *slot = free_guess(p, l, ids, count);
        if (!slot) return;
        drop_guess(p, slot);
        if (dp_slot_reserve(slot, l->slot_bytes) != DP_OK || dp_loader_start(p->loader, slot, unit, true) != DP_OK) return;
        l->counts.guesses++;
    }
}

static void guess(dp_pager *pager, int32_t layer, const int32_t *ids, size_t count) {
    dp_pages *p = of(pager);
    dp_page_layer *l = layer_of(p, layer);
    dp_loader_lock(p->loader);
    if (l && dp_loader_has_threads(p->loader)) start_guesses(p, l, ids, count);
    dp_loader_unlock(p->loader);
}

/* ---- a layer's step ---- */

static dp_status start_loads(dp_pages *p, dp_page_layer *l) {
    bool started = true;
    for (int32_t e = 0; e < l->experts && started; e++)
        if (p->wanted[e] == 1 && l->cache.slot_of[e] < 0) TRY(start_load(p, l, e, &started));
    return DP_OK;
}

static void give_up_slots(dp_pages *p, dp_page_layer *l, int32_t from) {
    for (int32_t s = from; s < l->experts; s++) {
        dp_page_slot *slot = l->slots[s];
        if (!slot->block || slot->held || slot->state == DP_SLOT_LOADING) continue;
        put_out(p, l, s);
        dp_slot_release(slot);
    }
}

static void let_go(dp_page_layer *l) {
    for (int32_t s = 0; s < l->experts; s++) l->slots[s]->held = false;
}

static void end_step(dp_pages *p) {
    if (p->now) {
        let_go(p->now);
        memset(p->wanted, 0, (size_t)p->most_experts);
    }
    p->now = NULL;
    p->left = p->wanted_count = 0;
}

static dp_status want_locked(dp_pages *p, dp_page_layer *l, const int32_t *ids, size_t count) {
    end_step(p);
    give_up_slots(p, l, l->cache.slots);
    p->now = l;
    dp_cache_step(&l->cache);
    l->counts.steps++;
    for (size_t i = 0; i < count; i++) {
        int32_t e = ids[i];
        if (e < 0 || e >= l->experts) return dp_fail(DP_E_ARG, "layer %d: expert %d chosen, there are %d", (int)l->layer, (int)e, (int)l->experts);
        if (p->wanted[e]) continue;
        p->wanted[e] = 1;
        p->wanted_count++;
        *(l->cache.slot_of[e] >= 0 ? &l->counts.hits : &l->counts.misses) += 1;
        dp_cache_use(&l->cache, e);
    }
    p->left = p->wanted_count;
    return start_loads(p, l);
}

static dp_status want(dp_pager *pager, int32_t layer, const int32_t *ids, size_t count) {
    dp_pages *p = of(pager);
    dp_page_layer *l = layer_of(p, layer);
    if (!l) return dp_fail(DP_E_ARG, "layer %d has no paged experts", (int)layer);
    dp_loader_lock(p->loader);
    dp_status status = want_locked(p, l, ids, count);
    dp_loader_unlock(p->loader);
    return status;
}

/* Counts reads that have ended. A failed one is an error if the step wants its expert. */
static dp_status gather(dp_pages *p, dp_page_layer *l) {
    for (int32_t s = 0; s < l->experts; s++) {
        dp_page_slot *slot = l->slots[s];
        if (slot->state == DP_SLOT_READY && slot->bytes) dp_page_count_read(&l->counts, slot);
        if (slot->state != DP_SLOT_FAILED) continue;
        const dp_unit *unit = slot->unit;
        bool wanted = l->cache.holds[s] >= 0 && p->wanted[l->cache.holds[s]] == 1;
        dp_page_empty(p, slot);
        dp_cache_put(&l->cache, s, -1);
        if (wanted) return dp_page_failed(slot, unit);
    }
    return DP_OK;
}

/* How many wanted experts are ready, and whether some still have no slot: then a group must leave slots to them. */
static int32_t ready_count(const dp_pages *p, const dp_page_layer *l, bool *crowded) {
    int32_t ready = 0;
    *crowded = false;
    for (int32_t e = 0; e < l->experts; e++) {
        if (p->wanted[e] != 1) continue;
        int32_t s = l->cache.slot_of[e];
        if (s < 0) *crowded = true;
        else if (l->slots[s]->state == DP_SLOT_READY) ready++;
    }
    return ready;
}

static void hand_out(dp_pages *p, dp_page_layer *l, int32_t most, dp_page_group *group) {
    memset(p->member, 0, (size_t)l->experts * sizeof *p->member);
    group->count = 0;
    for (int32_t e = 0; e < l->experts && group->count < most; e++) {
        int32_t s = l->cache.slot_of[e];
        if (p->wanted[e] != 1 || s < 0 || l->slots[s]->state != DP_SLOT_READY) continue;
        l->slots[s]->held = true;
        dp_page_point(p, l->slots[s], true);
        p->wanted[e] = 2;
        p->member[e] = true;
        group->count++;
    }
    group->member = group->count == p->wanted_count ? NULL : p->member;
    p->left -= group->count;
}

static dp_status next_locked(dp_pages *p, dp_page_group *group) {
    dp_page_layer *l = p->now;
    *group = (dp_page_group){0};
    let_go(l);
    while (p->left) {
        bool crowded;
        TRY(gather(p, l));
        TRY(start_loads(p, l));
        int32_t ready = ready_count(p, l, &crowded);
        if (crowded) ready = DP_MIN(ready, DP_MAX(1, l->cache.slots / 2));
        if (ready) {
            hand_out(p, l, ready, group);
            return DP_OK;
        }
        dp_loader_wait(p->loader);
    }
    return DP_OK;
}

static dp_status next(dp_pager *pager, dp_page_group *group) {
    dp_pages *p = of(pager);
    double start = dp_host_seconds();
    dp_loader_lock(p->loader);
    dp_status status = p->now ? next_locked(p, group) : dp_fail(DP_E_ARG, "no experts are wanted");
    p->waited += dp_host_seconds() - start;
    dp_loader_unlock(p->loader);
    return status;
}

static void done(dp_pager *pager) {
    dp_pages *p = of(pager);
    dp_loader_lock(p->loader);
    end_step(p);
    dp_loader_unlock(p->loader);
}

/* ---- by hand ---- */

static dp_status find(dp_pages *p, int32_t layer, int32_t expert, dp_page_layer **out) {
    *out = layer_of(p, layer);
    if (!*out) return dp_fail(DP_E_ARG, "layer %d has no experts", (int)layer);
    if (expert >= 0 && expert < (*out)->experts) return DP_OK;
    return dp_fail(DP_E_ARG, "expert %d of layer %d: expected 0 to %d", (int)expert, (int)layer, (int)(*out)->experts - 1);
}

dp_status dp_pages_check(dp_pages *p, int32_t layer, int32_t expert) {
    dp_page_layer *l;
    return find(p, layer, expert, &l);
}

static dp_status load_locked(dp_pages *p, dp_page_layer *l, int32_t expert) {
    bool started = true;
    if (l->cache.slot_of[expert] < 0) TRY(start_load(p, l, expert, &started));
    if (!started)
        return dp_fail(DP_E_ARG, "expert %d of layer %d: all %d slots are pinned or in use", (int)expert, (int)l->layer, (int)l->cache.slots);
    int32_t s = l->cache.slot_of[expert];
    while (l->slots[s]->state == DP_SLOT_LOADING) dp_loader_wait(p->loader);
    if (l->slots[s]->state != DP_SLOT_FAILED || l->cache.holds[s] != expert) return DP_OK;
    const dp_unit *unit = l->slots[s]->unit;
    dp_page_empty(p, l->slots[s]);
    dp_cache_put(&l->cache, s, -1);
    return dp_page_failed(l->slots[s], unit);
}

dp_status dp_pages_load(dp_pages *p, int32_t layer, int32_t expert) {
    dp_page_layer *l;
    TRY(find(p, layer, expert, &l));
    dp_loader_lock(p->loader);
    dp_status status = load_locked(p, l, expert);
    dp_loader_unlock(p->loader);
    return status;
}

static dp_status pin_locked(dp_pages *p, dp_page_layer *l, int32_t expert) {
    int32_t pins = 0;
    for (int32_t e = 0; e < l->experts; e++) pins += l->pinned[e];
    if (!l->pinned[expert] && pins + 1 >= l->cache.slots)
        return dp_fail(DP_E_ARG, "layer %d: %d of its %d slots are pinned, and one must stay free for the other experts", (int)l->layer,
                       (int)pins, (int)l->cache.slots);
    TRY(load_locked(p, l, expert));
    l->pinned[expert] = true;
    return DP_OK;
}

dp_status dp_pages_pin(dp_pages *p, int32_t layer, int32_t expert, bool pin) {
    dp_page_layer *l;
    TRY(find(p, layer, expert, &l));
    dp_loader_lock(p->loader);
    dp_status status = pin ? pin_locked(p, l, expert) : DP_OK;
    if (!pin) l->pinned[expert] = false;
    dp_loader_unlock(p->loader);
    return status;
}

dp_status dp_pages_evict(dp_pages *p, int32_t layer, int32_t expert) {
    dp_page_layer *l;
    dp_status status = DP_OK;
    TRY(find(p, layer, expert, &l));
    dp_loader_lock(p->loader);
    int32_t s = l->cache.slot_of[expert];
    if (s >= 0 && may_go(&(choice){p, l}, s)) put_out(p, l, s);
    else if (s >= 0) status = dp_fail(DP_E_ARG, "expert %d of layer %d is pinned or in use", (int)expert, (int)layer);
    dp_loader_unlock(p->loader);
    return status;
}

void dp_pages_resize(dp_pages *p, const int32_t *slots) {
    dp_loader_lock(p->loader);
    for (size_t i = 0; i < p->layer_count; i++) {
        p->layers[i].cache.slots = slots[i];
        give_up_slots(p, &p->layers[i], slots[i]);
    }
    dp_loader_unlock(p->loader);
}

void dp_pages_drop(dp_pages *p, int32_t layer) {
    dp_loader_lock(p->loader);
    give_up_slots(p, layer_of(p, layer), 0);
    dp_loader_unlock(p->loader);
}

/* ---- life ---- */

static const dp_pager_api api = {.plain = dp_pages_plain, .want = want, .next = next, .guess = guess, .done = done};

static dp_status start_layer(dp_page_layer *l, dp_cache_policy policy, int32_t slots, dp_page_slot *store) {
    TRY(dp_cache_init(&l->cache, policy, l->experts, l->experts));
    l->cache.slots = slots;
    l->slots = dp_calloc((size_t)l->experts, sizeof *l->slots);
    for (int32_t e = 0; l->slots && e < l->experts; e++) l->slots[e] = &store[e];
    l->pinned = dp_calloc((size_t)l->experts, sizeof *l->pinned);
    if (!l->slots || !l->pinned) return dp_no_memory((size_t)l->experts * sizeof *l->slots);
    return DP_OK;
}

void dp_pages_measure(dp_pages *p) {
    for (size_t i = 0; i < p->layer_count; i++) {
        dp_page_layer *l = &p->layers[i];
        for (int32_t e = 0; e < l->experts; e++) l->slot_bytes = DP_MAX(l->slot_bytes, unit_of(p, l, e)->bytes);
    }
}

dp_status dp_pages_start(dp_pages *p, dp_cache_policy policy, const int32_t *slots, const bool *streamed) {
    p->base.api = &api;
    TRY(dp_pages_start_plain(p, streamed));
    p->slot_count = DP_GUESS_SLOTS;
    for (size_t i = 0; i < p->layer_count; i++) p->slot_count += (size_t)p->layers[i].experts;
    dp_page_slot *store = p->slot_store = dp_calloc(p->slot_count, sizeof *p->slot_store);
    if (!store) return dp_no_memory(p->slot_count * sizeof *store);
    for (int i = 0; i < DP_GUESS_SLOTS; i++) p->guesses[i] = store++;
    for (size_t i = 0; i < p->layer_count; store += p->layers[i++].experts) {
        p->most_experts = DP_MAX(p->most_experts, p->layers[i].experts);
        TRY(start_layer(&p->layers[i], policy, slots[i], store));
    }
    p->wanted = dp_calloc((size_t)p->most_experts + 1, sizeof *p->wanted);
    p->member = dp_calloc((size_t)p->most_experts + 1, sizeof *p->member);
    if (!p->wanted || !p->member) return dp_no_memory((size_t)p->most_experts * 2);
    return dp_loader_new(&p->units, DP_READERS, &p->loader);
}

void dp_pages_free(dp_pages *p) {
    if (!p) return;
    dp_loader_free(p->loader);
    for (size_t i = 0; i < p->layer_count; i++) {
        dp_page_layer *l = &p->layers[i];
        dp_free(l->slots);
        dp_free(l->pinned);
        dp_cache_free(&l->cache);
    }
    for (int32_t i = 0; i < p->resident_count; i++) dp_slot_release(&p->resident[i]);
    for (int i = 0; i < DP_STREAM_SLOTS; i++) dp_slot_release(&p->stream[i]);
    for (size_t i = 0; p->slot_store && i < p->slot_count; i++) dp_slot_release(&p->slot_store[i]);
    dp_free(p->slot_store);
    dp_free(p->layers);
    dp_free(p->plain_of);
    dp_free(p->plain_slot);
    dp_free(p->resident);
    dp_free(p->wanted);
    dp_free(p->member);
    dp_units_free(&p->units);
    dp_free(p);
}
