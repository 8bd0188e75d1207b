/* rdrr.c: reads an RDRR folder: manifest.json, its shards and its tensor table. docs/RDRR.md is the specification; what
 * older writers did differently is accepted here and nowhere else:
 *   fileName for filename, blake3 for hash, shardIndex for shard, neither of them (the first span then says),
 *   tensors as an array with names or in a file of their own, Q4_K tensors in other layouts (relayout.h). */
#include <stdlib.h>

#include "format/builder.h"
#include "format/relayout.h"

enum { MANIFEST_MAX = 256 << 20, SHARDS_MAX = 1000000, SUPER_BLOCK = 256 };

/* ---- small helpers ---- */

/* The first of two spellings that is there. */
static const dp_json *either(const dp_json *object, const char *key, const char *older) {
    const dp_json *value = dp_json_find(object, key);
    return value ? value : dp_json_find(object, older);
}

static dp_status uint_of(const dp_json *value, const char *what, uint64_t *out) {
    if (!value || value->type != DP_JSON_NUMBER || !value->is_integer || value->integer < 0)
        return dp_fail(DP_E_FORMAT, "\"%s\": expected a non-negative integer, found %s", what,
                       dp_json_type_name(value));
    *out = (uint64_t)value->integer;
    return DP_OK;
}

static dp_status text_of(dp_checkpoint *c, const dp_json *value, const char *what, const char **out) {
    if (!value) return DP_OK;
    if (value->type != DP_JSON_STRING || memchr(value->string.p, 0, value->string.n))
        return dp_fail(DP_E_FORMAT, "\"%s\": expected a string, found %s", what, dp_json_type_name(value));
    *out = dp_arena_copy(&c->arena, value->string.p, value->string.n);
    return *out ? DP_OK : dp_no_memory(value->string.n);
}

static dp_status check_version(const dp_json *manifest) {
    const dp_json *version = dp_json_find(manifest, "version");
    char text[16] = "";
    char *end = text;
    if (version && version->type == DP_JSON_STRING && version->string.n < sizeof text)
        memcpy(text, version->string.p, version->string.n);
    double number = version && version->type == DP_JSON_NUMBER ? version->number : strtod(text, &end);
    if (end == text && (!version || version->type != DP_JSON_NUMBER))
        return dp_fail(DP_E_FORMAT, "\"version\": expected a number, found %s", dp_json_type_name(version));
    if (number >= 1 && number < 3) return DP_OK;
    return dp_fail(DP_E_UNSUPPORTED, "\"version\" %g: 1 and 2 are supported", number);
}

/* ---- shards ---- */

static dp_status read_shard(dp_checkpoint *c, const dp_json *entry, dp_shard *shard) {
    TRY(text_of(c, either(entry, "filename", "fileName"), "filename", &shard->filename));
    if (!shard->filename) return dp_fail(DP_E_FORMAT, "\"filename\" is missing");
    TRY(uint_of(dp_json_find(entry, "size"), "size", &shard->size));
    const dp_json *hash = dp_json_find(entry, "hash");
    shard->algorithm = "sha256";
    TRY(text_of(c, dp_json_find(c->manifest, "hashAlgorithm"), "hashAlgorithm", &shard->algorithm));
    TRY(text_of(c, dp_json_find(entry, "hashAlgorithm"), "hashAlgorithm", &shard->algorithm));
    if (!hash && dp_json_find(entry, "blake3")) shard->algorithm = "blake3";
    TRY(text_of(c, hash ? hash : dp_json_find(entry, "blake3"), "hash", &shard->hash));
    shard->type = "dense";
    TRY(text_of(c, dp_json_find(entry, "type"), "type", &shard->type));
    return text_of(c, dp_json_find(entry, "expertKey"), "expertKey", &shard->expert_key);
}

