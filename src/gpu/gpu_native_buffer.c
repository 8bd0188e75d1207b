/* gpu_native_buffer.c: buffers, the staging ring and readbacks.
 *
 * The ring: a few host-visible buffers, each mapped while it is filled. Copies out of the one being filled are recorded
 * in one command encoder and submitted together, when the buffer is full or something else is queued; the buffer then
 * asks to be mapped again, which the device grants when the copies are done. So host memory stays at
 * GPU_STAGES * DP_GPU_STAGE_BYTES and filling, transfer and use overlap. (wgpuQueueWriteBuffer makes a staging buffer
 * per call, which is right for little and slow for much.)
 * Readbacks: a pool of mappable buffers; those above READBACK_KEEP bytes are given back after use. */
#include "gpu/gpu_native.h"

enum { SMALL_WRITE = 16384, STAGE_ALIGN = 16, READBACK_KEEP = 1 << 20, READBACK_LEAST = 4096 };

/* ---- making buffers ---- */

static WGPUBuffer create_buffer(dp_gpu *gpu, const WGPUBufferDescriptor *desc, dp_status *status) {
    gpu->offered++;
    gpu_scope_begin(gpu);
    WGPUBuffer buffer = gpu->lib.DeviceCreateBuffer(gpu->device, desc);
    *status = gpu_scope_end(gpu, "buffer");
    if (*status == DP_OK && buffer) return buffer;
    if (buffer) gpu->lib.BufferRelease(buffer);
    return NULL;
}

dp_status gpu_buffer_make(dp_gpu *gpu, const WGPUBufferDescriptor *desc, WGPUBuffer *out) {
    dp_status status = DP_E_MEMORY;
    WGPUBuffer buffer = NULL;
    if (!gpu_is_refused(&gpu->refuse_buffer)) buffer = create_buffer(gpu, desc, &status);
    if (buffer) {
        *out = buffer;
        return DP_OK;
    }
    if (status != DP_OK && status != DP_E_MEMORY) return status;
    return dp_fail(DP_E_MEMORY, "the device %s has no room for %llu bytes (%s)", gpu->caps.name,
                   (unsigned long long)desc->size, desc->label.data ? desc->label.data : "unnamed");
}

/* A handle for a buffer as described. */
static dp_status add_buffer(dp_gpu *gpu, const WGPUBufferDescriptor *desc, bool host, dp_gpu_buffer *out) {
    void *item;
    uint32_t handle = gpu_table_add(&gpu->buffers, sizeof(gpu_buffer), &item);
    if (!handle) return dp_no_memory(sizeof(gpu_buffer));
    gpu_buffer *buffer = item;
    buffer->size = desc->size;
    buffer->host = host;
    dp_status status = gpu_buffer_make(gpu, desc, &buffer->buffer);
    if (status == DP_OK)
        *out = handle;
    else
        gpu_table_drop(&gpu->buffers, handle);
    return status;
}

dp_status dp_gpu_buffer_new(dp_gpu *gpu, uint64_t size, const char *label, dp_gpu_buffer *out) {
    TRY(gpu_take_error(gpu));
    if (size == 0) return dp_fail(DP_E_ARG, "buffer %s: 0 bytes", label ? label : "");
    if (size > gpu->caps.buffer_max)
        return dp_fail(DP_E_UNSUPPORTED, "buffer %s: %llu bytes, the device %s allows %llu in one buffer",
                       label ? label : "", (unsigned long long)size, gpu->caps.name,
                       (unsigned long long)gpu->caps.buffer_max);
    WGPUBufferDescriptor desc = {
        .label = gpu_text(label),
        .usage = WGPUBufferUsage_Storage | WGPUBufferUsage_CopySrc | WGPUBufferUsage_CopyDst,
        .size = (size + 3) & ~(uint64_t)3,
    };
    return add_buffer(gpu, &desc, false, out);
}

/* Memory that a buffer lies in: its block goes when neither we nor the library use it. */
typedef struct host_memory {
    void *block;
    int users;
} host_memory;

static void leave_memory(void *user) {
    host_memory *m = user;
    if (--m->users) return;
    dp_free(m->block);
    dp_free(m);
}

static dp_status take_memory(uint64_t size, uint32_t align, host_memory **out) {
    host_memory *m = dp_malloc(sizeof *m);
    if (!m) return dp_no_memory(sizeof *m);
    *m = (host_memory){dp_malloc((size_t)size + align), 2};
    *out = m;
    if (m->block) return DP_OK;
    dp_free(m);
    return dp_no_memory((size_t)size);
}

