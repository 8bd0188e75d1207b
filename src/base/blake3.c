/* blake3.c: BLAKE3 (github.com/BLAKE3-team/BLAKE3-specs). Input is cut into chunks of 1024 bytes, each hashed block by
 * block; the chunks are the leaves of a binary tree whose left subtrees are as large as a power of two allows. The
 * stack holds one finished subtree for each set bit of the number of finished chunks. */
#include "base/blake3.h"

#include "base/base.h"
#include "base/hash.h"

enum { BLOCK = 64, CHUNK_BLOCKS = 16 };
enum { CHUNK_START = 1, CHUNK_END = 2, PARENT = 4, ROOT = 8 };

static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

/* What one compression takes besides the chaining value. */
typedef struct node {
    uint32_t words[16];
    uint64_t counter;
    uint32_t size, flags;
} node;

static inline uint32_t rotate(uint32_t v, int by) { return v >> by | v << (32 - by); }

static inline void mix(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d, const uint32_t m[2]) {
    *a += *b + m[0];
    *d = rotate(*d ^ *a, 16);
    *c += *d;
    *b = rotate(*b ^ *c, 12);
    *a += *b + m[1];
    *d = rotate(*d ^ *a, 8);
    *c += *d;
    *b = rotate(*b ^ *c, 7);
}

static inline void permute(uint32_t m[16]) {
    static const uint8_t from[16] = {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8};
    uint32_t old[16];
    memcpy(old, m, sizeof old);
    for (int i = 0; i < 16; i++) m[i] = old[from[i]];
}

/* The first eight words of the output, in place of the chaining value. */
static void compress(uint32_t value[8], const node *n) {
    uint32_t m[16], v[16];
    memcpy(m, n->words, sizeof m);
    memcpy(v, value, 32);
    memcpy(v + 8, start, 16);
    v[12] = (uint32_t)n->counter;
    v[13] = (uint32_t)(n->counter >> 32);
    v[14] = n->size;
    v[15] = n->flags;
    for (int round = 0; round < 7; round++) {
        for (int i = 0; i < 4; i++) mix(&v[i], &v[4 + i], &v[8 + i], &v[12 + i], m + 2 * i);
        for (int i = 0; i < 4; i++) {
            mix(&v[i], &v[4 + (i + 1) % 4], &v[8 + (i + 2) % 4], &v[12 + (i + 3) % 4], m + 8 + 2 * i);
        }
        permute(m);
    }
    for (int i = 0; i < 8; i++) value[i] = v[i] ^ v[i + 8];
}

/* The block held, as a node of the current chunk. */
static node block_node(const dp_blake3 *hash, uint32_t flags) {
    node n = {.counter = hash->chunk, .size = (uint32_t)hash->held, .flags = flags};
    if (hash->blocks == 0) n.flags |= CHUNK_START;
    memcpy(n.words, hash->block, (size_t)hash->held);
    return n;
}

static node parent_node(const uint32_t left[8], const uint32_t right[8], uint32_t flags) {
    node n = {.size = BLOCK, .flags = PARENT | flags};
    memcpy(n.words, left, 32);
    memcpy(n.words + 8, right, 32);
    return n;
}

static void begin_chunk(dp_blake3 *hash, uint64_t number) {
    memcpy(hash->value, start, sizeof start);
    hash->chunk = number;
    hash->blocks = hash->held = 0;
}

/* Pushes the finished chunk after merging it with every finished subtree of its size. */
static void end_chunk(dp_blake3 *hash) {
    node last = block_node(hash, CHUNK_END);
    compress(hash->value, &last);
    for (uint64_t count = hash->chunk + 1; (count & 1) == 0; count >>= 1) {
        node parent = parent_node(hash->stack[--hash->depth], hash->value, 0);
        memcpy(hash->value, start, sizeof start);
        compress(hash->value, &parent);
    }
    memcpy(hash->stack[hash->depth++], hash->value, 32);
    begin_chunk(hash, hash->chunk + 1);
}

static void end_block(dp_blake3 *hash) {
    if (hash->blocks == CHUNK_BLOCKS - 1) {
        end_chunk(hash);
        return;
    }
    node n = block_node(hash, 0);
    compress(hash->value, &n);
    hash->blocks++;
    hash->held = 0;
}

void dp_blake3_init(dp_blake3 *hash) {
    hash->depth = 0;
    begin_chunk(hash, 0);
}

void dp_blake3_update(dp_blake3 *hash, const void *data, size_t size) {
    const uint8_t *p = data;
    while (size > 0) {
        if (hash->held == BLOCK) end_block(hash);
        size_t take = DP_MIN(size, (size_t)(BLOCK - hash->held));
        memcpy(hash->block + hash->held, p, take);
        hash->held += (int)take;
        p += take;
        size -= take;
    }
}

void dp_blake3_final(const dp_blake3 *hash, uint8_t digest[32]) {
    uint32_t value[8];
    memcpy(value, hash->value, sizeof value);
    node n = block_node(hash, CHUNK_END);
    for (int i = hash->depth - 1; i >= 0; i--) {
        compress(value, &n);
        n = parent_node(hash->stack[i], value, 0);
        memcpy(value, start, sizeof start);
    }
    n.flags |= ROOT;
    n.counter = 0;
    compress(value, &n);
    memcpy(digest, value, 32);
}

void dp_blake3_hex(const void *data, size_t size, char hex[65]) {
    dp_blake3 hash;
    uint8_t digest[32];
    dp_blake3_init(&hash);
    dp_blake3_update(&hash, data, size);
    dp_blake3_final(&hash, digest);
    dp_digest_hex(digest, hex);
}
