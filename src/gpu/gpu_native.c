/* gpu_native.c: the device: opening, errors, loss, the tables behind handles.
 * Errors reach us in three ways: as the result of an error scope (what is made on request), through the device's error
 * callback (what is queued), and as the loss of the device. The first error is kept until gpu_take_error(). */
#include "gpu/gpu_native.h"

/* ---- tables ---- */

uint32_t gpu_table_add(gpu_table *table, size_t size, void **item) {
    size_t i = table->first_free;
    while (i < table->count && table->items[i]) i++;
    if (i == UINT32_MAX || !dp_grow((void **)&table->items, &table->capacity, i + 1, sizeof *table->items)) return 0;
    *item = dp_calloc(1, size);
    if (!*item) return 0;
    table->items[i] = *item;
    table->count = DP_MAX(table->count, i + 1);
    table->first_free = i + 1;
    return (uint32_t)(i + 1);
}

void *gpu_table_get(const gpu_table *table, uint32_t handle) {
    return handle && handle <= table->count ? table->items[handle - 1] : NULL;
}

void gpu_table_drop(gpu_table *table, uint32_t handle) {
    dp_free(table->items[handle - 1]);
    table->items[handle - 1] = NULL;
    table->first_free = DP_MIN(table->first_free, (size_t)handle - 1);
}

static void table_free(gpu_table *table) {
    for (size_t i = 0; i < table->count; i++) dp_free(table->items[i]);
    dp_free(table->items);
    *table = (gpu_table){0};
}

/* ---- errors ---- */

static dp_status status_of(WGPUErrorType type) {
    return type == WGPUErrorType_OutOfMemory ? DP_E_MEMORY : DP_E_DEVICE;
}

static void on_error(const WGPUDevice *device, WGPUErrorType type, WGPUStringView message, void *user, void *unused) {
    dp_gpu *gpu = user;
    (void)device, (void)unused;
    if (gpu->error != DP_OK) return;
    gpu->error = status_of(type);
    gpu_text_copy(gpu->message, sizeof gpu->message, message);
}

static void on_lost(const WGPUDevice *device, WGPUDeviceLostReason reason, WGPUStringView message, void *user,
                    void *unused) {
    dp_gpu *gpu = user;
    (void)device, (void)reason, (void)unused;
    gpu->lost = true;
    gpu_text_copy(gpu->lost_message, sizeof gpu->lost_message, message);
}

static dp_status lost_status(const dp_gpu *gpu) {
    return dp_fail(DP_E_DEVICE, "the device %s was lost and must be opened anew (sessions, model and engine too): %s",
                   gpu->caps.name, gpu->lost_message);
}

dp_status gpu_take_error(dp_gpu *gpu) {
    if (gpu->lost) return lost_status(gpu);
    if (gpu->error == DP_OK) return DP_OK;
    dp_status status = gpu->error;
    gpu->error = DP_OK;
    return dp_fail(status, "the device %s reports: %s", gpu->caps.name, gpu->message);
}

dp_status dp_gpu_check(dp_gpu *gpu) {
    gpu->lib.InstanceProcessEvents(gpu->lib.instance);
    return gpu_take_error(gpu);
}

void dp_gpu_watch(dp_gpu *gpu, bool on) { gpu->watched = on; }

dp_status gpu_wait_for(dp_gpu *gpu, WGPUFuture future) {
    double spin = gpu->caps.software ? 0 : gpu->watched ? 5e-3 : 200e-6;
    dp_status status = gpu_library_wait(&gpu->lib, future, gpu->patience, spin);
    if (status == DP_OK) return DP_OK;
    gpu->lib.InstanceProcessEvents(gpu->lib.instance);
    return gpu->lost ? lost_status(gpu) : status;
}

/* ---- error scopes: memory inside, internal and validation around it ---- */

static const WGPUErrorFilter scope_filters[] = {WGPUErrorFilter_Validation, WGPUErrorFilter_Internal,
                                                WGPUErrorFilter_OutOfMemory};

