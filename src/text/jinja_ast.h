/* jinja_ast.h: tokens and syntax tree of a template. Internal to the Jinja interpreter.
 * The tree and every string in it live in the template's arena and never change after dp_jinja_parse. */
#ifndef DP_JINJA_AST_H
#define DP_JINJA_AST_H

#include "base/map.h"
#include "text/jinja_value.h"

/* ---- tokens ---- */

typedef enum dp_jtoken_kind {
    DP_JT_END,
    DP_JT_TEXT,
    DP_JT_VARIABLE_BEGIN,
    DP_JT_VARIABLE_END,
    DP_JT_BLOCK_BEGIN,
    DP_JT_BLOCK_END,
    DP_JT_NAME,
    DP_JT_STRING,
    DP_JT_NUMBER,
    DP_JT_OPERATOR /* `text` holds it */
} dp_jtoken_kind;

typedef struct dp_jtoken {
    uint8_t kind;
    int line;
    dp_str text; /* of strings: unescaped */
    dp_jv value; /* of numbers */
} dp_jtoken;

typedef struct dp_jtokens {
    dp_jtoken *items; /* ends with DP_JT_END; release with dp_free */
    size_t count, capacity;
} dp_jtokens;

/* `source` must have "\n" line ends. Slices point into it or into the arena. On failure the caller frees items too. */
dp_status dp_jinja_lex(dp_arena *arena, dp_str source, dp_jtokens *out);
dp_status dp_jinja_syntax(int line, const char *format, ...) DP_PRINTF(2, 3);

/* ---- expressions ---- */

typedef enum dp_jexpr_kind {
    DP_JX_CONST,     /* value */
    DP_JX_NAME,      /* symbol */
    DP_JX_LIST,      /* args */
    DP_JX_TUPLE,     /* args */
    DP_JX_DICT,      /* args, keys and values in turn */
    DP_JX_ATTRIBUTE, /* a.name */
    DP_JX_ITEM,      /* a[b] */
    DP_JX_SLICE,     /* a[args 0:1:2], CONST none where left out */
    DP_JX_CALL,      /* a(args) */
    DP_JX_FILTER,    /* a | name(args); a == NULL: dp_jrun.block, the text of a filter or set block */
    DP_JX_TEST,      /* a is name(args) */
    DP_JX_NOT,
    DP_JX_NEGATE,
    DP_JX_PLUS,
    DP_JX_AND,
    DP_JX_OR,
    DP_JX_IF,      /* a if b else c; c may be NULL */
    DP_JX_BINARY,  /* a op b, arithmetic */
    DP_JX_COMPARE, /* a, then args with their operators */
    DP_JX_CONCAT   /* args joined by ~ */
} dp_jexpr_kind;

typedef enum dp_jop {
    DP_JOP_ADD, DP_JOP_SUB, DP_JOP_MUL, DP_JOP_DIV, DP_JOP_FLOORDIV, DP_JOP_MOD, DP_JOP_POW,
    DP_JOP_EQ, DP_JOP_NE, DP_JOP_LT, DP_JOP_LE, DP_JOP_GT, DP_JOP_GE, DP_JOP_IN, DP_JOP_NOT_IN
} dp_jop;

typedef struct dp_jexpr dp_jexpr;
typedef struct dp_jarg { /* an element, argument or comparison operand */
    dp_jexpr *value;
    dp_str name; /* of an argument by name, else empty */
    uint8_t op;  /* of a comparison: dp_jop */
    struct dp_jarg *next;
} dp_jarg;

struct dp_jexpr {
    uint8_t kind, op;
    int line;
    uint32_t symbol;
    uint32_t arg_count, named_count; /* positional come first */
    dp_jexpr *a, *b, *c;
    dp_jarg *args;
    dp_str name;
    dp_jv value;
    const dp_jfunction *function; /* of a filter or test; NULL: unknown, an error only when it is reached */
};

/* ---- statements ---- */

typedef enum dp_jnode_kind {
    DP_JN_TEXT,     /* text */
    DP_JN_OUTPUT,   /* expr */
    DP_JN_IF,       /* expr, body, other (an IF for elif is the only node of `other`) */
    DP_JN_FOR,      /* targets in expr if filter: body, other */
    DP_JN_SET,      /* targets = expr */
    DP_JN_CAPTURE,  /* set block: targets = body, through expr (a filter chain) if present */
    DP_JN_FILTER,   /* filter block: body through expr */
    DP_JN_MACRO,    /* macro */
    DP_JN_CALL,     /* call block: expr is the call, macro the caller */
    DP_JN_WITH,     /* assignments in `other` (SET nodes), body */
    DP_JN_BREAK,
    DP_JN_CONTINUE
} dp_jnode_kind;

