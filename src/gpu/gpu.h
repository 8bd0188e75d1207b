/* gpu.h: a thin device interface with what the GPU backend needs and nothing more. Two implementations: gpu_native*.c
 * over webgpu.h (loaded at run time), and the JavaScript host in the browser. Handles are small integers, so that they
 * can cross into JavaScript; 0 is none. One thread uses a device at a time. Floor 4. */
#ifndef DP_GPU_H
#define DP_GPU_H

#include "base/base.h"

typedef struct dp_gpu dp_gpu;
typedef uint32_t dp_gpu_buffer;
typedef uint32_t dp_gpu_pipeline;
typedef uint32_t dp_gpu_bindings;
typedef uint32_t dp_gpu_read; /* a readback under way */

/* ---- adapters and devices ---- */

typedef struct dp_gpu_caps {
    char name[128], vendor[64], driver[128], api[16]; /* api: "vulkan", "metal", "d3d12", "browser" */
    bool software;          /* a CPU adapter such as lavapipe or SwiftShader */
    bool slow_barriers;     /* software that takes long to bring threads of a workgroup together, and to compile code that does */
    bool clears_slowly;     /* software that clears workgroup memory, which it does word by word: there small arrays are fast */
    bool unified;           /* device memory is host memory (integrated GPU) */
    bool f16, subgroups, timestamps, subgroup_matrix;
    uint32_t subgroup_min, subgroup_max;
    uint32_t matrix_m, matrix_n, matrix_k; /* f16 x f16 -> f32 subgroup matrix; 0 if none */
    uint64_t memory;        /* bytes on the device, 0 if not known */
    uint64_t buffer_max, binding_max;      /* bytes: largest buffer, largest storage binding */
    uint32_t binding_align;                /* of storage offsets */
    uint32_t host_align;                   /* of buffers in host memory (dp_gpu_buffer_host); 0: it can have none there */
    uint32_t workgroup_memory, workgroup_size, workgroups; /* bytes; invocations; per dimension */
    uint32_t storage_buffers;              /* per stage */
} dp_gpu_caps;

typedef struct dp_gpu_desc {
    int32_t adapter;        /* index in the list; -1: the best */
    const char *library;    /* path of the WebGPU library; NULL: the usual names. Native only */
    bool no_f16, no_subgroups, no_subgroup_matrix; /* as if the adapter lacked them, for tests */
    uint64_t part_most;     /* the backend: weights are split into parts of so many bytes, for tests; 0: what can be bound */
    bool exact;             /* the backend: activations stay f32 where integer products would be faster */
    bool fused;             /* the backend: single tokens run fused dispatches even where barriers are slow, for tests */
    bool timestamps;
    bool unchecked;         /* leave out robustness, validation and the zeroing of workgroup memory where possible */
} dp_gpu_desc;

/* Fills up to `capacity` entries, best adapter first; *count is how many there are. DP_E_UNSUPPORTED with the reason
 * (library not found, wrong version, no adapter) when there is none. */
dp_status dp_gpu_list(const dp_gpu_desc *desc, dp_gpu_caps *list, size_t capacity, size_t *count);
dp_status dp_gpu_open(const dp_gpu_desc *desc, dp_gpu **out);
void dp_gpu_close(dp_gpu *gpu);
const dp_gpu_caps *dp_gpu_get_caps(const dp_gpu *gpu);
/* DP_OK, or the first error since the last call: device lost, out of memory, validation; with its message. */
dp_status dp_gpu_check(dp_gpu *gpu);
/* For tests: the device is lost at once; or, when `after` more of them have been made, a buffer finds no room or the driver
 * refuses a pipeline. (A browser's device: `after` 0, no pipelines.) */
typedef enum dp_gpu_fault { DP_GPU_FAULT_LOST, DP_GPU_FAULT_MEMORY, DP_GPU_FAULT_PIPELINE } dp_gpu_fault;
void dp_gpu_provoke(dp_gpu *gpu, dp_gpu_fault fault, uint32_t after);

/* ---- buffers: storage, copy source and destination ---- */

/* DP_E_MEMORY when the device has no room (the device stays usable), DP_E_UNSUPPORTED above buffer_max. Zero-filled. */
dp_status dp_gpu_buffer_new(dp_gpu *gpu, uint64_t size, const char *label, dp_gpu_buffer *out);
/* The same for what no dispatch writes: a host may lay several into one buffer of the device. together: bytes of this one and of
 * those asked for next that are filled at the same time, which a host then keeps side by side if it can. */
dp_status dp_gpu_buffer_shared(dp_gpu *gpu, uint64_t size, uint64_t together, const char *label, dp_gpu_buffer *out);
void dp_gpu_buffer_free(dp_gpu *gpu, dp_gpu_buffer buffer);
/* The same in host memory, which the device reads across the bus by itself: *memory, not zeroed, for the caller to fill before the
 * device reads it. It goes when the buffer is freed and the device is done with it. */
dp_status dp_gpu_buffer_host(dp_gpu *gpu, uint64_t size, const char *label, dp_gpu_buffer *out, void **memory);
/* Bytes of all buffers on the device there are now; of what the device has besides to write, read and pass parameters. 0: not known. */
void dp_gpu_memory(const dp_gpu *gpu, uint64_t *buffers, uint64_t *transfer);
/* Queued in order with submits. offset and size are multiples of 4. Large writes go through a ring of mapped staging
 * buffers, so that host memory stays bounded. */
