/* weights.c: see weights.h. */
#include "engine/weights.h"

#include "format/mxfp4_hf.h"

typedef struct loader {
    dp_builder *builder;
    dp_weights *weights;
    dp_weights_how how;
} loader;

static dp_status own(loader *l, size_t size, void **out) {
    dp_weights *w = l->weights;
    if (!dp_grow((void **)&w->owned, &w->owned_capacity, w->owned_count + 1, sizeof *w->owned)) return dp_no_memory(sizeof *w->owned);
    *out = dp_malloc(size);
    if (!*out) return dp_no_memory(size);
    w->owned[w->owned_count++] = *out;
    return DP_OK;
}

static dp_status map_in_file(loader *l, const dp_span *span, const void **out) {
    dp_mapping *file = &l->weights->files[span->file];
    if (!file->data) TRY(dp_checkpoint_map_file(l->builder->checkpoint, span->file, file));
    *out = (const char *)file->data + span->offset;
    return DP_OK;
}

static dp_status map_pieces(loader *l, const dp_tensor *t, const void **out) {
    dp_weights *w = l->weights;
    if (!dp_grow((void **)&w->pieces, &w->piece_capacity, w->piece_count + 1, sizeof *w->pieces)) return dp_no_memory(sizeof *w->pieces);
    TRY(dp_checkpoint_map(l->builder->checkpoint, t, &w->pieces[w->piece_count]));
    *out = w->pieces[w->piece_count++].data;
    return DP_OK;
}

static dp_status map_tensor(loader *l, const dp_tensor *t, const void **out) {
    return t->span_count == 1 && !t->relayout ? map_in_file(l, &t->spans[0], out) : map_pieces(l, t, out);
}

/* The tensor's bytes as stored: mapped if the host can, else read into memory. */
static dp_status map_or_read(loader *l, const dp_tensor *t, const void **out) {
    dp_status status = map_tensor(l, t, out);
    if (status != DP_E_UNSUPPORTED) return status;
    void *memory;
    TRY(own(l, (size_t)t->size, &memory));
    *out = memory;
    return dp_checkpoint_read(l->builder->checkpoint, t, 0, memory, (size_t)t->size);
}

/* The same for what can be read again as it is: *out stays NULL where that is left to the reader. */
static dp_status load_tensor(loader *l, const dp_tensor *t, const void **out) {
    if (l->how == DP_WEIGHTS_HERE) return map_or_read(l, t, out);
    dp_status status = map_tensor(l, t, out);
    return status == DP_E_UNSUPPORTED ? DP_OK : status;
}

static dp_status read_again(void *user, size_t weight, int32_t expert, uint64_t offset, void *data, size_t size) {
    const dp_builder *b = user;
    const dp_weight_source *s = &b->sources[weight];
    const dp_weight *w = &b->program->weights[weight];
    const dp_tensor *t = s->kind == DP_SOURCE_SEPARATE && expert >= 0 ? s->experts[expert] : s->tensor;
    if (s->kind == DP_SOURCE_STACKED) offset += (uint64_t)expert * w->bytes;
    return dp_checkpoint_read(b->checkpoint, t, offset, data, size);
}

/* Reads a small tensor and converts it to f32. */
static dp_status read_f32(loader *l, const dp_tensor *t, float *out) {
    const dp_dtype_info *info = dp_dtype_get(t->dtype);
    void *raw = dp_malloc((size_t)t->size);
    if (!raw) return dp_no_memory((size_t)t->size);
    dp_status status = dp_checkpoint_read(l->builder->checkpoint, t, 0, raw, (size_t)t->size);
    if (status == DP_OK) info->dequantize(raw, out, (size_t)t->size / info->bytes * info->block);
    dp_free(raw);
    return status;
}

static dp_status load_vector(loader *l, dp_weight *w, const dp_weight_source *s) {
    void *memory;
    TRY(own(l, w->bytes, &memory));
    w->data = memory;
    if (s->kind == DP_SOURCE_VECTOR) return read_f32(l, s->tensor, memory);
    for (int32_t e = 0; e < w->rows; e++) /* expert biases, one tensor each */
        TRY(read_f32(l, s->experts[e], (float *)memory + (size_t)e * (size_t)w->cols));
    return DP_OK;
}

