/* gguf_config.c: from GGUF metadata to the members of config.json. What both sides merely spell differently stands in
 * one table, which gguf_config_put.c reads backwards; the rest is a function per theme. Facts that llama.cpp hard-codes
 * per architecture and leaves out of the file (Gemma's window pattern, DeepSeek's groups) are filled in here. */
#include "format/gguf_config.h"

#include "base/json_write.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    LLAMA = DP_GGUF_ARCH_LLAMA,
    GEMMA3 = DP_GGUF_ARCH_GEMMA3,
    QWEN3MOE = DP_GGUF_ARCH_QWEN3MOE,
    PHIMOE = DP_GGUF_ARCH_PHIMOE,
    OSS = DP_GGUF_ARCH_GPT_OSS,
    DEEPSEEK = DP_GGUF_ARCH_DEEPSEEK2,
    ANY = 511
};

/* Of two rows with one member, the first key that the file has counts. */
const dp_config_row dp_config_rows[] = {
    {ANY, DP_CONFIG_U32, "block_count", "num_hidden_layers"},
    {ANY, DP_CONFIG_U32, "context_length", "max_position_embeddings"},
    {ANY, DP_CONFIG_U32, "embedding_length", "hidden_size"},
    {OSS, DP_CONFIG_U32, "expert_feed_forward_length", "intermediate_size"},
    {ANY, DP_CONFIG_U32, "feed_forward_length", "intermediate_size"},
    {ANY, DP_CONFIG_U32, "attention.head_count", "num_attention_heads"},
    {ANY & ~DEEPSEEK, DP_CONFIG_U32, "attention.head_count_kv", "num_key_value_heads"},
    {ANY & ~DEEPSEEK, DP_CONFIG_U32, "attention.key_length", "head_dim"},
    {ANY, DP_CONFIG_F32, "attention.layer_norm_rms_epsilon", "rms_norm_eps"},
    {ANY, DP_CONFIG_F32, "rope.freq_base", "rope_theta"},
    {ANY, DP_CONFIG_U32, "attention.sliding_window", "sliding_window"},
    {GEMMA3, DP_CONFIG_F32, "rope.freq_base_swa", "rope_local_base_freq"},
    {GEMMA3, DP_CONFIG_F32, "attn_logit_softcapping", "attn_logit_softcapping"},
    {GEMMA3, DP_CONFIG_F32, "final_logit_softcapping", "final_logit_softcapping"},
    {LLAMA | PHIMOE | OSS, DP_CONFIG_U32, "expert_count", "num_local_experts"},
    {QWEN3MOE, DP_CONFIG_U32, "expert_count", "num_experts"},
    {DEEPSEEK, DP_CONFIG_U32, "expert_count", "n_routed_experts"},
    {LLAMA | PHIMOE | OSS | QWEN3MOE | DEEPSEEK, DP_CONFIG_U32, "expert_used_count", "num_experts_per_tok"},
    {QWEN3MOE | DEEPSEEK, DP_CONFIG_U32, "expert_feed_forward_length", "moe_intermediate_size"},
    {DEEPSEEK, DP_CONFIG_U32, "expert_shared_count", "n_shared_experts"},
    {DEEPSEEK, DP_CONFIG_F32, "expert_weights_scale", "routed_scaling_factor"},
    {DEEPSEEK | QWEN3MOE, DP_CONFIG_BOOL, "expert_weights_norm", "norm_topk_prob"},
    {DEEPSEEK, DP_CONFIG_U32, "expert_group_count", "n_group"},
    {DEEPSEEK, DP_CONFIG_U32, "expert_group_used_count", "topk_group"},
    {DEEPSEEK, DP_CONFIG_U32, "leading_dense_block_count", "first_k_dense_replace"},
    {DEEPSEEK, DP_CONFIG_U32, "attention.q_lora_rank", "q_lora_rank"},
    {DEEPSEEK, DP_CONFIG_U32, "attention.kv_lora_rank", "kv_lora_rank"},
    {DEEPSEEK, DP_CONFIG_U32, "rope.dimension_count", "qk_rope_head_dim"},
};
const size_t dp_config_row_count = DP_COUNT(dp_config_rows);

