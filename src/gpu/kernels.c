/* kernels.c: the table of kernels, and the pipelines made so far. */
#include "gpu/kernels.h"

#include "base/buf.h"

typedef struct kernel_entry {
    const char *name, *bindings;
    const char *constants[DP_KERNEL_CONSTANTS];
    bool weighted;         /* weight.wgsl, an order_*.wgsl and a format_*.wgsl go in front */
    uint8_t dots;          /* matrices against packed activations: a dot_*.wgsl for each goes in front */
    bool row;              /* meets packed activations without a matrix */
    const char *fronts[5]; /* files that go in front */
    uint8_t lean;          /* matrices that lean_rows.wgsl adds up: order and format of each go in front */
    bool subgroups;        /* needs them */
    bool matrix;           /* for the matrix units: extensions go in front, a halves*.wgsl behind the format */
    bool sized;            /* its constants are part of the source, since array sizes depend on them */
    const char *subgroup_name; /* takes its place where its last constant, the size of all subgroups, is not 0 */
} kernel_entry;

/* clang-format off: tables */
#define DOT_CONSTANTS {"LANES", "ROWS", "THREADS", "UNITS", "STEPS", "GROUPS", "NORM", "BIAS", "PACK", "ACT", "EXPERTS", "CHOICES", \
                       "NORMALISE", "SECOND", "THIRD", "MATRIX0", "MATRIX1", "MATRIX2", "PLACED", "EPS", "ALPHA", "LIMIT", "SCALE", \
                       "OFFSET", "FETCH", "PARTS", "ROUTER_BIAS"}

#define LEAN_CONSTANTS {"CHUNKS", "NORM", "NEXT", "ACT", "EXPERTS", "CHOICES", "NORMALISE", "SECOND", "THIRD", "MATRIX0", "MATRIX1", "MATRIX2", \
                        "BYTES0", "BYTES1", "BYTES2", "BYTES3", "BYTES4", "BYTES5", "EPS", "ALPHA", "LIMIT", "SCALE", "OFFSET"}

