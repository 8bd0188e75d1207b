/* gguf_extra.h: what a GGUF file says beyond the config, carried through RDRR in manifest.conversion.gguf, so that
 * going back gives an equal file: {"metadata": [{"key", "type", "value"}, ...], "tensors": [names in file order]}. The
 * vocabulary, the chat template and what the writer itself states (name, file type, alignment) are left out. Floor 5.
 */
#ifndef DP_GGUF_EXTRA_H
#define DP_GGUF_EXTRA_H

#include "format/checkpoint.h"
#include "format/gguf.h"

/* From an open GGUF checkpoint; *out lives in `arena`. */
dp_status dp_gguf_extra_collect(const dp_checkpoint *checkpoint, dp_arena *arena, const dp_json **out);
/* Appends the metadata pairs to `kvs`. DP_E_FORMAT when `extra` is not as collect makes it. */
dp_status dp_gguf_extra_put(const dp_json *extra, dp_gguf_kvs *kvs);

#endif
