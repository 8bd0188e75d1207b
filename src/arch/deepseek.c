/* deepseek.c: DeepSeek-V3 (arXiv 2412.19437) and Kimi K2: multi-head latent attention (MLA, arXiv 2405.04434) over a
 * compressed KV cache, sigmoid routing in groups with a correction bias, shared experts, dense first layers.
 *
 * MLA is run absorbed: instead of expanding the cached latent c [lora] to keys and values of every head, the query is
 * multiplied by W_uk (q_nope^T W_uk c = (W_uk^T q_nope)^T c) and the attention's output by W_uv. The cache then holds
 * lora + rope numbers a position, and attention is one KV head whose values are the first `lora` columns of its keys. */
#include <math.h>

#include "arch/families.h"

typedef struct mla {
    int32_t q_lora, lora, nope, rope_dim, v;
    dp_rope rope;
    float scale;
} mla;

static dp_op *head_matmul(dp_builder *b, const char *label, int32_t dst, int32_t src, const char *weight, int32_t rows, int32_t cols) {
    dp_op *op = dp_build_op(b, DP_OP_HEAD_MATMUL, label, dst, src);
    op->weight = dp_build_matrix(b, weight, rows, cols);
    op->head_matmul.heads = b->shape.heads;
    return op;
}

/* q [heads][nope + rope] -> absorbed [heads][lora + rope], the first part. kv_b_proj holds, per head, nope rows of W_uk then
 * v rows of W_uv; newer GGUF files store the two apart, W_uk transposed. */
static void absorb_query(dp_builder *b, const mla *m, int32_t absorbed, int32_t q) {
    bool apart = dp_build_has(b, "model.layers.%d.self_attn.k_b_proj.weight");
    dp_op *op = apart ? head_matmul(b, "q_absorb", absorbed, q, "model.layers.%d.self_attn.k_b_proj.weight",
                                    b->shape.heads * m->lora, m->nope)
                      : head_matmul(b, "q_absorb", absorbed, q, "model.layers.%d.self_attn.kv_b_proj.weight",
                                    b->shape.heads * (m->nope + m->v), m->lora);
    op->head_matmul.src_stride = m->nope + m->rope_dim;
    op->head_matmul.dst_stride = m->lora + m->rope_dim;
    op->head_matmul.weight_stride = apart ? m->lora : m->nope + m->v;
    op->head_matmul.rows = apart ? m->lora : m->nope;
    op->head_matmul.transposed = !apart;
}

static void expand_values(dp_builder *b, const mla *m, int32_t out, int32_t latent) {
    bool apart = dp_build_has(b, "model.layers.%d.self_attn.v_b_proj.weight");
    dp_op *op = apart ? head_matmul(b, "v_expand", out, latent, "model.layers.%d.self_attn.v_b_proj.weight",
                                    b->shape.heads * m->v, m->lora)
                      : head_matmul(b, "v_expand", out, latent, "model.layers.%d.self_attn.kv_b_proj.weight",
                                    b->shape.heads * (m->nope + m->v), m->lora);
    op->head_matmul.src_stride = m->lora;
    op->head_matmul.dst_stride = m->v;
    op->head_matmul.weight_stride = apart ? m->v : m->nope + m->v;
    op->head_matmul.weight_offset = apart ? 0 : m->nope;
    op->head_matmul.rows = m->v;
}

/* The rotated columns stand behind each query head's `nope`, and come to stand behind its `lora`, as in the key. */
static void rotate_query(dp_builder *b, const mla *m, int32_t absorbed, int32_t q) {
    dp_rotation where = {.heads = b->shape.heads, .src_stride = m->nope + m->rope_dim, .src_offset = m->nope,
                         .dst_stride = m->lora + m->rope_dim, .dst_offset = m->lora};
    dp_block_rotate(b, &m->rope, "q_rope", absorbed, q, where);
}

static void rotate_key(dp_builder *b, const mla *m, int32_t kv) {
    int32_t key = m->lora + m->rope_dim;
    dp_rotation where = {.heads = 1, .src_stride = key, .src_offset = m->lora, .dst_stride = key, .dst_offset = m->lora};
    dp_block_rotate(b, &m->rope, "k_rope", kv, kv, where);
}

static int32_t query(dp_builder *b, const mla *m) {
    int32_t q = dp_build_slot(b, "q", b->shape.heads * (m->nope + m->rope_dim));
    if (m->q_lora > 0) {
        int32_t low = dp_build_slot(b, "q_latent", m->q_lora);
        dp_block_linear(b, "model.layers.%d.self_attn.q_a_proj", low, dp_slot_normed(b), false);
        dp_block_group_norm(b, "model.layers.%d.self_attn.q_a_layernorm.weight", "q_a_norm", low, 1, m->q_lora);
        dp_block_linear(b, "model.layers.%d.self_attn.q_b_proj", q, low, false);
    } else dp_block_linear(b, "model.layers.%d.self_attn.q_proj", q, dp_slot_normed(b), false);
    return q;
}

