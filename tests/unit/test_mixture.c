/* Mixtures: the type of every kind of tensor, against the rules of llama.cpp and the files it wrote. */
#include "convert/mixture.h"
#include "test.h"

static dp_mixture mixture_of(dp_quantize quantize, const char *config, bool tied) {
    dp_arena arena = {0};
    const dp_json *root = NULL;
    dp_mixture mixture = {0};
    if (dp_json_parse(&arena, dp_str_of(config), &root) == DP_OK) dp_mixture_init(&mixture, quantize, root, tied);
    dp_arena_free(&arena);
    return mixture;
}

static dp_dtype choose(const dp_mixture *mixture, const char *name, int64_t cols) {
    dp_mixture_tensor tensor = {name, DP_BF16, 2, cols};
    return dp_mixture_choose(mixture, &tensor);
}

TEST(names_of_targets) {
    dp_quantize quantize;
    CHECK_OK(dp_quantize_parse(NULL, &quantize));
    CHECK(quantize == DP_QUANTIZE_KEEP && !dp_quantize_label(quantize));
    CHECK_OK(dp_quantize_parse("Q4_K_M", &quantize));
    CHECK(quantize == DP_QUANTIZE_Q4_K_M && strcmp(dp_quantize_label(quantize), "Q4_K_M") == 0);
    CHECK_FAILS(dp_quantize_parse("q9", &quantize), DP_E_ARG, "q4_k_m");
}

TEST(numbers_in_names) {
    CHECK(dp_name_layer("model.layers.17.mlp.up_proj.weight") == 17 && dp_name_layer("lm_head.weight") == -1);
    CHECK(dp_name_expert("model.layers.1.mlp.experts.255.up_proj.weight") == 255);
    CHECK(dp_name_expert("model.layers.1.mlp.experts.gate_up_proj_bias") == -1);
    CHECK(dp_name_expert("model.layers.1.mlp.shared_experts.up_proj.weight") == -1);
    CHECK(dp_name_layer("layers.99999999999999999999.x") == -1);
}

static const char llama16[] = "{\"model_type\":\"llama\",\"num_hidden_layers\":16}";

TEST(q4_k_m_of_a_dense_model) {
    dp_mixture m = mixture_of(DP_QUANTIZE_Q4_K_M, llama16, false);
    for (int layer = 0; layer < 16; layer++) {
        bool more = layer < 2 || layer >= 14 || layer == 4 || layer == 7 || layer == 10 || layer == 13;
        char name[80];
        snprintf(name, sizeof name, "model.layers.%d.self_attn.v_proj.weight", layer);
        CHECK_MSG(choose(&m, name, 2048) == (more ? DP_Q6_K : DP_Q4_K), "%s", name);
        snprintf(name, sizeof name, "model.layers.%d.mlp.down_proj.weight", layer);
        CHECK_MSG(choose(&m, name, 8192) == (more ? DP_Q6_K : DP_Q4_K), "%s", name);
        snprintf(name, sizeof name, "model.layers.%d.self_attn.q_proj.weight", layer);
        CHECK_MSG(choose(&m, name, 2048) == DP_Q4_K, "%s", name);
    }
    CHECK(choose(&m, "lm_head.weight", 2048) == DP_Q6_K);
    CHECK(choose(&m, "model.embed_tokens.weight", 2048) == DP_Q4_K);
    m.tied = true;
    CHECK(choose(&m, "model.embed_tokens.weight", 2048) == DP_Q6_K);
    dp_mixture_tensor norm = {"model.norm.weight", DP_BF16, 1, 2048};
    dp_mixture_tensor bias = {"model.layers.0.self_attn.q_proj.bias", DP_F16, 1, 2048};
    CHECK(dp_mixture_choose(&m, &norm) == DP_F32 && dp_mixture_choose(&m, &bias) == DP_F32);
    CHECK(choose(&m, "model.layers.3.mlp.gate.weight", 2048) == DP_F32);
}

TEST(eight_experts_and_seventy_billion) {
    dp_mixture m = mixture_of(DP_QUANTIZE_Q4_K_M, "{\"num_hidden_layers\":32,\"num_local_experts\":8}", false);
    CHECK(choose(&m, "model.layers.20.self_attn.v_proj.weight", 4096) == DP_Q8_0);
    CHECK(choose(&m, "model.layers.20.self_attn.k_proj.weight", 4096) == DP_Q8_0);
    CHECK(choose(&m, "model.layers.20.self_attn.o_proj.weight", 4096) == DP_Q5_K);
    CHECK(choose(&m, "model.layers.20.block_sparse_moe.experts.3.w2.weight", 14336) == DP_Q4_K);
    CHECK(choose(&m, "model.layers.21.block_sparse_moe.experts.3.w2.weight", 14336) == DP_Q6_K);
    CHECK(choose(&m, "model.layers.21.block_sparse_moe.experts.3.w1.weight", 4096) == DP_Q4_K);
    m = mixture_of(DP_QUANTIZE_Q4_K_M, "{\"model_type\":\"llama\",\"num_hidden_layers\":80}", false);
    CHECK(choose(&m, "model.layers.11.self_attn.v_proj.weight", 8192) == DP_Q5_K);
    CHECK(choose(&m, "model.layers.12.self_attn.v_proj.weight", 8192) == DP_Q6_K);
    CHECK(choose(&m, "model.layers.11.mlp.down_proj.weight", 28672) == DP_Q4_K);
}

