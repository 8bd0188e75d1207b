/* The GPU backend against the published results: every family and the quantised files, with all features of the adapter
 * and with f16 and subgroups masked off. Without a WebGPU device these tests are skipped. */
#include "golden.h"

#include "gpu/gpu.h"

static bool device_missing(const golden_how *how) {
    dp_engine *engine = NULL;
    dp_status status = dp_engine_open(&how->engine, &engine);
    if (status == DP_OK) printf("  %s\n", dp_engine_describe(engine));
    dp_engine_close(engine);
    return !test_opened(status);
}

static void check_families(const golden_how *how) {
    for (size_t i = 0; refmodel_case(i); i++) {
        char folder[300], golden_file[200];
        const char *name = refmodel_case(i);
        if (how->kv == DP_KV_F16 && strcmp(name, "phimoe") == 0) continue; /* its router sits at thresholds that f16 keys cross */
        snprintf(folder, sizeof folder, "%s/%s", test_folder(), name);
        snprintf(golden_file, sizeof golden_file, "tests/data/models/%s/golden.safetensors", name);
        CHECK_OK(refmodel_write(name, "config.json", folder));
        golden_check(name, folder, test_path(golden_file), how);
    }
}

/* The mixture's token 13 has a router whose second and third expert are 0.0001 apart, so that any rounding may choose another,
 * and what follows sees its keys: only an exact device is asked for more than the tokens before it. test_gpu_tokens.c looks at
 * all tokens, each on its own, also those in 8 bits. */
enum { BEFORE_TIE = 13 };

static void check_gguf(const golden_how *how, bool exact) {
    static const char *const names[] = {"llama", "qwen3", "mixtral"};
    for (size_t i = 0; i < DP_COUNT(names); i++) {
        char file[100], golden_file[100];
        snprintf(file, sizeof file, "tests/data/gguf/%s.Q4_K_M.gguf", names[i]);
        snprintf(golden_file, sizeof golden_file, "tests/data/gguf/%s.Q4_K_M.golden.safetensors", names[i]);
        golden_how one = *how;
        if (!exact && strcmp(names[i], "mixtral") == 0) {
            one.no_singles = true;
            one.compared = BEFORE_TIE;
        }
        golden_check(file + 16, test_path(file), test_path(golden_file), &one);
    }
}

/* Long prompts and decoding behind them: past the point where decode splits the past, past the windows' rings. Expected:
 * the reference path with exact keys. */
enum { LONG = 400 };

static dp_status long_run(const char *folder, const golden_how *how, int32_t count, float *logits) {
    dp_engine *engine = NULL;
    dp_model *model = NULL;
    dp_session *session = NULL;
    int32_t ids[LONG];
    for (int i = 0; i < LONG; i++) ids[i] = 3 + (i * 37 + i / 7) % 500;
    dp_status status = dp_engine_open(&how->engine, &engine);
    if (status == DP_OK) status = dp_model_open(engine, folder, NULL, &model);
    if (status == DP_OK) status = dp_session_new(model, &(dp_session_desc){.context = count, .batch = 100, .kv = how->kv}, &session);
    if (status == DP_OK) status = dp_session_eval(session, ids, (size_t)count - 8, NULL);
    for (int i = count - 8; status == DP_OK && i < count; i++) status = dp_session_eval(session, &ids[i], 1, NULL);
    if (status == DP_OK) memcpy(logits, dp_session_logits(session), 512 * sizeof(float));
    dp_session_free(session);
    dp_model_close(model);
    dp_engine_close(engine);
    return status;
}

static void check_long(const char *name, int32_t count, const golden_how *how) {
    static const golden_how reference = {.engine = {.backend = DP_BACKEND_CPU_REF}, .kv = DP_KV_F32};
    char folder[300];
    float expected[512], found[512];
    snprintf(folder, sizeof folder, "%s/%s", test_folder(), name);
    CHECK_OK(refmodel_write(name, "config.json", folder));
    CHECK_OK(long_run(folder, &reference, count, expected));
    CHECK_OK(long_run(folder, how, count, found));
    double error = ref_relative_error(found, expected, 512);
    CHECK_MSG(error < how->tolerance, "%s, %d tokens: relative error %g", name, (int)count, error);
}

/* Keys and values are f16, and where there are matrix units the products of many tokens; everything else is f32. MXFP4's
 * coarse values carry that further. */
static const golden_how gpu = {.engine = {.backend = DP_BACKEND_GPU}, .kv = DP_KV_F16, .tolerance = 5e-3};
/* Single tokens meet quantised weights in 8 bits. */
static const golden_how rounded = {.engine = {.backend = DP_BACKEND_GPU}, .kv = DP_KV_F16, .tolerance = 5e-3, .singles = 2e-2};
/* All of it f32. */
static const golden_how exact = {.engine = {.backend = DP_BACKEND_GPU, .gpu_plain = true}, .kv = DP_KV_F32, .tolerance = 1e-4};

TEST(families_on_the_gpu) {
    if (!device_missing(&gpu)) check_families(&gpu);
}
TEST(long_contexts_on_the_gpu) {
    if (device_missing(&gpu)) return;
    check_long("gemma3", 256, &gpu);
    check_long("mistral", 256, &gpu);
    check_long("gpt-oss", LONG, &gpu);
    check_long("deepseek-v3", LONG, &gpu);
}
TEST(quantised_files_on_the_gpu) {
    if (!device_missing(&gpu)) check_gguf(&rounded, false);
}
TEST(families_exactly) {
    if (!device_missing(&exact)) check_families(&exact);
}
TEST(long_contexts_exactly) {
    if (device_missing(&exact)) return;
    check_long("mistral", 256, &exact);
    check_long("gpt-oss", LONG, &exact);
    check_long("deepseek-v3", LONG, &exact);
}
TEST(quantised_files_exactly) {
    if (!device_missing(&exact)) check_gguf(&exact, true);
}

/* Matrices and stacks of experts that are larger than one binding: in parts. */
TEST(split_weights) {
    golden_how split = gpu, files = rounded;
    if (device_missing(&gpu)) return;
    split.engine.gpu_part_bytes = 132 << 10;
    files.engine.gpu_part_bytes = 40 << 10;
    check_families(&split);
    check_gguf(&files, false);
}
TEST(split_weights_exactly) {
    golden_how split = exact;
    if (device_missing(&exact)) return;
    split.engine.gpu_part_bytes = 40 << 10;
    check_gguf(&split, true);
}

/* Left to itself the engine takes a GPU, but no software GPU. */
TEST(the_choice_of_auto) {
    dp_gpu_caps best;
    dp_engine *engine;
    size_t count = 0;
    if (device_missing(&gpu)) return;
    CHECK_OK(dp_gpu_list(&(dp_gpu_desc){.adapter = -1}, &best, 1, &count));
    CHECK_OK(dp_engine_open(NULL, &engine));
    bool on_gpu = strncmp(dp_engine_describe(engine), "gpu", 3) == 0;
    dp_engine_close(engine);
    CHECK(on_gpu == !best.software);
}

TEST_MAIN()
