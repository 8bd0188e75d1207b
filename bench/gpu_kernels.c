/* gpu_kernels.c: speed of the GPU's products of one token by shape, without a model: chains of dependent dispatches over
 * matrices that together exceed the caches, untimed passes, wall clock. `gpu_kernels dtype rows cols [kernel]`; without
 * arguments what a dispatch costs; with three, `heads kv_heads columns`, attention. kernel: store, add, act. Prints microseconds a dispatch and bytes of weights per second
 * for each shape of workgroup. Results are checked by tests/ops. */
#include <stdio.h>
#include <stdlib.h>

#include "gpu/kernels.h"
#include "gpu/repack.h"
#include "host/host.h"

enum { CHAIN = 400, COPIES_MOST = 64, SPAN = 400 << 20, SLOTS = 64 };

static dp_gpu *gpu;
static dp_kernels *kernels;

static void check(dp_status status) {
    if (status == DP_OK) return;
    fprintf(stderr, "gpu_kernels: %s\n", dp_error_message());
    exit(1);
}

static dp_gpu_buffer buffer(uint64_t size) {
    dp_gpu_buffer out;
    check(dp_gpu_buffer_new(gpu, size, "bench", &out));
    return out;
}

static void fill(dp_gpu_buffer to, uint64_t size, uint32_t mask) {
    enum { PIECE = 1 << 20 };
    static uint32_t words[PIECE / 4];
    static uint32_t state = 1;
    for (size_t i = 0; i < PIECE / 4; i++) words[i] = (state = state * 1664525u + 1013904223u) & mask;
    for (uint64_t at = 0; at < size; at += PIECE) check(dp_gpu_write(gpu, to, at, words, (size_t)DP_MIN((uint64_t)PIECE, size - at)));
}

/* Microseconds a dispatch, of the fastest of a few submits of the chain: the host's, until the submit is made, and what is
 * left of the whole: the device begins then. */
typedef struct cost {
    double host, device;
} cost;

static cost measure(const dp_gpu_dispatch *chain, size_t count) {
    double host = 1e9, all = 1e9;
    for (int i = 0; i < 6; i++) {
        check(dp_gpu_wait(gpu));
        double start = dp_host_seconds();
        check(dp_gpu_submit(gpu, chain, count));
        double middle = dp_host_seconds();
        check(dp_gpu_wait(gpu));
        double end = dp_host_seconds();
        host = DP_MIN(host, (middle - start) * 1e6 / (double)count);
        all = DP_MIN(all, (end - start) * 1e6 / (double)count);
    }
    return (cost){host, all - host};
}

/* ---- what a dispatch costs ---- */

static cost chain_of(const char *wgsl, const char *bindings, size_t buffers, size_t pipelines, uint32_t groups, bool dependent) {
    dp_gpu_dispatch chain[CHAIN];
    dp_gpu_pipeline made[2];
    dp_gpu_buffer own[CHAIN + 8];
    for (size_t i = 0; i < pipelines; i++) {
        dp_gpu_pipeline_desc desc = {.label = "empty", .wgsl = wgsl, .entry = "main", .bindings = bindings};
        check(dp_gpu_pipeline_new(gpu, &desc, &made[i]));
    }
    for (size_t i = 0; i < CHAIN + 8; i++) own[i] = buffer(65536);
    for (size_t i = 0; i < CHAIN; i++) {
        dp_gpu_range ranges[8];
        for (size_t b = 0; b < buffers; b++) ranges[b] = (dp_gpu_range){own[dependent ? b : i + b / 2], 0, 0};
        if (!dependent) ranges[buffers - 1].buffer = own[i];
        chain[i] = (dp_gpu_dispatch){.pipeline = made[i % pipelines], .params = (uint32_t)(i % SLOTS), .grid = {groups, 1, 1}};
        check(dp_gpu_bindings_new(gpu, chain[i].pipeline, ranges, buffers, &chain[i].bindings));
    }
    cost result = measure(chain, CHAIN);
    for (size_t i = 0; i < CHAIN; i++) dp_gpu_bindings_free(gpu, chain[i].bindings);
    for (size_t i = 0; i < CHAIN + 8; i++) dp_gpu_buffer_free(gpu, own[i]);
    return result;
}

