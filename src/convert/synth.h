/* synth.h: generated models: shapes of published ones, random weights. Between the files of dp_synth. Floor 5. */
#ifndef DP_SYNTH_H
#define DP_SYNTH_H

#include "convert/mixture.h"
#include "convert/source.h"

/* config.json of the i-th shape (synth_shapes.c); NULL past the end. */
const char *dp_synth_config(size_t i);

/* The tensors of a model with that config, by Hugging Face names, all BF16 (synth_tensors.c). */
dp_status dp_synth_tensors(const dp_json *config, dp_source *out);

/* Gives every tensor the dtype that the mixture chooses and makes `source` produce it (synth_weights.c). */
dp_status dp_synth_weights(dp_source *source, const dp_mixture *mixture, uint64_t seed);

/* A valid byte-level tokenizer.json for that config: one token per byte, a few merges, fillers up to the vocabulary's
 * size, the config's special ids; and its tokenizer_config.json (synth_tokenizer.c). */
dp_status dp_synth_tokenizer(const dp_json *config, dp_buf *json, dp_buf *tokenizer_config);

#endif
