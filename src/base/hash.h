/* hash.h: FNV-1a and splitmix64 (maps, seeds, reference weights). The content hashes stand in sha256.h and blake3.h. */
#ifndef DP_HASH_H
#define DP_HASH_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t dp_fnv1a64(const void *data, size_t size) {
    const unsigned char *p = data;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++) h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

static inline uint64_t dp_splitmix64(uint64_t x) {
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

/* A 32-byte digest as 64 lower-case hexadecimal digits and a NUL. */
static inline void dp_digest_hex(const uint8_t digest[32], char hex[65]) {
    for (int i = 0; i < 64; i++) hex[i] = "0123456789abcdef"[digest[i / 2] >> (i % 2 ? 0 : 4) & 15];
    hex[64] = 0;
}

/* For hash tables: FNV-1a with its weak low bits mixed. */
static inline uint64_t dp_hash_bytes(const void *data, size_t size) {
    uint64_t h = dp_fnv1a64(data, size);
    return h ^ h >> 29;
}

#endif
