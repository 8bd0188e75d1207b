/* gpu_native_adapter.c: which adapters there are and what they can do.
 * webgpu.h cannot list adapters; it answers requests. Asking for the fast one, the economical one and the software one
 * finds all that differ in kind; of several equal cards it finds one. */
#include "gpu/gpu_native.h"

#ifdef __APPLE__
static const WGPUBackendType the_backend = WGPUBackendType_Metal;
#else
static const WGPUBackendType the_backend = WGPUBackendType_Vulkan;
#endif

/* ---- requests ---- */

typedef struct request {
    WGPUAdapter adapter;
    char message[256];
} request;

static void on_adapter(WGPURequestAdapterStatus status, WGPUAdapter adapter, WGPUStringView message, void *user,
                       void *unused) {
    request *r = user;
    (void)unused;
    r->adapter = status == WGPURequestAdapterStatus_Success ? adapter : NULL;
    gpu_text_copy(r->message, sizeof r->message, message);
}

static dp_status request_adapter(const gpu_library *lib, WGPURequestAdapterOptions options, request *out) {
    gpu_dawn dawn;
    options.nextInChain = gpu_dawn_adapter_chain(&dawn);
    options.featureLevel = WGPUFeatureLevel_Core;
    options.backendType = the_backend;
    WGPURequestAdapterCallbackInfo callback = {
        .mode = WGPUCallbackMode_WaitAnyOnly, .callback = on_adapter, .userdata1 = out};
    return gpu_library_wait(lib, lib->InstanceRequestAdapter(lib->instance, &options, callback), 60, 0);
}

/* ---- capabilities ---- */

/* The limits, with room behind that a library with a larger structure would write to. */
typedef struct guarded_limits {
    WGPULimits limits;
    uint8_t guard[64];
} guarded_limits;

static dp_status read_limits(const gpu_library *lib, WGPUAdapter adapter, WGPULimits *out) {
    guarded_limits g;
    memset(&g, 0xA5, sizeof g);
    g.limits.nextInChain = NULL;
    bool ok = lib->AdapterGetLimits(adapter, &g.limits) == WGPUStatus_Success;
    for (size_t i = 0; i < sizeof g.guard; i++) ok = ok && g.guard[i] == 0xA5;
    const WGPULimits *l = &g.limits;
    /* what every adapter guarantees; the last member shows that the library filled the structure to its end */
    ok = ok && l->maxStorageBuffersPerShaderStage >= 8 && l->maxStorageBuffersPerShaderStage < 1 << 20 &&
         l->maxBufferSize >= 1 << 28 && l->maxComputeWorkgroupsPerDimension >= 65535 && l->maxImmediateSize < 1 << 20;
    if (!ok)
        return dp_fail(DP_E_UNSUPPORTED, "%s: its structures are not those of the webgpu.h DOPPLER was built with; "
                                         "build against the library's own header", lib->name);
    *out = g.limits;
    return DP_OK;
}

static void limits_caps(const WGPULimits *l, dp_gpu_caps *caps) {
    caps->buffer_max = l->maxBufferSize;
    caps->binding_max = DP_MIN(l->maxStorageBufferBindingSize, l->maxBufferSize);
    caps->binding_align = l->minStorageBufferOffsetAlignment;
    caps->workgroup_memory = l->maxComputeWorkgroupStorageSize;
    caps->workgroup_size = DP_MIN(l->maxComputeInvocationsPerWorkgroup, l->maxComputeWorkgroupSizeX);
    caps->workgroups = l->maxComputeWorkgroupsPerDimension;
    caps->storage_buffers = l->maxStorageBuffersPerShaderStage;
}

static const char *backend_name(WGPUBackendType type) {
    switch (type) {
    case WGPUBackendType_Vulkan:
        return "vulkan";
    case WGPUBackendType_Metal:
        return "metal";
    case WGPUBackendType_D3D12:
        return "d3d12";
    default:
        return "other";
    }
}

static void info_caps(const WGPUAdapterInfo *info, dp_gpu_caps *caps) {
    gpu_text_copy(caps->name, sizeof caps->name, info->device);
    gpu_text_copy(caps->vendor, sizeof caps->vendor, info->vendor);
    gpu_text_copy(caps->driver, sizeof caps->driver, info->description);
    memcpy(caps->api, backend_name(info->backendType), strlen(backend_name(info->backendType)) + 1);
    caps->software = info->adapterType == WGPUAdapterType_CPU;
    caps->slow_barriers = caps->software && strstr(caps->name, "SwiftShader");
    caps->unified = caps->software || info->adapterType == WGPUAdapterType_IntegratedGPU;
    caps->subgroup_min = info->subgroupMinSize;
    caps->subgroup_max = info->subgroupMaxSize;
}

