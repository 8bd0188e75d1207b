/* output.h: the writers of models. A plan says what to write; this says where and with what beside it. Floor 5. */
#ifndef DP_OUTPUT_H
#define DP_OUTPUT_H

#include "convert/layout.h"

/* A text file that comes with the model: tokenizer.json, tokenizer_config.json, ... */
typedef struct dp_asset {
    const char *name;
    char *data;
    size_t size;
} dp_asset;

enum { DP_ASSETS_MAX = 4 };
typedef struct dp_assets {
    dp_asset files[DP_ASSETS_MAX];
    size_t count;
} dp_assets;

/* The files in the checkpoint's folder, or made from a GGUF vocabulary. None is fine. */
dp_status dp_assets_from_checkpoint(const dp_checkpoint *checkpoint, dp_assets *out);
/* Adds a file, taking the text over from `buf`; at most DP_ASSETS_MAX. name is not copied. */
dp_status dp_assets_take(dp_assets *assets, const char *name, dp_buf *buf);
/* NULL when missing. */
const dp_asset *dp_assets_find(const dp_assets *assets, const char *name);
void dp_assets_free(dp_assets *assets);

typedef struct dp_output {
    dp_output_desc to;        /* as the caller asked, once settled without AUTO and zeroes */
    dp_checkpoint *input;     /* its shards' hashes are checked before anything is written; NULL: made from nothing */
    const char *name;         /* modelId, general.name */
    const char *quantization; /* label of the whole, e.g. "Q4_K_M" */
    const char *source;       /* where it comes from, for the record: a file or folder name */
    const dp_json *config;    /* Hugging Face keys */
    const dp_assets *assets;
    const dp_json *gguf; /* what a GGUF source said besides the config (gguf_extra.h), or NULL */
} dp_output;

/* Writes a folder: appears whole at output->to.path or not at all. Fills shards and bytes_out of *result. */
dp_status dp_rdrr_write(const dp_plan *plan, const dp_output *output, dp_convert_result *result);
/* The manifest's text. Hashes of the layout's shards must be filled. */
dp_status dp_manifest_write(const dp_plan *plan, const dp_layout *layout, const dp_output *output, dp_buf *out);

/* ---- outputs that replace or refuse what is there (output.c) ---- */

/* DP_E_ARG if something is at output->to.path that must not be replaced; DP_E_DISK_FULL if `bytes` will not fit. */
dp_status dp_output_check(const dp_output *output, uint64_t bytes);
/* DP_E_CORRUPT if the input is not what its hashes promise: the output's hashes would vouch for it. */
dp_status dp_output_check_input(const dp_output *output);
/* Makes the output's folder and keeps others from writing the same output, until the claim is released. */
dp_status dp_output_claim(const dp_output *output, dp_claim **out);
/* "folder/.name.part" for "folder/name": where a folder grows. Trailing slashes are dropped. dp_free() it. */
dp_status dp_output_part(const char *path, const char *suffix, char **out);

#endif
