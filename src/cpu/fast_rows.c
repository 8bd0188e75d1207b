/* fast_rows.c: ops that treat rows independently, shared out among the threads when there is enough to do. */
#include "cpu/fast.h"

typedef struct rows_work {
    const dp_cpu_run *run;
    const dp_op *op;
    dp_row_fn fn;
    int32_t rows, chunk;
} rows_work;

static void rows_task(void *context, int32_t index, int32_t thread) {
    (void)thread;
    const rows_work *work = context;
    int32_t end = DP_MIN((index + 1) * work->chunk, work->rows);
    for (int32_t row = index * work->chunk; row < end; row++) work->fn(work->run, work->op, row);
}

enum { VALUES_PER_TASK = 8192 }; /* less is done before a thread has woken */

dp_status dp_fast_rows(dp_cpu_run *run, const dp_op *op, const dp_cpu_kernels *kernels) {
    rows_work work = {.run = run, .op = op, .fn = kernels->row[op->kind]};
    int32_t slot = op->dst >= 0 ? op->dst : op->src;
    work.rows = dp_cpu_rows(run, slot);
    work.chunk = VALUES_PER_TASK / DP_MAX(run->program->slots[slot].cols, 1) + 1;
    dp_pool_run(run->pool, rows_task, &work, (work.rows + work.chunk - 1) / work.chunk);
    return DP_OK;
}
