/* gpu_absent.c: the device interface of a build without WebGPU. There is no device, and the error says how to get one;
 * so nothing past dp_gpu_open can be called. */
#include "gpu/gpu.h"

static dp_status absent(void) {
    return dp_fail(DP_E_UNSUPPORTED, "built without WebGPU: run tools/setup_webgpu.sh (or install Dawn and its webgpu.h), "
                                     "then configure and build again");
}

dp_status dp_gpu_list(const dp_gpu_desc *desc, dp_gpu_caps *list, size_t capacity, size_t *count) {
    (void)desc, (void)list, (void)capacity, (void)count;
    return absent();
}
dp_status dp_gpu_open(const dp_gpu_desc *desc, dp_gpu **out) {
    (void)desc, (void)out;
    return absent();
}
void dp_gpu_close(dp_gpu *gpu) { (void)gpu; }
const dp_gpu_caps *dp_gpu_get_caps(const dp_gpu *gpu) {
    static const dp_gpu_caps none;
    (void)gpu;
    return &none;
}
dp_status dp_gpu_check(dp_gpu *gpu) {
    (void)gpu;
    return absent();
}
void dp_gpu_provoke(dp_gpu *gpu, dp_gpu_fault fault, uint32_t after) { (void)gpu, (void)fault, (void)after; }

dp_status dp_gpu_buffer_new(dp_gpu *gpu, uint64_t size, const char *label, dp_gpu_buffer *out) {
    (void)gpu, (void)size, (void)label, (void)out;
    return absent();
}
dp_status dp_gpu_buffer_shared(dp_gpu *gpu, uint64_t size, uint64_t together, const char *label, dp_gpu_buffer *out) {
    (void)together;
    return dp_gpu_buffer_new(gpu, size, label, out);
}
void dp_gpu_buffer_free(dp_gpu *gpu, dp_gpu_buffer buffer) { (void)gpu, (void)buffer; }
dp_status dp_gpu_buffer_host(dp_gpu *gpu, uint64_t size, const char *label, dp_gpu_buffer *out, void **memory) {
    (void)gpu, (void)size, (void)label, (void)out, (void)memory;
    return absent();
}
dp_status dp_gpu_copy(dp_gpu *gpu, const dp_gpu_move *moves, size_t count) {
    (void)gpu, (void)moves, (void)count;
    return absent();
}
void dp_gpu_memory(const dp_gpu *gpu, uint64_t *buffers, uint64_t *transfer) {
    (void)gpu;
    *buffers = *transfer = 0;
}
dp_status dp_gpu_write(dp_gpu *gpu, dp_gpu_buffer buffer, uint64_t offset, const void *data, size_t size) {
    (void)gpu, (void)buffer, (void)offset, (void)data, (void)size;
    return absent();
}
dp_status dp_gpu_stage(dp_gpu *gpu, size_t size, void **memory) {
    (void)gpu, (void)size, (void)memory;
    return absent();
}
dp_status dp_gpu_stage_commit(dp_gpu *gpu, size_t size, dp_gpu_buffer buffer, uint64_t offset) {
    (void)gpu, (void)size, (void)buffer, (void)offset;
    return absent();
}
dp_status dp_gpu_stage_send(dp_gpu *gpu) {
    (void)gpu;
    return absent();
}
dp_status dp_gpu_read_begin(dp_gpu *gpu, dp_gpu_buffer buffer, uint64_t offset, size_t size, dp_gpu_read *out) {
    (void)gpu, (void)buffer, (void)offset, (void)size, (void)out;
    return absent();
}
dp_status dp_gpu_read_end(dp_gpu *gpu, dp_gpu_read read, void *data) {
    (void)gpu, (void)read, (void)data;
    return absent();
}
void dp_gpu_read_drop(dp_gpu *gpu, dp_gpu_read read) { (void)gpu, (void)read; }
void dp_gpu_encode(dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count, const dp_gpu_range *range) {
    (void)gpu, (void)dispatches, (void)count, (void)range;
}
void dp_gpu_watch(dp_gpu *gpu, bool on) { (void)gpu, (void)on; }

dp_status dp_gpu_pipeline_new(dp_gpu *gpu, const dp_gpu_pipeline_desc *desc, dp_gpu_pipeline *out) {
    (void)gpu, (void)desc, (void)out;
    return absent();
}
void dp_gpu_pipeline_free(dp_gpu *gpu, dp_gpu_pipeline pipeline) { (void)gpu, (void)pipeline; }
dp_status dp_gpu_bindings_new(dp_gpu *gpu, dp_gpu_pipeline pipeline, const dp_gpu_range *ranges, size_t count,
                              dp_gpu_bindings *out) {
    (void)gpu, (void)pipeline, (void)ranges, (void)count, (void)out;
    return absent();
}
void dp_gpu_bindings_free(dp_gpu *gpu, dp_gpu_bindings bindings) { (void)gpu, (void)bindings; }

dp_status dp_gpu_params(dp_gpu *gpu, uint32_t first, uint32_t count, const void *data) {
    (void)gpu, (void)first, (void)count, (void)data;
    return absent();
}
dp_status dp_gpu_prepare(dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count) {
    (void)gpu, (void)dispatches, (void)count;
    return absent();
}
dp_status dp_gpu_submit(dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count) {
    (void)gpu, (void)dispatches, (void)count;
    return absent();
}
dp_status dp_gpu_submit_read(dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count, const dp_gpu_range *range,
                             dp_gpu_read *out) {
    (void)gpu, (void)dispatches, (void)count, (void)range, (void)out;
    return absent();
}
dp_status dp_gpu_submit_timed(dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count, uint64_t *nanoseconds) {
    (void)gpu, (void)dispatches, (void)count, (void)nanoseconds;
    return absent();
}
dp_status dp_gpu_wait(dp_gpu *gpu) {
    (void)gpu;
    return absent();
}
