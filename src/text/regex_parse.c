/* regex_parse.c: compiles a pattern in one pass, without a tree: every parse function appends its piece of program,
 * and what comes before a piece (a split, a look-ahead) is inserted in front of it afterwards.
 * Invariants: nesting at most DEPTH_MAX, program at most CODE_MAX instructions, no unlimited repeat of what may be
 * empty. */
#include "base/json.h"
#include "text/regex_program.h"
#include "text/unicode.h"

enum { DEPTH_MAX = 48, CODE_MAX = 1 << 14, REPEAT_MAX = 1000, RANGES_MAX = 1 << 14 };

typedef struct parser {
    dp_regex *regex;
    dp_str pattern;
    size_t at;
    bool fold; /* (?i) holds here */
    int depth;
} parser;

static dp_status unsupported(const parser *s, size_t from, const char *what) {
    dp_str here = {s->pattern.p + from, DP_MIN(s->pattern.n - from, 16)};
    return dp_fail(DP_E_UNSUPPORTED, "regex: %s at \"" DP_STR_FMT "\" (byte %zu)", what, DP_STR_ARG(here), from);
}

static dp_status malformed(const parser *s, const char *what) {
    return dp_fail(DP_E_FORMAT, "regex: %s at byte %zu of \"" DP_STR_FMT "\"", what, s->at, DP_STR_ARG(s->pattern));
}

static bool at_end(const parser *s) { return s->at >= s->pattern.n; }
static int peek(const parser *s) { return at_end(s) ? -1 : (unsigned char)s->pattern.p[s->at]; }

static bool take(parser *s, const char *text) {
    dp_str rest = {s->pattern.p + s->at, s->pattern.n - s->at};
    if (!dp_str_starts(rest, text)) return false;
    s->at += strlen(text);
    return true;
}

static dp_status next_code(parser *s, uint32_t *code) {
    size_t n = dp_utf8_decode(s->pattern.p + s->at, s->pattern.n - s->at, code);
    if (!n) return malformed(s, at_end(s) ? "the pattern ends too early" : "invalid UTF-8");
    s->at += n;
    return DP_OK;
}

/* ---- program ---- */

static dp_status insert(parser *s, size_t at, dp_rx_inst inst) {
    dp_regex *r = s->regex;
    if (r->code_count >= CODE_MAX) return unsupported(s, 0, "the program grows too large");
    if (!dp_grow((void **)&r->code, &r->code_capacity, r->code_count + 1, sizeof *r->code))
        return dp_no_memory(r->code_count * sizeof *r->code);
    memmove(r->code + at + 1, r->code + at, (r->code_count - at) * sizeof *r->code);
    r->code[at] = inst;
    r->code_count++;
    return DP_OK;
}

static dp_status emit(parser *s, dp_rx_inst inst) { return insert(s, s->regex->code_count, inst); }

/* ---- classes ---- */

static dp_status add_range(parser *s, dp_rx_class *set, uint32_t first, uint32_t last) {
    dp_regex *r = s->regex;
    if (r->range_count >= RANGES_MAX) return unsupported(s, 0, "too many character ranges");
    if (!dp_grow((void **)&r->ranges, &r->range_capacity, 2 * (r->range_count + 1), sizeof *r->ranges))
        return dp_no_memory(r->range_count * sizeof *r->ranges);
    r->ranges[2 * r->range_count] = first;
    r->ranges[2 * r->range_count + 1] = last;
    r->range_count++;
    set->range_count++;
    return DP_OK;
}

static dp_rx_class empty_class(const parser *s) {
    return (dp_rx_class){.range = (uint32_t)s->regex->range_count, .both = -1, .fold = s->fold};
}

static dp_status add_class(parser *s, dp_rx_class *set, int32_t *index) {
    dp_regex *r = s->regex;
    if (!dp_grow((void **)&r->classes, &r->class_capacity, r->class_count + 1, sizeof *r->classes))
        return dp_no_memory(r->class_count * sizeof *r->classes);
    dp_rx_class_finish(r, set);
    *index = (int32_t)r->class_count;
    r->classes[r->class_count++] = *set;
    return DP_OK;
}

