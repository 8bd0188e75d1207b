/* fast_avx512.c: kernels for AVX-512 F, BW, VL, DQ with VNNI. */
#include "cpu/fast.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__) && defined(__AVX512VNNI__)

#include "cpu/fast_avx512.h"
#include "cpu/fast_table.h"

KERNELS(avx512, "avx512+vnni", 3)

#else

const dp_cpu_kernels *dp_kernels_avx512(void) { return NULL; }

#endif
