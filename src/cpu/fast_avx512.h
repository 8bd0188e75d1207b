/* fast_avx512.h: the primitives of AVX-512 F, BW, VL, DQ with VNNI, for the files that build on them. */
#ifndef DP_FAST_AVX512_H
#define DP_FAST_AVX512_H

#include "cpu/fast.h"

enum { VL = 16, BIAS_BYTES = 1, PANEL_VECTORS = 2, PANEL_TOKENS = 6, PANEL_TOKENS_F32 = 12 };

#include "cpu/fast_vec.h"

INLINE vi dot4u(vi acc, vi w, vi a) { return (vi)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)w, (__m512i)a); }
INLINE vi dot4s(vi acc, vi w, vi a) { return dot4u(acc, w, a); } /* not reached: BIAS_BYTES */
INLINE vf vf_half(const void *p) { return (vf)_mm512_cvtph_ps(_mm256_loadu_si256(p)); }
INLINE void vf_store_half(void *p, vf v) { _mm256_storeu_si256(p, _mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT)); }

#include "cpu/fast_unpack512.h"

/* Vector j holds 4 runs of 16 columns: lanes 4 i .. 4 i + 3 belong to scale 4 j + i. */
INLINE vf dot_unit(const unpacked *w, const dp_act_unit *a, vf acc, int grain, bool is_signed) {
    (void)grain, (void)is_signed;
    const __m512i lanes = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    __m512 scale = (__m512)(vf_load(w->s) * vf_load(a->scale));
    acc -= vf_load(w->m) * vf_load(a->sum16);
    vf part[4];
    for (int j = 0; j < 4; j++) {
        vf each = (vf)_mm512_permutexvar_ps(_mm512_add_epi32(lanes, _mm512_set1_epi32(4 * j)), scale);
        part[j] = vf_of(dot4u((vi){0}, vi_load(w->q + 64 * j), vi_load(a->q + 64 * j))) * each;
    }
    return acc + ((part[0] + part[1]) + (part[2] + part[3]));
}

#endif