static const kernel_entry entries[DP_KERNEL_COUNT] = {
    [DP_KERNEL_ELEMENTWISE] = {"elementwise", "rrrwp", {"KIND", "IN_PLACE", "OUTPUTS"}, .fronts = {"act"}},
    [DP_KERNEL_NORM] = {"norm", "rrrrwp", {"LAYER", "BIAS", "IN_PLACE", "THREADS"}, .weighted = false},
    [DP_KERNEL_ROPE] = {"rope", "rrrwp", {"PAIRS", "IN_PLACE"}, .weighted = false},
    [DP_KERNEL_ROWS] = {"rows", "rrrwp", {"MODE"}, .weighted = false},
    [DP_KERNEL_KV_WRITE] = {"kv_write", "rrrwp", {"EXACT"}, .weighted = false},
    [DP_KERNEL_ATTENTION] = {"attention",
                             "rrrrwp",
                             {"SINKS", "SPLITS", "EXACT", "PAIRS", "THREADS", "COLUMNS"},
                             .fronts = {"attention_params"}},
    [DP_KERNEL_ATTENTION_MERGE] = {"attention_merge", "rrwp", {"SINKS", "SPLITS"}, .weighted = false},
    [DP_KERNEL_ROUTE] = {"route", "rrwwwp", {"KIND", "CORRECTION", "EXPERTS", "PLACES", "THREADS"}, .weighted = false},
    [DP_KERNEL_ATTENTION_DECODE] = {"attention_decode",
                                    "rrrrwrwp",
                                    {"SINKS", "SPLITS", "PACK", "PAIRS", "NORMS", "BIAS", "K_DIM", "V_DIM", "HEADS",
                                     "KEYS", "SUBGROUP", "ROUND", "K_OWN", "V_OWN", "THREADS"},
                                    .fronts = {"pack", "pack_store", "attention_share", "attention_token"},
                                    .sized = true,
                                    .subgroup_name = "attention_decode_subgroups"},
    [DP_KERNEL_ATTENTION_DECODE_MERGE] = {"attention_decode_merge",
                                          "rrrwp",
                                          {"SINKS", "SPLITS", "PACK", "V_DIM"},
                                          .fronts = {"pack", "pack_store", "attention_share"},
                                          .sized = true},
    [DP_KERNEL_PACK_ROW] = {"pack_row", "rwp", {0}, .fronts = {"pack", "pack_store"}},
    [DP_KERNEL_NORM_PACK] = {"norm_pack", "rrwwp", {0}, .fronts = {"pack", "pack_store", "norm_row"}},
    [DP_KERNEL_NORM_ADD] = {"norm_add", "rrwrwp", {0}, .fronts = {"pack", "pack_store", "norm_row"}},
    [DP_KERNEL_GROUP] = {"group", "rrwp", {"PLACED"}, .weighted = false},
    [DP_KERNEL_PLACE] =
        {"place", "rrrrwwwp", {"EXPERTS", "CHOICES", "NORMALISE"}, .fronts = {"choose", "choose_logits", "place_keep", "place_table"}, .sized = true},
    [DP_KERNEL_PLACE_FETCH] =
        {"place", "rwrrwwwp", {"EXPERTS", "CHOICES", "NORMALISE"}, .fronts = {"choose", "choose_logits", "place_keep", "place_fetch"}, .sized = true},
    [DP_KERNEL_PLACE_ROUTED] =
        {"place_routed", "rrrrwwwp", {"CHOICES", "FUSED"}, .fronts = {"place_keep", "place_table"}, .sized = true},
    [DP_KERNEL_PLACE_ROUTED_FETCH] =
        {"place_routed", "rwrrwwwp", {"CHOICES", "FUSED"}, .fronts = {"place_keep", "place_fetch"}, .sized = true},
    [DP_KERNEL_FETCH] = {"fetch", "rrwwwwwwp", {0}, .weighted = false},
    [DP_KERNEL_PUT_BACK] = {"put_back", "rwwp", {0}, .weighted = false},
    [DP_KERNEL_ATTENTION_TILED] = {"attention_tiled",
                                   "rrrrwp",
                                   {"SINKS", "LANES", "GROUPS", "EXACT"},
                                   .fronts = {"attention_params"},
                                   .sized = true},
    [DP_KERNEL_ATTENTION_MATRIX] = {"attention_matrix",
                                    "rrrrwp",
                                    {"SINKS", "FRAGS"},
                                    .fronts = {"attention_params"},
                                    .matrix = true,
                                    .sized = true},
    [DP_KERNEL_SAMPLE_TOP] = {"sample_top", "rrrwwwp", {"THREADS"}, .fronts = {"sample", "sample_bins"}, .sized = true},
    [DP_KERNEL_SAMPLE_WEIGH] =
        {"sample_weigh", "rrwp", {"THREADS"}, .fronts = {"sample", "sample_bins"}, .sized = true},
    [DP_KERNEL_SAMPLE_KEEP] = {"sample_keep", "rrwwp", {"THREADS"}, .fronts = {"sample", "sample_bins"}, .sized = true},
    [DP_KERNEL_SAMPLE_PICK] =
        {"sample_pick", "wrrwwwp", {"THREADS", "DRAWN"}, .fronts = {"sample", "sample_bins"}, .sized = true},
    [DP_KERNEL_EMBED] = {"embed", "rrrwp", {0}, .weighted = true},
    [DP_KERNEL_MATVEC] = {"matvec", "rrrrrwp", {"LANES", "BIAS", "IDS", "PLACED", "THREADS"}, .fronts = {"matvec_params"},
                          .weighted = true},
    [DP_KERNEL_MATVEC_ROWS] = {"matvec_rows", "rrrrrwp", {"BIAS", "IDS", "PLACED", "THREADS"}, .fronts = {"matvec_params"},
                               .weighted = true},
    [DP_KERNEL_MATMUL] = {"matmul",
                          "rrrrrwp",
                          {"BIAS", "OUTPUTS", "GROUPED", "PLACED"},
                          .fronts = {"matmul_tile"},
                          .weighted = true,
                          .sized = true},
    [DP_KERNEL_ROUTER] =
        {"router", "rrrrrrw", {"BIAS", "PLAIN", "CODED", "CHUNKS", "EPS", "OFFSET"}, .weighted = true, .sized = true},
    [DP_KERNEL_HEAD_TRANSPOSED] = {"head_transposed", "rrrwp", {0}, .weighted = true},
    [DP_KERNEL_PACK_F16] = {"pack_f16", "rrrwwp", {0}, .weighted = true, .matrix = true},
    [DP_KERNEL_MATMUL_MATRIX] = {"matmul_matrix",
                                 "rrrrrrwp",
                                 {"BIAS", "OUTPUTS", "GROUPED", "SIDE_T", "SIDE_N", "FRAG_T", "PLACED"},
                                 .fronts = {"matmul_tile"},
                                 .weighted = true,
                                 .matrix = true,
                                 .sized = true},
    [DP_KERNEL_DOT_STORE] = {"dot_store", "rrrrw", DOT_CONSTANTS, .dots = 1, .sized = true},
    [DP_KERNEL_DOT_JOIN] = {"dot_join", "rrrrrrrw", DOT_CONSTANTS, .dots = 3, .sized = true},
    [DP_KERNEL_DOT_ADD] = {"dot_add", "rrrrwrwr", DOT_CONSTANTS, .dots = 1,
                           .fronts = {"pack", "pack_store", "dot_pack", "dot_residual", "dot_route"}, .sized = true},
    [DP_KERNEL_DOT_LOGITS] = {"dot_logits", "rrw", DOT_CONSTANTS, .row = true, .sized = true},
    [DP_KERNEL_DOT_ACT] = {"dot_act", "rrrrrw", DOT_CONSTANTS, .dots = 2,
                           .fronts = {"act", "pack", "pack_store", "dot_pack"}, .sized = true},
    [DP_KERNEL_DOT_EXPERTS_ACT] = {"dot_experts_act", "rrrrrrrw", DOT_CONSTANTS, .dots = 2,
                                   .fronts = {"act", "pack", "pack_store", "dot_pack"}, .sized = true},
    [DP_KERNEL_DOT_EXPERTS_ADD] = {"dot_experts_add", "rrrrwrw", DOT_CONSTANTS, .dots = 1,
                                   .fronts = {"pack", "pack_store", "dot_pack", "dot_residual"}, .sized = true},
    [DP_KERNEL_LEAN_STORE] = {"lean_store", "rrrw", LEAN_CONSTANTS, .lean = 1, .sized = true, .subgroups = true},
    [DP_KERNEL_LEAN_JOIN] = {"lean_join", "rrrrrrrw", LEAN_CONSTANTS, .lean = 3, .sized = true, .subgroups = true},
    [DP_KERNEL_LEAN_ADD] = {"lean_add", "rrrrwrw", LEAN_CONSTANTS, .lean = 1, .sized = true, .subgroups = true},
    [DP_KERNEL_LEAN_ACT] = {"lean_act", "rrrrrrw", LEAN_CONSTANTS, .lean = 2, .fronts = {"act"}, .sized = true, .subgroups = true},
    [DP_KERNEL_LEAN_ROUTE] = {"lean_route", "rrrw", LEAN_CONSTANTS, .lean = 1, .sized = true, .subgroups = true},
    [DP_KERNEL_LEAN_ATTEND] = {"lean_attend", "rrwrrw",
                               {"SINKS", "PAIRS", "K_FOURS", "OWN", "HALF", "HEADS", "KV_HEADS", "CAPACITY", "WINDOW", "SCALE", "SOFTCAP",
                                "ROPE_SCALE"},
                               .sized = true, .subgroups = true},
};
/* clang-format on */

