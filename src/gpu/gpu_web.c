/* gpu_web.c: the device interface over navigator.gpu: every function is a call into the JavaScript host (web/src/gpu.js),
 * which keeps the objects and hands out handles. Sizes cross as doubles: JavaScript's integers end at 2^53.
 *
 * Functions marked `waits` may suspend (JSPI). Where the browser cannot suspend, making buffers and pipelines does not
 * wait for its result, whose error then comes with a later call; a readback whose data is not there yet, and pipelines that
 * are not compiled yet, give DP_WAITING, so that the call that wanted them is made again. */
#include "gpu/gpu.h"

#include <stdio.h>

#include "base/json.h"
#include "host/host.h"

#define IMPORT(name) __attribute__((import_module("doppler"), import_name(#name)))

enum { OPEN_NO_F16 = 1, OPEN_NO_SUBGROUPS = 2, OPEN_TIMESTAMPS = 4, CAPS_MAX = 4096, MESSAGE_MAX = 1024 };

/* All that return int32_t give a dp_status; what they make goes to *out. */
IMPORT(gpu_open) int32_t gpu_open(uint32_t flags, char *caps, uint32_t capacity); /* waits; caps: JSON */
IMPORT(gpu_close) void gpu_close(void);
IMPORT(gpu_error) void gpu_error(char *message, uint32_t capacity); /* of the last status that was not DP_OK */
IMPORT(gpu_check) int32_t gpu_check(void); /* waits */
IMPORT(gpu_provoke) void gpu_provoke(uint32_t fault);
/* together: as in dp_gpu_buffer_shared; 0: it has a buffer of its own */
IMPORT(gpu_buffer_new) int32_t gpu_buffer_new(double size, double together, const char *label, uint32_t *out); /* waits */
IMPORT(gpu_buffer_free) void gpu_buffer_free(uint32_t buffer);
IMPORT(gpu_write) int32_t gpu_write(uint32_t buffer, double offset, const void *data, uint32_t size);
IMPORT(gpu_stage) int32_t gpu_stage(uint32_t buffer, double offset, const void *data, uint32_t size); /* waits */
IMPORT(gpu_stage_send) void gpu_stage_send(void);
IMPORT(gpu_read_begin) int32_t gpu_read_begin(uint32_t buffer, double offset, uint32_t size, uint32_t *out);
IMPORT(gpu_read_end) int32_t gpu_read_end(uint32_t read, void *data); /* waits */
IMPORT(gpu_read_drop) void gpu_read_drop(uint32_t read);
/* constants: "NAME=value,NAME=value" */
IMPORT(gpu_pipeline_new) int32_t gpu_pipeline_new(const char *label, const char *wgsl, const char *entry, const char *bindings,
                                                  const char *constants, uint32_t *out);
IMPORT(gpu_pipeline_free) void gpu_pipeline_free(uint32_t pipeline);
/* ranges: three doubles each, buffer, offset and size */
IMPORT(gpu_bindings_new) int32_t gpu_bindings_new(uint32_t pipeline, const double *ranges, uint32_t count, uint32_t *out);
IMPORT(gpu_bindings_free) void gpu_bindings_free(uint32_t bindings);
IMPORT(gpu_params) int32_t gpu_params(uint32_t first, uint32_t count, const void *data);
IMPORT(gpu_prepare) int32_t gpu_prepare(const dp_gpu_dispatch *dispatches, uint32_t count); /* waits */
IMPORT(gpu_submit) int32_t gpu_submit(const dp_gpu_dispatch *dispatches, uint32_t count);
IMPORT(gpu_submit_read) int32_t gpu_submit_read(const dp_gpu_dispatch *dispatches, uint32_t count, uint32_t buffer, double offset, uint32_t size,
                                                uint32_t *out);
IMPORT(gpu_submit_timed) int32_t gpu_submit_timed(const dp_gpu_dispatch *dispatches, uint32_t count, uint64_t *nanoseconds); /* waits */
IMPORT(gpu_wait) int32_t gpu_wait(void); /* waits */

struct dp_gpu {
    dp_gpu_caps caps;
    void *stage; /* what dp_gpu_stage hands out; as large as was ever asked for */
    size_t stage_capacity, staged, taken; /* staged: of it, behind what was taken */
};

/* The host has one device. */
static bool device_open;

