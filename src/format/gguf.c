/* gguf.c: parses a GGUF header. The header's length is known only once it is parsed, so its first bytes are read and
 * parsed, and four times as many whenever they turn out too few; a length that the file itself cannot hold is an error
 * at once. Every slice in the result points into the text that was read last. */
#include "format/gguf.h"

enum { FIRST_READ = 1 << 20, HEADER_MAX = 1 << 30, KEY_MAX = 65535, NAME_MAX_BYTES = 63, ALIGNMENT_MAX = 1 << 24 };

typedef struct reader {
    const unsigned char *data;
    size_t size, at;
    uint64_t file_size;
    bool more; /* failed only because `data` is not the whole file */
} reader;

static dp_status take(reader *r, uint64_t count, const unsigned char **out) {
    if (count > r->file_size - r->at)
        return dp_fail(DP_E_FORMAT, "truncated: %llu bytes expected at offset %zu, the file has %llu",
                       (unsigned long long)count, r->at, (unsigned long long)r->file_size);
    if (count > r->size - r->at) {
        r->more = true;
        return dp_fail(DP_E_FORMAT, "its header is longer than %d bytes", HEADER_MAX);
    }
    *out = r->data + r->at;
    r->at += (size_t)count;
    return DP_OK;
}

static dp_status take_u32(reader *r, uint32_t *out) {
    const unsigned char *p = NULL;
    TRY(take(r, 4, &p));
    *out = dp_load_u32(p);
    return DP_OK;
}

static dp_status take_u64(reader *r, uint64_t *out) {
    const unsigned char *p = NULL;
    TRY(take(r, 8, &p));
    *out = dp_load_u64(p);
    return DP_OK;
}

static dp_status take_string(reader *r, dp_str *out) {
    uint64_t length = 0;
    const unsigned char *p = NULL;
    TRY(take_u64(r, &length));
    TRY(take(r, length, &p));
    *out = (dp_str){(const char *)p, (size_t)length};
    return DP_OK;
}

/* ---- metadata ---- */

