/* A GPU that fetches the experts it lacks from host memory by itself: the logits and tokens of the model that is there as a whole,
 * bit for bit, also with tokens under way and sessions in turn; its choice of slots against the host's; and what it cannot do.
 * Skipped without a WebGPU device, or where that reads no host memory. */
#include "files.h"
#include "paging.h"

enum { TOKENS = PAGING_TOKENS, VOCAB_MAX = 2048, NEW = 60 };

static float expected[TOKENS * VOCAB_MAX], found[TOKENS * VOCAB_MAX];

static const char *storyteller(void) { return test_path("models/storyteller"); }

/* NULL, and the test skipped, where no device fetches. */
static dp_engine *fetching_gpu(void) {
    dp_engine *engine = paging_gpu(NULL);
    if (paging_fetches(engine)) return engine;
    dp_engine_close(engine);
    return NULL;
}

static dp_status start(rig *r, dp_engine *engine, const char *path, const dp_model_desc *desc, int32_t batch) {
    *r = (rig){0};
    return rig_open(r, engine, path, desc, batch);
}

static void run_whole(dp_engine *engine, const char *path, int32_t batch) {
    rig r;
    CHECK_OK(start(&r, engine, path, NULL, batch));
    CHECK_OK(rig_run(&r, expected));
    rig_close(&r);
}

/* ---- the same logits ---- */

static void check_slots(dp_engine *engine, const char *path, int32_t batch, int32_t slots) {
    const dp_model_desc desc = {.expert_slots = slots, .cache = (dp_cache_policy)(slots % 2), .misses = DP_MISSES_FETCH};
    rig r;
    dp_paging_stats stats;
    memset(found, 0xFF, sizeof found);
    CHECK_OK(start(&r, engine, path, &desc, batch));
    for (int again = 0; again < 2; again++) {
        CHECK_OK(rig_run(&r, found));
        CHECK_MSG(memcmp(found, expected, TOKENS * r.vocab * sizeof(float)) == 0, "%s: %d slots, chunks of %d, run %d: other logits", path, (int)slots, (int)batch, again);
    }
    dp_model_paging(r.model, &stats);
    CHECK(stats.fetched && stats.host_slots_least == stats.experts && stats.host_bytes > 0 && stats.host_misses == 0);
    CHECK(stats.reads == stats.misses && stats.misses > 0 && stats.hits > 0 && stats.resident_experts <= stats.slots_most * stats.layers);
    CHECK(slots < stats.experts || stats.evictions == 0);
    rig_close(&r);
}

static void check_model(dp_engine *engine, const char *path, int32_t experts_per_token) {
    static const int32_t batches[] = {1, 3, 32}, slots[] = {8, 5, 4, 3, 2};
    for (size_t b = 0; b < DP_COUNT(batches); b++) {
        run_whole(engine, path, batches[b]);
        for (size_t s = 0; s < DP_COUNT(slots); s++)
            if (slots[s] >= experts_per_token) check_slots(engine, path, batches[b], slots[s]);
    }
}

TEST(slots_of_the_bundled_model) {
    dp_engine *engine = fetching_gpu();
    if (engine) check_model(engine, storyteller(), 2);
    dp_engine_close(engine);
}

TEST(slots_of_mixtures) {
    static const char *const names[] = {"mixtral", "phimoe", "qwen3-moe", "gpt-oss", "deepseek-v3"};
    static const int32_t used[] = {2, 2, 4, 4, 4};
    dp_engine *engine = fetching_gpu();
    for (size_t i = 0; engine && i < DP_COUNT(names); i++) check_model(engine, paging_folder(names[i]), used[i]);
    dp_engine_close(engine);
}

TEST(slots_of_quantised_files) {
    char shared[400], mxfp4[400];
    dp_engine *engine = fetching_gpu();
    CHECK_OK(paging_convert("deepseek-v3", ".rdrr", "q8_0", DP_SHARD_EXPERT, shared));
    CHECK_OK(paging_convert("gpt-oss", ".rdrr", "mxfp4", DP_SHARD_EXPERT, mxfp4));
    if (engine) check_model(engine, test_path("tests/data/gguf/mixtral.Q4_K_M.gguf"), 2);
    if (engine) check_model(engine, shared, 4);
    if (engine) check_model(engine, mxfp4, 4);
    dp_engine_close(engine);
}

