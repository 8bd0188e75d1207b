/* test_gpu_device.c: the device interface of gpu.h on whatever device there is. Without WebGPU every test that needs a
 * device is skipped, saying why; the private folder of tools/setup_webgpu.sh brings a software device. */
#include "base/json.h"
#include "gpu/gpu.h"
#include "host/host.h"
#include "test.h"

static const dp_gpu_desc best = {.adapter = -1, .timestamps = true};
static dp_gpu *gpu; /* opened by the first test that needs it, for all but those that break it */

static bool have_device(void) {
    if (gpu) return true;
    return test_opened(dp_gpu_open(&best, &gpu));
}

/* A value that differs for every position and seed. */
static uint32_t pattern(size_t i, uint32_t seed) {
    uint32_t x = (uint32_t)i * 2654435761u + seed;
    return x ^ x >> 15;
}

static uint32_t *make_data(size_t count, uint32_t seed) {
    uint32_t *data = malloc(count * sizeof *data);
    for (size_t i = 0; data && i < count; i++) data[i] = pattern(i, seed);
    return data;
}

static size_t count_wrong(const uint32_t *data, size_t count, uint32_t seed) {
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++) wrong += data[i] != pattern(i, seed);
    return wrong;
}

static dp_status read_all(dp_gpu *g, dp_gpu_buffer buffer, uint64_t offset, void *data, size_t size) {
    dp_gpu_read read;
    TRY(dp_gpu_read_begin(g, buffer, offset, size, &read));
    return dp_gpu_read_end(g, read, data);
}

/* ---- adapters ---- */

TEST(wrong_library) {
    dp_gpu_desc desc = {.adapter = -1, .library = "/nowhere/libwebgpu.so"};
    dp_gpu_caps caps[4];
    size_t count = 77;
    dp_gpu *none = NULL;
    CHECK_FAILS(dp_gpu_list(&desc, caps, 4, &count), DP_E_UNSUPPORTED, "WebGPU");
    CHECK_FAILS(dp_gpu_open(&desc, &none), DP_E_UNSUPPORTED, "WebGPU");
    CHECK(count == 77 && !none);
}

TEST(library_of_another_kind) {
    if (!have_device()) return;
    dp_gpu_desc desc = {.adapter = -1, .library = "libm.so.6"};
    dp_gpu *none = NULL;
    CHECK_FAILS(dp_gpu_open(&desc, &none), DP_E_UNSUPPORTED, "wgpuCreateInstance");
}

TEST(list) {
    if (!have_device()) return;
    dp_gpu_caps caps[8];
    size_t count = 0;
    CHECK_OK(dp_gpu_list(&best, caps, 8, &count));
    CHECK(count >= 1);
    CHECK(strcmp(caps[0].name, dp_gpu_get_caps(gpu)->name) == 0);
    for (size_t i = 0; i < DP_MIN(count, (size_t)8); i++) {
        const dp_gpu_caps *c = &caps[i];
        printf("  %zu: %s (%s, %s, %s)%s f16 %d subgroups %d (%u-%u) matrix %ux%ux%u timestamps %d memory %llu MB "
               "buffer %llu MB binding %llu MB align %u workgroup %u B, %u x %u, %u buffers\n",
               i, c->name, c->vendor, c->driver, c->api, c->software ? " software" : "", c->f16, c->subgroups,
               c->subgroup_min, c->subgroup_max, c->matrix_m, c->matrix_n, c->matrix_k, c->timestamps,
               (unsigned long long)c->memory >> 20, (unsigned long long)c->buffer_max >> 20,
               (unsigned long long)c->binding_max >> 20, c->binding_align, c->workgroup_memory, c->workgroup_size,
               c->workgroups, c->storage_buffers);
        CHECK(c->name[0] && c->api[0]);
        CHECK(c->buffer_max >= 128 << 20 && c->binding_max >= 128 << 20 && c->binding_max <= c->buffer_max);
        CHECK(c->binding_align >= 4 && c->binding_align <= 256 && c->workgroup_memory >= 16384);
        CHECK(c->workgroup_size >= 256 && c->workgroups >= 65535 && c->storage_buffers >= 8);
        CHECK(!c->subgroups || (c->subgroup_min >= 4 && c->subgroup_max >= c->subgroup_min));
        CHECK(i == 0 || caps[i - 1].software <= c->software);
    }
    dp_gpu_desc far = {.adapter = 99};
    dp_gpu *none = NULL;
    CHECK_FAILS(dp_gpu_open(&far, &none), DP_E_UNSUPPORTED, "no GPU number 100");
}