/* How a weight is read as floats, and the order of columns that goes in front; bytes of an element of the two arrays. */
static const struct {
    const char *name, *order;
    uint32_t quant, scale;
} formats[DP_DTYPE_COUNT] = {
    [DP_F32] = {"format_f32", "order_plain", 16, 4},   [DP_F16] = {"format_f16", "order_stored", 16, 4},
    [DP_BF16] = {"format_bf16", "order_stored", 16, 4}, [DP_Q4_0] = {"format_q4_0", "order_plain", 16, 4},
    [DP_Q4_1] = {"format_q4_1", "order_plain", 16, 4}, [DP_Q5_0] = {"format_q5_0", "order_plain", 16, 4},
    [DP_Q5_1] = {"format_q5_1", "order_plain", 16, 4}, [DP_Q8_0] = {"format_q8_0", "order_plain", 16, 4},
    [DP_Q2_K] = {"format_q2_k", "order_parts", 8, 4},  [DP_Q3_K] = {"format_q3_k", "order_parts", 8, 4},
    [DP_Q4_K] = {"format_q4_k", "order_pairs", 16, 16}, [DP_Q5_K] = {"format_q5_k", "order_pairs", 16, 16},
    [DP_Q6_K] = {"format_q6_k", "order_parts", 16, 4}, [DP_MXFP4] = {"format_mxfp4", "order_plain", 16, 4},
};

