/* fast_i8mm.h: products for many tokens with instructions that multiply two rows of 8 bytes with two rows of 8 bytes.
 * A panel is PAIR_ROWS weight rows times some columns; a vector holds 8 columns of two rows, or of two tokens, and a
 * sum's lanes are (row 0, token 0), (row 0, token 1), (row 1, token 0), (row 1, token 1).
 *
 *   bytes    [cols / 8][PAIR_ROWS / 2][2 rows][8]
 *   s and m  [cols / grain][PAIR_ROWS], m negated */
#ifndef DP_FAST_I8MM_H
#define DP_FAST_I8MM_H

#include "cpu/fast_panel.h"

enum { PAIR_ROWS = 8, PAIRS = PAIR_ROWS / 2, TOKEN_PAIRS = 2 };

INLINE void pack_pairs(const dp_tile *tile, const panel *p, unpack_fn unpack, int unit_bytes, int grain) {
    unpacked u;
    for (int32_t r = 0; r < PAIR_ROWS; r++) {
        int32_t blocks = (tile->weight->cols - p->column) / 32;
        const uint8_t *from = tile->matrix + (size_t)(p->first + DP_MIN(r, p->rows - 1)) * tile->weight->row_bytes;
        for (int32_t c = 0; c < p->cols; c += DP_UNIT, blocks -= 8) {
            unpack(from + (size_t)((p->column + c) / DP_UNIT) * (size_t)unit_bytes, blocks < 8 ? blocks : 8, &u);
            uint8_t *q = p->q + (size_t)c * PAIR_ROWS + (size_t)r * 8;
            for (int k = 0; k < DP_UNIT; k += 8, q += 8 * PAIR_ROWS) memcpy(q, u.q + k, 8);
            for (int g = 0; g < DP_UNIT / grain; g++) {
                p->s[(c / grain + g) * PAIR_ROWS + r] = u.s[g * grain / 16];
                p->m[(c / grain + g) * PAIR_ROWS + r] = -u.m[g * grain / 16];
            }
        }
    }
}

/* Two rows' numbers, each for two tokens; two tokens' numbers, each for two rows. */
INLINE vf each_twice(const float *x) {
    float32x2_t v = vld1_f32(x);
    return (vf)vcombine_f32(vdup_lane_f32(v, 0), vdup_lane_f32(v, 1));
}
INLINE vf both_twice(float a, float b) { return (vf){a, b, a, b}; }

INLINE int8x16_t two_tokens(const dp_act_unit *a, const dp_act_unit *b, int32_t column) {
    return vcombine_s8(vld1_s8(a->q + column), vld1_s8(b->q + column));
}

/* One scale's columns times `count` pairs of tokens. x: 2 count tokens at this unit. */
INLINE void multiply_pairs_grain(const panel *p, int32_t at, const dp_act_unit *const *x, vf (*acc)[PAIRS], int count, int grain) {
    int32x4_t sum[TOKEN_PAIRS][PAIRS] = {{{0}}};
    int32_t unit = at / DP_UNIT, column = at % DP_UNIT;
    const int8_t *q = (const int8_t *)p->q + (size_t)at * PAIR_ROWS;
    UNROLL(4)
    for (int k = 0; k < grain; k += 8, q += 8 * PAIR_ROWS)
        for (int t = 0; t < count; t++) {
            int8x16_t a = two_tokens(x[2 * t] + unit, x[2 * t + 1] + unit, column + k);
            for (int r = 0; r < PAIRS; r++) sum[t][r] = vmmlaq_s32(sum[t][r], vld1q_s8(q + 16 * r), a);
        }
    const float *s = p->s + at / grain * PAIR_ROWS, *m = p->m + at / grain * PAIR_ROWS;
    for (int t = 0; t < count; t++) {
        const dp_act_unit *a = x[2 * t] + unit, *b = x[2 * t + 1] + unit;
        vf scale = both_twice(a->scale[column / 16], b->scale[column / 16]);
        vf total = grain == 32 ? both_twice(a->sum32[column / 32], b->sum32[column / 32]) : both_twice(a->sum16[column / 16], b->sum16[column / 16]);
        for (int r = 0; r < PAIRS; r++) {
            acc[t][r] += vf_of((vi)sum[t][r]) * scale * each_twice(s + 2 * r);
            acc[t][r] += each_twice(m + 2 * r) * total;
        }
    }
}

