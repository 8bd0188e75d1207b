/* Experts that share slots on a GPU: the logits and tokens of the model that is there as a whole, bit for bit, however few
 * slots there are; budgets; and what happens when files go bad under it. Skipped without a WebGPU device. */
#include "files.h"
#include "host/host.h"
#include "paging.h"
#include "refmodel.h"

enum { TOKENS = PAGING_TOKENS, VOCAB_MAX = 2048, CONTEXT = PAGING_CONTEXT };

/* With the test's engine. */
static dp_status start(rig *r, dp_engine *engine, const char *path, const dp_model_desc *desc, int32_t batch) {
    *r = (rig){0};
    return rig_open(r, engine, path, desc, batch);
}

static dp_status run_once(dp_engine *engine, const char *path, const dp_model_desc *desc, int32_t batch, float *logits) {
    rig r;
    dp_status status = start(&r, engine, path, desc, batch);
    if (status == DP_OK) status = rig_run(&r, logits);
    rig_close(&r);
    return status;
}

static const char *storyteller(void) { return test_path("models/storyteller"); }

/* ---- the same logits ---- */

static float expected[TOKENS * VOCAB_MAX], found[TOKENS * VOCAB_MAX];

static void check_slots(dp_engine *engine, const char *path, int32_t batch, int32_t slots) {
    rig r;
    dp_paging_stats stats;
    memset(found, 0xFF, sizeof found);
    CHECK_OK(start(&r, engine, path, &(dp_model_desc){.expert_slots = slots, .cache = (dp_cache_policy)(slots % 2)}, batch));
    CHECK_OK(rig_run(&r, found));
    CHECK_MSG(memcmp(found, expected, TOKENS * r.vocab * sizeof(float)) == 0, "%s: %d slots, chunks of %d: other logits", path, (int)slots, (int)batch);
    dp_model_paging(r.model, &stats);
    CHECK(stats.paging && stats.slots_most <= slots && stats.resident_experts <= stats.slots_most * stats.layers);
    CHECK(stats.misses > 0 && stats.reads == stats.misses && stats.read_bytes > 0);
    CHECK(stats.host_hits + stats.host_misses == stats.misses && stats.file_reads == stats.host_misses);
    CHECK(slots < stats.experts || stats.evictions == 0);
    rig_close(&r);
}

/* batches: one token at a time, some, many. Slots below what one token uses are refused (another test). */
static void check_model(dp_engine *engine, const char *path, int32_t experts_per_token) {
    static const int32_t batches[] = {1, 3, 32}, slots[] = {8, 4, 3, 2};
    for (size_t b = 0; b < DP_COUNT(batches); b++) {
        CHECK_OK(run_once(engine, path, NULL, batches[b], expected));
        for (size_t s = 0; s < DP_COUNT(slots); s++)
            if (slots[s] >= experts_per_token) check_slots(engine, path, batches[b], slots[s]);
    }
}

TEST(slots_of_the_bundled_model) {
    dp_engine *engine = paging_gpu(NULL);
    if (engine) check_model(engine, storyteller(), 2);
    dp_engine_close(engine);
}

TEST(slots_of_mixtures) {
    static const char *const names[] = {"mixtral", "phimoe", "qwen3-moe", "gpt-oss", "deepseek-v3"};
    static const int32_t used[] = {2, 2, 4, 4, 4};
    dp_engine *engine = paging_gpu(NULL);
    for (size_t i = 0; engine && i < DP_COUNT(names); i++) check_model(engine, paging_folder(names[i]), used[i]);
    dp_engine_close(engine);
}

TEST(slots_of_quantised_files) {
    char shared[400];
    dp_engine *engine = paging_gpu(NULL);
    CHECK_OK(paging_convert("deepseek-v3", ".rdrr", "q8_0", DP_SHARD_EXPERT, shared));
    if (engine) check_model(engine, test_path("tests/data/gguf/mixtral.Q4_K_M.gguf"), 2);
    if (engine) check_model(engine, shared, 4);
    dp_engine_close(engine);
}

/* Without f16, subgroups and matrix units, activations never rounded; and slots in parts that can be bound. */
TEST(slots_of_mixtures_exactly) {
    dp_engine *engine = paging_gpu(&(dp_engine_desc){.gpu_plain = true, .gpu_part_bytes = 132 << 10});
    if (engine) check_model(engine, paging_folder("mixtral"), 2);
    if (engine) check_model(engine, paging_folder("deepseek-v3"), 4);
    dp_engine_close(engine);
}

/* ---- the same tokens ---- */

