/* safetensors.c: the header of one safetensors file.
 *
 *   offset  bytes
 *   0       u64 n, little-endian: length of the header, at most 100,000,000
 *   8       n bytes of JSON: {"name": {"dtype", "shape", "data_offsets": [begin, end]}, ..., "__metadata__": {...}}
 *   8 + n   data; begin and end count from here
 *
 * Weights are never read here. */
#include "format/builder.h"

enum { HEADER_MAX = 100000000 };

/* Returns [count] non-negative integers of an array member. */
static dp_status integers(const dp_json *object, const char *key, int64_t *out, size_t room, size_t *count) {
    const dp_json *array = dp_json_find(object, key);
    if (!array || array->type != DP_JSON_ARRAY)
        return dp_fail(DP_E_FORMAT, "\"%s\": expected an array, found %s", key, dp_json_type_name(array));
    if (array->count > room)
        return dp_fail(DP_E_UNSUPPORTED, "\"%s\": %u entries, at most %zu are supported", key, array->count, room);
    size_t n = 0;
    for (const dp_json *m = array->child; m; m = m->next) {
        if (m->type != DP_JSON_NUMBER || !m->is_integer || m->integer < 0)
            return dp_fail(DP_E_FORMAT, "\"%s\": expected non-negative integers", key);
        out[n++] = m->integer;
    }
    *count = n;
    return DP_OK;
}

static dp_status describe(const dp_json *entry, uint64_t data_start, dp_tensor_source *s, dp_span *span) {
    dp_str dtype = {"", 0};
    int64_t range[2];
    size_t count;
    TRY(dp_json_get_str(entry, "dtype", &dtype));
    if (!dp_dtype_by_name(dtype, &s->dtype))
        return dp_fail(DP_E_UNSUPPORTED, "dtype \"" DP_STR_FMT "\" is not supported", DP_STR_ARG(dtype));
    TRY(integers(entry, "shape", s->shape, 4, &count));
    s->n_dims = (int32_t)count;
    TRY(integers(entry, "data_offsets", range, 2, &count));
    if (count != 2 || range[0] > range[1])
        return dp_fail(DP_E_FORMAT, "\"data_offsets\": expected [begin, end] in order");
    span->offset = data_start + (uint64_t)range[0]; /* below 2^63 + 2^27 */
    span->size = (uint64_t)(range[1] - range[0]);
    return DP_OK;
}

static dp_status add_entries(dp_checkpoint *c, int32_t file, const dp_json *header, uint64_t data_start,
                             const dp_map *keep) {
    for (const dp_json *entry = header->child; entry; entry = entry->next) {
        if (dp_str_is(entry->key, "__metadata__")) continue;
        const uint64_t *wanted = keep ? dp_map_find(keep, entry->key) : NULL;
        if (keep && (!wanted || *wanted != (uint64_t)file)) continue;
        dp_span span = {.file = file};
        dp_tensor_source s = {.name = entry->key,
                              .source_name = entry->key,
                              .spans = &span,
                              .span_count = 1,
                              .file = dp_file_path(c->files[file])};
        dp_status status = entry->type == DP_JSON_OBJECT
                               ? describe(entry, data_start, &s, &span)
                               : dp_fail(DP_E_FORMAT, "expected an object, found %s", dp_json_type_name(entry));
        if (status != DP_OK) return dp_fail_in(status, "%s: tensor " DP_STR_FMT, s.file, DP_STR_ARG(entry->key));
        TRY(dp_checkpoint_add_tensor(c, &s));
    }
    return DP_OK;
}

static dp_status add_parsed(dp_checkpoint *c, int32_t file, dp_str text, const dp_map *keep) {
    dp_arena scratch = {0};
    const dp_json *header;
    dp_status status = dp_json_parse(&scratch, text, &header);
    if (status == DP_OK && header->type != DP_JSON_OBJECT)
        status = dp_fail(DP_E_FORMAT, "expected an object, found %s", dp_json_type_name(header));
    if (status != DP_OK && status != DP_E_MEMORY)
        status = dp_fail_in(status, "%s: header", dp_file_path(c->files[file]));
    if (status == DP_OK) status = add_entries(c, file, header, 8 + (uint64_t)text.n, keep);
    dp_arena_free(&scratch);
    return status;
}

dp_status dp_safetensors_add(dp_checkpoint *c, int32_t file, const dp_map *keep) {
    dp_file *f = c->files[file];
    unsigned char prefix[8];
    TRY(dp_file_read(f, 0, prefix, sizeof prefix));
    uint64_t length = dp_load_u64(prefix);
    if (length > HEADER_MAX || length > dp_file_size(f) - 8)
        return dp_fail(DP_E_FORMAT, "%s: truncated or no safetensors file: a header of %llu bytes in a file of %llu",
                       dp_file_path(f), (unsigned long long)length, (unsigned long long)dp_file_size(f));
    char *text = dp_malloc((size_t)length);
    if (!text) return dp_no_memory((size_t)length);
    dp_status status = dp_file_read(f, 8, text, (size_t)length);
    if (status == DP_OK) status = add_parsed(c, file, (dp_str){text, (size_t)length}, keep);
    dp_free(text);
    return status;
}