INLINE void multiply_pairs(const dp_tile *tile, const panel *p, int32_t token, int count, int grain) {
    vf acc[TOKEN_PAIRS][PAIRS] = {{{0}}};
    const dp_act_unit *x[2 * TOKEN_PAIRS];
    for (int t = 0; t < 2 * count; t++) /* an odd last token is its own partner */
        x[t] = (const dp_act_unit *)tile->x[DP_MIN(token + t, tile->tokens - 1)] + p->column / DP_UNIT;
    for (int32_t at = 0; at < p->cols; at += grain) multiply_pairs_grain(p, at, x, acc, count, grain);
    for (int32_t t = 0; t < 2 * count && token + t < tile->tokens; t++)
        for (int32_t r = 0; r < p->rows; r++) {
            float *y = tile->y[token + t] + p->first + r;
            float before = p->column ? *y : tile->bias ? tile->bias[p->first + r] : 0;
            *y = before + acc[t / 2][r / 2][r % 2 * 2 + t % 2];
        }
}

/* Shared by the formats, so not inlined into each. */
NOINLINE void multiply_pairs_16(const dp_tile *tile, const panel *p, int32_t token, int count) {
    if (count == TOKEN_PAIRS) multiply_pairs(tile, p, token, TOKEN_PAIRS, 16);
    else multiply_pairs(tile, p, token, 1, 16);
}
NOINLINE void multiply_pairs_32(const dp_tile *tile, const panel *p, int32_t token, int count) {
    if (count == TOKEN_PAIRS) multiply_pairs(tile, p, token, TOKEN_PAIRS, 32);
    else multiply_pairs(tile, p, token, 1, 32);
}

INLINE void panel_pairs(const dp_tile *tile, unpack_fn unpack, int unit_bytes, int grain) {
    panel p = {.q = tile->scratch};
    p.s = (float *)(void *)(p.q + PAIR_ROWS * DP_PANEL_COLS);
    p.m = p.s + PAIR_ROWS * (DP_PANEL_COLS / 16);
    int32_t cols = dp_act_units(tile->weight->cols) * DP_UNIT;
    for (int32_t r = 0; r < tile->rows; r += PAIR_ROWS) {
        p.first = tile->first + r;
        p.rows = DP_MIN(tile->rows - r, PAIR_ROWS);
        for (p.column = 0; p.column < cols; p.column += DP_PANEL_COLS) {
            p.cols = DP_MIN(cols - p.column, DP_PANEL_COLS);
            pack_pairs(tile, &p, unpack, unit_bytes, grain);
            for (int32_t t = 0; t < tile->tokens; t += 2 * TOKEN_PAIRS) {
                int count = DP_MIN((tile->tokens - t + 1) / 2, TOKEN_PAIRS);
                if (grain == 32) multiply_pairs_32(tile, &p, t, count);
                else multiply_pairs_16(tile, &p, t, count);
            }
        }
    }
}

#define PAIRS_CASE(NAME, name, bytes, grain, is_signed)                                                                \
    case DP_##NAME: panel_pairs(tile, unpack_##name, bytes, grain); break;

static double spin_pairs(int32_t rounds) {
    int8_t w[2][16];
    for (int i = 0; i < 16; i++) w[0][i] = (int8_t)-(w[1][i] = (int8_t)i);
    int32x4_t sum[12];
    for (int i = 0; i < 12; i++) sum[i] = vdupq_n_s32(i);
    for (int32_t r = 0; r < rounds; r++) {
        int8x16_t row = vld1q_s8(w[r % 2]);
        UNROLL(12)
        for (int i = 0; i < 12; i++) sum[i] = vmmlaq_s32(sum[i], row, vdupq_n_s8((int8_t)i));
    }
    for (int i = 1; i < 12; i++) sum[0] = vaddq_s32(sum[0], sum[i]);
    volatile int32_t sink = vaddvq_s32(sum[0]);
    (void)sink;
    return 12.0 * 32 * rounds;
}

static void pairs_tile(const dp_tile *tile) {
    switch (tile->weight->dtype) {
        QUANTIZED_FORMATS(PAIRS_CASE)
    default: panel_tile(tile); break; /* floats */
    }
}

#endif
