/* fast_rows.h: the ops that work on one token's row at a time: norm, rope, kv_write, add, act_mul, moe_sum, softcap.
 * Shapes are in graph/ops.def, the exact meaning in ref_elementwise.c. */
#ifndef DP_FAST_ROWS_H
#define DP_FAST_ROWS_H

#include <math.h>

#include "cpu/fast_attend.h"
#include "cpu/ref.h"

INLINE float *row_of(const dp_cpu_run *run, int32_t slot, int32_t row) {
    return run->slots[slot] + (size_t)row * (size_t)run->program->slots[slot].cols;
}

/* ---- norm ---- */

INLINE float sum_of(const float *x, int32_t n) {
    vf sum = {0};
    int32_t i = 0;
    for (; i + VL <= n; i += VL) sum += vf_load(x + i);
    float rest = 0;
    for (; i < n; i++) rest += x[i];
    return vf_sum(sum) + rest;
}

INLINE float squares_of(const float *x, int32_t n, float mean) {
    vf sum = {0};
    int32_t i = 0;
    for (; i + VL <= n; i += VL) {
        vf d = vf_load(x + i) - mean;
        sum += d * d;
    }
    float rest = 0;
    for (; i < n; i++) rest += (x[i] - mean) * (x[i] - mean);
    return vf_sum(sum) + rest;
}

static void norm_row(const dp_cpu_run *run, const dp_op *op, int32_t row) {
    const float *weight = dp_ref_vector(run, op->weight), *bias = dp_ref_vector(run, op->bias);
    int32_t n = op->norm.group;
    for (int32_t g = 0; g < op->norm.count; g++) {
        const float *x = row_of(run, op->src, row) + g * op->norm.stride;
        float *y = run->slots[op->dst] + (size_t)row * (size_t)run->program->slots[op->src].cols + g * op->norm.stride;
        float mean = op->norm.kind == DP_NORM_LAYER ? sum_of(x, n) / (float)n : 0;
        float scale = 1 / sqrtf(squares_of(x, n, mean) / (float)n + op->norm.eps);
        for (int32_t i = 0; i < n; i++) {
            float gain = weight ? weight[i] + op->norm.offset : 1;
            y[i] = (x[i] - mean) * scale * gain + (bias ? bias[i] : 0);
        }
    }
}

/* ---- rope: cos and sin once per pair, for all heads ---- */

static void rope_row(const dp_cpu_run *run, const dp_op *op, int32_t row) {
    bool use_long = op->bias >= 0 && run->step->context > op->rope.long_context;
    const float *frequency = dp_ref_vector(run, use_long ? op->bias : op->weight);
    float scale = use_long ? op->rope.long_scale : op->rope.scale;
    const float *src = row_of(run, op->src, row) + op->rope.src_offset;
    float *dst = row_of(run, op->dst, row) + op->rope.dst_offset;
    int32_t half_dim = op->rope.dim / 2;
    for (int32_t i = 0; i < half_dim; i++) {
        float angle = (float)(run->step->position + row) * frequency[i];
        float c = (float)cos((double)angle) * scale, s = (float)sin((double)angle) * scale;
        int32_t a = op->rope.pairs ? 2 * i : i, b = op->rope.pairs ? 2 * i + 1 : i + half_dim;
        for (int32_t h = 0; h < op->rope.heads; h++) {
            float x = src[h * op->rope.src_stride + a], y = src[h * op->rope.src_stride + b];
            dst[h * op->rope.dst_stride + a] = x * c - y * s;
            dst[h * op->rope.dst_stride + b] = y * c + x * s;
        }
    }
}

/* ---- kv_write ---- */

INLINE void store_kv(dp_kv_type type, void *to, const float *x, int32_t n) {
    if (type == DP_KV_F32) {
        memcpy(to, x, (size_t)n * sizeof *x);
        return;
    }
    uint8_t *p = to;
    int32_t i = 0;
    for (; i + VL <= n; i += VL) vf_store_half(p + 2 * i, vf_load(x + i));
    for (; i < n; i++) dp_store_u16(p + 2 * i, dp_f32_to_f16(x[i]));
}