enum { LAYERS_MAX = 4096 };

typedef struct reading {
    dp_checkpoint *c;
    const dp_gguf *g;
    char architecture[32];
    dp_gguf_arch arch;
    dp_buf json; /* "{" and members so far */
} reading;

/* ---- writing members ---- */

static void put_int(reading *r, const char *member, int64_t value) { dp_json_add_int(&r->json, member, value); }
static void put_bool(reading *r, const char *member, bool value) { dp_json_add_bool(&r->json, member, value); }
static void put_text(reading *r, const char *member, const char *value) { dp_json_add_text(&r->json, member, value); }

/* Metadata hold f32: the shortest decimal that is the same f32 restores what the publisher wrote. */
static void put_float(reading *r, const char *member, double value) {
    char text[32];
    for (int precision = 1; precision <= 9; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, value);
        if ((float)strtod(text, NULL) == (float)value) break;
    }
    dp_json_add_double(&r->json, member, strtod(text, NULL));
}

/* ---- reading keys ---- */

static const char *full_key(const reading *r, const char *key, char *out, size_t size) {
    snprintf(out, size, "%s.%s", r->architecture, key);
    return out;
}

static bool has_key(const reading *r, const char *key) {
    char text[128];
    return dp_gguf_find(r->g, full_key(r, key, text, sizeof text)) != NULL;
}

static dp_status get_int(const reading *r, const char *key, int64_t *out) {
    char text[128];
    return dp_gguf_get_int(r->g, full_key(r, key, text, sizeof text), out);
}

dp_status dp_gguf_arch_int(const dp_gguf *g, const char *key, int64_t *out) {
    char text[128];
    dp_str architecture = {"", 0};
    TRY(dp_gguf_get_str(g, "general.architecture", &architecture));
    snprintf(text, sizeof text, DP_STR_FMT ".%s", DP_STR_ARG(architecture), key);
    const dp_gguf_kv *kv = dp_gguf_find(g, text);
    if (!kv || kv->type != DP_GGUF_ARRAY) return dp_gguf_get_int(g, text, out);
    int64_t first = 0, item;
    for (uint64_t i = 0; i < kv->count; i++) {
        if (!dp_gguf_int_item(kv, i, &item)) return dp_fail(DP_E_FORMAT, "metadata \"%s\": expected integers", text);
        if (i == 0) first = item;
        if (item != first)
            return dp_fail(DP_E_UNSUPPORTED, "metadata \"%s\": layers differ (%lld and %lld)", text, (long long)first,
                           (long long)item);
    }
    *out = first;
    return DP_OK;
}

/* Layers that predict tokens further ahead are counted among the blocks, behind those of the model. */
static dp_status leave_out_predictors(const reading *r, const dp_config_row *row, int64_t *layers) {
    int64_t predictors = 0;
    if (strcmp(row->key, "block_count") != 0) return DP_OK;
    TRY(get_int(r, "nextn_predict_layers", &predictors));
    if (predictors < 0 || predictors > *layers)
        return dp_fail(DP_E_FORMAT, "metadata \"%s.nextn_predict_layers\": %lld of %lld layers", r->architecture,
                       (long long)predictors, (long long)*layers);
    *layers -= predictors;
    return DP_OK;
}

static dp_status read_row(reading *r, const dp_config_row *row) {
    char key[128];
    full_key(r, row->key, key, sizeof key);
    int64_t integer = 0;
    double number = 0;
    bool flag = false;
    switch (row->kind) {
    case DP_CONFIG_U32:
        TRY(dp_gguf_arch_int(r->g, row->key, &integer));
        TRY(leave_out_predictors(r, row, &integer));
        put_int(r, row->member, integer);
        break;
    case DP_CONFIG_F32:
        TRY(dp_gguf_get_double(r->g, key, &number));
        put_float(r, row->member, number);
        break;
    case DP_CONFIG_BOOL:
        TRY(dp_gguf_get_bool(r->g, key, &flag));
        put_bool(r, row->member, flag);
        break;
    }
    return DP_OK;
}

