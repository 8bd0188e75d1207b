/* kernels.c: speed of the CPU products by dtype, without a model:
 *
 *   kernels [threads] [isa] [tokens] [rows] [cols] [dtype, or all] [experts] [chosen]
 *
 * A matrix of rows x cols is multiplied with one token and with `tokens`. With experts, each of that size, every token
 * takes `chosen` of them at random, in turn with a plain matrix of chosen x rows: so many multiplications a token too.
 * Prints bytes of weights read per second, each expert that is touched once, beside the bandwidth of plain reads in the
 * same run, and operations per second, 2 per multiplication. The least time of several runs counts. */
#include <stdio.h>
#include <stdlib.h>

#include "cpu/cpu.h"

enum { BUFFER = 512 << 20, PIECE = 1 << 20, EXPERTS_MAX = 1024 };

typedef struct setup {
    dp_program program;
    dp_slot slots[3]; /* x, y, ids */
    dp_weight weights[2]; /* plain, experts */
    const void *expert[EXPERTS_MAX];
    dp_op ops[2];
    dp_step step;
    float *values[3];
    dp_pool *pool;
    struct dp_cpu_fast *fast;
    dp_cpu_table table;
    int32_t tokens, rows, cols, experts, chosen;
    double peak; /* bytes per second */
} setup;

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

static uint32_t draw(uint32_t n) {
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % n;
}

/* Chooses different experts for each token; returns how many are touched. */
static int32_t route(setup *s) {
    bool touched[EXPERTS_MAX] = {false};
    int32_t *ids = (int32_t *)(void *)s->values[2], count = 0;
    for (int32_t t = 0; t < s->tokens; t++, ids += s->chosen)
        for (int32_t i = 0; i < s->chosen; i++) {
            bool again = true;
            while (again) {
                ids[i] = (int32_t)draw((uint32_t)s->experts);
                again = false;
                for (int32_t j = 0; j < i; j++) again = again || ids[j] == ids[i];
            }
            count += !touched[ids[i]];
            touched[ids[i]] = true;
        }
    return count;
}

/* Seconds that the op takes once, and what it reads: it moves through the buffer, so that nothing is cached. */
static double run_once(setup *s, int which, double *bytes) {
    dp_weight *w = &s->weights[which];
    size_t expert_bytes = w->row_bytes * (size_t)s->rows, room = BUFFER / expert_bytes;
    if (which == 0) {
        size_t most = room / (size_t)s->chosen;
        w->data = buffer + draw((uint32_t)(most ? most : 1)) * w->bytes;
        *bytes = (double)w->bytes;
    } else {
        size_t first = draw((uint32_t)room);
        for (size_t e = 0; e < (size_t)s->experts; e++) s->expert[e] = buffer + (first + e) % room * expert_bytes;
        *bytes = (double)expert_bytes * route(s);
    }
    dp_cpu_fast_begin(s->fast);
    dp_cpu_run run = {&s->program, &s->step, s->values, s->pool, s->fast, NULL};
    double start = dp_host_seconds();
    if (s->table.op[s->ops[which].kind](&run, &s->ops[which]) != DP_OK) exit(1);
    return dp_host_seconds() - start;
}

static void print(const setup *s, int which, double seconds, double bytes) {
    double operations = 2.0 * s->rows * s->cols * s->tokens * s->chosen / seconds;
    printf("%-6s %4d tokens%s  %8.3f ms  %7.2f GB/s (%3.0f %%)  %8.1f Gop/s", dp_dtype_get(s->weights[0].dtype)->name, (int)s->tokens,
           which ? ", experts" : "", seconds * 1e3, bytes / seconds * 1e-9, 100 * bytes / seconds / s->peak, operations * 1e-9);
}

