/* fast_i8mm.h: the part of fast_panel.h that multiplies, with instructions that multiply two rows of 8 bytes with two rows
 * of 8 bytes. A vector holds 8 columns of two rows, or of two tokens, and a sum's lanes are (row 0, token 0),
 * (row 0, token 1), (row 1, token 0), (row 1, token 1). */
#ifndef DP_FAST_I8MM_H
#define DP_FAST_I8MM_H

enum { PAIRS = PANEL_ROWS / 2, TOKEN_PAIRS = 2 };

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
    const int8_t *q = (const int8_t *)p->q + (size_t)at * PANEL_ROWS;
    UNROLL(4)
    for (int k = 0; k < grain; k += 8, q += 8 * PANEL_ROWS)
        for (int t = 0; t < count; t++) {
            int8x16_t a = two_tokens(x[2 * t] + unit, x[2 * t + 1] + unit, column + k);
            for (int r = 0; r < PAIRS; r++) sum[t][r] = vmmlaq_s32(sum[t][r], vld1q_s8(q + 16 * r), a);
        }
    const float *s = p->s + at / grain * PANEL_ROWS, *m = p->m + at / grain * PANEL_ROWS;
    for (int t = 0; t < count; t++) {
        const dp_act_unit *a = x[2 * t] + unit, *b = x[2 * t + 1] + unit;
        vf scale = both_twice(a->scale[column / 16], b->scale[column / 16]);
        vf total = grain == 32 ? both_twice(a->sum32[column / 32], b->sum32[column / 32])
                               : both_twice(a->sum16[column / 16], b->sum16[column / 16]);
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
    for (int32_t at = 0; at < p->cols; at += grain) {
        if (token == 0) ask_for_next(tile, p, at, grain);
        multiply_pairs_grain(p, at, x, acc, count, grain);
    }
    for (int32_t t = 0; t < 2 * count && token + t < tile->tokens; t++) {
        const vf *of = acc[t / 2];
        vf sums[PANEL_VECTORS];
        for (int v = 0, lane = t % 2; v < PANEL_VECTORS; v++)
            sums[v] = (vf){of[2 * v][lane], of[2 * v][2 + lane], of[2 * v + 1][lane], of[2 * v + 1][2 + lane]};
        add_result(tile, p, token + t, sums);
    }
}

/* All bytes are signed here. */
INLINE void multiply_tokens(const dp_tile *tile, const panel *p, int grain, bool is_signed) {
    (void)is_signed;
    for (int32_t t = 0; t < tile->tokens; t += 2 * TOKEN_PAIRS)
        if (tile->tokens - t > 2) multiply_pairs(tile, p, t, TOKEN_PAIRS, grain);
        else multiply_pairs(tile, p, t, 1, grain);
}

#endif
