/* jinja_ops.c: arithmetic, comparison, indexing and slicing with Python's rules, on 64-bit integers: what would need
 * more bits is an error, never a wrapped number. */
#include "text/jinja_ast.h"

#include <math.h>

static dp_status type_error(dp_jrun *run, const char *op, const dp_jv v[2]) {
    for (int i = 0; i < 2; i++)
        if (v[i].type == DP_JV_UNDEFINED) return dp_jv_undefined_error(run, v[i]);
    return dp_jrun_fail(run, DP_E_ARG, "'%s' does not work on %s and %s", op, dp_jv_type_name(v[0]),
                        dp_jv_type_name(v[1]));
}

static dp_status overflow(dp_jrun *run) { return dp_jrun_fail(run, DP_E_UNSUPPORTED, "integer beyond 64 bits"); }

/* ---- arithmetic ---- */

static bool power(int64_t base, int64_t exponent, int64_t *out) {
    *out = 1;
    for (int64_t i = 0; i < exponent; i++) {
        if (__builtin_mul_overflow(*out, base, out)) return false;
        if (base >= -1 && base <= 1) return *out = base >= 0 ? base : exponent % 2 ? -1 : 1, true;
    }
    return true;
}

static dp_status integers(dp_jrun *run, dp_jop op, int64_t a, int64_t b, dp_jv *out) {
    int64_t r = 0;
    bool fits = true;
    if (b == 0 && (op == DP_JOP_FLOORDIV || op == DP_JOP_MOD)) return dp_jrun_fail(run, DP_E_ARG, "division by zero");
    switch (op) {
    case DP_JOP_ADD: fits = !__builtin_add_overflow(a, b, &r); break;
    case DP_JOP_SUB: fits = !__builtin_sub_overflow(a, b, &r); break;
    case DP_JOP_MUL: fits = !__builtin_mul_overflow(a, b, &r); break;
    case DP_JOP_POW: fits = power(a, b, &r); break;
    case DP_JOP_FLOORDIV:
        fits = !(a == INT64_MIN && b == -1);
        if (fits) r = a / b - (a % b != 0 && (a < 0) != (b < 0));
        break;
    default: /* the remainder has the divisor's sign */
        r = b == -1 ? 0 : a % b;
        if (r && (r < 0) != (b < 0)) r += b;
    }
    *out = dp_jv_int(r);
    return fits ? DP_OK : overflow(run);
}

static dp_status floats(dp_jrun *run, dp_jop op, double a, double b, dp_jv *out) {
    double r;
    if (b == 0 && (op == DP_JOP_DIV || op == DP_JOP_FLOORDIV || op == DP_JOP_MOD))
        return dp_jrun_fail(run, DP_E_ARG, "division by zero");
    switch (op) {
    case DP_JOP_ADD: r = a + b; break;
    case DP_JOP_SUB: r = a - b; break;
    case DP_JOP_MUL: r = a * b; break;
    case DP_JOP_DIV: r = a / b; break;
    case DP_JOP_FLOORDIV: r = floor(a / b); break;
    case DP_JOP_POW: r = pow(a, b); break;
    default:
        r = fmod(a, b);
        if (r != 0 && (r < 0) != (b < 0)) r += b;
    }
    *out = dp_jv_float(r);
    return DP_OK;
}

static dp_status join_strings(dp_jrun *run, dp_str a, dp_str b, dp_jv *out) {
    char *text;
    if (a.n + b.n > DP_JINJA_TEXT_MAX)
        return dp_jrun_fail(run, DP_E_UNSUPPORTED, "a string longer than %d MiB", DP_JINJA_TEXT_MAX >> 20);
    TRY(dp_jrun_alloc(run, a.n + b.n + 1, (void **)&text));
    if (a.n) memcpy(text, a.p, a.n);
    if (b.n) memcpy(text + a.n, b.p, b.n);
    *out = dp_jv_string((dp_str){text, a.n + b.n});
    return dp_jrun_tick(run, (a.n + b.n) / 32);
}

static dp_status append_all(dp_jrun *run, dp_jlist *list, const dp_jlist *from) {
    for (size_t i = 0; i < from->count; i++) TRY(dp_jlist_push(run, list, from->items[i]));
    return DP_OK;
}

