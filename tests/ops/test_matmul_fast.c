/* Vectorised products with weights: every instruction set here, every dtype, against sums in double over the
 * dequantised weights. Activations are mostly whole numbers whose largest is 127 in each 32 columns: they become int8
 * without loss, so that results must agree to rounding. Where products run in bf16, quantised weights are rounded to it,
 * by at most 1 / 512 of each. */
#include "ops.h"

enum { MAX_COLS = 4608, MAX_ROWS = 320 };

typedef struct matrix {
    uint8_t *blocks; /* with a guard behind, so that reading too far is seen by a sanitizer */
    float *values;
    dp_weight weight;
} matrix;

static bool make_matrix(matrix *m, dp_dtype dtype, int32_t rows, int32_t cols, uint64_t seed) {
    const dp_dtype_info *info = dp_dtype_get(dtype);
    size_t n = (size_t)rows * (size_t)cols, row_bytes = dp_dtype_row_bytes(dtype, cols);
    m->blocks = malloc(row_bytes * (size_t)rows);
    m->values = malloc(n * sizeof(float));
    if (!m->blocks || !m->values) return false;
    for (size_t i = 0; i < n; i++) m->values[i] = ops_random(&seed) * (0.02f + 0.02f * (float)(i % 7));
    info->quantize(m->values, m->blocks, n);
    info->dequantize(m->blocks, m->values, n);
    m->weight = (dp_weight){.name = "w", .dtype = dtype, .rows = rows, .cols = cols, .row_bytes = row_bytes,
                            .bytes = row_bytes * (size_t)rows, .data = m->blocks};
    return true;
}

static void free_matrix(matrix *m) {
    free(m->blocks);
    free(m->values);
}

static void whole_numbers(float *x, size_t n, uint64_t seed) {
    for (size_t i = 0; i < n; i++) x[i] = i % 32 == 5 ? -127.0f : (float)(int)(ops_random(&seed) * 127);
}

/* Compares y[row] with the double sum; the bound is relative to the sum of magnitudes. */
static bool same(const matrix *m, const float *x, const float *y, const float *bias, double bound) {
    for (int32_t r = 0; r < m->weight.rows; r++) {
        double sum = bias ? (double)bias[r] : 0, size = 1e-30;
        const float *w = m->values + (size_t)r * (size_t)m->weight.cols;
        for (int32_t k = 0; k < m->weight.cols; k++) {
            sum += (double)x[k] * (double)w[k];
            size += fabs((double)x[k] * (double)w[k]);
        }
        if (!(fabs((double)y[r] - sum) <= bound * size))
            return test_fail(__FILE__, __LINE__, "row %d: expected %.9g, found %.9g", (int)r, sum, (double)y[r]);
    }
    return true;
}

static double bound_for(const char *isa, dp_dtype dtype, double otherwise) {
    return strstr(isa, "bf16") && dtype >= DP_Q4_0 ? 1.01 / 512 : otherwise;
}

static bool check_matmul(const dp_cpu_table *table, const char *isa, const matrix *m, int32_t tokens, int32_t threads) {
    one_op one;
    one_op_init(&one, DP_OP_MATMUL, tokens);
    one.op.src = one_op_slot(&one, m->weight.cols);
    one.op.dst = one_op_slot(&one, m->weight.rows);
    one.weight_info[0] = m->weight;
    one.op.weight = 0;
    float bias[MAX_ROWS];
    for (int i = 0; i < MAX_ROWS; i++) bias[i] = (float)i * 0.25f;
    one.weight_info[1] = (dp_weight){.name = "b", .dtype = DP_F32, .rows = 1, .cols = m->weight.rows, .data = bias};
    if (tokens % 2) one.op.bias = 1;
    whole_numbers(one.slots[0], one.floats[0], 7);
    bool good = one_op_run(&one, table, threads);
    for (int32_t t = 0; good && t < tokens; t++)
        good = same(m, one.slots[0] + (size_t)t * (size_t)m->weight.cols, one.slots[1] + (size_t)t * (size_t)m->weight.rows,
                    tokens % 2 ? bias : NULL, bound_for(isa, m->weight.dtype, 2e-6));
    one_op_free(&one);
    return good;
}

static int32_t cols_for(dp_dtype dtype, int i) {
    static const int32_t any[] = {1, 33, 250, 1100}, by32[] = {32, 96, 288, 1056}, by256[] = {256, 512, 768, 4608};
    int32_t block = dp_dtype_get(dtype)->block;
    return block == 1 ? any[i] : block == 32 ? by32[i] : by256[i];
}

