/* pool.h: a pool of threads that run the same function over numbered tasks. Floor 1. */
#ifndef DP_POOL_H
#define DP_POOL_H

#include "host/host.h"

typedef struct dp_pool dp_pool;

/* threads counts the caller: 1 starts none. Where threads cannot start, the pool has one. */
dp_status dp_pool_new(int32_t threads, dp_pool **out);
void dp_pool_free(dp_pool *pool);
int32_t dp_pool_threads(const dp_pool *pool);

/* Runs task(context, index, thread) for index in [0, count), thread in [0, threads); returns when all are done.
 * Tasks are handed out in order as threads become free. One caller at a time. */
typedef void (*dp_pool_task)(void *context, int32_t index, int32_t thread);
void dp_pool_run(dp_pool *pool, dp_pool_task task, void *context, int32_t count);

/* Whether runs will come with pauses between them: then idle threads keep watching, for milliseconds. */
void dp_pool_awake(dp_pool *pool, bool on);

#endif
