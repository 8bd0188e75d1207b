/* fast_unpack512.h: the bodies of fast_unpack.h again, for 64-byte registers: every store is a whole register, so that
 * the product's load takes it straight from the store. Rows that end within a unit take the general body. */
#ifndef DP_FAST_UNPACK512_H
#define DP_FAST_UNPACK512_H

#include "cpu/fast_unpack.h"

INLINE __m512i join(__m256i low, __m256i high) { return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1); }
INLINE __m256i load32(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
INLINE __m512i twice32(const uint8_t *p) { return _mm512_broadcast_i64x4(load32(p)); }
INLINE __m256i twice16(const uint8_t *p) { return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)p)); }
INLINE __m512i low_bits(__m512i x, char mask) { return _mm512_and_si512(x, _mm512_set1_epi8(mask)); }
/* Shift amounts of 16-bit lanes: a in the lower half, b in the upper. */
INLINE __m512i halves_of(short a, short b) { return join(_mm256_set1_epi16(a), _mm256_set1_epi16(b)); }

/* ---- blocks of 32, two at a time ---- */

/* f16 scales of 8 blocks, `bytes` apart, each for two runs of 16 columns. */
INLINE __m512 pair_scales(const uint8_t *p, int bytes) {
    const __m512i twice = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    uint16_t h[8];
    for (int b = 0; b < 8; b++) h[b] = dp_load_u16(p + b * bytes);
    __m128i all = _mm_set_epi16((short)h[7], (short)h[6], (short)h[5], (short)h[4], (short)h[3], (short)h[2], (short)h[1], (short)h[0]);
    return _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(_mm256_cvtph_ps(all)));
}

INLINE void set_scales(unpacked *u, __m512 s, __m512 m) {
    _mm512_store_ps(u->s, s);
    _mm512_store_ps(u->m, m);
}

/* Nibbles of blocks b and b + 1: low, high, low, high. */
INLINE __m512i two_blocks(const uint8_t *nibbles, int bytes) {
    const __m512i shift = _mm512_inserti64x4(_mm512_set_epi64(0, 0, 0, 0, 0x0004000400040004, 0x0004000400040004, 0, 0),
                                             _mm256_set_epi64x(0x0004000400040004, 0x0004000400040004, 0, 0), 1);
    return low_bits(_mm512_srlv_epi16(join(twice16(nibbles), twice16(nibbles + bytes)), shift), 15);
}

INLINE __m512i with_fifth_bits(__m512i q, uint32_t first, uint32_t second) {
    return _mm512_mask_add_epi8(q, (uint64_t)second << 32 | first, q, _mm512_set1_epi8(16));
}

INLINE void wide_q4_0(const uint8_t *restrict p, int blocks, unpacked *restrict u) {
    if (blocks < 8) {
        unpack_q4_0(p, blocks, u);
        return;
    }
    for (int b = 0; b < 8; b += 2) _mm512_store_si512(u->q + 32 * b, two_blocks(p + 18 * b + 2, 18));
    __m512 d = pair_scales(p, 18);
    set_scales(u, d, _mm512_mul_ps(d, _mm512_set1_ps(8)));
}

INLINE void wide_q4_1(const uint8_t *restrict p, int blocks, unpacked *restrict u) {
    if (blocks < 8) {
        unpack_q4_1(p, blocks, u);
        return;
    }
    for (int b = 0; b < 8; b += 2) _mm512_store_si512(u->q + 32 * b, two_blocks(p + 20 * b + 4, 20));
    set_scales(u, pair_scales(p, 20), -pair_scales(p + 2, 20));
}

INLINE void wide_q5_1(const uint8_t *restrict p, int blocks, unpacked *restrict u) {
    if (blocks < 8) {
        unpack_q5_1(p, blocks, u);
        return;
    }
    for (int b = 0; b < 8; b += 2) {
        const uint8_t *block = p + 24 * b;
        __m512i q = with_fifth_bits(two_blocks(block + 8, 24), dp_load_u32(block + 4), dp_load_u32(block + 28));
        _mm512_store_si512(u->q + 32 * b, q);
    }
    set_scales(u, pair_scales(p, 24), -pair_scales(p + 2, 24));
}

