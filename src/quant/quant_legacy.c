/* quant_legacy.c: formats of 32 elements with one scale: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.
 *
 *   Q4_0  18 B  f16 d, qs[16]                    d * (q - 8)
 *   Q4_1  20 B  f16 d, f16 m, qs[16]             d * q + m
 *   Q5_0  22 B  f16 d, u32 qh, qs[16]            d * (q - 16)
 *   Q5_1  24 B  f16 d, f16 m, u32 qh, qs[16]     d * q + m
 *   Q8_0  34 B  f16 d, i8 qs[32]                 d * q
 *
 * The low nibble of qs[j] is element j, the high nibble element j + 16; bit i of qh is the fifth bit of element i. */
#include "quant/blocks.h"

#include <float.h>
#include <math.h>

enum { BLOCK = 32, HALF = 16 };
enum { Q4_0_BYTES = 18, Q4_1_BYTES = 20, Q5_0_BYTES = 22, Q5_1_BYTES = 24, Q8_0_BYTES = 34 };

/* ---- reading ---- */

void quant_read_q4_0(const void *blocks, float *values, size_t n) {
    const uint8_t *block = blocks;
    for (size_t i = 0; i < n; i += BLOCK, block += Q4_0_BYTES) {
        float d = quant_load_f16(block), *y = values + i;
        for (int j = 0; j < HALF; j++) {
            y[j] = d * (float)((block[2 + j] & 15) - 8);
            y[j + HALF] = d * (float)((block[2 + j] >> 4) - 8);
        }
    }
}

void quant_read_q4_1(const void *blocks, float *values, size_t n) {
    const uint8_t *block = blocks;
    for (size_t i = 0; i < n; i += BLOCK, block += Q4_1_BYTES) {
        float d = quant_load_f16(block), m = quant_load_f16(block + 2), *y = values + i;
        for (int j = 0; j < HALF; j++) {
            y[j] = d * (float)(block[4 + j] & 15) + m;
            y[j + HALF] = d * (float)(block[4 + j] >> 4) + m;
        }
    }
}

/* The five-bit codes of a block from its nibbles and its fifth bits. */
static inline void unpack_five(const uint8_t *nibbles, uint32_t high, uint8_t *codes) {
    for (int j = 0; j < HALF; j++) {
        codes[j] = (uint8_t)((nibbles[j] & 15) | (high >> j & 1) << 4);
        codes[j + HALF] = (uint8_t)(nibbles[j] >> 4 | (high >> (j + HALF) & 1) << 4);
    }
}

void quant_read_q5_0(const void *blocks, float *values, size_t n) {
    const uint8_t *block = blocks;
    uint8_t codes[BLOCK];
    for (size_t i = 0; i < n; i += BLOCK, block += Q5_0_BYTES) {
        float d = quant_load_f16(block);
        unpack_five(block + 6, dp_load_u32(block + 2), codes);
        for (int j = 0; j < BLOCK; j++) values[i + (size_t)j] = d * (float)(codes[j] - 16);
    }
}

void quant_read_q5_1(const void *blocks, float *values, size_t n) {
    const uint8_t *block = blocks;
    uint8_t codes[BLOCK];
    for (size_t i = 0; i < n; i += BLOCK, block += Q5_1_BYTES) {
        float d = quant_load_f16(block), m = quant_load_f16(block + 2);
        unpack_five(block + 8, dp_load_u32(block + 4), codes);
        for (int j = 0; j < BLOCK; j++) values[i + (size_t)j] = d * (float)codes[j] + m;
    }
}

void quant_read_q8_0(const void *blocks, float *values, size_t n) {
    const uint8_t *block = blocks;
    for (size_t i = 0; i < n; i += BLOCK, block += Q8_0_BYTES) {
        float d = quant_load_f16(block);
        for (int j = 0; j < BLOCK; j++) values[i + (size_t)j] = d * (float)(int8_t)block[2 + j];
    }
}

/* ---- writing ---- */

/* 1 / d, or 0 where that is no finite number. */
static inline float reciprocal(float d) { return fabsf(d) >= FLT_MIN ? 1.0f / d : 0.0f; }

/* The element of greatest magnitude, with its sign; the first of equals. */
static float extreme_of(const float *x) {
    float extreme = 0.0f;
    for (int j = 0; j < BLOCK; j++) {
        if (fabsf(extreme) < fabsf(x[j])) extreme = x[j];
    }
    return extreme;
}

