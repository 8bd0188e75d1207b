/* repack.c: one function per block format. Quants become aligned 16-byte groups, one a chunk of 32 elements (two for 8-bit
 * types); what is left goes to the second array. Layouts are documented in kernels/format_*.wgsl. */
#include "gpu/repack.h"

/* Words of the second array per block, or per `share` blocks. */
typedef struct layout {
    uint8_t quant_words; /* per block */
    uint8_t scale_words, share;
    void (*blocks)(const uint8_t *in, size_t count, uint32_t *quants, uint32_t *scales);
} layout;

typedef uint32_t four_words __attribute__((vector_size(16), aligned(1), may_alias));

/* Written out, since memcpy of more than 64 bytes is a call for each block in WebAssembly. */
static inline void copy_words(uint32_t *out, const uint8_t *in, size_t words) {
    size_t i = 0;
    for (; i + 4 <= words; i += 4) *(four_words *)(out + i) = *(const four_words *)(in + 4 * i);
    if (i < words) memcpy(out + i, in + 4 * i, (words - i) * 4);
}

/* Half `i & 1` of word i / 2; the other half is 0 until it is written. */
static void put_half(uint32_t *words, size_t i, uint16_t half) {
    uint32_t *w = &words[i / 2];
    *w = i % 2 ? *w | (uint32_t)half << 16 : half;
}

static void q4_0(const uint8_t *in, size_t i, uint32_t *q, uint32_t *s) {
    put_half(s, i, dp_load_u16(in));
    copy_words(q + 4 * i, in + 2, 4);
}

static void q4_1(const uint8_t *in, size_t i, uint32_t *q, uint32_t *s) {
    s[i] = dp_load_u32(in);
    copy_words(q + 4 * i, in + 4, 4);
}

static void q5_0(const uint8_t *in, size_t i, uint32_t *q, uint32_t *s) {
    uint32_t *pair = s + i / 2 * 3;
    put_half(pair + 2, i % 2, dp_load_u16(in));
    pair[i % 2] = dp_load_u32(in + 2);
    copy_words(q + 4 * i, in + 6, 4);
}

static void q5_1(const uint8_t *in, size_t i, uint32_t *q, uint32_t *s) {
    s[2 * i] = dp_load_u32(in + 4);
    s[2 * i + 1] = dp_load_u32(in);
    copy_words(q + 4 * i, in + 8, 4);
}

static void q8_0(const uint8_t *in, size_t i, uint32_t *q, uint32_t *s) {
    put_half(s, i, dp_load_u16(in));
    copy_words(q + 8 * i, in + 2, 8);
}

/* -0 becomes 0, so that kernels may negate bytes without a carry. */
static void mxfp4(const uint8_t *in, size_t i, uint32_t *q, uint32_t *s) {
    uint32_t *w = &s[i / 4];
    *w = i % 4 ? *w | (uint32_t)in[0] << (i % 4 * 8) : in[0];
    for (size_t k = 0; k < 4; k++) {
        uint32_t eight = dp_load_u32(in + 1 + 4 * k), m = eight & 0x77777777u, some = (m | m >> 1 | m >> 2) & 0x11111111u;
        q[4 * i + k] = m | (eight & some << 3);
    }
}

static void q2_k(const uint8_t *in, size_t i, uint32_t *q, uint32_t *s) {
    copy_words(s + 5 * i, in, 4); /* scales and minimums */
    s[5 * i + 4] = dp_load_u32(in + 80);
    copy_words(q + 16 * i, in + 16, 16);
}

static void q3_k(const uint8_t *in, size_t i, uint32_t *q, uint32_t *s) {
    copy_words(s + 12 * i, in, 8); /* third bits */
    copy_words(s + 12 * i + 8, in + 96, 3);
    s[12 * i + 11] = dp_load_u16(in + 108);
    copy_words(q + 16 * i, in + 32, 16);
}

static void q4_k(const uint8_t *in, size_t i, uint32_t *q, uint32_t *s) {
    copy_words(s + 4 * i, in, 4);
    copy_words(q + 32 * i, in + 16, 32);
}

static void q5_k(const uint8_t *in, size_t i, uint32_t *q, uint32_t *s) {
    copy_words(s + 12 * i, in, 12); /* d, dmin, scales, then the fifth bits */
    copy_words(q + 32 * i, in + 48, 32);
}

