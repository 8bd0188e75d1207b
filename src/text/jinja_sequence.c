/* jinja_sequence.c: filters that go through a sequence: choosing, ordering, joining, mapping. */
#include "text/jinja_filters.h"

static dp_status first(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    const dp_jlist *list;
    TRY(dp_jv_iterate(run, call->self, &list));
    *out = list->count ? list->items[0] : (dp_jv){.type = DP_JV_UNDEFINED, .string = DP_LIT("first")};
    return DP_OK;
}

static dp_status last(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    const dp_jlist *list;
    TRY(dp_jv_iterate(run, call->self, &list));
    *out = list->count ? list->items[list->count - 1] : (dp_jv){.type = DP_JV_UNDEFINED, .string = DP_LIT("last")};
    return DP_OK;
}

static dp_status length(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    int64_t n;
    TRY(dp_jv_length(run, call->self, &n));
    *out = dp_jv_int(n);
    return DP_OK;
}

static dp_status list_of(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    const dp_jlist *list;
    TRY(dp_jv_iterate(run, call->self, &list));
    *out = dp_jv_list(DP_JV_LIST, (dp_jlist *)list);
    return DP_OK;
}

static dp_status reverse(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    const dp_jlist *list;
    dp_jlist *reversed;
    TRY(dp_jv_iterate(run, call->self, &list));
    TRY(dp_jlist_new(run, &reversed));
    for (size_t i = list->count; i-- > 0;) TRY(dp_jlist_push(run, reversed, list->items[i]));
    if (call->self.type == DP_JV_STRING) return dp_jtext_join(run, reversed, DP_LIT(""), out);
    *out = dp_jv_list(DP_JV_ITERATOR, reversed);
    return DP_OK;
}

/* ---- attributes, as map, sort, join, ... name them ---- */

/* "a.b.0": parts of a path; whole numbers are indices. */
static dp_status by_path(dp_jrun *run, dp_jv item, const dp_jv *path, dp_jv *out) {
    *out = item;
    if (path->type != DP_JV_STRING) return dp_jv_item(run, item, *path, out);
    dp_str rest = path->string;
    for (;;) {
        const char *dot = rest.n ? memchr(rest.p, '.', rest.n) : NULL;
        dp_str part = {rest.p, dot ? (size_t)(dot - rest.p) : rest.n};
        int64_t number = 0;
        bool digits = part.n > 0 && part.n < 10;
        for (size_t i = 0; i < part.n && digits; i++) {
            digits = part.p[i] >= '0' && part.p[i] <= '9';
            number = number * 10 + (part.p[i] - '0');
        }
        TRY(dp_jrun_tick(run, 1));
        TRY(dp_jv_item(run, *out, digits ? dp_jv_int(number) : dp_jv_string(part), out));
        if (!dot) return DP_OK;
        rest = (dp_str){dot + 1, rest.n - part.n - 1};
    }
}

static bool given(const dp_jv *arg) { return arg && arg->type != DP_JV_NONE; }

static dp_status key_of(dp_jrun *run, dp_jv item, const dp_jv *attribute, bool fold, dp_jv *out) {
    *out = item;
    if (given(attribute)) TRY(by_path(run, item, attribute, out));
    return fold && out->type == DP_JV_STRING ? dp_jtext_case(run, out->string, DP_JCASE_LOWER, out) : DP_OK;
}

static dp_status join(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    const dp_jlist *list;
    dp_str separator = {0};
    TRY(dp_jv_iterate(run, call->self, &list));
    if (call->a[0]) TRY(dp_jv_text(run, *call->a[0], &separator));
    if (given(call->a[1])) {
        dp_jlist *keys;
        TRY(dp_jlist_new(run, &keys));
        for (size_t i = 0; i < list->count; i++) {
            dp_jv key;
            TRY(by_path(run, list->items[i], call->a[1], &key));
            TRY(dp_jlist_push(run, keys, key));
        }
        list = keys;
    }
    return dp_jtext_join(run, list, separator, out);
}

/* ---- order ---- */

typedef struct sorting { dp_jv *keys, *items, *spare_keys, *spare_items; bool descending; } sorting;

