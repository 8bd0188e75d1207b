/* What goes wrong on a GPU while the engine uses it: the device is lost, memory runs out, the driver refuses a pipeline. Each
 * must be an error that says so, without a hang or a leak, and what is opened afterwards must work. Without a WebGPU device
 * these tests are skipped. */
#include "test.h"

#include "engine/engine.h"
#include "gpu/gpu_plan.h"
#include "host/host.h"

enum { PROMPT = 12, NEW = 10, CONTEXT = 64 };

typedef struct rig {
    dp_engine *engine;
    dp_model *model;
    dp_session *session;
    dp_gpu_fault fault;
    int32_t fault_at; /* the fault comes when so many new tokens are known; -1: never */
    int32_t ids[NEW], count;
} rig;

static dp_model_desc how; /* of the models opened */

static const char *model_path(void) { return test_path("tests/data/gguf/mixtral.Q4_K_M.gguf"); }
static dp_gpu *gpu_of(const rig *r) { return ((dp_gpu_backend *)r->engine->backend)->gpu; }

static dp_status engine_open(rig *r) {
    *r = (rig){.fault_at = -1};
    return dp_engine_open(&(dp_engine_desc){.backend = DP_BACKEND_GPU}, &r->engine);
}

static dp_status session_open(rig *r) {
    TRY(dp_model_open(r->engine, model_path(), &how, &r->model));
    return dp_session_new(r->model, &(dp_session_desc){.context = CONTEXT, .batch = 16}, &r->session);
}

static void session_close(rig *r) {
    dp_session_free(r->session);
    dp_model_close(r->model);
    r->session = NULL;
    r->model = NULL;
}

static void rig_close(rig *r) {
    session_close(r);
    dp_engine_close(r->engine);
}

static bool on_token(void *user, int32_t id) {
    rig *r = user;
    r->ids[r->count++] = id;
    if (r->count == r->fault_at) dp_gpu_provoke(gpu_of(r), r->fault, 0);
    return true;
}

static dp_status generate(rig *r) {
    int32_t prompt[PROMPT];
    for (int i = 0; i < PROMPT; i++) prompt[i] = 5 + i * 31 % 400;
    dp_generate_desc desc = {.prompt = prompt, .prompt_count = PROMPT, .max_tokens = NEW, .ignore_end = true, .on_token = on_token, .user = r};
    r->count = 0;
    return dp_session_generate(r->session, &desc, NULL);
}

static bool device_missing(void) {
    rig r;
    dp_status status = engine_open(&r);
    dp_engine_close(r.engine);
    return !test_opened(status);
}

/* The whole life of an engine, without faults. */
static void check_healthy(int32_t *ids) {
    rig r;
    CHECK_OK(engine_open(&r));
    CHECK_OK(session_open(&r));
    CHECK_OK(generate(&r));
    CHECK(r.count == NEW);
    memcpy(ids, r.ids, sizeof r.ids);
    rig_close(&r);
}

/* ---- allocations are counted, so that errors on the way out leave nothing ---- */

static long live;

static void *counted(void *user, void *memory, size_t size) {
    (void)user;
    if (!size) {
        live -= memory != NULL;
        free(memory);
        return NULL;
    }
    live += memory == NULL;
    return realloc(memory, size);
}

/* ---- loss ---- */

static void check_lost_while_generating(int32_t at) {
    rig r;
    CHECK_OK(engine_open(&r));
    CHECK_OK(session_open(&r));
    r.fault = DP_GPU_FAULT_LOST;
    r.fault_at = at;
    double start = dp_host_seconds();
    CHECK_FAILS(generate(&r), DP_E_DEVICE, "was lost and must be opened anew");
    CHECK_MSG(r.count >= at && r.count < NEW, "%d tokens", (int)r.count);
    CHECK_FAILS(generate(&r), DP_E_DEVICE, "was lost");
    CHECK_FAILS(dp_session_eval(r.session, &(int32_t){7}, 1, NULL), DP_E_DEVICE, "was lost");
    session_close(&r);
    CHECK_FAILS(session_open(&r), DP_E_DEVICE, "was lost");
    rig_close(&r);
    CHECK_MSG(dp_host_seconds() - start < 60, "took %.1f s", dp_host_seconds() - start);
}

TEST(lost_while_generating) {
    int32_t before[NEW], after[NEW];
    if (device_missing()) return;
    dp_set_allocator(counted, NULL);
    check_healthy(before);
    check_lost_while_generating(1);
    check_lost_while_generating(4);
    check_healthy(after);
    dp_set_allocator(NULL, NULL);
    CHECK(memcmp(before, after, sizeof before) == 0);
    CHECK_MSG(live == 0, "%ld blocks leaked", live);
}

static bool lose_at_half(void *user, const char *what, uint64_t done, uint64_t total) {
    if (strcmp(what, "to the GPU") == 0 && done > total / 2) dp_gpu_provoke(gpu_of(user), DP_GPU_FAULT_LOST, 0);
    return true;
}

