/* gpu_missed.c: experts that a single token chose and no slot holds, computed by the host where they lie, while the device
 * computes the others. The device stops behind the products with gate and up; the host adds its part to the residual, to which the
 * product with down then adds the device's. What crosses the bus is two rows, not experts. */
#include "gpu/gpu_decode.h"
#include "graph/experts.h"
#include "graph/pager.h"

#include <math.h>

enum {
    TRIAL = 4,   /* tokens that try one way, then the other, */
    PERIOD = 256 /* of so many: trying what is five times slower costs 6 % */
};

int32_t dp_gpu_missed_row(const dp_program *program, size_t route) {
    const dp_experts *experts = program->experts;
    return experts ? experts->api->source(experts, route) : -1;
}

dp_status dp_gpu_missed_new(dp_plan *plan, size_t columns) {
    size_t bytes = (DP_DECODE_CHOICES_MOST + 1) * columns * sizeof(float);
    plan->missed.outputs = dp_malloc(bytes);
    return plan->missed.outputs ? DP_OK : dp_no_memory(bytes);
}

/* ---- which way ---- */

/* Both in turn, then what took less of a token for each expert. */
static bool is_better_computed(dp_gpu_missed *m) {
    uint64_t at = m->tokens % PERIOD;
    if (at == 0) m->seconds[0] = m->seconds[1] = HUGE_VAL;
    return at < 2 * TRIAL ? at >= TRIAL : m->seconds[1] < m->seconds[0];
}

void dp_gpu_missed_begin(dp_plan *plan, bool may) {
    const dp_experts *experts = plan->program->experts;
    dp_gpu_missed *m = &plan->missed;
    m->lacked = m->count > 0;
    m->count = 0;
    m->computes = may && experts && (experts->misses == DP_MISSES_CPU || is_better_computed(m));
    if (experts) m->start = dp_host_seconds();
}

/* Threads that sleep between layers take longer to wake than to compute or to repack. Where the last token lacked nothing they would
 * only be in the way of the driver's; where a program is the device, always. */
void dp_gpu_missed_awake(dp_plan *plan, bool on) {
    dp_experts *experts = plan->program->experts;
    dp_gpu *gpu = plan->backend->gpu;
    dp_gpu_watch(gpu, on);
    if (dp_gpu_get_caps(gpu)->software || (on && !plan->missed.lacked)) return;
    if (experts && plan->missed.computes) experts->api->awake(experts, on);
    else dp_pool_awake(plan->backend->pool, on);
}

void dp_gpu_missed_count(dp_plan *plan, const dp_gpu_block *b, const int32_t *ids) {
    dp_pager *pager = plan->program->pager;
    const int32_t *slots = pager->api->where(pager, b->layer);
    for (int32_t i = 0; i < b->k; i++) plan->missed.count += ids[i] >= 0 && ids[i] < b->experts && slots[ids[i]] < 0;
}

void dp_gpu_missed_end(dp_plan *plan) {
    dp_gpu_missed *m = &plan->missed;
    if (!plan->program->experts || !m->count) return;
    double *least = &m->seconds[m->computes];
    *least = DP_MIN(*least, (dp_host_seconds() - m->start) / (double)m->count);
    m->tokens++;
}

/* ---- a mixture ---- */

/* Of the token's choices those that a group has. */
typedef struct part {
    int32_t ids[DP_DECODE_CHOICES_MOST], count;
    float *out[DP_DECODE_CHOICES_MOST];
} part;

static part part_of(dp_plan *plan, const dp_gpu_block *b, const dp_page_group *group, const int32_t *ids, bool *has) {
    size_t columns = (size_t)plan->program->slots[b->row].cols;
    part p = {.count = 0};
    for (int32_t i = 0; i < b->k; i++) {
        if (!group->member[ids[i]]) continue;
        has[i] = true;
        p.out[p.count] = plan->missed.outputs + (size_t)i * columns;
        p.ids[p.count++] = ids[i];
    }
    return p;
}

/* What is to come to slots is on its way while the rest is computed. */
static dp_status compute_group(dp_plan *plan, const dp_gpu_block *b, const dp_page_group *group, const part *p, const float *row) {
    dp_experts *experts = plan->program->experts;
    dp_pager *pager = plan->program->pager;
    double begun = dp_host_seconds();
    TRY(dp_gpu_paged_bring(plan, b, group));
    double start = dp_host_seconds();
    plan->spent.bring += start - begun;
    TRY(experts->api->compute(experts, b->first - 1, p->ids, p->count, row, p->out));
    pager->api->computed(pager, p->count, dp_host_seconds() - start);
    return DP_OK;
}

/* The row and the outputs, in the order of the choices: in whatever groups they came, the sum is the same. */
static const float *sum_up(dp_plan *plan, const dp_gpu_block *b, const float *shares, const bool *has, const float *row) {
    size_t columns = (size_t)plan->program->slots[b->row].cols;
    float *sum = plan->missed.outputs + (size_t)b->k * columns;
    memcpy(sum, row, columns * sizeof *sum);
    for (int32_t i = 0; i < b->k; i++) {
        const float *out = plan->missed.outputs + (size_t)i * columns;
        for (size_t c = 0; has[i] && c < columns; c++) sum[c] += b->scale * shares[i] * out[c];
    }
    return sum;
}

dp_status dp_gpu_missed_add(dp_plan *plan, const dp_gpu_block *b, const int32_t *ids, const float *shares, const float *row) {
    dp_pager *pager = plan->program->pager;
    size_t bytes = (size_t)plan->program->slots[b->row].cols * sizeof *row;
    bool has[DP_DECODE_CHOICES_MOST] = {false};
    dp_page_group group;
    TRY(pager->api->borrow(pager, b->layer, ids, (size_t)b->k));
    for (;;) {
        TRY(pager->api->next(pager, &group));
        if (!group.count) break;
        part p = part_of(plan, b, &group, ids, has);
        TRY(compute_group(plan, b, &group, &p, row));
    }
    pager->api->done(pager);
    return dp_gpu_write(plan->backend->gpu, plan->slots[b->row], 0, sum_up(plan, b, shares, has, row), bytes);
}