/* Stable merge sort of [from, to). */
static dp_status merge_sort(dp_jrun *run, const sorting *s, size_t from, size_t to) {
    if (to - from < 2) return DP_OK;
    size_t middle = from + (to - from) / 2, a = from, b = middle;
    TRY(merge_sort(run, s, from, middle));
    TRY(merge_sort(run, s, middle, to));
    for (size_t i = from; i < to; i++) {
        int order = 0;
        if (a < middle && b < to) TRY(dp_jv_compare(run, s->keys[b], s->keys[a], &order));
        if (s->descending) order = -order;
        bool right = a >= middle || (b < to && order < 0);
        size_t take = right ? b++ : a++;
        s->spare_keys[i] = s->keys[take];
        s->spare_items[i] = s->items[take];
    }
    memcpy(s->keys + from, s->spare_keys + from, (to - from) * sizeof *s->keys);
    memcpy(s->items + from, s->spare_items + from, (to - from) * sizeof *s->items);
    return DP_OK;
}

static dp_status sort_list(dp_jrun *run, const dp_jlist *list, const dp_jv *attribute, const bool flags[2],
                           dp_jv *out) {
    sorting s = {.descending = flags[0]};
    dp_jlist *sorted;
    size_t size = list->count * sizeof *s.keys;
    TRY(dp_jrun_alloc(run, size, (void **)&s.keys));
    TRY(dp_jrun_alloc(run, size, (void **)&s.items));
    TRY(dp_jrun_alloc(run, size, (void **)&s.spare_keys));
    TRY(dp_jrun_alloc(run, size, (void **)&s.spare_items));
    for (size_t i = 0; i < list->count; i++) {
        s.items[i] = list->items[i];
        TRY(key_of(run, list->items[i], attribute, flags[1], &s.keys[i]));
    }
    TRY(merge_sort(run, &s, 0, list->count));
    TRY(dp_jlist_new(run, &sorted));
    *sorted = (dp_jlist){.items = s.items, .count = list->count, .capacity = list->count};
    *out = dp_jv_list(DP_JV_LIST, sorted);
    return DP_OK;
}

/* sort(reverse=false, case_sensitive=false, attribute=none) */
static dp_status sort(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    const dp_jlist *list;
    TRY(dp_jv_iterate(run, call->self, &list));
    return sort_list(run, list, call->a[2],
                     (bool[2]){dp_jarg_truth(call->a[0], false), !dp_jarg_truth(call->a[1], false)}, out);
}

static dp_status items(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    dp_jlist *list;
    TRY(dp_jlist_new(run, &list));
    if (call->self.type != DP_JV_DICT && call->self.type != DP_JV_UNDEFINED)
        return dp_jrun_fail(run, DP_E_ARG, "items needs a dict, not %s", dp_jv_type_name(call->self));
    for (size_t i = 0; call->self.type == DP_JV_DICT && i < call->self.dict->count; i++) {
        dp_jv pair;
        TRY(dp_jlist_pair(run, call->self.dict->entries[i].key, call->self.dict->entries[i].value, &pair));
        TRY(dp_jlist_push(run, list, pair));
    }
    *out = dp_jv_list(DP_JV_ITERATOR, list);
    return DP_OK;
}

/* dictsort(case_sensitive=false, by="key", reverse=false) */
static dp_status dictsort(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    dp_str by = DP_LIT("key");
    dp_jv pairs;
    if (call->a[1]) TRY(dp_jarg_string(run, call->a[1], "by of dictsort", &by));
    TRY(items(run, call, &pairs));
    dp_jv index = dp_jv_int(dp_str_is(by, "value"));
    return sort_list(run, pairs.list, &index,
                     (bool[2]){dp_jarg_truth(call->a[2], false), !dp_jarg_truth(call->a[0], false)}, out);
}

/* unique(case_sensitive=false, attribute=none): the first of equal ones. */
static dp_status unique(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    const dp_jlist *list;
    dp_jlist *kept;
    dp_jdict *seen;
    TRY(dp_jv_iterate(run, call->self, &list));
    TRY(dp_jlist_new(run, &kept));
    TRY(dp_jdict_new(run, &seen));
    for (size_t i = 0; i < list->count; i++) {
        dp_jv key;
        TRY(key_of(run, list->items[i], call->a[1], !dp_jarg_truth(call->a[0], false), &key));
        if (dp_jdict_find(seen, key)) continue;
        TRY(dp_jdict_set(run, seen, key, dp_jv_none()));
        TRY(dp_jlist_push(run, kept, list->items[i]));
    }
    *out = dp_jv_list(DP_JV_ITERATOR, kept);
    return DP_OK;
}