/* ---- which expert goes ---- */

/* Misses of a second run, which begins with what the first one left. */
static dp_status count_misses(dp_engine *engine, dp_cache_policy policy, dp_misses misses, int32_t slots, unsigned long long *out) {
    rig r;
    dp_paging_stats stats = {0};
    dp_status status = start(&r, engine, storyteller(), &(dp_model_desc){.expert_slots = slots, .cache = policy, .misses = misses}, 1);
    if (status == DP_OK) status = rig_run(&r, found);
    if (status == DP_OK) dp_model_paging_reset(r.model);
    if (status == DP_OK) status = rig_run(&r, found);
    if (status == DP_OK) dp_model_paging(r.model, &stats);
    rig_close(&r);
    *out = stats.misses;
    return status;
}

/* Experts used last in the same step are worth the same, and scores are f32 on the device: a few may go for others. */
TEST(the_device_chooses_as_the_host_does) {
    dp_engine *engine = fetching_gpu();
    if (!engine) return;
    for (int32_t slots = 2; slots <= 5; slots++) {
        unsigned long long host, device;
        CHECK_OK(count_misses(engine, DP_CACHE_LRU, DP_MISSES_UPLOAD, slots, &host));
        CHECK_OK(count_misses(engine, DP_CACHE_LRU, DP_MISSES_FETCH, slots, &device));
        CHECK_MSG(host > 0 && device <= host + host / 10 + 3 && host <= device + device / 10 + 3, "LRU, %d slots: %llu misses by the host, %llu by the device", (int)slots, host, device);
        CHECK_OK(count_misses(engine, DP_CACHE_LRFU, DP_MISSES_UPLOAD, slots, &host));
        CHECK_OK(count_misses(engine, DP_CACHE_LRFU, DP_MISSES_FETCH, slots, &device));
        CHECK_MSG(device <= host + host / 10 + 3 && host <= device + device / 10 + 3, "LRFU, %d slots: %llu misses by the host, %llu by the device", (int)slots, host, device);
    }
    dp_engine_close(engine);
}

/* ---- the same tokens ---- */

/* ids[0]: how many. Every few tokens another session of the model, if there is one, goes through its own. */
typedef struct listener {
    int32_t ids[NEW + 1];
    rig *other;
} listener;

static void run_other(rig *r) {
    memset(found, 0xFF, sizeof found);
    CHECK_OK(rig_run(r, found));
    CHECK(memcmp(found, expected, TOKENS * r->vocab * sizeof(float)) == 0);
}

static bool on_token(void *user, int32_t id) {
    listener *l = user;
    l->ids[++l->ids[0]] = id;
    if (l->other && l->ids[0] % 7 == 0) run_other(l->other);
    return true;
}

static void generate(dp_session *session, listener *l) {
    int32_t prompt[TOKENS];
    dp_generate_desc how = {.prompt = prompt, .prompt_count = TOKENS, .max_tokens = NEW, .ignore_end = true, .on_token = on_token, .user = l,
                            .sampling = {.temperature = 0.9f, .top_k = 40, .top_p = 0.95f, .seed = 7, .repetition_penalty = 1.1f}};
    paging_ids(prompt);
    l->ids[0] = 0;
    CHECK_OK(dp_session_generate(session, &how, NULL));
}

/* Tokens are under way while the host looks at those before. */
TEST(sampled_tokens) {
    static const int32_t slots[] = {2, 3, 6, 8};
    dp_engine *engine = fetching_gpu();
    listener whole = {.other = NULL}, own = {.other = NULL};
    rig r;
    if (!engine) return;
    CHECK_OK(start(&r, engine, storyteller(), NULL, 32));
    generate(r.session, &whole);
    rig_close(&r);
    for (size_t i = 0; i < DP_COUNT(slots); i++) {
        CHECK_OK(start(&r, engine, storyteller(), &(dp_model_desc){.expert_slots = slots[i], .misses = DP_MISSES_FETCH}, 32));
        for (int32_t ahead = 0; ahead <= 4; ahead += 4) {
            r.session->ahead = ahead;
            generate(r.session, &own);
            CHECK_MSG(whole.ids[0] == NEW && memcmp(whole.ids, own.ids, sizeof own.ids) == 0, "%d slots, %d ahead: other tokens", (int)slots[i], (int)ahead);
            dp_session_truncate(r.session, 0);
        }
        rig_close(&r);
    }
    dp_engine_close(engine);
}

