/* json.c: recursive descent, one pass. Invariant: p <= end, and text[end] is never read. */
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { DEPTH_MAX = 128 };

typedef struct parser {
    dp_arena *arena;
    const char *start, *p, *end;
} parser;

static dp_status syntax(const parser *s, const char *what) {
    size_t line = 1, column = 1;
    for (const char *q = s->start; q < s->p; q++) {
        column++;
        if (*q == '\n') line++, column = 1;
    }
    return dp_fail(DP_E_FORMAT, "JSON, line %zu, column %zu: %s", line, column, what);
}

static void skip_space(parser *s) {
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\t' || *s->p == '\r')) s->p++;
}

size_t dp_utf8_decode(const char *p, size_t n, uint32_t *code_point) {
    const unsigned char *u = (const unsigned char *)p;
    if (!n) return 0;
    uint32_t c = u[0];
    size_t len = c < 0x80 ? 1 : c >= 0xC2 && c < 0xE0 ? 2 : c >= 0xE0 && c < 0xF0 ? 3 : c >= 0xF0 && c < 0xF5 ? 4 : 0;
    if (!len || len > n) return 0;
    if (len > 1) c &= 0xFFu >> (len + 1);
    for (size_t i = 1; i < len; i++) {
        if ((u[i] & 0xC0) != 0x80) return 0;
        c = c << 6 | (u[i] & 0x3F);
    }
    if ((len == 3 && (c < 0x800 || (c >= 0xD800 && c < 0xE000))) || (len == 4 && (c < 0x10000 || c > 0x10FFFF))) return 0;
    if (code_point) *code_point = c;
    return len;
}

/* ---- strings ---- */

static int hex4(const parser *s, const char *p) {
    int v = 0;
    if (s->end - p < 4) return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (d < 0) return -1;
        v = v * 16 + d;
    }
    return v;
}

/* s->p stands behind "\u"; a surrogate pair is read whole. */
static bool unicode_escape(parser *s, dp_buf *out) {
    int c = hex4(s, s->p);
    if (c < 0) return false;
    s->p += 4;
    if (c >= 0xD800 && c < 0xDC00 && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u') {
        int low = hex4(s, s->p + 2);
        if (low >= 0xDC00 && low < 0xE000) {
            c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
            s->p += 6;
        }
    }
    dp_buf_utf8(out, (uint32_t)c);
    return true;
}

static dp_status escaped_string(parser *s, const char *start, dp_str *out) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    dp_buf buf = {0};
    dp_buf_append(&buf, start, (size_t)(s->p - start));
    const char *bad = NULL;
    while (!bad && s->p < s->end && *s->p != '"') {
        size_t len;
        if (*s->p == '\\') {
            const char *hit = s->p + 1 < s->end && s->p[1] ? strchr(from, s->p[1]) : NULL;
            s->p += 2;
            if (hit) dp_buf_char(&buf, to[hit - from]);
            else if (s->p > s->end || s->p[-1] != 'u' || !unicode_escape(s, &buf)) bad = "bad escape in a string";
        } else if ((unsigned char)*s->p < 0x20 || !(len = dp_utf8_decode(s->p, (size_t)(s->end - s->p), NULL))) {
            bad = "control character or invalid UTF-8 in a string";
        } else {
            dp_buf_append(&buf, s->p, len);
            s->p += len;
        }
    }
    if (s->p > s->end) s->p = s->end;
    if (!bad && s->p >= s->end) bad = "the text ends inside a string";
    char *copy = buf.failed || bad ? NULL : dp_arena_copy(s->arena, buf.data ? buf.data : "", buf.size);
    size_t size = buf.size;
    dp_buf_free(&buf);
    if (bad) return syntax(s, bad);
    if (!copy) return dp_no_memory(size);
    s->p++;
    *out = (dp_str){copy, size};
    return DP_OK;
}

static dp_status parse_string(parser *s, dp_str *out) {
    const char *start = ++s->p;
    while (s->p < s->end) {
        unsigned char c = (unsigned char)*s->p;
        if (c == '"') {
            *out = (dp_str){start, (size_t)(s->p - start)};
            s->p++;
            return DP_OK;
        }
        if (c == '\\') return escaped_string(s, start, out);
        size_t len = c < 0x20 ? 0 : c < 0x80 ? 1 : dp_utf8_decode(s->p, (size_t)(s->end - s->p), NULL);
        if (!len) return syntax(s, "control character or invalid UTF-8 in a string");
        s->p += len;
    }
    return syntax(s, "the text ends inside a string");
}

/* ---- numbers ---- */

static size_t digits(parser *s) {
    const char *start = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9') s->p++;
    return (size_t)(s->p - start);
}

