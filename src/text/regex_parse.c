/* regex_parse.c: compiles a pattern in one pass, without a tree: every parse function appends its piece of program,
 * and what comes before a piece (a split, a look-ahead) is inserted in front of it afterwards.
 * Invariants: nesting at most DP_RX_DEPTH_MAX, program at most CODE_MAX instructions, no unlimited repeat of what may be
 * empty. */
#include "text/regex_parser.h"
#include "text/unicode.h"

enum { CODE_MAX = 1 << 14, REPEAT_MAX = 1000 };

dp_status dp_rx_unsupported(const dp_rx_parser *s, size_t from, const char *what) {
    dp_str here = {s->pattern.p + from, DP_MIN(s->pattern.n - from, 16)};
    return dp_fail(DP_E_UNSUPPORTED, "regex: %s at \"" DP_STR_FMT "\" (byte %zu)", what, DP_STR_ARG(here), from);
}

dp_status dp_rx_malformed(const dp_rx_parser *s, const char *what) {
    return dp_fail(DP_E_FORMAT, "regex: %s at byte %zu of \"" DP_STR_FMT "\"", what, s->at, DP_STR_ARG(s->pattern));
}

bool dp_rx_at_end(const dp_rx_parser *s) { return s->at >= s->pattern.n; }
int dp_rx_peek(const dp_rx_parser *s) { return dp_rx_at_end(s) ? -1 : (unsigned char)s->pattern.p[s->at]; }

bool dp_rx_take(dp_rx_parser *s, const char *text) {
    dp_str rest = {s->pattern.p + s->at, s->pattern.n - s->at};
    if (!dp_str_starts(rest, text)) return false;
    s->at += strlen(text);
    return true;
}

dp_status dp_rx_next_code(dp_rx_parser *s, uint32_t *code) {
    size_t n = dp_utf8_decode(s->pattern.p + s->at, s->pattern.n - s->at, code);
    if (!n) return dp_rx_malformed(s, dp_rx_at_end(s) ? "the pattern ends too early" : "invalid UTF-8");
    s->at += n;
    return DP_OK;
}

/* ---- program ---- */

static dp_status insert(dp_rx_parser *s, size_t at, dp_rx_inst inst) {
    dp_regex *r = s->regex;
    if (r->code_count >= CODE_MAX) return dp_rx_unsupported(s, 0, "the program grows too large");
    if (!dp_grow((void **)&r->code, &r->code_capacity, r->code_count + 1, sizeof *r->code))
        return dp_no_memory(r->code_count * sizeof *r->code);
    memmove(r->code + at + 1, r->code + at, (r->code_count - at) * sizeof *r->code);
    r->code[at] = inst;
    r->code_count++;
    return DP_OK;
}

static dp_status emit(dp_rx_parser *s, dp_rx_inst inst) { return insert(s, s->regex->code_count, inst); }

/* ---- atoms ---- */

static dp_status emit_class(dp_rx_parser *s, dp_rx_class *set) {
    int32_t index = 0;
    TRY(dp_rx_add_class(s, set, &index));
    return emit(s, (dp_rx_inst){.op = DP_RX_CLASS, .a = index});
}

static dp_status emit_char(dp_rx_parser *s, uint32_t code) {
    bool cased = (code | 32) >= 'a' && (code | 32) <= 'z' && code < 128;
    if (!s->fold || (code < 128 && !cased)) return emit(s, (dp_rx_inst){.op = DP_RX_CHAR, .a = (int32_t)code});
    dp_rx_class set = dp_rx_empty_class(s);
    TRY(dp_rx_add_range(s, &set, dp_unicode_fold(code), dp_unicode_fold(code)));
    return emit_class(s, &set);
}

static dp_status parse_alternatives(dp_rx_parser *s, bool *empty);

static dp_status parse_assertion_escape(dp_rx_parser *s, bool *done) {
    static const struct { const char *text; dp_rx_inst inst; } table[] = {
        {"\\A", {.op = DP_RX_TEXT_START}}, {"\\z", {.op = DP_RX_TEXT_END}}, {"\\Z", {.op = DP_RX_TEXT_END_NEWLINE}},
        {"\\b", {.op = DP_RX_WORD_EDGE}},  {"\\B", {.op = DP_RX_WORD_EDGE, .negative = true}},
        {"^", {.op = DP_RX_LINE_START}},   {"$", {.op = DP_RX_LINE_END}},
    };
    for (size_t i = 0; i < DP_COUNT(table); i++)
        if (dp_rx_take(s, table[i].text)) return *done = true, emit(s, table[i].inst);
    return DP_OK;
}

