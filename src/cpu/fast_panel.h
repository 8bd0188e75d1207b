/* fast_panel.h: products for many tokens. A panel is PANEL_ROWS weight rows times some columns, unpacked once and laid
 * out so that a lane is a row: the inner loop multiplies a vector of rows with a broadcast activation, and sums need
 * no turning around. It stays in the second-level cache while all tokens pass, TOKENS at a time in registers.
 *
 *   quantised   bytes [cols/4][rows][4], s and m [cols/16 or cols/32][rows] (m negated)
 *   float       f32 [cols][rows]
 *
 * The instruction set's file defines PANEL_VECTORS (vectors of rows), PANEL_TOKENS and PANEL_TOKENS_F32, as many as its
 * registers hold. With PANEL_STEP 8 columns stay together by eight, and fast_i8mm.h multiplies. */
#ifndef DP_FAST_PANEL_H
#define DP_FAST_PANEL_H

#include "cpu/fast_dot.h"
#include "cpu/fast_fill.h"

typedef struct panel {
    int32_t first, rows;   /* weight rows; rows <= PANEL_ROWS, the rest repeats the last */
    int32_t column, cols;  /* multiples of DP_UNIT but at the end of a float row */
    uint8_t *q;
    float *s, *m;
    float *f;              /* float: in the place of q */
    uintptr_t next;        /* quantised: address of the weights that follow; may be behind the last, prefetching never faults */
    int unit_bytes;        /* of a row's unit of weights */
} panel;

/* ---- results: registers <-> y, adding up over the panels of a row ---- */

INLINE void add_result(const dp_tile *tile, const panel *p, int32_t token, const vf *acc) {
    float sums[PANEL_ROWS], *y = tile->y[token] + p->first;
    if (p->rows == PANEL_ROWS && (p->column || !tile->bias)) {
        for (int v = 0; v < PANEL_VECTORS; v++) vf_store(y + v * VL, acc[v] + (p->column ? vf_load(y + v * VL) : vf_set(0)));
        return;
    }
    for (int v = 0; v < PANEL_VECTORS; v++) vf_store(sums + v * VL, acc[v]);
    for (int32_t r = 0; r < p->rows; r++) {
        float before = p->column ? y[r] : tile->bias ? tile->bias[p->first + r] : 0;
        y[r] = before + sums[r];
    }
}

/* ---- quantised ---- */

INLINE void fill_panel(const dp_tile *tile, const panel *p, fill_fn fill, int unit_bytes, int grain) {
    const uint8_t *row[FILL_ROWS];
    size_t row_bytes = tile->weight->row_bytes, unit = (size_t)(p->column / DP_UNIT) * (size_t)unit_bytes;
    for (int32_t r = 0; r < PANEL_ROWS; r += FILL_ROWS) {
        int32_t blocks = (tile->weight->cols - p->column) / 32;
        for (int i = 0; i < FILL_ROWS; i++) row[i] = tile->matrix + (size_t)(p->first + DP_MIN(r + i, p->rows - 1)) * row_bytes + unit;
        for (int32_t c = 0; c < p->cols; c += DP_UNIT, blocks -= 8) {
            panel_place to = {p->q + (size_t)(c * PANEL_ROWS + r * PANEL_STEP), p->s + c / grain * PANEL_ROWS + r,
                              p->m + c / grain * PANEL_ROWS + r};
            fill(row, DP_MIN(blocks, 8), to);
            for (int i = 0; i < FILL_ROWS; i++) row[i] += unit_bytes;
        }
    }
}

/* Rows are too far apart for the processor to guess the next: while columns [at, at + grain) are multiplied, asks for as large
 * a part of the panel that follows, into the second-level cache. */
