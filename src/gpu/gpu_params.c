/* gpu_params.c: who uses which slot of the device's parameter block. Layers are alike, and so are most of their dispatches'
 * parameters: equal ones share a slot, so that a few hundred slots serve any number of layers and sessions. */
#include "gpu/gpu_plan.h"

struct dp_gpu_params_slot {
    uint32_t words[DP_GPU_PARAM_BYTES / 4];
    uint32_t users;
    bool own; /* of one user, who writes it */
};

static dp_status find_free(dp_gpu_backend *b, size_t *out) {
    size_t i = 0;
    while (i < b->params_count && b->params[i].users) i++;
    if (i == DP_GPU_PARAM_SLOTS)
        return dp_fail(DP_E_MEMORY, "too many sessions on one GPU: their dispatches need more than %d parameter slots",
                       (int)DP_GPU_PARAM_SLOTS);
    if (!dp_grow((void **)&b->params, &b->params_capacity, i + 1, sizeof *b->params)) return dp_no_memory(sizeof *b->params);
    b->params_count = DP_MAX(b->params_count, i + 1);
    b->params[i] = (dp_gpu_params_slot){.users = 1, .own = true};
    *out = i;
    return DP_OK;
}

dp_status dp_gpu_params_take(dp_gpu_backend *b, uint32_t *out) {
    size_t i = 0;
    TRY(find_free(b, &i));
    *out = (uint32_t)i;
    return DP_OK;
}

dp_status dp_gpu_params_share(dp_gpu_backend *b, const uint32_t *words, uint32_t *out) {
    size_t i = 0;
    while (i < b->params_count &&
           (!b->params[i].users || b->params[i].own || memcmp(b->params[i].words, words, DP_GPU_PARAM_BYTES) != 0))
        i++;
    if (i < b->params_count) {
        b->params[i].users++;
        *out = (uint32_t)i;
        return DP_OK;
    }
    TRY(find_free(b, &i));
    b->params[i].own = false;
    memcpy(b->params[i].words, words, DP_GPU_PARAM_BYTES);
    dp_status status = dp_gpu_params(b->gpu, (uint32_t)i, 1, words);
    if (status == DP_OK) *out = (uint32_t)i;
    else b->params[i].users = 0;
    return status;
}

void dp_gpu_params_give(dp_gpu_backend *b, uint32_t slot) { b->params[slot].users--; }