static bool on_token(void *user, int32_t id) {
    int32_t *ids = user;
    ids[++ids[0]] = id;
    return true;
}

static dp_status generate(dp_engine *engine, const dp_model_desc *desc, int32_t *ids) {
    rig r;
    int32_t prompt[TOKENS];
    dp_generate_desc how = {.prompt = prompt, .prompt_count = TOKENS, .max_tokens = 60, .ignore_end = true, .on_token = on_token, .user = ids,
                            .sampling = {.temperature = 0.9f, .top_k = 40, .top_p = 0.95f, .seed = 7, .repetition_penalty = 1.1f}};
    paging_ids(prompt);
    ids[0] = 0;
    dp_status status = start(&r, engine, storyteller(), desc, 32);
    if (status == DP_OK) status = dp_session_generate(r.session, &how, NULL);
    rig_close(&r);
    return status;
}

TEST(sampled_tokens_of_a_paged_model) {
    static const int32_t slots[] = {3, 6, 7}; /* with many the device runs on to the draw, and sometimes for nothing */
    int32_t whole[64], paged[64];
    dp_engine *engine = paging_gpu(NULL);
    if (!engine) return;
    CHECK_OK(generate(engine, NULL, whole));
    for (size_t i = 0; i < DP_COUNT(slots); i++) {
        CHECK_OK(generate(engine, &(dp_model_desc){.expert_slots = slots[i]}, paged));
        CHECK_MSG(whole[0] == 60 && memcmp(whole, paged, sizeof(int32_t) * 61) == 0, "%d slots: other tokens", (int)slots[i]);
    }
    dp_engine_close(engine);
}

/* ---- budgets ---- */

TEST(a_budget_of_graphics_memory_holds) {
    static const uint64_t budgets[] = {8000000, 6500000, 5000000};
    dp_engine *engine = paging_gpu(NULL);
    rig r;
    dp_paging_stats stats;
    if (!engine) return;
    uint64_t before = paging_on_device(engine);
    CHECK_OK(run_once(engine, storyteller(), NULL, 32, expected));
    for (size_t i = 0; i < DP_COUNT(budgets); i++) {
        CHECK_OK(start(&r, engine, storyteller(), &(dp_model_desc){.vram = budgets[i], .context = CONTEXT, .batch = 32}, 32));
        CHECK_OK(rig_run(&r, found));
        CHECK(memcmp(found, expected, TOKENS * r.vocab * sizeof(float)) == 0);
        dp_model_paging(r.model, &stats);
        uint64_t taken = paging_on_device(engine) - before;
        CHECK_MSG(taken <= budgets[i] && taken > budgets[i] / 10 * 8 && stats.paging == (i > 0) && stats.slots_most < 8, "%llu of %llu bytes, %d slots", (unsigned long long)taken, (unsigned long long)budgets[i], (int)stats.slots_most);
        dp_session *second = NULL;
        if (stats.paging) CHECK_FAILS(dp_session_new(r.model, &(dp_session_desc){.context = 512, .batch = 256}, &second), DP_E_MEMORY, "short for this session");
        rig_close(&r);
    }
    CHECK_MSG(paging_on_device(engine) == before, "%llu bytes before, %llu after", (unsigned long long)before, (unsigned long long)paging_on_device(engine));
    dp_engine_close(engine);
}

TEST(budgets_that_are_too_small_say_what_is_needed) {
    dp_engine *engine = paging_gpu(NULL);
    dp_model *model;
    const char *dense = paging_folder("llama");
    if (!engine) return;
    CHECK_FAILS(dp_model_open(engine, storyteller(), &(dp_model_desc){.vram = 1 << 20}, &model), DP_E_MEMORY, "MB short: one token needs ");
    CHECK_FAILS(dp_model_open(engine, storyteller(), &(dp_model_desc){.expert_slots = 1}, &model), DP_E_ARG, "one token's 2 experts");
    CHECK_FAILS(dp_model_open(engine, storyteller(), &(dp_model_desc){.expert_slots = -1}, &model), DP_E_ARG, "expert_slots");
    CHECK_FAILS(dp_model_open(engine, dense, &(dp_model_desc){.vram = 1 << 16}, &model), DP_E_MEMORY, "slots that layers pass through");
    CHECK_FAILS(dp_model_open(engine, storyteller(), &(dp_model_desc){.expert_slots = 2, .ram = 1 << 20}, &model), DP_E_MEMORY, "the RAM budget");
    CHECK_OK(dp_model_open(engine, storyteller(), &(dp_model_desc){.vram = (uint64_t)1 << 34}, &model)); /* fits: nothing is paged */
    dp_paging_stats stats;
    dp_model_paging(model, &stats);
    CHECK(!stats.paging);
    dp_model_close(model);
    dp_engine_close(engine);
}