/* Bytes of a fixed-size type, 0 for strings, arrays and unknown ids. */
static uint64_t type_bytes(uint32_t type) {
    static const uint8_t bytes[DP_GGUF_TYPE_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < DP_GGUF_TYPE_COUNT ? bytes[type] : 0;
}

static dp_status take_array(reader *r, dp_gguf_kv *kv) {
    uint32_t item_type = 0;
    TRY(take_u32(r, &item_type));
    TRY(take_u64(r, &kv->count));
    kv->item_type = (dp_gguf_type)item_type;
    uint64_t each = type_bytes(item_type);
    if (!each && item_type != DP_GGUF_STRING)
        return dp_fail(DP_E_FORMAT, "array of %s", item_type == DP_GGUF_ARRAY ? "arrays" : "an unknown type");
    if (kv->count > r->file_size / (each ? each : 8))
        return dp_fail(DP_E_FORMAT, "truncated: an array of %llu items in a file of %llu bytes",
                       (unsigned long long)kv->count, (unsigned long long)r->file_size);
    if (each) return take(r, kv->count * each, &kv->data);
    kv->data = r->data + r->at;
    for (uint64_t i = 0; i < kv->count; i++) {
        dp_str item;
        TRY(take_string(r, &item));
    }
    return DP_OK;
}

static dp_status take_value(reader *r, dp_gguf_kv *kv) {
    uint32_t type = 0;
    TRY(take_u32(r, &type));
    kv->type = (dp_gguf_type)type;
    kv->count = 1;
    if (type == DP_GGUF_ARRAY) return take_array(r, kv);
    if (type == DP_GGUF_STRING) {
        TRY(take_u64(r, &kv->count));
        return take(r, kv->count, &kv->data);
    }
    uint64_t bytes = type_bytes(type);
    return bytes ? take(r, bytes, &kv->data) : dp_fail(DP_E_FORMAT, "unknown value type %u", type);
}

static dp_status take_kv(reader *r, dp_gguf *g) {
    dp_gguf_kv kv = {0};
    TRY(take_string(r, &kv.key));
    if (kv.key.n == 0 || kv.key.n > KEY_MAX) return dp_fail(DP_E_FORMAT, "a metadata key of %zu bytes", kv.key.n);
    dp_status status = take_value(r, &kv);
    if (status != DP_OK) return dp_fail_in(status, "metadata \"" DP_STR_FMT "\"", DP_STR_ARG(kv.key));
    if (!dp_grow((void **)&g->kvs, &g->kv_capacity, g->kv_count + 1, sizeof kv)) return dp_no_memory(sizeof kv);
    bool twice;
    TRY(dp_map_set(&g->kv_map, kv.key, g->kv_count, &twice));
    if (twice) return dp_fail(DP_E_FORMAT, "metadata \"" DP_STR_FMT "\" occurs twice", DP_STR_ARG(kv.key));
    g->kvs[g->kv_count++] = kv;
    return DP_OK;
}

/* ---- tensors ---- */

static dp_status take_tensor_fields(reader *r, dp_gguf_tensor *t) {
    TRY(take_u32(r, &t->n_dims));
    if (t->n_dims > 4) return dp_fail(DP_E_UNSUPPORTED, "%u dimensions, at most 4 are supported", t->n_dims);
    for (uint32_t d = 0; d < t->n_dims; d++) {
        TRY(take_u64(r, &t->dims[d]));
        if (t->dims[d] > INT64_MAX)
            return dp_fail(DP_E_FORMAT, "dimension %u is %llu", d, (unsigned long long)t->dims[d]);
    }
    TRY(take_u32(r, &t->type));
    return take_u64(r, &t->offset);
}

static dp_status take_tensor(reader *r, dp_gguf *g) {
    dp_gguf_tensor t = {0};
    TRY(take_string(r, &t.name));
    if (t.name.n == 0 || t.name.n > NAME_MAX_BYTES)
        return dp_fail(DP_E_FORMAT, "a tensor name of %zu bytes (allowed: 1 to %d)", t.name.n, NAME_MAX_BYTES);
    dp_status status = take_tensor_fields(r, &t);
    if (status != DP_OK) return dp_fail_in(status, "tensor " DP_STR_FMT, DP_STR_ARG(t.name));
    if (!dp_grow((void **)&g->tensors, &g->tensor_capacity, g->tensor_count + 1, sizeof t))
        return dp_no_memory(sizeof t);
    g->tensors[g->tensor_count++] = t;
    return DP_OK;
}

/* ---- header ---- */

static dp_status find_data(const reader *r, dp_gguf *g) {
    const dp_gguf_kv *kv = dp_gguf_find(g, "general.alignment");
    g->alignment = 32;
    if (kv && kv->type != DP_GGUF_U32) return dp_fail(DP_E_FORMAT, "general.alignment: expected a u32");
    if (kv) g->alignment = dp_load_u32(kv->data);
    if (g->alignment == 0 || (g->alignment & (g->alignment - 1)) || g->alignment > ALIGNMENT_MAX)
        return dp_fail(DP_E_FORMAT, "general.alignment: expected a power of two up to %d, found %llu", ALIGNMENT_MAX,
                       (unsigned long long)g->alignment);
    g->data_start = ((uint64_t)r->at + g->alignment - 1) & ~(g->alignment - 1);
    for (size_t i = 0; i < g->tensor_count; i++)
        if (g->tensors[i].offset % g->alignment)
            return dp_fail(DP_E_FORMAT, "tensor " DP_STR_FMT ": offset %llu is no multiple of the alignment %llu",
                           DP_STR_ARG(g->tensors[i].name), (unsigned long long)g->tensors[i].offset,
                           (unsigned long long)g->alignment);
    return DP_OK;
}

static dp_status take_version(reader *r, uint32_t *version) {
    const unsigned char *magic = NULL;
    TRY(take(r, 4, &magic));
    if (memcmp(magic, "GGUF", 4) != 0) return dp_fail(DP_E_FORMAT, "no GGUF file");
    TRY(take_u32(r, version));
    if (*version == 2 || *version == 3) return DP_OK;
    return dp_fail(DP_E_UNSUPPORTED, "GGUF version %u%s: 2 and 3 are supported", *version,
                   *version && !(*version & 0xFFFF) ? " (a big-endian file)" : "");
}

static dp_status take_header(reader *r, dp_gguf *g) {
    uint64_t tensors = 0, kvs = 0;
    TRY(take_version(r, &g->version));
    TRY(take_u64(r, &tensors));
    TRY(take_u64(r, &kvs));
    /* The shortest pair takes 14 bytes, the shortest tensor 25. */
    if (kvs > r->file_size / 14 || tensors > r->file_size / 25)
        return dp_fail(DP_E_FORMAT, "truncated: %llu metadata pairs and %llu tensors in a file of %llu bytes",
                       (unsigned long long)kvs, (unsigned long long)tensors, (unsigned long long)r->file_size);
    for (uint64_t i = 0; i < kvs; i++) TRY(take_kv(r, g));
    for (uint64_t i = 0; i < tensors; i++) TRY(take_tensor(r, g));
    return find_data(r, g);
}

void dp_gguf_free(dp_gguf *g) {
    dp_free(g->header);
    dp_free(g->kvs);
    dp_free(g->tensors);
    dp_map_free(&g->kv_map);
    *g = (dp_gguf){0};
}

dp_status dp_gguf_parse(dp_file *file, dp_gguf *g) {
    uint64_t file_size = dp_file_size(file);
    for (size_t want = FIRST_READ;; want *= 4) {
        size_t size = (size_t)DP_MIN(file_size, (uint64_t)want);
        dp_gguf_free(g);
        g->header = dp_malloc(size);
        if (!g->header) return dp_no_memory(size);
        TRY(dp_file_read(file, 0, g->header, size));
        reader r = {(const unsigned char *)g->header, size, 0, file_size, false};
        dp_status status = take_header(&r, g);
        if (status != DP_OK && r.more && want < HEADER_MAX) continue;
        return status == DP_OK || status == DP_E_MEMORY ? status : dp_fail_in(status, "%s", dp_file_path(file));
    }
}

/* ---- access ---- */

const dp_gguf_kv *dp_gguf_find(const dp_gguf *g, const char *key) {
    const uint64_t *index = dp_map_find(&g->kv_map, dp_str_of(key));
    return index ? &g->kvs[*index] : NULL;
}

static bool load_int(dp_gguf_type type, const unsigned char *p, int64_t *out) {
    switch (type) {
    case DP_GGUF_U8:
    case DP_GGUF_BOOL:
        *out = *p;
        return true;
    case DP_GGUF_I8:
        *out = (int8_t)*p;
        return true;
    case DP_GGUF_U16:
        *out = dp_load_u16(p);
        return true;
    case DP_GGUF_I16:
        *out = (int16_t)dp_load_u16(p);
        return true;
    case DP_GGUF_U32:
        *out = dp_load_u32(p);
        return true;
    case DP_GGUF_I32:
        *out = (int32_t)dp_load_u32(p);
        return true;
    case DP_GGUF_U64:
    case DP_GGUF_I64:
        *out = (int64_t)dp_load_u64(p);
        return type == DP_GGUF_I64 || *out >= 0;
    default:
        return false;
    }
}

static dp_status wrong_type(const char *key, const char *expected) {
    return dp_fail(DP_E_FORMAT, "metadata \"%s\": expected %s", key, expected);
}

dp_status dp_gguf_get_int(const dp_gguf *g, const char *key, int64_t *out) {
    const dp_gguf_kv *kv = dp_gguf_find(g, key);
    int64_t value;
    if (!kv) return DP_OK;
    if (kv->type == DP_GGUF_BOOL || !load_int(kv->type, kv->data, &value)) return wrong_type(key, "an integer");
    *out = value;
    return DP_OK;
}

dp_status dp_gguf_get_double(const dp_gguf *g, const char *key, double *out) {
    const dp_gguf_kv *kv = dp_gguf_find(g, key);
    int64_t value;
    if (!kv) return DP_OK;
    if (kv->type == DP_GGUF_F32)
        *out = (double)dp_load_f32(kv->data);
    else if (kv->type == DP_GGUF_F64)
        memcpy(out, kv->data, 8);
    else if (load_int(kv->type, kv->data, &value))
        *out = (double)value;
    else
        return wrong_type(key, "a number");
    return DP_OK;
}

dp_status dp_gguf_get_bool(const dp_gguf *g, const char *key, bool *out) {
    const dp_gguf_kv *kv = dp_gguf_find(g, key);
    if (!kv) return DP_OK;
    if (kv->type != DP_GGUF_BOOL) return wrong_type(key, "a bool");
    *out = *kv->data != 0;
    return DP_OK;
}

dp_status dp_gguf_get_str(const dp_gguf *g, const char *key, dp_str *out) {
    const dp_gguf_kv *kv = dp_gguf_find(g, key);
    if (!kv) return DP_OK;
    if (kv->type != DP_GGUF_STRING) return wrong_type(key, "a string");
    *out = (dp_str){(const char *)kv->data, (size_t)kv->count};
    return DP_OK;
}

bool dp_gguf_int_item(const dp_gguf_kv *array, uint64_t i, int64_t *out) {
    if (!array || array->type != DP_GGUF_ARRAY || i >= array->count) return false;
    return load_int(array->item_type, array->data + i * type_bytes(array->item_type), out);
}

dp_gguf_strings dp_gguf_strings_of(const dp_gguf_kv *array) {
    bool strings = array && array->type == DP_GGUF_ARRAY && array->item_type == DP_GGUF_STRING;
    return strings ? (dp_gguf_strings){array->data, array->count} : (dp_gguf_strings){NULL, 0};
}

bool dp_gguf_next_string(dp_gguf_strings *strings, dp_str *out) {
    if (!strings->left) return false;
    strings->left--;
    *out = (dp_str){(const char *)strings->next + 8, (size_t)dp_load_u64(strings->next)};
    strings->next += 8 + out->n;
    return true;
}