/* s->at stands behind \p or \P. */
static dp_status parse_property(parser *s, bool negative, dp_rx_class *set) {
    size_t start = s->at - 2;
    dp_str name = {s->pattern.p + s->at, 1};
    if (take(s, "{")) {
        if (take(s, "^")) negative = !negative;
        name.p = s->pattern.p + s->at;
        while (!at_end(s) && peek(s) != '}') s->at++;
        name.n = (size_t)(s->pattern.p + s->at - name.p);
        if (!take(s, "}")) return malformed(s, "\\p{ without }");
    } else if (at_end(s)) {
        return malformed(s, "\\p without a name");
    } else {
        s->at++;
    }
    uint32_t all = (uint32_t)(((uint64_t)1 << DP_CAT_COUNT) - 1), categories = dp_unicode_category_set(name);
    if (categories) set->categories |= negative ? all & ~categories : categories;
    else if (dp_str_is(name, "Han")) *(negative ? &set->not_han : &set->han) = true;
    else return unsupported(s, start, "unknown property");
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

static dp_status parse_hex(parser *s, int digits, uint32_t *code) {
    *code = 0;
    bool braces = digits == 2 && take(s, "{");
    int n = 0;
    for (; n < (braces ? 8 : digits); n++) {
        int c = peek(s);
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0) break;
        *code = *code << 4 | (uint32_t)d;
        s->at++;
    }
    if (!n || (digits == 4 && n < 4) || (braces && !take(s, "}")) || *code > 0x10FFFF)
        return malformed(s, "bad hexadecimal escape");
    return DP_OK;
}

/* s->at stands behind the backslash. A single character goes to *code, a set into *set with *is_set. */
static dp_status parse_escape(parser *s, dp_rx_class *set, bool *is_set, uint32_t *code) {
    static const char from[] = "nrtfvae", to[] = "\n\r\t\f\v\a\033";
    size_t start = s->at - 1;
    TRY(next_code(s, code));
    *is_set = true;
    if (*code == 'p' || *code == 'P') return parse_property(s, *code == 'P', set);
    if (*code < 128 && add_shorthand((int)*code, set)) return DP_OK;
    *is_set = false;
    if (*code == 'x') return parse_hex(s, 2, code);
    if (*code == 'u') return parse_hex(s, 4, code);
    const char *hit = *code && *code < 128 ? strchr(from, (int)*code) : NULL;
    if (hit) *code = (uint32_t)(unsigned char)to[hit - from];
    else if ((*code >= '0' && *code <= '9') || (*code >= 'a' && *code <= 'z') || (*code >= 'A' && *code <= 'Z'))
        return unsupported(s, start, "unknown escape");
    return DP_OK;
}

static dp_status class_item(parser *s, dp_rx_class *set) {
    uint32_t first, last;
    bool is_set = false;
    size_t start = s->at;
    TRY(next_code(s, &first));
    if (first == '[') return unsupported(s, start, "a class within a class");
    if (first == '\\') TRY(parse_escape(s, set, &is_set, &first));
    if (is_set) return DP_OK;
    last = first;
    if (peek(s) == '-' && s->at + 1 < s->pattern.n && s->pattern.p[s->at + 1] != ']') {
        s->at++;
        TRY(next_code(s, &last));
        if (last == '\\') TRY(parse_escape(s, set, &is_set, &last));
        if (is_set) { /* as in [a-\d]: the hyphen stands for itself */
            TRY(add_range(s, set, first, first));
            return add_range(s, set, '-', '-');
        }
        if (last < first) return malformed(s, "a range that runs backwards");
    }
    return add_range(s, set, first, last);
}

/* s->at stands behind the opening bracket. */
static dp_status parse_class(parser *s, int32_t *index) {
    if (++s->depth > DEPTH_MAX) return malformed(s, "nested too deeply");
    dp_rx_class set = empty_class(s);
    set.negated = take(s, "^");
    size_t start = s->at;
    while (s->at == start || peek(s) != ']') {
        if (at_end(s)) return malformed(s, "[ without ]");
        if (take(s, "&&")) {
            size_t other = s->at;
            if (!take(s, "[")) return unsupported(s, other, "&& without a class behind it");
            if (set.negated) return unsupported(s, start, "&& in a negated class");
            TRY(parse_class(s, &set.both));
            if (peek(s) != ']') return unsupported(s, other, "text behind the class of &&");
            break;
        }
        TRY(class_item(s, &set));
    }
    s->at++;
    s->depth--;
    return add_class(s, &set, index);
}

