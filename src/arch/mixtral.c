/* mixtral.c: Mixtral: Llama's attention, a softmax router over experts w1 (gate), w3 (up), w2 (down). */
#include "arch/families.h"

static void attention(dp_builder *b, const void *rope) {
    dp_block_attention(b, &(dp_attention){.rope = *(const dp_rope *)rope, .window = dp_layer_window(b, true)});
}

static void ffn(dp_builder *b) {
    dp_block_moe(b, &(dp_moe){.prefix = "model.layers.%d.block_sparse_moe", .router = "model.layers.%d.block_sparse_moe.gate",
                              .gate = "w1", .up = "w3", .down = "w2", .intermediate = b->shape.intermediate, .act = DP_ACT_SILU,
                              .route = DP_ROUTE_SOFTMAX, .normalise = true, .scale = 1});
}

static void build(dp_builder *b) {
    dp_rope rope = dp_build_rope(b, &(dp_rope_desc){.name = "rope", .dim = b->shape.head_dim, .theta = 1e6f});
    dp_block_stack(b, &(dp_stack){.norm = DP_NORM_RMS, .attention = attention, .ffn = ffn, .user = &rope});
}

static const char *const types[] = {"mixtral", NULL};
const dp_arch dp_arch_mixtral = {"mixtral", types, build};
