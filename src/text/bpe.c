/* bpe.c: see bpe.h. Short words are merged by scanning, long ones with a heap over a linked list: n log n.
 *
 * A long text without any pre-tokenizer is one "word". If the vocabulary has all bytes it is cut where no merge can
 * reach across: between two characters that stand side by side in no merge's result. This changes no result, and makes
 * the pieces short and repetitive, so that remembering them pays. */
#include "text/bpe.h"

#include <stdio.h>

#include "base/json.h"

enum { SHORT_WORD = 32, KEY_MAX = 33, KNOWN_MAX = 1 << 14, JOINT_BITS = 20 };

typedef struct dp_bpe_symbol {
    int32_t id;          /* -1: joined into the one before */
    uint32_t previous, next, rank; /* rank of the merge with `next`; NONE: no merge */
} dp_bpe_symbol;

typedef struct dp_bpe_known {
    uint64_t hash;
    uint32_t start; /* ids in the output */
    uint16_t count;
    uint8_t size; /* 0: free */
    char key[KEY_MAX];
} dp_bpe_known;

static const uint32_t NONE = UINT32_MAX;

bool dp_ids_add(dp_ids *ids, int32_t id) {
    if (!dp_grow((void **)&ids->p, &ids->capacity, ids->count + 1, sizeof *ids->p)) return false;
    ids->p[ids->count++] = id;
    return true;
}

/* ---- merges ---- */

static uint64_t pair_hash(int32_t left, int32_t right) {
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9FB21C651E98DF25u;
    return (h ^ h >> 32) * 0x9E3779B97F4A7C15u;
}

/* Rank of the merge, NONE if there is none. */
static uint32_t find_merge(const dp_bpe *bpe, int32_t left, int32_t right) {
    uint64_t h = pair_hash(left, right);
    size_t mask = bpe->slot_count - 1;
    uint32_t tag = (uint32_t)h;
    for (size_t i = (size_t)(h >> 32) & mask; bpe->slots[i].index; i = (i + 1) & mask) {
        if (bpe->slots[i].tag != tag) continue;
        const dp_merge *merge = &bpe->merges[bpe->slots[i].index - 1];
        if (merge->left == left && merge->right == right) return bpe->slots[i].index - 1;
    }
    return NONE;
}

dp_status dp_bpe_add_merge(dp_bpe *bpe, dp_merge merge) {
    if (bpe->merge_count >= (1u << 28)) return dp_fail(DP_E_UNSUPPORTED, "tokenizer: too many merges");
    if (!dp_grow((void **)&bpe->merges, &bpe->merge_capacity, bpe->merge_count + 1, sizeof *bpe->merges))
        return dp_no_memory(bpe->merge_count * sizeof *bpe->merges);
    bpe->merges[bpe->merge_count++] = merge;
    return DP_OK;
}

/* A pair that is listed twice takes its later rank. */
static dp_status index_merges(dp_bpe *bpe) {
    size_t slots = 64;
    while (slots / 2 < bpe->merge_count) slots *= 2;
    bpe->slots = dp_calloc(slots, sizeof *bpe->slots);
    if (!bpe->slots) return dp_no_memory(slots * sizeof *bpe->slots);
    bpe->slot_count = slots;
    for (size_t m = 0; m < bpe->merge_count; m++) {
        uint64_t h = pair_hash(bpe->merges[m].left, bpe->merges[m].right);
        size_t i = (size_t)(h >> 32) & (slots - 1);
        for (; bpe->slots[i].index; i = (i + 1) & (slots - 1)) {
            const dp_merge *old = &bpe->merges[bpe->slots[i].index - 1];
            if (old->left == bpe->merges[m].left && old->right == bpe->merges[m].right) break;
        }
        bpe->slots[i] = (dp_merge_slot){(uint32_t)h, (uint32_t)m + 1};
    }
    return DP_OK;
}

/* ---- where words may be cut ---- */

static size_t joint_bit(uint32_t a, uint32_t b) {
    return (size_t)((((uint64_t)a << 32 | b) * 0x9FB21C651E98DF25u) >> (64 - JOINT_BITS));
}

/* The next unit of a word: a byte or a character. */
static inline size_t next_unit(const dp_bpe *bpe, dp_str word, size_t at, uint32_t *code) {
    unsigned char c = (unsigned char)word.p[at];
    *code = c;
    if (c < 0x80 || bpe->vocab.byte_level) return 1;
    size_t n = dp_utf8_decode(word.p + at, word.n - at, code);
    return n ? n : 1;
}

