/* What one-token steps fuse, for every dtype that meets packed activations, against the scalar reference running the same
 * program: norms folded into products, gated blocks, norms on both sides of a block, mixtures of experts, behind a product that
 * multiplies their router, too. */
#include "ops.h"
#include "refmodel.h"

#include "gpu/gpu_backend.h"
#include "gpu/kernels.h"

enum { VOCAB = 31, OUT = 37, WEIGHTS = 16, OPS = 16, EXPERTS = 11, CHOICES = 3 };
enum { HIDDEN, NORMED, GATE, UP, BRANCH, RESULT, LOGITS, IDS, SHARES, DOWN, BEFORE, SLOTS };

typedef struct rig {
    dp_program program;
    dp_op ops[OPS];
    dp_slot slots[SLOTS];
    dp_weight weights[WEIGHTS];
    const void *experts[WEIGHTS][EXPERTS];
    void *memory[WEIGHTS];
    uint64_t seed;
} rig;

typedef struct shape {
    int32_t hidden, inner;
    bool sandwich, moe, bias, normalise, behind; /* behind: a product and the router in f32 */
    float offset;
} shape;

/* experts 0: a plain matrix; rows 1: a vector around `middle`. */
static int32_t add_weight(rig *r, dp_dtype dtype, int32_t experts, int32_t rows, int32_t cols, float middle) {
    int32_t index = (int32_t)r->program.weight_count++, copies = experts ? experts : 1;
    size_t n = (size_t)rows * (size_t)cols, bytes = dp_dtype_row_bytes(dtype, cols) * (size_t)rows;
    float *values = malloc(n * (size_t)copies * sizeof(float)), size = 1.7f / sqrtf((float)cols);
    for (size_t i = 0; i < n * (size_t)copies; i++) values[i] = middle + ops_random(&r->seed) * (rows == 1 ? 0.3f : size);
    uint8_t *memory = malloc(bytes * (size_t)copies);
    for (int32_t e = 0; e < copies; e++) {
        dp_dtype_get(dtype)->quantize(values + n * (size_t)e, memory + bytes * (size_t)e, n);
        if (experts) r->experts[index][e] = memory + bytes * (size_t)e;
    }
    free(values);
    r->memory[index] = memory;
    r->weights[index] = (dp_weight){.name = "w", .dtype = dtype, .rows = rows, .cols = cols, .experts = experts, .row_bytes = dp_dtype_row_bytes(dtype, cols), .bytes = bytes, .data = memory};
    if (experts) {
        r->weights[index].data = NULL;
        r->weights[index].expert = r->experts[index];
    }
    return index;
}

static dp_op *add_op(rig *r, dp_op_kind kind, int32_t dst, int32_t src, int32_t weight) {
    dp_op *op = &r->ops[r->program.op_count++];
    *op = (dp_op){.kind = kind, .layer = -1, .label = "op", .dst = dst, .dst2 = -1, .src = src, .src2 = -1, .weight = weight, .bias = -1};
    return op;
}

static void add_norm(rig *r, const shape *s, int32_t dst, int32_t src) {
    dp_op *op = add_op(r, DP_OP_NORM, dst, src, add_weight(r, DP_F32, 0, 1, s->hidden, 1 - s->offset));
    op->norm.eps = 1e-5f;
    op->norm.offset = s->offset;
    op->norm.count = 1;
    op->norm.group = op->norm.stride = s->hidden;
}

static void add_dense(rig *r, const shape *s, dp_dtype dtype) {
    add_op(r, DP_OP_MATMUL, GATE, NORMED, add_weight(r, dtype, 0, s->inner, s->hidden, 0));
    add_op(r, DP_OP_MATMUL, UP, NORMED, add_weight(r, dtype, 0, s->inner, s->hidden, 0));
    add_op(r, DP_OP_ACT_MUL, GATE, GATE, -1)->src2 = UP;
    dp_op *down = add_op(r, DP_OP_MATMUL, BRANCH, GATE, add_weight(r, dtype, 0, s->hidden, s->inner, 0));
    if (s->bias) down->bias = add_weight(r, DP_F32, 0, 1, s->hidden, 0);
}

