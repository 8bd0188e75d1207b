/* cpu_backend.c: walks a program on the CPU. A backend may serve several sessions from several threads: a forward pass
 * holds its lock, because the thread pool serves one caller at a time. */
#include <math.h>
#include <stdio.h>

#include "cpu/cpu_kv.h"

typedef struct cpu_backend {
    dp_backend base;
    dp_cpu_table table;
    dp_pool *pool;
    dp_mutex *lock;
    bool reference;
    char text[96];
} cpu_backend;

struct dp_plan {
    cpu_backend *backend;
    const dp_program *program;
    dp_plan_size size;
    float **slots;
    void *memory;
    struct dp_cpu_fast *fast;
};

/* ---- plan: one block of memory for all slots, each on a cache line ---- */

enum { LINE = 64 };

static uint64_t session_bytes(dp_backend *base, const dp_program *program, dp_plan_size plan, const dp_kv_size *kv) {
    cpu_backend *backend = (cpu_backend *)base;
    uint64_t bytes = dp_cpu_kv_bytes(program, kv);
    for (size_t i = 0; i < program->slot_count; i++) {
        int32_t rows = program->slots[i].rows == DP_ROWS_TOKENS ? plan.tokens : plan.outputs;
        bytes += (uint64_t)rows * (uint64_t)program->slots[i].cols * sizeof(float) + LINE;
    }
    return backend->reference ? bytes : bytes + dp_cpu_fast_bytes(program, plan.tokens, dp_pool_threads(backend->pool));
}

static dp_status place_slots(dp_plan *plan) {
    const dp_program *program = plan->program;
    size_t total = LINE;
    for (int pass = 0; pass < 2; pass++) {
        size_t at = pass ? LINE - (uintptr_t)plan->memory % LINE : LINE;
        for (size_t i = 0; i < program->slot_count; i++) {
            if (pass) plan->slots[i] = (float *)(void *)((char *)plan->memory + at);
            size_t bytes;
            int32_t rows = program->slots[i].rows == DP_ROWS_TOKENS ? plan->size.tokens : plan->size.outputs;
            if (!dp_mul_size((size_t)rows * sizeof(float), (size_t)program->slots[i].cols, &bytes) || bytes > SIZE_MAX / 2 - at)
                return dp_no_memory(SIZE_MAX);
            at += (bytes + LINE - 1) / LINE * LINE;
        }
        if (pass) break;
        total = at;
        plan->memory = dp_malloc(total);
        if (!plan->memory) {
            dp_no_memory(total);
            return dp_fail_in(DP_E_MEMORY, "activations for %d tokens (a smaller batch needs less)", (int)plan->size.tokens);
        }
    }
    return DP_OK;
}

static void plan_free(dp_plan *plan) {
    if (!plan) return;
    dp_cpu_fast_free(plan->fast);
    dp_free(plan->memory);
    dp_free(plan->slots);
    dp_free(plan);
}

static dp_status plan_new(dp_backend *base, const dp_program *program, dp_plan_size size, dp_plan **out) {
    cpu_backend *backend = (cpu_backend *)base;
    dp_plan *plan = dp_calloc(1, sizeof *plan);
    if (!plan) return dp_no_memory(sizeof *plan);
    *plan = (dp_plan){.backend = backend, .program = program, .size = size};
    plan->slots = dp_calloc(program->slot_count, sizeof *plan->slots);
    dp_status status = plan->slots ? place_slots(plan) : dp_no_memory(program->slot_count * sizeof *plan->slots);
    if (status == DP_OK && !backend->reference)
        status = dp_cpu_fast_new(program, size.tokens, dp_pool_threads(backend->pool), &plan->fast);
    if (status != DP_OK) {
        plan_free(plan);
        return status;
    }
    *out = plan;
    return DP_OK;
}

float **dp_cpu_plan_slots(dp_plan *plan) { return plan->slots; }

void dp_cpu_awake(dp_backend *base, bool on) { dp_pool_awake(((cpu_backend *)base)->pool, on); }

/* ---- run ---- */

dp_status dp_cpu_trace_op(const dp_cpu_run *run, const dp_op *op) {
    const dp_step *step = run->step;
    if (!step->trace || op->dst < 0) return DP_OK;
    size_t cols = (size_t)run->program->slots[op->dst].cols, rows = (size_t)dp_cpu_rows(run, op->dst);
    if (step->trace(step->trace_user, dp_op_name(op->kind), op->label, run->slots[op->dst], rows, cols)) return DP_OK;
    return dp_fail(DP_E_CANCELLED, "cancelled by the trace callback at %s", op->label);
}

/* Shows the chosen experts, which the other side may change. */
static dp_status show_routing(const dp_cpu_run *run, const dp_op *op) {
    const dp_step *step = run->step;
    int32_t *ids = (int32_t *)(void *)run->slots[op->dst2], experts = run->program->slots[op->src].cols;
    size_t count = (size_t)step->count * (size_t)op->route.k;
    step->routing(step->routing_user, op->layer, ids, (size_t)step->count, op->route.k);
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= experts)
            return dp_fail(DP_E_ARG, "%s: the routing callback chose expert %d, there are %d", op->label, (int)ids[i], (int)experts);
    return DP_OK;
}

