/* ops.h: a program of one op, built by hand, to run one entry of the CPU tables. Outputs are filled with NaN and have
 * guard bytes behind them. */
#ifndef DP_TEST_OPS_H
#define DP_TEST_OPS_H

#include "cpu/cpu.h"
#include "test.h"

enum { OPS_SLOTS = 6, OPS_WEIGHTS = 4, OPS_GUARD = 64 };

typedef struct one_op {
    dp_program program;
    dp_slot slot_info[OPS_SLOTS];
    dp_weight weight_info[OPS_WEIGHTS];
    dp_kv_spec kv_info[1];
    dp_op op;
    float *slots[OPS_SLOTS];
    size_t floats[OPS_SLOTS]; /* without the guard */
    dp_step step;
    dp_pool *pool;
    struct dp_cpu_fast *fast;
} one_op;

void one_op_init(one_op *one, dp_op_kind kind, int32_t tokens);
/* A slot of `cols` for every token, NaN everywhere; returns its index. */
int32_t one_op_slot(one_op *one, int32_t cols);
/* Runs the op from `table`, with the state of the fast path. False if it failed or wrote behind a slot. */
bool one_op_run(one_op *one, const dp_cpu_table *table, int32_t threads);
void one_op_free(one_op *one);

/* The fast tables this machine can run, one by one: false after the last. Entries without kernels are NULL. */
bool fast_table(size_t i, dp_cpu_table *table, const char **describe);

/* Deterministic numbers in [-1, 1). */
float ops_random(uint64_t *state);

#endif
