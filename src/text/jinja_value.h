/* jinja_value.h: the values a template computes with, with Python's meaning of truth, equality, order and printing, and
 * the state of one render that everything is charged to. Internal to the Jinja interpreter.
 *
 * Values live in the render's arena and are immutable, as in the sandbox that transformers renders in; only a namespace
 * can be assigned to. So values may share memory freely and cycles can only run through namespaces. */
#ifndef DP_JINJA_VALUE_H
#define DP_JINJA_VALUE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "text/jinja.h"

/* ---- limits of one render: a template comes with a download and is not trusted ---- */
enum {
    DP_JRUN_STEPS_MAX = 30000000,    /* nodes evaluated, elements visited, 32-byte pieces of strings scanned */
    DP_JRUN_MEMORY_MAX = 256 << 20,  /* bytes of all values together */
    DP_JRUN_DEPTH_MAX = 400,         /* nested evaluations, macro calls included */
    DP_JRUN_RANGE_MAX = 100000,      /* elements of range(), as in Jinja's sandbox */
    DP_JV_DEPTH_MAX = 160            /* nested lists and dicts that are compared or printed */
};

typedef enum dp_jv_type {
    DP_JV_UNDEFINED, /* `string` says what was missing */
    DP_JV_NONE,
    DP_JV_BOOL,
    DP_JV_INT,
    DP_JV_FLOAT,
    DP_JV_STRING,
    DP_JV_LIST,
    DP_JV_TUPLE,
    DP_JV_ITERATOR, /* what map(), select(), ... return: a list that has no length, no index and is always true */
    DP_JV_DICT,
    DP_JV_NAMESPACE,
    DP_JV_FUNCTION, /* a global function */
    DP_JV_METHOD,   /* a method bound to its object */
    DP_JV_MACRO,
    DP_JV_LOOP,
    DP_JV_JOINER,
    DP_JV_CYCLER,
    DP_JV_UNSET /* a variable slot nobody assigned */
} dp_jv_type;

typedef struct dp_jlist dp_jlist;
typedef struct dp_jdict dp_jdict;
typedef struct dp_jfunction dp_jfunction;
typedef struct dp_jmethod dp_jmethod;
typedef struct dp_jmacro dp_jmacro;
typedef struct dp_jloop dp_jloop;

typedef struct dp_jv {
    uint8_t type; /* dp_jv_type; zeroed = undefined */
    union {
        bool boolean;
        int64_t integer;
        double number;
        dp_str string;
        dp_jlist *list; /* LIST, TUPLE, ITERATOR, CYCLER */
        dp_jdict *dict; /* DICT, NAMESPACE */
        const dp_jfunction *function;
        const dp_jmethod *method;
        const dp_jmacro *macro;
        dp_jloop *loop;
        struct dp_jjoiner *joiner;
    };
} dp_jv;

struct dp_jlist {
    dp_jv *items;
    size_t count, capacity;
    size_t position; /* of a cycler */
};

struct dp_jjoiner {
    dp_str separator;
    bool used;
};

/* Insertion-ordered. `index` is an open-addressed table of entry numbers + 1 with `index_size` slots (a power of two),
 * present from nine entries on. */
struct dp_jdict {
    struct dp_jentry { dp_jv key, value; } *entries;
    size_t count, capacity;
    uint32_t *index;
    size_t index_size;
};

/* ---- the render ---- */

typedef struct dp_jscope dp_jscope;
typedef enum dp_jflow { DP_JFLOW_NEXT, DP_JFLOW_BREAK, DP_JFLOW_CONTINUE } dp_jflow;

typedef struct dp_jrun {
    dp_arena arena;
    const struct dp_jinja *jinja;
    dp_jscope *scope;
    dp_jv *globals;   /* by symbol: variables, functions and what the top level sets */
    dp_buf *out;
    dp_jv block; /* the text that a filter or set block feeds to its filters */
    int64_t now;
    size_t steps, bytes;
    int depth, line;
    dp_jflow flow;
} dp_jrun;

