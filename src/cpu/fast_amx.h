/* fast_amx.h: products for many tokens on AMX's tiles, in bf16 with f32 sums. A panel is PANEL_TILE_ROWS weight rows times
 * DP_UNIT columns, unpacked to bf16 once for all tokens; it stays in the second-level cache, and sums wait beside it
 * until all columns have passed. A tile of weights is 16 rows of 32 columns as they follow each other; a tile of
 * activations is 16 pairs of columns of 16 tokens, arranged once per slot (pack_tokens).
 *
 *   panel   [PANEL_TILE_ROWS / 32] of [8 steps][32 rows][32 columns], a second time for what bf16 leaves of F16
 *   block   [parts][units][8 steps][16 pairs][16 tokens][2]
 *   sums    [tokens / 16][PANEL_TILE_ROWS / 16][16 rows][16 tokens]
 *
 * Rounding quantised weights and activations to bf16 moves results less than int8 activations do. Products of bytes would
 * not be faster: the scales, one per 32 columns, halve their rate and cost more than they do. */
#ifndef DP_FAST_AMX_H
#define DP_FAST_AMX_H

#include "cpu/fast_panel.h"

enum {
    TILE = 16,                                   /* rows and tokens of a tile */
    STEP_COLS = 32,
    STEPS = DP_UNIT / STEP_COLS,
    TILE_BYTES = 1024,
    BLOCK_UNIT = STEPS * TILE_BYTES,             /* bytes of one unit of a block of tokens */
    GROUP_ROWS = 2 * TILE,                       /* rows that are multiplied at a time */
    GROUP_BYTES = GROUP_ROWS * DP_UNIT * 2,
    PANEL_TILE_ROWS = DP_PACKED_ROWS,
    PANEL_BYTES = PANEL_TILE_ROWS / GROUP_ROWS * GROUP_BYTES,
    TILES_DOWN = PANEL_TILE_ROWS / TILE,
    ROWS_AHEAD = 16,                             /* rows are too far apart for the processor to guess the next */
};

typedef __m512bh halves;
INLINE __m512i two_halves(__m512 low, __m512 high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }
INLINE __m512 low_floats(__m512i h) { return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(h)), 16); }
INLINE __m512 high_floats(__m512i h) { return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(h, 1)), 16); }

/* 16 x 16 words, in place. */
INLINE void transpose(__m512i *x) {
    __m512i y[16];
    UNROLL(8)
    for (int i = 0; i < 16; i += 2) {
        y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
    }
    UNROLL(4)
    for (int i = 0; i < 16; i += 4)
        for (int k = 0; k < 2; k++) {
            x[i + 2 * k] = _mm512_unpacklo_epi64(y[i + k], y[i + k + 2]);
            x[i + 2 * k + 1] = _mm512_unpackhi_epi64(y[i + k], y[i + k + 2]);
        }
    UNROLL(4)
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 2; k++) { /* quarters 0 and 2, 1 and 3 of rows 8 k + i and 8 k + i + 4 */
            y[8 * k + i] = _mm512_shuffle_i32x4(x[8 * k + i], x[8 * k + i + 4], 0x88);
            y[8 * k + i + 4] = _mm512_shuffle_i32x4(x[8 * k + i], x[8 * k + i + 4], 0xDD);
        }
    UNROLL(8)
    for (int i = 0; i < 8; i++) {
        x[i] = _mm512_shuffle_i32x4(y[i], y[i + 8], 0x88);
        x[i + 8] = _mm512_shuffle_i32x4(y[i], y[i + 8], 0xDD);
    }
}

/* ---- activations ---- */

/* Columns [at, at + 32) of a row, zeros behind its end. */
INLINE void load_columns(const float *x, int32_t at, int32_t cols, __m512 *low, __m512 *high) {
    int32_t left = cols - at;
    uint32_t mask = left >= 32 ? UINT32_MAX : ((uint32_t)1 << left) - 1;
    *low = _mm512_maskz_loadu_ps((__mmask16)mask, x + at);
    *high = _mm512_maskz_loadu_ps((__mmask16)(mask >> 16), x + at + 16);
}

