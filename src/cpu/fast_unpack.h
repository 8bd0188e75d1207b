/* fast_unpack.h: one body per block format that turns 256 columns of a weight row into bytes and scales:
 *
 *   value[i] = s[i / 16] * q[i] - m[i / 16]
 *
 * q is unsigned and at most 63, but for Q8_0: signed, or with 128 added where BIAS_BYTES is 1.
 * Loops have fixed lengths: the compiler turns them into vector code. The layouts are drawn in quant/quant_*.c. */
#ifndef DP_FAST_UNPACK_H
#define DP_FAST_UNPACK_H

#include "cpu/fast_vec.h"

typedef struct unpacked {
    _Alignas(64) uint8_t q[DP_UNIT];
    _Alignas(64) float s[DP_UNIT / 16];
    _Alignas(64) float m[DP_UNIT / 16];
} unpacked;

/* `blocks` counts blocks of 32 up to the end of the row, at most 8; super-blocks ignore it. */
typedef void (*unpack_fn)(const uint8_t *restrict p, int blocks, unpacked *restrict u);

/* ---- blocks of 32 ---- */

INLINE void set_pair(unpacked *restrict u, int block, float s, float m) {
    u->s[2 * block] = u->s[2 * block + 1] = s;
    u->m[2 * block] = u->m[2 * block + 1] = m;
}

/* Behind the end of the row. */
INLINE void clear_tail(unpacked *restrict u, int blocks) {
    for (int b = blocks; b < 8; b++) {
        memset(u->q + 32 * b, 0, 32);
        set_pair(u, b, 0, 0);
    }
}

typedef uint8_t bytes16 __attribute__((vector_size(16), aligned(1), may_alias));

INLINE void split_nibbles(const uint8_t *restrict p, uint8_t *restrict q) {
    bytes16 both = *(const bytes16 *)p;
    *(bytes16 *)q = both & 15;
    *(bytes16 *)(q + 16) = both >> 4;
}

/* Bit i of `bits` becomes bit 4 of q[i]. */
INLINE void add_fifth_bits(uint32_t bits, uint8_t *restrict q) {
    typedef uint64_t v2 __attribute__((vector_size(16), may_alias));
    const uint64_t everywhere = UINT64_C(0x0101010101010101), one_each = UINT64_C(0x8040201008040201);
    for (int h = 0; h < 2; h++) {
        v2 spread = {(bits >> 16 * h & 255) * everywhere, (bits >> (16 * h + 8) & 255) * everywhere};
        bytes16 unset = (bytes16)((bytes16)(spread & one_each) == 0);
        *(bytes16 *)(q + 16 * h) |= ~unset & 16;
    }
}

INLINE void unpack_q4_0(const uint8_t *restrict p, int blocks, unpacked *restrict u) {
    for (int b = 0; b < blocks; b++, p += 18) {
        float d = half(p);
        split_nibbles(p + 2, u->q + 32 * b);
        set_pair(u, b, d, 8 * d);
    }
    clear_tail(u, blocks);
}

INLINE void unpack_q4_1(const uint8_t *restrict p, int blocks, unpacked *restrict u) {
    for (int b = 0; b < blocks; b++, p += 20) {
        split_nibbles(p + 4, u->q + 32 * b);
        set_pair(u, b, half(p), -half(p + 2));
    }
    clear_tail(u, blocks);
}

INLINE void unpack_q5_0(const uint8_t *restrict p, int blocks, unpacked *restrict u) {
    for (int b = 0; b < blocks; b++, p += 22) {
        float d = half(p);
        split_nibbles(p + 6, u->q + 32 * b);
        add_fifth_bits(dp_load_u32(p + 2), u->q + 32 * b);
        set_pair(u, b, d, 16 * d);
    }
    clear_tail(u, blocks);
}

INLINE void unpack_q5_1(const uint8_t *restrict p, int blocks, unpacked *restrict u) {
    for (int b = 0; b < blocks; b++, p += 24) {
        split_nibbles(p + 8, u->q + 32 * b);
        add_fifth_bits(dp_load_u32(p + 4), u->q + 32 * b);
        set_pair(u, b, half(p), -half(p + 2));
    }
    clear_tail(u, blocks);
}

INLINE void unpack_q8_0(const uint8_t *restrict p, int blocks, unpacked *restrict u) {
    for (int b = 0; b < blocks; b++, p += 34) {
        float d = half(p);
        for (int i = 0; i < 32; i++) u->q[32 * b + i] = (uint8_t)(BIAS_BYTES ? p[2 + i] ^ 0x80 : p[2 + i]);
        set_pair(u, b, d, BIAS_BYTES ? 128 * d : 0);
    }
    clear_tail(u, blocks);
}

/* Half the scale, as the table of values is doubled: 2^(e - 128). */
INLINE float mxfp4_scale(uint8_t e) {
    uint32_t bits = e < 2 ? (uint32_t)0x00200000 << e : (uint32_t)(e - 1) << 23;
    return dp_load_f32(&bits);
}

