/* convert.h: what dp_convert and dp_synth share: from a source and a mixture to a written model. Floor 5. */
#ifndef DP_CONVERT_H
#define DP_CONVERT_H

#include "convert/output.h"

/* Checks path, sharding and shard size and fills in their defaults for a model of these tensors. */
dp_status dp_output_settle(dp_output_desc *to, const dp_source *source);
/* Plans and writes an RDRR folder, or a GGUF file if the path ends in .gguf. */
dp_status dp_write_model(const dp_source *source, const dp_mixture *mixture, const dp_output *output,
                         dp_convert_result *result);

#endif