INLINE void ask_for_next(const dp_tile *tile, const panel *p, int32_t at, int grain) {
    int rows = PANEL_ROWS * grain / DP_UNIT;
    size_t first = (size_t)(at % DP_UNIT / grain * rows);
    uintptr_t row = p->next + first * tile->weight->row_bytes + (size_t)(at / DP_UNIT * p->unit_bytes);
    for (int r = 0; r < rows; r++, row += tile->weight->row_bytes)
        for (int line = 0; line < p->unit_bytes; line += LINE_BYTES) __builtin_prefetch((const void *)(row + (uintptr_t)line), 0, 2);
}

#if PANEL_STEP == 8
#include "cpu/fast_i8mm.h"
#else

/* Four columns of VL rows, and the same four of a token in every lane. An instruction set without such dot products
 * brings its own, under OWN_PANEL_DOT. */
#ifndef OWN_PANEL_DOT
typedef vi panel_bytes;
INLINE panel_bytes panel_weights(const uint8_t *q, bool is_signed) { return (void)is_signed, vi_load(q); }
INLINE panel_bytes panel_activations(const dp_act_unit *a, int32_t column, bool is_signed) {
    return (void)is_signed, vi_repeat4(a->q + column);
}
INLINE vi panel_dot(vi acc, panel_bytes w, panel_bytes a, bool is_signed) { return is_signed ? dot4s(acc, w, a) : dot4u(acc, w, a); }
#endif

/* One scale's columns of the panel times `count` tokens. a: first of these columns within a unit of each token. */
INLINE void multiply_grain(const panel *p, int32_t at, const dp_act_unit *const *x, vf (*acc)[PANEL_VECTORS], int count,
                           int grain, bool is_signed) {
    vi sum[PANEL_TOKENS][PANEL_VECTORS] = {{{0}}};
    int32_t unit = at / DP_UNIT, in_unit = at % DP_UNIT;
    const uint8_t *q = p->q + (size_t)at * PANEL_ROWS;
    UNROLL(8)
    for (int k = 0; k < grain; k += 4) {
        panel_bytes w[PANEL_VECTORS];
        for (int v = 0; v < PANEL_VECTORS; v++) w[v] = panel_weights(q + k * PANEL_ROWS + v * VL * 4, is_signed);
        UNROLL(16)
        for (int t = 0; t < count; t++) {
            panel_bytes a = panel_activations(&x[t][unit], in_unit + k, is_signed);
            for (int v = 0; v < PANEL_VECTORS; v++) sum[t][v] = panel_dot(sum[t][v], w[v], a, is_signed);
        }
    }
    const float *s = p->s + at / grain * PANEL_ROWS, *m = p->m + at / grain * PANEL_ROWS;
    UNROLL(16)
    for (int t = 0; t < count; t++) {
        const dp_act_unit *a = &x[t][unit];
        float scale = a->scale[in_unit / 16], total = grain == 32 ? a->sum32[in_unit / 32] : a->sum16[in_unit / 16];
        for (int v = 0; v < PANEL_VECTORS; v++) {
            acc[t][v] += vf_of(sum[t][v]) * scale * vf_load(s + v * VL);
            acc[t][v] += vf_load(m + v * VL) * total;
        }
    }
}

INLINE void multiply_quantized(const dp_tile *tile, const panel *p, int32_t token, int count, int grain, bool is_signed) {
    vf acc[PANEL_TOKENS][PANEL_VECTORS] = {{{0}}};
    const dp_act_unit *x[PANEL_TOKENS];
    for (int t = 0; t < count; t++) x[t] = (const dp_act_unit *)tile->x[token + t] + p->column / DP_UNIT;
    for (int32_t at = 0; at < p->cols; at += grain) {
        if (token == 0) ask_for_next(tile, p, at, grain);
        multiply_grain(p, at, x, acc, count, grain, is_signed);
    }
    for (int t = 0; t < count; t++) add_result(tile, p, token + t, acc[t]);
}

