/* builder.h: how the readers of this folder fill a dp_checkpoint. Everything that must hold for every format is checked
 * in dp_checkpoint_add_tensor, once. */
#ifndef DP_CHECKPOINT_BUILDER_H
#define DP_CHECKPOINT_BUILDER_H

#include "format/checkpoint.h"

/* What a reader knows of a tensor; names and spans are copied. */
typedef struct dp_tensor_source {
    dp_str name, source_name;
    dp_dtype dtype;
    int32_t n_dims;
    int64_t shape[4];
    const dp_span *spans;
    size_t span_count;
    const struct dp_relayout *relayout; /* copied; NULL as a rule. dtype is then F32 and the spans hold stored_size */
    const char *file;                   /* for messages */
} dp_tensor_source;

/* Opens folder/name and adds it; *index may be NULL. */
dp_status dp_checkpoint_add_file(dp_checkpoint *checkpoint, dp_str name, int32_t *index);
/* The same for a name that an index or manifest gives: DP_E_FORMAT unless it stays within the folder. */
dp_status dp_checkpoint_add_listed_file(dp_checkpoint *checkpoint, dp_str name, int32_t *index);
/* DP_E_FORMAT if there are but a few lines of Git LFS in the place of a file (dp_file_load_text checks that too). */
dp_status dp_file_check_pointer(dp_file *file);
/* Checks dims, that the spans lie within their files and hold exactly what dtype and shape need, and that the name is
 * new. */
dp_status dp_checkpoint_add_tensor(dp_checkpoint *checkpoint, const dp_tensor_source *source);
bool dp_checkpoint_has_file(const dp_checkpoint *checkpoint, const char *name);
/* Reads folder/name as JSON. The text and the tree live as long as the checkpoint. */
dp_status dp_checkpoint_load_value(dp_checkpoint *checkpoint, const char *name, size_t limit, const dp_json **out);
/* The same for a root that must be an object. */
dp_status dp_checkpoint_load_json(dp_checkpoint *checkpoint, const char *name, size_t limit, const dp_json **out);
/* Sets config; a "text_config" inside is laid over the rest. */
dp_status dp_checkpoint_set_config(dp_checkpoint *checkpoint, const dp_json *config);
/* Once all tensors are added: drops the prefixes of multimodal wrappers, gives bare decoders their "model.". */
dp_status dp_checkpoint_canonical_names(dp_checkpoint *checkpoint);

/* Bytes of a tensor; DP_E_FORMAT on negative dims, rows that are no whole number of blocks and overflow. */
dp_status dp_tensor_bytes(dp_dtype dtype, const int64_t *shape, int32_t n_dims, uint64_t *out);
/* True for a relative name that cannot leave its folder: no "..", no leading slash, no backslash, colon or NUL. */
bool dp_filename_is_safe(dp_str name);
/* Message spelling of a shape, "[32][64]", cut to fit. */
const char *dp_shape_text(const int64_t *shape, int32_t n_dims, char *out, size_t size);

/* Adds the tensors of one safetensors file. keep (may be NULL) is a map of tensor name -> index of the file it is to
 * come from: others are skipped. */
dp_status dp_safetensors_add(dp_checkpoint *checkpoint, int32_t file, const dp_map *keep);

/* The readers. Path, folder and name are set; file is a name within folder. */
dp_status dp_hf_read(dp_checkpoint *checkpoint);
dp_status dp_safetensors_read(dp_checkpoint *checkpoint, const char *file);
dp_status dp_gguf_read(dp_checkpoint *checkpoint, const char *file);
dp_status dp_rdrr_read(dp_checkpoint *checkpoint);
/* Only the manifest's list of shards; their files are not opened. */
dp_status dp_rdrr_list_shards(dp_checkpoint *checkpoint);
/* Sets config from the manifest's config or architecture object. */
dp_status dp_rdrr_read_config(dp_checkpoint *checkpoint, const dp_json *manifest);
void dp_checkpoint_free_gguf(dp_checkpoint *checkpoint);

#endif
