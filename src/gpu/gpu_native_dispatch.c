/* gpu_native_dispatch.c: pipelines, bindings, the parameter block and submits.
 * The parameter block is one uniform buffer of DP_GPU_PARAM_SLOTS slots that exists as long as the device, so that bind
 * groups made once stay good; a dispatch selects its slot with a dynamic offset. Slots are as far apart as the device
 * wants uniform offsets aligned. */
#include "gpu/gpu_native.h"

#include <stdio.h>

enum { TIMED_MAX = 1024 }; /* dispatches timed in one go: two queries each, 4096 are allowed */

/* ---- pipelines ---- */

/* "label:12:5: message", one line per error, into gpu->scope_message. */
static void on_compiled(WGPUCompilationInfoRequestStatus status, const WGPUCompilationInfo *info, void *user,
                        void *label) {
    dp_gpu *gpu = user;
    size_t used = 0;
    gpu->scope_message[0] = 0;
    if (status != WGPUCompilationInfoRequestStatus_Success) return;
    for (size_t i = 0; i < info->messageCount && used + 1 < sizeof gpu->scope_message; i++) {
        const WGPUCompilationMessage *m = &info->messages[i];
        if (m->type != WGPUCompilationMessageType_Error) continue;
        int n = snprintf(gpu->scope_message + used, sizeof gpu->scope_message - used, "%s%s:%u:%u: ", used ? "\n" : "",
                         (const char *)label, (unsigned)m->lineNum, (unsigned)m->linePos);
        used = DP_MIN(used + (size_t)DP_MAX(n, 0), sizeof gpu->scope_message - 1);
        gpu_text_copy(gpu->scope_message + used, sizeof gpu->scope_message - used, m->message);
        used += strlen(gpu->scope_message + used);
    }
}

static dp_status compile(dp_gpu *gpu, const dp_gpu_pipeline_desc *desc, WGPUShaderModule *out) {
    WGPUShaderSourceWGSL source = {.chain = {.sType = WGPUSType_ShaderSourceWGSL}, .code = gpu_text(desc->wgsl)};
    WGPUShaderModuleDescriptor module = {.nextInChain = &source.chain, .label = gpu_text(desc->label)};
    gpu_scope_begin(gpu);
    *out = gpu->lib.DeviceCreateShaderModule(gpu->device, &module);
    dp_status made = gpu_scope_end(gpu, desc->label);
    if (gpu->lost) return made;
    WGPUCompilationInfoCallbackInfo callback = {.mode = WGPUCallbackMode_WaitAnyOnly,
                                                .callback = on_compiled,
                                                .userdata1 = gpu,
                                                .userdata2 = (void *)(uintptr_t)desc->label};
    TRY(gpu_wait_for(gpu, gpu->lib.ShaderModuleGetCompilationInfo(*out, callback)));
    if (gpu->scope_message[0]) return dp_fail(DP_E_DEVICE, "WGSL: %s", gpu->scope_message);
    return made;
}

static dp_status read_bindings(const dp_gpu_pipeline_desc *desc, gpu_pipeline *p) {
    size_t count = strlen(desc->bindings);
    p->params = count && desc->bindings[count - 1] == 'p';
    p->binding_count = count - p->params;
    if (p->binding_count > GPU_BINDINGS_MAX)
        return dp_fail(DP_E_ARG, "pipeline %s: %zu bindings, at most %d", desc->label, p->binding_count,
                       (int)GPU_BINDINGS_MAX);
    if (strspn(desc->bindings, "rw") != p->binding_count)
        return dp_fail(DP_E_ARG, "pipeline %s: bindings \"%s\", expected r and w, and p at the end", desc->label,
                       desc->bindings);
    return DP_OK;
}