/* How two chunks of a row meet columns of lean.wgsl, where there is a shorter way than lean_plain.wgsl: files in front. */
static const char *const leans[DP_DTYPE_COUNT][2] = {[DP_Q4_K] = {"lean_q4_k", "lean_pairs"}, [DP_Q5_K] = {"lean_q5_k", "lean_pairs"},
                                                       [DP_Q6_K] = {"lean_q6_k"}, [DP_Q8_0] = {"lean_q8_0"}};

/* What reads a matrix against packed activations. */
static const char *const dots[DP_DTYPE_COUNT] = {
    [DP_Q4_0] = "dot_q4_0", [DP_Q5_0] = "dot_q5_0", [DP_Q8_0] = "dot_q8_0",   [DP_Q4_K] = "dot_q4_k",
    [DP_Q5_K] = "dot_q5_k", [DP_Q6_K] = "dot_q6_k", [DP_MXFP4] = "dot_mxfp4",
};

/* How a matrix becomes f16 for the matrix units, where there is a shorter way than halves.wgsl. */
static const char *const halves[DP_DTYPE_COUNT] = {[DP_Q4_K] = "halves_q4_k", [DP_Q6_K] = "halves_q6_k", [DP_MXFP4] = "halves_mxfp4"};

bool dp_kernels_dots(dp_dtype dtype) { return dots[dtype] != NULL; }
bool dp_kernels_reads(dp_dtype dtype) { return formats[dtype].name != NULL; }

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

/* ---- sources that are written out: lines between //#each NAME CONSTANT and //#end stand as many times as the constant says,
 * with the number of the copy for #NAME#. Drivers unroll such loops too seldom, and arrays that loops index leave registers. ---- */

typedef struct copy {
    const char *name;
    size_t name_size;
    uint32_t number;
    const struct copy *outer;
} copy;

/* A digit stands for itself. */
static uint32_t constant_of(const kernel_entry *entry, const dp_kernel_variant *v, const char *name, size_t size) {
    if (size == 1 && *name >= '0' && *name <= '9') return (uint32_t)(*name - '0');
    for (size_t i = 0; i < DP_KERNEL_CONSTANTS && entry->constants[i]; i++)
        if (strlen(entry->constants[i]) == size && memcmp(entry->constants[i], name, size) == 0) return v->constants[i];
    return 0;
}

static void put_number(dp_buf *wgsl, const copy *copies, const char *name, size_t size) {
    for (const copy *c = copies; c; c = c->outer) {
        if (c->name_size != size || memcmp(c->name, name, size) != 0) continue;
        dp_buf_printf(wgsl, "%u", (unsigned)c->number);
        return;
    }
}