#if defined(__SSSE3__)
INLINE void look_up16(const uint8_t *restrict table, uint8_t *restrict q) {
    __m128i t = _mm_loadu_si128((const __m128i *)(const void *)table), *at = (__m128i *)(void *)q;
    _mm_storeu_si128(at, _mm_shuffle_epi8(t, _mm_loadu_si128(at)));
    _mm_storeu_si128(at + 1, _mm_shuffle_epi8(t, _mm_loadu_si128(at + 1)));
}
#elif defined(__aarch64__)
#include <arm_neon.h>
INLINE void look_up16(const uint8_t *restrict table, uint8_t *restrict q) {
    uint8x16_t t = vld1q_u8(table);
    vst1q_u8(q, vqtbl1q_u8(t, vld1q_u8(q)));
    vst1q_u8(q + 16, vqtbl1q_u8(t, vld1q_u8(q + 16)));
}
#elif defined(__wasm_simd128__)
INLINE void look_up16(const uint8_t *restrict table, uint8_t *restrict q) {
    v128_t t = wasm_v128_load(table);
    for (int i = 0; i < 32; i += 16) wasm_v128_store(q + i, wasm_i8x16_swizzle(t, wasm_v128_load(q + i)));
}
#else
INLINE void look_up16(const uint8_t *restrict table, uint8_t *restrict q) {
    for (int i = 0; i < 32; i++) q[i] = table[q[i]];
}
#endif

INLINE void unpack_mxfp4(const uint8_t *restrict p, int blocks, unpacked *restrict u) {
    static const uint8_t plus12[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};
    for (int b = 0; b < blocks; b++, p += 17) {
        float d = mxfp4_scale(p[0]);
        split_nibbles(p + 1, u->q + 32 * b);
        look_up16(plus12, u->q + 32 * b);
        set_pair(u, b, d, 12 * d);
    }
    clear_tail(u, blocks);
}

/* ---- super-blocks of 256 ---- */

/* 16 small integers times d. For AVX2 in its own words: from the general ones gcc makes single loads. */
#if defined(__AVX2__)
INLINE void scale_unsigned(const uint8_t *restrict b, float d, float *restrict out) {
    for (int i = 0; i < 16; i += 8) {
        __m256i wide = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(b + i)));
        _mm256_storeu_ps(out + i, _mm256_mul_ps(_mm256_cvtepi32_ps(wide), _mm256_set1_ps(d)));
    }
}

INLINE void scale_signed(const uint8_t *restrict b, float d, float *restrict out) {
    for (int i = 0; i < 16; i += 8) {
        __m256i wide = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(b + i)));
        _mm256_storeu_ps(out + i, _mm256_mul_ps(_mm256_cvtepi32_ps(wide), _mm256_set1_ps(d)));
    }
}
#else
INLINE void scale_unsigned(const uint8_t *restrict b, float d, float *restrict out) {
    typedef uint8_t lanes __attribute__((vector_size(VL), aligned(1), may_alias));
    for (int i = 0; i < 16; i += VL) vf_store(out + i, vf_of(__builtin_convertvector(*(const lanes *)(b + i), vi)) * d);
}

INLINE void scale_signed(const uint8_t *restrict b, float d, float *restrict out) {
    typedef int8_t lanes __attribute__((vector_size(VL), aligned(1), may_alias));
    for (int i = 0; i < 16; i += VL) vf_store(out + i, vf_of(__builtin_convertvector(*(const lanes *)(b + i), vi)) * d);
}
#endif

