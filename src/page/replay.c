/* replay.c: replays a recorded routing trace through a layer's cache, to judge policies without running the model.
 *
 * A trace is text: "doppler-routing 1", then a line for each step of a layer in the order they ran: the layer, then the
 * experts of each token, tokens apart by semicolons. As in the pager a step asks once for each of its experts; those in
 * slots are hits, and none of the step's experts leaves while others of it are read, if that can be. */
#include <stdlib.h>

#include "host/host.h"
#include "page/cache.h"

enum { TRACE_MAX = 1 << 30, LAYERS_MAX = 4096, EXPERTS_MAX = 65536, WARM_UP = 10 /* the first tenth of the steps */ };

/* A step of a layer: the different experts it uses. */
typedef struct step {
    int32_t layer;
    size_t first, count; /* in uses */
} step;

typedef struct trace {
    step *steps;
    size_t step_count, step_capacity;
    int32_t *uses;  /* experts */
    uint64_t *next; /* [uses]: the step of the same layer that uses the expert next; UINT64_MAX: none */
    size_t use_count, use_capacity;
    int32_t layers, experts;
} trace;

static void trace_free(trace *t) {
    dp_free(t->steps);
    dp_free(t->uses);
    dp_free(t->next);
}

/* ---- reading ---- */

static bool in_step(const trace *t, const step *s, int32_t expert) {
    for (size_t i = 0; i < s->count; i++)
        if (t->uses[s->first + i] == expert) return true;
    return false;
}

static dp_status read_line(trace *t, const char *p, const char *end) {
    char *after;
    long layer = strtol(p, &after, 10);
    if (after == p || after > end || layer < 0 || layer >= LAYERS_MAX) return dp_fail(DP_E_FORMAT, "expected a layer and its experts");
    if (!dp_grow((void **)&t->steps, &t->step_capacity, t->step_count + 1, sizeof *t->steps))
        return dp_no_memory(t->step_count * sizeof *t->steps);
    step *s = &t->steps[t->step_count++];
    *s = (step){(int32_t)layer, t->use_count, 0};
    t->layers = DP_MAX(t->layers, (int32_t)layer + 1);
    for (p = after; p < end; p = after) {
        if (*p == ';') p++;
        long expert = strtol(p, &after, 10);
        if (after == p || after > end || expert < 0 || expert >= EXPERTS_MAX)
            return dp_fail(DP_E_FORMAT, "expected experts, numbers below %d", EXPERTS_MAX);
        t->experts = DP_MAX(t->experts, (int32_t)expert + 1);
        if (in_step(t, s, (int32_t)expert)) continue;
        if (!dp_grow((void **)&t->uses, &t->use_capacity, t->use_count + 1, sizeof *t->uses))
            return dp_no_memory(t->use_count * sizeof *t->uses);
        size_t at = t->use_count++;
        for (; at > s->first && t->uses[at - 1] > expert; at--) t->uses[at] = t->uses[at - 1]; /* the pager's order */
        t->uses[at] = (int32_t)expert;
        s->count++;
    }
    return DP_OK;
}

static dp_status read_lines(trace *t, const char *text) {
    static const char title[] = "doppler-routing 1\n";
    size_t number = 1;
    if (strncmp(text, title, strlen(title)) != 0) return dp_fail(DP_E_FORMAT, "expected a first line \"doppler-routing 1\"");
    for (const char *p = text + strlen(title), *end; *p; p = *end ? end + 1 : end) {
        number++;
        end = p + strcspn(p, "\n");
        dp_status status = read_line(t, p, end);
        if (status != DP_OK) return dp_fail_in(status, "line %zu", number);
    }
    return t->use_count ? DP_OK : dp_fail(DP_E_FORMAT, "no step in it uses an expert");
}

