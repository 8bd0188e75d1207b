/* program.c: names of ops, release of a program. */
#include "graph/program.h"

const char *dp_op_name(dp_op_kind kind) {
    static const char *const names[] = {
#define OP(NAME, name) #name,
#include "graph/ops.def"
#undef OP
    };
    return (unsigned)kind < DP_OP_COUNT ? names[kind] : "unknown";
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