static void make_layout(dp_gpu *gpu, const dp_gpu_pipeline_desc *desc, gpu_pipeline *p) {
    WGPUBindGroupLayoutEntry entries[GPU_BINDINGS_MAX + 1] = {0};
    size_t count = p->binding_count + p->params;
    for (size_t i = 0; i < count; i++) {
        entries[i].binding = (uint32_t)i;
        entries[i].visibility = WGPUShaderStage_Compute;
        entries[i].buffer.type =
            desc->bindings[i] == 'r' ? WGPUBufferBindingType_ReadOnlyStorage : WGPUBufferBindingType_Storage;
    }
    if (p->params)
        entries[count - 1].buffer =
            (WGPUBufferBindingLayout){.type = WGPUBufferBindingType_Uniform, .hasDynamicOffset = WGPU_TRUE};
    WGPUBindGroupLayoutDescriptor layout = {
        .label = gpu_text(desc->label), .entryCount = count, .entries = entries};
    p->layout = gpu->lib.DeviceCreateBindGroupLayout(gpu->device, &layout);
}

static void make_pipeline(dp_gpu *gpu, const dp_gpu_pipeline_desc *desc, WGPUShaderModule module, gpu_pipeline *p) {
    WGPUConstantEntry constants[DP_COUNT(desc->constants)] = {0};
    for (size_t i = 0; i < desc->constant_count; i++) {
        constants[i].key = gpu_text(desc->constants[i].name);
        constants[i].value = desc->constants[i].value;
    }
    WGPUPipelineLayoutDescriptor layout = {.bindGroupLayoutCount = 1, .bindGroupLayouts = &p->layout};
    WGPUPipelineLayout pipeline_layout = gpu->lib.DeviceCreatePipelineLayout(gpu->device, &layout);
    WGPUComputePipelineDescriptor pipeline = {
        .label = gpu_text(desc->label),
        .layout = pipeline_layout,
        .compute = {.module = module,
                    .entryPoint = gpu_text(desc->entry),
                    .constantCount = desc->constant_count,
                    .constants = constants},
    };
    p->pipeline = gpu->lib.DeviceCreateComputePipeline(gpu->device, &pipeline);
    gpu->lib.PipelineLayoutRelease(pipeline_layout);
}

static dp_status build_pipeline(dp_gpu *gpu, const dp_gpu_pipeline_desc *desc, gpu_pipeline *p) {
    WGPUShaderModule module = NULL;
    TRY(read_bindings(desc, p));
    if (gpu_is_refused(&gpu->refuse_pipeline)) return dp_fail(DP_E_DEVICE, "%s: refused, as a test wants it", desc->label);
    dp_status status = compile(gpu, desc, &module);
    if (status == DP_OK) {
        gpu_scope_begin(gpu);
        make_layout(gpu, desc, p);
        make_pipeline(gpu, desc, module, p);
        status = gpu_scope_end(gpu, desc->label);
    }
    if (module) gpu->lib.ShaderModuleRelease(module);
    return status;
}

static void pipeline_release(dp_gpu *gpu, const gpu_pipeline *p) {
    if (p->pipeline) gpu->lib.ComputePipelineRelease(p->pipeline);
    if (p->layout) gpu->lib.BindGroupLayoutRelease(p->layout);
}

dp_status dp_gpu_pipeline_new(dp_gpu *gpu, const dp_gpu_pipeline_desc *desc, dp_gpu_pipeline *out) {
    TRY(gpu_take_error(gpu));
    if (desc->constant_count > DP_COUNT(desc->constants))
        return dp_fail(DP_E_ARG, "pipeline %s: %zu constants", desc->label, desc->constant_count);
    void *item;
    uint32_t handle = gpu_table_add(&gpu->pipelines, sizeof(gpu_pipeline), &item);
    if (!handle) return dp_no_memory(sizeof(gpu_pipeline));
    dp_status status = build_pipeline(gpu, desc, item);
    if (status == DP_OK)
        *out = handle;
    else
        dp_gpu_pipeline_free(gpu, handle);
    return status;
}

