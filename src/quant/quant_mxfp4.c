/* quant_mxfp4.c: MXFP4, 32 four-bit floats (E2M1) with a power-of-two scale (E8M0); OCP Microscaling Formats 1.0.
 *
 *   17 B  u8 e, qs[16]; the low nibble of qs[j] is element j, the high nibble element j + 16
 *   value = 2^(e - 127) * fp4[q], fp4 = 0 .5 1 1.5 2 3 4 6 and their negatives from 8 on
 *
 * The doubled table is integral, so codes are combined with half the scale: 2^(e - 128), subnormal for e < 2. */
#include "quant/blocks.h"

#include <math.h>

enum { BLOCK = 32, HALF = 16, BYTES = 17 };

static const int8_t doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static float half_scale(uint8_t e) {
    return quant_float_of(e < 2 ? (uint32_t)0x00200000 << e : (uint32_t)(e - 1) << 23);
}

void quant_read_mxfp4(const void *blocks, float *values, size_t n) {
    const uint8_t *block = blocks;
    for (size_t i = 0; i < n; i += BLOCK, block += BYTES) {
        float d = half_scale(block[0]), *y = values + i;
        for (int j = 0; j < HALF; j++) {
            y[j] = d * (float)doubled[block[1 + j] & 15];
            y[j + HALF] = d * (float)doubled[block[1 + j] >> 4];
        }
    }
}

/* floor(log2(amax)) - 2 brings the largest element to 4..8, the top of the table. */
static uint8_t exponent_of(const float *x) {
    uint32_t largest = 0;
    for (int j = 0; j < BLOCK; j++) largest = DP_MAX(largest, quant_bits_of(x[j]) & 0x7FFFFFFF);
    int e = (int)(largest >> 23) - 2;
    return (uint8_t)DP_MAX(e, 0);
}

/* The nearest table value; of two equally near the smaller. The limits are the midpoints of the doubled table. */
static inline uint8_t code_of(float x, float d) {
    static const float limit[7] = {0.5f, 1.5f, 2.5f, 3.5f, 5.0f, 7.0f, 10.0f};
    float magnitude = fabsf(x);
    int code = 0;
    for (int i = 0; i < 7; i++) code += magnitude > limit[i] * d;
    return (uint8_t)(code | (code && x < 0 ? 8 : 0));
}

void quant_write_mxfp4(const float *values, void *blocks, size_t n) {
    uint8_t *block = blocks, codes[BLOCK];
    float x[BLOCK];
    for (size_t i = 0; i < n; i += BLOCK, block += BYTES) {
        for (int j = 0; j < BLOCK; j++) x[j] = quant_finite(values[i + (size_t)j]);
        block[0] = exponent_of(x);
        float d = half_scale(block[0]);
        for (int j = 0; j < BLOCK; j++) codes[j] = code_of(x[j], d);
        for (int j = 0; j < HALF; j++) block[1 + j] = (uint8_t)(codes[j] | codes[j + HALF] << 4);
    }
}