TEST(masked_features) {
    if (!have_device()) return;
    dp_gpu_desc desc = {.adapter = -1, .no_f16 = true, .no_subgroups = true};
    dp_gpu *plain;
    CHECK_OK(dp_gpu_open(&desc, &plain));
    const dp_gpu_caps *c = dp_gpu_get_caps(plain);
    bool masked = !c->f16 && !c->subgroups && !c->subgroup_matrix && !c->subgroup_max && !c->matrix_m && !c->timestamps;
    dp_gpu_pipeline_desc half = {.label = "half", .wgsl = "enable f16; @compute @workgroup_size(1) fn main() {}",
                                 .entry = "main", .bindings = ""};
    dp_gpu_pipeline pipeline;
    dp_status status = dp_gpu_pipeline_new(plain, &half, &pipeline);
    dp_gpu_close(plain);
    CHECK(masked);
    CHECK_FAILS(status, DP_E_DEVICE, "f16");
}

/* ---- dp_devices ---- */

/* The number of GPUs listed, -1 if the text is not what the header promises. */
static int count_gpus(const char *json, bool expect_error) {
    dp_arena arena = {0};
    const dp_json *root = NULL;
    int count = -1;
    if (dp_json_parse(&arena, dp_str_of(json), &root) == DP_OK) {
        const dp_json *gpus = dp_json_get(root, "gpus"), *why = dp_json_get(root, "gpuError");
        const dp_json *first = dp_json_at(gpus, 0);
        bool good = dp_json_get(dp_json_get(root, "cpu"), "name") && gpus && why;
        good = good && why->type == (expect_error ? DP_JSON_STRING : DP_JSON_NULL);
        good = good && (!first || (dp_json_get(first, "index")->integer == 1 && dp_json_get(first, "storageBuffers")));
        if (good) count = (int)gpus->count;
    }
    dp_arena_free(&arena);
    return count;
}

TEST(devices_without_library) {
    char *json;
    CHECK_OK(dp_devices("/nowhere/libwebgpu.so", &json));
    int count = count_gpus(json, true);
    dp_free(json);
    CHECK(count == 0);
    CHECK_FAILS(dp_devices(NULL, NULL), DP_E_ARG, "json is NULL");
}

TEST(devices) {
    if (!have_device()) return;
    char *json;
    CHECK_OK(dp_devices(NULL, &json));
    int count = count_gpus(json, false);
    dp_free(json);
    CHECK(count >= 1);
}

static dp_status list_devices(void *user) {
    char *json = NULL;
    (void)user;
    dp_status status = dp_devices("/nowhere/libwebgpu.so", &json);
    dp_free(json);
    return status;
}

TEST(devices_with_short_memory) { CHECK(test_failing_allocations(list_devices, NULL) > 2); }

/* ---- buffers ---- */

TEST(buffer_round_trips) {
    if (!have_device()) return;
    static const size_t counts[] = {1, 3, 64, 4095, 4097, 1 << 18, (DP_GPU_STAGE_BYTES >> 2) + 5};
    for (size_t t = 0; t < DP_COUNT(counts); t++) {
        size_t n = counts[t];
        uint32_t *data = make_data(n, (uint32_t)t), *back = calloc(n + 2, 4);
        dp_gpu_buffer buffer;
        CHECK(data && back);
        CHECK_OK(dp_gpu_buffer_new(gpu, (n + 2) * 4, "round trip", &buffer));
        CHECK_OK(dp_gpu_write(gpu, buffer, 4, data, n * 4));
        CHECK_OK(read_all(gpu, buffer, 0, back, (n + 2) * 4));
        CHECK_MSG(count_wrong(back + 1, n, (uint32_t)t) == 0, "%zu words", n);
        CHECK_MSG(back[0] == 0 && back[n + 1] == 0, "%zu words: what was not written is not zero", n);
        dp_gpu_buffer_free(gpu, buffer);
        free(data);
        free(back);
    }
}