void dp_gpu_pipeline_free(dp_gpu *gpu, dp_gpu_pipeline handle) {
    const gpu_pipeline *p = gpu_table_get(&gpu->pipelines, handle);
    if (!p) return;
    gpu_encoded_drop(gpu);
    pipeline_release(gpu, p);
    gpu_table_drop(&gpu->pipelines, handle);
}

/* ---- bindings ---- */

static dp_status bind_range(const dp_gpu *gpu, const dp_gpu_range *range, WGPUBindGroupEntry *entry) {
    const gpu_buffer *buffer = gpu_table_get(&gpu->buffers, range->buffer);
    if (!buffer)
        return dp_fail(DP_E_ARG, "binding %u: no buffer %u", (unsigned)entry->binding, (unsigned)range->buffer);
    uint64_t rest = range->offset < buffer->size ? buffer->size - range->offset : 0;
    uint64_t size = range->size ? range->size : rest;
    if (size == 0 || size > rest || size % 4 || range->offset % gpu->caps.binding_align)
        return dp_fail(DP_E_ARG, "binding %u: range %llu + %llu of a buffer of %llu bytes; offsets are multiples of %u",
                       (unsigned)entry->binding, (unsigned long long)range->offset, (unsigned long long)range->size,
                       (unsigned long long)buffer->size, (unsigned)gpu->caps.binding_align);
    if (size > gpu->caps.binding_max)
        return dp_fail(DP_E_UNSUPPORTED, "binding %u: %llu bytes, the device %s allows %llu", (unsigned)entry->binding,
                       (unsigned long long)size, gpu->caps.name, (unsigned long long)gpu->caps.binding_max);
    entry->buffer = buffer->buffer;
    entry->offset = range->offset;
    entry->size = size;
    return DP_OK;
}

dp_status dp_gpu_bindings_new(dp_gpu *gpu, dp_gpu_pipeline pipeline, const dp_gpu_range *ranges, size_t count,
                              dp_gpu_bindings *out) {
    TRY(gpu_take_error(gpu));
    const gpu_pipeline *p = gpu_table_get(&gpu->pipelines, pipeline);
    if (!p) return dp_fail(DP_E_ARG, "no pipeline %u", (unsigned)pipeline);
    if (count != p->binding_count)
        return dp_fail(DP_E_ARG, "%zu ranges for a pipeline with %zu bindings", count, p->binding_count);
    WGPUBindGroupEntry entries[GPU_BINDINGS_MAX + 1] = {0};
    for (size_t i = 0; i < count; i++) {
        entries[i].binding = (uint32_t)i;
        TRY(bind_range(gpu, &ranges[i], &entries[i]));
    }
    if (p->params)
        entries[count] =
            (WGPUBindGroupEntry){.binding = (uint32_t)count, .buffer = gpu->params, .size = DP_GPU_PARAM_BYTES};
    void *item;
    uint32_t handle = gpu_table_add(&gpu->bindings, sizeof(gpu_bindings), &item);
    if (!handle) return dp_no_memory(sizeof(gpu_bindings));
    gpu_bindings *b = item;
    WGPUBindGroupDescriptor desc = {.layout = p->layout, .entryCount = count + p->params, .entries = entries};
    b->pipeline = pipeline;
    b->group = gpu->lib.DeviceCreateBindGroup(gpu->device, &desc);
    dp_status status = gpu_take_error(gpu);
    if (status == DP_OK)
        *out = handle;
    else
        dp_gpu_bindings_free(gpu, handle);
    return status;
}

void dp_gpu_bindings_free(dp_gpu *gpu, dp_gpu_bindings handle) {
    const gpu_bindings *b = gpu_table_get(&gpu->bindings, handle);
    if (!b) return;
    gpu_encoded_drop(gpu);
    gpu->lib.BindGroupRelease(b->group);
    gpu_table_drop(&gpu->bindings, handle);
}

/* ---- parameters ---- */

