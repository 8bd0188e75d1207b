/* regex_first.c: the bytes that a match of a program can start with, so that a search skips the others. */
#include "text/regex_parser.h"

typedef struct closure {
    bool *seen;     /* [code_count] */
    uint32_t *todo; /* [code_count]; each instruction enters once */
    size_t count;
} closure;

static void visit(closure *c, size_t pc) {
    if (c->seen[pc]) return;
    c->seen[pc] = true;
    c->todo[c->count++] = (uint32_t)pc;
}

/* Follows what consumes nothing. Assertions are taken to hold. */
static void follow(dp_regex *r, closure *c) {
    visit(c, 0);
    while (c->count) {
        size_t pc = c->todo[--c->count];
        const dp_rx_inst *inst = &r->code[pc];
        switch ((dp_rx_op)inst->op) {
        case DP_RX_CHAR: r->first[dp_rx_lead_byte((uint32_t)inst->a)] = true; break;
        case DP_RX_CLASS: dp_rx_class_first(r, &r->classes[inst->a], r->first); break;
        case DP_RX_LOOP:
            dp_rx_class_first(r, &r->classes[inst->a], r->first);
            if (inst->min == 0) visit(c, pc + 1);
            break;
        case DP_RX_SPLIT: visit(c, (size_t)((int64_t)pc + inst->b)); /* fall through */
        case DP_RX_JUMP:
        case DP_RX_LOOK: visit(c, (size_t)((int64_t)pc + inst->a)); break;
        case DP_RX_MATCH: r->may_be_empty = true; break; /* also the end of an ATOMIC body: then `first` is not used */
        default: visit(c, pc + 1); break;
        }
    }
}

dp_status dp_rx_find_first(dp_regex *r) {
    closure c = {dp_calloc(r->code_count, sizeof *c.seen), dp_malloc(r->code_count * sizeof *c.todo), 0};
    bool ok = c.seen && c.todo;
    if (ok) follow(r, &c);
    dp_free(c.seen);
    dp_free(c.todo);
    return ok ? DP_OK : dp_no_memory(r->code_count * sizeof *c.todo);
}
