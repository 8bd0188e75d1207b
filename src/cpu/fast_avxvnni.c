/* fast_avxvnni.c: kernels for AVX2 with VNNI in 32-byte registers (Alder Lake and later, where AVX-512 is missing). */
#include "cpu/fast.h"

#if defined(__AVXVNNI__) && defined(__FMA__) && defined(__F16C__)

enum { VL = 8, BIAS_BYTES = 1, PANEL_VECTORS = 2, PANEL_TOKENS = 3, PANEL_TOKENS_F32 = 6 };

#include "cpu/fast_vec.h"

INLINE vi dot4u(vi acc, vi w, vi a) { return (vi)_mm256_dpbusd_avx_epi32((__m256i)acc, (__m256i)w, (__m256i)a); }
INLINE vi dot4s(vi acc, vi w, vi a) { return dot4u(acc, w, a); } /* not reached: BIAS_BYTES */

#include "cpu/fast_avx2.h"

KERNELS(avxvnni, "avx2+vnni", 6)

#else

const dp_cpu_kernels *dp_kernels_avxvnni(void) { return NULL; }

#endif
