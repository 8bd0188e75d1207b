/* unit.c: see unit.h. */
#include "page/unit.h"

#include <stdlib.h>

enum { GAP_MAX = 64 << 10 }; /* bytes nobody asked for that are read rather than skipped */

static uint64_t down(uint64_t n) { return n / DP_DIRECT * DP_DIRECT; }
static uint64_t up(uint64_t n) { return down(n + DP_DIRECT - 1); }

dp_status dp_units_init(dp_units *u, const dp_checkpoint *checkpoint) {
    *u = (dp_units){.checkpoint = checkpoint};
    u->checked = dp_calloc(checkpoint->file_count, 1);
    if (!u->checked) return dp_no_memory(checkpoint->file_count);
    TRY(dp_mutex_new(&u->lock));
    return dp_cond_new(&u->checked_one);
}

void dp_units_free(dp_units *u) {
    dp_free(u->list);
    dp_free(u->parts);
    dp_free(u->pieces);
    dp_free(u->extents);
    dp_free(u->checked);
    if (u->checked_one) dp_cond_free(u->checked_one);
    if (u->lock) dp_mutex_free(u->lock);
    *u = (dp_units){0};
}

/* ---- building ---- */

dp_status dp_units_begin(dp_units *u, int32_t layer, int32_t expert) {
    if (!dp_grow((void **)&u->list, &u->capacity, u->count + 1, sizeof *u->list)) return dp_no_memory((u->count + 1) * sizeof *u->list);
    u->list[u->count++] = (dp_unit){.layer = layer,
                                    .expert = expert,
                                    .first_part = (int32_t)u->part_count,
                                    .first_extent = (int32_t)u->extent_count};
    u->piece_count = 0;
    return DP_OK;
}

static dp_status add_part(dp_units *u, dp_unit_part part) {
    if (!dp_grow((void **)&u->parts, &u->part_capacity, u->part_count + 1, sizeof *u->parts))
        return dp_no_memory((u->part_count + 1) * sizeof *u->parts);
    u->parts[u->part_count++] = part;
    u->list[u->count - 1].part_count++;
    return DP_OK;
}

static dp_status add_piece(dp_units *u, dp_unit_piece piece) {
    if (!dp_grow((void **)&u->pieces, &u->piece_capacity, u->piece_count + 1, sizeof *u->pieces))
        return dp_no_memory((u->piece_count + 1) * sizeof *u->pieces);
    u->pieces[u->piece_count++] = piece;
    return DP_OK;
}

/* Cut at a shard's end and continued at the next one's beginning: then the pieces meet on a sector's edge in memory. */
static bool continues(const dp_span *before, const dp_span *span) {
    return span->offset == 0 && (before->offset + before->size) % DP_DIRECT == 0 && span->file > before->file;
}

dp_status dp_units_add_stored(dp_units *u, int32_t weight, dp_unit_bytes bytes) {
    const dp_tensor *t = bytes.tensor;
    uint64_t start = 0, from = bytes.offset, to = bytes.offset + bytes.size;
    size_t before = u->piece_count;
    if (t->relayout || !bytes.size) return dp_fail(DP_E_UNSUPPORTED, "tensor %s: converted while it is read", t->name);
    for (int32_t i = 0; i < t->span_count; start += t->spans[i++].size) {
        const dp_span *span = &t->spans[i];
        uint64_t a = DP_MAX(from, start), b = DP_MIN(to, start + span->size);
        if (a >= b) continue;
        if (u->piece_count > before && !continues(span - 1, span)) {
            u->piece_count = before;
            return dp_fail(DP_E_UNSUPPORTED, "tensor %s: its pieces do not join", t->name);
        }
        TRY(add_piece(u, (dp_unit_piece){span->file, span->offset + (a - start), b - a, (int32_t)u->part_count, a == from}));
    }
    return add_part(u, (dp_unit_part){.weight = weight, .bytes = (size_t)bytes.size});
}

dp_status dp_units_add_filled(dp_units *u, int32_t weight, size_t bytes) {
    return add_part(u, (dp_unit_part){.weight = weight, .bytes = bytes, .filled = true});
}