/* gpt-oss biases [expert][stored rows]: every row_step-th value from first_row on. */
static dp_status load_strided(loader *l, dp_weight *w, const dp_weight_source *s) {
    size_t stored = (size_t)w->cols * (size_t)s->row_step, total = stored * (size_t)w->rows;
    void *memory;
    TRY(own(l, w->bytes, &memory));
    float *all = dp_malloc(total * sizeof(float)), *out = memory;
    if (!all) return dp_no_memory(total * sizeof(float));
    dp_status status = read_f32(l, s->tensor, all);
    for (size_t i = 0; status == DP_OK && i < (size_t)w->rows * (size_t)w->cols; i++)
        out[i] = all[i * (size_t)s->row_step + (size_t)s->first_row];
    dp_free(all);
    w->data = memory;
    return status;
}

static dp_status expert_table(loader *l, dp_weight *w) {
    void *memory;
    TRY(own(l, (size_t)w->experts * sizeof(void *), &memory));
    memset(memory, 0, (size_t)w->experts * sizeof(void *));
    w->expert = memory;
    return DP_OK;
}

static dp_status load_stacked(loader *l, dp_weight *w, const dp_weight_source *s) {
    const void *data = NULL;
    TRY(expert_table(l, w));
    TRY(load_tensor(l, s->tensor, &data));
    for (int32_t e = 0; data && e < w->experts; e++) w->expert[e] = (const char *)data + (size_t)e * w->bytes;
    return DP_OK;
}

static dp_status load_separate(loader *l, dp_weight *w, const dp_weight_source *s) {
    TRY(expert_table(l, w));
    for (int32_t e = 0; e < w->experts; e++) TRY(load_tensor(l, s->experts[e], &w->expert[e]));
    return DP_OK;
}

/* gpt-oss as published keeps scales apart and gate and up rows interleaved: repacked row by row into MXFP4 blocks. */
static void repack_mxfp4(const dp_weight *w, const dp_weight_source *s, const uint8_t *nibbles, const uint8_t *scales, uint8_t *out) {
    size_t blocks = (size_t)w->cols / 32;
    for (size_t r = 0; r < (size_t)w->rows; r++) {
        size_t row = (r * (size_t)s->row_step + (size_t)s->first_row) * blocks;
        dp_mxfp4_from_hf(nibbles + row * 16, scales + row, (int64_t)blocks, out + r * w->row_bytes);
    }
}

static dp_status load_mxfp4(loader *l, dp_weight *w, const dp_weight_source *s) {
    size_t blocks = (size_t)w->cols / 32, stored_rows = (size_t)w->rows * (size_t)s->row_step;
    const void *nibbles, *scales;
    void *memory;
    TRY(expert_table(l, w));
    TRY(map_or_read(l, s->tensor, &nibbles));
    TRY(map_or_read(l, s->scales, &scales));
    TRY(own(l, w->bytes * (size_t)w->experts, &memory));
    for (int32_t e = 0; e < w->experts; e++) {
        uint8_t *out = (uint8_t *)memory + (size_t)e * w->bytes;
        w->expert[e] = out;
        size_t first = (size_t)e * stored_rows * blocks;
        repack_mxfp4(w, s, (const uint8_t *)nibbles + first * 16, (const uint8_t *)scales + first, out);
    }
    return DP_OK;
}

static bool is_matrix(const dp_weight *w, const dp_weight_source *s) {
    return s->kind == DP_SOURCE_TENSOR || s->kind == DP_SOURCE_STACKED || s->kind == DP_SOURCE_MXFP4_HF || w->experts > 0;
}

static dp_status load_weight(loader *l, dp_weight *w, const dp_weight_source *s) {
    switch (s->kind) {
    case DP_SOURCE_TENSOR: return load_tensor(l, s->tensor, &w->data);
    case DP_SOURCE_VALUES: w->data = s->values; return DP_OK;
    case DP_SOURCE_VECTOR: return load_vector(l, w, s);
    case DP_SOURCE_STACKED: return load_stacked(l, w, s);
    case DP_SOURCE_SEPARATE: return w->experts ? load_separate(l, w, s) : load_vector(l, w, s);
    case DP_SOURCE_MXFP4_HF: return load_mxfp4(l, w, s);
    case DP_SOURCE_ROWS_HF: return load_strided(l, w, s);
    }
    return dp_fail(DP_E_ARG, "%s: unknown weight source", w->name);
}