static dp_status emit_class(parser *s, dp_rx_class *set) {
    int32_t index = 0;
    TRY(add_class(s, set, &index));
    return emit(s, (dp_rx_inst){.op = DP_RX_CLASS, .a = index});
}

static dp_status emit_char(parser *s, uint32_t code) {
    bool cased = (code | 32) >= 'a' && (code | 32) <= 'z' && code < 128;
    if (!s->fold || (code < 128 && !cased)) return emit(s, (dp_rx_inst){.op = DP_RX_CHAR, .a = (int32_t)code});
    dp_rx_class set = empty_class(s);
    TRY(add_range(s, &set, dp_unicode_fold(code), dp_unicode_fold(code)));
    return emit_class(s, &set);
}

/* ---- atoms ---- */

static dp_status parse_alternatives(parser *s, bool *empty);

static dp_status parse_assertion_escape(parser *s, bool *done) {
    static const struct { const char *text; dp_rx_inst inst; } table[] = {
        {"\\A", {.op = DP_RX_TEXT_START}}, {"\\z", {.op = DP_RX_TEXT_END}}, {"\\Z", {.op = DP_RX_TEXT_END_NEWLINE}},
        {"\\b", {.op = DP_RX_WORD_EDGE}},  {"\\B", {.op = DP_RX_WORD_EDGE, .negative = true}},
        {"^", {.op = DP_RX_LINE_START}},   {"$", {.op = DP_RX_LINE_END}},
    };
    for (size_t i = 0; i < DP_COUNT(table); i++)
        if (take(s, table[i].text)) return *done = true, emit(s, table[i].inst);
    return DP_OK;
}

/* The body of a group that runs as a program of its own: op in front, MATCH behind. */
static dp_status parse_body(parser *s, dp_rx_inst front, bool *empty) {
    size_t start = s->regex->code_count;
    TRY(parse_alternatives(s, empty));
    TRY(emit(s, (dp_rx_inst){.op = DP_RX_MATCH}));
    front.a = (int32_t)(s->regex->code_count - start + 1);
    return insert(s, start, front);
}

/* s->at stands behind "(?": flags, then ':' or ')'. *inlined: the flags hold for the rest of the enclosing group. */
static dp_status parse_flags(parser *s, bool *inlined) {
    size_t start = s->at;
    for (bool on = true;;) {
        if (take(s, "-")) on = false;
        else if (take(s, "i")) s->fold = on;
        else break;
    }
    *inlined = take(s, ")");
    if (*inlined || take(s, ":")) return DP_OK;
    return unsupported(s, start >= 2 ? start - 2 : 0, "unknown kind of group");
}

static bool take_group_name(parser *s) {
    size_t start = s->at;
    if (!take(s, "P<") && !take(s, "<")) return false;
    if (peek(s) != '=' && peek(s) != '!') {
        while (!at_end(s) && peek(s) != '>') s->at++;
        if (take(s, ">")) return true;
    }
    s->at = start;
    return false;
}

/* s->at stands behind the opening parenthesis. */
static dp_status parse_group(parser *s, bool *empty) {
    if (++s->depth > DEPTH_MAX) return malformed(s, "nested too deeply");
    bool fold = s->fold, inlined = false;
    if (take(s, "?=") || take(s, "?!")) {
        bool negative = s->pattern.p[s->at - 1] == '!';
        TRY(parse_body(s, (dp_rx_inst){.op = DP_RX_LOOK, .negative = negative}, empty));
        *empty = true;
    } else if (take(s, "?>")) {
        TRY(parse_body(s, (dp_rx_inst){.op = DP_RX_ATOMIC}, empty));
    } else {
        if (take(s, "?") && !take(s, ":") && !take_group_name(s)) TRY(parse_flags(s, &inlined));
        if (inlined) {
            s->depth--;
            *empty = true;
            return DP_OK;
        }
        TRY(parse_alternatives(s, empty));
    }
    if (!take(s, ")")) return malformed(s, "( without )");
    s->fold = fold;
    s->depth--;
    return DP_OK;
}

