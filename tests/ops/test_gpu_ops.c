/* The GPU's products with weights, for every dtype it reads, against the scalar reference running the same program:
 * an embedding that makes the activations, then the product. */
#include "ops.h"
#include "refmodel.h"

#include "gpu/gpu_backend.h"
#include "gpu/kernels.h"
#include "gpu/repack.h"

enum { VOCAB = 97, MAX_ROWS = 200, MAX_TOKENS = 130, WIDE_ROWS = 6175 };

typedef struct rig {
    dp_program program;
    dp_op ops[2];
    dp_slot slots[2];
    dp_weight weights[3];
    void *memory[3];
} rig;

/* Blocks of a type that is read, not written: any bits, with scales of a sensible size. */
static void fill_blocks(dp_dtype dtype, uint8_t *out, size_t bytes, uint64_t seed) {
    const dp_dtype_info *info = dp_dtype_get(dtype);
    for (size_t i = 0; i < bytes; i++) out[i] = (uint8_t)(int32_t)(ops_random(&seed) * 1000);
    for (size_t at = 0; at < bytes; at += info->bytes) {
        uint8_t *block = out + at, *scale = dtype == DP_Q2_K ? block + 80 : block + 108;
        scale[0] = (uint8_t)(17 + at), scale[1] = 0x18; /* f16, about 0.002 */
        if (dtype == DP_Q2_K) scale[2] = (uint8_t)(5 + at), scale[3] = 0x1a;
    }
}

static dp_weight matrix(void **memory, dp_dtype dtype, int32_t rows, int32_t cols, uint64_t seed) {
    size_t n = (size_t)rows * (size_t)cols, row_bytes = dp_dtype_row_bytes(dtype, cols);
    float *values = malloc(n * sizeof(float));
    for (size_t i = 0; i < n; i++) values[i] = ops_random(&seed) * (0.05f + 0.03f * (float)(i % 5));
    *memory = malloc(row_bytes * (size_t)rows);
    if (dp_dtype_get(dtype)->quantize) dp_dtype_get(dtype)->quantize(values, *memory, n);
    else fill_blocks(dtype, *memory, row_bytes * (size_t)rows, seed);
    free(values);
    return (dp_weight){.name = "w", .dtype = dtype, .rows = rows, .cols = cols, .row_bytes = row_bytes, .bytes = row_bytes * (size_t)rows, .data = *memory};
}

static void rig_init(rig *r, dp_dtype dtype, int32_t rows, int32_t cols, bool bias) {
    *r = (rig){.slots = {{"x", DP_ROWS_TOKENS, cols}, {"y", DP_ROWS_TOKENS, rows}}};
    r->weights[0] = matrix(&r->memory[0], DP_F32, VOCAB, cols, 1);
    r->weights[1] = matrix(&r->memory[1], dtype, rows, cols, 2);
    r->weights[2] = matrix(&r->memory[2], DP_F32, 1, rows, 3);
    r->ops[0] = (dp_op){.kind = DP_OP_EMBED, .layer = -1, .label = "embed", .dst = 0, .dst2 = -1, .src = -1, .src2 = -1, .weight = 0, .bias = -1, .embed = {1.5f}};
    r->ops[1] = (dp_op){.kind = DP_OP_MATMUL, .layer = -1, .label = "matmul", .dst = 1, .dst2 = -1, .src = 0, .src2 = -1, .weight = 1, .bias = bias ? 2 : -1};
    r->program = (dp_program){.ops = r->ops, .op_count = 2, .slots = r->slots, .slot_count = 2, .weights = r->weights, .weight_count = 3, .vocab = VOCAB};
}

static void rig_free(rig *r) {
    for (int i = 0; i < 3; i++) free(r->memory[i]);
}