void gpu_scope_begin(dp_gpu *gpu) {
    for (size_t i = 0; i < DP_COUNT(scope_filters); i++) gpu->lib.DevicePushErrorScope(gpu->device, scope_filters[i]);
}

static void on_scope(WGPUPopErrorScopeStatus status, WGPUErrorType type, WGPUStringView message, void *user,
                     void *unused) {
    dp_gpu *gpu = user;
    (void)unused;
    if (status != WGPUPopErrorScopeStatus_Success || type == WGPUErrorType_NoError) return;
    gpu->scope_error = status_of(type);
    gpu_text_copy(gpu->scope_message, sizeof gpu->scope_message, message);
}

dp_status gpu_scope_end(dp_gpu *gpu, const char *what) {
    gpu->scope_error = DP_OK;
    dp_status waited = DP_OK;
    for (size_t i = 0; i < DP_COUNT(scope_filters); i++) {
        WGPUPopErrorScopeCallbackInfo callback = {
            .mode = WGPUCallbackMode_WaitAnyOnly, .callback = on_scope, .userdata1 = gpu};
        dp_status status = gpu_wait_for(gpu, gpu->lib.DevicePopErrorScope(gpu->device, callback));
        if (waited == DP_OK) waited = status;
    }
    if (gpu->lost) return lost_status(gpu);
    if (gpu->scope_error == DP_OK) return waited;
    return dp_fail(gpu->scope_error, "%s: %s", what, gpu->scope_message);
}

/* ---- opening ---- */

typedef struct device_request {
    WGPUDevice device;
    char message[GPU_MESSAGE];
} device_request;

static void on_device(WGPURequestDeviceStatus status, WGPUDevice device, WGPUStringView message, void *user,
                      void *unused) {
    device_request *r = user;
    (void)unused;
    r->device = status == WGPURequestDeviceStatus_Success ? device : NULL;
    gpu_text_copy(r->message, sizeof r->message, message);
}

static size_t list_features(const dp_gpu_caps *caps, WGPUFeatureName *features) {
    size_t count = 0;
    if (caps->f16) features[count++] = WGPUFeatureName_ShaderF16;
    if (caps->subgroups) features[count++] = WGPUFeatureName_Subgroups;
    if (caps->timestamps) features[count++] = WGPUFeatureName_TimestampQuery;
    return count + gpu_dawn_features(caps, features + count);
}

static dp_status request_device(dp_gpu *gpu, WGPUAdapter adapter, const dp_gpu_desc *desc) {
    WGPUFeatureName features[8];
    WGPULimits limits = {0};
    gpu_dawn dawn;
    device_request r = {0};
    if (gpu->lib.AdapterGetLimits(adapter, &limits) != WGPUStatus_Success)
        return dp_fail(DP_E_DEVICE, "the adapter %s tells no limits", gpu->caps.name);
    gpu->param_stride = DP_MAX(limits.minUniformBufferOffsetAlignment, (uint32_t)DP_GPU_PARAM_BYTES);
    WGPUDeviceDescriptor device = {
        .nextInChain = gpu_dawn_device_chain(&dawn, desc->unchecked),
        .label = gpu_text("doppler"),
        .requiredFeatureCount = list_features(&gpu->caps, features),
        .requiredFeatures = features,
        .requiredLimits = &limits,
        .deviceLostCallbackInfo = {.mode = WGPUCallbackMode_AllowProcessEvents, .callback = on_lost, .userdata1 = gpu},
        .uncapturedErrorCallbackInfo = {.callback = on_error, .userdata1 = gpu},
    };
    WGPURequestDeviceCallbackInfo callback = {
        .mode = WGPUCallbackMode_WaitAnyOnly, .callback = on_device, .userdata1 = &r};
    TRY(gpu_library_wait(&gpu->lib, gpu->lib.AdapterRequestDevice(adapter, &device, callback), 60, 0));
    if (!r.device) return dp_fail(DP_E_DEVICE, "the adapter %s gives no device: %s", gpu->caps.name, r.message);
    gpu->device = r.device;
    gpu->queue = gpu->lib.DeviceGetQueue(gpu->device);
    return DP_OK;
}

