/* devices.c: what can compute on this machine, as JSON. */
#include "base/json_write.h"
#include "gpu/gpu.h"
#include "host/host.h"

enum { LIST_MAX = 16 };

static void put_counts(dp_buf *out, const char *key, int count, const uint32_t *values) {
    dp_json_open(out, key, '[');
    for (int i = 0; i < count; i++) dp_json_add_uint(out, NULL, values[i]);
    dp_json_close(out, ']');
}

static void put_gpu(dp_buf *out, size_t index, const dp_gpu_caps *caps) {
    dp_json_open(out, NULL, '{');
    dp_json_add_uint(out, "index", index + 1);
    dp_json_add_text(out, "name", caps->name);
    dp_json_add_text(out, "vendor", caps->vendor);
    dp_json_add_text(out, "driver", caps->driver);
    dp_json_add_text(out, "api", caps->api);
    dp_json_add_bool(out, "software", caps->software);
    dp_json_add_bool(out, "unifiedMemory", caps->unified);
    dp_json_add_uint(out, "memoryBytes", caps->memory);
    dp_json_add_bool(out, "f16", caps->f16);
    dp_json_add_bool(out, "subgroups", caps->subgroups);
    put_counts(out, "subgroupSize", 2, (uint32_t[]){caps->subgroup_min, caps->subgroup_max});
    dp_json_add_bool(out, "subgroupMatrix", caps->subgroup_matrix);
    put_counts(out, "matrixShape", 3, (uint32_t[]){caps->matrix_m, caps->matrix_n, caps->matrix_k});
    dp_json_add_bool(out, "timestamps", caps->timestamps);
    dp_json_add_uint(out, "bufferBytes", caps->buffer_max);
    dp_json_add_uint(out, "bindingBytes", caps->binding_max);
    dp_json_add_uint(out, "bindingAlignment", caps->binding_align);
    dp_json_add_uint(out, "workgroupMemoryBytes", caps->workgroup_memory);
    dp_json_add_uint(out, "workgroupSize", caps->workgroup_size);
    dp_json_add_uint(out, "workgroupsPerDimension", caps->workgroups);
    dp_json_add_uint(out, "storageBuffers", caps->storage_buffers);
    dp_json_close(out, '}');
}

static dp_status put_cpu(dp_buf *out) {
    const dp_engine_desc desc = {.backend = DP_BACKEND_CPU};
    dp_engine *engine;
    dp_capabilities has = {0};
    TRY(dp_engine_open(&desc, &engine));
    dp_status status = dp_engine_capabilities(engine, NULL, &has);
    dp_json_open(out, "cpu", '{');
    dp_json_add_text(out, "name", dp_engine_describe(engine));
    dp_json_add_int(out, "cores", dp_host_cpu_count());
    dp_json_add_uint(out, "memoryBytes", has.ram.total);
    dp_json_add_uint(out, "memoryAvailableBytes", has.ram.free);
    dp_json_add_uint(out, "diskBytes", has.disk.total);
    dp_json_add_uint(out, "diskFreeBytes", has.disk.free);
    dp_json_close(out, '}');
    dp_engine_close(engine);
    return status;
}

/* None, and "gpuError" says why, where WebGPU or its devices are missing or fail. */
static dp_status put_gpus(const dp_gpu_desc *desc, dp_buf *out) {
    dp_gpu_caps list[LIST_MAX];
    size_t count = 0;
    dp_status status = dp_gpu_list(desc, list, LIST_MAX, &count);
    if (status != DP_OK && status != DP_E_UNSUPPORTED && status != DP_E_DEVICE) return status;
    dp_json_open(out, "gpus", '[');
    for (size_t i = 0; i < DP_MIN(count, (size_t)LIST_MAX); i++) put_gpu(out, i, &list[i]);
    dp_json_close(out, ']');
    if (status == DP_OK)
        dp_json_add_null(out, "gpuError");
    else
        dp_json_add_text(out, "gpuError", dp_error_message());
    return DP_OK;
}

dp_status dp_devices(const char *library, char **json) {
    if (!json) return dp_fail(DP_E_ARG, "dp_devices: json is NULL");
    const dp_gpu_desc desc = {.adapter = -1, .library = library};
    dp_buf out = {0};
    dp_json_open(&out, NULL, '{');
    dp_status status = put_cpu(&out);
    if (status == DP_OK) status = put_gpus(&desc, &out);
    dp_json_close(&out, '}');
    if (status == DP_OK) return dp_buf_take(&out, json, NULL);
    dp_buf_free(&out);
    return status;
}
