/* GGUF: header, tensor names, configuration, split files, hostile input. */
#include "gguf_file.h"

#include "format/builder.h"

static dp_status open_bad(const char *name) {
    dp_checkpoint *c;
    dp_status status = dp_checkpoint_open(test_file(name), &c);
    if (status == DP_OK) dp_checkpoint_close(c);
    return status;
}

static bool has_shape(const dp_checkpoint *c, const char *name, dp_dtype dtype, const char *shape) {
    char text[96];
    const dp_tensor *t = dp_checkpoint_find(c, name);
    return t && t->dtype == dtype && !strcmp(dp_shape_text(t->shape, t->n_dims, text, sizeof text), shape);
}

/* ---- files made by llama.cpp ---- */

TEST(llama_file_opens) {
    dp_checkpoint *c = gguf_open(test_path("tests/data/gguf/llama.Q4_K_M.gguf"));
    CHECK(c);
    CHECK(c->kind == DP_CHECKPOINT_GGUF && c->rope_pairs && !c->norms_plus_one);
    CHECK(!strcmp(c->name, "llama") && !strcmp(c->quantization, "Q4_K_M"));
    CHECK(config_is(c, "model_type", "llama") && config_int(c, "hidden_size") == 256 &&
          config_int(c, "num_hidden_layers") == 3);
    CHECK(config_int(c, "num_attention_heads") == 8 && config_int(c, "num_key_value_heads") == 2);
    CHECK(config_int(c, "head_dim") == 32 && config_int(c, "intermediate_size") == 512 &&
          config_int(c, "vocab_size") == 512);
    CHECK(config_number(c->config, "rms_norm_eps") == 1e-5 && config_number(c->config, "rope_theta") == 500000);
    CHECK(config_int(c, "max_position_embeddings") == 256 && !dp_json_find(c->config, "tie_word_embeddings")->boolean);
    CHECK(config_int(c, "bos_token_id") == 1 && config_int(c, "eos_token_id") == 2 &&
          !dp_json_find(c->config, "rope_scaling"));
    CHECK(has_shape(c, "model.layers.0.self_attn.k_proj.weight", DP_Q4_K, "[64][256]"));
    CHECK(has_shape(c, "model.layers.2.mlp.down_proj.weight", DP_Q6_K, "[256][512]"));
    CHECK(has_shape(c, "lm_head.weight", DP_Q6_K, "[512][256]") && has_shape(c, "rope_freqs.weight", DP_F32, "[16]"));
    CHECK(!strcmp(dp_checkpoint_find(c, "model.norm.weight")->source_name, "output_norm.weight"));
    for (size_t i = 0; i < c->tensor_count; i++) {
        dp_mapping mapping;
        unsigned char bytes[16];
        CHECK_OK(dp_checkpoint_map(c, &c->tensors[i], &mapping));
        CHECK_OK(dp_checkpoint_read(c, &c->tensors[i], c->tensors[i].size - 16, bytes, 16));
        CHECK(!memcmp(bytes, (const char *)mapping.data + c->tensors[i].size - 16, 16));
        dp_host_unmap(&mapping);
    }
    dp_checkpoint_close(c);
}

TEST(mixtral_experts_are_stacked) {
    dp_checkpoint *c = gguf_open(test_path("tests/data/gguf/mixtral.Q4_K_M.gguf"));
    CHECK(c);
    CHECK(config_is(c, "model_type", "mixtral") && config_int(c, "num_local_experts") == 8 &&
          config_int(c, "num_experts_per_tok") == 2);
    CHECK(has_shape(c, "model.layers.0.block_sparse_moe.experts.w1.weight", DP_Q4_K, "[8][256][256]"));
    CHECK(has_shape(c, "model.layers.2.block_sparse_moe.experts.w2.weight", DP_Q6_K, "[8][256][256]"));
    CHECK(has_shape(c, "model.layers.1.block_sparse_moe.gate.weight", DP_F32, "[8][256]"));
    CHECK(has_shape(c, "model.layers.1.self_attn.v_proj.weight", DP_Q8_0, "[64][256]") && c->rope_pairs);
    dp_checkpoint_close(c);
}

TEST(qwen3_is_tied) {
    dp_checkpoint *c = gguf_open(test_path("tests/data/gguf/qwen3.Q4_K_M.gguf"));
    CHECK(c);
    CHECK(config_is(c, "model_type", "qwen3") && config_int(c, "head_dim") == 128 && !c->rope_pairs);
    CHECK(dp_json_find(c->config, "tie_word_embeddings")->boolean && config_int(c, "vocab_size") == 512);
    CHECK(has_shape(c, "model.layers.1.self_attn.q_norm.weight", DP_F32, "[128]"));
    dp_checkpoint_close(c);
}

/* ---- names ---- */