/* Larger than the whole ring, so that buffers are used again while others are in flight. */
TEST(staging_wraps) {
    if (!have_device()) return;
    size_t n = 24 * (1 << 20) + 12345;
    uint32_t *data = make_data(n, 9), *back = malloc(n * 4);
    dp_gpu_buffer buffer;
    CHECK(data && back);
    CHECK_OK(dp_gpu_buffer_new(gpu, n * 4, "large", &buffer));
    double start = dp_host_seconds();
    CHECK_OK(dp_gpu_write(gpu, buffer, 0, data, n * 4));
    CHECK_OK(dp_gpu_wait(gpu));
    double middle = dp_host_seconds();
    CHECK_OK(read_all(gpu, buffer, 0, back, n * 4));
    printf("  upload %.2f GB/s, readback %.2f GB/s\n", (double)n * 4e-9 / (middle - start),
           (double)n * 4e-9 / (dp_host_seconds() - middle));
    CHECK(count_wrong(back, n, 9) == 0);
    dp_gpu_buffer_free(gpu, buffer);
    free(data);
    free(back);
}

TEST(staged_pieces) {
    if (!have_device()) return;
    enum { PIECES = 40, WORDS = 250001 };
    dp_gpu_buffer buffer;
    CHECK_OK(dp_gpu_buffer_new(gpu, (uint64_t)PIECES * WORDS * 4, "pieces", &buffer));
    for (uint32_t p = 0; p < PIECES; p++) {
        void *memory;
        CHECK_OK(dp_gpu_stage(gpu, WORDS * 4, &memory));
        for (size_t i = 0; i < WORDS; i++) ((uint32_t *)memory)[i] = pattern(i, p);
        CHECK_OK(dp_gpu_stage_commit(gpu, 400, buffer, (uint64_t)p * WORDS * 4));
        CHECK_OK(dp_gpu_stage_commit(gpu, WORDS * 4 - 400, buffer, (uint64_t)p * WORDS * 4 + 400));
    }
    uint32_t *back = malloc(WORDS * 4);
    for (uint32_t p = 0; p < PIECES; p++) {
        CHECK_OK(read_all(gpu, buffer, (uint64_t)p * WORDS * 4, back, WORDS * 4));
        CHECK_MSG(count_wrong(back, WORDS, p) == 0, "piece %u", p);
    }
    free(back);
    void *memory;
    CHECK_FAILS(dp_gpu_stage_commit(gpu, 4, buffer, 0), DP_E_ARG, "of 0 that are staged");
    CHECK_FAILS(dp_gpu_stage(gpu, DP_GPU_STAGE_BYTES + 4, &memory), DP_E_ARG, "staging");
    CHECK_FAILS(dp_gpu_stage(gpu, 6, &memory), DP_E_ARG, "multiple of 4");
    dp_gpu_buffer_free(gpu, buffer);
}

