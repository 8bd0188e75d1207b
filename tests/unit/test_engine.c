/* The engine: sessions, windows, truncation, generation, sharing between threads, failing allocations. Models are the
 * small reference models, on the reference path unless a test says otherwise. */
#include "refmodel.h"

#include "host/host.h"

typedef struct rig {
    dp_engine *engine;
    dp_model *model;
    size_t vocab;
} rig;

/* The reference model `name` as a folder with the small tokenizer; written once. */
static dp_status model_folder(const char *name, char folder[300]) {
    snprintf(folder, 300, "%s/%s", test_folder(), name);
    if (dp_path_what(folder) == DP_PATH_FOLDER) return DP_OK;
    TRY(refmodel_write(name, "config.json", folder));
    return refmodel_add_tokenizer(folder);
}

static dp_status rig_open(rig *r, const char *name, dp_backend_kind backend) {
    char folder[300];
    *r = (rig){0};
    TRY(model_folder(name, folder));
    TRY(dp_engine_open(&(dp_engine_desc){.backend = backend, .threads = 2}, &r->engine));
    TRY(dp_model_open(r->engine, folder, NULL, &r->model));
    r->vocab = (size_t)dp_model_get_info(r->model)->vocab;
    return DP_OK;
}

static void rig_close(rig *r) {
    dp_model_close(r->model);
    dp_engine_close(r->engine);
}

/* ---- what a profile counts ---- */

enum { PROFILED = 7, EXPERTS_MAX = 64, LAYERS_MAX = 16 };

typedef struct counted {
    bool chosen[LAYERS_MAX][EXPERTS_MAX];
    uint64_t bytes, expected;
} counted;

static void note_chosen(void *user, int32_t layer, int32_t *ids, size_t tokens, int32_t k) {
    counted *c = user;
    for (size_t i = 0; i < tokens * (size_t)k; i++) c->chosen[layer][ids[i]] = true;
}

static void add_bytes(void *user, const char *op, const char *label, double seconds, uint64_t bytes) {
    (void)label, (void)seconds;
    if (strcmp(op, "moe_matmul") == 0) ((counted *)user)->bytes += bytes;
}

/* The matrices of mixtral's experts are bf16 [256][256] here: three for each expert that any token of the step chose. */
TEST(a_profile_counts_each_chosen_expert_once) {
    static const int32_t counts[] = {1, PROFILED};
    rig r;
    dp_session *session;
    int32_t ids[PROFILED] = {5, 17, 300, 44, 9, 81, 230};
    CHECK_OK(rig_open(&r, "mixtral", DP_BACKEND_CPU));
    CHECK_OK(dp_session_new(r.model, &(dp_session_desc){.context = 32, .batch = PROFILED}, &session));
    for (size_t n = 0; n < DP_COUNT(counts); n++) {
        counted c = {0};
        dp_session_set_routing(session, note_chosen, &c);
        dp_session_set_profile(session, add_bytes, &c);
        CHECK_OK(dp_session_eval(session, ids, (size_t)counts[n], NULL));
        for (int l = 0; l < LAYERS_MAX; l++)
            for (int e = 0; e < EXPERTS_MAX; e++) c.expected += c.chosen[l][e] * 3 * 256 * 256 * 2;
        CHECK_MSG(c.bytes == c.expected, "%d tokens: %llu bytes, expected %llu", (int)counts[n], (unsigned long long)c.bytes, (unsigned long long)c.expected);
    }
    dp_session_free(session);
    rig_close(&r);
}

enum { LONG = 250 };

static void long_ids(int32_t *ids) {
    for (int i = 0; i < LONG; i++) ids[i] = 3 + (i * 37 + i / 7) % 500;
}

/* Logits after LONG tokens, in batches of `batch`. */
static dp_status run_long(rig *r, int32_t batch, float *logits) {
    dp_session *session;
    int32_t ids[LONG];
    long_ids(ids);
    TRY(dp_session_new(r->model, &(dp_session_desc){.context = LONG, .batch = batch, .kv = DP_KV_F32}, &session));
    dp_status status = dp_session_eval(session, ids, LONG, NULL);
    if (status == DP_OK) memcpy(logits, dp_session_logits(session), r->vocab * sizeof(float));
    dp_session_free(session);
    return status;
}