/* Its place in shards[]: "index" where given, else the order. */
static dp_status place_shard(const dp_checkpoint *c, const dp_json *entry, size_t position, uint64_t *index) {
    *index = position;
    if (dp_json_find(entry, "index")) TRY(uint_of(dp_json_find(entry, "index"), "index", index));
    if (*index >= c->shard_count)
        return dp_fail(DP_E_FORMAT, "\"index\" %llu of %zu shards", (unsigned long long)*index, c->shard_count);
    return c->shards[*index].filename ? dp_fail(DP_E_FORMAT, "\"index\" %llu occurs twice", (unsigned long long)*index)
                                      : DP_OK;
}

static dp_status open_shards(dp_checkpoint *c) {
    for (size_t i = 0; i < c->shard_count; i++) {
        int32_t file;
        TRY(dp_checkpoint_add_listed_file(c, dp_str_of(c->shards[i].filename), &file));
        if (dp_file_size(c->files[file]) != c->shards[i].size)
            return dp_fail(DP_E_FORMAT, "%s: expected %llu bytes, found %llu", dp_file_path(c->files[file]),
                           (unsigned long long)c->shards[i].size, (unsigned long long)dp_file_size(c->files[file]));
    }
    return DP_OK;
}

static dp_status list_shards(dp_checkpoint *c) {
    const dp_json *list = dp_json_find(c->manifest, "shards");
    if (!list || list->type != DP_JSON_ARRAY || list->count > SHARDS_MAX)
        return dp_fail(DP_E_FORMAT, "\"shards\": expected an array of at most %d, found %s", SHARDS_MAX,
                       dp_json_type_name(list));
    c->shards = dp_arena_calloc(&c->arena, list->count, sizeof *c->shards);
    if (!c->shards) return dp_no_memory(list->count * sizeof *c->shards);
    c->shard_count = list->count;
    size_t position = 0;
    for (const dp_json *entry = list->child; entry; entry = entry->next, position++) {
        uint64_t index = 0;
        dp_status status = place_shard(c, entry, position, &index);
        if (status == DP_OK) status = read_shard(c, entry, &c->shards[index]);
        if (status != DP_OK) return dp_fail_in(status, "shard %zu", position);
    }
    return DP_OK;
}

/* ---- spans ---- */

static dp_status read_span(const dp_checkpoint *c, const dp_json *entry, dp_span *span) {
    uint64_t shard = 0;
    TRY(uint_of(either(entry, "shard", "shardIndex"), "shard", &shard));
    if (shard >= c->shard_count)
        return dp_fail(DP_E_FORMAT, "shard %llu of %zu", (unsigned long long)shard, c->shard_count);
    TRY(uint_of(dp_json_find(entry, "offset"), "offset", &span->offset));
    TRY(uint_of(dp_json_find(entry, "size"), "size", &span->size));
    span->file = (int32_t)shard; /* files are opened in the order of the shards */
    return DP_OK;
}

/* spans[] where given, else the tensor is its own only span. *room is reused from tensor to tensor. */
static dp_status read_spans(const dp_checkpoint *c, const dp_json *entry, dp_buf *room, dp_tensor_source *s) {
    const dp_json *list = dp_json_find(entry, "spans");
    bool many = list && list->type == DP_JSON_ARRAY && list->count;
    dp_buf_clear(room);
    for (const dp_json *m = many ? list->child : entry; m; m = many ? m->next : NULL) {
        dp_span span = {0};
        TRY(read_span(c, m, &span));
        dp_buf_append(room, &span, sizeof span);
    }
    if (room->failed) return dp_no_memory(room->size);
    s->spans = (const dp_span *)(const void *)room->data;
    s->span_count = room->size / sizeof(dp_span);
    return DP_OK;
}

/* ---- tensors ---- */

static dp_status read_shape(const dp_json *list, dp_tensor_source *s) {
    if (!list || list->type != DP_JSON_ARRAY || list->count > 4)
        return dp_fail(DP_E_FORMAT, "\"shape\": expected at most 4 dimensions, found %s", dp_json_type_name(list));
    s->n_dims = 0;
    for (const dp_json *m = list->child; m; m = m->next) {
        uint64_t dim = 0;
        TRY(uint_of(m, "shape", &dim));
        s->shape[s->n_dims++] = (int64_t)dim;
    }
    return DP_OK;
}

