/* sha256.h: SHA-256 (FIPS 180-4), the hash of shards. Uses the processor's SHA instructions where it has them. */
#ifndef DP_SHA256_H
#define DP_SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct dp_sha256 {
    uint32_t state[8];
    uint64_t size;     /* bytes so far */
    uint8_t block[64]; /* the size % 64 bytes that do not fill a block yet */
} dp_sha256;

void dp_sha256_init(dp_sha256 *hash);
void dp_sha256_update(dp_sha256 *hash, const void *data, size_t size);
void dp_sha256_final(dp_sha256 *hash, uint8_t digest[32]); /* init again before further use */

/* One piece at once, as 64 lower-case hexadecimal digits and a NUL. */
void dp_sha256_hex(const void *data, size_t size, char hex[65]);

/* Whole process: the portable code even where the processor has SHA instructions. Tests compare the two. */
void dp_sha256_use_portable(bool portable);

#endif
