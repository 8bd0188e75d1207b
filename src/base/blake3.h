/* blake3.h: BLAKE3 in hash mode with 32 bytes of output: what some published RDRR manifests carry. Portable C. */
#ifndef DP_BLAKE3_H
#define DP_BLAKE3_H

#include <stddef.h>
#include <stdint.h>

enum { DP_BLAKE3_LEVELS = 54 }; /* a tree of 2^64 bytes in chunks of 2^10 */

typedef struct dp_blake3 {
    uint32_t stack[DP_BLAKE3_LEVELS][8]; /* chaining values of finished subtrees, the largest first */
    int depth;
    uint64_t chunk;    /* number of the current chunk */
    uint32_t value[8]; /* chaining value within the current chunk */
    int blocks;        /* compressed in the current chunk */
    uint8_t block[64]; /* never compressed before more input is known to follow: the last block is marked as such */
    int held;          /* bytes in block */
} dp_blake3;

void dp_blake3_init(dp_blake3 *hash);
void dp_blake3_update(dp_blake3 *hash, const void *data, size_t size);
void dp_blake3_final(const dp_blake3 *hash, uint8_t digest[32]);

/* One piece at once, as 64 lower-case hexadecimal digits and a NUL. */
void dp_blake3_hex(const void *data, size_t size, char hex[65]);

#endif
