/* float16.c: the two 16-bit float formats, in integer arithmetic so that every compiler and target gives the same bits.
 *
 *   f16   1 sign, 5 exponent (bias 15), 10 fraction       bf16   the upper half of an f32
 *
 * NaN stays NaN in both directions and keeps the upper bits of its payload. */
#include "quant/blocks.h"

float dp_f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3FF;
    if (exponent == 31) return quant_float_of(sign | 0x7F800000 | fraction << 13);
    if (exponent != 0) return quant_float_of(sign | (exponent + 112) << 23 | fraction << 13);
    /* Subnormal: fraction * 2^-24, which an f32 holds exactly. */
    float value = (float)fraction * 0x1p-24f;
    return sign ? -value : value;
}

uint16_t dp_f32_to_f16(float f) {
    uint32_t bits = quant_bits_of(f), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;
    if (magnitude > 0x7F800000) return (uint16_t)(sign | 0x7E00 | (magnitude >> 13 & 0x3FF));
    if (magnitude >= 0x477FF000) return (uint16_t)(sign | 0x7C00); /* rounds to 2^16 or more */
    if (magnitude >= 0x38800000) { /* normal; a carry of the rounding moves the exponent */
        uint32_t odd = magnitude >> 13 & 1;
        return (uint16_t)(sign | (magnitude - 0x38000000 + 0xFFF + odd) >> 13);
    }
    /* Subnormal: adding 2^-1 leaves the rounded multiple of 2^-24 in the low bits of the sum. */
    uint32_t sum = quant_bits_of(quant_float_of(magnitude) + 0.5f);
    return (uint16_t)(sign | (sum - 0x3F000000));
}

uint16_t dp_f32_to_bf16(float f) {
    uint32_t bits = quant_bits_of(f);
    if ((bits & 0x7FFFFFFF) > 0x7F800000) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

void quant_read_f32(const void *blocks, float *values, size_t n) { memcpy(values, blocks, n * sizeof *values); }
void quant_write_f32(const float *values, void *blocks, size_t n) { memcpy(blocks, values, n * sizeof *values); }

void quant_read_f16(const void *blocks, float *values, size_t n) {
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i++) values[i] = dp_f16_to_f32(dp_load_u16(p + 2 * i));
}

void quant_write_f16(const float *values, void *blocks, size_t n) {
    uint8_t *p = blocks;
    for (size_t i = 0; i < n; i++) dp_store_u16(p + 2 * i, dp_f32_to_f16(values[i]));
}

void quant_read_bf16(const void *blocks, float *values, size_t n) {
    const uint8_t *p = blocks;
    for (size_t i = 0; i < n; i++) values[i] = dp_bf16_to_f32(dp_load_u16(p + 2 * i));
}

void quant_write_bf16(const float *values, void *blocks, size_t n) {
    uint8_t *p = blocks;
    for (size_t i = 0; i < n; i++) dp_store_u16(p + 2 * i, dp_f32_to_bf16(values[i]));
}
