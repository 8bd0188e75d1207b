/* quant_k.c: reading the super-block formats. A super-block is 256 elements cut into sub-blocks of 16 or 32; each
 * sub-block has a small integer scale (and minimum) in units of the super-block's f16 d (and dmin).
 *
 *   Q2_K   84 B  scales[16] @0 (low nibble scale, high nibble minimum), qs[64] @16, f16 d @80, f16 dmin @82
 *   Q3_K  110 B  hmask[32] @0, qs[64] @32, scales[12] @96 (16 of six bits, minus 32), f16 d @108
 *   Q4_K  144 B  f16 d @0, f16 dmin @2, scales[12] @4 (8 scales, 8 minimums of six bits), qs[128] @16
 *   Q5_K  176 B  f16 d @0, f16 dmin @2, scales[12] @4 (as Q4_K), qh[32] @16, qs[128] @48
 *   Q6_K  210 B  ql[128] @0, qh[64] @128, i8 scales[16] @192, f16 d @208
 *
 * Order of the elements: two-bit fields of 32 bytes hold 4 x 32 elements, lowest bits first; nibbles of 32 bytes hold
 * 2 x 32 elements, low nibbles first; hmask and qh of Q5_K give bit k of byte l to element 32k + l.
 * quant_k_write.c writes the same formats. Products are taken in this file's order: results are exact to the bit. */
#include "quant/quant_k.h"

void quant_k_scale_min(const uint8_t *packed, int j, int *scale, int *min) {
    if (j < 4) {
        *scale = packed[j] & 63;
        *min = packed[j + 4] & 63;
    } else {
        *scale = (packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4;
        *min = packed[j + 4] >> 4 | (packed[j] >> 6) << 4;
    }
}

int quant_k_q3_scale(const uint8_t *packed, int j) {
    int low = j < 8 ? packed[j] & 15 : packed[j - 8] >> 4;
    int high = packed[8 + j % 4] >> 2 * (j / 4) & 3;
    return (low | high << 4) - 32;
}

static void read_block_q2_k(const uint8_t *block, float *y) {
    const uint8_t *scales = block, *qs = block + 16;
    float d = quant_load_f16(block + 80), dmin = quant_load_f16(block + 82);
    for (int j = 0; j < 16; j++) { /* sub-block j: half j/8, bit pair (j%8)/2, 16 bytes j%2 */
        float scale = d * (float)(scales[j] & 15), min = dmin * (float)(scales[j] >> 4);
        const uint8_t *q = qs + 32 * (j / 8) + 16 * (j % 2);
        int shift = j % 8 / 2 * 2;
        for (int l = 0; l < 16; l++) y[16 * j + l] = scale * (float)(q[l] >> shift & 3) - min;
    }
}

static void read_block_q3_k(const uint8_t *block, float *y) {
    const uint8_t *hmask = block, *qs = block + 32, *scales = block + 96;
    float d = quant_load_f16(block + 108);
    for (int j = 0; j < 16; j++) {
        float scale = d * (float)quant_k_q3_scale(scales, j);
        const uint8_t *q = qs + 32 * (j / 8) + 16 * (j % 2), *high = hmask + 16 * (j % 2);
        int shift = j % 8 / 2 * 2, bit = j / 2;
        for (int l = 0; l < 16; l++) {
            int value = (q[l] >> shift & 3) - 4 + 4 * (high[l] >> bit & 1);
            y[16 * j + l] = scale * (float)value;
        }
    }
}

static void read_block_q4_k(const uint8_t *block, float *y) {
    float d = quant_load_f16(block), dmin = quant_load_f16(block + 2);
    for (int j = 0; j < 8; j++) {
        int sc, m;
        quant_k_scale_min(block + 4, j, &sc, &m);
        float scale = d * (float)sc, min = dmin * (float)m;
        const uint8_t *q = block + 16 + 32 * (j / 2);
        int shift = j % 2 * 4;
        for (int l = 0; l < 32; l++) y[32 * j + l] = scale * (float)(q[l] >> shift & 15) - min;
    }
}

static void read_block_q5_k(const uint8_t *block, float *y) {
    float d = quant_load_f16(block), dmin = quant_load_f16(block + 2);
    const uint8_t *high = block + 16;
    for (int j = 0; j < 8; j++) {
        int sc, m;
        quant_k_scale_min(block + 4, j, &sc, &m);
        float scale = d * (float)sc, min = dmin * (float)m;
        const uint8_t *q = block + 48 + 32 * (j / 2);
        int shift = j % 2 * 4;
        for (int l = 0; l < 32; l++) {
            int value = (q[l] >> shift & 15) | (high[l] >> j & 1) << 4;
            y[32 * j + l] = scale * (float)value - min;
        }
    }
}

static void read_block_q6_k(const uint8_t *block, float *y) {
    const uint8_t *low = block, *high = block + 128;
    float d = quant_load_f16(block + 208);
    for (int j = 0; j < 16; j++) { /* sub-block j: half h, of which element 16*(j%8) */
        int h = j / 8, pair = j % 8 / 2, at = 16 * (j % 2);
        float scale = d * (float)(int8_t)block[192 + j];
        const uint8_t *ql = low + 64 * h + 32 * (pair % 2) + at, *qh = high + 32 * h + at;
        int shift = pair / 2 * 4;
        for (int l = 0; l < 16; l++) {
            int value = (ql[l] >> shift & 15) | (qh[l] >> 2 * pair & 3) << 4;
            y[16 * j + l] = scale * (float)(value - 32);
        }
    }
}

#define READ(name, bytes)                                                                                              \
    void quant_read_##name(const void *blocks, float *values, size_t n) {                                              \
        const uint8_t *block = blocks;                                                                                 \
        for (size_t i = 0; i < n; i += 256, block += (bytes)) read_block_##name(block, values + i);                    \
    }
READ(q2_k, Q2_K_BYTES)
READ(q3_k, Q3_K_BYTES)
READ(q4_k, Q4_K_BYTES)
READ(q5_k, Q5_K_BYTES)
READ(q6_k, Q6_K_BYTES)