/* "chat template, line N: ..." with the line now running. */
dp_status dp_jrun_fail(const dp_jrun *run, dp_status status, const char *format, ...) DP_PRINTF(3, 4);
/* Charges work. Fails past the limit. */
dp_status dp_jrun_tick(dp_jrun *run, size_t steps);
/* Memory from the arena, charged. */
dp_status dp_jrun_alloc(dp_jrun *run, size_t size, void **out);
/* Fails if appending to `buf` failed or it outgrew DP_JINJA_TEXT_MAX. */
dp_status dp_jrun_check(dp_jrun *run, const dp_buf *buf);
/* Copies the buffer into a string value and frees it, also when that fails. */
dp_status dp_jrun_take(dp_jrun *run, dp_buf *buf, dp_jv *out);

/* ---- making values ---- */

static inline dp_jv dp_jv_none(void) { return (dp_jv){.type = DP_JV_NONE}; }
static inline dp_jv dp_jv_bool(bool b) { return (dp_jv){.type = DP_JV_BOOL, .boolean = b}; }
static inline dp_jv dp_jv_int(int64_t i) { return (dp_jv){.type = DP_JV_INT, .integer = i}; }
static inline dp_jv dp_jv_float(double d) { return (dp_jv){.type = DP_JV_FLOAT, .number = d}; }
static inline dp_jv dp_jv_string(dp_str s) { return (dp_jv){.type = DP_JV_STRING, .string = s}; }
static inline dp_jv dp_jv_list(dp_jv_type type, dp_jlist *list) { return (dp_jv){.type = (uint8_t)type, .list = list}; }
dp_status dp_jv_copy(dp_jrun *run, dp_str text, dp_jv *out);
dp_status dp_jv_from_json(dp_jrun *run, const dp_json *json, dp_jv *out);

dp_status dp_jlist_new(dp_jrun *run, dp_jlist **out);
dp_status dp_jlist_push(dp_jrun *run, dp_jlist *list, dp_jv value);
dp_status dp_jlist_pair(dp_jrun *run, dp_jv a, dp_jv b, dp_jv *out); /* the tuple (a, b) */

dp_status dp_jdict_new(dp_jrun *run, dp_jdict **out);
/* Inserts or replaces. Only None, booleans, numbers and strings can be keys. */
dp_status dp_jdict_set(dp_jrun *run, dp_jdict *dict, dp_jv key, dp_jv value);
const dp_jv *dp_jdict_find(const dp_jdict *dict, dp_jv key); /* NULL when absent */

/* ---- asking values ---- */

const char *dp_jv_type_name(dp_jv value); /* as Python names it: "str", "int", ... */
bool dp_jv_truth(dp_jv value);
static inline bool dp_jv_is_int(dp_jv v) { return v.type == DP_JV_INT || v.type == DP_JV_BOOL; }
static inline bool dp_jv_is_number(dp_jv v) { return dp_jv_is_int(v) || v.type == DP_JV_FLOAT; }
static inline int64_t dp_jv_to_int(dp_jv v) { return v.type == DP_JV_BOOL ? v.boolean : v.integer; }
static inline double dp_jv_to_double(dp_jv v) { return v.type == DP_JV_FLOAT ? v.number : (double)dp_jv_to_int(v); }
dp_status dp_jv_equal(dp_jrun *run, dp_jv a, dp_jv b, bool *out);
/* *out < 0, 0, > 0; fails where Python has no order. */
dp_status dp_jv_compare(dp_jrun *run, dp_jv a, dp_jv b, int *out);
dp_status dp_jv_contains(dp_jrun *run, dp_jv container, dp_jv item, bool *out);
/* The elements of anything that can be looped over. */
dp_status dp_jv_iterate(dp_jrun *run, dp_jv value, const dp_jlist **out);
dp_status dp_jv_length(dp_jrun *run, dp_jv value, int64_t *out);
/* Use of an undefined value where Jinja raises UndefinedError. */
dp_status dp_jv_undefined_error(const dp_jrun *run, dp_jv value);

/* ---- printing ---- */

dp_status dp_jv_print(dp_jrun *run, dp_buf *buf, dp_jv value); /* str() */
dp_status dp_jv_repr(dp_jrun *run, dp_buf *buf, dp_jv value);  /* repr() */
dp_status dp_jv_text(dp_jrun *run, dp_jv value, dp_str *out);  /* str() as a string */
void dp_jv_put_double(dp_buf *buf, double value);
typedef struct dp_jjson {
    bool ascii, sort, pretty;
    dp_str indent, item, colon; /* one level of indentation; the two separators */
} dp_jjson;
dp_status dp_jv_json(dp_jrun *run, dp_buf *buf, dp_jv value, const dp_jjson *style);