TEST(bad_ranges) {
    if (!have_device()) return;
    uint32_t words[8] = {0};
    dp_gpu_buffer buffer, none = 0;
    dp_gpu_read read;
    CHECK_OK(dp_gpu_buffer_new(gpu, 16, "small", &buffer));
    CHECK_FAILS(dp_gpu_write(gpu, buffer, 4, words, 16), DP_E_ARG, "leaves a buffer of 16 bytes");
    CHECK_FAILS(dp_gpu_write(gpu, buffer, UINT64_MAX - 3, words, 8), DP_E_ARG, "leaves");
    CHECK_FAILS(dp_gpu_write(gpu, buffer, 2, words, 4), DP_E_ARG, "multiples of 4");
    CHECK_FAILS(dp_gpu_write(gpu, none, 0, words, 4), DP_E_ARG, "no buffer 0");
    CHECK_FAILS(dp_gpu_write(gpu, 1000000, 0, words, 4), DP_E_ARG, "no buffer 1000000");
    CHECK_FAILS(dp_gpu_read_begin(gpu, buffer, 8, 12, &read), DP_E_ARG, "leaves");
    CHECK_FAILS(dp_gpu_read_end(gpu, 4000, words), DP_E_ARG, "no readback");
    CHECK_FAILS(dp_gpu_buffer_new(gpu, 0, "none", &none), DP_E_ARG, "0 bytes");
    dp_gpu_buffer_free(gpu, buffer);
    CHECK_FAILS(dp_gpu_write(gpu, buffer, 0, words, 4), DP_E_ARG, "no buffer");
    dp_gpu_buffer_free(gpu, 0);
    CHECK_OK(dp_gpu_check(gpu));
}

TEST(too_large_and_out_of_memory) {
    if (!have_device()) return;
    dp_gpu_buffer buffer = 0;
    CHECK_FAILS(dp_gpu_buffer_new(gpu, UINT64_MAX, "everything", &buffer), DP_E_UNSUPPORTED, "everything");
    CHECK_FAILS(dp_gpu_buffer_new(gpu, dp_gpu_get_caps(gpu)->buffer_max + 4, "big", &buffer), DP_E_UNSUPPORTED, "big");
    dp_gpu_provoke(gpu, DP_GPU_FAULT_MEMORY, 0);
    CHECK_FAILS(dp_gpu_buffer_new(gpu, 64, "unlucky", &buffer), DP_E_MEMORY, "no room for 64 bytes (unlucky)");
    CHECK(buffer == 0);
    CHECK_OK(dp_gpu_check(gpu));
    uint32_t word = 5, back = 0;
    CHECK_OK(dp_gpu_buffer_new(gpu, 64, "lucky", &buffer));
    CHECK_OK(dp_gpu_write(gpu, buffer, 60, &word, 4));
    CHECK_OK(read_all(gpu, buffer, 60, &back, 4));
    CHECK(back == 5);
    dp_gpu_buffer_free(gpu, buffer);
}

TEST(reads_in_flight) {
    if (!have_device()) return;
    enum { READS = 24 };
    dp_gpu_buffer buffer;
    dp_gpu_read reads[READS];
    CHECK_OK(dp_gpu_buffer_new(gpu, 4, "token", &buffer));
    for (uint32_t i = 0; i < READS; i++) {
        CHECK_OK(dp_gpu_write(gpu, buffer, 0, &i, 4));
        CHECK_OK(dp_gpu_read_begin(gpu, buffer, 0, 4, &reads[i]));
    }
    for (uint32_t i = READS; i-- > 0;) {
        uint32_t word = 999;
        CHECK_OK(dp_gpu_read_end(gpu, reads[i], &word));
        CHECK_MSG(word == i, "read %u gave %u", i, word);
    }
    uint32_t word;
    CHECK_FAILS(dp_gpu_read_end(gpu, reads[0], &word), DP_E_ARG, "no readback");
    dp_gpu_buffer_free(gpu, buffer);
}

/* ---- pipelines ---- */

/* out[i] = in[i] * factor + offset for i < params.count */
static const char scale_wgsl[] =
    "override factor: u32 = 2u;\n"
    "struct Params { count: u32, offset: u32 }\n"
    "@group(0) @binding(0) var<storage, read> input: array<u32>;\n"
    "@group(0) @binding(1) var<storage, read_write> output: array<u32>;\n"
    "@group(0) @binding(2) var<uniform> params: Params;\n"
    "@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {\n"
    "    if (id.x < params.count) { output[id.x] = input[id.x] * factor + params.offset; }\n"
    "}\n";

