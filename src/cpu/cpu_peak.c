/* cpu_peak.c: see cpu_peak.h. Every thread runs the same loop; the best of some runs counts, since other programs can
 * only take away. */
#include "cpu/cpu_peak.h"

#include "cpu/fast.h"

enum { RUNS = 5, ROUNDS = 200 };
static const double RUN_SECONDS = 0.02;

typedef struct spin_work {
    dp_spin_fn spin;
    double *made; /* [threads]: multiply-adds */
} spin_work;

static void spin_task(void *context, int32_t index, int32_t thread) {
    (void)thread;
    const spin_work *work = context;
    double until = dp_host_seconds() + RUN_SECONDS, made = 0;
    while (dp_host_seconds() < until) made += work->spin(ROUNDS);
    work->made[index] = made;
}

static double rate_of(dp_pool *pool, spin_work work) {
    double best = 0;
    for (int run = 0; work.spin && run < RUNS; run++) {
        double start = dp_host_seconds(), made = 0;
        dp_pool_run(pool, spin_task, &work, dp_pool_threads(pool));
        for (int32_t i = 0; i < dp_pool_threads(pool); i++) made += work.made[i];
        best = DP_MAX(best, made / (dp_host_seconds() - start));
    }
    return best;
}

dp_status dp_cpu_measure_peaks(const char *isa, int32_t threads, dp_cpu_peaks *out) {
    const dp_cpu_kernels *kernels;
    dp_pool *pool = NULL;
    TRY(dp_cpu_fast_kernels(isa, &kernels));
    TRY(dp_pool_new(threads > 0 ? threads : dp_host_cpu_count(), &pool));
    double *made = dp_calloc((size_t)dp_pool_threads(pool), sizeof *made);
    dp_status status = made ? DP_OK : dp_no_memory((size_t)dp_pool_threads(pool) * sizeof *made);
    if (status == DP_OK) {
        out->bytes = rate_of(pool, (spin_work){kernels->spin_bytes, made});
        out->floats = rate_of(pool, (spin_work){kernels->spin_floats, made});
        out->halves = rate_of(pool, (spin_work){kernels->spin_halves, made});
    }
    dp_free(made);
    dp_pool_free(pool);
    return status;
}