/* One session's tokens are under way when another wants the same slots, token by token or in chunks. */
TEST(sessions_in_turn) {
    dp_engine *engine = fetching_gpu();
    listener whole = {.other = NULL}, own = {.other = NULL};
    rig r, other;
    if (!engine) return;
    CHECK_OK(start(&r, engine, storyteller(), NULL, 32));
    generate(r.session, &whole);
    rig_close(&r);
    for (int32_t batch = 1; batch <= 7; batch += 6) {
        run_whole(engine, storyteller(), batch);
        CHECK_OK(start(&r, engine, storyteller(), &(dp_model_desc){.expert_slots = 3, .misses = DP_MISSES_FETCH}, 32));
        other = (rig){.model = r.model, .vocab = r.vocab};
        CHECK_OK(dp_session_new(r.model, &(dp_session_desc){.context = PAGING_CONTEXT, .batch = batch}, &other.session));
        own.other = &other;
        r.session->ahead = 4;
        generate(r.session, &own);
        CHECK_MSG(memcmp(whole.ids, own.ids, sizeof own.ids) == 0, "chunks of %d between: other tokens", (int)batch);
        dp_session_free(other.session);
        rig_close(&r);
    }
    dp_engine_close(engine);
}

/* ---- routing ---- */

static void only_the_last(void *user, int32_t layer, int32_t *ids, size_t tokens, int32_t k) {
    for (size_t i = 0; i < tokens * (size_t)k; i++) ids[i] = 7 - (int32_t)i % k;
    *(int *)user += layer == 0;
}

TEST(routing_can_be_seen_and_chosen) {
    dp_engine *engine = fetching_gpu();
    static float seen[TOKENS * VOCAB_MAX];
    rig r;
    if (!engine) return;
    for (int32_t batch = 1; batch <= 7; batch += 6) {
        int calls = 0;
        run_whole(engine, storyteller(), batch);
        CHECK_OK(start(&r, engine, storyteller(), &(dp_model_desc){.expert_slots = 2}, batch));
        dp_session_set_routing(r.session, only_the_last, &calls);
        CHECK_OK(rig_run(&r, seen));
        rig_close(&r);
        CHECK_OK(start(&r, engine, storyteller(), &(dp_model_desc){.expert_slots = 2, .misses = DP_MISSES_FETCH}, batch));
        for (int blind = 0; blind < 2; blind++) {
            (blind ? dp_session_choose_routing : dp_session_set_routing)(r.session, only_the_last, &calls);
            CHECK_OK(rig_run(&r, found));
            CHECK(memcmp(found, seen, TOKENS * r.vocab * sizeof(float)) == 0);
        }
        CHECK(calls == 3 * ((TOKENS + batch - 1) / batch));
        dp_session_set_routing(r.session, NULL, NULL);
        CHECK_OK(rig_run(&r, found));
        CHECK(memcmp(found, expected, TOKENS * r.vocab * sizeof(float)) == 0); /* as if nobody had chosen */
        rig_close(&r);
    }
    dp_engine_close(engine);
}

/* Once tokens are under way, the n-th of them wants what there is not. */
static void sometimes_impossible(void *user, int32_t layer, int32_t *ids, size_t tokens, int32_t k) {
    for (size_t i = 0; i < tokens * (size_t)k; i++) ids[i] = (layer + (int32_t)i + *(int *)user) % 8;
    if (layer == 2 && ++*(int *)user % 6 == 0) ids[0] = 8;
}

