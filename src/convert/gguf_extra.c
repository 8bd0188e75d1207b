/* gguf_extra.c: see gguf_extra.h. */
#include "convert/gguf_extra.h"

#include "base/json_write.h"

#include <stdio.h>

enum { ARRAY_MAX = 4096 }; /* longer arrays are vocabularies of a kind that tokenizer.json holds */

static const char *const type_names[DP_GGUF_TYPE_COUNT] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                                           "bool", "string", "array", "u64", "i64", "f64"};

static bool is_left_out(const dp_gguf_kv *kv) {
    static const char *const keys[] = {
        "general.name",          "general.file_type",     "general.alignment",         "tokenizer.chat_template",
        "tokenizer.ggml.tokens", "tokenizer.ggml.scores", "tokenizer.ggml.token_type", "tokenizer.ggml.merges"};
    for (size_t i = 0; i < DP_COUNT(keys); i++)
        if (dp_str_is(kv->key, keys[i])) return true;
    return dp_str_starts(kv->key, "split.") || (kv->type == DP_GGUF_ARRAY && kv->count > ARRAY_MAX);
}

/* key: NULL in a list. */
static void add_number(dp_buf *buf, const char *key, dp_gguf_type type, const unsigned char *p) {
    double real = type == DP_GGUF_F32 ? (double)dp_load_f32(p) : 0;
    if (type == DP_GGUF_F64) memcpy(&real, p, 8);
    switch (type) {
    case DP_GGUF_BOOL: dp_json_add_bool(buf, key, p[0]); break;
    case DP_GGUF_U8: dp_json_add_uint(buf, key, p[0]); break;
    case DP_GGUF_U16: dp_json_add_uint(buf, key, dp_load_u16(p)); break;
    case DP_GGUF_U32: dp_json_add_uint(buf, key, dp_load_u32(p)); break;
    case DP_GGUF_U64: dp_json_add_uint(buf, key, dp_load_u64(p)); break;
    case DP_GGUF_I8: dp_json_add_int(buf, key, (int8_t)p[0]); break;
    case DP_GGUF_I16: dp_json_add_int(buf, key, (int16_t)dp_load_u16(p)); break;
    case DP_GGUF_I32: dp_json_add_int(buf, key, (int32_t)dp_load_u32(p)); break;
    case DP_GGUF_I64: dp_json_add_int(buf, key, (int64_t)dp_load_u64(p)); break;
    default: dp_json_add_double(buf, key, real); break; /* infinities become null, which is skipped on the way back */
    }
}

static void add_array(dp_buf *buf, const dp_gguf_kv *kv) {
    dp_gguf_strings strings = dp_gguf_strings_of(kv);
    dp_str text;
    dp_json_open(buf, "value", '[');
    for (uint64_t i = 0; i < kv->count; i++) {
        if (kv->item_type != DP_GGUF_STRING)
            add_number(buf, NULL, kv->item_type, kv->data + i * dp_gguf_type_bytes(kv->item_type));
        else if (dp_gguf_next_string(&strings, &text))
            dp_json_add_str(buf, NULL, text);
    }
    dp_json_close(buf, ']');
}

static void add_pair(dp_buf *buf, const dp_gguf_kv *kv) {
    bool array = kv->type == DP_GGUF_ARRAY;
    char type[32];
    snprintf(type, sizeof type, "%s%s", array ? "array:" : "", type_names[array ? kv->item_type : kv->type]);
    dp_json_open(buf, NULL, '{');
    dp_json_add_str(buf, "key", kv->key);
    dp_json_add_text(buf, "type", type);
    if (array)
        add_array(buf, kv);
    else if (kv->type == DP_GGUF_STRING)
        dp_json_add_str(buf, "value", (dp_str){(const char *)kv->data, (size_t)kv->count});
    else
        add_number(buf, "value", kv->type, kv->data);
    dp_json_close(buf, '}');
}

dp_status dp_gguf_extra_collect(const dp_checkpoint *checkpoint, dp_arena *arena, const dp_json **out) {
    const dp_gguf *gguf = checkpoint->gguf;
    dp_buf buf = {0};
    dp_json_open(&buf, NULL, '{');
    dp_json_open(&buf, "metadata", '[');
    for (size_t i = 0; i < gguf->kv_count; i++)
        if (!is_left_out(&gguf->kvs[i])) add_pair(&buf, &gguf->kvs[i]);
    dp_json_close(&buf, ']');
    dp_json_open(&buf, "tensors", '[');
    const char *before = "";
    for (size_t i = 0; i < checkpoint->tensor_count; i++) {
        const char *name = checkpoint->tensors[i].source_name;
        if (strcmp(name, before) == 0) continue; /* a fused one, of which several tensors were made */
        dp_json_add_text(&buf, NULL, name);
        before = name;
    }
    dp_json_close(&buf, ']');
    dp_json_close(&buf, '}');
    /* The tree points into its text. */
    char *text = buf.failed ? NULL : dp_arena_copy(arena, buf.data, buf.size);
    size_t size = buf.size;
    dp_buf_free(&buf);
    return text ? dp_json_parse(arena, (dp_str){text, size}, out) : dp_no_memory(size);
}