TEST(names_go_both_ways) {
    static const struct {
        dp_gguf_arch arch;
        const char *gguf, *hf;
        int64_t expert;
    } cases[] = {
        {DP_GGUF_ARCH_LLAMA, "token_embd.weight", "model.embed_tokens.weight", -1},
        {DP_GGUF_ARCH_LLAMA, "blk.12.ffn_norm.weight", "model.layers.12.post_attention_layernorm.weight", -1},
        {DP_GGUF_ARCH_LLAMA, "rope_freqs.weight", "rope_freqs.weight", -1},
        {DP_GGUF_ARCH_GEMMA3, "blk.0.ffn_norm.weight", "model.layers.0.pre_feedforward_layernorm.weight", -1},
        {DP_GGUF_ARCH_GEMMA3, "blk.0.post_attention_norm.weight", "model.layers.0.post_attention_layernorm.weight", -1},
        {DP_GGUF_ARCH_GEMMA3, "blk.0.post_ffw_norm.weight", "model.layers.0.post_feedforward_layernorm.weight", -1},
        {DP_GGUF_ARCH_QWEN2, "blk.0.attn_q.bias", "model.layers.0.self_attn.q_proj.bias", -1},
        {DP_GGUF_ARCH_QWEN3MOE, "blk.3.ffn_gate_inp.weight", "model.layers.3.mlp.gate.weight", -1},
        {DP_GGUF_ARCH_QWEN3MOE, "blk.3.ffn_down_exps.weight", "model.layers.3.mlp.experts.down_proj.weight", -1},
        {DP_GGUF_ARCH_PHIMOE, "output.bias", "lm_head.bias", -1},
        {DP_GGUF_ARCH_PHIMOE, "blk.3.ffn_up_exps.weight", "model.layers.3.block_sparse_moe.experts.w3.weight", -1},
        {DP_GGUF_ARCH_GPT_OSS, "blk.1.attn_sinks.weight", "model.layers.1.self_attn.sinks", -1},
        {DP_GGUF_ARCH_GPT_OSS, "blk.1.post_attention_norm.weight", "model.layers.1.post_attention_layernorm.weight",
         -1},
        {DP_GGUF_ARCH_GPT_OSS, "blk.1.ffn_gate_inp.bias", "model.layers.1.mlp.router.bias", -1},
        {DP_GGUF_ARCH_GPT_OSS, "blk.1.ffn_gate_exps.bias", "model.layers.1.mlp.experts.gate_proj.bias", -1},
        {DP_GGUF_ARCH_DEEPSEEK2, "blk.1.exp_probs_b.bias", "model.layers.1.mlp.gate.e_score_correction_bias", -1},
        {DP_GGUF_ARCH_DEEPSEEK2, "blk.1.ffn_up_shexp.weight", "model.layers.1.mlp.shared_experts.up_proj.weight", -1},
        {DP_GGUF_ARCH_DEEPSEEK2, "blk.1.attn_kv_a_mqa.weight", "model.layers.1.self_attn.kv_a_proj_with_mqa.weight",
         -1},
        {DP_GGUF_ARCH_DEEPSEEK2, "blk.1.attn_k_b.weight", "model.layers.1.self_attn.k_b_proj.weight", -1},
    };
    for (size_t i = 0; i < DP_COUNT(cases); i++) {
        dp_buf hf = {0}, gguf = {0};
        int64_t expert = 5;
        bool there = dp_gguf_name_to_hf(cases[i].arch, dp_str_of(cases[i].gguf), &hf);
        bool back = dp_gguf_name_from_hf(cases[i].arch, dp_str_of(cases[i].hf), &gguf, &expert);
        bool same = !strcmp(hf.data, cases[i].hf) && back && !strcmp(gguf.data, cases[i].gguf) && expert == -1;
        bool known = there || !strcmp(cases[i].gguf, cases[i].hf);
        dp_buf_free(&hf);
        dp_buf_free(&gguf);
        CHECK_MSG(same && known, "%s", cases[i].gguf);
    }
}

TEST(single_experts_name_their_stack) {
    dp_buf out = {0};
    int64_t expert;
    CHECK(dp_gguf_name_from_hf(DP_GGUF_ARCH_DEEPSEEK2, DP_LIT("model.layers.4.mlp.experts.217.up_proj.weight"), &out,
                               &expert));
    bool first = !strcmp(out.data, "blk.4.ffn_up_exps.weight") && expert == 217;
    dp_buf_clear(&out);
    CHECK(dp_gguf_name_from_hf(DP_GGUF_ARCH_LLAMA, DP_LIT("model.layers.0.block_sparse_moe.experts.7.w2.weight"), &out,
                               &expert));
    bool second = !strcmp(out.data, "blk.0.ffn_down_exps.weight") && expert == 7;
    dp_buf_clear(&out);
    bool unknown =
        !dp_gguf_name_from_hf(DP_GGUF_ARCH_LLAMA, DP_LIT("model.layers..mlp.up_proj.weight"), &out, &expert) &&
        out.size == 0;
    bool kept = !dp_gguf_name_to_hf(DP_GGUF_ARCH_LLAMA, DP_LIT("blk.x.attn_q.weight"), &out) &&
                !strcmp(out.data, "blk.x.attn_q.weight");
    dp_buf_clear(&out);
    bool old = dp_gguf_name_to_hf(DP_GGUF_ARCH_LLAMA, DP_LIT("blk.2.ffn_up.11.weight"), &out) &&
               !strcmp(out.data, "model.layers.2.block_sparse_moe.experts.11.w3.weight");
    dp_buf_free(&out);
    CHECK(first && second && unknown && kept && old);
}

