/* bpe.h: byte pair encoding of one word: start from single characters (or bytes) and join, again and again, the
 * adjacent pair whose merge ranks lowest, the leftmost first (arXiv 1508.07909). Floor 2. */
#ifndef DP_BPE_H
#define DP_BPE_H

#include "text/vocab.h"

typedef struct dp_ids {
    int32_t *p;
    size_t count, capacity;
} dp_ids;

typedef struct dp_merge {
    int32_t left, right, result;
} dp_merge;

typedef struct dp_merge_slot {
    uint32_t tag, index; /* index + 1 of the merge, 0: free; tag: part of the hash */
} dp_merge_slot;

typedef struct dp_bpe {
    dp_vocab vocab;
    dp_merge *merges; /* in order of rank */
    size_t merge_count, merge_capacity;
    dp_merge_slot *slots;
    size_t slot_count;
    int32_t byte_id[256]; /* byte-level: the token of a byte; else of "<0xXX>"; -1: none */
    int32_t ascii_id[128];
    int32_t unk; /* -1: none */
    bool byte_fallback, fuse_unk, ignore_merges;
    uint64_t *joints; /* pairs of adjacent characters that some merge result contains; NULL: words are never cut */
} dp_bpe;

/* Adds the next merge in rank; both sides and their result must be tokens. */
dp_status dp_bpe_add_merge(dp_bpe *bpe, dp_merge merge);
/* Builds the look-up tables once vocabulary, merges and options are set. */
dp_status dp_bpe_finish(dp_bpe *bpe);
void dp_bpe_free(dp_bpe *bpe);

/* Memory for encoding, reused from word to word. Zero-initialise. */
typedef struct dp_bpe_scratch {
    struct dp_bpe_symbol *symbols;
    uint64_t *heap;
    size_t symbol_capacity, heap_capacity, heap_count;
    struct dp_bpe_known *known; /* words already encoded, by hash */
    size_t known_count;
} dp_bpe_scratch;

/* text_size: how much text will come; decides how many words are remembered. */
dp_status dp_bpe_scratch_begin(dp_bpe_scratch *scratch, size_t text_size);
void dp_bpe_scratch_free(dp_bpe_scratch *scratch);

/* Appends the ids of one word: raw bytes for a byte-level vocabulary, else UTF-8. `out` must be the same array for all
 * words of one scratch: remembered words point into it. */
dp_status dp_bpe_encode(const dp_bpe *bpe, dp_bpe_scratch *scratch, dp_str word, dp_ids *out);

bool dp_ids_add(dp_ids *ids, int32_t id);

#endif