dp_status dp_gpu_params(dp_gpu *gpu, uint32_t first, uint32_t count, const void *data) {
    TRY(gpu_take_error(gpu));
    if (first > DP_GPU_PARAM_SLOTS || count > DP_GPU_PARAM_SLOTS - first)
        return dp_fail(DP_E_ARG, "parameter slots %u + %u: there are %d", (unsigned)first, (unsigned)count,
                       (int)DP_GPU_PARAM_SLOTS);
    const uint8_t *rows = data;
    if (gpu->param_rows) {
        for (size_t i = 0; i < count; i++)
            memcpy(gpu->param_rows + i * gpu->param_stride, rows + i * DP_GPU_PARAM_BYTES, DP_GPU_PARAM_BYTES);
        rows = gpu->param_rows;
    }
    if (count)
        gpu->lib.QueueWriteBuffer(gpu->queue, gpu->params, (uint64_t)first * gpu->param_stride, rows,
                                  (size_t)count * gpu->param_stride);
    return gpu_take_error(gpu);
}

/* ---- submits ---- */

static dp_status check_dispatch(const dp_gpu *gpu, const dp_gpu_dispatch *d, size_t i) {
    const gpu_bindings *b = gpu_table_get(&gpu->bindings, d->bindings);
    if (!gpu_table_get(&gpu->pipelines, d->pipeline) || !b)
        return dp_fail(DP_E_ARG, "dispatch %zu: no pipeline %u or no bindings %u", i, (unsigned)d->pipeline,
                       (unsigned)d->bindings);
    if (d->params >= DP_GPU_PARAM_SLOTS)
        return dp_fail(DP_E_ARG, "dispatch %zu: parameter slot %u, there are %d", i, (unsigned)d->params,
                       (int)DP_GPU_PARAM_SLOTS);
    for (size_t a = 0; a < 3; a++)
        if (d->grid[a] > gpu->caps.workgroups)
            return dp_fail(DP_E_UNSUPPORTED, "dispatch %zu: %u workgroups in dimension %zu, the device allows %u", i,
                           (unsigned)d->grid[a], a, (unsigned)gpu->caps.workgroups);
    return DP_OK;
}

/* Sets what the dispatch before it (NULL: none) has not set already. */
static void encode(const dp_gpu *gpu, WGPUComputePassEncoder pass, const dp_gpu_dispatch *before,
                   const dp_gpu_dispatch *d) {
    const gpu_pipeline *p = gpu_table_get(&gpu->pipelines, d->pipeline);
    const gpu_bindings *b = gpu_table_get(&gpu->bindings, d->bindings);
    uint32_t offset = d->params * gpu->param_stride;
    if (!before || before->pipeline != d->pipeline) gpu->lib.ComputePassEncoderSetPipeline(pass, p->pipeline);
    if (!before || before->bindings != d->bindings || (p->params && before->params != d->params))
        gpu->lib.ComputePassEncoderSetBindGroup(pass, 0, b->group, p->params, &offset);
    gpu->lib.ComputePassEncoderDispatchWorkgroups(pass, d->grid[0], d->grid[1], d->grid[2]);
}

static dp_status check_dispatches(dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count) {
    TRY(gpu_take_error(gpu));
    for (size_t i = 0; i < count; i++) TRY(check_dispatch(gpu, &dispatches[i], i));
    return gpu_stage_flush(gpu);
}

/* One pass; the caller ends the encoder. */
static WGPUCommandEncoder encode_all(const dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count) {
    WGPUCommandEncoder encoder = gpu->lib.DeviceCreateCommandEncoder(gpu->device, NULL);
    WGPUComputePassEncoder pass = gpu->lib.CommandEncoderBeginComputePass(encoder, NULL);
    for (size_t i = 0; i < count; i++) encode(gpu, pass, i ? &dispatches[i - 1] : NULL, &dispatches[i]);
    gpu->lib.ComputePassEncoderEnd(pass);
    gpu->lib.ComputePassEncoderRelease(pass);
    return encoder;
}