/* ---- text: strings are UTF-8, positions count code points as in Python ---- */

/* Length of the character at p, 1 for a byte that is no UTF-8; *code_point may be NULL. */
size_t dp_jtext_char(const char *p, size_t n, uint32_t *code_point);
bool dp_jtext_is_space(uint32_t code_point);
int64_t dp_jtext_length(dp_str s);
/* Byte offset of the character with that number, or the size. */
size_t dp_jtext_offset(dp_str s, int64_t position);
/* Cuts characters of `set` off the ends; a NULL set is white space. */
dp_str dp_jtext_strip(dp_str s, const dp_str *set, bool left, bool right);
/* First occurrence at or after `from`; *at = SIZE_MAX when there is none. */
dp_status dp_jtext_find(dp_jrun *run, dp_str s, dp_str what, size_t from, size_t *at);

/* ---- calls: one signature for functions, filters, tests and methods ---- */

enum { DP_JCALL_PARAMS = 6 };
typedef struct dp_jcall {
    dp_jv self;                         /* what is filtered or tested, or the method's object */
    const dp_jv *args;                  /* as written: positional, ... */
    size_t count;
    struct dp_jnamed { dp_str name; dp_jv value; } *named; /* ... and by name */
    size_t named_count;
    const dp_jv *a[DP_JCALL_PARAMS];    /* bound to the declared parameters, NULL where absent */
} dp_jcall;

struct dp_jfunction {
    const char *name;
    const char *params; /* "width first blank"; NULL: the function reads args and named itself */
    dp_status (*fn)(dp_jrun *run, const dp_jcall *call, dp_jv *out);
};

struct dp_jmethod {
    const dp_jfunction *function;
    dp_jv self;
};

/* Binds the arguments and calls. `kind` names it in messages: "filter", "test", "function", "method". */
dp_status dp_jcall_run(dp_jrun *run, const dp_jfunction *function, const char *kind, dp_jcall *call, dp_jv *out);
const dp_jfunction *dp_jfilter_find(dp_str name);
const dp_jfunction *dp_jtest_find(dp_str name);
const dp_jfunction *dp_jglobal_at(size_t i); /* NULL past the end */
const dp_jfunction *dp_jmethod_find(dp_jv object, dp_str name);
/* object.name and object[key]; what is missing is undefined. */
dp_status dp_jv_attribute(dp_jrun *run, dp_jv object, dp_str name, dp_jv *out);
dp_status dp_jv_item(dp_jrun *run, dp_jv object, dp_jv key, dp_jv *out);

/* Text helpers that filters and methods share. */
typedef enum dp_jcase { DP_JCASE_UPPER, DP_JCASE_LOWER, DP_JCASE_CAPITAL, DP_JCASE_TITLE } dp_jcase;
dp_status dp_jtext_case(dp_jrun *run, dp_str s, dp_jcase to, dp_jv *out);
/* Replaces the first `limit` occurrences, all when negative. */
dp_status dp_jtext_replace(dp_jrun *run, dp_str s, const dp_str pair[2], int64_t limit, dp_jv *out);
dp_status dp_jtext_join(dp_jrun *run, const dp_jlist *list, dp_str separator, dp_jv *out);
dp_status dp_jtext_lines(dp_jrun *run, dp_str s, bool keep_ends, dp_jlist *list); /* splitlines() */
/* An argument that must be a string. */
dp_status dp_jarg_string(dp_jrun *run, const dp_jv *arg, const char *what, dp_str *out);
dp_status dp_jfunction_missing(dp_jrun *run, const char *what); /* a required argument was left out */

/* For arguments: the value, or `otherwise` when absent or of another type. */
static inline bool dp_jarg_truth(const dp_jv *arg, bool otherwise) { return arg ? dp_jv_truth(*arg) : otherwise; }
static inline int64_t dp_jarg_int(const dp_jv *arg, int64_t otherwise) {
    return arg && dp_jv_is_int(*arg) ? dp_jv_to_int(*arg) : otherwise;
}

#endif
