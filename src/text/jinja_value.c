/* jinja_value.c: lists, dicts, truth, equality, order, membership; and the accounting of a render. */
#include "text/jinja_value.h"

#include <math.h>
#include <stdio.h>

#include "base/hash.h"

/* ---- the render's accounting ---- */

dp_status dp_jrun_fail(const dp_jrun *run, dp_status status, const char *format, ...) {
    char what[400];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return dp_fail(status, "chat template, line %d: %s", run->line, what);
}

dp_status dp_jrun_tick(dp_jrun *run, size_t steps) {
    run->steps += steps;
    if (run->steps <= DP_JRUN_STEPS_MAX) return DP_OK;
    return dp_jrun_fail(run, DP_E_UNSUPPORTED, "the template does more than %d steps of work", DP_JRUN_STEPS_MAX);
}

dp_status dp_jrun_alloc(dp_jrun *run, size_t size, void **out) {
    if (size > DP_JRUN_MEMORY_MAX - run->bytes)
        return dp_jrun_fail(run, DP_E_UNSUPPORTED, "the template needs more than %d MiB", DP_JRUN_MEMORY_MAX >> 20);
    run->bytes += size;
    *out = dp_arena_alloc(&run->arena, size);
    return *out ? DP_OK : dp_no_memory(size);
}

dp_status dp_jrun_check(dp_jrun *run, const dp_buf *buf) {
    if (buf->failed) return dp_no_memory(buf->size);
    if (buf->size <= DP_JINJA_TEXT_MAX) return DP_OK;
    return dp_jrun_fail(run, DP_E_UNSUPPORTED, "the template writes more than %d MiB", DP_JINJA_TEXT_MAX >> 20);
}

dp_status dp_jrun_take(dp_jrun *run, dp_buf *buf, dp_jv *out) {
    dp_status status = dp_jrun_check(run, buf);
    if (status == DP_OK) status = dp_jv_copy(run, (dp_str){buf->data, buf->size}, out);
    dp_buf_free(buf);
    return status;
}

dp_status dp_jv_copy(dp_jrun *run, dp_str text, dp_jv *out) {
    char *copy;
    TRY(dp_jrun_alloc(run, text.n + 1, (void **)&copy));
    if (text.n) memcpy(copy, text.p, text.n);
    *out = dp_jv_string((dp_str){copy, text.n});
    return dp_jrun_tick(run, text.n / 32);
}

/* ---- lists ---- */

dp_status dp_jlist_new(dp_jrun *run, dp_jlist **out) {
    TRY(dp_jrun_alloc(run, sizeof **out, (void **)out));
    **out = (dp_jlist){0};
    return DP_OK;
}

