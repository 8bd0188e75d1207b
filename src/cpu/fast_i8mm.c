/* fast_i8mm.c: kernels for 64-bit ARM with dot products and products of 8-bit matrices (ARMv8.6). */
#include "cpu/fast.h"

#if defined(__aarch64__) && defined(__ARM_FEATURE_MATMUL_INT8)

#include "cpu/fast_arm_dot.h"
#include "cpu/fast_i8mm.h"

#define DOT_TILE dot_tile
#define PANEL_TILE pairs_tile
#define PACK_TOKENS NULL
#define TASK_ROWS PANEL_ROWS
#define SPIN_BYTES spin_pairs
#include "cpu/fast_table.h"

KERNELS(i8mm, "neon+i8mm", 6)

#else

const dp_cpu_kernels *dp_kernels_i8mm(void) { return NULL; }

#endif