INLINE void wide_q5_0(const uint8_t *restrict p, int blocks, unpacked *restrict u) {
    if (blocks < 8) {
        unpack_q5_0(p, blocks, u);
        return;
    }
    for (int b = 0; b < 8; b += 2) {
        const uint8_t *block = p + 22 * b;
        __m512i q = with_fifth_bits(two_blocks(block + 6, 22), dp_load_u32(block + 2), dp_load_u32(block + 24));
        _mm512_store_si512(u->q + 32 * b, q);
    }
    __m512 d = pair_scales(p, 22);
    set_scales(u, d, _mm512_mul_ps(d, _mm512_set1_ps(16)));
}

INLINE void wide_q8_0(const uint8_t *restrict p, int blocks, unpacked *restrict u) {
    if (blocks < 8) {
        unpack_q8_0(p, blocks, u);
        return;
    }
    for (int b = 0; b < 8; b += 2)
        _mm512_store_si512(u->q + 32 * b, _mm512_xor_si512(join(load32(p + 34 * b + 2), load32(p + 34 * b + 36)), _mm512_set1_epi8(-128)));
    __m512 d = pair_scales(p, 34);
    set_scales(u, d, _mm512_mul_ps(d, _mm512_set1_ps(128)));
}

/* mxfp4_scale of 8 blocks, each for two runs of 16 columns. */
INLINE __m512 pair_powers(const uint8_t *p) {
    const __m256i two = _mm256_set1_epi32(2);
    __m256i e = _mm256_setr_epi32(p[0], p[17], p[34], p[51], p[68], p[85], p[102], p[119]);
    __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    __m256i small = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    __m256 d = _mm256_castsi256_ps(_mm256_blendv_epi8(normal, small, _mm256_cmpgt_epi32(two, e)));
    return _mm512_permutexvar_ps(_mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0), _mm512_castps256_ps512(d));
}

/* Twice a nibble's value, and 12. */
INLINE __m512i mxfp4_plus12(void) {
    return _mm512_broadcast_i32x4(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
}

INLINE void wide_mxfp4(const uint8_t *restrict p, int blocks, unpacked *restrict u) {
    if (blocks < 8) {
        unpack_mxfp4(p, blocks, u);
        return;
    }
    const __m512i plus12 = mxfp4_plus12();
    for (int b = 0; b < 8; b += 2) _mm512_store_si512(u->q + 32 * b, _mm512_shuffle_epi8(plus12, two_blocks(p + 17 * b + 1, 17)));
    __m512 d = pair_powers(p);
    set_scales(u, d, _mm512_mul_ps(d, _mm512_set1_ps(12)));
}

/* ---- super-blocks ---- */

INLINE __m512 wide_scale(__m128i bytes, __m512 d) { return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)), d); }

/* As scales_of_32. x: d and dmin, then three words of packed bits. */
INLINE void wide_scales_of_32(const uint8_t *restrict p, unpacked *restrict u) {
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i low = _mm_srlv_epi32(_mm_shuffle_epi32(x, _MM_SHUFFLE(3, 2, 3, 1)), _mm_setr_epi32(0, 0, 0, 4));
    __m128i high = _mm_srli_epi32(_mm_shuffle_epi32(x, _MM_SHUFFLE(2, 2, 1, 1)), 2);
    low = _mm_and_si128(low, _mm_setr_epi32(0x3F3F3F3F, 0x0F0F0F0F, 0x3F3F3F3F, 0x0F0F0F0F));
    high = _mm_and_si128(high, _mm_setr_epi32(0, 0x30303030, 0, 0x30303030));
    __m128i six = _mm_or_si128(low, high);
    __m128 d = _mm_cvtph_ps(x);
    set_scales(u, wide_scale(_mm_unpacklo_epi8(six, six), _mm512_broadcastss_ps(d)),
               wide_scale(_mm_unpackhi_epi8(six, six), _mm512_broadcastss_ps(_mm_movehdup_ps(d))));
}

/* 16 signed scales; m is `offset` times the scale. */
INLINE void wide_signed_scales(__m128i bytes, float d, float offset, unpacked *restrict u) {
    __m512 s = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)), _mm512_set1_ps(d));
    set_scales(u, s, _mm512_mul_ps(s, _mm512_set1_ps(offset)));
}

