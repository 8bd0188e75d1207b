/* fast_fill512.h: panels filled 16 rows at a time, for registers of 64 bytes. Rows are turned while their bits are still
 * packed, so that a vector holds the same 4 bytes of 16 rows; taking nibbles and scales apart then costs a few operations
 * for all of them, and leaves them where the panel wants them. Layouts are drawn in quant/quant_*.c. */
#ifndef DP_FAST_FILL512_H
#define DP_FAST_FILL512_H

#include "cpu/fast_unpack512.h"

enum { FILL_ROWS = 16 };

INLINE __m128i load16(const uint8_t *p) { return _mm_loadu_si128((const __m128i *)(const void *)p); }
INLINE __m512i bits_of(__m512i x, int shift, int mask) {
    return _mm512_and_si512(_mm512_srli_epi32(x, (unsigned)shift), _mm512_set1_epi32(mask));
}
INLINE __m512i bytes_of(int x) { return _mm512_set1_epi8((char)x); }

/* 16 bytes of each of 16 rows; out[i] has word i of every row. */
INLINE void turn(const uint8_t *const *row, int at, __m512i *out) {
    __m512i x[4];
    UNROLL(4)
    for (int i = 0; i < 4; i++) {
        x[i] = _mm512_castsi128_si512(load16(row[i] + at));
        x[i] = _mm512_inserti32x4(x[i], load16(row[4 + i] + at), 1);
        x[i] = _mm512_inserti32x4(x[i], load16(row[8 + i] + at), 2);
        x[i] = _mm512_inserti32x4(x[i], load16(row[12 + i] + at), 3);
    }
    __m512i a = _mm512_unpacklo_epi32(x[0], x[1]), b = _mm512_unpacklo_epi32(x[2], x[3]);
    __m512i c = _mm512_unpackhi_epi32(x[0], x[1]), d = _mm512_unpackhi_epi32(x[2], x[3]);
    out[0] = _mm512_unpacklo_epi64(a, b);
    out[1] = _mm512_unpackhi_epi64(a, b);
    out[2] = _mm512_unpacklo_epi64(c, d);
    out[3] = _mm512_unpackhi_epi64(c, d);
}

/* ---- to the panel ---- */

/* Columns [column, column + 4) of the unit. */
INLINE void put_bytes(panel_place to, int column, __m512i bytes) { _mm512_storeu_si512(to.q + column * PANEL_ROWS, bytes); }

/* Scale number g of the unit: value = scale * byte + minus. */
INLINE void put_scale(panel_place to, int g, __m512 scale, __m512 minus) {
    _mm512_storeu_ps(to.s + g * PANEL_ROWS, scale);
    _mm512_storeu_ps(to.m + g * PANEL_ROWS, minus);
}

/* Nibbles of 16 bytes a row: the low ones to `column` on, the high ones to `high`; `table` maps them, if not NULL. */
INLINE void put_nibbles(panel_place to, int column, int high, const uint8_t *const *row, int at, const __m512i *table) {
    __m512i x[4];
    turn(row, at, x);
    UNROLL(4)
    for (int i = 0; i < 4; i++) {
        __m512i low_half = _mm512_and_si512(x[i], bytes_of(15)), high_half = _mm512_and_si512(_mm512_srli_epi16(x[i], 4), bytes_of(15));
        put_bytes(to, column + 4 * i, table ? _mm512_shuffle_epi8(*table, low_half) : low_half);
        put_bytes(to, high + 4 * i, table ? _mm512_shuffle_epi8(*table, high_half) : high_half);
    }
}

/* ---- any format: unpacked row by row, then turned ---- */

