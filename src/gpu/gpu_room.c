/* gpu_room.c: room for weights on the device: which buffers, of what sizes. */
#include "gpu/gpu_plan.h"
#include "graph/pager.h"

/* Bytes that have room before they come. AHEAD: 0.1 s of a device that gives memory slowly, the time that a tokenizer takes, and what a
 * staging ring lets the host be ahead. LEAST: those that a host may lay into one buffer. */
enum { AHEAD = 192 << 20, LEAST = 16 << 20 };

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

dp_repack_size dp_gpu_repacked(dp_dtype dtype, size_t elements) {
    dp_repack_size size = dp_repack_bytes(dtype, elements);
    if (dtype == DP_F32 || dtype == DP_F16 || dtype == DP_BF16) size.scales = 0;
    return size;
}

dp_repack_size dp_gpu_part_bytes(const dp_weight *w, uint32_t units) {
    return dp_gpu_repacked(w->dtype, (size_t)w->cols * (size_t)(w->experts ? w->rows : 1) * units);
}

/* Slots are written again and again, and by dispatches where a GPU fetches experts. */
static dp_status make_buffer(dp_gpu_backend *b, const dp_weight *w, const dp_gpu_weight *to, size_t size, size_t together, dp_gpu_buffer *out) {
    return to->later ? dp_gpu_buffer_new(b->gpu, size, w->name, out) : dp_gpu_buffer_shared(b->gpu, size, together, w->name, out);
}

static dp_status make_part(dp_gpu_backend *b, const dp_program *program, const dp_weight *w, const dp_gpu_weight *to, dp_gpu_part *part) {
    dp_repack_size size = dp_gpu_part_bytes(w, part->count);
    if (to->stream) {
        dp_gpu_stream_buffers(to->stream, (size_t)(w - program->weights), part, size.scales > 0);
        return DP_OK;
    }
    TRY(make_buffer(b, w, to, size.quants, size.quants + size.scales, &part->quants));
    part->scales = part->quants;
    return size.scales ? make_buffer(b, w, to, size.scales, size.scales, &part->scales) : DP_OK;
}

/* The slots that stand for the experts of a paged weight; 0: it is not paged. */
static uint32_t slots_of(const dp_program *program, const dp_weight *w) {
    for (size_t i = 0; program->pager && w->experts && i < program->op_count; i++) {
        const dp_op *op = &program->ops[i];
        if (op->kind == DP_OP_MOE_MATMUL && &program->weights[op->weight] == w) return dp_gpu_expert_room(program, op);
    }
    return 0;
}

static dp_status make_one(dp_gpu_backend *b, const dp_program *program, const dp_weight *w, dp_gpu_weight *to) {
    uint32_t units = (uint32_t)(w->experts ? w->experts : w->rows), each = 0, slots = slots_of(program, w);
    if (slots) units = slots;
    TRY(check(w, (size_t)w->rows * (size_t)w->cols));
    TRY(dp_gpu_part_units(b, w, units, &each));
    to->later = slots > 0 || to->stream;
    to->parts = dp_calloc((units + each - 1) / each, sizeof *to->parts);
    if (!to->parts) return dp_no_memory((units + each - 1) / each * sizeof *to->parts);
    for (uint32_t first = 0; first < units; first += each) {
        dp_gpu_part *part = &to->parts[to->part_count++];
        part->first = first;
        part->count = DP_MIN(each, units - first);
        TRY(make_part(b, program, w, to, part));
    }
    if (to->part_count == 1) {
        to->quants = to->parts->quants;
        to->scales = to->parts->scales;
    }
    return DP_OK;
}

uint64_t dp_gpu_weights_before(const dp_program *program, size_t count) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) bytes += dp_weight_bytes(&program->weights[i]);
    return bytes;
}

dp_status dp_gpu_weight_failed(dp_status status, const dp_program *program, size_t i) {
    const char *name = program->weights[i].name;
    if (status != DP_E_MEMORY) return dp_fail_in(status, "tensor %s", name);
    return dp_fail_in(status, "tensor %s, %llu MB into the %llu MB of weights (the CPU, or a smaller quantisation, may have room)", name,
                      (unsigned long long)(dp_gpu_weights_before(program, i) / 1000000),
                      (unsigned long long)(dp_gpu_weights_before(program, program->weight_count) / 1000000));
}

static uint64_t room_of(const dp_weight *w, const dp_gpu_weight *to) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < to->part_count && !to->later; i++) {
        dp_repack_size size = dp_gpu_part_bytes(w, to->parts[i].count);
        bytes += size.quants + size.scales;
    }
    return bytes;
}

/* Bytes that are to have room by now: as much less ahead as more has been sent, so that a device that gives memory slowly has
 * the same to do from first to last. */
static uint64_t wanted(const dp_gpu_room *room) {
    double part = room->sent < room->total ? (double)room->sent / (double)room->total : 1;
    return room->sent + LEAST + (uint64_t)((double)(AHEAD - LEAST) * (1 - part));
}

void dp_gpu_room_begin(dp_gpu_room *room, dp_gpu_backend *b, dp_program *program) {
    *room = (dp_gpu_room){.backend = b, .program = program, .total = dp_gpu_weights_before(program, program->weight_count)};
}

dp_status dp_gpu_room_make(dp_gpu_room *room) {
    dp_program *program = room->program;
    for (uint64_t most = wanted(room); room->next < program->weight_count && (room->next <= room->now || room->made < most); room->next++) {
        const dp_weight *w = &program->weights[room->next];
        dp_gpu_weight *to = &((dp_gpu_weight *)program->device)[room->next];
        dp_status status = to->parts ? DP_OK : make_one(room->backend, program, w, to);
        room->refused = status != DP_OK;
        TRY(status);
        room->made += room_of(w, to);
    }
    return DP_OK;
}

dp_status dp_gpu_weights_reserve(dp_gpu_backend *b, dp_program *program) {
    dp_gpu_weight *weights = dp_calloc(program->weight_count, sizeof *weights);
    dp_gpu_stream *stream;
    if (!weights) return dp_no_memory(program->weight_count * sizeof *weights);
    program->device = weights;
    TRY(dp_gpu_stream_new(b, program, &stream));
    for (size_t i = 0; stream && i < program->weight_count; i++)
        if (dp_gpu_streams(stream, i)) weights[i].stream = stream;
    dp_gpu_room room;
    dp_gpu_room_begin(&room, b, program);
    dp_status status = dp_gpu_room_make(&room);
    return status == DP_OK ? DP_OK : dp_gpu_weight_failed(status, program, room.next);
}

void dp_gpu_weights_unload(dp_gpu_backend *b, dp_program *program) {
    dp_gpu_weight *weights = program->device;
    dp_gpu_stream *stream = NULL;
    dp_gpu_home_free(b, program);
    for (size_t i = 0; weights && i < program->weight_count; i++) {
        if (weights[i].stream) stream = weights[i].stream;
        for (size_t k = 0; k < weights[i].part_count && !weights[i].stream; k++) {
            const dp_gpu_part *part = &weights[i].parts[k];
            dp_gpu_buffer_free(b->gpu, part->quants);
            if (part->scales != part->quants) dp_gpu_buffer_free(b->gpu, part->scales);
        }
        dp_gpu_buffer_free(b->gpu, weights[i].kept.buffer);
        dp_free(weights[i].parts);
    }
    dp_gpu_stream_free(b, stream);
    dp_free(weights);
    program->device = NULL;
}
