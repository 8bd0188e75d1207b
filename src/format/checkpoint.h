/* checkpoint.h: one view of every checkpoint format. A reader (safetensors.c, gguf.c, rdrr.c) fills a dp_checkpoint;
 * from then on nobody asks where it came from. Tensor and config names are those of Hugging Face: GGUF's are translated
 * by gguf_names.c. Floor 3. */
#ifndef DP_CHECKPOINT_H
#define DP_CHECKPOINT_H

#include "base/arena.h"
#include "base/json.h"
#include "base/map.h"
#include "host/host.h"
#include "quant/quant.h"
#include "text/tokenizer.h"

typedef enum dp_checkpoint_kind { DP_CHECKPOINT_HF, DP_CHECKPOINT_GGUF, DP_CHECKPOINT_RDRR } dp_checkpoint_kind;

/* Where some bytes of a tensor lie. */
typedef struct dp_span {
    int32_t file; /* index into files */
    uint64_t offset, size;
} dp_span;

typedef struct dp_tensor {
    const char *name;        /* canonical: Hugging Face's, e.g. "model.layers.0.self_attn.q_proj.weight" */
    const char *source_name; /* as the file spells it */
    dp_dtype dtype;
    int32_t n_dims;   /* 0..4 */
    int64_t shape[4]; /* row-major, outermost first: a matrix is [out][in]; stacked experts [expert][out][in] */
    uint64_t size;    /* bytes; equals what dtype and shape say */
    const dp_span *spans;
    int32_t span_count; /* 1 except for RDRR tensors cut at shard boundaries */
    /* NULL unless the spans hold another form than dtype and shape say (relayout.h): then read, not mapped. */
    const struct dp_relayout *relayout;
} dp_tensor;

typedef struct dp_shard {
    const char *filename;
    uint64_t size;
    const char *hash;       /* hex or NULL */
    const char *algorithm;  /* "sha256" or "blake3" */
    const char *type;       /* "dense" or "expert" */
    const char *expert_key; /* "L_E" or NULL */
} dp_shard;

typedef struct dp_checkpoint {
    dp_checkpoint_kind kind;
    dp_arena arena;       /* owns every name and array here */
    const char *path;     /* as given */
    const char *folder;   /* where its files lie */
    const char *name;     /* modelId, general.name or the last part of the path */
    const char *quantization; /* as the source labels it, or derived from the commonest large dtype; never NULL */
    const dp_json *config;    /* object, Hugging Face keys (transformers 4 spelling or 5) */
    const dp_json *manifest;  /* RDRR only */
    dp_tensor *tensors;
    size_t tensor_count, tensor_capacity;
    dp_map tensor_map;    /* canonical name -> index */
    dp_file **files;
    const char **file_names; /* relative to folder */
    size_t file_count, file_capacity;
    dp_shard *shards;     /* RDRR only */
    size_t shard_count;
    /* How this source stores values that differ from Hugging Face's convention. */
    bool rope_pairs;    /* q_proj/k_proj rows are permuted so that RoPE turns adjacent pairs (GGUF, llama family) */
    bool norms_plus_one; /* Gemma norm weights already contain the 1 (GGUF) */
    const void *gguf;   /* GGUF only: the parsed metadata (gguf.h) */
} dp_checkpoint;

/* Opens and checks structure: every offset and length lies within its file, names are unique, shapes match sizes.
 * Does not read weights. */
dp_status dp_checkpoint_open(const char *path, dp_checkpoint **out);
/* RDRR: only the shards that the manifest lists, for hashing them even where some are missing; there are no tensors.
 * Other formats have no shards: the list is empty. */
dp_status dp_checkpoint_open_shards(const char *path, dp_checkpoint **out);
void dp_checkpoint_close(dp_checkpoint *checkpoint);

/* NULL when absent. */
const dp_tensor *dp_checkpoint_find(const dp_checkpoint *checkpoint, const char *name);
/* Maps the tensor's bytes; DP_E_UNSUPPORTED where that is impossible (then read). Release with dp_host_unmap. */
dp_status dp_checkpoint_map(const dp_checkpoint *checkpoint, const dp_tensor *tensor, dp_mapping *out);
/* Maps a whole file of the checkpoint: one mapping serves all tensors in it. Same errors. */
dp_status dp_checkpoint_map_file(const dp_checkpoint *checkpoint, int32_t file, dp_mapping *out);
/* Copies `size` bytes at `offset` within the tensor; of a tensor with a relayout whole f32 values. Any thread. */
dp_status dp_checkpoint_read(const dp_checkpoint *checkpoint, const dp_tensor *tensor, uint64_t offset, void *data,
                             size_t size);

/* dp_file_load for a text file of a model; DP_E_FORMAT if a Git LFS pointer lies in its place. */
dp_status dp_file_load_text(const char *path, size_t limit, char **text, size_t *size);
/* The checkpoint's tokenizer: tokenizer.json in its folder, or the GGUF vocabulary. DP_E_NOT_FOUND if it has none. */
dp_status dp_checkpoint_tokenizer(const dp_checkpoint *checkpoint, dp_tokenizer **out);
/* RDRR: opens and hashes one shard and compares. DP_E_CORRUPT names the file; without a hash DP_E_NOT_FOUND. `progress`
 * may be NULL. */
dp_status dp_checkpoint_verify_shard(const dp_checkpoint *checkpoint, size_t shard, dp_progress_fn progress,
                                     void *user);
/* The same for the bytes that `read` gives; data is aligned to DP_DIRECT. Any thread. */
typedef dp_status (*dp_shard_read_fn)(void *user, uint64_t offset, void *data, size_t size);
dp_status dp_checkpoint_verify_bytes(const dp_checkpoint *checkpoint, size_t shard, dp_shard_read_fn read, void *user);
/* The same, and which algorithm it was: some manifests label BLAKE3 as sha256, so the other one is tried before
 * rejecting. */
dp_status dp_checkpoint_match_shard(const dp_checkpoint *checkpoint, size_t shard, dp_progress_fn progress, void *user,
                                    const char **algorithm);

#endif