/* ---- fused tensors ---- */

static void begin_fused(gguf_file *f, const char *architecture) {
    char key[64];
    gguf_begin(f, architecture);
    static const struct {
        const char *key;
        uint32_t value;
    } keys[] = {{"embedding_length", 8}, {"attention.head_count", 4}, {"attention.head_count_kv", 2}, {"attention.key_length", 4}};
    for (size_t i = 0; i < DP_COUNT(keys); i++) {
        snprintf(key, sizeof key, "%s.%s", architecture, keys[i].key);
        dp_gguf_put_u32(&f->kvs, key, keys[i].value);
    }
    gguf_add_f32(f, "token_embd.weight", 8, 2);
}

/* The tensor's first and last values, -1 where it is missing or has another shape. */
static bool holds(const dp_checkpoint *c, const char *name, const char *shape, float first, float last) {
    float a = -1, b = -1;
    const dp_tensor *t = dp_checkpoint_find(c, name);
    return has_shape(c, name, DP_F32, shape) && dp_checkpoint_read(c, t, 0, &a, 4) == DP_OK &&
           dp_checkpoint_read(c, t, t->size - 4, &b, 4) == DP_OK && a == first && b == last;
}

/* gguf_add_f32 numbers a tensor's values, so a part shows where it was. */
TEST(fused_tensors_are_read_in_parts) {
    gguf_file f = {0};
    begin_fused(&f, "phimoe");
    gguf_add_f32(&f, "blk.0.attn_qkv.weight", 8, 32);
    gguf_add_f32(&f, "blk.0.attn_qkv.bias", 32, 0);
    gguf_write("qkv.gguf", &f);
    dp_checkpoint *c = gguf_open(test_file("qkv.gguf"));
    CHECK(c);
    CHECK(holds(c, "model.layers.0.self_attn.q_proj.weight", "[16][8]", 0, 127));
    CHECK(holds(c, "model.layers.0.self_attn.k_proj.weight", "[8][8]", 128, 191));
    CHECK(holds(c, "model.layers.0.self_attn.v_proj.weight", "[8][8]", 192, 255));
    CHECK(holds(c, "model.layers.0.self_attn.q_proj.bias", "[16]", 0, 15) && holds(c, "model.layers.0.self_attn.v_proj.bias", "[8]", 24, 31));
    CHECK(dp_json_find(c->config, "attention_bias")->boolean);
    dp_checkpoint_close(c);
    begin_fused(&f, "gpt-oss");
    gguf_add_info(&f, "blk.1.ffn_gate_up_exps.weight", 0, (uint64_t[]){8, 6, 3}, 3, f.data.size);
    for (int i = 0; i < 8 * 6 * 3; i++) dp_buf_append(&f.data, &(float){(float)i}, 4);
    gguf_add_f32(&f, "blk.1.ffn_gate_up_exps.bias", 6, 3);
    gguf_write("experts.gguf", &f);
    c = gguf_open(test_file("experts.gguf"));
    CHECK(c);
    CHECK(holds(c, "model.layers.1.mlp.experts.0.gate_proj.weight", "[3][8]", 0, 23));
    CHECK(holds(c, "model.layers.1.mlp.experts.2.up_proj.weight", "[3][8]", 120, 143));
    CHECK(holds(c, "model.layers.1.mlp.experts.1.gate_proj.bias", "[3]", 6, 8) && holds(c, "model.layers.1.mlp.experts.2.up_proj.bias", "[3]", 15, 17));
    dp_checkpoint_close(c);
}

TEST(fused_tensors_that_do_not_divide_are_refused) {
    gguf_file f = {0};
    begin_fused(&f, "llama");
    gguf_add_f32(&f, "blk.0.attn_qkv.weight", 8, 24);
    gguf_write("odd.gguf", &f);
    CHECK_FAILS(open_bad("odd.gguf"), DP_E_FORMAT, "attn_qkv.weight: 4 query heads and twice 2 key and value heads of 4 rows expected, found [24][8]");
    begin_fused(&f, "qwen3moe");
    gguf_add_info(&f, "blk.0.ffn_gate_up_exps.weight", 0, (uint64_t[]){8, 5, 2}, 3, 64);
    gguf_write("odd.gguf", &f);
    CHECK_FAILS(open_bad("odd.gguf"), DP_E_FORMAT, "as many rows of gate as of up, found [2][5][8]");
    begin_fused(&f, "qwen3moe");
    gguf_add_info(&f, "blk.0.ffn_gate_up_exps.weight", 0, (uint64_t[]){8, 6, 2}, 3, 64);
    gguf_write("odd.gguf", &f);
    CHECK_FAILS(open_bad("odd.gguf"), DP_E_FORMAT, "lie beyond the end");
}

