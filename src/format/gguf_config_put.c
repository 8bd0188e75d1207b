/* gguf_config_put.c: from config.json to GGUF metadata, the table of gguf_config.c read backwards. */
#include "format/gguf_config.h"

#include <math.h>
#include <stdio.h>

enum { SIZE_MOST = 65536 };

typedef struct writing {
    const dp_json *config;
    const char *architecture;
    dp_gguf_arch arch;
    dp_gguf_kvs *kvs;
} writing;

static const char *full_key(const writing *w, const char *key, char *out, size_t size) {
    snprintf(out, size, "%s.%s", w->architecture, key);
    return out;
}

static dp_status put_u32(writing *w, const char *key, int64_t value) {
    char text[128];
    full_key(w, key, text, sizeof text);
    if (value < 0 || value > UINT32_MAX)
        return dp_fail(DP_E_FORMAT, "config: %lld does not fit %s", (long long)value, text);
    dp_gguf_put_u32(w->kvs, text, (uint32_t)value);
    return DP_OK;
}

static void put_f32(writing *w, const char *key, double value) {
    char text[128];
    dp_gguf_put_f32(w->kvs, full_key(w, key, text, sizeof text), (float)value);
}

/* A member in the old spelling, or where transformers 5 moved it. */
static const dp_json *member_of(const dp_json *config, const char *member) {
    const dp_json *value = dp_json_find(config, member), *parameters = dp_json_find(config, "rope_parameters");
    if (value || !parameters) return value;
    const dp_json *full = dp_json_find(parameters, "full_attention"),
                  *local = dp_json_find(parameters, "sliding_attention");
    if (strcmp(member, "rope_theta") == 0) return dp_json_find(full ? full : parameters, "rope_theta");
    return strcmp(member, "rope_local_base_freq") == 0 ? dp_json_find(local, "rope_theta") : NULL;
}

static dp_status put_row(writing *w, const dp_config_row *row) {
    char key[128];
    const dp_json *value = member_of(w->config, row->member);
    if (!value && strcmp(row->member, "num_experts") == 0) value = member_of(w->config, "num_local_experts");
    if (!value) return DP_OK;
    dp_json_type expected = row->kind == DP_CONFIG_BOOL ? DP_JSON_BOOL : DP_JSON_NUMBER;
    if (value->type != expected)
        return dp_fail(DP_E_FORMAT, "config: \"%s\": unexpected %s", row->member, dp_json_type_name(value));
    if (row->kind == DP_CONFIG_U32) return put_u32(w, row->key, value->integer);
    if (row->kind == DP_CONFIG_F32)
        put_f32(w, row->key, value->number);
    else
        dp_gguf_put_bool(w->kvs, full_key(w, row->key, key, sizeof key), value->boolean);
    return DP_OK;
}

/* Qwen configs name a window that they do not use. */
static dp_status put_rows(writing *w) {
    bool window = true;
    TRY(dp_json_get_bool(w->config, "use_sliding_window", &window));
    for (size_t i = 0; i < dp_config_row_count; i++) {
        const dp_config_row *row = &dp_config_rows[i];
        bool wanted = (row->archs & (int)w->arch) && (window || strcmp(row->member, "sliding_window") != 0);
        if (wanted) TRY(put_row(w, row));
    }
    return DP_OK;
}

static dp_status put_head_sizes(writing *w) {
    int64_t hidden = 0, heads = 0, dim = 0, vocab = 0;
    TRY(dp_json_get_int(w->config, "hidden_size", &hidden));
    TRY(dp_json_get_int(w->config, "num_attention_heads", &heads));
    TRY(dp_json_get_int(w->config, "vocab_size", &vocab));
    TRY(dp_json_get_int(w->config, "head_dim", &dim));
    if (vocab > 0) TRY(put_u32(w, "vocab_size", vocab));
    if (w->arch == DP_GGUF_ARCH_DEEPSEEK2) return DP_OK;
    if (dim > 0)
        TRY(put_u32(w, "attention.value_length", dim));
    else if (heads > 0)
        dim = hidden / heads;
    return w->arch == DP_GGUF_ARCH_GEMMA3 ? DP_OK : put_u32(w, "rope.dimension_count", dim);
}

/* What config.json and GGUF take for granted differs. */
static void put_shares_norm(writing *w) {
    char key[128];
    bool deepseek = w->arch == DP_GGUF_ARCH_DEEPSEEK2;
    if ((!deepseek && w->arch != DP_GGUF_ARCH_QWEN3MOE) || dp_json_find(w->config, "norm_topk_prob")) return;
    full_key(w, "expert_weights_norm", key, sizeof key);
    dp_gguf_put_bool(w->kvs, key, deepseek);
}

