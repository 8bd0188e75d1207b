/* Metadata as llama.cpp's converter writes it for published models, key by key, and what its reader takes for granted where a
 * key is missing: head sizes, RoPE's base, Gemma's pattern, DeepSeek's routing, who begins texts and what ends them. */
#include "gguf_file.h"

#include "arch/builder.h"
#include "text/tokenizer.h"

/* ---- files ---- */

/* true or false; 1.5f; 15; else text. */
static void put_value(gguf_file *f, const char *key, dp_str value) {
    char text[64];
    snprintf(text, sizeof text, DP_STR_FMT, DP_STR_ARG(value));
    if (dp_str_is(value, "true") || dp_str_is(value, "false")) dp_gguf_put_bool(&f->kvs, key, text[0] == 't');
    else if (text[0] < '0' || text[0] > '9') dp_gguf_put_str(&f->kvs, key, value);
    else if (text[value.n - 1] == 'f') dp_gguf_put_f32(&f->kvs, key, strtof(text, NULL));
    else dp_gguf_put_u32(&f->kvs, key, (uint32_t)strtoul(text, NULL, 10));
}

/* pairs: "key=value key=value ...", keys without the architecture. */
static void begin(gguf_file *f, const char *architecture, const char *pairs) {
    gguf_begin(f, architecture);
    for (const char *p = pairs; *p;) {
        char key[128];
        size_t name = strcspn(p, "="), value = strcspn(p + name, " ") - 1;
        snprintf(key, sizeof key, "%s.%.*s", architecture, (int)name, p);
        put_value(f, key, (dp_str){p + name + 1, value});
        p += name + 1 + value;
        p += *p == ' ';
    }
    gguf_add_f32(f, "token_embd.weight", 32, 2);
}

static dp_checkpoint *finish(gguf_file *f) {
    gguf_write("keys.gguf", f);
    return gguf_open(test_file("keys.gguf"));
}

static dp_checkpoint *open_with(const char *architecture, const char *pairs) {
    gguf_file f = {0};
    begin(&f, architecture, pairs);
    return finish(&f);
}

static bool flag(const dp_checkpoint *c, const char *key) {
    const dp_json *m = dp_json_find(c->config, key);
    return m && m->type == DP_JSON_BOOL && m->boolean;
}

/* ---- families ---- */

TEST(gemma3_as_published) {
    dp_checkpoint *c = open_with("gemma3", "context_length=131072 embedding_length=2560 block_count=34 feed_forward_length=10240 "
                                           "attention.head_count=8 attention.head_count_kv=4 attention.key_length=256 attention.value_length=256 "
                                           "attention.layer_norm_rms_epsilon=1e-6f attention.sliding_window=1024 rope.freq_base=1e6f "
                                           "rope.scaling.type=linear rope.scaling.factor=8f");
    CHECK(c);
    CHECK(config_int(c, "head_dim") == 256 && config_int(c, "sliding_window") == 1024 && config_int(c, "sliding_window_pattern") == 6);
    CHECK(config_number(c->config, "query_pre_attn_scalar") == 256 && config_number(c->config, "rope_theta") == 1e6);
    CHECK(config_number(c->config, "rope_local_base_freq") == 10000 && config_number(dp_json_find(c->config, "rope_scaling"), "factor") == 8);
    dp_checkpoint_close(c);
    c = open_with("gemma3", "block_count=62 embedding_length=5376 attention.head_count=32 attention.head_count_kv=16 attention.key_length=128");
    CHECK(c);
    CHECK(config_number(c->config, "query_pre_attn_scalar") == 168);
    dp_checkpoint_close(c);
    c = open_with("gemma3", "block_count=2 embedding_length=640 attention.head_count=4");
    CHECK(c);
    CHECK(config_number(c->config, "query_pre_attn_scalar") == 160 && config_number(c->config, "rope_theta") == 10000);
    dp_checkpoint_close(c);
}

