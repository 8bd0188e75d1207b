/* cpu_paged.c: walks a program whose weights are not all in memory. The pager hands out a layer's chosen experts in
 * groups, as they arrive: what is there is computed while the rest is read, and a prompt's chunk goes through each
 * expert once. A (token, choice) pair is computed exactly as if all experts were there, so the result is the same. */
#include "cpu/cpu.h"
#include "graph/pager.h"

/* The run as ops between two expert products see it that get their rows cut to pairs. */
typedef struct pair_view {
    dp_program program;
    dp_step step;
    dp_cpu_run run;
    dp_slot *slots;
    float **rows;
    /* for a look at the next layer */
    float **ahead, *scratch; /* rows; 4 of `widest` columns */
    size_t widest;
} pair_view;

static void view_free(pair_view *view) {
    dp_free(view->slots);
    dp_free(view->rows);
    dp_free(view->ahead);
    dp_free(view->scratch);
}

static dp_status view_new(const dp_cpu_run *run, pair_view *view) {
    size_t count = run->program->slot_count;
    *view = (pair_view){.program = *run->program, .step = *run->step, .run = *run};
    for (size_t i = 0; i < count; i++) view->widest = DP_MAX(view->widest, (size_t)run->program->slots[i].cols);
    view->slots = dp_malloc(count * sizeof *view->slots);
    view->rows = dp_malloc(count * sizeof *view->rows);
    view->ahead = dp_malloc(count * sizeof *view->ahead);
    view->scratch = dp_malloc(4 * view->widest * sizeof *view->scratch);
    if (!view->slots || !view->rows || !view->ahead || !view->scratch) {
        view_free(view);
        return dp_no_memory(count * (sizeof *view->slots + sizeof *view->rows));
    }
    memcpy(view->slots, run->program->slots, count * sizeof *view->slots);
    memcpy(view->rows, run->slots, count * sizeof *view->rows);
    view->program.slots = view->slots;
    view->run.program = &view->program;
    view->run.step = &view->step;
    view->run.slots = view->rows;
    return DP_OK;
}

static void view_slot(pair_view *view, const dp_cpu_run *run, int32_t slot, int32_t k, int32_t pair) {
    int32_t cols = run->program->slots[slot].cols / k;
    view->slots[slot].cols = cols;
    view->rows[slot] = run->slots[slot] + (size_t)pair * (size_t)cols;
}

/* ACT_MUL, on the rows of the group's pairs; the others may be finished or empty. */
static dp_status activate(dp_cpu_run *run, const dp_cpu_table *table, pair_view *view, const dp_op *op, const int32_t *ids, int32_t k) {
    int32_t pairs = run->step->count * k;
    for (int32_t p = 0, n; p < pairs; p += n) {
        bool member = run->only[ids[p]];
        for (n = 1; p + n < pairs && run->only[ids[p + n]] == member; n++) {}
        if (!member) continue;
        view_slot(view, run, op->dst, k, p);
        view_slot(view, run, op->src, k, p);
        view_slot(view, run, op->src2, k, p);
        view->step.count = n;
        TRY(table->op[op->kind](&view->run, op));
    }
    return DP_OK;
}

/* ---- a layer's experts ---- */

typedef struct expert_block {
    size_t first, end; /* the ops between ROUTE and MOE_SUM */
    int32_t layer, k;
    const int32_t *ids;
} expert_block;

static expert_block block_behind(const dp_cpu_run *run, size_t route) {
    const dp_program *program = run->program;
    const dp_op *op = &program->ops[route];
    expert_block block = {route + 1, route + 1, op->layer, op->route.k, (const int32_t *)(const void *)run->slots[op->dst2]};
    while (block.end < program->op_count &&
           (program->ops[block.end].kind == DP_OP_MOE_MATMUL || program->ops[block.end].kind == DP_OP_ACT_MUL))
        block.end++;
    return block;
}

static void profile(const dp_cpu_run *run, const dp_op *op, double start, uint64_t bytes) {
    if (run->step->profile)
        run->step->profile(run->step->profile_user, op->kind == DP_OP_ROUTE ? "page" : dp_op_name(op->kind), op->label,
                           dp_host_seconds() - start, bytes);
}

static dp_status run_part(dp_cpu_run *run, const dp_cpu_table *table, pair_view *view, const expert_block *block, int32_t count) {
    for (size_t i = block->first; i < block->end; i++) {
        const dp_op *op = &run->program->ops[i];
        double start = run->step->profile ? dp_host_seconds() : 0;
        bool product = op->kind == DP_OP_MOE_MATMUL;
        dp_status status = product ? table->op[op->kind](run, op) : activate(run, table, view, op, block->ids, block->k);
        if (status != DP_OK) return dp_fail_in(status, "%s", op->label);
        profile(run, op, start, product ? run->program->weights[op->weight].bytes * (uint64_t)count : 0);
        if (run->fast) dp_cpu_fast_written(run->fast, op->dst);
    }
    return DP_OK;
}

