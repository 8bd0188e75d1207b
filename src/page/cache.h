/* cache.h: which of a layer's experts stand in its slots, and which goes when another must come. Pure bookkeeping, for
 * the pager and for replaying routing traces alike. LRFU: Lee et al., IEEE Transactions on Computers 50 (12), 2001: an expert is
 * worth the sum over its uses of 2^(-age / half-life). Belady, IBM Systems Journal 5 (2), 1966. Floor 4. */
#ifndef DP_CACHE_H
#define DP_CACHE_H

#include "base/base.h"

typedef struct dp_cache {
    dp_cache_policy policy;
    double decay;        /* LRFU: a use counts half after this many steps */
    int32_t experts, slots;
    int32_t *slot_of;    /* [experts], -1: not in a slot */
    int32_t *holds;      /* [slots], -1: empty */
    uint64_t clock;      /* steps of the layer */
    uint64_t *last;      /* [experts]: the step that last used it; 0: never */
    double *score;       /* [experts]: LRFU's weight of its uses, as of `last` */
    uint64_t *next;      /* [experts]: BELADY: the step that uses it next, set by the replay; UINT64_MAX: never */
} dp_cache;

dp_status dp_cache_init(dp_cache *cache, dp_cache_policy policy, int32_t experts, int32_t slots);
void dp_cache_free(dp_cache *cache);

/* A new step begins; then dp_cache_use for each expert it uses. */
void dp_cache_step(dp_cache *cache);
void dp_cache_use(dp_cache *cache, int32_t expert);
/* An empty slot, or else the slot whose expert is worth least, among those that may(user, slot) allows; -1: none. */
int32_t dp_cache_choose(const dp_cache *cache, bool (*may)(const void *user, int32_t slot), const void *user);
/* Whether an expert is worth more than the one in that slot, which may be empty. */
bool dp_cache_prefers(const dp_cache *cache, int32_t expert, int32_t slot);
void dp_cache_put(dp_cache *cache, int32_t slot, int32_t expert); /* what the slot held leaves; expert -1: only that */

#endif