static dp_status scale_pipeline(dp_gpu *g, double factor, dp_gpu_pipeline *out) {
    dp_gpu_pipeline_desc desc = {.label = "scale", .wgsl = scale_wgsl, .entry = "main", .bindings = "rwp",
                                 .constants = {{"factor", factor}}, .constant_count = 1};
    return dp_gpu_pipeline_new(g, &desc, out);
}

typedef struct slot {
    uint32_t count, offset, rest[DP_GPU_PARAM_BYTES / 4 - 2];
} slot;

enum { STEPS = 30, VALUES = 1000 };

/* a -> b -> a -> b ...: each step sees what the one before it wrote. */
typedef struct chain {
    dp_gpu_buffer buffers[2];
    dp_gpu_pipeline pipeline;
    dp_gpu_bindings bindings[2];
    dp_gpu_dispatch dispatches[STEPS];
} chain;

static dp_status chain_open(dp_gpu *g, chain *c, uint32_t first_slot) {
    slot slots[STEPS] = {{0}};
    for (size_t i = 0; i < 2; i++) TRY(dp_gpu_buffer_new(g, VALUES * 4, "chain", &c->buffers[i]));
    TRY(scale_pipeline(g, 3, &c->pipeline));
    for (size_t i = 0; i < 2; i++) {
        dp_gpu_range ranges[2] = {{.buffer = c->buffers[i]}, {.buffer = c->buffers[1 - i]}};
        TRY(dp_gpu_bindings_new(g, c->pipeline, ranges, 2, &c->bindings[i]));
    }
    for (uint32_t i = 0; i < STEPS; i++) {
        slots[i] = (slot){.count = VALUES, .offset = i};
        c->dispatches[i] =
            (dp_gpu_dispatch){c->pipeline, c->bindings[i % 2], first_slot + i, {(VALUES + 63) / 64, 1, 1}};
    }
    return dp_gpu_params(g, first_slot, STEPS, slots);
}

static void chain_close(dp_gpu *g, chain *c) {
    for (size_t i = 0; i < 2; i++) dp_gpu_bindings_free(g, c->bindings[i]);
    dp_gpu_pipeline_free(g, c->pipeline);
    for (size_t i = 0; i < 2; i++) dp_gpu_buffer_free(g, c->buffers[i]);
}

static size_t chain_wrong(const uint32_t *values) {
    size_t wrong = 0;
    for (uint32_t i = 0; i < VALUES; i++) {
        uint32_t x = pattern(i, 1);
        for (uint32_t s = 0; s < STEPS; s++) x = x * 3 + s;
        wrong += values[i] != x;
    }
    return wrong;
}

static dp_status chain_check(dp_gpu *g, uint32_t first_slot, size_t *wrong) {
    chain c = {0};
    uint32_t *data = make_data(VALUES, 1);
    dp_status status = chain_open(g, &c, first_slot);
    if (status == DP_OK) status = dp_gpu_write(g, c.buffers[0], 0, data, VALUES * 4);
    if (status == DP_OK) status = dp_gpu_submit(g, c.dispatches, STEPS);
    if (status == DP_OK) status = read_all(g, c.buffers[STEPS % 2], 0, data, VALUES * 4);
    *wrong = chain_wrong(data);
    chain_close(g, &c);
    free(data);
    return status;
}

TEST(dispatches_in_order) {
    if (!have_device()) return;
    size_t wrong = 1;
    CHECK_OK(chain_check(gpu, 0, &wrong));
    CHECK(wrong == 0);
    CHECK_OK(chain_check(gpu, DP_GPU_PARAM_SLOTS - STEPS, &wrong));
    CHECK(wrong == 0);
    CHECK_OK(dp_gpu_check(gpu));
}

