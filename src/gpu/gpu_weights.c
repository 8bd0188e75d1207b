/* gpu_weights.c: takes weights to the device, repacked slab by slab, so that host memory stays bounded. */
#include "gpu/gpu_plan.h"
#include "graph/pager.h"

enum { PIECE_ELEMENTS = 1 << 17, SLAB_ELEMENTS = 1 << 20 }; /* multiples of every block size times 64 */

typedef struct upload {
    dp_gpu_backend *backend;
    const dp_program *program;
    const dp_weight *weight;
    const dp_gpu_part *to;
    bool later;                  /* it comes when it is wanted */
    size_t slab;                 /* elements that are staged at once */
    size_t quants_at, scales_at; /* bytes written so far */
    uint32_t *scales;            /* one slab */
    uint8_t *blocks;             /* one slab as stored, of what is not in memory; NULL until needed */
} upload;

static bool is_float(dp_dtype dtype) { return dtype == DP_F32 || dtype == DP_F16 || dtype == DP_BF16; }

static size_t slab_bytes(dp_dtype dtype, size_t elements) {
    dp_repack_size size = dp_repack_bytes(dtype, elements);
    return size.quants + (is_float(dtype) ? 0 : size.scales);
}

/* ---- a slab is repacked in pieces, which threads share ---- */

typedef struct slab {
    dp_dtype dtype;
    const uint8_t *blocks;
    size_t elements;
    uint8_t *quants, *scales; /* staged; scales: NULL if there are none */
    uint8_t *made;            /* scales where they are made, since staged memory may be slow to read */
} slab;

static void repack_piece(void *user, int32_t i, int32_t thread) {
    (void)thread;
    const slab *s = user;
    const dp_dtype_info *info = dp_dtype_get(s->dtype);
    size_t first = (size_t)i * PIECE_ELEMENTS, n = DP_MIN((size_t)PIECE_ELEMENTS, s->elements - first);
    dp_repack_size at = dp_repack_bytes(s->dtype, first), size = dp_repack_bytes(s->dtype, n);
    uint8_t *made = s->scales ? s->made + at.scales : NULL;
    dp_repack(s->dtype, s->blocks + first / info->block * info->bytes, n, (uint32_t *)(void *)(s->quants + at.quants),
              (uint32_t *)(void *)made);
    if (s->scales) memcpy(s->scales + at.scales, made, size.scales);
}

static void repack(const upload *u, slab *s) {
    dp_pool_run(u->backend->pool, repack_piece, s, (int32_t)((s->elements + PIECE_ELEMENTS - 1) / PIECE_ELEMENTS));
}

static dp_status send_slab(upload *u, const uint8_t *blocks, size_t n) {
    dp_repack_size size = dp_repack_bytes(u->weight->dtype, n);
    bool scaled = u->to->scales != u->to->quants;
    void *memory;
    TRY(dp_gpu_stage(u->backend->gpu, size.quants + (scaled ? size.scales : 0), &memory));
    slab s = {u->weight->dtype, blocks, n, memory, scaled ? (uint8_t *)memory + size.quants : NULL, (uint8_t *)u->scales};
    repack(u, &s);
    TRY(dp_gpu_stage_commit(u->backend->gpu, size.quants, u->to->quants, u->quants_at));
    if (scaled) TRY(dp_gpu_stage_commit(u->backend->gpu, size.scales, u->to->scales, u->scales_at));
    u->quants_at += size.quants;
    u->scales_at += size.scales;
    return DP_OK;
}

/* n elements of what is not in memory, from byte `at` of the weight or its expert on. */
static dp_status read_slab(upload *u, int32_t expert, size_t at, size_t n, const uint8_t **out) {
    const dp_dtype_info *info = dp_dtype_get(u->weight->dtype);
    const dp_weight_reader *reader = &u->program->reader;
    size_t index = (size_t)(u->weight - u->program->weights);
    size_t most = u->slab / info->block * info->bytes;
    if (!u->blocks) u->blocks = dp_malloc(most);
    if (!u->blocks) return dp_no_memory(most);
    *out = u->blocks;
    return reader->read(reader->user, index, expert, at, u->blocks, n / info->block * info->bytes);
}

