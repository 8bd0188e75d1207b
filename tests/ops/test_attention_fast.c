/* Vectorised attention against the scalar reference, on every instruction set here: grouped heads, windows, sinks, soft
 * caps, values inside the keys (MLA), both element types, positions across pages, parts of a long context. */
#include "ops.h"

#include "cpu/cpu_kv.h"

typedef struct shape {
    const char *name;
    int32_t heads, kv_heads, k_dim, v_dim, latent, window;
    bool sinks;
    float softcap;
    int32_t position, tokens, threads;
    dp_kv_type type;
} shape;

static const shape shapes[] = {
    {"one token", 4, 4, 64, 64, 0, 0, false, 0, 0, 1, 1, DP_KV_F16},
    {"grouped decode", 32, 8, 64, 64, 0, 0, false, 0, 300, 1, 2, DP_KV_F16},
    {"few kv heads, parts", 8, 1, 128, 128, 0, 0, false, 0, 1500, 1, 4, DP_KV_F16},
    {"parts with sinks", 4, 1, 64, 64, 0, 0, true, 0, 1100, 2, 3, DP_KV_F32},
    {"prefill", 6, 2, 48, 40, 0, 0, false, 0, 0, 45, 2, DP_KV_F16},
    {"prefill goes on", 8, 2, 80, 80, 0, 0, false, 0, 251, 37, 2, DP_KV_F32},
    {"window", 4, 2, 32, 32, 0, 128, false, 0, 390, 1, 2, DP_KV_F16},
    {"window in prefill", 4, 2, 32, 32, 0, 20, true, 0, 110, 70, 2, DP_KV_F16},
    {"soft cap", 4, 1, 33, 17, 0, 0, false, 5, 100, 9, 1, DP_KV_F32},
    {"MLA decode", 16, 1, 576, 0, 512, 0, false, 0, 200, 1, 2, DP_KV_F16},
    {"MLA prefill", 70, 1, 36, 0, 20, 0, false, 0, 5, 7, 2, DP_KV_F32},
};

static void fill(float *x, size_t n, uint64_t seed, float scale) {
    for (size_t i = 0; i < n; i++) x[i] = ops_random(&seed) * scale;
}

/* Runs the op twice from one cache: the reference's output first, then that of `table`. */
static bool check_shape(const shape *s, const dp_cpu_table *table) {
    one_op one;
    one_op_init(&one, DP_OP_ATTENTION, s->tokens);
    int32_t v_dim = s->v_dim ? s->v_dim : s->latent;
    one.kv_info[0] = (dp_kv_spec){.heads = s->kv_heads, .k_dim = s->k_dim, .v_dim = s->v_dim, .latent = s->latent, .window = s->window};
    one.op.attention.heads = s->heads;
    one.op.attention.scale = 0.3f;
    one.op.attention.softcap = s->softcap;
    one.op.src = one_op_slot(&one, s->heads * s->k_dim);
    one.op.dst = one_op_slot(&one, s->heads * v_dim);
    int32_t expected = one_op_slot(&one, s->heads * v_dim);
    float sinks[128];
    fill(sinks, 128, 5, 2);
    one.weight_info[0] = (dp_weight){.name = "sinks", .dtype = DP_F32, .rows = 1, .cols = s->heads, .data = sinks};
    if (s->sinks) one.op.weight = 0;
    fill(one.slots[one.op.src], one.floats[one.op.src], 17, 1);
    int32_t positions = s->position + s->tokens;
    one.step.position = s->position;
    dp_kv *kv = NULL;
    bool good = dp_cpu_kv_new(NULL, &one.program, &(dp_kv_size){.type = s->type}, &kv) == DP_OK && dp_cpu_kv_reserve(kv, 0, positions) == DP_OK;
    if (!good) return test_fail(__FILE__, __LINE__, "%s", dp_error_message());
    one.step.kv = kv;
    size_t k_cols = (size_t)s->kv_heads * (size_t)s->k_dim, v_cols = (size_t)s->kv_heads * (size_t)s->v_dim;
    float *k = malloc(k_cols * sizeof *k), *v = malloc((v_cols + 1) * sizeof *v);
    if (!k || !v) abort();
    dp_step write = {.count = 1, .kv = kv};
    float *rows[2] = {k, v};
    dp_op kv_op = {.kind = DP_OP_KV_WRITE, .src = 0, .src2 = 1, .dst = -1};
    for (write.position = 0; write.position < positions; write.position++) {
        fill(k, k_cols, (uint64_t)write.position + 100, 1);
        fill(v, v_cols, (uint64_t)write.position + 9000, 3);
        if (s->window && write.position + s->window < s->position && write.position / DP_KV_PAGE * DP_KV_PAGE + DP_KV_PAGE <= s->position - s->window)
            continue; /* long left by the window */
        dp_cpu_run run = {&one.program, &write, rows, NULL, NULL, NULL};
        good = good && dp_ref_kv_write(&run, &kv_op) == DP_OK;
    }
    free(k);
    free(v);
    dp_cpu_table reference = {0};
    reference.op[DP_OP_ATTENTION] = dp_ref_attention;
    one.op.dst = expected;
    good = good && one_op_run(&one, &reference, 1);
    one.op.dst = 1;
    good = good && one_op_run(&one, table, s->threads);
    for (size_t i = 0; good && i < one.floats[1]; i++)
        if (!(fabsf(one.slots[1][i] - one.slots[2][i]) <= 2e-5f))
            good = test_fail(__FILE__, __LINE__, "value %zu: expected %g, found %g", i, (double)one.slots[2][i], (double)one.slots[1][i]);
    dp_cpu_kv_free(kv);
    one_op_free(&one);
    return good;
}

TEST(attention_matches_the_reference) {
    dp_cpu_table table;
    const char *isa;
    for (size_t i = 0; fast_table(i, &table, &isa); i++)
        for (size_t k = 0; k < DP_COUNT(shapes); k++) CHECK_MSG(check_shape(&shapes[k], &table), "%s: %s", isa, shapes[k].name);
}

TEST_MAIN()