static dp_status parse_atom(parser *s, bool *empty) {
    bool done = false, is_set = false;
    size_t start = s->at;
    uint32_t code;
    *empty = true;
    TRY(parse_assertion_escape(s, &done));
    if (done) return DP_OK;
    if (take(s, "(")) return parse_group(s, empty);
    *empty = false;
    if (take(s, "[")) {
        int32_t index = 0;
        TRY(parse_class(s, &index));
        return emit(s, (dp_rx_inst){.op = DP_RX_CLASS, .a = index});
    }
    dp_rx_class set = empty_class(s);
    if (take(s, ".")) {
        set.negated = true;
        TRY(add_range(s, &set, '\n', '\n'));
        return emit_class(s, &set);
    }
    TRY(next_code(s, &code));
    if (code == '*' || code == '+' || code == '?') return s->at = start, malformed(s, "nothing to repeat");
    if (code == '\\') TRY(parse_escape(s, &set, &is_set, &code));
    return is_set ? emit_class(s, &set) : emit_char(s, code);
}

/* ---- repetition ---- */

typedef struct repeat {
    uint32_t min, max;
    dp_rx_mode mode;
} repeat;

static bool take_number(parser *s, uint32_t *out) {
    size_t start = s->at;
    for (*out = 0; peek(s) >= '0' && peek(s) <= '9' && *out < 100000; s->at++)
        *out = *out * 10 + (uint32_t)(peek(s) - '0');
    return s->at > start;
}

/* {m}, {m,}, {,n}, {m,n}; other text in braces stands for itself. */
static bool take_braces(parser *s, repeat *r) {
    size_t start = s->at;
    if (!take(s, "{")) return false;
    bool low = take_number(s, &r->min), high = low;
    r->max = r->min;
    if (take(s, ",")) {
        high = take_number(s, &r->max);
        if (!high) r->max = UINT32_MAX;
    }
    if ((low || high) && take(s, "}")) return true;
    s->at = start;
    return false;
}

static bool take_repeat(parser *s, repeat *r) {
    *r = (repeat){0, UINT32_MAX, DP_RX_GREEDY};
    bool braces = false;
    if (take(s, "?")) r->max = 1;
    else if (take(s, "+")) r->min = 1;
    else if (!take(s, "*")) braces = true;
    if (braces && !take_braces(s, r)) return false;
    if (take(s, "?")) r->mode = DP_RX_LAZY;
    else if (!braces && take(s, "+")) r->mode = DP_RX_POSSESSIVE;
    return true;
}

/* One character repeated: the matcher's fast instruction. */
static dp_status repeat_character(parser *s, size_t start, repeat r) {
    dp_rx_inst inst = s->regex->code[start];
    if (inst.op == DP_RX_CHAR) {
        dp_rx_class set = {.range = (uint32_t)s->regex->range_count, .both = -1};
        TRY(add_range(s, &set, (uint32_t)inst.a, (uint32_t)inst.a));
        TRY(add_class(s, &set, &inst.a));
    }
    s->regex->code[start] =
        (dp_rx_inst){.op = DP_RX_LOOP, .mode = (uint8_t)r.mode, .a = inst.a, .min = r.min, .max = r.max};
    return DP_OK;
}

static dp_status append_copy(parser *s, const dp_rx_inst *piece, size_t count) {
    for (size_t i = 0; i < count; i++) TRY(emit(s, piece[i]));
    return DP_OK;
}

static dp_status split_over(parser *s, size_t at, int32_t over, dp_rx_mode mode) {
    dp_rx_inst inst = {.op = DP_RX_SPLIT, .a = 1, .b = over};
    if (mode == DP_RX_LAZY) inst.a = over, inst.b = 1;
    return insert(s, at, inst);
}

/* Behind the minimum's copies: a loop, or max - min nested options that all skip to the end. */
static dp_status repeat_tail(parser *s, const dp_rx_inst *piece, size_t count, repeat r) {
    if (r.max == UINT32_MAX) {
        TRY(split_over(s, s->regex->code_count, (int32_t)count + 2, r.mode));
        TRY(append_copy(s, piece, count));
        return emit(s, (dp_rx_inst){.op = DP_RX_JUMP, .a = -(int32_t)(count + 1)});
    }
    for (uint32_t left = r.max - r.min; left > 0; left--) {
        if (left * (count + 1) > CODE_MAX) return unsupported(s, 0, "the program grows too large");
        TRY(split_over(s, s->regex->code_count, (int32_t)(left * (count + 1)), r.mode));
        TRY(append_copy(s, piece, count));
    }
    return DP_OK;
}