static dp_status read_rows(reading *r) {
    const char *last = "";
    for (size_t i = 0; i < dp_config_row_count; i++) {
        const dp_config_row *row = &dp_config_rows[i];
        if (!(row->archs & (int)r->arch) || !has_key(r, row->key) || strcmp(row->member, last) == 0) continue;
        TRY(read_row(r, row));
        last = row->member;
    }
    return DP_OK;
}

/* ---- themes ---- */

static bool has_tensor(const reading *r, const char *name) { return dp_checkpoint_find(r->c, name) != NULL; }

static dp_status read_model_type(reading *r) {
    static const struct {
        dp_gguf_arch arch;
        const char *type, *class_name;
    } types[] = {
        {DP_GGUF_ARCH_GEMMA3, "gemma3_text", "Gemma3ForCausalLM"},
        {DP_GGUF_ARCH_QWEN2, "qwen2", "Qwen2ForCausalLM"},
        {DP_GGUF_ARCH_QWEN3, "qwen3", "Qwen3ForCausalLM"},
        {DP_GGUF_ARCH_QWEN3MOE, "qwen3_moe", "Qwen3MoeForCausalLM"},
        {DP_GGUF_ARCH_PHIMOE, "phimoe", "PhimoeForCausalLM"},
        {DP_GGUF_ARCH_GPT_OSS, "gpt_oss", "GptOssForCausalLM"},
        {DP_GGUF_ARCH_DEEPSEEK2, "deepseek_v3", "DeepseekV3ForCausalLM"},
    };
    const char *type = r->architecture, *class_name = NULL;
    for (size_t i = 0; i < DP_COUNT(types); i++)
        if (types[i].arch == r->arch) type = types[i].type, class_name = types[i].class_name;
    if (r->arch == DP_GGUF_ARCH_LLAMA) {
        int64_t experts = 0;
        TRY(get_int(r, "expert_count", &experts));
        bool window = has_key(r, "attention.sliding_window");
        type = experts > 0 ? "mixtral" : window ? "mistral" : "llama";
        class_name = experts > 0 ? "MixtralForCausalLM" : window ? "MistralForCausalLM" : "LlamaForCausalLM";
    }
    put_text(r, "model_type", type);
    if (!class_name) return DP_OK;
    dp_json_open(&r->json, "architectures", '[');
    dp_json_add_text(&r->json, NULL, class_name);
    dp_json_close(&r->json, ']');
    return DP_OK;
}

/* The embedding's rows, which may be padded beyond the tokenizer's tokens. */
static dp_status read_vocabulary(reading *r) {
    int64_t size = 0, bos = -1, eos = -1;
    const dp_tensor *embedding = dp_checkpoint_find(r->c, "model.embed_tokens.weight");
    const dp_gguf_kv *tokens = dp_gguf_find(r->g, "tokenizer.ggml.tokens");
    TRY(get_int(r, "vocab_size", &size));
    if (embedding && embedding->n_dims == 2)
        size = embedding->shape[0];
    else if (!size && tokens && tokens->type == DP_GGUF_ARRAY)
        size = (int64_t)tokens->count;
    if (size) put_int(r, "vocab_size", size);
    TRY(dp_gguf_get_int(r->g, "tokenizer.ggml.bos_token_id", &bos));
    TRY(dp_gguf_get_int(r->g, "tokenizer.ggml.eos_token_id", &eos));
    if (bos >= 0) put_int(r, "bos_token_id", bos);
    if (eos >= 0) put_int(r, "eos_token_id", eos);
    return DP_OK;
}

static void read_from_tensors(reading *r) {
    put_bool(r, "tie_word_embeddings", !has_tensor(r, "lm_head.weight"));
    put_bool(r, "attention_bias", has_tensor(r, "model.layers.0.self_attn.q_proj.bias"));
    put_bool(r, "mlp_bias", has_tensor(r, "model.layers.0.mlp.gate_proj.bias"));
    if (r->arch == DP_GGUF_ARCH_PHIMOE) put_bool(r, "lm_head_bias", has_tensor(r, "lm_head.bias"));
}