dp_status dp_jlist_push(dp_jrun *run, dp_jlist *list, dp_jv value) {
    if (list->count == list->capacity) {
        dp_jv *items;
        size_t capacity = list->capacity ? list->capacity * 2 : 4;
        TRY(dp_jrun_alloc(run, capacity * sizeof *items, (void **)&items));
        if (list->count) memcpy(items, list->items, list->count * sizeof *items);
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = value;
    return dp_jrun_tick(run, 1);
}

dp_status dp_jlist_pair(dp_jrun *run, dp_jv a, dp_jv b, dp_jv *out) {
    dp_jlist *pair;
    TRY(dp_jlist_new(run, &pair));
    TRY(dp_jlist_push(run, pair, a));
    TRY(dp_jlist_push(run, pair, b));
    *out = dp_jv_list(DP_JV_TUPLE, pair);
    return DP_OK;
}

/* ---- dicts ---- */

enum { INDEX_FROM = 9 };

dp_status dp_jdict_new(dp_jrun *run, dp_jdict **out) {
    TRY(dp_jrun_alloc(run, sizeof **out, (void **)out));
    **out = (dp_jdict){0};
    return DP_OK;
}

static bool same_key(dp_jv a, dp_jv b) {
    if (dp_jv_is_number(a) && dp_jv_is_number(b)) return dp_jv_to_double(a) == dp_jv_to_double(b);
    if (a.type != b.type) return false;
    return a.type == DP_JV_STRING ? dp_str_eq(a.string, b.string) : a.type == DP_JV_NONE;
}

static uint64_t hash_key(dp_jv key) {
    double number;
    if (key.type == DP_JV_STRING) return dp_hash_bytes(key.string.p, key.string.n);
    if (key.type == DP_JV_NONE) return 1;
    number = dp_jv_to_double(key) + 0.0; /* -0 and 0 are one key */
    return dp_hash_bytes(&number, sizeof number);
}

static void index_entry(dp_jdict *dict, size_t entry) {
    size_t mask = dict->index_size - 1, slot = hash_key(dict->entries[entry].key) & mask;
    while (dict->index[slot]) slot = (slot + 1) & mask;
    dict->index[slot] = (uint32_t)entry + 1;
}

const dp_jv *dp_jdict_find(const dp_jdict *dict, dp_jv key) {
    if (dict->index) {
        size_t mask = dict->index_size - 1;
        for (size_t slot = hash_key(key) & mask; dict->index[slot]; slot = (slot + 1) & mask)
            if (same_key(dict->entries[dict->index[slot] - 1].key, key))
                return &dict->entries[dict->index[slot] - 1].value;
        return NULL;
    }
    for (size_t i = 0; i < dict->count; i++)
        if (same_key(dict->entries[i].key, key)) return &dict->entries[i].value;
    return NULL;
}

static dp_status grow_dict(dp_jrun *run, dp_jdict *dict) {
    size_t capacity = dict->capacity ? dict->capacity * 2 : INDEX_FROM - 1;
    struct dp_jentry *entries;
    TRY(dp_jrun_alloc(run, capacity * sizeof *entries, (void **)&entries));
    if (dict->count) memcpy(entries, dict->entries, dict->count * sizeof *entries);
    dict->entries = entries;
    dict->capacity = capacity;
    if (capacity < INDEX_FROM) return DP_OK;
    TRY(dp_jrun_alloc(run, capacity * 2 * sizeof *dict->index, (void **)&dict->index));
    memset(dict->index, 0, capacity * 2 * sizeof *dict->index);
    dict->index_size = capacity * 2;
    for (size_t i = 0; i < dict->count; i++) index_entry(dict, i);
    return DP_OK;
}

dp_status dp_jdict_set(dp_jrun *run, dp_jdict *dict, dp_jv key, dp_jv value) {
    if (!dp_jv_is_number(key) && key.type != DP_JV_STRING && key.type != DP_JV_NONE)
        return dp_jrun_fail(run, DP_E_UNSUPPORTED, "%s as a key of a dict", dp_jv_type_name(key));
    TRY(dp_jrun_tick(run, 1));
    dp_jv *there = (dp_jv *)dp_jdict_find(dict, key);
    if (there) return *there = value, DP_OK;
    if (dict->count == dict->capacity) TRY(grow_dict(run, dict));
    dict->entries[dict->count++] = (struct dp_jentry){key, value};
    if (dict->index) index_entry(dict, dict->count - 1);
    return DP_OK;
}

/* ---- from JSON ---- */

static dp_status list_from_json(dp_jrun *run, const dp_json *array, dp_jv *out) {
    dp_jlist *list;
    TRY(dp_jlist_new(run, &list));
    for (const dp_json *m = array->child; m; m = m->next) {
        dp_jv item;
        TRY(dp_jv_from_json(run, m, &item));
        TRY(dp_jlist_push(run, list, item));
    }
    *out = dp_jv_list(DP_JV_LIST, list);
    return DP_OK;
}

static dp_status dict_from_json(dp_jrun *run, const dp_json *object, dp_jv *out) {
    dp_jdict *dict;
    TRY(dp_jdict_new(run, &dict));
    for (const dp_json *m = object->child; m; m = m->next) {
        dp_jv item;
        TRY(dp_jv_from_json(run, m, &item));
        TRY(dp_jdict_set(run, dict, dp_jv_string(m->key), item));
    }
    *out = (dp_jv){.type = DP_JV_DICT, .dict = dict};
    return DP_OK;
}

dp_status dp_jv_from_json(dp_jrun *run, const dp_json *json, dp_jv *out) {
    switch ((dp_json_type)json->type) {
    case DP_JSON_NULL: *out = dp_jv_none(); break;
    case DP_JSON_BOOL: *out = dp_jv_bool(json->boolean); break;
    case DP_JSON_NUMBER: *out = json->is_integer ? dp_jv_int(json->integer) : dp_jv_float(json->number); break;
    case DP_JSON_STRING: *out = dp_jv_string(json->string); break;
    case DP_JSON_ARRAY: return list_from_json(run, json, out);
    case DP_JSON_OBJECT: return dict_from_json(run, json, out);
    }
    return DP_OK;
}

/* ---- questions ---- */

const char *dp_jv_type_name(dp_jv value) {
    static const char *const names[] = {"undefined", "NoneType", "bool",     "int",    "float",     "str",
                                        "list",      "tuple",    "iterator", "dict",   "namespace", "function",
                                        "method",    "macro",    "loop",     "joiner", "cycler",    "unset"};
    return names[value.type];
}

bool dp_jv_truth(dp_jv v) {
    switch ((dp_jv_type)v.type) {
    case DP_JV_UNDEFINED:
    case DP_JV_NONE: return false;
    case DP_JV_BOOL: return v.boolean;
    case DP_JV_INT: return v.integer != 0;
    case DP_JV_FLOAT: return v.number != 0;
    case DP_JV_STRING: return v.string.n != 0;
    case DP_JV_LIST:
    case DP_JV_TUPLE: return v.list->count != 0;
    case DP_JV_DICT: return v.dict->count != 0;
    default: return true;
    }
}

dp_status dp_jv_undefined_error(const dp_jrun *run, dp_jv value) {
    if (!value.string.p) return dp_jrun_fail(run, DP_E_ARG, "use of an undefined value");
    return dp_jrun_fail(run, DP_E_ARG, "'" DP_STR_FMT "' is undefined", DP_STR_ARG(value.string));
}

static bool is_sequence(dp_jv v) { return v.type == DP_JV_LIST || v.type == DP_JV_TUPLE; }

/* ---- equality: DP_E_NOT_FOUND stands for "differ" among these, so that the loops can use TRY ---- */

static dp_status equal(dp_jrun *run, dp_jv a, dp_jv b, int depth);

static dp_status equal_dicts(dp_jrun *run, const dp_jdict *a, const dp_jdict *b, int depth) {
    if (a == b) return DP_OK;
    if (a->count != b->count) return DP_E_NOT_FOUND;
    for (size_t i = 0; i < a->count; i++) {
        const dp_jv *other = dp_jdict_find(b, a->entries[i].key);
        if (!other) return DP_E_NOT_FOUND;
        TRY(equal(run, a->entries[i].value, *other, depth));
    }
    return DP_OK;
}

static dp_status equal_lists(dp_jrun *run, const dp_jlist *a, const dp_jlist *b, int depth) {
    if (a == b) return DP_OK;
    if (a->count != b->count) return DP_E_NOT_FOUND;
    for (size_t i = 0; i < a->count; i++) TRY(equal(run, a->items[i], b->items[i], depth));
    return DP_OK;
}

static bool equal_numbers(dp_jv a, dp_jv b) {
    return dp_jv_is_int(a) && dp_jv_is_int(b) ? dp_jv_to_int(a) == dp_jv_to_int(b) : dp_jv_to_double(a) == dp_jv_to_double(b);
}

/* Of one type, and no numbers, strings, lists or dicts: what cannot be looked into is equal to itself only. */
static bool equal_others(dp_jv a, dp_jv b) {
    return a.type == DP_JV_NONE || a.type == DP_JV_UNDEFINED || (a.type != DP_JV_METHOD && a.list == b.list);
}

static dp_status equal(dp_jrun *run, dp_jv a, dp_jv b, int depth) {
    TRY(dp_jrun_tick(run, 1));
    if (depth > DP_JV_DEPTH_MAX) return dp_jrun_fail(run, DP_E_UNSUPPORTED, "comparison of values nested too deeply");
    if (dp_jv_is_number(a) && dp_jv_is_number(b)) return equal_numbers(a, b) ? DP_OK : DP_E_NOT_FOUND;
    if (a.type != b.type) return DP_E_NOT_FOUND;
    if (a.type == DP_JV_STRING) {
        TRY(dp_jrun_tick(run, a.string.n == b.string.n ? a.string.n / 32 : 0));
        return dp_str_eq(a.string, b.string) ? DP_OK : DP_E_NOT_FOUND;
    }
    if (is_sequence(a)) return equal_lists(run, a.list, b.list, depth + 1);
    if (a.type == DP_JV_DICT) return equal_dicts(run, a.dict, b.dict, depth + 1);
    return equal_others(a, b) ? DP_OK : DP_E_NOT_FOUND;
}

dp_status dp_jv_equal(dp_jrun *run, dp_jv a, dp_jv b, bool *out) {
    dp_status status = equal(run, a, b, 0);
    *out = status == DP_OK;
    return status == DP_E_NOT_FOUND ? DP_OK : status;
}

/* ---- order: *out is negative, zero or positive ---- */

static dp_status compare(dp_jrun *run, dp_jv a, dp_jv b, int *out, int depth);

static int compare_numbers(dp_jv a, dp_jv b) {
    if (dp_jv_is_int(a) && dp_jv_is_int(b)) return (dp_jv_to_int(a) > dp_jv_to_int(b)) - (dp_jv_to_int(a) < dp_jv_to_int(b));
    return (dp_jv_to_double(a) > dp_jv_to_double(b)) - (dp_jv_to_double(a) < dp_jv_to_double(b));
}

/* UTF-8 sorts as its code points do. */
static dp_status compare_strings(dp_jrun *run, dp_str a, dp_str b, int *out) {
    size_t n = DP_MIN(a.n, b.n);
    TRY(dp_jrun_tick(run, n / 32));
    *out = n ? memcmp(a.p, b.p, n) : 0;
    if (!*out) *out = (a.n > b.n) - (a.n < b.n);
    return DP_OK;
}

/* The first pair that differs decides, else the length. */
static dp_status compare_lists(dp_jrun *run, const dp_jlist *a, const dp_jlist *b, int *out, int depth) {
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        dp_status same = equal(run, a->items[i], b->items[i], depth);
        if (same == DP_E_NOT_FOUND) return compare(run, a->items[i], b->items[i], out, depth);
        TRY(same);
    }
    *out = (a->count > b->count) - (a->count < b->count);
    return DP_OK;
}

