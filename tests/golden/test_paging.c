/* Paging gives the logits of the resident model, bit for bit, however few slots there are; and what happens when files
 * go bad under it. Expected values: the same model with all weights mapped, which the other golden tests compare with
 * published results. */
#include "engine/engine.h"
#include "engine/residency_units.h"
#include "gguf_file.h"
#include "host/host.h"
#include "paging.h"
#include "refmodel.h"

enum { TOKENS = PAGING_TOKENS, VOCAB_MAX = 2048 };

/* With an engine of its own. */
static dp_status start(rig *r, const char *path, dp_backend_kind backend, const dp_model_desc *desc, int32_t batch) {
    *r = (rig){0};
    TRY(dp_engine_open(&(dp_engine_desc){.backend = backend, .threads = 2}, &r->engine));
    return rig_open(r, r->engine, path, desc, batch);
}

static dp_status run_once(const char *path, dp_backend_kind backend, const dp_model_desc *desc, int32_t batch, float *logits) {
    rig r;
    dp_status status = start(&r, path, backend, desc, batch);
    if (status == DP_OK) status = rig_run(&r, logits);
    rig_close(&r);
    return status;
}

/* ---- the same logits ---- */

static float expected[TOKENS * VOCAB_MAX], found[TOKENS * VOCAB_MAX];

static void check_slots(const char *what, const char *path, dp_backend_kind backend, int32_t batch, int32_t slots) {
    rig r;
    dp_paging_stats stats;
    memset(found, 0xFF, sizeof found);
    CHECK_OK(start(&r, path, backend, &(dp_model_desc){.expert_slots = slots, .cache = (dp_cache_policy)(slots % 2)}, batch));
    CHECK_OK(rig_run(&r, found));
    CHECK_MSG(memcmp(found, expected, TOKENS * r.vocab * sizeof(float)) == 0, "%s: %d slots, chunks of %d: other logits", what,
              (int)slots, (int)batch);
    dp_model_paging(r.model, &stats);
    CHECK(stats.paging && stats.slots_most <= slots && stats.resident_experts <= stats.slots_most * stats.layers);
    CHECK(stats.misses > 0 && stats.reads == stats.misses && stats.read_bytes > 0);
    CHECK(stats.guesses_used <= stats.guesses && stats.guesses_used <= stats.misses);
    CHECK(slots < stats.experts || stats.evictions == 0);
    rig_close(&r);
}

static void check_model(const char *what, const char *path, dp_backend_kind backend) {
    static const int32_t batches[] = {64, 7, 1}, slots[] = {8, 4, 3, 2, 1};
    for (size_t b = 0; b < DP_COUNT(batches); b++) {
        CHECK_OK(run_once(path, backend, NULL, batches[b], expected));
        for (size_t s = 0; s < DP_COUNT(slots); s++) check_slots(what, path, backend, batches[b], slots[s]);
    }
}

static const char *const mixtures[] = {"mixtral", "qwen3-moe", "gpt-oss", "phimoe", "deepseek-v3"};

TEST(mixtures_as_published) {
    for (size_t i = 0; i < DP_COUNT(mixtures); i++) check_model(mixtures[i], paging_folder(mixtures[i]), DP_BACKEND_CPU);
}

TEST(mixtures_on_the_reference_path) {
    check_model("mixtral", paging_folder("mixtral"), DP_BACKEND_CPU_REF);
    check_model("gpt-oss", paging_folder("gpt-oss"), DP_BACKEND_CPU_REF);
}

TEST(mixtures_from_expert_shards) {
    for (size_t i = 0; i < DP_COUNT(mixtures); i++) {
        char path[400];
        CHECK_OK(paging_convert(mixtures[i], ".rdrr", "keep", DP_SHARD_EXPERT, path));
        check_model(mixtures[i], path, DP_BACKEND_CPU);
    }
}

/* Shards of 64 KiB cut matrices anywhere. */
TEST(mixtures_from_shards_of_fixed_size) {
    for (size_t i = 0; i < DP_COUNT(mixtures); i++) {
        char path[400];
        CHECK_OK(paging_convert(mixtures[i], ".fixed", "keep", DP_SHARD_FIXED, path));
        check_model(mixtures[i], path, DP_BACKEND_CPU);
    }
}

