/* device.c: see device.h. A step first gets what is in slots, so that the device computes while the host reads; then what
 * arrives. A slot whose expert the step has not got yet is taken by nobody; one that it is done with only if there is no
 * other, so that a token's experts are all there at once wherever there are slots enough. What a step borrows is computed in host
 * memory; of that a slot gets what fills an empty one, and of the rest a few, if they are worth more than what they replace. */
#include "page/device.h"

enum { ADMIT_EVERY = 128 }; /* borrowed experts: bringing one costs about as much as computing some ten */

enum { IDLE, WANTED, WAITS, HANDED, GIVEN }; /* not wanted; wanted; in host memory; in the last group; in an earlier one */

static dp_device *of(dp_pager *pager) { return (dp_device *)pager; }

static dp_device_layer *layer_of(dp_device *d, int32_t layer) {
    for (size_t i = 0; i < d->layer_count; i++)
        if (d->layers[i].layer == layer) return &d->layers[i];
    return NULL;
}

static int32_t slots(dp_pager *pager, int32_t layer) {
    const dp_device_layer *l = layer_of(of(pager), layer);
    return l ? l->cache.slots : 0;
}

static const int32_t *where(dp_pager *pager, int32_t layer) { return layer_of(of(pager), layer)->cache.slot_of; }

/* ---- a step ---- */

static void put(dp_device *d, dp_device_layer *l, int32_t slot, int32_t expert) {
    dp_cache_put(&l->cache, slot, expert);
    d->base.changes++;
}

static void end_step(dp_device *d) {
    if (d->now) memset(d->state, IDLE, (size_t)d->most_experts), memset(d->comes, 0, (size_t)d->most_experts);
    d->now = NULL;
    d->hits_left = d->borrows = false;
    d->missing = 0;
}

/* Marks what the step wants; `missing` gets what is in no slot. */
static dp_status mark(dp_device *d, dp_device_layer *l, const int32_t *ids, size_t count, int32_t *missing) {
    for (size_t i = 0; i < count; i++) {
        int32_t e = ids[i];
        if (e < 0 || e >= l->experts)
            return dp_fail(DP_E_ARG, "layer %d: expert %d chosen, there are %d", (int)l->layer, (int)e,
                           (int)l->experts);
        if (d->state[e] != IDLE) continue;
        bool hit = l->cache.slot_of[e] >= 0;
        d->state[e] = WANTED;
        dp_cache_use(&l->cache, e);
        *(hit ? &l->counts.hits : &l->counts.misses) += 1;
        if (hit) d->hits_left = true;
        else missing[d->missing++] = e;
    }
    return DP_OK;
}

static dp_status want_locked(dp_device *d, dp_device_layer *l, const int32_t *ids, size_t count, int32_t *missing) {
    end_step(d);
    d->now = l;
    d->asked = dp_host_seconds();
    dp_cache_step(&l->cache);
    l->counts.steps++;
    return mark(d, l, ids, count, missing);
}

typedef struct choice {
    const dp_device *device;
    uint8_t most; /* the state up to which an expert may lose its slot, IDLE apart */
} choice;

static bool may_go(const void *user, int32_t slot) {
    const choice *c = user;
    int32_t expert = c->device->now->cache.holds[slot];
    return expert < 0 || c->device->state[expert] == IDLE || c->device->state[expert] == c->most;
}

/* Which of the borrowed get slots, for later steps: decided now, whatever is then read first. */
static void admit(dp_device *d, const int32_t *missing) {
    const dp_cache *cache = &d->now->cache;
    int32_t empty = 0;
    for (int32_t s = 0; s < cache->slots; s++) empty += cache->holds[s] < 0;
    for (int32_t i = 0; i < d->missing; i++) {
        bool fills = empty > 0;
        int32_t slot = fills || ++d->borrowed < ADMIT_EVERY ? -1 : dp_cache_choose(cache, may_go, &(choice){d, IDLE});
        d->comes[missing[i]] = fills || (slot >= 0 && dp_cache_prefers(cache, missing[i], slot));
        if (fills) empty--;
        else if (d->comes[missing[i]]) d->borrowed = 0;
    }
}

