/* gpu_weights.c: takes weights to the device, repacked slab by slab, so that host memory stays bounded. */
#include "gpu/gpu_plan.h"
#include "graph/pager.h"

enum {
    SLAB_ELEMENTS = 1 << 20,             /* a multiple of every block size times 64 */
    MADE_WORDS = DP_GPU_PIECE / 256 * 21 /* Q6_K has most */
};

typedef struct upload {
    dp_gpu_backend *backend;
    const dp_program *program;
    const dp_weight *weight;
    const dp_gpu_part *to;
    dp_gpu_room *room;           /* made on the way; NULL: all of it is there */
    uint8_t *home;               /* where the part is repacked to, and not sent; NULL: it is sent */
    size_t slab;                 /* elements that are staged at once */
    size_t quants_at, scales_at; /* bytes written so far */
    uint8_t *blocks;             /* one slab as stored, of what is not in memory; NULL until needed */
} upload;

static size_t slab_bytes(dp_dtype dtype, size_t elements) {
    dp_repack_size size = dp_gpu_repacked(dtype, elements);
    return size.quants + size.scales;
}

/* ---- a slab is repacked in pieces, which threads share ---- */

typedef struct slab {
    dp_dtype dtype;
    const uint8_t *blocks;
    size_t elements;
    uint8_t *quants, *scales; /* staged; scales: NULL if there are none */
} slab;

/* Scales are made beside staged memory, which may be slow to read. */
void dp_gpu_repack_piece(dp_dtype dtype, const uint8_t *blocks, size_t elements, size_t i, uint8_t *quants, uint8_t *scales) {
    const dp_dtype_info *info = dp_dtype_get(dtype);
    uint32_t made[MADE_WORDS];
    size_t first = i * DP_GPU_PIECE, n = DP_MIN((size_t)DP_GPU_PIECE, elements - first);
    dp_repack_size at = dp_repack_bytes(dtype, first), size = dp_repack_bytes(dtype, n);
    dp_repack(dtype, blocks + first / info->block * info->bytes, n, (uint32_t *)(void *)(quants + at.quants), made);
    if (scales) memcpy(scales + at.scales, made, size.scales);
}

static void repack_piece(void *user, int32_t i, int32_t thread) {
    (void)thread;
    const slab *s = user;
    dp_gpu_repack_piece(s->dtype, s->blocks, s->elements, (size_t)i, s->quants, s->scales);
}

static void repack_slab(const upload *u, slab s) {
    dp_pool_run(u->backend->pool, repack_piece, &s, dp_gpu_pieces(s.elements));
}

static dp_status stage_slab(const upload *u, const uint8_t *blocks, size_t n, dp_repack_size size, bool scaled) {
    void *memory;
    TRY(dp_gpu_stage(u->backend->gpu, size.quants + (scaled ? size.scales : 0), &memory));
    repack_slab(u, (slab){u->weight->dtype, blocks, n, memory, scaled ? (uint8_t *)memory + size.quants : NULL});
    TRY(dp_gpu_stage_commit(u->backend->gpu, size.quants, u->to->quants, u->quants_at));
    return scaled ? dp_gpu_stage_commit(u->backend->gpu, size.scales, u->to->scales, u->scales_at) : DP_OK;
}

