/* unicode.c: look-ups in the generated tables, normal forms (Unicode Standard Annex 15), repair of broken UTF-8.
 * Text is decomposed, ordered and recomposed one stretch at a time; between stretches lie characters that no
 * normalisation touches, so memory stays small for ordinary text. */
#include "text/unicode.h"

#include "base/json.h"
#include "text/unicode_tables.h"

/* ---- properties ---- */

/* Index of the last run that starts at or before `code`; runs[0] starts at 0. */
static uint32_t find_run(const uint32_t *runs, uint32_t count, uint32_t shift, uint32_t code) {
    uint32_t low = 0, high = count;
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (runs[middle] >> shift <= code) low = middle;
        else high = middle;
    }
    return low;
}

dp_category dp_unicode_category(uint32_t code) {
    if (code > 0x10FFFF) return DP_CAT_CN;
    return (dp_category)(dp_unicode_category_runs[find_run(dp_unicode_category_runs, dp_unicode_category_runs_count, 5,
                                                           code)] & 31);
}

static uint32_t combining_class(uint32_t code) {
    if (code < 0x300) return 0;
    return dp_unicode_combining_runs[find_run(dp_unicode_combining_runs, dp_unicode_combining_runs_count, 8, code)] &
           255;
}

uint32_t dp_unicode_category_set(dp_str name) {
    static const char names[] = "CnLuLlLtLmLoMnMcMeNdNlNoPcPdPsPePiPfPoSmScSkSoZsZlZpCcCfCsCo";
    uint32_t set = 0;
    if (name.n != 1 && name.n != 2) return 0;
    for (uint32_t i = 0; i < DP_CAT_COUNT; i++)
        if (names[2 * i] == name.p[0] && (name.n == 1 || names[2 * i + 1] == name.p[1])) set |= 1u << i;
    return set;
}

static bool in_pairs(const uint32_t *pairs, uint32_t count, uint32_t code) {
    uint32_t low = 0, high = count / 2;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (code < pairs[2 * middle]) high = middle;
        else if (code > pairs[2 * middle + 1]) low = middle + 1;
        else return true;
    }
    return false;
}

bool dp_unicode_is_space(uint32_t code) { return in_pairs(dp_unicode_spaces, dp_unicode_spaces_count, code); }
bool dp_unicode_is_han(uint32_t code) { return in_pairs(dp_unicode_han, dp_unicode_han_count, code); }

bool dp_unicode_is_word(uint32_t code) {
    static const uint32_t set = 1u << DP_CAT_LU | 1u << DP_CAT_LL | 1u << DP_CAT_LT | 1u << DP_CAT_LM |
                                1u << DP_CAT_LO | 1u << DP_CAT_MN | 1u << DP_CAT_MC | 1u << DP_CAT_ME |
                                1u << DP_CAT_ND | 1u << DP_CAT_NL | 1u << DP_CAT_PC;
    return set >> dp_unicode_category(code) & 1;
}

uint32_t dp_unicode_fold(uint32_t code) {
    if (code < 0x80) return code >= 'A' && code <= 'Z' ? code + 32 : code;
    for (uint32_t i = 0; i < dp_unicode_folds_count; i += 4) {
        const int32_t *f = dp_unicode_folds + i;
        int32_t offset = (int32_t)code - f[0];
        if (offset < 0) break;
        if (offset < f[1] * f[2] && offset % f[2] == 0) return (uint32_t)((int32_t)code + f[3]);
    }
    return code;
}

/* ---- normal forms ---- */

enum { S_BASE = 0xAC00, L_BASE = 0x1100, V_BASE = 0x1161, T_BASE = 0x11A7, L_COUNT = 19, V_COUNT = 21, T_COUNT = 28 };

typedef struct stretch {
    uint32_t *codes, *sorted; /* sorted: room for the counting sort */
    size_t count, capacity, sorted_capacity;
    bool compatible;
} stretch;

