/* qwen.c: Qwen 2 and 2.5 (biases on q, k, v), Qwen 3 (QK norm instead) and Qwen3-MoE (most layers route to experts, some may
 * stay dense). The window is off unless the config asks for it. */
#include "arch/families.h"

typedef struct qwen {
    dp_rope rope;
    bool biases; /* on q, k and v; else q and k are normed per head */
    bool sparse;
} qwen;

/* Qwen3-MoE slides in every layer, whatever max_window_layers says. */
static bool slides(dp_builder *b, const qwen *q) {
    return dp_build_bool(b, "use_sliding_window", false) && (q->sparse || b->layer >= dp_build_int(b, "max_window_layers", 0));
}

static void attention(dp_builder *b, const void *user) {
    const qwen *q = user;
    dp_block_attention(b, &(dp_attention){.rope = q->rope,
                                          .window = dp_layer_window(b, slides(b, q)),
                                          .qkv_bias = q->biases,
                                          .qk_norm = !q->biases});
}

/* Listed in mlp_only_layers, or left out by decoder_sparse_step. */
static bool is_dense(dp_builder *b) {
    const dp_json *only = dp_json_find(b->config, "mlp_only_layers");
    for (const dp_json *v = only && only->type == DP_JSON_ARRAY ? only->child : NULL; v; v = v->next)
        if (v->type == DP_JSON_NUMBER && v->integer == b->layer) return true;
    int32_t step = dp_build_int(b, "decoder_sparse_step", 1);
    return b->shape.experts == 0 || step < 1 || (b->layer + 1) % step != 0;
}

static void dense(dp_builder *b) { dp_block_ffn(b, "model.layers.%d.mlp", DP_ACT_SILU, b->shape.intermediate); }

static void sparse(dp_builder *b) {
    if (is_dense(b)) dense(b);
    else
        dp_block_moe(b, &(dp_moe){.prefix = "model.layers.%d.mlp", .router = "model.layers.%d.mlp.gate", .gate = "gate_proj",
                                  .up = "up_proj", .down = "down_proj", .intermediate = dp_build_int(b, "moe_intermediate_size", 0),
                                  .act = DP_ACT_SILU, .route = DP_ROUTE_SOFTMAX,
                                  .normalise = dp_build_bool(b, "norm_topk_prob", false), .scale = 1});
}

static void build(dp_builder *b) {
    dp_str type = {0};
    if (dp_json_get_str(b->config, "model_type", &type) != DP_OK) return;
    qwen q = {dp_build_rope(b, &(dp_rope_desc){.name = "rope", .dim = b->shape.head_dim, .theta = 1e6f}), dp_str_is(type, "qwen2"),
              dp_str_is(type, "qwen3_moe")};
    dp_block_stack(b, &(dp_stack){.norm = DP_NORM_RMS, .attention = attention, .ffn = q.sparse ? sparse : dense, .user = &q});
}

static const char *const types[] = {"qwen2", "qwen3", "qwen3_moe", NULL};
const dp_arch dp_arch_qwen = {"qwen", types, build};
