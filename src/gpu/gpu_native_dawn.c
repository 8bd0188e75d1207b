/* gpu_native_dawn.c: what is Dawn's own and not in the standard webgpu.h: toggles, subgroup matrices, memory heaps.
 * Unknown toggles are ignored by Dawn, so a renamed one costs speed or a feature, never correctness. */
#include "gpu/gpu_native.h"

/* f16 is withheld on NVIDIA for a rendering test that fails there; subgroup matrices need the Vulkan memory model, and
 * count as unsafe because they are still a draft. */
static const char *const adapter_enabled[] = {"vulkan_enable_f16_on_nvidia", "use_vulkan_memory_model",
                                              "allow_unsafe_apis"};
/* Timestamps rounded to 100 microseconds would say nothing of a kernel. */
static const char *const disabled[] = {"timestamp_quantization"};
static const char *const unchecked_enabled[] = {
    "vulkan_enable_f16_on_nvidia", "use_vulkan_memory_model", "allow_unsafe_apis",
    "disable_robustness",          "skip_validation",         "disable_workgroup_init"};

static WGPUChainedStruct *fill(WGPUDawnTogglesDescriptor *out, const char *const *enabled, size_t count) {
    *out = (WGPUDawnTogglesDescriptor){
        .chain = {.sType = WGPUSType_DawnTogglesDescriptor},
        .enabledToggleCount = count,
        .enabledToggles = enabled,
        .disabledToggleCount = DP_COUNT(disabled),
        .disabledToggles = disabled,
    };
    return &out->chain;
}

WGPUChainedStruct *gpu_dawn_adapter_chain(gpu_dawn *dawn) {
    return fill(&dawn->adapter_toggles, adapter_enabled, DP_COUNT(adapter_enabled));
}

WGPUChainedStruct *gpu_dawn_device_chain(gpu_dawn *dawn, bool unchecked) {
    if (unchecked) return fill(&dawn->device_toggles, unchecked_enabled, DP_COUNT(unchecked_enabled));
    return fill(&dawn->device_toggles, adapter_enabled, DP_COUNT(adapter_enabled));
}

WGPUChainedStruct *gpu_dawn_memory_chain(WGPUBufferHostMappedPointer *chain, void *memory, void (*gone)(void *user), void *user) {
    *chain = (WGPUBufferHostMappedPointer){
        .chain = {.sType = WGPUSType_BufferHostMappedPointer}, .pointer = memory, .disposeCallback = gone, .userdata = user};
    return &chain->chain;
}

/* ---- capabilities ---- */

static void host_caps(const gpu_library *lib, WGPUAdapter adapter, dp_gpu_caps *caps) {
    WGPUDawnHostMappedPointerLimits host = {.chain = {.sType = WGPUSType_DawnHostMappedPointerLimits}};
    WGPULimits limits = {.nextInChain = &host.chain};
    if (!lib->AdapterHasFeature(adapter, WGPUFeatureName_HostMappedPointer)) return;
    if (lib->AdapterGetLimits(adapter, &limits) == WGPUStatus_Success) caps->host_align = host.hostMappedPointerAlignment;
}

static void heaps_caps(const WGPUAdapterPropertiesMemoryHeaps *heaps, dp_gpu_caps *caps) {
    for (size_t i = 0; i < heaps->heapCount; i++)
        if (heaps->heapInfo[i].properties & WGPUHeapProperty_DeviceLocal)
            caps->memory = DP_MAX(caps->memory, heaps->heapInfo[i].size);
}

/* The largest f16 x f16 -> f32 shape. */
static void matrix_caps(const WGPUAdapterPropertiesSubgroupMatrixConfigs *list, dp_gpu_caps *caps) {
    for (size_t i = 0; i < list->configCount; i++) {
        const WGPUSubgroupMatrixConfig *c = &list->configs[i];
        if (c->componentType != WGPUSubgroupMatrixComponentType_F16 ||
            c->resultComponentType != WGPUSubgroupMatrixComponentType_F32)
            continue;
        if ((uint64_t)c->M * c->N * c->K <= (uint64_t)caps->matrix_m * caps->matrix_n * caps->matrix_k) continue;
        caps->matrix_m = c->M;
        caps->matrix_n = c->N;
        caps->matrix_k = c->K;
    }
    caps->subgroup_matrix = caps->matrix_m != 0;
}

void gpu_dawn_caps(const gpu_library *lib, WGPUAdapter adapter, dp_gpu_caps *caps) {
    WGPUAdapterPropertiesSubgroupMatrixConfigs matrices = {
        .chain = {.sType = WGPUSType_AdapterPropertiesSubgroupMatrixConfigs}};
    WGPUAdapterPropertiesMemoryHeaps heaps = {.chain = {.sType = WGPUSType_AdapterPropertiesMemoryHeaps}};
    WGPUAdapterInfo info = {0};
    if (lib->AdapterHasFeature(adapter, WGPUFeatureName_AdapterPropertiesMemoryHeaps)) info.nextInChain = &heaps.chain;
    if (lib->AdapterHasFeature(adapter, WGPUFeatureName_ChromiumExperimentalSubgroupMatrix)) {
        matrices.chain.next = info.nextInChain;
        info.nextInChain = &matrices.chain;
    }
    if (lib->AdapterGetInfo(adapter, &info) != WGPUStatus_Success) return;
    heaps_caps(&heaps, caps);
    host_caps(lib, adapter, caps);
    matrix_caps(&matrices, caps);
    lib->AdapterPropertiesMemoryHeapsFreeMembers(heaps);
    lib->AdapterPropertiesSubgroupMatrixConfigsFreeMembers(matrices);
    lib->AdapterInfoFreeMembers(info);
}

size_t gpu_dawn_features(const dp_gpu_caps *caps, WGPUFeatureName *features) {
    size_t count = 0;
    if (caps->subgroup_matrix) features[count++] = WGPUFeatureName_ChromiumExperimentalSubgroupMatrix;
    if (caps->host_align) features[count++] = WGPUFeatureName_HostMappedPointer;
    return count;
}
