/* Vectorised row ops against the scalar reference on every instruction set here: norms, RoPE, activations, sums, caps,
 * KV writes. */
#include "ops.h"

#include "cpu/cpu_kv.h"

static const dp_cpu_op_fn reference[DP_OP_COUNT] = {
#define OP(NAME, name) dp_ref_##name,
#include "graph/ops.def"
#undef OP
};

typedef struct sizes {
    int32_t src, src2, dst; /* columns; 0: none */
} sizes;

/* prepare sets the op's parameters; bound is relative to 1 + |value|. */
typedef void (*prepare_fn)(one_op *one, int variant);

static void run_reference(one_op *one, int32_t expected) {
    dp_cpu_run run = {&one->program, &one->step, one->slots, NULL, NULL, NULL};
    dp_op op = one->op;
    op.dst = expected;
    if (reference[op.kind](&run, &op) != DP_OK) test_fail(__FILE__, __LINE__, "%s", dp_error_message());
}

static bool check_op(dp_op_kind kind, sizes s, prepare_fn prepare, int variant) {
    static const int32_t tokens[] = {1, 3, 40};
    dp_cpu_table table;
    const char *isa;
    for (size_t i = 0; fast_table(i, &table, &isa); i++)
        for (size_t t = 0; t < DP_COUNT(tokens); t++) {
            one_op one;
            one_op_init(&one, kind, tokens[t]);
            one.step.position = 1000;
            one.op.src = one_op_slot(&one, s.src);
            if (s.src2) one.op.src2 = one_op_slot(&one, s.src2);
            one.op.dst = one_op_slot(&one, s.dst);
            int32_t expected = one_op_slot(&one, s.dst);
            uint64_t seed = 77;
            for (int32_t slot = 0; slot < one.op.dst; slot++)
                for (size_t k = 0; k < one.floats[slot]; k++) one.slots[slot][k] = ops_random(&seed) * (k % 17 ? 4.0f : 40.0f);
            for (int32_t slot = one.op.dst; slot <= expected; slot++) memset(one.slots[slot], 0, one.floats[slot] * sizeof(float));
            prepare(&one, variant);
            run_reference(&one, expected);
            bool good = one_op_run(&one, &table, 2);
            for (size_t k = 0; good && k < one.floats[expected]; k++) {
                double a = (double)one.slots[one.op.dst][k], b = (double)one.slots[expected][k];
                if (!(fabs(a - b) <= 4e-6 * (1 + fabs(b))))
                    good = test_fail(__FILE__, __LINE__, "%s %s, %d tokens, value %zu: expected %.9g, found %.9g", isa,
                                     dp_op_name(kind), (int)tokens[t], k, b, a);
            }
            one_op_free(&one);
            if (!good) return false;
        }
    return true;
}

static float vector[1000];

static void give_vectors(one_op *one, int32_t n) {
    for (int i = 0; i < 1000; i++) vector[i] = 0.001f * (float)i;
    for (int i = 0; i < 2; i++) one->weight_info[i] = (dp_weight){.name = "v", .dtype = DP_F32, .rows = 1, .cols = n, .data = vector + i * 3};
}

static void prepare_norm(one_op *one, int variant) {
    give_vectors(one, 37);
    one->op.norm.kind = variant % 2 ? DP_NORM_LAYER : DP_NORM_RMS;
    one->op.norm.eps = 1e-5f;
    one->op.norm.offset = variant >= 2 ? 1 : 0;
    one->op.norm.group = 37;
    one->op.norm.count = 3;
    one->op.norm.stride = 40;
    if (variant != 2) one->op.weight = 0;
    if (variant == 1) one->op.bias = 1;
}

TEST(norm) {
    for (int variant = 0; variant < 4; variant++) CHECK(check_op(DP_OP_NORM, (sizes){120, 0, 120}, prepare_norm, variant));
}

static void prepare_rope(one_op *one, int variant) {
    give_vectors(one, 10);
    one->op.weight = 0;
    one->op.bias = variant == 2 ? 1 : -1;
    one->step.context = 500;
    one->op.rope.heads = 5;
    one->op.rope.dim = 20;
    one->op.rope.src_stride = one->op.rope.dst_stride = 30;
    one->op.rope.src_offset = one->op.rope.dst_offset = 10;
    one->op.rope.scale = 1;
    one->op.rope.long_scale = 1.25f;
    one->op.rope.long_context = 100;
    one->op.rope.pairs = variant == 1;
}

