/* blocks.h: shared by the files of this folder only: the functions that the table in quant.c points at, and the small
 * arithmetic that all block formats use. "read" turns blocks into floats, "write" quantises floats into blocks. */
#ifndef DP_QUANT_BLOCKS_H
#define DP_QUANT_BLOCKS_H

#include "quant/quant.h"

#define QUANT_FORMAT(name)                                                                                             \
    void quant_read_##name(const void *blocks, float *values, size_t n);                                               \
    void quant_write_##name(const float *values, void *blocks, size_t n);
QUANT_FORMAT(f32)
QUANT_FORMAT(f16)
QUANT_FORMAT(bf16)
QUANT_FORMAT(q4_0)
QUANT_FORMAT(q4_1)
QUANT_FORMAT(q5_0)
QUANT_FORMAT(q5_1)
QUANT_FORMAT(q8_0)
QUANT_FORMAT(q2_k)
QUANT_FORMAT(q3_k)
QUANT_FORMAT(q4_k)
QUANT_FORMAT(q5_k)
QUANT_FORMAT(q6_k)
QUANT_FORMAT(mxfp4)
#undef QUANT_FORMAT

static inline float quant_float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

static inline uint32_t quant_bits_of(float f) {
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return bits;
}

static inline float quant_load_f16(const uint8_t *p) { return dp_f16_to_f32(dp_load_u16(p)); }

/* A scale beyond the range of f16 becomes its largest value: blocks never hold an infinity. */
static inline void quant_store_f16(uint8_t *p, float f) {
    dp_store_u16(p, dp_f32_to_f16(f > 65504.0f ? 65504.0f : f < -65504.0f ? -65504.0f : f));
}

/* Infinities and NaN count as 0. */
static inline float quant_finite(float f) { return (quant_bits_of(f) & 0x7F800000) == 0x7F800000 ? 0.0f : f; }

/* What the quantisers work on: finite, and within a range that no format here represents but whose sums stay finite. */
static inline void quant_clean(const float *values, float *clean, int n) {
    for (int i = 0; i < n; i++) {
        float f = quant_finite(values[i]);
        f = f > 1e9f ? 1e9f : f;
        clean[i] = f < -1e9f ? -1e9f : f;
    }
}

#endif
