/* Layers that pass through slots on a GPU: the logits and tokens of the model that is there as a whole, bit for bit, whatever
 * the budget; that the budget holds; and what is said below the least. Skipped without a WebGPU device. */
#include "files.h"
#include "paging.h"
#include "refmodel.h"

enum { TOKENS = PAGING_TOKENS, VOCAB_MAX = 2048, CONTEXT = PAGING_CONTEXT };

static float expected[TOKENS * VOCAB_MAX], found[TOKENS * VOCAB_MAX];

/* What a budget is made of: plain weights, `slots` experts a layer, a session; and the plain matrices of layer 1. */
typedef struct sizes {
    uint64_t all, layer, layers;
} sizes;

static sizes sizes_of(const rig *r, int32_t slots) {
    const dp_residency *residency = &r->model->residency;
    const dp_program *p = r->model->built->program;
    sizes s = {.all = residency->vram_first, .layers = (uint64_t)p->layers};
    for (size_t i = 0; i < p->weight_count; i++) {
        const dp_weight *w = &p->weights[i];
        s.all += residency->backend->api->weight_bytes(w) * (uint64_t)(w->experts ? slots : 1);
    }
    for (size_t i = 0; i < p->op_count; i++)
        if (p->ops[i].kind == DP_OP_MATMUL && p->ops[i].layer == 1) s.layer += residency->backend->api->weight_bytes(&p->weights[p->ops[i].weight]);
    return s;
}

static dp_status whole(dp_engine *engine, const char *path, int32_t batch, int32_t slots, sizes *out) {
    rig r = {0};
    dp_status status = rig_open(&r, engine, path, &(dp_model_desc){.context = CONTEXT, .batch = batch, .expert_slots = slots}, batch);
    if (status == DP_OK) status = rig_run(&r, expected);
    if (status == DP_OK) *out = sizes_of(&r, slots);
    rig_close(&r);
    return status;
}

/* Two runs of the same tokens: the second finds slots that hold the last layers. */
static void check_runs(dp_engine *engine, rig *r, uint64_t before, uint64_t budget, int32_t batch) {
    dp_paging_stats stats;
    uint64_t steps = 2 * (uint64_t)((TOKENS + batch - 1) / batch);
    for (int run = 0; run < 2; run++) {
        memset(found, 0xFF, sizeof found);
        CHECK_OK(rig_run(r, found));
        CHECK_MSG(memcmp(found, expected, TOKENS * r->vocab * sizeof(float)) == 0, "%s: %llu bytes, chunks of %d, run %d: other logits",
                  dp_model_get_info(r->model)->name, (unsigned long long)budget, (int)batch, run);
    }
    uint64_t taken = paging_on_device(engine) - before;
    dp_model_paging(r->model, &stats);
    CHECK_MSG(taken <= budget, "%llu of %llu bytes taken", (unsigned long long)taken, (unsigned long long)budget);
    CHECK_MSG(stats.paging && stats.streamed_units > 1 && stats.streamed_passes == steps && stats.streamed_bytes > 0, "%d units, %llu passes of %llu",
              (int)stats.streamed_units, (unsigned long long)stats.streamed_passes, (unsigned long long)steps);
    CHECK(stats.plain_bytes < budget);
}

static dp_misses misses = DP_MISSES_UPLOAD;

static dp_status run_budget(dp_engine *engine, const char *path, int32_t batch, int32_t slots, uint64_t budget) {
    rig r = {0};
    dp_paging_stats stats;
    uint64_t before = paging_on_device(engine);
    dp_status status = rig_open(&r, engine, path, &(dp_model_desc){.vram = budget, .context = CONTEXT, .batch = batch, .expert_slots = slots, .misses = misses}, batch);
    if (status == DP_OK) check_runs(engine, &r, before, budget, batch);
    if (status == DP_OK) dp_model_paging(r.model, &stats);
    if (status == DP_OK && stats.fetched != (misses == DP_MISSES_FETCH)) test_fail(__FILE__, __LINE__, "%s: fetched by whom?", path);
    rig_close(&r);
    return status;
}

/* From the budget that lacks one byte downwards, until it is refused. slots: of experts, 0 for a dense model. */
static void check_model(dp_engine *engine, const char *path, int32_t slots) {
    static const int32_t batches[] = {1, 3, 32};
    for (size_t b = 0; b < DP_COUNT(batches); b++) {
        sizes s;
        dp_status status = DP_OK;
        uint64_t budgets = 0;
        CHECK_OK(whole(engine, path, batches[b], slots, &s));
        for (uint64_t budget = s.all - 1; status == DP_OK; budget -= s.layer / 4 * 3, budgets++) status = run_budget(engine, path, batches[b], slots, budget);
        CHECK_MSG(status == DP_E_MEMORY && strstr(dp_error_message(), "MB short: one token needs "), "%s: %s", path, dp_error_message());
        CHECK_MSG(budgets >= s.layers - 1, "%s: only %llu budgets of a model with %llu layers", path, (unsigned long long)budgets, (unsigned long long)s.layers);
    }
}

TEST(dense_families) {
    static const char *const names[] = {"llama", "llama-tied", "mistral", "qwen2", "qwen3", "gemma3"};
    dp_engine *engine = paging_gpu(NULL);
    for (size_t i = 0; engine && i < DP_COUNT(names); i++) check_model(engine, paging_folder(names[i]), 0);
    dp_engine_close(engine);
}