INLINE void fill_unpacked(const uint8_t *const *row, int blocks, panel_place to, unpack_fn unpack, int grain) {
    unpacked u[FILL_ROWS];
    const uint8_t *q[FILL_ROWS], *s[FILL_ROWS], *m[FILL_ROWS];
    for (int i = 0; i < FILL_ROWS; i++) {
        unpack(row[i], blocks, &u[i]);
        q[i] = u[i].q, s[i] = (const uint8_t *)u[i].s, m[i] = (const uint8_t *)u[i].m;
    }
    __m512i x[4], y[4];
    for (int column = 0; column < DP_UNIT; column += 16) {
        turn(q, column, x);
        for (int i = 0; i < 4; i++) put_bytes(to, column + 4 * i, x[i]);
    }
    for (int g = 0; g < DP_UNIT / 16; g += 4) {
        turn(s, g * 4, x);
        turn(m, g * 4, y);
        for (int i = 0; i < 4; i += grain / 16) put_scale(to, (g + i) * 16 / grain, (__m512)x[i], -(__m512)y[i]);
    }
}

#define FILL_UNPACKED(NAME, name, bytes, grain, is_signed)                                                             \
    INLINE void fill_##name(const uint8_t *const *row, int blocks, panel_place to) { fill_unpacked(row, blocks, to, unpack_##name, grain); }
QUANTIZED_FORMATS(FILL_UNPACKED)

/* ---- blocks of 32 ---- */

/* An f16 of each row. */
INLINE __m512 row_halves(const uint8_t *const *row, int at) {
    uint16_t h[FILL_ROWS];
    for (int i = 0; i < FILL_ROWS; i++) h[i] = dp_load_u16(row[i] + at);
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)h));
}

INLINE void fill_behind(int blocks, panel_place to) {
    for (int c = 32 * blocks; c < DP_UNIT; c += 4) put_bytes(to, c, _mm512_setzero_si512());
    for (int b = blocks; b < 8; b++) put_scale(to, b, _mm512_setzero_ps(), _mm512_setzero_ps());
}

INLINE void turned_q4_0(const uint8_t *const *row, int blocks, panel_place to) {
    for (int b = 0; b < blocks; b++) {
        __m512 d = row_halves(row, 18 * b);
        put_nibbles(to, 32 * b, 32 * b + 16, row, 18 * b + 2, NULL);
        put_scale(to, b, d, d * -8);
    }
    fill_behind(blocks, to);
}

INLINE void turned_q8_0(const uint8_t *const *row, int blocks, panel_place to) {
    for (int b = 0; b < blocks; b++) {
        __m512 d = row_halves(row, 34 * b);
        __m512i x[8];
        turn(row, 34 * b + 2, x);
        turn(row, 34 * b + 18, x + 4);
        for (int i = 0; i < 8; i++) put_bytes(to, 32 * b + 4 * i, _mm512_xor_si512(x[i], bytes_of(-128)));
        put_scale(to, b, d, d * -128);
    }
    fill_behind(blocks, to);
}

/* As mxfp4_scale, of each row. */
INLINE __m512 row_powers(const uint8_t *const *row, int at) {
    uint8_t bytes[FILL_ROWS];
    for (int i = 0; i < FILL_ROWS; i++) bytes[i] = row[i][at];
    __m512i e = _mm512_cvtepu8_epi32(load16(bytes));
    __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    __mmask16 small = _mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(2));
    return (__m512)_mm512_mask_sllv_epi32(normal, small, _mm512_set1_epi32(0x00200000), e);
}

INLINE void turned_mxfp4(const uint8_t *const *row, int blocks, panel_place to) {
    const __m512i plus12 = mxfp4_plus12();
    for (int b = 0; b < blocks; b++) {
        __m512 d = row_powers(row, 17 * b);
        put_nibbles(to, 32 * b, 32 * b + 16, row, 17 * b + 1, &plus12);
        put_scale(to, b, d, d * -12);
    }
    fill_behind(blocks, to);
}

/* ---- super-blocks ---- */

/* d, dmin and 8 scales and minimums of six bits, as scales_of_32. */
INLINE void put_scales_of_32(const uint8_t *const *row, panel_place to) {
    __m512i x[4];
    turn(row, 0, x);
    __m512 d = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(x[0]));
    __m512 minus = -_mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(x[0], 16)));
    UNROLL(4)
    for (int j = 0; j < 4; j++) {
        put_scale(to, j, _mm512_cvtepi32_ps(bits_of(x[1], 8 * j, 63)) * d, _mm512_cvtepi32_ps(bits_of(x[2], 8 * j, 63)) * minus);
        __m512i scale = _mm512_or_si512(bits_of(x[3], 8 * j, 15), bits_of(x[1], 8 * j + 2, 0x30));
        __m512i min = _mm512_or_si512(bits_of(x[3], 8 * j + 4, 15), bits_of(x[2], 8 * j + 2, 0x30));
        put_scale(to, 4 + j, _mm512_cvtepi32_ps(scale) * d, _mm512_cvtepi32_ps(min) * minus);
    }
}