TEST(unchecked_device) {
    if (!have_device()) return;
    dp_gpu_desc desc = {.adapter = -1, .unchecked = true};
    dp_gpu *fast;
    size_t wrong = 1;
    CHECK_OK(dp_gpu_open(&desc, &fast));
    dp_status status = chain_check(fast, 7, &wrong);
    dp_gpu_pipeline_desc broken = {.label = "broken", .wgsl = "fn main( {", .entry = "main", .bindings = ""};
    dp_gpu_pipeline pipeline;
    dp_status compiled = dp_gpu_pipeline_new(fast, &broken, &pipeline);
    dp_gpu_close(fast);
    CHECK(status == DP_OK && wrong == 0);
    CHECK_FAILS(compiled, DP_E_DEVICE, "broken:1:");
}

TEST(timestamps) {
    if (!have_device()) return;
    uint64_t times[STEPS];
    chain c = {0};
    CHECK_OK(chain_open(gpu, &c, 100));
    uint32_t *data = make_data(VALUES, 1);
    CHECK_OK(dp_gpu_write(gpu, c.buffers[0], 0, data, VALUES * 4));
    memset(times, 0xFF, sizeof times);
    if (!dp_gpu_get_caps(gpu)->timestamps) {
        CHECK_FAILS(dp_gpu_submit_timed(gpu, c.dispatches, STEPS, times), DP_E_UNSUPPORTED, "timestamps");
    } else {
        CHECK_OK(dp_gpu_submit_timed(gpu, c.dispatches, STEPS, times));
        CHECK_OK(read_all(gpu, c.buffers[STEPS % 2], 0, data, VALUES * 4));
        CHECK(chain_wrong(data) == 0);
        uint64_t sum = 0;
        for (size_t i = 0; i < STEPS; i++) {
            CHECK_MSG(times[i] < 10000000000u, "dispatch %zu: %llu ns", i, (unsigned long long)times[i]);
            sum += times[i];
        }
        CHECK(sum > 0);
        printf("  %.1f us per timed dispatch\n", (double)sum / STEPS / 1000);
    }
    free(data);
    chain_close(gpu, &c);
}

/* Not a test of speed: what a dispatch costs is worth knowing on every device that the tests run on. */
TEST(dispatch_cost) {
    if (!have_device()) return;
    enum { MANY = 2000 };
    chain c = {0};
    dp_gpu_dispatch *many = calloc(MANY, sizeof *many);
    CHECK_OK(chain_open(gpu, &c, 0));
    for (size_t i = 0; i < MANY; i++) many[i] = c.dispatches[i % STEPS];
    size_t count = dp_gpu_get_caps(gpu)->software ? 200 : MANY;
    CHECK_OK(dp_gpu_submit(gpu, many, count));
    CHECK_OK(dp_gpu_wait(gpu));
    double start = dp_host_seconds();
    CHECK_OK(dp_gpu_submit(gpu, many, count));
    double encoded = dp_host_seconds();
    CHECK_OK(dp_gpu_wait(gpu));
    double done = dp_host_seconds();
    printf("  %.2f us per dispatch, %.2f us of them to encode\n", (done - start) * 1e6 / (double)count,
           (encoded - start) * 1e6 / (double)count);
    start = dp_host_seconds();
    uint32_t word;
    for (int i = 0; i < 100; i++) {
        CHECK_OK(dp_gpu_submit(gpu, many, 1));
        CHECK_OK(read_all(gpu, c.buffers[0], 0, &word, 4));
    }
    printf("  %.1f us to submit one dispatch and read 4 bytes\n", (dp_host_seconds() - start) * 1e4);
    free(many);
    chain_close(gpu, &c);
}