/* What is in slots is not handed out. */
static void borrow_locked(dp_device *d, const int32_t *missing) {
    for (int32_t e = 0; e < d->now->experts; e++)
        if (d->state[e] == WANTED && d->now->cache.slot_of[e] >= 0) d->state[e] = GIVEN;
    d->hits_left = false;
    d->borrows = true;
    admit(d, missing);
}

static dp_status begin(dp_pager *pager, int32_t layer, const int32_t *ids, size_t count, bool borrows) {
    dp_device *d = of(pager);
    dp_device_layer *l = layer_of(d, layer);
    if (!l) return dp_fail(DP_E_ARG, "layer %d has no paged experts", (int)layer);
    int32_t *missing = dp_malloc((size_t)l->experts * sizeof *missing);
    if (!missing) return dp_no_memory((size_t)l->experts * sizeof *missing);
    dp_mutex_lock(d->lock);
    dp_status status = want_locked(d, l, ids, count, missing);
    if (status == DP_OK && borrows) borrow_locked(d, missing);
    dp_mutex_unlock(d->lock);
    if (status == DP_OK && d->missing && !pager->homed) status = d->host->api->want(d->host, layer, missing, (size_t)d->missing);
    dp_free(missing);
    return status;
}

static dp_status want(dp_pager *pager, int32_t layer, const int32_t *ids, size_t count) { return begin(pager, layer, ids, count, false); }
static dp_status borrow(dp_pager *pager, int32_t layer, const int32_t *ids, size_t count) { return begin(pager, layer, ids, count, true); }

static bool are_there(const dp_device_layer *l, const int32_t *ids, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= l->experts || l->cache.slot_of[ids[i]] < 0) return false;
    return true;
}

static bool found(dp_pager *pager, int32_t layer, const int32_t *ids, size_t count) {
    dp_device *d = of(pager);
    dp_device_layer *l = layer_of(d, layer);
    dp_mutex_lock(d->lock);
    bool all = l && are_there(l, ids, count);
    if (all) dp_cache_step(&l->cache), l->counts.steps++;
    for (size_t i = 0; all && i < count; i++) {
        if (l->cache.last[ids[i]] == l->cache.clock) continue; /* the same again */
        dp_cache_use(&l->cache, ids[i]);
        l->counts.hits++;
    }
    dp_mutex_unlock(d->lock);
    return all;
}

/* Gives an expert that is in host memory a slot; false if this group's members have all that may be taken. What is borrowed takes
 * none that the step uses. */
static bool place(dp_device *d, int32_t expert) {
    dp_device_layer *l = d->now;
    int32_t slot = dp_cache_choose(&l->cache, may_go, &(choice){d, IDLE});
    if (slot < 0 && !d->borrows) slot = dp_cache_choose(&l->cache, may_go, &(choice){d, GIVEN});
    if (slot < 0) return false;
    if (l->cache.holds[slot] >= 0) l->counts.evictions++;
    put(d, l, slot, expert);
    l->counts.reads++;
    l->counts.bytes += l->expert_bytes;
    return true;
}

static void hand_out(dp_device *d, int32_t expert, bool arrives, dp_page_group *group) {
    d->state[expert] = HANDED;
    d->member[expert] = true;
    d->arrives[expert] = arrives;
    group->count++;
}

static void hand_out_hits(dp_device *d, dp_page_group *group) {
    for (int32_t e = 0; e < d->now->experts; e++)
        if (d->state[e] == WANTED && d->now->cache.slot_of[e] >= 0) hand_out(d, e, false, group);
    d->hits_left = false;
}

