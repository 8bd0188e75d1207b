/* cpu_experts.c: experts of another backend's program, computed by this one where their weights lie in host memory. The ops of
 * a mixture, from its norm to its last product, are run as a program of their own, for one token and as many choices as are asked
 * for. */
#include "cpu/cpu.h"
#include "graph/experts.h"

typedef struct mixture {
    size_t route;        /* in the other program */
    size_t first, count; /* of cpu_experts.ops */
    int32_t k;           /* most choices */
    int32_t row, ids, out; /* slots */
} mixture;

typedef struct cpu_experts {
    dp_experts base;
    dp_backend *cpu;
    const dp_program *program;
    dp_program view; /* the other program with the ops of one mixture, those of all while the plan is made */
    dp_op *ops;
    dp_slot *slots;  /* the program's, with columns for as many choices as are computed */
    dp_plan *plan;
    mixture *mixtures;
    size_t mixture_count;
} cpu_experts;

static cpu_experts *of(dp_experts *experts) { return (cpu_experts *)experts; }

/* ---- which ops ---- */

static bool is_part(const dp_op *op) { return op->kind == DP_OP_MOE_MATMUL || op->kind == DP_OP_ACT_MUL; }

/* Copies the ops of the mixture behind `route` to e->ops + first; m->count stays 0 where these are not a norm, products and a sum. */
static void copy_ops(cpu_experts *e, size_t route, mixture *m) {
    const dp_op *part = &e->program->ops[route + 1], *end = e->program->ops + e->program->op_count;
    const dp_op *norm = part < end && is_part(part) ? dp_cpu_writer_of(e->program, part, DP_OP_NORM) : NULL;
    dp_op *to = e->ops + m->first;
    if (!norm) return;
    *to++ = *norm;
    while (part < end && is_part(part)) *to++ = *part++;
    if (part == end || part->kind != DP_OP_MOE_SUM) return;
    m->count = (size_t)(to - e->ops) - m->first;
    m->row = norm->src;
    m->out = part->src;
}

static void find_mixtures(cpu_experts *e) {
    size_t first = 0;
    for (size_t i = 0; i < e->program->op_count; i++) {
        const dp_op *op = &e->program->ops[i];
        if (op->kind != DP_OP_ROUTE) continue;
        mixture m = {.route = i, .first = first, .k = op->route.k, .ids = op->dst2};
        copy_ops(e, i, &m);
        if (!m.count) continue;
        first += m.count;
        e->mixtures[e->mixture_count++] = m;
    }
    e->view.op_count = first;
}

static const mixture *find(const cpu_experts *e, size_t route) {
    for (size_t i = 0; i < e->mixture_count; i++)
        if (e->mixtures[i].route == route) return &e->mixtures[i];
    return NULL;
}

static int32_t source(const dp_experts *base, size_t route) {
    const mixture *m = find((const cpu_experts *)base, route);
    return m ? m->row : -1;
}

/* ---- a token ---- */

/* Makes the view that mixture's, with so many choices. */
static void narrow(cpu_experts *e, const mixture *m, int32_t choices) {
    e->view.ops = e->ops + m->first;
    e->view.op_count = m->count;
    for (size_t i = 0; i < m->count; i++) {
        dp_op *op = &e->view.ops[i];
        if (op->kind != DP_OP_MOE_MATMUL) continue;
        op->moe_matmul.k = choices;
        e->slots[op->dst].cols = choices * e->program->weights[op->weight].rows;
    }
}

static dp_status compute(dp_experts *base, size_t route, const int32_t *ids, int32_t count, const float *row, float *const *out) {
    cpu_experts *e = of(base);
    const mixture *m = find(e, route);
    const dp_step step = {.count = 1};
    if (!m || count < 1 || count > m->k) return dp_fail(DP_E_ARG, "%d experts of op %zu: not a mixture that has them", (int)count, route);
    float **slots = dp_cpu_plan_slots(e->plan);
    size_t cols = (size_t)e->slots[m->row].cols;
    narrow(e, m, count);
    memcpy(slots[m->row], row, cols * sizeof *row);
    memcpy(slots[m->ids], ids, (size_t)count * sizeof *ids);
    TRY(e->cpu->api->run(e->plan, &step));
    for (int32_t i = 0; i < count; i++) memcpy(out[i], slots[m->out] + (size_t)i * cols, cols * sizeof *row);
    return DP_OK;
}

static void awake(dp_experts *base, bool on) { dp_cpu_awake(of(base)->cpu, on); }

/* ---- life ---- */

static void close_experts(dp_experts *base) {
    cpu_experts *e = of(base);
    if (!e) return;
    if (e->plan) e->cpu->api->plan_free(e->plan);
    if (e->cpu) e->cpu->api->close(e->cpu);
    dp_free(e->mixtures);
    dp_free(e->ops);
    dp_free(e->slots);
    dp_free(e);
}

static const dp_experts_api api = {.close = close_experts, .source = source, .awake = awake, .compute = compute};

/* A view of the program without its past, whose vocabulary's slots are of no use. */
static dp_status set_up(cpu_experts *e, const dp_cpu_desc *desc) {
    const dp_program *program = e->program;
    const dp_plan_size size = {1, 0};
    e->ops = dp_malloc((program->op_count + 1) * sizeof *e->ops);
    e->slots = dp_malloc((program->slot_count + 1) * sizeof *e->slots);
    e->mixtures = dp_malloc((program->op_count + 1) * sizeof *e->mixtures);
    if (!e->ops || !e->slots || !e->mixtures) return dp_no_memory(program->op_count * sizeof *e->ops);
    memcpy(e->slots, program->slots, program->slot_count * sizeof *e->slots);
    e->view = *program;
    e->view.ops = e->ops;
    e->view.slots = e->slots;
    e->view.kv_count = 0;
    e->view.pager = NULL;
    e->view.experts = NULL;
    find_mixtures(e);
    TRY(dp_cpu_open(desc, &e->cpu));
    e->base.bytes = e->cpu->api->session_bytes(e->cpu, &e->view, size, &(dp_kv_size){0});
    return e->cpu->api->plan_new(e->cpu, &e->view, size, &e->plan);
}

dp_status dp_cpu_experts_open(const dp_cpu_desc *desc, const dp_program *program, dp_experts **out) {
    cpu_experts *e = dp_calloc(1, sizeof *e);
    if (!e) return dp_no_memory(sizeof *e);
    e->base.api = &api;
    e->program = program;
    dp_status status = set_up(e, desc);
    if (status != DP_OK) close_experts(&e->base);
    else *out = &e->base;
    return status;
}