static void add_experts(rig *r, const shape *s, dp_dtype dtype, int32_t dst, int32_t src, int32_t rows, int32_t cols) {
    dp_op *op = add_op(r, DP_OP_MOE_MATMUL, dst, src, add_weight(r, dtype, EXPERTS, rows, cols, 0));
    op->src2 = IDS;
    op->moe_matmul.k = CHOICES;
    op->moe_matmul.per_expert = src != NORMED;
    if (s->bias) op->bias = add_weight(r, DP_F32, 0, 1, EXPERTS * rows, 0);
}

static void add_moe(rig *r, const shape *s, dp_dtype dtype) {
    dp_op *router = add_op(r, DP_OP_MATMUL, LOGITS, NORMED, add_weight(r, s->bias && !s->behind ? DP_Q8_0 : DP_F32, 0, EXPERTS, s->hidden, 0));
    if (s->bias) router->bias = add_weight(r, DP_F32, 0, 1, EXPERTS, 0);
    dp_op *route = add_op(r, DP_OP_ROUTE, SHARES, LOGITS, -1);
    route->dst2 = IDS;
    route->route.kind = s->bias ? DP_ROUTE_TOPK_SOFTMAX : DP_ROUTE_SOFTMAX;
    route->route.k = CHOICES;
    route->route.groups = route->route.top_groups = 1;
    route->route.normalise = s->normalise;
    route->route.scale = 1.25f;
    add_experts(r, s, dtype, GATE, NORMED, s->inner, s->hidden);
    add_experts(r, s, dtype, UP, NORMED, s->inner, s->hidden);
    dp_op *act = add_op(r, DP_OP_ACT_MUL, GATE, GATE, -1);
    act->src2 = UP;
    act->act_mul.kind = s->bias ? DP_ACT_SWIGLU_OAI : DP_ACT_SILU;
    act->act_mul.alpha = 1.702f;
    act->act_mul.limit = 7;
    add_experts(r, s, dtype, DOWN, GATE, s->hidden, s->inner);
    dp_op *sum = add_op(r, DP_OP_MOE_SUM, BRANCH, DOWN, -1);
    sum->src2 = SHARES;
    sum->moe_sum.k = CHOICES;
}

static void rig_init(rig *r, const shape *s, dp_dtype dtype) {
    int32_t k = s->moe ? CHOICES : 1;
    *r = (rig){.seed = (uint64_t)dtype + 1};
    const dp_slot slots[SLOTS] = {{"hidden", DP_ROWS_TOKENS, s->hidden}, {"normed", DP_ROWS_TOKENS, s->hidden}, {"gate", DP_ROWS_TOKENS, k * s->inner},
                                  {"up", DP_ROWS_TOKENS, k * s->inner}, {"branch", DP_ROWS_TOKENS, s->hidden}, {"result", DP_ROWS_TOKENS, OUT},
                                  {"logits", DP_ROWS_TOKENS, EXPERTS}, {"ids", DP_ROWS_TOKENS, CHOICES}, {"shares", DP_ROWS_TOKENS, CHOICES},
                                  {"down", DP_ROWS_TOKENS, k * s->hidden}, {"before", DP_ROWS_TOKENS, s->hidden}};
    memcpy(r->slots, slots, sizeof slots);
    r->program = (dp_program){.ops = r->ops, .slots = r->slots, .slot_count = SLOTS, .weights = r->weights, .logits = RESULT, .vocab = OUT};
    add_op(r, DP_OP_EMBED, HIDDEN, -1, add_weight(r, DP_F32, 0, VOCAB, s->hidden, 0))->embed.scale = 20;
    if (s->behind) {
        add_norm(r, s, BEFORE, HIDDEN);
        add_op(r, DP_OP_MATMUL, BRANCH, BEFORE, add_weight(r, dtype, 0, s->hidden, s->hidden, 0));
        add_op(r, DP_OP_ADD, HIDDEN, HIDDEN, -1)->src2 = BRANCH;
    }
    add_norm(r, s, NORMED, HIDDEN);
    if (s->moe) add_moe(r, s, dtype);
    else add_dense(r, s, dtype);
    if (s->sandwich) add_norm(r, s, BRANCH, BRANCH);
    add_op(r, DP_OP_ADD, HIDDEN, HIDDEN, -1)->src2 = BRANCH;
    add_norm(r, s, NORMED, HIDDEN);
    add_op(r, DP_OP_MATMUL, RESULT, NORMED, add_weight(r, dtype, 0, OUT, s->hidden, 0));
}

