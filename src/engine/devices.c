/* devices.c: what can compute on this machine, as JSON. */
#include "base/buf.h"
#include "base/json.h"
#include "gpu/gpu.h"
#include "host/host.h"

enum { LIST_MAX = 16 };

static void put_text(dp_buf *out, const char *key, const char *text) {
    dp_buf_printf(out, "\"%s\": ", key);
    dp_json_put_string(out, dp_str_of(text));
    dp_buf_str(out, ", ");
}

static void put_count(dp_buf *out, const char *key, uint64_t value) {
    dp_buf_printf(out, "\"%s\": %llu, ", key, (unsigned long long)value);
}

static void put_flag(dp_buf *out, const char *key, bool value) {
    dp_buf_printf(out, "\"%s\": %s, ", key, value ? "true" : "false");
}

static void put_gpu(dp_buf *out, size_t index, const dp_gpu_caps *caps) {
    dp_buf_printf(out, "%s{\"index\": %u, ", index ? ", " : "", (unsigned)index + 1);
    put_text(out, "name", caps->name);
    put_text(out, "vendor", caps->vendor);
    put_text(out, "driver", caps->driver);
    put_text(out, "api", caps->api);
    put_flag(out, "software", caps->software);
    put_flag(out, "unifiedMemory", caps->unified);
    put_count(out, "memoryBytes", caps->memory);
    put_flag(out, "f16", caps->f16);
    put_flag(out, "subgroups", caps->subgroups);
    dp_buf_printf(out, "\"subgroupSize\": [%u, %u], ", (unsigned)caps->subgroup_min, (unsigned)caps->subgroup_max);
    put_flag(out, "subgroupMatrix", caps->subgroup_matrix);
    dp_buf_printf(out, "\"matrixShape\": [%u, %u, %u], ", (unsigned)caps->matrix_m, (unsigned)caps->matrix_n,
                  (unsigned)caps->matrix_k);
    put_flag(out, "timestamps", caps->timestamps);
    put_count(out, "bufferBytes", caps->buffer_max);
    put_count(out, "bindingBytes", caps->binding_max);
    put_count(out, "bindingAlignment", caps->binding_align);
    put_count(out, "workgroupMemoryBytes", caps->workgroup_memory);
    put_count(out, "workgroupSize", caps->workgroup_size);
    put_count(out, "workgroupsPerDimension", caps->workgroups);
    dp_buf_printf(out, "\"storageBuffers\": %u}", (unsigned)caps->storage_buffers);
}

static dp_status put_cpu(dp_buf *out) {
    const dp_engine_desc desc = {.backend = DP_BACKEND_CPU};
    dp_engine *engine;
    TRY(dp_engine_open(&desc, &engine));
    dp_buf_str(out, "{\"cpu\": {");
    put_text(out, "name", dp_engine_describe(engine));
    dp_capabilities has;
    dp_status status = dp_engine_capabilities(engine, NULL, &has);
    dp_buf_printf(out, "\"cores\": %d, \"memoryBytes\": %llu, \"memoryAvailableBytes\": %llu, \"diskBytes\": %llu, \"diskFreeBytes\": %llu}, ",
                  dp_host_cpu_count(), (unsigned long long)has.ram.total, (unsigned long long)has.ram.free, (unsigned long long)has.disk.total,
                  (unsigned long long)has.disk.free);
    dp_buf_str(out, "\"gpus\": [");
    dp_engine_close(engine);
    return status;
}

dp_status dp_devices(const char *library, char **json) {
    if (!json) return dp_fail(DP_E_ARG, "dp_devices: json is NULL");
    const dp_gpu_desc desc = {.adapter = -1, .library = library};
    dp_gpu_caps list[LIST_MAX];
    size_t count = 0;
    dp_buf out = {0};
    dp_status status = put_cpu(&out);
    if (status == DP_OK) status = dp_gpu_list(&desc, list, LIST_MAX, &count);
    if (status == DP_OK || status == DP_E_UNSUPPORTED || status == DP_E_DEVICE) {
        for (size_t i = 0; i < DP_MIN(count, (size_t)LIST_MAX); i++) put_gpu(&out, i, &list[i]);
        dp_buf_str(&out, "], \"gpuError\": ");
        if (status == DP_OK)
            dp_buf_str(&out, "null");
        else
            dp_json_put_string(&out, dp_str_of(dp_error_message()));
        dp_buf_char(&out, '}');
        return dp_buf_take(&out, json, NULL);
    }
    dp_buf_free(&out);
    return status;
}