static dp_status extreme(dp_jrun *run, const dp_jcall *call, int sign, dp_jv *out) {
    const dp_jlist *list;
    dp_jv best_key = {0};
    TRY(dp_jv_iterate(run, call->self, &list));
    *out = (dp_jv){.type = DP_JV_UNDEFINED, .string = DP_LIT("an empty sequence")};
    for (size_t i = 0; i < list->count; i++) {
        dp_jv key;
        int order = 0;
        TRY(key_of(run, list->items[i], call->a[1], !dp_jarg_truth(call->a[0], false), &key));
        if (i) TRY(dp_jv_compare(run, key, best_key, &order));
        if (i && order * sign <= 0) continue;
        best_key = key;
        *out = list->items[i];
    }
    return DP_OK;
}
static dp_status max(dp_jrun *run, const dp_jcall *call, dp_jv *out) { return extreme(run, call, 1, out); }
static dp_status min(dp_jrun *run, const dp_jcall *call, dp_jv *out) { return extreme(run, call, -1, out); }

/* sum(attribute=none, start=0) */
static dp_status sum(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    const dp_jlist *list;
    TRY(dp_jv_iterate(run, call->self, &list));
    dp_jv total = call->a[1] ? *call->a[1] : dp_jv_int(0);
    for (size_t i = 0; i < list->count; i++) {
        dp_jv item;
        TRY(key_of(run, list->items[i], call->a[0], false, &item));
        if (!dp_jv_is_number(total) || !dp_jv_is_number(item)) return dp_jrun_fail(run, DP_E_ARG, "sum needs numbers");
        if (dp_jv_is_int(total) && dp_jv_is_int(item)) {
            int64_t r;
            if (__builtin_add_overflow(dp_jv_to_int(total), dp_jv_to_int(item), &r))
                return dp_jrun_fail(run, DP_E_UNSUPPORTED, "integer beyond 64 bits");
            total = dp_jv_int(r);
        } else {
            total = dp_jv_float(dp_jv_to_double(total) + dp_jv_to_double(item));
        }
    }
    *out = total;
    return DP_OK;
}

/* batch(linecount, fill_with=none): lists of linecount elements. */
static dp_status batch(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    const dp_jlist *list;
    dp_jlist *batches, *row = NULL;
    int64_t size = dp_jarg_int(call->a[0], 0);
    TRY(dp_jv_iterate(run, call->self, &list));
    TRY(dp_jlist_new(run, &batches));
    if (size < 1) return dp_jrun_fail(run, DP_E_ARG, "linecount of batch must be a positive int");
    for (size_t i = 0; i < list->count; i++) {
        if (i % (uint64_t)size == 0) {
            TRY(dp_jlist_new(run, &row));
            TRY(dp_jlist_push(run, batches, dp_jv_list(DP_JV_LIST, row)));
        }
        TRY(dp_jlist_push(run, row, list->items[i]));
    }
    while (row && given(call->a[1]) && (int64_t)row->count < size) TRY(dp_jlist_push(run, row, *call->a[1]));
    *out = dp_jv_list(DP_JV_ITERATOR, batches);
    return DP_OK;
}

/* ---- filters and tests applied to each element ---- */

/* A filter or test to be applied to each element: args[0] names it, the other arguments are passed on. */
typedef struct applied {
    const dp_jfunction *function;
    const char *kind;
    dp_jcall call;
} applied;

static dp_status find_applied(dp_jrun *run, const dp_jcall *call, size_t at, applied *out) {
    dp_str name;
    bool filter = dp_str_is(dp_str_of(out->kind), "filter");
    TRY(dp_jarg_string(run, &call->args[at], "the name of a filter or test", &name));
    out->function = filter ? dp_jfilter_find(name) : dp_jtest_find(name);
    if (!out->function)
        return dp_jrun_fail(run, DP_E_UNSUPPORTED, "unknown %s '" DP_STR_FMT "'", out->kind, DP_STR_ARG(name));
    out->call = (dp_jcall){.args = call->args + at + 1, .count = call->count - at - 1, .named = call->named,
                           .named_count = call->named_count};
    return DP_OK;
}