/* ---- configuration ---- */

/* Writes the metadata of a config as a GGUF without tensors but an embedding, and opens that. */
static dp_checkpoint *through_gguf_as(const char *json, bool mla_apart) {
    dp_arena arena = {0};
    const dp_json *config;
    gguf_file f = {0};
    dp_status status = dp_json_parse(&arena, dp_str_of(json), &config);
    if (status == DP_OK) status = dp_gguf_config_put(config, mla_apart, &f.kvs);
    for (size_t i = 0; status == DP_OK; i++) {
        const char *name;
        float *values;
        size_t count;
        status = dp_gguf_rope_tensor(config, i, &arena, &name, &values, &count);
        if (status != DP_OK || !count) break;
        gguf_add_f32(&f, name, count, 0);
        memcpy(f.data.data + f.data.size - (count * 4 + 31) / 32 * 32, values, count * 4);
    }
    dp_arena_free(&arena);
    if (status != DP_OK) test_fail(__FILE__, __LINE__, "%s", dp_error_message());
    gguf_add_f32(&f, "token_embd.weight", 32, 2);
    gguf_write("config.gguf", &f);
    return gguf_open(test_file("config.gguf"));
}

static dp_checkpoint *through_gguf(const char *json) { return through_gguf_as(json, false); }

TEST(gemma3_config_goes_both_ways) {
    dp_checkpoint *c = through_gguf(
        "{\"model_type\":\"gemma3_text\",\"num_hidden_layers\":4,\"hidden_size\":32,\"head_dim\":64,"
        "\"num_attention_heads\":4,\"num_key_value_heads\":1,\"query_pre_attn_scalar\":48,\"sliding_window\":16,"
        "\"layer_types\":[\"sliding_attention\",\"full_attention\",\"sliding_attention\",\"sliding_attention\"],"
        "\"rope_parameters\":{\"full_attention\":{\"factor\":8.0,\"rope_theta\":1000000.0,\"rope_type\":\"linear\"},"
        "\"sliding_attention\":{\"rope_theta\":20000.0,\"rope_type\":\"default\"}}}");
    CHECK(c);
    CHECK(c->norms_plus_one && !c->rope_pairs && config_is(c, "model_type", "gemma3_text") &&
          config_int(c, "head_dim") == 64);
    CHECK(fabs(config_number(c->config, "query_pre_attn_scalar") - 48) < 1e-4 && config_int(c, "sliding_window") == 16);
    CHECK(config_number(c->config, "rope_theta") == 1e6 && config_number(c->config, "rope_local_base_freq") == 20000);
    const dp_json *scaling = dp_json_find(c->config, "rope_scaling"), *kinds = dp_json_find(c->config, "layer_types");
    CHECK(dp_str_is(dp_json_find(scaling, "rope_type")->string, "linear") && config_number(scaling, "factor") == 8);
    CHECK(kinds && kinds->count == 4 && dp_str_is(dp_json_at(kinds, 1)->string, "full_attention"));
    dp_checkpoint_close(c);
    c = through_gguf("{\"model_type\":\"gemma3_text\",\"num_hidden_layers\":4,\"hidden_size\":32,\"head_dim\":64,"
                     "\"query_pre_attn_scalar\":64}");
    CHECK(c);
    CHECK(config_int(c, "sliding_window_pattern") == 6 && config_number(c->config, "rope_local_base_freq") == 10000);
    CHECK(config_number(c->config, "query_pre_attn_scalar") == 64);
    dp_checkpoint_close(c);
}

#define DEEPSEEK                                                                                                          \
    "{\"model_type\":\"deepseek_v3\",\"num_hidden_layers\":3,\"hidden_size\":256,\"num_attention_heads\":4,"              \
    "\"q_lora_rank\":96,\"kv_lora_rank\":64,\"qk_nope_head_dim\":64,\"qk_rope_head_dim\":32,\"v_head_dim\":48,"           \
    "\"n_routed_experts\":16,\"num_experts_per_tok\":4,\"n_shared_experts\":1,\"n_group\":4,\"topk_group\":2,"            \
    "\"routed_scaling_factor\":2.5,\"norm_topk_prob\":true,\"first_k_dense_replace\":1,\"rope_theta\":10000.0,"           \
    "\"moe_intermediate_size\":128,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":40,\"mscale\":1.0,"                     \
    "\"mscale_all_dim\":1.0,\"original_max_position_embeddings\":4096,\"beta_fast\":32,\"beta_slow\":1}}"

