/* gemma3.c: Gemma 3 (text): norms before and after each block with gain 1 + w, QK norm, scaled embeddings, GELU; five
 * sliding layers with a local RoPE base to each full one. */
#include <math.h>

#include "arch/families.h"

typedef struct ropes {
    dp_rope full, local;
} ropes;

static void layer(dp_builder *b, const ropes *r) {
    int32_t pattern = dp_build_int(b, "_sliding_window_pattern", dp_build_int(b, "sliding_window_pattern", 6));
    int32_t window = dp_layer_window(b, pattern > 0 && (b->layer + 1) % pattern != 0);
    dp_attention attention = {.rope = window ? r->local : r->full, .window = window, .qk_norm = true};
    attention.scale = 1 / sqrtf(dp_build_float(b, "query_pre_attn_scalar", (float)b->shape.head_dim));
    attention.softcap = dp_build_float(b, "attn_logit_softcapping", 0);
    int32_t normed = dp_slot_normed(b), hidden = dp_slot_hidden(b), branch = dp_slot_branch(b);
    dp_block_norm(b, DP_NORM_RMS, "model.layers.%d.input_layernorm", "input_norm", normed, hidden);
    dp_block_attention(b, &attention);
    dp_block_norm(b, DP_NORM_RMS, "model.layers.%d.post_attention_layernorm", "post_attention_norm", branch, branch);
    dp_block_add(b, "attention_residual");
    dp_block_norm(b, DP_NORM_RMS, "model.layers.%d.pre_feedforward_layernorm", "ffn_norm", normed, hidden);
    dp_block_ffn(b, "model.layers.%d.mlp", DP_ACT_GELU_TANH, b->shape.intermediate);
    dp_block_norm(b, DP_NORM_RMS, "model.layers.%d.post_feedforward_layernorm", "post_ffn_norm", branch, branch);
    dp_block_add(b, "residual");
}

static void build(dp_builder *b) {
    int32_t dim = b->shape.head_dim;
    ropes r = {
        dp_build_rope(b, &(dp_rope_desc){.name = "rope", .layer_type = "full_attention", .dim = dim, .theta = 1e6f}),
        dp_build_rope(b, &(dp_rope_desc){.name = "rope_local", .layer_type = "sliding_attention", .dim = dim, .theta = 1e4f,
                                         .theta_key = "rope_local_base_freq"}),
    };
    b->shape.tied = dp_build_bool(b, "tie_word_embeddings", true);
    b->norm_offset = b->checkpoint->norms_plus_one ? 0 : 1;
    dp_block_embed(b, sqrtf((float)b->shape.hidden));
    for (b->layer = 0; b->layer < b->shape.layers; b->layer++) layer(b, &r);
    dp_block_head(b, DP_NORM_RMS, dp_build_float(b, "final_logit_softcapping", 0));
}

static const char *const types[] = {"gemma3_text", "gemma3", NULL};
const dp_arch dp_arch_gemma3 = {"gemma3", types, build};