static dp_status add(dp_jrun *run, const dp_jv v[2], dp_jv *out) {
    if (v[0].type == DP_JV_STRING && v[1].type == DP_JV_STRING) return join_strings(run, v[0].string, v[1].string, out);
    if (v[0].type != v[1].type || (v[0].type != DP_JV_LIST && v[0].type != DP_JV_TUPLE)) return type_error(run, "+", v);
    dp_jlist *list;
    TRY(dp_jlist_new(run, &list));
    TRY(append_all(run, list, v[0].list));
    TRY(append_all(run, list, v[1].list));
    *out = dp_jv_list((dp_jv_type)v[0].type, list);
    return DP_OK;
}

/* "ab" * 3, [0] * 3, and the other way round. */
static dp_status repeat(dp_jrun *run, const dp_jv v[2], dp_jv *out) {
    bool swapped = dp_jv_is_int(v[0]);
    dp_jv what = v[swapped], times = v[!swapped];
    if (!dp_jv_is_int(times)) return type_error(run, "*", v);
    int64_t n = DP_MAX(dp_jv_to_int(times), 0);
    if (what.type == DP_JV_STRING) {
        if (what.string.n && n > DP_JINJA_TEXT_MAX / (int64_t)what.string.n)
            return dp_jrun_fail(run, DP_E_UNSUPPORTED, "a string longer than %d MiB", DP_JINJA_TEXT_MAX >> 20);
        dp_buf buf = {0};
        for (int64_t i = 0; i < n && what.string.n; i++) dp_buf_append(&buf, what.string.p, what.string.n);
        return dp_jrun_take(run, &buf, out);
    }
    if (what.type != DP_JV_LIST && what.type != DP_JV_TUPLE) return type_error(run, "*", v);
    dp_jlist *list;
    TRY(dp_jlist_new(run, &list));
    for (int64_t i = 0; i < n && what.list->count; i++) TRY(append_all(run, list, what.list));
    *out = dp_jv_list((dp_jv_type)what.type, list);
    return DP_OK;
}

dp_status dp_jop_binary(dp_jrun *run, dp_jop op, const dp_jv v[2], dp_jv *out) {
    static const char *const names[] = {"+", "-", "*", "/", "//", "%", "**"};
    if (dp_jv_is_number(v[0]) && dp_jv_is_number(v[1])) {
        bool ints = dp_jv_is_int(v[0]) && dp_jv_is_int(v[1]) && op != DP_JOP_DIV;
        if (op == DP_JOP_POW && ints) ints = dp_jv_to_int(v[1]) >= 0;
        if (ints) return integers(run, op, dp_jv_to_int(v[0]), dp_jv_to_int(v[1]), out);
        return floats(run, op, dp_jv_to_double(v[0]), dp_jv_to_double(v[1]), out);
    }
    if (op == DP_JOP_ADD) return add(run, v, out);
    if (op == DP_JOP_MUL) return repeat(run, v, out);
    if (op == DP_JOP_MOD && v[0].type == DP_JV_STRING) {
        dp_jcall call = {.self = v[0], .args = v[1].type == DP_JV_TUPLE ? v[1].list->items : &v[1],
                         .count = v[1].type == DP_JV_TUPLE ? v[1].list->count : 1};
        return dp_jcall_run(run, dp_jfilter_find(DP_LIT("format")), "filter", &call, out);
    }
    return type_error(run, names[op], v);
}

dp_status dp_jop_compare(dp_jrun *run, dp_jop op, const dp_jv v[2], bool *out) {
    int order;
    if (op == DP_JOP_EQ || op == DP_JOP_NE) {
        TRY(dp_jv_equal(run, v[0], v[1], out));
        *out ^= op == DP_JOP_NE;
        return DP_OK;
    }
    if (op == DP_JOP_IN || op == DP_JOP_NOT_IN) {
        TRY(dp_jv_contains(run, v[1], v[0], out));
        *out ^= op == DP_JOP_NOT_IN;
        return DP_OK;
    }
    TRY(dp_jv_compare(run, v[0], v[1], &order));
    *out = op == DP_JOP_LT ? order < 0 : op == DP_JOP_LE ? order <= 0 : op == DP_JOP_GT ? order > 0 : order >= 0;
    return DP_OK;
}

