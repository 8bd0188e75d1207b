/* builder.c: weights, slots and ops of a program under construction. */
#include "arch/builder.h"

#include <stdio.h>

dp_status dp_build_fail(dp_builder *b, dp_status status, const char *format, ...) {
    if (b->status != DP_OK) return b->status;
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return b->status = dp_fail(status, "%s", text);
}

static void check(dp_builder *b, dp_status status) {
    if (b->status == DP_OK) b->status = status;
}

/* ---- config ---- */

int32_t dp_build_int(dp_builder *b, const char *key, int32_t fallback) {
    int64_t value = fallback;
    if (b->status == DP_OK) check(b, dp_json_get_int(b->config, key, &value));
    if (value < INT32_MIN || value > INT32_MAX) {
        dp_build_fail(b, DP_E_FORMAT, "config: \"%s\" is %lld, out of range", key, (long long)value);
        return fallback;
    }
    return (int32_t)value;
}

float dp_build_float(dp_builder *b, const char *key, float fallback) {
    double value = (double)fallback;
    if (b->status == DP_OK) check(b, dp_json_get_double(b->config, key, &value));
    return (float)value;
}

bool dp_build_bool(dp_builder *b, const char *key, bool fallback) {
    if (b->status == DP_OK) check(b, dp_json_get_bool(b->config, key, &fallback));
    return fallback;
}

/* ---- weights ---- */

/* The name with its %d replaced by the layer, in the program's arena. */
static const char *expand(dp_builder *b, const char *name) {
    const char *hole = strstr(name, "%d");
    char *text = hole ? dp_arena_printf(&b->program->arena, "%.*s%d%s", (int)(hole - name), name, (int)b->layer, hole + 2)
                      : dp_arena_printf(&b->program->arena, "%s", name);
    if (!text) dp_build_fail(b, DP_E_MEMORY, "out of memory while building the program");
    return text;
}

static const dp_tensor *find(dp_builder *b, const char *name) {
    return b->status == DP_OK ? dp_checkpoint_find(b->checkpoint, name) : NULL;
}

static int32_t add_weight(dp_builder *b, dp_weight weight, dp_weight_source source) {
    dp_program *p = b->program;
    if (b->status != DP_OK) return -1;
    if (!dp_grow((void **)&p->weights, &p->weight_capacity, p->weight_count + 1, sizeof *p->weights) ||
        !dp_grow((void **)&b->sources, &b->source_capacity, p->weight_count + 1, sizeof *b->sources)) {
        dp_build_fail(b, DP_E_MEMORY, "out of memory while building the program");
        return -1;
    }
    weight.row_bytes = dp_dtype_row_bytes(weight.dtype, weight.cols);
    weight.bytes = weight.row_bytes * (size_t)weight.rows;
    p->weights[p->weight_count] = weight;
    b->sources[p->weight_count] = source;
    check(b, dp_map_set(&b->weight_map, dp_str_of(weight.name), p->weight_count, NULL));
    return (int32_t)p->weight_count++;
}

static int32_t known(dp_builder *b, const char *name) {
    const uint64_t *index = name ? dp_map_find(&b->weight_map, dp_str_of(name)) : NULL;
    return index ? (int32_t)*index : -1;
}

static void print_shape(const int64_t *shape, int32_t n, char text[100]) {
    size_t at = 0;
    text[0] = 0;
    for (int32_t i = 0; i < n && at < 80; i++) at += (size_t)snprintf(text + at, 100 - at, "%s%lld", i ? ", " : "", (long long)shape[i]);
}