/* How the matrix is stored: the tensor says, else the manifest; Q4_K has fields of its own. */
static dp_status layout_of(const dp_checkpoint *c, const dp_json *entry, dp_dtype dtype, dp_str *layout) {
    TRY(dp_json_get_str(c->manifest, "defaultWeightLayout", layout));
    if (dtype == DP_Q4_K) {
        TRY(dp_json_get_str(dp_json_find(c->manifest, "config"), "q4kLayout", layout));
        TRY(dp_json_get_str(dp_json_find(c->manifest, "quantizationInfo"), "layout", layout));
    }
    return dp_json_get_str(entry, "layout", layout);
}

static uint64_t round_up(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }

/* True if `rows` stored rows of `cols` elements, padded or one after the other, take `size` bytes. */
static bool fits(dp_relayout *r, uint64_t rows, uint64_t cols, bool flat) {
    const dp_dtype_info *info = dp_dtype_get(r->stored);
    uint64_t block = info->block, stride = flat ? cols : round_up(cols, block);
    r->stride = (int64_t)stride;
    return round_up(rows * stride, block) / block * info->bytes == r->stored_size;
}

/* Recognises a stored form that is not plain rows of blocks, and makes *s its F32 view. */
static dp_status find_relayout(const dp_json *entry, dp_str layout, dp_tensor_source *s, dp_relayout *r) {
    bool column = dp_str_starts(layout, "col"), flat = dp_str_is(layout, "flat");
    uint64_t plain = 0;
    if (column && dp_json_find(entry, "originalShape")) TRY(read_shape(dp_json_find(entry, "originalShape"), s));
    *r = (dp_relayout){.stored = s->dtype};
    for (size_t i = 0; i < s->span_count; i++) r->stored_size += s->spans[i].size;
    bool usual = dp_tensor_bytes(s->dtype, s->shape, s->n_dims, &plain) == DP_OK && plain == r->stored_size;
    if (s->n_dims != 2 || (usual && !column) || !dp_dtype_get(s->dtype)->dequantize) return DP_OK;
    uint64_t rows = (uint64_t)s->shape[0], cols = (uint64_t)s->shape[1];
    if (!rows || !cols || rows > UINT32_MAX || cols > UINT32_MAX / SUPER_BLOCK) return DP_OK;
    if (!column && !fits(r, rows, cols, flat)) return DP_OK; /* a wrong size, which add_tensor reports */
    if (column && fits(r, cols, rows, false)) {
        r->transposed = true;
    } else if (column && fits(r, rows, cols, false)) { /* the shape is that of the stored, transposed matrix */
        r->transposed = true;
        s->shape[0] = (int64_t)cols;
        s->shape[1] = (int64_t)rows;
    } else if (column) {
        return DP_OK;
    }
    r->rows = s->shape[0];
    r->cols = s->shape[1];
    s->dtype = DP_F32;
    s->relayout = r;
    return DP_OK;
}

static dp_status describe(const dp_checkpoint *c, const dp_json *entry, dp_buf *room, dp_tensor_source *s,
                          dp_relayout *r) {
    dp_str dtype = {"", 0}, layout = {"", 0};
    int64_t slices = 1;
    if (entry->type != DP_JSON_OBJECT)
        return dp_fail(DP_E_FORMAT, "expected an object, found %s", dp_json_type_name(entry));
    TRY(dp_json_get_str(entry, "dtype", &dtype));
    if (!dp_dtype_by_name(dtype, &s->dtype))
        return dp_fail(DP_E_UNSUPPORTED, "dtype \"" DP_STR_FMT "\" is not supported", DP_STR_ARG(dtype));
    TRY(dp_json_get_int(entry, "sliceCount", &slices));
    if (slices > 1)
        return dp_fail(DP_E_UNSUPPORTED, "one slice of %lld of a tensor-parallel model: the whole tensor is needed",
                       (long long)slices);
    TRY(read_shape(dp_json_find(entry, "shape"), s));
    TRY(read_spans(c, entry, room, s));
    TRY(layout_of(c, entry, s->dtype, &layout));
    return find_relayout(entry, layout, s, r);
}