/* Text without blocks: numbers for #NAME#, and for the dollar sign, which is the name of a matrix's. */
static void put_numbers(dp_buf *wgsl, const char *text, const char *end, const copy *copies) {
    while (text < end) {
        size_t plain = strcspn(text, "#$");
        if (plain >= (size_t)(end - text)) break;
        dp_buf_append(wgsl, text, plain);
        text += plain;
        size_t size = *text == '$' ? 1 : strcspn(text + 1, "#");
        put_number(wgsl, copies, *text == '$' ? text : text + 1, size);
        text += *text == '$' ? 1 : size + 2;
    }
    if (text < end) dp_buf_append(wgsl, text, (size_t)(end - text));
}

/* Behind the //#end that belongs to the block that begins at text. */
static const char *block_end(const char *text) {
    for (int depth = 1; depth > 0;) {
        text = strstr(text, "//#e") + 4;
        depth += *text == 'a' ? 1 : -1;
    }
    return text;
}

static void put_written_out(dp_buf *wgsl, const kernel_entry *entry, const dp_kernel_variant *v, const char *text,
                            const char *end, const copy *outer) {
    static const char each[] = "//#each ", stop[] = "//#end";
    for (const char *block; (block = strstr(text, each)) != NULL && block < end;) {
        put_numbers(wgsl, text, block, outer);
        copy c = {.name = block + sizeof each - 1, .outer = outer};
        c.name_size = strcspn(c.name, " ");
        const char *constant = c.name + c.name_size + 1, *behind = block_end(block + sizeof each - 1);
        uint32_t count = constant_of(entry, v, constant, strcspn(constant, "\n"));
        for (c.number = 0; c.number < count; c.number++)
            put_written_out(wgsl, entry, v, constant + strcspn(constant, "\n"), behind - (sizeof stop - 3), &c);
        text = behind + 2;
    }
    put_numbers(wgsl, text, end, outer);
}

static void put_file(dp_buf *wgsl, const kernel_entry *entry, const dp_kernel_variant *v, const char *name, const copy *copies) {
    const char *text = source(name);
    put_written_out(wgsl, entry, v, text, text + strlen(text), copies);
}

/* `as`: the names that its files leave open. */
static void put_format(dp_buf *wgsl, const kernel_entry *entry, const dp_kernel_variant *v, dp_dtype dtype, const copy *as) {
    put_file(wgsl, entry, v, formats[dtype].order, as);
    put_file(wgsl, entry, v, formats[dtype].name, as);
}

static void put_weight(dp_buf *wgsl, const kernel_entry *entry, const dp_kernel_variant *v) {
    dp_buf_str(wgsl, source("weight"));
    put_format(wgsl, entry, v, v->dtype, NULL);
    if (entry->matrix) dp_buf_str(wgsl, source(halves[v->dtype] ? halves[v->dtype] : "halves"));
}

static void put_lean(dp_buf *wgsl, const kernel_entry *entry, const dp_kernel_variant *v) {
    dp_buf_str(wgsl, source("weight"));
    dp_buf_str(wgsl, source("lean"));
    for (uint32_t i = 0; i < entry->lean; i++) {
        dp_dtype dtype = i ? (dp_dtype)v->constants[DP_LEAN_SECOND + i - 1] : v->dtype;
        const uint32_t *bytes = &v->constants[DP_LEAN_BYTES0 + 2 * i];
        const copy scales = {.name = "SCALES", .name_size = 6, .number = DP_MAX(bytes[1] / formats[dtype].scale, 1u)};
        const copy quants = {.name = "QUANTS", .name_size = 6, .number = bytes[0] / formats[dtype].quant, .outer = &scales};
        const copy matrix = {.name = "$", .name_size = 1, .number = i, .outer = &quants};
        put_format(wgsl, entry, v, dtype, &matrix);
        put_file(wgsl, entry, v, leans[dtype][0] ? leans[dtype][0] : "lean_plain", &matrix);
        if (leans[dtype][1]) put_file(wgsl, entry, v, leans[dtype][1], &matrix);
        put_file(wgsl, entry, v, "lean_rows", &matrix);
    }
}

