/* fast_dotprod.c: kernels for 64-bit ARM with dot products (ARMv8.2). */
#include "cpu/fast.h"

#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)

#include "cpu/fast_arm_dot.h"
#include "cpu/fast_table.h"

KERNELS(dotprod, "neon+dotprod", 6)

#else

const dp_cpu_kernels *dp_kernels_dotprod(void) { return NULL; }

#endif
