/* llama.c: Llama 2 and 3, Mistral: pre-norm, GQA, SwiGLU. Llama 3.1+ scales RoPE, Mistral may slide its window. */
#include "arch/families.h"

static void attention(dp_builder *b, const void *rope) {
    bool bias = dp_build_bool(b, "attention_bias", false);
    dp_block_attention(
        b, &(dp_attention){
               .rope = *(const dp_rope *)rope, .window = dp_layer_window(b, true), .qkv_bias = bias, .out_bias = bias});
}

static void ffn(dp_builder *b) { dp_block_ffn(b, "model.layers.%d.mlp", DP_ACT_SILU, b->shape.intermediate); }

static void build(dp_builder *b) {
    dp_rope rope = dp_build_rope(b, &(dp_rope_desc){.name = "rope", .dim = b->shape.head_dim, .theta = 10000});
    dp_block_stack(b, &(dp_stack){.norm = DP_NORM_RMS, .attention = attention, .ffn = ffn, .user = &rope});
}

static const char *const types[] = {"llama", "mistral", NULL};
const dp_arch dp_arch_llama = {"llama", types, build};
