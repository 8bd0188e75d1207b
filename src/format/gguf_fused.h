/* gguf_fused.h: matrices that llama.cpp's converter joins when it is asked to (--fuse-qkv, --fuse-gate-up-exps):
 *
 *   blk.L.attn_qkv           [q rows + k rows + v rows][in]   -> attn_q, attn_k, attn_v
 *   blk.L.ffn_gate_up_exps   [expert][gate rows, up rows][in] -> gate and up of each expert
 *
 * and their biases. Rows are whole blocks whatever the dtype, so a part is a range of the file and nothing is copied.
 * Experts become tensors of their own, as checkpoints of Hugging Face have them: their gates lie apart. */
#ifndef DP_GGUF_FUSED_H
#define DP_GGUF_FUSED_H

#include "format/builder.h"
#include "format/gguf.h"
#include "format/gguf_names.h"

/* True for the GGUF name of such a tensor. */
bool dp_gguf_is_fused(dp_gguf_arch arch, dp_str name);
/* Adds the parts of one. `whole` is the tensor as it would be added, its source_name GGUF's; `metadata` is the first
 * part's, which has the numbers of heads. */
dp_status dp_gguf_add_fused(dp_checkpoint *checkpoint, const dp_gguf *metadata, dp_gguf_arch arch,
                            const dp_tensor_source *whole);

#endif