TEST(lost_while_loading) {
    rig r;
    int32_t ids[NEW];
    if (device_missing()) return;
    CHECK_OK(engine_open(&r));
    CHECK_FAILS(dp_model_open(r.engine, model_path(), &(dp_model_desc){.progress = lose_at_half, .user = &r}, &r.model), DP_E_DEVICE, "was lost");
    CHECK(!r.model);
    rig_close(&r);
    check_healthy(ids);
}

/* ---- memory and pipelines: every one of them failing in turn, on one engine ---- */

static void check_in_turn(dp_gpu_fault fault, dp_status expected, const char *why, uint32_t least) {
    rig r;
    int32_t ids[NEW];
    uint32_t failed = 0;
    dp_status status;
    check_healthy(ids);
    dp_set_allocator(counted, NULL);
    CHECK_OK(engine_open(&r));
    do {
        /* pipelines stay with the engine: the one that was refused is made, the next one is not */
        dp_gpu_provoke(gpu_of(&r), fault, fault == DP_GPU_FAULT_PIPELINE ? failed > 0 : failed);
        status = session_open(&r);
        if (status == DP_OK) status = generate(&r);
        if (status != DP_OK) {
            CHECK_MSG(status == expected && strstr(dp_error_message(), why), "failure %u: %s: %s", (unsigned)failed, dp_status_name(status), dp_error_message());
            failed++;
        }
        if (status == DP_OK) CHECK(memcmp(r.ids, ids, sizeof ids) == 0);
        session_close(&r);
    } while (status != DP_OK);
    rig_close(&r);
    dp_set_allocator(NULL, NULL);
    printf("  %u failures\n", (unsigned)failed);
    CHECK(failed >= least);
    CHECK_MSG(live == 0, "%ld blocks leaked", live);
}

TEST(no_room_for_a_buffer) {
    if (!device_missing()) check_in_turn(DP_GPU_FAULT_MEMORY, DP_E_MEMORY, "no room for", 50);
}

TEST(a_pipeline_refused) {
    if (!device_missing()) check_in_turn(DP_GPU_FAULT_PIPELINE, DP_E_DEVICE, "kernel ", 10);
}

/* Experts that the device fetches from host memory by itself, where it can. */
static bool fetches(void) {
    rig r;
    if (device_missing() || engine_open(&r) != DP_OK) return false;
    bool can = r.engine->backend->api->reads_host(r.engine->backend);
    dp_engine_close(r.engine);
    if (can) how = (dp_model_desc){.expert_slots = 3, .misses = DP_MISSES_FETCH};
    else test_skip("this GPU reads no host memory");
    return can;
}

TEST(fetching_and_lost) {
    if (!fetches()) return;
    dp_set_allocator(counted, NULL);
    check_lost_while_generating(1);
    check_lost_while_generating(4);
    dp_set_allocator(NULL, NULL);
    how = (dp_model_desc){0};
    CHECK_MSG(live == 0, "%ld blocks leaked", live);
}

TEST(fetching_and_no_room) {
    if (!fetches()) return;
    check_in_turn(DP_GPU_FAULT_MEMORY, DP_E_MEMORY, "no room for", 50);
    how = (dp_model_desc){0};
}

/* Draws that nobody takes: the session goes, and another one finds the slots as they are. */
TEST(fetching_and_left) {
    rig r;
    int32_t ids[NEW];
    if (!fetches()) return;
    check_healthy(ids);
    CHECK_OK(engine_open(&r));
    CHECK_OK(session_open(&r));
    for (int again = 0; again < 2; again++) {
        const dp_backend_api *api = r.engine->backend->api;
        const dp_draw_rules rules = {.ids = ids, .count = 1, .context = CONTEXT};
        dp_step step;
        CHECK_OK(generate(&r));
        CHECK_OK(api->draw_begin(r.session->plan, &rules));
        CHECK_OK(dp_session_step(r.session, ids, 1, 0, 1, &step));
        CHECK_OK(api->draw(r.session->plan, &step, true));
        dp_session_free(r.session);
        CHECK_OK(dp_session_new(r.model, &(dp_session_desc){.context = CONTEXT, .batch = 16}, &r.session));
    }
    CHECK_OK(generate(&r));
    CHECK(memcmp(r.ids, ids, sizeof ids) == 0);
    rig_close(&r);
    how = (dp_model_desc){0};
}

/* What failed before anything was computed can be tried again on the same session. */
TEST(a_session_survives) {
    rig r;
    int32_t ids[NEW];
    if (device_missing()) return;
    check_healthy(ids);
    CHECK_OK(engine_open(&r));
    CHECK_OK(session_open(&r));
    dp_gpu_provoke(gpu_of(&r), DP_GPU_FAULT_PIPELINE, 2);
    CHECK_FAILS(generate(&r), DP_E_DEVICE, "kernel ");
    CHECK_OK(generate(&r));
    CHECK(memcmp(r.ids, ids, sizeof ids) == 0);
    rig_close(&r);
}

TEST_MAIN()