dp_status dp_gpu_buffer_host(dp_gpu *gpu, uint64_t size, const char *label, dp_gpu_buffer *out, void **memory) {
    uint32_t align = gpu->caps.host_align;
    uint64_t all = align ? (size + align - 1) / align * align : 0, before = gpu->offered;
    host_memory *m = NULL;
    TRY(gpu_take_error(gpu));
    if (all == 0 || all > gpu->caps.buffer_max)
        return dp_fail(DP_E_UNSUPPORTED, "buffer %s: %llu bytes of host memory, of which the device %s reads %llu", label ? label : "",
                       (unsigned long long)size, gpu->caps.name, align ? (unsigned long long)gpu->caps.buffer_max : 0ull);
    TRY(take_memory(all, align, &m));
    WGPUBufferHostMappedPointer chain;
    uint8_t *start = (uint8_t *)m->block + (align - (uintptr_t)m->block % align) % align;
    WGPUBufferDescriptor desc = {
        .nextInChain = gpu_dawn_memory_chain(&chain, start, leave_memory, m),
        .label = gpu_text(label),
        .usage = WGPUBufferUsage_Storage | WGPUBufferUsage_CopySrc,
        .size = all,
    };
    dp_status status = add_buffer(gpu, &desc, true, out);
    if (status == DP_OK) *memory = start;
    if (gpu->offered == before) leave_memory(m); /* for the library, which never saw it */
    leave_memory(m); /* not gone if the library refused it and does not say so: then nobody knows who still uses it */
    return status;
}

/* Devices of their own are asked for each by itself: it costs little beside sending what goes there. */
dp_status dp_gpu_buffer_shared(dp_gpu *gpu, uint64_t size, uint64_t together, const char *label, dp_gpu_buffer *out) {
    (void)together;
    return dp_gpu_buffer_new(gpu, size, label, out);
}

void dp_gpu_buffer_free(dp_gpu *gpu, dp_gpu_buffer handle) {
    gpu_buffer *buffer = gpu_table_get(&gpu->buffers, handle);
    if (!buffer) return;
    /* Copies into it may be recorded: the buffer must still be whole when they are submitted. What goes wrong then is
     * reported by the next call. */
    dp_status status = gpu_stage_flush(gpu);
    if (status != DP_OK) gpu->error = status;
    gpu_encoded_drop(gpu);
    gpu->lib.BufferDestroy(buffer->buffer);
    gpu->lib.BufferRelease(buffer->buffer);
    gpu_table_drop(&gpu->buffers, handle);
}

void dp_gpu_memory(const dp_gpu *gpu, uint64_t *buffers, uint64_t *transfer) {
    *buffers = 0;
    *transfer = (uint64_t)DP_GPU_PARAM_SLOTS * gpu->param_stride;
    for (uint32_t h = 1; h <= gpu->buffers.count; h++) {
        const gpu_buffer *buffer = gpu_table_get(&gpu->buffers, h);
        if (buffer && !buffer->host) *buffers += buffer->size;
    }
    for (size_t i = 0; i < GPU_STAGES; i++)
        if (gpu->stages[i].buffer) *transfer += DP_GPU_STAGE_BYTES;
    for (uint32_t h = 1; h <= gpu->readbacks.count; h++) {
        const gpu_readback *r = gpu_table_get(&gpu->readbacks, h);
        if (r) *transfer += r->capacity;
    }
}

dp_status gpu_range_check(const dp_gpu *gpu, dp_gpu_buffer handle, uint64_t offset, uint64_t size) {
    const gpu_buffer *buffer = gpu_table_get(&gpu->buffers, handle);
    if (!buffer) return dp_fail(DP_E_ARG, "no buffer %u", (unsigned)handle);
    if (offset % 4 || size % 4)
        return dp_fail(DP_E_ARG, "range %llu + %llu of a buffer: both must be multiples of 4",
                       (unsigned long long)offset, (unsigned long long)size);
    if (offset > buffer->size || size > buffer->size - offset)
        return dp_fail(DP_E_ARG, "range %llu + %llu leaves a buffer of %llu bytes", (unsigned long long)offset,
                       (unsigned long long)size, (unsigned long long)buffer->size);
    return DP_OK;
}

dp_status gpu_encoder_submit(dp_gpu *gpu, WGPUCommandEncoder encoder) {
    WGPUCommandBuffer commands = gpu->lib.CommandEncoderFinish(encoder, NULL);
    gpu->lib.CommandEncoderRelease(encoder);
    return gpu_commands_submit(gpu, commands);
}