static dp_status run(dp_backend *backend, rig *r, int32_t tokens, float *out) {
    const dp_backend_api *api = backend->api;
    int32_t ids[MAX_TOKENS];
    dp_plan *plan = NULL;
    dp_kv *kv = NULL;
    for (int32_t t = 0; t < tokens; t++) ids[t] = (t * 31 + 5) % VOCAB;
    dp_status status = api->load(backend, &r->program, NULL, NULL);
    if (status == DP_OK) status = api->plan_new(backend, &r->program, (dp_plan_size){tokens, tokens}, &plan);
    if (status == DP_OK) status = api->kv_new(backend, &r->program, &(dp_kv_size){DP_KV_F16, tokens, tokens}, &kv);
    if (status == DP_OK) status = api->run(plan, &(dp_step){.tokens = ids, .count = tokens, .outputs = tokens, .context = tokens, .kv = kv});
    if (status == DP_OK) status = api->read(plan, 1, 0, tokens, out);
    api->plan_free(plan);
    api->kv_free(kv);
    api->unload(backend, &r->program);
    return status;
}

/* Relative error of y = W x for a W of that shape; found and expected: [tokens * rows]. */
static double product_error(dp_backend *gpu, dp_backend *reference, const int32_t shape[2], dp_dtype dtype, bool bias, int32_t tokens, float *found,
                            float *expected) {
    rig r;
    size_t n = (size_t)tokens * (size_t)shape[0];
    rig_init(&r, dtype, shape[0], shape[1], bias);
    for (size_t j = 0; j < n; j++) found[j] = NAN;
    dp_status status = run(reference, &r, tokens, expected);
    if (status == DP_OK) status = run(gpu, &r, tokens, found);
    if (status != DP_OK) test_fail(__FILE__, __LINE__, "%s", dp_error_message());
    rig_free(&r);
    return ref_relative_error(found, expected, n);
}

/* one, many: the error allowed for a single token and for more than a few. */
static void check_dtype(dp_backend *gpu, dp_backend *reference, dp_dtype dtype, double one, double many) {
    static const int32_t rows[] = {1, 3, 66, 200, 199, 66}, tokens[] = {1, 2, 5, 130, 1, 1};
    static float expected[MAX_TOKENS * MAX_ROWS], found[MAX_TOKENS * MAX_ROWS];
    int32_t block = dp_dtype_get(dtype)->block;
    for (size_t i = 0; i < DP_COUNT(rows); i++) {
        int32_t cols = block == 256 ? (i % 2 ? 256 : 1280) : (i % 2 ? 32 : 416), shape[2] = {rows[i], cols};
        double error = product_error(gpu, reference, shape, dtype, i % 2, tokens[i], found, expected), most = tokens[i] == 1 ? one : tokens[i] > 4 ? many : 1e-5;
        CHECK_MSG(error < most, "%s [%d][%d], %d tokens: relative error %g", dp_dtype_get(dtype)->name, (int)rows[i], (int)cols, (int)tokens[i], error);
    }
}

/* Wide enough for the largest tiles of every device. */
static void check_wide(dp_backend *gpu, dp_backend *reference, dp_dtype dtype) {
    static float expected[MAX_TOKENS * WIDE_ROWS], found[MAX_TOKENS * WIDE_ROWS];
    const int32_t shape[2] = {WIDE_ROWS, dp_dtype_get(dtype)->block == 256 ? 256 : 96};
    double error = product_error(gpu, reference, shape, dtype, true, MAX_TOKENS, found, expected);
    CHECK_MSG(error < 1e-3, "%s [%d][%d]: relative error %g", dp_dtype_get(dtype)->name, (int)shape[0], (int)shape[1], error);
}