/* Every character must leave a symbol of its own: where one can vanish, or fuse into a neighbour's unknown token, those
 * at its sides meet. That is so with all 256 bytes in the vocabulary. */
static bool may_cut(const dp_bpe *bpe) {
    bool all_bytes = bpe->byte_fallback || bpe->vocab.byte_level;
    for (int b = 0; b < 256; b++) all_bytes = all_bytes && bpe->byte_id[b] >= 0;
    return all_bytes;
}

static bool is_byte_token(const dp_bpe *bpe, int32_t id) {
    dp_str raw = dp_vocab_raw(&bpe->vocab, id);
    return !bpe->vocab.byte_level && raw.n == 6 && memcmp(raw.p, "<0x", 3) == 0;
}

static dp_status index_joints(dp_bpe *bpe) {
    if (!may_cut(bpe)) return DP_OK;
    for (size_t m = 0; m < bpe->merge_count; m++)
        if (is_byte_token(bpe, bpe->merges[m].left) || is_byte_token(bpe, bpe->merges[m].right)) return DP_OK;
    bpe->joints = dp_calloc((size_t)1 << (JOINT_BITS - 6), sizeof *bpe->joints);
    if (!bpe->joints) return dp_no_memory((size_t)1 << (JOINT_BITS - 3));
    for (size_t m = 0; m < bpe->merge_count; m++) {
        dp_str text = dp_vocab_raw(&bpe->vocab, bpe->merges[m].result);
        uint32_t before = 0, code;
        for (size_t i = 0, n; i < text.n; i += n, before = code) {
            n = next_unit(bpe, text, i, &code);
            size_t bit = joint_bit(before, code);
            if (i) bpe->joints[bit >> 6] |= (uint64_t)1 << (bit & 63);
        }
    }
    return DP_OK;
}

dp_status dp_bpe_finish(dp_bpe *bpe) {
    for (int b = 0; b < 256; b++) {
        char name[8], c = (char)b;
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)b);
        int32_t self = dp_vocab_find(&bpe->vocab, (dp_str){&c, 1});
        if (b < 128) bpe->ascii_id[b] = self;
        bpe->byte_id[b] = bpe->vocab.byte_level ? self : dp_vocab_find(&bpe->vocab, dp_str_of(name));
    }
    TRY(index_merges(bpe));
    return index_joints(bpe);
}

void dp_bpe_free(dp_bpe *bpe) {
    dp_vocab_free(&bpe->vocab);
    dp_free(bpe->merges);
    dp_free(bpe->slots);
    dp_free(bpe->joints);
}

/* ---- a word as symbols ---- */

typedef struct word_ids {
    dp_ids *out;
    bool pending_unk;
} word_ids;

static bool add_symbol(const dp_bpe *bpe, word_ids *w, int32_t id) {
    if (w->pending_unk && !dp_ids_add(w->out, bpe->unk)) return false;
    w->pending_unk = false;
    return dp_ids_add(w->out, id);
}

static bool add_unknown(const dp_bpe *bpe, word_ids *w, dp_str unit) {
    bool bytes = bpe->byte_fallback && !bpe->vocab.byte_level;
    for (size_t i = 0; i < unit.n && bytes; i++) bytes = bpe->byte_id[(unsigned char)unit.p[i]] >= 0;
    for (size_t i = 0; i < unit.n && bytes; i++)
        if (!dp_ids_add(w->out, bpe->byte_id[(unsigned char)unit.p[i]])) return false;
    if (bytes || bpe->unk < 0) return true;
    if (w->pending_unk && !bpe->fuse_unk && !dp_ids_add(w->out, bpe->unk)) return false;
    return w->pending_unk = true;
}

/* Appends the ids of the word's single characters. */
static bool add_symbols(const dp_bpe *bpe, dp_str word, dp_ids *out) {
    word_ids w = {out, false};
    uint32_t code;
    for (size_t i = 0, n; i < word.n; i += n) {
        n = next_unit(bpe, word, i, &code);
        dp_str unit = {word.p + i, n};
        int32_t id = bpe->vocab.byte_level  ? bpe->byte_id[code]
                     : n == 1 && code < 128 ? bpe->ascii_id[code]
                                            : dp_vocab_find(&bpe->vocab, unit);
        if (id >= 0 ? !add_symbol(bpe, &w, id) : !add_unknown(bpe, &w, unit)) return false;
    }
    return !w.pending_unk || dp_ids_add(out, bpe->unk);
}