static void check_deepseek(bool apart) {
    dp_checkpoint *c = through_gguf_as(DEEPSEEK, apart);
    CHECK(c);
    for (size_t i = 0; i < 5; i++) { /* lengths that llama.cpp wants in either layout */
        static const char *const keys[] = {"head_count_kv", "key_length", "value_length", "key_length_mla", "value_length_mla"};
        static const int64_t expected[2][5] = {{4, 64 + 32, 48, -1, -1}, {1, 64 + 32, 64, 64 + 32, 48}};
        char key[64];
        int64_t value = -1;
        snprintf(key, sizeof key, "deepseek2.attention.%s", keys[i]);
        CHECK_OK(dp_gguf_get_int(c->gguf, key, &value));
        CHECK_MSG(value == expected[apart][i], "%s %lld", key, (long long)value);
    }
    CHECK(config_int(c, "q_lora_rank") == 96 && config_int(c, "kv_lora_rank") == 64 &&
          config_int(c, "qk_nope_head_dim") == 64);
    CHECK(config_int(c, "qk_rope_head_dim") == 32 && config_int(c, "v_head_dim") == 48 &&
          config_int(c, "num_key_value_heads") == 4);
    CHECK(config_int(c, "n_routed_experts") == 16 && config_int(c, "n_group") == 4 && config_int(c, "topk_group") == 2);
    CHECK(config_number(c->config, "routed_scaling_factor") == 2.5 && config_int(c, "moe_intermediate_size") == 128);
    CHECK(config_is(c, "scoring_func", "sigmoid") && dp_json_find(c->config, "norm_topk_prob")->boolean);
    const dp_json *scaling = dp_json_find(c->config, "rope_scaling");
    CHECK(config_number(scaling, "factor") == 40 && config_number(scaling, "mscale") == 1 &&
          config_number(scaling, "mscale_all_dim") == 1);
    CHECK(config_number(scaling, "original_max_position_embeddings") == 4096 &&
          config_number(scaling, "beta_fast") == 32);
    dp_checkpoint_close(c);
}

TEST(deepseek_config_goes_both_ways) {
    check_deepseek(false);
    check_deepseek(true);
}

TEST(other_families_go_both_ways) {
    dp_checkpoint *c = through_gguf(
        "{\"model_type\":\"gpt_oss\",\"num_hidden_layers\":3,\"intermediate_size\":77,\"num_local_experts\":8,"
        "\"rope_theta\":150000,\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":32.0,\"truncate\":false,"
        "\"original_max_position_embeddings\":32}}");
    CHECK(c);
    CHECK(config_is(c, "model_type", "gpt_oss") && config_int(c, "intermediate_size") == 77 &&
          config_int(c, "num_local_experts") == 8);
    CHECK(dp_json_find(c->config, "layer_types")->count == 3 &&
          config_number(dp_json_find(c->config, "rope_scaling"), "factor") == 32);
    CHECK(!dp_json_find(dp_json_find(c->config, "rope_scaling"), "truncate")->boolean &&
          config_number(c->config, "swiglu_limit") == 7);
    dp_checkpoint_close(c);
    c = through_gguf(
        "{\"model_type\":\"qwen3_moe\",\"num_local_experts\":16,\"norm_topk_prob\":false,\"sliding_window\":5,"
        "\"use_sliding_window\":false}");
    CHECK(c);
    CHECK(config_is(c, "model_type", "qwen3_moe") && config_int(c, "num_experts") == 16 &&
          !dp_json_find(c->config, "sliding_window"));
    CHECK(!dp_json_find(c->config, "norm_topk_prob")->boolean);
    dp_checkpoint_close(c);
    c = through_gguf("{\"model_type\":\"qwen3_moe\"}"); /* transformers' default, which is not llama.cpp's */
    CHECK(c);
    CHECK(!dp_json_find(c->config, "norm_topk_prob")->boolean);
    dp_checkpoint_close(c);
    c = through_gguf("{\"model_type\":\"deepseek_v3\",\"num_attention_heads\":4}");
    CHECK(c);
    CHECK(dp_json_find(c->config, "norm_topk_prob")->boolean);
    dp_checkpoint_close(c);
    c = through_gguf("{\"model_type\":\"phimoe\",\"max_position_embeddings\":512,\"original_max_position_embeddings\":"
                     "64,\"rope_scaling\":"
                     "{\"type\":\"longrope\",\"long_factor\":[1.5,2.5],\"short_factor\":[1,1.25],\"short_mscale\":1.5,"
                     "\"long_mscale\":1.5}}");
    CHECK(c);
    const dp_json *scaling = dp_json_find(c->config, "rope_scaling");
    CHECK(dp_json_at(dp_json_find(scaling, "long_factor"), 1)->number == 2.5 &&
          config_number(scaling, "long_mscale") == 1.5);
    CHECK(dp_json_at(dp_json_find(scaling, "short_factor"), 1)->number == 1.25 &&
          config_int(c, "original_max_position_embeddings") == 64);
    dp_checkpoint_close(c);
    dp_gguf_kvs kvs = {{0}, 0};
    static const dp_json none = {.type = DP_JSON_OBJECT};
    CHECK_FAILS(dp_gguf_config_put(&none, false, &kvs), DP_E_UNSUPPORTED, "model_type");
}

