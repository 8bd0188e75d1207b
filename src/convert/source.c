/* source.c: what all sources share: sizes, scratch memory, the order of rows within heads. */
#include "convert/source.h"

dp_status dp_scratch_need(dp_scratch *scratch, size_t size) {
    if (size <= scratch->capacity) return DP_OK;
    dp_free(scratch->data);
    *scratch = (dp_scratch){0};
    scratch->data = dp_malloc(size);
    if (!scratch->data) return dp_no_memory(size);
    scratch->capacity = size;
    return DP_OK;
}

void dp_scratch_free(dp_scratch *scratch) {
    dp_free(scratch->data);
    *scratch = (dp_scratch){0};
}

void dp_source_free(dp_source *source) {
    dp_arena_free(&source->arena);
    *source = (dp_source){0};
}

uint64_t dp_dtype_bytes(dp_dtype dtype, int64_t elements) {
    const dp_dtype_info *info = dp_dtype_get(dtype);
    return (uint64_t)(elements / info->block) * info->bytes;
}

int64_t dp_shape_elements(const int64_t *shape, int32_t n_dims) {
    int64_t n = 1;
    for (int32_t i = 0; i < n_dims; i++) n *= shape[i];
    return n;
}

void dp_permute_heads(const dp_head_rows *desc, const void *from, void *to) {
    const char *in = from;
    char *out = to;
    int64_t d = desc->head_dim;
    for (int64_t row = 0; row < desc->rows; row++) {
        int64_t head = row / d, at = row % d;
        int64_t half = at / (d / 2), i = at % (d / 2); /* row is in Hugging Face order */
        int64_t pair = head * d + 2 * i + half;
        memcpy(out + (size_t)(desc->to_pairs ? pair : row) * desc->row_bytes,
               in + (size_t)(desc->to_pairs ? row : pair) * desc->row_bytes, desc->row_bytes);
    }
}

int64_t dp_rope_heads(const char *name, const dp_json *config) {
    dp_str s = dp_str_of(name);
    bool q = dp_str_ends(s, ".q_proj.weight") || dp_str_ends(s, ".q_proj.bias");
    bool k = dp_str_ends(s, ".k_proj.weight") || dp_str_ends(s, ".k_proj.bias");
    if (!q && !k) return 0;
    int64_t heads = 0;
    if (k && dp_json_get_int(config, "num_key_value_heads", &heads) != DP_OK) return 0;
    if (!heads && dp_json_get_int(config, "num_attention_heads", &heads) != DP_OK) return 0;
    return heads > 0 && heads <= INT32_MAX ? heads : 0;
}
