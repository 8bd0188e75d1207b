/* pages.h: the pager: a layer's experts share a few slots, plain matrices either stay or pass through two buffers, and
 * nothing else of the weights is in memory. Decides what is read and what goes; counts what that cost. It fills in
 * dp_weight.data and .expert[] of what is resident. Floor 4. */
#ifndef DP_PAGES_H
#define DP_PAGES_H

#include "base/buf.h"
#include "graph/pager.h"
#include "page/cache.h"
#include "page/loader.h"

enum { DP_STREAM_SLOTS = 2, DP_GUESS_SLOTS = 4, DP_LATENCY_BUCKETS = 96 };

/* Times by powers of 2^(1/4), from 1 microsecond on. */
typedef struct dp_latency {
    uint64_t count[DP_LATENCY_BUCKETS];
    uint64_t total;
    double sum, most;
} dp_latency;

typedef struct dp_page_counts {
    uint64_t steps, hits, misses, guesses, guesses_used, reads, bytes, evictions; /* reads: not of guesses that were wrong */
    uint64_t computed;       /* of the misses: those that a device did not wait for, since the CPU computed them */
    double compute_seconds;
    dp_latency latency; /* from asking for a unit to having it, of units that were waited for */
} dp_page_counts;

/* The experts of one layer. */
typedef struct dp_page_layer {
    int32_t layer;      /* in the program */
    int32_t first_unit; /* of its `experts` units, in order */
    int32_t experts;
    size_t slot_bytes;  /* the largest of its units */
    dp_cache cache;     /* cache.slots: those in use now */
    dp_page_slot **slots; /* [experts]; guesses change places with them */
    bool *pinned;       /* [experts] */
    dp_page_counts counts;
} dp_page_layer;

typedef struct dp_pages {
    dp_pager base;
    dp_program *program;
    dp_units units;
    dp_loader *loader;
    /* experts */
    dp_page_layer *layers;
    size_t layer_count, layer_capacity;
    bool experts_only;       /* plain matrices are elsewhere: there are no units of them */
    /* plain matrices: unit i < plain_count, in the order of the program */
    int32_t plain_count;
    int32_t *plain_of;       /* [weights]: the unit that holds it; -1: none */
    dp_page_slot **plain_slot; /* [plain_count]; NULL: streamed */
    dp_page_slot *resident;  /* [resident_count] */
    int32_t resident_count;
    dp_page_slot stream[DP_STREAM_SLOTS];
    /* experts that a layer to come may use, read ahead */
    dp_page_slot *guesses[DP_GUESS_SLOTS];
    int32_t guess_count;     /* of these that the budget has room for */
    dp_page_slot *slot_store; /* all of the layers' slots and the guesses */
    size_t slot_count;
    int32_t plain_now;       /* the unit whose ops run; -1 */
    dp_page_counts plain_counts;
    /* the step under way */
    dp_page_layer *now;      /* the layer whose experts are wanted; NULL: none */
    uint8_t *wanted;         /* [most experts]: 0 no, 1 yes, 2 handed out */
    bool *member;            /* [most experts]: of the group handed out last */
    int32_t wanted_count, left;
    double waited;           /* seconds that passes waited for reads */
    int32_t most_experts;
} dp_pages;

/* After the units are built: how large each layer's slots must be. */
void dp_pages_measure(dp_pages *pages);
/* Then: plain ones first, then every layer's experts. `slots`: of each layer. streamed [plain_count]
 * says which plain units pass through. Nothing is read yet. */
dp_status dp_pages_start(dp_pages *pages, dp_cache_policy policy, const int32_t *slots, const bool *streamed);
/* Reads the plain units that stay. */
dp_status dp_pages_read_plain(dp_pages *pages, dp_progress_fn progress, void *user);
void dp_pages_free(dp_pages *pages);

/* Changes how many slots the layers have; those beyond are given up as soon as no pass uses them. Any thread. */
void dp_pages_resize(dp_pages *pages, const int32_t *slots);

/* Gives up all of a layer's experts that no pass uses, and their memory. Any thread. */
void dp_pages_drop(dp_pages *pages, int32_t layer);
/* DP_E_ARG if there is no such expert. */
dp_status dp_pages_check(dp_pages *pages, int32_t layer, int32_t expert);
/* By hand, any thread. DP_E_ARG if there is no such expert or no slot that may be taken. */
dp_status dp_pages_load(dp_pages *pages, int32_t layer, int32_t expert);
dp_status dp_pages_pin(dp_pages *pages, int32_t layer, int32_t expert, bool pin);
dp_status dp_pages_evict(dp_pages *pages, int32_t layer, int32_t expert);

/* page_stats.c */
void dp_latency_add(dp_latency *latency, double seconds);
double dp_latency_at(const dp_latency *latency, double share); /* seconds that this share did not exceed */
void dp_page_counts_add(dp_page_counts *sum, const dp_page_counts *counts);
void dp_page_counts_put(const dp_page_counts *counts, dp_paging_stats *out); /* as hits, misses, reads, latency */
void dp_page_counts_json(const dp_page_counts *counts, int32_t layer, int32_t slots, int32_t resident, dp_buf *out);
void dp_pages_stats(dp_pages *pages, dp_paging_stats *out);
void dp_pages_stats_json(dp_pages *pages, dp_buf *out); /* adds an object a layer to the open JSON list */
void dp_pages_stats_reset(dp_pages *pages);

#endif