/* Chunk (half, quarter): 8 columns at l = 8 * quarter, with those 32, 64 and 96 further. */
static void q6_k(const uint8_t *in, size_t i, uint32_t *q, uint32_t *s) {
    for (size_t pair = 0; pair < 4; pair++) {
        const uint8_t *low = in + pair / 2 * 64 + pair % 2 * 16;
        four_words a = *(const four_words *)low, b = *(const four_words *)(low + 32);
        *(four_words *)(q + 32 * i + 8 * pair) = __builtin_shufflevector(a, b, 0, 1, 4, 5);
        *(four_words *)(q + 32 * i + 8 * pair + 4) = __builtin_shufflevector(a, b, 2, 3, 6, 7);
    }
    copy_words(s + 21 * i, in + 128, 20); /* upper bits, scales */
    s[21 * i + 20] = dp_load_u16(in + 208);
}

/* The loop over blocks, of so many bytes each, into which the format's function is taken. */
#define BLOCKS(format, bytes)                                                                              \
    static void format##_blocks(const uint8_t *in, size_t count, uint32_t *quants, uint32_t *scales) {     \
        for (size_t i = 0; i < count; i++) format(in + i * (bytes), i, quants, scales);                    \
    }
BLOCKS(q4_0, 18)
BLOCKS(q4_1, 20)
BLOCKS(q5_0, 22)
BLOCKS(q5_1, 24)
BLOCKS(q8_0, 34)
BLOCKS(mxfp4, 17)
BLOCKS(q2_k, 84)
BLOCKS(q3_k, 110)
BLOCKS(q4_k, 144)
BLOCKS(q5_k, 176)
BLOCKS(q6_k, 210)

static const layout *layout_of(dp_dtype dtype) {
    static const layout q4_0_layout = {4, 1, 2, q4_0_blocks}, q4_1_layout = {4, 1, 1, q4_1_blocks},
                        q5_0_layout = {4, 3, 2, q5_0_blocks}, q5_1_layout = {4, 2, 1, q5_1_blocks},
                        q8_0_layout = {8, 1, 2, q8_0_blocks}, mxfp4_layout = {4, 1, 4, mxfp4_blocks},
                        q2_k_layout = {16, 5, 1, q2_k_blocks}, q3_k_layout = {16, 12, 1, q3_k_blocks},
                        q4_k_layout = {32, 4, 1, q4_k_blocks}, q5_k_layout = {32, 12, 1, q5_k_blocks},
                        q6_k_layout = {32, 21, 1, q6_k_blocks};
    switch (dtype) {
    case DP_Q4_0: return &q4_0_layout;
    case DP_Q4_1: return &q4_1_layout;
    case DP_Q5_0: return &q5_0_layout;
    case DP_Q5_1: return &q5_1_layout;
    case DP_Q8_0: return &q8_0_layout;
    case DP_MXFP4: return &mxfp4_layout;
    case DP_Q2_K: return &q2_k_layout;
    case DP_Q3_K: return &q3_k_layout;
    case DP_Q4_K: return &q4_k_layout;
    case DP_Q5_K: return &q5_k_layout;
    case DP_Q6_K: return &q6_k_layout;
    default: return NULL; /* floats: as stored */
    }
}

dp_repack_size dp_repack_bytes(dp_dtype dtype, size_t n) {
    const layout *l = layout_of(dtype);
    const dp_dtype_info *info = dp_dtype_get(dtype);
    size_t blocks = n / info->block;
    if (!l) return (dp_repack_size){(blocks * info->bytes + 3) / 4 * 4, 4};
    return (dp_repack_size){blocks * l->quant_words * 4, (blocks + l->share - 1) / l->share * l->scale_words * 4};
}

void dp_repack(dp_dtype dtype, const void *blocks, size_t n, uint32_t *quants, uint32_t *scales) {
    const layout *l = layout_of(dtype);
    const dp_dtype_info *info = dp_dtype_get(dtype);
    size_t count = n / info->block;
    if (!l) {
        if (scales) scales[0] = 0;
        memcpy(quants, blocks, count * info->bytes);
        return;
    }
    l->blocks(blocks, count, quants, scales);
}