TEST(patterns_that_llama_cpp_does_not_assume_are_written) {
    dp_checkpoint *c = through_gguf("{\"model_type\":\"gpt_oss\",\"num_hidden_layers\":3,\"layer_types\":[\"full_attention\","
                                    "\"sliding_attention\",\"sliding_attention\"]}");
    CHECK(c);
    const dp_json *kinds = dp_json_find(c->config, "layer_types");
    CHECK(kinds && kinds->count == 3 && dp_str_is(dp_json_at(kinds, 0)->string, "full_attention") &&
          dp_str_is(dp_json_at(kinds, 2)->string, "sliding_attention"));
    CHECK(dp_gguf_find(c->gguf, "gpt-oss.attention.sliding_window_pattern"));
    dp_checkpoint_close(c);
    c = through_gguf("{\"model_type\":\"gpt_oss\",\"num_hidden_layers\":2,\"layer_types\":[\"sliding_attention\","
                     "\"full_attention\"]}");
    CHECK(c && !dp_gguf_find(c->gguf, "gpt-oss.attention.sliding_window_pattern"));
    dp_checkpoint_close(c);
}

/* The factors that llama.cpp itself stored for the reference model. */
TEST(llama3_factors_match_llama_cpp) {
    dp_checkpoint *c = gguf_open(test_path("tests/data/gguf/llama.Q4_K_M.gguf"));
    CHECK(c);
    float stored[16], *made;
    CHECK_OK(dp_checkpoint_read(c, dp_checkpoint_find(c, "rope_freqs.weight"), 0, stored, sizeof stored));
    dp_checkpoint_close(c);
    dp_arena arena = {0};
    const dp_json *config;
    const char *name;
    size_t count;
    CHECK_OK(dp_json_parse(
        &arena,
        DP_LIT("{\"head_dim\":32,\"rope_theta\":500000.0,\"rope_scaling\":{\"factor\":8.0,\"high_freq_factor\":4.0,"
               "\"low_freq_factor\":1.0,\"original_max_position_embeddings\":32,\"rope_type\":\"llama3\"}}"),
        &config));
    CHECK_OK(dp_gguf_rope_tensor(config, 0, &arena, &name, &made, &count));
    CHECK(count == 16 && !strcmp(name, "rope_freqs.weight"));
    for (size_t i = 0; i < 16; i++)
        CHECK_MSG(fabsf(made[i] - stored[i]) < 1e-5f * stored[i], "%zu: %g %g", i, made[i], stored[i]);
    dp_arena_free(&arena);
}

/* ---- split files ---- */

static void write_part(const char *name, uint16_t part, uint16_t parts, const char *tensor) {
    gguf_file f = {0};
    if (part == 0) gguf_begin(&f, "llama");
    dp_gguf_put_u16(&f.kvs, "split.no", part);
    dp_gguf_put_u16(&f.kvs, "split.count", parts);
    gguf_add_f32(&f, tensor, 8, 2);
    gguf_write(name, &f);
}

TEST(split_files_open_as_one) {
    write_part("split/m-00001-of-00003.gguf", 0, 3, "token_embd.weight");
    write_part("split/m-00002-of-00003.gguf", 1, 3, "output.weight");
    CHECK_FAILS(open_bad("split/m-00001-of-00003.gguf"), DP_E_NOT_FOUND, "m-00003-of-00003.gguf");
    write_part("split/m-00003-of-00003.gguf", 2, 3, "blk.0.attn_q.weight");
    dp_checkpoint *c = gguf_open(test_file("split"));
    CHECK(c);
    CHECK(c->tensor_count == 3 && c->file_count == 3);
    float value;
    CHECK_OK(dp_checkpoint_read(c, dp_checkpoint_find(c, "model.layers.0.self_attn.q_proj.weight"), 60, &value, 4));
    CHECK(value == 15);
    dp_checkpoint_close(c);
    CHECK_FAILS(open_bad("split/m-00002-of-00003.gguf"), DP_E_FORMAT, "open the first part");
    write_part("split/m-00003-of-00003.gguf", 2, 3, "token_embd.weight");
    CHECK_FAILS(open_bad("split/m-00001-of-00003.gguf"), DP_E_FORMAT, "twice");
    write_part("renamed.gguf", 0, 3, "token_embd.weight");
    CHECK_FAILS(open_bad("renamed.gguf"), DP_E_FORMAT, "-00001-of-00003.gguf");
}

/* ---- hostile input ---- */