TEST(bad_shaders) {
    if (!have_device()) return;
    dp_gpu_pipeline pipeline = 0;
    dp_gpu_pipeline_desc desc = {.label = "faulty", .entry = "main", .bindings = "w"};
    desc.wgsl = "@compute @workgroup_size(1) fn main() {\n  let x = missing_name;\n}";
    CHECK_FAILS(dp_gpu_pipeline_new(gpu, &desc, &pipeline), DP_E_DEVICE, "faulty:2:11: ");
    CHECK(strstr(dp_error_message(), "missing_name"));
    desc.wgsl = "@compute @workgroup_size(1) fn other() {}";
    CHECK_FAILS(dp_gpu_pipeline_new(gpu, &desc, &pipeline), DP_E_DEVICE, "main");
    desc.wgsl = "@group(0) @binding(3) var<storage, read_write> x: array<u32>;\n"
                "@compute @workgroup_size(1) fn main() { x[0] = 1u; }";
    CHECK_FAILS(dp_gpu_pipeline_new(gpu, &desc, &pipeline), DP_E_DEVICE, "faulty");
    desc.wgsl = "var<workgroup> big: array<u32, 4000000>;\n"
                "@compute @workgroup_size(1) fn main() { big[0] = 1u; }";
    CHECK_FAILS(dp_gpu_pipeline_new(gpu, &desc, &pipeline), DP_E_DEVICE, "faulty");
    desc.wgsl = "@compute @workgroup_size(1) fn main() {}";
    desc.bindings = "rpw";
    CHECK_FAILS(dp_gpu_pipeline_new(gpu, &desc, &pipeline), DP_E_ARG, "\"rpw\"");
    desc.bindings = "rrrrrrrrrrrrrrrrrrrrp";
    CHECK_FAILS(dp_gpu_pipeline_new(gpu, &desc, &pipeline), DP_E_ARG, "20 bindings");
    CHECK(pipeline == 0);
    CHECK_OK(dp_gpu_check(gpu));
}

TEST(bad_bindings_and_dispatches) {
    if (!have_device()) return;
    chain c = {0};
    dp_gpu_bindings bindings;
    CHECK_OK(chain_open(gpu, &c, 0));
    dp_gpu_range ranges[3] = {{.buffer = c.buffers[0]}, {.buffer = c.buffers[1]}};
    CHECK_FAILS(dp_gpu_bindings_new(gpu, c.pipeline, ranges, 1, &bindings), DP_E_ARG, "1 ranges");
    CHECK_FAILS(dp_gpu_bindings_new(gpu, 999, ranges, 2, &bindings), DP_E_ARG, "no pipeline 999");
    ranges[0].offset = VALUES * 4;
    CHECK_FAILS(dp_gpu_bindings_new(gpu, c.pipeline, ranges, 2, &bindings), DP_E_ARG, "binding 0: range 4000");
    ranges[0] = (dp_gpu_range){c.buffers[0], 0, VALUES * 4 + 4};
    CHECK_FAILS(dp_gpu_bindings_new(gpu, c.pipeline, ranges, 2, &bindings), DP_E_ARG, "binding 0");
    ranges[0] = (dp_gpu_range){c.buffers[0], 1, 0};
    CHECK_FAILS(dp_gpu_bindings_new(gpu, c.pipeline, ranges, 2, &bindings), DP_E_ARG, "multiples of");
    dp_gpu_dispatch d = c.dispatches[0];
    d.grid[1] = 1 << 30;
    CHECK_FAILS(dp_gpu_submit(gpu, &d, 1), DP_E_UNSUPPORTED, "dispatch 0: 1073741824 workgroups");
    d = c.dispatches[0];
    d.params = DP_GPU_PARAM_SLOTS;
    CHECK_FAILS(dp_gpu_submit(gpu, &d, 1), DP_E_ARG, "parameter slot");
    d = c.dispatches[0];
    d.bindings = 12345;
    CHECK_FAILS(dp_gpu_submit(gpu, &d, 1), DP_E_ARG, "no bindings 12345");
    slot s = {0};
    CHECK_FAILS(dp_gpu_params(gpu, DP_GPU_PARAM_SLOTS, 1, &s), DP_E_ARG, "parameter slots");
    CHECK_OK(dp_gpu_check(gpu));
    chain_close(gpu, &c);
}