/* Q4_K's and Q5_K's scales and minimums of six bits, each for two runs of 16 columns. */
INLINE void scales_of_32(const uint8_t *restrict p, unpacked *restrict u) {
    typedef uint32_t words __attribute__((vector_size(16), may_alias));
    words x;
    memcpy(&x, p, sizeof x); /* d and dmin, then three words of packed bits */
    words low = __builtin_shufflevector(x, x, 1, 3, 2, 3) >> (words){0, 0, 0, 4};
    words high = __builtin_shufflevector(x, x, 1, 1, 2, 2) >> 2 & (words){0, 0x30303030, 0, 0x30303030};
    words six = (low & (words){0x3F3F3F3F, 0x0F0F0F0F, 0x3F3F3F3F, 0x0F0F0F0F}) | high;
    bytes16 all = (bytes16)six;
    bytes16 scale = __builtin_shufflevector(all, all, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    bytes16 min = __builtin_shufflevector(all, all, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15);
    scale_unsigned((const uint8_t *)&scale, half(p), u->s);
    scale_unsigned((const uint8_t *)&min, half(p + 2), u->m);
}

INLINE void unpack_q4_k(const uint8_t *restrict p, int blocks, unpacked *restrict u) {
    (void)blocks;
    scales_of_32(p, u);
    for (int g = 0; g < 4; g++)
        for (int i = 0; i < 32; i++) {
            u->q[64 * g + i] = p[16 + 32 * g + i] & 15;
            u->q[64 * g + 32 + i] = p[16 + 32 * g + i] >> 4;
        }
}

INLINE void unpack_q5_k(const uint8_t *restrict p, int blocks, unpacked *restrict u) {
    (void)blocks;
    scales_of_32(p, u);
    for (int g = 0; g < 4; g++)
        for (int i = 0; i < 32; i++) {
            uint8_t high = (uint8_t)(p[16 + i] >> 2 * g), low = p[48 + 32 * g + i];
            u->q[64 * g + i] = (uint8_t)((low & 15) | (high & 1) << 4);
            u->q[64 * g + 32 + i] = (uint8_t)(low >> 4 | (high & 2) << 3);
        }
}

INLINE void q6_scales(const uint8_t *restrict p, unpacked *restrict u) {
    float d = half(p + 208);
    scale_signed(p + 192, d, u->s);
    scale_signed(p + 192, 32 * d, u->m);
}

INLINE void unpack_q6_k(const uint8_t *restrict p, int blocks, unpacked *restrict u) {
    (void)blocks;
    q6_scales(p, u);
    for (int h = 0; h < 2; h++)
        for (int i = 0; i < 32; i++) {
            uint8_t a = p[64 * h + i], b = p[64 * h + 32 + i], high = p[128 + 32 * h + i], *q = u->q + 128 * h + i;
            q[0] = (uint8_t)((a & 15) | (high & 0x03) << 4);
            q[32] = (uint8_t)((b & 15) | (high & 0x0C) << 2);
            q[64] = (uint8_t)(a >> 4 | (high & 0x30));
            q[96] = (uint8_t)(b >> 4 | (high & 0xC0) >> 2);
        }
}

/* Two-bit fields of 2 x 32 bytes. */
INLINE void split_pairs(const uint8_t *restrict p, uint8_t *restrict q) {
    for (int h = 0; h < 2; h++)
        for (int i = 0; i < 32; i++) {
            uint8_t x = p[32 * h + i];
            q[128 * h + i] = x & 3;
            q[128 * h + 32 + i] = x >> 2 & 3;
            q[128 * h + 64 + i] = x >> 4 & 3;
            q[128 * h + 96 + i] = x >> 6;
        }
}

INLINE void unpack_q2_k(const uint8_t *restrict p, int blocks, unpacked *restrict u) {
    (void)blocks;
    bytes16 both = *(const bytes16 *)p, scale = both & 15, min = both >> 4;
    scale_unsigned((const uint8_t *)&scale, half(p + 80), u->s);
    scale_unsigned((const uint8_t *)&min, half(p + 82), u->m);
    split_pairs(p + 16, u->q);
}

/* Q3_K's 16 scales of six bits, spread over bytes. */
INLINE void q3_scales(const uint8_t *restrict p, uint8_t *restrict out) {
    uint32_t a = dp_load_u32(p), b = dp_load_u32(p + 4), c = dp_load_u32(p + 8);
    dp_store_u32(out, (a & 0x0F0F0F0F) | (c & 0x03030303) << 4);
    dp_store_u32(out + 4, (b & 0x0F0F0F0F) | (c >> 2 & 0x03030303) << 4);
    dp_store_u32(out + 8, (a >> 4 & 0x0F0F0F0F) | (c >> 4 & 0x03030303) << 4);
    dp_store_u32(out + 12, (b >> 4 & 0x0F0F0F0F) | (c >> 6 & 0x03030303) << 4);
}

INLINE void unpack_q3_k(const uint8_t *restrict p, int blocks, unpacked *restrict u) {
    (void)blocks;
    float d = half(p + 108);
    uint8_t scales[16];
    q3_scales(p + 96, scales);
    for (int i = 0; i < 16; i++) scales[i] = (uint8_t)(scales[i] - 32);
    scale_signed(scales, d, u->s);
    scale_signed(scales, 4 * d, u->m);
    split_pairs(p + 32, u->q);
    for (int k = 0; k < 8; k++)
        for (int i = 0; i < 32; i++) u->q[32 * k + i] |= (uint8_t)((p[i] >> k & 1) << 2);
}

/* Every format: its dtype, unpack_<name>, bytes of 256 columns, columns per scale, signed bytes. */
#define QUANTIZED_FORMATS(FORMAT)                                                                                      \
    FORMAT(Q4_0, q4_0, 8 * 18, 32, false)                                                                              \
    FORMAT(Q4_1, q4_1, 8 * 20, 32, false)                                                                              \
    FORMAT(Q5_0, q5_0, 8 * 22, 32, false)                                                                              \
    FORMAT(Q5_1, q5_1, 8 * 24, 32, false)                                                                              \
    FORMAT(Q8_0, q8_0, 8 * 34, 32, !BIAS_BYTES)                                                                        \
    FORMAT(Q2_K, q2_k, 84, 16, false)                                                                                  \
    FORMAT(Q3_K, q3_k, 110, 16, false)                                                                                 \
    FORMAT(Q4_K, q4_k, 144, 32, false)                                                                                 \
    FORMAT(Q5_K, q5_k, 176, 32, false)                                                                                 \
    FORMAT(Q6_K, q6_k, 210, 16, false)                                                                                 \
    FORMAT(MXFP4, mxfp4, 8 * 17, 32, false)

#endif
