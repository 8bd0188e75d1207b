/* Experts that share slots on a GPU, where the CPU computes those that a token lacks: published results and the reference's
 * logits within what 8-bit activations cost, the bundled model's tokens, the counts, and reads that fail under it. Skipped
 * without a WebGPU device; on one that fuses nothing, SwiftShader, all experts are brought, and the rest holds as well. */
#include "files.h"
#include "golden.h"
#include "paging.h"

enum { TOKENS = PAGING_TOKENS, VOCAB_MAX = 2048 };

static float expected[TOKENS * VOCAB_MAX], found[TOKENS * VOCAB_MAX];

static const char *storyteller(void) { return test_path("models/storyteller"); }

static bool fuses(const dp_engine *engine) { return !strstr(dp_engine_describe(engine), "SwiftShader"); }

/* ---- logits ---- */

/* Experts that depend on layer and token only, so that no rounding chooses others. */
typedef struct dealer {
    int32_t experts, calls;
} dealer;

static void deal(void *user, int32_t layer, int32_t *ids, size_t tokens, int32_t k) {
    dealer *d = user;
    int32_t first = 7 * layer + 3 * d->calls++;
    for (int32_t i = 0; i < k && tokens; i++) ids[i] = (first + i * 3) % d->experts;
}

/* Token by token, with dealt experts; stats may be NULL. */
static dp_status run_dealt(dp_engine *engine, const char *path, const dp_model_desc *desc, float *logits, dp_paging_stats *stats) {
    rig r = {0};
    dp_status status = rig_open(&r, engine, path, desc, 1);
    if (status == DP_OK) {
        dealer d = {dp_model_get_info(r.model)->experts, 0};
        dp_session_choose_routing(r.session, deal, &d);
        status = rig_run(&r, logits);
    }
    if (status == DP_OK && stats) dp_model_paging(r.model, stats);
    rig_close(&r);
    return status;
}

static void check_mixture(dp_engine *engine, dp_engine *reference, const char *name, const char *type) {
    char path[400];
    dp_paging_stats stats;
    CHECK_OK(paging_convert(name, ".rdrr", type, DP_SHARD_EXPERT, path));
    CHECK_OK(run_dealt(reference, path, NULL, expected, NULL));
    CHECK_OK(run_dealt(engine, path, &(dp_model_desc){.expert_slots = 4}, found, NULL));
    double brought = ref_relative_error(found, expected, TOKENS * 512), most = DP_MAX(2e-2, 1.5 * brought);
    printf("  %s, %s, 4 slots: relative logit error %.2e with all experts brought\n", name, type, brought);
    for (int32_t slots = 4; slots <= 8; slots += 2) {
        const dp_model_desc desc = {.expert_slots = slots, .misses = DP_MISSES_CPU};
        CHECK_OK(run_dealt(engine, path, &desc, found, &stats));
        double error = ref_relative_error(found, expected, TOKENS * 512);
        printf("  %s, %s, %d slots: relative logit error %.2e, %llu of %llu misses computed\n", name, type, (int)slots, error, (unsigned long long)stats.computed, (unsigned long long)stats.misses);
        CHECK_MSG(error < most, "%s, %s, %d slots: relative logit error %g", name, type, (int)slots, error);
        CHECK(stats.computed == (fuses(engine) ? stats.misses : 0) && stats.computed_bytes >= stats.computed && stats.misses > 0);
    }
}

TEST(logits_of_mixtures) {
    static const char *const cases[][2] = {
        {"mixtral", "q8_0"}, {"mixtral", "q4_k_m"}, {"phimoe", "q8_0"}, {"qwen3-moe", "q4_k_m"}, {"gpt-oss", "mxfp4"}, {"deepseek-v3", "q8_0"}};
    dp_engine *engine = paging_gpu(NULL), *reference;
    if (!engine) return;
    CHECK_OK(dp_engine_open(&(dp_engine_desc){.backend = DP_BACKEND_CPU_REF}, &reference));
    for (size_t i = 0; i < DP_COUNT(cases); i++) check_mixture(engine, reference, cases[i][0], cases[i][1]);
    dp_engine_close(reference);
    dp_engine_close(engine);
}

/* gpt-oss, whose experts are published in MXFP4: all tokens, and greedy ones behind them. What the CPU's rounding costs in four layers
 * (test_families.c: 4.5 %), and an expert that the router takes instead of another. */
TEST(published_results) {
    golden_how how = {.engine = {.backend = DP_BACKEND_GPU}, .model = {.expert_slots = 6, .misses = DP_MISSES_CPU}, .kv = DP_KV_F16, .tolerance = 5e-3, .singles = 1e-1};
    dp_engine *engine = paging_gpu(NULL);
    if (!engine) return;
    dp_engine_close(engine);
    golden_check("gpt-oss", paging_folder("gpt-oss"), test_path("tests/data/models/gpt-oss/golden.safetensors"), &how);
}

