/* The GPU's one-token steps, in which ops that follow each other become one dispatch: small models of one block, built by
 * hand, against the scalar reference. Every shape a kernel may meet: all dtypes, biases, odd numbers of experts, columns
 * that fill no whole number of lanes, norms on both sides, windows, sinks, a past long enough to be split. */
#include "ops.h"
#include "refmodel.h"

#include "gpu/gpu_backend.h"
#include "gpu/kernels.h"

enum { VOCAB = 61, OPS = 40, SLOTS = 24, WEIGHTS = 24, EXPERTS = 160, STEPS = 3 };

/* A program and the memory of its weights. */
typedef struct rig {
    dp_program program;
    dp_op ops[OPS];
    dp_slot slots[SLOTS];
    dp_weight weights[WEIGHTS];
    void *memory[WEIGHTS];
    const void *expert[WEIGHTS][EXPERTS];
    dp_kv_spec kv[1];
    uint64_t seed;
} rig;

static int32_t slot(rig *r, const char *name, int32_t cols) {
    r->slots[r->program.slot_count] = (dp_slot){name, DP_ROWS_TOKENS, cols};
    return (int32_t)r->program.slot_count++;
}

/* experts 0: a plain matrix or, with one row, a vector. Products keep the size of their input. */
static int32_t weight(rig *r, dp_dtype dtype, int32_t experts, int32_t rows, int32_t cols, float scale) {
    size_t i = r->program.weight_count++, copies = experts ? (size_t)experts : 1, n = (size_t)rows * (size_t)cols;
    size_t row_bytes = dp_dtype_row_bytes(dtype, cols), bytes = row_bytes * (size_t)rows;
    float *values = malloc(n * sizeof(float));
    r->memory[i] = malloc(bytes * copies);
    for (size_t e = 0; e < copies; e++) {
        char *to = (char *)r->memory[i] + e * bytes;
        for (size_t j = 0; j < n; j++) values[j] = ops_random(&r->seed) * scale * (0.7f + 0.2f * (float)(j % 4));
        dp_dtype_get(dtype)->quantize(values, to, n);
        if (experts) r->expert[i][e] = to;
    }
    free(values);
    r->weights[i] = (dp_weight){.name = "w", .dtype = dtype, .rows = rows, .cols = cols, .experts = experts, .row_bytes = row_bytes, .bytes = bytes,
                                .data = experts ? NULL : r->memory[i], .expert = experts ? r->expert[i] : NULL};
    return (int32_t)i;
}

static int32_t vector(rig *r, int32_t n) { return weight(r, DP_F32, 0, 1, n, 0.5f); }
static int32_t matrix(rig *r, dp_dtype dtype, int32_t experts, int32_t rows, int32_t cols) {
    return weight(r, dtype, experts, rows, cols, 1.6f / sqrtf((float)cols));
}

static dp_op *op(rig *r, dp_op_kind kind, const char *label, int32_t dst, int32_t src) {
    dp_op *o = &r->ops[r->program.op_count++];
    *o = (dp_op){.kind = kind, .layer = 0, .label = label, .dst = dst, .dst2 = -1, .src = src, .src2 = -1, .weight = -1, .bias = -1};
    return o;
}

static void rig_init(rig *r, int32_t hidden) {
    memset(r, 0, sizeof *r);
    r->seed = 7;
    r->program = (dp_program){.ops = r->ops, .slots = r->slots, .weights = r->weights, .kv = r->kv, .vocab = VOCAB};
    int32_t to = slot(r, "hidden", hidden);
    dp_op *o = op(r, DP_OP_EMBED, "embed", to, -1);
    o->weight = weight(r, DP_F32, 0, VOCAB, hidden, 1);
    o->embed.scale = 1.3f;
}

static void rig_free(rig *r) {
    for (size_t i = 0; i < r->program.weight_count; i++) free(r->memory[i]);
}

static void norm(rig *r, const char *label, int32_t dst, int32_t src, int32_t count, float offset) {
    dp_op *o = op(r, DP_OP_NORM, label, dst, src);
    int32_t n = r->slots[dst].cols / count;
    o->weight = vector(r, n);
    o->norm.eps = 1e-5f;
    o->norm.offset = offset;
    o->norm.count = count;
    o->norm.group = o->norm.stride = n;
}

