/* pool.c: the threads behind every op of the CPU backend, and behind what a GPU backend sends.
 *
 * A run is open while its tasks are handed out. A worker joins an open run, takes tasks until none is left and leaves;
 * the caller takes tasks too, closes the run and waits for the workers inside. So a worker that the system does not
 * schedule in time costs nothing: the run is done without it. `state` holds all of this in one word:
 *
 *   bits 63..32  number of the run      bit 31  open      bits 30..0  workers inside
 *
 * The fields that describe a run change only while it is closed and nobody is inside.
 * Idle workers watch `state` for some microseconds, because the next op usually follows at once, then sleep. Told that runs
 * will come they watch for milliseconds: waking them, one by one, takes longer than a short run. */
#include "host/pool.h"

#include <stdatomic.h>

#if defined(__x86_64__) || defined(__i386__)
#define PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ volatile("yield")
#else
#define PAUSE() ((void)0)
#endif

static const double SPIN_SECONDS = 60e-6, AWAKE_SECONDS = 5e-3;
enum { PAUSES_PER_LOOK = 32, LOOKS_BEFORE_YIELD = 4, YIELDS_BEFORE_SLEEP = 64, CACHE_LINE = 64 };

static const uint64_t OPEN = UINT64_C(1) << 31;
static const uint64_t INSIDE = (UINT64_C(1) << 31) - 1;

typedef struct worker {
    dp_pool *pool;
    dp_thread *thread;
    int32_t index;
} worker;

struct dp_pool {
    int32_t threads;
    worker *workers; /* [threads - 1] */
    dp_mutex *lock;
    dp_cond *wake; /* a run opened, or the pool ends */
    dp_cond *left; /* the last worker left a closed run */
    dp_pool_task task;
    void *context;
    int32_t count;
    char pad0[CACHE_LINE];
    _Atomic uint64_t state;
    atomic_int sleepers;
    atomic_bool caller_sleeps;
    atomic_bool stop;
    atomic_bool awake;
    atomic_uint calls; /* to be awake */
    char pad1[CACHE_LINE];
    _Atomic int32_t next;
    char pad2[CACHE_LINE];
};

static uint32_t run_number(uint64_t state) { return (uint32_t)(state >> 32); }

static void take_tasks(dp_pool *pool, int32_t thread) {
    for (;;) {
        int32_t index = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (index >= pool->count) return;
        pool->task(pool->context, index, thread);
    }
}

/* Enters the run if one is open that this worker has not seen; *seen becomes its number. */
static bool join_run(dp_pool *pool, uint32_t *seen) {
    uint64_t state = atomic_load(&pool->state);
    while ((state & OPEN) && run_number(state) != *seen) {
        if (atomic_compare_exchange_weak(&pool->state, &state, state + 1)) {
            *seen = run_number(state);
            return true;
        }
    }
    return false;
}

static void leave_run(dp_pool *pool) {
    uint64_t before = atomic_fetch_sub(&pool->state, 1);
    if ((before & INSIDE) != 1 || !atomic_load(&pool->caller_sleeps)) return;
    dp_mutex_lock(pool->lock);
    dp_cond_broadcast(pool->left);
    dp_mutex_unlock(pool->lock);
}

static bool something_new(dp_pool *pool, uint32_t seen) {
    uint64_t state = atomic_load(&pool->state);
    return ((state & OPEN) && run_number(state) != seen) || atomic_load(&pool->stop);
}

static void wait_for_run(dp_pool *pool, uint32_t seen) {
    unsigned calls = atomic_load(&pool->calls);
    double until = dp_host_seconds() + (atomic_load(&pool->awake) ? AWAKE_SECONDS : SPIN_SECONDS);
    for (int look = 0; dp_host_seconds() < until; look++) {
        for (int i = 0; i < PAUSES_PER_LOOK; i++) {
            if (something_new(pool, seen)) return;
            PAUSE();
        }
        if (look >= LOOKS_BEFORE_YIELD) dp_thread_yield(); /* whoever shares this core may need it to open the run */
    }
    dp_mutex_lock(pool->lock);
    atomic_fetch_add(&pool->sleepers, 1);
    while (!something_new(pool, seen) && atomic_load(&pool->calls) == calls) dp_cond_wait(pool->wake, pool->lock);
    atomic_fetch_sub(&pool->sleepers, 1);
    dp_mutex_unlock(pool->lock);
}

