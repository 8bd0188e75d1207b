/* fast_neon.c: kernels for 64-bit ARM without dot products. */
#include "cpu/fast.h"

#if defined(__aarch64__)

#include <arm_neon.h>

enum { VL = 4, BIAS_BYTES = 0, PANEL_VECTORS = 2, PANEL_TOKENS = 4, PANEL_TOKENS_F32 = 8 };

#include "cpu/fast_vec.h"

INLINE vi dot4s(vi acc, vi w, vi a) {
    int8x16_t x = (int8x16_t)w, y = (int8x16_t)a;
    int16x8_t low = vmull_s8(vget_low_s8(x), vget_low_s8(y)), high = vmull_high_s8(x, y);
    return acc + (vi)vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high));
}

#include "cpu/fast_arm.h"
#include "cpu/fast_table.h"

KERNELS(neon, "neon", 6)

#else

const dp_cpu_kernels *dp_kernels_neon(void) { return NULL; }

#endif
