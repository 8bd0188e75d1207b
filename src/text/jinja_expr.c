/* jinja_expr.c: the expression grammar, with Jinja's precedence: inline if < or < and < not < comparison < + - < ~ <
 * * / // % < ** < unary sign < filters and tests < call, index, attribute. */
#include "text/jinja_ast.h"

static dp_status unary(dp_jparser *p, bool filters, dp_jexpr **out);

static bool is_op(const dp_jparser *p, const char *text) { return dp_jparser_is(p, DP_JT_OPERATOR, text); }
static bool skip_op(dp_jparser *p, const char *text) { return dp_jparser_skip(p, DP_JT_OPERATOR, text); }
static bool is_word(const dp_jparser *p, const char *text) { return dp_jparser_is(p, DP_JT_NAME, text); }
static bool skip_word(dp_jparser *p, const char *text) { return dp_jparser_skip(p, DP_JT_NAME, text); }

static dp_status new_expr(dp_jparser *p, dp_jexpr_kind kind, dp_jexpr *a, dp_jexpr **out) {
    dp_jexpr *expr;
    int line = p->at->line;
    TRY(dp_jparser_alloc(p, sizeof *expr, (void **)&expr));
    expr->kind = (uint8_t)kind;
    expr->line = line;
    expr->a = a;
    *out = expr;
    return DP_OK;
}

static dp_status constant(dp_jparser *p, dp_jv value, dp_jexpr **out) {
    TRY(new_expr(p, DP_JX_CONST, NULL, out));
    (*out)->value = value;
    return DP_OK;
}

/* Appends a zeroed argument at the end that *tail points to. */
static dp_status add_arg(dp_jparser *p, dp_jarg ***tail, dp_jarg **out) {
    dp_jarg *arg;
    TRY(dp_jparser_alloc(p, sizeof *arg, (void **)&arg));
    **tail = arg;
    *tail = &arg->next;
    *out = arg;
    return DP_OK;
}

/* Elements up to `close`, with a trailing comma allowed. `first` (may be NULL) was read already and ',' stands next. */
static dp_status elements(dp_jparser *p, const char *close, dp_jexpr *first, dp_jexpr *list) {
    dp_jarg **tail = &list->args, *arg;
    if (first) {
        TRY(add_arg(p, &tail, &arg));
        arg->value = first;
        list->arg_count = 1;
        if (!skip_op(p, ",")) return dp_jparser_expect(p, DP_JT_OPERATOR, close);
    }
    while (!skip_op(p, close)) {
        TRY(add_arg(p, &tail, &arg));
        TRY(dp_jexpr_parse(p, &arg->value));
        list->arg_count++;
        if (!skip_op(p, ",")) return dp_jparser_expect(p, DP_JT_OPERATOR, close);
    }
    return DP_OK;
}

static dp_status dict_literal(dp_jparser *p, dp_jexpr **out) {
    dp_jarg *arg;
    TRY(new_expr(p, DP_JX_DICT, NULL, out));
    dp_jarg **tail = &(*out)->args;
    while (!skip_op(p, "}")) {
        TRY(add_arg(p, &tail, &arg));
        TRY(dp_jexpr_parse(p, &arg->value));
        TRY(dp_jparser_expect(p, DP_JT_OPERATOR, ":"));
        TRY(add_arg(p, &tail, &arg));
        TRY(dp_jexpr_parse(p, &arg->value));
        (*out)->arg_count += 2;
        if (!skip_op(p, ",")) return dp_jparser_expect(p, DP_JT_OPERATOR, "}");
    }
    return DP_OK;
}

/* Behind '(': a parenthesis or a tuple. */
static dp_status parenthesis(dp_jparser *p, dp_jexpr **out) {
    dp_jexpr *first = NULL;
    if (!is_op(p, ")")) {
        TRY(dp_jexpr_parse(p, &first));
        if (skip_op(p, ")")) return *out = first, DP_OK;
    }
    TRY(new_expr(p, DP_JX_TUPLE, NULL, out));
    return elements(p, ")", first, *out);
}

/* Neighbouring string literals are one string. */
static dp_status string_literal(dp_jparser *p, dp_jexpr **out) {
    dp_str text = p->at++->text;
    size_t size = text.n;
    const dp_jtoken *end = p->at;
    for (; end->kind == DP_JT_STRING; end++) size += end->text.n;
    if (end > p->at) {
        char *joined = dp_arena_alloc(&p->jinja->arena, size + 1);
        if (!joined) return dp_no_memory(size);
        size_t n = 0;
        for (const dp_jtoken *t = p->at - 1; t < end; n += t++->text.n)
            if (t->text.n) memcpy(joined + n, t->text.p, t->text.n);
        text = (dp_str){joined, size};
        p->at = end;
    }
    return constant(p, dp_jv_string(text), out);
}

