/* vocab.c: see vocab.h. */
#include "text/vocab.h"

#include "base/json.h"

enum { TEXT_MAX = 1024 }; /* of dp_vocab_find_text, in raw bytes */

/* ---- the byte-level alphabet: printable Latin-1 stands for itself, the other 68 bytes for U+0100 onwards ---- */

static bool stands_for_itself(unsigned byte) {
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

/* How many bytes below `byte` do not stand for themselves. */
static unsigned rank_of_other(unsigned byte) { return byte <= 0x20 ? byte : byte <= 0xA0 ? byte - 0x7F + 33 : 67; }

void dp_alphabet_put(dp_str raw, dp_buf *out) {
    for (size_t i = 0; i < raw.n; i++) {
        unsigned byte = (unsigned char)raw.p[i];
        dp_buf_utf8(out, stands_for_itself(byte) ? byte : 0x100 + rank_of_other(byte));
    }
}

/* The byte that a character stands for, or -1. */
static int alphabet_byte(uint32_t code) {
    if (code < 0x100) return stands_for_itself(code) ? (int)code : -1;
    uint32_t rank = code - 0x100;
    return rank <= 0x20 ? (int)rank : rank < 67 ? (int)(rank - 33 + 0x7F) : rank == 67 ? 0xAD : -1;
}

bool dp_alphabet_decode(dp_str text, dp_buf *out) {
    size_t start = out->size;
    uint32_t code;
    for (size_t i = 0, n; i < text.n; i += n) {
        n = dp_utf8_decode(text.p + i, text.n - i, &code);
        int byte = n ? alphabet_byte(code) : -1;
        if (byte < 0) {
            out->size = start;
            return false;
        }
        dp_buf_char(out, (char)byte);
    }
    return true;
}

/* ---- look-up ---- */

static bool same(const dp_vocab *vocab, uint32_t id, dp_str raw) {
    const dp_token *token = &vocab->tokens[id];
    return token->size == raw.n && memcmp(vocab->bytes + token->offset, raw.p, raw.n) == 0;
}

/* The slot that holds `raw`, or the free one where it belongs. */
static uint32_t *find_slot(const dp_vocab *vocab, dp_str raw) {
    size_t mask = vocab->slot_count - 1, i = (size_t)dp_hash_word(raw.p, raw.n) & mask;
    while (vocab->slots[i] && !same(vocab, vocab->slots[i] - 1, raw)) i = (i + 1) & mask;
    return &vocab->slots[i];
}

int32_t dp_vocab_find(const dp_vocab *vocab, dp_str raw) {
    return vocab->slot_count && raw.n ? (int32_t)*find_slot(vocab, raw) - 1 : -1;
}

int32_t dp_vocab_find_text(const dp_vocab *vocab, dp_str text) {
    char raw[TEXT_MAX]; /* no allocation: this must not fail for want of memory */
    size_t count = 0;
    uint32_t code;
    if (!vocab->byte_level) return dp_vocab_find(vocab, text);
    for (size_t i = 0, n; i < text.n; i += n) {
        n = dp_utf8_decode(text.p + i, text.n - i, &code);
        int byte = n ? alphabet_byte(code) : -1;
        if (byte < 0 || count == sizeof raw) return -1;
        raw[count++] = (char)byte;
    }
    return dp_vocab_find(vocab, (dp_str){raw, count});
}

dp_str dp_vocab_raw(const dp_vocab *vocab, int64_t id) {
    if (id < 0 || (uint64_t)id >= vocab->count || !vocab->tokens[id].size) return (dp_str){"", 0};
    return (dp_str){vocab->bytes + vocab->tokens[id].offset, vocab->tokens[id].size};
}

void dp_vocab_put_text(const dp_vocab *vocab, int64_t id, dp_buf *out) {
    dp_str raw = dp_vocab_raw(vocab, id);
    if (raw.n && vocab->byte_level && !vocab->tokens[id].literal) dp_alphabet_put(raw, out);
    else dp_buf_append(out, raw.p, raw.n);
}

/* ---- building ---- */

dp_status dp_vocab_reserve(dp_vocab *vocab, size_t count) {
    size_t slots = 64;
    count += vocab->used;
    if (count > (1u << 28))
        return dp_fail(DP_E_UNSUPPORTED, "vocabulary: %zu tokens are more than this build supports", count);
    while (slots / 2 < count) slots *= 2;
    if (slots <= vocab->slot_count) return DP_OK;
    uint32_t *bigger = dp_calloc(slots, sizeof *bigger), *old = vocab->slots;
    if (!bigger) return dp_no_memory(slots * sizeof *bigger);
    size_t old_count = vocab->slot_count;
    vocab->slots = bigger;
    vocab->slot_count = slots;
    for (size_t i = 0; i < old_count; i++)
        if (old[i]) *find_slot(vocab, dp_vocab_raw(vocab, old[i] - 1)) = old[i];
    dp_free(old);
    return DP_OK;
}

static dp_status make_room(dp_vocab *vocab, int64_t id, size_t size) {
    TRY(dp_vocab_reserve(vocab, 1));
    if (id < 0 || (uint64_t)id > (uint64_t)vocab->slot_count * 4 + 65536)
        return dp_fail(DP_E_FORMAT, "vocabulary: token id %lld is out of range", (long long)id);
    if (size >= (1u << 30) || size > UINT32_MAX - vocab->bytes_size)
        return dp_fail(DP_E_UNSUPPORTED, "vocabulary: the tokens take more than 4 GB");
    size_t need = (size_t)id + 1, before = vocab->capacity;
    if (!dp_grow((void **)&vocab->tokens, &vocab->capacity, need, sizeof *vocab->tokens))
        return dp_no_memory(need * sizeof *vocab->tokens);
    if (vocab->capacity > before) memset(vocab->tokens + before, 0, (vocab->capacity - before) * sizeof *vocab->tokens);
    if (!dp_grow((void **)&vocab->bytes, &vocab->bytes_capacity, vocab->bytes_size + size, 1))
        return dp_no_memory(size);
    vocab->count = DP_MAX(vocab->count, need);
    return DP_OK;
}

dp_status dp_vocab_add(dp_vocab *vocab, int64_t id, dp_str text) {
    dp_buf raw = {0};
    bool decoded = vocab->byte_level && dp_alphabet_decode(text, &raw);
    if (decoded) text = (dp_str){raw.data ? raw.data : "", raw.size};
    dp_status status = raw.failed ? dp_no_memory(text.n) : make_room(vocab, id, text.n);
    if (status == DP_OK) {
        uint32_t offset = (uint32_t)vocab->bytes_size;
        if (text.n) memcpy(vocab->bytes + offset, text.p, text.n);
        vocab->bytes_size += text.n;
        vocab->tokens[id] = (dp_token){offset, (uint32_t)text.n & 0x3FFFFFFF, true, vocab->byte_level && !decoded};
        if (text.n && !vocab->tokens[id].literal) {
            uint32_t *slot = find_slot(vocab, text);
            if (!*slot) vocab->used++;
            *slot = (uint32_t)id + 1;
        }
    }
    dp_buf_free(&raw);
    return status;
}

void dp_vocab_free(dp_vocab *vocab) {
    dp_free(vocab->bytes);
    dp_free(vocab->tokens);
    dp_free(vocab->slots);
    *vocab = (dp_vocab){.byte_level = vocab->byte_level};
}
