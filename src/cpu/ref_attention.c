/* ref_attention.c: the specification of the KV cache's write and of attention. Elements are f16 or f32. */
#include <math.h>

#include "cpu/ref.h"

static float load(const dp_kv *kv, const void *row, int32_t i) {
    return kv->type == DP_KV_F16 ? dp_f16_to_f32(((const uint16_t *)row)[i]) : ((const float *)row)[i];
}

static void store(const dp_kv *kv, void *row, const float *values, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        if (kv->type == DP_KV_F16) ((uint16_t *)row)[i] = dp_f32_to_f16(values[i]);
        else ((float *)row)[i] = values[i];
    }
}

dp_status dp_ref_kv_write(dp_cpu_run *run, const dp_op *op) {
    dp_kv *kv = run->step->kv;
    const dp_kv_spec *spec = &run->program->kv[op->kv_write.kv];
    for (int32_t t = 0; t < run->step->count; t++)
        for (int32_t h = 0; h < spec->heads; h++) {
            size_t head = (size_t)t * (size_t)spec->heads + (size_t)h;
            int32_t position = run->step->position + t;
            store(kv, dp_cpu_kv_k(kv, op->kv_write.kv, h, position), run->slots[op->src] + head * (size_t)spec->k_dim, spec->k_dim);
            if (spec->v_dim)
                store(kv, dp_cpu_kv_v(kv, op->kv_write.kv, h, position), run->slots[op->src2] + head * (size_t)spec->v_dim, spec->v_dim);
        }
    return DP_OK;
}

/* One query head at one position, and the positions that it sees: first to last. */
typedef struct query {
    const dp_cpu_run *run;
    const dp_op *op;
    const dp_kv_spec *spec;
    const float *q; /* [k_dim] */
    int32_t head, kv_head;
    int32_t first, last;
    double *scores; /* [last + 1] */
} query;

static query query_of(const dp_cpu_run *run, const dp_op *op, int32_t token, int32_t head, double *scores) {
    const dp_kv_spec *spec = &run->program->kv[op->attention.kv];
    int32_t position = run->step->position + token;
    size_t row = (size_t)token * (size_t)op->attention.heads + (size_t)head;
    return (query){.run = run, .op = op, .spec = spec, .scores = scores, .head = head,
                   .q = run->slots[op->src] + row * (size_t)spec->k_dim,
                   .kv_head = head / (op->attention.heads / spec->heads),
                   .first = spec->window && position >= spec->window ? position - spec->window + 1 : 0,
                   .last = position};
}

static double score_of(const query *a, int32_t position) {
    const dp_kv *kv = a->run->step->kv;
    const void *k = dp_cpu_kv_k(kv, a->op->attention.kv, a->kv_head, position);
    double score = 0, cap = (double)a->op->attention.softcap;
    for (int32_t i = 0; i < a->spec->k_dim; i++) score += (double)a->q[i] * (double)load(kv, k, i);
    score *= (double)a->op->attention.scale;
    return cap > 0 ? cap * tanh(score / cap) : score;
}

/* Scores become weights, of which the sum is returned. A sink takes part in it, and in nothing else. */
static double weigh(const query *a) {
    const float *sinks = dp_ref_vector(a->run, a->op->weight);
    double sink = sinks ? (double)sinks[a->head] : -INFINITY, max = sink;
    for (int32_t j = a->first; j <= a->last; j++) {
        a->scores[j] = score_of(a, j);
        max = DP_MAX(max, a->scores[j]);
    }
    double sum = exp(sink - max);
    for (int32_t j = a->first; j <= a->last; j++) sum += a->scores[j] = exp(a->scores[j] - max);
    return sum;
}

/* out [v_dim]: the mean of the values by their weights. With MLA a value is the beginning of its key. */
static void attend(const query *a, int32_t v_dim, float *out) {
    const dp_kv *kv = a->run->step->kv;
    int32_t layer = a->op->attention.kv;
    double sum = weigh(a);
    for (int32_t i = 0; i < v_dim; i++) {
        double value = 0;
        for (int32_t j = a->first; j <= a->last; j++) {
            const void *v = a->spec->v_dim ? dp_cpu_kv_v(kv, layer, a->kv_head, j) : dp_cpu_kv_k(kv, layer, a->kv_head, j);
            value += a->scores[j] * (double)load(kv, v, i);
        }
        out[i] = (float)(value / sum);
    }
}

dp_status dp_ref_attention(dp_cpu_run *run, const dp_op *op) {
    const dp_kv_spec *spec = &run->program->kv[op->attention.kv];
    int32_t v_dim = spec->v_dim ? spec->v_dim : spec->latent;
    size_t bytes = (size_t)(run->step->position + run->step->count) * sizeof(double);
    double *scores = dp_malloc(bytes);
    if (!scores) return dp_no_memory(bytes);
    for (int32_t t = 0; t < run->step->count; t++)
        for (int32_t h = 0; h < op->attention.heads; h++) {
            size_t row = (size_t)t * (size_t)op->attention.heads + (size_t)h;
            query a = query_of(run, op, t, h, scores);
            attend(&a, v_dim, run->slots[op->dst] + row * (size_t)v_dim);
        }
    dp_free(scores);
    return DP_OK;
}