static void pack_tokens(const float *const *x, int32_t tokens, int32_t cols, int32_t parts, void *block) {
    uint8_t *first = block, *rest = first + dp_pack_bytes(cols, 1);
    memset(block, 0, dp_pack_bytes(cols, parts));
    for (int32_t at = 0; at < cols; at += STEP_COLS, first += TILE_BYTES, rest += TILE_BYTES) {
        __m512i a[TILE], b[TILE];
        for (int t = 0; t < TILE; t++) {
            __m512 low, high;
            if (t >= tokens) {
                a[t] = b[t] = _mm512_setzero_si512();
                continue;
            }
            load_columns(x[t], at, cols, &low, &high);
            a[t] = two_halves(low, high);
            b[t] = two_halves(low - low_floats(a[t]), high - high_floats(a[t]));
        }
        transpose(a);
        for (int i = 0; i < TILE; i++) _mm512_storeu_si512(first + 64 * i, a[i]);
        if (parts == 1) continue;
        transpose(b);
        for (int i = 0; i < TILE; i++) _mm512_storeu_si512(rest + 64 * i, b[i]);
    }
}

/* ---- weights: one unit of a row to its places in the panel, GROUP_ROWS lines apart ---- */

enum { LINE_STEP = GROUP_ROWS * STEP_COLS * 2 };

INLINE void expand_quantized(const unpacked *u, uint8_t *out) {
    for (int j = 0; j < STEPS; j++) {
        __m512 f[2];
        for (int h = 0; h < 2; h++) {
            __m512i q = _mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)(const void *)(u->q + 32 * j + 16 * h)));
            f[h] = _mm512_fmsub_ps(_mm512_cvtepi32_ps(q), _mm512_set1_ps(u->s[2 * j + h]), _mm512_set1_ps(u->m[2 * j + h]));
        }
        _mm512_store_si512(out + j * LINE_STEP, two_halves(f[0], f[1]));
    }
}

INLINE void expand_bf16(const uint8_t *p, int32_t cols, uint8_t *out) {
    for (int j = 0; j < STEPS; j++) {
        int32_t left = cols - 32 * j;
        __mmask32 mask = left >= 32 ? UINT32_MAX : left <= 0 ? 0 : ((uint32_t)1 << left) - 1;
        _mm512_store_si512(out + j * LINE_STEP, _mm512_maskz_loadu_epi16(mask, p + 64 * j));
    }
}

/* An f16 is exactly the sum of two bf16. */
INLINE void expand_f16(const uint8_t *p, int32_t cols, uint8_t *out) {
    for (int j = 0; j < STEPS; j++) {
        int32_t left = cols - 32 * j;
        __mmask32 mask = left >= 32 ? UINT32_MAX : left <= 0 ? 0 : ((uint32_t)1 << left) - 1;
        __m512i both = _mm512_maskz_loadu_epi16(mask, p + 64 * j);
        __m512 low = _mm512_cvtph_ps(_mm512_castsi512_si256(both)), high = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(both, 1));
        __m512i first = two_halves(low, high);
        _mm512_store_si512(out + j * LINE_STEP, first);
        _mm512_store_si512(out + j * LINE_STEP + PANEL_BYTES, two_halves(low - low_floats(first), high - high_floats(first)));
    }
}

typedef struct amx_panel {
    const dp_tile *tile;
    int32_t first, rows;     /* rows <= PANEL_TILE_ROWS; behind them the last is repeated up to a whole group */
    int32_t token, tokens;
    int32_t units, unit;
    int32_t blocks;          /* of 16 tokens */
    int32_t parts;           /* of the activations; the weights have two if both has_rest */
    bool has_rest;
    uint8_t *weights;
    float *sums;
} amx_panel;

INLINE const uint8_t *unit_of_row(const amx_panel *p, int32_t row, int unit_bytes) {
    size_t at = (size_t)(p->first + DP_MIN(row, p->rows - 1));
    return p->tile->matrix + at * p->tile->weight->row_bytes + (size_t)p->unit * (size_t)unit_bytes;
}