static dp_status name(dp_jparser *p, dp_jexpr **out) {
    dp_str word = p->at->text;
    bool is_true = dp_str_is(word, "true") || dp_str_is(word, "True");
    if (is_true || dp_str_is(word, "false") || dp_str_is(word, "False")) {
        TRY(constant(p, dp_jv_bool(is_true), out));
    } else if (dp_str_is(word, "none") || dp_str_is(word, "None")) {
        TRY(constant(p, dp_jv_none(), out));
    } else {
        TRY(new_expr(p, DP_JX_NAME, NULL, out));
        TRY(dp_jparser_symbol(p, word, &(*out)->symbol));
        (*out)->name = word;
    }
    p->at++;
    return DP_OK;
}

static dp_status primary(dp_jparser *p, dp_jexpr **out) {
    if (p->at->kind == DP_JT_NAME) return name(p, out);
    if (p->at->kind == DP_JT_STRING) return string_literal(p, out);
    if (p->at->kind == DP_JT_NUMBER) return constant(p, p->at++->value, out);
    if (skip_op(p, "(")) return parenthesis(p, out);
    if (skip_op(p, "{")) return dict_literal(p, out);
    if (skip_op(p, "[")) {
        TRY(new_expr(p, DP_JX_LIST, NULL, out));
        return elements(p, "]", NULL, *out);
    }
    return dp_jparser_unexpected(p, "an expression");
}

/* ---- what follows a primary ---- */

/* Behind '('. */
static dp_status call_arguments(dp_jparser *p, dp_jexpr *call) {
    dp_jarg **tail = &call->args, *arg;
    while (!skip_op(p, ")")) {
        if (is_op(p, "*") || is_op(p, "**"))
            return dp_fail(DP_E_UNSUPPORTED, "chat template, line %d: unpacking of arguments with '%.*s'", p->at->line,
                           DP_STR_ARG(p->at->text));
        TRY(add_arg(p, &tail, &arg));
        if (p->at->kind == DP_JT_NAME && p->at[1].kind == DP_JT_OPERATOR && dp_str_is(p->at[1].text, "=")) {
            arg->name = p->at->text;
            call->named_count++;
            p->at += 2;
        } else if (call->named_count) {
            return dp_jparser_unexpected(p, "a named argument");
        } else {
            call->arg_count++;
        }
        TRY(dp_jexpr_parse(p, &arg->value));
        if (!skip_op(p, ",")) return dp_jparser_expect(p, DP_JT_OPERATOR, ")");
    }
    return DP_OK;
}

/* Behind '[': an index, or bounds of a slice of which *sliced tells. */
static dp_status subscript(dp_jparser *p, dp_jexpr *object, dp_jexpr **out) {
    dp_jexpr *bound[3] = {NULL};
    bool sliced = false;
    for (int i = 0; i < 3; i++) {
        if (i && !skip_op(p, ":")) break;
        sliced |= i > 0;
        if (!is_op(p, ":") && !is_op(p, "]")) TRY(dp_jexpr_parse(p, &bound[i]));
    }
    if (!sliced && !bound[0]) return dp_jparser_unexpected(p, "an index");
    if (is_op(p, ",")) return dp_fail(DP_E_UNSUPPORTED, "chat template, line %d: index of several parts", p->at->line);
    TRY(new_expr(p, sliced ? DP_JX_SLICE : DP_JX_ITEM, object, out));
    (*out)->b = bound[0];
    dp_jarg **tail = &(*out)->args, *arg;
    for (int i = 0; sliced && i < 3; i++) {
        TRY(add_arg(p, &tail, &arg));
        arg->value = bound[i];
        if (!bound[i]) TRY(constant(p, dp_jv_none(), &arg->value));
    }
    return dp_jparser_expect(p, DP_JT_OPERATOR, "]");
}

static dp_status attribute(dp_jparser *p, dp_jexpr *object, dp_jexpr **out) {
    if (p->at->kind == DP_JT_NUMBER && p->at->value.type == DP_JV_INT) {
        TRY(new_expr(p, DP_JX_ITEM, object, out));
        return constant(p, p->at++->value, &(*out)->b);
    }
    if (p->at->kind != DP_JT_NAME) return dp_jparser_unexpected(p, "an attribute's name");
    TRY(new_expr(p, DP_JX_ATTRIBUTE, object, out));
    (*out)->name = p->at++->text;
    return DP_OK;
}

static dp_status postfix(dp_jparser *p, dp_jexpr **expr) {
    for (;;) {
        if (skip_op(p, ".")) {
            TRY(attribute(p, *expr, expr));
        } else if (skip_op(p, "[")) {
            TRY(subscript(p, *expr, expr));
        } else if (skip_op(p, "(")) {
            TRY(new_expr(p, DP_JX_CALL, *expr, expr));
            TRY(call_arguments(p, *expr));
        } else {
            return DP_OK;
        }
    }
}