static dp_status send_slab(upload *u, const uint8_t *blocks, size_t n) {
    dp_repack_size size = dp_repack_bytes(u->weight->dtype, n);
    bool scaled = u->to->scales != u->to->quants;
    uint8_t *scales = u->home && scaled ? u->home + dp_gpu_part_bytes(u->weight, u->to->count).quants + u->scales_at : NULL;
    if (u->home) repack_slab(u, (slab){u->weight->dtype, blocks, n, u->home + u->quants_at, scales});
    else TRY(stage_slab(u, blocks, n, size, scaled));
    u->quants_at += size.quants;
    u->scales_at += size.scales;
    if (!u->room) return DP_OK;
    u->room->sent += size.quants + size.scales;
    return dp_gpu_room_make(u->room);
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

/* Elements that are worth sharing among as many threads as there are, and that can be staged. */
static size_t slab_elements(const dp_gpu_backend *b, const dp_weight *w) {
    size_t n = (size_t)SLAB_ELEMENTS, all = (size_t)w->rows * (size_t)w->cols;
    while (n < all && n < (size_t)SLAB_ELEMENTS * (size_t)dp_pool_threads(b->pool) && slab_bytes(w->dtype, 2 * n) <= DP_GPU_STAGE_BYTES)
        n *= 2;
    return n;
}

/* room: NULL if all of it is made; home: NULL, or where it is to lie in host memory, part by part. */
static dp_status fill(dp_gpu_backend *b, const dp_program *program, const dp_weight *w, const dp_gpu_weight *to, dp_gpu_room *room,
                      uint8_t *home) {
    upload u = {.backend = b, .program = program, .weight = w, .room = room, .home = home, .slab = slab_elements(b, w)};
    dp_status status = DP_OK;
    for (size_t i = 0; status == DP_OK && i < to->part_count; i++) {
        dp_repack_size size = dp_gpu_part_bytes(w, to->parts[i].count);
        status = fill_part(&u, &to->parts[i]);
        if (home) u.home += size.quants + size.scales;
    }
    dp_free(u.blocks);
    return status;
}

static dp_status load_one(dp_gpu_room *room, const dp_weight *w, const dp_gpu_weight *to) {
    if (to->later) return DP_OK;
    dp_status status = fill(room->backend, room->program, w, to, room, NULL);
    bool vector = w->dtype == DP_F32; /* plans join some (dp_decode_read_vector) */
    if (!w->experts && w->data && !vector) dp_host_advise(w->data, w->bytes, DP_ADVICE_DONT_NEED);
    return status;
}

dp_status dp_gpu_weights_load(dp_gpu_backend *b, dp_program *program, dp_progress_fn progress, void *user) {
    if (!program->device) TRY(dp_gpu_weights_reserve(b, program));
    dp_gpu_room room;
    uint64_t done = 0;
    dp_gpu_room_begin(&room, b, program);
    for (size_t i = 0; i < program->weight_count; i++) {
        const dp_weight *w = &program->weights[i];
        room.now = i;
        dp_status status = dp_gpu_room_make(&room);
        if (status == DP_OK) status = load_one(&room, w, &((const dp_gpu_weight *)program->device)[i]);
        if (status != DP_OK) return dp_gpu_weight_failed(status, program, room.refused ? room.next : i);
        done += dp_weight_bytes(w);
        if (progress && !progress(user, "to the GPU", done, room.total)) return dp_fail(DP_E_CANCELLED, "loading was cancelled");
    }
    TRY(dp_gpu_home_load(b, program, progress, user));
    return dp_gpu_check(b->gpu);
}

/* ---- plain weights that pass through slots ---- */

size_t dp_gpu_moves(dp_gpu_buffer from, uint64_t at, const dp_gpu_part *part, dp_repack_size size, uint64_t index, dp_gpu_move moves[2]) {
    moves[0] = (dp_gpu_move){from, part->quants, at, index * size.quants, size.quants};
    moves[1] = (dp_gpu_move){from, part->scales, at + size.quants, index * size.scales, size.scales};
    return size.scales ? 2 : 1;
}

/* Repacked once, in host memory that the device copies from whenever it is wanted. */
static dp_status keep(dp_gpu_backend *b, const dp_program *program, const dp_weight *w, dp_gpu_weight *to) {
    void *memory;
    if (to->kept.memory) return DP_OK;
    if (!to->kept.buffer) {
        TRY(dp_gpu_buffer_host(b->gpu, dp_gpu_weight_bytes(w), w->name, &to->kept.buffer, &memory));
        to->kept.room = memory;
    }
    TRY(fill(b, program, w, to, NULL, to->kept.room));
    to->kept.memory = to->kept.room;
    return DP_OK;
}

static dp_status send_kept(dp_gpu_backend *b, const dp_program *program, const dp_weight *w, dp_gpu_weight *to) {
    uint64_t at = 0;
    TRY(keep(b, program, w, to));
    for (size_t i = 0; i < to->part_count; i++) {
        dp_repack_size size = dp_gpu_part_bytes(w, to->parts[i].count);
        dp_gpu_move moves[2];
        TRY(dp_gpu_copy(b->gpu, moves, dp_gpu_moves(to->kept.buffer, at, &to->parts[i], size, 0, moves)));
        at += size.quants + size.scales;
    }
    return DP_OK;
}

dp_status dp_gpu_weights_send(dp_gpu_backend *b, const dp_program *program, size_t weight) {
    const dp_weight *w = &program->weights[weight];
    const dp_stream *stream = program->pager->api->stream(program->pager);
    dp_gpu_weight *to = &((dp_gpu_weight *)program->device)[weight];
    bool mapped = !stream->fetched || !to->kept.memory; /* its pages are used */
    dp_status status = stream->fetched ? send_kept(b, program, w, to) : fill(b, program, w, to, NULL, NULL);
    if (w->data && mapped && (stream->fetched || !stream->kept)) dp_host_advise(w->data, w->bytes, DP_ADVICE_DONT_NEED);
    return status == DP_OK ? DP_OK : dp_fail_in(status, "tensor %s", w->name);
}

uint64_t dp_gpu_weight_bytes(const dp_weight *w) { return slab_bytes(w->dtype, (size_t)w->rows * (size_t)w->cols); }