TEST(every_dtype_every_isa) {
    static const int32_t rows[] = {1, 3, 17, 40}, tokens[] = {1, 2, 5, 8, 33};
    dp_cpu_table table;
    const char *isa;
    for (int dtype = DP_F32; dtype <= DP_MXFP4; dtype++)
        for (int c = 0; c < 4; c++) {
            matrix m;
            CHECK(make_matrix(&m, (dp_dtype)dtype, rows[(c + dtype) % 4], cols_for((dp_dtype)dtype, c), (uint64_t)dtype + 1));
            for (size_t i = 0; fast_table(i, &table, &isa); i++)
                for (size_t t = 0; t < DP_COUNT(tokens); t++)
                    CHECK_MSG(check_matmul(&table, isa, &m, tokens[t], 1 + (int)t % 2), "%s %s: %d rows, %d columns, %d tokens", isa,
                              dp_dtype_get((dp_dtype)dtype)->name, (int)m.weight.rows, (int)m.weight.cols, (int)tokens[t]);
            free_matrix(&m);
        }
}

/* Few rows and many tokens: the tokens are shared out too. */
TEST(tokens_are_split) {
    dp_cpu_table table;
    const char *isa;
    matrix m;
    CHECK(make_matrix(&m, DP_Q4_K, 24, 256, 5));
    for (size_t i = 0; fast_table(i, &table, &isa); i++) CHECK_MSG(check_matmul(&table, isa, &m, 150, 3), "%s", isa);
    free_matrix(&m);
}

/* More rows than a panel, an odd number of token blocks, several units of columns, every kind of weight. */
TEST(panels_of_many_rows) {
    static const dp_dtype dtypes[] = {DP_F16, DP_BF16, DP_Q6_K, DP_Q8_0};
    dp_cpu_table table;
    const char *isa;
    for (size_t d = 0; d < DP_COUNT(dtypes); d++) {
        matrix m;
        CHECK(make_matrix(&m, dtypes[d], 299, 768, 8));
        for (size_t i = 0; fast_table(i, &table, &isa); i++)
            CHECK_MSG(check_matmul(&table, isa, &m, 45, 1), "%s %s", isa, dp_dtype_get(dtypes[d])->name);
        free_matrix(&m);
    }
    matrix m; /* more tokens than a panel's sums have room for */
    CHECK(make_matrix(&m, DP_Q4_K, 40, 256, 8));
    for (size_t i = 0; fast_table(i, &table, &isa); i++) CHECK_MSG(check_matmul(&table, isa, &m, 521, 1), "%s", isa);
    free_matrix(&m);
}

/* Fractions: the error of int8 activations stays below 1 % of the result's typical size. */
TEST(activations_are_rounded_well) {
    dp_cpu_table table;
    const char *isa;
    matrix m;
    CHECK(make_matrix(&m, DP_Q6_K, 64, 1024, 3));
    for (size_t i = 0; fast_table(i, &table, &isa); i++) {
        one_op one;
        one_op_init(&one, DP_OP_MATMUL, 1);
        one.op.src = one_op_slot(&one, 1024);
        one.op.dst = one_op_slot(&one, 64);
        one.weight_info[0] = m.weight;
        one.op.weight = 0;
        uint64_t seed = 11;
        for (int k = 0; k < 1024; k++) one.slots[0][k] = ops_random(&seed) * ops_random(&seed);
        CHECK(one_op_run(&one, &table, 1));
        double error = 0, size = 0;
        for (int r = 0; r < 64; r++) {
            double sum = 0;
            for (int k = 0; k < 1024; k++) sum += (double)one.slots[0][k] * (double)m.values[r * 1024 + k];
            error += (sum - (double)one.slots[1][r]) * (sum - (double)one.slots[1][r]);
            size += sum * sum;
        }
        CHECK_MSG(sqrt(error / size) < 0.01, "%s: relative error %g", isa, sqrt(error / size));
        one_op_free(&one);
    }
    free_matrix(&m);
}

