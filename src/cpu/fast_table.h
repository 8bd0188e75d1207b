/* fast_table.h: ties one instruction set's kernels to the ops. */
#ifndef DP_FAST_TABLE_H
#define DP_FAST_TABLE_H

static const dp_cpu_kernels kernels;

static dp_status op_matmul(dp_cpu_run *run, const dp_op *op) { return dp_fast_matmul(run, op, &kernels); }
static dp_status op_moe_matmul(dp_cpu_run *run, const dp_op *op) { return dp_fast_moe_matmul(run, op, &kernels); }

/* few: up to how many tokens rows are multiplied one by one. */
#define KERNELS(name, text, few)                                                                                       \
    static const dp_cpu_kernels kernels = {                                                                            \
        .isa = #name,                                                                                                  \
        .describe = text,                                                                                              \
        .panel_rows = PANEL_ROWS,                                                                                      \
        .panel_tokens = (few) + 1,                                                                                     \
        .quantize = quantize_row,                                                                                      \
        .dot = dot_tile,                                                                                               \
        .panel = panel_tile,                                                                                           \
        .table = {.op = {[DP_OP_MATMUL] = op_matmul, [DP_OP_MOE_MATMUL] = op_moe_matmul}},                             \
    };                                                                                                                 \
    const dp_cpu_kernels *dp_kernels_##name(void) { return &kernels; }

#endif