static dp_status done(int32_t status) {
    char message[MESSAGE_MAX];
    if (status == DP_OK || (dp_status)status == DP_WAITING) return (dp_status)status;
    gpu_error(message, sizeof message);
    return dp_fail((dp_status)status, "%s", message);
}

/* ---- capabilities ---- */

static void text_field(const dp_json *caps, const char *key, char *out, size_t size) {
    dp_str text = {"", 0};
    if (dp_json_get_str(caps, key, &text) == DP_OK) snprintf(out, size, DP_STR_FMT, DP_STR_ARG(text));
}

static bool flag(const dp_json *caps, const char *key) {
    bool value = false;
    return dp_json_get_bool(caps, key, &value) == DP_OK && value;
}

static uint64_t number(const dp_json *caps, const char *key) {
    double value = 0;
    return dp_json_get_double(caps, key, &value) == DP_OK && value > 0 ? (uint64_t)value : 0;
}

static dp_status read_caps(const char *text, dp_gpu_caps *caps) {
    dp_arena arena = {0};
    const dp_json *json = NULL;
    dp_status status = dp_json_parse(&arena, dp_str_of(text), &json);
    if (status == DP_OK) {
        *caps = (dp_gpu_caps){
            .api = "browser", .software = flag(json, "software"), .clears_slowly = flag(json, "software"), .slow_barriers = flag(json, "slowBarriers"),
            .unified = flag(json, "unified"),
            .f16 = flag(json, "f16"), .subgroups = flag(json, "subgroups"), .timestamps = flag(json, "timestamps"),
            .subgroup_min = (uint32_t)number(json, "subgroupMin"), .subgroup_max = (uint32_t)number(json, "subgroupMax"),
            .buffer_max = number(json, "bufferMax"), .binding_max = number(json, "bindingMax"),
            .binding_align = (uint32_t)number(json, "bindingAlign"), .workgroup_memory = (uint32_t)number(json, "workgroupMemory"),
            .workgroup_size = (uint32_t)number(json, "workgroupSize"), .workgroups = (uint32_t)number(json, "workgroups"),
            .storage_buffers = (uint32_t)number(json, "storageBuffers")};
        text_field(json, "name", caps->name, sizeof caps->name);
        text_field(json, "vendor", caps->vendor, sizeof caps->vendor);
        text_field(json, "driver", caps->driver, sizeof caps->driver);
    }
    dp_arena_free(&arena);
    return status;
}

/* ---- the device ---- */

static dp_status open_device(const dp_gpu_desc *desc, dp_gpu_caps *out) {
    char caps[CAPS_MAX] = "";
    uint32_t flags = (desc->no_f16 ? OPEN_NO_F16 : 0) | (desc->no_subgroups ? OPEN_NO_SUBGROUPS : 0) | (desc->timestamps ? OPEN_TIMESTAMPS : 0);
    if (device_open) return dp_fail(DP_E_UNSUPPORTED, "a browser's worker has one GPU device: close the engine that has it first");
    if (desc->adapter > 0) return dp_fail(DP_E_DEVICE, "no adapter %d: a browser shows one", (int)desc->adapter);
    TRY(done(gpu_open(flags, caps, sizeof caps)));
    dp_status status = read_caps(caps, out);
    if (status != DP_OK) gpu_close();
    return status;
}

dp_status dp_gpu_list(const dp_gpu_desc *desc, dp_gpu_caps *list, size_t capacity, size_t *count) {
    dp_gpu_caps caps;
    TRY(open_device(desc, &caps));
    gpu_close();
    if (capacity) list[0] = caps;
    *count = 1;
    return DP_OK;
}

dp_status dp_gpu_open(const dp_gpu_desc *desc, dp_gpu **out) {
    dp_gpu *gpu = dp_calloc(1, sizeof *gpu);
    if (!gpu) return dp_no_memory(sizeof *gpu);
    dp_status status = open_device(desc, &gpu->caps);
    if (status != DP_OK) {
        dp_free(gpu);
        return status;
    }
    device_open = true;
    *out = gpu;
    return DP_OK;
}

void dp_gpu_close(dp_gpu *gpu) {
    if (!gpu) return;
    gpu_close();
    device_open = false;
    dp_free(gpu->stage);
    dp_free(gpu);
}

const dp_gpu_caps *dp_gpu_get_caps(const dp_gpu *gpu) { return &gpu->caps; }

dp_status dp_gpu_check(dp_gpu *gpu) {
    (void)gpu;
    return done(gpu_check());
}