TEST(qwen_as_published) {
    dp_checkpoint *c = open_with("qwen2", "block_count=28 context_length=32768 embedding_length=3584 feed_forward_length=18944 "
                                          "attention.head_count=28 attention.head_count_kv=4 rope.freq_base=1e6f "
                                          "attention.layer_norm_rms_epsilon=1e-6f rope.scaling.type=yarn rope.scaling.factor=4f "
                                          "rope.scaling.original_context_length=32768");
    CHECK(c);
    CHECK(config_is(c, "model_type", "qwen2") && config_int(c, "num_key_value_heads") == 4 && config_int(c, "head_dim") < 0);
    CHECK(config_number(dp_json_find(c->config, "rope_scaling"), "original_max_position_embeddings") == 32768);
    dp_checkpoint_close(c);
    c = open_with("qwen3moe", "block_count=48 embedding_length=2048 feed_forward_length=6144 attention.head_count=32 "
                              "attention.head_count_kv=4 attention.key_length=128 attention.value_length=128 rope.freq_base=1e7f "
                              "expert_count=128 expert_used_count=8 expert_feed_forward_length=768");
    CHECK(c);
    CHECK(config_int(c, "num_experts") == 128 && config_int(c, "num_experts_per_tok") == 8 && config_int(c, "moe_intermediate_size") == 768);
    CHECK(config_int(c, "head_dim") == 128 && config_int(c, "intermediate_size") == 6144 && flag(c, "norm_topk_prob"));
    dp_checkpoint_close(c);
}

TEST(gpt_oss_as_published) {
    dp_checkpoint *c = open_with("gpt-oss", "block_count=24 context_length=131072 embedding_length=2880 feed_forward_length=2880 "
                                            "attention.head_count=64 attention.head_count_kv=8 rope.freq_base=150000f expert_count=32 "
                                            "expert_used_count=4 attention.key_length=64 attention.value_length=64 attention.sliding_window=128 "
                                            "expert_feed_forward_length=2880 rope.scaling.type=yarn rope.scaling.factor=32f "
                                            "rope.scaling.original_context_length=4096 attention.layer_norm_rms_epsilon=1e-5f");
    CHECK(c);
    const dp_json *scaling = dp_json_find(c->config, "rope_scaling");
    CHECK(config_int(c, "num_local_experts") == 32 && config_int(c, "num_experts_per_tok") == 4 && config_int(c, "intermediate_size") == 2880);
    CHECK(config_int(c, "sliding_window") == 128 && dp_json_find(c->config, "layer_types")->count == 24);
    CHECK(config_number(scaling, "beta_fast") == 32 && config_number(scaling, "beta_slow") == 1 && config_number(scaling, "factor") == 32);
    dp_checkpoint_close(c);
}

static const char *const kinds[] = {"full_attention", "sliding_attention"};

/* Layer i slides where bit i of `mask` is set. */
static bool slides_as(const dp_checkpoint *c, size_t layers, unsigned mask) {
    const dp_json *types = dp_json_find(c->config, "layer_types");
    bool same = types && types->count == layers;
    for (size_t i = 0; same && i < layers; i++) same = dp_str_is(dp_json_at(types, i)->string, kinds[mask >> i & 1]);
    return same;
}

/* llama.cpp: of a period the last layer sees everything; 0 has all slide, and 1 none. */
TEST(a_pattern_of_windows_is_honoured) {
    static const struct {
        const char *architecture, *pairs;
        unsigned mask;
    } list[] = {{"gpt-oss", "block_count=4", 5},
                {"gpt-oss", "block_count=4 attention.sliding_window_pattern=2", 5},
                {"gpt-oss", "block_count=4 attention.sliding_window_pattern=4", 7},
                {"gpt-oss", "block_count=4 attention.sliding_window_pattern=1", 0},
                {"gemma3", "block_count=4 attention.sliding_window_pattern=0", 15},
                {"qwen3", "block_count=4 attention.sliding_window_pattern=3", 11}};
    for (size_t i = 0; i < DP_COUNT(list); i++) {
        dp_checkpoint *c = open_with(list[i].architecture, list[i].pairs);
        CHECK(c);
        CHECK_MSG(slides_as(c, 4, list[i].mask), "%s %s", list[i].architecture, list[i].pairs);
        dp_checkpoint_close(c);
    }
    static const bool flags[] = {false, true, true, false};
    gguf_file f = {0};
    begin(&f, "gpt-oss", "block_count=4");
    dp_gguf_put_array(&f.kvs, "gpt-oss.attention.sliding_window_pattern", DP_GGUF_BOOL, flags, 4);
    dp_checkpoint *c = finish(&f);
    CHECK(c && slides_as(c, 4, 6));
    dp_checkpoint_close(c);
    begin(&f, "gpt-oss", "block_count=5");
    dp_gguf_put_array(&f.kvs, "gpt-oss.attention.sliding_window_pattern", DP_GGUF_BOOL, flags, 4);
    gguf_write("short.gguf", &f);
    CHECK_FAILS(dp_checkpoint_open(test_file("short.gguf"), &c), DP_E_FORMAT, "flags for 5 layers, found flags for 4");
}

