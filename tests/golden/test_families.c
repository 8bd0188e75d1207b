/* Every model family against transformers: logits of a prompt, token by token, and greedy continuation. */
#include "golden.h"

static void check_case(const char *name, const char *config, dp_engine_desc desc, double tolerance) {
    char folder[300], golden_file[200], what[100];
    snprintf(folder, sizeof folder, "%s/%s-%s", test_folder(), name, config);
    snprintf(golden_file, sizeof golden_file, "tests/data/models/%s/golden.safetensors", name);
    snprintf(what, sizeof what, "%s %s", name, config);
    CHECK_OK(refmodel_write(name, config, folder));
    golden_check(what, folder, test_path(golden_file), desc, tolerance);
}

static const dp_engine_desc reference = {.backend = DP_BACKEND_CPU_REF}, fast = {.backend = DP_BACKEND_CPU, .threads = 2};

TEST(reference_path_matches_transformers) {
    for (size_t i = 0; refmodel_case(i); i++) check_case(refmodel_case(i), "config.json", reference, 1e-4);
}

TEST(transformers_5_configs_give_the_same) {
    for (size_t i = 0; refmodel_case(i); i++) check_case(refmodel_case(i), "config.v5.json", reference, 1e-4);
}

/* Weights are not quantised here (gpt-oss: MXFP4), so what differs is f16 KV, f32 sums and int8 activations of MXFP4. */
TEST(fast_path_matches_transformers) {
    for (size_t i = 0; refmodel_case(i); i++) check_case(refmodel_case(i), "config.json", fast, 1e-2);
}

static void check_gguf(dp_engine_desc desc, double tolerance) {
    static const char *const names[] = {"llama", "qwen3", "mixtral"};
    for (size_t i = 0; i < DP_COUNT(names); i++) {
        char file[100], golden_file[100];
        snprintf(file, sizeof file, "tests/data/gguf/%s.Q4_K_M.gguf", names[i]);
        snprintf(golden_file, sizeof golden_file, "tests/data/gguf/%s.Q4_K_M.golden.safetensors", names[i]);
        golden_check(file + 16, test_path(file), test_path(golden_file), desc, tolerance);
    }
}

TEST(gguf_reference_path_is_exact) { check_gguf(reference, 1e-4); }
TEST(gguf_fast_path_is_close) { check_gguf(fast, 3e-2); }

TEST_MAIN()