static void hand_out_arrived(dp_device *d, dp_page_group *group) {
    dp_device_layer *l = d->now;
    for (int32_t e = 0; e < l->experts; e++) {
        if (d->state[e] != WAITS) continue;
        bool arrives = (!d->borrows || d->comes[e]) && place(d, e);
        if (!arrives && !d->borrows) return;
        hand_out(d, e, arrives, group);
        d->missing--;
    }
}

/* What the last group's members took to get to the device: the backend comes back when it has sent them. */
static void end_group(dp_device *d) {
    double passed = dp_host_seconds() - d->asked;
    for (int32_t e = 0; e < d->now->experts; e++) {
        if (d->state[e] == HANDED) d->state[e] = GIVEN;
        if (d->arrives[e]) dp_latency_add(&d->now->counts.latency, passed);
        d->member[e] = d->arrives[e] = false;
    }
}

static bool waits(const dp_device *d) {
    for (int32_t e = 0; e < d->now->experts; e++)
        if (d->state[e] == WAITS) return true;
    return false;
}

/* The host's next group waits for slots; it stays in host memory until the next call there. At home all are there for good. */
static dp_status ask_host(dp_device *d) {
    dp_page_group group = {.count = d->missing};
    double start = dp_host_seconds();
    if (!d->base.homed) TRY(d->host->api->next(d->host, &group));
    dp_mutex_lock(d->lock);
    d->waited += dp_host_seconds() - start;
    dp_mutex_unlock(d->lock);
    for (int32_t e = 0; e < d->now->experts && group.count; e++)
        if (d->state[e] == WANTED && (!group.member || group.member[e])) d->state[e] = WAITS;
    return group.count ? DP_OK : dp_fail(DP_E_ARG, "layer %d: experts are missing that nobody reads", (int)d->now->layer);
}

static dp_status next(dp_pager *pager, dp_page_group *group) {
    dp_device *d = of(pager);
    if (!d->now) return dp_fail(DP_E_ARG, "no experts are wanted");
    *group = (dp_page_group){d->member, 0, d->now->cache.slot_of, d->arrives};
    dp_mutex_lock(d->lock);
    end_group(d);
    if (d->hits_left) hand_out_hits(d, group);
    dp_mutex_unlock(d->lock);
    if (group->count || !d->missing) return DP_OK;
    if (!waits(d)) TRY(ask_host(d));
    dp_mutex_lock(d->lock);
    hand_out_arrived(d, group);
    dp_mutex_unlock(d->lock);
    return DP_OK;
}

/* Members whose slots were promised and that never arrived, since the pass failed, are in none. */
static void done(dp_pager *pager) {
    dp_device *d = of(pager);
    dp_mutex_lock(d->lock);
    for (int32_t e = 0; d->now && e < d->now->experts; e++)
        if (d->state[e] == HANDED && d->arrives[e]) put(d, d->now, d->now->cache.slot_of[e], -1);
    if (d->now) memset(d->member, 0, (size_t)d->most_experts), memset(d->arrives, 0, (size_t)d->most_experts);
    end_step(d);
    dp_mutex_unlock(d->lock);
    if (d->host) d->host->api->done(d->host);
}

static void computed(dp_pager *pager, int32_t count, double seconds) {
    dp_device *d = of(pager);
    dp_mutex_lock(d->lock);
    if (d->now) d->now->counts.computed += (uint64_t)count, d->now->counts.compute_seconds += seconds;
    dp_mutex_unlock(d->lock);
}

static void token(dp_pager *pager, const dp_page_token *t) {
    dp_device *d = of(pager);
    dp_mutex_lock(d->lock);
    d->tokens++;
    d->spent.seconds += t->seconds;
    d->spent.wait += t->wait;
    d->spent.submit += t->submit;
    d->spent.bring += t->bring;
    d->spent.waits += t->waits;
    dp_mutex_unlock(d->lock);
}

/* ---- a device that finds its way alone ---- */

static dp_pager *below(dp_pager *pager) { return of(pager)->host; }

static void filled(dp_pager *pager, int32_t layer) { dp_pages_drop(of(pager)->pages, layer); }