static void kv_write_row(const dp_cpu_run *run, const dp_op *op, int32_t row) {
    dp_kv *kv = run->step->kv;
    int32_t layer = op->kv_write.kv, position = run->step->position + row;
    const dp_kv_spec *spec = &run->program->kv[layer];
    for (int32_t h = 0; h < spec->heads; h++) {
        size_t head = (size_t)row * (size_t)spec->heads + (size_t)h;
        store_kv(kv->type, dp_cpu_kv_k(kv, layer, h, position), run->slots[op->src] + head * (size_t)spec->k_dim, spec->k_dim);
        if (spec->v_dim)
            store_kv(kv->type, dp_cpu_kv_v(kv, layer, h, position), run->slots[op->src2] + head * (size_t)spec->v_dim, spec->v_dim);
    }
}

/* ---- add, act_mul, moe_sum, softcap ---- */

static void add_row(const dp_cpu_run *run, const dp_op *op, int32_t row) {
    const float *a = row_of(run, op->src, row), *b = row_of(run, op->src2, row);
    float *y = row_of(run, op->dst, row);
    for (int32_t i = 0; i < run->program->slots[op->dst].cols; i++) y[i] = a[i] + b[i];
}

INLINE vf vf_sigmoid(vf x) { return 1 / (1 + vf_exp(-x)); }

/* tanh(x) = 2 sigmoid(2 x) - 1, so 0.5 g (1 + tanh(z)) = g sigmoid(2 z). */
INLINE vf act_vector(const dp_op *op, vf gate, vf up) {
    switch (op->act_mul.kind) {
    case DP_ACT_GELU_TANH: return gate * vf_sigmoid(1.5957691216f * (gate + 0.044715f * gate * gate * gate)) * up;
    case DP_ACT_SWIGLU_OAI:
        gate = vf_min(gate, vf_set(op->act_mul.limit));
        up = vf_max(vf_min(up, vf_set(op->act_mul.limit)), vf_set(-op->act_mul.limit));
        return gate * vf_sigmoid(op->act_mul.alpha * gate) * (up + 1);
    case DP_ACT_GELU_ERF:
        for (int i = 0; i < VL; i++) gate[i] = 0.5f * gate[i] * (1 + erff(gate[i] * 0.70710678f));
        return gate * up;
    case DP_ACT_SILU: break;
    }
    return gate * vf_sigmoid(gate) * up;
}

static void act_mul_row(const dp_cpu_run *run, const dp_op *op, int32_t row) {
    const float *gate = row_of(run, op->src, row), *up = row_of(run, op->src2, row);
    float *y = row_of(run, op->dst, row);
    int32_t n = run->program->slots[op->dst].cols, i = 0;
    for (; i + VL <= n; i += VL) vf_store(y + i, act_vector(op, vf_load(gate + i), vf_load(up + i)));
    if (i == n) return;
    float last[2][VL] = {{0}};
    memcpy(last[0], gate + i, (size_t)(n - i) * sizeof(float));
    memcpy(last[1], up + i, (size_t)(n - i) * sizeof(float));
    vf_store(last[0], act_vector(op, vf_load(last[0]), vf_load(last[1])));
    memcpy(y + i, last[0], (size_t)(n - i) * sizeof(float));
}

static void moe_sum_row(const dp_cpu_run *run, const dp_op *op, int32_t row) {
    int32_t k = op->moe_sum.k, n = run->program->slots[op->dst].cols;
    const float *x = run->slots[op->src] + (size_t)row * (size_t)k * (size_t)n, *weight = run->slots[op->src2] + (size_t)row * (size_t)k;
    float *y = row_of(run, op->dst, row);
    for (int32_t c = 0; c < n; c++) y[c] = weight[0] * x[c];
    for (int32_t i = 1; i < k; i++)
        for (int32_t c = 0; c < n; c++) y[c] += weight[i] * x[(size_t)i * (size_t)n + (size_t)c];
}

static void softcap_row(const dp_cpu_run *run, const dp_op *op, int32_t row) {
    const float *x = row_of(run, op->src, row);
    float *y = row_of(run, op->dst, row), cap = op->softcap.cap;
    int32_t n = run->program->slots[op->dst].cols, i = 0;
    for (; i + VL <= n; i += VL) vf_store(y + i, cap_scores(vf_load(x + i), cap));
    for (; i < n; i++) y[i] = cap * tanhf(x[i] / cap);
}

#endif
