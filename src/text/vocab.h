/* vocab.h: token id <-> bytes. In a byte-level vocabulary tokens are kept as the raw bytes that they stand for, not in
 * the printable alphabet of the file; a token that is not written in that alphabet is kept as it is, marked literal,
 * and not found by its bytes. Floor 2. */
#ifndef DP_VOCAB_H
#define DP_VOCAB_H

#include "base/base.h"
#include "base/buf.h"

typedef struct dp_token {
    uint32_t offset, size : 30;
    bool present : 1, literal : 1;
} dp_token;

typedef struct dp_vocab {
    char *bytes;
    dp_token *tokens; /* [count], by id */
    uint32_t *slots;  /* open addressing: id + 1, 0 free */
    size_t bytes_size, bytes_capacity, count, capacity, slot_count, used;
    bool byte_level;
} dp_vocab;

/* `text` as the file writes it. Ids may come in any order; an id already taken is overwritten. */
dp_status dp_vocab_add(dp_vocab *vocab, int64_t id, dp_str text);
/* Room for `count` more tokens; also bounds ids: no id may be beyond four times the count of tokens (and 65536). */
dp_status dp_vocab_reserve(dp_vocab *vocab, size_t count);
void dp_vocab_free(dp_vocab *vocab);

/* By raw bytes; -1 when absent. */
int32_t dp_vocab_find(const dp_vocab *vocab, dp_str raw);
/* By text as the file writes it, such as a special token's; texts above 1024 bytes are not found. */
int32_t dp_vocab_find_text(const dp_vocab *vocab, dp_str text);
dp_str dp_vocab_raw(const dp_vocab *vocab, int64_t id); /* empty when absent */
/* Appends the token's text as the file writes it. */
void dp_vocab_put_text(const dp_vocab *vocab, int64_t id, dp_buf *out);

/* The byte-level alphabet: every byte has one printable character. */
void dp_alphabet_put(dp_str raw, dp_buf *out);
/* Appends the bytes of `text`; false, with nothing appended, if it has a character outside the alphabet. */
bool dp_alphabet_decode(dp_str text, dp_buf *out);

/* A quick hash of short strings. */
static inline uint64_t dp_hash_word(const char *p, size_t n) {
    uint64_t h = n * 0x9E3779B97F4A7C15u, last = 0;
    for (; n >= 8; p += 8, n -= 8) {
        h = (h ^ dp_load_u64(p)) * 0x9FB21C651E98DF25u;
        h ^= h >> 32;
    }
    if (n) memcpy(&last, p, n);
    h = (h ^ last) * 0x9FB21C651E98DF25u;
    return h ^ h >> 29;
}

#endif