/* Which layers see a window only: a flag for each, or a period whose last layer sees everything (0: none does). */
static dp_status read_pattern(reading *r, int64_t period) {
    static const char name[] = "attention.sliding_window_pattern";
    char key[128];
    int64_t layers = 0, sliding = 0;
    const dp_gguf_kv *kinds = dp_gguf_find(r->g, full_key(r, name, key, sizeof key));
    bool each = kinds && kinds->type == DP_GGUF_ARRAY;
    TRY(get_int(r, "block_count", &layers));
    if (!each) TRY(get_int(r, name, &period));
    if (period < 0 || (each && kinds->count < (uint64_t)DP_MAX(layers, 0)))
        return dp_fail(DP_E_FORMAT, "metadata \"%s\": expected a period or flags for %lld layers, found %s%lld", key,
                       (long long)layers, each ? "flags for " : "", each ? (long long)kinds->count : (long long)period);
    if (r->arch == DP_GGUF_ARCH_GEMMA3 && !each && period > 0) {
        put_int(r, "sliding_window_pattern", period);
        return DP_OK;
    }
    dp_json_open(&r->json, "layer_types", '[');
    for (int64_t i = 0; i < DP_MIN(layers, LAYERS_MAX); i++) {
        if (each && !dp_gguf_int_item(kinds, (uint64_t)i, &sliding))
            return dp_fail(DP_E_FORMAT, "metadata \"%s\": expected flags", key);
        if (!each) sliding = period == 0 || i % period != period - 1;
        dp_json_add_text(&r->json, NULL, sliding ? "sliding_attention" : "full_attention");
    }
    dp_json_close(&r->json, ']');
    return DP_OK;
}

static dp_status read_gemma3(reading *r) {
    char key[64];
    double scale = 0;
    int64_t layers = 0, hidden = 0, heads = 0, head_dim = 0;
    put_text(r, "hidden_activation", "gelu_pytorch_tanh");
    if (!has_key(r, "rope.freq_base_swa")) put_float(r, "rope_local_base_freq", 10000);
    TRY(read_pattern(r, 6));
    TRY(get_int(r, "block_count", &layers));
    TRY(dp_gguf_arch_int(r->g, "embedding_length", &hidden));
    TRY(dp_gguf_arch_int(r->g, "attention.head_count", &heads));
    if (heads > 0) head_dim = hidden / heads;
    TRY(get_int(r, "attention.key_length", &head_dim));
    TRY(dp_gguf_get_double(r->g, full_key(r, "attention.scale", key, sizeof key), &scale));
    /* The 27B model alone (62 layers) scales by hidden / heads. */
    bool large = layers == 62 && heads > 0;
    put_float(r, "query_pre_attn_scalar",
              scale > 0 ? 1 / (scale * scale)
              : large   ? (double)hidden / (double)heads
                        : (double)head_dim);
    return DP_OK;
}

static dp_status read_deepseek(reading *r) {
    int64_t heads = 0, key = 0, value = 0, rope = 64, experts = 0, gating = 1; /* files of DeepSeek-V2 do not say */
    TRY(dp_gguf_arch_int(r->g, "attention.head_count", &heads));
    TRY(get_int(r, "attention.key_length", &key));
    TRY(get_int(r, "attention.value_length", &value));
    /* With attn_k_b / attn_v_b the plain lengths are those of the compressed cache. */
    TRY(get_int(r, "attention.key_length_mla", &key));
    TRY(get_int(r, "attention.value_length_mla", &value));
    TRY(get_int(r, "rope.dimension_count", &rope));
    TRY(get_int(r, "expert_count", &experts));
    TRY(get_int(r, "expert_gating_func", &gating));
    put_int(r, "num_key_value_heads", heads);
    put_int(r, "qk_nope_head_dim", key - rope);
    put_int(r, "v_head_dim", value);
    put_bool(r, "rope_interleave", true);
    put_text(r, "scoring_func", gating == 1 ? "softmax" : "sigmoid");
    put_text(r, "topk_method", gating == 1 ? "greedy" : "noaux_tc");
    if (!has_key(r, "expert_weights_norm")) put_bool(r, "norm_topk_prob", false);
    /* Files made before groups were stored: DeepSeek-V3 has 256 experts in 8 groups, its relatives have one group. */
    if (!has_key(r, "expert_group_count")) {
        put_int(r, "n_group", experts == 256 ? 8 : 1);
        put_int(r, "topk_group", experts == 256 ? 4 : 1);
    }
    return DP_OK;
}

