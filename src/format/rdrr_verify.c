/* rdrr_verify.c: hashes shards against the manifest. Some manifests of 2025 label BLAKE3 digests as sha256, so when the
 * named algorithm does not match the other one is tried. */
#include "base/blake3.h"
#include "base/sha256.h"
#include "format/builder.h"

enum { CHUNK = 1 << 20, DIGEST = 32 };

static int hex_digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static dp_status parse_digest(const dp_shard *shard, uint8_t out[DIGEST]) {
    dp_str hash = dp_str_of(shard->hash);
    for (size_t i = 0; i < DIGEST; i++) {
        int high = hash.n == 2 * DIGEST ? hex_digit(hash.p[2 * i]) : -1;
        int low = high >= 0 ? hex_digit(hash.p[2 * i + 1]) : -1;
        if (low < 0)
            return dp_fail(DP_E_FORMAT, "%s: expected a hash of 64 hexadecimal digits, found \"%s\"", shard->filename,
                           shard->hash);
        out[i] = (uint8_t)(high << 4 | low);
    }
    return DP_OK;
}

typedef struct hashing {
    const dp_shard *shard;
    const char *name; /* for messages */
    dp_shard_read_fn read;
    void *read_user;
    dp_progress_fn progress;
    void *user;
    unsigned char *chunk;
} hashing;

static dp_status digest_shard(const hashing *h, bool blake3, uint8_t out[DIGEST]) {
    dp_sha256 sha;
    dp_blake3 blake;
    if (blake3)
        dp_blake3_init(&blake);
    else
        dp_sha256_init(&sha);
    uint64_t size = h->shard->size;
    for (uint64_t at = 0; at < size;) {
        size_t n = (size_t)DP_MIN((uint64_t)CHUNK, size - at);
        TRY(h->read(h->read_user, at, h->chunk, n));
        if (blake3)
            dp_blake3_update(&blake, h->chunk, n);
        else
            dp_sha256_update(&sha, h->chunk, n);
        at += n;
        if (h->progress && !h->progress(h->user, h->shard->filename, at, size))
            return dp_fail(DP_E_CANCELLED, "%s: verification was cancelled", h->shard->filename);
    }
    if (blake3)
        dp_blake3_final(&blake, out);
    else
        dp_sha256_final(&sha, out);
    return DP_OK;
}

static dp_status match(const hashing *h, const char **algorithm) {
    uint8_t expected[DIGEST], found[DIGEST];
    bool blake3 = dp_str_is_nocase(dp_str_of(h->shard->algorithm), "blake3");
    if (!blake3 && !dp_str_is_nocase(dp_str_of(h->shard->algorithm), "sha256"))
        return dp_fail(DP_E_UNSUPPORTED, "%s: hash algorithm \"%s\": sha256 and blake3 are supported",
                       h->shard->filename, h->shard->algorithm);
    TRY(parse_digest(h->shard, expected));
    for (int attempt = 0; attempt < 2; attempt++, blake3 = !blake3) {
        TRY(digest_shard(h, blake3, found));
        if (memcmp(found, expected, DIGEST) != 0) continue;
        *algorithm = blake3 ? "blake3" : "sha256";
        return DP_OK;
    }
    return dp_fail(DP_E_CORRUPT,
                   "%s: damaged: neither its SHA-256 nor its BLAKE3 is the manifest's %.16s...: fetch it again",
                   h->name, h->shard->hash);
}

static dp_status hash_shard(const dp_checkpoint *c, size_t shard, hashing h, const char **algorithm) {
    if (shard >= c->shard_count) return dp_fail(DP_E_ARG, "shard %zu of %zu", shard, c->shard_count);
    h.shard = &c->shards[shard];
    if (!h.name) h.name = h.shard->filename;
    if (!h.shard->hash) return dp_fail(DP_E_NOT_FOUND, "%s: the manifest has no hash of it", h.shard->filename);
    unsigned char *memory = dp_malloc(CHUNK + DP_DIRECT);
    if (!memory) return dp_no_memory(CHUNK + DP_DIRECT);
    h.chunk = memory + (DP_DIRECT - (uintptr_t)memory % DP_DIRECT);
    dp_status status = match(&h, algorithm);
    dp_free(memory);
    return status;
}

dp_status dp_checkpoint_verify_bytes(const dp_checkpoint *c, size_t shard, dp_shard_read_fn read, void *user) {
    const char *algorithm;
    return hash_shard(c, shard, (hashing){.read = read, .read_user = user}, &algorithm);
}

static dp_status open_shard(const dp_checkpoint *c, const dp_shard *shard, dp_file **file) {
    if (!dp_filename_is_safe(dp_str_of(shard->filename)))
        return dp_fail(DP_E_FORMAT, "unsafe file name \"%s\": it must stay within the model's folder", shard->filename);
    char *path = dp_path_join(c->folder, shard->filename);
    if (!path) return dp_no_memory(strlen(shard->filename));
    dp_status status = dp_file_open(path, file);
    dp_free(path);
    return status;
}

static dp_status read_file(void *user, uint64_t offset, void *data, size_t size) {
    return dp_file_read(user, offset, data, size);
}

static dp_status check_size(const dp_shard *shard, const dp_file *file) {
    if (dp_file_size(file) == shard->size) return DP_OK;
    return dp_fail(DP_E_CORRUPT, "%s: expected %llu bytes, found %llu: fetch it again", dp_file_path(file),
                   (unsigned long long)shard->size, (unsigned long long)dp_file_size(file));
}

dp_status dp_checkpoint_match_shard(const dp_checkpoint *c, size_t shard, dp_progress_fn progress, void *user,
                                    const char **algorithm) {
    if (shard >= c->shard_count) return dp_fail(DP_E_ARG, "shard %zu of %zu", shard, c->shard_count);
    dp_file *file;
    if (!c->shards[shard].hash) return dp_fail(DP_E_NOT_FOUND, "%s: the manifest has no hash of it", c->shards[shard].filename);
    TRY(open_shard(c, &c->shards[shard], &file));
    hashing h = {.name = dp_file_path(file), .read = read_file, .read_user = file, .progress = progress, .user = user};
    dp_status status = check_size(&c->shards[shard], file);
    if (status == DP_OK) status = hash_shard(c, shard, h, algorithm);
    dp_file_close(file);
    return status;
}

dp_status dp_checkpoint_verify_shard(const dp_checkpoint *c, size_t shard, dp_progress_fn progress, void *user) {
    const char *algorithm;
    return dp_checkpoint_match_shard(c, shard, progress, user, &algorithm);
}