/* Compares a tensor's shape; surplus leading dimensions count as one ([heads][rows][cols] is a matrix). */
static bool has_shape(dp_builder *b, const dp_tensor *t, const int64_t *want, int32_t n) {
    int32_t surplus = t->n_dims - n;
    int64_t first = 1;
    for (int32_t i = 0; i <= surplus; i++) first *= t->shape[i];
    bool same = surplus >= 0 && first == want[0];
    for (int32_t i = 1; same && i < n; i++) same = t->shape[surplus + i] == want[i];
    if (same) return true;
    char found[100], expected[100];
    print_shape(t->shape, t->n_dims, found);
    print_shape(want, n, expected);
    dp_build_fail(b, DP_E_FORMAT, "tensor %s: the config asks for shape [%s], found [%s]", t->source_name, expected, found);
    return false;
}

static bool can_multiply(dp_builder *b, const dp_tensor *t) {
    if (dp_dtype_get(t->dtype)->dequantize) return true;
    dp_build_fail(b, DP_E_UNSUPPORTED, "tensor %s: cannot compute with dtype %s", t->source_name, dp_dtype_get(t->dtype)->name);
    return false;
}

static const dp_tensor *need(dp_builder *b, const char *name) {
    const dp_tensor *t = find(b, name);
    if (!t) dp_build_fail(b, DP_E_FORMAT, "tensor %s is missing", name ? name : "?");
    return t;
}

int32_t dp_build_matrix(dp_builder *b, const char *pattern, int32_t rows, int32_t cols) {
    const char *name = expand(b, pattern);
    int32_t index = known(b, name);
    if (index >= 0) return index;
    const dp_tensor *t = need(b, name);
    if (!t || !has_shape(b, t, (const int64_t[]){rows, cols}, 2) || !can_multiply(b, t)) return -1;
    dp_weight w = {.name = name, .dtype = t->dtype, .rows = rows, .cols = cols};
    return add_weight(b, w, (dp_weight_source){.kind = DP_SOURCE_TENSOR, .tensor = t});
}

bool dp_build_has(dp_builder *b, const char *pattern) {
    const char *name = expand(b, pattern);
    return name && find(b, name);
}

int32_t dp_build_maybe_vector(dp_builder *b, const char *pattern, int32_t n) {
    const char *name = expand(b, pattern);
    const dp_tensor *t = name ? find(b, name) : NULL;
    if (!t || !has_shape(b, t, (const int64_t[]){n}, 1) || !can_multiply(b, t)) return -1;
    dp_weight w = {.name = name, .dtype = DP_F32, .rows = 1, .cols = n};
    return add_weight(b, w, (dp_weight_source){.kind = DP_SOURCE_VECTOR, .tensor = t});
}

int32_t dp_build_vector(dp_builder *b, const char *pattern, int32_t n) {
    const char *name = expand(b, pattern);
    return name && need(b, name) ? dp_build_maybe_vector(b, pattern, n) : -1;
}

int32_t dp_build_values(dp_builder *b, const char *pattern, const float *values, int32_t n) {
    const char *name = expand(b, pattern);
    int32_t index = known(b, name);
    if (index >= 0) return index;
    float *copy = dp_arena_alloc(&b->program->arena, (size_t)n * sizeof(float));
    if (!copy) dp_build_fail(b, DP_E_MEMORY, "out of memory while building the program");
    if (!copy || !name) return -1;
    memcpy(copy, values, (size_t)n * sizeof(float));
    dp_weight w = {.name = name, .dtype = DP_F32, .rows = 1, .cols = n};
    return add_weight(b, w, (dp_weight_source){.kind = DP_SOURCE_VALUES, .values = copy});
}

/* ---- experts ---- */

static const char *join(dp_builder *b, const char *prefix, const char *rest, const char *suffix) {
    char *text = dp_arena_printf(&b->program->arena, "%s.experts.%s%s", prefix, rest, suffix);
    if (!text) dp_build_fail(b, DP_E_MEMORY, "out of memory while building the program");
    return text;
}

/* gpt-oss stores gate and up rows interleaved; 0 and 1 are their first rows, -1 means the part is stored alone. */
static int32_t interleaved_row(const char *part) { return strcmp(part, "gate_proj") == 0 ? 0 : strcmp(part, "up_proj") == 0 ? 1 : -1; }