dp_status gpu_commands_submit(dp_gpu *gpu, WGPUCommandBuffer commands) {
    if (commands) {
        gpu->lib.QueueSubmit(gpu->queue, 1, &commands);
        gpu->lib.CommandBufferRelease(commands);
    }
    return gpu_take_error(gpu);
}

/* ---- the staging ring ---- */

static void on_stage_mapped(WGPUMapAsyncStatus status, WGPUStringView message, void *user, void *unused) {
    (void)message, (void)unused;
    ((gpu_stage *)user)->status = status;
}

static void stage_map(dp_gpu *gpu, gpu_stage *stage) {
    stage->memory = NULL;
    stage->used = 0;
    stage->status = WGPUMapAsyncStatus_Error;
    WGPUBufferMapCallbackInfo callback = {
        .mode = WGPUCallbackMode_WaitAnyOnly, .callback = on_stage_mapped, .userdata1 = stage};
    stage->mapped =
        gpu->lib.BufferMapAsync(stage->buffer, WGPUMapMode_Write, 0, DP_GPU_STAGE_BYTES, callback);
}

dp_status gpu_stage_flush(dp_gpu *gpu) {
    if (!gpu->copies) return DP_OK;
    gpu_stage *stage = &gpu->stages[gpu->stage];
    WGPUCommandEncoder copies = gpu->copies;
    gpu->copies = NULL;
    gpu->lib.BufferUnmap(stage->buffer);
    dp_status status = gpu_encoder_submit(gpu, copies);
    stage_map(gpu, stage);
    gpu->stage = (gpu->stage + 1) % GPU_STAGES;
    return status;
}

/* Makes the current stage ready to be filled. */
static dp_status stage_ready(dp_gpu *gpu, gpu_stage *stage) {
    if (stage->memory) return DP_OK;
    if (stage->buffer) {
        TRY(gpu_wait_for(gpu, stage->mapped));
        if (stage->status != WGPUMapAsyncStatus_Success) {
            TRY(dp_gpu_check(gpu));
            return dp_fail(DP_E_DEVICE, "a staging buffer could not be mapped");
        }
    } else {
        WGPUBufferDescriptor desc = {.label = gpu_text("staging"),
                                     .usage = WGPUBufferUsage_MapWrite | WGPUBufferUsage_CopySrc,
                                     .size = DP_GPU_STAGE_BYTES,
                                     .mappedAtCreation = WGPU_TRUE};
        TRY(gpu_buffer_make(gpu, &desc, &stage->buffer));
    }
    stage->memory = gpu->lib.BufferGetMappedRange(stage->buffer, 0, DP_GPU_STAGE_BYTES);
    return stage->memory ? DP_OK : dp_fail(DP_E_MEMORY, "no memory to map a staging buffer");
}

dp_status dp_gpu_stage(dp_gpu *gpu, size_t size, void **memory) {
    TRY(gpu_take_error(gpu));
    if (size == 0 || size % 4 || size > DP_GPU_STAGE_BYTES)
        return dp_fail(DP_E_ARG, "staging %zu bytes: expected a multiple of 4 up to %d", size, (int)DP_GPU_STAGE_BYTES);
    if (gpu->stages[gpu->stage].used + size > DP_GPU_STAGE_BYTES) TRY(gpu_stage_flush(gpu));
    gpu_stage *stage = &gpu->stages[gpu->stage];
    TRY(stage_ready(gpu, stage));
    gpu->staged = size;
    *memory = stage->memory + stage->used;
    return DP_OK;
}

dp_status dp_gpu_stage_commit(dp_gpu *gpu, size_t size, dp_gpu_buffer handle, uint64_t offset) {
    if (size == 0 || size > gpu->staged) return dp_fail(DP_E_ARG, "%zu bytes of %zu that are staged", size, gpu->staged);
    TRY(gpu_range_check(gpu, handle, offset, size));
    const gpu_buffer *buffer = gpu_table_get(&gpu->buffers, handle);
    gpu_stage *stage = &gpu->stages[gpu->stage];
    if (!gpu->copies) gpu->copies = gpu->lib.DeviceCreateCommandEncoder(gpu->device, NULL);
    gpu->lib.CommandEncoderCopyBufferToBuffer(gpu->copies, stage->buffer, stage->used, buffer->buffer, offset, size);
    gpu->staged -= size;
    stage->used += size;
    if (gpu->staged) return gpu_take_error(gpu);
    stage->used = (stage->used + STAGE_ALIGN - 1) & ~(size_t)(STAGE_ALIGN - 1);
    return stage->used >= DP_GPU_STAGE_BYTES ? gpu_stage_flush(gpu) : gpu_take_error(gpu);
}