static dp_status compare(dp_jrun *run, dp_jv a, dp_jv b, int *out, int depth) {
    TRY(dp_jrun_tick(run, 1));
    if (depth > DP_JV_DEPTH_MAX) return dp_jrun_fail(run, DP_E_UNSUPPORTED, "comparison of values nested too deeply");
    if (dp_jv_is_number(a) && dp_jv_is_number(b)) return *out = compare_numbers(a, b), DP_OK;
    if (a.type == DP_JV_STRING && b.type == DP_JV_STRING) return compare_strings(run, a.string, b.string, out);
    if (a.type == b.type && is_sequence(a)) return compare_lists(run, a.list, b.list, out, depth + 1);
    if (a.type == DP_JV_UNDEFINED) return dp_jv_undefined_error(run, a);
    if (b.type == DP_JV_UNDEFINED) return dp_jv_undefined_error(run, b);
    return dp_jrun_fail(run, DP_E_ARG, "%s and %s have no order", dp_jv_type_name(a), dp_jv_type_name(b));
}

dp_status dp_jv_compare(dp_jrun *run, dp_jv a, dp_jv b, int *out) { return compare(run, a, b, out, 0); }

dp_status dp_jv_contains(dp_jrun *run, dp_jv container, dp_jv item, bool *out) {
    *out = false;
    if (container.type == DP_JV_STRING) {
        size_t at;
        if (item.type == DP_JV_UNDEFINED) return dp_jv_undefined_error(run, item);
        if (item.type != DP_JV_STRING)
            return dp_jrun_fail(run, DP_E_ARG, "'in' a str needs a str, not %s", dp_jv_type_name(item));
        TRY(dp_jtext_find(run, container.string, item.string, 0, &at));
        *out = at != SIZE_MAX;
        return DP_OK;
    }
    if (container.type == DP_JV_DICT) {
        *out = dp_jdict_find(container.dict, item) != NULL;
        return DP_OK;
    }
    const dp_jlist *list;
    TRY(dp_jv_iterate(run, container, &list));
    for (size_t i = 0; i < list->count && !*out; i++) TRY(dp_jv_equal(run, list->items[i], item, out));
    return DP_OK;
}