dp_status dp_jexpr_parse_filter(dp_jparser *p, dp_jexpr **chain) {
    if (p->at->kind != DP_JT_NAME) return dp_jparser_unexpected(p, "a filter's name");
    TRY(new_expr(p, DP_JX_FILTER, *chain, chain));
    (*chain)->name = p->at++->text;
    (*chain)->function = dp_jfilter_find((*chain)->name);
    return skip_op(p, "(") ? call_arguments(p, *chain) : DP_OK;
}

dp_status dp_jexpr_parse_filters(dp_jparser *p, dp_jexpr **chain) {
    while (skip_op(p, "|")) TRY(dp_jexpr_parse_filter(p, chain));
    return DP_OK;
}

/* An argument without parentheses may follow a test's name: "x is divisibleby 3". */
static bool bare_argument(const dp_jparser *p) {
    if (p->at->kind == DP_JT_NAME)
        return !is_word(p, "else") && !is_word(p, "or") && !is_word(p, "and") && !is_word(p, "is") && !is_word(p, "if");
    return p->at->kind == DP_JT_STRING || p->at->kind == DP_JT_NUMBER || is_op(p, "(") || is_op(p, "[") ||
           is_op(p, "{");
}

/* Behind 'is'. */
static dp_status test(dp_jparser *p, dp_jexpr **expr) {
    bool negated = skip_word(p, "not");
    if (p->at->kind != DP_JT_NAME) return dp_jparser_unexpected(p, "a test's name");
    TRY(new_expr(p, DP_JX_TEST, *expr, expr));
    dp_jexpr *test_expr = *expr;
    test_expr->name = p->at++->text;
    test_expr->function = dp_jtest_find(test_expr->name);
    if (skip_op(p, "(")) {
        TRY(call_arguments(p, test_expr));
    } else if (bare_argument(p)) {
        dp_jarg **tail = &test_expr->args, *arg;
        TRY(add_arg(p, &tail, &arg));
        TRY(primary(p, &arg->value));
        TRY(postfix(p, &arg->value));
        test_expr->arg_count = 1;
    }
    return negated ? new_expr(p, DP_JX_NOT, test_expr, expr) : DP_OK;
}

dp_status dp_jexpr_parse_call(dp_jparser *p, dp_jexpr **out) {
    TRY(primary(p, out));
    return postfix(p, out);
}

/* ---- operators ---- */

static dp_status unary(dp_jparser *p, bool filters, dp_jexpr **out) {
    TRY(dp_jparser_enter(p));
    bool negate = is_op(p, "-");
    if (negate || is_op(p, "+")) {
        p->at++;
        TRY(unary(p, false, out));
        TRY(new_expr(p, negate ? DP_JX_NEGATE : DP_JX_PLUS, *out, out));
    } else {
        TRY(primary(p, out));
    }
    TRY(postfix(p, out));
    while (filters) {
        TRY(dp_jexpr_parse_filters(p, out));
        if (!skip_word(p, "is")) break;
        TRY(test(p, out));
    }
    p->depth--;
    return DP_OK;
}

/* Left-associative levels of binary operators, loosest first; ~ stands between the two arithmetic ones. */
enum { LEVEL_SUM, LEVEL_CONCAT, LEVEL_PRODUCT, LEVEL_POWER, LEVEL_UNARY };
static const struct { const char *text; uint8_t level, op; } binary_operators[] = {
    {"+", LEVEL_SUM, DP_JOP_ADD},     {"-", LEVEL_SUM, DP_JOP_SUB},          {"*", LEVEL_PRODUCT, DP_JOP_MUL},
    {"/", LEVEL_PRODUCT, DP_JOP_DIV}, {"//", LEVEL_PRODUCT, DP_JOP_FLOORDIV}, {"%", LEVEL_PRODUCT, DP_JOP_MOD},
    {"**", LEVEL_POWER, DP_JOP_POW},
};

static int operator_at(const dp_jparser *p, int level) {
    if (p->at->kind != DP_JT_OPERATOR) return -1;
    for (size_t i = 0; i < DP_COUNT(binary_operators); i++)
        if (binary_operators[i].level == level && dp_str_is(p->at->text, binary_operators[i].text))
            return binary_operators[i].op;
    return -1;
}

static dp_status binary(dp_jparser *p, int level, dp_jexpr **out);