INLINE uint8_t *place_of_row(const amx_panel *p, int32_t row) {
    return p->weights + row / GROUP_ROWS * GROUP_BYTES + row % GROUP_ROWS * 64;
}

INLINE int32_t whole_groups(const amx_panel *p) { return (p->rows + GROUP_ROWS - 1) / GROUP_ROWS * GROUP_ROWS; }

INLINE void fill_quantized(const amx_panel *p, unpack_fn unpack, int unit_bytes) {
    int32_t blocks = p->tile->weight->cols / 32 - 8 * p->unit;
    unpacked u;
    for (int32_t r = 0; r < whole_groups(p); r++) {
        const uint8_t *from = unit_of_row(p, r, unit_bytes);
        const uint8_t *ahead = unit_of_row(p, r + ROWS_AHEAD, unit_bytes);
        for (int line = 0; line < unit_bytes + 63; line += 64) __builtin_prefetch(ahead + line);
        unpack(from, blocks < 8 ? blocks : 8, &u);
        expand_quantized(&u, place_of_row(p, r));
    }
}

INLINE void fill_halves(const amx_panel *p, bool is_bf16) {
    int32_t cols = p->tile->weight->cols - DP_UNIT * p->unit;
    for (int32_t r = 0; r < whole_groups(p); r++) {
        if (is_bf16) expand_bf16(unit_of_row(p, r, 2 * DP_UNIT), cols, place_of_row(p, r));
        else expand_f16(unit_of_row(p, r, 2 * DP_UNIT), cols, place_of_row(p, r));
    }
}

#define FILL_CASE(NAME, name, bytes, grain, is_signed)                                                                 \
    case DP_##NAME: fill_quantized(p, unpack_##name, bytes); break;

NOINLINE void fill_tiles(const amx_panel *p) {
    switch (p->tile->weight->dtype) {
    case DP_F16: fill_halves(p, false); break;
    case DP_BF16: fill_halves(p, true); break;
        QUANTIZED_FORMATS(FILL_CASE)
    default: break;
    }
}

/* ---- tiles: sums in 0 to 3, weights in 4 and 5, activations in 6 and 7 ---- */

/* Palette 1: eight tiles of 16 rows of 64 bytes. A constant in memory: gcc tells the compiler of the first 8 bytes only
 * that the instruction reads, so that stores to the rest of a local could be left out. */
static const struct {
    uint8_t palette, start, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {TILE, TILE, TILE, TILE, TILE, TILE, TILE, TILE}};

static void configure_tiles(void) { _tile_loadconfig(&tile_config); }

INLINE void multiply_steps(const uint8_t *w, const uint8_t *a0, const uint8_t *a1, bool pair) {
    for (int j = 0; j < STEPS; j++) {
        _tile_loadd(4, w + j * LINE_STEP, 64);
        _tile_loadd(6, a0 + j * TILE_BYTES, 64);
        if (pair) _tile_loadd(7, a1 + j * TILE_BYTES, 64);
        _tile_dpbf16ps(0, 4, 6);
        if (pair) _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, w + j * LINE_STEP + TILE_BYTES, 64);
        _tile_dpbf16ps(2, 5, 6);
        if (pair) _tile_dpbf16ps(3, 5, 7);
    }
}

/* A group of rows times one or two blocks of tokens. s0, s1: their sums, two tiles each. */
INLINE void multiply_group(const amx_panel *p, const uint8_t *w, const uint8_t *a0, const uint8_t *a1, float *s0, float *s1, bool pair) {
    if (p->unit == 0) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else {
        _tile_loadd(0, s0, 64);
        _tile_loadd(2, s0 + TILE * TILE, 64);
        if (pair) _tile_loadd(1, s1, 64);
        if (pair) _tile_loadd(3, s1 + TILE * TILE, 64);
    }
    multiply_steps(w, a0, a1, pair);
    if (p->parts == 2) {
        size_t rest = dp_pack_bytes(p->tile->weight->cols, 1);
        multiply_steps(w, a0 + rest, a1 + rest, pair);
        if (p->has_rest) multiply_steps(w + PANEL_BYTES, a0, a1, pair);
    }
    _tile_stored(0, s0, 64);
    _tile_stored(2, s0 + TILE * TILE, 64);
    if (pair) _tile_stored(1, s1, 64);
    if (pair) _tile_stored(3, s1 + TILE * TILE, 64);
}

