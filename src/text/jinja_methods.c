/* jinja_methods.c: methods of strings, dicts, lists, cyclers and the loop variable. Those that would change a list or
 * dict do not exist, as in the sandbox that transformers renders in. */
#include "text/jinja_value.h"

#include "text/jinja_ast.h"

/* ---- strings ---- */

static dp_status strip_sides(dp_jrun *run, const dp_jcall *call, bool left, bool right, dp_jv *out) {
    dp_str set;
    bool given = call->a[0] && call->a[0]->type != DP_JV_NONE;
    if (given) TRY(dp_jarg_string(run, call->a[0], "chars of strip", &set));
    if (given && set.n > 256)
        return dp_jrun_fail(run, DP_E_UNSUPPORTED, "strip with more than 256 bytes of characters");
    TRY(dp_jrun_tick(run, call->self.string.n / 32));
    *out = dp_jv_string(dp_jtext_strip(call->self.string, given ? &set : NULL, left, right));
    return DP_OK;
}
static dp_status strip(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    return strip_sides(run, call, true, true, out);
}
static dp_status lstrip(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    return strip_sides(run, call, true, false, out);
}
static dp_status rstrip(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    return strip_sides(run, call, false, true, out);
}

static dp_status upper(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    return dp_jtext_case(run, call->self.string, DP_JCASE_UPPER, out);
}
static dp_status lower(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    return dp_jtext_case(run, call->self.string, DP_JCASE_LOWER, out);
}
static dp_status title(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    return dp_jtext_case(run, call->self.string, DP_JCASE_TITLE, out);
}
static dp_status capitalize(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    return dp_jtext_case(run, call->self.string, DP_JCASE_CAPITAL, out);
}

static bool starts_or_ends(dp_str s, dp_str part, bool end) {
    if (part.n > s.n) return false;
    return dp_str_eq((dp_str){s.p + (end ? s.n - part.n : 0), part.n}, part);
}

/* The argument is a string or a tuple of them. */
static dp_status affix(dp_jrun *run, const dp_jcall *call, bool end, dp_jv *out) {
    dp_str part;
    bool hit = false;
    const dp_jv *arg = call->a[0];
    size_t count = arg && arg->type == DP_JV_TUPLE ? arg->list->count : 1;
    for (size_t i = 0; i < count && !hit; i++) {
        TRY(dp_jarg_string(run, arg && arg->type == DP_JV_TUPLE ? &arg->list->items[i] : arg, "prefix or suffix",
                           &part));
        TRY(dp_jrun_tick(run, part.n / 32));
        hit = starts_or_ends(call->self.string, part, end);
    }
    *out = dp_jv_bool(hit);
    return DP_OK;
}
static dp_status startswith(dp_jrun *run, const dp_jcall *call, dp_jv *out) { return affix(run, call, false, out); }
static dp_status endswith(dp_jrun *run, const dp_jcall *call, dp_jv *out) { return affix(run, call, true, out); }

static dp_status remove_affix(dp_jrun *run, const dp_jcall *call, bool end, dp_jv *out) {
    dp_str s = call->self.string, part;
    TRY(dp_jarg_string(run, call->a[0], "prefix or suffix", &part));
    if (starts_or_ends(s, part, end)) s = (dp_str){s.p + (end ? 0 : part.n), s.n - part.n};
    *out = dp_jv_string(s);
    return dp_jrun_tick(run, part.n / 32);
}
static dp_status removeprefix(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    return remove_affix(run, call, false, out);
}
static dp_status removesuffix(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    return remove_affix(run, call, true, out);
}

static dp_status replace(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    dp_str pair[2];
    for (int i = 0; i < 2; i++) TRY(dp_jarg_string(run, call->a[i], "an argument of replace", &pair[i]));
    return dp_jtext_replace(run, call->self.string, pair, dp_jarg_int(call->a[2], -1), out);
}

static dp_status join(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    const dp_jlist *list;
    dp_str ignored;
    if (!call->a[0]) return dp_jfunction_missing(run, "the sequence of join");
    TRY(dp_jv_iterate(run, *call->a[0], &list));
    for (size_t i = 0; i < list->count; i++) TRY(dp_jarg_string(run, &list->items[i], "an element of join", &ignored));
    return dp_jtext_join(run, list, call->self.string, out);
}

/* Last occurrence that ends at or before `end`. */
static dp_status find_last(dp_jrun *run, dp_str s, dp_str what, size_t end, size_t *at) {
    *at = SIZE_MAX;
    for (size_t i = end; i >= what.n; i--) {
        TRY(dp_jrun_tick(run, 1 + what.n / 64));
        if (what.n == 0 || memcmp(s.p + i - what.n, what.p, what.n) == 0) return *at = i - what.n, DP_OK;
        if (i == 0) break;
    }
    return DP_OK;
}