static void dispatch_costs(void) {
    static const char one[] = "struct P { n: u32 } @group(0) @binding(0) var<storage, read_write> a: array<u32>;\n"
                              "@group(0) @binding(1) var<uniform> p: P;\n"
                              "@compute @workgroup_size(128) fn main(@builtin(global_invocation_id) id: vec3u) { a[id.x % 4096u] = id.x + p.n; }\n";
    static const char many[] = "struct P { n: u32 } @group(0) @binding(0) var<storage, read> r0: array<u32>; @group(0) @binding(1) var<storage, read> r1: array<u32>;\n"
                               "@group(0) @binding(2) var<storage, read> r2: array<u32>; @group(0) @binding(3) var<storage, read> r3: array<u32>;\n"
                               "@group(0) @binding(4) var<storage, read_write> a: array<u32>; @group(0) @binding(5) var<uniform> p: P;\n"
                               "@compute @workgroup_size(128) fn main(@builtin(global_invocation_id) id: vec3u) {\n"
                               "  a[id.x % 4096u] = r0[id.x % 64u] + r1[id.x % 64u] + r2[id.x % 64u] + r3[id.x % 64u] + p.n; }\n";
    for (uint32_t groups = 1; groups <= 1024; groups *= 32) {
        cost a = chain_of(one, "wp", 1, 1, groups, true), b = chain_of(one, "wp", 1, 1, groups, false), c = chain_of(many, "rrrrwp", 5, 1, groups, true),
             d = chain_of(many, "rrrrwp", 5, 2, groups, true), e = chain_of(many, "rrrrwp", 5, 1, groups, false);
        printf("groups %4u, us of host + device: one binding %.2f + %.2f, independent %.2f + %.2f; five %.2f + %.2f, pipelines in turn %.2f + %.2f, independent %.2f + %.2f\n",
               groups, a.host, a.device, b.host, b.device, c.host, c.device, d.host, d.device, e.host, e.device);
    }
}

/* ---- products ---- */

typedef struct product {
    dp_kernel kernel;
    dp_dtype dtype;
    uint32_t rows, cols;
    size_t copies;
    dp_gpu_buffer quants[COPIES_MOST], scales[COPIES_MOST], x, bias, gain, dst[2], packed[2];
    uint64_t bytes;
} product;

static void make(product *p) {
    dp_repack_size size = dp_repack_bytes(p->dtype, (size_t)p->rows * p->cols);
    p->bytes = size.quants + size.scales;
    p->copies = DP_MIN(DP_MAX((size_t)(SPAN / p->bytes), (size_t)2), (size_t)COPIES_MOST);
    for (size_t i = 0; i < p->copies; i++) {
        fill(p->quants[i] = buffer(size.quants), size.quants, 0xffffffffu);
        fill(p->scales[i] = buffer(size.scales), size.scales, 0x2bff2bffu); /* finite halves */
    }
    p->x = buffer((uint64_t)p->cols / 16 * 28);
    fill(p->x, (uint64_t)p->cols / 16 * 28, 0x3fffffffu);
    p->bias = buffer((uint64_t)p->rows * 4);
    p->gain = buffer((uint64_t)p->rows * 4);
    for (size_t i = 0; i < 2; i++) {
        p->dst[i] = buffer((uint64_t)p->rows * 4);
        p->packed[i] = buffer((uint64_t)p->rows * 2 + 256);
    }
}

/* Every dispatch writes what the next but one writes again, so that each waits for the one before it. */
static size_t ranges_of(const product *p, size_t i, dp_gpu_range *out) {
    size_t a = i % p->copies, b = (i + 1) % p->copies;
    if (p->kernel == DP_KERNEL_DOT_STORE) {
        memcpy(out, (dp_gpu_range[]){{p->quants[a], 0, 0}, {p->scales[a], 0, 0}, {p->x, 0, 0}, {p->bias, 0, 0}, {p->dst[0], 0, 0}}, 5 * sizeof *out);
        return 5;
    }
    if (p->kernel == DP_KERNEL_DOT_ADD) {
        memcpy(out, (dp_gpu_range[]){{p->quants[a], 0, 0}, {p->scales[a], 0, 0}, {p->x, 0, 0}, {p->bias, 0, 0}, {p->dst[0], 0, 0}, {p->gain, 0, 0}, {p->packed[0], 0, 0}, {p->gain, 0, 0}}, 8 * sizeof *out);
        return 8;
    }
    memcpy(out, (dp_gpu_range[]){{p->quants[a], 0, 0}, {p->scales[a], 0, 0}, {p->quants[b], 0, 0}, {p->scales[b], 0, 0}, {p->x, 0, 0}, {p->packed[0], 0, 0}}, 6 * sizeof *out);
    return 6;
}

