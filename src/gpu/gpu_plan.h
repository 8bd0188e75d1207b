/* gpu_plan.h: what the files of the GPU backend share: the backend, weights on the device, the KV cache, planned
 * dispatches. Floor 4. */
#ifndef DP_GPU_PLAN_H
#define DP_GPU_PLAN_H

#include "gpu/gpu_backend.h"
#include "gpu/kernels.h"
#include "host/host.h"

typedef struct dp_gpu_backend {
    dp_backend base;
    dp_gpu *gpu;
    dp_kernels *kernels;
    dp_mutex *lock;     /* one thread uses the device at a time */
    dp_gpu_buffer nothing; /* stands in for bindings that a kernel variant does not read */
    uint8_t params_taken[512]; /* a bit per slot of the device's parameter block */
    char text[200];
} dp_gpu_backend;

/* program->device: parallel to program->weights. */
typedef struct dp_gpu_weight {
    dp_gpu_buffer quants, scales;
} dp_gpu_weight;

dp_status dp_gpu_weights_load(dp_gpu_backend *backend, dp_program *program, dp_progress_fn progress, void *user);
void dp_gpu_weights_unload(dp_gpu_backend *backend, dp_program *program);

/* The KV cache: one buffer a layer, f16. A layer with a window keeps a ring of `capacity` positions. */
typedef struct dp_gpu_kv_layer {
    dp_gpu_buffer buffer;
    uint32_t capacity;
} dp_gpu_kv_layer;

struct dp_kv {
    dp_gpu_backend *backend;
    const dp_program *program;
    dp_gpu_kv_layer *layers;
    int32_t context;
    int32_t written; /* positions ever written since the last truncate to 0 */
};

/* How a dispatch's grid follows the step: that axis is multiplied by its token or output count, times `times`, over `per`. */
typedef enum dp_grid_rows { DP_GRID_FIXED, DP_GRID_TOKENS, DP_GRID_OUTPUTS } dp_grid_rows;
typedef struct dp_planned {
    dp_gpu_dispatch dispatch;
    dp_grid_rows rows;
    uint8_t axis;
    uint32_t times, per;
    size_t op;         /* index of the op it belongs to */
    int32_t at_least, at_most; /* tokens (or outputs) in the step for which it runs */
    bool split;        /* attention: true runs only for one token with a long past, false otherwise; `either` ignores it */
    bool either;
} dp_planned;

struct dp_plan {
    dp_gpu_backend *backend;
    const dp_program *program;
    dp_plan_size size;
    const dp_kv *kv;      /* the cache that the attention bindings were made for */
    dp_gpu_buffer *slots, tokens, step, partial;
    dp_planned *planned;
    size_t planned_count, planned_capacity;
    dp_gpu_dispatch *queue; /* [planned_count] of one step */
    size_t *queue_ops;      /* [planned_count] their ops */
};

/* Turns the whole program into dispatches for this plan and cache (gpu_plan.c). */
dp_status dp_gpu_plan_build(dp_plan *plan, const dp_kv *kv);
void dp_gpu_plan_clear(dp_plan *plan);

enum {
    DP_GPU_SPLITS = 16,       /* workgroups that share one head's past in decode */
    DP_GPU_SPLIT_FROM = 256,  /* positions from which that pays */
    DP_GPU_MATVEC_MOST = 4    /* tokens up to which weights are read once per token */
};

#endif
