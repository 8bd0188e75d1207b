/* jinja_eval.c: expressions -> values. Walks the tree; depth and work are charged to the render. */
#include "text/jinja_ast.h"

dp_status dp_jrun_enter(dp_jrun *run) {
    if (++run->depth > DP_JRUN_DEPTH_MAX)
        return dp_jrun_fail(run, DP_E_UNSUPPORTED, "evaluation nested deeper than %d levels", DP_JRUN_DEPTH_MAX);
    return dp_jrun_tick(run, 1);
}

/* ---- names ---- */

dp_status dp_jscope_get(dp_jrun *run, uint32_t symbol, dp_jv *out) {
    for (const dp_jscope *scope = run->scope; scope; scope = scope->parent) {
        size_t passed = 0;
        for (const struct dp_jbinding *b = scope->bindings; b; b = b->next, passed++)
            if (b->symbol == symbol) return *out = b->value, DP_OK;
        TRY(dp_jrun_tick(run, passed));
    }
    *out = run->globals[symbol];
    return DP_OK;
}

dp_status dp_jscope_set(dp_jrun *run, uint32_t symbol, dp_jv value) {
    if (!run->scope) return run->globals[symbol] = value, DP_OK;
    struct dp_jbinding *b = run->scope->bindings;
    for (size_t passed = 0; b; b = b->next) {
        if (b->symbol == symbol) return b->value = value, DP_OK;
        if (++passed % 8 == 0) TRY(dp_jrun_tick(run, 8));
    }
    TRY(dp_jrun_alloc(run, sizeof *b, (void **)&b));
    *b = (struct dp_jbinding){symbol, value, run->scope->bindings};
    run->scope->bindings = b;
    return DP_OK;
}

/* ---- calls ---- */

/* Position of `name` among the words of `params`, or -1. */
static int param_index(const char *params, dp_str name) {
    int index = 0;
    for (const char *p = params; *p; index++) {
        size_t n = strcspn(p, " ");
        if (n == name.n && memcmp(p, name.p, n) == 0) return index;
        p += n + (p[n] == ' ');
    }
    return -1;
}

static size_t param_count(const char *params) {
    size_t count = *params != 0;
    for (; *params; params++) count += *params == ' ';
    return count;
}

dp_status dp_jcall_run(dp_jrun *run, const dp_jfunction *function, const char *kind, dp_jcall *call, dp_jv *out) {
    if (!function->params) return function->fn(run, call, out);
    if (call->count > param_count(function->params))
        return dp_jrun_fail(run, DP_E_UNSUPPORTED, "%s '%s' with %zu arguments", kind, function->name, call->count);
    for (size_t i = 0; i < call->count; i++) call->a[i] = &call->args[i];
    for (size_t i = 0; i < call->named_count; i++) {
        int index = param_index(function->params, call->named[i].name);
        if (index < 0)
            return dp_jrun_fail(run, DP_E_UNSUPPORTED, "%s '%s' has no argument '" DP_STR_FMT "'", kind, function->name,
                                DP_STR_ARG(call->named[i].name));
        call->a[index] = &call->named[i].value;
    }
    return function->fn(run, call, out);
}

dp_status dp_jcall_arguments(dp_jrun *run, const dp_jexpr *expr, size_t spare, dp_jcall *call) {
    dp_jv *args;
    struct dp_jnamed *named;
    if (!expr->args && !spare) return DP_OK;
    TRY(dp_jrun_alloc(run, expr->arg_count * sizeof *args, (void **)&args));
    TRY(dp_jrun_alloc(run, (expr->named_count + spare) * sizeof *named, (void **)&named));
    for (const dp_jarg *arg = expr->args; arg; arg = arg->next) {
        dp_jv value;
        TRY(dp_jexpr_eval(run, arg->value, &value));
        if (arg->name.n) named[call->named_count++] = (struct dp_jnamed){arg->name, value};
        else args[call->count++] = value;
    }
    call->args = args;
    call->named = named;
    return DP_OK;
}

