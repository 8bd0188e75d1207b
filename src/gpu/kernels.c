/* kernels.c: the table of kernels, and the pipelines made so far. */
#include "gpu/kernels.h"

#include "base/buf.h"

typedef struct kernel_entry {
    const char *name, *bindings;
    const char *constants[DP_KERNEL_CONSTANTS];
    bool weighted; /* a format_*.wgsl goes in front, or a dot_*.wgsl if `packed` */
    bool packed;   /* pack.wgsl goes in front */
    bool act;      /* act.wgsl goes in front */
    bool sample;   /* sample.wgsl and sample_bins.wgsl go in front */
    bool matrix;   /* for the matrix units: a halves*.wgsl follows the format */
    bool sized;    /* its constants are part of the source, since array sizes depend on them */
} kernel_entry;

static const kernel_entry entries[DP_KERNEL_COUNT] = {
    [DP_KERNEL_ELEMENTWISE] = {"elementwise", "rrrwp", {"KIND", "IN_PLACE", "OUTPUTS"}, .act = true},
    [DP_KERNEL_NORM] = {"norm", "rrrrwp", {"LAYER", "BIAS", "IN_PLACE"}, .weighted = false},
    [DP_KERNEL_ROPE] = {"rope", "rrrwp", {"PAIRS", "IN_PLACE"}, .weighted = false},
    [DP_KERNEL_ROWS] = {"rows", "rrrwp", {"MODE"}, .weighted = false},
    [DP_KERNEL_KV_WRITE] = {"kv_write", "rrrwp", {"EXACT"}, .weighted = false},
    [DP_KERNEL_ATTENTION] = {"attention", "rrrrwp", {"SINKS", "SPLITS", "EXACT"}, .weighted = false},
    [DP_KERNEL_ATTENTION_MERGE] = {"attention_merge", "rrwp", {"SINKS", "SPLITS"}, .weighted = false},
    [DP_KERNEL_ROUTE] = {"route", "rrwwp", {"KIND", "CORRECTION"}, .weighted = false},
    [DP_KERNEL_ATTENTION_DECODE] = {"attention_decode", "rrrrwrrwp", {"SINKS", "SPLITS", "PACK", "PAIRS"}, .packed = true},
    [DP_KERNEL_PACK_ROW] = {"pack_row", "rwp", {0}, .packed = true},
    [DP_KERNEL_NORM_PACK] = {"norm_pack", "rrwwp", {0}, .packed = true},
    [DP_KERNEL_GROUP] = {"group", "rrwp", {0}, .weighted = false},
    [DP_KERNEL_ATTENTION_TILED] = {"attention_tiled", "rrrrwp", {"SINKS", "LANES", "GROUPS", "EXACT"}, .sized = true},
    [DP_KERNEL_SAMPLE_TOP] = {"sample_top", "rrrwwwp", {0}, .sample = true},
    [DP_KERNEL_SAMPLE_WEIGH] = {"sample_weigh", "rrwp", {0}, .sample = true},
    [DP_KERNEL_SAMPLE_KEEP] = {"sample_keep", "rrwwp", {0}, .sample = true},
    [DP_KERNEL_SAMPLE_PICK] = {"sample_pick", "wrrwwwp", {0}, .sample = true},
    [DP_KERNEL_EMBED] = {"embed", "rrrwp", {0}, .weighted = true},
    [DP_KERNEL_MATVEC] = {"matvec", "rrrrrwp", {"LANES", "BIAS", "IDS"}, .weighted = true},
    [DP_KERNEL_MATMUL] = {"matmul", "rrrrrwp", {"BIAS", "OUTPUTS"}, .weighted = true},
    [DP_KERNEL_MATVEC_DOT] = {"matvec_dot", "rrrrwrrwp", {"LANES", "ROWS", "MODE", "BIAS", "ACT"}, .weighted = true, .packed = true, .act = true},
    [DP_KERNEL_HEAD_TRANSPOSED] = {"head_transposed", "rrrwp", {0}, .weighted = true},
    [DP_KERNEL_PACK_F16] = {"pack_f16", "rrrwwp", {0}, .weighted = true, .matrix = true},
    [DP_KERNEL_MATMUL_MATRIX] = {"matmul_matrix", "rrrrrrwp", {"BIAS", "OUTPUTS", "GROUPED", "SIDE_T", "SIDE_N", "FRAG_T"}, .weighted = true, .matrix = true, .sized = true},
};

static const char *const formats[DP_DTYPE_COUNT] = {
    [DP_F32] = "format_f32",   [DP_F16] = "format_f16",   [DP_BF16] = "format_bf16", [DP_Q4_0] = "format_q4_0",
    [DP_Q4_1] = "format_q4_1", [DP_Q5_0] = "format_q5_0", [DP_Q5_1] = "format_q5_1", [DP_Q8_0] = "format_q8_0",
    [DP_Q2_K] = "format_q2_k", [DP_Q3_K] = "format_q3_k", [DP_Q4_K] = "format_q4_k", [DP_Q5_K] = "format_q5_k",
    [DP_Q6_K] = "format_q6_k", [DP_MXFP4] = "format_mxfp4",
};