TEST(mixtures_sliced_from_gguf) {
    for (size_t i = 0; i < DP_COUNT(mixtures); i++) {
        char path[400];
        CHECK_OK(paging_convert(mixtures[i], ".gguf", "keep", DP_SHARD_AUTO, path));
        check_model(mixtures[i], path, DP_BACKEND_CPU);
    }
    check_model("llama.cpp's Q4_K_M", test_path("tests/data/gguf/mixtral.Q4_K_M.gguf"), DP_BACKEND_CPU);
}

TEST(the_bundled_model) { check_model("storyteller", test_path("models/storyteller"), DP_BACKEND_CPU); }

/* ---- plain matrices that pass through ---- */

/* A session of its own program, whose plain units are streamed as `streamed` says. */
static dp_status run_streamed(const char *path, const bool *streamed, float *logits) {
    rig r;
    dp_pages *pages = dp_calloc(1, sizeof *pages);
    int32_t slots[64] = {0};
    dp_status status = start(&r, path, DP_BACKEND_CPU, NULL, 7);
    if (status == DP_OK) status = dp_residency_cut(r.model->built, &(dp_model_desc){0}, pages);
    if (status == DP_OK) {
        dp_pages_measure(pages);
        for (size_t i = 0; i < pages->layer_count; i++) slots[i] = 2;
        status = dp_pages_start(pages, DP_CACHE_LRU, slots, streamed);
    }
    if (status == DP_OK) status = dp_pages_read_plain(pages, NULL, NULL);
    r.model->built->program->pager = status == DP_OK ? &pages->base : NULL;
    if (status == DP_OK) status = rig_run(&r, logits);
    dp_pages_free(pages);
    rig_close(&r);
    return status;
}

TEST(layers_that_pass_through) {
    static const char *const names[] = {"llama", "llama-tied", "gemma3", "mixtral", "deepseek-v3"};
    bool all[64], some[64], one[64] = {false};
    for (int i = 0; i < 64; i++) all[i] = true, some[i] = i % 2 == 0;
    one[1] = true;
    for (size_t i = 0; i < DP_COUNT(names); i++) {
        const bool *const which[] = {all, some, one};
        const char *path = paging_folder(names[i]);
        CHECK_OK(run_once(path, DP_BACKEND_CPU, NULL, 7, expected));
        for (size_t w = 0; w < DP_COUNT(which); w++) {
            memset(found, 0xFF, sizeof found);
            CHECK_OK(run_streamed(path, which[w], found));
            CHECK_MSG(memcmp(found, expected, TOKENS * 512 * sizeof(float)) == 0, "%s, choice %zu: other logits", names[i], w);
        }
    }
}

/* ---- files that go bad ---- */

static void check_damage(const char *name, bool truncate, dp_status status, const char *text) {
    const char *folder = paging_copy(name), *mirrors[] = {"/nowhere", test_path("models/storyteller")};
    rig bad, mirrored;
    CHECK_OK(run_once(folder, DP_BACKEND_CPU, NULL, 7, expected));
    CHECK_OK(start(&bad, folder, DP_BACKEND_CPU, &(dp_model_desc){.expert_slots = 4}, 7));
    CHECK_OK(start(&mirrored, folder, DP_BACKEND_CPU, &(dp_model_desc){.expert_slots = 4, .mirrors = mirrors, .mirror_count = 2}, 7));
    paging_damage(folder, truncate);
    rig_check_damaged(&bad, &mirrored, status, text, expected, found);
    rig_close(&bad);
    rig_close(&mirrored);
}

TEST(a_flipped_byte_names_expert_and_shard) { check_damage("flipped", false, DP_E_CORRUPT, "damaged: neither its SHA-256"); }
TEST(a_cut_shard_names_expert_and_shard) { check_damage("cut", true, DP_E_FORMAT, "truncated"); }