static dp_status repeat_piece(parser *s, size_t start, repeat r) {
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

static dp_status parse_repeats(parser *s, size_t start, bool *empty) {
    repeat r;
    size_t from = s->at;
    for (int nested = 0; take_repeat(s, &r); nested++) {
        if (nested == 4) return malformed(s, "too many repeats of one piece");
        if (r.max < r.min) return malformed(s, "a repeat whose maximum is below its minimum");
        if (r.min > REPEAT_MAX || (r.max != UINT32_MAX && r.max > REPEAT_MAX))
            return unsupported(s, from, "a repeat above 1000");
        if (*empty && r.max == UINT32_MAX) return unsupported(s, from, "an unlimited repeat of what may be empty");
        bool character = s->regex->code_count == start + 1 &&
                         (s->regex->code[start].op == DP_RX_CHAR || s->regex->code[start].op == DP_RX_CLASS);
        TRY(character ? repeat_character(s, start, r) : repeat_piece(s, start, r));
        if (r.min == 0) *empty = true;
    }
    return DP_OK;
}

static dp_status parse_sequence(parser *s, bool *empty) {
    *empty = true;
    while (!at_end(s) && peek(s) != '|' && peek(s) != ')') {
        size_t start = s->regex->code_count;
        bool atom_empty;
        TRY(parse_atom(s, &atom_empty));
        TRY(parse_repeats(s, start, &atom_empty));
        *empty = *empty && atom_empty;
    }
    return DP_OK;
}

static dp_status parse_alternatives(parser *s, bool *empty) {
    size_t last_jump = SIZE_MAX; /* jumps to the end, chained through `min` until the end is known */
    *empty = false;
    for (;;) {
        size_t start = s->regex->code_count;
        bool branch_empty;
        TRY(parse_sequence(s, &branch_empty));
        *empty = *empty || branch_empty;
        if (!take(s, "|")) break;
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

/* ---- bytes that a match can start with ---- */

typedef struct closure {
    bool *seen;     /* [code_count] */
    uint32_t *todo; /* [code_count]; each instruction enters once */
    size_t count;
} closure;

static void visit(closure *c, size_t pc) {
    if (c->seen[pc]) return;
    c->seen[pc] = true;
    c->todo[c->count++] = (uint32_t)pc;
}

/* Follows what consumes nothing. Assertions are taken to hold. */
static void find_first(dp_regex *r, closure *c) {
    visit(c, 0);
    while (c->count) {
        size_t pc = c->todo[--c->count];
        const dp_rx_inst *inst = &r->code[pc];
        switch ((dp_rx_op)inst->op) {
        case DP_RX_CHAR: r->first[dp_rx_lead_byte((uint32_t)inst->a)] = true; break;
        case DP_RX_CLASS: dp_rx_class_first(r, &r->classes[inst->a], r->first); break;
        case DP_RX_LOOP:
            dp_rx_class_first(r, &r->classes[inst->a], r->first);
            if (inst->min == 0) visit(c, pc + 1);
            break;
        case DP_RX_SPLIT: visit(c, (size_t)((int64_t)pc + inst->b)); /* fall through */
        case DP_RX_JUMP:
        case DP_RX_LOOK: visit(c, (size_t)((int64_t)pc + inst->a)); break;
        case DP_RX_MATCH: r->may_be_empty = true; break; /* also the end of an ATOMIC body: then `first` is not used */
        default: visit(c, pc + 1); break;
        }
    }
}

static dp_status prepare_search(dp_regex *r) {
    closure c = {dp_calloc(r->code_count, sizeof *c.seen), dp_malloc(r->code_count * sizeof *c.todo), 0};
    bool ok = c.seen && c.todo;
    if (ok) find_first(r, &c);
    dp_free(c.seen);
    dp_free(c.todo);
    return ok ? DP_OK : dp_no_memory(r->code_count * sizeof *c.todo);
}

dp_status dp_regex_compile(dp_str pattern, dp_regex **out) {
    dp_regex *r = dp_calloc(1, sizeof *r);
    if (!r) return dp_no_memory(sizeof *r);
    parser s = {.regex = r, .pattern = pattern};
    bool empty;
    dp_status status = parse_alternatives(&s, &empty);
    if (status == DP_OK && !at_end(&s)) status = malformed(&s, ") without (");
    if (status == DP_OK) status = emit(&s, (dp_rx_inst){.op = DP_RX_MATCH});
    if (status == DP_OK) status = prepare_search(r);
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
