/* fast_vec.h: vectors of VL floats, from the compiler's vector extension. An instruction set's file defines VL, then
 * includes this, then adds what the extension cannot say:
 *
 *   vi dot4u(vi acc, vi w, vi a)        acc + sums of 4 products of unsigned bytes w (at most 127) and signed bytes a
 *   vi dot4s(vi acc, vi w, vi a)        the same for signed w
 *   vf dot_unit(...)                    see fast_dot.h
 *   vf vf_half(const uint16_t *p)       VL halves as floats
 *   void vf_store_half(uint16_t *p, vf v)
 *
 * BIAS_BYTES 1: dot4u takes all of 0..255, and Q8_0 is unpacked with 128 added. */
#ifndef DP_FAST_VEC_H
#define DP_FAST_VEC_H

#include "cpu/fast.h"

#define INLINE static inline __attribute__((always_inline, unused))
#define PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define UNROLL(n) PRAGMA(clang loop unroll(full))
#else
#define UNROLL(n) PRAGMA(GCC unroll n)
#endif

#if defined(__wasm_simd128__)
#include <wasm_simd128.h>
#elif defined(__F16C__)
#include <immintrin.h>
#endif

typedef float vf __attribute__((vector_size(VL * 4), may_alias));
typedef int32_t vi __attribute__((vector_size(VL * 4), may_alias));
typedef float vf_loose __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef int32_t vi_loose __attribute__((vector_size(VL * 4), aligned(1), may_alias));

INLINE vf vf_load(const float *p) { return *(const vf_loose *)p; }
INLINE void vf_store(float *p, vf v) { *(vf_loose *)p = v; }
INLINE vf vf_set(float x) { return x - (vf){0}; }
INLINE vi vi_load(const void *p) { return *(const vi_loose *)p; }
INLINE vi vi_set(int32_t x) { return x - (vi){0}; }
INLINE vf vf_of(vi v) { return __builtin_convertvector(v, vf); }
INLINE vf vf_bits(vi v) { return (vf)v; }
INLINE vi vi_bits(vf v) { return (vi)v; }
INLINE vf vf_pick(vi mask, vf yes, vf no) { return (vf)((mask & (vi)yes) | (~mask & (vi)no)); }
#if defined(__wasm_simd128__)
INLINE vf vf_max(vf a, vf b) { return (vf)wasm_f32x4_pmax((v128_t)b, (v128_t)a); }
INLINE vf vf_min(vf a, vf b) { return (vf)wasm_f32x4_pmin((v128_t)b, (v128_t)a); }
#else
INLINE vf vf_max(vf a, vf b) { return vf_pick(a > b, a, b); }
INLINE vf vf_min(vf a, vf b) { return vf_pick(a < b, a, b); }
#endif

/* ---- sums and maxima over the lanes ---- */

#if defined(__AVX512F__)

INLINE float vf_sum(vf v) { return _mm512_reduce_add_ps((__m512)v); }
INLINE float vf_most(vf v) { return _mm512_reduce_max_ps((__m512)v); }

/* Four sums at once. */
INLINE void vf_sum4(const vf *v, float *out) {
    vf ab = (vf)_mm512_unpacklo_ps((__m512)v[0], (__m512)v[1]) + (vf)_mm512_unpackhi_ps((__m512)v[0], (__m512)v[1]);
    vf cd = (vf)_mm512_unpacklo_ps((__m512)v[2], (__m512)v[3]) + (vf)_mm512_unpackhi_ps((__m512)v[2], (__m512)v[3]);
    __m512 low = (__m512)_mm512_unpacklo_pd((__m512d)ab, (__m512d)cd), high = (__m512)_mm512_unpackhi_pd((__m512d)ab, (__m512d)cd);
    __m512 all = _mm512_add_ps(low, high);
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
}

#else

INLINE float vf_sum(vf v) {
    float part[VL];
    memcpy(part, &v, sizeof part);
    for (int n = VL / 2; n; n /= 2)
        for (int i = 0; i < n; i++) part[i] += part[i + n];
    return part[0];
}

INLINE float vf_most(vf v) {
    float part[VL];
    memcpy(part, &v, sizeof part);
    for (int n = VL / 2; n; n /= 2)
        for (int i = 0; i < n; i++) part[i] = DP_MAX(part[i], part[i + n]);
    return part[0];
}

INLINE void vf_sum4(const vf *v, float *out) {
    for (int i = 0; i < 4; i++) out[i] = vf_sum(v[i]);
}

#endif

/* Four bytes, repeated. */
INLINE vi vi_repeat4(const void *p) {
    int32_t x;
    memcpy(&x, p, 4);
    return vi_set(x);
}

/* e^x, relative error below 2e-7 for -87 < x < 88; below that 0 or nearly so, above it inf is not reached.
 * x = n ln 2 + r, e^r by its series up to r^6 / 720 on |r| <= ln 2 / 2. */
INLINE vf vf_exp(vf x) {
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    x = vf_min(vf_max(x, vf_set(-87.3f)), vf_set(88.3f));
    vf shifted = x * 1.44269504f + magic, n = shifted - magic;
    vf r = x - n * 0.693359375f + n * 2.12194440e-4f;
    vf p = r * (1.0f / 720) + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r * r + r + 1.0f;
    return p * vf_bits((vi_bits(shifted) + (127 - 0x4B400000)) << 23);
}

#if defined(__F16C__)
INLINE float half(const void *p) { return _cvtsh_ss(dp_load_u16(p)); }
#elif defined(__aarch64__)
INLINE float half(const void *p) {
    __fp16 h;
    memcpy(&h, p, 2);
    return (float)h;
}
#else
/* Without subnormal operands, which some processors are slow with: the smallest halves get their leading one by adding
 * 2^-14 and taking it away. */
INLINE float half(const void *p) {
    uint32_t bits = dp_load_u16(p), magnitude = (bits & 0x7FFF) << 13, normal = magnitude + 0x38000000, small = magnitude + 0x38800000;
    if (magnitude >= 0x0F800000) normal |= 0x7F800000; /* infinity, NaN */
    float value = magnitude < 0x00800000 ? dp_load_f32(&small) - 0x1p-14f : dp_load_f32(&normal);
    return bits & 0x8000 ? -value : value;
}
#endif

#endif
