/* gguf_put.c: metadata pairs as bytes, and the labels of general.file_type. Layout: gguf.h. */
#include "format/gguf.h"

static void put_u32(dp_buf *buf, uint32_t value) {
    unsigned char bytes[4];
    dp_store_u32(bytes, value);
    dp_buf_append(buf, bytes, 4);
}

static void put_string(dp_buf *buf, dp_str text) {
    unsigned char bytes[8];
    dp_store_u64(bytes, text.n);
    dp_buf_append(buf, bytes, 8);
    dp_buf_append(buf, text.p, text.n);
}

static void put_key(dp_gguf_kvs *kvs, const char *key, dp_gguf_type type) {
    put_string(&kvs->bytes, dp_str_of(key));
    put_u32(&kvs->bytes, type);
    kvs->count++;
}

static void put_array_head(dp_gguf_kvs *kvs, const char *key, dp_gguf_type item_type, uint64_t count) {
    unsigned char bytes[8];
    put_key(kvs, key, DP_GGUF_ARRAY);
    put_u32(&kvs->bytes, item_type);
    dp_store_u64(bytes, count);
    dp_buf_append(&kvs->bytes, bytes, 8);
}

size_t dp_gguf_type_bytes(dp_gguf_type type) {
    static const uint8_t bytes[DP_GGUF_TYPE_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return bytes[type];
}

void dp_gguf_put_scalar(dp_gguf_kvs *kvs, const char *key, dp_gguf_type type, const void *value) {
    put_key(kvs, key, type);
    dp_buf_append(&kvs->bytes, value, dp_gguf_type_bytes(type));
}

void dp_gguf_put_u16(dp_gguf_kvs *kvs, const char *key, uint16_t value) {
    put_key(kvs, key, DP_GGUF_U16);
    dp_buf_append(&kvs->bytes, &value, 2);
}

void dp_gguf_put_u32(dp_gguf_kvs *kvs, const char *key, uint32_t value) {
    put_key(kvs, key, DP_GGUF_U32);
    put_u32(&kvs->bytes, value);
}

void dp_gguf_put_f32(dp_gguf_kvs *kvs, const char *key, float value) {
    put_key(kvs, key, DP_GGUF_F32);
    dp_buf_append(&kvs->bytes, &value, 4);
}

void dp_gguf_put_bool(dp_gguf_kvs *kvs, const char *key, bool value) {
    put_key(kvs, key, DP_GGUF_BOOL);
    dp_buf_char(&kvs->bytes, value);
}

void dp_gguf_put_str(dp_gguf_kvs *kvs, const char *key, dp_str value) {
    put_key(kvs, key, DP_GGUF_STRING);
    put_string(&kvs->bytes, value);
}

void dp_gguf_put_strs(dp_gguf_kvs *kvs, const char *key, const dp_str *values, size_t count) {
    put_array_head(kvs, key, DP_GGUF_STRING, count);
    for (size_t i = 0; i < count; i++) put_string(&kvs->bytes, values[i]);
}

void dp_gguf_put_array(dp_gguf_kvs *kvs, const char *key, dp_gguf_type item_type, const void *values, size_t count) {
    put_array_head(kvs, key, item_type, count);
    dp_buf_append(&kvs->bytes, values, count * dp_gguf_type_bytes(item_type));
}

/* ---- general.file_type ---- */

static const struct {
    int32_t id;
    const char *name;
} file_types[] = {
    {0, "F32"},     {1, "F16"},     {2, "Q4_0"},     {3, "Q4_1"},    {7, "Q8_0"},       {8, "Q5_0"},    {9, "Q5_1"},
    {10, "Q2_K"},   {11, "Q3_K_S"}, {12, "Q3_K_M"},  {13, "Q3_K_L"}, {14, "Q4_K_S"},    {15, "Q4_K_M"}, {16, "Q5_K_S"},
    {17, "Q5_K_M"}, {18, "Q6_K"},   {19, "IQ2_XXS"}, {20, "IQ2_XS"}, {21, "Q2_K_S"},    {22, "IQ3_XS"}, {23, "IQ3_XXS"},
    {24, "IQ1_S"},  {25, "IQ4_NL"}, {26, "IQ3_S"},   {27, "IQ3_M"},  {28, "IQ2_S"},     {29, "IQ2_M"},  {30, "IQ4_XS"},
    {31, "IQ1_M"},  {32, "BF16"},   {36, "TQ1_0"},   {37, "TQ2_0"},  {38, "MXFP4_MOE"},
};

enum { GUESSED = 1024 }; /* llama.cpp sets this bit when it derived the label from the tensors */

const char *dp_gguf_file_type_name(int64_t file_type) {
    for (size_t i = 0; i < DP_COUNT(file_types); i++)
        if (file_types[i].id == (file_type & ~(int64_t)GUESSED)) return file_types[i].name;
    return NULL;
}

int32_t dp_gguf_file_type_by_name(dp_str name) {
    for (size_t i = 0; i < DP_COUNT(file_types); i++)
        if (dp_str_is_nocase(name, file_types[i].name)) return file_types[i].id;
    return dp_str_is_nocase(name, "MXFP4") ? 38 : -1;
}
