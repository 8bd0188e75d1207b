/* mixtral.c: Mixtral: Llama's attention, a softmax router over experts w1 (gate), w3 (up), w2 (down). */
#include "arch/families.h"

static void layer(dp_builder *b, const dp_rope *rope) {
    dp_block_norm(b, DP_NORM_RMS, "model.layers.%d.input_layernorm", "input_norm", dp_slot_normed(b), dp_slot_hidden(b));
    dp_block_attention(b, &(dp_attention){.rope = *rope, .window = dp_layer_window(b, true)});
    dp_block_add(b, "attention_residual");
    dp_block_norm(b, DP_NORM_RMS, "model.layers.%d.post_attention_layernorm", "ffn_norm", dp_slot_normed(b), dp_slot_hidden(b));
    dp_block_moe(b, &(dp_moe){.prefix = "model.layers.%d.block_sparse_moe", .router = "model.layers.%d.block_sparse_moe.gate",
                              .gate = "w1", .up = "w3", .down = "w2", .intermediate = b->shape.intermediate, .act = DP_ACT_SILU,
                              .route = DP_ROUTE_SOFTMAX, .normalise = true, .scale = 1});
    dp_block_add(b, "residual");
}

static void build(dp_builder *b) {
    dp_rope rope = dp_build_rope(b, &(dp_rope_desc){.name = "rope", .dim = b->shape.head_dim, .theta = 1e6f});
    dp_block_embed(b, 1);
    for (b->layer = 0; b->layer < b->shape.layers; b->layer++) layer(b, &rope);
    dp_block_head(b, DP_NORM_RMS, 0);
}

static const char *const types[] = {"mixtral", NULL};
const dp_arch dp_arch_mixtral = {"mixtral", types, build};