TEST(phimoe_as_published) {
    gguf_file f = {0};
    begin(&f, "phimoe", "context_length=131072 rope.scaling.original_context_length=4096 embedding_length=4096 feed_forward_length=6400 "
                        "block_count=32 attention.head_count=32 attention.head_count_kv=8 attention.layer_norm_rms_epsilon=1e-5f "
                        "rope.dimension_count=128 rope.freq_base=10000f attention.sliding_window=131072 rope.scaling.attn_factor=1.19023f "
                        "expert_used_count=2 expert_count=16");
    gguf_add_f32(&f, "rope_factors_long.weight", 64, 0);
    gguf_add_f32(&f, "rope_factors_short.weight", 64, 0);
    dp_checkpoint *c = finish(&f);
    CHECK(c);
    const dp_json *scaling = dp_json_find(c->config, "rope_scaling");
    CHECK(config_int(c, "num_local_experts") == 16 && config_int(c, "num_experts_per_tok") == 2 && config_int(c, "intermediate_size") == 6400);
    CHECK(dp_json_find(scaling, "long_factor")->count == 64 && fabs(config_number(scaling, "attention_factor") - 1.19023) < 1e-5);
    CHECK(config_int(c, "original_max_position_embeddings") == 4096);
    dp_checkpoint_close(c);
}

#define DEEPSEEK                                                                                                                  \
    "embedding_length=7168 feed_forward_length=18432 attention.head_count=128 attention.head_count_kv=1 rope.freq_base=10000f "   \
    "expert_used_count=8 expert_count=256 leading_dense_block_count=3 attention.q_lora_rank=1536 attention.kv_lora_rank=512 "      \
    "attention.key_length=576 attention.value_length=512 attention.key_length_mla=192 attention.value_length_mla=128 "            \
    "expert_feed_forward_length=2048 expert_shared_count=1 rope.dimension_count=64 rope.scaling.type=yarn "                       \
    "rope.scaling.factor=40f rope.scaling.original_context_length=4096 rope.scaling.yarn_log_multiplier=0.1f "

TEST(deepseek_as_published) {
    dp_checkpoint *c = open_with("deepseek2", DEEPSEEK "block_count=61 expert_gating_func=2 expert_weights_norm=true expert_weights_scale=2.5f");
    CHECK(c);
    CHECK(config_int(c, "qk_nope_head_dim") == 128 && config_int(c, "qk_rope_head_dim") == 64 && config_int(c, "v_head_dim") == 128);
    CHECK(config_int(c, "num_key_value_heads") == 128 && config_int(c, "n_routed_experts") == 256 && config_int(c, "first_k_dense_replace") == 3);
    CHECK(config_int(c, "n_group") == 8 && config_int(c, "topk_group") == 4 && config_is(c, "scoring_func", "sigmoid"));
    CHECK(flag(c, "norm_topk_prob") && config_int(c, "num_hidden_layers") == 61);
    CHECK(fabs(config_number(dp_json_find(c->config, "rope_scaling"), "mscale_all_dim") - 1) < 1e-6);
    dp_checkpoint_close(c);
    c = open_with("deepseek2", DEEPSEEK "block_count=62 nextn_predict_layers=1 expert_gating_func=2");
    CHECK(c);
    CHECK(config_int(c, "num_hidden_layers") == 61 && !flag(c, "norm_topk_prob"));
    dp_checkpoint_close(c);
}

/* Files of DeepSeek-V2 do not say how they route, which means softmax. */
TEST(deepseek_v2_is_refused) {
    dp_builder *builder = NULL;
    dp_checkpoint *c = open_with("deepseek2", DEEPSEEK "block_count=27 context_length=4096");
    CHECK(c);
    CHECK_FAILS(dp_arch_build(c, &builder), DP_E_UNSUPPORTED, "scoring_func \"softmax\"");
    dp_checkpoint_close(c);
}

/* ---- RoPE ---- */

