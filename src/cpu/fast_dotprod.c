/* fast_dotprod.c: kernels for 64-bit ARM with dot products (ARMv8.2). */
#include "cpu/fast.h"

#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)

#include <arm_neon.h>

enum { VL = 4, BIAS_BYTES = 0, PANEL_VECTORS = 2, PANEL_TOKENS = 4, PANEL_TOKENS_F32 = 8 };

#include "cpu/fast_vec.h"

INLINE vi dot4s(vi acc, vi w, vi a) { return (vi)vdotq_s32((int32x4_t)acc, (int8x16_t)w, (int8x16_t)a); }

#include "cpu/fast_arm.h"

KERNELS(dotprod, "neon+dotprod", 6)

#else

const dp_cpu_kernels *dp_kernels_dotprod(void) { return NULL; }

#endif
