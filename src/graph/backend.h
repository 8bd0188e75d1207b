/* backend.h: what a device must be able to do. A backend is opened by its own function (dp_cpu_open), then used through
 * this table. Floor 3. */
#ifndef DP_BACKEND_H
#define DP_BACKEND_H

#include "graph/pager.h"

typedef struct dp_backend dp_backend;
typedef struct dp_plan dp_plan; /* a program made ready on a device: buffers for a bounded number of tokens and outputs */
typedef struct dp_kv dp_kv;     /* the KV cache of one session, paged, in the device's memory */

/* The most tokens and the most wanted outputs that one step may have. */
typedef struct dp_plan_size {
    int32_t tokens, outputs;
} dp_plan_size;

/* What a KV cache must be able to hold: `context` positions, in steps of up to `step` tokens. */
typedef struct dp_kv_size {
    dp_kv_type type;
    int32_t context, step;
} dp_kv_size;

/* One forward pass over `count` tokens at positions kv length .. kv length + count - 1. */
typedef struct dp_step {
    const int32_t *tokens; /* NULL, with a count of 1: the token drawn last (`draw` below) */
    int32_t count;
    int32_t position;    /* of the first token */
    int32_t outputs;     /* logits are wanted for the last `outputs` tokens; 0: none */
    int32_t context;     /* capacity of the session, positions */
    dp_kv *kv;           /* reserved up to position + count */
    dp_routing_fn routing; /* may be NULL */
    void *routing_user;
    bool routing_blind;    /* it chooses without having seen the router's choice */
    dp_trace_fn trace;   /* may be NULL */
    void *trace_user;
    dp_profile_fn profile; /* may be NULL */
    void *profile_user;
} dp_step;

/* How a device draws tokens: the sampling as engine/sampling.c understands it, with the random numbers of that many draws
 * used up, and the ids at the positions before the first token drawn. */
typedef struct dp_draw_rules {
    dp_sampling sampling;
    uint64_t drawn;
    const int32_t *ids;
    int32_t count, context;
} dp_draw_rules;

enum { DP_DRAWS_MOST = 8 }; /* under way at a time */

typedef struct dp_backend_api {
    const char *name;
    /* load takes copies of all weights: the engine then keeps none in memory that it can read again, and load reads them
     * through program->reader. */
    bool copies;
    void (*close)(dp_backend *backend);
    const char *(*describe)(const dp_backend *backend);
    /* What everything open takes on the device; NULL where that is the process's own memory. */
    void (*memory)(dp_backend *backend, dp_device_memory *out);
    /* Makes the room that load fills, and begins with it if nobody has. What the host does between the two costs no time where
     * giving memory takes a device its time. NULL where that is nothing. */
    dp_status (*reserve)(dp_backend *backend, dp_program *program);
    /* Takes a program's weights to the device, once for all plans; host data stays valid until unload. */
    dp_status (*load)(dp_backend *backend, dp_program *program, dp_progress_fn progress, void *user);
    void (*unload)(dp_backend *backend, dp_program *program);
    dp_status (*plan_new)(dp_backend *backend, const dp_program *program, dp_plan_size size, dp_plan **out);
    void (*plan_free)(dp_plan *plan);
    dp_status (*kv_new)(dp_backend *backend, const dp_program *program, const dp_kv_size *size, dp_kv **out);
    void (*kv_free)(dp_kv *kv);
    /* Makes room for positions [from, to); pages that no window reaches any more are reused. */
    dp_status (*kv_reserve)(dp_kv *kv, int32_t from, int32_t to);
    /* Longest length <= `length` that the cache can still continue from (windows may have dropped pages: then 0). */
    int32_t (*kv_truncate)(dp_kv *kv, int32_t length);
    /* Host memory that a plan and a cache of these sizes take at most; NULL where they lie elsewhere. */
    uint64_t (*session_bytes)(dp_backend *backend, const dp_program *program, dp_plan_size plan, const dp_kv_size *kv);
    /* On a device with memory of its own: bytes there of a weight (of one of its experts), and at most of a plan with its
     * cache. NULL elsewhere. */
    uint64_t (*weight_bytes)(const dp_weight *weight);
    uint64_t (*device_bytes)(dp_backend *backend, const dp_program *program, dp_plan_size plan, const dp_kv_size *kv);
    /* The same of the slots that plain weights pass through (pager.h). */
    dp_status (*stream_bytes)(dp_backend *backend, const dp_program *program, const dp_stream *stream, uint64_t *out);
    /* Host memory that all experts take at a home that the device reads by itself (pager.h); 0: it can read none. NULL: the same. */
    uint64_t (*home_bytes)(dp_backend *backend, const dp_program *program);
    bool (*reads_host)(dp_backend *backend); /* NULL: it does not */
    dp_status (*run)(dp_plan *plan, const dp_step *step);
    /* Copies [rows][cols] of a slot to the host, rows from `first` on. */
    dp_status (*read)(dp_plan *plan, int32_t slot, int32_t first, int32_t rows, float *out);

    /* Tokens drawn on the device, so that several steps may be under way before the host knows the first one's token. All
     * NULL where there is no such thing: the engine then reads logits and draws itself.
     * draw_begin sets the rules for what follows; DP_E_UNSUPPORTED if the device cannot follow them. draw runs a step (NULL,
     * only right behind draw_begin: none, the last step's logits count) and draws from the last row of its logits; it returns
     * before that is done. Without `send` it may wait for those behind it, to be sent and read with them at once. drawn
     * waits for the oldest draw not yet taken. draw_end forgets the others, without waiting; what the steps behind them write to
     * the KV cache stays, beyond the session's length. */
    bool (*draw_is_far)(const dp_plan *plan); /* it would take long to be able to, which a first token should not wait for */
    bool (*draw_shares)(const dp_plan *plan); /* the device computes on the host's processors */
    dp_status (*draw_begin)(dp_plan *plan, const dp_draw_rules *rules);
    dp_status (*draw)(dp_plan *plan, const dp_step *step, bool send);
    dp_status (*drawn)(dp_plan *plan, int32_t *id);
    void (*draw_end)(dp_plan *plan);
} dp_backend_api;

struct dp_backend {
    const dp_backend_api *api;
};

#endif
