/* jinja_filters.c: filters on one value: text, numbers, tojson; and the table of all filters. Those that go through a
 * sequence stand in jinja_sequence.c. */
#include "text/jinja_filters.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

dp_status dp_jfunction_missing(dp_jrun *run, const char *what) {
    return dp_jrun_fail(run, DP_E_ARG, "%s is missing", what);
}

dp_status dp_jarg_string(dp_jrun *run, const dp_jv *arg, const char *what, dp_str *out) {
    if (!arg) return dp_jfunction_missing(run, what);
    if (arg->type == DP_JV_UNDEFINED) return dp_jv_undefined_error(run, *arg);
    if (arg->type != DP_JV_STRING)
        return dp_jrun_fail(run, DP_E_ARG, "%s must be a str, not %s", what, dp_jv_type_name(*arg));
    *out = arg->string;
    return DP_OK;
}

/* ---- text ---- */

static dp_status change_case(dp_jrun *run, const dp_jcall *call, dp_jcase to, dp_jv *out) {
    dp_str text;
    TRY(dp_jv_text(run, call->self, &text));
    return dp_jtext_case(run, text, to, out);
}
static dp_status upper(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    return change_case(run, call, DP_JCASE_UPPER, out);
}
static dp_status lower(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    return change_case(run, call, DP_JCASE_LOWER, out);
}
static dp_status title(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    return change_case(run, call, DP_JCASE_TITLE, out);
}
static dp_status capitalize(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    return change_case(run, call, DP_JCASE_CAPITAL, out);
}

static dp_status string(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    dp_str text;
    TRY(dp_jv_text(run, call->self, &text));
    *out = dp_jv_string(text);
    return DP_OK;
}

static dp_status trim(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    dp_str text, set;
    TRY(dp_jv_text(run, call->self, &text));
    bool given = call->a[0] && call->a[0]->type != DP_JV_NONE;
    if (given) TRY(dp_jarg_string(run, call->a[0], "chars of trim", &set));
    TRY(dp_jrun_tick(run, text.n / 32));
    if (given && set.n > 256) return dp_jrun_fail(run, DP_E_UNSUPPORTED, "trim with more than 256 bytes of characters");
    *out = dp_jv_string(dp_jtext_strip(text, given ? &set : NULL, true, true));
    return DP_OK;
}

static dp_status replace(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    dp_str text, pair[2];
    TRY(dp_jv_text(run, call->self, &text));
    for (int i = 0; i < 2; i++) {
        if (!call->a[i]) return dp_jfunction_missing(run, "an argument of replace");
        TRY(dp_jv_text(run, *call->a[i], &pair[i]));
    }
    return dp_jtext_replace(run, text, pair, dp_jarg_int(call->a[2], -1), out);
}

static dp_status escape(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    static const char from[] = "&<>\"'";
    static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#34;", "&#39;"};
    dp_str text;
    dp_buf buf = {0};
    TRY(dp_jv_text(run, call->self, &text));
    for (size_t i = 0; i < text.n; i++) {
        const char *hit = text.p[i] ? strchr(from, text.p[i]) : NULL;
        if (hit) dp_buf_str(&buf, to[hit - from]);
        else dp_buf_char(&buf, text.p[i]);
    }
    return dp_jrun_take(run, &buf, out);
}

/* indent(width=4, first=false, blank=false); width may be the indentation itself. */
static dp_status indent(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    dp_str text;
    dp_jlist *lines;
    TRY(dp_jv_text(run, call->self, &text));
    TRY(dp_jlist_new(run, &lines));
    TRY(dp_jtext_lines(run, text, false, lines));
    /* Jinja splits text + "\n": a last line that is empty counts */
    uint32_t last = 0;
    if (text.n) dp_jtext_char(text.p + text.n - 1, 1, &last);
    if (!text.n || last == '\n') TRY(dp_jlist_push(run, lines, dp_jv_string(DP_LIT(""))));
    bool first = dp_jarg_truth(call->a[1], false), blank = dp_jarg_truth(call->a[2], false);
    bool given = call->a[0] && call->a[0]->type == DP_JV_STRING;
    int64_t width = DP_MAX(DP_MIN(dp_jarg_int(call->a[0], 4), 1000), 0);
    dp_buf buf = {0};
    dp_status status = DP_OK;
    for (size_t i = 0; i < lines->count && status == DP_OK; i++) {
        dp_str line = lines->items[i].string;
        if (i) dp_buf_char(&buf, '\n');
        if (i ? line.n || blank : first) {
            if (given) dp_buf_append(&buf, call->a[0]->string.p, call->a[0]->string.n);
            for (int64_t n = 0; !given && n < width; n++) dp_buf_char(&buf, ' ');
        }
        dp_buf_append(&buf, line.p, line.n);
        status = dp_jrun_check(run, &buf);
    }
    if (status == DP_OK) status = dp_jrun_take(run, &buf, out);
    dp_buf_free(&buf);
    return status;
}