static void bench(const product *p, uint32_t lanes, uint32_t each, uint32_t threads) {
    dp_gpu_dispatch chain[CHAIN];
    uint32_t units = p->cols / 64, tile = threads / lanes * each;
    dp_kernel_variant v = {.kernel = p->kernel, .dtype = p->dtype};
    const uint32_t constants[] = {lanes, each, threads, units, (units + lanes - 1) / lanes, p->cols / 16, 1, 0, p->kernel != DP_KERNEL_DOT_STORE, 1};
    memcpy(v.constants, constants, sizeof constants);
    v.constants[DP_DOT_SECOND] = p->dtype;
    v.constants[DP_DOT_MATRIX0] = p->rows;
    v.constants[DP_DOT_FETCH] = p->dtype == DP_Q8_0 ? 1 : 2; /* as plans do (gpu_decode_dot.c) */
    dp_gpu_pipeline pipeline;
    check(dp_kernels_get(kernels, &v, &pipeline));
    uint32_t params[16] = {0};
    check(dp_gpu_params(gpu, 0, 1, params));
    for (size_t i = 0; i < CHAIN; i++) {
        dp_gpu_range ranges[8];
        size_t n = ranges_of(p, i, ranges);
        chain[i] = (dp_gpu_dispatch){.pipeline = pipeline, .grid = {(p->rows + tile - 1) / tile, 1, 1}};
        check(dp_gpu_bindings_new(gpu, pipeline, ranges, n, &chain[i].bindings));
    }
    cost us = measure(chain, CHAIN);
    double bytes = (double)p->bytes * (p->kernel == DP_KERNEL_DOT_ACT ? 2 : 1);
    printf("  lanes %2u rows %u threads %3u: %7.2f us  %.2f TB/s  (host %.2f)\n", lanes, each, threads, us.device, bytes / us.device * 1e-6, us.host);
    for (size_t i = 0; i < CHAIN; i++) dp_gpu_bindings_free(gpu, chain[i].bindings);
}

/* ---- attention ---- */

static void attend(uint32_t heads, uint32_t kv_heads, uint32_t dim, uint32_t position, uint32_t together, uint32_t keys, uint32_t subgroup, uint32_t splits) {
    dp_gpu_dispatch chain[CHAIN];
    uint32_t capacity = position + 64, copies = 0;
    uint64_t bytes = (uint64_t)kv_heads * dim * capacity * 4;
    dp_gpu_buffer caches[COPIES_MOST], step = buffer(16), q = buffer((uint64_t)heads * dim * 4), vectors = buffer(65536), dst = buffer((uint64_t)heads * (dim + 2) * splits * 4);
    for (; copies < COPIES_MOST && (copies < 2 || copies * bytes < SPAN); copies++) fill(caches[copies] = buffer(bytes), bytes, 0x3bff3bffu);
    fill(q, (uint64_t)heads * dim * 4, 0x3fffffffu);
    check(dp_gpu_write(gpu, step, 0, (uint32_t[]){position, 1, 1, capacity}, 16));
    dp_kernel_variant v = {DP_KERNEL_ATTENTION_DECODE, DP_F32, {0, splits, splits == 1, 0, 0, 0, dim, dim, together, keys, subgroup, keys / 32, (dim + 63) / 64, (dim + 63) / 64}};
    dp_gpu_pipeline pipeline;
    check(dp_kernels_get(kernels, &v, &pipeline));
    float scale = 0.1f;
    uint32_t params[16] = {heads, kv_heads, capacity, 0, 0, 0, dim, 0, 0, 0, 0, 0, 0};
    memcpy(params + 4, &scale, 4);
    check(dp_gpu_params(gpu, 0, 1, params));
    for (size_t i = 0; i < CHAIN; i++) {
        dp_gpu_range ranges[] = {{step, 0, 0}, {q, 0, 0}, {q, 0, 0}, {q, 0, 0}, {caches[i % copies], 0, 0}, {vectors, 0, 0}, {dst, 0, 0}};
        chain[i] = (dp_gpu_dispatch){.pipeline = pipeline, .grid = {splits, heads / together, 1}};
        check(dp_gpu_bindings_new(gpu, pipeline, ranges, 7, &chain[i].bindings));
    }
    cost us = measure(chain, CHAIN);
    printf("  attention %u/%u x %u at %5u: together %u keys %3u subgroup %2u splits %3u: %7.2f us  %.2f TB/s  (host %.2f)\n", heads, kv_heads, dim, position, together, keys,
           subgroup, splits, us.device, (double)kv_heads * dim * position * 4 / us.device * 1e-6, us.host);
    for (size_t i = 0; i < CHAIN; i++) dp_gpu_bindings_free(gpu, chain[i].bindings);
    for (size_t i = 0; i < copies; i++) dp_gpu_buffer_free(gpu, caches[i]);
}