/* ---- and back ---- */

typedef struct pair {
    const char *key;
    dp_gguf_type type;
    bool array;
    const dp_json *value;
} pair;

/* One number in the file's form; false when the JSON value is none. */
static bool pack(dp_gguf_type type, const dp_json *value, unsigned char out[8], size_t *size) {
    if (!value || (value->type != DP_JSON_NUMBER && value->type != DP_JSON_BOOL)) return false;
    uint64_t bits = value->type == DP_JSON_BOOL ? value->boolean : (uint64_t)value->integer;
    double number = value->type == DP_JSON_BOOL ? 0 : value->number;
    *size = dp_gguf_type_bytes(type);
    if (type == DP_GGUF_F32)
        dp_store_f32(out, (float)number);
    else if (type == DP_GGUF_F64)
        memcpy(out, &number, sizeof number);
    else
        memcpy(out, &bits, *size); /* little-endian: the low bytes */
    return true;
}

static dp_status put_strings(dp_gguf_kvs *kvs, const pair *p) {
    dp_str *items = dp_calloc((size_t)p->value->count + 1, sizeof *items);
    if (!items) return dp_no_memory(p->value->count * sizeof *items);
    size_t n = 0;
    for (const dp_json *v = p->value->child; v; v = v->next)
        if (v->type == DP_JSON_STRING) items[n++] = v->string;
    dp_gguf_put_strs(kvs, p->key, items, n);
    dp_free(items);
    return DP_OK;
}

static dp_status put_numbers(dp_gguf_kvs *kvs, const pair *p) {
    dp_buf bytes = {0};
    unsigned char one[8];
    size_t size, n = 0;
    for (const dp_json *v = p->value->child; v; v = v->next) {
        if (!pack(p->type, v, one, &size)) continue;
        dp_buf_append(&bytes, one, size);
        n++;
    }
    if (!bytes.failed) dp_gguf_put_array(kvs, p->key, p->type, n ? bytes.data : "", n);
    dp_status status = bytes.failed ? dp_no_memory(bytes.size) : DP_OK;
    dp_buf_free(&bytes);
    return status;
}

static dp_status put_back(dp_gguf_kvs *kvs, const pair *p) {
    if (p->array && p->value->type == DP_JSON_ARRAY)
        return p->type == DP_GGUF_STRING ? put_strings(kvs, p) : put_numbers(kvs, p);
    unsigned char bytes[8];
    size_t size;
    if (p->type == DP_GGUF_STRING && p->value->type == DP_JSON_STRING)
        dp_gguf_put_str(kvs, p->key, p->value->string);
    else if (p->type != DP_GGUF_STRING && pack(p->type, p->value, bytes, &size))
        dp_gguf_put_scalar(kvs, p->key, p->type, bytes);
    return DP_OK;
}

static bool type_by_name(dp_str name, pair *p) {
    p->array = dp_str_starts(name, "array:");
    if (p->array) name = (dp_str){name.p + 6, name.n - 6};
    for (int i = 0; i < DP_GGUF_TYPE_COUNT; i++) {
        if (i == DP_GGUF_ARRAY || !dp_str_is(name, type_names[i])) continue;
        p->type = (dp_gguf_type)i;
        return true;
    }
    return false;
}

dp_status dp_gguf_extra_put(const dp_json *extra, dp_gguf_kvs *kvs) {
    const dp_json *list = dp_json_find(extra, "metadata");
    for (const dp_json *m = list && list->type == DP_JSON_ARRAY ? list->child : NULL; m; m = m->next) {
        dp_str key = {NULL, 0}, type = {"", 0};
        TRY(dp_json_get_str(m, "key", &key));
        TRY(dp_json_get_str(m, "type", &type));
        char name[256];
        pair p = {.key = name, .value = dp_json_find(m, "value")};
        if (!key.n || key.n >= sizeof name || !type_by_name(type, &p))
            return dp_fail(DP_E_FORMAT,
                           "manifest: conversion.gguf.metadata: pair \"" DP_STR_FMT "\" of type \"" DP_STR_FMT
                           "\" is not understood",
                           DP_STR_ARG(key), DP_STR_ARG(type));
        memcpy(name, key.p, key.n);
        name[key.n] = 0;
        if (p.value) TRY(put_back(kvs, &p));
    }
    return DP_OK;
}