static void product(rig *r, const char *label, dp_dtype dtype, int32_t dst, int32_t src, bool bias) {
    dp_op *o = op(r, DP_OP_MATMUL, label, dst, src);
    o->weight = matrix(r, dtype, 0, r->slots[dst].cols, r->slots[src].cols);
    if (bias) o->bias = vector(r, r->slots[dst].cols);
}

static void add(rig *r, int32_t hidden, int32_t branch) { op(r, DP_OP_ADD, "residual", hidden, hidden)->src2 = branch; }

static void act_mul(rig *r, dp_act_kind kind, int32_t gate, int32_t up) {
    dp_op *o = op(r, DP_OP_ACT_MUL, "act_mul", gate, gate);
    o->src2 = up;
    o->act_mul.kind = kind;
    o->act_mul.alpha = 1.702f;
    o->act_mul.limit = 1.1f;
}

/* ---- blocks ---- */

typedef struct block {
    dp_dtype dtype, second; /* second: of v, of down */
    int32_t hidden, inner, experts, k, groups; /* groups: of experts, half of which are kept */
    dp_act_kind act;
    dp_route_kind route;
    bool bias, normalise, sandwich, router_bias, shared, corrected, layer_norm;
} block;

/* A norm on the branch, too; the gain is weight + 1. */
static void seam(rig *r, const block *b, int32_t branch) {
    if (b->sandwich) norm(r, "post_norm", branch, branch, 1, 1);
    add(r, 0, branch);
}

static void ffn(rig *r, const block *b, int32_t normed, int32_t branch) {
    int32_t gate = slot(r, "gate", b->inner), up = slot(r, "up", b->inner);
    product(r, "gate", b->dtype, gate, normed, false);
    product(r, "up", b->dtype, up, normed, false);
    act_mul(r, b->act, gate, up);
    product(r, "down", b->second, branch, gate, b->bias);
}

static void expert_product(rig *r, const block *b, const char *label, dp_dtype dtype, int32_t dst, int32_t src, int32_t ids, bool per_expert) {
    dp_op *o = op(r, DP_OP_MOE_MATMUL, label, dst, src);
    int32_t rows = r->slots[dst].cols / b->k, cols = r->slots[src].cols / (per_expert ? b->k : 1);
    o->src2 = ids;
    o->weight = matrix(r, dtype, b->experts, rows, cols);
    if (b->bias) o->bias = weight(r, DP_F32, 0, b->experts, rows, 0.5f);
    o->moe_matmul.k = b->k;
    o->moe_matmul.per_expert = per_expert;
}

static void moe(rig *r, const block *b, int32_t normed, int32_t branch) {
    int32_t logits = slot(r, "logits", b->experts), weights = slot(r, "weights", b->k), ids = slot(r, "ids", b->k);
    int32_t gate = slot(r, "expert_gate", b->k * b->inner), up = slot(r, "expert_up", b->k * b->inner), down = slot(r, "expert_down", b->k * b->hidden);
    product(r, "router", DP_F32, logits, normed, b->router_bias);
    dp_op *o = op(r, DP_OP_ROUTE, "route", weights, logits);
    o->dst2 = ids;
    o->route.kind = b->route;
    o->route.k = b->k;
    o->route.groups = b->groups ? b->groups : 1;
    o->route.top_groups = (o->route.groups + 1) / 2;
    if (b->corrected) o->bias = vector(r, b->experts);
    o->route.normalise = b->normalise;
    o->route.scale = b->route == DP_ROUTE_SPARSEMIXER ? 1 : 1.5f;
    o->route.jitter = 0.01f;
    expert_product(r, b, "gate", b->dtype, gate, normed, ids, false);
    expert_product(r, b, "up", b->dtype, up, normed, ids, false);
    act_mul(r, b->act, gate, up);
    expert_product(r, b, "down", b->second, down, gate, ids, true);
    o = op(r, DP_OP_MOE_SUM, "moe_sum", branch, down);
    o->src2 = weights;
    o->moe_sum.k = b->k;
    if (!b->shared) return;
    add(r, 0, branch); /* a dense block beside the experts, with the same input */
    ffn(r, b, normed, branch);
}

