/* jinja_globals.c: the tests behind `is`, and the functions every template can call. */
#include "text/jinja_value.h"

#include <stdio.h>

#include "text/jinja_ast.h"

/* ---- tests on the type ---- */

typedef uint32_t type_set;
#define SET(type) (1u << (type))

static dp_status is_of(const dp_jcall *call, type_set types, dp_jv *out) {
    *out = dp_jv_bool((types >> call->self.type & 1) != 0);
    return DP_OK;
}

#define TYPE_TEST(name, types)                                                                                         \
    static dp_status name(dp_jrun *run, const dp_jcall *call, dp_jv *out) {                                            \
        (void)run;                                                                                                     \
        return is_of(call, (types), out);                                                                              \
    }
TYPE_TEST(is_defined, ~SET(DP_JV_UNDEFINED))
TYPE_TEST(is_undefined, SET(DP_JV_UNDEFINED))
TYPE_TEST(is_none, SET(DP_JV_NONE))
TYPE_TEST(is_boolean, SET(DP_JV_BOOL))
TYPE_TEST(is_integer, SET(DP_JV_INT))
TYPE_TEST(is_float, SET(DP_JV_FLOAT))
TYPE_TEST(is_number, SET(DP_JV_INT) | SET(DP_JV_FLOAT) | SET(DP_JV_BOOL))
TYPE_TEST(is_string, SET(DP_JV_STRING))
TYPE_TEST(is_mapping, SET(DP_JV_DICT))
TYPE_TEST(is_sequence, SET(DP_JV_STRING) | SET(DP_JV_LIST) | SET(DP_JV_TUPLE) | SET(DP_JV_DICT) | SET(DP_JV_UNDEFINED))
TYPE_TEST(is_iterable, SET(DP_JV_STRING) | SET(DP_JV_LIST) | SET(DP_JV_TUPLE) | SET(DP_JV_ITERATOR) | SET(DP_JV_DICT) |
                           SET(DP_JV_UNDEFINED) | SET(DP_JV_LOOP))
TYPE_TEST(is_callable, SET(DP_JV_FUNCTION) | SET(DP_JV_METHOD) | SET(DP_JV_MACRO) | SET(DP_JV_JOINER) |
                           SET(DP_JV_LOOP) | SET(DP_JV_UNDEFINED))

/* ---- tests on the value ---- */

static dp_status is_true(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    (void)run;
    *out = dp_jv_bool(call->self.type == DP_JV_BOOL && call->self.boolean);
    return DP_OK;
}

static dp_status is_false(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    (void)run;
    *out = dp_jv_bool(call->self.type == DP_JV_BOOL && !call->self.boolean);
    return DP_OK;
}

static dp_status remainder_is(dp_jrun *run, dp_jv value, int64_t divisor, int64_t remainder, dp_jv *out) {
    dp_jv operands[2] = {value, dp_jv_int(divisor)}, rest;
    TRY(dp_jop_binary(run, DP_JOP_MOD, operands, &rest));
    *out = dp_jv_bool(dp_jv_to_double(rest) == (double)remainder);
    return DP_OK;
}
static dp_status is_odd(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    if (!dp_jv_is_number(call->self)) return dp_jrun_fail(run, DP_E_ARG, "odd needs a number");
    return remainder_is(run, call->self, 2, 1, out);
}
static dp_status is_even(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    if (!dp_jv_is_number(call->self)) return dp_jrun_fail(run, DP_E_ARG, "even needs a number");
    return remainder_is(run, call->self, 2, 0, out);
}
static dp_status is_divisible(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    if (!dp_jv_is_number(call->self) || !call->a[0] || !dp_jv_is_int(*call->a[0]))
        return dp_jrun_fail(run, DP_E_ARG, "divisibleby needs numbers");
    return remainder_is(run, call->self, dp_jv_to_int(*call->a[0]), 0, out);
}