static void small_file(gguf_file *f) {
    gguf_begin(f, "llama");
    dp_gguf_put_u32(&f->kvs, "llama.block_count", 1);
    dp_gguf_put_strs(&f->kvs, "tokenizer.ggml.tokens", (dp_str[]){DP_LIT("a"), DP_LIT("bc")}, 2);
    dp_gguf_put_array(&f->kvs, "list", DP_GGUF_U16, (uint16_t[]){1, 2, 3}, 3);
    gguf_add_f32(f, "token_embd.weight", 8, 2);
}

TEST(every_truncation_is_refused) {
    gguf_file f = {0};
    small_file(&f);
    gguf_write("whole.gguf", &f);
    char *bytes;
    size_t size;
    CHECK_OK(dp_file_load(test_file("whole.gguf"), 1 << 20, &bytes, &size));
    CHECK_OK(open_bad("whole.gguf"));
    for (size_t n = 0; n < size; n++) {
        test_write("cut.gguf", bytes, n);
        dp_status status = open_bad("cut.gguf");
        CHECK_MSG(status == DP_E_FORMAT, "%zu of %zu bytes: %s: %s", n, size, dp_status_name(status),
                  dp_error_message());
    }
    dp_free(bytes);
}

/* Every byte of the header changed in turn: any answer but a crash or a wild allocation will do. */
TEST(changed_bytes_do_no_harm) {
    gguf_file f = {0};
    small_file(&f);
    gguf_write("whole.gguf", &f);
    char *bytes;
    size_t size, refused = 0;
    CHECK_OK(dp_file_load(test_file("whole.gguf"), 1 << 20, &bytes, &size));
    for (size_t n = 0; n < size - 64; n++) {
        char old = bytes[n];
        bytes[n] = (char)~old;
        test_write("changed.gguf", bytes, size);
        refused += open_bad("changed.gguf") != DP_OK;
        bytes[n] = old;
    }
    dp_free(bytes);
    CHECK(refused > 50);
}

TEST(bad_headers_are_refused) {
    static const struct {
        uint32_t version;
        uint64_t tensors, kvs;
        dp_status status;
        const char *text;
    } cases[] = {
        {1, 0, 0, DP_E_UNSUPPORTED, "version 1"},           {4, 0, 0, DP_E_UNSUPPORTED, "version 4"},
        {0x03000000, 0, 0, DP_E_UNSUPPORTED, "big-endian"}, {3, UINT64_MAX, 0, DP_E_FORMAT, "truncated"},
        {3, 0, UINT64_MAX, DP_E_FORMAT, "truncated"},       {3, (uint64_t)1 << 60, 1, DP_E_FORMAT, "truncated"},
    };
    for (size_t i = 0; i < DP_COUNT(cases); i++) {
        char bytes[24] = "GGUF";
        dp_store_u32(bytes + 4, cases[i].version);
        dp_store_u64(bytes + 8, cases[i].tensors);
        dp_store_u64(bytes + 16, cases[i].kvs);
        test_write("header.gguf", bytes, sizeof bytes);
        CHECK_FAILS(open_bad("header.gguf"), cases[i].status, cases[i].text);
    }
}

TEST(bad_metadata_is_refused) {
    gguf_file f = {0};
    gguf_begin(&f, "llama");
    gguf_begin(&f, "llama");
    gguf_write("bad.gguf", &f);
    CHECK_FAILS(open_bad("bad.gguf"), DP_E_FORMAT, "occurs twice");
    gguf_write("bad.gguf", &f);
    CHECK_FAILS(open_bad("bad.gguf"), DP_E_FORMAT, "general.architecture");
    dp_gguf_put_u32(&f.kvs, "general.architecture", 1);
    gguf_write("bad.gguf", &f);
    CHECK_FAILS(open_bad("bad.gguf"), DP_E_FORMAT, "expected a string");
    static const uint32_t alignments[] = {0, 3, 48, 1u << 30};
    for (size_t i = 0; i < DP_COUNT(alignments); i++) {
        gguf_begin(&f, "llama");
        dp_gguf_put_u32(&f.kvs, "general.alignment", alignments[i]);
        gguf_write("bad.gguf", &f);
        CHECK_FAILS(open_bad("bad.gguf"), DP_E_FORMAT, "power of two");
    }
    gguf_begin(&f, "llama");
    dp_gguf_put_str(&f.kvs, "general.alignment", DP_LIT("32"));
    gguf_write("bad.gguf", &f);
    CHECK_FAILS(open_bad("bad.gguf"), DP_E_FORMAT, "general.alignment");
    gguf_begin(&f, "llama");
    dp_gguf_put_str(&f.kvs, "llama.block_count", DP_LIT("4"));
    gguf_write("bad.gguf", &f);
    CHECK_FAILS(open_bad("bad.gguf"), DP_E_FORMAT, "llama.block_count");
    gguf_begin(&f, "llama");
    dp_gguf_put_str(&f.kvs, "llama.rope.scaling.type", DP_LIT("spiral"));
    dp_gguf_put_f32(&f.kvs, "llama.rope.scaling.factor", 2);
    gguf_write("bad.gguf", &f);
    CHECK_FAILS(open_bad("bad.gguf"), DP_E_UNSUPPORTED, "spiral");
}