/* The body of a group that runs as a program of its own: op in front, MATCH behind. */
static dp_status parse_body(dp_rx_parser *s, dp_rx_inst front, bool *empty) {
    size_t start = s->regex->code_count;
    TRY(parse_alternatives(s, empty));
    TRY(emit(s, (dp_rx_inst){.op = DP_RX_MATCH}));
    front.a = (int32_t)(s->regex->code_count - start + 1);
    return insert(s, start, front);
}

/* s->at stands behind "(?": flags, then ':' or ')'. *inlined: the flags hold for the rest of the enclosing group. */
static dp_status parse_flags(dp_rx_parser *s, bool *inlined) {
    size_t start = s->at;
    for (bool on = true;;) {
        if (dp_rx_take(s, "-")) on = false;
        else if (dp_rx_take(s, "i")) s->fold = on;
        else break;
    }
    *inlined = dp_rx_take(s, ")");
    if (*inlined || dp_rx_take(s, ":")) return DP_OK;
    return dp_rx_unsupported(s, start >= 2 ? start - 2 : 0, "unknown kind of group");
}

static bool take_group_name(dp_rx_parser *s) {
    size_t start = s->at;
    if (!dp_rx_take(s, "P<") && !dp_rx_take(s, "<")) return false;
    if (dp_rx_peek(s) != '=' && dp_rx_peek(s) != '!') {
        while (!dp_rx_at_end(s) && dp_rx_peek(s) != '>') s->at++;
        if (dp_rx_take(s, ">")) return true;
    }
    s->at = start;
    return false;
}

/* s->at stands behind the opening parenthesis. */
static dp_status parse_group(dp_rx_parser *s, bool *empty) {
    if (++s->depth > DP_RX_DEPTH_MAX) return dp_rx_malformed(s, "nested too deeply");
    bool fold = s->fold, inlined = false;
    if (dp_rx_take(s, "?=") || dp_rx_take(s, "?!")) {
        bool negative = s->pattern.p[s->at - 1] == '!';
        TRY(parse_body(s, (dp_rx_inst){.op = DP_RX_LOOK, .negative = negative}, empty));
        *empty = true;
    } else if (dp_rx_take(s, "?>")) {
        TRY(parse_body(s, (dp_rx_inst){.op = DP_RX_ATOMIC}, empty));
    } else {
        if (dp_rx_take(s, "?") && !dp_rx_take(s, ":") && !take_group_name(s)) TRY(parse_flags(s, &inlined));
        if (inlined) {
            s->depth--;
            *empty = true;
            return DP_OK;
        }
        TRY(parse_alternatives(s, empty));
    }
    if (!dp_rx_take(s, ")")) return dp_rx_malformed(s, "( without )");
    s->fold = fold;
    s->depth--;
    return DP_OK;
}

static dp_status parse_atom(dp_rx_parser *s, bool *empty) {
    bool done = false, is_set = false;
    size_t start = s->at;
    uint32_t code;
    *empty = true;
    TRY(parse_assertion_escape(s, &done));
    if (done) return DP_OK;
    if (dp_rx_take(s, "(")) return parse_group(s, empty);
    *empty = false;
    if (dp_rx_take(s, "[")) {
        int32_t index = 0;
        TRY(dp_rx_parse_class(s, &index));
        return emit(s, (dp_rx_inst){.op = DP_RX_CLASS, .a = index});
    }
    dp_rx_class set = dp_rx_empty_class(s);
    if (dp_rx_take(s, ".")) {
        set.negated = true;
        TRY(dp_rx_add_range(s, &set, '\n', '\n'));
        return emit_class(s, &set);
    }
    TRY(dp_rx_next_code(s, &code));
    if (code == '*' || code == '+' || code == '?') return s->at = start, dp_rx_malformed(s, "nothing to repeat");
    if (code == '\\') TRY(dp_rx_parse_escape(s, &set, &is_set, &code));
    return is_set ? emit_class(s, &set) : emit_char(s, code);
}

