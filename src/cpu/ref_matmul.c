/* ref_matmul.c: the specification of every op that reads weight matrices. A row is dequantised, then multiplied with
 * sums in double. Shapes are in graph/ops.def. */
#include "cpu/ref.h"

/* One weight row as f32. */
static void load_row(const dp_weight *w, const void *matrix, int32_t row, float *out) {
    dp_dtype_get(w->dtype)->dequantize((const char *)matrix + (size_t)row * w->row_bytes, out, (size_t)w->cols);
}

static double dot(const float *a, const float *b, int32_t n) {
    double sum = 0;
    for (int32_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

static dp_status row_buffer(const dp_weight *w, float **out) {
    if (!dp_dtype_get(w->dtype)->dequantize)
        return dp_fail(DP_E_UNSUPPORTED, "%s: cannot compute with dtype %s", w->name, dp_dtype_get(w->dtype)->name);
    *out = dp_malloc((size_t)w->cols * sizeof(float));
    return *out ? DP_OK : dp_no_memory((size_t)w->cols * sizeof(float));
}

dp_status dp_ref_embed(dp_cpu_run *run, const dp_op *op) {
    const dp_weight *w = &run->program->weights[op->weight];
    float *row;
    TRY(row_buffer(w, &row)); /* also checks the dtype */
    for (int32_t t = 0; t < run->step->count; t++) {
        load_row(w, w->data, run->step->tokens[t], row);
        float *out = run->slots[op->dst] + (size_t)t * (size_t)w->cols;
        for (int32_t i = 0; i < w->cols; i++) out[i] = row[i] * op->embed.scale;
    }
    dp_free(row);
    return DP_OK;
}

dp_status dp_ref_matmul(dp_cpu_run *run, const dp_op *op) {
    const dp_weight *w = &run->program->weights[op->weight];
    const float *bias = dp_ref_vector(run, op->bias);
    int32_t rows = dp_cpu_rows(run, op->dst);
    float *row;
    TRY(row_buffer(w, &row));
    for (int32_t n = 0; n < w->rows; n++) {
        load_row(w, w->data, n, row);
        for (int32_t t = 0; t < rows; t++) {
            double sum = dot(run->slots[op->src] + (size_t)t * (size_t)w->cols, row, w->cols);
            run->slots[op->dst][(size_t)t * (size_t)w->rows + (size_t)n] = (float)(sum + (bias ? (double)bias[n] : 0));
        }
    }
    dp_free(row);
    return DP_OK;
}

/* One token's product with the rows of one head's slice of W, from `first` on: dst [rows] = slice * src [cols]. */
static void head_product(const dp_op *op, const dp_weight *w, int32_t first, const float *src, float *row, float *dst) {
    for (int32_t j = 0; j < op->head_matmul.rows; j++) {
        load_row(w, w->data, first + j, row);
        dst[j] = (float)dot(src, row, w->cols);
    }
}

/* The same with the slice transposed: dst [cols] = src [rows] * slice. sums: room for [cols]. */
static void head_product_transposed(const dp_op *op, const dp_weight *w, int32_t first, const float *src, float *row, double *sums,
                                    float *dst) {
    memset(sums, 0, (size_t)w->cols * sizeof(double));
    for (int32_t j = 0; j < op->head_matmul.rows; j++) {
        load_row(w, w->data, first + j, row);
        for (int32_t i = 0; i < w->cols; i++) sums[i] += (double)src[j] * row[i];
    }
    for (int32_t i = 0; i < w->cols; i++) dst[i] = (float)sums[i];
}

dp_status dp_ref_head_matmul(dp_cpu_run *run, const dp_op *op) {
    const dp_weight *w = &run->program->weights[op->weight];
    size_t src_cols = (size_t)run->program->slots[op->src].cols, dst_cols = (size_t)run->program->slots[op->dst].cols;
    double *sums = dp_malloc((size_t)w->cols * sizeof(double));
    float *row = NULL;
    dp_status status = sums ? row_buffer(w, &row) : dp_no_memory((size_t)w->cols * sizeof(double));
    for (int32_t t = 0; status == DP_OK && t < run->step->count; t++)
        for (int32_t h = 0; h < op->head_matmul.heads; h++) {
            const float *src = run->slots[op->src] + (size_t)t * src_cols + op->head_matmul.src_offset + h * op->head_matmul.src_stride;
            float *dst = run->slots[op->dst] + (size_t)t * dst_cols + op->head_matmul.dst_offset + h * op->head_matmul.dst_stride;
            int32_t first = h * op->head_matmul.weight_stride + op->head_matmul.weight_offset;
            if (op->head_matmul.transposed) head_product_transposed(op, w, first, src, row, sums, dst);
            else head_product(op, w, first, src, row, dst);
        }
    dp_free(row);
    dp_free(sums);
    return status;
}

dp_status dp_ref_moe_matmul(dp_cpu_run *run, const dp_op *op) {
    const dp_weight *w = &run->program->weights[op->weight];
    const float *bias = dp_ref_vector(run, op->bias);
    const int32_t *ids = (const int32_t *)(const void *)run->slots[op->src2];
    int32_t k = op->moe_matmul.k, pairs = run->step->count * k;
    float *row;
    TRY(row_buffer(w, &row));
    for (int32_t p = 0; p < pairs; p++) { /* p = (token, choice) */
        if (run->only && !run->only[ids[p]]) continue;
        const float *src = run->slots[op->src] + (size_t)(op->moe_matmul.per_expert ? p : p / k) * (size_t)w->cols;
        float *dst = run->slots[op->dst] + (size_t)p * (size_t)w->rows;
        for (int32_t n = 0; n < w->rows; n++) {
            load_row(w, w->expert[ids[p]], n, row);
            dst[n] = (float)(dot(src, row, w->cols) + (bias ? (double)bias[(size_t)ids[p] * (size_t)w->rows + (size_t)n] : 0));
        }
    }
    dp_free(row);
    return DP_OK;
}