INLINE void wide_q4_k(const uint8_t *restrict p, int blocks, unpacked *restrict u) {
    (void)blocks;
    wide_scales_of_32(p, u);
    for (int g = 0; g < 4; g++)
        _mm512_store_si512(u->q + 64 * g, low_bits(_mm512_srlv_epi16(twice32(p + 16 + 32 * g), halves_of(0, 4)), 15));
}

INLINE void wide_q5_k(const uint8_t *restrict p, int blocks, unpacked *restrict u) {
    (void)blocks;
    wide_scales_of_32(p, u);
    __m512i high = twice32(p + 16);
    for (int g = 0; g < 4; g++) {
        __m512i q = low_bits(_mm512_srlv_epi16(twice32(p + 48 + 32 * g), halves_of(0, 4)), 15);
        __m512i bit = join(_mm256_set1_epi8((char)(1 << 2 * g)), _mm256_set1_epi8((char)(2 << 2 * g)));
        q = _mm512_mask_add_epi8(q, _mm512_test_epi8_mask(high, bit), q, _mm512_set1_epi8(16));
        _mm512_store_si512(u->q + 64 * g, q);
    }
}

INLINE void wide_q6_k(const uint8_t *restrict p, int blocks, unpacked *restrict u) {
    (void)blocks;
    wide_signed_scales(_mm_loadu_si128((const __m128i *)(const void *)(p + 192)), half(p + 208), 32, u);
    for (int h = 0; h < 2; h++) {
        __m512i low = _mm512_loadu_si512(p + 64 * h), high = twice32(p + 128 + 32 * h);
        __m512i first = low_bits(_mm512_sllv_epi16(high, halves_of(4, 2)), 0x30);
        __m512i second = low_bits(_mm512_srlv_epi16(high, halves_of(0, 2)), 0x30);
        _mm512_store_si512(u->q + 128 * h, _mm512_or_si512(low_bits(low, 15), first));
        _mm512_store_si512(u->q + 128 * h + 64, _mm512_or_si512(low_bits(_mm512_srli_epi16(low, 4), 15), second));
    }
}

/* Two-bit fields 2 j and 2 j + 1 of 32 bytes. */
INLINE __m512i two_fields(__m512i bytes, int j) {
    return low_bits(_mm512_srlv_epi16(bytes, halves_of((short)(4 * j), (short)(4 * j + 2))), 3);
}

INLINE void wide_q2_k(const uint8_t *restrict p, int blocks, unpacked *restrict u) {
    (void)blocks;
    __m128i both = _mm_loadu_si128((const __m128i *)(const void *)p), low = _mm_set1_epi8(15);
    set_scales(u, wide_scale(_mm_and_si128(both, low), _mm512_set1_ps(half(p + 80))),
               wide_scale(_mm_and_si128(_mm_srli_epi16(both, 4), low), _mm512_set1_ps(half(p + 82))));
    for (int j = 0; j < 4; j++) _mm512_store_si512(u->q + 64 * j, two_fields(twice32(p + 16 + j / 2 * 32), j % 2));
}

INLINE void wide_q3_k(const uint8_t *restrict p, int blocks, unpacked *restrict u) {
    (void)blocks;
    uint8_t scales[16];
    q3_scales(p + 96, scales);
    __m128i bytes = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)(const void *)scales), _mm_set1_epi8(32));
    wide_signed_scales(bytes, half(p + 108), 4, u);
    __m512i high = twice32(p);
    for (int j = 0; j < 4; j++) {
        __m512i q = two_fields(twice32(p + 32 + j / 2 * 32), j % 2);
        __m512i bit = join(_mm256_set1_epi8((char)(1 << 2 * j)), _mm256_set1_epi8((char)(2 << 2 * j)));
        _mm512_store_si512(u->q + 64 * j, _mm512_mask_add_epi8(q, _mm512_test_epi8_mask(high, bit), q, _mm512_set1_epi8(4)));
    }
}

#define unpack_q4_1 wide_q4_1
#define unpack_q5_1 wide_q5_1
#define unpack_q2_k wide_q2_k
#define unpack_q3_k wide_q3_k
#define unpack_q4_0 wide_q4_0
#define unpack_q5_0 wide_q5_0
#define unpack_q8_0 wide_q8_0
#define unpack_mxfp4 wide_mxfp4
#define unpack_q4_k wide_q4_k
#define unpack_q5_k wide_q5_k
#define unpack_q6_k wide_q6_k

#endif
