/* jinja_lex.c: template text -> tokens, with Jinja's whitespace control.
 *
 * Text between tags is cut as Jinja does with trim_blocks and lstrip_blocks on:
 *   before "{%-" "{#-" "{{-"   all white space goes
 *   before "{%"  "{#"          spaces and tabs go if nothing else stands before the tag on its line; "{%+" keeps them
 *   behind "-%}" "-#}" "-}}"   all white space goes
 *   behind "%}"  "#}"          one newline goes; "+%}" keeps it
 * {% raw %} yields text here, so the parser never sees it. */
#include "text/jinja_ast.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct lexer {
    dp_arena *arena;
    dp_jtokens *tokens;
    const char *p, *end;
    int line;
    bool line_starting; /* what was matched last ended with a newline */
} lexer;

dp_status dp_jinja_syntax(int line, const char *format, ...) {
    char what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return dp_fail(DP_E_FORMAT, "chat template, line %d: %s", line, what);
}

static dp_status emit(lexer *l, dp_jtoken token) {
    dp_jtokens *t = l->tokens;
    if (!dp_grow((void **)&t->items, &t->capacity, t->count + 1, sizeof *t->items))
        return dp_no_memory(sizeof *t->items);
    t->items[t->count++] = token;
    return DP_OK;
}

static dp_status emit_text(lexer *l, dp_jtoken_kind kind, dp_str text) {
    return emit(l, (dp_jtoken){.kind = (uint8_t)kind, .line = l->line, .text = text});
}

/* Moves on to `p` and counts the lines passed. */
static void advance(lexer *l, const char *p) {
    for (; l->p < p; l->p++) l->line += *l->p == '\n';
}

static bool at(const lexer *l, const char *text) {
    size_t n = strlen(text);
    return (size_t)(l->end - l->p) >= n && memcmp(l->p, text, n) == 0;
}

/* ---- between tags ---- */

/* The text before a tag that stands at `tag`, whose sign ('-', '+' or 0) and kind decide what is cut. */
static dp_str text_before(const lexer *l, const char *tag, char sign, bool variable) {
    dp_str text = {l->p, (size_t)(tag - l->p)};
    if (sign == '-') return dp_jtext_strip(text, NULL, false, true);
    if (sign == '+' || variable) return text;
    const char *line = tag;
    while (line > l->p && line[-1] != '\n') line--;
    bool whole_line = line > l->p || l->line_starting;
    if (whole_line && dp_jtext_strip((dp_str){line, (size_t)(tag - line)}, NULL, true, false).n == 0)
        text.n = (size_t)(line - l->p);
    return text;
}

/* Passes what follows a tag's end: all white space after '-', else one newline when `trim`. */
static void after_tag(lexer *l, char sign, bool trim) {
    const char *start = l->p;
    dp_str rest = {l->p, (size_t)(l->end - l->p)};
    if (sign == '-') advance(l, dp_jtext_strip(rest, NULL, true, false).p);
    else if (trim && sign != '+' && rest.n && *rest.p == '\n') advance(l, l->p + 1);
    l->line_starting = l->p > start && l->p[-1] == '\n';
}

static dp_status comment(lexer *l, int line) {
    for (const char *p = l->p; p + 1 < l->end; p++) {
        if (p[0] != '#' || p[1] != '}') continue;
        char sign = p > l->p && (p[-1] == '-' || p[-1] == '+') ? p[-1] : 0;
        advance(l, p + 2);
        after_tag(l, sign, true);
        return DP_OK;
    }
    return dp_jinja_syntax(line, "comment without end, '#}' is missing");
}

static const char *skip_space(const char *p, const char *end) {
    return dp_jtext_strip((dp_str){p, (size_t)(end - p)}, NULL, true, false).p;
}

/* Matches "[-+] space WORD space [-+]%}" at p and returns its end, or NULL. *sign is the closing one. */
static const char *match_tag(const char *p, const char *end, const char *name, char *sign) {
    if (p < end && (*p == '-' || *p == '+')) p++;
    p = skip_space(p, end);
    size_t n = strlen(name);
    if ((size_t)(end - p) < n || memcmp(p, name, n) != 0) return NULL;
    p = skip_space(p + n, end);
    *sign = 0;
    if (p < end && (*p == '-' || *p == '+')) *sign = *p++;
    return end - p >= 2 && p[0] == '%' && p[1] == '}' ? p + 2 : NULL;
}