/* Zeros, the smallest and very large activations, in a row with ordinary ones elsewhere. */
TEST(extreme_activations) {
    dp_cpu_table table;
    const char *isa;
    static const float scale[] = {0, 1e-40f, 1e-30f, 1e30f};
    for (int dtype = DP_F32; dtype <= DP_MXFP4; dtype++) {
        matrix m;
        CHECK(make_matrix(&m, (dp_dtype)dtype, 5, 256, 9));
        for (size_t i = 0; fast_table(i, &table, &isa); i++)
            for (int32_t tokens = 1; tokens <= 8; tokens += 7) {
                one_op one;
                one_op_init(&one, DP_OP_MATMUL, tokens);
                one.op.src = one_op_slot(&one, 256);
                one.op.dst = one_op_slot(&one, 5);
                one.weight_info[0] = m.weight;
                one.op.weight = 0;
                whole_numbers(one.slots[0], one.floats[0], 3);
                for (size_t k = 0; k < one.floats[0]; k++) one.slots[0][k] *= scale[k / 32 % 4];
                CHECK(one_op_run(&one, &table, 1));
                bool good = true;
                for (int32_t t = 0; good && t < tokens; t++) good = same(&m, one.slots[0] + t * 256, one.slots[1] + t * 5, NULL, bound_for(isa, (dp_dtype)dtype, 1e-5));
                CHECK_MSG(good, "%s %s, %d tokens", isa, dp_dtype_get((dp_dtype)dtype)->name, (int)tokens);
                one_op_free(&one);
            }
        free_matrix(&m);
    }
}

/* ---- experts ---- */

enum { EXPERTS = 7, CHOSEN = 3, EXPERT_ROWS = 40, EXPERT_COLS = 288 };

static bool check_experts(const dp_cpu_table *table, const char *isa, matrix *experts, int32_t tokens, bool per_expert) {
    one_op one;
    one_op_init(&one, DP_OP_MOE_MATMUL, tokens);
    one.op.src = one_op_slot(&one, per_expert ? CHOSEN * EXPERT_COLS : EXPERT_COLS);
    one.op.dst = one_op_slot(&one, CHOSEN * EXPERT_ROWS);
    one.op.src2 = one_op_slot(&one, CHOSEN);
    one.op.moe_matmul.k = CHOSEN;
    one.op.moe_matmul.per_expert = per_expert;
    const void *data[EXPERTS];
    for (int e = 0; e < EXPERTS; e++) data[e] = experts[e].blocks;
    one.weight_info[0] = experts[0].weight;
    one.weight_info[0].data = NULL;
    one.weight_info[0].experts = EXPERTS;
    one.weight_info[0].expert = data;
    float bias[EXPERTS * EXPERT_ROWS];
    for (int i = 0; i < EXPERTS * EXPERT_ROWS; i++) bias[i] = (float)i;
    one.weight_info[1] = (dp_weight){.name = "b", .dtype = DP_F32, .rows = EXPERTS, .cols = EXPERT_ROWS, .data = bias};
    one.op.weight = 0;
    one.op.bias = 1;
    int32_t *ids = (int32_t *)(void *)one.slots[2];
    for (int32_t p = 0; p < tokens * CHOSEN; p++) ids[p] = (p / CHOSEN * 5 + p % CHOSEN * 2) % (EXPERTS - 1); /* the last is idle */
    whole_numbers(one.slots[0], one.floats[0], 13);
    bool good = one_op_run(&one, table, 2);
    for (int32_t p = 0; good && p < tokens * CHOSEN; p++)
        good = same(&experts[ids[p]], one.slots[0] + (per_expert ? p : p / CHOSEN) * EXPERT_COLS, one.slots[1] + p * EXPERT_ROWS,
                    bias + ids[p] * EXPERT_ROWS, bound_for(isa, experts[0].weight.dtype, 2e-6));
    one_op_free(&one);
    return good;
}

TEST(experts) {
    static const dp_dtype dtypes[] = {DP_MXFP4, DP_Q5_0, DP_BF16};
    dp_cpu_table table;
    const char *isa;
    for (size_t d = 0; d < DP_COUNT(dtypes); d++) {
        matrix experts[EXPERTS];
        for (int e = 0; e < EXPERTS; e++) CHECK(make_matrix(&experts[e], dtypes[d], EXPERT_ROWS, EXPERT_COLS, (uint64_t)e + 1));
        for (size_t i = 0; fast_table(i, &table, &isa); i++)
            for (int32_t tokens = 1; tokens < 60; tokens += 19)
                for (int per_expert = 0; per_expert < 2; per_expert++)
                    CHECK_MSG(check_experts(&table, isa, experts, tokens, per_expert), "%s, %d tokens", isa, (int)tokens);
        for (int e = 0; e < EXPERTS; e++) free_matrix(&experts[e]);
    }
}

/* ---- refusals ---- */