/* What the checks of this interface do not see, the device does, and it stays usable. */
TEST(errors_of_the_device) {
    if (!have_device()) return;
    chain c = {0};
    CHECK_OK(chain_open(gpu, &c, 0));
    dp_gpu_buffer_free(gpu, c.buffers[0]); /* still bound */
    dp_status status = dp_gpu_submit(gpu, c.dispatches, 1);
    if (status == DP_OK) status = dp_gpu_check(gpu);
    CHECK_FAILS(status, DP_E_DEVICE, "reports");
    chain_close(gpu, &c);
    size_t wrong = 1;
    CHECK_OK(chain_check(gpu, 0, &wrong));
    CHECK(wrong == 0);
}

/* ---- loss, memory ---- */

TEST(device_lost) {
    if (!have_device()) return;
    dp_gpu *doomed;
    chain c = {0};
    uint32_t word = 0;
    dp_gpu_read read;
    dp_gpu_buffer buffer;
    void *memory;
    CHECK_OK(dp_gpu_open(&best, &doomed));
    CHECK_OK(chain_open(doomed, &c, 0));
    CHECK_OK(dp_gpu_submit(doomed, c.dispatches, STEPS));
    CHECK_OK(dp_gpu_read_begin(doomed, c.buffers[0], 0, 4, &read));
    CHECK_OK(dp_gpu_stage(doomed, 4, &memory));
    CHECK_OK(dp_gpu_stage_commit(doomed, 4, c.buffers[0], 0));
    dp_gpu_provoke(doomed, DP_GPU_FAULT_LOST, 0);
    double start = dp_host_seconds();
    CHECK_FAILS(dp_gpu_check(doomed), DP_E_DEVICE, "was lost");
    CHECK_FAILS(dp_gpu_check(doomed), DP_E_DEVICE, "was lost");
    CHECK_FAILS(dp_gpu_read_end(doomed, read, &word), DP_E_DEVICE, "was lost");
    CHECK_FAILS(dp_gpu_submit(doomed, c.dispatches, STEPS), DP_E_DEVICE, "was lost");
    CHECK_FAILS(dp_gpu_wait(doomed), DP_E_DEVICE, "was lost");
    CHECK_FAILS(dp_gpu_write(doomed, c.buffers[0], 0, &word, 4), DP_E_DEVICE, "was lost");
    CHECK_FAILS(dp_gpu_stage(doomed, 4, &memory), DP_E_DEVICE, "was lost");
    CHECK_FAILS(dp_gpu_read_begin(doomed, c.buffers[0], 0, 4, &read), DP_E_DEVICE, "was lost");
    CHECK_FAILS(dp_gpu_buffer_new(doomed, 64, "late", &buffer), DP_E_DEVICE, "was lost");
    CHECK_FAILS(dp_gpu_params(doomed, 0, 1, &(slot){0}), DP_E_DEVICE, "was lost");
    chain_close(doomed, &c);
    dp_gpu_close(doomed);
    CHECK_MSG(dp_host_seconds() - start < 10, "took %.1f s", dp_host_seconds() - start);
    size_t wrong = 1; /* another device is not touched, and a new one can be opened */
    CHECK_OK(chain_check(gpu, 0, &wrong));
    CHECK_OK(dp_gpu_open(&best, &doomed));
    dp_gpu_close(doomed);
}

static dp_status whole_life(void *user) {
    dp_gpu *g = NULL;
    size_t *wrong = user;
    dp_status status = dp_gpu_open(&best, &g);
    if (status == DP_OK) status = chain_check(g, 0, wrong);
    dp_gpu_close(g);
    return status;
}

TEST(short_host_memory) {
    if (!have_device()) return;
    size_t wrong = 1;
    CHECK(test_failing_allocations(whole_life, &wrong) > 5);
    CHECK(wrong == 0);
}

/* Last: the shared device goes, whole. */
TEST(shared_device_closes) {
    if (!have_device()) return;
    CHECK_OK(dp_gpu_wait(gpu));
    dp_gpu_close(gpu);
    gpu = NULL;
    dp_gpu_close(NULL);
}

TEST_MAIN()