TEST(rope) {
    for (int variant = 0; variant < 3; variant++) CHECK(check_op(DP_OP_ROPE, (sizes){150, 0, 150}, prepare_rope, variant));
}

static void prepare_nothing(one_op *one, int variant) {
    (void)one;
    (void)variant;
}

TEST(add) { CHECK(check_op(DP_OP_ADD, (sizes){101, 101, 101}, prepare_nothing, 0)); }

static void prepare_act(one_op *one, int variant) {
    one->op.act_mul.kind = (dp_act_kind)variant;
    one->op.act_mul.alpha = 1.702f;
    one->op.act_mul.limit = 7;
    one->slots[0][0] = -200; /* far into the flat parts */
    one->slots[0][1] = 200;
    one->slots[0][2] = 0;
}

TEST(act_mul) {
    for (int variant = 0; variant < 4; variant++) CHECK(check_op(DP_OP_ACT_MUL, (sizes){75, 75, 75}, prepare_act, variant));
}

static void prepare_sum(one_op *one, int variant) {
    (void)variant;
    one->op.moe_sum.k = 4;
}

TEST(moe_sum) { CHECK(check_op(DP_OP_MOE_SUM, (sizes){4 * 70, 4, 70}, prepare_sum, 0)); }

static void prepare_cap(one_op *one, int variant) {
    (void)variant;
    one->op.softcap.cap = 30;
}

TEST(softcap) { CHECK(check_op(DP_OP_SOFTCAP, (sizes){77, 0, 77}, prepare_cap, 0)); }

/* Pages written by both must be equal byte for byte. */
static bool check_kv_write(const dp_cpu_table *table, dp_kv_type type) {
    one_op one;
    one_op_init(&one, DP_OP_KV_WRITE, 9);
    one.kv_info[0] = (dp_kv_spec){.heads = 3, .k_dim = 20, .v_dim = 33};
    one.op.src = one_op_slot(&one, 60);
    one.op.src2 = one_op_slot(&one, 99);
    uint64_t seed = 4;
    for (int s = 0; s < 2; s++)
        for (size_t k = 0; k < one.floats[s]; k++) one.slots[s][k] = ops_random(&seed) * (k % 5 ? 1.0f : 1e-6f);
    one.step.position = 125;
    dp_kv *kv[2] = {NULL, NULL};
    bool good = true;
    for (int i = 0; i < 2; i++) {
        good = good && dp_cpu_kv_new(NULL, &one.program, &(dp_kv_size){.type = type}, &kv[i]) == DP_OK && dp_cpu_kv_reserve(kv[i], 0, 134) == DP_OK;
        if (!good) return test_fail(__FILE__, __LINE__, "%s", dp_error_message());
        for (size_t p = 0; p < 2; p++) memset(kv[i]->layers[0].pages[p], 0, kv[i]->layers[0].page_bytes);
    }
    one.step.kv = kv[0];
    dp_cpu_run run = {&one.program, &one.step, one.slots, NULL, NULL, NULL};
    good = dp_ref_kv_write(&run, &one.op) == DP_OK;
    one.step.kv = kv[1];
    good = good && one_op_run(&one, table, 2);
    for (size_t p = 0; good && p < 2; p++)
        good = memcmp(kv[0]->layers[0].pages[p], kv[1]->layers[0].pages[p], kv[0]->layers[0].page_bytes) == 0;
    for (int i = 0; i < 2; i++) dp_cpu_kv_free(kv[i]);
    one_op_free(&one);
    return good;
}

TEST(kv_write) {
    dp_cpu_table table;
    const char *isa;
    for (size_t i = 0; fast_table(i, &table, &isa); i++) {
        CHECK_MSG(check_kv_write(&table, DP_KV_F16), "%s f16", isa);
        CHECK_MSG(check_kv_write(&table, DP_KV_F32), "%s f32", isa);
    }
}

TEST_MAIN()
