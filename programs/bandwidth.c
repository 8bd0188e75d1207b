/* bandwidth.c: see bandwidth.h. Each thread sums its own part of the buffer, pass after pass, and all wait for each
 * other between passes, as the threads of a matrix-vector product do. */
#define _DEFAULT_SOURCE /* POSIX within -std=c11 */
#include "bandwidth.h"

#include <stdatomic.h>
#include <unistd.h>

#include "host/host.h"
#include "tool.h"

enum { PASSES = 7, THREADS_MAX = 1024, AHEAD = 3072 };

typedef struct probe {
    const uint64_t *data;
    size_t words; /* of each thread */
    int threads;
    atomic_int arrived, pass; /* a barrier: the last to arrive opens the next pass */
    atomic_bool given_up;
    atomic_uint_fast64_t sum; /* keeps the reads alive */
    double start[PASSES + 1];
} probe;

typedef struct reader {
    probe *p;
    size_t first;
    dp_thread *thread;
} reader;

static uint64_t sum_words(const uint64_t *p, size_t n) {
    uint64_t s[8] = {0};
    for (size_t i = 0; i + 8 <= n; i += 8) { /* a cache line */
        __builtin_prefetch((const void *)((uintptr_t)(p + i) + AHEAD));
        for (size_t k = 0; k < 8; k++) s[k] += p[i + k];
    }
    return s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7];
}

static bool wait_for_all(probe *p, int pass) {
    if (atomic_fetch_add(&p->arrived, 1) + 1 == p->threads) {
        p->start[pass] = dp_host_seconds();
        atomic_store(&p->arrived, 0);
        atomic_store(&p->pass, pass + 1);
    }
    while (atomic_load(&p->pass) <= pass) {
        if (atomic_load(&p->given_up)) return false;
        dp_thread_yield();
    }
    return true;
}

static void read_part(void *argument) {
    reader *r = argument;
    for (int pass = 0; pass <= PASSES; pass++) {
        if (!wait_for_all(r->p, pass)) return;
        if (pass < PASSES) atomic_fetch_add(&r->p->sum, sum_words(r->p->data + r->first, r->p->words));
    }
}

/* 512 MB to 1 GB, four last-level caches if possible, at most a quarter of the memory. */
static size_t buffer_size(void) {
    uint64_t size = 512 << 20, memory = dp_host_memory_total();
#if defined(_SC_LEVEL3_CACHE_SIZE)
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (cache > 0) size = DP_MIN(DP_MAX(size, 4 * (uint64_t)cache), (uint64_t)1 << 30);
#endif
    return (size_t)(memory ? DP_MIN(size, memory / 4) : size);
}

/* The calling thread reads too. */
static dp_status run_readers(probe *p, reader *readers) {
    dp_status status = DP_OK;
    int started = 1;
    for (int i = 0; i < p->threads; i++) readers[i] = (reader){.p = p, .first = (size_t)i * p->words};
    for (; started < p->threads && status == DP_OK; started++)
        status = dp_thread_start(read_part, &readers[started], &readers[started].thread);
    if (status == DP_OK)
        read_part(&readers[0]);
    else
        started--, atomic_store(&p->given_up, true);
    for (int i = 1; i < started; i++) dp_thread_join(readers[i].thread);
    return status;
}

dp_status bandwidth_measure(int threads, double *bytes_per_second) {
    size_t size = buffer_size();
    probe p = {.threads = DP_MAX(1, DP_MIN(threads, THREADS_MAX))};
    p.words = size / sizeof(uint64_t) / (size_t)p.threads;
    uint64_t *data = dp_malloc(size);
    reader *readers = dp_calloc((size_t)p.threads, sizeof *readers);
    dp_status status = data && readers ? DP_OK : dp_no_memory(size);
    if (status == DP_OK) {
        memset(data, 1, size); /* pages of zeros may all be one */
        p.data = data;
        status = run_readers(&p, readers);
    }
    dp_free(data);
    dp_free(readers);
    TRY(status);
    double seconds[PASSES];
    for (int i = 0; i < PASSES; i++) seconds[i] = p.start[i + 1] - p.start[i];
    *bytes_per_second = (double)(p.words * sizeof(uint64_t) * (size_t)p.threads) / median(seconds, PASSES);
    return DP_OK;
}