TEST(bad_tensors_are_refused) {
    char long_name[65];
    memset(long_name, 'n', 64);
    long_name[64] = 0;
    const struct {
        const char *name;
        uint32_t type, n_dims;
        uint64_t dims[4], offset;
        dp_status status;
        const char *text;
    } cases[] = {
        {"x", 0, 5, {1, 1, 1, 1}, 0, DP_E_UNSUPPORTED, "5 dimensions"},
        {"x", 0, 1, {1u << 20}, 0, DP_E_FORMAT, "beyond the end"},
        {"x", 0, 1, {8}, 64, DP_E_FORMAT, "beyond the end"},
        {"x", 0, 1, {8}, UINT64_MAX - 31, DP_E_FORMAT, "overflows"},
        {"x", 0, 1, {8}, 4, DP_E_FORMAT, "alignment"},
        {"x", 0, 2, {(uint64_t)1 << 40, (uint64_t)1 << 40}, 0, DP_E_FORMAT, "overflows"},
        {"x", 0, 1, {UINT64_MAX}, 0, DP_E_FORMAT, "dimension 0"},
        {"x", 12, 1, {8}, 0, DP_E_FORMAT, "whole number"},
        {"x", 16, 1, {256}, 0, DP_E_UNSUPPORTED, "IQ2_XXS"},
        {"x", 999, 1, {8}, 0, DP_E_UNSUPPORTED, "999"},
        {"", 0, 1, {8}, 0, DP_E_FORMAT, "name of 0 bytes"},
        {long_name, 0, 1, {8}, 0, DP_E_FORMAT, "name of 64 bytes"},
    };
    for (size_t i = 0; i < DP_COUNT(cases); i++) {
        gguf_file f = {0};
        gguf_begin(&f, "llama");
        gguf_add_info(&f, cases[i].name, cases[i].type, cases[i].dims, DP_MIN(cases[i].n_dims, 4u), cases[i].offset);
        if (cases[i].n_dims == 5) dp_store_u32(f.infos.data + 9, 5);
        dp_buf_append(&f.data, "0123456789012345678901234567890123456789012345678901234567890123", 64);
        gguf_write("bad.gguf", &f);
        CHECK_FAILS(open_bad("bad.gguf"), cases[i].status, cases[i].text);
    }
    gguf_file f = {0};
    gguf_begin(&f, "llama");
    gguf_add_f32(&f, "x", 8, 0);
    gguf_add_f32(&f, "x", 8, 0);
    gguf_write("bad.gguf", &f);
    CHECK_FAILS(open_bad("bad.gguf"), DP_E_FORMAT, "twice");
}

/* A header that outgrows the first read. */
TEST(long_headers_are_read) {
    gguf_file f = {0};
    dp_buf text = {0};
    for (int i = 0; i < 300000; i++) dp_buf_str(&text, "0123456789");
    gguf_begin(&f, "llama");
    dp_gguf_put_str(&f.kvs, "long", (dp_str){text.data, text.size});
    gguf_add_f32(&f, "output_norm.weight", 8, 0);
    gguf_write("long.gguf", &f);
    dp_checkpoint *c = gguf_open(test_file("long.gguf"));
    CHECK(c);
    dp_str value = {0};
    CHECK_OK(dp_gguf_get_str(c->gguf, "long", &value));
    bool same = dp_str_eq(value, (dp_str){text.data, text.size});
    dp_checkpoint_close(c);
    dp_buf_free(&text);
    CHECK(same);
}

TEST(labels_go_both_ways) {
    CHECK(!strcmp(dp_gguf_file_type_name(15), "Q4_K_M") && !strcmp(dp_gguf_file_type_name(1024 + 7), "Q8_0"));
    CHECK(!dp_gguf_file_type_name(-1) && dp_gguf_file_type_by_name(DP_LIT("q4_k_m")) == 15);
    CHECK(dp_gguf_file_type_by_name(DP_LIT("mxfp4")) == 38 && dp_gguf_file_type_by_name(DP_LIT("x")) == -1);
}

static dp_status open_once(void *user) {
    dp_checkpoint *c;
    TRY(dp_checkpoint_open(user, &c));
    dp_checkpoint_close(c);
    return DP_OK;
}

TEST(gguf_survives_failing_allocations) {
    char path[512];
    snprintf(path, sizeof path, "%s", test_path("tests/data/gguf/llama.Q4_K_M.gguf"));
    test_failing_allocations(open_once, path);
    write_part("alloc/m-00001-of-00002.gguf", 0, 2, "token_embd.weight");
    write_part("alloc/m-00002-of-00002.gguf", 1, 2, "output.weight");
    snprintf(path, sizeof path, "%s", test_file("alloc"));
    CHECK(test_failing_allocations(open_once, path) > 10);
}

TEST_MAIN()