static dp_status compared(dp_jrun *run, const dp_jcall *call, dp_jop op, dp_jv *out) {
    bool holds;
    if (!call->a[0]) return dp_jfunction_missing(run, "what a test compares with");
    TRY(dp_jop_compare(run, op, (const dp_jv[2]){call->self, *call->a[0]}, &holds));
    *out = dp_jv_bool(holds);
    return DP_OK;
}
static dp_status is_eq(dp_jrun *run, const dp_jcall *call, dp_jv *out) { return compared(run, call, DP_JOP_EQ, out); }
static dp_status is_ne(dp_jrun *run, const dp_jcall *call, dp_jv *out) { return compared(run, call, DP_JOP_NE, out); }
static dp_status is_lt(dp_jrun *run, const dp_jcall *call, dp_jv *out) { return compared(run, call, DP_JOP_LT, out); }
static dp_status is_le(dp_jrun *run, const dp_jcall *call, dp_jv *out) { return compared(run, call, DP_JOP_LE, out); }
static dp_status is_gt(dp_jrun *run, const dp_jcall *call, dp_jv *out) { return compared(run, call, DP_JOP_GT, out); }
static dp_status is_ge(dp_jrun *run, const dp_jcall *call, dp_jv *out) { return compared(run, call, DP_JOP_GE, out); }
static dp_status is_in(dp_jrun *run, const dp_jcall *call, dp_jv *out) { return compared(run, call, DP_JOP_IN, out); }

/* Identity: of singletons by value, of lists and dicts by memory. */
static dp_status is_same(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    if (!call->a[0] || call->a[0]->type != call->self.type) return *out = dp_jv_bool(false), DP_OK;
    if (call->self.type < DP_JV_LIST) return compared(run, call, DP_JOP_EQ, out);
    *out = dp_jv_bool(call->self.list == call->a[0]->list);
    return DP_OK;
}

/* True if the case of the text is already what the test asks for, and there are letters. */
static dp_status in_case(dp_jrun *run, const dp_jcall *call, dp_jcase want, dp_jv *out) {
    dp_str text;
    dp_jv same, other;
    TRY(dp_jv_text(run, call->self, &text));
    TRY(dp_jtext_case(run, text, want, &same));
    TRY(dp_jtext_case(run, text, want == DP_JCASE_UPPER ? DP_JCASE_LOWER : DP_JCASE_UPPER, &other));
    *out = dp_jv_bool(dp_str_eq(same.string, text) && !dp_str_eq(other.string, text));
    return DP_OK;
}
static dp_status is_lower(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    return in_case(run, call, DP_JCASE_LOWER, out);
}
static dp_status is_upper(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    return in_case(run, call, DP_JCASE_UPPER, out);
}

static dp_status is_filter(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    (void)run;
    *out = dp_jv_bool(call->self.type == DP_JV_STRING && dp_jfilter_find(call->self.string));
    return DP_OK;
}
static dp_status is_test(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    (void)run;
    *out = dp_jv_bool(call->self.type == DP_JV_STRING && dp_jtest_find(call->self.string));
    return DP_OK;
}

const dp_jfunction *dp_jtest_find(dp_str name) {
    static const dp_jfunction table[] = {
        {"defined", "", is_defined},   {"undefined", "", is_undefined}, {"none", "", is_none},
        {"boolean", "", is_boolean},   {"integer", "", is_integer},     {"float", "", is_float},
        {"number", "", is_number},     {"string", "", is_string},       {"mapping", "", is_mapping},
        {"sequence", "", is_sequence}, {"iterable", "", is_iterable},   {"callable", "", is_callable},
        {"true", "", is_true},         {"false", "", is_false},         {"odd", "", is_odd},
        {"even", "", is_even},         {"divisibleby", "num", is_divisible},
        {"eq", "other", is_eq},        {"equalto", "other", is_eq},     {"==", "other", is_eq},
        {"ne", "other", is_ne},        {"!=", "other", is_ne},          {"lt", "other", is_lt},
        {"lessthan", "other", is_lt},  {"<", "other", is_lt},           {"le", "other", is_le},
        {"<=", "other", is_le},        {"gt", "other", is_gt},          {"greaterthan", "other", is_gt},
        {">", "other", is_gt},         {"ge", "other", is_ge},          {">=", "other", is_ge},
        {"in", "seq", is_in},          {"sameas", "other", is_same},    {"lower", "", is_lower},
        {"upper", "", is_upper},       {"filter", "", is_filter},       {"test", "", is_test},
    };
    for (size_t i = 0; i < DP_COUNT(table); i++)
        if (dp_str_is(name, table[i].name)) return &table[i];
    return NULL;
}

/* ---- functions ---- */