/* A constant count for each number of tokens left over. */
INLINE void multiply_tokens(const dp_tile *tile, const panel *p, int grain, bool is_signed) {
    int32_t t = 0;
    for (; t + PANEL_TOKENS <= tile->tokens; t += PANEL_TOKENS) multiply_quantized(tile, p, t, PANEL_TOKENS, grain, is_signed);
    for (; t + 2 <= tile->tokens; t += 2) multiply_quantized(tile, p, t, 2, grain, is_signed);
    if (t < tile->tokens) multiply_quantized(tile, p, t, 1, grain, is_signed);
}

#endif

/* Shared by the formats, so not inlined into each. */
#define NOINLINE static __attribute__((noinline, unused))
NOINLINE void multiply_16(const dp_tile *tile, const panel *p) { multiply_tokens(tile, p, 16, false); }
NOINLINE void multiply_32(const dp_tile *tile, const panel *p) { multiply_tokens(tile, p, 32, false); }
NOINLINE void multiply_signed(const dp_tile *tile, const panel *p) { multiply_tokens(tile, p, 32, true); }

/* For few tokens weights come from memory as fast as they are used: narrow panels mix reading with multiplying. */
enum { FEW_TOKENS = 24, FEW_TOKENS_COLS = 2 * DP_UNIT };

INLINE void panel_quantized(const dp_tile *tile, fill_fn fill, int unit_bytes, int grain, bool is_signed) {
    panel p = {.q = tile->scratch, .unit_bytes = unit_bytes};
    p.s = (float *)(void *)(p.q + PANEL_ROWS * DP_PANEL_COLS);
    p.m = p.s + PANEL_ROWS * (DP_PANEL_COLS / 16);
    int32_t cols = dp_act_units(tile->weight->cols) * DP_UNIT;
    int32_t most = tile->tokens > FEW_TOKENS ? DP_PANEL_COLS : FEW_TOKENS_COLS;
    for (int32_t r = 0; r < tile->rows; r += PANEL_ROWS) {
        p.first = tile->first + r;
        p.rows = DP_MIN(tile->rows - r, PANEL_ROWS);
        for (p.column = 0; p.column < cols; p.column += most) {
            p.cols = DP_MIN(cols - p.column, most);
            bool last = p.column + p.cols == cols;
            p.next = (uintptr_t)tile->matrix + (size_t)(p.first + (last ? PANEL_ROWS : 0)) * tile->weight->row_bytes +
                     (last ? 0 : (size_t)((p.column + p.cols) / DP_UNIT * unit_bytes));
            fill_panel(tile, &p, fill, unit_bytes, grain);
            if (is_signed) multiply_signed(tile, &p);
            else if (grain == 32) multiply_32(tile, &p);
            else multiply_16(tile, &p);
        }
    }
}

/* ---- float ---- */

INLINE void pack_floats(const dp_tile *tile, const panel *p, load1_fn load1, int bytes) {
    for (int32_t r = 0; r < PANEL_ROWS; r++) {
        const uint8_t *row = tile->matrix + (size_t)(p->first + DP_MIN(r, p->rows - 1)) * tile->weight->row_bytes +
                             (size_t)p->column * (size_t)bytes;
        for (int32_t k = 0; k < p->cols; k++) p->f[k * PANEL_ROWS + r] = load1(row + k * bytes);
    }
}

INLINE void multiply_floats(const dp_tile *tile, const panel *p, int32_t token, int count) {
    vf acc[PANEL_TOKENS_F32][PANEL_VECTORS] = {{{0}}};
    const float *x[PANEL_TOKENS_F32];
    for (int t = 0; t < count; t++) x[t] = (const float *)tile->x[token + t] + p->column;
    for (int32_t k = 0; k < p->cols; k++) {
        vf w[PANEL_VECTORS];
        for (int v = 0; v < PANEL_VECTORS; v++) w[v] = vf_load(p->f + k * PANEL_ROWS + v * VL);
        UNROLL(16)
        for (int t = 0; t < count; t++)
            for (int v = 0; v < PANEL_VECTORS; v++) acc[t][v] += w[v] * x[t][k];
    }
    for (int t = 0; t < count; t++) add_result(tile, p, token + t, acc[t]);
}

