/* fast_heads.h: MLA's products of each head with its own rows of a weight. A row is dequantised once for all tokens; the
 * exact meaning is in ref_matmul.c. */
#ifndef DP_FAST_HEADS_H
#define DP_FAST_HEADS_H

#include "cpu/fast_rows.h"

INLINE float dot_of(const float *a, const float *b, int32_t n) {
    vf sum = {0};
    int32_t i = 0;
    for (; i + VL <= n; i += VL) sum += vf_load(a + i) * vf_load(b + i);
    float rest = 0;
    for (; i < n; i++) rest += a[i] * b[i];
    return vf_sum(sum) + rest;
}

INLINE void add_scaled(float *y, const float *x, float factor, int32_t n) {
    for (int32_t i = 0; i < n; i++) y[i] += x[i] * factor;
}

static void head_product(const dp_cpu_run *run, const dp_op *op, int32_t head, float *row) {
    const dp_weight *w = &run->program->weights[op->weight];
    const dp_dtype_info *info = dp_dtype_get(w->dtype);
    const uint8_t *matrix =
        (const uint8_t *)w->data +
        (size_t)(head * op->head_matmul.weight_stride + op->head_matmul.weight_offset) * w->row_bytes;
    int32_t from = op->head_matmul.src_offset + head * op->head_matmul.src_stride;
    int32_t to = op->head_matmul.dst_offset + head * op->head_matmul.dst_stride;
    for (int32_t t = 0; op->head_matmul.transposed && t < run->step->count; t++)
        memset(row_of(run, op->dst, t) + to, 0, (size_t)w->cols * sizeof(float));
    for (int32_t j = 0; j < op->head_matmul.rows; j++) {
        info->dequantize(matrix + (size_t)j * w->row_bytes, row, (size_t)w->cols);
        for (int32_t t = 0; t < run->step->count; t++) {
            const float *x = row_of(run, op->src, t) + from;
            float *y = row_of(run, op->dst, t) + to;
            if (op->head_matmul.transposed) add_scaled(y, row, x[j], w->cols);
            else y[j] = dot_of(x, row, w->cols);
        }
    }
}

#endif