static dp_status position(dp_jrun *run, const dp_jcall *call, bool from_end, dp_jv *out) {
    dp_str s = call->self.string, what;
    size_t at;
    TRY(dp_jarg_string(run, call->a[0], "what find looks for", &what));
    TRY(from_end ? find_last(run, s, what, s.n, &at) : dp_jtext_find(run, s, what, 0, &at));
    *out = dp_jv_int(at == SIZE_MAX ? -1 : dp_jtext_length((dp_str){s.p, at}));
    return DP_OK;
}
static dp_status find(dp_jrun *run, const dp_jcall *call, dp_jv *out) { return position(run, call, false, out); }
static dp_status rfind(dp_jrun *run, const dp_jcall *call, dp_jv *out) { return position(run, call, true, out); }

static dp_status count(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    dp_str what;
    int64_t n = 0;
    TRY(dp_jarg_string(run, call->a[0], "what count looks for", &what));
    if (!what.n) return *out = dp_jv_int(dp_jtext_length(call->self.string) + 1), DP_OK;
    for (size_t from = 0, at;; n++, from = at + what.n) {
        TRY(dp_jtext_find(run, call->self.string, what, from, &at));
        if (at == SIZE_MAX) break;
    }
    *out = dp_jv_int(n);
    return DP_OK;
}

/* ---- split ---- */

static dp_str between(dp_str s, size_t from, size_t to) { return (dp_str){s.p + from, to - from}; }

static dp_status split_space(dp_jrun *run, dp_str s, int64_t limit, dp_jlist *list) {
    for (;;) {
        s = dp_jtext_strip(s, NULL, true, false);
        if (!s.n) return DP_OK;
        size_t end = 0, n = 0;
        uint32_t c;
        for (; end < s.n; end += n) {
            n = dp_jtext_char(s.p + end, s.n - end, &c);
            if (dp_jtext_is_space(c)) break;
        }
        if (limit-- == 0) return dp_jlist_push(run, list, dp_jv_string(dp_jtext_strip(s, NULL, false, false)));
        TRY(dp_jlist_push(run, list, dp_jv_string(between(s, 0, end))));
        TRY(dp_jrun_tick(run, end / 32));
        s = between(s, end, s.n);
    }
}

static dp_status split_by(dp_jrun *run, dp_str s, dp_str separator, int64_t limit, dp_jlist *list) {
    size_t from = 0, at;
    for (; limit != 0; limit--) {
        TRY(dp_jtext_find(run, s, separator, from, &at));
        if (at == SIZE_MAX) break;
        TRY(dp_jlist_push(run, list, dp_jv_string(between(s, from, at))));
        from = at + separator.n;
    }
    return dp_jlist_push(run, list, dp_jv_string(between(s, from, s.n)));
}

static dp_status rsplit_by(dp_jrun *run, dp_str s, dp_str separator, int64_t limit, dp_jlist *list) {
    size_t end = s.n, at;
    for (; limit != 0; limit--) {
        TRY(find_last(run, s, separator, end, &at));
        if (at == SIZE_MAX) break;
        TRY(dp_jlist_push(run, list, dp_jv_string(between(s, at + separator.n, end))));
        end = at;
    }
    TRY(dp_jlist_push(run, list, dp_jv_string(between(s, 0, end))));
    for (size_t i = 0, j = list->count - 1; i < j; i++, j--) {
        dp_jv swap = list->items[i];
        list->items[i] = list->items[j];
        list->items[j] = swap;
    }
    return DP_OK;
}

static dp_status split_from(dp_jrun *run, const dp_jcall *call, bool from_end, dp_jv *out) {
    dp_jlist *list;
    dp_str separator;
    int64_t limit = dp_jarg_int(call->a[1], -1);
    TRY(dp_jlist_new(run, &list));
    *out = dp_jv_list(DP_JV_LIST, list);
    if (!call->a[0] || call->a[0]->type == DP_JV_NONE) {
        if (from_end && limit >= 0) return dp_jrun_fail(run, DP_E_UNSUPPORTED, "rsplit at white space with a limit");
        return split_space(run, call->self.string, limit, list);
    }
    TRY(dp_jarg_string(run, call->a[0], "sep of split", &separator));
    if (!separator.n) return dp_jrun_fail(run, DP_E_ARG, "split with an empty separator");
    return from_end ? rsplit_by(run, call->self.string, separator, limit, list)
                    : split_by(run, call->self.string, separator, limit, list);
}
static dp_status split(dp_jrun *run, const dp_jcall *call, dp_jv *out) { return split_from(run, call, false, out); }
static dp_status rsplit(dp_jrun *run, const dp_jcall *call, dp_jv *out) { return split_from(run, call, true, out); }