static void rig_free(rig *r) {
    for (size_t i = 0; i < r->program.weight_count; i++) free(r->memory[i]);
}

static dp_status run(dp_backend *backend, rig *r, int32_t token, float *hidden, float *result) {
    const dp_backend_api *api = backend->api;
    dp_plan *plan = NULL;
    dp_kv *kv = NULL;
    dp_status status = api->load(backend, &r->program, NULL, NULL);
    if (status == DP_OK) status = api->plan_new(backend, &r->program, (dp_plan_size){1, 1}, &plan);
    if (status == DP_OK) status = api->kv_new(backend, &r->program, &(dp_kv_size){DP_KV_F16, 1, 1}, &kv);
    for (int i = 0; i < 2 && status == DP_OK; i++) /* twice: nothing may be left over from the step before */
        status = api->run(plan, &(dp_step){.tokens = &token, .count = 1, .outputs = 1, .context = 1, .kv = kv});
    if (status == DP_OK) status = api->read(plan, HIDDEN, 0, 1, hidden);
    if (status == DP_OK) status = api->read(plan, RESULT, 0, 1, result);
    api->plan_free(plan);
    api->kv_free(kv);
    api->unload(backend, &r->program);
    return status;
}

static void check_shape(dp_backend *gpu, dp_backend *reference, const shape *s, dp_dtype dtype, double most) {
    static float hidden[2][2048], result[2][OUT];
    for (int32_t token = 0; token < 2; token++) {
        rig r;
        rig_init(&r, s, dtype);
        CHECK_OK(run(reference, &r, 7 + token, hidden[0], result[0]));
        CHECK_OK(run(gpu, &r, 7 + token, hidden[1], result[1]));
        double a = ref_relative_error(hidden[1], hidden[0], (size_t)s->hidden), b = ref_relative_error(result[1], result[0], OUT);
        CHECK_MSG(a < most && b < most, "%s, hidden %d, inner %d%s%s%s%s: relative error %g in the residual, %g in the result", dp_dtype_get(dtype)->name,
                  (int)s->hidden, (int)s->inner, s->sandwich ? ", norms around" : "", s->moe ? ", experts" : "", s->bias ? ", biases" : "", s->behind ? ", behind a product" : "", a, b);
        rig_free(&r);
    }
}

/* few: one dtype stands for all, since compiling kernels takes software devices long. */
static void check_dtypes(const dp_gpu_desc *desc, bool moe, bool few) {
    dp_backend *gpu = NULL, *reference = NULL;
    dp_status status = dp_gpu_backend_open(desc, &gpu);
    if (!test_opened(status)) return;
    CHECK_OK(dp_cpu_open(&(dp_cpu_desc){.reference = true}, &reference));
    for (int d = 0; d < DP_DTYPE_COUNT; d++) {
        if (!dp_kernels_dots((dp_dtype)d) || (few && d != DP_Q4_K)) continue;
        bool wide = dp_dtype_get((dp_dtype)d)->block == 256;
        const shape shapes[] = {{.hidden = wide ? 512 : 320, .inner = wide ? 256 : 576, .moe = moe, .bias = true, .normalise = true},
                                {.hidden = wide ? 1280 : 1152, .inner = wide ? 768 : 64, .moe = moe, .sandwich = !moe, .offset = 1},
                                {.hidden = 512, .inner = 256, .moe = moe, .bias = true, .normalise = true, .behind = true},
                                {.hidden = 1280, .inner = 768, .moe = moe, .offset = 1, .behind = true}};
        for (size_t i = 0; i < DP_COUNT(shapes); i++) {
            if (shapes[i].behind && (!moe || (d != DP_Q4_K && d != DP_MXFP4))) continue;
            check_shape(gpu, reference, &shapes[i], (dp_dtype)d, desc->exact ? 2e-5 : 1.5e-2);
        }
    }
    gpu->api->close(gpu);
    reference->api->close(reference);
}

