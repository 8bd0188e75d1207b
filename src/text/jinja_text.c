/* jinja_text.c: Python's view of a string, in code points, on UTF-8 bytes. */
#include "text/jinja_value.h"

size_t dp_jtext_char(const char *p, size_t n, uint32_t *code_point) {
    size_t length = dp_utf8_decode(p, n, code_point);
    if (length) return length;
    if (code_point) *code_point = 0xFFFD;
    return 1;
}

bool dp_jtext_is_space(uint32_t c) {
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x1F);
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

int64_t dp_jtext_length(dp_str s) {
    int64_t count = 0;
    for (size_t i = 0; i < s.n; count++) i += dp_jtext_char(s.p + i, s.n - i, NULL);
    return count;
}

size_t dp_jtext_offset(dp_str s, int64_t position) {
    size_t i = 0;
    while (i < s.n && position-- > 0) i += dp_jtext_char(s.p + i, s.n - i, NULL);
    return i;
}

static bool in_set(const dp_str *set, uint32_t c) {
    if (!set) return dp_jtext_is_space(c);
    for (size_t i = 0; i < set->n;) {
        uint32_t member;
        i += dp_jtext_char(set->p + i, set->n - i, &member);
        if (member == c) return true;
    }
    return false;
}

dp_str dp_jtext_strip(dp_str s, const dp_str *set, bool left, bool right) {
    uint32_t c;
    while (left && s.n) {
        size_t n = dp_jtext_char(s.p, s.n, &c);
        if (!in_set(set, c)) break;
        s = (dp_str){s.p + n, s.n - n};
    }
    while (right && s.n) {
        size_t start = s.n - 1;
        while (start > 0 && s.n - start < 4 && ((unsigned char)s.p[start] & 0xC0) == 0x80) start--;
        if (dp_jtext_char(s.p + start, s.n - start, &c) != s.n - start) start = s.n - 1, c = 0xFFFD;
        if (!in_set(set, c)) break;
        s.n = start;
    }
    return s;
}

dp_status dp_jtext_find(dp_jrun *run, dp_str s, dp_str what, size_t from, size_t *at) {
    *at = SIZE_MAX;
    if (from > s.n || what.n > s.n - from) return DP_OK;
    if (!what.n) return *at = from, DP_OK;
    const char *p = s.p + from, *last = s.p + s.n - what.n;
    TRY(dp_jrun_tick(run, 1));
    while (p <= last) {
        const char *hit = memchr(p, what.p[0], (size_t)(last - p) + 1);
        TRY(dp_jrun_tick(run, (size_t)((hit ? hit : last) - p) / 64));
        if (!hit) return DP_OK;
        if (memcmp(hit, what.p, what.n) == 0) return *at = (size_t)(hit - s.p), DP_OK;
        TRY(dp_jrun_tick(run, 1 + what.n / 64));
        p = hit + 1;
    }
    return DP_OK;
}

/* ---- case ---- */

/* One-to-one case pairs of the Latin-1, Greek and Cyrillic letters; other letters beyond ASCII stay as they are. */
static uint32_t change_case(uint32_t c, bool upper) {
    static const struct { uint16_t first, last; int16_t to_lower;
    } ranges[] = {
        {'A', 'Z', 32},     {0xC0, 0xD6, 32},   {0xD8, 0xDE, 32},   {0x391, 0x3A1, 32},
        {0x3A3, 0x3AB, 32}, {0x400, 0x40F, 80}, {0x410, 0x42F, 32},
    };
    for (size_t i = 0; i < DP_COUNT(ranges); i++) {
        uint32_t shift = (uint32_t)ranges[i].to_lower;
        if (!upper && c >= ranges[i].first && c <= ranges[i].last) return c + shift;
        if (upper && c >= ranges[i].first + shift && c <= ranges[i].last + shift) return c - shift;
    }
    return c;
}

dp_status dp_jtext_case(dp_jrun *run, dp_str s, dp_jcase to, dp_jv *out) {
    dp_buf buf = {0};
    bool starts = true;
    for (size_t i = 0, n; i < s.n; i += n) {
        uint32_t c;
        n = dp_jtext_char(s.p + i, s.n - i, &c);
        dp_buf_utf8(&buf, change_case(c, to == DP_JCASE_UPPER || (to != DP_JCASE_LOWER && starts)));
        starts = to == DP_JCASE_TITLE && (dp_jtext_is_space(c) || (c < 0x80 && c && strchr("-({[<", (char)c)));
    }
    return dp_jrun_take(run, &buf, out);
}

/* ---- parts ---- */

dp_status dp_jtext_replace(dp_jrun *run, dp_str s, const dp_str pair[2], int64_t limit, dp_jv *out) {
    dp_buf buf = {0};
    dp_status status = DP_OK;
    size_t from = 0, at;
    while (limit != 0 && status == DP_OK) {
        if (pair[0].n) status = dp_jtext_find(run, s, pair[0], from, &at);
        else at = from <= s.n ? from : SIZE_MAX; /* an empty string stands before every character and at the end */
        if (status != DP_OK || at == SIZE_MAX) break;
        size_t end = at + pair[0].n, next = end;
        dp_buf_append(&buf, s.p + from, at - from);
        dp_buf_append(&buf, pair[1].p, pair[1].n);
        if (!pair[0].n && at < s.n) next = at + dp_jtext_char(s.p + at, s.n - at, NULL);
        else if (!pair[0].n) next = at + 1;
        dp_buf_append(&buf, s.p + end, DP_MIN(next, s.n) - end);
        from = next;
        limit--;
        status = dp_jrun_check(run, &buf);
    }
    if (from < s.n) dp_buf_append(&buf, s.p + from, s.n - from);
    if (status == DP_OK) status = dp_jrun_take(run, &buf, out);
    dp_buf_free(&buf);
    return status;
}

dp_status dp_jtext_join(dp_jrun *run, const dp_jlist *list, dp_str separator, dp_jv *out) {
    dp_buf buf = {0};
    dp_status status = DP_OK;
    for (size_t i = 0; i < list->count && status == DP_OK; i++) {
        if (i) dp_buf_append(&buf, separator.p, separator.n);
        status = dp_jv_print(run, &buf, list->items[i]);
    }
    if (status == DP_OK) status = dp_jrun_take(run, &buf, out);
    dp_buf_free(&buf);
    return status;
}

static bool ends_line(uint32_t c) {
    return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

dp_status dp_jtext_lines(dp_jrun *run, dp_str s, bool keep_ends, dp_jlist *list) {
    for (size_t start = 0; start < s.n;) {
        size_t end = start, next, n = 0;
        uint32_t c = 0;
        for (; end < s.n; end += n) {
            n = dp_jtext_char(s.p + end, s.n - end, &c);
            if (ends_line(c)) break;
        }
        next = end < s.n ? end + n : end;
        if (c == '\r' && next < s.n && s.p[next] == '\n' && end < s.n) next++;
        TRY(dp_jlist_push(run, list, dp_jv_string((dp_str){s.p + start, (keep_ends ? next : end) - start})));
        start = next;
    }
    return dp_jrun_tick(run, s.n / 32);
}