/* As l->how says. */
static dp_status load_as(loader *l, size_t index) {
    dp_weight *w = &l->builder->program->weights[index];
    const dp_weight_source *source = &l->builder->sources[index];
    bool matrix = is_matrix(w, source);
    if (l->how >= DP_WEIGHTS_PLAIN && matrix && w->experts) return expert_table(l, w);
    return l->how == DP_WEIGHTS_VECTORS && matrix ? DP_OK : load_weight(l, w, source);
}

dp_status dp_weights_load(dp_builder *builder, dp_weights_how how, dp_weights *weights, dp_progress_fn progress, void *user) {
    loader l = {builder, weights, how};
    dp_program *p = builder->program;
    p->reader = (dp_weight_reader){read_again, builder};
    weights->file_count = builder->checkpoint->file_count;
    weights->files = dp_calloc(weights->file_count, sizeof *weights->files);
    if (!weights->files) return dp_no_memory(weights->file_count * sizeof *weights->files);
    uint64_t done = 0, total = 0;
    for (size_t i = 0; i < p->weight_count; i++) total += dp_weight_bytes(&p->weights[i]);
    for (size_t i = 0; i < p->weight_count; i++) {
        dp_status status = load_as(&l, i);
        if (status != DP_OK) return dp_fail_in(status, "tensor %s", p->weights[i].name);
        done += dp_weight_bytes(&p->weights[i]);
        if (progress && !progress(user, "loading weights", done, total)) return dp_fail(DP_E_CANCELLED, "loading was cancelled");
    }
    return DP_OK;
}

static dp_status fill_mxfp4(const dp_checkpoint *c, const dp_weight *w, const dp_weight_source *s, int32_t expert, void *out) {
    size_t count = (size_t)w->cols / 32 * (size_t)w->rows * (size_t)s->row_step; /* stored blocks of an expert */
    uint8_t *nibbles = dp_malloc(count * 17);
    if (!nibbles) return dp_no_memory(count * 17);
    dp_status status = dp_checkpoint_read(c, s->tensor, (uint64_t)expert * count * 16, nibbles, count * 16);
    if (status == DP_OK) status = dp_checkpoint_read(c, s->scales, (uint64_t)expert * count, nibbles + count * 16, count);
    if (status == DP_OK) repack_mxfp4(w, s, nibbles, nibbles + count * 16, out);
    dp_free(nibbles);
    return status;
}

dp_status dp_weights_fill(const dp_builder *builder, int32_t weight, int32_t expert, void *out) {
    const dp_weight *w = &builder->program->weights[weight];
    const dp_weight_source *s = &builder->sources[weight];
    const dp_checkpoint *c = builder->checkpoint;
    switch (s->kind) {
    case DP_SOURCE_STACKED: return dp_checkpoint_read(c, s->tensor, (uint64_t)expert * w->bytes, out, w->bytes);
    case DP_SOURCE_SEPARATE: return dp_checkpoint_read(c, s->experts[expert], 0, out, w->bytes);
    case DP_SOURCE_MXFP4_HF: return fill_mxfp4(c, w, s, expert, out);
    default: return dp_checkpoint_read(c, s->tensor, 0, out, w->bytes);
    }
}

void dp_weights_free(dp_weights *weights) {
    for (size_t i = 0; weights->files && i < weights->file_count; i++)
        if (weights->files[i].data) dp_host_unmap(&weights->files[i]);
    for (size_t i = 0; i < weights->piece_count; i++) dp_host_unmap(&weights->pieces[i]);
    for (size_t i = 0; i < weights->owned_count; i++) dp_free(weights->owned[i]);
    dp_free(weights->files);
    dp_free(weights->pieces);
    dp_free(weights->owned);
    *weights = (dp_weights){0};
}
