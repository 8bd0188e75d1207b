/* gpu_native.h: what the files of the native device share. Not for others: they see gpu.h.
 *   gpu_native_library.c  the WebGPU library: its functions, its version, the instance, bounded waits
 *   gpu_native_adapter.c  adapters and their capabilities
 *   gpu_native_dawn.c     everything that is Dawn's own and not standard webgpu.h
 *   gpu_native.c          the device and its errors
 *   gpu_native_buffer.c   buffers, writes through the staging ring, readbacks
 *   gpu_native_dispatch.c pipelines, bindings, parameters, submits
 * Invariants: one thread; handles are 1 + an index into a gpu_table; copies recorded in the staging ring are submitted
 * before anything else that is queued, so that all of it stays in order. */
#ifndef DP_GPU_NATIVE_H
#define DP_GPU_NATIVE_H

#include <webgpu/webgpu.h>

#include "gpu/gpu.h"
#include "host/host.h"

/* ---- gpu_native_library.c ---- */

/* Every function of webgpu.h that is used, without its prefix. */
#define GPU_FUNCTIONS(X)                                                                                               \
    X(CreateInstance) X(InstanceRequestAdapter) X(InstanceWaitAny) X(InstanceProcessEvents) X(InstanceRelease)         \
    X(AdapterGetInfo) X(AdapterInfoFreeMembers) X(AdapterPropertiesMemoryHeapsFreeMembers)                             \
    X(AdapterPropertiesSubgroupMatrixConfigsFreeMembers) X(AdapterGetLimits) X(AdapterHasFeature)                      \
    X(AdapterRequestDevice) X(AdapterRelease) X(DeviceGetQueue) X(DeviceCreateBuffer) X(DeviceCreateShaderModule)      \
    X(DeviceCreateBindGroupLayout) X(DeviceCreatePipelineLayout) X(DeviceCreateComputePipeline)                        \
    X(DeviceCreateBindGroup) X(DeviceCreateCommandEncoder) X(DeviceCreateQuerySet) X(DevicePushErrorScope)             \
    X(DevicePopErrorScope) X(DeviceDestroy) X(DeviceRelease) X(QueueWriteBuffer) X(QueueSubmit)                        \
    X(QueueOnSubmittedWorkDone) X(QueueRelease) X(BufferMapAsync) X(BufferGetMappedRange)                              \
    X(BufferGetConstMappedRange) X(BufferUnmap) X(BufferDestroy) X(BufferRelease) X(ShaderModuleGetCompilationInfo)    \
    X(ShaderModuleRelease) X(BindGroupLayoutRelease) X(PipelineLayoutRelease) X(ComputePipelineRelease)                \
    X(BindGroupRelease) X(QuerySetRelease) X(CommandEncoderBeginComputePass) X(CommandEncoderCopyBufferToBuffer)       \
    X(CommandEncoderResolveQuerySet) X(CommandEncoderFinish) X(CommandEncoderRelease) X(CommandBufferRelease)          \
    X(ComputePassEncoderSetPipeline) X(ComputePassEncoderSetBindGroup) X(ComputePassEncoderDispatchWorkgroups)         \
    X(ComputePassEncoderEnd) X(ComputePassEncoderRelease)

typedef struct gpu_library {
    dp_library *handle;
    const char *name;
    WGPUInstance instance;
#define X(f) WGPUProc##f f;
    GPU_FUNCTIONS(X)
#undef X
} gpu_library;

/* DP_E_UNSUPPORTED with all that was tried. On failure nothing is left open. */
dp_status gpu_library_open(const char *name, gpu_library *out);
void gpu_library_close(gpu_library *lib);
/* Waits until the future's callback has run; DP_E_DEVICE if that takes longer than `seconds`. The first `spin`
 * seconds are spent polling: that halves the latency of short waits. */
dp_status gpu_library_wait(const gpu_library *lib, WGPUFuture future, double seconds, double spin);

