/* fast_scalar.c: the same kernels without a particular instruction set: short vectors that the compiler maps to whatever
 * the target has. */
enum { VL = 4, BIAS_BYTES = 0, PANEL_VECTORS = 2, PANEL_TOKENS = 2, PANEL_TOKENS_F32 = 4 };

#include "cpu/fast_vec.h"

/* Even and odd bytes are multiplied in 16 bits, which hold two products: 2 * 128 * 127. */
INLINE vi dot4s(vi acc, vi w, vi a) {
    typedef int16_t v16 __attribute__((vector_size(16), may_alias));
    v16 x = (v16)w, y = (v16)a;
    vi pairs = (vi)(((x << 8) >> 8) * ((y << 8) >> 8) + (x >> 8) * (y >> 8));
    return acc + ((pairs << 16) >> 16) + (pairs >> 16);
}
INLINE vi dot4u(vi acc, vi w, vi a) { return dot4s(acc, w, a); }
INLINE vf vf_half(const void *p) {
    const uint8_t *h = p;
    return (vf){half(h), half(h + 2), half(h + 4), half(h + 6)};
}
INLINE void vf_store_half(void *p, vf v) {
    for (int i = 0; i < VL; i++) dp_store_u16((uint8_t *)p + 2 * i, dp_f32_to_f16(v[i]));
}

#include "cpu/fast_unpack.h"

INLINE vf dot_unit(const unpacked *w, const dp_act_unit *a, vf acc, int grain, bool is_signed) {
    (void)grain, (void)is_signed;
    for (int j = 0; j < 16; j++) {
        vi sum = dot4s((vi){0}, vi_load(w->q + 16 * j), vi_load(a->q + 16 * j));
        acc += vf_of(sum) * (w->s[j] * a->scale[j]);
    }
    for (int j = 0; j < 16; j += VL) acc -= vf_load(w->m + j) * vf_load(a->sum16 + j);
    return acc;
}

#include "cpu/fast_table.h"

KERNELS(scalar, "scalar", 6)