/* The block between two norms; what reads the second is the result. */
static int32_t build(rig *r, const block *b) {
    rig_init(r, b->hidden);
    int32_t normed = slot(r, "normed", b->hidden), branch = slot(r, "branch", b->hidden), out = slot(r, "out", 70);
    norm(r, "norm", normed, 0, 1, b->sandwich);
    if (b->layer_norm) r->ops[r->program.op_count - 1].norm.kind = DP_NORM_LAYER;
    if (b->experts) moe(r, b, normed, branch);
    else ffn(r, b, normed, branch);
    seam(r, b, branch);
    norm(r, "next_norm", normed, 0, 1, b->sandwich);
    product(r, "next", b->dtype, out, normed, true);
    return out;
}

typedef struct heads {
    dp_dtype q, k, v, o;
    int32_t hidden, heads, kv_heads, dim, turned, window, past;
    bool bias, norms, sinks, pairs, sandwich;
    float softcap;
} heads;

static void rope(rig *r, const heads *h, int32_t dst, int32_t count, int32_t frequencies) {
    dp_op *o = op(r, DP_OP_ROPE, "rope", dst, dst);
    o->weight = frequencies;
    o->rope.heads = count;
    o->rope.src_stride = o->rope.dst_stride = h->dim;
    o->rope.dim = h->turned;
    o->rope.pairs = h->pairs;
    o->rope.scale = 1.1f;
}

static int32_t attend(rig *r, const heads *h) {
    rig_init(r, h->hidden);
    int32_t normed = slot(r, "normed", h->hidden), branch = slot(r, "branch", h->hidden), out = slot(r, "out", 70);
    int32_t q = slot(r, "q", h->heads * h->dim), k = slot(r, "k", h->kv_heads * h->dim), v = slot(r, "v", h->kv_heads * h->dim);
    int32_t mixed = slot(r, "attention", h->heads * h->dim);
    norm(r, "norm", normed, 0, 1, h->sandwich);
    product(r, "q", h->q, q, normed, h->bias);
    product(r, "k", h->k, k, normed, h->bias);
    product(r, "v", h->v, v, normed, h->bias);
    if (h->norms) norm(r, "q_norm", q, q, h->heads, h->sandwich);
    if (h->norms) norm(r, "k_norm", k, k, h->kv_heads, h->sandwich);
    int32_t frequencies = weight(r, DP_F32, 0, 1, h->turned / 2, 1);
    rope(r, h, q, h->heads, frequencies);
    rope(r, h, k, h->kv_heads, frequencies);
    op(r, DP_OP_KV_WRITE, "kv_write", -1, k)->src2 = v;
    r->kv[r->program.kv_count++] = (dp_kv_spec){.heads = h->kv_heads, .k_dim = h->dim, .v_dim = h->dim, .window = h->window};
    dp_op *o = op(r, DP_OP_ATTENTION, "attention", mixed, q);
    if (h->sinks) o->weight = vector(r, h->heads);
    o->attention.heads = h->heads;
    o->attention.scale = 1 / sqrtf((float)h->dim);
    o->attention.softcap = h->softcap;
    product(r, "o", h->o, branch, mixed, h->bias);
    seam(r, &(block){.sandwich = h->sandwich}, branch);
    norm(r, "next_norm", normed, 0, 1, h->sandwich);
    product(r, "next", h->q, out, normed, true);
    return out;
}

/* ---- running ---- */

/* A past of `past` tokens, then STEPS single ones, whose rows of `out` and of the residual (slot 0) are kept. */
static dp_status run(dp_backend *backend, rig *r, int32_t past, int32_t out, float *rows) {
    const dp_backend_api *api = backend->api;
    int32_t ids[700], context = past + STEPS, cols = r->slots[out].cols, hidden = r->slots[0].cols;
    dp_plan *plan = NULL;
    dp_kv *kv = NULL;
    for (int32_t t = 0; t < context; t++) ids[t] = (t * 31 + 5 + t / 9) % VOCAB;
    dp_status status = api->load(backend, &r->program, NULL, NULL);
    if (status == DP_OK) status = api->plan_new(backend, &r->program, (dp_plan_size){DP_MAX(past, 1), 1}, &plan);
    if (status == DP_OK) status = api->kv_new(backend, &r->program, &(dp_kv_size){DP_KV_F16, context, DP_MAX(past, 1)}, &kv);
    if (status == DP_OK) status = api->kv_reserve(kv, 0, context);
    for (int32_t at = 0, n; status == DP_OK && at < context; at += n) {
        n = at < past ? past : 1;
        status = api->run(plan, &(dp_step){.tokens = ids + at, .count = n, .position = at, .outputs = 0, .context = context, .kv = kv});
        if (at < past) continue;
        if (status == DP_OK) status = api->read(plan, out, 0, 1, rows);
        if (status == DP_OK) status = api->read(plan, 0, 0, 1, rows + cols);
        rows += cols + hidden;
    }
    api->plan_free(plan);
    api->kv_free(kv);
    api->unload(backend, &r->program);
    return status;
}