/* ---- parts of a value ---- */

static dp_jv missing(dp_str name) { return (dp_jv){.type = DP_JV_UNDEFINED, .string = name}; }

/* Attributes that are no methods; *out stays as it is when there is none of that name. */
static dp_status plain_attribute(dp_jv object, dp_str name, dp_jv *out) {
    if (object.type == DP_JV_NAMESPACE || object.type == DP_JV_DICT) {
        const dp_jv *member = dp_jdict_find(object.dict, dp_jv_string(name));
        if (member) *out = *member;
        return DP_OK;
    }
    if (object.type == DP_JV_MACRO && dp_str_is(name, "name")) *out = dp_jv_string(object.macro->code->name);
    if (object.type != DP_JV_LOOP) return DP_OK;
    const dp_jloop *loop = object.loop;
    int64_t i = (int64_t)loop->index, n = (int64_t)loop->list->count;
    if (dp_str_is(name, "index")) *out = dp_jv_int(i + 1);
    else if (dp_str_is(name, "index0")) *out = dp_jv_int(i);
    else if (dp_str_is(name, "revindex")) *out = dp_jv_int(n - i);
    else if (dp_str_is(name, "revindex0")) *out = dp_jv_int(n - i - 1);
    else if (dp_str_is(name, "first")) *out = dp_jv_bool(i == 0);
    else if (dp_str_is(name, "last")) *out = dp_jv_bool(i == n - 1);
    else if (dp_str_is(name, "length")) *out = dp_jv_int(n);
    else if (dp_str_is(name, "depth")) *out = dp_jv_int(1); /* of recursive loops, which there are none of */
    else if (dp_str_is(name, "depth0")) *out = dp_jv_int(0);
    else if (dp_str_is(name, "previtem")) *out = i ? loop->list->items[i - 1] : missing(DP_LIT("loop.previtem"));
    else if (dp_str_is(name, "nextitem"))
        *out = i < n - 1 ? loop->list->items[i + 1] : missing(DP_LIT("loop.nextitem"));
    return DP_OK;
}

static dp_status bind_method(dp_jrun *run, dp_jv object, dp_str name, dp_jv *out) {
    const dp_jfunction *function = dp_jmethod_find(object, name);
    if (!function) return DP_OK;
    dp_jmethod *method;
    TRY(dp_jrun_alloc(run, sizeof *method, (void **)&method));
    *method = (dp_jmethod){function, object};
    *out = (dp_jv){.type = DP_JV_METHOD, .method = method};
    return DP_OK;
}

dp_status dp_jv_attribute(dp_jrun *run, dp_jv object, dp_str name, dp_jv *out) {
    if (object.type == DP_JV_UNDEFINED) return dp_jv_undefined_error(run, object);
    *out = missing(name);
    if (object.type != DP_JV_NAMESPACE) TRY(bind_method(run, object, name, out));
    if (out->type != DP_JV_UNDEFINED) return DP_OK;
    return plain_attribute(object, name, out);
}

static dp_status character(dp_jrun *run, dp_str s, int64_t index, dp_jv *out) {
    TRY(dp_jrun_tick(run, s.n / 32));
    if (index < 0) index += dp_jtext_length(s);
    size_t offset = index < 0 ? s.n : dp_jtext_offset(s, index);
    if (offset < s.n) *out = dp_jv_string((dp_str){s.p + offset, dp_jtext_char(s.p + offset, s.n - offset, NULL)});
    return DP_OK;
}

dp_status dp_jv_item(dp_jrun *run, dp_jv object, dp_jv key, dp_jv *out) {
    if (object.type == DP_JV_UNDEFINED) return dp_jv_undefined_error(run, object);
    *out = missing(key.type == DP_JV_STRING ? key.string : DP_LIT("element"));
    if (object.type == DP_JV_DICT) {
        const dp_jv *member = dp_jdict_find(object.dict, key);
        if (member) return *out = *member, DP_OK;
    }
    if (key.type == DP_JV_STRING) return dp_jv_attribute(run, object, key.string, out);
    if (!dp_jv_is_int(key)) return DP_OK;
    int64_t index = dp_jv_to_int(key);
    if (object.type == DP_JV_STRING) return character(run, object.string, index, out);
    if (object.type != DP_JV_LIST && object.type != DP_JV_TUPLE) return DP_OK;
    if (index < 0) index += (int64_t)object.list->count;
    if (index >= 0 && index < (int64_t)object.list->count) *out = object.list->items[index];
    return DP_OK;
}