static dp_page_uses uses(dp_pager *pager, int32_t layer) {
    const dp_cache *c = &layer_of(of(pager), layer)->cache;
    return (dp_page_uses){c->clock, c->last, c->score, c->policy == DP_CACHE_LRFU ? c->decay : 0};
}

/* One of the experts that a step used; slot: -1: it was there. */
static void note_use(dp_device *d, dp_device_layer *l, int32_t expert, int32_t slot) {
    if (expert < 0 || expert >= l->experts || slot >= l->cache.slots || l->cache.last[expert] == l->cache.clock) return;
    dp_cache_use(&l->cache, expert);
    if (slot < 0) {
        l->counts.hits++;
        return;
    }
    l->counts.misses++;
    l->counts.reads++;
    l->counts.bytes += l->expert_bytes;
    if (l->cache.holds[slot] >= 0) l->counts.evictions++;
    put(d, l, slot, expert);
}

static void fetched(dp_pager *pager, int32_t layer, const int32_t *ids, const int32_t *slot_of, size_t count) {
    dp_device *d = of(pager);
    dp_device_layer *l = layer_of(d, layer);
    dp_mutex_lock(d->lock);
    dp_cache_step(&l->cache);
    l->counts.steps++;
    for (size_t i = 0; i < count; i++) note_use(d, l, ids[i], slot_of[i]);
    dp_mutex_unlock(d->lock);
}

static void forget(dp_pager *pager) {
    dp_device *d = of(pager);
    dp_mutex_lock(d->lock);
    for (size_t i = 0; i < d->layer_count; i++)
        for (int32_t s = 0; s < d->layers[i].cache.slots; s++) put(d, &d->layers[i], s, -1);
    dp_mutex_unlock(d->lock);
}

/* ---- plain weights ---- */

static const dp_stream *stream(dp_pager *pager) { return of(pager)->stream; }

static void sent(dp_pager *pager, int32_t unit, uint64_t bytes, double seconds) {
    dp_device *d = of(pager);
    dp_mutex_lock(d->lock);
    if (unit == 0) d->stream_counts.steps++;
    d->stream_counts.reads++;
    d->stream_counts.bytes += bytes;
    dp_latency_add(&d->stream_counts.latency, seconds);
    dp_mutex_unlock(d->lock);
}

/* ---- statistics ---- */

static int32_t resident(const dp_device_layer *l) {
    int32_t count = 0;
    for (int32_t s = 0; s < l->cache.slots; s++) count += l->cache.holds[s] >= 0;
    return count;
}

void dp_device_stats(dp_device *d, dp_paging_stats *out) {
    dp_page_counts sum = {0};
    dp_mutex_lock(d->lock);
    *out = (dp_paging_stats){.paging = true, .layers = (int32_t)d->layer_count, .experts = d->most_experts, .wait_seconds = d->waited};
    for (size_t i = 0; i < d->layer_count; i++) {
        const dp_device_layer *l = &d->layers[i];
        dp_page_counts_add(&sum, &l->counts);
        out->computed_bytes += l->counts.computed * l->expert_bytes;
        out->expert_bytes += (uint64_t)l->cache.slots * l->expert_bytes;
        out->resident_experts += resident(l);
        out->slots_least = i ? DP_MIN(out->slots_least, l->cache.slots) : l->cache.slots;
        out->slots_most = DP_MAX(out->slots_most, l->cache.slots);
    }
    dp_page_counts_put(&sum, out);
    out->single_tokens = d->tokens;
    out->single_seconds = d->spent.seconds;
    out->device_waits = d->spent.waits;
    out->device_wait_seconds = d->spent.wait;
    out->submit_seconds = d->spent.submit;
    out->bring_seconds = d->spent.bring;
    out->streamed_units = d->stream ? d->stream->units : 0;
    out->streamed_passes = d->stream_counts.steps;
    out->streamed_bytes = d->stream_counts.bytes;
    out->streamed_seconds = d->stream_counts.latency.sum;
    dp_mutex_unlock(d->lock);
}