void dp_gpu_provoke(dp_gpu *gpu, dp_gpu_fault fault, uint32_t after) {
    (void)gpu;
    if (after == 0 && fault != DP_GPU_FAULT_PIPELINE) gpu_provoke(fault);
}

/* ---- buffers ---- */

static dp_status new_buffer(const dp_gpu *gpu, uint64_t size, uint64_t together, const char *label, dp_gpu_buffer *out) {
    const char *name = label ? label : "";
    if (size == 0) return dp_fail(DP_E_ARG, "buffer %s: 0 bytes", name);
    if (size > gpu->caps.buffer_max)
        return dp_fail(DP_E_UNSUPPORTED, "buffer %s: %llu bytes, the device %s allows %llu in one buffer", name,
                       (unsigned long long)size, gpu->caps.name, (unsigned long long)gpu->caps.buffer_max);
    return done(gpu_buffer_new((double)((size + 3) & ~(uint64_t)3), (double)together, name, out));
}

dp_status dp_gpu_buffer_new(dp_gpu *gpu, uint64_t size, const char *label, dp_gpu_buffer *out) {
    return new_buffer(gpu, size, 0, label, out);
}

dp_status dp_gpu_buffer_shared(dp_gpu *gpu, uint64_t size, uint64_t together, const char *label, dp_gpu_buffer *out) {
    return new_buffer(gpu, size, together, label, out);
}

void dp_gpu_memory(const dp_gpu *gpu, uint64_t *buffers, uint64_t *transfer) {
    (void)gpu;
    *buffers = *transfer = 0;
}

void dp_gpu_buffer_free(dp_gpu *gpu, dp_gpu_buffer buffer) {
    (void)gpu;
    if (buffer) gpu_buffer_free(buffer);
}

/* A page has no memory that its device could read: caps.host_align is 0, and nobody asks. */
dp_status dp_gpu_buffer_host(dp_gpu *gpu, uint64_t size, const char *label, dp_gpu_buffer *out, void **memory) {
    (void)gpu, (void)size, (void)out, (void)memory;
    return dp_fail(DP_E_UNSUPPORTED, "buffer %s: a page's device reads no host memory", label ? label : "");
}

dp_status dp_gpu_copy(dp_gpu *gpu, const dp_gpu_move *moves, size_t count) {
    (void)gpu, (void)moves, (void)count;
    return dp_fail(DP_E_UNSUPPORTED, "a page's device copies no buffers");
}

dp_status dp_gpu_write(dp_gpu *gpu, dp_gpu_buffer buffer, uint64_t offset, const void *data, size_t size) {
    (void)gpu;
    return done(gpu_write(buffer, (double)offset, data, (uint32_t)size));
}

dp_status dp_gpu_stage(dp_gpu *gpu, size_t size, void **memory) {
    if (size == 0 || size % 4 || size > DP_GPU_STAGE_BYTES)
        return dp_fail(DP_E_ARG, "staging %zu bytes: expected a multiple of 4 up to %d", size, (int)DP_GPU_STAGE_BYTES);
    if (size > gpu->stage_capacity) {
        dp_free(gpu->stage);
        gpu->stage_capacity = 0;
        gpu->stage = dp_malloc(size);
        if (!gpu->stage) return dp_no_memory(size);
        gpu->stage_capacity = size;
    }
    gpu->staged = size;
    gpu->taken = 0;
    *memory = gpu->stage;
    return DP_OK;
}

dp_status dp_gpu_stage_commit(dp_gpu *gpu, size_t size, dp_gpu_buffer buffer, uint64_t offset) {
    const char *data = (const char *)gpu->stage + gpu->taken;
    if (size == 0 || size > gpu->staged) return dp_fail(DP_E_ARG, "%zu bytes of %zu that are staged", size, gpu->staged);
    gpu->staged -= size;
    gpu->taken += size;
    return done(gpu_stage(buffer, (double)offset, data, (uint32_t)size));
}

dp_status dp_gpu_stage_send(dp_gpu *gpu) {
    (void)gpu;
    gpu_stage_send();
    return DP_OK;
}

dp_status dp_gpu_read_begin(dp_gpu *gpu, dp_gpu_buffer buffer, uint64_t offset, size_t size, dp_gpu_read *out) {
    (void)gpu;
    return done(gpu_read_begin(buffer, (double)offset, (uint32_t)size, out));
}