typedef struct bench {
    dp_backend *gpu, *reference;
    double most; /* relative error */
} bench;

static void check(const bench *b, rig *r, int32_t past, int32_t out, const char *what) {
    size_t cols = (size_t)(r->slots[out].cols + r->slots[0].cols), n = cols * STEPS;
    float *expected = malloc(n * sizeof(float)), *found = malloc(n * sizeof(float));
    for (size_t i = 0; i < n; i++) found[i] = NAN;
    dp_status status = run(b->reference, r, past, out, expected);
    if (status == DP_OK) status = run(b->gpu, r, past, out, found);
    if (status != DP_OK) test_fail(__FILE__, __LINE__, "%s: %s", what, dp_error_message());
    for (size_t s = 0; status == DP_OK && s < STEPS; s++) {
        double error = ref_relative_error(found + s * cols, expected + s * cols, cols);
        if (!(error < b->most)) test_fail(__FILE__, __LINE__, "%s, step %zu: relative error %g", what, s, error);
    }
    free(expected);
    free(found);
    rig_free(r);
}

static void check_blocks(const bench *b, const block *blocks, size_t count) {
    static rig r;
    for (size_t i = 0; i < count; i++) {
        char what[120];
        const block *one = &blocks[i];
        snprintf(what, sizeof what, "block %zu: %s, %d columns, %d inside, %d of %d experts", i, dp_dtype_get(one->dtype)->name, (int)one->hidden, (int)one->inner,
                 (int)one->k, (int)one->experts);
        int32_t out = build(&r, one);
        check(b, &r, 2, out, what);
    }
}

static void check_heads(const bench *b, const heads *all, size_t count) {
    static rig r;
    for (size_t i = 0; i < count; i++) {
        char what[120];
        const heads *one = &all[i];
        snprintf(what, sizeof what, "attention %zu: %s, %d heads of %d for %d, past %d", i, dp_dtype_get(one->q)->name, (int)one->heads, (int)one->dim,
                 (int)one->kv_heads, (int)one->past);
        int32_t out = attend(&r, one);
        check(b, &r, one->past, out, what);
    }
}

static const block dense[] = {
    {.dtype = DP_Q4_K, .second = DP_Q4_K, .hidden = 256, .inner = 512, .act = DP_ACT_SILU},
    {.dtype = DP_Q4_K, .second = DP_Q6_K, .hidden = 1280, .inner = 768, .act = DP_ACT_SILU},
    {.dtype = DP_Q5_K, .second = DP_Q6_K, .hidden = 512, .inner = 256, .act = DP_ACT_GELU_ERF},
    {.dtype = DP_Q5_0, .second = DP_Q8_0, .hidden = 192, .inner = 448, .act = DP_ACT_GELU_TANH, .sandwich = true},
    {.dtype = DP_Q5_0, .second = DP_Q6_K, .hidden = 1152, .inner = 256, .act = DP_ACT_GELU_TANH, .sandwich = true},
    {.dtype = DP_Q8_0, .second = DP_Q8_0, .hidden = 320, .inner = 64, .act = DP_ACT_SILU, .bias = true},
    {.dtype = DP_Q4_0, .second = DP_Q5_0, .hidden = 64, .inner = 128, .act = DP_ACT_SILU},
    {.dtype = DP_Q4_1, .second = DP_Q5_1, .hidden = 64, .inner = 128, .act = DP_ACT_SILU},
    {.dtype = DP_MXFP4, .second = DP_MXFP4, .hidden = 704, .inner = 192, .act = DP_ACT_SILU},
    {.dtype = DP_Q8_0, .second = DP_Q8_0, .hidden = 96, .inner = 160, .act = DP_ACT_SILU}, /* half a unit over */
};