dp_status dp_mla_sizes_of(const dp_json *config, dp_mla_sizes *out) {
    dp_mla_sizes s = {.nope = 128, .rope = 64, .value = 128, .lora = 512};
    const struct {
        const char *key;
        int64_t *value;
    } keys[] = {{"num_attention_heads", &s.heads}, {"qk_nope_head_dim", &s.nope}, {"qk_rope_head_dim", &s.rope},
                {"v_head_dim", &s.value}, {"kv_lora_rank", &s.lora}};
    for (size_t i = 0; i < DP_COUNT(keys); i++) {
        TRY(dp_json_get_int(config, keys[i].key, keys[i].value));
        if (*keys[i].value < 1 || *keys[i].value > SIZE_MOST)
            return dp_fail(DP_E_FORMAT, "config: \"%s\": expected 1 to %d, found %lld", keys[i].key, SIZE_MOST,
                           (long long)*keys[i].value);
    }
    *out = s;
    return DP_OK;
}

/* With attn_k_b and attn_v_b llama.cpp caches the latent: one head, whose lengths the plain keys give; those of the full
 * heads have keys of their own. With attn_kv_b it has full heads only. */
static dp_status put_deepseek(writing *w, bool apart) {
    dp_mla_sizes s;
    dp_str scoring = DP_LIT("sigmoid");
    TRY(dp_mla_sizes_of(w->config, &s));
    TRY(dp_json_get_str(w->config, "scoring_func", &scoring));
    TRY(put_u32(w, "attention.head_count_kv", apart ? 1 : s.heads));
    TRY(put_u32(w, "attention.key_length", (apart ? s.lora : s.nope) + s.rope));
    TRY(put_u32(w, "attention.value_length", apart ? s.lora : s.value));
    if (apart) TRY(put_u32(w, "attention.key_length_mla", s.nope + s.rope));
    if (apart) TRY(put_u32(w, "attention.value_length_mla", s.value));
    return put_u32(w, "expert_gating_func", dp_str_is(scoring, "softmax") ? 1 : 2);
}

/* Of each period the last layer sees everything; of llama.cpp's families two have one, and in the others all layers are
 * alike. Anything else is written out. */
static dp_status put_pattern(writing *w) {
    const dp_json *kinds = dp_json_find(w->config, "layer_types");
    size_t period = w->arch == DP_GGUF_ARCH_GEMMA3 ? 6 : w->arch == DP_GGUF_ARCH_GPT_OSS ? 2 : 0, count = 0;
    int64_t pattern = 6;
    uint8_t sliding[512];
    char key[128];
    bool usual = true, window = true;
    TRY(dp_json_get_bool(w->config, "use_sliding_window", &window));
    if (w->arch == DP_GGUF_ARCH_GEMMA3) TRY(dp_json_get_int(w->config, "sliding_window_pattern", &pattern));
    for (const dp_json *m = kinds && window ? kinds->child : NULL; m && count < sizeof sliding; m = m->next) {
        sliding[count] = m->type == DP_JSON_STRING && dp_str_is(m->string, "sliding_attention");
        usual &= sliding[count] == (period ? (count + 1) % period != 0 : sliding[0]);
        count++;
    }
    full_key(w, "attention.sliding_window_pattern", key, sizeof key);
    if (!usual) dp_gguf_put_array(w->kvs, key, DP_GGUF_BOOL, sliding, count);
    return usual && pattern != 6 ? put_u32(w, "attention.sliding_window_pattern", pattern) : DP_OK;
}

/* llama.cpp assumes a scale of 1 / sqrt(head_dim) and, with 62 layers, 1 / sqrt(hidden / heads); anything else is
 * written out. */
static dp_status put_gemma3(writing *w) {
    int64_t dim = 256;
    double scalar = 0;
    TRY(dp_json_get_int(w->config, "head_dim", &dim));
    TRY(dp_json_get_double(w->config, "query_pre_attn_scalar", &scalar));
    const dp_json *layers = dp_json_find(w->config, "num_hidden_layers");
    bool large = layers && layers->integer == 62;
    if (scalar > 0 && scalar != (double)dim && !large) put_f32(w, "attention.scale", 1 / sqrt(scalar));
    return DP_OK;
}

dp_status dp_gguf_config_put(const dp_json *config, bool mla_apart, dp_gguf_kvs *kvs) {
    dp_str type = {"", 0};
    TRY(dp_json_get_str(config, "model_type", &type));
    const char *architecture = dp_gguf_arch_for_model_type(type);
    if (!architecture)
        return dp_fail(DP_E_UNSUPPORTED, "model_type \"" DP_STR_FMT "\" has no GGUF architecture", DP_STR_ARG(type));
    writing w = {config, architecture, dp_gguf_arch_of(dp_str_of(architecture)), kvs};
    dp_gguf_put_str(kvs, "general.architecture", dp_str_of(architecture));
    TRY(put_rows(&w));
    TRY(put_head_sizes(&w));
    put_shares_norm(&w);
    if (w.arch == DP_GGUF_ARCH_DEEPSEEK2) TRY(put_deepseek(&w, mla_apart));
    if (w.arch == DP_GGUF_ARCH_GEMMA3) TRY(put_gemma3(&w));
    TRY(put_pattern(&w));
    TRY(dp_gguf_rope_put(config, architecture, kvs));
    return kvs->bytes.failed ? dp_no_memory(kvs->bytes.size) : DP_OK;
}