/* gpt-oss as published: `_blocks` u8 [E][R][cols/32][16] and `_scales` u8 [E][R][cols/32]. */
static int32_t mxfp4_experts(dp_builder *b, const char *prefix, const char *part, dp_weight w) {
    int32_t row = interleaved_row(part);
    const char *stored = row >= 0 ? "gate_up_proj" : part;
    const dp_tensor *blocks = find(b, join(b, prefix, stored, "_blocks")), *scales = find(b, join(b, prefix, stored, "_scales"));
    if (!blocks || !scales) return -1;
    int64_t rows = row >= 0 ? 2 * (int64_t)w.rows : w.rows;
    if (w.cols % 32 != 0 || !has_shape(b, blocks, (const int64_t[]){w.experts, rows, w.cols / 32, 16}, 4) ||
        !has_shape(b, scales, (const int64_t[]){w.experts, rows, w.cols / 32}, 3))
        return -1;
    w.dtype = DP_MXFP4;
    return add_weight(b, w, (dp_weight_source){.kind = DP_SOURCE_MXFP4_HF, .tensor = blocks, .scales = scales,
                                               .first_row = row > 0, .row_step = row >= 0 ? 2 : 1});
}

static int32_t separate_experts(dp_builder *b, const char *prefix, const char *part, dp_weight w) {
    const dp_tensor **experts = dp_arena_calloc(&b->program->arena, (size_t)w.experts, sizeof *experts);
    if (!experts) dp_build_fail(b, DP_E_MEMORY, "out of memory while building the program");
    for (int32_t e = 0; b->status == DP_OK && e < w.experts; e++) {
        char number[80];
        snprintf(number, sizeof number, "%d.%s", (int)e, part);
        experts[e] = need(b, join(b, prefix, number, ".weight"));
        if (!experts[e] || !has_shape(b, experts[e], (const int64_t[]){w.rows, w.cols}, 2) || !can_multiply(b, experts[e])) return -1;
        if (experts[e]->dtype != experts[0]->dtype)
            dp_build_fail(b, DP_E_UNSUPPORTED, "tensor %s: dtype %s, but the layer's first expert has %s", experts[e]->name,
                          dp_dtype_get(experts[e]->dtype)->name, dp_dtype_get(experts[0]->dtype)->name);
    }
    if (b->status != DP_OK) return -1;
    w.dtype = experts[0]->dtype;
    return add_weight(b, w, (dp_weight_source){.kind = DP_SOURCE_SEPARATE, .experts = experts});
}

int32_t dp_build_experts(dp_builder *b, const char *prefix_pattern, const char *part, int32_t rows, int32_t cols) {
    const char *prefix = expand(b, prefix_pattern);
    if (!prefix) return -1;
    const char *name = join(b, prefix, part, ".weight");
    dp_weight w = {.name = name, .rows = rows, .cols = cols, .experts = b->shape.experts};
    const dp_tensor *t = find(b, name);
    if (!t) {
        int32_t index = mxfp4_experts(b, prefix, part, w);
        return index >= 0 ? index : separate_experts(b, prefix, part, w);
    }
    if (!has_shape(b, t, (const int64_t[]){w.experts, rows, cols}, 3) || !can_multiply(b, t)) return -1;
    w.dtype = t->dtype;
    return add_weight(b, w, (dp_weight_source){.kind = DP_SOURCE_STACKED, .tensor = t});
}