static const block mixtures[] = {
    {.dtype = DP_Q4_K, .second = DP_Q6_K, .hidden = 256, .inner = 256, .experts = 8, .k = 2, .route = DP_ROUTE_TOPK_SOFTMAX, .normalise = true},
    {.dtype = DP_Q4_K, .second = DP_Q4_K, .hidden = 512, .inner = 768, .experts = 128, .k = 8, .route = DP_ROUTE_SOFTMAX, .normalise = true},
    {.dtype = DP_Q4_K, .second = DP_Q4_K, .hidden = 256, .inner = 256, .experts = 7, .k = 3, .route = DP_ROUTE_SOFTMAX},
    {.dtype = DP_MXFP4, .second = DP_MXFP4, .hidden = 320, .inner = 192, .experts = 32, .k = 4, .act = DP_ACT_SWIGLU_OAI, .route = DP_ROUTE_TOPK_SOFTMAX, .normalise = true, .bias = true, .router_bias = true},
    {.dtype = DP_MXFP4, .second = DP_MXFP4, .hidden = 2880, .inner = 64, .experts = 5, .k = 1, .act = DP_ACT_SWIGLU_OAI, .route = DP_ROUTE_TOPK_SOFTMAX, .normalise = true, .bias = true, .router_bias = true},
    {.dtype = DP_Q8_0, .second = DP_Q5_0, .hidden = 192, .inner = 128, .experts = 130, .k = 5, .route = DP_ROUTE_SOFTMAX, .normalise = true},
    {.dtype = DP_Q5_0, .second = DP_Q4_0, .hidden = 64, .inner = 64, .experts = 4, .k = 4, .route = DP_ROUTE_SOFTMAX, .normalise = true},
    {.dtype = DP_Q5_K, .second = DP_Q6_K, .hidden = 256, .inner = 256, .experts = 6, .k = 2, .route = DP_ROUTE_SPARSEMIXER},
    {.dtype = DP_Q4_K, .second = DP_Q6_K, .hidden = 256, .inner = 512, .experts = 16, .k = 4, .route = DP_ROUTE_SIGMOID_GROUPS, .normalise = true},
    {.dtype = DP_Q4_K, .second = DP_Q6_K, .hidden = 256, .inner = 256, .experts = 16, .k = 4, .groups = 4, .route = DP_ROUTE_SIGMOID_GROUPS, .normalise = true, .corrected = true, .shared = true},
    {.dtype = DP_Q4_K, .second = DP_Q4_K, .hidden = 256, .inner = 256, .experts = 16, .k = 2, .route = DP_ROUTE_SPARSEMIXER, .layer_norm = true},
    {.dtype = DP_Q8_0, .second = DP_Q8_0, .hidden = 128, .inner = 64, .experts = 8, .k = 2, .route = DP_ROUTE_SOFTMAX, .normalise = true, .layer_norm = true},
    {.dtype = DP_Q4_K, .second = DP_Q6_K, .hidden = 256, .inner = 256, .experts = 8, .k = 2, .route = DP_ROUTE_SOFTMAX, .normalise = true, .shared = true},
    {.dtype = DP_Q4_K, .second = DP_Q4_K, .hidden = 256, .inner = 256, .experts = 8, .k = 2, .route = DP_ROUTE_SOFTMAX, .normalise = true, .sandwich = true},
    {.dtype = DP_F16, .second = DP_Q8_0, .hidden = 64, .inner = 64, .experts = 4, .k = 2, .route = DP_ROUTE_SOFTMAX, .normalise = true},
};

