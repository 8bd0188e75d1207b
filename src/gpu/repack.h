/* repack.h: weight blocks as stored -> the two arrays that kernels/format_*.wgsl read. Sizes stay within 2 % of the stored
 * ones. Floor 4. */
#ifndef DP_REPACK_H
#define DP_REPACK_H

#include "quant/quant.h"

/* Bytes of the two arrays for n elements (n a multiple of 64 blocks, or the whole tensor; rounded up to whole words). */
typedef struct dp_repack_size {
    size_t quants, scales;
} dp_repack_size;
dp_repack_size dp_repack_bytes(dp_dtype dtype, size_t n);

/* Repacks n elements; quants and scales have dp_repack_bytes of room; floats need no scales (NULL). */
void dp_repack(dp_dtype dtype, const void *blocks, size_t n, uint32_t *quants, uint32_t *scales);

#endif