TEST(capabilities_of_the_cpu) {
    dp_engine *engine;
    dp_capabilities here, none = {0};
    CHECK_OK(dp_engine_open(&(dp_engine_desc){.backend = DP_BACKEND_CPU}, &engine));
    CHECK_OK(dp_engine_capabilities(engine, test_folder(), &here));
    CHECK(!here.gpu && here.unified && here.vram.total == 0 && here.vram.free == 0);
    CHECK(here.ram.free > 0 && here.ram.free <= here.ram.total && here.ram.total <= dp_host_memory_total());
    CHECK(here.disk.free > 0 && here.disk.free <= here.disk.total);
    CHECK_FAILS(dp_engine_capabilities(NULL, NULL, &none), DP_E_ARG, "engine or out is NULL");
    CHECK_FAILS(dp_engine_capabilities(engine, NULL, NULL), DP_E_ARG, "engine or out is NULL");
    dp_engine_close(engine);
}

/* Positions beyond two KV pages, windows that leave pages behind: the batch size must not matter. */
TEST(batches_agree_across_pages_and_windows) {
    static const char *const names[] = {"mistral", "gemma3", "deepseek-v3"};
    for (size_t i = 0; i < DP_COUNT(names); i++) {
        rig r;
        float a[512], b[512];
        CHECK_OK(rig_open(&r, names[i], DP_BACKEND_CPU_REF));
        CHECK_OK(run_long(&r, 250, a));
        CHECK_OK(run_long(&r, 33, b));
        CHECK_MSG(ref_relative_error(a, b, r.vocab) < 1e-6, "%s: %g", names[i], ref_relative_error(a, b, r.vocab));
        rig_close(&r);
    }
}

TEST(truncate_continues_as_if_never_longer) {
    rig r;
    dp_session *session;
    int32_t ids[LONG];
    float expected[512];
    long_ids(ids);
    CHECK_OK(rig_open(&r, "llama", DP_BACKEND_CPU_REF));
    CHECK_OK(run_long(&r, 64, expected));
    CHECK_OK(dp_session_new(r.model, &(dp_session_desc){.context = 256}, &session));
    CHECK_OK(dp_session_eval(session, ids, 140, NULL));
    CHECK_OK(dp_session_eval(session, (const int32_t[]){5, 6, 7, 8, 9}, 5, NULL));
    CHECK(dp_session_truncate(session, 140) == 140 && dp_session_length(session) == 140 && !dp_session_logits(session));
    CHECK(dp_session_truncate(session, 100) == 100);
    CHECK_OK(dp_session_eval(session, ids + 100, LONG - 100, NULL));
    CHECK(ref_relative_error(dp_session_logits(session), expected, r.vocab) < 1e-6);
    CHECK(memcmp(dp_session_ids(session), ids, sizeof ids) == 0);
    dp_session_free(session);
    rig_close(&r);
}

/* Mistral's window of 16 lets the first page go, so an early position cannot be continued from. */
TEST(truncate_into_a_dropped_page_starts_over) {
    rig r;
    dp_session *session;
    int32_t ids[LONG];
    float expected[512];
    long_ids(ids);
    CHECK_OK(rig_open(&r, "mistral", DP_BACKEND_CPU_REF));
    CHECK_OK(run_long(&r, 64, expected));
    CHECK_OK(dp_session_new(r.model, &(dp_session_desc){.context = 256}, &session));
    CHECK_OK(dp_session_eval(session, ids, 200, NULL));
    CHECK_OK(dp_session_eval(session, ids + 200, 1, NULL));
    CHECK(dp_session_truncate(session, 180) == 180);
    CHECK(dp_session_truncate(session, 50) == 0);
    CHECK_OK(dp_session_eval(session, ids, LONG, NULL));
    CHECK(ref_relative_error(dp_session_logits(session), expected, r.vocab) < 1e-6);
    dp_session_free(session);
    rig_close(&r);
}

TEST(bad_calls_say_what_is_wrong) {
    rig r;
    dp_session *session;
    CHECK_OK(rig_open(&r, "llama", DP_BACKEND_CPU_REF));
    CHECK_FAILS(dp_session_new(r.model, &(dp_session_desc){.context = 100000}, &session), DP_E_CONTEXT, "made for at most 256");
    CHECK_FAILS(dp_session_new(r.model, &(dp_session_desc){.batch = -1}, &session), DP_E_ARG, "batch -1");
    CHECK_OK(dp_session_new(r.model, &(dp_session_desc){.context = 8}, &session));
    CHECK(!dp_session_logits(session));
    CHECK_FAILS(dp_session_eval(session, (const int32_t[]){1, 512}, 2, NULL), DP_E_ARG, "token id 512 at index 1");
    CHECK_FAILS(dp_session_eval(session, (const int32_t[]){-1}, 1, NULL), DP_E_ARG, "token id -1");
    CHECK_FAILS(dp_session_eval(session, (const int32_t[]){1, 2, 3, 4, 5, 6, 7, 8, 9}, 9, NULL), DP_E_CONTEXT, "9 tokens do not fit");
    CHECK(dp_session_length(session) == 0);
    dp_session_free(session);
    CHECK_FAILS(dp_model_open(r.engine, "/nowhere/model", NULL, &r.model), DP_E_NOT_FOUND, "/nowhere/model");
    rig_close(&r);
}

