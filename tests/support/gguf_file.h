/* gguf_file.h: GGUF files for tests, made key by key below test_folder(), and what their checkpoints say. */
#ifndef DP_TEST_GGUF_FILE_H
#define DP_TEST_GGUF_FILE_H

#include "files.h"

#include "format/checkpoint.h"
#include "format/gguf_config.h"

/* Begins as {0}; keys are put by dp_gguf_put_*(&kvs, ...). */
typedef struct gguf_file {
    dp_gguf_kvs kvs;
    dp_buf infos, data;
    uint64_t tensors;
} gguf_file;

/* Puts general.architecture. */
void gguf_begin(gguf_file *f, const char *architecture);
/* A tensor's header alone: type as GGUF numbers it, dimensions with the contiguous one first. */
void gguf_add_info(gguf_file *f, const char *name, uint32_t type, const uint64_t *dims, uint32_t n_dims, uint64_t offset);
/* An F32 tensor of cols * rows values 0, 1, 2, ...; rows 0: a vector. */
void gguf_add_f32(gguf_file *f, const char *name, uint64_t cols, uint64_t rows);
/* Writes the file and frees what it was made of. */
void gguf_write(const char *name, gguf_file *f);
/* A copy of the GGUF at `from` with q, k and v joined (where all three have one type) and gate and up of experts joined, as
 * llama.cpp's converter does with --fuse-qkv and --fuse-gate-up-exps. Gives the number of joined tensors. */
size_t gguf_fuse(const char *from, const char *name);

/* The checkpoint at a path; NULL, with the test failed, if it does not open. */
dp_checkpoint *gguf_open(const char *path);
/* Members of a config: numbers below -990 and false where they are missing or of another type. */
int64_t config_int(const dp_checkpoint *c, const char *key);
double config_number(const dp_json *object, const char *key);
bool config_is(const dp_checkpoint *c, const char *key, const char *text);

#endif
