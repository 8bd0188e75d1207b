/* fuzz_model.h: for the targets that need files: a folder of this process, and what a program does with a checkpoint
 * that was accepted. */
#ifndef FUZZ_MODEL_H
#define FUZZ_MODEL_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "arch/builder.h"
#include "format/checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* "<folder>/<name>"; the folder is made on first use and stays: the next input overwrites its files. */
static inline const char *fuzz_path(const char *name) {
    static char folder[64], path[128];
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "/tmp/doppler-fuzz-%ld", (long)getpid());
        if (dp_folder_make(folder) != DP_OK) abort();
    }
    snprintf(path, sizeof path, "%s%s%s", folder, name[0] ? "/" : "", name);
    return path;
}

static inline void fuzz_write(const char *name, const void *data, size_t size) {
    FILE *file = fopen(fuzz_path(name), "wb");
    if (!file || (size && fwrite(data, 1, size, file) != size)) abort();
    fclose(file);
}

/* A tensor that was accepted can be read from its first byte to its last; one that is converted, in whole values. */
static inline void fuzz_read_ends(const dp_checkpoint *checkpoint, const dp_tensor *tensor) {
    float value;
    size_t unit = tensor->relayout ? sizeof value : 1;
    if (!tensor->size) return;
    if (dp_checkpoint_read(checkpoint, tensor, 0, &value, unit) != DP_OK) abort();
    if (dp_checkpoint_read(checkpoint, tensor, tensor->size - unit, &value, unit) != DP_OK) abort();
}

static inline void fuzz_open(const char *path) {
    dp_checkpoint *checkpoint = NULL;
    if (dp_checkpoint_open(path, &checkpoint) != DP_OK) return;
    for (size_t i = 0; i < checkpoint->tensor_count && i < 64; i++) fuzz_read_ends(checkpoint, &checkpoint->tensors[i]);
    dp_builder *builder = NULL;
    if (dp_arch_build(checkpoint, &builder) == DP_OK) dp_builder_free(builder);
    dp_tokenizer *tokenizer = NULL;
    if (dp_checkpoint_tokenizer(checkpoint, &tokenizer) == DP_OK) dp_tokenizer_close(tokenizer);
    dp_checkpoint_close(checkpoint);
}

#endif