TEST(quantised_files) {
    dp_engine *engine = paging_gpu(NULL);
    if (engine) check_model(engine, test_path("tests/data/gguf/llama.Q4_K_M.gguf"), 0);
    if (engine) check_model(engine, test_path("tests/data/gguf/qwen3.Q4_K_M.gguf"), 0);
    dp_engine_close(engine);
}

/* Experts keep the fewest slots, and what lies outside them passes through. */
TEST(layers_around_experts) {
    dp_engine *engine = paging_gpu(NULL);
    if (engine) check_model(engine, test_path("models/storyteller"), 2);
    if (engine) check_model(engine, paging_folder("deepseek-v3"), 4);
    dp_engine_close(engine);
}

/* Without f16, subgroups and matrix units; matrices in parts that can be bound. */
TEST(matrices_in_parts) {
    dp_engine *engine = paging_gpu(&(dp_engine_desc){.gpu_plain = true, .gpu_part_bytes = 72 << 10});
    if (engine) check_model(engine, paging_folder("llama"), 0);
    misses = DP_MISSES_FETCH;
    if (paging_fetches(engine)) check_model(engine, paging_folder("llama"), 0);
    misses = DP_MISSES_UPLOAD;
    dp_engine_close(engine);
}

/* The device copies them from host memory, where the first pass has repacked them. */
TEST(layers_that_are_fetched) {
    dp_engine *engine = paging_gpu(NULL);
    bool can = paging_fetches(engine);
    misses = DP_MISSES_FETCH;
    if (can) check_model(engine, paging_folder("gemma3"), 0);
    if (can) check_model(engine, test_path("tests/data/gguf/llama.Q4_K_M.gguf"), 0);
    if (can) check_model(engine, test_path("models/storyteller"), 2);
    misses = DP_MISSES_UPLOAD;
    dp_engine_close(engine);
}

/* ---- tokens drawn on the device ---- */

static bool on_token(void *user, int32_t id) {
    int32_t *ids = user;
    ids[++ids[0]] = id;
    return true;
}

static dp_status generate(dp_engine *engine, const char *path, const dp_model_desc *desc, int32_t *ids, sizes *out) {
    rig r = {0};
    int32_t prompt[TOKENS];
    dp_generate_desc how = {.prompt = prompt, .prompt_count = TOKENS, .max_tokens = 60, .ignore_end = true, .on_token = on_token, .user = ids,
                            .sampling = {.temperature = 0.9f, .top_k = 40, .top_p = 0.95f, .seed = 7, .repetition_penalty = 1.1f}};
    paging_ids(prompt);
    ids[0] = 0;
    dp_status status = rig_open(&r, engine, path, desc, 32);
    if (status == DP_OK) status = dp_session_generate(r.session, &how, NULL);
    if (status == DP_OK && out) *out = sizes_of(&r, 0);
    rig_close(&r);
    return status;
}

TEST(drawn_tokens) {
    int32_t all[64], streamed[64];
    sizes s;
    dp_engine *engine = paging_gpu(NULL);
    if (!engine) return;
    const char *path = paging_folder("gemma3");
    CHECK_OK(generate(engine, path, &(dp_model_desc){.context = CONTEXT, .batch = 32}, all, &s));
    CHECK_OK(generate(engine, path, &(dp_model_desc){.vram = s.all - s.layer, .context = CONTEXT, .batch = 32}, streamed, NULL));
    CHECK(all[0] == 60 && memcmp(all, streamed, sizeof(int32_t) * 61) == 0);
    dp_engine_close(engine);
}

/* Two sessions share the slots: what one has sent serves the other, or is sent again. */
static void check_sessions(rig *r, dp_session *second) {
    int32_t ids[TOKENS];
    paging_ids(ids);
    for (size_t i = 0; i < TOKENS; i++) {
        CHECK_OK(dp_session_eval(r->session, &ids[i], 1, found));
        CHECK(memcmp(found, expected + i * r->vocab, r->vocab * sizeof(float)) == 0);
        CHECK_OK(dp_session_eval(second, &ids[i], 1, found));
        CHECK(memcmp(found, expected + i * r->vocab, r->vocab * sizeof(float)) == 0);
    }
}

TEST(two_sessions) {
    rig r = {0};
    sizes s;
    dp_session *second = NULL;
    dp_engine *engine = paging_gpu(NULL);
    if (!engine) return;
    const char *path = paging_folder("qwen3");
    CHECK_OK(whole(engine, path, 1, 0, &s));
    CHECK_OK(rig_open(&r, engine, path, &(dp_model_desc){.vram = s.all - 1, .context = 3 * CONTEXT, .batch = 1}, 1)); /* room for both */
    CHECK_OK(dp_session_new(r.model, &(dp_session_desc){.context = CONTEXT, .batch = 1}, &second));
    check_sessions(&r, second);
    CHECK_FAILS(dp_session_new(r.model, &(dp_session_desc){.context = 256, .batch = 256}, &second), DP_E_MEMORY, "short for this session");
    dp_session_free(second);
    rig_close(&r);
    dp_engine_close(engine);
}

TEST_MAIN()
