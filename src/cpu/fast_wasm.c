/* fast_wasm.c: kernels for WebAssembly SIMD. It has no products of bytes: weights are split into 16-bit lanes of even and
 * of odd columns, and activations are kept so too (dp_act_unit.wide). Relaxed SIMD has such products, of signed bytes with
 * bytes below 128; a module that uses them does not load where they are unknown, so that is a second build
 * (DOPPLER_WASM_RELAXED). */
#include "cpu/fast.h"

#if defined(__wasm_simd128__)

enum { VL = 4, BIAS_BYTES = 0, PANEL_VECTORS = 2, PANEL_TOKENS = 4, PANEL_TOKENS_F32 = 4 };

#include "cpu/fast_vec.h"

/* ---- 16 bytes in two halves: even and odd columns ---- */

typedef struct panel_bytes {
    v128_t even, odd; /* relaxed and unsigned: all bytes in `even` */
} panel_bytes;

INLINE panel_bytes split_bytes(v128_t x, bool is_signed) {
    if (is_signed) return (panel_bytes){wasm_i16x8_shr(wasm_i16x8_shl(x, 8), 8), wasm_i16x8_shr(x, 8)};
    return (panel_bytes){wasm_v128_and(x, wasm_i16x8_const_splat(255)), wasm_u16x8_shr(x, 8)};
}

INLINE vi dot_halves(vi acc, panel_bytes w, panel_bytes a) {
    return acc + (vi)wasm_i32x4_dot_i16x8(w.even, a.even) + (vi)wasm_i32x4_dot_i16x8(w.odd, a.odd);
}

/* ---- 16 columns of one row with those of one token ---- */

INLINE vi dot_wide(vi acc, v128_t w, const dp_act_unit *a, int column, bool is_signed) {
    return dot_halves(acc, split_bytes(w, is_signed),
                      (panel_bytes){wasm_v128_load(a->wide + column), wasm_v128_load(a->wide + column + 8)});
}

#if defined(__wasm_relaxed_simd__)

INLINE vi dot_columns(vi acc, const uint8_t *w, const dp_act_unit *a, int column, bool is_signed) {
    if (is_signed) return dot_wide(acc, wasm_v128_load(w), a, column, true);
    return (vi)wasm_i32x4_relaxed_dot_i8x16_i7x16_add(wasm_v128_load(a->q + column), wasm_v128_load(w), (v128_t)acc);
}

#else

INLINE vi dot_columns(vi acc, const uint8_t *w, const dp_act_unit *a, int column, bool is_signed) {
    return dot_wide(acc, wasm_v128_load(w), a, column, is_signed);
}

#endif

/* ---- four columns of VL rows with those of one token ---- */

#define OWN_PANEL_DOT

INLINE panel_bytes panel_weights(const uint8_t *q, bool is_signed) {
#if defined(__wasm_relaxed_simd__)
    if (!is_signed) return (panel_bytes){.even = wasm_v128_load(q)};
#endif
    return split_bytes(wasm_v128_load(q), is_signed);
}

INLINE panel_bytes panel_activations(const dp_act_unit *a, int32_t column, bool is_signed) {
#if defined(__wasm_relaxed_simd__)
    if (!is_signed) return (panel_bytes){.even = wasm_v128_load32_splat(a->q + column)};
#endif
    (void)is_signed;
    const int16_t *even = a->wide + column / 16 * 16 + column % 16 / 2;
    return (panel_bytes){wasm_v128_load32_splat(even), wasm_v128_load32_splat(even + 8)};
}

INLINE vi panel_dot(vi acc, panel_bytes w, panel_bytes a, bool is_signed) {
#if defined(__wasm_relaxed_simd__)
    if (!is_signed) return (vi)wasm_i32x4_relaxed_dot_i8x16_i7x16_add(a.even, w.even, (v128_t)acc);
#endif
    (void)is_signed;
    return dot_halves(acc, w, a);
}

/* ---- halves: fraction and exponent moved into place are the value times 2^-112 ---- */

INLINE vf vf_half(const void *p) {
    v128_t bits = wasm_u32x4_load16x4(p);
    v128_t sign = wasm_i32x4_shl(wasm_v128_and(bits, wasm_i32x4_const_splat(0x8000)), 16);
    v128_t magnitude = wasm_i32x4_shl(wasm_v128_and(bits, wasm_i32x4_const_splat(0x7FFF)), 13);
    v128_t special = wasm_i32x4_gt(magnitude, wasm_i32x4_const_splat(0x0F7FFFFF)); /* infinities and NaN stay such */
    magnitude = wasm_v128_or(magnitude, wasm_v128_and(special, wasm_i32x4_const_splat(0x70000000)));
    return (vf)wasm_v128_or(wasm_f32x4_mul(magnitude, wasm_f32x4_const_splat(0x1p112f)), sign);
}

INLINE void vf_store_half(void *p, vf v) {
    for (int i = 0; i < VL; i++) dp_store_u16((uint8_t *)p + 2 * i, dp_f32_to_f16(v[i]));
}

#include "cpu/fast_unpack.h"

INLINE vf dot_unit(const unpacked *w, const dp_act_unit *a, vf acc, int grain, bool is_signed) {
    vf other = {0};
    for (int j = 0; j < 4; j++) {
        vf scale = vf_load(w->s + 4 * j) * vf_load(a->scale + 4 * j);
        acc -= vf_load(w->m + 4 * j) * vf_load(a->sum16 + 4 * j);
        vi sum[4];
        for (int i = 0; i < 4; i++) {
            vi before = grain == 32 && i % 2 ? sum[i - 1] : (vi){0};
            sum[i] = dot_columns(before, w->q + 64 * j + 16 * i, a, 64 * j + 16 * i, is_signed);
        }
        acc += vf_of(sum[1]) * __builtin_shufflevector(scale, scale, 1, 1, 1, 1);
        other += vf_of(sum[3]) * __builtin_shufflevector(scale, scale, 3, 3, 3, 3);
        if (grain == 32) continue;
        acc += vf_of(sum[0]) * __builtin_shufflevector(scale, scale, 0, 0, 0, 0);
        other += vf_of(sum[2]) * __builtin_shufflevector(scale, scale, 2, 2, 2, 2);
    }
    return acc + other;
}

#include "cpu/fast_table.h"

#if defined(__wasm_relaxed_simd__)
KERNELS(wasm, "wasm relaxed simd", 3)
#else
KERNELS(wasm, "wasm simd", 3)
#endif

#else

const dp_cpu_kernels *dp_kernels_wasm(void) { return NULL; }

#endif
