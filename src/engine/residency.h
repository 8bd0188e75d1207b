/* residency.h: decides, under a budget, which weights are in memory: all of them mapped, or plain matrices read and
 * experts paged, or layers passing through as well. Knows what sessions take. Floor 5. */
#ifndef DP_RESIDENCY_H
#define DP_RESIDENCY_H

#include "arch/builder.h"
#include "graph/backend.h"
#include "page/pages.h"

typedef struct dp_residency {
    dp_pages *pages;      /* NULL: all weights are mapped */
    uint64_t budget;      /* 0: none was set and none is needed */
    uint64_t base;        /* resident memory before weights and sessions */
    uint64_t weights;     /* mapped: all of them. Paged: what does not depend on the number of slots */
    uint64_t sessions;    /* bytes promised to open sessions */
    uint64_t first_session; /* what one of default size takes, kept free for it */
    int32_t wanted_slots; /* dp_model_desc.expert_slots */
    int32_t used_experts; /* of a token */
    int32_t *slots;       /* [pages->layer_count] */
    dp_mutex *lock;
} dp_residency;

/* Before weights are loaded: maps or pages? session: the bytes that one of default size takes. can_page: the backend
 * asks a pager. */
dp_status dp_residency_init(dp_residency *residency, const dp_builder *builder, const dp_model_desc *desc, uint64_t session, bool can_page);
/* Paged: takes the place of mapping; reads what stays. `program->pager` is set. */
dp_status dp_residency_open(dp_residency *residency, dp_builder *builder, const dp_model_desc *desc);
void dp_residency_close(dp_residency *residency);
bool dp_residency_is_paged(const dp_residency *residency);

/* A session of so many bytes opens: slots make room for it, or DP_E_MEMORY says what it lacks. */
dp_status dp_residency_reserve(dp_residency *residency, uint64_t bytes);
void dp_residency_release(dp_residency *residency, uint64_t bytes);
/* The largest session that could open now. */
uint64_t dp_residency_room(const dp_residency *residency);

#endif
