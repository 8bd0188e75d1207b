/* Repacking of gpt-oss MXFP4 blocks: every nibble lands where the block format says. */
#include "base/hash.h"
#include "format/mxfp4_hf.h"
#include "test.h"

enum { BLOCKS = 37 };

static void fill(uint8_t *bytes, size_t n, uint64_t seed) {
    for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)(dp_splitmix64(seed + i) >> 40);
}

TEST(every_element_keeps_its_value) {
    uint8_t blocks[BLOCKS * DP_MXFP4_HF_BLOCK], scales[BLOCKS], out[BLOCKS * DP_MXFP4_BLOCK + 1];
    fill(blocks, sizeof blocks, 1);
    fill(scales, sizeof scales, 2);
    out[sizeof out - 1] = 0xA5;
    dp_mxfp4_from_hf(blocks, scales, BLOCKS, out);
    for (int b = 0; b < BLOCKS; b++) {
        const uint8_t *from = blocks + b * DP_MXFP4_HF_BLOCK, *to = out + b * DP_MXFP4_BLOCK;
        CHECK(to[0] == scales[b]);
        for (int e = 0; e < 32; e++) {
            int expected = e % 2 ? from[e / 2] >> 4 : from[e / 2] & 15;
            int found = e < 16 ? to[1 + e] & 15 : to[1 + e - 16] >> 4;
            CHECK_MSG(found == expected, "block %d element %d: %d, expected %d", b, e, found, expected);
        }
    }
    CHECK(out[sizeof out - 1] == 0xA5);
}

TEST_MAIN()