TEST(refusals) {
    dp_cpu_table table;
    const char *isa;
    CHECK_FAILS(dp_cpu_fast_table("mmx", &table, &isa), DP_E_ARG, "\"mmx\"");
    for (size_t i = 0; fast_table(i, &table, &isa); i++) {
        one_op one;
        one_op_init(&one, DP_OP_MATMUL, 1);
        one.op.src = one_op_slot(&one, 32);
        one.op.dst = one_op_slot(&one, 1);
        one.weight_info[0] = (dp_weight){.name = "odd", .dtype = DP_I16, .rows = 1, .cols = 32};
        one.op.weight = 0;
        dp_pool *pool = NULL;
        struct dp_cpu_fast *fast = NULL;
        CHECK_OK(dp_pool_new(1, &pool));
        CHECK_OK(dp_cpu_fast_new(&one.program, 1, 1, &fast));
        dp_cpu_run run = {&one.program, &one.step, one.slots, pool, fast, NULL};
        CHECK_FAILS(table.op[DP_OP_MATMUL](&run, &one.op), DP_E_UNSUPPORTED, "odd: cannot multiply with dtype I16");
        dp_cpu_fast_free(fast);
        dp_pool_free(pool);
        one_op_free(&one);
    }
}

static dp_status make_state(void *user) {
    one_op *one = user;
    struct dp_cpu_fast *fast = NULL;
    TRY(dp_cpu_fast_new(&one->program, 16, 2, &fast));
    dp_cpu_fast_free(fast);
    return DP_OK;
}

TEST(state_survives_failing_allocations) {
    one_op one;
    one_op_init(&one, DP_OP_MATMUL, 1);
    one.op.src = one_op_slot(&one, 256);
    one.op.weight = 0;
    one.weight_info[0] = (dp_weight){.name = "w", .dtype = DP_Q4_K, .rows = 4, .cols = 256};
    CHECK(test_failing_allocations(make_state, &one) == 4);
    one_op_free(&one);
}

/* MLA's products per head, both ways round, against the scalar reference; heads lie apart in their rows. */
static bool check_heads(const dp_cpu_table *table, const matrix *m, bool transposed, int32_t tokens) {
    enum { HEADS = 3, ROWS = 7, GAP = 5 };
    one_op one, expected;
    one_op *both[2] = {&one, &expected};
    dp_cpu_table reference = {.op = {[DP_OP_HEAD_MATMUL] = dp_ref_head_matmul}};
    bool good = true;
    int32_t in = transposed ? ROWS : m->weight.cols, out = transposed ? m->weight.cols : ROWS;
    for (int i = 0; i < 2; i++) {
        uint64_t seed = 9;
        one_op_init(both[i], DP_OP_HEAD_MATMUL, tokens);
        both[i]->op.src = one_op_slot(both[i], HEADS * in + GAP);
        both[i]->op.dst = one_op_slot(both[i], HEADS * (out + GAP));
        both[i]->weight_info[0] = m->weight;
        both[i]->op.weight = 0;
        both[i]->op.head_matmul.heads = HEADS;
        both[i]->op.head_matmul.src_stride = in;
        both[i]->op.head_matmul.src_offset = 3;
        both[i]->op.head_matmul.dst_stride = out + GAP;
        both[i]->op.head_matmul.dst_offset = 2;
        both[i]->op.head_matmul.weight_stride = ROWS + 2;
        both[i]->op.head_matmul.weight_offset = 1;
        both[i]->op.head_matmul.rows = ROWS;
        both[i]->op.head_matmul.transposed = transposed;
        for (size_t j = 0; j < both[i]->floats[0]; j++) both[i]->slots[0][j] = ops_random(&seed);
        good = one_op_run(both[i], i ? &reference : table, 2) && good;
    }
    for (size_t j = 0; good && j < one.floats[1]; j++) {
        float a = one.slots[1][j], b = expected.slots[1][j];
        if (isnan(a) != isnan(b) || fabsf(a - b) > 1e-5f * (1 + fabsf(b)))
            good = test_fail(__FILE__, __LINE__, "%s value %zu: expected %.9g, found %.9g", transposed ? "transposed" : "plain", j, (double)b, (double)a);
    }
    one_op_free(&one);
    one_op_free(&expected);
    return good;
}

TEST(products_per_head) {
    static const dp_dtype dtypes[] = {DP_BF16, DP_Q8_0, DP_Q4_K};
    dp_cpu_table table;
    const char *describe;
    for (size_t i = 0; fast_table(i, &table, &describe); i++)
        for (size_t d = 0; d < DP_COUNT(dtypes); d++)
            for (int32_t tokens = 1; tokens <= 5; tokens += 4) {
                matrix m;
                CHECK(make_matrix(&m, dtypes[d], 3 * 9, dtypes[d] == DP_Q4_K ? 512 : 96, 4));
                CHECK_MSG(check_heads(&table, &m, false, tokens) && check_heads(&table, &m, true, tokens), "%s, %s", describe,
                          dp_dtype_get(dtypes[d])->name);
                free_matrix(&m);
            }
}

TEST_MAIN()
