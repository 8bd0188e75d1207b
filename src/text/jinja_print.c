/* jinja_print.c: str(), repr() and json.dumps() as Python writes them. */
#include "text/jinja_value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* repr(float): the shortest digits that read back, an exponent below 1e-4 and from 1e16 on. */
void dp_jv_put_double(dp_buf *buf, double value) {
    if (isnan(value)) return dp_buf_str(buf, "nan");
    if (isinf(value)) return dp_buf_str(buf, value < 0 ? "-inf" : "inf");
    char text[40], digits[24];
    int precision = 0;
    do snprintf(text, sizeof text, "%.*e", precision, value);
    while (strtod(text, NULL) != value && ++precision < 17);
    const char *p = text + (*text == '-'), *e = strchr(text, 'e');
    int exponent = atoi(e + 1), n = 0;
    for (; p < e; p++)
        if (*p != '.') digits[n++] = *p;
    if (*text == '-') dp_buf_char(buf, '-');
    if (exponent < -4 || exponent >= 16) {
        dp_buf_char(buf, digits[0]);
        if (n > 1) dp_buf_char(buf, '.'), dp_buf_append(buf, digits + 1, (size_t)n - 1);
        return dp_buf_printf(buf, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
    }
    if (exponent < 0) {
        dp_buf_str(buf, "0.");
        for (int i = -1; i > exponent; i--) dp_buf_char(buf, '0');
        return dp_buf_append(buf, digits, (size_t)n);
    }
    for (int i = 0; i <= exponent || i < n; i++) {
        if (i == exponent + 1) dp_buf_char(buf, '.');
        dp_buf_char(buf, i < n ? digits[i] : '0');
    }
    if (n <= exponent + 1) dp_buf_str(buf, ".0");
}

/* Control, format and private characters and white space but ' ', which repr() escapes. */
static bool is_printable(uint32_t c) {
    if (c < 0x7F) return c >= 0x20;
    return c > 0xA0 && c != 0xAD && c != 0xFEFF && !dp_jtext_is_space(c) && !(c >= 0x200B && c <= 0x200F) &&
           !(c >= 0x202A && c <= 0x202E) && !(c >= 0x2060 && c <= 0x206F) && !(c >= 0xE000 && c < 0xF900);
}

/* repr(str): single quotes unless only they occur inside. */
static void put_quoted(dp_buf *buf, dp_str s) {
    bool has_single = s.n && memchr(s.p, '\'', s.n), has_double = s.n && memchr(s.p, '"', s.n);
    char quote = has_single && !has_double ? '"' : '\'';
    dp_buf_char(buf, quote);
    for (size_t i = 0, n; i < s.n; i += n) {
        uint32_t c;
        n = dp_jtext_char(s.p + i, s.n - i, &c);
        if (c == (uint32_t)quote || c == '\\') dp_buf_printf(buf, "\\%c", (char)c);
        else if (c == '\n') dp_buf_str(buf, "\\n");
        else if (c == '\r') dp_buf_str(buf, "\\r");
        else if (c == '\t') dp_buf_str(buf, "\\t");
        else if (!is_printable(c)) dp_buf_printf(buf, c < 0x100 ? "\\x%02x" : "\\u%04x", c);
        else dp_buf_append(buf, s.p + i, n);
    }
    dp_buf_char(buf, quote);
}

static dp_status repr(dp_jrun *run, dp_buf *buf, dp_jv value, int depth);

static dp_status repr_list(dp_jrun *run, dp_buf *buf, dp_jv value, int depth) {
    bool tuple = value.type == DP_JV_TUPLE;
    dp_buf_char(buf, tuple ? '(' : '[');
    for (size_t i = 0; i < value.list->count; i++) {
        if (i) dp_buf_str(buf, ", ");
        TRY(repr(run, buf, value.list->items[i], depth));
    }
    dp_buf_str(buf, tuple && value.list->count == 1 ? ",)" : tuple ? ")" : "]");
    return DP_OK;
}

static dp_status repr_dict(dp_jrun *run, dp_buf *buf, const dp_jdict *dict, int depth) {
    dp_buf_char(buf, '{');
    for (size_t i = 0; i < dict->count; i++) {
        if (i) dp_buf_str(buf, ", ");
        TRY(repr(run, buf, dict->entries[i].key, depth));
        dp_buf_str(buf, ": ");
        TRY(repr(run, buf, dict->entries[i].value, depth));
    }
    dp_buf_char(buf, '}');
    return DP_OK;
}

static dp_status repr(dp_jrun *run, dp_buf *buf, dp_jv value, int depth) {
    if (depth > DP_JV_DEPTH_MAX) return dp_jrun_fail(run, DP_E_UNSUPPORTED, "a value nested too deeply to print");
    switch ((dp_jv_type)value.type) {
    case DP_JV_UNDEFINED: dp_buf_str(buf, "Undefined"); break;
    case DP_JV_NONE: dp_buf_str(buf, "None"); break;
    case DP_JV_BOOL: dp_buf_str(buf, value.boolean ? "True" : "False"); break;
    case DP_JV_INT: dp_buf_printf(buf, "%lld", (long long)value.integer); break;
    case DP_JV_FLOAT: dp_jv_put_double(buf, value.number); break;
    case DP_JV_STRING: put_quoted(buf, value.string); break;
    case DP_JV_LIST:
    case DP_JV_TUPLE: TRY(repr_list(run, buf, value, depth + 1)); break;
    case DP_JV_DICT: TRY(repr_dict(run, buf, value.dict, depth + 1)); break;
    default: return dp_jrun_fail(run, DP_E_UNSUPPORTED, "printing of a %s", dp_jv_type_name(value));
    }
    TRY(dp_jrun_tick(run, 1));
    return dp_jrun_check(run, buf);
}

dp_status dp_jv_repr(dp_jrun *run, dp_buf *buf, dp_jv value) { return repr(run, buf, value, 0); }

dp_status dp_jv_print(dp_jrun *run, dp_buf *buf, dp_jv value) {
    if (value.type == DP_JV_UNDEFINED) return DP_OK;
    if (value.type != DP_JV_STRING) return repr(run, buf, value, 0);
    dp_buf_append(buf, value.string.p, value.string.n);
    TRY(dp_jrun_tick(run, value.string.n / 32));
    return dp_jrun_check(run, buf);
}

dp_status dp_jv_text(dp_jrun *run, dp_jv value, dp_str *out) {
    if (value.type == DP_JV_STRING) return *out = value.string, DP_OK;
    dp_buf buf = {0};
    dp_status status = dp_jv_print(run, &buf, value);
    if (status == DP_OK) status = dp_jrun_take(run, &buf, &value);
    dp_buf_free(&buf);
    if (status == DP_OK) *out = value.string;
    return status;
}

/* ---- JSON ---- */

static void put_escape(dp_buf *buf, uint32_t c) {
    if (c >= 0x10000) {
        c -= 0x10000;
        dp_buf_printf(buf, "\\u%04x\\u%04x", 0xD800 + (c >> 10), 0xDC00 + (c & 0x3FF));
    } else {
        dp_buf_printf(buf, "\\u%04x", c);
    }
}

static void json_string(dp_buf *buf, dp_str s, bool ascii) {
    static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
    dp_buf_char(buf, '"');
    for (size_t i = 0, n; i < s.n; i += n) {
        uint32_t c;
        n = dp_jtext_char(s.p + i, s.n - i, &c);
        const char *hit = c && c < 0x80 ? strchr(from, (char)c) : NULL;
        if (hit) dp_buf_printf(buf, "\\%c", to[hit - from]);
        else if (c < 0x20 || (ascii && c > 0x7E)) put_escape(buf, c);
        else dp_buf_append(buf, s.p + i, n);
    }
    dp_buf_char(buf, '"');
}

static void json_newline(dp_buf *buf, const dp_jjson *style, int depth) {
    if (!style->pretty) return;
    dp_buf_char(buf, '\n');
    for (int i = 0; i < depth; i++) dp_buf_append(buf, style->indent.p, style->indent.n);
}

/* Numbers, booleans and None; as a key they become strings. */
static dp_status json_scalar(dp_jrun *run, dp_buf *buf, dp_jv value, bool key) {
    if (value.type > DP_JV_FLOAT || value.type == DP_JV_UNDEFINED)
        return dp_jrun_fail(run, DP_E_ARG, "%s cannot be written as JSON", dp_jv_type_name(value));
    if (key) dp_buf_char(buf, '"');
    if (value.type == DP_JV_NONE) dp_buf_str(buf, "null");
    else if (value.type == DP_JV_BOOL) dp_buf_str(buf, value.boolean ? "true" : "false");
    else if (value.type == DP_JV_INT) dp_buf_printf(buf, "%lld", (long long)value.integer);
    else if (isnan(value.number)) dp_buf_str(buf, "NaN");
    else if (isinf(value.number)) dp_buf_str(buf, value.number < 0 ? "-Infinity" : "Infinity");
    else dp_jv_put_double(buf, value.number);
    if (key) dp_buf_char(buf, '"');
    return DP_OK;
}

static dp_status json(dp_jrun *run, dp_buf *buf, dp_jv value, const dp_jjson *style, int depth);

static dp_status json_list(dp_jrun *run, dp_buf *buf, const dp_jlist *list, const dp_jjson *style, int depth) {
    dp_buf_char(buf, '[');
    for (size_t i = 0; i < list->count; i++) {
        if (i) dp_buf_append(buf, style->item.p, style->item.n);
        json_newline(buf, style, depth + 1);
        TRY(json(run, buf, list->items[i], style, depth + 1));
    }
    if (list->count) json_newline(buf, style, depth);
    dp_buf_char(buf, ']');
    return DP_OK;
}

static int by_key(const void *a, const void *b) {
    const dp_str x = (*(const struct dp_jentry *const *)a)->key.string,
                 y = (*(const struct dp_jentry *const *)b)->key.string;
    size_t n = DP_MIN(x.n, y.n);
    int order = n ? memcmp(x.p, y.p, n) : 0;
    return order ? order : (x.n > y.n) - (x.n < y.n);
}

/* The entries in the order they are written. */
static dp_status json_order(dp_jrun *run, const dp_jdict *dict, bool sort, const struct dp_jentry ***out) {
    TRY(dp_jrun_alloc(run, dict->count * sizeof **out, (void **)out));
    for (size_t i = 0; i < dict->count; i++) {
        (*out)[i] = &dict->entries[i];
        if (sort && dict->entries[i].key.type != DP_JV_STRING)
            return dp_jrun_fail(run, DP_E_UNSUPPORTED, "sort_keys with keys that are not strings");
    }
    if (sort && dict->count) qsort(*out, dict->count, sizeof **out, by_key);
    return DP_OK;
}

static dp_status json_dict(dp_jrun *run, dp_buf *buf, const dp_jdict *dict, const dp_jjson *style, int depth) {
    const struct dp_jentry **order;
    TRY(json_order(run, dict, style->sort, &order));
    dp_buf_char(buf, '{');
    for (size_t i = 0; i < dict->count; i++) {
        if (i) dp_buf_append(buf, style->item.p, style->item.n);
        json_newline(buf, style, depth + 1);
        if (order[i]->key.type == DP_JV_STRING) json_string(buf, order[i]->key.string, style->ascii);
        else TRY(json_scalar(run, buf, order[i]->key, true));
        dp_buf_append(buf, style->colon.p, style->colon.n);
        TRY(json(run, buf, order[i]->value, style, depth + 1));
    }
    if (dict->count) json_newline(buf, style, depth);
    dp_buf_char(buf, '}');
    return DP_OK;
}

static dp_status json(dp_jrun *run, dp_buf *buf, dp_jv value, const dp_jjson *style, int depth) {
    if (depth > DP_JV_DEPTH_MAX) return dp_jrun_fail(run, DP_E_UNSUPPORTED, "a value nested too deeply to print");
    if (value.type == DP_JV_STRING) json_string(buf, value.string, style->ascii);
    else if (value.type == DP_JV_LIST || value.type == DP_JV_TUPLE) TRY(json_list(run, buf, value.list, style, depth));
    else if (value.type == DP_JV_DICT) TRY(json_dict(run, buf, value.dict, style, depth));
    else TRY(json_scalar(run, buf, value, false));
    TRY(dp_jrun_tick(run, 1));
    return dp_jrun_check(run, buf);
}

dp_status dp_jv_json(dp_jrun *run, dp_buf *buf, dp_jv value, const dp_jjson *style) {
    return json(run, buf, value, style, 0);
}