/* A pass that fails leaves nothing behind that a later one would be misled by. */
TEST(a_failed_token_leaves_no_trace) {
    dp_engine *engine = fetching_gpu();
    int32_t prompt[TOKENS];
    rig r;
    if (!engine) return;
    paging_ids(prompt);
    run_whole(engine, storyteller(), 7);
    CHECK_OK(start(&r, engine, storyteller(), &(dp_model_desc){.expert_slots = 3, .misses = DP_MISSES_FETCH}, 7));
    for (int32_t ahead = 0; ahead <= 4; ahead += 2) {
        listener own = {.other = NULL};
        int calls = 0;
        dp_session_truncate(r.session, 0);
        CHECK_OK(dp_session_eval(r.session, prompt, TOKENS, NULL));
        dp_session_choose_routing(r.session, sometimes_impossible, &calls);
        r.session->ahead = ahead;
        const dp_generate_desc how = {.prompt = prompt, .prompt_count = TOKENS, .max_tokens = NEW, .ignore_end = true, .on_token = on_token, .user = &own};
        CHECK_FAILS(dp_session_generate(r.session, &how, NULL), DP_E_ARG, "expert 8 chosen, there are 8");
        dp_session_set_routing(r.session, NULL, NULL);
        CHECK_OK(rig_run(&r, found));
        CHECK(memcmp(found, expected, TOKENS * r.vocab * sizeof(float)) == 0);
    }
    rig_close(&r);
    dp_engine_close(engine);
}

/* ---- limits ---- */

TEST(a_budget_of_graphics_memory_holds) {
    dp_engine *engine = fetching_gpu();
    rig r;
    if (!engine) return;
    uint64_t before = paging_on_device(engine), budget = 5000000;
    run_whole(engine, storyteller(), 32);
    CHECK_OK(start(&r, engine, storyteller(), &(dp_model_desc){.vram = budget, .context = PAGING_CONTEXT, .batch = 32, .misses = DP_MISSES_FETCH}, 32));
    CHECK_OK(rig_run(&r, found));
    CHECK(memcmp(found, expected, TOKENS * r.vocab * sizeof(float)) == 0);
    uint64_t taken = paging_on_device(engine) - before;
    CHECK_MSG(taken <= budget && taken > budget / 10 * 8, "%llu of %llu bytes", (unsigned long long)taken, (unsigned long long)budget);
    rig_close(&r);
    CHECK(paging_on_device(engine) == before);
    dp_engine_close(engine);
}

TEST(what_cannot_be_is_refused) {
    const dp_model_desc fetch = {.expert_slots = 2, .misses = DP_MISSES_FETCH};
    dp_engine *engine = fetching_gpu();
    dp_model_desc small = fetch;
    dp_model *model;
    if (!engine) return;
    small.ram = 1 << 20;
    CHECK_FAILS(dp_model_open(engine, storyteller(), &small, &model), DP_E_MEMORY, "what the GPU is to fetch by itself needs");
    CHECK_OK(dp_model_open(engine, storyteller(), &fetch, &model));
    CHECK_OK(dp_model_load_expert(model, 5, 7));
    CHECK_OK(dp_model_pin_expert(model, 0, 0, true));
    CHECK_FAILS(dp_model_load_expert(model, 5, 8), DP_E_ARG, "expected 0 to 7");
    CHECK_FAILS(dp_model_evict_expert(model, 0, 0), DP_E_ARG, "where all stay");
    dp_model_close(model);
    dp_engine_close(engine);
    engine = paging_gpu(&(dp_engine_desc){.gpu_part_bytes = 132 << 10});
    CHECK_FAILS(dp_model_open(engine, storyteller(), &fetch, &model), DP_E_UNSUPPORTED, "does not fetch this model's experts");
    dp_engine_close(engine);
}

/* All experts are read with the model, and so are their hashes. */
TEST(damaged_experts_are_named) {
    dp_engine *engine = fetching_gpu();
    dp_model *model;
    rig r;
    if (!engine) return;
    const char *folder = paging_copy("flipped"), *mirrors[] = {storyteller()};
    dp_model_desc desc = {.expert_slots = 2, .misses = DP_MISSES_FETCH};
    run_whole(engine, storyteller(), 7);
    paging_damage(folder, false);
    CHECK_FAILS(dp_model_open(engine, folder, &desc, &model), DP_E_CORRUPT, "expert ");
    desc.mirrors = mirrors;
    desc.mirror_count = 1;
    CHECK_OK(start(&r, engine, folder, &desc, 7));
    CHECK_OK(rig_run(&r, found));
    CHECK(memcmp(found, expected, TOKENS * r.vocab * sizeof(float)) == 0);
    rig_close(&r);
    dp_engine_close(engine);
}

TEST_MAIN()