static dp_status concat(dp_jparser *p, dp_jexpr **out) {
    dp_jexpr *first;
    dp_jarg *arg;
    TRY(binary(p, LEVEL_PRODUCT, &first));
    *out = first;
    if (!is_op(p, "~")) return DP_OK;
    TRY(new_expr(p, DP_JX_CONCAT, NULL, out));
    dp_jarg **tail = &(*out)->args;
    TRY(add_arg(p, &tail, &arg));
    arg->value = first;
    while (skip_op(p, "~")) {
        TRY(add_arg(p, &tail, &arg));
        TRY(binary(p, LEVEL_PRODUCT, &arg->value));
    }
    return DP_OK;
}

static dp_status binary(dp_jparser *p, int level, dp_jexpr **out) {
    if (level == LEVEL_UNARY) return unary(p, true, out);
    if (level == LEVEL_CONCAT) return concat(p, out);
    TRY(binary(p, level + 1, out));
    for (int op; (op = operator_at(p, level)) >= 0;) {
        p->at++;
        TRY(new_expr(p, DP_JX_BINARY, *out, out));
        (*out)->op = (uint8_t)op;
        TRY(binary(p, level + 1, &(*out)->b));
    }
    return DP_OK;
}

static int comparison_at(dp_jparser *p) {
    static const struct { const char *text; int op;
    } table[] = {{"==", DP_JOP_EQ}, {"!=", DP_JOP_NE}, {"<", DP_JOP_LT},
                 {"<=", DP_JOP_LE}, {">", DP_JOP_GT},  {">=", DP_JOP_GE}};
    for (size_t i = 0; i < DP_COUNT(table); i++)
        if (skip_op(p, table[i].text)) return table[i].op;
    if (skip_word(p, "in")) return DP_JOP_IN;
    if (is_word(p, "not") && p->at[1].kind == DP_JT_NAME && dp_str_is(p->at[1].text, "in"))
        return p->at += 2, DP_JOP_NOT_IN;
    return -1;
}

static dp_status comparison(dp_jparser *p, dp_jexpr **out) {
    TRY(binary(p, LEVEL_SUM, out));
    dp_jarg **tail = NULL, *arg;
    for (int op; (op = comparison_at(p)) >= 0;) {
        if (!tail) {
            TRY(new_expr(p, DP_JX_COMPARE, *out, out));
            tail = &(*out)->args;
        }
        TRY(add_arg(p, &tail, &arg));
        arg->op = (uint8_t)op;
        TRY(binary(p, LEVEL_SUM, &arg->value));
    }
    return DP_OK;
}

static dp_status negation(dp_jparser *p, dp_jexpr **out) {
    size_t nots = 0;
    while (skip_word(p, "not")) nots++;
    TRY(comparison(p, out));
    if (nots) TRY(new_expr(p, DP_JX_NOT, *out, out));
    return nots && nots % 2 == 0 ? new_expr(p, DP_JX_NOT, *out, out) : DP_OK;
}

static dp_status conjunction(dp_jparser *p, dp_jexpr **out) {
    TRY(negation(p, out));
    while (skip_word(p, "and")) {
        TRY(new_expr(p, DP_JX_AND, *out, out));
        TRY(negation(p, &(*out)->b));
    }
    return DP_OK;
}

dp_status dp_jexpr_parse_or(dp_jparser *p, dp_jexpr **out) {
    TRY(conjunction(p, out));
    while (skip_word(p, "or")) {
        TRY(new_expr(p, DP_JX_OR, *out, out));
        TRY(conjunction(p, &(*out)->b));
    }
    return DP_OK;
}

dp_status dp_jexpr_parse(dp_jparser *p, dp_jexpr **out) {
    TRY(dp_jparser_enter(p));
    TRY(dp_jexpr_parse_or(p, out));
    while (skip_word(p, "if")) {
        TRY(new_expr(p, DP_JX_IF, *out, out));
        TRY(dp_jexpr_parse_or(p, &(*out)->b));
        if (skip_word(p, "else")) TRY(dp_jexpr_parse(p, &(*out)->c));
    }
    p->depth--;
    return DP_OK;
}

dp_status dp_jexpr_parse_tuple(dp_jparser *p, bool with_if, dp_jexpr **out) {
    dp_jexpr *first;
    TRY(with_if ? dp_jexpr_parse(p, &first) : dp_jexpr_parse_or(p, &first));
    *out = first;
    if (!is_op(p, ",")) return DP_OK;
    TRY(new_expr(p, DP_JX_TUPLE, NULL, out));
    dp_jarg **tail = &(*out)->args, *arg;
    TRY(add_arg(p, &tail, &arg));
    arg->value = first;
    (*out)->arg_count = 1;
    while (skip_op(p, ",")) {
        if (p->at->kind == DP_JT_BLOCK_END || p->at->kind == DP_JT_VARIABLE_END) break;
        TRY(add_arg(p, &tail, &arg));
        TRY(with_if ? dp_jexpr_parse(p, &arg->value) : dp_jexpr_parse_or(p, &arg->value));
        (*out)->arg_count++;
    }
    return DP_OK;
}
