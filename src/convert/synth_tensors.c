/* synth_tensors.c: names and shapes of all tensors of a model, from its config: what a published checkpoint of the
 * family contains, experts one by one. */
#include "convert/synth.h"

#include <stdio.h>

typedef struct shape {
    dp_source *source;
    size_t capacity;
    dp_str family;
    int64_t hidden, inter, layers, heads, kv_heads, head_dim, vocab;
    int64_t experts, expert_inter, shared, dense_layers;
    int64_t q_rank, kv_rank, nope, rope, value;
    bool tied, qkv_bias, out_bias, qk_norm, head_bias, norm_bias;
} shape;

static bool is(const shape *s, const char *family) { return dp_str_is(s->family, family); }

/* ---- adding ---- */

/* rows 0: a vector of cols. */
static dp_status add(shape *s, const char *name, int64_t rows, int64_t cols) {
    dp_source *source = s->source;
    if (source->count == s->capacity) {
        size_t room = s->capacity ? 2 * s->capacity : 256;
        dp_source_tensor *grown = dp_arena_calloc(&source->arena, room, sizeof *grown);
        if (!grown) return dp_no_memory(room * sizeof *grown);
        if (source->count) memcpy(grown, source->tensors, source->count * sizeof *grown);
        source->tensors = grown;
        s->capacity = room;
    }
    dp_source_tensor *t = &source->tensors[source->count];
    *t = (dp_source_tensor){.dtype = DP_BF16, .n_dims = rows ? 2 : 1, .grain = 1};
    t->shape[0] = rows ? rows : cols;
    if (rows) t->shape[1] = cols;
    t->elements = dp_shape_elements(t->shape, t->n_dims);
    t->name = dp_arena_copy(&source->arena, name, strlen(name));
    if (!t->name) return dp_no_memory(strlen(name));
    source->count++;
    return DP_OK;
}

typedef struct part {
    const char *name; /* behind "model.layers.L."; without ".weight" */
    int64_t rows, cols;
    bool bias;
} part;

static dp_status add_part(shape *s, int64_t layer, const part *p) {
    char name[160];
    snprintf(name, sizeof name, "model.layers.%lld.%s.weight", (long long)layer, p->name);
    TRY(add(s, name, p->rows, p->cols));
    if (!p->bias) return DP_OK;
    snprintf(name, sizeof name, "model.layers.%lld.%s.bias", (long long)layer, p->name);
    return add(s, name, 0, p->rows ? p->rows : p->cols);
}

static dp_status add_parts(shape *s, int64_t layer, const part *parts, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (parts[i].cols) TRY(add_part(s, layer, &parts[i]));
    return DP_OK;
}

/* ---- a layer ---- */

static dp_status add_norms(shape *s, int64_t layer) {
    bool sandwich = is(s, "gemma3_text");
    const part parts[] = {{"input_layernorm", 0, s->hidden, s->norm_bias},
                          {"post_attention_layernorm", 0, s->hidden, s->norm_bias},
                          {"pre_feedforward_layernorm", 0, sandwich ? s->hidden : 0, false},
                          {"post_feedforward_layernorm", 0, sandwich ? s->hidden : 0, false}};
    return add_parts(s, layer, parts, DP_COUNT(parts));
}

static dp_status add_attention(shape *s, int64_t layer) {
    int64_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim, norm = s->qk_norm ? s->head_dim : 0;
    const part parts[] = {{"self_attn.q_proj", q, s->hidden, s->qkv_bias},
                          {"self_attn.k_proj", kv, s->hidden, s->qkv_bias},
                          {"self_attn.v_proj", kv, s->hidden, s->qkv_bias},
                          {"self_attn.o_proj", s->hidden, q, s->out_bias},
                          {"self_attn.q_norm", 0, norm, false},
                          {"self_attn.k_norm", 0, norm, false}};
    TRY(add_parts(s, layer, parts, DP_COUNT(parts)));
    if (!is(s, "gpt_oss")) return DP_OK;
    char name[80];
    snprintf(name, sizeof name, "model.layers.%lld.self_attn.sinks", (long long)layer);
    return add(s, name, 0, s->heads);
}

static dp_status add_latent_attention(shape *s, int64_t layer) {
    int64_t q = s->heads * (s->nope + s->rope), kv = s->heads * (s->nope + s->value);
    const part parts[] = {{"self_attn.q_a_proj", s->q_rank, s->hidden, false},
                          {"self_attn.q_a_layernorm", 0, s->q_rank, false},
                          {"self_attn.q_b_proj", q, s->q_rank, false},
                          {"self_attn.kv_a_proj_with_mqa", s->kv_rank + s->rope, s->hidden, false},
                          {"self_attn.kv_a_layernorm", 0, s->kv_rank, false},
                          {"self_attn.kv_b_proj", kv, s->kv_rank, false},
                          {"self_attn.o_proj", s->hidden, s->heads * s->value, false}};
    return add_parts(s, layer, parts, DP_COUNT(parts));
}