static dp_status add_tensor(dp_checkpoint *c, const dp_json *entry, dp_str name, dp_buf *room) {
    dp_relayout relayout;
    dp_tensor_source s = {.name = name, .source_name = name, .file = "manifest.json"};
    dp_status status = describe(c, entry, room, &s, &relayout);
    if (status == DP_OK) return dp_checkpoint_add_tensor(c, &s);
    return status == DP_E_MEMORY ? status : dp_fail_in(status, "tensor " DP_STR_FMT, DP_STR_ARG(name));
}

static dp_status add_tensors(dp_checkpoint *c, const dp_json *list, dp_buf *room) {
    bool named = list && list->type == DP_JSON_ARRAY;
    if (!named && (!list || list->type != DP_JSON_OBJECT))
        return dp_fail(DP_E_FORMAT, "\"tensors\": expected an object or an array, found %s", dp_json_type_name(list));
    for (const dp_json *entry = list->child; entry; entry = entry->next) {
        dp_str name = entry->key;
        if (named) {
            name = (dp_str){"", 0};
            TRY(dp_json_get_str(entry, "name", &name));
        }
        TRY(add_tensor(c, entry, name, room));
    }
    return DP_OK;
}

static dp_status read_tensors(dp_checkpoint *c) {
    const dp_json *list = dp_json_find(c->manifest, "tensors"), *file = dp_json_find(c->manifest, "tensorsFile");
    const char *name = NULL;
    if (!list && file) {
        TRY(text_of(c, file, "tensorsFile", &name));
        if (!dp_filename_is_safe(dp_str_of(name)))
            return dp_fail(DP_E_FORMAT,
                           "\"tensorsFile\": unsafe file name \"%s\": it must stay within the model's folder", name);
        TRY(dp_checkpoint_load_value(c, name, MANIFEST_MAX, &list));
        const dp_json *inner = dp_json_find(list, "tensors");
        if (inner && (inner->type == DP_JSON_ARRAY || !dp_json_find(inner, "dtype"))) list = inner;
    }
    dp_buf room = {0};
    dp_status status = add_tensors(c, list, &room);
    dp_buf_free(&room);
    return status;
}

/* ---- whole ---- */

static dp_status read_head(dp_checkpoint *c) {
    TRY(check_version(c->manifest));
    TRY(text_of(c, dp_json_find(c->manifest, "modelId"), "modelId", &c->name));
    TRY(text_of(c, dp_json_find(c->manifest, "quantization"), "quantization", &c->quantization));
    return list_shards(c);
}

static dp_status read_manifest(dp_checkpoint *c) {
    dp_status status = read_head(c);
    if (status != DP_OK) return status == DP_E_MEMORY ? status : dp_fail_in(status, "manifest.json");
    TRY(open_shards(c));
    TRY(read_tensors(c));
    TRY(dp_checkpoint_canonical_names(c));
    return dp_rdrr_read_config(c, c->manifest);
}

static dp_status read_with(dp_checkpoint *c, dp_status (*read)(dp_checkpoint *c)) {
    c->kind = DP_CHECKPOINT_RDRR;
    TRY(dp_checkpoint_load_json(c, "manifest.json", MANIFEST_MAX, &c->manifest));
    dp_status status = read(c);
    return status == DP_OK || status == DP_E_MEMORY ? status : dp_fail_in(status, "%s", c->path);
}

dp_status dp_rdrr_read(dp_checkpoint *c) { return read_with(c, read_manifest); }

dp_status dp_rdrr_list_shards(dp_checkpoint *c) { return read_with(c, list_shards); }
