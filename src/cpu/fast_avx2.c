/* fast_avx2.c: kernels for AVX2 with FMA and F16C. */
#include "cpu/fast.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

enum { VL = 8, BIAS_BYTES = 0, PANEL_VECTORS = 2, PANEL_TOKENS = 2, PANEL_TOKENS_F32 = 6 };

#include "cpu/fast_vec.h"

/* Pairs are added in 16 bits, which holds them: 2 * 127 * 127. */
INLINE vi dot4u(vi acc, vi w, vi a) {
    __m256i pairs = _mm256_maddubs_epi16((__m256i)w, (__m256i)a);
    return acc + (vi)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}
INLINE vi dot4s(vi acc, vi w, vi a) {
    return dot4u(acc, (vi)_mm256_abs_epi8((__m256i)w), (vi)_mm256_sign_epi8((__m256i)a, (__m256i)w));
}

#include "cpu/fast_avx2.h"

KERNELS(avx2, "avx2+fma", 6)

#else

const dp_cpu_kernels *dp_kernels_avx2(void) { return NULL; }

#endif
