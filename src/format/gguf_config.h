/* gguf_config.h: GGUF metadata <-> the members of a Hugging Face config.json. */
#ifndef DP_GGUF_CONFIG_H
#define DP_GGUF_CONFIG_H

#include "format/checkpoint.h"
#include "format/gguf.h"
#include "format/gguf_names.h"

/* Sets checkpoint->config from the metadata and the tensors, which have been added. */
dp_status dp_gguf_config_read(dp_checkpoint *checkpoint, const dp_gguf *gguf);

/* An integer of the architecture, its key without "<architecture>."; absent leaves *out unchanged. Arrays with a value
 * for each layer are accepted when all are the same. */
dp_status dp_gguf_arch_int(const dp_gguf *gguf, const char *key, int64_t *out);

/* What MLA's key and value projections are made of. */
typedef struct dp_mla_sizes {
    int64_t heads, nope, rope, value, lora;
} dp_mla_sizes;
dp_status dp_mla_sizes_of(const dp_json *config, dp_mla_sizes *out);

/* Appends general.architecture and every architecture key for a config; the tokenizer, general.name and
 * general.file_type are the caller's. mla_apart: DeepSeek's attn_k_b and attn_v_b are in the file, not attn_kv_b.
 * DP_E_UNSUPPORTED when GGUF cannot express the model_type. */
dp_status dp_gguf_config_put(const dp_json *config, bool mla_apart, dp_gguf_kvs *kvs);
/* The i-th tensor that GGUF stores instead of a config member (RoPE frequency factors); *count is 0 past the last.
 * *values, f32, are owned by `arena`; *name is constant. */
dp_status dp_gguf_rope_tensor(const dp_json *config, size_t i, dp_arena *arena, const char **name, float **values,
                              size_t *count);

/* ---- between the files of this table ---- */

/* Adds the "rope_scaling" member (and what belongs to it) to the open object when the metadata asks for any. */
dp_status dp_gguf_rope_read(dp_checkpoint *checkpoint, const dp_gguf *gguf, const char *architecture, dp_buf *json);
dp_status dp_gguf_rope_put(const dp_json *config, const char *architecture, dp_gguf_kvs *kvs);

typedef enum dp_config_kind { DP_CONFIG_U32, DP_CONFIG_F32, DP_CONFIG_BOOL } dp_config_kind;
typedef struct dp_config_row {
    int archs;
    dp_config_kind kind;
    const char *key; /* behind "<architecture>." */
    const char *member;
} dp_config_row;
extern const dp_config_row dp_config_rows[];
extern const size_t dp_config_row_count;

#endif
