/* Sessions on a GPU: two of them on two threads, and how much memory all of it takes, on the device and on the host. Without a
 * WebGPU device these tests are skipped. */
#include "test.h"

#include "engine/engine.h"
#include "gpu/gpu_plan.h"
#include "host/host.h"

enum { PROMPT = 12, NEW = 20, CONTEXT = 96, BATCH = 16 };

static const char *model_path(void) { return test_path("tests/data/gguf/mixtral.Q4_K_M.gguf"); }
static dp_gpu *gpu_of(const dp_engine *engine) { return ((dp_gpu_backend *)engine->backend)->gpu; }

static dp_engine *open_engine(void) {
    dp_engine *engine = NULL;
    test_opened(dp_engine_open(&(dp_engine_desc){.backend = DP_BACKEND_GPU}, &engine));
    return engine;
}

/* ---- threads ---- */

typedef struct worker {
    dp_model *model;
    dp_status status;
    char message[200];
    int32_t first, ids[NEW], count;
} worker;

static bool on_token(void *user, int32_t id) {
    worker *w = user;
    w->ids[w->count++] = id;
    return true;
}

/* A session's whole life, three times. */
static void work(void *argument) {
    worker *w = argument;
    int32_t prompt[PROMPT];
    for (int i = 0; i < PROMPT; i++) prompt[i] = w->first + i * 29 % 400;
    for (int round = 0; round < 3 && w->status == DP_OK; round++) {
        dp_session *session = NULL;
        dp_generate_desc desc = {.prompt = prompt, .prompt_count = PROMPT, .max_tokens = NEW, .ignore_end = true, .on_token = on_token, .user = w};
        w->count = 0;
        w->status = dp_session_new(w->model, &(dp_session_desc){.context = CONTEXT, .batch = BATCH}, &session);
        if (w->status == DP_OK) w->status = dp_session_generate(session, &desc, NULL);
        if (w->status != DP_OK) snprintf(w->message, sizeof w->message, "%s", dp_error_message());
        dp_session_free(session);
    }
}

TEST(two_threads_share_one_gpu) {
    dp_engine *engine = open_engine();
    dp_model *model;
    dp_thread *threads[2];
    if (!engine) return;
    CHECK_OK(dp_model_open(engine, model_path(), NULL, &model));
    worker alone[2] = {{.model = model, .first = 3}, {.model = model, .first = 50}}, together[2] = {alone[0], alone[1]};
    for (int i = 0; i < 2; i++) work(&alone[i]);
    for (int i = 0; i < 2; i++) CHECK_OK(dp_thread_start(work, &together[i], &threads[i]));
    for (int i = 0; i < 2; i++) dp_thread_join(threads[i]);
    for (int i = 0; i < 2; i++) {
        CHECK_MSG(alone[i].status == DP_OK && together[i].status == DP_OK, "%s %s", alone[i].message, together[i].message);
        CHECK(together[i].count == NEW && memcmp(alone[i].ids, together[i].ids, sizeof alone[i].ids) == 0);
    }
    dp_model_close(model);
    dp_engine_close(engine);
}

/* Equal parameters share a slot: many sessions fit. */
TEST(many_sessions) {
    enum { MANY = 24 };
    dp_engine *engine = open_engine();
    dp_session *sessions[MANY];
    dp_model *model;
    float first = 0;
    if (!engine) return;
    CHECK_OK(dp_model_open(engine, model_path(), NULL, &model));
    for (int i = 0; i < MANY; i++) {
        CHECK_OK(dp_session_new(model, &(dp_session_desc){.context = CONTEXT, .batch = BATCH}, &sessions[i]));
        CHECK_OK(dp_session_eval(sessions[i], (int32_t[]){5, 6, 7}, 3, NULL));
        if (i == 0) first = dp_session_logits(sessions[0])[9];
        CHECK(dp_session_logits(sessions[i])[9] == first);
    }
    size_t slots = ((dp_gpu_backend *)engine->backend)->params_count;
    for (int i = 0; i < MANY; i++) dp_session_free(sessions[i]);
    CHECK_MSG(slots < 200, "%zu parameter slots", slots);
    dp_model_close(model);
    dp_engine_close(engine);
}

/* ---- memory ---- */