static const uint32_t *decomposition(uint32_t code, bool compatible, uint32_t *count) {
    const uint32_t *keys = dp_unicode_decomposition_keys;
    uint32_t low = 0, high = dp_unicode_decomposition_keys_count / 2;
    while (low < high) {
        uint32_t middle = (low + high) / 2, key = keys[2 * middle];
        if (key >> 1 == code) {
            if ((key & 1) && !compatible) return NULL;
            *count = keys[2 * middle + 1] & 255;
            return dp_unicode_decomposition_codes + (keys[2 * middle + 1] >> 8);
        }
        if (key >> 1 < code) low = middle + 1;
        else high = middle;
    }
    return NULL;
}

static bool push_code(stretch *s, uint32_t code) {
    if (!dp_grow((void **)&s->codes, &s->capacity, s->count + 1, sizeof *s->codes)) return false;
    s->codes[s->count++] = code;
    return true;
}

/* The table's mappings are single steps; they nest a few levels deep. */
static bool decompose(stretch *s, uint32_t code) {
    if (code < 0x80) return push_code(s, code);
    if (code >= S_BASE && code < S_BASE + L_COUNT * V_COUNT * T_COUNT) {
        uint32_t index = code - S_BASE, tail = index % T_COUNT;
        return push_code(s, L_BASE + index / (V_COUNT * T_COUNT)) &&
               push_code(s, V_BASE + index / T_COUNT % V_COUNT) && (!tail || push_code(s, T_BASE + tail));
    }
    uint32_t count = 0;
    const uint32_t *parts = decomposition(code, s->compatible, &count);
    if (!parts) return push_code(s, code);
    for (uint32_t i = 0; i < count; i++)
        if (!decompose(s, parts[i])) return false;
    return true;
}

/* Sorts each run of non-starters by combining class, stably; counting sort, so that long runs stay linear. */
static bool order(stretch *s) {
    if (!dp_grow((void **)&s->sorted, &s->sorted_capacity, s->count, sizeof *s->sorted)) return false;
    for (size_t i = 0; i < s->count;) {
        size_t end = i, at[257] = {0};
        uint32_t class;
        while (end < s->count && (class = combining_class(s->codes[end])) != 0) at[class + 1]++, end++;
        if (end - i > 1) {
            for (int c = 1; c < 257; c++) at[c] += at[c - 1];
            for (size_t k = i; k < end; k++) s->sorted[at[combining_class(s->codes[k])]++] = s->codes[k];
            memcpy(s->codes + i, s->sorted, (end - i) * sizeof *s->codes);
        }
        i = end > i ? end : i + 1;
    }
    return true;
}

/* The primary composite of two code points, 0 if there is none. */
static uint32_t composite(uint32_t a, uint32_t b) {
    if (a >= L_BASE && a < L_BASE + L_COUNT && b >= V_BASE && b < V_BASE + V_COUNT)
        return S_BASE + ((a - L_BASE) * V_COUNT + (b - V_BASE)) * T_COUNT;
    if (a >= S_BASE && a < S_BASE + L_COUNT * V_COUNT * T_COUNT && (a - S_BASE) % T_COUNT == 0 && b > T_BASE &&
        b < T_BASE + T_COUNT)
        return a + (b - T_BASE);
    uint32_t low = 0, high = dp_unicode_compositions_count / 3;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const uint32_t *t = dp_unicode_compositions + 3 * middle;
        if (t[0] == a && t[1] == b) return t[2];
        if (t[0] < a || (t[0] == a && t[1] < b)) low = middle + 1;
        else high = middle;
    }
    return 0;
}

static void compose(stretch *s) {
    size_t out = 0, starter = SIZE_MAX;
    uint32_t last_class = 0; /* of the code point kept last, 0 directly behind the starter */
    for (size_t i = 0; i < s->count; i++) {
        uint32_t code = s->codes[i], class = combining_class(code), made = 0;
        bool blocked = starter == SIZE_MAX || (out > starter + 1 && last_class >= class);
        if (!blocked) made = composite(s->codes[starter], code);
        if (made) {
            s->codes[starter] = made;
            continue;
        }
        if (class == 0) starter = out;
        last_class = class;
        s->codes[out++] = code;
    }
    s->count = out;
}