/* ---- merging ---- */

/* Merges ids[0..n) in place; returns how many are left. */
static size_t merge_short(const dp_bpe *bpe, int32_t *ids, size_t n) {
    uint32_t ranks[SHORT_WORD];
    for (size_t i = 0; i + 1 < n; i++) ranks[i] = find_merge(bpe, ids[i], ids[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (ranks[i] < ranks[best]) best = i;
        if (ranks[best] == NONE) break;
        ids[best] = bpe->merges[ranks[best]].result;
        n--;
        memmove(ids + best + 1, ids + best + 2, (n - best - 1) * sizeof *ids);
        memmove(ranks + best, ranks + best + 1, (n - best - 1) * sizeof *ranks);
        if (best > 0) ranks[best - 1] = find_merge(bpe, ids[best - 1], ids[best]);
        if (best + 1 < n) ranks[best] = find_merge(bpe, ids[best], ids[best + 1]);
    }
    return n;
}

/* A heap entry is rank << 32 | position, so that the least is the leftmost of the lowest rank. Entries are not
 * removed when a symbol changes: one is stale if the symbol's rank is another by now. */
static void sift_down(uint64_t *heap, size_t count, size_t i) {
    uint64_t value = heap[i];
    for (size_t child; (child = 2 * i + 1) < count; i = child) {
        if (child + 1 < count && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= value) break;
        heap[i] = heap[child];
    }
    heap[i] = value;
}

static void heap_push(dp_bpe_scratch *s, uint64_t value) {
    size_t i = s->heap_count++;
    for (; i > 0 && s->heap[(i - 1) / 2] > value; i = (i - 1) / 2) s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = value;
}

static uint64_t heap_pop(dp_bpe_scratch *s) {
    uint64_t top = s->heap[0];
    s->heap[0] = s->heap[--s->heap_count];
    if (s->heap_count) sift_down(s->heap, s->heap_count, 0);
    return top;
}

static void rank_symbol(const dp_bpe *bpe, dp_bpe_scratch *s, uint32_t at) {
    dp_bpe_symbol *symbol = &s->symbols[at];
    symbol->rank = symbol->next == NONE ? NONE : find_merge(bpe, symbol->id, s->symbols[symbol->next].id);
    if (symbol->rank != NONE) heap_push(s, (uint64_t)symbol->rank << 32 | at);
}

static void join(const dp_bpe *bpe, dp_bpe_scratch *s, uint32_t at) {
    dp_bpe_symbol *left = &s->symbols[at], *right = &s->symbols[left->next];
    left->id = bpe->merges[left->rank].result;
    left->next = right->next;
    right->id = -1;
    right->rank = NONE;
    if (left->next != NONE) s->symbols[left->next].previous = at;
    rank_symbol(bpe, s, at);
    if (left->previous != NONE) rank_symbol(bpe, s, left->previous);
}

/* Every merge removes a symbol and pushes at most two entries: 3 n entries are enough. */
static dp_status merge_long(const dp_bpe *bpe, dp_bpe_scratch *s, int32_t *ids, size_t *count) {
    size_t n = *count, heap_need;
    if (n >= NONE) return dp_fail(DP_E_ARG, "the text is too long to encode at once");
    if (!dp_mul_size(n, 3, &heap_need) || !dp_grow((void **)&s->heap, &s->heap_capacity, heap_need, sizeof *s->heap) ||
        !dp_grow((void **)&s->symbols, &s->symbol_capacity, n, sizeof *s->symbols))
        return dp_no_memory(n * (sizeof *s->symbols + 3 * sizeof *s->heap));
    s->heap_count = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t rank = i + 1 < n ? find_merge(bpe, ids[i], ids[i + 1]) : NONE;
        s->symbols[i] = (dp_bpe_symbol){ids[i], i ? i - 1 : NONE, i + 1 < n ? i + 1 : NONE, rank};
        if (rank != NONE) s->heap[s->heap_count++] = (uint64_t)rank << 32 | i;
    }
    for (size_t i = s->heap_count / 2; i-- > 0;) sift_down(s->heap, s->heap_count, i);
    while (s->heap_count) {
        uint64_t top = heap_pop(s);
        if (s->symbols[(uint32_t)top].rank == top >> 32) join(bpe, s, (uint32_t)top);
    }
    *count = 0;
    for (uint32_t i = 0; i != NONE; i = s->symbols[i].next) ids[(*count)++] = s->symbols[i].id;
    return DP_OK;
}

