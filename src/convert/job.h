/* job.h: many independent tasks on several threads, with one progress report and one first error. Floor 5. */
#ifndef DP_JOB_H
#define DP_JOB_H

#include "convert/plan.h"

typedef struct dp_job dp_job;

typedef struct dp_job_desc {
    int32_t threads;  /* 0: all */
    const char *what; /* for the progress report */
    uint64_t total;   /* bytes */
    dp_progress_fn progress;
    void *user;
    /* Task `index`, on a thread with its own worker. It reports its bytes with dp_job_advance. */
    dp_status (*task)(void *context, int32_t index, dp_job *job, dp_worker *worker);
    void *context;
    int32_t tasks;
} dp_job_desc;

/* Runs all tasks; after the first failure the others are skipped. The error of that first failure is returned. */
dp_status dp_job_run(const dp_job_desc *desc);
/* Adds to the bytes done; DP_E_CANCELLED when the work is to stop. */
dp_status dp_job_advance(dp_job *job, const dp_worker *worker, uint64_t bytes);

#endif
