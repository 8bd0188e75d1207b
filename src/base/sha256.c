/* sha256.c: SHA-256 (FIPS 180-4). The portable function is the specification; x86 processors with SHA extensions take another,
 * chosen at run time; on arm64 the compiler's target decides (Apple's processors all have them). */
#include "base/sha256.h"

#include "base/hash.h"

#include <stdatomic.h>
#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#define HAVE_SHA_NI 1
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__ARM_FEATURE_SHA2)
#include <arm_neon.h>
#endif

static const uint32_t round_constant[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

typedef void (*compress_fn)(uint32_t state[8], const uint8_t *blocks, size_t count);

static inline uint32_t rotate(uint32_t v, int by) { return v >> by | v << (32 - by); }

static inline uint32_t load_big(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void store_big(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void expand(uint32_t w[64], const uint8_t *block) {
    for (int i = 0; i < 16; i++) w[i] = load_big(block + 4 * i);
    for (int i = 16; i < 64; i++) {
        uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
}

static void compress_portable(uint32_t state[8], const uint8_t *blocks, size_t count) {
    for (; count > 0; count--, blocks += 64) {
        uint32_t w[64], a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
        expand(w, blocks);
        for (int i = 0; i < 64; i++) {
            uint32_t s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25), choice = (e & f) ^ (~e & g);
            uint32_t t1 = h + s1 + choice + round_constant[i] + w[i];
            uint32_t s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22), majority = (a & b) ^ (a & c) ^ (b & c);
            h = g, g = f, f = e, e = d + t1;
            d = c, c = b, b = a, a = t1 + s0 + majority;
        }
        state[0] += a, state[1] += b, state[2] += c, state[3] += d;
        state[4] += e, state[5] += f, state[6] += g, state[7] += h;
    }
}

#ifdef HAVE_SHA_NI
/* The instructions hold the state as (a, b, e, f) and (c, d, g, h), highest element first. */
__attribute__((target("sha,sse4.1,ssse3"))) static void compress_sha_ni(uint32_t state[8], const uint8_t *blocks,
                                                                        size_t count) {
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xB1);
    __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1B);
    __m128i abef = _mm_alignr_epi8(cdab, efgh, 8), cdgh = _mm_blend_epi16(efgh, cdab, 0xF0);
    for (; count > 0; count--, blocks += 64) {
        __m128i w[4], abef_before = abef, cdgh_before = cdgh;
        for (int i = 0; i < 16; i++) { /* four rounds each; w holds the last sixteen words of the schedule */
            if (i < 4) {
                w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(blocks + 16 * i)), big_endian);
            } else {
                __m128i middle = _mm_alignr_epi8(w[(i + 3) % 4], w[(i + 2) % 4], 4);
                __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w[i % 4], w[(i + 1) % 4]), middle);
                w[i % 4] = _mm_sha256msg2_epu32(sum, w[(i + 3) % 4]);
            }
            __m128i k = _mm_loadu_si128((const __m128i *)(round_constant + 4 * i));
            __m128i wk = _mm_add_epi32(w[i % 4], k);
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, wk);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(wk, 0x0E));
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    __m128i feba = _mm_shuffle_epi32(abef, 0x1B), dchg = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

static compress_fn best_compress(void) {
    unsigned a, b, c, d, features;
    if (!__get_cpuid_count(7, 0, &a, &features, &c, &d) || !__get_cpuid(1, &a, &b, &c, &d)) return compress_portable;
    bool sha = features >> 29 & 1, ssse3 = c >> 9 & 1, sse41 = c >> 19 & 1;
    return sha && ssse3 && sse41 ? compress_sha_ni : compress_portable;
}
#elif defined(__ARM_FEATURE_SHA2)
static void compress_neon(uint32_t state[8], const uint8_t *blocks, size_t count) {
    uint32x4_t abcd = vld1q_u32(state), efgh = vld1q_u32(state + 4);
    for (; count > 0; count--, blocks += 64) {
        uint32x4_t w[4], abcd_before = abcd, efgh_before = efgh;
        for (int i = 0; i < 16; i++) { /* as above */
            if (i < 4) {
                w[i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(blocks + 16 * i)));
            } else {
                uint32x4_t sum = vsha256su0q_u32(w[i % 4], w[(i + 1) % 4]);
                w[i % 4] = vsha256su1q_u32(sum, w[(i + 2) % 4], w[(i + 3) % 4]);
            }
            uint32x4_t wk = vaddq_u32(w[i % 4], vld1q_u32(round_constant + 4 * i)), old = abcd;
            abcd = vsha256hq_u32(abcd, efgh, wk);
            efgh = vsha256h2q_u32(efgh, old, wk);
        }
        abcd = vaddq_u32(abcd, abcd_before);
        efgh = vaddq_u32(efgh, efgh_before);
    }
    vst1q_u32(state, abcd);
    vst1q_u32(state + 4, efgh);
}

static compress_fn best_compress(void) { return compress_neon; }
#else
static compress_fn best_compress(void) { return compress_portable; }
#endif

/* Asked once: the processor's answer can take microseconds on a virtual machine. Threads that race store the same. */
static _Atomic(compress_fn) chosen;

static void compress(uint32_t state[8], const uint8_t *blocks, size_t count) {
    compress_fn fn = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (!fn) {
        fn = best_compress();
        atomic_store_explicit(&chosen, fn, memory_order_relaxed);
    }
    fn(state, blocks, count);
}

void dp_sha256_use_portable(bool portable) { atomic_store(&chosen, portable ? compress_portable : best_compress()); }

void dp_sha256_init(dp_sha256 *hash) {
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(hash->state, start, sizeof start);
    hash->size = 0;
}

void dp_sha256_update(dp_sha256 *hash, const void *data, size_t size) {
    const uint8_t *p = data;
    size_t held = hash->size % 64;
    hash->size += size;
    if (held > 0) {
        size_t take = size < 64 - held ? size : 64 - held;
        if (take > 0) memcpy(hash->block + held, p, take);
        if (held + take < 64) return;
        compress(hash->state, hash->block, 1);
        p += take;
        size -= take;
    }
    compress(hash->state, p, size / 64);
    if (size % 64) memcpy(hash->block, p + size / 64 * 64, size % 64);
}

void dp_sha256_final(dp_sha256 *hash, uint8_t digest[32]) {
    uint64_t bits = hash->size * 8;
    size_t held = hash->size % 64;
    uint8_t tail[128] = {0};
    memcpy(tail, hash->block, held);
    tail[held] = 0x80;
    size_t blocks = held < 56 ? 1 : 2;
    store_big(tail + 64 * blocks - 8, (uint32_t)(bits >> 32));
    store_big(tail + 64 * blocks - 4, (uint32_t)bits);
    compress(hash->state, tail, blocks);
    for (int i = 0; i < 8; i++) store_big(digest + 4 * i, hash->state[i]);
}

void dp_sha256_hex(const void *data, size_t size, char hex[65]) {
    dp_sha256 hash;
    uint8_t digest[32];
    dp_sha256_init(&hash);
    dp_sha256_update(&hash, data, size);
    dp_sha256_final(&hash, digest);
    dp_digest_hex(digest, hex);
}
