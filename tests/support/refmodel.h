/* refmodel.h: the reference models of tests/data/models. Their weights are functions of their names (README there), so
 * only configs and golden results are stored; here they are rebuilt as a Hugging Face folder. */
#ifndef DP_REFMODEL_H
#define DP_REFMODEL_H

#include "test.h"

/* Every case: "llama", "gemma3", ...; NULL past the end. */
const char *refmodel_case(size_t i);
/* Writes config.json (config_file of the case: "config.json" or "config.v5.json") and model.safetensors to `folder`. */
dp_status refmodel_write(const char *name, const char *config_file, const char *folder);
/* Puts the small tokenizer, tests/data/tiny-tokenizer.json, into the folder. */
dp_status refmodel_add_tokenizer(const char *folder);

/* A tensor of a .safetensors file, loaded whole: golden results, quantisation vectors. dp_free() the data. */
typedef struct ref_tensor {
    void *data;
    size_t size;
    int64_t shape[4];
    int n_dims;
} ref_tensor;
dp_status ref_tensor_load(const char *file, const char *name, ref_tensor *out);

/* ||a - b|| / ||b||; infinity if anything is not finite. */
double ref_relative_error(const float *a, const float *b, size_t n);

#endif