/* ---- repetition ---- */

typedef struct repeat {
    uint32_t min, max;
    dp_rx_mode mode;
} repeat;

static bool take_number(dp_rx_parser *s, uint32_t *out) {
    size_t start = s->at;
    for (*out = 0; dp_rx_peek(s) >= '0' && dp_rx_peek(s) <= '9' && *out < 100000; s->at++)
        *out = *out * 10 + (uint32_t)(dp_rx_peek(s) - '0');
    return s->at > start;
}

/* {m}, {m,}, {,n}, {m,n}; other text in braces stands for itself. */
static bool take_braces(dp_rx_parser *s, repeat *r) {
    size_t start = s->at;
    if (!dp_rx_take(s, "{")) return false;
    bool low = take_number(s, &r->min), high = low;
    r->max = r->min;
    if (dp_rx_take(s, ",")) {
        high = take_number(s, &r->max);
        if (!high) r->max = UINT32_MAX;
    }
    if ((low || high) && dp_rx_take(s, "}")) return true;
    s->at = start;
    return false;
}

static bool take_repeat(dp_rx_parser *s, repeat *r) {
    *r = (repeat){0, UINT32_MAX, DP_RX_GREEDY};
    bool braces = false;
    if (dp_rx_take(s, "?")) r->max = 1;
    else if (dp_rx_take(s, "+")) r->min = 1;
    else if (!dp_rx_take(s, "*")) braces = true;
    if (braces && !take_braces(s, r)) return false;
    if (dp_rx_take(s, "?")) r->mode = DP_RX_LAZY;
    else if (!braces && dp_rx_take(s, "+")) r->mode = DP_RX_POSSESSIVE;
    return true;
}

/* One character repeated: the matcher's fast instruction. */
static dp_status repeat_character(dp_rx_parser *s, size_t start, repeat r) {
    dp_rx_inst inst = s->regex->code[start];
    if (inst.op == DP_RX_CHAR) {
        dp_rx_class set = {.range = (uint32_t)s->regex->range_count, .both = -1};
        TRY(dp_rx_add_range(s, &set, (uint32_t)inst.a, (uint32_t)inst.a));
        TRY(dp_rx_add_class(s, &set, &inst.a));
    }
    s->regex->code[start] =
        (dp_rx_inst){.op = DP_RX_LOOP, .mode = (uint8_t)r.mode, .a = inst.a, .min = r.min, .max = r.max};
    return DP_OK;
}

static dp_status append_copy(dp_rx_parser *s, const dp_rx_inst *piece, size_t count) {
    for (size_t i = 0; i < count; i++) TRY(emit(s, piece[i]));
    return DP_OK;
}

static dp_status split_over(dp_rx_parser *s, size_t at, int32_t over, dp_rx_mode mode) {
    dp_rx_inst inst = {.op = DP_RX_SPLIT, .a = 1, .b = over};
    if (mode == DP_RX_LAZY) inst.a = over, inst.b = 1;
    return insert(s, at, inst);
}

/* Behind the minimum's copies: a loop, or max - min nested options that all skip to the end. */
static dp_status repeat_tail(dp_rx_parser *s, const dp_rx_inst *piece, size_t count, repeat r) {
    if (r.max == UINT32_MAX) {
        TRY(split_over(s, s->regex->code_count, (int32_t)count + 2, r.mode));
        TRY(append_copy(s, piece, count));
        return emit(s, (dp_rx_inst){.op = DP_RX_JUMP, .a = -(int32_t)(count + 1)});
    }
    for (uint32_t left = r.max - r.min; left > 0; left--) {
        if (left * (count + 1) > CODE_MAX) return dp_rx_unsupported(s, 0, "the program grows too large");
        TRY(split_over(s, s->regex->code_count, (int32_t)(left * (count + 1)), r.mode));
        TRY(append_copy(s, piece, count));
    }
    return DP_OK;
}

