/* gguf_names.c: one table of name patterns, used in both directions.
 * In a pattern '#' stands for the layer number, '%' for the expert number (which the stacked GGUF tensor lacks, and
 * which the stacked Hugging Face spelling leaves out with its dot) and a final '*' for "weight" or "bias". */
#include "format/gguf_names.h"

enum {
    ALL = 511,
    SANDWICH = DP_GGUF_ARCH_GEMMA3, /* a norm before and behind attention and MLP */
    OSS = DP_GGUF_ARCH_GPT_OSS,
    MIXTRAL_STYLE = DP_GGUF_ARCH_LLAMA | DP_GGUF_ARCH_PHIMOE,
    QWEN_STYLE = ALL & ~(MIXTRAL_STYLE | OSS),
    DEEPSEEK = DP_GGUF_ARCH_DEEPSEEK2
};

typedef struct name_row {
    int archs;
    const char *gguf, *hf;
} name_row;

static const name_row rows[] = {
    {ALL, "token_embd.*", "model.embed_tokens.*"},
    {ALL, "output_norm.*", "model.norm.*"},
    {ALL, "output.*", "lm_head.*"},
    {ALL, "blk.#.attn_norm.*", "model.layers.#.input_layernorm.*"},
    {ALL, "blk.#.attn_q.*", "model.layers.#.self_attn.q_proj.*"},
    {ALL, "blk.#.attn_k.*", "model.layers.#.self_attn.k_proj.*"},
    {ALL, "blk.#.attn_v.*", "model.layers.#.self_attn.v_proj.*"},
    {ALL, "blk.#.attn_output.*", "model.layers.#.self_attn.o_proj.*"},
    {ALL, "blk.#.attn_q_norm.*", "model.layers.#.self_attn.q_norm.*"},
    {ALL, "blk.#.attn_k_norm.*", "model.layers.#.self_attn.k_norm.*"},
    {ALL & ~(SANDWICH | OSS), "blk.#.ffn_norm.*", "model.layers.#.post_attention_layernorm.*"},
    {SANDWICH, "blk.#.post_attention_norm.*", "model.layers.#.post_attention_layernorm.*"},
    {SANDWICH, "blk.#.ffn_norm.*", "model.layers.#.pre_feedforward_layernorm.*"},
    {SANDWICH, "blk.#.post_ffw_norm.*", "model.layers.#.post_feedforward_layernorm.*"},
    {OSS, "blk.#.post_attention_norm.*", "model.layers.#.post_attention_layernorm.*"},
    {OSS, "blk.#.attn_sinks.weight", "model.layers.#.self_attn.sinks"},
    {ALL, "blk.#.ffn_gate.*", "model.layers.#.mlp.gate_proj.*"},
    {ALL, "blk.#.ffn_up.*", "model.layers.#.mlp.up_proj.*"},
    {ALL, "blk.#.ffn_down.*", "model.layers.#.mlp.down_proj.*"},
    /* routers and experts */
    {MIXTRAL_STYLE, "blk.#.ffn_gate_inp.*", "model.layers.#.block_sparse_moe.gate.*"},
    {MIXTRAL_STYLE, "blk.#.ffn_gate_exps.*", "model.layers.#.block_sparse_moe.experts.%.w1.*"},
    {MIXTRAL_STYLE, "blk.#.ffn_down_exps.*", "model.layers.#.block_sparse_moe.experts.%.w2.*"},
    {MIXTRAL_STYLE, "blk.#.ffn_up_exps.*", "model.layers.#.block_sparse_moe.experts.%.w3.*"},
    {MIXTRAL_STYLE, "blk.#.ffn_gate.%.*",
     "model.layers.#.block_sparse_moe.experts.%.w1.*"}, /* before they were stacked */
    {MIXTRAL_STYLE, "blk.#.ffn_down.%.*", "model.layers.#.block_sparse_moe.experts.%.w2.*"},
    {MIXTRAL_STYLE, "blk.#.ffn_up.%.*", "model.layers.#.block_sparse_moe.experts.%.w3.*"},
    {OSS, "blk.#.ffn_gate_inp.*", "model.layers.#.mlp.router.*"},
    {QWEN_STYLE, "blk.#.ffn_gate_inp.*", "model.layers.#.mlp.gate.*"},
    {QWEN_STYLE | OSS, "blk.#.ffn_gate_exps.*", "model.layers.#.mlp.experts.%.gate_proj.*"},
    {QWEN_STYLE | OSS, "blk.#.ffn_up_exps.*", "model.layers.#.mlp.experts.%.up_proj.*"},
    {QWEN_STYLE | OSS, "blk.#.ffn_down_exps.*", "model.layers.#.mlp.experts.%.down_proj.*"},
    /* multi-head latent attention, shared experts */
    {DEEPSEEK, "blk.#.attn_q_a.*", "model.layers.#.self_attn.q_a_proj.*"},
    {DEEPSEEK, "blk.#.attn_q_b.*", "model.layers.#.self_attn.q_b_proj.*"},
    {DEEPSEEK, "blk.#.attn_q_a_norm.*", "model.layers.#.self_attn.q_a_layernorm.*"},
    {DEEPSEEK, "blk.#.attn_kv_a_mqa.*", "model.layers.#.self_attn.kv_a_proj_with_mqa.*"},
    {DEEPSEEK, "blk.#.attn_kv_a_norm.*", "model.layers.#.self_attn.kv_a_layernorm.*"},
    {DEEPSEEK, "blk.#.attn_kv_b.*", "model.layers.#.self_attn.kv_b_proj.*"},
    {DEEPSEEK, "blk.#.attn_k_b.*", "model.layers.#.self_attn.k_b_proj.*"},
    {DEEPSEEK, "blk.#.attn_v_b.*", "model.layers.#.self_attn.v_b_proj.*"},
    {DEEPSEEK, "blk.#.exp_probs_b.bias", "model.layers.#.mlp.gate.e_score_correction_bias"},
    {DEEPSEEK, "blk.#.ffn_gate_shexp.*", "model.layers.#.mlp.shared_experts.gate_proj.*"},
    {DEEPSEEK, "blk.#.ffn_up_shexp.*", "model.layers.#.mlp.shared_experts.up_proj.*"},
    {DEEPSEEK, "blk.#.ffn_down_shexp.*", "model.layers.#.mlp.shared_experts.down_proj.*"},
};