/* 26 layers, hidden 1152, feed-forward 6912, 4 query heads and one KV head of 256: the published counts. */
TEST(shape_fallback_of_gemma_3_1b) {
    static const struct {
        const char *name;
        int64_t cols;
    } parts[] = {{"self_attn.q_proj", 1152}, {"self_attn.k_proj", 1152}, {"self_attn.v_proj", 1152},
                 {"self_attn.o_proj", 1024}, {"mlp.gate_proj", 1152},    {"mlp.up_proj", 1152},
                 {"mlp.down_proj", 6912}};
    dp_mixture m = mixture_of(DP_QUANTIZE_Q4_K_M, "{\"model_type\":\"gemma3_text\",\"num_hidden_layers\":26}", true);
    int counts[DP_DTYPE_COUNT] = {0};
    counts[choose(&m, "model.embed_tokens.weight", 1152)]++;
    for (int layer = 0; layer < 26; layer++)
        for (size_t i = 0; i < DP_COUNT(parts); i++) {
            char name[80];
            snprintf(name, sizeof name, "model.layers.%d.%s.weight", layer, parts[i].name);
            counts[choose(&m, name, parts[i].cols)]++;
        }
    CHECK_MSG(counts[DP_Q5_0] == 117 && counts[DP_Q8_0] == 14 && counts[DP_Q4_K] == 39 && counts[DP_Q6_K] == 13,
              "Q5_0 %d, Q8_0 %d, Q4_K %d, Q6_K %d", counts[DP_Q5_0], counts[DP_Q8_0], counts[DP_Q4_K], counts[DP_Q6_K]);
    CHECK(choose(&m, "model.layers.0.mlp.up_proj.weight", 100) == DP_F16);
}

TEST(other_targets) {
    dp_mixture m = mixture_of(DP_QUANTIZE_Q5_K_M, llama16, false);
    CHECK(choose(&m, "model.layers.5.mlp.up_proj.weight", 2048) == DP_Q5_K);
    CHECK(choose(&m, "model.layers.0.mlp.down_proj.weight", 8192) == DP_Q6_K);
    CHECK(choose(&m, "model.layers.5.mlp.up_proj.weight", 2880) == DP_Q5_1);
    m.quantize = DP_QUANTIZE_Q8_0;
    CHECK(choose(&m, "lm_head.weight", 2048) == DP_Q8_0);
    m.quantize = DP_QUANTIZE_MXFP4;
    CHECK(choose(&m, "model.layers.0.mlp.experts.7.up_proj.weight", 2880) == DP_MXFP4);
    CHECK(choose(&m, "model.layers.0.mlp.shared_experts.up_proj.weight", 2880) == DP_Q8_0);
    m.quantize = DP_QUANTIZE_F16;
    CHECK(choose(&m, "model.layers.0.mlp.experts.7.up_proj.weight", 2880) == DP_F16);
    m.quantize = DP_QUANTIZE_KEEP;
    CHECK(choose(&m, "lm_head.weight", 2048) == DP_BF16);
}

TEST(quantised_tensors_never_grow) {
    dp_mixture m = mixture_of(DP_QUANTIZE_Q4_K_M, llama16, false);
    dp_mixture_tensor experts = {"model.layers.0.mlp.experts.0.up_proj.weight", DP_MXFP4, 2, 2880};
    CHECK(dp_mixture_choose(&m, &experts) == DP_MXFP4);
    dp_mixture_tensor head = {"lm_head.weight", DP_Q8_0, 2, 2048};
    CHECK(dp_mixture_choose(&m, &head) == DP_Q6_K);
    m.quantize = DP_QUANTIZE_BF16;
    CHECK(dp_mixture_choose(&m, &experts) == DP_BF16);
}

/* Types that llama-quantize gave the tensors of three models (tests/data/gguf), three layers each. */
TEST(types_that_llama_quantize_chose) {
    dp_mixture dense = mixture_of(DP_QUANTIZE_Q4_K_M, "{\"model_type\":\"qwen3\",\"num_hidden_layers\":3}", true);
    CHECK(choose(&dense, "model.embed_tokens.weight", 256) == DP_Q6_K);
    CHECK(choose(&dense, "model.layers.0.self_attn.v_proj.weight", 256) == DP_Q4_K);
    CHECK(choose(&dense, "model.layers.1.mlp.down_proj.weight", 512) == DP_Q4_K);
    CHECK(choose(&dense, "model.layers.2.self_attn.v_proj.weight", 256) == DP_Q6_K);
    CHECK(choose(&dense, "model.layers.2.mlp.down_proj.weight", 512) == DP_Q6_K);
    CHECK(choose(&dense, "model.layers.2.self_attn.o_proj.weight", 512) == DP_Q4_K);
}

TEST_MAIN()