dp_status dp_gpu_read_end(dp_gpu *gpu, dp_gpu_read read, void *data) {
    (void)gpu;
    return done(gpu_read_end(read, data));
}

void dp_gpu_read_drop(dp_gpu *gpu, dp_gpu_read read) {
    (void)gpu;
    gpu_read_drop(read);
}

/* A worker has nothing to wait for that it could encode in. */
void dp_gpu_encode(dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count, const dp_gpu_range *range) {
    (void)gpu, (void)dispatches, (void)count, (void)range;
}

void dp_gpu_watch(dp_gpu *gpu, bool on) { (void)gpu, (void)on; }

/* ---- pipelines and dispatches ---- */

dp_status dp_gpu_pipeline_new(dp_gpu *gpu, const dp_gpu_pipeline_desc *desc, dp_gpu_pipeline *out) {
    (void)gpu;
    dp_buf constants = {0};
    if (desc->constant_count > DP_COUNT(desc->constants))
        return dp_fail(DP_E_ARG, "pipeline %s: %zu constants", desc->label, desc->constant_count);
    dp_buf_str(&constants, "");
    for (size_t i = 0; i < desc->constant_count; i++)
        dp_buf_printf(&constants, "%s%s=%.17g", i ? "," : "", desc->constants[i].name, desc->constants[i].value);
    dp_status status = constants.failed ? dp_no_memory(constants.size) : DP_OK;
    if (status == DP_OK)
        status = done(gpu_pipeline_new(desc->label, desc->wgsl, desc->entry, desc->bindings, constants.data ? constants.data : "", out));
    dp_buf_free(&constants);
    return status;
}

void dp_gpu_pipeline_free(dp_gpu *gpu, dp_gpu_pipeline pipeline) {
    (void)gpu;
    if (pipeline) gpu_pipeline_free(pipeline);
}

enum { BINDINGS_MAX = 16 };

dp_status dp_gpu_bindings_new(dp_gpu *gpu, dp_gpu_pipeline pipeline, const dp_gpu_range *ranges, size_t count,
                              dp_gpu_bindings *out) {
    double crossing[3 * BINDINGS_MAX];
    (void)gpu;
    if (count > BINDINGS_MAX) return dp_fail(DP_E_ARG, "%zu bindings, at most %d", count, (int)BINDINGS_MAX);
    for (size_t i = 0; i < count; i++) {
        crossing[3 * i] = ranges[i].buffer;
        crossing[3 * i + 1] = (double)ranges[i].offset;
        crossing[3 * i + 2] = (double)ranges[i].size;
    }
    return done(gpu_bindings_new(pipeline, crossing, (uint32_t)count, out));
}

void dp_gpu_bindings_free(dp_gpu *gpu, dp_gpu_bindings bindings) {
    (void)gpu;
    if (bindings) gpu_bindings_free(bindings);
}

dp_status dp_gpu_params(dp_gpu *gpu, uint32_t first, uint32_t count, const void *data) {
    (void)gpu;
    if (first > DP_GPU_PARAM_SLOTS || count > DP_GPU_PARAM_SLOTS - first)
        return dp_fail(DP_E_ARG, "parameter slots %u + %u: there are %d", (unsigned)first, (unsigned)count, (int)DP_GPU_PARAM_SLOTS);
    return count ? done(gpu_params(first, count, data)) : DP_OK;
}

dp_status dp_gpu_prepare(dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count) {
    (void)gpu;
    return done(gpu_prepare(dispatches, (uint32_t)count));
}

dp_status dp_gpu_submit(dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count) {
    (void)gpu;
    return done(gpu_submit(dispatches, (uint32_t)count));
}

dp_status dp_gpu_submit_read(dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count, const dp_gpu_range *range,
                             dp_gpu_read *out) {
    (void)gpu;
    return done(gpu_submit_read(dispatches, (uint32_t)count, range->buffer, (double)range->offset, (uint32_t)range->size, out));
}

dp_status dp_gpu_submit_timed(dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count, uint64_t *nanoseconds) {
    if (!gpu->caps.timestamps) return dp_fail(DP_E_UNSUPPORTED, "the device %s has no timestamps", gpu->caps.name);
    return done(gpu_submit_timed(dispatches, (uint32_t)count, nanoseconds));
}

dp_status dp_gpu_wait(dp_gpu *gpu) {
    (void)gpu;
    return done(gpu_wait());
}