/* As if the adapter lacked what `desc` does not want. */
static void mask_caps(const dp_gpu_desc *desc, dp_gpu_caps *caps) {
    if (desc->no_f16) caps->f16 = false;
    if (desc->no_subgroups) caps->subgroups = false;
    if (!caps->subgroups) caps->subgroup_min = caps->subgroup_max = 0;
    if (desc->no_subgroup_matrix || !caps->f16 || !caps->subgroups) caps->subgroup_matrix = false;
    if (!caps->subgroup_matrix) caps->matrix_m = caps->matrix_n = caps->matrix_k = 0;
}

static dp_status read_caps(const gpu_library *lib, WGPUAdapter adapter, const dp_gpu_desc *desc, dp_gpu_caps *caps) {
    WGPULimits limits = {0};
    TRY(read_limits(lib, adapter, &limits));
    WGPUAdapterInfo info = {0};
    if (lib->AdapterGetInfo(adapter, &info) != WGPUStatus_Success)
        return dp_fail(DP_E_DEVICE, "%s: an adapter does not say what it is", lib->name);
    *caps = (dp_gpu_caps){0};
    info_caps(&info, caps);
    lib->AdapterInfoFreeMembers(info);
    limits_caps(&limits, caps);
    caps->f16 = lib->AdapterHasFeature(adapter, WGPUFeatureName_ShaderF16);
    caps->subgroups = lib->AdapterHasFeature(adapter, WGPUFeatureName_Subgroups);
    caps->timestamps = lib->AdapterHasFeature(adapter, WGPUFeatureName_TimestampQuery);
    gpu_dawn_caps(lib, adapter, caps);
    mask_caps(desc, caps);
    return DP_OK;
}

/* ---- the list ---- */

static int rank(const dp_gpu_caps *caps) { return caps->software ? 0 : caps->unified ? 1 : 2; }

static bool same_adapter(const dp_gpu_caps *a, const dp_gpu_caps *b) {
    return strcmp(a->name, b->name) == 0 && strcmp(a->driver, b->driver) == 0 && a->software == b->software;
}

/* Adds an adapter, which the list then owns, in order of rank; a known one is released. */
static void add(const gpu_library *lib, gpu_adapters *list, struct gpu_adapter item) {
    bool known = list->count == GPU_ADAPTERS_MAX;
    for (size_t i = 0; i < list->count && !known; i++) known = same_adapter(&list->items[i].caps, &item.caps);
    if (known) {
        lib->AdapterRelease(item.adapter);
        return;
    }
    size_t at = list->count++;
    for (; at > 0 && rank(&list->items[at - 1].caps) < rank(&item.caps); at--) list->items[at] = list->items[at - 1];
    list->items[at] = item;
}

dp_status gpu_adapters_find(const gpu_library *lib, const dp_gpu_desc *desc, gpu_adapters *out) {
    const WGPURequestAdapterOptions ways[] = {
        {.powerPreference = WGPUPowerPreference_HighPerformance},
        {.powerPreference = WGPUPowerPreference_LowPower},
        {.forceFallbackAdapter = WGPU_TRUE},
    };
    request r = {0};
    *out = (gpu_adapters){0};
    dp_status status = DP_OK;
    for (size_t i = 0; i < DP_COUNT(ways) && status == DP_OK; i++) {
        r.adapter = NULL;
        status = request_adapter(lib, ways[i], &r);
        if (status != DP_OK || !r.adapter) continue;
        struct gpu_adapter item = {.adapter = r.adapter};
        status = read_caps(lib, r.adapter, desc, &item.caps);
        if (status == DP_OK)
            add(lib, out, item);
        else
            lib->AdapterRelease(r.adapter);
    }
    if (status != DP_OK) {
        gpu_adapters_release(lib, out);
        return status;
    }
    if (out->count) return DP_OK;
    return dp_fail(DP_E_UNSUPPORTED, "WebGPU (%s) finds no adapter: is a %s driver installed?%s%s", lib->name,
                   backend_name(the_backend), r.message[0] ? " It says: " : "", r.message);
}

void gpu_adapters_release(const gpu_library *lib, gpu_adapters *adapters) {
    for (size_t i = 0; i < adapters->count; i++) lib->AdapterRelease(adapters->items[i].adapter);
    adapters->count = 0;
}

dp_status dp_gpu_list(const dp_gpu_desc *desc, dp_gpu_caps *list, size_t capacity, size_t *count) {
    gpu_library lib;
    gpu_adapters adapters;
    TRY(gpu_library_open(desc->library, &lib));
    dp_status status = gpu_adapters_find(&lib, desc, &adapters);
    if (status == DP_OK) {
        for (size_t i = 0; i < DP_MIN(capacity, adapters.count); i++) list[i] = adapters.items[i].caps;
        *count = adapters.count;
        gpu_adapters_release(&lib, &adapters);
    }
    gpu_library_close(&lib);
    return status;
}
