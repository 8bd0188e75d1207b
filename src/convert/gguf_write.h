/* gguf_write.h: one GGUF file that llama.cpp loads. Floor 5. */
#ifndef DP_GGUF_WRITE_H
#define DP_GGUF_WRITE_H

#include "convert/gguf_extra.h"
#include "convert/output.h"

/* Items in file order with GGUF names. DP_E_UNSUPPORTED when GGUF has no name for the architecture or a tensor. */
dp_status dp_plan_gguf(const dp_source *source, const dp_mixture *mixture, const dp_output *output, dp_plan *out);
/* All metadata of the file: architecture, tokenizer, labels. */
dp_status dp_gguf_metadata(const dp_output *output, const dp_plan *plan, dp_gguf_kvs *kvs);
/* Appears whole at output->to.path or not at all. Fills shards and bytes_out of *result. */
dp_status dp_gguf_write(const dp_plan *plan, const dp_output *output, dp_convert_result *result);

#endif
