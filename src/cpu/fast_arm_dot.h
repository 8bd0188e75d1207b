/* fast_arm_dot.h: the primitives of 64-bit ARM with dot products. */
#ifndef DP_FAST_ARM_DOT_H
#define DP_FAST_ARM_DOT_H

#include <arm_neon.h>

enum { VL = 4, BIAS_BYTES = 0, PANEL_VECTORS = 2, PANEL_TOKENS = 4, PANEL_TOKENS_F32 = 8 };

#include "cpu/fast_vec.h"

INLINE vi dot4s(vi acc, vi w, vi a) { return (vi)vdotq_s32((int32x4_t)acc, (int8x16_t)w, (int8x16_t)a); }

#include "cpu/fast_arm.h"

#endif