static dp_status parse_number(parser *s, dp_json *value) {
    const char *start = s->p;
    bool integer = true;
    if (*s->p == '-') s->p++;
    const char *first = s->p;
    size_t whole = digits(s);
    if (!whole || (whole > 1 && *first == '0')) return syntax(s, "malformed number");
    if (s->p < s->end && *s->p == '.') {
        integer = false;
        s->p++;
        if (!digits(s)) return syntax(s, "malformed number");
    }
    if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
        integer = false;
        s->p++;
        if (s->p < s->end && (*s->p == '+' || *s->p == '-')) s->p++;
        if (!digits(s)) return syntax(s, "malformed number");
    }
    char text[64];
    size_t n = (size_t)(s->p - start);
    if (n >= sizeof text) n = sizeof text - 1; /* more digits than a double holds: the first 63 characters decide */
    memcpy(text, start, n);
    text[n] = 0;
    value->type = DP_JSON_NUMBER;
    value->number = strtod(text, NULL);
    value->is_integer = integer && fabs(value->number) < 9.2e18;
    if (value->is_integer) value->integer = strtoll(text, NULL, 10);
    else value->integer = value->number >= 9.2e18 ? INT64_MAX : value->number <= -9.2e18 ? INT64_MIN : (int64_t)value->number;
    return DP_OK;
}

/* ---- values ---- */

static dp_status parse_value(parser *s, dp_json *value, int depth);

/* A member's name and the colon behind it. */
static dp_status parse_key(parser *s, dp_str *key) {
    skip_space(s);
    if (s->p >= s->end || *s->p != '"') return syntax(s, "expected a member name in quotes");
    TRY(parse_string(s, key));
    skip_space(s);
    if (s->p >= s->end || *s->p != ':') return syntax(s, "expected ':'");
    s->p++;
    return DP_OK;
}

static dp_status parse_members(parser *s, dp_json *parent, int depth) {
    bool object = *s->p == '{';
    char close = object ? '}' : ']';
    dp_json **tail = &parent->child;
    parent->type = object ? DP_JSON_OBJECT : DP_JSON_ARRAY;
    parent->child = NULL;
    s->p++;
    skip_space(s);
    if (s->p < s->end && *s->p == close) return s->p++, DP_OK;
    for (;;) {
        dp_json *member = dp_arena_calloc(s->arena, 1, sizeof *member);
        if (!member) return dp_no_memory(sizeof *member);
        if (object) TRY(parse_key(s, &member->key));
        TRY(parse_value(s, member, depth + 1));
        *tail = member;
        tail = &member->next;
        parent->count++;
        skip_space(s);
        if (s->p >= s->end) return syntax(s, object ? "the text ends inside an object" : "the text ends inside an array");
        char c = *s->p++;
        if (c == close) return DP_OK;
        if (c != ',') return s->p--, syntax(s, object ? "expected ',' or '}'" : "expected ',' or ']'");
    }
}

static bool word(parser *s, const char *text) {
    size_t n = strlen(text);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, text, n) != 0) return false;
    s->p += n;
    return true;
}

static dp_status parse_value(parser *s, dp_json *value, int depth) {
    if (depth > DEPTH_MAX) return syntax(s, "nested deeper than 128 levels");
    skip_space(s);
    if (s->p >= s->end) return syntax(s, "expected a value, the text ends");
    switch (*s->p) {
    case '{':
    case '[': return parse_members(s, value, depth);
    case '"': value->type = DP_JSON_STRING; return parse_string(s, &value->string);
    case 't':
        value->type = DP_JSON_BOOL;
        value->boolean = true;
        return word(s, "true") ? DP_OK : syntax(s, "expected a value");
    case 'f': value->type = DP_JSON_BOOL; return word(s, "false") ? DP_OK : syntax(s, "expected a value");
    case 'n': value->type = DP_JSON_NULL; return word(s, "null") ? DP_OK : syntax(s, "expected a value");
    default:
        if (*s->p == '-' || (*s->p >= '0' && *s->p <= '9')) return parse_number(s, value);
        return syntax(s, "expected a value");
    }
}

dp_status dp_json_parse(dp_arena *arena, dp_str text, const dp_json **out) {
    if (text.n >= 3 && memcmp(text.p, "\xEF\xBB\xBF", 3) == 0) text.p += 3, text.n -= 3;
    parser s = {arena, text.p, text.p, text.p + text.n};
    dp_json *root = dp_arena_calloc(arena, 1, sizeof *root);
    if (!root) return dp_no_memory(sizeof *root);
    TRY(parse_value(&s, root, 0));
    skip_space(&s);
    if (s.p != s.end) return syntax(&s, "unexpected text behind the value");
    *out = root;
    return DP_OK;
}

/* ---- access ---- */