static const dp_gpu_desc best = {.adapter = -1, .fused = true, .unchecked = true}, plain = {.adapter = -1, .fused = true, .no_f16 = true, .no_subgroups = true}, exact = {.adapter = -1, .exact = true};

TEST(blocks) { check_dtypes(&best, false, false); }
TEST(blocks_without_subgroups) { check_dtypes(&plain, false, true); }
TEST(blocks_exactly) { check_dtypes(&exact, false, true); }
TEST(experts) { check_dtypes(&best, true, false); }
TEST(experts_without_subgroups) { check_dtypes(&plain, true, true); }
TEST(experts_exactly) { check_dtypes(&exact, true, true); }

/* The kernels for devices that are programs, where the device is one: each order of columns, rows that fill no workgroup. */
static void check_lean(bool moe) {
    static const dp_dtype dtypes[] = {DP_Q4_K, DP_Q5_K, DP_Q6_K, DP_Q8_0, DP_Q5_0, DP_F16};
    dp_backend *gpu = NULL, *reference = NULL;
    if (!test_opened(dp_gpu_backend_open(&(dp_gpu_desc){.adapter = -1}, &gpu))) return;
    CHECK_OK(dp_cpu_open(&(dp_cpu_desc){.reference = true}, &reference));
    for (size_t i = 0; i < DP_COUNT(dtypes) && dp_gpu_backend_is_lean(gpu); i++) {
        bool wide = dp_dtype_get(dtypes[i])->block == 256;
        const shape s = {.hidden = wide ? 512 : 320, .inner = wide ? 256 : 576, .moe = moe, .normalise = i % 2 == 0, .offset = 1};
        check_shape(gpu, reference, &s, dtypes[i], 2e-5);
    }
    gpu->api->close(gpu);
    reference->api->close(reference);
}

TEST(blocks_on_a_program) { check_lean(false); }
TEST(experts_on_a_program) { check_lean(true); }

/* A router that tells nothing chooses some experts all the same; the device goes on. */
static void check_no_numbers(const dp_gpu_desc *desc) {
    static float hidden[2048], result[OUT];
    const shape s = {.hidden = 512, .inner = 256, .moe = true, .normalise = true};
    dp_backend *gpu = NULL, *reference = NULL;
    if (!test_opened(dp_gpu_backend_open(desc, &gpu))) return;
    rig r;
    rig_init(&r, &s, DP_Q4_K);
    int32_t router = 0;
    for (size_t i = 0; i < r.program.op_count; i++)
        if (r.ops[i].kind == DP_OP_MATMUL && r.ops[i].dst == LOGITS) router = r.ops[i].weight;
    for (int32_t i = 0; i < EXPERTS * s.hidden; i++) ((float *)r.memory[router])[i] = NAN;
    CHECK_OK(run(gpu, &r, 7, hidden, result));
    rig_free(&r);
    CHECK_OK(dp_cpu_open(&(dp_cpu_desc){.reference = true}, &reference));
    check_shape(gpu, reference, &s, DP_Q4_K, desc->exact ? 2e-5 : 1.5e-2);
    gpu->api->close(gpu);
    reference->api->close(reference);
}

TEST(routers_that_tell_no_numbers) { check_no_numbers(&best); }
TEST(routers_that_tell_no_numbers_to_plain_kernels) { check_no_numbers(&exact); }
TEST(routers_that_tell_no_numbers_to_a_program) { check_no_numbers(&(dp_gpu_desc){.adapter = -1}); }

TEST_MAIN()
