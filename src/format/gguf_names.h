/* gguf_names.h: GGUF tensor names <-> Hugging Face names, and architecture <-> model_type.
 *
 * GGUF stacks a layer's experts in one tensor. Its name here has no expert number:
 * "model.layers.3.mlp.experts.gate_proj.weight", [expert][out][in]. gpt-oss, whose checkpoints stack too but join gate
 * and up, uses experts.{gate,up,down}_proj.{weight,bias}. DeepSeek files carry either attn_kv_b
 * (self_attn.kv_b_proj.weight, [heads * (nope + v)][kv_rank]) or its halves attn_k_b (self_attn.k_b_proj.weight,
 * [heads][kv_rank][nope], transposed) and attn_v_b (self_attn.v_b_proj.weight, [heads][v][kv_rank]). rope_freqs.weight
 * and rope_factors_{long,short}.weight keep their names. */
#ifndef DP_GGUF_NAMES_H
#define DP_GGUF_NAMES_H

#include "base/base.h"
#include "base/buf.h"

/* Bits, so that a table row can name several. */
typedef enum dp_gguf_arch {
    DP_GGUF_ARCH_LLAMA = 1, /* also mistral, mixtral */
    DP_GGUF_ARCH_GEMMA3 = 2,
    DP_GGUF_ARCH_QWEN2 = 4,
    DP_GGUF_ARCH_QWEN3 = 8,
    DP_GGUF_ARCH_QWEN3MOE = 16,
    DP_GGUF_ARCH_PHIMOE = 32,
    DP_GGUF_ARCH_GPT_OSS = 64,
    DP_GGUF_ARCH_DEEPSEEK2 = 128,
    DP_GGUF_ARCH_OTHER = 256
} dp_gguf_arch;

/* general.architecture -> arch; DP_GGUF_ARCH_OTHER when we do not know it. */
dp_gguf_arch dp_gguf_arch_of(dp_str architecture);
/* Hugging Face model_type -> general.architecture; NULL when GGUF has none that we know. */
const char *dp_gguf_arch_for_model_type(dp_str model_type);

/* Appends the Hugging Face name; a name we do not know is appended as it is and gives false. */
bool dp_gguf_name_to_hf(dp_gguf_arch arch, dp_str gguf, dp_buf *out);
/* Appends the GGUF name; false and nothing appended when there is none. *expert is the number in a per-expert name
 * ("...experts.5.gate_proj.weight": the name is then that of the stacked tensor), else -1. */
bool dp_gguf_name_from_hf(dp_gguf_arch arch, dp_str hf, dp_buf *out, int64_t *expert);

#endif
