/* fast_dot.h: products row by row, for one or a few tokens: the weights are read once, straight from their blocks.
 * The instruction set's file gives
 *
 *   vf dot_unit(const unpacked *w, const dp_act_unit *a, vf acc, int grain, bool is_signed)
 *
 * acc + 256 products; which lane gets what does not matter. grain (columns per scale) and is_signed are constants. */
#ifndef DP_FAST_DOT_H
#define DP_FAST_DOT_H

#include "cpu/fast_unpack.h"

/* Bytes. A core alone keeps too few lines in flight to fill the memory bus, and its own prefetching ends at each page. */
enum { DOT_TOKENS = 8, PREFETCH_AHEAD = 3072, LINE_BYTES = 64 };

/* Asks for what lies that far ahead of p. The address may be behind the end of the weights: prefetching never faults. */
INLINE void prefetch(const uint8_t *p, int bytes) {
    uintptr_t ahead = (uintptr_t)p + PREFETCH_AHEAD;
    for (int line = 0; line < bytes; line += LINE_BYTES) __builtin_prefetch((const void *)(ahead + (uintptr_t)line));
}

INLINE void dot_store(const dp_tile *tile, int32_t token, int32_t row, float sum) {
    tile->y[token][row] = sum + (tile->bias ? tile->bias[row] : 0);
}

/* One row, `count` (at most DOT_TOKENS) tokens from `token` on. */
INLINE void dot_row(const dp_tile *tile, int32_t row, int32_t token, int count, unpack_fn unpack, int unit_bytes,
                    int grain, bool is_signed) {
    const uint8_t *p = tile->matrix + (size_t)row * tile->weight->row_bytes;
    int32_t blocks = tile->weight->cols / 32;
    vf acc[DOT_TOKENS] = {{0}};
    unpacked w;
    for (int32_t u = 0; blocks > 0; u++, p += unit_bytes, blocks -= 8) {
        prefetch(p, unit_bytes);
        unpack(p, blocks < 8 ? blocks : 8, &w);
        for (int t = 0; t < count; t++)
            acc[t] = dot_unit(&w, (const dp_act_unit *)tile->x[token + t] + u, acc[t], grain, is_signed);
    }
    for (int t = 0; t < count; t++) dot_store(tile, token + t, row, vf_sum(acc[t]));
}

INLINE void dot_quantized(const dp_tile *tile, unpack_fn unpack, int unit_bytes, int grain, bool is_signed) {
    for (int32_t r = tile->first; r < tile->first + tile->rows; r++) {
        if (tile->tokens == 1) {
            dot_row(tile, r, 0, 1, unpack, unit_bytes, grain, is_signed);
            continue;
        }
        for (int32_t t = 0; t < tile->tokens; t += DOT_TOKENS)
            dot_row(tile, r, t, DP_MIN(tile->tokens - t, DOT_TOKENS), unpack, unit_bytes, grain, is_signed);
    }
}

/* ---- float weights ---- */

typedef vf (*load_fn)(const uint8_t *p);    /* VL elements */
typedef float (*load1_fn)(const uint8_t *p);

INLINE vf load_f32(const uint8_t *p) { return (vf)vi_load(p); }
INLINE float load1_f32(const uint8_t *p) { return dp_load_f32(p); }

INLINE vf load_f16(const uint8_t *p) { return vf_half(p); }
INLINE float load1_f16(const uint8_t *p) { return half(p); }

INLINE vf load_bf16(const uint8_t *p) {
    typedef uint16_t halves __attribute__((vector_size(VL * 2), aligned(1), may_alias));
    return (vf)(__builtin_convertvector(*(const halves *)(const void *)p, vi) << 16);
}
INLINE float load1_bf16(const uint8_t *p) { return dp_bf16_to_f32(dp_load_u16(p)); }

INLINE float dot_float(const float *x, const uint8_t *p, int32_t n, load_fn load, load1_fn load1, int bytes) {
    vf acc[4] = {{0}};
    int32_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL) {
        prefetch(p + i * bytes, 4 * VL * bytes);
        for (int j = 0; j < 4; j++) acc[j] += load(p + (i + j * VL) * bytes) * vf_load(x + i + j * VL);
    }
    for (; i + VL <= n; i += VL) acc[0] += load(p + i * bytes) * vf_load(x + i);
    float sum = vf_sum(acc[0] + acc[1] + (acc[2] + acc[3]));
    for (; i < n; i++) sum += load1(p + i * bytes) * x[i];
    return sum;
}

INLINE void dot_floats(const dp_tile *tile, load_fn load, load1_fn load1, int bytes) {
    for (int32_t r = tile->first; r < tile->first + tile->rows; r++) {
        const uint8_t *p = tile->matrix + (size_t)r * tile->weight->row_bytes;
        for (int32_t t = 0; t < tile->tokens; t++)
            dot_store(tile, t, r, dot_float(tile->x[t], p, tile->weight->cols, load, load1, bytes));
    }
}

#define DOT_CASE(NAME, name, bytes, grain, is_signed)                                                                  \
    case DP_##NAME: dot_quantized(tile, unpack_##name, bytes, grain, is_signed); break;

static void dot_tile(const dp_tile *tile) {
    switch (tile->weight->dtype) {
    case DP_F32: dot_floats(tile, load_f32, load1_f32, 4); break;
    case DP_F16: dot_floats(tile, load_f16, load1_f16, 2); break;
    case DP_BF16: dot_floats(tile, load_bf16, load1_bf16, 2); break;
        QUANTIZED_FORMATS(DOT_CASE)
    default: break; /* refused by dp_fast_multiplies */
    }
}

#endif