void dp_device_stats_json(dp_device *d, dp_buf *out) {
    dp_mutex_lock(d->lock);
    for (size_t i = 0; i < d->layer_count; i++) {
        const dp_device_layer *l = &d->layers[i];
        dp_page_counts_json(&l->counts, l->layer, l->cache.slots, resident(l), out);
    }
    dp_mutex_unlock(d->lock);
}

void dp_device_stats_reset(dp_device *d) {
    dp_mutex_lock(d->lock);
    for (size_t i = 0; i < d->layer_count; i++) d->layers[i].counts = (dp_page_counts){0};
    d->waited = 0;
    d->spent = (dp_page_token){0};
    d->tokens = 0;
    d->stream_counts = (dp_page_counts){0};
    dp_mutex_unlock(d->lock);
}

/* ---- life ---- */

static const dp_pager_api api = {.want = want,
                                 .borrow = borrow,
                                 .computed = computed,
                                 .token = token,
                                 .next = next,
                                 .done = done,
                                 .slots = slots,
                                 .where = where,
                                 .found = found,
                                 .below = below,
                                 .filled = filled,
                                 .uses = uses,
                                 .fetched = fetched,
                                 .forget = forget,
                                 .stream = stream,
                                 .sent = sent};

static dp_status start_layer(dp_device_layer *l, const dp_pages *pages, size_t index, dp_cache_policy policy, int32_t slot_count) {
    const dp_page_layer *from = &pages->layers[index];
    const dp_unit *unit = &pages->units.list[from->first_unit];
    *l = (dp_device_layer){.layer = from->layer, .experts = from->experts};
    for (int32_t i = 0; i < unit->part_count; i++) l->expert_bytes += pages->units.parts[unit->first_part + i].bytes;
    return dp_cache_init(&l->cache, policy, l->experts, slot_count);
}

static dp_status start(dp_device *d, dp_pages *pages, dp_cache_policy policy, const int32_t *slot_counts) {
    size_t layers = pages ? pages->layer_count : 0;
    TRY(dp_mutex_new(&d->lock));
    d->layers = dp_calloc(layers + 1, sizeof *d->layers);
    if (!d->layers) return dp_no_memory(layers * sizeof *d->layers);
    for (; d->layer_count < layers; d->layer_count++) {
        TRY(start_layer(&d->layers[d->layer_count], pages, d->layer_count, policy, slot_counts[d->layer_count]));
        d->most_experts = DP_MAX(d->most_experts, d->layers[d->layer_count].experts);
    }
    size_t n = (size_t)d->most_experts + 1;
    d->state = dp_calloc(n, sizeof *d->state);
    d->member = dp_calloc(n, sizeof *d->member);
    d->arrives = dp_calloc(n, sizeof *d->arrives);
    d->comes = dp_calloc(n, sizeof *d->comes);
    return d->state && d->member && d->arrives && d->comes ? DP_OK : dp_no_memory(4 * n);
}

dp_status dp_device_new(dp_pages *pages, dp_cache_policy policy, const int32_t *slot_counts, bool homed, const dp_stream *streamed, dp_device **out) {
    dp_device *d = dp_calloc(1, sizeof *d);
    if (!d) return dp_no_memory(sizeof *d);
    d->base.api = &api;
    d->base.homed = homed;
    d->pages = pages;
    d->host = pages ? &pages->base : NULL;
    d->stream = streamed;
    dp_status status = start(d, pages, policy, slot_counts);
    if (status != DP_OK) dp_device_free(d);
    else *out = d;
    return status;
}

void dp_device_free(dp_device *d) {
    if (!d) return;
    for (size_t i = 0; i < d->layer_count; i++) dp_cache_free(&d->layers[i].cache);
    if (d->lock) dp_mutex_free(d->lock);
    dp_free(d->layers);
    dp_free(d->state);
    dp_free(d->member);
    dp_free(d->arrives);
    dp_free(d->comes);
    dp_free(d);
}