dp_status dp_gpu_stage_send(dp_gpu *gpu) { return gpu_stage_flush(gpu); }

dp_status dp_gpu_write(dp_gpu *gpu, dp_gpu_buffer handle, uint64_t offset, const void *data, size_t size) {
    TRY(gpu_take_error(gpu));
    TRY(gpu_range_check(gpu, handle, offset, size));
    if (size <= SMALL_WRITE && !gpu->copies) {
        const gpu_buffer *buffer = gpu_table_get(&gpu->buffers, handle);
        gpu->lib.QueueWriteBuffer(gpu->queue, buffer->buffer, offset, data, size);
        return gpu_take_error(gpu);
    }
    for (size_t done = 0, piece; done < size; done += piece) {
        void *memory = NULL;
        piece = DP_MIN(size - done, (size_t)DP_GPU_STAGE_BYTES);
        TRY(dp_gpu_stage(gpu, piece, &memory));
        memcpy(memory, (const uint8_t *)data + done, piece);
        TRY(dp_gpu_stage_commit(gpu, piece, handle, offset + done));
    }
    return DP_OK;
}

dp_status dp_gpu_copy(dp_gpu *gpu, const dp_gpu_move *moves, size_t count) {
    TRY(gpu_stage_flush(gpu));
    for (size_t i = 0; i < count; i++) {
        TRY(gpu_range_check(gpu, moves[i].from, moves[i].from_at, moves[i].size));
        TRY(gpu_range_check(gpu, moves[i].to, moves[i].to_at, moves[i].size));
    }
    WGPUCommandEncoder encoder = gpu->lib.DeviceCreateCommandEncoder(gpu->device, NULL);
    for (size_t i = 0; i < count; i++) {
        const gpu_buffer *from = gpu_table_get(&gpu->buffers, moves[i].from), *to = gpu_table_get(&gpu->buffers, moves[i].to);
        gpu->lib.CommandEncoderCopyBufferToBuffer(encoder, from->buffer, moves[i].from_at, to->buffer, moves[i].to_at, moves[i].size);
    }
    return gpu_encoder_submit(gpu, encoder);
}

/* ---- readbacks ---- */

static void on_read_mapped(WGPUMapAsyncStatus status, WGPUStringView message, void *user, void *unused) {
    (void)message, (void)unused;
    ((gpu_readback *)user)->status = status;
}

static size_t readback_capacity(size_t size) {
    size_t capacity = READBACK_LEAST;
    while (capacity < size && capacity < READBACK_KEEP) capacity *= 2;
    return DP_MAX(capacity, size);
}

/* Whether nobody uses it: one that was dropped may have been mapped by now. */
static bool readback_is_idle(const dp_gpu *gpu, gpu_readback *r) {
    if (!r->dropped) return !r->busy;
    WGPUFutureWaitInfo info = {.future = r->mapped};
    if (gpu->lib.InstanceWaitAny(gpu->lib.instance, 1, &info, 0) != WGPUWaitStatus_Success || !info.completed) return false;
    if (r->status == WGPUMapAsyncStatus_Success) gpu->lib.BufferUnmap(r->buffer);
    r->busy = r->dropped = false;
    return true;
}

/* An idle readback that holds `size` bytes and is not much larger; else a new one. */
static dp_status readback_find(dp_gpu *gpu, size_t size, dp_gpu_read *out) {
    size_t capacity = readback_capacity(size);
    for (uint32_t h = 1; h <= gpu->readbacks.count; h++) {
        gpu_readback *r = gpu_table_get(&gpu->readbacks, h);
        if (!r || r->capacity != capacity || !readback_is_idle(gpu, r)) continue;
        *out = h;
        return DP_OK;
    }
    void *item;
    uint32_t handle = gpu_table_add(&gpu->readbacks, sizeof(gpu_readback), &item);
    if (!handle) return dp_no_memory(sizeof(gpu_readback));
    gpu_readback *r = item;
    r->capacity = capacity;
    WGPUBufferDescriptor desc = {.label = gpu_text("readback"),
                                 .usage = WGPUBufferUsage_MapRead | WGPUBufferUsage_CopyDst,
                                 .size = capacity};
    dp_status status = gpu_buffer_make(gpu, &desc, &r->buffer);
    if (status == DP_OK)
        *out = handle;
    else
        gpu_table_drop(&gpu->readbacks, handle);
    return status;
}