/* Lanes that share a row reduce by subgroup operations if they surely lie in one. */
static bool reduces_by_subgroup(const dp_gpu_caps *caps, const dp_kernel_variant *v) {
    return caps->subgroups && caps->subgroup_min == caps->subgroup_max && v->constants[DP_DOT_LANES] <= caps->subgroup_max &&
           v->constants[DP_DOT_THREADS] % caps->subgroup_max == 0;
}

/* How the token's experts are found. */
static void put_choice(dp_buf *wgsl, const kernel_entry *entry, const dp_kernel_variant *v) {
    bool made = entry->dots == 1, placed = v->constants[DP_DOT_PLACED];
    dp_buf_str(wgsl, source(made ? "choose_made" : placed ? "choose_placed" : "choose"));
    if (!made && !placed) dp_buf_str(wgsl, source(v->constants[DP_DOT_PARTS] ? "choose_parts" : "choose_logits"));
}

static void put_dots(dp_buf *wgsl, const dp_gpu_caps *caps, const kernel_entry *entry, const dp_kernel_variant *v) {
    bool subgroups = reduces_by_subgroup(caps, v);
    if (subgroups) dp_buf_printf(wgsl, "const SUBGROUP = %uu;\n", caps->subgroup_max);
    dp_buf_str(wgsl, source("dot_input"));
    for (size_t i = 0; i < entry->dots; i++) {
        copy matrix = {.name = "$", .name_size = 1, .number = (uint32_t)i}; /* files made once for each matrix */
        put_file(wgsl, entry, v, dots[i ? v->constants[DP_DOT_SECOND + i - 1] : v->dtype], &matrix);
        put_file(wgsl, entry, v, "dot_rows", &matrix);
    }
    if (entry->dots == 2) put_file(wgsl, entry, v, "dot_pair", NULL);
    if (v->constants[DP_DOT_CHOICES]) put_choice(wgsl, entry, v);
    put_file(wgsl, entry, v, subgroups ? "dot_reduce_subgroups" : "dot_reduce", NULL);
}

static dp_status compile(dp_kernels *kernels, const dp_kernel_variant *v, dp_gpu_pipeline *out) {
    const kernel_entry *entry = &entries[v->kernel];
    const dp_gpu_caps *caps = dp_gpu_get_caps(kernels->gpu);
    dp_buf wgsl = {0};
    if (entry->matrix) put_matrix_head(&wgsl, caps);
    bool subgroups = entry->subgroup_name && v->constants[DP_ATTEND_SUBGROUP];
    if (subgroups || entry->subgroups || ((entry->dots || entry->row) && reduces_by_subgroup(caps, v))) dp_buf_str(&wgsl, "enable subgroups;\n");
    if (entry->sized) put_constants(&wgsl, entry, v);
    for (size_t i = 0; i < DP_COUNT(entry->fronts) && entry->fronts[i]; i++) dp_buf_str(&wgsl, source(entry->fronts[i]));
    if (entry->weighted) put_weight(&wgsl, entry, v);
    if (entry->lean) put_lean(&wgsl, entry, v);
    if (entry->dots || entry->row) put_dots(&wgsl, caps, entry, v);
    put_file(&wgsl, entry, v, subgroups ? entry->subgroup_name : entry->name, NULL);
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
    if (!dp_grow((void **)&kernels->made, &kernels->capacity, kernels->count + 1, sizeof *kernels->made))
        return dp_no_memory(sizeof *kernels->made);
    TRY(compile(kernels, v, out));
    kernels->made[kernels->count++] = (made_pipeline){*v, *out};
    return DP_OK;
}