/* ---- generation ---- */

typedef struct sink {
    char text[4096];
    size_t size;
    int calls, stop_after;
} sink;

static bool collect(void *user, const char *text, size_t size) {
    sink *s = user;
    if (s->size + size < sizeof s->text) memcpy(s->text + s->size, text, size), s->size += size;
    return ++s->calls != s->stop_after;
}

static dp_status generate(rig *r, sink *s, dp_generate_desc desc, int32_t context, dp_generate_result *result) {
    static const int32_t prompt[] = {1, 40, 41, 42};
    dp_session *session;
    int stop_after = s->stop_after;
    *s = (sink){.stop_after = stop_after};
    desc.prompt = prompt;
    desc.prompt_count = DP_COUNT(prompt);
    desc.on_text = collect;
    desc.user = s;
    TRY(dp_session_new(r->model, &(dp_session_desc){.context = context}, &session));
    dp_status status = dp_session_generate(session, &desc, result);
    dp_session_free(session);
    return status;
}

TEST(generation_stops_where_it_should) {
    rig r;
    sink whole = {0}, part = {0};
    dp_generate_result result;
    CHECK_OK(rig_open(&r, "llama", DP_BACKEND_CPU_REF));
    CHECK_OK(generate(&r, &whole, (dp_generate_desc){.max_tokens = 20}, 64, &result));
    CHECK(result.reason == DP_STOP_LENGTH && result.new_tokens == 20 && result.prompt_tokens == 4 && whole.size >= 20);
    CHECK_OK(generate(&r, &part, (dp_generate_desc){0}, 10, &result));
    CHECK(result.reason == DP_STOP_CONTEXT && result.new_tokens == 7 && memcmp(part.text, whole.text, part.size) == 0);
    part.stop_after = 3;
    CHECK_OK(generate(&r, &part, (dp_generate_desc){.max_tokens = 20}, 64, &result));
    CHECK(result.reason == DP_STOP_CALLER && part.calls == 3);
    /* a stop string that spans tokens: everything before it comes, nothing of it */
    part.stop_after = 0;
    size_t at = whole.size / 2;
    char stop[4] = {whole.text[at], whole.text[at + 1], whole.text[at + 2], 0};
    const char *stops[] = {"no such text", stop};
    size_t first = (size_t)(strstr(whole.text, stop) - whole.text);
    CHECK_OK(generate(&r, &part, (dp_generate_desc){.max_tokens = 20, .stops = stops, .stop_count = 2}, 64, &result));
    CHECK_MSG(result.reason == DP_STOP_STRING && part.size == first && memcmp(part.text, whole.text, first) == 0,
              "reason %d, \"%.*s\" of \"%s\", stop \"%s\"", (int)result.reason, (int)part.size, part.text, whole.text, stop);
    rig_close(&r);
}

TEST(generation_refuses_bad_prompts) {
    rig r;
    dp_session *session;
    int32_t ids[LONG];
    long_ids(ids);
    CHECK_OK(rig_open(&r, "llama", DP_BACKEND_CPU_REF));
    CHECK_OK(dp_session_new(r.model, &(dp_session_desc){.context = 100}, &session));
    CHECK_FAILS(dp_session_generate(session, &(dp_generate_desc){.prompt = ids, .prompt_count = LONG}, NULL), DP_E_CONTEXT, "the prompt has 250 tokens");
    CHECK_FAILS(dp_session_generate(session, &(dp_generate_desc){0}, NULL), DP_E_ARG, "prompt is empty");
    CHECK_FAILS(dp_session_generate(session, &(dp_generate_desc){.prompt = ids, .prompt_count = 3, .sampling = {.top_p = 2}}, NULL), DP_E_ARG, "sampling");
    dp_session_free(session);
    rig_close(&r);
}

TEST(same_seed_same_text) {
    rig r;
    sink a = {0}, b = {0}, c = {0};
    dp_generate_result result;
    dp_generate_desc desc = {.max_tokens = 24, .sampling = {.temperature = 1, .top_p = 0.95f, .seed = 11}};
    CHECK_OK(rig_open(&r, "mixtral", DP_BACKEND_CPU));
    CHECK_OK(generate(&r, &a, desc, 64, &result));
    CHECK_OK(generate(&r, &b, desc, 64, &result));
    desc.sampling.seed = 12;
    CHECK_OK(generate(&r, &c, desc, 64, &result));
    CHECK(a.size > 0 && a.size == b.size && memcmp(a.text, b.text, a.size) == 0);
    CHECK(c.size != a.size || memcmp(a.text, c.text, a.size) != 0);
    rig_close(&r);
}