static bool flush(stretch *s, dp_normal_form form, dp_buf *out) {
    if (!order(s)) return false;
    if (form == DP_NFC || form == DP_NFKC) compose(s);
    for (size_t i = 0; i < s->count; i++) dp_buf_utf8(out, s->codes[i]);
    s->count = 0;
    return !out->failed;
}

dp_status dp_unicode_normalize(dp_normal_form form, dp_str text, dp_buf *out) {
    const uint32_t safe = form == DP_NFC ? 0x300 : 0x80; /* below: unchanged and never joined to what stands before */
    stretch s = {.compatible = form == DP_NFKC || form == DP_NFKD};
    uint32_t code, previous = 0;
    size_t copied = 0, previous_at = 0; /* text before `copied` is in `out`; previous_at: where `previous` starts */
    bool ok = true, inside = false;
    for (size_t i = 0, n; ok && i < text.n; previous = code, previous_at = i, i += n) {
        n = dp_utf8_decode(text.p + i, text.n - i, &code);
        if (!n) n = 1, code = 0xFFFD;
        if (code < safe) {
            if (inside) ok = flush(&s, form, out), copied = i;
            inside = false;
            continue;
        }
        if (!inside) { /* the safe character before may combine with this one */
            size_t until = i ? previous_at : 0;
            if (until < copied) until = copied;
            dp_buf_append(out, text.p + copied, until - copied);
            if (i && previous_at >= copied) ok = decompose(&s, previous);
        }
        ok = ok && decompose(&s, code);
        inside = true;
    }
    if (inside) ok = ok && flush(&s, form, out);
    else dp_buf_append(out, text.p + copied, text.n - copied);
    dp_free(s.codes);
    dp_free(s.sorted);
    return ok && !out->failed ? DP_OK : dp_no_memory(text.n);
}

/* ---- UTF-8 ---- */

/* Length of the maximal invalid part at p (at least 1); *cut if only the end of the text makes it invalid. */
static size_t invalid_part(const char *text, size_t n, bool *cut) {
    const unsigned char *p = (const unsigned char *)text;
    size_t need = p[0] >= 0xC2 && p[0] < 0xE0 ? 2 : (p[0] & 0xF0) == 0xE0 ? 3 : p[0] >= 0xF0 && p[0] < 0xF5 ? 4 : 1;
    unsigned char low = p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : 0x80;
    unsigned char high = p[0] == 0xED ? 0x9F : p[0] == 0xF4 ? 0x8F : 0xBF;
    size_t i = 1;
    for (; i < need && i < n && p[i] >= low && p[i] <= high; i++) low = 0x80, high = 0xBF;
    *cut = i == n && i < need;
    return i;
}

size_t dp_utf8_repair(dp_str text, bool more, dp_buf *out) {
    size_t good = 0, i = 0;
    if (!text.n) return 0; /* text.p may be NULL */
    while (i < text.n) {
        size_t n = dp_utf8_decode(text.p + i, text.n - i, NULL);
        if (n) {
            i += n;
            continue;
        }
        bool cut;
        size_t bad = invalid_part(text.p + i, text.n - i, &cut);
        if (cut && more) break;
        dp_buf_append(out, text.p + good, i - good);
        dp_buf_utf8(out, 0xFFFD);
        good = i += bad;
    }
    dp_buf_append(out, text.p + good, i - good);
    return i;
}

bool dp_utf8_valid(dp_str text) {
    for (size_t i = 0, n; i < text.n; i += n) {
        while (i + 8 <= text.n && !(dp_load_u64(text.p + i) & 0x8080808080808080u)) i += 8;
        if (i == text.n) break;
        n = dp_utf8_decode(text.p + i, text.n - i, NULL);
        if (!n) return false;
    }
    return true;
}
