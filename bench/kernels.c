/* kernels.c: speed of the CPU products by dtype, without a model: `kernels [threads] [isa] [tokens] [rows] [cols]`.
 * Decode prints bytes of weights per second beside the bandwidth of plain reads in the same run; prefill prints
 * operations per second, 2 per multiplication. */
#include <stdio.h>
#include <stdlib.h>

#include "cpu/cpu.h"

typedef struct setup {
    dp_program program;
    dp_slot slots[2];
    dp_weight weight;
    dp_op op;
    dp_step step;
    float *values[2];
    dp_pool *pool;
    struct dp_cpu_fast *fast;
    dp_cpu_table table;
} setup;

enum { BUFFER = 256 << 20, PIECE = 1 << 20 };

static uint8_t *buffer; /* weights come from here; larger than any cache */
static uint64_t read_sum[64];

static void read_piece(void *context, int32_t index, int32_t thread) {
    (void)context;
    const uint64_t *p = (const uint64_t *)(const void *)(buffer + (size_t)index * PIECE);
    uint64_t sums[8] = {0};
    for (size_t i = 0; i < PIECE / 8; i += 8)
        for (size_t k = 0; k < 8; k++) sums[k] += p[i + k];
    for (size_t k = 0; k < 8; k++) read_sum[thread] += sums[k];
}

static double bandwidth(dp_pool *pool) {
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        double start = dp_host_seconds();
        dp_pool_run(pool, read_piece, NULL, BUFFER / PIECE);
        double seconds = dp_host_seconds() - start;
        if (seconds < best) best = seconds;
    }
    return BUFFER / best;
}

/* A few quantised rows, over and over. */
static void fill_weights(dp_dtype dtype, int32_t rows, int32_t cols) {
    size_t few = (size_t)(rows < 16 ? rows : 16), n = few * (size_t)cols, bytes = few * dp_dtype_row_bytes(dtype, cols);
    float *values = malloc(n * sizeof(float));
    if (!values) exit(1);
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525 + 1013904223;
        values[i] = (float)(int32_t)state * 1e-11f;
    }
    dp_dtype_get(dtype)->quantize(values, buffer, n);
    free(values);
    for (size_t at = bytes; at < BUFFER; at += bytes) memcpy(buffer + at, buffer, bytes < BUFFER - at ? bytes : BUFFER - at);
}

/* The least seconds one op takes; the matrix moves through the buffer, so that it is never cached. */
static double measure(setup *s, int repeats) {
    double least = 1e9;
    size_t steps = s->weight.bytes < BUFFER ? BUFFER / s->weight.bytes : 1;
    for (int i = 0; i < repeats; i++) {
        s->weight.data = buffer + (size_t)i % steps * s->weight.bytes;
        dp_cpu_fast_begin(s->fast);
        dp_cpu_run run = {&s->program, &s->step, s->values, s->pool, s->fast};
        double start = dp_host_seconds();
        if (s->table.op[DP_OP_MATMUL](&run, &s->op) != DP_OK) exit(1);
        double seconds = dp_host_seconds() - start;
        if (seconds < least) least = seconds;
    }
    return least;
}

static void bench(setup *s, dp_dtype dtype, int32_t tokens, int32_t rows, int32_t cols, double peak) {
    s->weight = (dp_weight){.name = "w", .dtype = dtype, .rows = rows, .cols = cols};
    s->weight.row_bytes = dp_dtype_row_bytes(dtype, cols);
    s->weight.bytes = s->weight.row_bytes * (size_t)rows;
    if (!s->weight.row_bytes || s->weight.bytes > BUFFER) return;
    fill_weights(dtype, rows, cols);
    s->slots[0] = (dp_slot){.name = "x", .cols = cols};
    s->slots[1] = (dp_slot){.name = "y", .cols = rows};
    s->step.count = tokens;
    for (int i = 0; i < 2; i++) s->values[i] = calloc((size_t)s->slots[i].cols * (size_t)tokens, sizeof(float));
    for (int32_t i = 0; i < cols * tokens; i++) s->values[0][i] = (float)(i % 255 - 127);
    if (dp_cpu_fast_new(&s->program, tokens, dp_pool_threads(s->pool), &s->fast) != DP_OK) exit(1);
    double seconds = measure(s, tokens > 16 ? 5 : 33);
    double bytes = (double)s->weight.bytes / seconds, operations = 2.0 * rows * cols * tokens / seconds;
    printf("%-6s %4d tokens  %8.3f ms  %7.2f GB/s (%3.0f %%)  %8.1f Gop/s\n", dp_dtype_get(dtype)->name, (int)tokens,
           seconds * 1e3, bytes * 1e-9, 100 * bytes / peak, operations * 1e-9);
    dp_cpu_fast_free(s->fast);
    for (int i = 0; i < 2; i++) free(s->values[i]);
}

int main(int argc, char **argv) {
    static setup s;
    const char *describe;
    int threads = argc > 1 ? atoi(argv[1]) : dp_host_cpu_count(), tokens = argc > 3 ? atoi(argv[3]) : 128;
    int rows = argc > 4 ? atoi(argv[4]) : 8192, cols = argc > 5 ? atoi(argv[5]) : 2048;
    const char *isa = argc > 2 && strcmp(argv[2], "best") ? argv[2] : NULL;
    buffer = malloc(BUFFER);
    if (!buffer || dp_pool_new(threads, &s.pool) != DP_OK || dp_cpu_fast_table(isa, &s.table, &describe) != DP_OK) {
        fprintf(stderr, "%s\n", dp_error_message());
        return 1;
    }
    memset(buffer, 1, BUFFER);
    s.op = (dp_op){.kind = DP_OP_MATMUL, .label = "bench", .src = 0, .dst = 1, .dst2 = -1, .src2 = -1, .weight = 0, .bias = -1};
    s.program = (dp_program){.ops = &s.op, .op_count = 1, .slots = s.slots, .slot_count = 2, .weights = &s.weight, .weight_count = 1};
    double peak = bandwidth(s.pool);
    printf("%s, %d threads, %d x %d, plain reads %.2f GB/s\n", describe, (int)dp_pool_threads(s.pool), rows, cols, peak * 1e-9);
    for (int dtype = DP_F32; dtype <= DP_MXFP4; dtype++) bench(&s, (dp_dtype)dtype, 1, rows, cols, peak);
    for (int dtype = DP_F32; dtype <= DP_MXFP4; dtype++) bench(&s, (dp_dtype)dtype, tokens, rows, cols, peak);
    dp_pool_free(s.pool);
    free(buffer);
    return 0;
}