/* A disk that fails for a moment: the pass fails, the session goes on as if nothing had been. */
TEST(a_read_error_passes) {
    rig r;
    const char *path = test_path("models/storyteller");
    sick_disk disk;
    CHECK_OK(run_once(path, DP_BACKEND_CPU, NULL, 7, expected));
    CHECK_OK(start(&r, path, DP_BACKEND_CPU, &(dp_model_desc){.expert_slots = 3}, 7));
    sick_disk_install(&disk, r.model);
    for (int n = 0; n < 36; n += 5) { /* a run in slots that the one before has left reads 42 times */
        atomic_init(&disk.countdown, n);
        CHECK_FAILS(rig_run(&r, found), DP_E_IO, "Input/output error");
        CHECK_MSG(strstr(dp_error_message(), "layer ") && strstr(dp_error_message(), "expert "), "%s", dp_error_message());
        atomic_store(&disk.countdown, -1);
        CHECK_OK(rig_run(&r, found));
        CHECK(memcmp(found, expected, TOKENS * r.vocab * sizeof(float)) == 0);
    }
    rig_close(&r);
}

/* Single tokens read ahead: a guess that fails is no error, the read that is needed then may be one. */
TEST(guesses_that_fail) {
    rig r;
    sick_disk disk;
    dp_paging_stats stats;
    int failed = 0;
    const char *path = test_path("models/storyteller");
    CHECK_OK(run_once(path, DP_BACKEND_CPU, NULL, 1, expected));
    CHECK_OK(start(&r, path, DP_BACKEND_CPU, &(dp_model_desc){.expert_slots = 3}, 1));
    sick_disk_install(&disk, r.model);
    for (int n = 0; n < 200; n += 3) {
        atomic_init(&disk.countdown, n);
        dp_status status = rig_run(&r, found);
        CHECK(status == DP_E_IO || (status == DP_OK && memcmp(found, expected, TOKENS * r.vocab * sizeof(float)) == 0));
        failed += status != DP_OK;
    }
    atomic_store(&disk.countdown, -1);
    CHECK_OK(rig_run(&r, found));
    CHECK(memcmp(found, expected, TOKENS * r.vocab * sizeof(float)) == 0);
    dp_model_paging(r.model, &stats);
    CHECK_MSG(failed && failed < 67 && stats.guesses_used, "%d of 67 runs failed, %llu of %llu guesses were right", failed,
              (unsigned long long)stats.guesses_used, (unsigned long long)stats.guesses);
    rig_close(&r);
}

/* ---- budgets and the interface ---- */

TEST(a_budget_below_a_token_says_what_is_needed) {
    dp_engine *engine;
    dp_model *model;
    const char *path = test_path("models/storyteller");
    CHECK_OK(dp_engine_open(NULL, &engine));
    CHECK_FAILS(dp_model_open(engine, path, &(dp_model_desc){.ram = 1 << 20}, &model), DP_E_MEMORY, "MB short: one token needs ");
    CHECK_FAILS(dp_model_open(engine, path, &(dp_model_desc){.vram = 1 << 20}, &model), DP_E_UNSUPPORTED, "the CPU computes");
    CHECK_FAILS(dp_model_open(engine, path, &(dp_model_desc){.expert_slots = -1}, &model), DP_E_ARG, "expert_slots");
    CHECK_FAILS(dp_model_open(engine, path, &(dp_model_desc){.cache = DP_CACHE_BELADY}, &model), DP_E_ARG, "LRU or LRFU");
    CHECK_OK(dp_model_open(engine, path, &(dp_model_desc){.ram = (uint64_t)1 << 34}, &model)); /* fits: mapped */
    dp_paging_stats stats;
    dp_model_paging(model, &stats);
    CHECK(!stats.paging);
    CHECK_OK(dp_model_load_expert(model, 0, 0));
    dp_model_close(model);
    dp_engine_close(engine);
}