/* What reads a matrix against packed activations. */
static const char *const dots[DP_DTYPE_COUNT] = {[DP_Q4_K] = "dot_q4_k", [DP_Q6_K] = "dot_q6_k"};

/* How a matrix becomes f16 for the matrix units, where there is a shorter way than halves.wgsl. */
static const char *const halves[DP_DTYPE_COUNT] = {[DP_Q4_K] = "halves_q4_k", [DP_Q6_K] = "halves_q6_k", [DP_MXFP4] = "halves_mxfp4"};

bool dp_kernels_dots(dp_dtype dtype) { return dots[dtype] != NULL; }
bool dp_kernels_reads(dp_dtype dtype) { return formats[dtype] != NULL; }

typedef struct made_pipeline {
    dp_kernel_variant variant;
    dp_gpu_pipeline pipeline;
} made_pipeline;

struct dp_kernels {
    dp_gpu *gpu;
    made_pipeline *made;
    size_t count, capacity;
};

dp_status dp_kernels_new(dp_gpu *gpu, dp_kernels **out) {
    dp_kernels *kernels = dp_calloc(1, sizeof *kernels);
    if (!kernels) return dp_no_memory(sizeof *kernels);
    kernels->gpu = gpu;
    *out = kernels;
    return DP_OK;
}

void dp_kernels_free(dp_kernels *kernels) {
    if (!kernels) return;
    for (size_t i = 0; i < kernels->count; i++) dp_gpu_pipeline_free(kernels->gpu, kernels->made[i].pipeline);
    dp_free(kernels->made);
    dp_free(kernels);
}

static const char *source(const char *name) {
    const dp_kernel_source *s = dp_kernel_sources;
    while (s->name && strcmp(s->name, name) != 0) s++;
    return s->wgsl;
}

/* Extensions, the matrices' side, the subgroup size. */
static void put_matrix_head(dp_buf *wgsl, const dp_gpu_caps *caps) {
    dp_buf_str(wgsl, "enable f16;\nenable subgroups;\nenable chromium_experimental_subgroup_matrix;\n"
                     "diagnostic(off, chromium.subgroup_matrix_uniformity);\n");
    dp_buf_printf(wgsl, "const MATRIX = %uu;\nconst SUBGROUP = %uu;\n", caps->matrix_m, caps->subgroup_max);
}

static void put_constants(dp_buf *wgsl, const kernel_entry *entry, const dp_kernel_variant *v) {
    for (size_t i = 0; i < DP_KERNEL_CONSTANTS && entry->constants[i]; i++)
        dp_buf_printf(wgsl, "const %s = %uu;\n", entry->constants[i], v->constants[i]);
}

static dp_status compile(dp_kernels *kernels, const dp_kernel_variant *v, dp_gpu_pipeline *out) {
    const kernel_entry *entry = &entries[v->kernel];
    dp_buf wgsl = {0};
    if (entry->matrix) put_matrix_head(&wgsl, dp_gpu_get_caps(kernels->gpu));
    if (entry->sized) put_constants(&wgsl, entry, v);
    if (entry->packed) dp_buf_str(&wgsl, source("pack"));
    if (entry->act) dp_buf_str(&wgsl, source("act"));
    if (entry->sample) dp_buf_str(&wgsl, source("sample"));
    if (entry->sample) dp_buf_str(&wgsl, source("sample_bins"));
    if (entry->weighted) dp_buf_str(&wgsl, source((entry->packed ? dots : formats)[v->dtype]));
    if (entry->matrix) dp_buf_str(&wgsl, source(halves[v->dtype] ? halves[v->dtype] : "halves"));
    dp_buf_str(&wgsl, source(entry->name));
    if (wgsl.failed) {
        dp_buf_free(&wgsl);
        return dp_no_memory(wgsl.size);
    }
    dp_gpu_pipeline_desc desc = {.label = entry->name, .wgsl = wgsl.data, .entry = "main", .bindings = entry->bindings};
    for (; !entry->sized && desc.constant_count < DP_KERNEL_CONSTANTS && entry->constants[desc.constant_count]; desc.constant_count++) {
        size_t i = desc.constant_count;
        desc.constants[i].name = entry->constants[i];
        desc.constants[i].value = v->constants[i];
    }
    dp_status status = dp_gpu_pipeline_new(kernels->gpu, &desc, out);
    dp_buf_free(&wgsl);
    return status == DP_OK ? DP_OK : dp_fail_in(status, "kernel %s", entry->name);
}

dp_status dp_kernels_get(dp_kernels *kernels, const dp_kernel_variant *v, dp_gpu_pipeline *out) {
    for (size_t i = 0; i < kernels->count; i++) {
        const dp_kernel_variant *m = &kernels->made[i].variant;
        if (m->kernel != v->kernel || m->dtype != v->dtype || memcmp(m->constants, v->constants, sizeof v->constants) != 0) continue;
        *out = kernels->made[i].pipeline;
        return DP_OK;
    }
    if (!dp_grow((void **)&kernels->made, &kernels->capacity, kernels->count + 1, sizeof *kernels->made)) return dp_no_memory(sizeof *kernels->made);
    TRY(compile(kernels, v, out));
    kernels->made[kernels->count++] = (made_pipeline){*v, *out};
    return DP_OK;
}