/* Pipelines are compiled when they are made. */
dp_status dp_gpu_prepare(dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count) {
    (void)gpu, (void)dispatches, (void)count;
    return DP_OK;
}

dp_status dp_gpu_submit(dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count) {
    TRY(check_dispatches(gpu, dispatches, count));
    return gpu_encoder_submit(gpu, encode_all(gpu, dispatches, count));
}

/* ---- submits that are read, encoded when they are asked for or before ---- */

static dp_status check_read(const dp_gpu *gpu, const dp_gpu_range *range) {
    TRY(gpu_range_check(gpu, range->buffer, range->offset, range->size));
    return range->size ? DP_OK : dp_fail(DP_E_ARG, "reading 0 bytes");
}

static dp_status encode_read(dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count, const dp_gpu_range *range, WGPUCommandBuffer *commands,
                             dp_gpu_read *read) {
    const gpu_buffer *buffer = gpu_table_get(&gpu->buffers, range->buffer);
    WGPUCommandEncoder encoder = encode_all(gpu, dispatches, count);
    dp_status status = gpu_read_copy(gpu, encoder, buffer, range->offset, (size_t)range->size, read);
    *commands = status == DP_OK ? gpu->lib.CommandEncoderFinish(encoder, NULL) : NULL;
    gpu->lib.CommandEncoderRelease(encoder);
    return status;
}

static bool is_encoded(const dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count, const dp_gpu_range *range) {
    const gpu_encoded *e = &gpu->encoded;
    return e->commands && e->count == count && e->range.buffer == range->buffer && e->range.offset == range->offset &&
           e->range.size == range->size && memcmp(e->dispatches, dispatches, count * sizeof *dispatches) == 0;
}

void gpu_encoded_drop(dp_gpu *gpu) {
    gpu_encoded *e = &gpu->encoded;
    if (!e->commands) return;
    gpu->lib.CommandBufferRelease(e->commands);
    ((gpu_readback *)gpu_table_get(&gpu->readbacks, e->read))->busy = false;
    e->commands = NULL;
}

void dp_gpu_encode(dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count, const dp_gpu_range *range) {
    gpu_encoded *e = &gpu->encoded;
    gpu_encoded_drop(gpu);
    if (count > GPU_ENCODED_MOST || check_read(gpu, range) != DP_OK) return;
    for (size_t i = 0; i < count; i++)
        if (check_dispatch(gpu, &dispatches[i], i) != DP_OK) return;
    if (encode_read(gpu, dispatches, count, range, &e->commands, &e->read) != DP_OK) return;
    memcpy(e->dispatches, dispatches, count * sizeof *dispatches);
    e->count = count;
    e->range = *range;
}

dp_status dp_gpu_submit_read(dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count, const dp_gpu_range *range,
                             dp_gpu_read *out) {
    gpu_encoded *e = &gpu->encoded;
    WGPUCommandBuffer commands = NULL;
    dp_gpu_read read = e->read;
    TRY(check_dispatches(gpu, dispatches, count));
    TRY(check_read(gpu, range));
    if (is_encoded(gpu, dispatches, count, range)) {
        commands = e->commands;
        e->commands = NULL;
    } else {
        TRY(encode_read(gpu, dispatches, count, range, &commands, &read));
    }
    TRY(gpu_commands_submit(gpu, commands));
    gpu_read_map(gpu, read);
    *out = read;
    return DP_OK;
}

/* ---- timing ---- */

static dp_status timing_ready(dp_gpu *gpu) {
    if (gpu->query_results) return DP_OK;
    if (!gpu->caps.timestamps) return dp_fail(DP_E_UNSUPPORTED, "the device was not opened with timestamps");
    if (!gpu->queries) {
        WGPUQuerySetDescriptor set = {.type = WGPUQueryType_Timestamp, .count = 2 * TIMED_MAX};
        gpu_scope_begin(gpu);
        gpu->queries = gpu->lib.DeviceCreateQuerySet(gpu->device, &set);
        TRY(gpu_scope_end(gpu, "timestamp queries"));
    }
    WGPUBufferDescriptor desc = {.label = gpu_text("timestamps"),
                                 .usage = WGPUBufferUsage_QueryResolve | WGPUBufferUsage_CopySrc,
                                 .size = 2 * TIMED_MAX * sizeof(uint64_t)};
    return gpu_buffer_make(gpu, &desc, &gpu->query_results);
}

