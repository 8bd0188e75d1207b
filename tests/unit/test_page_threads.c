/* Paging while several threads are at it, small enough for ThreadSanitizer: two sessions compute with too few slots, loader
 * threads read and evict under them, and a third thread loads, pins and evicts by hand. Expected: the resident model's
 * logits, bit for bit. */
#include <stdatomic.h>

#include "host/host.h"
#include "paging.h"
#include "test.h"

enum { TOKENS = 6, VOCAB_MAX = 600 };

typedef struct job {
    dp_model *model;
    int32_t batch; /* 1: the next layer's experts are guessed; more: a chunk's experts come in groups */
    int rounds;
    bool same;
    float expected[TOKENS * VOCAB_MAX];
    dp_status status;
    atomic_int *running;
} job;

static dp_status run_tokens(dp_model *model, int32_t batch, float *logits) {
    int32_t ids[PAGING_TOKENS];
    dp_session *session = NULL;
    paging_ids(ids);
    dp_status status = dp_session_new(model, &(dp_session_desc){.context = 32, .batch = batch}, &session);
    if (status == DP_OK) status = dp_session_eval(session, ids, TOKENS, logits);
    dp_session_free(session);
    return status;
}

static void compute(void *user) {
    job *j = user;
    float *found = dp_malloc(sizeof j->expected);
    j->same = found != NULL;
    for (int i = 0; j->same && j->status == DP_OK && i < j->rounds; i++) {
        memset(found, 0xFF, sizeof j->expected);
        j->status = run_tokens(j->model, j->batch, found);
        j->same = memcmp(found, j->expected, TOKENS * (size_t)dp_model_get_info(j->model)->vocab * sizeof *found) == 0;
    }
    dp_free(found);
    atomic_fetch_sub(j->running, 1);
}

/* DP_E_ARG: pinned or in use just now. */
static bool meddle(dp_model *model, atomic_int *running) {
    bool fine = true;
    for (int n = 0; fine && (n < 20 || atomic_load(running) > 0); n++) {
        const dp_model_info *info = dp_model_get_info(model);
        int32_t layer = n % info->layers, expert = (n * 5) % info->experts;
        dp_paging_stats stats;
        dp_status status = dp_model_load_expert(model, layer, expert);
        fine = status == DP_OK || status == DP_E_ARG;
        status = dp_model_pin_expert(model, layer, expert, true);
        fine &= status == DP_OK || status == DP_E_ARG;
        if (status == DP_OK) fine &= dp_model_pin_expert(model, layer, expert, false) == DP_OK;
        status = dp_model_evict_expert(model, layer, (expert + 1) % info->experts);
        fine &= status == DP_OK || status == DP_E_ARG;
        dp_model_paging(model, &stats);
        fine &= stats.slots_most == 3;
        dp_thread_yield();
    }
    return fine;
}

TEST(loading_evicting_and_computing_at_once) {
    dp_engine *engine;
    dp_model *resident, *paged;
    dp_thread *threads[2];
    dp_paging_stats stats;
    atomic_int running;
    static job jobs[] = {{.batch = 1, .rounds = 3}, {.batch = TOKENS, .rounds = 3}};
    char path[400];
    CHECK_OK(paging_convert("mixtral", ".rdrr", "keep", DP_SHARD_EXPERT, path));
    CHECK_OK(dp_engine_open(&(dp_engine_desc){.backend = DP_BACKEND_CPU, .threads = 2}, &engine));
    CHECK_OK(dp_model_open(engine, path, NULL, &resident));
    CHECK(dp_model_get_info(resident)->vocab <= VOCAB_MAX);
    for (int i = 0; i < 2; i++) CHECK_OK(run_tokens(resident, jobs[i].batch, jobs[i].expected));
    dp_model_close(resident);
    CHECK_OK(dp_model_open(engine, path, &(dp_model_desc){.expert_slots = 3}, &paged));
    atomic_init(&running, 2);
    for (int i = 0; i < 2; i++) {
        jobs[i].model = paged;
        jobs[i].running = &running;
        CHECK_OK(dp_thread_start(compute, &jobs[i], &threads[i]));
    }
    bool fine = meddle(paged, &running);
    for (int i = 0; i < 2; i++) dp_thread_join(threads[i]);
    CHECK(fine);
    for (int i = 0; i < 2; i++) CHECK_MSG(jobs[i].status == DP_OK && jobs[i].same, "session %d: %s", i, dp_status_name(jobs[i].status));
    dp_model_paging(paged, &stats);
    CHECK(stats.evictions > 0 && stats.reads > 0 && stats.guesses > 0);
    dp_model_close(paged);
    dp_engine_close(engine);
}

TEST_MAIN()