static int by_place(const void *a, const void *b) {
    const dp_unit_piece *x = a, *y = b;
    if (x->file != y->file) return x->file < y->file ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* The extent that holds the piece: the last one, widened, if the piece lies in or close behind it. */
static dp_status extent_for(dp_units *u, dp_unit *unit, const dp_unit_piece *piece, dp_extent **out) {
    dp_extent *last = unit->extent_count ? &u->extents[u->extent_count - 1] : NULL;
    uint64_t start = down(piece->offset), end = up(piece->offset + piece->size);
    if (last && last->file == piece->file && start <= last->offset + last->size + GAP_MAX) {
        last->size = DP_MAX(last->size, end - last->offset);
        *out = last;
        return DP_OK;
    }
    size_t at = last ? last->at + (size_t)last->size : 0;
    if (!dp_grow((void **)&u->extents, &u->extent_capacity, u->extent_count + 1, sizeof *u->extents))
        return dp_no_memory((u->extent_count + 1) * sizeof *u->extents);
    *out = &u->extents[u->extent_count++];
    **out = (dp_extent){piece->file, start, end - start, at};
    unit->extent_count++;
    return DP_OK;
}

dp_status dp_units_end(dp_units *u) {
    dp_unit *unit = &u->list[u->count - 1];
    dp_extent *e = NULL;
    if (u->piece_count) qsort(u->pieces, u->piece_count, sizeof *u->pieces, by_place);
    for (size_t i = 0; i < u->piece_count; i++) {
        const dp_unit_piece *piece = &u->pieces[i];
        TRY(extent_for(u, unit, piece, &e));
        if (piece->first) u->parts[piece->part].at = e->at + (size_t)(piece->offset - e->offset);
    }
    unit->bytes = e ? e->at + (size_t)e->size : 0;
    for (int32_t i = 0; i < unit->part_count; i++) {
        dp_unit_part *part = &u->parts[unit->first_part + i];
        if (!part->filled) continue;
        part->at = unit->bytes;
        unit->bytes += (size_t)up(part->bytes);
    }
    return DP_OK;
}

/* ---- reading ---- */

int32_t dp_units_sources(const dp_units *u) { return 1 + (int32_t)u->mirror_count; }

static dp_status read_mirror(const dp_units *u, int32_t mirror, int32_t file, uint64_t offset, void *data, size_t size) {
    char *path = dp_path_join(u->mirrors[mirror], u->checkpoint->file_names[file]);
    dp_file *opened = NULL;
    dp_status status = path ? dp_file_open(path, &opened) : dp_no_memory(64);
    if (status == DP_OK) status = dp_file_read_direct(opened, offset, data, size);
    dp_file_close(opened);
    dp_free(path);
    return status;
}

static dp_status read_file(dp_units *u, int32_t source, int32_t file, uint64_t offset, void *data, size_t size) {
    if (u->read) return u->read(u->read_user, source, file, offset, data, size);
    if (source) return read_mirror(u, source - 1, file, offset, data, size);
    return dp_file_read_direct(u->checkpoint->files[file], offset, data, size);
}

dp_status dp_units_read(dp_units *u, int32_t source, const dp_extent *e, uint64_t from, uint64_t to, void *memory) {
    uint64_t end = dp_file_size(u->checkpoint->files[e->file]), offset = e->offset + from;
    size_t size = (size_t)(DP_MIN(e->offset + to, end) - offset); /* an extent's last sector may be cut by the file's end */
    return read_file(u, source, e->file, offset, (char *)memory + e->at + from, size);
}

/* ---- checking ---- */

typedef struct shard_reader {
    dp_units *units;
    int32_t source, file;
    const char *memory; /* the whole file, if it is there already */
} shard_reader;

static dp_status read_shard(void *user, uint64_t offset, void *data, size_t size) {
    const shard_reader *r = user;
    if (!r->memory) return read_file(r->units, r->source, r->file, offset, data, size);
    memcpy(data, r->memory + offset, size);
    return DP_OK;
}

static bool has_hash(const dp_units *u, int32_t file) {
    return u->checkpoint->shard_count == u->checkpoint->file_count && u->checkpoint->shards[file].hash;
}

/* True if the caller is to check the file; others wait here until that is done. */
static bool claim(dp_units *u, int32_t file) {
    dp_mutex_lock(u->lock);
    while (u->checked[file] == 1) dp_cond_wait(u->checked_one, u->lock);
    bool mine = u->checked[file] == 0;
    if (mine) u->checked[file] = 1;
    dp_mutex_unlock(u->lock);
    return mine;
}

static void settle(dp_units *u, int32_t file, bool right) {
    dp_mutex_lock(u->lock);
    u->checked[file] = right ? 2 : 0;
    dp_cond_broadcast(u->checked_one);
    dp_mutex_unlock(u->lock);
}

/* A mirror's file is checked each time, the checkpoint's own once. */
static dp_status check_extent(dp_units *u, int32_t source, const dp_extent *e, const void *memory) {
    if (!has_hash(u, e->file) || (source == 0 && !claim(u, e->file))) return DP_OK;
    uint64_t size = dp_file_size(u->checkpoint->files[e->file]);
    bool whole = e->offset == 0 && e->size >= size;
    shard_reader reader = {u, source, e->file, whole ? (const char *)memory + e->at : NULL};
    dp_status status = dp_checkpoint_verify_bytes(u->checkpoint, (size_t)e->file, read_shard, &reader);
    if (source == 0) settle(u, e->file, status == DP_OK);
    return status;
}

dp_status dp_units_finish(dp_units *u, int32_t source, const dp_unit *unit, void *memory) {
    for (int32_t i = 0; i < unit->extent_count; i++) TRY(check_extent(u, source, &u->extents[unit->first_extent + i], memory));
    for (int32_t i = 0; i < unit->part_count; i++) {
        const dp_unit_part *part = &u->parts[unit->first_part + i];
        if (part->filled) TRY(u->fill(u->fill_user, part->weight, unit->expert, (char *)memory + part->at));
    }
    return DP_OK;
}

dp_status dp_units_read_all(dp_units *u, int32_t source, const dp_unit *unit, void *memory) {
    for (int32_t i = 0; i < unit->extent_count; i++) {
        const dp_extent *e = &u->extents[unit->first_extent + i];
        TRY(dp_units_read(u, source, e, 0, e->size, memory));
    }
    return dp_units_finish(u, source, unit, memory);
}
