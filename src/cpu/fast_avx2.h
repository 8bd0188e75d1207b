/* fast_avx2.h: what the files with 32-byte registers share. They define dot4u and dot4s before they include this. */
#ifndef DP_FAST_AVX2_H
#define DP_FAST_AVX2_H

INLINE vf vf_half(const void *p) { return (vf)_mm256_cvtph_ps(_mm_loadu_si128(p)); }
INLINE void vf_store_half(void *p, vf v) { _mm_storeu_si128(p, _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT)); }

#include "cpu/fast_unpack.h"

/* Vector j holds 2 runs of 16 columns: the lower four lanes belong to scale 2 j, the upper to 2 j + 1. */
INLINE vf dot_unit(const unpacked *w, const dp_act_unit *a, vf acc, int grain, bool is_signed) {
    (void)grain;
    vf other = {0};
    for (int h = 0; h < 2; h++) {
        __m256 scale = (__m256)(vf_load(w->s + 8 * h) * vf_load(a->scale + 8 * h));
        acc -= vf_load(w->m + 8 * h) * vf_load(a->sum16 + 8 * h);
        for (int j = 0; j < 4; j++) {
            vf each = (vf)_mm256_permutevar8x32_ps(
                scale, _mm256_set_epi32(2 * j + 1, 2 * j + 1, 2 * j + 1, 2 * j + 1, 2 * j, 2 * j, 2 * j, 2 * j));
            vi wq = vi_load(w->q + 128 * h + 32 * j), aq = vi_load(a->q + 128 * h + 32 * j);
            vf part = vf_of(is_signed ? dot4s((vi){0}, wq, aq) : dot4u((vi){0}, wq, aq)) * each;
            if (j % 2) acc += part;
            else other += part;
        }
    }
    return acc + other;
}

#include "cpu/fast_table.h"

#endif