/* "%s is %d" | format(a, b): the conversions s, r, d, i, f, x with a precision for f. */
static dp_status format(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    dp_str text;
    dp_buf buf = {0};
    dp_status status = DP_OK;
    size_t used = 0;
    TRY(dp_jv_text(run, call->self, &text));
    for (size_t i = 0; i < text.n && status == DP_OK; i++) {
        if (text.p[i] != '%') {
            dp_buf_char(&buf, text.p[i]);
            continue;
        }
        int precision = 6;
        if (i + 2 < text.n && text.p[i + 1] == '.' && text.p[i + 2] >= '0' && text.p[i + 2] <= '9')
            precision = text.p[i + 2] - '0', i += 2;
        char kind = ++i < text.n ? text.p[i] : 0;
        dp_jv arg = used < call->count ? call->args[used] : dp_jv_none();
        if (kind == '%') {
            dp_buf_char(&buf, '%');
            continue;
        }
        if (used++ >= call->count) status = dp_jrun_fail(run, DP_E_ARG, "not enough arguments for the format string");
        else if (kind == 's') status = dp_jv_print(run, &buf, arg);
        else if (kind == 'r') status = dp_jv_repr(run, &buf, arg);
        else if ((kind == 'd' || kind == 'i') && dp_jv_is_int(arg))
            dp_buf_printf(&buf, "%lld", (long long)dp_jv_to_int(arg));
        else if (kind == 'x' && dp_jv_is_int(arg) && dp_jv_to_int(arg) >= 0)
            dp_buf_printf(&buf, "%llx", (unsigned long long)dp_jv_to_int(arg));
        else if (kind == 'f' && dp_jv_is_number(arg)) dp_buf_printf(&buf, "%.*f", precision, dp_jv_to_double(arg));
        else
            status = dp_jrun_fail(run, DP_E_UNSUPPORTED, "format of %s with '%%%c'", dp_jv_type_name(arg),
                                  kind ? kind : ' ');
    }
    if (status == DP_OK) status = dp_jrun_take(run, &buf, out);
    dp_buf_free(&buf);
    return status;
}

/* tojson(ensure_ascii=false, indent=none, separators=none, sort_keys=false): json.dumps as transformers calls it. */
static dp_status tojson(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    const dp_jv *indentation = call->a[1], *separators = call->a[2];
    char spaces[33] = "                                ";
    dp_jjson style = {.ascii = dp_jarg_truth(call->a[0], false), .sort = dp_jarg_truth(call->a[3], false)};
    style.pretty = indentation && indentation->type != DP_JV_NONE;
    if (style.pretty && indentation->type == DP_JV_STRING) style.indent = indentation->string;
    else if (style.pretty) style.indent = (dp_str){spaces, (size_t)DP_MAX(DP_MIN(dp_jarg_int(indentation, 0), 32), 0)};
    style.item = style.pretty ? DP_LIT(",") : DP_LIT(", ");
    style.colon = DP_LIT(": ");
    if (separators && separators->type != DP_JV_NONE) {
        const dp_jlist *pair;
        TRY(dp_jv_iterate(run, *separators, &pair));
        if (pair->count != 2) return dp_jrun_fail(run, DP_E_ARG, "separators of tojson must be two strings");
        TRY(dp_jarg_string(run, &pair->items[0], "a separator of tojson", &style.item));
        TRY(dp_jarg_string(run, &pair->items[1], "a separator of tojson", &style.colon));
    }
    dp_buf buf = {0};
    dp_status status = dp_jv_json(run, &buf, call->self, &style);
    if (status == DP_OK) status = dp_jrun_take(run, &buf, out);
    dp_buf_free(&buf);
    return status;
}

/* ---- numbers ---- */

/* Python's int(text) or float(text): white space around it, nothing behind. */
static bool parse_number(dp_str s, double *number, bool *integer) {
    char text[64], *end;
    s = dp_jtext_strip(s, NULL, true, true);
    if (!s.n || s.n >= sizeof text || memchr(s.p, 'x', s.n) || memchr(s.p, 'X', s.n)) return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    *number = strtod(text, &end);
    *integer = strspn(text + (*text == '-' || *text == '+'), "0123456789") == s.n - (*text == '-' || *text == '+');
    return *end == 0;
}

static dp_status to_int(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    double number = 0;
    bool integer = false, ok = true;
    if (call->a[1] && dp_jarg_int(call->a[1], 10) != 10)
        return dp_jrun_fail(run, DP_E_UNSUPPORTED, "int with a base other than 10");
    if (call->self.type == DP_JV_UNDEFINED) return dp_jv_undefined_error(run, call->self);
    if (dp_jv_is_int(call->self)) return *out = dp_jv_int(dp_jv_to_int(call->self)), DP_OK;
    if (call->self.type == DP_JV_FLOAT) number = call->self.number;
    else ok = call->self.type == DP_JV_STRING && parse_number(call->self.string, &number, &integer);
    if (!ok || !isfinite(number)) return *out = call->a[0] ? *call->a[0] : dp_jv_int(0), DP_OK;
    if (fabs(number) >= 9e18) return dp_jrun_fail(run, DP_E_UNSUPPORTED, "integer beyond 64 bits");
    if (!integer) return *out = dp_jv_int((int64_t)number), DP_OK;
    char text[64];
    dp_str digits = dp_jtext_strip(call->self.string, NULL, true, true);
    snprintf(text, sizeof text, "%.*s", (int)digits.n, digits.p);
    *out = dp_jv_int(strtoll(text, NULL, 10));
    return DP_OK;
}