const dp_json *dp_json_get(const dp_json *object, const char *key) {
    if (!object || object->type != DP_JSON_OBJECT) return NULL;
    dp_str name = dp_str_of(key);
    for (const dp_json *m = object->child; m; m = m->next)
        if (dp_str_eq(m->key, name)) return m;
    return NULL;
}

const dp_json *dp_json_find(const dp_json *object, const char *key) {
    const dp_json *m = dp_json_get(object, key);
    return m && m->type == DP_JSON_NULL ? NULL : m;
}

const dp_json *dp_json_at(const dp_json *array, size_t index) {
    if (!array || array->type < DP_JSON_ARRAY) return NULL;
    const dp_json *m = array->child;
    while (m && index--) m = m->next;
    return m;
}

const char *dp_json_type_name(const dp_json *value) {
    static const char *const names[] = {"null", "a boolean", "a number", "a string", "an array", "an object"};
    return value ? names[value->type] : "nothing";
}

static dp_status mismatch(const char *key, const char *expected, const dp_json *found) {
    return dp_fail(DP_E_FORMAT, "\"%s\": expected %s, found %s", key, expected, dp_json_type_name(found));
}

dp_status dp_json_get_int(const dp_json *object, const char *key, int64_t *out) {
    const dp_json *m = dp_json_find(object, key);
    if (!m) return DP_OK;
    if (m->type != DP_JSON_NUMBER || (!m->is_integer && m->number != (double)m->integer)) return mismatch(key, "an integer", m);
    *out = m->integer;
    return DP_OK;
}

dp_status dp_json_get_double(const dp_json *object, const char *key, double *out) {
    const dp_json *m = dp_json_find(object, key);
    if (!m) return DP_OK;
    if (m->type != DP_JSON_NUMBER) return mismatch(key, "a number", m);
    *out = m->number;
    return DP_OK;
}

dp_status dp_json_get_bool(const dp_json *object, const char *key, bool *out) {
    const dp_json *m = dp_json_find(object, key);
    if (!m) return DP_OK;
    if (m->type != DP_JSON_BOOL) return mismatch(key, "a boolean", m);
    *out = m->boolean;
    return DP_OK;
}

dp_status dp_json_get_str(const dp_json *object, const char *key, dp_str *out) {
    const dp_json *m = dp_json_find(object, key);
    if (!m) return DP_OK;
    if (m->type != DP_JSON_STRING) return mismatch(key, "a string", m);
    *out = m->string;
    return DP_OK;
}

/* ---- writing ---- */

void dp_json_put_string(dp_buf *buf, dp_str text) {
    dp_buf_char(buf, '"');
    for (size_t i = 0; i < text.n;) {
        unsigned char c = (unsigned char)text.p[i];
        size_t len = dp_utf8_decode(text.p + i, text.n - i, NULL);
        if (c == '"' || c == '\\') dp_buf_printf(buf, "\\%c", c);
        else if (c == '\n') dp_buf_str(buf, "\\n");
        else if (c == '\t') dp_buf_str(buf, "\\t");
        else if (c == '\r') dp_buf_str(buf, "\\r");
        else if (c < 0x20) dp_buf_printf(buf, "\\u%04x", c);
        else if (!len) dp_buf_utf8(buf, 0xFFFD);
        else dp_buf_append(buf, text.p + i, len);
        i += len ? len : 1;
    }
    dp_buf_char(buf, '"');
}

void dp_json_put_double(dp_buf *buf, double value) {
    if (!isfinite(value)) {
        dp_buf_str(buf, "null");
        return;
    }
    char text[40];
    for (int precision = 1; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*g", precision, value);
        if (strtod(text, NULL) == value) break;
    }
    dp_buf_str(buf, text);
    if (!strpbrk(text, ".e")) dp_buf_str(buf, ".0");
}

void dp_json_put(dp_buf *buf, const dp_json *value) {
    bool object = value->type == DP_JSON_OBJECT;
    switch ((dp_json_type)value->type) {
    case DP_JSON_NULL: dp_buf_str(buf, "null"); break;
    case DP_JSON_BOOL: dp_buf_str(buf, value->boolean ? "true" : "false"); break;
    case DP_JSON_STRING: dp_json_put_string(buf, value->string); break;
    case DP_JSON_NUMBER:
        if (value->is_integer) dp_buf_printf(buf, "%lld", (long long)value->integer);
        else dp_json_put_double(buf, value->number);
        break;
    case DP_JSON_ARRAY:
    case DP_JSON_OBJECT:
        dp_buf_char(buf, object ? '{' : '[');
        for (const dp_json *m = value->child; m; m = m->next) {
            if (object) dp_json_put_string(buf, m->key), dp_buf_char(buf, ':');
            dp_json_put(buf, m);
            if (m->next) dp_buf_char(buf, ',');
        }
        dp_buf_char(buf, object ? '}' : ']');
        break;
    }
}