static dp_status run_groups(dp_cpu_run *run, const dp_cpu_table *table, pair_view *view, const expert_block *block) {
    dp_pager *pager = run->program->pager;
    for (;;) {
        dp_page_group group;
        double start = run->step->profile ? dp_host_seconds() : 0;
        TRY(pager->api->next(pager, &group));
        profile(run, &run->program->ops[block->first - 1], start, 0);
        if (!group.count) break;
        if (!group.member) {
            for (size_t i = block->first; i < block->end; i++) TRY(dp_cpu_run_op(run, table, i));
            return DP_OK;
        }
        run->only = group.member;
        dp_status status = run_part(run, table, view, block, group.count);
        run->only = NULL;
        TRY(status);
    }
    /* the gate's product has become the activation by now: that is what a trace gets to see */
    for (size_t i = block->first; i < block->end; i++) TRY(dp_cpu_trace_op(run, &run->program->ops[i]));
    return DP_OK;
}

/* ---- what the next layer will likely use ---- */

const dp_op *dp_cpu_writer_of(const dp_program *program, const dp_op *reader, dp_op_kind kind) {
    for (const dp_op *op = reader; op-- > program->ops;)
        if (op->dst == reader->src) return op->kind == kind ? op : NULL;
    return NULL;
}

/* The norm, the router and the choice of the first mixture behind op `from`; false if there is none. */
static bool find_ahead(const dp_program *program, size_t from, const dp_op *ops[3]) {
    const dp_op *route = program->ops + from, *end = program->ops + program->op_count;
    while (route < end && route->kind != DP_OP_ROUTE) route++;
    ops[2] = route;
    ops[1] = route < end ? dp_cpu_writer_of(program, route, DP_OP_MATMUL) : NULL;
    ops[0] = ops[1] ? dp_cpu_writer_of(program, ops[1], DP_OP_NORM) : NULL;
    return ops[0] != NULL;
}

/* Applies the next mixture's norm and router to the residual stream as it is now: most of what it will choose is chosen
 * already. The results go elsewhere than the ops' own, and a failure only means that there is no guess. */
static void guess_ahead(const dp_cpu_run *run, const dp_cpu_table *table, pair_view *view, const expert_block *block) {
    const dp_program *program = run->program;
    const dp_op *ops[3];
    if (run->step->count != 1 || !program->pager->api->guess || !find_ahead(program, block->end, ops)) return;
    dp_cpu_run ahead = *run;
    float *free_row = view->scratch;
    dp_status status = DP_OK;
    memcpy(view->ahead, run->slots, program->slot_count * sizeof *view->ahead);
    ahead.slots = view->ahead;
    for (int i = 0; i < 3; i++, free_row += view->widest) view->ahead[ops[i]->dst] = free_row;
    view->ahead[ops[2]->dst2] = free_row;
    for (int i = 0; i < 3 && status == DP_OK; i++) {
        status = table->op[ops[i]->kind](&ahead, ops[i]);
        if (run->fast) dp_cpu_fast_written(run->fast, ops[i]->dst);
    }
    if (run->fast) dp_cpu_fast_written(run->fast, ops[0]->dst); /* what was packed for the router */
    if (status == DP_OK)
        program->pager->api->guess(program->pager, ops[2]->layer, (const int32_t *)(const void *)free_row,
                                   (size_t)ops[2]->route.k);
}

static dp_status run_experts(dp_cpu_run *run, const dp_cpu_table *table, pair_view *view, const expert_block *block) {
    dp_pager *pager = run->program->pager;
    TRY(pager->api->want(pager, block->layer, block->ids, (size_t)run->step->count * (size_t)block->k));
    guess_ahead(run, table, view, block);
    TRY(run_groups(run, table, view, block));
    pager->api->done(pager);
    return DP_OK;
}

static bool reads_plain(const dp_op *op) {
    return op->weight >= 0 && (op->kind == DP_OP_EMBED || op->kind == DP_OP_MATMUL || op->kind == DP_OP_HEAD_MATMUL);
}

static dp_status run_all(dp_cpu_run *run, const dp_cpu_table *table, pair_view *view) {
    dp_pager *pager = run->program->pager;
    for (size_t i = 0; i < run->program->op_count; i++) {
        const dp_op *op = &run->program->ops[i];
        if (!dp_cpu_wants(run, op)) continue;
        if (reads_plain(op)) TRY(pager->api->plain(pager, op));
        TRY(dp_cpu_run_op(run, table, i));
        if (op->kind != DP_OP_ROUTE) continue;
        expert_block block = block_behind(run, i);
        TRY(run_experts(run, table, view, &block));
        i = block.end - 1;
    }
    return DP_OK;
}

dp_status dp_cpu_run_paged(dp_cpu_run *run, const dp_cpu_table *table) {
    pair_view view;
    TRY(view_new(run, &view));
    dp_status status = run_all(run, table, &view);
    run->program->pager->api->done(run->program->pager);
    view_free(&view);
    return status;
}
