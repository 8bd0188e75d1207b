/* mxfp4_hf.c: see mxfp4_hf.h. Bytes b and b+8 of a source block hold elements 2b, 2b+1 and 2b+16, 2b+17, which are
 * exactly the two nibble pairs of bytes 2b and 2b+1 of the result, so a block is one zip of two 8-byte halves. */
#include "format/mxfp4_hf.h"

#define LOW_NIBBLES UINT64_C(0x0F0F0F0F0F0F0F0F)

/* Moves byte i of a 32-bit word to byte 2i. */
static uint64_t spread(uint32_t word) {
    uint64_t x = word;
    x = (x | x << 16) & UINT64_C(0x0000FFFF0000FFFF);
    return (x | x << 8) & UINT64_C(0x00FF00FF00FF00FF);
}

void dp_mxfp4_from_hf(const uint8_t *blocks, const uint8_t *scales, int64_t n_blocks, uint8_t *out) {
    for (int64_t i = 0; i < n_blocks; i++, blocks += DP_MXFP4_HF_BLOCK, out += DP_MXFP4_BLOCK) {
        uint64_t first = dp_load_u64(blocks), second = dp_load_u64(blocks + 8);
        uint64_t even = (first & LOW_NIBBLES) | (second & LOW_NIBBLES) << 4;
        uint64_t odd = (first >> 4 & LOW_NIBBLES) | (second & ~LOW_NIBBLES);
        out[0] = scales[i];
        dp_store_u64(out + 1, spread((uint32_t)even) | spread((uint32_t)odd) << 8);
        dp_store_u64(out + 9, spread((uint32_t)(even >> 32)) | spread((uint32_t)(odd >> 32)) << 8);
    }
}