static dp_status repeat_piece(dp_rx_parser *s, size_t start, repeat r) {
    size_t count = s->regex->code_count - start;
    dp_rx_inst *piece = dp_malloc(count * sizeof *piece);
    if (!piece) return dp_no_memory(count * sizeof *piece);
    if (count) memcpy(piece, s->regex->code + start, count * sizeof *piece);
    s->regex->code_count = start;
    dp_status status = DP_OK;
    for (uint32_t i = 0; i < r.min && status == DP_OK; i++) status = append_copy(s, piece, count);
    if (status == DP_OK) status = repeat_tail(s, piece, count, r);
    dp_free(piece);
    if (status != DP_OK || r.mode != DP_RX_POSSESSIVE) return status;
    TRY(emit(s, (dp_rx_inst){.op = DP_RX_MATCH}));
    return insert(s, start, (dp_rx_inst){.op = DP_RX_ATOMIC, .a = (int32_t)(s->regex->code_count - start + 1)});
}

static dp_status parse_repeats(dp_rx_parser *s, size_t start, bool *empty) {
    repeat r;
    size_t from = s->at;
    for (int nested = 0; take_repeat(s, &r); nested++) {
        if (nested == 4) return dp_rx_malformed(s, "too many repeats of one piece");
        if (r.max < r.min) return dp_rx_malformed(s, "a repeat whose maximum is below its minimum");
        if (r.min > REPEAT_MAX || (r.max != UINT32_MAX && r.max > REPEAT_MAX))
            return dp_rx_unsupported(s, from, "a repeat above 1000");
        if (*empty && r.max == UINT32_MAX) return dp_rx_unsupported(s, from, "an unlimited repeat of what may be empty");
        bool character = s->regex->code_count == start + 1 &&
                         (s->regex->code[start].op == DP_RX_CHAR || s->regex->code[start].op == DP_RX_CLASS);
        TRY(character ? repeat_character(s, start, r) : repeat_piece(s, start, r));
        if (r.min == 0) *empty = true;
    }
    return DP_OK;
}

static dp_status parse_sequence(dp_rx_parser *s, bool *empty) {
    *empty = true;
    while (!dp_rx_at_end(s) && dp_rx_peek(s) != '|' && dp_rx_peek(s) != ')') {
        size_t start = s->regex->code_count;
        bool atom_empty;
        TRY(parse_atom(s, &atom_empty));
        TRY(parse_repeats(s, start, &atom_empty));
        *empty = *empty && atom_empty;
    }
    return DP_OK;
}

static dp_status parse_alternatives(dp_rx_parser *s, bool *empty) {
    size_t last_jump = SIZE_MAX; /* jumps to the end, chained through `min` until the end is known */
    *empty = false;
    for (;;) {
        size_t start = s->regex->code_count;
        bool branch_empty;
        TRY(parse_sequence(s, &branch_empty));
        *empty = *empty || branch_empty;
        if (!dp_rx_take(s, "|")) break;
        TRY(insert(s, start,
                   (dp_rx_inst){.op = DP_RX_SPLIT, .a = 1, .b = (int32_t)(s->regex->code_count - start + 2)}));
        TRY(emit(s, (dp_rx_inst){.op = DP_RX_JUMP, .min = (uint32_t)last_jump}));
        last_jump = s->regex->code_count - 1;
    }
    while (last_jump < CODE_MAX) {
        dp_rx_inst *jump = &s->regex->code[last_jump];
        jump->a = (int32_t)(s->regex->code_count - last_jump);
        last_jump = jump->min;
    }
    return DP_OK;
}

dp_status dp_regex_compile(dp_str pattern, dp_regex **out) {
    dp_regex *r = dp_calloc(1, sizeof *r);
    if (!r) return dp_no_memory(sizeof *r);
    dp_rx_parser s = {.regex = r, .pattern = pattern};
    bool empty;
    dp_status status = parse_alternatives(&s, &empty);
    if (status == DP_OK && !dp_rx_at_end(&s)) status = dp_rx_malformed(&s, ") without (");
    if (status == DP_OK) status = emit(&s, (dp_rx_inst){.op = DP_RX_MATCH});
    if (status == DP_OK) status = dp_rx_find_first(r);
    if (status != DP_OK) dp_regex_free(r);
    else *out = r;
    return status;
}

void dp_regex_free(dp_regex *r) {
    if (!r) return;
    dp_free(r->code);
    dp_free(r->classes);
    dp_free(r->ranges);
    dp_free(r);
}
