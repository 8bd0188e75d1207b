/* fast_fill.h: weights into a panel (fast_panel.h), FILL_ROWS rows and one unit of columns at a time: a function
 * fill_<format> for each quantised format. */
#ifndef DP_FAST_FILL_H
#define DP_FAST_FILL_H

#include "cpu/fast_unpack.h"

#ifndef PANEL_STEP
#define PANEL_STEP 4 /* columns of a row that stay together: what one product of bytes adds up */
#endif

enum { PANEL_ROWS = PANEL_VECTORS * VL };

/* Where a unit of some rows goes; m takes what is added, not what is taken away. */
typedef struct panel_place {
    uint8_t *q;    /* [cols / PANEL_STEP][PANEL_ROWS][PANEL_STEP], */
    float *s, *m;  /* [scales][PANEL_ROWS]: from the first of these rows on */
} panel_place;

/* row: FILL_ROWS rows at this unit. blocks: as for unpack_fn. */
typedef void (*fill_fn)(const uint8_t *const *row, int blocks, panel_place to);

#if defined(__AVX512F__)
#include "cpu/fast_fill512.h"
#else

enum { FILL_ROWS = 4 };

#if PANEL_STEP == 8
/* Four rows' bytes of a unit, eight columns of each in turn. */
INLINE void interleave_rows(const unpacked *restrict u, uint8_t *restrict q) {
    for (int k = 0; k < DP_UNIT; k += PANEL_STEP, q += PANEL_ROWS * PANEL_STEP)
        for (int r = 0; r < FILL_ROWS; r++) memcpy(q + r * PANEL_STEP, u[r].q + k, PANEL_STEP);
}
#else
/* Four rows' bytes of a unit go to their lanes, 4 x 4 words at a time. */
INLINE void interleave_rows(const unpacked *restrict u, uint8_t *restrict q) {
    typedef int32_t quad __attribute__((vector_size(16), aligned(4), may_alias));
    const int step = PANEL_ROWS * 4;
    for (int k = 0; k < DP_UNIT / 4; k += 4, q += 4 * step) {
        quad a = *(const quad *)(u[0].q + 4 * k), b = *(const quad *)(u[1].q + 4 * k);
        quad c = *(const quad *)(u[2].q + 4 * k), d = *(const quad *)(u[3].q + 4 * k);
        quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
        *(quad *)q = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
        *(quad *)(q + step) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
        ab = __builtin_shufflevector(a, b, 2, 6, 3, 7);
        cd = __builtin_shufflevector(c, d, 2, 6, 3, 7);
        *(quad *)(q + 2 * step) = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
        *(quad *)(q + 3 * step) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    }
}
#endif

/* grain: columns per scale, 16 or 32. */
INLINE void fill_unpacked(const uint8_t *const *row, int blocks, panel_place to, unpack_fn unpack, int grain) {
    unpacked u[FILL_ROWS];
    for (int i = 0; i < FILL_ROWS; i++) unpack(row[i], blocks, &u[i]);
    interleave_rows(u, to.q);
    for (int g = 0; g < DP_UNIT / grain; g++)
        for (int i = 0; i < FILL_ROWS; i++) {
            to.s[g * PANEL_ROWS + i] = u[i].s[g * grain / 16];
            to.m[g * PANEL_ROWS + i] = -u[i].m[g * grain / 16];
        }
}

#define FILL_UNPACKED(NAME, name, bytes, grain, is_signed)                                                             \
    INLINE void fill_##name(const uint8_t *const *row, int blocks, panel_place to) { fill_unpacked(row, blocks, to, unpack_##name, grain); }
QUANTIZED_FORMATS(FILL_UNPACKED)

#endif

#endif
