/* qwen.c: Qwen 2 and 2.5 (biases on q, k, v) and Qwen 3 (QK norm instead). The window is off unless the config asks. */
#include "arch/families.h"

static bool slides(dp_builder *b) {
    return dp_build_bool(b, "use_sliding_window", false) && b->layer >= dp_build_int(b, "max_window_layers", 0);
}

static void layer(dp_builder *b, const dp_rope *rope, bool third) {
    dp_block_norm(b, DP_NORM_RMS, "model.layers.%d.input_layernorm", "input_norm", dp_slot_normed(b), dp_slot_hidden(b));
    dp_block_attention(b, &(dp_attention){.rope = *rope, .window = dp_layer_window(b, slides(b)), .qkv_bias = !third, .qk_norm = third});
    dp_block_add(b, "attention_residual");
    dp_block_norm(b, DP_NORM_RMS, "model.layers.%d.post_attention_layernorm", "ffn_norm", dp_slot_normed(b), dp_slot_hidden(b));
    dp_block_ffn(b, "model.layers.%d.mlp", DP_ACT_SILU, b->shape.intermediate);
    dp_block_add(b, "residual");
}

static void build(dp_builder *b) {
    dp_str type = {0};
    if (dp_json_get_str(b->config, "model_type", &type) != DP_OK) return;
    dp_rope rope = dp_build_rope(b, &(dp_rope_desc){.name = "rope", .dim = b->shape.head_dim, .theta = 1e6f});
    dp_block_embed(b, 1);
    for (b->layer = 0; b->layer < b->shape.layers; b->layer++) layer(b, &rope, dp_str_is(type, "qwen3"));
    dp_block_head(b, DP_NORM_RMS, 0);
}

static const char *const types[] = {"qwen2", "qwen3", NULL};
const dp_arch dp_arch_qwen = {"qwen", types, build};