static uint64_t slot_bytes(const dp_model *model) {
    const dp_program *p = model->built->program;
    uint64_t bytes = 0;
    for (size_t i = 0; i < p->slot_count; i++) bytes += (uint64_t)BATCH * (uint64_t)p->slots[i].cols * 4;
    return bytes;
}

TEST(memory_is_counted) {
    dp_engine *engine = open_engine();
    dp_model *model;
    dp_session *session;
    dp_device_memory none, loaded, open, closed;
    if (!engine) return;
    dp_engine_memory(engine, &none);
    CHECK(none.weights == 0 && none.kv == 0 && none.activations < 4096);
    CHECK_OK(dp_model_open(engine, model_path(), NULL, &model));
    const dp_model_info *info = dp_model_get_info(model);
    dp_engine_memory(engine, &loaded);
    CHECK_OK(dp_session_new(model, &(dp_session_desc){.context = CONTEXT, .batch = BATCH}, &session));
    CHECK_OK(dp_session_eval(session, (int32_t[]){1, 2, 3, 4, 5, 6, 7}, 7, NULL));
    CHECK_OK(dp_session_eval(session, (int32_t[]){8}, 1, NULL));
    dp_engine_memory(engine, &open);
    printf("  weights %llu of %llu stored, KV %llu, activations %llu, transfer %llu bytes\n", (unsigned long long)open.weights,
           (unsigned long long)info->weight_bytes, (unsigned long long)open.kv, (unsigned long long)open.activations, (unsigned long long)open.transfer);
    CHECK(loaded.weights == open.weights && open.weights >= info->weight_bytes && open.weights < info->weight_bytes + info->weight_bytes / 50);
    CHECK(open.kv == info->kv_bytes_per_token * CONTEXT);
    CHECK(open.activations >= slot_bytes(model) && open.activations < 2 * slot_bytes(model) + (1 << 20));
    dp_session_free(session);
    dp_model_close(model);
    dp_engine_memory(engine, &closed);
    CHECK(closed.weights == 0 && closed.kv == 0 && closed.activations == none.activations);
    dp_engine_close(engine);
}

/* Bytes of this process's memory that belong to no file; 0 if not known. */
static uint64_t own_memory(void) {
    char line[200];
    unsigned long long kb, sum = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "RssAnon: %llu", &kb) == 1 || sscanf(line, "RssShmem: %llu", &kb) == 1) sum += kb;
    if (file) fclose(file);
    return sum * 1024;
}

typedef struct watch {
    dp_gpu *gpu;
    uint64_t before, most; /* beyond what the device holds, if that is memory of this process too */
} watch;

static bool look(void *user, const char *what, uint64_t done, uint64_t total) {
    watch *w = user;
    uint64_t buffers, transfer, now = own_memory();
    (void)what, (void)done, (void)total;
    dp_gpu_memory(w->gpu, &buffers, &transfer);
    if (!dp_gpu_get_caps(w->gpu)->software) buffers = 0;
    if (now > w->before + buffers) w->most = DP_MAX(w->most, now - w->before - buffers);
    return true;
}

/* A model of 390 MB, made for the purpose. */
TEST(loading_takes_little_memory) {
    char path[300];
    dp_engine *engine = open_engine();
    dp_model *model;
    if (!engine) return;
    snprintf(path, sizeof path, "%s/synthetic", test_folder());
    CHECK_OK(dp_synth(&(dp_synth_desc){.like = "qwen3-0.6b", .output.path = path}, &(dp_convert_result){0}));
    watch w = {gpu_of(engine), own_memory(), 0};
    CHECK_OK(dp_model_open(engine, path, &(dp_model_desc){.progress = look, .user = &w}, &model));
    look(&w, "", 0, 0);
    uint64_t buffers, transfer, stored = dp_model_get_info(model)->weight_bytes;
    dp_gpu_memory(w.gpu, &buffers, &transfer);
    printf("  %.0f MB of weights: at most %.0f MB on the host besides, %.0f MB on the device and %.0f MB to get there\n", (double)stored * 1e-6,
           (double)w.most * 1e-6, (double)buffers * 1e-6, (double)transfer * 1e-6);
    CHECK(w.before == 0 || w.most < 256 << 20);
    CHECK(buffers < stored + stored / 10);
    dp_model_close(model);
    dp_engine_close(engine);
}

TEST_MAIN()