/* ---- threads ---- */

typedef struct worker {
    rig *rig;
    int32_t batch;
    float logits[512];
    dp_status status;
} worker;

static void work(void *argument) {
    worker *w = argument;
    for (int i = 0; i < 3 && w->status == DP_OK; i++) w->status = run_long(w->rig, w->batch, w->logits);
}

TEST(two_threads_share_one_model) {
    rig r;
    float expected[512];
    worker workers[2] = {{.rig = &r, .batch = 50}, {.rig = &r, .batch = 50}};
    dp_thread *threads[2];
    CHECK_OK(rig_open(&r, "qwen3", DP_BACKEND_CPU));
    CHECK_OK(run_long(&r, 50, expected));
    for (int i = 0; i < 2; i++) CHECK_OK(dp_thread_start(work, &workers[i], &threads[i]));
    for (int i = 0; i < 2; i++) dp_thread_join(threads[i]);
    for (int i = 0; i < 2; i++) CHECK(workers[i].status == DP_OK && memcmp(workers[i].logits, expected, r.vocab * sizeof(float)) == 0);
    rig_close(&r);
}

/* ---- trace ---- */

typedef struct trace_state {
    int calls, stop_at;
    double hidden_error;
    const float *golden; /* [layers + 1][256] */
} trace_state;

/* The residual stream behind layer L is the golden input of layer L + 1. */
static bool on_op(void *user, const char *op, const char *label, const float *data, size_t rows, size_t cols) {
    trace_state *s = user;
    int layer;
    char rest[64];
    if (sscanf(label, "layers.%d.%60s", &layer, rest) == 2 && strcmp(rest, "residual") == 0 && s->golden && layer < 2)
        s->hidden_error = DP_MAX(s->hidden_error, ref_relative_error(data + (rows - 1) * cols, s->golden + (size_t)(layer + 1) * cols, cols));
    return *op && ++s->calls != s->stop_at;
}

TEST(trace_shows_the_published_hidden_states) {
    rig r;
    dp_session *session;
    ref_tensor golden, ids;
    CHECK_OK(rig_open(&r, "llama", DP_BACKEND_CPU_REF));
    CHECK_OK(ref_tensor_load(test_path("tests/data/models/llama/golden.safetensors"), "hidden_last_token", &golden));
    CHECK_OK(ref_tensor_load(test_path("tests/data/models/llama/golden.safetensors"), "input_ids", &ids));
    CHECK_OK(dp_session_new(r.model, NULL, &session));
    trace_state state = {.golden = golden.data};
    dp_session_set_trace(session, on_op, &state);
    CHECK_OK(dp_session_eval(session, ids.data, ids.size / 4, NULL));
    CHECK_MSG(state.calls > 30 && state.hidden_error > 0 && state.hidden_error < 1e-5, "%d calls, error %g", state.calls, state.hidden_error);
    dp_session_truncate(session, 0);
    state = (trace_state){.stop_at = 5};
    CHECK_FAILS(dp_session_eval(session, ids.data, 4, NULL), DP_E_CANCELLED, "trace callback");
    CHECK(state.calls == 5 && dp_session_length(session) == 0);
    dp_session_free(session);
    dp_free(golden.data);
    dp_free(ids.data);
    rig_close(&r);
}

/* ---- failing allocations ---- */

static dp_status whole_life(void *user) {
    const char *name = user;
    char folder[300];
    dp_engine *engine = NULL;
    dp_model *model = NULL;
    dp_session *session = NULL;
    snprintf(folder, sizeof folder, "%s/%s", test_folder(), name);
    dp_status status = dp_engine_open(&(dp_engine_desc){.backend = DP_BACKEND_CPU, .threads = 1}, &engine);
    if (status == DP_OK) status = dp_model_open(engine, folder, NULL, &model);
    if (status == DP_OK) status = dp_session_new(model, &(dp_session_desc){.context = 16}, &session);
    if (status == DP_OK) {
        dp_generate_desc desc = {.prompt = (const int32_t[]){1, 2, 3}, .prompt_count = 3, .max_tokens = 2};
        status = dp_session_generate(session, &desc, NULL);
    }
    dp_session_free(session);
    dp_model_close(model);
    dp_engine_close(engine);
    return status;
}

TEST(whole_life_with_failing_allocations) {
    char folder[300];
    CHECK_OK(model_folder("llama", folder));
    CHECK(test_failing_allocations(whole_life, (void *)"llama") > 50);
    CHECK_OK(model_folder("gpt-oss", folder));
    CHECK(test_failing_allocations(whole_life, (void *)"gpt-oss") > 50);
}

TEST_MAIN()