/* ---- files that go bad ---- */

static void check_damage(dp_engine *engine, const char *name, bool truncate, dp_status status, const char *text) {
    const char *folder = paging_copy(name), *mirrors[] = {"/nowhere", storyteller()};
    rig bad, mirrored;
    CHECK_OK(start(&bad, engine, folder, &(dp_model_desc){.expert_slots = 4}, 7));
    CHECK_OK(start(&mirrored, engine, folder, &(dp_model_desc){.expert_slots = 4, .mirrors = mirrors, .mirror_count = 2}, 7));
    paging_damage(folder, truncate);
    rig_check_damaged(&bad, &mirrored, status, text, expected, found);
    rig_close(&bad);
    rig_close(&mirrored);
}

TEST(damaged_experts_are_named) {
    dp_engine *engine = paging_gpu(NULL);
    if (!engine) return;
    CHECK_OK(run_once(engine, storyteller(), NULL, 7, expected));
    check_damage(engine, "flipped", false, DP_E_CORRUPT, "damaged: neither its SHA-256");
    check_damage(engine, "cut", true, DP_E_FORMAT, "truncated");
    dp_engine_close(engine);
}

/* A disk that fails for a moment, in prompts and in single tokens: the pass fails, the session goes on as if nothing had been. */
TEST(a_read_error_passes) {
    static const int32_t batches[] = {1, 7};
    dp_engine *engine = paging_gpu(NULL);
    sick_disk disk;
    rig r;
    if (!engine) return;
    for (size_t b = 0; b < DP_COUNT(batches); b++) {
        CHECK_OK(run_once(engine, storyteller(), NULL, batches[b], expected));
        for (int n = 0; n < 15; n += 7) {
            CHECK_OK(start(&r, engine, storyteller(), &(dp_model_desc){.expert_slots = 3}, batches[b]));
            rig_check_sick(&r, &disk, n, found);
            CHECK(memcmp(found, expected, TOKENS * r.vocab * sizeof(float)) == 0);
            rig_close(&r);
        }
    }
    dp_engine_close(engine);
}

/* ---- routing ---- */

static void only_the_last(void *user, int32_t layer, int32_t *ids, size_t tokens, int32_t k) {
    for (size_t i = 0; i < tokens * (size_t)k; i++) ids[i] = 7 - (int32_t)i % k;
    *(int *)user += layer == 0;
}
static void impossible(void *user, int32_t layer, int32_t *ids, size_t tokens, int32_t k) {
    (void)user, (void)layer, (void)tokens, (void)k;
    ids[0] = 8;
}

TEST(routing_can_be_seen_and_chosen) {
    dp_engine *engine = paging_gpu(NULL);
    dp_paging_stats stats;
    rig r;
    if (!engine) return;
    for (int32_t batch = 1; batch <= 7; batch += 6) {
        int calls = 0;
        CHECK_OK(start(&r, engine, storyteller(), &(dp_model_desc){.expert_slots = 2}, batch));
        dp_session_set_routing(r.session, only_the_last, &calls);
        CHECK_OK(rig_run(&r, found));
        dp_model_paging(r.model, &stats);
        CHECK(calls == (TOKENS + batch - 1) / batch && stats.misses == 12 && stats.hits == (uint64_t)(calls - 1) * 12);
        float seen[TOKENS * 1378];
        memcpy(seen, found, TOKENS * r.vocab * sizeof(float));
        dp_session_choose_routing(r.session, only_the_last, &calls);
        CHECK_OK(rig_run(&r, found));
        CHECK(memcmp(found, seen, TOKENS * r.vocab * sizeof(float)) == 0);
        for (int blind = 0; blind < 2; blind++) {
            (blind ? dp_session_choose_routing : dp_session_set_routing)(r.session, impossible, NULL);
            CHECK_FAILS(rig_run(&r, found), DP_E_ARG, "expert 8 chosen, there are 8");
        }
        dp_session_set_routing(r.session, NULL, NULL);
        CHECK_OK(run_once(engine, storyteller(), NULL, batch, expected));
        CHECK_OK(rig_run(&r, found));
        CHECK(memcmp(found, expected, TOKENS * r.vocab * sizeof(float)) == 0); /* as if nobody had chosen */
        rig_close(&r);
    }
    dp_engine_close(engine);
}

TEST_MAIN()