static dp_status eval_call(dp_jrun *run, const dp_jexpr *expr, dp_jv *out) {
    dp_jcall call = {0};
    dp_jv callee;
    TRY(dp_jexpr_eval(run, expr->a, &callee));
    TRY(dp_jcall_arguments(run, expr, 0, &call));
    run->line = expr->line;
    switch ((dp_jv_type)callee.type) {
    case DP_JV_FUNCTION: return dp_jcall_run(run, callee.function, "function", &call, out);
    case DP_JV_METHOD:
        call.self = callee.method->self;
        return dp_jcall_run(run, callee.method->function, "method", &call, out);
    case DP_JV_MACRO: return dp_jmacro_call(run, callee.macro, &call, out);
    case DP_JV_JOINER:
        *out = dp_jv_string(callee.joiner->used ? callee.joiner->separator : DP_LIT(""));
        callee.joiner->used = true;
        return DP_OK;
    case DP_JV_UNDEFINED: /* an unknown function or method */
        if (expr->a->kind == DP_JX_ATTRIBUTE)
            return dp_jrun_fail(run, DP_E_UNSUPPORTED, "unknown method '" DP_STR_FMT "'", DP_STR_ARG(expr->a->name));
        if (expr->a->kind == DP_JX_NAME)
            return dp_jrun_fail(run, DP_E_UNSUPPORTED, "unknown function '" DP_STR_FMT "'", DP_STR_ARG(expr->a->name));
        return dp_jv_undefined_error(run, callee);
    default: return dp_jrun_fail(run, DP_E_ARG, "%s cannot be called", dp_jv_type_name(callee));
    }
}

static dp_status eval_filter(dp_jrun *run, const dp_jexpr *expr, dp_jv *out) {
    dp_jcall call = {.self = run->block};
    if (expr->a) TRY(dp_jexpr_eval(run, expr->a, &call.self));
    TRY(dp_jcall_arguments(run, expr, 0, &call));
    run->line = expr->line;
    if (expr->function) return dp_jcall_run(run, expr->function, "filter", &call, out);
    return dp_jrun_fail(run, DP_E_UNSUPPORTED, "unknown filter '" DP_STR_FMT "'", DP_STR_ARG(expr->name));
}

static dp_status eval_test(dp_jrun *run, const dp_jexpr *expr, dp_jv *out) {
    dp_jcall call = {0};
    TRY(dp_jexpr_eval(run, expr->a, &call.self));
    TRY(dp_jcall_arguments(run, expr, 0, &call));
    run->line = expr->line;
    if (expr->function) return dp_jcall_run(run, expr->function, "test", &call, out);
    return dp_jrun_fail(run, DP_E_UNSUPPORTED, "unknown test '" DP_STR_FMT "'", DP_STR_ARG(expr->name));
}

/* ---- literals and operators ---- */

static dp_status eval_list(dp_jrun *run, const dp_jexpr *expr, dp_jv *out) {
    dp_jlist *list;
    TRY(dp_jlist_new(run, &list));
    for (const dp_jarg *arg = expr->args; arg; arg = arg->next) {
        dp_jv item;
        TRY(dp_jexpr_eval(run, arg->value, &item));
        TRY(dp_jlist_push(run, list, item));
    }
    *out = dp_jv_list(expr->kind == DP_JX_LIST ? DP_JV_LIST : DP_JV_TUPLE, list);
    return DP_OK;
}

static dp_status eval_dict(dp_jrun *run, const dp_jexpr *expr, dp_jv *out) {
    dp_jdict *dict;
    TRY(dp_jdict_new(run, &dict));
    for (const dp_jarg *arg = expr->args; arg; arg = arg->next->next) {
        dp_jv key, value;
        TRY(dp_jexpr_eval(run, arg->value, &key));
        TRY(dp_jexpr_eval(run, arg->next->value, &value));
        TRY(dp_jdict_set(run, dict, key, value));
    }
    *out = (dp_jv){.type = DP_JV_DICT, .dict = dict};
    return DP_OK;
}

static dp_status eval_concat(dp_jrun *run, const dp_jexpr *expr, dp_jv *out) {
    dp_buf buf = {0};
    dp_status status = DP_OK;
    for (const dp_jarg *arg = expr->args; arg && status == DP_OK; arg = arg->next) {
        dp_jv value;
        status = dp_jexpr_eval(run, arg->value, &value);
        if (status == DP_OK) status = dp_jv_print(run, &buf, value);
    }
    if (status == DP_OK) status = dp_jrun_take(run, &buf, out);
    dp_buf_free(&buf);
    return status;
}

/* a < b < c: each neighbour pair must hold; evaluation stops at the first that does not. */
static dp_status eval_compare(dp_jrun *run, const dp_jexpr *expr, dp_jv *out) {
    dp_jv pair[2];
    bool holds = true;
    TRY(dp_jexpr_eval(run, expr->a, &pair[0]));
    for (const dp_jarg *arg = expr->args; arg && holds; arg = arg->next) {
        TRY(dp_jexpr_eval(run, arg->value, &pair[1]));
        run->line = expr->line;
        TRY(dp_jop_compare(run, (dp_jop)arg->op, pair, &holds));
        pair[0] = pair[1];
    }
    *out = dp_jv_bool(holds);
    return DP_OK;
}