TEST(rope_scaling_that_is_none) {
    static const char *const none[] = {"rope.scaling.type=yarn", "rope.scaling.type=linear", "rope.scaling.factor=1f", "rope.scaling.type=none"};
    for (size_t i = 0; i < DP_COUNT(none); i++) {
        dp_checkpoint *c = open_with("qwen3", none[i]);
        CHECK(c);
        CHECK_MSG(!dp_json_find(c->config, "rope_scaling"), "%s", none[i]);
        dp_checkpoint_close(c);
    }
    dp_checkpoint *c = open_with("llama", "rope.scale_linear=4f");
    CHECK(c);
    CHECK(config_number(dp_json_find(c->config, "rope_scaling"), "factor") == 4);
    dp_checkpoint_close(c);
}

TEST(rope_over_a_part_of_a_head_is_refused) {
    gguf_file f = {0};
    dp_checkpoint *c = NULL;
    begin(&f, "llama", "embedding_length=64 attention.head_count=2 rope.dimension_count=16");
    gguf_write("part.gguf", &f);
    CHECK_FAILS(dp_checkpoint_open(test_file("part.gguf"), &c), DP_E_UNSUPPORTED, "16 of a head's 32 columns");
}

/* ---- tokenizers ---- */

enum { END = 3, RETURN = 4 };

/* A byte-level vocabulary; without <|call|> for `calls` false. */
static dp_tokenizer *tokenizer_with(const char *pre, bool calls) {
    const dp_str tokens[] = {DP_LIT("<s>"), DP_LIT("a"), DP_LIT("b"), DP_LIT("<|end|>"), DP_LIT("<|return|>"),
                             calls ? DP_LIT("<|call|>") : DP_LIT("<|other|>")}, merges[] = {DP_LIT("a b")};
    static const int32_t types[] = {3, 1, 1, 3, 3, 3};
    gguf_file f = {0};
    begin(&f, "llama", "");
    dp_gguf_put_str(&f.kvs, "tokenizer.ggml.model", DP_LIT("gpt2"));
    dp_gguf_put_str(&f.kvs, "tokenizer.ggml.pre", dp_str_of(pre));
    dp_gguf_put_strs(&f.kvs, "tokenizer.ggml.tokens", tokens, DP_COUNT(tokens));
    dp_gguf_put_strs(&f.kvs, "tokenizer.ggml.merges", merges, 1);
    dp_gguf_put_array(&f.kvs, "tokenizer.ggml.token_type", DP_GGUF_I32, types, DP_COUNT(types));
    dp_gguf_put_u32(&f.kvs, "tokenizer.ggml.bos_token_id", 0);
    dp_gguf_put_u32(&f.kvs, "tokenizer.ggml.eos_token_id", RETURN);
    dp_checkpoint *c = finish(&f);
    dp_tokenizer *t = NULL;
    if (c && dp_checkpoint_tokenizer(c, &t) != DP_OK) test_fail(__FILE__, __LINE__, "%s", dp_error_message());
    dp_checkpoint_close(c);
    return t;
}

TEST(texts_begin_with_a_token_where_no_key_says_so) {
    static const struct {
        const char *pre;
        bool begins;
    } list[] = {{"llama-bpe", true}, {"tekken", true}, {"pixtral", true}, {"qwen2", false}, {"gpt-4o", false}, {"deepseek-v3", false}};
    for (size_t i = 0; i < DP_COUNT(list); i++) {
        int32_t *ids = NULL;
        size_t count = 0;
        dp_tokenizer *t = tokenizer_with(list[i].pre, true);
        CHECK(t);
        CHECK_OK(dp_tokenizer_encode(t, "a", 1, true, &ids, &count));
        CHECK_MSG(count == 1u + list[i].begins && (ids[0] == 0) == list[i].begins, "%s", list[i].pre);
        dp_free(ids);
        dp_tokenizer_close(t);
    }
}

/* gpt-oss ends each message with <|end|>, and a turn may have several; Phi ends a turn with it. */
TEST(an_end_of_messages_is_no_end_of_turns) {
    dp_tokenizer *oss = tokenizer_with("gpt-4o", true), *other = tokenizer_with("gpt-4o", false);
    CHECK(oss && other);
    CHECK(!dp_tokenizer_is_end(oss, END) && dp_tokenizer_is_end(oss, RETURN) && dp_tokenizer_is_end(oss, 5));
    CHECK(dp_tokenizer_is_end(other, END));
    dp_tokenizer_close(oss);
    dp_tokenizer_close(other);
}

TEST_MAIN()