static inline WGPUStringView gpu_text(const char *text) {
    return (WGPUStringView){text ? text : "", WGPU_STRLEN};
}
/* Copies and NUL-terminates as much as fits. */
void gpu_text_copy(char *out, size_t size, WGPUStringView text);

/* ---- gpu_native_adapter.c ---- */

enum { GPU_ADAPTERS_MAX = 8 };
typedef struct gpu_adapters {
    struct gpu_adapter {
        WGPUAdapter adapter;
        dp_gpu_caps caps;
    } items[GPU_ADAPTERS_MAX];
    size_t count;
} gpu_adapters;
/* All adapters, best first; at least one, or DP_E_UNSUPPORTED. */
dp_status gpu_adapters_find(const gpu_library *lib, const dp_gpu_desc *desc, gpu_adapters *out);
void gpu_adapters_release(const gpu_library *lib, gpu_adapters *adapters);

/* ---- gpu_native_dawn.c ---- */

/* Chains into requests for an adapter and a device; valid as long as the struct. */
typedef struct gpu_dawn {
    WGPUDawnTogglesDescriptor adapter_toggles, device_toggles;
} gpu_dawn;
/* Chains into a buffer: it is this memory, of which `gone` says when nobody uses it any more. */
WGPUChainedStruct *gpu_dawn_memory_chain(WGPUBufferHostMappedPointer *chain, void *memory, void (*gone)(void *user), void *user);
WGPUChainedStruct *gpu_dawn_adapter_chain(gpu_dawn *dawn);
WGPUChainedStruct *gpu_dawn_device_chain(gpu_dawn *dawn, bool unchecked);
/* Fills caps->memory, unified and the subgroup matrix from what Dawn tells beyond webgpu.h. */
void gpu_dawn_caps(const gpu_library *lib, WGPUAdapter adapter, dp_gpu_caps *caps);
/* Appends Dawn's own features that a device with these capabilities asks for. */
size_t gpu_dawn_features(const dp_gpu_caps *caps, WGPUFeatureName *features);

/* ---- gpu_native.c ---- */

/* Handles: 1 + index. Items are owned by whoever put them in. */
typedef struct gpu_table {
    void **items;
    size_t count, capacity, first_free; /* none is free below first_free */
} gpu_table;
/* Puts a zeroed item of `size` bytes into the table; 0 when memory is short. */
uint32_t gpu_table_add(gpu_table *table, size_t size, void **item);
void *gpu_table_get(const gpu_table *table, uint32_t handle); /* NULL if there is none */
void gpu_table_drop(gpu_table *table, uint32_t handle);       /* frees the item */

typedef struct gpu_buffer {
    WGPUBuffer buffer;
    uint64_t size;
    bool host; /* in host memory */
} gpu_buffer;

enum { GPU_BINDINGS_MAX = 16 };
typedef struct gpu_pipeline {
    WGPUComputePipeline pipeline;
    WGPUBindGroupLayout layout;
    size_t binding_count; /* 'p' not counted */
    bool params;
} gpu_pipeline;

typedef struct gpu_bindings {
    WGPUBindGroup group;
    dp_gpu_pipeline pipeline;
} gpu_bindings;

/* A buffer of the staging ring: being filled (memory set), or in flight and then being mapped again. */
typedef struct gpu_stage {
    WGPUBuffer buffer;
    uint8_t *memory;
    size_t used;
    WGPUFuture mapped;
    WGPUMapAsyncStatus status;
} gpu_stage;

typedef struct gpu_readback {
    WGPUBuffer buffer;
    size_t capacity, size;
    bool busy, dropped; /* dropped: nobody waits for it; it is used again when it is mapped */
    WGPUFuture mapped;
    WGPUMapAsyncStatus status;
} gpu_readback;