static dp_status apply(dp_jrun *run, const applied *what, dp_jv item, dp_jv *out) {
    dp_jcall call = what->call;
    call.self = item;
    return dp_jcall_run(run, what->function, what->kind, &call, out);
}

/* map("filter", ...) or map(attribute="path", default=x) */
static dp_status map(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    const dp_jlist *list;
    dp_jlist *mapped;
    const dp_jv *path = NULL, *substitute = NULL;
    for (size_t i = 0; i < call->named_count && !call->count; i++) {
        if (dp_str_is(call->named[i].name, "attribute")) path = &call->named[i].value;
        if (dp_str_is(call->named[i].name, "default")) substitute = &call->named[i].value;
    }
    if (!call->count && !path) return dp_jfunction_missing(run, "the filter of map");
    TRY(dp_jv_iterate(run, call->self, &list));
    TRY(dp_jlist_new(run, &mapped));
    applied filter = {.kind = "filter"};
    if (!path) TRY(find_applied(run, call, 0, &filter));
    for (size_t i = 0; i < list->count; i++) {
        dp_jv item;
        if (path) TRY(by_path(run, list->items[i], path, &item));
        else TRY(apply(run, &filter, list->items[i], &item));
        if (path && given(substitute) && item.type == DP_JV_UNDEFINED) item = *substitute;
        TRY(dp_jlist_push(run, mapped, item));
    }
    *out = dp_jv_list(DP_JV_ITERATOR, mapped);
    return DP_OK;
}

typedef struct choice { bool attribute, keep; } choice;

static dp_status choose(dp_jrun *run, const dp_jcall *call, choice how, dp_jv *out) {
    const dp_jlist *list;
    dp_jlist *kept;
    size_t at = how.attribute;
    if (how.attribute && !call->count) return dp_jfunction_missing(run, "the attribute's name");
    TRY(dp_jv_iterate(run, call->self, &list));
    TRY(dp_jlist_new(run, &kept));
    applied test = {.kind = "test"};
    if (call->count > at) TRY(find_applied(run, call, at, &test));
    for (size_t i = 0; i < list->count; i++) {
        dp_jv value = list->items[i];
        if (how.attribute) TRY(by_path(run, list->items[i], &call->args[0], &value));
        if (test.function) TRY(apply(run, &test, value, &value));
        if (dp_jv_truth(value) == how.keep) TRY(dp_jlist_push(run, kept, list->items[i]));
    }
    *out = dp_jv_list(DP_JV_ITERATOR, kept);
    return DP_OK;
}
static dp_status select(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    return choose(run, call, (choice){false, true}, out);
}
static dp_status reject(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    return choose(run, call, (choice){false, false}, out);
}
static dp_status selectattr(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    return choose(run, call, (choice){true, true}, out);
}
static dp_status rejectattr(dp_jrun *run, const dp_jcall *call, dp_jv *out) {
    return choose(run, call, (choice){true, false}, out);
}

const dp_jfunction *dp_jfilter_find_sequence(dp_str name) {
    static const dp_jfunction table[] = {
        {"first", "", first},
        {"last", "", last},
        {"length", "", length},
        {"count", "", length},
        {"list", "", list_of},
        {"reverse", "", reverse},
        {"join", "d attribute", join},
        {"sort", "reverse case_sensitive attribute", sort},
        {"items", "", items},
        {"dictsort", "case_sensitive by reverse", dictsort},
        {"unique", "case_sensitive attribute", unique},
        {"max", "case_sensitive attribute", max},
        {"min", "case_sensitive attribute", min},
        {"sum", "attribute start", sum},
        {"batch", "linecount fill_with", batch},
        {"map", NULL, map},
        {"select", NULL, select},
        {"reject", NULL, reject},
        {"selectattr", NULL, selectattr},
        {"rejectattr", NULL, rejectattr},
    };
    for (size_t i = 0; i < DP_COUNT(table); i++)
        if (dp_str_is(name, table[i].name)) return &table[i];
    return NULL;
}
