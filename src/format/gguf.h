/* gguf.h: GGUF files: metadata and tensor table as parsed, and the metadata values for writing.
 *
 *   u8[4]  "GGUF"
 *   u32    version, 2 or 3
 *   u64    number of tensors
 *   u64    number of metadata pairs
 *   pairs  string key, u32 type, value
 *   infos  string name, u32 n_dims, u64 dims[n_dims] (contiguous one first), u32 type, u64 offset
 *   zeros  up to general.alignment (32 where absent)
 *   data   each tensor at its offset from here, a multiple of the alignment
 *
 * string = u64 length, bytes. array = u32 item type, u64 count, items. All little-endian. */
#ifndef DP_GGUF_H
#define DP_GGUF_H

#include "base/arena.h"
#include "base/map.h"
#include "host/host.h"

typedef enum dp_gguf_type {
    DP_GGUF_U8, DP_GGUF_I8, DP_GGUF_U16, DP_GGUF_I16, DP_GGUF_U32, DP_GGUF_I32, DP_GGUF_F32, DP_GGUF_BOOL,
    DP_GGUF_STRING, DP_GGUF_ARRAY, DP_GGUF_U64, DP_GGUF_I64, DP_GGUF_F64, DP_GGUF_TYPE_COUNT
} dp_gguf_type;

typedef struct dp_gguf_kv {
    dp_str key;
    dp_gguf_type type;
    dp_gguf_type item_type;    /* of an array */
    uint64_t count;            /* items of an array, bytes of a string, else 1 */
    const unsigned char *data; /* unaligned */
} dp_gguf_kv;

typedef struct dp_gguf_tensor {
    dp_str name;
    uint32_t type; /* ggml's id */
    uint32_t n_dims;
    uint64_t dims[4]; /* contiguous first, as in the file */
    uint64_t offset;  /* from data_start */
} dp_gguf_tensor;

typedef struct dp_gguf {
    char *header; /* what the slices above point into */
    dp_gguf_kv *kvs;
    size_t kv_count, kv_capacity;
    dp_map kv_map;
    dp_gguf_tensor *tensors;
    size_t tensor_count, tensor_capacity;
    uint32_t version;
    uint64_t alignment, data_start;
} dp_gguf;

/* Parses and checks the header. *out is to be zeroed; dp_gguf_free it in any case. */
dp_status dp_gguf_parse(dp_file *file, dp_gguf *out);
void dp_gguf_free(dp_gguf *gguf);

const dp_gguf_kv *dp_gguf_find(const dp_gguf *gguf, const char *key); /* NULL when absent */
/* Optional scalars: absent leaves *out unchanged, another kind of value is DP_E_FORMAT naming the key. Integers of any
 * width are accepted, for double also floats. */
dp_status dp_gguf_get_int(const dp_gguf *gguf, const char *key, int64_t *out);
dp_status dp_gguf_get_double(const dp_gguf *gguf, const char *key, double *out);
dp_status dp_gguf_get_bool(const dp_gguf *gguf, const char *key, bool *out);
dp_status dp_gguf_get_str(const dp_gguf *gguf, const char *key, dp_str *out);
/* Item i of an array of integers or bools; false if it is none. */
bool dp_gguf_int_item(const dp_gguf_kv *array, uint64_t i, int64_t *out);
/* Steps through an array of strings; empty if it is none. */
typedef struct dp_gguf_strings {
    const unsigned char *next;
    uint64_t left;
} dp_gguf_strings;
dp_gguf_strings dp_gguf_strings_of(const dp_gguf_kv *array);
bool dp_gguf_next_string(dp_gguf_strings *strings, dp_str *out);

/* general.file_type <-> label, e.g. 15 and "Q4_K_M". NULL and -1 when unknown. */
const char *dp_gguf_file_type_name(int64_t file_type);
int32_t dp_gguf_file_type_by_name(dp_str name);

/* ---- metadata pairs for writing; bytes.failed tells of memory that ran out ---- */
typedef struct dp_gguf_kvs {
    dp_buf bytes;
    uint64_t count;
} dp_gguf_kvs;

void dp_gguf_put_u16(dp_gguf_kvs *kvs, const char *key, uint16_t value);
void dp_gguf_put_u32(dp_gguf_kvs *kvs, const char *key, uint32_t value);
void dp_gguf_put_f32(dp_gguf_kvs *kvs, const char *key, float value);
void dp_gguf_put_bool(dp_gguf_kvs *kvs, const char *key, bool value);
void dp_gguf_put_str(dp_gguf_kvs *kvs, const char *key, dp_str value);
void dp_gguf_put_strs(dp_gguf_kvs *kvs, const char *key, const dp_str *values, size_t count);
/* Bytes of a fixed-size type, 0 for strings and arrays. */
size_t dp_gguf_type_bytes(dp_gguf_type type);
/* Any fixed-size type; value points at it. */
void dp_gguf_put_scalar(dp_gguf_kvs *kvs, const char *key, dp_gguf_type type, const void *value);
/* item_type is a fixed-size type; values are `count` of them, packed. */
void dp_gguf_put_array(dp_gguf_kvs *kvs, const char *key, dp_gguf_type item_type, const void *values, size_t count);

#endif