static void work(void *argument) {
    worker *self = argument;
    dp_pool *pool = self->pool;
    uint32_t seen = 0;
    while (!atomic_load(&pool->stop)) {
        if (join_run(pool, &seen)) {
            take_tasks(pool, self->index);
            leave_run(pool);
        } else {
            wait_for_run(pool, seen);
        }
    }
}

static void wake_sleepers(dp_pool *pool) {
    if (!atomic_load(&pool->sleepers)) return;
    dp_mutex_lock(pool->lock);
    dp_cond_broadcast(pool->wake);
    dp_mutex_unlock(pool->lock);
}

static bool inside(dp_pool *pool) { return (atomic_load(&pool->state) & INSIDE) != 0; }

/* Workers inside a closed run are busy with its last tasks. */
static void wait_until_empty(dp_pool *pool) {
    for (int round = 0; round < YIELDS_BEFORE_SLEEP; round++) {
        for (int i = 0; i < PAUSES_PER_LOOK; i++) {
            if (!inside(pool)) return;
            PAUSE();
        }
        if (round >= LOOKS_BEFORE_YIELD) dp_thread_yield();
    }
    dp_mutex_lock(pool->lock);
    atomic_store(&pool->caller_sleeps, true);
    while (inside(pool)) dp_cond_wait(pool->left, pool->lock);
    atomic_store(&pool->caller_sleeps, false);
    dp_mutex_unlock(pool->lock);
}

void dp_pool_run(dp_pool *pool, dp_pool_task task, void *context, int32_t count) {
    if (pool->threads == 1 || count <= 1) {
        for (int32_t i = 0; i < count; i++) task(context, i, 0);
        return;
    }
    pool->task = task;
    pool->context = context;
    pool->count = count;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    uint32_t number = run_number(atomic_load(&pool->state)) + 1;
    atomic_store(&pool->state, (uint64_t)number << 32 | OPEN);
    wake_sleepers(pool);
    take_tasks(pool, 0);
    atomic_fetch_and(&pool->state, ~OPEN);
    wait_until_empty(pool);
}

void dp_pool_awake(dp_pool *pool, bool on) {
    atomic_store(&pool->awake, on);
    if (!on || pool->threads == 1) return;
    atomic_fetch_add(&pool->calls, 1);
    wake_sleepers(pool);
}

static dp_status start_workers(dp_pool *pool, int32_t threads) {
    TRY(dp_mutex_new(&pool->lock));
    TRY(dp_cond_new(&pool->wake));
    TRY(dp_cond_new(&pool->left));
    pool->workers = dp_calloc((size_t)threads - 1, sizeof *pool->workers);
    if (!pool->workers) return dp_no_memory(((size_t)threads - 1) * sizeof *pool->workers);
    while (pool->threads < threads) {
        worker *w = &pool->workers[pool->threads - 1];
        *w = (worker){.pool = pool, .index = pool->threads};
        dp_status status = dp_thread_start(work, w, &w->thread);
        if (status == DP_E_MEMORY) return status;
        if (status != DP_OK) return DP_OK; /* the system gives no more: go on with those there are */
        pool->threads++;
    }
    return DP_OK;
}

dp_status dp_pool_new(int32_t threads, dp_pool **out) {
    if (threads < 1 || threads > 1024)
        return dp_fail(DP_E_ARG, "thread pool: %d threads asked for, expected 1 to 1024", (int)threads);
    dp_pool *pool = dp_calloc(1, sizeof *pool);
    if (!pool) return dp_no_memory(sizeof *pool);
    pool->threads = 1;
    if (threads > 1) {
        dp_status status = start_workers(pool, threads);
        if (status != DP_OK) {
            dp_pool_free(pool);
            return status;
        }
    }
    *out = pool;
    return DP_OK;
}

void dp_pool_free(dp_pool *pool) {
    if (!pool) return;
    atomic_store(&pool->stop, true);
    if (pool->threads > 1) {
        dp_mutex_lock(pool->lock);
        dp_cond_broadcast(pool->wake);
        dp_mutex_unlock(pool->lock);
    }
    for (int32_t i = 0; i < pool->threads - 1; i++) dp_thread_join(pool->workers[i].thread);
    dp_free(pool->workers);
    dp_cond_free(pool->left);
    dp_cond_free(pool->wake);
    dp_mutex_free(pool->lock);
    dp_free(pool);
}

int32_t dp_pool_threads(const dp_pool *pool) { return pool->threads; }