static dp_status open_adapter(dp_gpu *gpu, const dp_gpu_desc *desc) {
    gpu_adapters adapters;
    TRY(gpu_adapters_find(&gpu->lib, desc, &adapters));
    size_t index = desc->adapter < 0 ? 0 : (size_t)desc->adapter;
    dp_status status;
    if (index < adapters.count) {
        gpu->caps = adapters.items[index].caps;
        gpu->caps.timestamps = gpu->caps.timestamps && desc->timestamps;
        /* software may be slow and still be well; a GPU that is silent for a minute is not */
        gpu->caps.clears_slowly = gpu->caps.software && !desc->unchecked;
        gpu->patience = gpu->caps.software ? 900 : 60;
        status = request_device(gpu, adapters.items[index].adapter, desc);
    } else {
        status = dp_fail(DP_E_UNSUPPORTED, "no GPU number %d: there are %u (doppler devices lists them)", (int)desc->adapter + 1,
                         (unsigned)adapters.count);
    }
    gpu_adapters_release(&gpu->lib, &adapters);
    return status;
}

dp_status dp_gpu_open(const dp_gpu_desc *desc, dp_gpu **out) {
    dp_gpu *gpu = dp_calloc(1, sizeof *gpu);
    if (!gpu) return dp_no_memory(sizeof *gpu);
    dp_status status = gpu_library_open(desc->library, &gpu->lib);
    if (status == DP_OK) status = open_adapter(gpu, desc);
    if (status == DP_OK) status = gpu_dispatch_open(gpu);
    if (status == DP_OK)
        *out = gpu;
    else
        dp_gpu_close(gpu);
    return status;
}

void dp_gpu_close(dp_gpu *gpu) {
    if (!gpu) return;
    if (gpu->device) {
        gpu_dispatch_close(gpu);
        gpu_buffers_close(gpu);
        if (gpu->queue) gpu->lib.QueueRelease(gpu->queue);
        gpu->lib.DeviceDestroy(gpu->device);
        gpu->lib.DeviceRelease(gpu->device);
        gpu->lib.InstanceProcessEvents(gpu->lib.instance); /* on_lost runs while `gpu` is still there */
    }
    gpu_library_close(&gpu->lib); /* before the tables: callbacks that were never waited for may come here */
    table_free(&gpu->buffers);
    table_free(&gpu->pipelines);
    table_free(&gpu->bindings);
    table_free(&gpu->readbacks);
    dp_free(gpu);
}

const dp_gpu_caps *dp_gpu_get_caps(const dp_gpu *gpu) { return &gpu->caps; }

bool gpu_is_refused(uint64_t *countdown) { return *countdown && --*countdown == 0; }

void dp_gpu_provoke(dp_gpu *gpu, dp_gpu_fault fault, uint32_t after) {
    if (fault == DP_GPU_FAULT_MEMORY) gpu->refuse_buffer = (uint64_t)after + 1;
    if (fault == DP_GPU_FAULT_PIPELINE) gpu->refuse_pipeline = (uint64_t)after + 1;
    if (fault != DP_GPU_FAULT_LOST) return;
    gpu->lib.DeviceDestroy(gpu->device);
    gpu->lib.InstanceProcessEvents(gpu->lib.instance);
}

static void on_done(WGPUQueueWorkDoneStatus status, WGPUStringView message, void *user, void *unused) {
    (void)message, (void)unused;
    ((dp_gpu *)user)->done = status == WGPUQueueWorkDoneStatus_Success;
}

dp_status dp_gpu_wait(dp_gpu *gpu) {
    TRY(gpu_stage_flush(gpu));
    gpu->done = false;
    WGPUQueueWorkDoneCallbackInfo callback = {
        .mode = WGPUCallbackMode_WaitAnyOnly, .callback = on_done, .userdata1 = gpu};
    TRY(gpu_wait_for(gpu, gpu->lib.QueueOnSubmittedWorkDone(gpu->queue, callback)));
    TRY(dp_gpu_check(gpu));
    return gpu->done ? DP_OK : dp_fail(DP_E_DEVICE, "the device %s did not finish its work", gpu->caps.name);
}
