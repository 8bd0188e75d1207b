/* produce.c: the bytes of planned tensors. Work goes in chunks of some hundred thousand elements, so that memory per
 * thread stays at a few megabytes whatever the tensor's size; only rows that must be reordered within a head need the
 * whole head at once. */
#include "convert/plan.h"

enum { CHUNK_ELEMENTS = 1 << 18, UNIT_ELEMENTS = 1024 };

void dp_worker_free(dp_worker *worker) {
    dp_scratch_free(&worker->source);
    dp_scratch_free(&worker->raw);
    dp_scratch_free(&worker->rows);
    dp_scratch_free(&worker->floats);
    dp_scratch_free(&worker->chunk);
    dp_scratch_free(&worker->out);
}

/* One part of an item while it is produced. */
typedef struct part {
    const dp_plan *plan;
    const dp_item *item;
    size_t tensor; /* in the source */
    const dp_source_tensor *from;
    dp_worker *worker;
} part;

static int64_t row_elements(const dp_source_tensor *t) { return t->n_dims > 1 ? t->shape[t->n_dims - 1] : 1; }

/* Elements per chunk: whole blocks of both dtypes, whole heads and whatever else the source asks for. */
static int64_t chunk_elements(const part *p) {
    int64_t unit = p->from->grain;
    if (p->item->head_dim) unit = DP_MAX(unit, p->item->head_dim * row_elements(p->from));
    if (UNIT_ELEMENTS % unit == 0) unit = UNIT_ELEMENTS;
    return DP_MAX(CHUNK_ELEMENTS / unit, 1) * unit;
}

/* Elements as the source stores them, their rows in the order of the output. */
static dp_status read_rows(const part *p, int64_t first, int64_t n, void *out) {
    const dp_source *source = p->plan->source;
    if (!p->item->head_dim) return source->read(source, p->tensor, first, n, &p->worker->source, out);
    int64_t row = row_elements(p->from);
    dp_head_rows rows = {n / row, p->item->head_dim, (size_t)dp_dtype_bytes(p->from->dtype, row), true};
    TRY(dp_scratch_need(&p->worker->rows, (size_t)dp_dtype_bytes(p->from->dtype, n)));
    TRY(source->read(source, p->tensor, first, n, &p->worker->source, p->worker->rows.data));
    dp_permute_heads(&rows, p->worker->rows.data, out);
    return DP_OK;
}

static dp_status make_chunk(const part *p, int64_t first, int64_t n, void *out) {
    dp_worker *w = p->worker;
    const dp_item *item = p->item;
    if (item->dtype == p->from->dtype && !item->plus_one) return read_rows(p, first, n, out);
    TRY(dp_scratch_need(&w->raw, (size_t)dp_dtype_bytes(p->from->dtype, n)));
    TRY(dp_scratch_need(&w->floats, (size_t)n * sizeof(float)));
    TRY(read_rows(p, first, n, w->raw.data));
    float *values = w->floats.data;
    dp_dtype_get(p->from->dtype)->dequantize(w->raw.data, values, (size_t)n);
    for (int64_t i = 0; item->plus_one && i < n; i++) values[i] += 1.0f;
    dp_dtype_get(item->dtype)->quantize(values, out, (size_t)n);
    return DP_OK;
}

/* Chunks that only partly lie in the range are made aside. */
static dp_status produce_part(const part *p, dp_range range, char *out) {
    int64_t elements = p->from->elements, step = chunk_elements(p);
    uint64_t step_bytes = dp_dtype_bytes(p->item->dtype, step), end = range.offset + range.size;
    for (uint64_t at = range.offset / step_bytes * step_bytes; at < end; at += step_bytes) {
        int64_t first = (int64_t)(at / step_bytes) * step, n = DP_MIN(step, elements - first);
        uint64_t size = dp_dtype_bytes(p->item->dtype, n);
        uint64_t from = DP_MAX(at, range.offset), to = DP_MIN(at + size, end);
        if (from == at && to == at + size) {
            TRY(make_chunk(p, first, n, out));
        } else {
            TRY(dp_scratch_need(&p->worker->chunk, (size_t)size));
            TRY(make_chunk(p, first, n, p->worker->chunk.data));
            memcpy(out, (const char *)p->worker->chunk.data + (from - at), (size_t)(to - from));
        }
        out += to - from;
    }
    return DP_OK;
}

dp_status dp_plan_produce(const dp_plan *plan, const dp_item *item, dp_range range, dp_worker *worker, void *out) {
    char *to = out;
    if (item->data) {
        memcpy(to, (const char *)item->data + range.offset, (size_t)range.size);
        return DP_OK;
    }
    uint64_t part_size = item->size / item->part_count;
    while (range.size) {
        uint64_t index = range.offset / part_size, at = range.offset % part_size;
        dp_range inside = {at, DP_MIN(range.size, part_size - at)};
        size_t tensor = plan->parts[item->first_part + index];
        part p = {plan, item, tensor, &plan->source->tensors[tensor], worker};
        dp_status status = produce_part(&p, inside, to);
        if (status != DP_OK) return dp_fail_in(status, "tensor %s", item->name);
        to += inside.size;
        range.offset += inside.size;
        range.size -= inside.size;
    }
    return DP_OK;
}