/* A submit that was encoded before it is asked for, and what it must be asked for with. */
enum { GPU_ENCODED_MOST = 128 };
typedef struct gpu_encoded {
    WGPUCommandBuffer commands; /* NULL: none is */
    dp_gpu_dispatch dispatches[GPU_ENCODED_MOST];
    size_t count;
    dp_gpu_range range;
    dp_gpu_read read; /* reserved for it */
} gpu_encoded;

enum { GPU_STAGES = 4, GPU_MESSAGE = 1024 };

struct dp_gpu {
    gpu_library lib;
    WGPUDevice device;
    WGPUQueue queue;
    dp_gpu_caps caps;
    double patience; /* seconds that one wait may take */
    bool watched;    /* dp_gpu_watch */

    bool lost;
    dp_status error; /* the first since the last check */
    char message[GPU_MESSAGE], lost_message[GPU_MESSAGE];
    uint64_t refuse_buffer, refuse_pipeline; /* the how manieth from now on fails; 0: none */
    uint64_t offered; /* buffers that the library was asked for */

    /* What callbacks leave behind. They are in here because a callback may still come after a wait was given up. */
    bool done;
    dp_status scope_error;
    char scope_message[GPU_MESSAGE];

    gpu_table buffers, pipelines, bindings, readbacks;

    gpu_stage stages[GPU_STAGES];
    size_t stage;               /* the one being filled */
    size_t staged;              /* bytes handed out by dp_gpu_stage and not committed */
    WGPUCommandEncoder copies;  /* recorded from the stage being filled; NULL: none */

    WGPUBuffer params;
    uint32_t param_stride;
    uint8_t *param_rows; /* scratch where the stride is wider than a slot */

    gpu_encoded encoded;

    WGPUQuerySet queries;
    WGPUBuffer query_results;
};

/* DP_E_DEVICE once the device is lost; else the stored error, cleared. */
dp_status gpu_take_error(dp_gpu *gpu);
dp_status gpu_wait_for(dp_gpu *gpu, WGPUFuture future);
/* Errors of what is made between begin and end become end's result, with `what` in front. */
void gpu_scope_begin(dp_gpu *gpu);
dp_status gpu_scope_end(dp_gpu *gpu, const char *what);
/* Counts down what dp_gpu_provoke has set; true when it is time to fail. */
bool gpu_is_refused(uint64_t *countdown);
/* A buffer with the given usage; DP_E_MEMORY when there is no room. */
dp_status gpu_buffer_make(dp_gpu *gpu, const WGPUBufferDescriptor *desc, WGPUBuffer *out);

/* ---- gpu_native_buffer.c ---- */

dp_status gpu_stage_flush(dp_gpu *gpu); /* submits the recorded copies */
void gpu_buffers_close(dp_gpu *gpu);
/* dp_gpu_read_begin in two parts, for any buffer: the copy is recorded, and, once it is submitted, the mapping asked for. */
dp_status gpu_read_copy(dp_gpu *gpu, WGPUCommandEncoder encoder, const gpu_buffer *buffer, uint64_t offset, size_t size,
                        dp_gpu_read *out);
void gpu_read_map(dp_gpu *gpu, dp_gpu_read read);
/* Both with a submit of its own between them. */
dp_status gpu_read_from(dp_gpu *gpu, const gpu_buffer *buffer, uint64_t offset, size_t size, dp_gpu_read *out);
/* DP_E_ARG if there is no such range. */
dp_status gpu_range_check(const dp_gpu *gpu, dp_gpu_buffer buffer, uint64_t offset, uint64_t size);
/* Ends and submits what was encoded; submits what has ended. */
dp_status gpu_encoder_submit(dp_gpu *gpu, WGPUCommandEncoder encoder);
dp_status gpu_commands_submit(dp_gpu *gpu, WGPUCommandBuffer commands);

/* ---- gpu_native_dispatch.c ---- */

dp_status gpu_dispatch_open(dp_gpu *gpu);
void gpu_dispatch_close(dp_gpu *gpu);
void gpu_encoded_drop(dp_gpu *gpu); /* before something that it uses goes */

#endif
