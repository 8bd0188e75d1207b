/* mxfp4_hf.h: MXFP4 as gpt-oss checkpoints store it (`*_blocks` and `*_scales` apart) into the one form DOPPLER
 * computes with: DP_MXFP4, which is also GGUF's. An exact permutation of nibbles, no requantisation. Floor 3.
 *
 *   source block  16 bytes  byte b: low nibble = element 2b, high nibble = element 2b+1; its E8M0 scale lies elsewhere
 *   DP_MXFP4      17 bytes  scale, then byte j: low nibble = element j, high nibble = element j+16
 *
 * Rows of `gate_up_proj` alternate: row 2r is row r of gate, row 2r+1 is row r of up. Choosing rows is the caller's
 * part. */
#ifndef DP_MXFP4_HF_H
#define DP_MXFP4_HF_H

#include "base/base.h"

enum { DP_MXFP4_HF_BLOCK = 16, DP_MXFP4_BLOCK = 17 };

/* blocks [n_blocks][16], scales [n_blocks] -> out [n_blocks][17]. out overlaps neither input. */
void dp_mxfp4_from_hf(const uint8_t *blocks, const uint8_t *scales, int64_t n_blocks, uint8_t *out);

#endif
