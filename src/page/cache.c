/* cache.c: see cache.h. LRU evicts what was used longest ago. LRFU weighs each use by 1/2 per `decay` steps since then
 * and evicts the smallest sum, so that a habit outlives an interruption. BELADY evicts what is needed last: no policy
 * without foresight does better. */
#include "page/cache.h"

#include <math.h>

enum { DECAY_STEPS = 64 }; /* from 16 to 256 recorded traces care little */

dp_status dp_cache_init(dp_cache *cache, dp_cache_policy policy, int32_t experts, int32_t slots) {
    size_t e = (size_t)experts, s = (size_t)slots;
    *cache = (dp_cache){.policy = policy, .decay = DECAY_STEPS, .experts = experts, .slots = slots};
    cache->slot_of = dp_malloc(e * sizeof *cache->slot_of);
    cache->holds = dp_malloc(s * sizeof *cache->holds);
    cache->last = dp_calloc(e, sizeof *cache->last);
    cache->score = dp_calloc(e, sizeof *cache->score);
    cache->next = dp_calloc(e, sizeof *cache->next);
    if (!cache->slot_of || !cache->holds || !cache->last || !cache->score || !cache->next) {
        dp_cache_free(cache);
        return dp_no_memory(e * 32 + s * 4);
    }
    memset(cache->slot_of, 0xFF, e * sizeof *cache->slot_of);
    memset(cache->holds, 0xFF, s * sizeof *cache->holds);
    return DP_OK;
}

void dp_cache_free(dp_cache *cache) {
    dp_free(cache->slot_of);
    dp_free(cache->holds);
    dp_free(cache->last);
    dp_free(cache->score);
    dp_free(cache->next);
    *cache = (dp_cache){0};
}

void dp_cache_step(dp_cache *cache) { cache->clock++; }

static double score_now(const dp_cache *cache, int32_t expert) {
    return cache->score[expert] * exp2(-(double)(cache->clock - cache->last[expert]) / cache->decay);
}

void dp_cache_use(dp_cache *cache, int32_t expert) {
    cache->score[expert] = score_now(cache, expert) + 1;
    cache->last[expert] = cache->clock;
}

/* Larger is more worth keeping. */
static double worth(const dp_cache *cache, int32_t expert) {
    switch (cache->policy) {
    case DP_CACHE_LRFU: return score_now(cache, expert);
    case DP_CACHE_BELADY: return -(double)cache->next[expert];
    case DP_CACHE_LRU: break;
    }
    return (double)cache->last[expert];
}

int32_t dp_cache_choose(const dp_cache *cache, bool (*may)(const void *user, int32_t slot), const void *user) {
    int32_t best = -1;
    double least = 0;
    for (int32_t s = 0; s < cache->slots; s++) {
        if (!may(user, s)) continue;
        if (cache->holds[s] < 0) return s;
        double value = worth(cache, cache->holds[s]);
        if (best >= 0 && value >= least) continue;
        best = s;
        least = value;
    }
    return best;
}

bool dp_cache_prefers(const dp_cache *cache, int32_t expert, int32_t slot) {
    return cache->holds[slot] < 0 || worth(cache, expert) > worth(cache, cache->holds[slot]);
}

void dp_cache_put(dp_cache *cache, int32_t slot, int32_t expert) {
    if (cache->holds[slot] >= 0) cache->slot_of[cache->holds[slot]] = -1;
    cache->holds[slot] = expert;
    if (expert >= 0) cache->slot_of[expert] = slot;
}
