/* gpu_weights.c: takes weights to the device, repacked slab by slab, so that host memory stays bounded. */
#include "gpu/gpu_plan.h"
#include "gpu/repack.h"

enum { SLAB_ELEMENTS = 1 << 20 }; /* a multiple of every block size times 64 */

typedef struct upload {
    dp_gpu *gpu;
    const dp_program *program;
    const dp_weight *weight;
    dp_gpu_weight *to;
    size_t quants_at, scales_at; /* bytes written so far */
    uint32_t *scales;            /* one slab */
    uint8_t *blocks;             /* one slab as stored, of what is not in memory; NULL until needed */
} upload;

static dp_status send_slab(upload *u, const uint8_t *blocks, size_t n) {
    dp_repack_size size = dp_repack_bytes(u->weight->dtype, n);
    void *memory;
    TRY(dp_gpu_stage(u->gpu, size.quants, &memory));
    dp_repack(u->weight->dtype, blocks, n, memory, u->scales);
    TRY(dp_gpu_stage_commit(u->gpu, u->to->quants, u->quants_at));
    if (u->to->scales != u->to->quants) TRY(dp_gpu_write(u->gpu, u->to->scales, u->scales_at, u->scales, size.scales));
    u->quants_at += size.quants;
    u->scales_at += size.scales;
    return DP_OK;
}

/* n elements of what is not in memory, from byte `at` of the weight or its expert on. */
static dp_status read_slab(upload *u, int32_t expert, size_t at, size_t n, const uint8_t **out) {
    const dp_dtype_info *info = dp_dtype_get(u->weight->dtype);
    const dp_weight_reader *reader = &u->program->reader;
    size_t index = (size_t)(u->weight - u->program->weights);
    if (!u->blocks) u->blocks = dp_malloc(SLAB_ELEMENTS / info->block * info->bytes);
    if (!u->blocks) return dp_no_memory(SLAB_ELEMENTS / info->block * info->bytes);
    *out = u->blocks;
    return reader->read(reader->user, index, expert, at, u->blocks, n / info->block * info->bytes);
}

/* data: NULL if it is to be read. */
static dp_status send(upload *u, int32_t expert, const uint8_t *data, size_t elements) {
    const dp_dtype_info *info = dp_dtype_get(u->weight->dtype);
    for (size_t at = 0; at < elements; at += SLAB_ELEMENTS) {
        size_t n = DP_MIN((size_t)SLAB_ELEMENTS, elements - at), byte = at / info->block * info->bytes;
        const uint8_t *blocks = data ? data + byte : NULL;
        if (!data) TRY(read_slab(u, expert, byte, n, &blocks));
        TRY(send_slab(u, blocks, n));
    }
    return DP_OK;
}

/* Experts follow each other in one buffer, so blocks that share a word must not straddle two of them. */
static dp_status check(const dp_weight *w, size_t elements) {
    if (!dp_kernels_reads(w->dtype))
        return dp_fail(DP_E_UNSUPPORTED, "dtype %s has no GPU kernel yet; convert the model, or use the CPU", dp_dtype_get(w->dtype)->name);
    if (w->rows > 1 && w->cols % 32 != 0)
        return dp_fail(DP_E_UNSUPPORTED, "rows of %d columns: the GPU kernels need a multiple of 32", (int)w->cols);
    if (w->experts && elements / 32 % 4 != 0)
        return dp_fail(DP_E_UNSUPPORTED, "experts of %zu elements: the GPU kernels need a multiple of 128", elements);
    return DP_OK;
}

static bool is_float(dp_dtype dtype) { return dtype == DP_F32 || dtype == DP_F16 || dtype == DP_BF16; }

static dp_status load_one(dp_gpu_backend *b, const dp_program *program, const dp_weight *w, dp_gpu_weight *to) {
    size_t elements = (size_t)w->rows * (size_t)w->cols, copies = w->experts ? (size_t)w->experts : 1;
    TRY(check(w, elements));
    dp_repack_size size = dp_repack_bytes(w->dtype, elements * copies);
    TRY(dp_gpu_buffer_new(b->gpu, size.quants, w->name, &to->quants));
    if (is_float(w->dtype)) to->scales = to->quants;
    else TRY(dp_gpu_buffer_new(b->gpu, size.scales, w->name, &to->scales));
    upload u = {.gpu = b->gpu, .program = program, .weight = w, .to = to};
    u.scales = dp_malloc(dp_repack_bytes(w->dtype, SLAB_ELEMENTS).scales);
    if (!u.scales) return dp_no_memory(SLAB_ELEMENTS / 8);
    dp_status status = DP_OK;
    for (size_t e = 0; status == DP_OK && e < copies; e++) {
        const void *data = w->experts ? w->expert[e] : w->data;
        status = send(&u, w->experts ? (int32_t)e : -1, data, elements);
        if (data) dp_host_advise(data, w->bytes, DP_ADVICE_DONT_NEED);
    }
    dp_free(u.blocks);
    dp_free(u.scales);
    return status;
}

dp_status dp_gpu_weights_load(dp_gpu_backend *b, dp_program *program, dp_progress_fn progress, void *user) {
    dp_gpu_weight *weights = dp_calloc(program->weight_count, sizeof *weights);
    uint64_t total = 0, done = 0;
    if (!weights) return dp_no_memory(program->weight_count * sizeof *weights);
    program->device = weights;
    for (size_t i = 0; i < program->weight_count; i++)
        total += program->weights[i].bytes * (uint64_t)(program->weights[i].experts ? program->weights[i].experts : 1);
    for (size_t i = 0; i < program->weight_count; i++) {
        const dp_weight *w = &program->weights[i];
        dp_status status = load_one(b, program, w, &weights[i]);
        if (status != DP_OK) return dp_fail_in(status, "tensor %s", w->name);
        done += w->bytes * (uint64_t)(w->experts ? w->experts : 1);
        if (progress && !progress(user, "to the GPU", done, total)) return dp_fail(DP_E_CANCELLED, "loading was cancelled");
    }
    return dp_gpu_check(b->gpu);
}

void dp_gpu_weights_unload(dp_gpu_backend *b, dp_program *program) {
    dp_gpu_weight *weights = program->device;
    for (size_t i = 0; weights && i < program->weight_count; i++) {
        dp_gpu_buffer_free(b->gpu, weights[i].quants);
        if (weights[i].scales != weights[i].quants) dp_gpu_buffer_free(b->gpu, weights[i].scales);
    }
    dp_free(weights);
    program->device = NULL;
}
