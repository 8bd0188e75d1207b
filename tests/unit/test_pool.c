/* Thread pool: every task runs once, results are visible afterwards, idle pools wake up, threads are given back. */
#include "test.h"

#include <stdatomic.h>

#include "host/pool.h"

enum { MOST = 1000 };

typedef struct tally {
    int32_t threads;
    int32_t runs[MOST];      /* plain: each is written by one task */
    atomic_int per_thread[64];
    atomic_bool bad_thread;
} tally;

static void count_task(void *context, int32_t index, int32_t thread) {
    tally *t = context;
    t->runs[index]++;
    if (thread < 0 || thread >= t->threads) atomic_store(&t->bad_thread, true);
    else atomic_fetch_add(&t->per_thread[thread], 1);
}

TEST(every_task_runs_once) {
    static const int32_t threads[] = {1, 2, 3, 8};
    static const int32_t counts[] = {0, 1, 2, 7, MOST};
    for (size_t i = 0; i < DP_COUNT(threads); i++) {
        dp_pool *pool = NULL;
        CHECK_OK(dp_pool_new(threads[i], &pool));
        CHECK(dp_pool_threads(pool) == threads[i]);
        for (int round = 0; round < 300; round++) {
            int32_t count = counts[round % (int)DP_COUNT(counts)];
            static tally t;
            memset(&t, 0, sizeof t);
            t.threads = threads[i];
            dp_pool_run(pool, count_task, &t, count);
            for (int32_t k = 0; k < MOST; k++)
                CHECK_MSG(t.runs[k] == (k < count), "%d threads, %d tasks: task %d ran %d times", (int)threads[i],
                          (int)count, (int)k, (int)t.runs[k]);
            CHECK(!atomic_load(&t.bad_thread));
        }
        dp_pool_free(pool);
    }
}

static void wait_task(void *context, int32_t index, int32_t thread) {
    (void)index;
    (void)thread;
    atomic_int *there = context;
    atomic_fetch_add(there, 1);
    double until = dp_host_seconds() + 20;
    while (atomic_load(there) < 2 && dp_host_seconds() < until) dp_thread_yield();
}

/* Two tasks that wait for each other end only if two threads take part; the pauses let the worker fall asleep. */
TEST(sleeping_workers_wake) {
    dp_pool *pool = NULL;
    CHECK_OK(dp_pool_new(2, &pool));
    for (int round = 0; round < 20; round++) {
        double until = dp_host_seconds() + (round % 2 ? 2e-3 : 0);
        while (dp_host_seconds() < until) dp_thread_yield();
        atomic_int there = 0;
        double before = dp_host_seconds();
        dp_pool_run(pool, wait_task, &there, 2);
        CHECK(atomic_load(&there) == 2 && dp_host_seconds() - before < 20);
    }
    dp_pool_free(pool);
}

/* The same of a pool that is told that runs will come, and that none will. */
TEST(workers_that_stay_awake) {
    dp_pool *pool = NULL;
    CHECK_OK(dp_pool_new(2, &pool));
    for (int round = 0; round < 20; round++) {
        double until = dp_host_seconds() + (round % 2 ? 2e-3 : round % 5 ? 0 : 7e-3);
        if (round % 3 < 2) dp_pool_awake(pool, round % 3 == 0);
        while (dp_host_seconds() < until) dp_thread_yield();
        atomic_int there = 0;
        dp_pool_run(pool, wait_task, &there, 2);
        CHECK(atomic_load(&there) == 2);
    }
    dp_pool_free(pool);
}

static void slow_last_task(void *context, int32_t index, int32_t thread) {
    (void)thread;
    double until = dp_host_seconds() + (index == 1 ? 5e-3 : 0);
    while (dp_host_seconds() < until) dp_thread_yield();
    ((int32_t *)context)[index] = index + 1;
}

/* The caller runs out of tasks long before the worker: it sleeps and is woken. */
TEST(caller_waits_for_slow_tasks) {
    dp_pool *pool = NULL;
    CHECK_OK(dp_pool_new(4, &pool));
    for (int round = 0; round < 20; round++) {
        int32_t done[4] = {0};
        dp_pool_run(pool, slow_last_task, done, 4);
        for (int32_t i = 0; i < 4; i++) CHECK(done[i] == i + 1);
    }
    dp_pool_free(pool);
}

TEST(bad_thread_counts) {
    dp_pool *pool = NULL;
    CHECK_FAILS(dp_pool_new(0, &pool), DP_E_ARG, "0 threads");
    CHECK_FAILS(dp_pool_new(-3, &pool), DP_E_ARG, "-3 threads");
    CHECK_FAILS(dp_pool_new(100000, &pool), DP_E_ARG, "100000 threads");
    CHECK(pool == NULL);
    dp_pool_free(NULL);
}

static dp_status open_and_close(void *user) {
    (void)user;
    dp_pool *pool = NULL;
    TRY(dp_pool_new(3, &pool));
    dp_pool_free(pool);
    return DP_OK;
}

TEST(allocations_fail_cleanly) { CHECK(test_failing_allocations(open_and_close, NULL) > 4); }

TEST_MAIN()
