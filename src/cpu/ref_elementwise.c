/* ref_elementwise.c: the specification of norms, RoPE, activations, sums and row selection. */
#include <math.h>

#include "cpu/ref.h"

static void norm_group(const dp_op *op, const float *src, const float *weight, const float *bias, float *dst) {
    int32_t n = op->norm.group;
    double mean = 0, square = 0;
    if (op->norm.kind == DP_NORM_LAYER) {
        for (int32_t i = 0; i < n; i++) mean += src[i];
        mean /= n;
    }
    for (int32_t i = 0; i < n; i++) square += ((double)src[i] - mean) * ((double)src[i] - mean);
    double scale = 1 / sqrt(square / n + (double)op->norm.eps);
    for (int32_t i = 0; i < n; i++) {
        double gain = weight ? (double)weight[i] + (double)op->norm.offset : 1;
        dst[i] = (float)(((double)src[i] - mean) * scale * gain + (bias ? (double)bias[i] : 0));
    }
}

dp_status dp_ref_norm(dp_cpu_run *run, const dp_op *op) {
    size_t cols = (size_t)run->program->slots[op->src].cols;
    const float *weight = dp_ref_vector(run, op->weight), *bias = dp_ref_vector(run, op->bias);
    for (int32_t t = 0; t < dp_cpu_rows(run, op->dst); t++)
        for (int32_t g = 0; g < op->norm.count; g++) {
            size_t at = (size_t)t * cols + (size_t)g * (size_t)op->norm.stride;
            norm_group(op, run->slots[op->src] + at, weight, bias, run->slots[op->dst] + at);
        }
    return DP_OK;
}

/* The angle is rounded to f32 before cos and sin, as every published implementation does. */
dp_status dp_ref_rope(dp_cpu_run *run, const dp_op *op) {
    bool use_long = op->bias >= 0 && run->step->context > op->rope.long_context;
    const float *frequency = dp_ref_vector(run, use_long ? op->bias : op->weight);
    float scale = use_long ? op->rope.long_scale : op->rope.scale;
    size_t src_cols = (size_t)run->program->slots[op->src].cols, dst_cols = (size_t)run->program->slots[op->dst].cols;
    int32_t half = op->rope.dim / 2;
    for (int32_t t = 0; t < run->step->count; t++)
        for (int32_t h = 0; h < op->rope.heads; h++) {
            const float *src = run->slots[op->src] + (size_t)t * src_cols + op->rope.src_offset + h * op->rope.src_stride;
            float *dst = run->slots[op->dst] + (size_t)t * dst_cols + op->rope.dst_offset + h * op->rope.dst_stride;
            for (int32_t i = 0; i < half; i++) {
                float angle = (float)(run->step->position + t) * frequency[i];
                float c = (float)cos((double)angle) * scale, s = (float)sin((double)angle) * scale;
                int32_t a = op->rope.pairs ? 2 * i : i, b = op->rope.pairs ? 2 * i + 1 : i + half;
                float x = src[a], y = src[b];
                dst[a] = x * c - y * s;
                dst[b] = y * c + x * s;
            }
        }
    return DP_OK;
}

dp_status dp_ref_add(dp_cpu_run *run, const dp_op *op) {
    size_t n = (size_t)dp_cpu_rows(run, op->dst) * (size_t)run->program->slots[op->dst].cols;
    for (size_t i = 0; i < n; i++) run->slots[op->dst][i] = run->slots[op->src][i] + run->slots[op->src2][i];
    return DP_OK;
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

static double activate(const dp_op *op, double gate, double up) {
    double limit = (double)op->act_mul.limit;
    switch (op->act_mul.kind) {
    case DP_ACT_SILU: return gate * sigmoid(gate) * up;
    case DP_ACT_GELU_TANH: return 0.5 * gate * (1 + tanh(0.7978845608028654 * (gate + 0.044715 * gate * gate * gate))) * up;
    case DP_ACT_GELU_ERF: return 0.5 * gate * (1 + erf(gate * 0.7071067811865476)) * up;
    case DP_ACT_SWIGLU_OAI:
        gate = DP_MIN(gate, limit);
        up = DP_MAX(DP_MIN(up, limit), -limit);
        return gate * sigmoid((double)op->act_mul.alpha * gate) * (up + 1);
    }
    return 0;
}

dp_status dp_ref_act_mul(dp_cpu_run *run, const dp_op *op) {
    size_t n = (size_t)dp_cpu_rows(run, op->dst) * (size_t)run->program->slots[op->dst].cols;
    for (size_t i = 0; i < n; i++)
        run->slots[op->dst][i] = (float)activate(op, (double)run->slots[op->src][i], (double)run->slots[op->src2][i]);
    return DP_OK;
}

dp_status dp_ref_softcap(dp_cpu_run *run, const dp_op *op) {
    size_t n = (size_t)dp_cpu_rows(run, op->dst) * (size_t)run->program->slots[op->dst].cols;
    double cap = (double)op->softcap.cap;
    for (size_t i = 0; i < n; i++) run->slots[op->dst][i] = (float)(cap * tanh((double)run->slots[op->src][i] / cap));
    return DP_OK;
}

dp_status dp_ref_select(dp_cpu_run *run, const dp_op *op) {
    size_t cols = (size_t)run->program->slots[op->src].cols;
    size_t first = (size_t)(run->step->count - run->step->outputs);
    memcpy(run->slots[op->dst], run->slots[op->src] + first * cols, (size_t)run->step->outputs * cols * sizeof(float));
    return DP_OK;
}

dp_status dp_ref_moe_sum(dp_cpu_run *run, const dp_op *op) {
    size_t cols = (size_t)run->program->slots[op->dst].cols;
    int32_t k = op->moe_sum.k;
    for (int32_t t = 0; t < run->step->count; t++)
        for (size_t n = 0; n < cols; n++) {
            double sum = 0;
            for (int32_t i = 0; i < k; i++) {
                size_t pair = (size_t)t * (size_t)k + (size_t)i;
                sum += (double)run->slots[op->src2][pair] * (double)run->slots[op->src][pair * cols + n];
            }
            run->slots[op->dst][(size_t)t * cols + n] = (float)sum;
        }
    return DP_OK;
}