/* l->p stands behind {% raw %}. */
static dp_status raw(lexer *l, int line) {
    for (const char *p = l->p; p + 2 < l->end; p++) {
        char sign;
        if (p[0] != '{' || p[1] != '%') continue;
        const char *end = match_tag(p + 2, l->end, "endraw", &sign);
        if (!end) continue;
        TRY(emit_text(l, DP_JT_TEXT, text_before(l, p, p[2], false)));
        advance(l, end);
        after_tag(l, sign, true);
        return DP_OK;
    }
    return dp_jinja_syntax(line, "{%% raw %%} without {%% endraw %%}");
}

/* ---- inside tags ---- */

static int hex_digits(const char *p, const char *end, int count) {
    int64_t value = 0;
    if (end - p < count) return -1;
    for (int i = 0; i < count; i++) {
        const char *digits = "0123456789abcdef", *hit = p[i] ? strchr(digits, p[i] | 0x20) : NULL;
        if (!hit || (p[i] < '0')) return -1;
        value = value * 16 + (hit - digits);
    }
    return value > 0x10FFFF ? -1 : (int)value;
}

/* One escape behind its backslash; returns its end or NULL. Unknown ones stay as they are, as in Python. */
static const char *unescape(const char *p, const char *end, dp_buf *buf) {
    static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
    const char *hit = *p ? strchr(from, *p) : NULL;
    if (hit) return dp_buf_char(buf, to[hit - from]), p + 1;
    if (*p == '\n') return p + 1;
    int digits = *p == 'x' ? 2 : *p == 'u' ? 4 : *p == 'U' ? 8 : 0;
    if (digits) {
        int code_point = hex_digits(p + 1, end, digits);
        if (code_point < 0) return NULL;
        return dp_buf_utf8(buf, (uint32_t)code_point), p + 1 + digits;
    }
    if (*p >= '0' && *p <= '7') {
        uint32_t code_point = 0;
        for (int i = 0; i < 3 && p < end && *p >= '0' && *p <= '7'; i++)
            code_point = code_point * 8 + (uint32_t)(*p++ - '0');
        return dp_buf_utf8(buf, code_point), p;
    }
    dp_buf_char(buf, '\\');
    return p;
}

