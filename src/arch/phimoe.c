/* phimoe.c: Phi-3.5-MoE: LayerNorm with bias, biases everywhere, LongRoPE, sparsemixer routing. */
#include "arch/families.h"

static void attention(dp_builder *b, const void *rope) {
    bool bias = dp_build_bool(b, "attention_bias", false);
    dp_block_attention(
        b, &(dp_attention){
               .rope = *(const dp_rope *)rope, .window = dp_layer_window(b, true), .qkv_bias = bias, .out_bias = bias});
}

static void ffn(dp_builder *b) {
    dp_block_moe(b, &(dp_moe){.prefix = "model.layers.%d.block_sparse_moe", .router = "model.layers.%d.block_sparse_moe.gate",
                              .gate = "w1", .up = "w3", .down = "w2", .intermediate = b->shape.intermediate, .act = DP_ACT_SILU,
                              .route = DP_ROUTE_SPARSEMIXER, .jitter = dp_build_float(b, "router_jitter_noise", 0.01f), .scale = 1});
}

static void build(dp_builder *b) {
    b->shape.norm_eps = dp_build_float(b, "rms_norm_eps", 1e-5f);
    dp_rope rope = dp_build_rope(b, &(dp_rope_desc){.name = "rope", .dim = b->shape.head_dim, .theta = 10000});
    dp_block_stack(b, &(dp_stack){.norm = DP_NORM_LAYER, .attention = attention, .ffn = ffn, .user = &rope});
}

static const char *const types[] = {"phimoe", NULL};
const dp_arch dp_arch_phimoe = {"phimoe", types, build};