static void attention(dp_builder *b, const void *user) {
    const mla *m = user;
    int32_t heads = b->shape.heads, key = m->lora + m->rope_dim;
    int32_t absorbed = dp_build_slot(b, "q_absorbed", heads * key), kv_slot = dp_build_slot(b, "kv", key);
    int32_t latent = dp_build_slot(b, "attention_latent", heads * m->lora), out = dp_build_slot(b, "attention", heads * m->v);
    int32_t q = query(b, m);
    absorb_query(b, m, absorbed, q);
    rotate_query(b, m, absorbed, q);
    dp_block_linear(b, "model.layers.%d.self_attn.kv_a_proj_with_mqa", kv_slot, dp_slot_normed(b), false);
    dp_block_group_norm(b, "model.layers.%d.self_attn.kv_a_layernorm.weight", "kv_a_norm", kv_slot, 1, m->lora);
    rotate_key(b, m, kv_slot);
    int32_t kv = dp_block_kv(b, (dp_kv_spec){.heads = 1, .k_dim = key, .latent = m->lora}, kv_slot, -1);
    dp_op *op = dp_build_op(b, DP_OP_ATTENTION, "attention", latent, absorbed);
    op->attention.kv = kv;
    op->attention.heads = heads;
    op->attention.scale = m->scale;
    expand_values(b, m, out, latent);
    dp_block_linear(b, "model.layers.%d.self_attn.o_proj", dp_slot_branch(b), out, false);
}

static void experts(dp_builder *b) {
    dp_block_moe(b, &(dp_moe){.prefix = "model.layers.%d.mlp", .router = "model.layers.%d.mlp.gate", .gate = "gate_proj", .up = "up_proj",
                              .down = "down_proj", .correction = "model.layers.%d.mlp.gate.e_score_correction_bias",
                              .intermediate = dp_build_int(b, "moe_intermediate_size", 0), .act = DP_ACT_SILU,
                              .route = DP_ROUTE_SIGMOID_GROUPS, .groups = dp_build_int(b, "n_group", 1),
                              .top_groups = dp_build_int(b, "topk_group", 1), .normalise = dp_build_bool(b, "norm_topk_prob", true),
                              .scale = dp_build_float(b, "routed_scaling_factor", 1)});
    int32_t shared = dp_build_int(b, "n_shared_experts", 0);
    if (shared < 1) return;
    dp_block_add(b, "experts_residual");
    dp_block_shared_ffn(b, "model.layers.%d.mlp.shared_experts", DP_ACT_SILU, shared * dp_build_int(b, "moe_intermediate_size", 0));
}

static void ffn(dp_builder *b) {
    int32_t step = dp_build_int(b, "moe_layer_freq", 1);
    bool dense = b->layer < dp_build_int(b, "first_k_dense_replace", 0) || (step > 1 && b->layer % step != 0);
    if (dense) dp_block_ffn(b, "model.layers.%d.mlp", DP_ACT_SILU, b->shape.intermediate);
    else experts(b);
}

/* YaRN's length correction of the softmax: (0.1 mscale_all_dim ln(factor) + 1)^2. */
static float softmax_scale(dp_builder *b, const mla *m) {
    const dp_json *scaling = dp_json_find(b->config, "rope_parameters");
    if (!scaling) scaling = dp_json_find(b->config, "rope_scaling");
    double all = 0, correction = 1;
    if (b->status == DP_OK) b->status = dp_json_get_double(scaling, "mscale_all_dim", &all);
    if (all > 0 && m->rope.yarn_factor > 1) correction = 0.1 * all * log((double)m->rope.yarn_factor) + 1;
    return (float)(correction * correction / sqrt(m->nope + m->rope_dim));
}

static void build(dp_builder *b) {
    mla m = {.q_lora = dp_build_int(b, "q_lora_rank", 0),
             .lora = dp_build_int(b, "kv_lora_rank", 0),
             .nope = dp_build_int(b, "qk_nope_head_dim", 0),
             .rope_dim = dp_build_int(b, "qk_rope_head_dim", 0),
             .v = dp_build_int(b, "v_head_dim", 0)};
    if (m.lora < 1 || m.nope < 1 || m.rope_dim < 1 || m.v < 1 || m.q_lora < 0 || m.lora > 65536 || m.nope > 65536 ||
        m.rope_dim > 1024 || m.v > 65536) {
        dp_build_fail(
            b, DP_E_FORMAT,
            "config: kv_lora_rank %d, qk_nope_head_dim %d, qk_rope_head_dim %d, v_head_dim %d: all must be positive",
            (int)m.lora, (int)m.nope, (int)m.rope_dim, (int)m.v);
        return;
    }
    dp_str scoring = DP_LIT("sigmoid");
    if (b->status == DP_OK) b->status = dp_json_get_str(b->config, "scoring_func", &scoring);
    if (!dp_str_is(scoring, "sigmoid")) {
        dp_build_fail(b, DP_E_UNSUPPORTED, "config: scoring_func \"" DP_STR_FMT "\": only sigmoid routing, as DeepSeek-V3's, is supported",
                      DP_STR_ARG(scoring));
        return;
    }
    m.rope = dp_build_rope(b, &(dp_rope_desc){.name = "rope", .dim = m.rope_dim, .theta = 10000});
    m.rope.pairs = dp_build_bool(b, "rope_interleave", true);
    m.scale = softmax_scale(b, &m);
    dp_block_stack(b, &(dp_stack){.norm = DP_NORM_RMS, .attention = attention, .ffn = ffn, .user = &m});
}

static const char *const types[] = {"deepseek_v3", "kimi_k2", NULL};
const dp_arch dp_arch_deepseek = {"deepseek", types, build};
