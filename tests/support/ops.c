/* ops.c: see ops.h. */
#include "ops.h"

void one_op_init(one_op *one, dp_op_kind kind, int32_t tokens) {
    memset(one, 0, sizeof *one);
    one->op = (dp_op){.kind = kind, .label = "test", .dst = -1, .dst2 = -1, .src = -1, .src2 = -1, .weight = -1, .bias = -1};
    one->program.ops = &one->op;
    one->program.op_count = 1;
    one->program.slots = one->slot_info;
    one->program.weights = one->weight_info;
    one->program.weight_count = OPS_WEIGHTS;
    one->program.kv = one->kv_info;
    one->program.kv_count = 1;
    one->step.count = tokens;
}

int32_t one_op_slot(one_op *one, int32_t cols) {
    size_t i = one->program.slot_count++;
    one->slot_info[i] = (dp_slot){.name = "slot", .rows = DP_ROWS_TOKENS, .cols = cols};
    one->floats[i] = (size_t)cols * (size_t)one->step.count;
    one->slots[i] = malloc(one->floats[i] * sizeof(float) + OPS_GUARD);
    if (!one->slots[i]) abort();
    memset(one->slots[i], 0xFF, one->floats[i] * sizeof(float)); /* NaN */
    memset(one->slots[i] + one->floats[i], 0xA5, OPS_GUARD);
    return (int32_t)i;
}

static bool guards_hold(const one_op *one) {
    for (size_t i = 0; i < one->program.slot_count; i++) {
        const unsigned char *guard = (const unsigned char *)(one->slots[i] + one->floats[i]);
        for (int k = 0; k < OPS_GUARD; k++)
            if (guard[k] != 0xA5) return test_fail(__FILE__, __LINE__, "byte %d behind slot %zu was written", k, i);
    }
    return true;
}

bool one_op_run(one_op *one, const dp_cpu_table *table, int32_t threads) {
    dp_status status = dp_pool_new(threads, &one->pool);
    if (status == DP_OK) status = dp_cpu_fast_new(&one->program, one->step.count, threads, &one->fast);
    if (status == DP_OK) {
        dp_cpu_fast_begin(one->fast);
        dp_cpu_run run = {&one->program, &one->step, one->slots, one->pool, one->fast, NULL};
        status = table->op[one->op.kind](&run, &one->op);
    }
    dp_cpu_fast_free(one->fast);
    dp_pool_free(one->pool);
    one->fast = NULL;
    one->pool = NULL;
    if (status != DP_OK) return test_fail(__FILE__, __LINE__, "the op failed: %s", dp_error_message());
    return guards_hold(one);
}

void one_op_free(one_op *one) {
    for (size_t i = 0; i < one->program.slot_count; i++) free(one->slots[i]);
    one->program.slot_count = 0;
}

bool fast_table(size_t i, dp_cpu_table *table, const char **describe) {
    static const char *const names[] = {"amx", "avx512", "avxvnni", "avx2", "i8mm", "dotprod", "neon", "wasm", "scalar"};
    const char *last = "", *now = "";
    for (size_t k = 0; k < DP_COUNT(names); k++) { /* a set this machine lacks gives that of the next name */
        memset(table, 0, sizeof *table);
        if (dp_cpu_fast_table(names[k], table, &now) != DP_OK || strcmp(now, last) == 0) continue;
        last = now;
        if (i-- == 0) {
            *describe = now;
            return true;
        }
    }
    return false;
}

float ops_random(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (float)(int32_t)(*state >> 32) * (1.0f / 2147483648.0f);
}