static dp_status merge_word(const dp_bpe *bpe, dp_bpe_scratch *scratch, dp_str word, dp_ids *out) {
    size_t start = out->count;
    if (!add_symbols(bpe, word, out)) return dp_no_memory(word.n * sizeof *out->p);
    size_t n = out->count - start;
    if (n > SHORT_WORD) TRY(merge_long(bpe, scratch, out->p + start, &n));
    else if (n > 1) n = merge_short(bpe, out->p + start, n);
    out->count = start + n;
    return DP_OK;
}

/* ---- words ---- */

dp_status dp_bpe_scratch_begin(dp_bpe_scratch *scratch, size_t text_size) {
    size_t count = 16;
    while (count < KNOWN_MAX && count < text_size / 16) count *= 2;
    scratch->known = dp_calloc(count, sizeof *scratch->known);
    if (!scratch->known) return dp_no_memory(count * sizeof *scratch->known);
    scratch->known_count = count;
    return DP_OK;
}

void dp_bpe_scratch_free(dp_bpe_scratch *scratch) {
    dp_free(scratch->symbols);
    dp_free(scratch->heap);
    dp_free(scratch->known);
    *scratch = (dp_bpe_scratch){0};
}

static bool copy_known(const dp_bpe_known *known, dp_ids *out) {
    if (!known->count) return true; /* then `out` may have no memory yet */
    if (!dp_grow((void **)&out->p, &out->capacity, out->count + known->count, sizeof *out->p)) return false;
    memcpy(out->p + out->count, out->p + known->start, known->count * sizeof *out->p);
    out->count += known->count;
    return true;
}

/* `whole`: the piece is a whole word, which ignore_merges looks up first. */
static dp_status encode_piece(const dp_bpe *bpe, dp_bpe_scratch *scratch, dp_str word, bool whole, dp_ids *out) {
    bool lookup = whole && bpe->ignore_merges, remember = word.n <= KEY_MAX && (whole || !bpe->ignore_merges);
    uint64_t hash = remember ? dp_hash_word(word.p, word.n) : 0;
    dp_bpe_known *known = &scratch->known[hash & (scratch->known_count - 1)];
    if (remember && known->hash == hash && known->size == word.n && memcmp(known->key, word.p, word.n) == 0)
        return copy_known(known, out) ? DP_OK : dp_no_memory(known->count * sizeof *out->p);
    size_t start = out->count;
    int32_t id = lookup ? dp_vocab_find(&bpe->vocab, word) : -1;
    if (id < 0) TRY(merge_word(bpe, scratch, word, out));
    else if (!dp_ids_add(out, id)) return dp_no_memory(sizeof id);
    if (remember && start <= UINT32_MAX) {
        *known = (dp_bpe_known){hash, (uint32_t)start, (uint16_t)(out->count - start), (uint8_t)word.n, {0}};
        memcpy(known->key, word.p, word.n);
    }
    return DP_OK;
}

dp_status dp_bpe_encode(const dp_bpe *bpe, dp_bpe_scratch *scratch, dp_str word, dp_ids *out) {
    if (!word.n) return DP_OK;
    if (!bpe->joints || (bpe->vocab.byte_level && word.n <= KEY_MAX))
        return encode_piece(bpe, scratch, word, true, out);
    int32_t id = bpe->ignore_merges ? dp_vocab_find(&bpe->vocab, word) : -1;
    if (id >= 0) return dp_ids_add(out, id) ? DP_OK : dp_no_memory(sizeof id);
    uint32_t before = 0, code;
    size_t start = 0;
    for (size_t i = 0, n; i < word.n; i += n, before = code) {
        n = next_unit(bpe, word, i, &code);
        size_t bit = joint_bit(before, code);
        if (!i || bpe->joints[bit >> 6] >> (bit & 63) & 1) continue;
        TRY(encode_piece(bpe, scratch, (dp_str){word.p + start, i - start}, false, out));
        start = i;
    }
    return encode_piece(bpe, scratch, (dp_str){word.p + start, word.n - start}, false, out);
}
