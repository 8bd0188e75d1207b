/* relayout.c: see relayout.h. Blocks are fetched and dequantised in chunks that fit the stack. */
#include "format/relayout.h"

enum { CHUNK = 1024 }; /* elements, a multiple of every block size */

/* Stored elements [first, first + count) as f32. */
static dp_status fetch(const dp_checkpoint *c, const dp_tensor *t, uint64_t first, size_t count, float *out) {
    const dp_relayout *layout = t->relayout;
    const dp_dtype_info *info = dp_dtype_get(layout->stored);
    unsigned char bytes[CHUNK * 8];
    float values[CHUNK];
    uint64_t end = layout->stored_size / info->bytes * info->block;
    while (count) {
        uint64_t start = first - first % info->block;
        size_t have = (size_t)DP_MIN((uint64_t)CHUNK, end - start), skip = (size_t)(first - start);
        size_t take = DP_MIN(count, have - skip);
        TRY(dp_checkpoint_read_stored(c, t, start / info->block * info->bytes, bytes,
                                      have / info->block * info->bytes));
        info->dequantize(bytes, values, have);
        memcpy(out, values + skip, take * sizeof *out);
        out += take;
        first += take;
        count -= take;
    }
    return DP_OK;
}

/* Elements [c0, c1) of row r. */
static dp_status read_row(const dp_checkpoint *c, const dp_tensor *t, int64_t r, int64_t c0, int64_t c1, float *out) {
    const dp_relayout *layout = t->relayout;
    if (!layout->transposed) return fetch(c, t, (uint64_t)(r * layout->stride + c0), (size_t)(c1 - c0), out);
    for (int64_t col = c0; col < c1; col++) TRY(fetch(c, t, (uint64_t)(col * layout->stride + r), 1, out++));
    return DP_OK;
}

/* Whole rows [r0, r1) of a transposed tensor: one stored row holds one element of each. */
static dp_status gather_rows(const dp_checkpoint *c, const dp_tensor *t, int64_t r0, int64_t r1, float *out) {
    const dp_relayout *layout = t->relayout;
    float values[CHUNK];
    for (int64_t r = r0; r < r1; r += CHUNK) {
        int64_t n = DP_MIN((int64_t)CHUNK, r1 - r);
        for (int64_t col = 0; col < layout->cols; col++) {
            TRY(fetch(c, t, (uint64_t)(col * layout->stride + r), (size_t)n, values));
            for (int64_t i = 0; i < n; i++) out[(r - r0 + i) * layout->cols + col] = values[i];
        }
    }
    return DP_OK;
}

dp_status dp_relayout_read(const dp_checkpoint *c, const dp_tensor *t, uint64_t offset, float *data, size_t size) {
    const dp_relayout *layout = t->relayout;
    if (offset % 4 || size % 4)
        return dp_fail(DP_E_ARG, "tensor %s: reads of converted tensors are of whole f32 values", t->name);
    int64_t at = (int64_t)(offset / 4), end = at + (int64_t)(size / 4);
    while (at < end) {
        int64_t row = at / layout->cols, col = at % layout->cols;
        int64_t whole = col == 0 ? (end - at) / layout->cols : 0;
        int64_t n = DP_MIN(layout->cols - col, end - at);
        if (layout->transposed && whole > 0) {
            TRY(gather_rows(c, t, row, row + whole, data));
            n = whole * layout->cols;
        } else {
            TRY(read_row(c, t, row, col, col + n, data));
        }
        data += n;
        at += n;
    }
    return DP_OK;
}