static dp_status range(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    int64_t value[3] = {0, 0, 1};
    if (call->count < 1 || call->count > 3 || call->named_count)
        return dp_jrun_fail(run, DP_E_ARG, "range takes one to three integers");
    for (size_t i = 0; i < call->count; i++) {
        if (call->args[i].type == DP_JV_UNDEFINED) return dp_jv_undefined_error(run, call->args[i]);
        if (!dp_jv_is_int(call->args[i]))
            return dp_jrun_fail(run, DP_E_ARG, "range needs integers, not %s", dp_jv_type_name(call->args[i]));
        value[call->count == 1 ? 1 : i] = dp_jv_to_int(call->args[i]);
    }
    int64_t step = value[2];
    if (step == 0) return dp_jrun_fail(run, DP_E_ARG, "range with step 0");
    dp_jlist *list;
    TRY(dp_jlist_new(run, &list));
    for (int64_t i = value[0]; step > 0 ? i < value[1] : i > value[1];) {
        if (list->count == DP_JRUN_RANGE_MAX)
            return dp_jrun_fail(run, DP_E_UNSUPPORTED, "range of more than %d elements", DP_JRUN_RANGE_MAX);
        TRY(dp_jlist_push(run, list, dp_jv_int(i)));
        if (__builtin_add_overflow(i, step, &i)) break;
    }
    *out = dp_jv_list(DP_JV_LIST, list);
    return DP_OK;
}

static dp_status add_entries(dp_jrun *run, const dp_jdict *from, dp_jdict *dict) {
    for (size_t i = 0; i < from->count; i++) TRY(dp_jdict_set(run, dict, from->entries[i].key, from->entries[i].value));
    return DP_OK;
}

static dp_status add_pairs(dp_jrun *run, dp_jv from, dp_jdict *dict) {
    const dp_jlist *pairs, *pair;
    TRY(dp_jv_iterate(run, from, &pairs));
    for (size_t i = 0; i < pairs->count; i++) {
        TRY(dp_jv_iterate(run, pairs->items[i], &pair));
        if (pair->count != 2) return dp_jrun_fail(run, DP_E_ARG, "dict needs pairs");
        TRY(dp_jdict_set(run, dict, pair->items[0], pair->items[1]));
    }
    return DP_OK;
}

/* dict(pairs or mapping, name=value, ...) into a dict or a namespace. */
static dp_status make_dict(dp_jrun *run, const dp_jcall *call, dp_jv_type type, dp_jv *out) {
    dp_jdict *dict;
    TRY(dp_jdict_new(run, &dict));
    if (call->count && call->args[0].type == DP_JV_DICT) TRY(add_entries(run, call->args[0].dict, dict));
    else if (call->count) TRY(add_pairs(run, call->args[0], dict));
    for (size_t i = 0; i < call->named_count; i++)
        TRY(dp_jdict_set(run, dict, dp_jv_string(call->named[i].name), call->named[i].value));
    *out = (dp_jv){.type = (uint8_t)type, .dict = dict};
    return DP_OK;
}
static dp_status dict(dp_jrun *run, const dp_jcall *call, dp_jv *out) { return make_dict(run, call, DP_JV_DICT, out); }
static dp_status namespace(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    return make_dict(run, call, DP_JV_NAMESPACE, out);
}

static dp_status raise_exception(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    dp_str message = {0};
    (void)out;
    if (call->a[0]) TRY(dp_jv_text(run, *call->a[0], &message));
    return dp_fail(DP_E_ARG, "chat template: %.*s", (int)DP_MIN(message.n, 400), message.n ? message.p : "");
}

static dp_status joiner(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    struct dp_jjoiner *state;
    TRY(dp_jrun_alloc(run, sizeof *state, (void **)&state));
    *state = (struct dp_jjoiner){DP_LIT(", "), false};
    if (call->a[0]) TRY(dp_jarg_string(run, call->a[0], "sep of joiner", &state->separator));
    *out = (dp_jv){.type = DP_JV_JOINER, .joiner = state};
    return DP_OK;
}

static dp_status cycler(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    dp_jlist *list;
    if (!call->count) return dp_jrun_fail(run, DP_E_ARG, "cycler needs values");
    TRY(dp_jlist_new(run, &list));
    for (size_t i = 0; i < call->count; i++) TRY(dp_jlist_push(run, list, call->args[i]));
    *out = dp_jv_list(DP_JV_CYCLER, list);
    return DP_OK;
}

/* ---- the date ---- */

typedef struct moment { int64_t year; int month, day, weekday, yearday, hour, minute, second; } moment;

