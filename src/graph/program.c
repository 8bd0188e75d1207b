/* program.c: names and sizes of ops, release of a program. */
#include "graph/program.h"

const char *dp_op_name(dp_op_kind kind) {
    static const char *const names[] = {
#define OP(NAME, name) #name,
#include "graph/ops.def"
#undef OP
    };
    return (unsigned)kind < DP_OP_COUNT ? names[kind] : "unknown";
}

uint64_t dp_weight_bytes(const dp_weight *w) { return (w->experts ? (uint64_t)w->experts : 1) * w->bytes; }

uint64_t dp_program_op_bytes(const dp_program *program, const dp_op *op) {
    if (op->weight < 0) return 0;
    const dp_weight *w = &program->weights[op->weight];
    switch (op->kind) {
    case DP_OP_EMBED: return w->row_bytes;
    case DP_OP_MATMUL:
    case DP_OP_HEAD_MATMUL: return w->bytes;
    case DP_OP_MOE_MATMUL: return w->bytes * (uint64_t)op->moe_matmul.k;
    default: return 0;
    }
}

uint64_t dp_program_op_bytes_most(const dp_program *program, const dp_op *op, int32_t tokens) {
    if (op->kind != DP_OP_MOE_MATMUL || op->weight < 0) return dp_program_op_bytes(program, op);
    const dp_weight *w = &program->weights[op->weight];
    return w->bytes * DP_MIN((uint64_t)w->experts, (uint64_t)op->moe_matmul.k * (uint64_t)tokens);
}

void dp_program_free(dp_program *program) {
    if (!program) return;
    dp_free(program->ops);
    dp_free(program->slots);
    dp_free(program->weights);
    dp_free(program->kv);
    dp_arena_free(&program->arena);
    dp_free(program);
}
