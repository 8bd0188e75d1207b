/* fast_table.h: ties one instruction set's kernels to the ops. */
#ifndef DP_FAST_TABLE_H
#define DP_FAST_TABLE_H

#include "cpu/fast_spin.h"

static const dp_cpu_kernels kernels;

static dp_status op_matmul(dp_cpu_run *run, const dp_op *op) { return dp_fast_matmul(run, op, &kernels); }
static dp_status op_moe_matmul(dp_cpu_run *run, const dp_op *op) { return dp_fast_moe_matmul(run, op, &kernels); }
static dp_status op_head_matmul(dp_cpu_run *run, const dp_op *op) { return dp_fast_head_matmul(run, op, &kernels); }
static dp_status op_attention(dp_cpu_run *run, const dp_op *op) { return dp_fast_attention(run, op, &kernels); }
static dp_status op_rows(dp_cpu_run *run, const dp_op *op) { return dp_fast_rows(run, op, &kernels); }

#define ROW_OPS(ROW)                                                                                                   \
    ROW(NORM, norm) ROW(ROPE, rope) ROW(KV_WRITE, kv_write) ROW(ADD, add) ROW(ACT_MUL, act_mul) ROW(MOE_SUM, moe_sum)  \
    ROW(SOFTCAP, softcap)
#define ROW_FUNCTION(NAME, name) [DP_OP_##NAME] = name##_row,
#define ROW_ENTRY(NAME, name) [DP_OP_##NAME] = op_rows,

/* An instruction set with its own product for many tokens says so before it includes this. */
#ifndef PANEL_TILE
#define DOT_TILE dot_tile
#define PANEL_TILE panel_tile
#define TASK_ROWS PANEL_ROWS
#define PACK_TOKENS NULL
#endif

#ifndef SPIN_HALVES
#define SPIN_HALVES NULL
#endif

/* few: up to how many tokens DOT_TILE multiplies. */
#define KERNELS(name, text, few)                                                                                       \
    static const dp_cpu_kernels kernels = {                                                                            \
        .isa = #name,                                                                                                  \
        .describe = text,                                                                                              \
        .panel_rows = TASK_ROWS,                                                                                       \
        .panel_tokens = (few) + 1,                                                                                     \
        .quantize = quantize_row,                                                                                      \
        .dot = DOT_TILE,                                                                                               \
        .panel = PANEL_TILE,                                                                                           \
        .pack = PACK_TOKENS,                                                                                           \
        .attend = attend,                                                                                              \
        .head = head_product,                                                                                          \
        .spin_bytes = SPIN_BYTES,                                                                                      \
        .spin_floats = spin_floats,                                                                                    \
        .spin_halves = SPIN_HALVES,                                                                                    \
        .row = {ROW_OPS(ROW_FUNCTION)},                                                                                \
        .table = {.op = {[DP_OP_MATMUL] = op_matmul, [DP_OP_MOE_MATMUL] = op_moe_matmul,                               \
                         [DP_OP_HEAD_MATMUL] = op_head_matmul, [DP_OP_ATTENTION] = op_attention,                       \
                         ROW_OPS(ROW_ENTRY)}},                                                                         \
    };                                                                                                                 \
    const dp_cpu_kernels *dp_kernels_##name(void) { return &kernels; }

#endif
