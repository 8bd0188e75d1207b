/* tokenizer_added.c: finds added tokens in a text. The tokens are sorted, so that those which share the text's next
 * bytes form a range, narrowed byte by byte. */
#include <stdlib.h>

#include "text/tokenizer_parts.h"

enum { PATTERN_MAX = 512 }; /* bounds the work at one place of the text */

static int compare(const void *a, const void *b) {
    dp_str x = (*(const dp_added_token *const *)a)->pattern, y = (*(const dp_added_token *const *)b)->pattern;
    int order = memcmp(x.p, y.p, DP_MIN(x.n, y.n));
    return order ? order : (x.n > y.n) - (x.n < y.n);
}

static dp_status index_set(dp_tokenizer *t, dp_added_set *set, bool normalized) {
    set->sorted = dp_arena_alloc(&t->arena, t->added_count * sizeof *set->sorted);
    if (!set->sorted) return dp_no_memory(t->added_count * sizeof *set->sorted);
    for (size_t i = 0; i < t->added_count; i++) {
        const dp_added_token *token = &t->added[i];
        if (token->normalized != normalized || !token->pattern.n) continue;
        if (token->pattern.n > PATTERN_MAX)
            return dp_fail(DP_E_UNSUPPORTED, "tokenizer: added token \"" DP_STR_FMT "\": longer than %d bytes",
                           DP_STR_ARG(token->content), PATTERN_MAX);
        set->first[(unsigned char)token->pattern.p[0]] = true;
        set->sorted[set->count++] = token;
    }
    if (set->count) qsort(set->sorted, set->count, sizeof *set->sorted, compare);
    return DP_OK;
}

static dp_status normalize_patterns(dp_tokenizer *t, dp_normalizer_scratch *scratch) {
    for (size_t i = 0; i < t->added_count; i++) {
        dp_added_token *token = &t->added[i];
        token->pattern = token->content;
        if (!token->normalized) continue;
        TRY(dp_tokenizer_normalize(&t->normalizer, scratch, token->content, &token->pattern));
        TRY(dp_tokenizer_keep(t, token->pattern, &token->pattern));
    }
    return DP_OK;
}

dp_status dp_tokenizer_index_added(dp_tokenizer *t) {
    dp_normalizer_scratch scratch = {0};
    dp_status status = normalize_patterns(t, &scratch);
    dp_buf_free(&scratch.buffers[0]);
    dp_buf_free(&scratch.buffers[1]);
    dp_regex_scratch_free(&scratch.regex);
    TRY(status);
    TRY(index_set(t, &t->plain, false));
    return index_set(t, &t->normalized, true);
}

/* -1 behind the end of the pattern. */
static int byte_at(const dp_added_set *set, size_t index, size_t depth) {
    dp_str pattern = set->sorted[index]->pattern;
    return depth < pattern.n ? (unsigned char)pattern.p[depth] : -1;
}

/* The first token of sorted[low..high) whose byte at `depth` is not below `byte`. */
static size_t bound(const dp_added_set *set, size_t low, size_t high, size_t depth, int byte) {
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (byte_at(set, middle, depth) < byte) low = middle + 1;
        else high = middle;
    }
    return low;
}

static const dp_added_token *longest_at(const dp_added_set *set, dp_str rest) {
    const dp_added_token *best = NULL;
    size_t low = 0, high = set->count;
    for (size_t depth = 0; depth < rest.n && low < high; depth++) {
        int byte = (unsigned char)rest.p[depth];
        if (byte_at(set, low, depth) != byte) low = bound(set, low, high, depth, byte);
        if (low < high && byte_at(set, high - 1, depth) != byte) high = bound(set, low, high, depth, byte + 1);
        if (low < high && set->sorted[low]->pattern.n == depth + 1) best = set->sorted[low];
    }
    return best;
}

static bool word_before(dp_str text, size_t at) {
    uint32_t code = 0;
    if (!at) return false;
    do at--;
    while (at && ((unsigned char)text.p[at] & 0xC0) == 0x80);
    return dp_utf8_decode(text.p + at, text.n - at, &code) && dp_unicode_is_word(code);
}

static bool word_behind(dp_str text, size_t at) {
    uint32_t code = 0;
    return dp_utf8_decode(text.p + at, text.n - at, &code) && dp_unicode_is_word(code);
}

static size_t spaces_before(dp_str text, size_t at, size_t from) {
    uint32_t code;
    while (at > from) {
        size_t before = at - 1;
        while (before > from && ((unsigned char)text.p[before] & 0xC0) == 0x80) before--;
        if (!dp_utf8_decode(text.p + before, text.n - before, &code) || !dp_unicode_is_space(code)) break;
        at = before;
    }
    return at;
}

static size_t spaces_behind(dp_str text, size_t at) {
    uint32_t code;
    for (size_t n; (n = dp_utf8_decode(text.p + at, text.n - at, &code)) != 0 && dp_unicode_is_space(code);) at += n;
    return at;
}

const dp_added_token *dp_added_find(const dp_added_set *set, dp_str text, size_t from, size_t *start, size_t *end) {
    if (!set->count) return NULL;
    for (size_t at = from; at < text.n; at++) {
        if (!set->first[(unsigned char)text.p[at]]) continue;
        const dp_added_token *token = longest_at(set, (dp_str){text.p + at, text.n - at});
        if (!token) continue;
        size_t behind = at + token->pattern.n;
        if (token->single_word && (word_before(text, at) || word_behind(text, behind))) {
            at = behind - 1; /* a match that does not count is still passed over */
            continue;
        }
        *start = token->lstrip ? spaces_before(text, at, from) : at;
        *end = token->rstrip ? spaces_behind(text, behind) : behind;
        return token;
    }
    return NULL;
}
