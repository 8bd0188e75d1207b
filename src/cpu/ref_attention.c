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

/* One query head at one position. scores: room for position + 1 doubles. */
static void attend(const dp_cpu_run *run, const dp_op *op, const float *q, int32_t head, int32_t position, double *scores, float *out) {
    const dp_kv *kv = run->step->kv;
    int32_t layer = op->attention.kv;
    const dp_kv_spec *spec = &run->program->kv[layer];
    const float *sinks = dp_ref_vector(run, op->weight);
    int32_t kv_head = head / (op->attention.heads / spec->heads);
    int32_t first = spec->window && position >= spec->window ? position - spec->window + 1 : 0;
    double max = sinks ? (double)sinks[head] : -INFINITY;
    for (int32_t j = first; j <= position; j++) {
        const void *k = dp_cpu_kv_k(kv, layer, kv_head, j);
        double score = 0;
        for (int32_t i = 0; i < spec->k_dim; i++) score += (double)q[i] * (double)load(kv, k, i);
        score *= (double)op->attention.scale;
        double cap = (double)op->attention.softcap;
        if (cap > 0) score = cap * tanh(score / cap);
        scores[j] = score;
        max = DP_MAX(max, score);
    }
    double sum = sinks ? exp((double)sinks[head] - max) : 0;
    for (int32_t j = first; j <= position; j++) sum += scores[j] = exp(scores[j] - max);
    int32_t v_dim = spec->v_dim ? spec->v_dim : spec->latent;
    for (int32_t i = 0; i < v_dim; i++) {
        double value = 0;
        for (int32_t j = first; j <= position; j++) {
            const void *v = spec->v_dim ? dp_cpu_kv_v(kv, layer, kv_head, j) : dp_cpu_kv_k(kv, layer, kv_head, j);
            value += scores[j] * (double)load(kv, v, i);
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
            attend(run, op, run->slots[op->src] + row * (size_t)spec->k_dim, h, run->step->position + t, scores,
                   run->slots[op->dst] + row * (size_t)v_dim);
        }
    dp_free(scores);
    return DP_OK;
}