static dp_status partition_at(dp_jrun *run, const dp_jcall *call, bool from_end, dp_jv *out) {
    dp_str s = call->self.string, separator, parts[3];
    dp_jlist *list;
    size_t at;
    TRY(dp_jarg_string(run, call->a[0], "sep of partition", &separator));
    if (!separator.n) return dp_jrun_fail(run, DP_E_ARG, "partition with an empty separator");
    TRY(from_end ? find_last(run, s, separator, s.n, &at) : dp_jtext_find(run, s, separator, 0, &at));
    bool found = at != SIZE_MAX;
    parts[0] = found ? between(s, 0, at) : from_end ? DP_LIT("") : s;
    parts[1] = found ? separator : DP_LIT("");
    parts[2] = found ? between(s, at + separator.n, s.n) : from_end ? s : DP_LIT("");
    TRY(dp_jlist_new(run, &list));
    for (int i = 0; i < 3; i++) TRY(dp_jlist_push(run, list, dp_jv_string(parts[i])));
    *out = dp_jv_list(DP_JV_TUPLE, list);
    return DP_OK;
}
static dp_status partition(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    return partition_at(run, call, false, out);
}
static dp_status rpartition(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    return partition_at(run, call, true, out);
}

static dp_status splitlines(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    dp_jlist *list;
    TRY(dp_jlist_new(run, &list));
    *out = dp_jv_list(DP_JV_LIST, list);
    return dp_jtext_lines(run, call->self.string, dp_jarg_truth(call->a[0], false), list);
}

/* ---- characters of a string all of one kind (ASCII) ---- */

static dp_status all_of(const dp_jcall *call, const char *set, dp_jv *out) {
    bool all = call->self.string.n > 0;
    for (size_t i = 0; i < call->self.string.n && all; i++) {
        char c = call->self.string.p[i];
        all = c && strchr(set, c);
    }
    *out = dp_jv_bool(all);
    return DP_OK;
}
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
static dp_status isdigit_all(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    TRY(dp_jrun_tick(run, call->self.string.n / 32));
    return all_of(call, "0123456789", out);
}
static dp_status isalpha_all(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    TRY(dp_jrun_tick(run, call->self.string.n / 32));
    return all_of(call, LETTERS, out);
}
static dp_status isalnum_all(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    TRY(dp_jrun_tick(run, call->self.string.n / 32));
    return all_of(call, "0123456789" LETTERS, out);
}
static dp_status isspace_all(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    TRY(dp_jrun_tick(run, call->self.string.n / 32));
    *out = dp_jv_bool(call->self.string.n && !dp_jtext_strip(call->self.string, NULL, true, false).n);
    return DP_OK;
}

/* ---- dicts ---- */

static dp_status members(dp_jrun *run, const dp_jcall *call, bool keys, dp_jv *out) {
    dp_jlist *list;
    TRY(dp_jlist_new(run, &list));
    for (size_t i = 0; i < call->self.dict->count; i++)
        TRY(dp_jlist_push(run, list, keys ? call->self.dict->entries[i].key : call->self.dict->entries[i].value));
    *out = dp_jv_list(DP_JV_LIST, list);
    return DP_OK;
}
static dp_status keys(dp_jrun *run, const dp_jcall *call, dp_jv *out) { return members(run, call, true, out); }
static dp_status values(dp_jrun *run, const dp_jcall *call, dp_jv *out) { return members(run, call, false, out); }

static dp_status items(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    dp_jlist *list;
    TRY(dp_jlist_new(run, &list));
    for (size_t i = 0; i < call->self.dict->count; i++) {
        dp_jv pair;
        TRY(dp_jlist_pair(run, call->self.dict->entries[i].key, call->self.dict->entries[i].value, &pair));
        TRY(dp_jlist_push(run, list, pair));
    }
    *out = dp_jv_list(DP_JV_LIST, list);
    return DP_OK;
}

static dp_status get(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    if (!call->a[0]) return dp_jfunction_missing(run, "the key of get");
    const dp_jv *member = dp_jdict_find(call->self.dict, *call->a[0]);
    *out = member ? *member : call->a[1] ? *call->a[1] : dp_jv_none();
    return DP_OK;
}

static dp_status copy(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    (void)run;
    *out = call->self; /* values are immutable */
    return DP_OK;
}

static dp_status forbidden(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    (void)out;
    return dp_jrun_fail(run, DP_E_UNSUPPORTED,
                        "a method that changes a %s; templates are rendered without such methods",
                        dp_jv_type_name(call->self));
}

/* ---- lists ---- */

static dp_status list_index(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    if (!call->a[0]) return dp_jfunction_missing(run, "what index looks for");
    for (size_t i = 0; i < call->self.list->count; i++) {
        bool same;
        TRY(dp_jv_equal(run, call->self.list->items[i], *call->a[0], &same));
        if (same) return *out = dp_jv_int((int64_t)i), DP_OK;
    }
    return dp_jrun_fail(run, DP_E_ARG, "index: the value is not in the %s", dp_jv_type_name(call->self));
}