/* Of a mixture's matrix: of the experts that the step's tokens chose, each once. */
static uint64_t bytes_read(const dp_cpu_run *run, const dp_op *op) {
    enum { EXPERTS_MAX = 65536 };
    uint64_t seen[EXPERTS_MAX / 64] = {0}, count = 0;
    if (op->kind != DP_OP_MOE_MATMUL) return dp_program_op_bytes(run->program, op);
    const int32_t *ids = (const int32_t *)(const void *)run->slots[op->src2];
    for (size_t i = 0; i < (size_t)run->step->count * (size_t)op->moe_matmul.k; i++) {
        uint32_t e = (uint32_t)ids[i];
        if (e >= EXPERTS_MAX || (run->only && !run->only[e]) || (seen[e / 64] >> e % 64 & 1)) continue;
        seen[e / 64] |= (uint64_t)1 << e % 64;
        count++;
    }
    return count * run->program->weights[op->weight].bytes;
}

dp_status dp_cpu_run_op(dp_cpu_run *run, const dp_cpu_table *table, size_t index) {
    const dp_op *op = &run->program->ops[index];
    double start = run->step->profile ? dp_host_seconds() : 0;
    dp_status status = table->op[op->kind](run, op);
    if (status != DP_OK) return dp_fail_in(status, "%s", op->label);
    if (run->step->profile)
        run->step->profile(run->step->profile_user, dp_op_name(op->kind), op->label, dp_host_seconds() - start,
                           bytes_read(run, op));
    if (run->fast && op->dst >= 0) dp_cpu_fast_written(run->fast, op->dst);
    if (op->kind == DP_OP_ROUTE && run->step->routing) TRY(show_routing(run, op));
    return dp_cpu_trace_op(run, op);
}

static dp_status run_ops(dp_cpu_run *run, const dp_cpu_table *table) {
    for (size_t i = 0; i < run->program->op_count; i++)
        if (dp_cpu_wants(run, &run->program->ops[i])) TRY(dp_cpu_run_op(run, table, i));
    return DP_OK;
}

static dp_status run(dp_plan *plan, const dp_step *step) {
    if (step->count > plan->size.tokens || step->outputs > plan->size.outputs || step->outputs > step->count)
        return dp_fail(DP_E_ARG, "a step of %d tokens and %d outputs in a plan for %d and %d", (int)step->count, (int)step->outputs,
                       (int)plan->size.tokens, (int)plan->size.outputs);
    dp_cpu_run r = {plan->program, step, plan->slots, plan->backend->pool, plan->fast, NULL};
    dp_mutex_lock(plan->backend->lock);
    if (plan->fast) dp_cpu_fast_begin(plan->fast);
    dp_status status = (plan->program->pager ? dp_cpu_run_paged : run_ops)(&r, &plan->backend->table);
    dp_mutex_unlock(plan->backend->lock);
    return status;
}

static dp_status read_slot(dp_plan *plan, int32_t slot, int32_t first, int32_t rows, float *out) {
    size_t cols = (size_t)plan->program->slots[slot].cols;
    memcpy(out, plan->slots[slot] + (size_t)first * cols, (size_t)rows * cols * sizeof(float));
    return DP_OK;
}

/* ---- open ---- */

static const char *describe(const dp_backend *base) { return ((const cpu_backend *)base)->text; }

static void close_backend(dp_backend *base) {
    cpu_backend *backend = (cpu_backend *)base;
    if (!backend) return;
    dp_pool_free(backend->pool);
    dp_mutex_free(backend->lock);
    dp_free(backend);
}

/* Weights are used where they lie. */
static dp_status load(dp_backend *base, dp_program *program, dp_progress_fn progress, void *user) {
    (void)base, (void)program, (void)progress, (void)user;
    return DP_OK;
}

static void unload(dp_backend *base, dp_program *program) { (void)base, (void)program; }

static const dp_backend_api api = {
    .name = "cpu",
    .close = close_backend,
    .describe = describe,
    .load = load,
    .unload = unload,
    .plan_new = plan_new,
    .plan_free = plan_free,
    .kv_new = dp_cpu_kv_new,
    .kv_free = dp_cpu_kv_free,
    .kv_reserve = dp_cpu_kv_reserve,
    .kv_truncate = dp_cpu_kv_truncate,
    .session_bytes = session_bytes,
    .run = run,
    .read = read_slot,
};

static const dp_cpu_table reference_table = {{
#define OP(NAME, name) dp_ref_##name,
#include "graph/ops.def"
#undef OP
}};

static dp_status set_up(cpu_backend *backend, const dp_cpu_desc *desc) {
    int32_t threads = desc->threads > 0 ? desc->threads : dp_host_cpu_count();
    const char *isa = "scalar reference";
    if (desc->reference) threads = 1;
    else TRY(dp_cpu_fast_table(desc->isa, &backend->table, &isa));
    TRY(dp_mutex_new(&backend->lock));
    TRY(dp_pool_new(threads, &backend->pool));
    threads = dp_pool_threads(backend->pool);
    snprintf(backend->text, sizeof backend->text, "cpu, %s, %d thread%s", isa, (int)threads, threads == 1 ? "" : "s");
    return DP_OK;
}

dp_status dp_cpu_open(const dp_cpu_desc *desc, dp_backend **out) {
    cpu_backend *backend = dp_calloc(1, sizeof *backend);
    if (!backend) return dp_no_memory(sizeof *backend);
    backend->base.api = &api;
    backend->table = reference_table;
    backend->reference = desc->reference;
    dp_status status = set_up(backend, desc);
    if (status != DP_OK) {
        close_backend(&backend->base);
        return status;
    }
    *out = &backend->base;
    return DP_OK;
}