/* With a slot for each expert all of them get there while the first tokens are computed, and then nothing differs. */
TEST(slots_for_all_experts_fill) {
    dp_engine *engine = paging_gpu(NULL);
    dp_paging_stats stats;
    rig r = {0};
    if (!engine) return;
    const dp_model_desc desc = {.expert_slots = 8, .misses = DP_MISSES_CPU};
    CHECK_OK(rig_open(&r, engine, storyteller(), NULL, 1));
    CHECK_OK(rig_run(&r, expected));
    rig_close(&r);
    CHECK_OK(rig_open(&r, engine, storyteller(), &desc, 1));
    CHECK_OK(rig_run(&r, found));
    dp_model_paging(r.model, &stats);
    CHECK(stats.computed == (fuses(engine) ? stats.misses : 0) && stats.reads == stats.misses && stats.evictions == 0);
    CHECK_OK(rig_run(&r, found));
    CHECK(memcmp(found, expected, TOKENS * r.vocab * sizeof(float)) == 0);
    rig_close(&r);
    dp_engine_close(engine);
}

/* ---- tokens ---- */

static bool on_token(void *user, int32_t id) {
    int32_t *ids = user;
    ids[++ids[0]] = id;
    return true;
}

static dp_status generate(dp_engine *engine, const dp_model_desc *desc, float temperature, int32_t *ids, dp_paging_stats *stats) {
    rig r = {0};
    int32_t prompt[TOKENS];
    dp_generate_desc how = {.prompt = prompt, .prompt_count = TOKENS, .max_tokens = 60, .ignore_end = true, .on_token = on_token, .user = ids, .sampling = {.temperature = temperature, .seed = 7}};
    paging_ids(prompt);
    ids[0] = 0;
    dp_status status = rig_open(&r, engine, storyteller(), desc, 1); /* a prompt's chunk would leave in slots what was read first */
    if (status == DP_OK) status = dp_session_generate(r.session, &how, NULL);
    if (status == DP_OK) dp_model_paging(r.model, stats);
    rig_close(&r);
    return status;
}

/* Few slots stop the device at each layer; with many it runs on to the draw, and goes back where something is missing. What is
 * computed where does not hang on time as long as tokens come one by one, so a seed repeats its text. */
TEST(tokens_of_the_bundled_model) {
    static const int32_t slots[] = {3, 6, 7};
    int32_t first[64], second[64];
    dp_paging_stats stats;
    dp_engine *engine = paging_gpu(NULL);
    if (!engine) return;
    for (size_t i = 0; i < DP_COUNT(slots); i++) {
        const dp_model_desc desc = {.expert_slots = slots[i], .misses = DP_MISSES_CPU};
        CHECK_OK(generate(engine, &desc, 0.9f, first, &stats));
        CHECK_OK(generate(engine, &desc, 0.9f, second, &stats));
        CHECK(stats.computed > 0 || !fuses(engine));
        CHECK_MSG(first[0] == 60 && memcmp(first, second, sizeof(int32_t) * 61) == 0, "%d slots: the same seed, other tokens", (int)slots[i]);
    }
    dp_engine_close(engine);
}

/* What is faster is found out by trying both, unless the device needs neither. */
TEST(both_ways_are_tried) {
    int32_t ids[64];
    dp_paging_stats stats;
    dp_engine *engine = paging_gpu(NULL);
    if (!engine) return;
    CHECK_OK(generate(engine, &(dp_model_desc){.expert_slots = 2, .misses = DP_MISSES_AUTO}, 0, ids, &stats));
    CHECK(ids[0] == 60 && stats.reads > 0);
    CHECK(!fuses(engine) || stats.fetched || (stats.computed > 0 && stats.computed < stats.misses));
    dp_engine_close(engine);
}

/* ---- what goes wrong ---- */

TEST(a_read_error_passes) {
    const dp_model_desc desc = {.expert_slots = 3, .misses = DP_MISSES_CPU};
    dp_engine *engine = paging_gpu(NULL);
    sick_disk disk;
    rig r = {0};
    if (!engine) return;
    CHECK_OK(rig_open(&r, engine, storyteller(), NULL, 1));
    CHECK_OK(rig_run(&r, expected));
    rig_close(&r);
    for (int n = 0; n < 30; n += 13) {
        CHECK_OK(rig_open(&r, engine, storyteller(), &desc, 1));
        rig_check_sick(&r, &disk, n, found);
        CHECK(ref_relative_error(found, expected, TOKENS * r.vocab) < 2e-2);
        rig_close(&r);
    }
    dp_engine_close(engine);
}

TEST(what_cannot_be_is_refused) {
    dp_engine *engine = paging_gpu(NULL);
    dp_model *model;
    if (!engine) return;
    CHECK_FAILS(dp_model_open(engine, storyteller(), &(dp_model_desc){.misses = (dp_misses)4}, &model), DP_E_ARG, "misses is 4");
    CHECK_FAILS(dp_model_open(engine, storyteller(), &(dp_model_desc){.expert_slots = 2, .misses = DP_MISSES_CPU, .ram = 1 << 20}, &model), DP_E_MEMORY, "the RAM budget");
    dp_engine_close(engine);
}

TEST_MAIN()