/* Steps are counted from 1 in each layer, as dp_cache does. */
static dp_status look_ahead(trace *t) {
    size_t cells = (size_t)t->layers * (size_t)t->experts;
    uint64_t *later = dp_malloc(cells * sizeof *later), *clock = dp_calloc((size_t)t->layers, sizeof *clock);
    t->next = dp_malloc(t->use_count * sizeof *t->next);
    bool room = later && clock && t->next;
    if (room) memset(later, 0xFF, cells * sizeof *later);
    for (size_t i = 0; room && i < t->step_count; i++) clock[t->steps[i].layer]++;
    for (size_t i = t->step_count; room && i-- > 0;) {
        const step *s = &t->steps[i];
        for (size_t u = s->first; u < s->first + s->count; u++) {
            uint64_t *cell = &later[(size_t)s->layer * (size_t)t->experts + (size_t)t->uses[u]];
            t->next[u] = *cell;
            *cell = clock[s->layer];
        }
        clock[s->layer]--;
    }
    dp_free(later);
    dp_free(clock);
    return room ? DP_OK : dp_no_memory(cells * sizeof *later);
}

static dp_status trace_read(const char *path, trace *t) {
    char *text;
    TRY(dp_file_load(path, TRACE_MAX, &text, NULL));
    dp_status status = read_lines(t, text);
    dp_free(text);
    if (status != DP_OK) return dp_fail_in(status, "%s", path);
    return look_ahead(t);
}

/* ---- replaying ---- */

typedef struct asker {
    const dp_cache *cache;
    const bool *kept; /* [experts]: used by the step, and in a slot */
} asker;

static bool is_free(const void *user, int32_t slot) {
    const asker *a = user;
    return a->cache->holds[slot] < 0 || !a->kept[a->cache->holds[slot]];
}

static bool any(const void *user, int32_t slot) {
    (void)user, (void)slot;
    return true;
}

static uint64_t run_step(const trace *t, const step *s, dp_cache *cache, bool *kept) {
    uint64_t hits = 0;
    dp_cache_step(cache);
    for (size_t u = s->first; u < s->first + s->count; u++) {
        int32_t expert = t->uses[u];
        kept[expert] = cache->slot_of[expert] >= 0;
        hits += kept[expert];
        dp_cache_use(cache, expert);
        cache->next[expert] = t->next[u];
    }
    for (size_t u = s->first; u < s->first + s->count; u++) {
        if (cache->slot_of[t->uses[u]] >= 0) continue;
        int32_t slot = dp_cache_choose(cache, is_free, &(asker){cache, kept});
        dp_cache_put(cache, slot >= 0 ? slot : dp_cache_choose(cache, any, NULL), t->uses[u]);
        kept[t->uses[u]] = true;
    }
    for (size_t u = s->first; u < s->first + s->count; u++) kept[t->uses[u]] = false;
    return hits;
}

static dp_status run(const trace *t, dp_cache *caches, bool *kept, dp_cache_policy policy, int32_t slots, dp_replay_result *out) {
    for (int32_t l = 0; l < t->layers; l++) TRY(dp_cache_init(&caches[l], policy, t->experts, DP_MIN(slots, t->experts)));
    *out = (dp_replay_result){.layers = t->layers, .experts = t->experts, .steps = t->step_count, .uses = t->use_count};
    for (size_t i = 0; i < t->step_count; i++) {
        const step *s = &t->steps[i];
        uint64_t hits = run_step(t, s, &caches[s->layer], kept);
        out->hits += hits;
        if (i < t->step_count / WARM_UP) continue;
        out->warm_hits += hits;
        out->warm_uses += s->count;
    }
    return DP_OK;
}

dp_status dp_cache_replay(const char *path, dp_cache_policy policy, int32_t slots, dp_replay_result *result) {
    trace t = {0};
    if (!path || !result || slots < 1 || (unsigned)policy > DP_CACHE_BELADY)
        return dp_fail(DP_E_ARG, "dp_cache_replay: path or result is NULL, slots below 1 or an unknown policy");
    dp_status status = trace_read(path, &t);
    dp_cache *caches = status == DP_OK ? dp_calloc((size_t)t.layers, sizeof *caches) : NULL;
    bool *kept = status == DP_OK ? dp_calloc((size_t)t.experts, sizeof *kept) : NULL;
    if (status == DP_OK) status = caches && kept ? run(&t, caches, kept, policy, slots, result) : dp_no_memory((size_t)t.experts);
    for (int32_t l = 0; caches && l < t.layers; l++) dp_cache_free(&caches[l]);
    dp_free(caches);
    dp_free(kept);
    trace_free(&t);
    return status;
}