/* Elements [first, first + elements) of a plain weight or an expert. data: NULL if it is to be read. */
static dp_status send(upload *u, int32_t expert, const uint8_t *data, size_t first, size_t elements) {
    const dp_dtype_info *info = dp_dtype_get(u->weight->dtype);
    for (size_t at = first; at < first + elements; at += u->slab) {
        size_t n = DP_MIN(u->slab, first + elements - at), byte = at / info->block * info->bytes;
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

/* ---- parts ---- */

dp_status dp_gpu_storage_new(dp_gpu *gpu, uint64_t size, const char *label, dp_gpu_buffer *out) {
    const dp_gpu_caps *caps = dp_gpu_get_caps(gpu);
    if (size > caps->binding_max)
        return dp_fail(DP_E_UNSUPPORTED, "%s needs %llu bytes in one piece, of which the device %s can bind %llu",
                       label, (unsigned long long)size, caps->name, (unsigned long long)caps->binding_max);
    return dp_gpu_buffer_new(gpu, size, label, out);
}

/* Rows of a plain weight, or experts, that fit a binding. Parts of rows begin at multiples of 64: there results can be
 * bound from, and no two parts share a word. */
dp_status dp_gpu_part_units(const dp_gpu_backend *b, const dp_weight *w, uint32_t units, uint32_t *out) {
    uint64_t elements = (uint64_t)w->cols * (uint64_t)(w->experts ? w->rows : 64);
    uint32_t step = w->experts ? 1 : 64;
    dp_repack_size size = dp_repack_bytes(w->dtype, (size_t)elements), all = dp_repack_bytes(w->dtype, (size_t)(elements * units / step));
    *out = units;
    if (DP_MAX(all.quants, all.scales) <= b->part_most) return DP_OK;
    uint64_t fitting = b->part_most / DP_MAX(size.quants, size.scales) * step;
    if (!fitting)
        return dp_fail(DP_E_UNSUPPORTED, "%s of %zu bytes: the device %s can bind %llu in one piece", w->experts ? "an expert" : "64 rows",
                       DP_MAX(size.quants, size.scales), dp_gpu_get_caps(b->gpu)->name, (unsigned long long)b->part_most);
    *out = (uint32_t)DP_MIN(fitting, (uint64_t)units);
    return DP_OK;
}

dp_repack_size dp_gpu_part_bytes(const dp_weight *w, uint32_t units) {
    dp_repack_size size = dp_repack_bytes(w->dtype, (size_t)w->cols * (size_t)(w->experts ? w->rows : 1) * units);
    if (is_float(w->dtype)) size.scales = 0;
    return size;
}

static dp_status make_part(upload *u, dp_gpu_weight *to, dp_gpu_part *part) {
    dp_repack_size size = dp_gpu_part_bytes(u->weight, part->count);
    if (to->stream) {
        dp_gpu_stream_buffers(to->stream, (size_t)(u->weight - u->program->weights), part, size.scales > 0);
        return DP_OK;
    }
    TRY(dp_gpu_buffer_new(u->backend->gpu, size.quants, u->weight->name, &part->quants));
    part->scales = part->quants;
    return size.scales ? dp_gpu_buffer_new(u->backend->gpu, size.scales, u->weight->name, &part->scales) : DP_OK;
}

static dp_status fill_part(upload *u, const dp_gpu_part *part) {
    const dp_weight *w = u->weight;
    size_t elements = (size_t)w->cols * (size_t)(w->experts ? w->rows : (int32_t)part->count);
    u->to = part;
    u->quants_at = u->scales_at = 0;
    if (!w->experts) return send(u, -1, w->data, (size_t)part->first * (size_t)w->cols, elements);
    for (uint32_t e = part->first; e < part->first + part->count; e++) {
        TRY(send(u, (int32_t)e, w->expert[e], 0, elements));
        if (w->expert[e]) dp_host_advise(w->expert[e], w->bytes, DP_ADVICE_DONT_NEED);
    }
    return DP_OK;
}

static dp_status load_parts(upload *u, dp_gpu_weight *to, uint32_t units, uint32_t each) {
    dp_status status = DP_OK;
    for (uint32_t first = 0; status == DP_OK && first < units; first += each) {
        dp_gpu_part *part = &to->parts[to->part_count++];
        part->first = first;
        part->count = DP_MIN(each, units - first);
        status = make_part(u, to, part);
        if (status == DP_OK && !u->later) status = fill_part(u, part);
    }
    return status;
}

/* The slots that stand for the experts of a paged weight; 0: it is not paged. */
static uint32_t slots_of(const dp_program *program, const dp_weight *w) {
    for (size_t i = 0; program->pager && w->experts && i < program->op_count; i++) {
        const dp_op *op = &program->ops[i];
        if (op->kind == DP_OP_MOE_MATMUL && &program->weights[op->weight] == w) return dp_gpu_expert_room(program, op);
    }
    return 0;
}

/* Elements that are worth sharing among as many threads as there are, and that can be staged. */
static size_t slab_elements(const dp_gpu_backend *b, const dp_weight *w) {
    size_t n = (size_t)SLAB_ELEMENTS, all = (size_t)w->rows * (size_t)w->cols;
    while (n < all && n < (size_t)SLAB_ELEMENTS * (size_t)dp_pool_threads(b->pool) && slab_bytes(w->dtype, 2 * n) <= DP_GPU_STAGE_BYTES)
        n *= 2;
    return n;
}

static dp_status start_upload(upload *u, dp_gpu_backend *b, const dp_program *program, const dp_weight *w) {
    *u = (upload){.backend = b, .program = program, .weight = w, .slab = slab_elements(b, w)};
    size_t bytes = dp_repack_bytes(w->dtype, u->slab).scales;
    u->scales = dp_malloc(bytes);
    return u->scales ? DP_OK : dp_no_memory(bytes);
}

static void end_upload(upload *u) {
    dp_free(u->blocks);
    dp_free(u->scales);
}

static dp_status load_one(dp_gpu_backend *b, const dp_program *program, const dp_weight *w, dp_gpu_weight *to) {
    upload u;
    uint32_t units = (uint32_t)(w->experts ? w->experts : w->rows), each = 0, slots = slots_of(program, w);
    if (slots) units = slots;
    TRY(check(w, (size_t)w->rows * (size_t)w->cols));
    TRY(dp_gpu_part_units(b, w, units, &each));
    to->parts = dp_calloc((units + each - 1) / each, sizeof *to->parts);
    if (!to->parts) return dp_no_memory((units + each - 1) / each * sizeof *to->parts);
    TRY(start_upload(&u, b, program, w));
    u.later = slots > 0 || to->stream;
    dp_status status = load_parts(&u, to, units, each);
    bool vector = w->dtype == DP_F32; /* plans join some (dp_decode_read_vector) */
    if (!w->experts && w->data && !vector) dp_host_advise(w->data, w->bytes, DP_ADVICE_DONT_NEED);
    end_upload(&u);
    if (to->part_count == 1) {
        to->quants = to->parts->quants;
        to->scales = to->parts->scales;
    }
    return status;
}

dp_status dp_gpu_weights_load(dp_gpu_backend *b, dp_program *program, dp_progress_fn progress, void *user) {
    dp_gpu_weight *weights = dp_calloc(program->weight_count, sizeof *weights);
    dp_gpu_stream *stream;
    uint64_t total = 0, done = 0;
    if (!weights) return dp_no_memory(program->weight_count * sizeof *weights);
    program->device = weights;
    TRY(dp_gpu_stream_new(b, program, &stream));
    for (size_t i = 0; stream && i < program->weight_count; i++)
        if (dp_gpu_streams(stream, i)) weights[i].stream = stream;
    for (size_t i = 0; i < program->weight_count; i++) total += dp_weight_bytes(&program->weights[i]);
    for (size_t i = 0; i < program->weight_count; i++) {
        const dp_weight *w = &program->weights[i];
        dp_status status = load_one(b, program, w, &weights[i]);
        if (status == DP_E_MEMORY)
            return dp_fail_in(
                status,
                "tensor %s, with %llu of %llu MB of weights loaded (the CPU, or a smaller quantisation, may have room)",
                w->name, (unsigned long long)(done / 1000000), (unsigned long long)(total / 1000000));
        if (status != DP_OK) return dp_fail_in(status, "tensor %s", w->name);
        done += dp_weight_bytes(w);
        if (progress && !progress(user, "to the GPU", done, total)) return dp_fail(DP_E_CANCELLED, "loading was cancelled");
    }
    return dp_gpu_check(b->gpu);
}

dp_status dp_gpu_weights_send(dp_gpu_backend *b, const dp_program *program, size_t weight) {
    const dp_weight *w = &program->weights[weight];
    const dp_gpu_weight *to = &((const dp_gpu_weight *)program->device)[weight];
    upload u;
    TRY(start_upload(&u, b, program, w));
    dp_status status = DP_OK;
    for (size_t i = 0; status == DP_OK && i < to->part_count; i++) status = fill_part(&u, &to->parts[i]);
    if (w->data && !program->pager->api->stream(program->pager)->kept) dp_host_advise(w->data, w->bytes, DP_ADVICE_DONT_NEED);
    end_upload(&u);
    return status == DP_OK ? DP_OK : dp_fail_in(status, "tensor %s", w->name);
}

uint64_t dp_gpu_weight_bytes(const dp_weight *w) { return slab_bytes(w->dtype, (size_t)w->rows * (size_t)w->cols); }

void dp_gpu_weights_unload(dp_gpu_backend *b, dp_program *program) {
    dp_gpu_weight *weights = program->device;
    dp_gpu_stream *stream = NULL;
    for (size_t i = 0; weights && i < program->weight_count; i++) {
        if (weights[i].stream) stream = weights[i].stream;
        for (size_t k = 0; k < weights[i].part_count && !weights[i].stream; k++) {
            const dp_gpu_part *part = &weights[i].parts[k];
            dp_gpu_buffer_free(b->gpu, part->quants);
            if (part->scales != part->quants) dp_gpu_buffer_free(b->gpu, part->scales);
        }
        dp_free(weights[i].parts);
    }
    dp_gpu_stream_free(b, stream);
    dp_free(weights);
    program->device = NULL;
}
