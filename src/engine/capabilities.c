/* capabilities.c: what memory an engine's tiers have. */
#include "engine/engine.h"
#include "host/host.h"

static dp_tier vram_of(const dp_device_memory *m) {
    uint64_t used = m->weights + m->kv + m->activations; /* transfer buffers lie in host memory */
    return m->total ? (dp_tier){m->total, m->total - DP_MIN(m->total, used)} : (dp_tier){UINT64_MAX, UINT64_MAX};
}

dp_status dp_engine_capabilities(const dp_engine *engine, const char *store, dp_capabilities *out) {
    if (!engine || !out) return dp_fail(DP_E_ARG, "dp_engine_capabilities: engine or out is NULL");
    dp_device_memory device;
    dp_capabilities found = {.gpu = engine->backend->api->memory != NULL};
    dp_engine_memory(engine, &device);
    found.unified = !found.gpu || device.unified;
    if (found.gpu) found.vram = vram_of(&device);
    found.ram = (dp_tier){dp_host_memory_total(), dp_host_memory_available()};
    found.disk.free = dp_path_free_space(store ? store : ".", &found.disk.total);
    *out = found;
    return DP_OK;
}
