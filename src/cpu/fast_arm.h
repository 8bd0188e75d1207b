/* fast_arm.h: what the ARM files share. Unsigned bytes are at most 63, so that they pass as signed. */
#ifndef DP_FAST_ARM_H
#define DP_FAST_ARM_H

#include "cpu/fast_unpack.h"

INLINE vi dot4u(vi acc, vi w, vi a) { return dot4s(acc, w, a); }
INLINE vf vf_half(const void *p) { return (vf)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
INLINE void vf_store_half(void *p, vf v) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32((float32x4_t)v))); }

INLINE vf dot_unit(const unpacked *w, const dp_act_unit *a, vf acc, int grain, bool is_signed) {
    (void)grain, (void)is_signed;
    vf part[4] = {acc, {0}, {0}, {0}};
    for (int j = 0; j < 4; j++) {
        float32x4_t scale = (float32x4_t)(vf_load(w->s + 4 * j) * vf_load(a->scale + 4 * j));
        vi sum[4];
        for (int i = 0; i < 4; i++) sum[i] = dot4s((vi){0}, vi_load(w->q + 64 * j + 16 * i), vi_load(a->q + 64 * j + 16 * i));
        part[0] += vf_of(sum[0]) * vgetq_lane_f32(scale, 0);
        part[1] += vf_of(sum[1]) * vgetq_lane_f32(scale, 1);
        part[2] += vf_of(sum[2]) * vgetq_lane_f32(scale, 2);
        part[3] += vf_of(sum[3]) * vgetq_lane_f32(scale, 3);
        part[j] -= vf_load(w->m + 4 * j) * vf_load(a->sum16 + 4 * j);
    }
    return (part[0] + part[1]) + (part[2] + part[3]);
}

#endif