INLINE void multiply_panel(const amx_panel *p) {
    size_t block_bytes = dp_pack_bytes(p->tile->weight->cols, p->parts), sums = TILES_DOWN * TILE * TILE;
    const uint8_t *a = p->tile->packed + (size_t)(p->token / TILE) * block_bytes + (size_t)p->unit * BLOCK_UNIT;
    for (int32_t b = 0; b < p->blocks; b += 2, a += 2 * block_bytes) {
        float *s = p->sums + (size_t)b * sums;
        for (int32_t r = 0; r < p->rows; r += GROUP_ROWS, s += GROUP_ROWS * TILE) {
            const uint8_t *w = p->weights + r / GROUP_ROWS * GROUP_BYTES;
            if (b + 1 < p->blocks) multiply_group(p, w, a, a + block_bytes, s, s + sums, true);
            else multiply_group(p, w, a, a, s, s, false);
        }
    }
}

/* Sums of 16 rows and 16 tokens to where each token's results go. */
INLINE void store_sums(const amx_panel *p) {
    for (int32_t b = 0; b < p->blocks; b++)
        for (int32_t r = 0; r < p->rows; r += TILE) {
            const float *s = p->sums + (size_t)b * TILES_DOWN * TILE * TILE + (size_t)r * TILE;
            int32_t row = p->first + r, tokens = DP_MIN(TILE, p->tokens - b * TILE);
            __mmask16 mask = (__mmask16)(p->rows - r >= TILE ? 0xFFFF : (1 << (p->rows - r)) - 1);
            __m512 bias = p->tile->bias ? _mm512_maskz_loadu_ps(mask, p->tile->bias + row) : _mm512_setzero_ps();
            __m512i x[TILE];
            for (int i = 0; i < TILE; i++) x[i] = _mm512_load_si512(s + i * TILE);
            transpose(x);
            for (int32_t t = 0; t < tokens; t++)
                _mm512_mask_storeu_ps(p->tile->y[p->token + b * TILE + t] + row, mask, (__m512)x[t] + bias);
        }
}

static double spin_tiles(int32_t rounds) {
    configure_tiles();
    _tile_zero(4);
    _tile_zero(6);
    for (int32_t r = 0; r < rounds; r++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 6);
        _tile_dpbf16ps(2, 4, 6);
        _tile_dpbf16ps(3, 4, 6);
    }
    _tile_release();
    return 4.0 * rounds * TILE * TILE * STEP_COLS;
}

/* As AVX-512 chooses without tiles. */
static void few_tile(const dp_tile *tile) {
    if (tile->tokens <= 3) dot_tile(tile);
    else panel_tile(tile);
}

static void packed_tile(const dp_tile *tile) {
    if (tile->weight->dtype == DP_F32) {
        panel_tile(tile);
        return;
    }
    amx_panel p = {.tile = tile, .units = dp_act_units(tile->weight->cols), .weights = tile->scratch};
    p.parts = dp_pack_parts(tile->weight->dtype);
    p.has_rest = tile->weight->dtype == DP_F16;
    p.sums = (float *)(void *)(p.weights + 2 * PANEL_BYTES);
    configure_tiles();
    for (int32_t r = 0; r < tile->rows; r += PANEL_TILE_ROWS) {
        p.first = tile->first + r;
        p.rows = DP_MIN(tile->rows - r, PANEL_TILE_ROWS);
        for (p.token = 0; p.token < tile->tokens; p.token += DP_PACKED_TOKENS) {
            p.tokens = DP_MIN(tile->tokens - p.token, DP_PACKED_TOKENS);
            p.blocks = (p.tokens + TILE - 1) / TILE;
            for (p.unit = 0; p.unit < p.units; p.unit++) {
                fill_tiles(&p);
                multiply_panel(&p);
            }
            store_sums(&p);
        }
    }
    _tile_release();
}

#endif
