/* Every model family against transformers: logits of a prompt, token by token, and greedy continuation. */
#include "refmodel.h"

enum { PROMPT = 48, GREEDY = 24 };

typedef struct golden {
    ref_tensor ids, logits, greedy, margin;
} golden;

static void golden_free(golden *g) {
    dp_free(g->ids.data);
    dp_free(g->logits.data);
    dp_free(g->greedy.data);
    dp_free(g->margin.data);
}

/* Token ids are stored as int64. */
static void to_ids(const ref_tensor *t, int32_t *out, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = t->size == n * 8 ? (int32_t)dp_load_u64((char *)t->data + 8 * i) : (int32_t)dp_load_u32((char *)t->data + 4 * i);
}

static dp_status golden_load(const char *file, golden *g) {
    TRY(ref_tensor_load(file, "input_ids", &g->ids));
    TRY(ref_tensor_load(file, "logits", &g->logits));
    if (ref_tensor_load(file, "greedy_ids", &g->greedy) == DP_E_NOT_FOUND) return DP_OK; /* the quantised cases have logits only */
    return ref_tensor_load(file, "greedy_margin", &g->margin);
}

static int32_t best(const float *logits, size_t n) {
    size_t at = 0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[at]) at = i;
    return (int32_t)at;
}

/* Prompt in chunks of `batch`, all logits compared; then greedy decoding with its margin. */
static void compare(const char *what, dp_model *model, const golden *g, int32_t batch, double tolerance) {
    size_t vocab = (size_t)dp_model_get_info(model)->vocab;
    dp_session *session = NULL;
    float *logits = dp_malloc(PROMPT * vocab * sizeof(float));
    int32_t ids[PROMPT], greedy[GREEDY];
    to_ids(&g->ids, ids, PROMPT);
    if (g->greedy.data) to_ids(&g->greedy, greedy, GREEDY);
    memset(logits, 0xff, PROMPT * vocab * sizeof(float));
    CHECK_OK(dp_session_new(model, &(dp_session_desc){.context = 128, .batch = batch}, &session));
    CHECK_OK(dp_session_eval(session, ids, PROMPT, logits));
    double error = ref_relative_error(logits, g->logits.data, PROMPT * vocab);
    printf("  %-28s batch %2d: relative logit error %.2e\n", what, (int)batch, error);
    CHECK_MSG(error <= tolerance, "%s: relative logit error %g, allowed %g", what, error, tolerance);
    for (int i = 0; g->greedy.data && i < GREEDY; i++) {
        int32_t id = best(dp_session_logits(session), vocab);
        float margin = ((const float *)g->margin.data)[i];
        CHECK_MSG(id == greedy[i] || (double)margin <= tolerance * 10, "%s: greedy token %d is %d, expected %d (margin %g)", what, i, (int)id, (int)greedy[i], (double)margin);
        if (id != greedy[i]) break; /* a near tie went the other way: the rest has no meaning */
        CHECK_OK(dp_session_eval(session, &id, 1, NULL));
    }
    dp_session_free(session);
    dp_free(logits);
}

static void check_model(const char *what, const char *path, const char *golden_file, dp_engine_desc desc, double tolerance) {
    golden g = {0};
    dp_engine *engine = NULL;
    dp_model *model = NULL;
    CHECK_OK(golden_load(golden_file, &g));
    CHECK_OK(dp_engine_open(&desc, &engine));
    CHECK_OK(dp_model_open(engine, path, NULL, &model));
    compare(what, model, &g, 64, tolerance);
    compare(what, model, &g, 1, tolerance);
    compare(what, model, &g, 7, tolerance);
    dp_model_close(model);
    dp_engine_close(engine);
    golden_free(&g);
}

static void check_case(const char *name, const char *config, dp_engine_desc desc, double tolerance) {
    char folder[300], golden_file[200], what[100];
    snprintf(folder, sizeof folder, "%s/%s-%s", test_folder(), name, config);
    snprintf(golden_file, sizeof golden_file, "tests/data/models/%s/golden.safetensors", name);
    snprintf(what, sizeof what, "%s %s", name, config);
    CHECK_OK(refmodel_write(name, config, folder));
    check_model(what, folder, test_path(golden_file), desc, tolerance);
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
        check_model(file + 16, test_path(file), test_path(golden_file), desc, tolerance);
    }
}

TEST(gguf_reference_path_is_exact) { check_gguf(reference, 1e-4); }
TEST(gguf_fast_path_is_close) { check_gguf(fast, 3e-2); }

TEST_MAIN()
