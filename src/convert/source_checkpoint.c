/* source_checkpoint.c: an open checkpoint in canonical form. Each canonical tensor is a view: some elements of one
 * stored tensor (an expert of a stack, every second row of gate_up_proj), put in Hugging Face order and convention on
 * reading. Blocks are only ever moved whole, so quantised weights keep their bytes. */
#include "convert/source.h"
#include "format/mxfp4_hf.h"

#include <stdio.h>

enum { EXPERTS_MAX = 65536 };

typedef struct view {
    const dp_tensor *data;
    const dp_tensor *scales; /* gpt-oss: data is `_blocks` and this its `_scales` */
    int64_t start;           /* first element of the view's first row in `data` */
    int64_t row;             /* elements per row */
    int step, phase;         /* row r is stored row r * step + phase */
    int64_t head_dim;        /* > 0: rows are in pair order */
    bool minus_one;          /* a norm that contains the 1; read as F32 */
} view;

typedef struct builder {
    const dp_checkpoint *checkpoint;
    dp_source *source;
    view *views;
    size_t tensor_capacity;
} builder;

/* ---- reading ---- */

static dp_status read_blocks(const dp_checkpoint *checkpoint, const view *v, int64_t first, int64_t n, void *memory) {
    return dp_checkpoint_read(checkpoint, v->data, dp_dtype_bytes(v->data->dtype, v->start + first), memory,
                              (size_t)dp_dtype_bytes(v->data->dtype, n));
}

static dp_status read_mxfp4(const dp_checkpoint *checkpoint, const view *v, int64_t first, int64_t n,
                            dp_scratch *scratch, uint8_t *out) {
    int64_t row_blocks = v->row / 32, rows = n / v->row, from = (v->start + first * v->step) / 32;
    size_t blocks = (size_t)(rows * v->step * row_blocks);
    TRY(dp_scratch_need(scratch, blocks * (DP_MXFP4_HF_BLOCK + 1)));
    uint8_t *codes = scratch->data, *scales = codes + blocks * DP_MXFP4_HF_BLOCK;
    TRY(dp_checkpoint_read(checkpoint, v->data, (uint64_t)from * DP_MXFP4_HF_BLOCK, codes, blocks * DP_MXFP4_HF_BLOCK));
    TRY(dp_checkpoint_read(checkpoint, v->scales, (uint64_t)from, scales, blocks));
    for (int64_t r = 0; r < rows; r++) {
        int64_t at = (r * v->step + v->phase) * row_blocks;
        dp_mxfp4_from_hf(codes + at * DP_MXFP4_HF_BLOCK, scales + at, row_blocks,
                         out + r * row_blocks * DP_MXFP4_BLOCK);
    }
    return DP_OK;
}

static dp_status read_alternate(const dp_checkpoint *checkpoint, const view *v, int64_t first, int64_t n,
                                dp_scratch *scratch, char *out) {
    size_t row_bytes = (size_t)dp_dtype_bytes(v->data->dtype, v->row);
    int64_t rows = n / v->row;
    TRY(dp_scratch_need(scratch, (size_t)(rows * v->step) * row_bytes));
    TRY(read_blocks(checkpoint, v, first * v->step, n * v->step, scratch->data));
    const char *from = (const char *)scratch->data + (size_t)v->phase * row_bytes;
    for (int64_t r = 0; r < rows; r++)
        memcpy(out + (size_t)r * row_bytes, from + (size_t)(r * v->step) * row_bytes, row_bytes);
    return DP_OK;
}

static dp_status read_heads(const dp_checkpoint *checkpoint, const view *v, int64_t first, int64_t n,
                            dp_scratch *scratch, void *out) {
    dp_head_rows rows = {n / v->row, v->head_dim, (size_t)dp_dtype_bytes(v->data->dtype, v->row), false};
    TRY(dp_scratch_need(scratch, (size_t)rows.rows * rows.row_bytes));
    TRY(read_blocks(checkpoint, v, first, n, scratch->data));
    dp_permute_heads(&rows, scratch->data, out);
    return DP_OK;
}

static dp_status read_norm(const dp_checkpoint *checkpoint, const view *v, int64_t first, int64_t n,
                           dp_scratch *scratch, float *out) {
    TRY(dp_scratch_need(scratch, (size_t)dp_dtype_bytes(v->data->dtype, n)));
    TRY(read_blocks(checkpoint, v, first, n, scratch->data));
    dp_dtype_get(v->data->dtype)->dequantize(scratch->data, out, (size_t)n);
    for (int64_t i = 0; i < n; i++) out[i] -= 1.0f;
    return DP_OK;
}

static dp_status read_view(const dp_source *source, size_t tensor, int64_t first, int64_t n, dp_scratch *scratch,
                           void *out) {
    const builder *state = source->state;
    const view *v = &state->views[tensor];
    if (v->scales) return read_mxfp4(state->checkpoint, v, first, n, scratch, out);
    if (v->step > 1) return read_alternate(state->checkpoint, v, first, n, scratch, out);
    if (v->head_dim) return read_heads(state->checkpoint, v, first, n, scratch, out);
    if (v->minus_one) return read_norm(state->checkpoint, v, first, n, scratch, out);
    return read_blocks(state->checkpoint, v, first, n, out);
}

