/* lanes.h: four floats at a time, written with the compilers' portable vectors (SSE2, NEON, wasm SIMD, or plain
 * floats). The quantisers give each lane its own sub-block: every sum then runs in the order of the elements, as a
 * scalar program would take it, so results do not depend on the target. */
#ifndef DP_QUANT_LANES_H
#define DP_QUANT_LANES_H

#include "base/base.h"

#include <math.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { LANES = 4 };
typedef float lanes __attribute__((vector_size(16)));
typedef int32_t lanes_mask __attribute__((vector_size(16))); /* all bits of a lane set or none */

static inline lanes lanes_all(float f) { return (lanes){f, f, f, f}; }

static inline lanes lanes_select(lanes_mask mask, lanes yes, lanes no) {
    return (lanes)((mask & (lanes_mask)yes) | (~mask & (lanes_mask)no));
}

static inline lanes lanes_min(lanes a, lanes b) {
#if defined(__SSE2__)
    return (lanes)_mm_min_ps((__m128)a, (__m128)b);
#else
    return lanes_select(a < b, a, b);
#endif
}

static inline lanes lanes_max(lanes a, lanes b) {
#if defined(__SSE2__)
    return (lanes)_mm_max_ps((__m128)a, (__m128)b);
#else
    return lanes_select(a > b, a, b);
#endif
}

static inline lanes lanes_clamp(lanes v, float low, float high) {
    return lanes_min(lanes_max(v, lanes_all(low)), lanes_all(high));
}

static inline lanes lanes_abs(lanes v) { return (lanes)((lanes_mask)v & 0x7FFFFFFF); }
static inline bool lanes_any(lanes_mask mask) { return (mask[0] | mask[1] | mask[2] | mask[3]) != 0; }

/* 1.5 * 2^23: adding it leaves no bits for a fraction, so the sum is rounded to an integer, half to even. */
#define ROUNDING_MAGIC 12582912.0f
static inline lanes lanes_round(lanes v) { return (v + ROUNDING_MAGIC) - ROUNDING_MAGIC; }
static inline float round_even(float f) { return (f + ROUNDING_MAGIC) - ROUNDING_MAGIC; }

#endif
