/* Every model family against transformers: logits of a prompt, token by token, and greedy continuation. */
#include "golden.h"
#include "gguf_file.h"

static void check_case(const char *name, const char *config, const golden_how *how) {
    char folder[300], golden_file[200], what[100];
    snprintf(folder, sizeof folder, "%s/%s-%s", test_folder(), name, config);
    snprintf(golden_file, sizeof golden_file, "tests/data/models/%s/golden.safetensors", name);
    snprintf(what, sizeof what, "%s %s", name, config);
    CHECK_OK(refmodel_write(name, config, folder));
    golden_check(what, folder, test_path(golden_file), how);
}

static const golden_how reference = {.engine = {.backend = DP_BACKEND_CPU_REF}, .kv = DP_KV_F32, .tolerance = 1e-4};

TEST(reference_path_matches_transformers) {
    for (size_t i = 0; refmodel_case(i); i++) check_case(refmodel_case(i), "config.json", &reference);
}

TEST(transformers_5_configs_give_the_same) {
    for (size_t i = 0; refmodel_case(i); i++) check_case(refmodel_case(i), "config.v5.json", &reference);
}

/* Activations that meet MXFP4 experts are rounded to 8 bits, a scale for 32 of them: 0.48 % of each product, which is what
 * uniform rounding of normal values gives. The clamped SwiGLU makes 1.3 % of that in a layer, and experts are most of the
 * residual stream here; four layers end at 4.5 %. `gpt_oss_without_rounding` shows that nothing else is in it. */
static double fast_tolerance(const char *name, double otherwise) { return strcmp(name, "gpt-oss") == 0 ? 5e-2 : otherwise; }

/* Weights are not quantised here but in gpt-oss, so sums in f32 are all that differs. */
TEST(fast_path_matches_transformers) {
    for (size_t i = 0; refmodel_case(i); i++) {
        golden_how fast = {.engine = {.backend = DP_BACKEND_CPU, .threads = 2}, .kv = DP_KV_F32, .tolerance = fast_tolerance(refmodel_case(i), 1e-4)};
        check_case(refmodel_case(i), "config.json", &fast);
    }
}

/* Phi-MoE is left out: its router drops experts at a threshold, and rounding keys to f16 moves one across it. */
TEST(f16_kv_cache_is_close) {
    for (size_t i = 0; refmodel_case(i); i++) {
        golden_how half = {.engine = {.backend = DP_BACKEND_CPU, .threads = 2}, .kv = DP_KV_F16, .tolerance = fast_tolerance(refmodel_case(i), 1e-3)};
        if (strcmp(refmodel_case(i), "phimoe") != 0) check_case(refmodel_case(i), "config.json", &half);
    }
}

/* The same values in bf16 meet activations in f32. */
TEST(gpt_oss_without_rounding) {
    char folder[300], wide[320];
    snprintf(folder, sizeof folder, "%s/gpt-oss-mxfp4", test_folder());
    snprintf(wide, sizeof wide, "%s/gpt-oss-bf16", test_folder());
    golden_how fast = {.engine = {.backend = DP_BACKEND_CPU, .threads = 2}, .kv = DP_KV_F32, .tolerance = 1e-4}, half = fast;
    half.kv = DP_KV_F16;
    half.tolerance = 3e-3;
    CHECK_OK(refmodel_write("gpt-oss", "config.json", folder));
    CHECK_OK(dp_convert(&(dp_convert_desc){.input = folder, .output = {.path = wide, .quantize = "bf16"}}, NULL));
    golden_check("gpt-oss bf16", wide, test_path("tests/data/models/gpt-oss/golden.safetensors"), &fast);
    golden_check("gpt-oss bf16, keys in f16", wide, test_path("tests/data/models/gpt-oss/golden.safetensors"), &half);
}

static void check_gguf(const golden_how *how) {
    static const char *const names[] = {"llama", "qwen3", "mixtral"};
    for (size_t i = 0; i < DP_COUNT(names); i++) {
        char file[100], golden_file[100];
        snprintf(file, sizeof file, "tests/data/gguf/%s.Q4_K_M.gguf", names[i]);
        snprintf(golden_file, sizeof golden_file, "tests/data/gguf/%s.Q4_K_M.golden.safetensors", names[i]);
        golden_check(file + 16, test_path(file), test_path(golden_file), how);
    }
}

TEST(gguf_reference_path_is_exact) { check_gguf(&reference); }

TEST(gguf_fast_path_is_close) {
    golden_how fast = {.engine = {.backend = DP_BACKEND_CPU, .threads = 2}, .kv = DP_KV_F16, .tolerance = 3e-2};
    check_gguf(&fast);
}

/* Joined q, k, v and joined experts are the same model: llama.cpp's files, their tensors put together as its converter would. */
TEST(fused_gguf_matches) {
    static const struct {
        const char *name;
        size_t joined;
    } files[] = {{"llama", 1}, {"qwen3", 1}, {"mixtral", 3}};
    for (size_t i = 0; i < DP_COUNT(files); i++) {
        char file[100], golden_file[100], fused[60];
        snprintf(file, sizeof file, "tests/data/gguf/%s.Q4_K_M.gguf", files[i].name);
        snprintf(golden_file, sizeof golden_file, "tests/data/gguf/%s.Q4_K_M.golden.safetensors", files[i].name);
        snprintf(fused, sizeof fused, "fused-%s.gguf", files[i].name);
        size_t joined = gguf_fuse(test_path(file), fused);
        CHECK_MSG(joined >= files[i].joined, "%s: %zu tensors joined", files[i].name, joined);
        golden_check(fused, test_file(fused), test_path(golden_file), &reference);
    }
}

TEST_MAIN()