/* ---- building the list ---- */

/* The arena keeps outgrown arrays until the end; that is at most once their final size. */
static dp_status reserve(builder *b) {
    size_t count = b->source->count;
    if (count < b->tensor_capacity) return DP_OK;
    size_t room = b->tensor_capacity ? b->tensor_capacity * 2 : b->checkpoint->tensor_count + 16;
    dp_source_tensor *tensors = dp_arena_calloc(&b->source->arena, room, sizeof *tensors);
    view *views = dp_arena_calloc(&b->source->arena, room, sizeof *views);
    if (!tensors || !views) return dp_no_memory(room * (sizeof *tensors + sizeof *views));
    if (count) {
        memcpy(tensors, b->source->tensors, count * sizeof *tensors);
        memcpy(views, b->views, count * sizeof *views);
    }
    b->source->tensors = tensors;
    b->views = views;
    b->tensor_capacity = room;
    return DP_OK;
}

static dp_status add(builder *b, const dp_source_tensor *tensor, const view *v) {
    TRY(reserve(b));
    dp_source_tensor *t = &b->source->tensors[b->source->count];
    *t = *tensor;
    if (!t->name) return dp_no_memory(64);
    t->elements = dp_shape_elements(t->shape, t->n_dims);
    b->views[b->source->count++] = *v;
    return DP_OK;
}

/* "prefix.experts.rest" -> "prefix.experts.E.rest" with `rest` replaced if given. */
static char *expert_name(builder *b, const char *name, int64_t expert, const char *rest) {
    const char *at = strstr(name, ".experts.") + strlen(".experts.");
    return dp_arena_printf(&b->source->arena, "%.*s%lld.%s", (int)(at - name), name, (long long)expert,
                           rest ? rest : at);
}

/* A stack [expert][...]: one tensor per expert. */
static dp_status add_stack(builder *b, const dp_tensor *t) {
    dp_source_tensor out = {.dtype = t->dtype, .n_dims = t->n_dims - 1, .grain = dp_dtype_get(t->dtype)->block};
    for (int32_t i = 0; i < out.n_dims; i++) out.shape[i] = t->shape[i + 1];
    view v = {.data = t, .step = 1, .row = out.shape[out.n_dims - 1]};
    for (int64_t e = 0; e < t->shape[0]; e++) {
        out.name = expert_name(b, t->name, e, NULL);
        v.start = e * dp_shape_elements(out.shape, out.n_dims);
        TRY(add(b, &out, &v));
    }
    return DP_OK;
}

/* gpt-oss stacks. A part is "gate_proj", "up_proj" (rows of gate_up_proj alternate) or "down_proj". */
typedef struct oss_part {
    const char *rest;
    int step, phase;
} oss_part;

static dp_status add_oss(builder *b, const dp_tensor *t, const dp_tensor *scales, const oss_part *part) {
    dp_source_tensor out = {.dtype = scales ? DP_MXFP4 : t->dtype, .n_dims = scales ? 2 : 1};
    int64_t stored = t->shape[1]; /* rows, or elements of a bias */
    if (stored % part->step)
        return dp_fail(DP_E_FORMAT, "tensor %s: %lld rows, expected an even number: gate and up alternate", t->name,
                       (long long)stored);
    out.shape[0] = stored / part->step;
    if (scales) out.shape[1] = t->shape[2] * 32;
    view v = {.data = t, .scales = scales, .row = scales ? out.shape[1] : 1, .step = part->step, .phase = part->phase};
    out.grain = v.row;
    for (int64_t e = 0; e < t->shape[0]; e++) {
        out.name = expert_name(b, t->name, e, part->rest);
        v.start = e * stored * v.row;
        TRY(add(b, &out, &v));
    }
    return DP_OK;
}

static dp_status find_scales(const builder *b, const dp_tensor *t, const dp_tensor **out) {
    char name[256];
    int stem = (int)(strlen(t->name) - strlen("_blocks"));
    snprintf(name, sizeof name, "%.*s_scales", stem, t->name);
    const dp_tensor *s = dp_checkpoint_find(b->checkpoint, name);
    if (!s) return dp_fail(DP_E_NOT_FOUND, "tensor %s: its scales %s are missing", t->name, name);
    bool fits = t->dtype == DP_U8 && s->dtype == DP_U8 && t->n_dims == 4 && s->n_dims == 3 && t->shape[3] == 16 &&
                memcmp(t->shape, s->shape, 3 * sizeof t->shape[0]) == 0;
    if (!fits)
        return dp_fail(DP_E_FORMAT, "tensor %s: expected U8 [experts][rows][blocks][16] and scales of the same shape",
                       t->name);
    *out = s;
    return DP_OK;
}