static dp_status read_gpt_oss(reading *r) {
    put_float(r, "swiglu_limit", 7);
    return read_pattern(r, 2);
}

static dp_status read_family(reading *r) {
    if (r->arch == DP_GGUF_ARCH_GEMMA3) return read_gemma3(r);
    put_text(r, "hidden_act", "silu");
    if (r->arch == DP_GGUF_ARCH_DEEPSEEK2) return read_deepseek(r);
    if (r->arch == DP_GGUF_ARCH_GPT_OSS) return read_gpt_oss(r);
    if (r->arch == DP_GGUF_ARCH_QWEN3MOE && !has_key(r, "expert_weights_norm")) put_bool(r, "norm_topk_prob", true);
    return has_key(r, "attention.sliding_window_pattern") ? read_pattern(r, 0) : DP_OK;
}

/* What a file says by leaving it out, and what it must not say. */
static dp_status read_rope_basics(reading *r) {
    int64_t hidden = 0, heads = 0, head_dim = 0;
    if (!has_key(r, "rope.freq_base")) put_float(r, "rope_theta", 10000);
    if (r->arch == DP_GGUF_ARCH_DEEPSEEK2) return DP_OK;
    TRY(dp_gguf_arch_int(r->g, "embedding_length", &hidden));
    TRY(dp_gguf_arch_int(r->g, "attention.head_count", &heads));
    if (heads > 0) head_dim = hidden / heads;
    TRY(get_int(r, "attention.key_length", &head_dim));
    int64_t turned = head_dim;
    TRY(get_int(r, "rope.dimension_count", &turned));
    if (turned == head_dim) return DP_OK;
    return dp_fail(DP_E_UNSUPPORTED, "metadata \"%s.rope.dimension_count\": RoPE over %lld of a head's %lld columns",
                   r->architecture, (long long)turned, (long long)head_dim);
}

/* ---- whole ---- */

static dp_status read_all(reading *r) {
    dp_json_open(&r->json, NULL, '{');
    TRY(read_model_type(r));
    TRY(read_rows(r));
    TRY(read_vocabulary(r));
    read_from_tensors(r);
    TRY(read_family(r));
    TRY(read_rope_basics(r));
    TRY(dp_gguf_rope_read(r->c, r->g, r->architecture, &r->json));
    dp_json_close(&r->json, '}');
    if (r->json.failed) return dp_no_memory(r->json.size);
    char *text = dp_arena_copy(&r->c->arena, r->json.data, r->json.size);
    return text ? dp_json_parse(&r->c->arena, (dp_str){text, r->json.size}, &r->c->config) : dp_no_memory(r->json.size);
}

dp_status dp_gguf_config_read(dp_checkpoint *c, const dp_gguf *g) {
    dp_str architecture = {"", 0};
    TRY(dp_gguf_get_str(g, "general.architecture", &architecture));
    reading r = {.c = c, .g = g, .arch = dp_gguf_arch_of(architecture)};
    if (!architecture.n || architecture.n >= sizeof r.architecture || memchr(architecture.p, 0, architecture.n))
        return dp_fail(DP_E_FORMAT, "metadata \"general.architecture\": expected a name, found \"" DP_STR_FMT "\"",
                       DP_STR_ARG(architecture));
    memcpy(r.architecture, architecture.p, architecture.n);
    dp_status status = read_all(&r);
    dp_buf_free(&r.json);
    return status;
}