static dp_status eval_binary(dp_jrun *run, const dp_jexpr *expr, dp_jv *out) {
    dp_jv pair[2];
    TRY(dp_jexpr_eval(run, expr->a, &pair[0]));
    TRY(dp_jexpr_eval(run, expr->b, &pair[1]));
    run->line = expr->line;
    return dp_jop_binary(run, (dp_jop)expr->op, pair, out);
}

static dp_status eval_slice(dp_jrun *run, const dp_jexpr *expr, dp_jv *out) {
    dp_jv object, bounds[3];
    TRY(dp_jexpr_eval(run, expr->a, &object));
    int i = 0;
    for (const dp_jarg *arg = expr->args; arg; arg = arg->next) TRY(dp_jexpr_eval(run, arg->value, &bounds[i++]));
    run->line = expr->line;
    return dp_jop_slice(run, object, bounds, out);
}

static dp_status eval_sign(dp_jrun *run, const dp_jexpr *expr, dp_jv *out) {
    dp_jv pair[2] = {dp_jv_int(0)};
    TRY(dp_jexpr_eval(run, expr->a, &pair[1]));
    if (pair[1].type == DP_JV_FLOAT) {
        *out = dp_jv_float(expr->kind == DP_JX_NEGATE ? -pair[1].number : pair[1].number);
        return DP_OK;
    }
    run->line = expr->line;
    return dp_jop_binary(run, expr->kind == DP_JX_NEGATE ? DP_JOP_SUB : DP_JOP_ADD, pair, out);
}

static dp_status eval_name(dp_jrun *run, const dp_jexpr *expr, dp_jv *out) {
    TRY(dp_jscope_get(run, expr->symbol, out));
    if (out->type == DP_JV_UNSET) *out = (dp_jv){.type = DP_JV_UNDEFINED, .string = expr->name};
    return DP_OK;
}

static dp_status eval_if(dp_jrun *run, const dp_jexpr *expr, dp_jv *out) {
    dp_jv condition;
    TRY(dp_jexpr_eval(run, expr->b, &condition));
    if (dp_jv_truth(condition)) return dp_jexpr_eval(run, expr->a, out);
    if (expr->c) return dp_jexpr_eval(run, expr->c, out);
    *out = (dp_jv){.type = DP_JV_UNDEFINED};
    return DP_OK;
}

static dp_status eval_kind(dp_jrun *run, const dp_jexpr *expr, dp_jv *out) {
    dp_jv object, key;
    switch ((dp_jexpr_kind)expr->kind) {
    case DP_JX_CONST: return *out = expr->value, DP_OK;
    case DP_JX_NAME: return eval_name(run, expr, out);
    case DP_JX_LIST:
    case DP_JX_TUPLE: return eval_list(run, expr, out);
    case DP_JX_DICT: return eval_dict(run, expr, out);
    case DP_JX_ATTRIBUTE:
        TRY(dp_jexpr_eval(run, expr->a, &object));
        run->line = expr->line;
        return dp_jv_attribute(run, object, expr->name, out);
    case DP_JX_ITEM:
        TRY(dp_jexpr_eval(run, expr->a, &object));
        TRY(dp_jexpr_eval(run, expr->b, &key));
        run->line = expr->line;
        return dp_jv_item(run, object, key, out);
    case DP_JX_SLICE: return eval_slice(run, expr, out);
    case DP_JX_CALL: return eval_call(run, expr, out);
    case DP_JX_FILTER: return eval_filter(run, expr, out);
    case DP_JX_TEST: return eval_test(run, expr, out);
    case DP_JX_NOT:
        TRY(dp_jexpr_eval(run, expr->a, &object));
        return *out = dp_jv_bool(!dp_jv_truth(object)), DP_OK;
    case DP_JX_NEGATE:
    case DP_JX_PLUS: return eval_sign(run, expr, out);
    case DP_JX_AND:
    case DP_JX_OR:
        TRY(dp_jexpr_eval(run, expr->a, out));
        return dp_jv_truth(*out) == (expr->kind == DP_JX_OR) ? DP_OK : dp_jexpr_eval(run, expr->b, out);
    case DP_JX_IF: return eval_if(run, expr, out);
    case DP_JX_BINARY: return eval_binary(run, expr, out);
    case DP_JX_COMPARE: return eval_compare(run, expr, out);
    case DP_JX_CONCAT: return eval_concat(run, expr, out);
    }
    return DP_OK;
}

dp_status dp_jexpr_eval(dp_jrun *run, const dp_jexpr *expr, dp_jv *out) {
    run->line = expr->line;
    TRY(dp_jrun_enter(run));
    TRY(eval_kind(run, expr, out));
    dp_jrun_leave(run);
    return DP_OK;
}
