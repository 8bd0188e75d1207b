/* llama.c: Llama 2 and 3, Mistral: pre-norm, GQA, SwiGLU. Llama 3.1+ scales RoPE, Mistral may slide its window. */
#include "arch/families.h"

static void layer(dp_builder *b, const dp_rope *rope) {
    bool bias = dp_build_bool(b, "attention_bias", false);
    dp_block_norm(b, DP_NORM_RMS, "model.layers.%d.input_layernorm", "input_norm", dp_slot_normed(b), dp_slot_hidden(b));
    dp_block_attention(b, &(dp_attention){.rope = *rope, .window = dp_layer_window(b, true), .qkv_bias = bias, .out_bias = bias});
    dp_block_add(b, "attention_residual");
    dp_block_norm(b, DP_NORM_RMS, "model.layers.%d.post_attention_layernorm", "ffn_norm", dp_slot_normed(b), dp_slot_hidden(b));
    dp_block_ffn(b, "model.layers.%d.mlp", DP_ACT_SILU, b->shape.intermediate);
    dp_block_add(b, "residual");
}

static void build(dp_builder *b) {
    dp_rope rope = dp_build_rope(b, &(dp_rope_desc){.name = "rope", .dim = b->shape.head_dim, .theta = 10000});
    dp_block_embed(b, 1);
    for (b->layer = 0; b->layer < b->shape.layers; b->layer++) layer(b, &rope);
    dp_block_head(b, DP_NORM_RMS, 0);
}

static const char *const types[] = {"llama", "mistral", NULL};
const dp_arch dp_arch_llama = {"llama", types, build};
