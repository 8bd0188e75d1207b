/* residency.h: decides, under a budget, which weights are in memory: all of them mapped, or plain matrices read and
 * experts paged, or layers passing through as well. On a device with memory of its own all weights lie there, or experts
 * share slots there and host memory is the tier below, or layers pass through slots too. Knows what sessions take. Floor 5. */
#ifndef DP_RESIDENCY_H
#define DP_RESIDENCY_H

#include "arch/builder.h"
#include "graph/backend.h"
#include "page/device.h"

typedef struct dp_residency {
    dp_pages *pages;      /* NULL: all weights are mapped */
    uint64_t budget;      /* 0: none was set and none is needed */
    uint64_t available;   /* > 0: the budget is not the caller's but what memory could be had leaves, most of this */
    uint64_t base;        /* resident memory before weights and sessions */
    uint64_t weights;     /* mapped: all of them. Paged: what does not depend on the number of slots */
    uint64_t sessions;    /* bytes promised to open sessions */
    uint64_t first_session; /* what one of default size takes, kept free for it */
    int32_t wanted_slots; /* dp_model_desc.expert_slots */
    int32_t used_experts; /* of a token */
    int32_t *slots;       /* [pages->layer_count] */
    dp_mutex *lock;
    /* a device with memory of its own (residency_device.c) */
    dp_backend *backend;
    dp_device *device;      /* its slots; NULL: all weights are there, or there is no such device */
    uint64_t vram;          /* its budget; 0: none was set and none is needed */
    uint64_t vram_plain;    /* there: plain weights that stay, and slots that others pass through */
    uint64_t vram_weights;  /* these and all experts or their slots */
    uint64_t vram_sessions, vram_first; /* as `sessions` and `first_session` */
    int32_t vram_slots;     /* dp_model_desc.expert_slots */
    uint64_t home;          /* bytes of all experts where the device reads them by itself; 0: it does not */
    uint64_t passing;       /* the same of layers that pass through. Both are part of `weights` */
    dp_stream streamed;     /* layers that pass through; units is 0 where none do */
    int32_t *unit_of;       /* its table, owned */
} dp_residency;

/* What one session takes: of host memory, of the device's. */
typedef struct dp_session_needs {
    uint64_t host, device;
} dp_session_needs;

/* Before weights are loaded: all in memory, or paged? session: what one that the desc leaves room for takes. */
dp_status dp_residency_init(dp_residency *residency, const dp_builder *builder, const dp_model_desc *desc, dp_backend *backend,
                            dp_session_needs session);
/* Paged: takes the place of mapping; reads what stays. Where anything is paged or passes through, `program->pager` is set. */
dp_status dp_residency_open(dp_residency *residency, dp_builder *builder, const dp_model_desc *desc);
void dp_residency_close(dp_residency *residency);
bool dp_residency_is_paged(const dp_residency *residency); /* experts or, on the CPU, plain matrices are */

/* A session opens: slots in host memory make room for it, or DP_E_MEMORY says what it lacks. */
dp_status dp_residency_reserve(dp_residency *residency, dp_session_needs session);
void dp_residency_release(dp_residency *residency, dp_session_needs session);
/* The largest session that could open now. */
dp_session_needs dp_residency_room(const dp_residency *residency);

/* residency_device.c: the parts of these functions that concern the device's memory. */
dp_status dp_residency_init_device(dp_residency *residency, const dp_builder *builder, const dp_model_desc *desc, bool *paged);
dp_status dp_residency_init_home(dp_residency *residency, const dp_program *program, dp_misses misses, bool paged);
dp_status dp_residency_open_device(dp_residency *residency, dp_program *program, dp_cache_policy policy);
dp_status dp_residency_reserve_device(dp_residency *residency, uint64_t bytes);
/* residency_stream.c: chooses layers to pass through, as few as leave the plain weights in `room` bytes of the device; none,
 * if even all do not. vram_plain becomes what plain weights then take, or would take at least. */
dp_status dp_residency_stream(dp_residency *residency, const dp_program *program, uint64_t room);

#endif