static const heads attentions[] = {
    {.q = DP_Q4_K, .k = DP_Q4_K, .v = DP_Q6_K, .o = DP_Q4_K, .hidden = 256, .heads = 8, .kv_heads = 2, .dim = 64, .turned = 64, .past = 5},
    {.q = DP_Q4_K, .k = DP_Q4_K, .v = DP_Q4_K, .o = DP_Q4_K, .hidden = 256, .heads = 8, .kv_heads = 1, .dim = 32, .turned = 32, .past = 300, .norms = true},
    {.q = DP_Q4_K, .k = DP_Q4_K, .v = DP_Q6_K, .o = DP_Q4_K, .hidden = 512, .heads = 4, .kv_heads = 4, .dim = 128, .turned = 128, .past = 260, .norms = true},
    {.q = DP_Q5_0, .k = DP_Q5_0, .v = DP_Q8_0, .o = DP_Q4_K, .hidden = 192, .heads = 4, .kv_heads = 1, .dim = 256, .turned = 256, .past = 20, .norms = true, .sandwich = true, .window = 16},
    {.q = DP_Q5_0, .k = DP_Q5_0, .v = DP_Q5_0, .o = DP_Q4_K, .hidden = 64, .heads = 4, .kv_heads = 1, .dim = 256, .turned = 256, .past = 320, .norms = true, .sandwich = true},
    {.q = DP_Q8_0, .k = DP_Q8_0, .v = DP_Q8_0, .o = DP_Q8_0, .hidden = 320, .heads = 16, .kv_heads = 2, .dim = 64, .turned = 64, .past = 40, .bias = true, .sinks = true, .window = 32},
    {.q = DP_Q8_0, .k = DP_Q8_0, .v = DP_Q8_0, .o = DP_Q8_0, .hidden = 320, .heads = 8, .kv_heads = 1, .dim = 64, .turned = 64, .past = 400, .bias = true, .sinks = true},
    {.q = DP_Q8_0, .k = DP_Q8_0, .v = DP_Q8_0, .o = DP_Q8_0, .hidden = 128, .heads = 6, .kv_heads = 2, .dim = 48, .turned = 32, .past = 290, .pairs = true, .softcap = 20},
    {.q = DP_F16, .k = DP_Q8_0, .v = DP_BF16, .o = DP_Q8_0, .hidden = 64, .heads = 2, .kv_heads = 2, .dim = 32, .turned = 32, .past = 1, .norms = true},
    {.q = DP_Q4_K, .k = DP_Q4_K, .v = DP_Q4_K, .o = DP_Q5_0, .hidden = 256, .heads = 14, .kv_heads = 2, .dim = 64, .turned = 64, .past = 300, .bias = true},
    {.q = DP_Q8_0, .k = DP_Q8_0, .v = DP_Q8_0, .o = DP_Q8_0, .hidden = 64, .heads = 6, .kv_heads = 2, .dim = 32, .turned = 32, .past = 40, .sinks = true, .window = 32},
};

static void with_device(const dp_gpu_desc *desc, double most, void (*body)(const bench *)) {
    bench b = {.most = most};
    dp_status status = dp_gpu_backend_open(desc, &b.gpu);
    if (!test_opened(status)) return;
    CHECK_OK(dp_cpu_open(&(dp_cpu_desc){.reference = true}, &b.reference));
    body(&b);
    b.gpu->api->close(b.gpu);
    b.reference->api->close(b.reference);
}

static void all_dense(const bench *b) { check_blocks(b, dense, DP_COUNT(dense)); }
static void all_mixtures(const bench *b) { check_blocks(b, mixtures, DP_COUNT(mixtures)); }
static void all_attentions(const bench *b) { check_heads(b, attentions, DP_COUNT(attentions)); }

/* Activations in 8 bits move a block's result by less than a hundredth; without them only sums' order and f16 keys do. */
static const dp_gpu_desc usual = {.adapter = -1, .fused = true}, masked = {.adapter = -1, .fused = true, .no_f16 = true, .no_subgroups = true, .no_subgroup_matrix = true},
                         exact = {.adapter = -1, .exact = true}, unchecked = {.adapter = -1, .fused = true, .unchecked = true};

TEST(dense_blocks) { with_device(&usual, 1e-2, all_dense); }
TEST(mixtures_of_experts) { with_device(&usual, 1e-2, all_mixtures); }
TEST(attention_blocks) { with_device(&usual, 1e-2, all_attentions); }
TEST(dense_blocks_unchecked) { with_device(&unchecked, 1e-2, all_dense); }
TEST(mixtures_of_experts_unchecked) { with_device(&unchecked, 1e-2, all_mixtures); }
TEST(attention_blocks_unchecked) { with_device(&unchecked, 1e-2, all_attentions); }
TEST(mixtures_of_experts_masked) { with_device(&masked, 1e-2, all_mixtures); }
TEST(attention_blocks_masked) { with_device(&masked, 1e-2, all_attentions); }
TEST(blocks_exactly) {
    with_device(&exact, 1e-3, all_dense);
    with_device(&exact, 1e-3, all_mixtures);
    with_device(&exact, 1e-3, all_attentions);
}

/* The kernels for devices that are programs, where the device is one. */
static void all_lean(const bench *b) {
    if (!dp_gpu_backend_is_lean(b->gpu)) return;
    all_mixtures(b);
    all_attentions(b);
}

TEST(blocks_on_a_program) { with_device(&(dp_gpu_desc){.adapter = -1}, 1e-3, all_lean); }

TEST_MAIN()