NOINLINE void multiply_tokens_f32(const dp_tile *tile, const panel *p) {
    int32_t t = 0;
    for (; t + PANEL_TOKENS_F32 <= tile->tokens; t += PANEL_TOKENS_F32) multiply_floats(tile, p, t, PANEL_TOKENS_F32);
    for (; t + 2 <= tile->tokens; t += 2) multiply_floats(tile, p, t, 2);
    if (t < tile->tokens) multiply_floats(tile, p, t, 1);
}

INLINE void panel_floats(const dp_tile *tile, load1_fn load1, int bytes) {
    panel p = {.f = tile->scratch};
    for (int32_t r = 0; r < tile->rows; r += PANEL_ROWS) {
        p.first = tile->first + r;
        p.rows = DP_MIN(tile->rows - r, PANEL_ROWS);
        for (p.column = 0; p.column < tile->weight->cols; p.column += DP_PANEL_COLS_F32) {
            p.cols = DP_MIN(tile->weight->cols - p.column, DP_PANEL_COLS_F32);
            pack_floats(tile, &p, load1, bytes);
            multiply_tokens_f32(tile, &p);
        }
    }
}

#define PANEL_CASE(NAME, name, bytes, grain, is_signed)                                                                \
    case DP_##NAME: panel_quantized(tile, fill_##name, bytes, grain, is_signed); break;

static void panel_tile(const dp_tile *tile) {
    switch (tile->weight->dtype) {
    case DP_F32: panel_floats(tile, load1_f32, 4); break;
    case DP_F16: panel_floats(tile, load1_f16, 2); break;
    case DP_BF16: panel_floats(tile, load1_bf16, 2); break;
        QUANTIZED_FORMATS(PANEL_CASE)
    default: break; /* refused by dp_fast_multiplies */
    }
}

/* ---- activations ---- */

/* Blocks of 32 columns share a scale of largest magnitude / 127; values round to the nearest, ties to even. */
INLINE void quantize_block(const float *restrict x, dp_act_unit *restrict out, int block) {
    typedef int8_t lanes __attribute__((vector_size(VL), aligned(1), may_alias));
    vf most = {0};
    for (int i = 0; i < 32; i += VL) most = vf_max(vf_bits(vi_load(x + i) & 0x7FFFFFFF), most);
    float largest = vf_most(most), scale = largest / 127, inverse = largest > 1e-35f ? 127 / largest : 0;
    vi sums[2] = {{0}, {0}};
    for (int i = 0; i < 32; i += VL) {
        vf shifted = vf_load(x + i) * inverse + 12582912.0f; /* 1.5 * 2^23: the low bits are the rounded integer */
        vi q = vi_bits(shifted) - 0x4B400000;
        *(lanes *)(out->q + 32 * block + i) = __builtin_convertvector(q, lanes);
        sums[i / 16] += q;
    }
    float low = vf_sum(vf_of(sums[0])), high = vf_sum(vf_of(sums[1])); /* whole numbers: exact */
    out->scale[2 * block] = out->scale[2 * block + 1] = scale;
    out->sum16[2 * block] = scale * low;
    out->sum16[2 * block + 1] = scale * high;
    out->sum32[block] = scale * (low + high);
#if defined(__wasm_simd128__)
    for (int i = 0; i < 32; i++) out->wide[32 * block + i / 16 * 16 + i % 2 * 8 + i % 16 / 2] = out->q[32 * block + i];
#endif
}

static void quantize_row(const float *x, int32_t cols, dp_act_unit *out) {
    for (int32_t u = 0; u < dp_act_units(cols); u++) {
        if (cols - u * DP_UNIT < DP_UNIT) memset(out + u, 0, sizeof *out);
        for (int b = 0; b < 8 && u * DP_UNIT + b * 32 < cols; b++) quantize_block(x + u * DP_UNIT + b * 32, out + u, b);
    }
}

#endif
