/* qwen3_moe.c: Qwen3-MoE: Qwen 3's attention; most layers route to experts, some may stay dense. */
#include "arch/families.h"

/* Dense: listed in mlp_only_layers, or left out by decoder_sparse_step. */
static bool is_dense(dp_builder *b) {
    const dp_json *only = dp_json_find(b->config, "mlp_only_layers");
    for (const dp_json *v = only && only->type == DP_JSON_ARRAY ? only->child : NULL; v; v = v->next)
        if (v->type == DP_JSON_NUMBER && v->integer == b->layer) return true;
    int32_t step = dp_build_int(b, "decoder_sparse_step", 1);
    return b->shape.experts == 0 || step < 1 || (b->layer + 1) % step != 0;
}

static void layer(dp_builder *b, const dp_rope *rope) {
    dp_block_norm(b, DP_NORM_RMS, "model.layers.%d.input_layernorm", "input_norm", dp_slot_normed(b), dp_slot_hidden(b));
    bool slides = dp_build_bool(b, "use_sliding_window", false);
    dp_block_attention(b, &(dp_attention){.rope = *rope, .window = dp_layer_window(b, slides), .qk_norm = true});
    dp_block_add(b, "attention_residual");
    dp_block_norm(b, DP_NORM_RMS, "model.layers.%d.post_attention_layernorm", "ffn_norm", dp_slot_normed(b), dp_slot_hidden(b));
    if (is_dense(b)) dp_block_ffn(b, "model.layers.%d.mlp", DP_ACT_SILU, b->shape.intermediate);
    else
        dp_block_moe(b, &(dp_moe){.prefix = "model.layers.%d.mlp", .router = "model.layers.%d.mlp.gate", .gate = "gate_proj",
                                  .up = "up_proj", .down = "down_proj", .intermediate = dp_build_int(b, "moe_intermediate_size", 0),
                                  .act = DP_ACT_SILU, .route = DP_ROUTE_SOFTMAX,
                                  .normalise = dp_build_bool(b, "norm_topk_prob", false), .scale = 1});
    dp_block_add(b, "residual");
}

static void build(dp_builder *b) {
    dp_rope rope = dp_build_rope(b, &(dp_rope_desc){.name = "rope", .dim = b->shape.head_dim, .theta = 1e6f});
    dp_block_embed(b, 1);
    for (b->layer = 0; b->layer < b->shape.layers; b->layer++) layer(b, &rope);
    dp_block_head(b, DP_NORM_RMS, 0);
}

static const char *const types[] = {"qwen3_moe", NULL};
const dp_arch dp_arch_qwen3_moe = {"qwen3_moe", types, build};