dp_status dp_gpu_write(dp_gpu *gpu, dp_gpu_buffer buffer, uint64_t offset, const void *data, size_t size);
/* From buffer to buffer, queued in order with submits, too. All numbers are multiples of 4. */
typedef struct dp_gpu_move {
    dp_gpu_buffer from, to;
    uint64_t from_at, to_at, size;
} dp_gpu_move;
dp_status dp_gpu_copy(dp_gpu *gpu, const dp_gpu_move *moves, size_t count);
/* Room of `size` bytes (a multiple of 4, at most DP_GPU_STAGE_BYTES) in the staging ring, to be filled by the caller: what
 * repacking writes into, on any threads. A commit takes the first `size` of them that none has taken yet to
 * buffer[offset..]. All are to be taken, and no other call on the device comes in between. The memory may be slow to read. */
enum { DP_GPU_STAGE_BYTES = 16 << 20 };
dp_status dp_gpu_stage(dp_gpu *gpu, size_t size, void **memory);
dp_status dp_gpu_stage_commit(dp_gpu *gpu, size_t size, dp_gpu_buffer buffer, uint64_t offset);
/* Has the device begin with what was taken; else it does when the ring's next buffer is used, or with the next submit. */
dp_status dp_gpu_stage_send(dp_gpu *gpu);
/* A copy of buffer[offset, offset + size) as of all submits so far; end waits for it. Several may be under way. */
dp_status dp_gpu_read_begin(dp_gpu *gpu, dp_gpu_buffer buffer, uint64_t offset, size_t size, dp_gpu_read *out);
/* DP_WAITING where the host cannot wait and the data is not there yet: the read is still under way. */
dp_status dp_gpu_read_end(dp_gpu *gpu, dp_gpu_read read, void *data);
void dp_gpu_read_drop(dp_gpu *gpu, dp_gpu_read read); /* gives it up, without waiting */
/* Whether the host is to poll for milliseconds before it sleeps in a wait: for reads that are few dispatches away, one after another. */
void dp_gpu_watch(dp_gpu *gpu, bool on);

/* ---- pipelines and dispatches ---- */

/* bindings[i]: 'r' read-only storage, 'w' read-write storage, 'p' the parameter block (uniform with a dynamic offset,
 * last). constants: WGSL overrides. */
typedef struct dp_gpu_pipeline_desc {
    const char *label, *wgsl, *entry;
    const char *bindings; /* e.g. "rrwp": @binding(0..3) of @group(0) */
    struct dp_gpu_constant { const char *name; double value; } constants[16];
    size_t constant_count;
} dp_gpu_pipeline_desc;
/* Compilation errors carry the compiler's message. */
dp_status dp_gpu_pipeline_new(dp_gpu *gpu, const dp_gpu_pipeline_desc *desc, dp_gpu_pipeline *out);
void dp_gpu_pipeline_free(dp_gpu *gpu, dp_gpu_pipeline pipeline);

typedef struct dp_gpu_range {
    dp_gpu_buffer buffer;
    uint64_t offset, size; /* size 0: to the end */
} dp_gpu_range;
/* One range per binding but 'p', which the device adds itself. */
dp_status dp_gpu_bindings_new(dp_gpu *gpu, dp_gpu_pipeline pipeline, const dp_gpu_range *ranges, size_t count,
                              dp_gpu_bindings *out);
void dp_gpu_bindings_free(dp_gpu *gpu, dp_gpu_bindings bindings);

enum {
    DP_GPU_PARAM_BYTES = 64,    /* what a kernel sees of the parameter block at most */
    DP_GPU_PARAM_SLOTS = 16384, /* slots are numbered below this */
};

typedef struct dp_gpu_dispatch {
    dp_gpu_pipeline pipeline;
    dp_gpu_bindings bindings;
    uint32_t params; /* slot in the parameter block */
    uint32_t grid[3];
} dp_gpu_dispatch;

/* Parameter slots [first, first + count) of DP_GPU_PARAM_BYTES each; queued in order with submits. */
dp_status dp_gpu_params(dp_gpu *gpu, uint32_t first, uint32_t count, const void *data);
/* Has the pipelines of these dispatches compiled, side by side, where that is left to their first use; without it a submit does it,
 * one by one. DP_WAITING where the host cannot wait: to be called again, until it gives DP_OK. */
dp_status dp_gpu_prepare(dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count);
/* One compute pass; dispatches run in order and see each other's writes. */
dp_status dp_gpu_submit(dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count);
/* The same with a readback behind it, as dp_gpu_read_begin would give it, in one submit. range->size is not 0. */
dp_status dp_gpu_submit_read(dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count, const dp_gpu_range *range,
                             dp_gpu_read *out);
/* The same submit will likely be asked for next: encodes it now, while the device is busy with others. A hint that changes no result. */
void dp_gpu_encode(dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count, const dp_gpu_range *range);
/* The same with one pass and two timestamps per dispatch; waits; nanoseconds[count]. Needs caps.timestamps. */
dp_status dp_gpu_submit_timed(dp_gpu *gpu, const dp_gpu_dispatch *dispatches, size_t count, uint64_t *nanoseconds);
dp_status dp_gpu_wait(dp_gpu *gpu); /* until everything submitted is done */

#endif