static dp_status string_token(lexer *l) {
    char quote = *l->p;
    const char *start = l->p + 1, *p = start;
    bool escapes = false;
    for (; p < l->end && *p != quote; p++)
        if (*p == '\\') escapes = true, p++;
    if (p >= l->end) return dp_jinja_syntax(l->line, "string without end, %c is missing", quote);
    dp_str text = {start, (size_t)(p - start)};
    if (escapes) {
        dp_buf buf = {0};
        const char *q = start;
        while (q && q < p) {
            if (*q != '\\') dp_buf_char(&buf, *q++);
            else q = unescape(q + 1, p, &buf);
        }
        dp_buf_append(&buf, "", 0);
        char *copy = buf.failed || !q ? NULL : dp_arena_copy(l->arena, buf.data, buf.size);
        text = (dp_str){copy, buf.size};
        dp_buf_free(&buf);
        if (!q) return dp_jinja_syntax(l->line, "bad \\x, \\u or \\U escape in a string");
        if (!copy) return dp_no_memory(text.n);
    }
    TRY(emit_text(l, DP_JT_STRING, text));
    advance(l, p + 1);
    return DP_OK;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_name(char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z' ? true : c == '_' || is_digit(c); }

static dp_status number_token(lexer *l) {
    const char *p = l->p;
    char text[48];
    size_t n = 0;
    bool integer = true;
    for (; p < l->end && n < sizeof text - 1; p++) {
        bool digit_follows = p + 1 < l->end && is_digit(p[1]);
        bool sign_follows = p + 2 < l->end && (p[1] == '-' || p[1] == '+') && is_digit(p[2]);
        if (*p == '_' && digit_follows) continue;
        if (*p == '.' && integer && digit_follows) integer = false;
        else if ((*p | 0x20) == 'e' && !memchr(text, 'e', n) && (digit_follows || sign_follows)) {
            integer = false;
            text[n++] = 'e';
            if (sign_follows && n < sizeof text - 1) text[n++] = *++p;
            continue;
        } else if (!is_digit(*p)) break;
        text[n++] = *p;
    }
    text[n] = 0;
    if ((p < l->end && is_name(*p)) || n == sizeof text - 1)
        return dp_jinja_syntax(l->line, "malformed number '%s'", text);
    if (integer && n > 18)
        return dp_fail(DP_E_UNSUPPORTED, "chat template, line %d: integer %s is too large", l->line, text);
    dp_jv value = integer ? dp_jv_int(strtoll(text, NULL, 10)) : dp_jv_float(strtod(text, NULL));
    TRY(emit(l,
             (dp_jtoken){.kind = DP_JT_NUMBER, .line = l->line, .text = {l->p, (size_t)(p - l->p)}, .value = value}));
    advance(l, p);
    return DP_OK;
}

static dp_status operator_token(lexer *l, int *nesting) {
    static const char *const operators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
                                            "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ","};
    for (size_t i = 0; i < DP_COUNT(operators); i++) {
        if (!at(l, operators[i])) continue;
        if (strchr("([{", operators[i][0])) ++*nesting;
        if (strchr(")]}", operators[i][0]) && --*nesting < 0)
            return dp_jinja_syntax(l->line, "unexpected '%s'", operators[i]);
        TRY(emit_text(l, DP_JT_OPERATOR, dp_str_of(operators[i])));
        advance(l, l->p + strlen(operators[i]));
        return DP_OK;
    }
    return dp_jinja_syntax(l->line, "unexpected character '%.*s'",
                           (int)dp_jtext_char(l->p, (size_t)(l->end - l->p), NULL), l->p);
}

/* True at the tag's end, which is passed. */
static bool tag_end(lexer *l, const char *close, bool variable) {
    char sign = *l->p == '-' || (*l->p == '+' && !variable) ? *l->p : 0;
    dp_str rest = {l->p + (sign != 0), (size_t)(l->end - l->p) - (sign != 0)};
    if (!dp_str_starts(rest, close)) return false;
    advance(l, rest.p + 2);
    after_tag(l, sign, !variable);
    return true;
}

static dp_status tag(lexer *l, bool variable) {
    int nesting = 0, line = l->line;
    const char *close = variable ? "}}" : "%}";
    for (;;) {
        advance(l, skip_space(l->p, l->end));
        if (l->p >= l->end) return dp_jinja_syntax(line, "tag without end, '%s' is missing", close);
        int end_line = l->line;
        if (nesting == 0 && tag_end(l, close, variable))
            return emit(l, (dp_jtoken){.kind = variable ? DP_JT_VARIABLE_END : DP_JT_BLOCK_END, .line = end_line});
        if (*l->p == '"' || *l->p == '\'') {
            TRY(string_token(l));
        } else if (is_digit(*l->p)) {
            TRY(number_token(l));
        } else if (is_name(*l->p)) {
            const char *p = l->p;
            while (p < l->end && is_name(*p)) p++;
            TRY(emit_text(l, DP_JT_NAME, (dp_str){l->p, (size_t)(p - l->p)}));
            l->p = p;
        } else {
            TRY(operator_token(l, &nesting));
        }
    }
}

/* The next "{{", "{%" or "{#", or the end. */
static const char *find_tag(const lexer *l) {
    for (const char *p = l->p; p + 1 < l->end; p++)
        if (*p == '{' && (p[1] == '{' || p[1] == '%' || p[1] == '#')) return p;
    return l->end;
}

static dp_status next(lexer *l) {
    const char *open = find_tag(l);
    if (open == l->end) {
        TRY(emit_text(l, DP_JT_TEXT, (dp_str){l->p, (size_t)(open - l->p)}));
        l->p = open;
        return DP_OK;
    }
    char kind = open[1], sign = open + 2 < l->end && (open[2] == '-' || open[2] == '+') ? open[2] : 0, raw_sign;
    if (kind == '{' && sign == '+') sign = 0; /* a plus belongs to the expression there */
    dp_str text = text_before(l, open, sign, kind == '{');
    if (text.n) TRY(emit_text(l, DP_JT_TEXT, text));
    advance(l, open);
    int line = l->line;
    const char *raw_end = kind == '%' ? match_tag(open + 2, l->end, "raw", &raw_sign) : NULL;
    advance(l, raw_end ? raw_end : open + 2 + (sign != 0));
    if (raw_end) {
        after_tag(l, raw_sign, false);
        return raw(l, line);
    }
    if (kind == '#') return comment(l, line);
    TRY(emit_text(l, kind == '{' ? DP_JT_VARIABLE_BEGIN : DP_JT_BLOCK_BEGIN, (dp_str){0}));
    return tag(l, kind == '{');
}

dp_status dp_jinja_lex(dp_arena *arena, dp_str source, dp_jtokens *out) {
    lexer l = {arena, out, source.p, source.p + source.n, 1, true};
    while (l.p < l.end) TRY(next(&l));
    return emit_text(&l, DP_JT_END, (dp_str){0});
}