/* A file of 550 GB, nearly all of it a hole: an embedding that no machine of today holds. */
static const char *write_giant(void) {
    enum { WIDTH = 1 << 16, NARROW = 32, F16 = 1 };
    const uint64_t rows = (uint64_t)1 << 22;
    static const struct {
        const char *name;
        bool down;
    } matrices[] = {{"attn_q", false}, {"attn_k", false}, {"attn_v", false}, {"attn_output", true}, {"ffn_gate", false}, {"ffn_up", false}, {"ffn_down", true}};
    gguf_file f = {0};
    uint64_t at = rows * WIDTH * 2;
    gguf_begin(&f, "llama");
    static const struct {
        const char *key;
        uint32_t value;
    } keys[] = {{"block_count", 1}, {"context_length", 64}, {"embedding_length", WIDTH}, {"feed_forward_length", NARROW}, {"attention.head_count", 1}, {"attention.key_length", NARROW}};
    for (size_t i = 0; i < DP_COUNT(keys); i++) {
        char key[64];
        snprintf(key, sizeof key, "llama.%s", keys[i].key);
        dp_gguf_put_u32(&f.kvs, key, keys[i].value);
    }
    gguf_add_info(&f, "token_embd.weight", F16, (uint64_t[]){WIDTH, rows}, 2, 0);
    for (size_t i = 0; i < DP_COUNT(matrices); i++, at += WIDTH * NARROW * 2) {
        char name[64];
        snprintf(name, sizeof name, "blk.0.%s.weight", matrices[i].name);
        gguf_add_info(&f, name, F16, (uint64_t[]){matrices[i].down ? NARROW : WIDTH, matrices[i].down ? WIDTH : NARROW}, 2, at);
    }
    static const char *const norms[] = {"blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"};
    for (size_t i = 0; i < DP_COUNT(norms); i++, at += WIDTH * 4) gguf_add_info(&f, norms[i], 0, (uint64_t[]){WIDTH}, 1, at);
    gguf_write("header.gguf", &f);
    dp_str header = test_load(test_file("header.gguf"));
    dp_writer *writer;
    if (!header.p || dp_writer_open(test_file("giant.gguf"), &writer) != DP_OK) return NULL;
    bool written = dp_writer_write(writer, header.p, header.n) == DP_OK && dp_writer_write_at(writer, header.n + at - 1, "", 1) == DP_OK;
    dp_free((void *)(uintptr_t)header.p);
    if (!written) dp_writer_abandon(writer);
    return written && dp_writer_commit(writer) == DP_OK ? test_file("giant.gguf") : NULL;
}

TEST(more_than_the_machine_has_says_what_is_short) {
    dp_engine *engine;
    dp_model *model;
    const char *path = write_giant();
    if (!path) {
        test_skip("no file with a hole of 550 GB here");
        return;
    }
    CHECK_OK(dp_engine_open(&(dp_engine_desc){.backend = DP_BACKEND_CPU}, &engine));
    CHECK_FAILS(dp_model_open(engine, path, &(dp_model_desc){.context = 64}, &model), DP_E_MEMORY, "host memory is ");
    unsigned long long missing = 0, had = 0, may = 0, needed = 0;
    const char *text = strstr(dp_error_message(), "host memory is "), *need = strstr(dp_error_message(), "one token needs ");
    CHECK_MSG(need && sscanf(text, "host memory is %llu MB short: %llu MB can be had now, of which the model may take %llu MB", &missing, &had, &may) == 3, "%s", text);
    CHECK_MSG(sscanf(need, "one token needs %llu MB", &needed) == 1 && needed == may + missing && needed > 549755, "%s", text);
    CHECK_MSG(had * 1000000 <= dp_host_memory_total() && may < had && strstr(need, "end other programs"), "%s", text);
    dp_engine_close(engine);
}

enum { SESSIONS_MAX = 400 };