/* Gregorian calendar from days since 1970, by the 400-year cycle that starts on 1 March. */
static moment moment_of(int64_t seconds) {
    int64_t days = seconds / 86400, rest = seconds % 86400;
    if (rest < 0) rest += 86400, days--;
    int64_t shifted = days + 719468, era = (shifted >= 0 ? shifted : shifted - 146096) / 146097,
            doe = shifted - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365, doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    moment m = {
        .year = yoe + era * 400, .day = (int)(doy - (153 * mp + 2) / 5 + 1), .month = (int)(mp < 10 ? mp + 3 : mp - 9)};
    m.year += m.month <= 2;
    bool leap = (m.year % 4 == 0 && m.year % 100 != 0) || m.year % 400 == 0;
    m.yearday = (int)(m.month > 2 ? doy + 60 + leap : doy - 305);
    m.weekday = (int)(((days + 4) % 7 + 7) % 7);
    m.hour = (int)(rest / 3600), m.minute = (int)(rest / 60 % 60), m.second = (int)(rest % 60);
    return m;
}

/* One conversion of strftime in the C locale, UTC. False if it is unknown. */
static bool put_time(dp_buf *buf, char kind, const moment *m) {
    static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                         "July",    "August",   "September", "October", "November", "December"};
    static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
    int hour12 = m->hour % 12 ? m->hour % 12 : 12;
    switch (kind) {
    case 'Y': dp_buf_printf(buf, "%lld", (long long)m->year); return true;
    case 'y': dp_buf_printf(buf, "%02d", (int)(m->year % 100)); return true;
    case 'm': dp_buf_printf(buf, "%02d", m->month); return true;
    case 'd': dp_buf_printf(buf, "%02d", m->day); return true;
    case 'e': dp_buf_printf(buf, "%2d", m->day); return true;
    case 'j': dp_buf_printf(buf, "%03d", m->yearday); return true;
    case 'H': dp_buf_printf(buf, "%02d", m->hour); return true;
    case 'I': dp_buf_printf(buf, "%02d", hour12); return true;
    case 'M': dp_buf_printf(buf, "%02d", m->minute); return true;
    case 'S': dp_buf_printf(buf, "%02d", m->second); return true;
    case 'p': dp_buf_str(buf, m->hour < 12 ? "AM" : "PM"); return true;
    case 'B': dp_buf_str(buf, months[m->month - 1]); return true;
    case 'b':
    case 'h': dp_buf_append(buf, months[m->month - 1], 3); return true;
    case 'A': dp_buf_str(buf, days[m->weekday]); return true;
    case 'a': dp_buf_append(buf, days[m->weekday], 3); return true;
    case 'w': dp_buf_printf(buf, "%d", m->weekday); return true;
    case 'F': dp_buf_printf(buf, "%lld-%02d-%02d", (long long)m->year, m->month, m->day); return true;
    case 'T': dp_buf_printf(buf, "%02d:%02d:%02d", m->hour, m->minute, m->second); return true;
    case 'Z': return true; /* a naive time has no zone */
    case '%': dp_buf_char(buf, '%'); return true;
    default: return false;
    }
}

static dp_status strftime_now(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    dp_str format;
    TRY(dp_jarg_string(run, call->a[0], "format of strftime_now", &format));
    moment m = moment_of(run->now);
    dp_buf buf = {0};
    for (size_t i = 0; i < format.n; i++) {
        if (format.p[i] != '%') {
            dp_buf_char(&buf, format.p[i]);
            continue;
        }
        bool bare = i + 1 < format.n && format.p[i + 1] == '-'; /* "%-d": without the leading zero */
        i += 1 + bare;
        size_t start = buf.size;
        if (i >= format.n || !put_time(&buf, format.p[i], &m)) {
            dp_buf_free(&buf);
            return dp_jrun_fail(run, DP_E_UNSUPPORTED, "strftime_now with '%%%c'", i < format.n ? format.p[i] : ' ');
        }
        if (bare && buf.size > start + 1 && (buf.data[start] == '0' || buf.data[start] == ' ')) {
            memmove(buf.data + start, buf.data + start + 1, buf.size - start);
            buf.size--;
        }
    }
    return dp_jrun_take(run, &buf, out);
}

const dp_jfunction *dp_jglobal_at(size_t i) {
    static const dp_jfunction table[] = {
        {"range", NULL, range},
        {"dict", NULL, dict},
        {"namespace", NULL, namespace},
        {"raise_exception", "message", raise_exception},
        {"strftime_now", "format", strftime_now},
        {"joiner", "sep", joiner},
        {"cycler", NULL, cycler},
    };
    return i < DP_COUNT(table) ? &table[i] : NULL;
}
