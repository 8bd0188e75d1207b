/* regex_parse_class.c: see regex_parser.h: characters and sets of them, in brackets or as an escape. */
#include "text/regex_parser.h"
#include "text/unicode.h"

enum { RANGES_MAX = 1 << 14 };

dp_status dp_rx_add_range(dp_rx_parser *s, dp_rx_class *set, uint32_t first, uint32_t last) {
    dp_regex *r = s->regex;
    if (r->range_count >= RANGES_MAX) return dp_rx_unsupported(s, 0, "too many character ranges");
    if (!dp_grow((void **)&r->ranges, &r->range_capacity, 2 * (r->range_count + 1), sizeof *r->ranges))
        return dp_no_memory(r->range_count * sizeof *r->ranges);
    r->ranges[2 * r->range_count] = first;
    r->ranges[2 * r->range_count + 1] = last;
    r->range_count++;
    set->range_count++;
    return DP_OK;
}

dp_rx_class dp_rx_empty_class(const dp_rx_parser *s) {
    return (dp_rx_class){.range = (uint32_t)s->regex->range_count, .both = -1, .fold = s->fold};
}

dp_status dp_rx_add_class(dp_rx_parser *s, dp_rx_class *set, int32_t *index) {
    dp_regex *r = s->regex;
    if (!dp_grow((void **)&r->classes, &r->class_capacity, r->class_count + 1, sizeof *r->classes))
        return dp_no_memory(r->class_count * sizeof *r->classes);
    dp_rx_class_finish(r, set);
    *index = (int32_t)r->class_count;
    r->classes[r->class_count++] = *set;
    return DP_OK;
}

/* s->at stands behind \p or \P. */
static dp_status parse_property(dp_rx_parser *s, bool negative, dp_rx_class *set) {
    size_t start = s->at - 2;
    dp_str name = {s->pattern.p + s->at, 1};
    if (dp_rx_take(s, "{")) {
        if (dp_rx_take(s, "^")) negative = !negative;
        name.p = s->pattern.p + s->at;
        while (!dp_rx_at_end(s) && dp_rx_peek(s) != '}') s->at++;
        name.n = (size_t)(s->pattern.p + s->at - name.p);
        if (!dp_rx_take(s, "}")) return dp_rx_malformed(s, "\\p{ without }");
    } else if (dp_rx_at_end(s)) {
        return dp_rx_malformed(s, "\\p without a name");
    } else {
        s->at++;
    }
    uint32_t all = (uint32_t)(((uint64_t)1 << DP_CAT_COUNT) - 1), categories = dp_unicode_category_set(name);
    if (categories) set->categories |= negative ? all & ~categories : categories;
    else if (dp_str_is(name, "Han")) *(negative ? &set->not_han : &set->han) = true;
    else return dp_rx_unsupported(s, start, "unknown property");
    return DP_OK;
}

static bool add_shorthand(int c, dp_rx_class *set) {
    const uint32_t all = (uint32_t)(((uint64_t)1 << DP_CAT_COUNT) - 1), digit = 1u << DP_CAT_ND;
    const uint32_t word = dp_unicode_category_set(DP_LIT("L")) | dp_unicode_category_set(DP_LIT("M")) | digit |
                          1u << DP_CAT_NL | 1u << DP_CAT_PC;
    switch (c) {
    case 's': set->space = true; return true;
    case 'S': set->not_space = true; return true;
    case 'd': set->categories |= digit; return true;
    case 'D': set->categories |= all & ~digit; return true;
    case 'w': set->categories |= word; return true;
    case 'W': set->categories |= all & ~word; return true;
    default: return false;
    }
}

static dp_status parse_hex(dp_rx_parser *s, int digits, uint32_t *code) {
    *code = 0;
    bool braces = digits == 2 && dp_rx_take(s, "{");
    int n = 0;
    for (; n < (braces ? 8 : digits); n++) {
        int c = dp_rx_peek(s);
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0) break;
        *code = *code << 4 | (uint32_t)d;
        s->at++;
    }
    if (!n || (digits == 4 && n < 4) || (braces && !dp_rx_take(s, "}")) || *code > 0x10FFFF)
        return dp_rx_malformed(s, "bad hexadecimal escape");
    return DP_OK;
}

dp_status dp_rx_parse_escape(dp_rx_parser *s, dp_rx_class *set, bool *is_set, uint32_t *code) {
    static const char from[] = "nrtfvae", to[] = "\n\r\t\f\v\a\033";
    size_t start = s->at - 1;
    TRY(dp_rx_next_code(s, code));
    *is_set = true;
    if (*code == 'p' || *code == 'P') return parse_property(s, *code == 'P', set);
    if (*code < 128 && add_shorthand((int)*code, set)) return DP_OK;
    *is_set = false;
    if (*code == 'x') return parse_hex(s, 2, code);
    if (*code == 'u') return parse_hex(s, 4, code);
    const char *hit = *code && *code < 128 ? strchr(from, (int)*code) : NULL;
    if (hit) *code = (uint32_t)(unsigned char)to[hit - from];
    else if ((*code >= '0' && *code <= '9') || (*code >= 'a' && *code <= 'z') || (*code >= 'A' && *code <= 'Z'))
        return dp_rx_unsupported(s, start, "unknown escape");
    return DP_OK;
}

static dp_status class_item(dp_rx_parser *s, dp_rx_class *set) {
    uint32_t first, last;
    bool is_set = false;
    size_t start = s->at;
    TRY(dp_rx_next_code(s, &first));
    if (first == '[') return dp_rx_unsupported(s, start, "a class within a class");
    if (first == '\\') TRY(dp_rx_parse_escape(s, set, &is_set, &first));
    if (is_set) return DP_OK;
    last = first;
    if (dp_rx_peek(s) == '-' && s->at + 1 < s->pattern.n && s->pattern.p[s->at + 1] != ']') {
        s->at++;
        TRY(dp_rx_next_code(s, &last));
        if (last == '\\') TRY(dp_rx_parse_escape(s, set, &is_set, &last));
        if (is_set) { /* as in [a-\d]: the hyphen stands for itself */
            TRY(dp_rx_add_range(s, set, first, first));
            return dp_rx_add_range(s, set, '-', '-');
        }
        if (last < first) return dp_rx_malformed(s, "a range that runs backwards");
    }
    return dp_rx_add_range(s, set, first, last);
}

dp_status dp_rx_parse_class(dp_rx_parser *s, int32_t *index) {
    if (++s->depth > DP_RX_DEPTH_MAX) return dp_rx_malformed(s, "nested too deeply");
    dp_rx_class set = dp_rx_empty_class(s);
    set.negated = dp_rx_take(s, "^");
    size_t start = s->at;
    while (s->at == start || dp_rx_peek(s) != ']') {
        if (dp_rx_at_end(s)) return dp_rx_malformed(s, "[ without ]");
        if (dp_rx_take(s, "&&")) {
            size_t other = s->at;
            if (!dp_rx_take(s, "[")) return dp_rx_unsupported(s, other, "&& without a class behind it");
            if (set.negated) return dp_rx_unsupported(s, start, "&& in a negated class");
            TRY(dp_rx_parse_class(s, &set.both));
            if (dp_rx_peek(s) != ']') return dp_rx_unsupported(s, other, "text behind the class of &&");
            break;
        }
        TRY(class_item(s, &set));
    }
    s->at++;
    s->depth--;
    return dp_rx_add_class(s, &set, index);
}
