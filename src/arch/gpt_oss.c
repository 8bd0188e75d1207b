/* gpt_oss.c: GPT-OSS: attention sinks, alternating windows, YaRN without rounding, MXFP4 experts with biases and a clamped
 * SwiGLU, softmax over the chosen experts only. */
#include "arch/families.h"

static void attention(dp_builder *b, const void *rope) {
    if (!dp_build_has(b, "model.layers.%d.self_attn.sinks"))
        dp_build_fail(b, DP_E_FORMAT, "tensor model.layers.%d.self_attn.sinks is missing", (int)b->layer);
    dp_block_attention(b, &(dp_attention){.rope = *(const dp_rope *)rope, .window = dp_layer_window(b, b->layer % 2 == 0), .qkv_bias = true,
                                          .out_bias = true});
}

static void ffn(dp_builder *b) {
    dp_block_moe(b, &(dp_moe){.prefix = "model.layers.%d.mlp",
                              .router = "model.layers.%d.mlp.router",
                              .gate = "gate_proj",
                              .up = "up_proj",
                              .down = "down_proj",
                              .intermediate = b->shape.intermediate,
                              .act = DP_ACT_SWIGLU_OAI,
                              .limit = dp_build_float(b, "swiglu_limit", 7),
                              .route = DP_ROUTE_TOPK_SOFTMAX,
                              .normalise = true,
                              .scale = 1});
}

static void build(dp_builder *b) {
    dp_rope rope = dp_build_rope(b, &(dp_rope_desc){.name = "rope", .dim = b->shape.head_dim, .theta = 150000, .exact_yarn = true});
    dp_block_stack(b, &(dp_stack){.norm = DP_NORM_RMS, .attention = attention, .ffn = ffn, .user = &rope});
}

static const char *const types[] = {"gpt_oss", NULL};
const dp_arch dp_arch_gpt_oss = {"gpt_oss", types, build};