/* ---- architectures ---- */

static const struct {
    const char *model_type, *architecture;
    dp_gguf_arch arch;
} architectures[] = {
    {"llama", "llama", DP_GGUF_ARCH_LLAMA},
    {"mistral", "llama", DP_GGUF_ARCH_LLAMA},
    {"mixtral", "llama", DP_GGUF_ARCH_LLAMA},
    {"gemma3_text", "gemma3", DP_GGUF_ARCH_GEMMA3},
    {"gemma3", "gemma3", DP_GGUF_ARCH_GEMMA3},
    {"qwen2", "qwen2", DP_GGUF_ARCH_QWEN2},
    {"qwen3", "qwen3", DP_GGUF_ARCH_QWEN3},
    {"qwen3_moe", "qwen3moe", DP_GGUF_ARCH_QWEN3MOE},
    {"phimoe", "phimoe", DP_GGUF_ARCH_PHIMOE},
    {"gpt_oss", "gpt-oss", DP_GGUF_ARCH_GPT_OSS},
    {"deepseek_v3", "deepseek2", DP_GGUF_ARCH_DEEPSEEK2},
    {"deepseek_v2", "deepseek2", DP_GGUF_ARCH_DEEPSEEK2},
    {"kimi_k2", "deepseek2", DP_GGUF_ARCH_DEEPSEEK2},
};

dp_gguf_arch dp_gguf_arch_of(dp_str architecture) {
    for (size_t i = 0; i < DP_COUNT(architectures); i++)
        if (dp_str_is(architecture, architectures[i].architecture)) return architectures[i].arch;
    return DP_GGUF_ARCH_OTHER;
}

const char *dp_gguf_arch_for_model_type(dp_str model_type) {
    for (size_t i = 0; i < DP_COUNT(architectures); i++)
        if (dp_str_is(model_type, architectures[i].model_type)) return architectures[i].architecture;
    return NULL;
}

/* ---- matching ---- */

/* What the placeholders of a pattern matched. */
typedef struct match {
    dp_str layer, expert, suffix;
} match;

static dp_str take_digits(dp_str *s) {
    size_t n = 0;
    while (n < s->n && s->p[n] >= '0' && s->p[n] <= '9') n++;
    dp_str digits = {s->p, n};
    *s = (dp_str){s->p + n, s->n - n};
    return digits;
}

static bool matches(const char *pattern, dp_str s, match *m) {
    *m = (match){{NULL, 0}, {NULL, 0}, {NULL, 0}};
    for (const char *p = pattern; *p; p++) {
        if (*p == '#') {
            m->layer = take_digits(&s);
            if (!m->layer.n || m->layer.n > 6) return false;
        } else if (*p == '%') {
            m->expert = take_digits(&s);
            if (m->expert.n > 6) return false;
            if (!m->expert.n) p++; /* the stacked spelling lacks the dot too */
        } else if (*p == '*') {
            m->suffix = s;
            return dp_str_is(s, "weight") || dp_str_is(s, "bias");
        } else {
            if (!s.n || s.p[0] != *p) return false;
            s = (dp_str){s.p + 1, s.n - 1};
        }
    }
    return s.n == 0;
}

static void expand(const char *pattern, const match *m, dp_buf *out) {
    for (const char *p = pattern; *p; p++) {
        if (*p == '#')
            dp_buf_append(out, m->layer.p, m->layer.n);
        else if (*p == '*')
            dp_buf_append(out, m->suffix.p, m->suffix.n);
        else if (*p == '%' && m->expert.n)
            dp_buf_append(out, m->expert.p, m->expert.n);
        else if (*p == '%')
            p++;
        else
            dp_buf_char(out, *p);
    }
}

bool dp_gguf_name_to_hf(dp_gguf_arch arch, dp_str gguf, dp_buf *out) {
    match m;
    for (size_t i = 0; i < DP_COUNT(rows); i++) {
        if (!(rows[i].archs & (int)arch) || !matches(rows[i].gguf, gguf, &m)) continue;
        expand(rows[i].hf, &m, out);
        return true;
    }
    dp_buf_append(out, gguf.p, gguf.n);
    return false;
}

bool dp_gguf_name_from_hf(dp_gguf_arch arch, dp_str hf, dp_buf *out, int64_t *expert) {
    match m;
    *expert = -1;
    for (size_t i = 0; i < DP_COUNT(rows); i++) {
        if (!(rows[i].archs & (int)arch) || !matches(rows[i].hf, hf, &m)) continue;
        expand(rows[i].gguf, &m, out);
        for (size_t d = 0; d < m.expert.n; d++) *expert = (d ? *expert : 0) * 10 + (m.expert.p[d] - '0');
        return true;
    }
    static const char *const same[] = {"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"};
    for (size_t i = 0; i < DP_COUNT(same); i++) {
        if (!dp_str_is(hf, same[i])) continue;
        dp_buf_append(out, hf.p, hf.n);
        return true;
    }
    return false;
}
