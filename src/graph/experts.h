/* experts.h: a mixture's experts computed in host memory, for a device whose slots lack them. What the CPU backend offers
 * (cpu_experts.c) and the engine hands to programs. One thread at a time. Floor 3. */
#ifndef DP_EXPERTS_H
#define DP_EXPERTS_H

#include "graph/program.h"

typedef struct dp_experts dp_experts;

typedef struct dp_experts_api {
    void (*close)(dp_experts *experts);
    /* The slot whose row the norm in front of a mixture reads, -1 if that mixture is none that can be computed. route: the
     * op that chooses its experts. */
    int32_t (*source)(const dp_experts *experts, size_t route);
    /* Whether calls of `compute` will come soon after each other: then its threads stay awake between them. */
    void (*awake)(dp_experts *experts, bool on);
    /* out[i]: what expert ids[i] makes of a row of that slot. Their weights stand in dp_weight.expert[]. */
    dp_status (*compute)(dp_experts *experts, size_t route, const int32_t *ids, int32_t count, const float *row, float *const *out);
} dp_experts_api;

struct dp_experts {
    const dp_experts_api *api;
    dp_misses misses; /* not DP_MISSES_UPLOAD */
    uint64_t bytes;   /* of memory that it takes */
};

#endif