dp_status gpu_read_copy(dp_gpu *gpu, WGPUCommandEncoder encoder, const gpu_buffer *buffer, uint64_t offset, size_t size,
                        dp_gpu_read *out) {
    dp_gpu_read handle = 0;
    TRY(readback_find(gpu, size, &handle));
    gpu_readback *r = gpu_table_get(&gpu->readbacks, handle);
    gpu->lib.CommandEncoderCopyBufferToBuffer(encoder, buffer->buffer, offset, r->buffer, 0, size);
    r->size = size;
    r->busy = true;
    *out = handle;
    return DP_OK;
}

void gpu_read_map(dp_gpu *gpu, dp_gpu_read handle) {
    gpu_readback *r = gpu_table_get(&gpu->readbacks, handle);
    r->status = WGPUMapAsyncStatus_Error;
    WGPUBufferMapCallbackInfo callback = {
        .mode = WGPUCallbackMode_WaitAnyOnly, .callback = on_read_mapped, .userdata1 = r};
    r->mapped = gpu->lib.BufferMapAsync(r->buffer, WGPUMapMode_Read, 0, r->size, callback);
}

dp_status gpu_read_from(dp_gpu *gpu, const gpu_buffer *buffer, uint64_t offset, size_t size, dp_gpu_read *out) {
    TRY(gpu_stage_flush(gpu));
    WGPUCommandEncoder encoder = gpu->lib.DeviceCreateCommandEncoder(gpu->device, NULL);
    dp_status status = gpu_read_copy(gpu, encoder, buffer, offset, size, out);
    if (status != DP_OK) {
        gpu->lib.CommandEncoderRelease(encoder);
        return status;
    }
    TRY(gpu_encoder_submit(gpu, encoder));
    gpu_read_map(gpu, *out);
    return DP_OK;
}

dp_status dp_gpu_read_begin(dp_gpu *gpu, dp_gpu_buffer handle, uint64_t offset, size_t size, dp_gpu_read *out) {
    TRY(gpu_take_error(gpu));
    TRY(gpu_range_check(gpu, handle, offset, size));
    if (size == 0) return dp_fail(DP_E_ARG, "reading 0 bytes");
    return gpu_read_from(gpu, gpu_table_get(&gpu->buffers, handle), offset, size, out);
}

static void readback_drop(dp_gpu *gpu, dp_gpu_read handle) {
    gpu_readback *r = gpu_table_get(&gpu->readbacks, handle);
    gpu->lib.BufferDestroy(r->buffer);
    gpu->lib.BufferRelease(r->buffer);
    gpu_table_drop(&gpu->readbacks, handle);
}

dp_status dp_gpu_read_end(dp_gpu *gpu, dp_gpu_read handle, void *data) {
    gpu_readback *r = gpu_table_get(&gpu->readbacks, handle);
    if (!r || !r->busy) return dp_fail(DP_E_ARG, "no readback %u under way", (unsigned)handle);
    dp_status status = gpu_wait_for(gpu, r->mapped);
    if (status != DP_OK) return status; /* it may still write to the buffer: kept until the device closes */
    const void *mapped = NULL;
    if (r->status == WGPUMapAsyncStatus_Success) mapped = gpu->lib.BufferGetConstMappedRange(r->buffer, 0, r->size);
    if (mapped) {
        memcpy(data, mapped, r->size);
        gpu->lib.BufferUnmap(r->buffer);
        r->busy = false;
    }
    if (!mapped || r->capacity > READBACK_KEEP) readback_drop(gpu, handle);
    TRY(dp_gpu_check(gpu));
    return mapped ? DP_OK : dp_fail(DP_E_DEVICE, "a readback could not be mapped");
}

void dp_gpu_read_drop(dp_gpu *gpu, dp_gpu_read handle) {
    gpu_readback *r = gpu_table_get(&gpu->readbacks, handle);
    if (r && r->busy) r->dropped = true;
}

void gpu_buffers_close(dp_gpu *gpu) {
    const gpu_readback *r;
    if (gpu->copies) gpu->lib.CommandEncoderRelease(gpu->copies);
    for (uint32_t h = 1; h <= gpu->readbacks.count; h++)
        if ((r = gpu_table_get(&gpu->readbacks, h))) gpu->lib.BufferRelease(r->buffer);
    for (size_t i = 0; i < GPU_STAGES; i++)
        if (gpu->stages[i].buffer) gpu->lib.BufferRelease(gpu->stages[i].buffer);
    for (uint32_t h = 1; h <= gpu->buffers.count; h++) {
        const gpu_buffer *buffer = gpu_table_get(&gpu->buffers, h);
        if (buffer) gpu->lib.BufferRelease(buffer->buffer);
    }
}
