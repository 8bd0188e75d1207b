/* job.c: see job.h. Progress is reported from the caller's thread only, so that callbacks need no locks. */
#include "convert/job.h"

#include "host/pool.h"

#include <stdatomic.h>

enum { THREADS_MAX = 128 }; /* each may hold some megabytes */

struct dp_job {
    const dp_job_desc *desc;
    dp_worker *workers;
    atomic_bool stop;
    _Atomic uint64_t done;
    dp_mutex *lock; /* guards status and message */
    dp_status status;
    char message[1024];
};

/* Error messages belong to threads; this one moves to the caller's. */
static void keep_first_error(dp_job *job, dp_status status) {
    dp_mutex_lock(job->lock);
    if (job->status == DP_OK) {
        job->status = status;
        strncpy(job->message, dp_error_message(), sizeof job->message - 1);
    }
    dp_mutex_unlock(job->lock);
    atomic_store(&job->stop, true);
}

static void run_task(void *context, int32_t index, int32_t thread) {
    dp_job *job = context;
    if (atomic_load(&job->stop)) return;
    dp_status status = job->desc->task(job->desc->context, index, job, &job->workers[thread]);
    if (status != DP_OK) keep_first_error(job, status);
}

dp_status dp_job_advance(dp_job *job, const dp_worker *worker, uint64_t bytes) {
    uint64_t done = atomic_fetch_add(&job->done, bytes) + bytes;
    if (atomic_load(&job->stop)) return dp_fail(DP_E_CANCELLED, "stopped");
    if (worker != &job->workers[0] || !job->desc->progress) return DP_OK;
    if (job->desc->progress(job->desc->user, job->desc->what, done, job->desc->total)) return DP_OK;
    return dp_fail(DP_E_CANCELLED, "cancelled");
}

static dp_status run_in_pool(dp_job *job, dp_pool *pool) {
    int32_t threads = dp_pool_threads(pool);
    job->workers = dp_calloc((size_t)threads, sizeof *job->workers);
    if (!job->workers) return dp_no_memory((size_t)threads * sizeof *job->workers);
    dp_pool_run(pool, run_task, job, job->desc->tasks);
    for (int32_t i = 0; i < threads; i++) dp_worker_free(&job->workers[i]);
    dp_free(job->workers);
    return job->status == DP_OK ? DP_OK : dp_fail(job->status, "%s", job->message);
}

dp_status dp_job_run(const dp_job_desc *desc) {
    dp_job job = {.desc = desc};
    dp_pool *pool = NULL;
    TRY(dp_mutex_new(&job.lock));
    int32_t threads = desc->threads > 0 ? desc->threads : dp_host_cpu_count();
    threads = DP_MAX(DP_MIN(DP_MIN(threads, desc->tasks), THREADS_MAX), 1);
    dp_status status = dp_pool_new(threads, &pool);
    if (status == DP_OK) status = run_in_pool(&job, pool);
    dp_pool_free(pool);
    dp_mutex_free(job.lock);
    if (status == DP_OK && desc->progress && !desc->progress(desc->user, desc->what, desc->total, desc->total))
        return dp_fail(DP_E_CANCELLED, "cancelled");
    return status;
}
