/* quant_k.h: sizes and packed scales of the super-block formats, shared by their reader and their writer. */
#ifndef DP_QUANT_K_H
#define DP_QUANT_K_H

#include "quant/blocks.h"

enum { Q2_K_BYTES = 84, Q3_K_BYTES = 110, Q4_K_BYTES = 144, Q5_K_BYTES = 176, Q6_K_BYTES = 210 };

/* Six-bit scale and minimum of sub-block j (0..7) of Q4_K and Q5_K:
 * j < 4: low six bits of bytes j and j + 4; else the nibbles of byte j + 4 below the top two bits of j - 4 and j. */
void quant_k_scale_min(const uint8_t *packed, int j, int *scale, int *min);
/* Signed scale of sub-block j (0..15) of Q3_K: nibbles in bytes 0..7, the two bits above them in bytes 8..11. */
int quant_k_q3_scale(const uint8_t *packed, int j);

#endif
