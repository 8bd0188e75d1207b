/* fast_i8mm.c: kernels for 64-bit ARM with dot products and products of 8-bit matrices (ARMv8.6). */
#include "cpu/fast.h"

#if defined(__aarch64__) && defined(__ARM_FEATURE_MATMUL_INT8)

#define PANEL_STEP 8

#include "cpu/fast_arm_dot.h"

static double spin_pairs(int32_t rounds) {
    int8_t w[2][16];
    for (int i = 0; i < 16; i++) w[0][i] = (int8_t)-(w[1][i] = (int8_t)i);
    int32x4_t sum[12];
    for (int i = 0; i < 12; i++) sum[i] = vdupq_n_s32(i);
    for (int32_t r = 0; r < rounds; r++) {
        int8x16_t row = vld1q_s8(w[r % 2]);
        UNROLL(12)
        for (int i = 0; i < 12; i++) sum[i] = vmmlaq_s32(sum[i], row, vdupq_n_s8((int8_t)i));
    }
    for (int i = 1; i < 12; i++) sum[0] = vaddq_s32(sum[0], sum[i]);
    volatile int32_t sink = vaddvq_s32(sum[0]);
    (void)sink;
    return 12.0 * 32 * rounds;
}

#define SPIN_BYTES spin_pairs
#include "cpu/fast_table.h"

KERNELS(i8mm, "neon+i8mm", 6)

#else

const dp_cpu_kernels *dp_kernels_i8mm(void) { return NULL; }

#endif