static dp_status to_float(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    double number;
    bool integer;
    if (call->self.type == DP_JV_UNDEFINED) return dp_jv_undefined_error(run, call->self);
    if (dp_jv_is_number(call->self)) *out = dp_jv_float(dp_jv_to_double(call->self));
    else if (call->self.type == DP_JV_STRING && parse_number(call->self.string, &number, &integer))
        *out = dp_jv_float(number);
    else *out = call->a[0] ? *call->a[0] : dp_jv_float(0);
    return DP_OK;
}

static dp_status need_number(dp_jrun *run, dp_jv v, const char *filter) {
    if (dp_jv_is_number(v)) return DP_OK;
    if (v.type == DP_JV_UNDEFINED) return dp_jv_undefined_error(run, v);
    return dp_jrun_fail(run, DP_E_ARG, "%s needs a number, not %s", filter, dp_jv_type_name(v));
}

static dp_status absolute(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    TRY(need_number(run, call->self, "abs"));
    if (!dp_jv_is_int(call->self)) return *out = dp_jv_float(fabs(call->self.number)), DP_OK;
    int64_t i = dp_jv_to_int(call->self);
    if (i == INT64_MIN) return dp_jrun_fail(run, DP_E_UNSUPPORTED, "integer beyond 64 bits");
    *out = dp_jv_int(i < 0 ? -i : i);
    return DP_OK;
}

/* round(precision=0, method="common"): to even on exact ties, as printf rounds too. */
static dp_status round_number(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    int64_t precision = dp_jarg_int(call->a[0], 0);
    dp_str method = DP_LIT("common");
    TRY(need_number(run, call->self, "round"));
    if (call->a[1]) TRY(dp_jarg_string(run, call->a[1], "method of round", &method));
    if (precision < 0 || precision > 15)
        return dp_jrun_fail(run, DP_E_UNSUPPORTED, "round to %lld digits", (long long)precision);
    double value = dp_jv_to_double(call->self), scale = pow(10, (double)precision);
    if (dp_str_is(method, "ceil")) return *out = dp_jv_float(ceil(value * scale) / scale), DP_OK;
    if (dp_str_is(method, "floor")) return *out = dp_jv_float(floor(value * scale) / scale), DP_OK;
    if (!dp_str_is(method, "common"))
        return dp_jrun_fail(run, DP_E_ARG, "method of round must be common, ceil or floor");
    if (dp_jv_is_int(call->self)) return *out = dp_jv_int(dp_jv_to_int(call->self)), DP_OK;
    char text[400];
    snprintf(text, sizeof text, "%.*f", (int)precision, value);
    *out = dp_jv_float(strtod(text, NULL));
    return DP_OK;
}

/* ---- any value ---- */

static dp_status otherwise(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    (void)run;
    bool missing = call->self.type == DP_JV_UNDEFINED || (dp_jarg_truth(call->a[1], false) && !dp_jv_truth(call->self));
    *out = !missing ? call->self : call->a[0] ? *call->a[0] : dp_jv_string(DP_LIT(""));
    return DP_OK;
}

static dp_status attr(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    dp_str name;
    TRY(dp_jarg_string(run, call->a[0], "name of attr", &name));
    if (call->self.type != DP_JV_DICT) return dp_jv_attribute(run, call->self, name, out);
    *out = (dp_jv){.type = DP_JV_UNDEFINED, .string = name}; /* attributes only, a dict's members are items */
    return DP_OK;
}

const dp_jfunction *dp_jfilter_find(dp_str name) {
    static const dp_jfunction table[] = {
        {"upper", "", upper},
        {"lower", "", lower},
        {"title", "", title},
        {"capitalize", "", capitalize},
        {"string", "", string},
        {"safe", "", string},
        {"trim", "chars", trim},
        {"replace", "old new count", replace},
        {"escape", "", escape},
        {"e", "", escape},
        {"indent", "width first blank", indent},
        {"format", NULL, format},
        {"tojson", "ensure_ascii indent separators sort_keys", tojson},
        {"int", "default base", to_int},
        {"float", "default", to_float},
        {"abs", "", absolute},
        {"round", "precision method", round_number},
        {"default", "default_value boolean", otherwise},
        {"d", "default_value boolean", otherwise},
        {"attr", "name", attr},
    };
    for (size_t i = 0; i < DP_COUNT(table); i++)
        if (dp_str_is(name, table[i].name)) return &table[i];
    return dp_jfilter_find_sequence(name);
}