INLINE void turned_q4_k(const uint8_t *const *row, int blocks, panel_place to) {
    (void)blocks;
    put_scales_of_32(row, to);
    for (int at = 0; at < 128; at += 16) put_nibbles(to, at / 32 * 64 + at % 32, at / 32 * 64 + at % 32 + 32, row, 16 + at, NULL);
}

/* Bits `mask` of x, moved by `left` (to the right if negative) within bytes. */
INLINE __m512i moved_bits(__m512i x, int mask, int left) {
    x = _mm512_and_si512(x, bytes_of(mask));
    return left >= 0 ? _mm512_slli_epi16(x, (unsigned)left) : _mm512_srli_epi16(x, (unsigned)-left);
}

INLINE void turned_q5_k(const uint8_t *const *row, int blocks, panel_place to) {
    (void)blocks;
    put_scales_of_32(row, to);
    for (int half = 0; half < 32; half += 16) {
        __m512i high[4], x[4];
        turn(row, 16 + half, high);
        UNROLL(4)
        for (int g = 0; g < 4; g++) {
            turn(row, 48 + 32 * g + half, x);
            for (int i = 0; i < 4; i++) {
                put_bytes(to, 64 * g + half + 4 * i, moved_bits(x[i], 15, 0) | moved_bits(high[i], 1 << 2 * g, 4 - 2 * g));
                put_bytes(to, 64 * g + half + 32 + 4 * i, moved_bits(x[i], 0xF0, -4) | moved_bits(high[i], 2 << 2 * g, 3 - 2 * g));
            }
        }
    }
}

/* 16 scales of one byte, signed. */
INLINE void put_byte_scales(const uint8_t *const *row, int at, __m512 d, float offset, panel_place to) {
    __m512i x[4];
    turn(row, at, x);
    UNROLL(4)
    for (int i = 0; i < 4; i++)
        UNROLL(4)
        for (int j = 0; j < 4; j++) {
            __m512i scale = _mm512_srai_epi32(_mm512_slli_epi32(x[i], (unsigned)(24 - 8 * j)), 24);
            __m512 s = _mm512_cvtepi32_ps(scale) * d;
            put_scale(to, 4 * i + j, s, s * -offset);
        }
}

INLINE void turned_q6_k(const uint8_t *const *row, int blocks, panel_place to) {
    (void)blocks;
    put_byte_scales(row, 192, row_halves(row, 208), 32, to);
    for (int at = 0; at < 64; at += 16) {
        int column = at / 32 * 128 + at % 32;
        __m512i a[4], b[4], high[4];
        turn(row, at / 32 * 64 + at % 32, a);
        turn(row, at / 32 * 64 + at % 32 + 32, b);
        turn(row, 128 + at, high);
        UNROLL(4)
        for (int i = 0; i < 4; i++, column += 4) {
            put_bytes(to, column, moved_bits(a[i], 15, 0) | moved_bits(high[i], 3, 4));
            put_bytes(to, column + 32, moved_bits(b[i], 15, 0) | moved_bits(high[i], 0x0C, 2));
            put_bytes(to, column + 64, moved_bits(a[i], 0xF0, -4) | moved_bits(high[i], 0x30, 0));
            put_bytes(to, column + 96, moved_bits(b[i], 0xF0, -4) | moved_bits(high[i], 0xC0, -2));
        }
    }
}

#define fill_q4_0 turned_q4_0
#define fill_q8_0 turned_q8_0
#define fill_mxfp4 turned_mxfp4
#define fill_q4_k turned_q4_k
#define fill_q5_k turned_q5_k
#define fill_q6_k turned_q6_k

#endif
