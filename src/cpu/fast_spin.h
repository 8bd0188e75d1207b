/* fast_spin.h: loops that do nothing but multiply and add, on what the products use: the peak that they are measured
 * against. Operands change, so that no product can be taken out of the loop. */
#ifndef DP_FAST_SPIN_H
#define DP_FAST_SPIN_H

#include "cpu/fast_heads.h"

enum { SPIN_SUMS = VL == 16 ? 12 : 8 };

static volatile float spin_sink;

#ifndef SPIN_BYTES /* an instruction set with a product of its own has its own loop of it */
#define SPIN_BYTES spin_bytes
static double spin_bytes(int32_t rounds) {
    uint8_t w[2][VL * 4];
    dp_act_unit a;
    memset(&a, 1, sizeof a);
    for (int i = 0; i < VL * 4; i++) w[0][i] = (uint8_t)(w[1][i] = (uint8_t)(i % 8)) + 1;
    vi sum[SPIN_SUMS];
    for (int i = 0; i < SPIN_SUMS; i++) sum[i] = vi_set(i);
    for (int32_t r = 0; r < rounds; r++) {
        panel_bytes row = panel_weights(w[r % 2], false);
        UNROLL(12)
        for (int i = 0; i < SPIN_SUMS; i++) sum[i] = panel_dot(sum[i], row, panel_activations(&a, 4 * i, false), false);
    }
    for (int i = 1; i < SPIN_SUMS; i++) sum[0] += sum[i];
    spin_sink = vf_sum(vf_of(sum[0]));
    return (double)rounds * SPIN_SUMS * VL * 4;
}
#endif

static double spin_floats(int32_t rounds) {
    float w[2][VL], a[SPIN_SUMS];
    for (int i = 0; i < VL; i++) w[0][i] = -(w[1][i] = (float)i);
    for (int i = 0; i < SPIN_SUMS; i++) a[i] = (float)(i + 1);
    vf sum[SPIN_SUMS];
    for (int i = 0; i < SPIN_SUMS; i++) sum[i] = vf_set((float)i);
    for (int32_t r = 0; r < rounds; r++) {
        vf row = vf_load(w[r % 2]);
        UNROLL(12)
        for (int i = 0; i < SPIN_SUMS; i++) sum[i] += row * a[i];
    }
    for (int i = 1; i < SPIN_SUMS; i++) sum[0] += sum[i];
    spin_sink = vf_sum(sum[0]);
    return (double)rounds * SPIN_SUMS * VL;
}

#endif