static dp_status characters(dp_jrun *run, dp_str s, dp_jlist *list) {
    while (s.n) {
        size_t n = dp_jtext_char(s.p, s.n, NULL);
        TRY(dp_jlist_push(run, list, dp_jv_string((dp_str){s.p, n})));
        s = (dp_str){s.p + n, s.n - n};
    }
    return DP_OK;
}

dp_status dp_jv_iterate(dp_jrun *run, dp_jv value, const dp_jlist **out) {
    if (is_sequence(value) || value.type == DP_JV_ITERATOR) return *out = value.list, DP_OK;
    if (value.type != DP_JV_STRING && value.type != DP_JV_DICT && value.type != DP_JV_UNDEFINED)
        return dp_jrun_fail(run, DP_E_ARG, "%s cannot be looped over", dp_jv_type_name(value));
    dp_jlist *list;
    TRY(dp_jlist_new(run, &list));
    if (value.type == DP_JV_STRING) TRY(characters(run, value.string, list));
    for (size_t i = 0; value.type == DP_JV_DICT && i < value.dict->count; i++)
        TRY(dp_jlist_push(run, list, value.dict->entries[i].key));
    *out = list;
    return DP_OK;
}

dp_status dp_jv_length(dp_jrun *run, dp_jv value, int64_t *out) {
    if (value.type == DP_JV_UNDEFINED) return *out = 0, DP_OK;
    if (value.type == DP_JV_DICT) return *out = (int64_t)value.dict->count, DP_OK;
    if (is_sequence(value)) return *out = (int64_t)value.list->count, DP_OK;
    if (value.type != DP_JV_STRING) return dp_jrun_fail(run, DP_E_ARG, "%s has no length", dp_jv_type_name(value));
    *out = dp_jtext_length(value.string);
    return dp_jrun_tick(run, value.string.n / 32);
}