/* Opens sessions until the budget refuses one, whose message must name the longest that fits. */
static void fill_with_sessions(rig *r) {
    dp_session *open[SESSIONS_MAX];
    const dp_session_desc whole = {.context = 512, .batch = 64, .kv = DP_KV_F32};
    dp_session_desc part = whole;
    size_t count = 0;
    uint64_t each = dp_session_needs_of(r->model, &whole).host, room = dp_residency_room(&r->model->residency).host, hidden = 0;
    CHECK(each >= 2 * dp_model_get_info(r->model)->kv_bytes_per_token * 512 && room > each); /* a cache in f32 */
    while (count < SESSIONS_MAX && dp_session_new(r->model, &whole, &open[count]) == DP_OK) count++;
    CHECK_MSG(count == room / each, "%zu sessions of %llu bytes in %llu", count, (unsigned long long)each, (unsigned long long)room);
    const char *fits = strstr(dp_error_message(), "one of at most ");
    CHECK_MSG(fits && strstr(dp_error_message(), "a session of 512 positions takes ") && strstr(dp_error_message(), "MB short"), "%s", dp_error_message());
    part.context = fits ? atoi(fits + strlen("one of at most ")) : 0;
    hidden = dp_residency_room(&r->model->residency).host;
    CHECK(part.context < 512 && hidden < each && (part.context == 0 || dp_session_needs_of(r->model, &part).host <= hidden));
    part.context++;
    CHECK(dp_session_needs_of(r->model, &part).host > hidden);
    CHECK_FAILS(dp_session_new(r->model, &part, &open[count]), DP_E_MEMORY, "MB short");
    while (count) dp_session_free(open[--count]);
    CHECK(dp_residency_room(&r->model->residency).host == room);
}

TEST(a_cache_counts_in_the_budget) {
    static const int32_t slots[] = {0, 3};
    for (size_t i = 0; i < DP_COUNT(slots); i++) { /* mapped, paged */
        rig r;
        uint64_t ram = dp_host_memory_resident() + ((uint64_t)200 << 20);
        CHECK_OK(start(&r, test_path("models/storyteller"), DP_BACKEND_CPU, &(dp_model_desc){.ram = ram, .expert_slots = slots[i]}, 7));
        fill_with_sessions(&r);
        CHECK_OK(rig_run(&r, found));
        rig_close(&r);
    }
}

TEST(experts_by_hand) {
    rig r;
    dp_paging_stats stats;
    char *json;
    CHECK_OK(start(&r, test_path("models/storyteller"), DP_BACKEND_CPU, &(dp_model_desc){.expert_slots = 3}, 7));
    CHECK_OK(dp_model_load_expert(r.model, 2, 5));
    CHECK_OK(dp_model_load_expert(r.model, 2, 5));
    CHECK_OK(dp_model_pin_expert(r.model, 2, 5, true));
    CHECK_OK(dp_model_pin_expert(r.model, 2, 6, true));
    CHECK_FAILS(dp_model_pin_expert(r.model, 2, 7, true), DP_E_ARG, "one must stay free");
    CHECK_FAILS(dp_model_evict_expert(r.model, 2, 5), DP_E_ARG, "pinned");
    CHECK_FAILS(dp_model_load_expert(r.model, 6, 0), DP_E_ARG, "layer 6 has no experts");
    CHECK_FAILS(dp_model_load_expert(r.model, 0, 8), DP_E_ARG, "expected 0 to 7");
    CHECK_OK(run_once(test_path("models/storyteller"), DP_BACKEND_CPU, NULL, 7, expected));
    CHECK_OK(rig_run(&r, found));
    CHECK(memcmp(found, expected, TOKENS * r.vocab * sizeof(float)) == 0);
    CHECK(r.model->residency.pages->layers[2].cache.slot_of[5] >= 0 && r.model->residency.pages->layers[2].cache.slot_of[6] >= 0);
    CHECK_OK(dp_model_pin_expert(r.model, 2, 5, false));
    CHECK_OK(dp_model_evict_expert(r.model, 2, 5));
    CHECK_OK(dp_model_evict_expert(r.model, 2, 5));
    CHECK(r.model->residency.pages->layers[2].cache.slot_of[5] < 0);
    CHECK_OK(dp_model_paging_json(r.model, &json));
    CHECK_MSG(strstr(json, "\"layers\": [{\"layer\": 0, \"slots\": 3, "), "%s", json);
    dp_free(json);
    dp_model_paging_reset(r.model);
    dp_model_paging(r.model, &stats);
    CHECK(stats.hits == 0 && stats.misses == 0 && stats.reads == 0 && stats.slots_most == 3);
    rig_close(&r);
}