static void check_dtypes(const dp_gpu_desc *desc, bool wide) {
    dp_backend *gpu = NULL, *reference = NULL;
    dp_status status = dp_gpu_backend_open(desc, &gpu);
    if (!test_opened(status)) return;
    CHECK_OK(dp_cpu_open(&(dp_cpu_desc){.reference = true}, &reference));
    int checked = 0;
    for (int d = 0; d < DP_DTYPE_COUNT; d++) {
        if (!dp_kernels_reads((dp_dtype)d)) continue;
        /* without `exact`, single tokens may meet quantised weights in 8 bits, and many the matrix units in f16 */
        check_dtype(gpu, reference, (dp_dtype)d, !desc->exact && dp_kernels_dots((dp_dtype)d) ? 1e-2 : 1e-5, desc->exact ? 1e-5 : 1e-3);
        if (wide) check_wide(gpu, reference, (dp_dtype)d);
        checked++;
    }
    CHECK(checked == 14);
    gpu->api->close(gpu);
    reference->api->close(reference);
}

TEST(every_dtype_on_the_gpu) { check_dtypes(&(dp_gpu_desc){.adapter = -1}, false); }
TEST(every_dtype_on_the_gpu_unchecked) { check_dtypes(&(dp_gpu_desc){.adapter = -1, .unchecked = true}, true); }
TEST(every_dtype_on_the_gpu_exactly) { check_dtypes(&(dp_gpu_desc){.adapter = -1, .exact = true}, false); }

/* A head larger than a binding, in three parts or more. Its single tokens go through packed activations, which shows in an
 * error that products in f32 do not have. */
static void check_parts(dp_dtype dtype, double least) {
    static float expected[WIDE_ROWS], found[WIDE_ROWS];
    const int32_t shape[2] = {WIDE_ROWS, dp_dtype_get(dtype)->block == 256 ? 1280 : 448};
    uint64_t most = DP_MAX(64 * (uint64_t)shape[1] * sizeof(float), dp_repack_bytes(dtype, (size_t)shape[0] * (size_t)shape[1]).quants / 3);
    dp_backend *gpu = NULL, *reference = NULL;
    if (!test_opened(dp_gpu_backend_open(&(dp_gpu_desc){.adapter = -1, .fused = true, .part_most = most}, &gpu))) return;
    CHECK_OK(dp_cpu_open(&(dp_cpu_desc){.reference = true}, &reference));
    double error = product_error(gpu, reference, shape, dtype, true, 1, found, expected);
    CHECK_MSG(error > least && error < 1e-2, "%s in parts of %llu bytes: relative error %g", dp_dtype_get(dtype)->name, (unsigned long long)most, error);
    gpu->api->close(gpu);
    reference->api->close(reference);
}

TEST(products_in_parts) {
    check_parts(DP_Q4_0, 1e-4);
    check_parts(DP_Q8_0, 1e-4);
    check_parts(DP_Q4_K, 1e-4);
    check_parts(DP_Q6_K, 1e-4);
    check_parts(DP_F16, 0);
}

static void check_refused(const dp_gpu_desc *desc, int32_t rows, int32_t cols, const char *why) {
    dp_backend *gpu = NULL;
    rig r;
    dp_status status = dp_gpu_backend_open(desc, &gpu);
    if (!test_opened(status)) return;
    rig_init(&r, DP_F32, rows, cols, false);
    r.weights[1].name = "some.weight";
    CHECK_FAILS(gpu->api->load(gpu, &r.program, NULL, NULL), DP_E_UNSUPPORTED, why);
    gpu->api->unload(gpu, &r.program);
    r.weights[1].cols = r.weights[0].cols = 32; /* the device is as good as before */
    CHECK_OK(gpu->api->load(gpu, &r.program, NULL, NULL));
    gpu->api->unload(gpu, &r.program);
    rig_free(&r);
    gpu->api->close(gpu);
}

TEST(weights_that_are_refused) {
    check_refused(&(dp_gpu_desc){.adapter = -1}, 40, 48, "rows of 48 columns");
    check_refused(&(dp_gpu_desc){.adapter = -1, .part_most = 30000}, 1000, 128, "64 rows of 32768 bytes");
}

TEST_MAIN()