typedef struct dp_jtarget { /* one name, namespace attribute or tuple that is assigned to */
    uint32_t symbol;
    dp_str attribute;          /* of a namespace; empty for a plain name */
    struct dp_jtarget *parts;  /* of a tuple; then the rest is unused */
    struct dp_jtarget *next;
} dp_jtarget;

typedef struct dp_jparam {
    uint32_t symbol;
    dp_str name;
    dp_jexpr *otherwise; /* default, NULL if none */
    struct dp_jparam *next;
} dp_jparam;

typedef struct dp_jnode dp_jnode;
typedef struct dp_jmacro_code {
    dp_str name;
    uint32_t symbol;
    dp_jparam *params;
    bool has_defaults;
    dp_jnode *body;
} dp_jmacro_code;

struct dp_jnode {
    uint8_t kind;
    int line;
    dp_str text;
    dp_jexpr *expr, *filter;
    dp_jtarget *target;
    dp_jmacro_code *macro;
    dp_jnode *body, *other;
    dp_jnode *next;
};

/* ---- the parsed template ---- */

struct dp_jinja {
    dp_arena arena;
    dp_map symbols; /* name -> number */
    uint32_t symbol_count;
    uint32_t loop, caller; /* symbols the interpreter sets */
    dp_jnode *body;
};

typedef struct dp_jparser {
    struct dp_jinja *jinja;
    const dp_jtoken *at;
    int depth;      /* of nesting, bounded so that recursion is */
    int loop_depth; /* break and continue need one */
} dp_jparser;

enum { DP_JPARSER_DEPTH_MAX = 100 };

dp_status dp_jparser_alloc(dp_jparser *parser, size_t size, void **out); /* zeroed */
dp_status dp_jparser_symbol(dp_jparser *parser, dp_str name, uint32_t *out);
bool dp_jparser_is(const dp_jparser *parser, dp_jtoken_kind kind, const char *text);
bool dp_jparser_skip(dp_jparser *parser, dp_jtoken_kind kind, const char *text);
dp_status dp_jparser_expect(dp_jparser *parser, dp_jtoken_kind kind, const char *text);
/* Fails with what stands at the parser and what was wanted there. */
dp_status dp_jparser_unexpected(const dp_jparser *parser, const char *wanted);
dp_status dp_jparser_enter(dp_jparser *parser); /* one level deeper; leave with depth-- */

dp_status dp_jexpr_parse(dp_jparser *parser, dp_jexpr **out);
dp_status dp_jexpr_parse_or(dp_jparser *parser, dp_jexpr **out);                    /* without inline if */
dp_status dp_jexpr_parse_tuple(dp_jparser *parser, bool with_if, dp_jexpr **out); /* a or a, b */
dp_status dp_jexpr_parse_filters(dp_jparser *parser, dp_jexpr **chain);           /* "| name(args)" any number of times */
dp_status dp_jexpr_parse_filter(dp_jparser *parser, dp_jexpr **chain);            /* one, behind its '|' */
dp_status dp_jexpr_parse_call(dp_jparser *parser, dp_jexpr **out);                /* no operators around it */

/* ---- evaluation ---- */

struct dp_jscope {
    dp_jscope *parent;
    struct dp_jbinding {
        uint32_t symbol;
        dp_jv value;
        struct dp_jbinding *next;
    } *bindings;
};

struct dp_jmacro {
    const dp_jmacro_code *code;
    dp_jscope *scope; /* where it was defined */
};

struct dp_jloop {
    const dp_jlist *list;
    size_t index;
    dp_jv changed; /* what changed() saw last, UNSET before */
};

dp_status dp_jexpr_eval(dp_jrun *run, const dp_jexpr *expr, dp_jv *out);
/* Evaluates the arguments of a call, filter or test; `spare` more named ones fit behind them. */
dp_status dp_jcall_arguments(dp_jrun *run, const dp_jexpr *expr, size_t spare, dp_jcall *call);
dp_status dp_jop_binary(dp_jrun *run, dp_jop op, const dp_jv operands[2], dp_jv *out);
dp_status dp_jop_compare(dp_jrun *run, dp_jop op, const dp_jv operands[2], bool *out);
dp_status dp_jop_slice(dp_jrun *run, dp_jv object, const dp_jv bounds[3], dp_jv *out);
dp_status dp_jmacro_call(dp_jrun *run, const dp_jmacro *macro, const dp_jcall *call, dp_jv *out);
dp_status dp_jnode_run(dp_jrun *run, const dp_jnode *nodes);
dp_status dp_jscope_set(dp_jrun *run, uint32_t symbol, dp_jv value);
dp_status dp_jscope_get(dp_jrun *run, uint32_t symbol, dp_jv *out); /* UNSET when nobody assigned it */
dp_status dp_jrun_enter(dp_jrun *run);
static inline void dp_jrun_leave(dp_jrun *run) { run->depth--; }

#endif