/* Gate, up and down of an MLP below `stem`. */
static dp_status add_mlp(shape *s, int64_t layer, const char *stem, int64_t inter) {
    bool numbered = is(s, "mixtral") || is(s, "phimoe"), bias = is(s, "gpt_oss");
    static const char *const names[2][3] = {{"gate_proj", "up_proj", "down_proj"}, {"w1", "w3", "w2"}};
    for (int i = 0; i < 3; i++) {
        char name[120];
        snprintf(name, sizeof name, "%s.%s", stem, names[numbered][i]);
        part p = {name, i == 2 ? s->hidden : inter, i == 2 ? inter : s->hidden, bias};
        TRY(add_part(s, layer, &p));
    }
    return DP_OK;
}

static dp_status add_router(shape *s, int64_t layer, const char *block) {
    char name[120];
    bool oss = is(s, "gpt_oss");
    snprintf(name, sizeof name, "%s.%s", block, oss ? "router" : "gate");
    TRY(add_part(s, layer, &(part){name, s->experts, s->hidden, oss}));
    if (!s->kv_rank) return DP_OK;
    snprintf(name, sizeof name, "model.layers.%lld.%s.gate.e_score_correction_bias", (long long)layer, block);
    return add(s, name, 0, s->experts);
}

static dp_status add_experts(shape *s, int64_t layer) {
    const char *block = is(s, "mixtral") || is(s, "phimoe") ? "block_sparse_moe" : "mlp";
    char stem[80];
    TRY(add_router(s, layer, block));
    for (int64_t e = 0; e < s->experts; e++) {
        snprintf(stem, sizeof stem, "%s.experts.%lld", block, (long long)e);
        TRY(add_mlp(s, layer, stem, s->expert_inter));
    }
    return s->shared ? add_mlp(s, layer, "mlp.shared_experts", s->shared * s->expert_inter) : DP_OK;
}

static dp_status add_layer(shape *s, int64_t layer) {
    TRY(add_norms(s, layer));
    TRY(s->kv_rank ? add_latent_attention(s, layer) : add_attention(s, layer));
    return s->experts && layer >= s->dense_layers ? add_experts(s, layer) : add_mlp(s, layer, "mlp", s->inter);
}

/* ---- the model ---- */

static dp_status read_sizes(shape *s, const dp_json *config) {
    static const char *const expert_keys[] = {"num_local_experts", "num_experts", "n_routed_experts"};
    TRY(dp_json_get_int(config, "hidden_size", &s->hidden));
    TRY(dp_json_get_int(config, "intermediate_size", &s->inter));
    TRY(dp_json_get_int(config, "num_hidden_layers", &s->layers));
    TRY(dp_json_get_int(config, "num_attention_heads", &s->heads));
    TRY(dp_json_get_int(config, "num_key_value_heads", &s->kv_heads));
    TRY(dp_json_get_int(config, "vocab_size", &s->vocab));
    s->head_dim = s->heads ? s->hidden / s->heads : 0;
    TRY(dp_json_get_int(config, "head_dim", &s->head_dim));
    for (size_t i = 0; i < DP_COUNT(expert_keys); i++) TRY(dp_json_get_int(config, expert_keys[i], &s->experts));
    s->expert_inter = s->inter;
    TRY(dp_json_get_int(config, "moe_intermediate_size", &s->expert_inter));
    TRY(dp_json_get_int(config, "n_shared_experts", &s->shared));
    TRY(dp_json_get_int(config, "first_k_dense_replace", &s->dense_layers));
    TRY(dp_json_get_int(config, "q_lora_rank", &s->q_rank));
    TRY(dp_json_get_int(config, "kv_lora_rank", &s->kv_rank));
    TRY(dp_json_get_int(config, "qk_nope_head_dim", &s->nope));
    TRY(dp_json_get_int(config, "qk_rope_head_dim", &s->rope));
    return dp_json_get_int(config, "v_head_dim", &s->value);
}

static dp_status read_flags(shape *s, const dp_json *config) {
    TRY(dp_json_get_bool(config, "tie_word_embeddings", &s->tied));
    TRY(dp_json_get_bool(config, "attention_bias", &s->out_bias));
    TRY(dp_json_get_bool(config, "lm_head_bias", &s->head_bias));
    s->qkv_bias = s->out_bias || is(s, "qwen2");
    s->qk_norm = is(s, "qwen3") || is(s, "qwen3_moe") || is(s, "gemma3_text");
    s->norm_bias = is(s, "phimoe");
    return DP_OK;
}

static dp_status add_all(shape *s) {
    TRY(add(s, "model.embed_tokens.weight", s->vocab, s->hidden));
    for (int64_t i = 0; i < s->layers; i++) TRY(add_layer(s, i));
    TRY(add(s, "model.norm.weight", 0, s->hidden));
    if (s->norm_bias) TRY(add(s, "model.norm.bias", 0, s->hidden));
    if (s->tied) return DP_OK;
    TRY(add(s, "lm_head.weight", s->vocab, s->hidden));
    return s->head_bias ? add(s, "lm_head.bias", 0, s->vocab) : DP_OK;
}

dp_status dp_synth_tensors(const dp_json *config, dp_source *out) {
    dp_source source = {0};
    shape s = {.source = &source};
    dp_status status = dp_json_get_str(config, "model_type", &s.family);
    if (status == DP_OK) status = read_sizes(&s, config);
    if (status == DP_OK) status = read_flags(&s, config);
    if (status == DP_OK) status = add_all(&s);
    if (status != DP_OK) {
        dp_source_free(&source);
        return status;
    }
    *out = source;
    return DP_OK;
}
