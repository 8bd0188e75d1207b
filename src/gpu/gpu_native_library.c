/* gpu_native_library.c: the WebGPU library, opened at run time. webgpu.h is not stable between Dawn's snapshots, so the
 * library is taken only if it has every function we call; gpu_native_adapter.c also checks that its structures have
 * the size that this build's header gives them. */
#include "gpu/gpu_native.h"

static const char *const usual_names[] = {
#ifdef __APPLE__
    "libwebgpu_dawn.dylib",
    "/opt/homebrew/lib/libwebgpu_dawn.dylib",
    "/usr/local/lib/libwebgpu_dawn.dylib",
#else
    "libwebgpu_dawn.so.0",
    "libwebgpu_dawn.so",
#endif
};

void gpu_text_copy(char *out, size_t size, WGPUStringView text) {
    size_t n = text.length == WGPU_STRLEN ? strlen(text.data ? text.data : "") : text.length;
    n = text.data ? DP_MIN(n, size - 1) : 0;
    if (n) memcpy(out, text.data, n);
    out[n] = 0;
}

static dp_status find_function(const gpu_library *lib, const char *name, void *function, size_t size) {
    void *symbol = dp_library_symbol(lib->handle, name);
    if (!symbol)
        return dp_fail(DP_E_UNSUPPORTED, "%s has no %s: it is of another version than the webgpu.h DOPPLER was built with",
                       lib->name, name);
    memcpy(function, &symbol, size); /* a function pointer is no void *, but POSIX lets it be stored in one */
    return DP_OK;
}

static dp_status find_functions(gpu_library *lib) {
#define X(f) TRY(find_function(lib, "wgpu" #f, &lib->f, sizeof lib->f));
    GPU_FUNCTIONS(X)
#undef X
    return DP_OK;
}

/* DP_E_NOT_FOUND if there is no such library, DP_E_UNSUPPORTED if it does not do. */
static dp_status open_named(const char *name, gpu_library *out) {
    *out = (gpu_library){.name = name};
    TRY(dp_library_open(name, &out->handle));
    dp_status status = find_functions(out);
    if (status == DP_OK) {
        const WGPUInstanceFeatureName timed_wait = WGPUInstanceFeatureName_TimedWaitAny;
        const WGPUInstanceDescriptor desc = {.requiredFeatureCount = 1, .requiredFeatures = &timed_wait};
        out->instance = out->CreateInstance(&desc);
        if (!out->instance) status = dp_fail(DP_E_UNSUPPORTED, "%s: no WebGPU instance with timed waits", name);
    }
    if (status != DP_OK) gpu_library_close(out);
    return status;
}

dp_status gpu_library_open(const char *name, gpu_library *out) {
    dp_status status = DP_E_NOT_FOUND;
    if (name) status = open_named(name, out);
    for (size_t i = 0; !name && status == DP_E_NOT_FOUND && i < DP_COUNT(usual_names); i++)
        status = open_named(usual_names[i], out);
    if (status != DP_E_NOT_FOUND) return status;
    return dp_fail_in(DP_E_UNSUPPORTED, "no WebGPU library (tools/setup_webgpu.sh sets one up; then start the program with "
                                        "build/webgpu/run)");
}

void gpu_library_close(gpu_library *lib) {
    if (lib->instance) lib->InstanceRelease(lib->instance);
    dp_library_close(lib->handle);
    *lib = (gpu_library){0};
}

dp_status gpu_library_wait(const gpu_library *lib, WGPUFuture future, double seconds, double spin) {
    WGPUFutureWaitInfo info = {.future = future};
    double start = dp_host_seconds();
    WGPUWaitStatus status;
    do
        status = lib->InstanceWaitAny(lib->instance, 1, &info, 0);
    while (status == WGPUWaitStatus_TimedOut && dp_host_seconds() - start < spin);
    if (status == WGPUWaitStatus_TimedOut)
        status = lib->InstanceWaitAny(lib->instance, 1, &info, (uint64_t)(seconds * 1e9));
    if (status == WGPUWaitStatus_Success && info.completed) return DP_OK;
    if (status == WGPUWaitStatus_TimedOut)
        return dp_fail(DP_E_DEVICE, "the device does not answer: waited %.0f seconds", seconds);
    return dp_fail(DP_E_DEVICE, "waiting for the device failed");
}