static dp_status add_oss_blocks(builder *b, const dp_tensor *t) {
    const dp_tensor *scales = NULL;
    TRY(find_scales(b, t, &scales));
    if (dp_str_ends(dp_str_of(t->name), "gate_up_proj_blocks")) {
        TRY(add_oss(b, t, scales, &(oss_part){"gate_proj.weight", 2, 0}));
        return add_oss(b, t, scales, &(oss_part){"up_proj.weight", 2, 1});
    }
    return add_oss(b, t, scales, &(oss_part){"down_proj.weight", 1, 0});
}

static dp_status add_oss_bias(builder *b, const dp_tensor *t) {
    if (t->n_dims != 2) return dp_fail(DP_E_FORMAT, "tensor %s: expected [experts][rows]", t->name);
    if (dp_str_ends(dp_str_of(t->name), "gate_up_proj_bias")) {
        TRY(add_oss(b, t, NULL, &(oss_part){"gate_proj.bias", 2, 0}));
        return add_oss(b, t, NULL, &(oss_part){"up_proj.bias", 2, 1});
    }
    return add_oss(b, t, NULL, &(oss_part){"down_proj.bias", 1, 0});
}

static bool has_digit_after(const char *name, const char *mark) {
    const char *at = strstr(name, mark);
    return at && at[strlen(mark)] >= '0' && at[strlen(mark)] <= '9';
}

static dp_status add_plain(builder *b, const dp_tensor *t) {
    const dp_checkpoint *c = b->checkpoint;
    dp_source_tensor out = {.name = t->name, .dtype = t->dtype, .n_dims = t->n_dims};
    memcpy(out.shape, t->shape, sizeof out.shape);
    out.grain = dp_dtype_get(t->dtype)->block;
    view v = {.data = t, .step = 1};
    int64_t heads = c->rope_pairs ? dp_rope_heads(t->name, c->config) : 0;
    if (heads) {
        int64_t rows = t->shape[0];
        v.row = t->n_dims > 1 ? t->shape[1] : 1;
        if (t->n_dims > 2 || rows % (2 * heads) || (t->n_dims == 1 && out.grain != 1))
            return dp_fail(DP_E_FORMAT, "tensor %s: %lld rows do not divide into %lld heads", t->name, (long long)rows,
                           (long long)heads);
        v.head_dim = rows / heads;
        out.grain = v.head_dim * v.row;
    }
    if (c->norms_plus_one && dp_str_ends(dp_str_of(t->name), "norm.weight") && dp_dtype_get(t->dtype)->dequantize) {
        v.minus_one = true;
        out.dtype = DP_F32;
    }
    return add(b, &out, &v);
}

/* RoPE frequencies of old checkpoints, which the config states too, and what is not the text model. */
static bool is_left_out(const char *name) {
    return dp_str_ends(dp_str_of(name), ".inv_freq") || strstr(name, "vision_tower.") ||
           strstr(name, "multi_modal_projector.");
}

static dp_status add_tensor(builder *b, const dp_tensor *t) {
    dp_str name = dp_str_of(t->name);
    if (is_left_out(t->name)) return DP_OK;
    bool stacked = strstr(t->name, ".experts.") && !has_digit_after(t->name, ".experts.");
    if (!stacked) return add_plain(b, t);
    if (t->n_dims < 2 || t->size == 0 || t->shape[0] > EXPERTS_MAX)
        return dp_fail(DP_E_FORMAT, "tensor %s: expected a stack of 1 to %d experts", t->name, EXPERTS_MAX);
    if (dp_str_ends(name, "_proj_scales")) return DP_OK; /* read with its blocks */
    if (dp_str_ends(name, "_proj_blocks")) return add_oss_blocks(b, t);
    if (dp_str_ends(name, "_proj_bias")) return add_oss_bias(b, t);
    if (dp_str_ends(name, ".experts.gate_up_proj") || dp_str_ends(name, ".experts.down_proj"))
        return dp_fail(DP_E_UNSUPPORTED,
                       "tensor %s: experts fused and transposed in one float tensor cannot be converted", t->name);
    return add_stack(b, t);
}

dp_status dp_source_from_checkpoint(const dp_checkpoint *checkpoint, dp_source *out) {
    dp_source source = {.read = read_view};
    builder *b = dp_arena_calloc(&source.arena, 1, sizeof *b);
    if (!b) return dp_no_memory(sizeof *b);
    *b = (builder){.checkpoint = checkpoint, .source = &source};
    dp_status status = DP_OK;
    for (size_t i = 0; i < checkpoint->tensor_count && status == DP_OK; i++)
        status = add_tensor(b, &checkpoint->tensors[i]);
    if (status != DP_OK) {
        dp_source_free(&source);
        return dp_fail_in(status, "%s", checkpoint->path);
    }
    b->source = NULL;
    source.state = b;
    *out = source;
    return DP_OK;
}