/* Experts that a callback chooses, not the router: those are read, and seen. */
static void only_the_last(void *user, int32_t layer, int32_t *ids, size_t tokens, int32_t k) {
    for (size_t i = 0; i < tokens * (size_t)k; i++) ids[i] = 7 - (int32_t)i % k;
    *(int *)user += layer == 0;
}
static void impossible(void *user, int32_t layer, int32_t *ids, size_t tokens, int32_t k) {
    (void)user, (void)layer, (void)tokens, (void)k;
    ids[0] = 8;
}

TEST(routing_can_be_seen_and_chosen) {
    rig r;
    int calls = 0;
    dp_paging_stats stats;
    CHECK_OK(start(&r, test_path("models/storyteller"), DP_BACKEND_CPU, &(dp_model_desc){.expert_slots = 2}, 7));
    dp_session_set_routing(r.session, only_the_last, &calls);
    CHECK_OK(rig_run(&r, found));
    dp_model_paging(r.model, &stats);
    CHECK(calls == (TOKENS + 6) / 7 && stats.misses == 12 && stats.hits == (uint64_t)(calls - 1) * 12);
    dp_session_set_routing(r.session, impossible, NULL);
    CHECK_FAILS(rig_run(&r, found), DP_E_ARG, "chose expert 8, there are 8");
    dp_session_set_routing(r.session, NULL, NULL);
    CHECK_OK(rig_run(&r, found));
    rig_close(&r);
}

/* What the pager counted is what replaying the routing it saw gives. */
static void write_routing(void *user, int32_t layer, int32_t *ids, size_t tokens, int32_t k) {
    dp_buf_printf(user, "%d", (int)layer);
    for (size_t i = 0; i < tokens * (size_t)k; i++) dp_buf_printf(user, "%c%d", i && i % (size_t)k == 0 ? ';' : ' ', (int)ids[i]);
    dp_buf_char(user, '\n');
}

TEST(a_replayed_trace_counts_the_same) {
    for (int32_t slots = 2; slots <= 6; slots++)
        for (int policy = DP_CACHE_LRFU; policy < DP_CACHE_BELADY; policy++) {
            rig r;
            dp_buf trace = {0};
            dp_paging_stats stats;
            dp_replay_result replayed;
            CHECK_OK(start(&r, test_path("models/storyteller"), DP_BACKEND_CPU, &(dp_model_desc){.expert_slots = slots, .cache = (dp_cache_policy)policy}, 1));
            dp_buf_str(&trace, "doppler-routing 1\n");
            dp_session_set_routing(r.session, write_routing, &trace);
            CHECK_OK(rig_run(&r, found));
            test_write("trace.txt", trace.data, trace.size);
            dp_buf_free(&trace);
            dp_model_paging(r.model, &stats);
            CHECK_OK(dp_cache_replay(test_file("trace.txt"), (dp_cache_policy)policy, slots, &replayed));
            CHECK(replayed.layers == 6 && replayed.steps == 6 * TOKENS && replayed.uses == stats.hits + stats.misses);
            CHECK_MSG(replayed.hits == stats.hits, "%d slots, policy %d: %llu hits, replayed %llu", (int)slots, policy,
                      (unsigned long long)stats.hits, (unsigned long long)replayed.hits);
            rig_close(&r);
        }
}

static dp_status short_life(void *user) {
    rig r;
    const int32_t ids[] = {1, 2, 3, 4, 5};
    dp_status status = start(&r, user, DP_BACKEND_CPU, &(dp_model_desc){.expert_slots = 2}, 4);
    if (status == DP_OK) status = dp_session_eval(r.session, ids, 5, NULL);
    rig_close(&r);
    return status;
}

TEST(paging_with_failing_allocations) {
    char path[400];
    CHECK_OK(paging_convert("mixtral", ".rdrr", "keep", DP_SHARD_EXPERT, path));
    CHECK(test_failing_allocations(short_life, path) > 50);
    CHECK(test_failing_allocations(short_life, (void *)paging_folder("gpt-oss")) > 50);
}

TEST_MAIN()