static void range_of(const float *x, float *min, float *max) {
    *min = *max = x[0];
    for (int j = 1; j < BLOCK; j++) {
        *min = x[j] < *min ? x[j] : *min;
        *max = x[j] > *max ? x[j] : *max;
    }
}

/* trunc(x * scale + offset) up to `top`; the callers choose scale and offset so that the result is not negative. */
static inline uint8_t code_of(float x, float scale, float offset, int top) {
    int code = (int)(x * scale + offset);
    return (uint8_t)(code < top ? code : top);
}

static void pack_nibbles(const uint8_t *codes, uint8_t *nibbles) {
    for (int j = 0; j < HALF; j++) nibbles[j] = (uint8_t)((codes[j] & 15) | (codes[j + HALF] & 15) << 4);
}

static uint32_t pack_fifth(const uint8_t *codes) {
    uint32_t bits = 0;
    for (int j = 0; j < BLOCK; j++) bits |= (uint32_t)(codes[j] >> 4 & 1) << j;
    return bits;
}

/* The extreme element becomes code 0, so the scale is negative where that element is positive. */
static float encode_symmetric(const float *x, int half, uint8_t *codes) {
    float d = extreme_of(x) / (float)-half, inverse = reciprocal(d);
    for (int j = 0; j < BLOCK; j++) codes[j] = code_of(x[j], inverse, (float)half + 0.5f, 2 * half - 1);
    return d;
}

static float encode_range(const float *x, int top, uint8_t *codes, float *min) {
    float max;
    range_of(x, min, &max);
    float d = (max - *min) / (float)top, inverse = reciprocal(d);
    for (int j = 0; j < BLOCK; j++) codes[j] = code_of(x[j] - *min, inverse, 0.5f, top);
    return d;
}

void quant_write_q4_0(const float *values, void *blocks, size_t n) {
    uint8_t *block = blocks, codes[BLOCK];
    float x[BLOCK];
    for (size_t i = 0; i < n; i += BLOCK, block += Q4_0_BYTES) {
        quant_clean(values + i, x, BLOCK);
        quant_store_f16(block, encode_symmetric(x, 8, codes));
        pack_nibbles(codes, block + 2);
    }
}

void quant_write_q4_1(const float *values, void *blocks, size_t n) {
    uint8_t *block = blocks, codes[BLOCK];
    float x[BLOCK], min;
    for (size_t i = 0; i < n; i += BLOCK, block += Q4_1_BYTES) {
        quant_clean(values + i, x, BLOCK);
        quant_store_f16(block, encode_range(x, 15, codes, &min));
        quant_store_f16(block + 2, min);
        pack_nibbles(codes, block + 4);
    }
}

void quant_write_q5_0(const float *values, void *blocks, size_t n) {
    uint8_t *block = blocks, codes[BLOCK];
    float x[BLOCK];
    for (size_t i = 0; i < n; i += BLOCK, block += Q5_0_BYTES) {
        quant_clean(values + i, x, BLOCK);
        quant_store_f16(block, encode_symmetric(x, 16, codes));
        dp_store_u32(block + 2, pack_fifth(codes));
        pack_nibbles(codes, block + 6);
    }
}

void quant_write_q5_1(const float *values, void *blocks, size_t n) {
    uint8_t *block = blocks, codes[BLOCK];
    float x[BLOCK], min;
    for (size_t i = 0; i < n; i += BLOCK, block += Q5_1_BYTES) {
        quant_clean(values + i, x, BLOCK);
        quant_store_f16(block, encode_range(x, 31, codes, &min));
        quant_store_f16(block + 2, min);
        dp_store_u32(block + 4, pack_fifth(codes));
        pack_nibbles(codes, block + 8);
    }
}

/* Half away from zero. The fraction x - trunc(x) is exact, which adding 0.5 before truncating would not be. */
static inline int8_t round_away(float x) {
    int whole = (int)x;
    float fraction = x - (float)whole;
    return (int8_t)(whole + (fraction >= 0.5f) - (fraction <= -0.5f));
}

void quant_write_q8_0(const float *values, void *blocks, size_t n) {
    uint8_t *block = blocks;
    float x[BLOCK];
    for (size_t i = 0; i < n; i += BLOCK, block += Q8_0_BYTES) {
        quant_clean(values + i, x, BLOCK);
        float d = fabsf(extreme_of(x)) / 127.0f, inverse = reciprocal(d);
        quant_store_f16(block, d);
        for (int j = 0; j < BLOCK; j++) block[2 + j] = (uint8_t)round_away(x[j] * inverse);
    }
}
