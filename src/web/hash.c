/* hash.c: the hash of a shard while it arrives. Both algorithms that manifests name. */
#include "base/base.h"
#include "base/blake3.h"
#include "base/hash.h"
#include "base/sha256.h"
#include "web/web.h"

struct web_hash {
    bool blake3;
    union {
        dp_sha256 sha256;
        dp_blake3 blake3;
    } state;
};

web_hash *web_hash_new(int32_t blake3) {
    web_hash *hash = dp_malloc(sizeof *hash);
    if (!hash) return NULL;
    hash->blake3 = blake3 != 0;
    if (hash->blake3) dp_blake3_init(&hash->state.blake3);
    else dp_sha256_init(&hash->state.sha256);
    return hash;
}

void web_hash_update(web_hash *hash, const void *data, uint32_t size) {
    if (hash->blake3) dp_blake3_update(&hash->state.blake3, data, size);
    else dp_sha256_update(&hash->state.sha256, data, size);
}

const char *web_hash_end(web_hash *hash) {
    static char hex[65];
    uint8_t digest[32];
    if (hash->blake3) dp_blake3_final(&hash->state.blake3, digest);
    else dp_sha256_final(&hash->state.sha256, digest);
    dp_digest_hex(digest, hex);
    dp_free(hash);
    return hex;
}
