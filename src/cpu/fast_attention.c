/* fast_attention.c: attention on the vectorised path. The query heads that share a KV head, at consecutive tokens, form
 * rows; a task is a block of rows of one KV head. Where that gives too few tasks (decoding) the context is cut into
 * parts as well, and the parts are merged:  o = sum_i e^(m_i - M) acc_i / sum_i e^(m_i - M) sum_i.
 * The arithmetic of a task is in fast_attend.h. */
#include <math.h>

#include "cpu/fast.h"
#include "cpu/ref.h"

typedef struct attention_work {
    const dp_cpu_run *run;
    const dp_op *op;
    const dp_cpu_kernels *kernels;
    dp_kv_spec spec;
    const float *sinks;
    int32_t group, v_dim;  /* query heads per KV head; columns of the result per head */
    int32_t blocks, parts; /* blocks of rows; parts of the context */
} attention_work;

static int32_t value_dim(const dp_kv_spec *spec) { return spec->v_dim ? spec->v_dim : spec->latent; }

size_t dp_attend_state_floats(const dp_kv_spec *spec) { return DP_ATTEND_ROWS * (2 + (size_t)value_dim(spec)); }

size_t dp_attend_scratch_floats(const dp_kv_spec *spec) {
    return (size_t)spec->k_dim * (DP_ATTEND_STEP + 4) + DP_ATTEND_ROWS * (DP_ATTEND_STEP + 1);
}

/* Row `row` of a KV head: token row / group, query head row % group. */
static size_t head_of_row(const attention_work *work, int32_t kv_head, int32_t row) {
    size_t token = (size_t)(row / work->group), head = (size_t)(kv_head * work->group + row % work->group);
    return token * (size_t)work->op->attention.heads + head;
}

static void set_rows(const attention_work *work, dp_attend *job, int32_t block) {
    const dp_step *step = work->run->step;
    int32_t first = block * DP_ATTEND_ROWS;
    job->rows = DP_MIN(DP_ATTEND_ROWS, step->count * work->group - first);
    for (int32_t r = 0; r < job->rows; r++) {
        job->q[r] = work->run->slots[work->op->src] + head_of_row(work, job->kv_head, first + r) * (size_t)job->k_dim;
        job->position[r] = step->position + (first + r) / work->group;
    }
    int32_t low = job->position[0], window = work->spec.window;
    job->from = window && low >= window ? (low - window + 1) / DP_ATTEND_STEP * DP_ATTEND_STEP : 0;
    job->to = job->position[job->rows - 1] + 1;
}

/* Leaves the part's steps of the range; may be none. */
static void take_part(dp_attend *job, int32_t part, int32_t parts) {
    int32_t steps = (job->to - job->from + DP_ATTEND_STEP - 1) / DP_ATTEND_STEP;
    int32_t first = (int32_t)((int64_t)steps * part / parts), end = (int32_t)((int64_t)steps * (part + 1) / parts);
    if (part + 1 < parts) job->to = job->from + end * DP_ATTEND_STEP;
    job->from += first * DP_ATTEND_STEP;
}

static void place_state(dp_attend *job, float *state) {
    job->max = state;
    job->sum = state + DP_ATTEND_ROWS;
    job->acc = state + 2 * DP_ATTEND_ROWS;
}

/* `parts` states, `stride` floats apart, into the results of one block of rows. */
static void merge(const attention_work *work, int32_t kv_head, int32_t block, const float *state) {
    int32_t first = block * DP_ATTEND_ROWS, rows = DP_MIN(DP_ATTEND_ROWS, work->run->step->count * work->group - first);
    size_t stride = work->run->fast->partial_floats, v_dim = (size_t)work->v_dim;
    for (int32_t r = 0; r < rows; r++) {
        float *out = work->run->slots[work->op->dst] + head_of_row(work, kv_head, first + r) * v_dim;
        float sink = work->sinks ? work->sinks[kv_head * work->group + (first + r) % work->group] : 0;
        float max = work->sinks ? sink : -1e30f;
        for (int32_t p = 0; p < work->parts; p++) max = DP_MAX(max, state[(size_t)p * stride + (size_t)r]);
        float total = work->sinks ? expf(sink - max) : 0;
        memset(out, 0, v_dim * sizeof *out);
        for (int32_t p = 0; p < work->parts; p++) {
            const float *part = state + (size_t)p * stride;
            const float *acc = part + 2 * DP_ATTEND_ROWS + (size_t)r * v_dim;
            float weight = expf(part[r] - max);
            total += weight * part[DP_ATTEND_ROWS + r];
            for (size_t i = 0; i < v_dim; i++) out[i] += weight * acc[i];
        }
        for (size_t i = 0; i < v_dim; i++) out[i] /= total;
    }
}

static void attention_task(void *context, int32_t index, int32_t thread) {
    const attention_work *work = context;
    struct dp_cpu_fast *fast = work->run->fast;
    int32_t part = index % work->parts, task = index / work->parts;
    int32_t block = work->blocks - 1 - task / work->spec.heads; /* the last see most positions: they start first */
    float *scratch = (float *)(void *)dp_fast_scratch(fast, thread);
    dp_attend job = {
        .kv = work->run->step->kv,
        .layer = work->op->attention.kv,
        .kv_head = task % work->spec.heads,
        .k_dim = work->spec.k_dim,
        .v_dim = work->v_dim,
        .window = work->spec.window,
        .scale = work->op->attention.scale,
        .softcap = work->op->attention.softcap,
    };
    set_rows(work, &job, block);
    if (work->parts > 1) take_part(&job, part, work->parts);
    place_state(&job, work->parts > 1 ? fast->partial + (size_t)index * fast->partial_floats : scratch);
    job.scratch = scratch + fast->partial_floats;
    work->kernels->attend(&job);
    if (work->parts == 1) merge(work, job.kv_head, block, scratch);
}

enum { POSITIONS_PER_PART = 256 };

/* With fewer than two tasks per thread, as many parts as give that; each with enough positions to be worth it. */
static int32_t count_parts(const attention_work *work, int32_t threads) {
    int32_t tasks = work->blocks * work->spec.heads, positions = work->run->step->position + work->run->step->count;
    if (work->spec.window) positions = DP_MIN(positions, work->spec.window);
    if (threads == 1 || tasks >= 2 * threads) return 1;
    return DP_MAX(1, DP_MIN(2 * threads / tasks, positions / POSITIONS_PER_PART));
}

dp_status dp_fast_attention(dp_cpu_run *run, const dp_op *op, const dp_cpu_kernels *kernels) {
    attention_work work = {.run = run, .op = op, .kernels = kernels, .spec = run->program->kv[op->attention.kv]};
    work.sinks = dp_ref_vector(run, op->weight);
    work.group = op->attention.heads / work.spec.heads;
    work.v_dim = value_dim(&work.spec);
    work.blocks = (run->step->count * work.group + DP_ATTEND_ROWS - 1) / DP_ATTEND_ROWS;
    work.parts = count_parts(&work, dp_pool_threads(run->pool));
    int32_t tasks = work.blocks * work.spec.heads;
    dp_pool_run(run->pool, attention_task, &work, tasks * work.parts);
    for (int32_t i = 0; work.parts > 1 && i < tasks; i++)
        merge(&work, i % work.spec.heads, work.blocks - 1 - i / work.spec.heads,
              run->fast->partial + (size_t)(i * work.parts) * run->fast->partial_floats);
    return DP_OK;
}