static void bench(setup *s, dp_dtype dtype, int32_t tokens) {
    size_t row_bytes = dp_dtype_row_bytes(dtype, s->cols), bytes = row_bytes * (size_t)s->rows;
    if (!row_bytes || bytes * (size_t)s->chosen > BUFFER) return;
    s->weights[0] = (dp_weight){.name = "w", .dtype = dtype, .rows = s->rows * s->chosen, .cols = s->cols, .row_bytes = row_bytes};
    s->weights[0].bytes = bytes * (size_t)s->chosen;
    s->weights[1] = (dp_weight){.name = "e", .dtype = dtype, .rows = s->rows, .cols = s->cols, .row_bytes = row_bytes, .bytes = bytes,
                                .experts = s->experts, .expert = s->expert};
    fill_weights(dtype, s->rows, s->cols);
    const int32_t cols[3] = {s->cols, s->rows * s->chosen, s->chosen};
    s->tokens = s->step.count = tokens;
    for (int i = 0; i < 3; i++) {
        s->slots[i] = (dp_slot){.cols = cols[i]};
        s->values[i] = calloc((size_t)cols[i] * (size_t)tokens, sizeof(float));
        if (!s->values[i]) exit(1);
    }
    for (int32_t i = 0; i < s->cols * tokens; i++) s->values[0][i] = (float)(i % 255 - 127);
    if (dp_cpu_fast_new(&s->program, tokens, dp_pool_threads(s->pool), &s->fast) != DP_OK) exit(1);
    double least[2] = {1e9, 1e9}, read[2] = {0};
    int kinds = s->experts ? 2 : 1;
    for (int i = 0; i < (tokens > 16 ? 5 : 33) * kinds; i++) {
        double was_read, seconds = run_once(s, i % kinds, &was_read);
        if (seconds < least[i % kinds]) least[i % kinds] = seconds, read[i % kinds] = was_read;
    }
    print(s, 0, least[0], read[0]);
    if (kinds == 2) {
        putchar('\n');
        print(s, 1, least[1], read[1]);
        printf("  %.2f of the plain speed", least[0] / least[1]);
    }
    putchar('\n');
    dp_cpu_fast_free(s->fast);
    for (int i = 0; i < 3; i++) free(s->values[i]);
}

static int number(int argc, char **argv, int i, int otherwise) { return argc > i ? atoi(argv[i]) : otherwise; }

static void set_up(setup *s) {
    s->ops[0] = (dp_op){.kind = DP_OP_MATMUL, .label = "plain", .src = 0, .dst = 1, .dst2 = -1, .src2 = -1, .weight = 0, .bias = -1};
    s->ops[1] = (dp_op){.kind = DP_OP_MOE_MATMUL, .label = "experts", .src = 0, .dst = 1, .dst2 = -1, .src2 = 2, .weight = 1, .bias = -1};
    s->ops[1].moe_matmul.k = s->chosen;
    s->program = (dp_program){.ops = s->ops, .op_count = s->experts ? 2 : 1, .slots = s->slots, .slot_count = 3, .weights = s->weights, .weight_count = 2};
    memset(buffer, 1, BUFFER);
    s->peak = bandwidth(s->pool);
}

int main(int argc, char **argv) {
    static setup s;
    const char *describe, *isa = argc > 2 && strcmp(argv[2], "best") ? argv[2] : NULL, *only = argc > 6 && strcmp(argv[6], "all") ? argv[6] : NULL;
    int tokens = number(argc, argv, 3, 128);
    s.rows = number(argc, argv, 4, 8192);
    s.cols = number(argc, argv, 5, 2048);
    s.experts = number(argc, argv, 7, 0);
    s.chosen = number(argc, argv, 8, 1);
    buffer = malloc(BUFFER);
    if (!buffer || s.experts > EXPERTS_MAX || s.chosen < 1 || (s.experts && s.chosen > s.experts) ||
        dp_pool_new(number(argc, argv, 1, dp_host_cpu_count()), &s.pool) != DP_OK || dp_cpu_fast_table(isa, &s.table, &describe) != DP_OK) {
        fprintf(stderr, "kernels: arguments are in bench/kernels.c; %s\n", dp_error_message());
        return 1;
    }
    set_up(&s);
    printf("%s, %d threads, %d x %d, plain reads %.2f GB/s\n", describe, (int)dp_pool_threads(s.pool), (int)s.rows, (int)s.cols, s.peak * 1e-9);
    for (int pass = 0; pass < (tokens > 1 ? 2 : 1); pass++)
        for (int dtype = DP_F32; dtype <= DP_MXFP4; dtype++)
            if (!only || strcmp(only, dp_dtype_get((dp_dtype)dtype)->name) == 0) bench(&s, (dp_dtype)dtype, pass ? tokens : 1);
    dp_pool_free(s.pool);
    free(buffer);
    return 0;
}