static dp_status submit_timed(dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count, uint64_t *times) {
    WGPUCommandEncoder encoder = gpu->lib.DeviceCreateCommandEncoder(gpu->device, NULL);
    for (size_t i = 0; i < count; i++) {
        WGPUPassTimestampWrites writes = {.querySet = gpu->queries,
                                          .beginningOfPassWriteIndex = (uint32_t)(2 * i),
                                          .endOfPassWriteIndex = (uint32_t)(2 * i + 1)};
        WGPUComputePassDescriptor desc = {.timestampWrites = &writes};
        WGPUComputePassEncoder pass = gpu->lib.CommandEncoderBeginComputePass(encoder, &desc);
        encode(gpu, pass, NULL, &dispatches[i]);
        gpu->lib.ComputePassEncoderEnd(pass);
        gpu->lib.ComputePassEncoderRelease(pass);
    }
    gpu->lib.CommandEncoderResolveQuerySet(encoder, gpu->queries, 0, (uint32_t)(2 * count), gpu->query_results, 0);
    TRY(gpu_encoder_submit(gpu, encoder));
    const gpu_buffer results = {.buffer = gpu->query_results};
    dp_gpu_read read;
    TRY(gpu_read_from(gpu, &results, 0, 2 * count * sizeof *times, &read));
    return dp_gpu_read_end(gpu, read, times);
}

dp_status dp_gpu_submit_timed(dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count, uint64_t *nanoseconds) {
    TRY(check_dispatches(gpu, dispatches, count));
    TRY(timing_ready(gpu));
    uint64_t *times = dp_malloc(2 * TIMED_MAX * sizeof *times);
    if (!times) return dp_no_memory(2 * TIMED_MAX * sizeof *times);
    dp_status status = DP_OK;
    for (size_t done = 0, part; done < count && status == DP_OK; done += part) {
        part = DP_MIN(count - done, (size_t)TIMED_MAX);
        status = submit_timed(gpu, dispatches + done, part, times);
        for (size_t i = 0; i < part && status == DP_OK; i++)
            nanoseconds[done + i] = times[2 * i + 1] > times[2 * i] ? times[2 * i + 1] - times[2 * i] : 0;
    }
    dp_free(times);
    return status;
}

/* ---- device ---- */

dp_status gpu_dispatch_open(dp_gpu *gpu) {
    size_t bytes = (size_t)DP_GPU_PARAM_SLOTS * gpu->param_stride;
    WGPUBufferDescriptor desc = {
        .label = gpu_text("parameters"), .usage = WGPUBufferUsage_Uniform | WGPUBufferUsage_CopyDst, .size = bytes};
    if (gpu->param_stride != DP_GPU_PARAM_BYTES) {
        gpu->param_rows = dp_calloc(1, bytes);
        if (!gpu->param_rows) return dp_no_memory(bytes);
    }
    return gpu_buffer_make(gpu, &desc, &gpu->params);
}

void gpu_dispatch_close(dp_gpu *gpu) {
    gpu_encoded_drop(gpu);
    for (uint32_t h = 1; h <= gpu->bindings.count; h++) dp_gpu_bindings_free(gpu, h);
    for (uint32_t h = 1; h <= gpu->pipelines.count; h++) dp_gpu_pipeline_free(gpu, h);
    if (gpu->queries) gpu->lib.QuerySetRelease(gpu->queries);
    if (gpu->query_results) gpu->lib.BufferRelease(gpu->query_results);
    if (gpu->params) gpu->lib.BufferRelease(gpu->params);
    dp_free(gpu->param_rows);
}