/* Stacked "<part>.bias" [E][rows], gpt-oss's "gate_up_proj_bias" [E][2 rows], or one "<e>.<part>.bias" per expert. */
int32_t dp_build_maybe_expert_bias(dp_builder *b, const char *prefix_pattern, const char *part, int32_t rows) {
    const char *prefix = expand(b, prefix_pattern);
    if (!prefix) return -1;
    const char *name = join(b, prefix, part, ".bias");
    int32_t experts = b->shape.experts, row = interleaved_row(part);
    dp_weight w = {.name = name, .dtype = DP_F32, .rows = experts, .cols = rows};
    const dp_tensor *t = find(b, name);
    dp_weight_source source = {.kind = DP_SOURCE_VECTOR, .tensor = t};
    int64_t stored_rows = rows;
    if (!t) {
        t = find(b, join(b, prefix, row >= 0 ? "gate_up_proj" : part, "_bias"));
        source = (dp_weight_source){.kind = DP_SOURCE_ROWS_HF, .tensor = t, .first_row = row > 0, .row_step = row >= 0 ? 2 : 1};
        stored_rows = row >= 0 ? 2 * (int64_t)rows : rows;
    }
    if (t) return has_shape(b, t, (const int64_t[]){experts, stored_rows}, 2) && can_multiply(b, t) ? add_weight(b, w, source) : -1;
    char number[80];
    snprintf(number, sizeof number, "0.%s", part);
    if (!find(b, join(b, prefix, number, ".bias"))) return -1;
    source = (dp_weight_source){.kind = DP_SOURCE_SEPARATE,
                                .experts = dp_arena_calloc(&b->program->arena, (size_t)experts, sizeof(dp_tensor *))};
    for (int32_t e = 0; source.experts && e < experts; e++) {
        snprintf(number, sizeof number, "%d.%s", (int)e, part);
        source.experts[e] = need(b, join(b, prefix, number, ".bias"));
        if (!source.experts[e] || !has_shape(b, source.experts[e], (const int64_t[]){rows}, 1) ||
            !can_multiply(b, source.experts[e]))
            return -1;
    }
    return add_weight(b, w, source);
}

/* ---- slots and ops ---- */

static int32_t slot(dp_builder *b, const char *name, dp_slot_rows rows, int32_t cols) {
    dp_program *p = b->program;
    if (b->status != DP_OK) return -1;
    const uint64_t *index = dp_map_find(&b->slot_map, dp_str_of(name));
    if (index) {
        if (p->slots[*index].cols != cols)
            dp_build_fail(b, DP_E_UNSUPPORTED, "slot %s is used with %d and %d columns", name, (int)p->slots[*index].cols, (int)cols);
        return (int32_t)*index;
    }
    if (!dp_grow((void **)&p->slots, &p->slot_capacity, p->slot_count + 1, sizeof *p->slots)) {
        dp_build_fail(b, DP_E_MEMORY, "out of memory while building the program");
        return -1;
    }
    p->slots[p->slot_count] = (dp_slot){name, rows, cols};
    check(b, dp_map_set(&b->slot_map, dp_str_of(name), p->slot_count, NULL));
    return (int32_t)p->slot_count++;
}

int32_t dp_build_slot(dp_builder *b, const char *name, int32_t cols) { return slot(b, name, DP_ROWS_TOKENS, cols); }
int32_t dp_build_output_slot(dp_builder *b, const char *name, int32_t cols) { return slot(b, name, DP_ROWS_OUTPUTS, cols); }

dp_op *dp_build_op(dp_builder *b, dp_op_kind kind, const char *label, int32_t dst, int32_t src) {
    dp_program *p = b->program;
    if (b->status != DP_OK) return &b->scratch_op;
    char *text = b->layer < 0 ? dp_arena_printf(&p->arena, "%s", label)
                              : dp_arena_printf(&p->arena, "layers.%d.%s", (int)b->layer, label);
    if (!text || !dp_grow((void **)&p->ops, &p->op_capacity, p->op_count + 1, sizeof *p->ops)) {
        dp_build_fail(b, DP_E_MEMORY, "out of memory while building the program");
        return &b->scratch_op;
    }
    dp_op *op = &p->ops[p->op_count++];
    memset(op, 0, sizeof *op);
    op->kind = kind;
    op->layer = b->layer;
    op->label = text;
    op->dst = dst;
    op->src = src;
    op->dst2 = op->src2 = op->weight = op->bias = -1;
    return op;
}