static dp_status list_count(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    int64_t n = 0;
    if (!call->a[0]) return dp_jfunction_missing(run, "what count looks for");
    for (size_t i = 0; i < call->self.list->count; i++) {
        bool same;
        TRY(dp_jv_equal(run, call->self.list->items[i], *call->a[0], &same));
        n += same;
    }
    *out = dp_jv_int(n);
    return DP_OK;
}

/* ---- loop and cycler ---- */

static dp_status loop_cycle(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    if (!call->count) return dp_jfunction_missing(run, "what cycle chooses from");
    *out = call->args[call->self.loop->index % call->count];
    return DP_OK;
}

static dp_status loop_changed(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    dp_jlist *list;
    bool same = false;
    TRY(dp_jlist_new(run, &list));
    for (size_t i = 0; i < call->count; i++) TRY(dp_jlist_push(run, list, call->args[i]));
    dp_jv now = dp_jv_list(DP_JV_TUPLE, list);
    if (call->self.loop->changed.type != DP_JV_UNSET) TRY(dp_jv_equal(run, call->self.loop->changed, now, &same));
    call->self.loop->changed = now;
    *out = dp_jv_bool(!same);
    return DP_OK;
}

static dp_status cycler_next(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    (void)run;
    dp_jlist *list = call->self.list;
    *out = list->items[list->position];
    list->position = (list->position + 1) % list->count;
    return DP_OK;
}

static dp_status cycler_reset(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    (void)run;
    call->self.list->position = 0;
    *out = dp_jv_none();
    return DP_OK;
}

/* ---- tables ---- */

static const dp_jfunction string_methods[] = {
    {"strip", "chars", strip},
    {"lstrip", "chars", lstrip},
    {"rstrip", "chars", rstrip},
    {"split", "sep maxsplit", split},
    {"rsplit", "sep maxsplit", rsplit},
    {"partition", "sep", partition},
    {"rpartition", "sep", rpartition},
    {"splitlines", "keepends", splitlines},
    {"startswith", "prefix", startswith},
    {"endswith", "suffix", endswith},
    {"removeprefix", "prefix", removeprefix},
    {"removesuffix", "suffix", removesuffix},
    {"upper", "", upper},
    {"lower", "", lower},
    {"title", "", title},
    {"capitalize", "", capitalize},
    {"replace", "old new count", replace},
    {"join", "iterable", join},
    {"find", "sub", find},
    {"rfind", "sub", rfind},
    {"count", "sub", count},
    {"isdigit", "", isdigit_all},
    {"isalpha", "", isalpha_all},
    {"isalnum", "", isalnum_all},
    {"isspace", "", isspace_all},
};
static const dp_jfunction dict_methods[] = {
    {"items", "", items},   {"keys", "", keys},        {"values", "", values},      {"get", "key default", get},
    {"copy", "", copy},     {"pop", NULL, forbidden},  {"update", NULL, forbidden}, {"setdefault", NULL, forbidden},
    {"clear", NULL, forbidden}, {"popitem", NULL, forbidden},
};
static const dp_jfunction list_methods[] = {
    {"index", "value", list_index}, {"count", "value", list_count}, {"copy", "", copy},
    {"append", NULL, forbidden},    {"pop", NULL, forbidden},       {"insert", NULL, forbidden},
    {"extend", NULL, forbidden},    {"remove", NULL, forbidden},    {"reverse", NULL, forbidden},
    {"sort", NULL, forbidden},      {"clear", NULL, forbidden},
};
static const dp_jfunction loop_methods[] = {{"cycle", NULL, loop_cycle}, {"changed", NULL, loop_changed}};
static const dp_jfunction cycler_methods[] = {{"next", "", cycler_next}, {"reset", "", cycler_reset}};

const dp_jfunction *dp_jmethod_find(dp_jv object, dp_str name) {
    const dp_jfunction *table = NULL;
    size_t n = 0;
    switch ((dp_jv_type)object.type) {
    case DP_JV_STRING: table = string_methods, n = DP_COUNT(string_methods); break;
    case DP_JV_DICT: table = dict_methods, n = DP_COUNT(dict_methods); break;
    case DP_JV_LIST: table = list_methods, n = DP_COUNT(list_methods); break;
    case DP_JV_TUPLE: table = list_methods, n = 2; break;
    case DP_JV_LOOP: table = loop_methods, n = DP_COUNT(loop_methods); break;
    case DP_JV_CYCLER: table = cycler_methods, n = DP_COUNT(cycler_methods); break;
    default: break;
    }
    for (size_t i = 0; i < n; i++)
        if (dp_str_is(name, table[i].name)) return &table[i];
    return NULL;
}
