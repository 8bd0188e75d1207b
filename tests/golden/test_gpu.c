/* The GPU backend against the published results: every family and the quantised files, with all features of the adapter
 * and with f16 and subgroups masked off. Without a WebGPU device these tests are skipped. */
#include "golden.h"

static bool device_missing(const golden_how *how) {
    dp_engine *engine = NULL;
    dp_status status = dp_engine_open(&how->engine, &engine);
    if (status == DP_OK) printf("  %s\n", dp_engine_describe(engine));
    dp_engine_close(engine);
    if (status == DP_E_DEVICE) test_skip("%s", dp_error_message());
    else if (status != DP_OK) test_fail(__FILE__, __LINE__, "%s", dp_error_message());
    return status != DP_OK;
}

static void check_families(const golden_how *how) {
    for (size_t i = 0; refmodel_case(i); i++) {
        char folder[300], golden_file[200];
        const char *name = refmodel_case(i);
        if (strcmp(name, "phimoe") == 0) continue; /* its router sits at thresholds that f16 keys cross */
        snprintf(folder, sizeof folder, "%s/%s", test_folder(), name);
        snprintf(golden_file, sizeof golden_file, "tests/data/models/%s/golden.safetensors", name);
        CHECK_OK(refmodel_write(name, "config.json", folder));
        golden_check(name, folder, test_path(golden_file), how);
    }
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

/* Keys and values are f16, everything else f32. */
static const golden_how gpu = {{.backend = DP_BACKEND_GPU}, DP_KV_F16, 1e-3};
static const golden_how plain = {{.backend = DP_BACKEND_GPU, .gpu_plain = true}, DP_KV_F16, 1e-3};

TEST(families_on_the_gpu) {
    if (!device_missing(&gpu)) check_families(&gpu);
}
TEST(quantised_files_on_the_gpu) {
    if (!device_missing(&gpu)) check_gguf(&gpu);
}
TEST(families_without_f16_and_subgroups) {
    if (!device_missing(&plain)) check_families(&plain);
}
TEST(quantised_files_without_f16_and_subgroups) {
    if (!device_missing(&plain)) check_gguf(&plain);
}

TEST_MAIN()