static void attentions(uint32_t heads, uint32_t kv_heads, uint32_t dim) {
    const dp_gpu_caps *caps = dp_gpu_get_caps(gpu);
    uint32_t subgroup = caps->subgroups && caps->subgroup_min == caps->subgroup_max ? caps->subgroup_max : 0;
    for (uint32_t position = 128; position <= 512; position *= 2)
        for (uint32_t keys = 64; keys <= 128; keys *= 2) {
            attend(heads, kv_heads, dim, position, 1, keys, 0, 1);
            if (subgroup) attend(heads, kv_heads, dim, position, 1, keys, subgroup, 1);
        }
    for (uint32_t position = 512; position <= 32768; position *= 4)
        for (uint32_t together = 1; together <= heads / kv_heads && together <= 4; together *= 2)
            for (uint32_t splits = 16; splits <= 128; splits *= 2) {
                if (splits * heads / together > 2048 || splits * heads / together < 200) continue;
                if (together == 1) attend(heads, kv_heads, dim, position, together, 128, 0, splits);
                for (uint32_t keys = 32; subgroup && keys <= 128; keys *= 2) attend(heads, kv_heads, dim, position, together, keys, subgroup, splits);
            }
}

int main(int argc, char **argv) {
    check(dp_gpu_open(&(dp_gpu_desc){.adapter = -1, .unchecked = true}, &gpu));
    check(dp_kernels_new(gpu, &kernels));
    if (argc < 4) dispatch_costs();
    if (argc == 4) attentions((uint32_t)atoi(argv[1]), (uint32_t)atoi(argv[2]), (uint32_t)atoi(argv[3]));
    for (int a = 1; a + 3 < argc; a += 4) {
        product p = {.rows = (uint32_t)atoi(argv[a + 1]), .cols = (uint32_t)atoi(argv[a + 2]), .dtype = DP_DTYPE_COUNT};
        for (int d = 0; d < DP_DTYPE_COUNT; d++)
            if (strcmp(dp_dtype_get((dp_dtype)d)->name, argv[a]) == 0) p.dtype = (dp_dtype)d;
        p.kernel = strcmp(argv[a + 3], "add") == 0 ? DP_KERNEL_DOT_ADD : strcmp(argv[a + 3], "act") == 0 ? DP_KERNEL_DOT_ACT : DP_KERNEL_DOT_STORE;
        if (p.dtype == DP_DTYPE_COUNT || !dp_kernels_dots(p.dtype)) return fprintf(stderr, "no dtype %s\n", argv[a]), 2;
        make(&p);
        printf("%s [%u][%u] %s, %.1f MB\n", argv[a], p.rows, p.cols, argv[a + 3], (double)p.bytes * (p.kernel == DP_KERNEL_DOT_ACT ? 2e-6 : 1e-6));
        for (uint32_t lanes = 8; lanes <= 32; lanes *= 2)
            for (uint32_t each = 1; each <= 4; each *= 2)
                for (uint32_t threads = 64; threads <= 512; threads *= 2) {
                    uint32_t tile = threads / lanes * each;
                    if ((p.cols / 64) % lanes * 4 > 0 && lanes == 32 && p.cols / 64 < 16) continue;
                    if (p.kernel != DP_KERNEL_DOT_STORE && tile != 16 && tile != 32) continue;
                    if (p.kernel == DP_KERNEL_DOT_STORE && threads > 256) continue;
                    if (lanes == 8 && p.cols / 64 % 32 == 0) continue;
                    if (p.rows % tile) continue;
                    bench(&p, lanes, each, threads);
                }
        for (size_t i = 0; i < p.copies; i++) {
            dp_gpu_buffer_free(gpu, p.quants[i]);
            dp_gpu_buffer_free(gpu, p.scales[i]);
        }
    }
    dp_kernels_free(kernels);
    dp_gpu_close(gpu);
    return 0;
}