/* ---- slices ---- */

typedef struct slice { int64_t start, stop, step; } slice;

/* Python's rules for negative and missing bounds. */
static dp_status slice_bounds(dp_jrun *run, const dp_jv bounds[3], int64_t length, slice *out) {
    int64_t value[3];
    for (int i = 0; i < 3; i++) {
        if (bounds[i].type != DP_JV_NONE && !dp_jv_is_int(bounds[i])) {
            if (bounds[i].type == DP_JV_UNDEFINED) return dp_jv_undefined_error(run, bounds[i]);
            return dp_jrun_fail(run, DP_E_ARG, "a slice needs integers, not %s", dp_jv_type_name(bounds[i]));
        }
        value[i] = bounds[i].type == DP_JV_NONE ? 0 : dp_jv_to_int(bounds[i]);
    }
    int64_t step = bounds[2].type == DP_JV_NONE ? 1 : value[2];
    if (step == 0) return dp_jrun_fail(run, DP_E_ARG, "a slice with step 0");
    step = DP_MAX(DP_MIN(step, length + 1), -length - 1);
    int64_t low = step < 0 ? -1 : 0, high = step < 0 ? length - 1 : length;
    for (int i = 0; i < 2; i++) {
        if (value[i] < 0) value[i] = DP_MAX(value[i], -length - 1) + length;
        value[i] = DP_MAX(DP_MIN(value[i], high), low);
    }
    out->start = bounds[0].type != DP_JV_NONE ? value[0] : step < 0 ? high : low;
    out->stop = bounds[1].type != DP_JV_NONE ? value[1] : step < 0 ? low : high;
    out->step = step;
    return DP_OK;
}

static bool slice_has(const slice *s, int64_t i) { return s->step > 0 ? i < s->stop : i > s->stop; }

static dp_status slice_list(dp_jrun *run, dp_jv object, const slice *s, dp_jv *out) {
    dp_jlist *list;
    TRY(dp_jlist_new(run, &list));
    for (int64_t i = s->start; slice_has(s, i); i += s->step) TRY(dp_jlist_push(run, list, object.list->items[i]));
    *out = dp_jv_list((dp_jv_type)object.type, list);
    return DP_OK;
}

static dp_status slice_string(dp_jrun *run, dp_str text, const slice *s, dp_jv *out) {
    if (s->step == 1) {
        size_t from = dp_jtext_offset(text, s->start);
        dp_str rest = {text.p + from, text.n - from};
        *out = dp_jv_string((dp_str){rest.p, dp_jtext_offset(rest, s->stop - s->start)});
        return dp_jrun_tick(run, text.n / 32);
    }
    const dp_jlist *characters;
    TRY(dp_jv_iterate(run, dp_jv_string(text), &characters));
    dp_buf buf = {0};
    for (int64_t i = s->start; slice_has(s, i); i += s->step)
        dp_buf_append(&buf, characters->items[i].string.p, characters->items[i].string.n);
    return dp_jrun_take(run, &buf, out);
}

dp_status dp_jop_slice(dp_jrun *run, dp_jv object, const dp_jv bounds[3], dp_jv *out) {
    slice s = {0};
    int64_t length;
    if (object.type == DP_JV_UNDEFINED) return dp_jv_undefined_error(run, object);
    if (object.type != DP_JV_STRING && object.type != DP_JV_LIST && object.type != DP_JV_TUPLE)
        return dp_jrun_fail(run, DP_E_ARG, "%s cannot be sliced", dp_jv_type_name(object));
    TRY(dp_jv_length(run, object, &length));
    TRY(slice_bounds(run, bounds, length, &s));
    return object.type == DP_JV_STRING ? slice_string(run, object.string, &s, out) : slice_list(run, object, &s, out);
}
