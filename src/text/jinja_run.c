/* jinja_run.c: statements -> text; scopes, loops, macros. Ends with dp_jinja_render.
 * A scope is opened by a loop's iteration, a macro call and a capturing block, not by `if`; what is set inside is gone
 * behind it. run->scope is NULL at the top level, where names live in run->globals. */
#include "text/jinja.h"
#include "text/jinja_ast.h"

/* ---- assignment ---- */

static dp_status assign(dp_jrun *run, const dp_jtarget *target, dp_jv value) {
    if (target->parts) {
        const dp_jlist *list;
        size_t i = 0;
        TRY(dp_jv_iterate(run, value, &list));
        for (const dp_jtarget *part = target->parts; part; part = part->next, i++) {
            if (i >= list->count) return dp_jrun_fail(run, DP_E_ARG, "%zu values are too few to unpack", list->count);
            TRY(assign(run, part, list->items[i]));
        }
        return i == list->count
                   ? DP_OK
                   : dp_jrun_fail(run, DP_E_ARG, "%zu values are too many to unpack into %zu", list->count, i);
    }
    if (!target->attribute.n) return dp_jscope_set(run, target->symbol, value);
    dp_jv object;
    TRY(dp_jscope_get(run, target->symbol, &object));
    if (object.type != DP_JV_NAMESPACE)
        return dp_jrun_fail(run, DP_E_ARG, "only attributes of a namespace can be set ('" DP_STR_FMT "')",
                            DP_STR_ARG(target->attribute));
    return dp_jdict_set(run, object.dict, dp_jv_string(target->attribute), value);
}

/* ---- capturing ---- */

static dp_status run_scoped(dp_jrun *run, const dp_jnode *body) {
    dp_jscope scope = {run->scope, NULL}, *outer = run->scope, *kept;
    TRY(dp_jrun_alloc(run, sizeof *kept, (void **)&kept)); /* macros defined inside may outlive the block */
    *kept = scope;
    run->scope = kept;
    dp_status status = dp_jnode_run(run, body);
    run->scope = outer;
    return status;
}

/* The text that `body` writes, as a string; the caller opens the scope. */
static dp_status capture(dp_jrun *run, dp_status (*fn)(dp_jrun *, const dp_jnode *), const dp_jnode *body, dp_jv *out) {
    dp_buf buf = {0}, *outer = run->out;
    run->out = &buf;
    dp_status status = fn(run, body);
    run->out = outer;
    if (status == DP_OK) status = dp_jrun_take(run, &buf, out);
    dp_buf_free(&buf);
    return status;
}

/* The text of a filter or set block through its filters. */
static dp_status filtered(dp_jrun *run, const dp_jnode *node, dp_jv *out) {
    TRY(capture(run, run_scoped, node->body, out));
    if (!node->expr) return DP_OK;
    dp_jv outer = run->block;
    run->block = *out;
    TRY(dp_jexpr_eval(run, node->expr, out));
    run->block = outer;
    return DP_OK;
}

/* ---- macros ---- */

static const dp_jv *named_argument(const dp_jcall *call, dp_str name) {
    for (size_t i = 0; i < call->named_count; i++)
        if (dp_str_eq(call->named[i].name, name)) return &call->named[i].value;
    return NULL;
}

/* Binds the parameters in the macro's own scope, where defaults are evaluated too. */
static dp_status bind_parameters(dp_jrun *run, const dp_jmacro_code *code, const dp_jcall *call) {
    size_t position = 0, named_used = 0;
    for (const dp_jparam *param = code->params; param; param = param->next, position++) {
        const dp_jv *named = named_argument(call, param->name);
        dp_jv value = {.type = DP_JV_UNDEFINED, .string = param->name};
        if (position < call->count) value = call->args[position];
        else if (named) value = *named, named_used++;
        else if (param->otherwise) TRY(dp_jexpr_eval(run, param->otherwise, &value));
        TRY(dp_jscope_set(run, param->symbol, value));
    }
    const dp_jv *caller = named_argument(call, DP_LIT("caller"));
    if (caller) {
        TRY(dp_jscope_set(run, run->jinja->caller, *caller));
        named_used++;
    }
    if (call->count <= position && call->named_count == named_used) return DP_OK;
    return dp_jrun_fail(run, DP_E_ARG, "macro '" DP_STR_FMT "' takes other arguments", DP_STR_ARG(code->name));
}

dp_status dp_jmacro_call(dp_jrun *run, const dp_jmacro *macro, const dp_jcall *call, dp_jv *out) {
    dp_jscope *outer = run->scope, *scope;
    TRY(dp_jrun_enter(run));
    TRY(dp_jrun_alloc(run, sizeof *scope, (void **)&scope));
    *scope = (dp_jscope){macro->scope, NULL};
    run->scope = scope;
    dp_status status = bind_parameters(run, macro->code, call);
    if (status == DP_OK) status = capture(run, dp_jnode_run, macro->code->body, out);
    run->scope = outer;
    dp_jrun_leave(run);
    return status;
}

static dp_status make_macro(dp_jrun *run, const dp_jmacro_code *code, dp_jv *out) {
    dp_jmacro *macro;
    TRY(dp_jrun_alloc(run, sizeof *macro, (void **)&macro));
    *macro = (dp_jmacro){code, run->scope};
    *out = (dp_jv){.type = DP_JV_MACRO, .macro = macro};
    return DP_OK;
}

/* {% call f(x) %}body{% endcall %}: f(x) with the body as the macro `caller`. */
static dp_status run_call_block(dp_jrun *run, const dp_jnode *node) {
    dp_jcall call = {0};
    dp_jv callee, caller, text;
    TRY(dp_jexpr_eval(run, node->expr->a, &callee));
    if (callee.type != DP_JV_MACRO)
        return dp_jrun_fail(run, DP_E_ARG, "a call block needs a macro, not %s", dp_jv_type_name(callee));
    TRY(make_macro(run, node->macro, &caller));
    TRY(dp_jcall_arguments(run, node->expr, 1, &call));
    call.named[call.named_count++] = (struct dp_jnamed){DP_LIT("caller"), caller};
    TRY(dp_jmacro_call(run, callee.macro, &call, &text));
    return dp_jv_print(run, run->out, text);
}

/* ---- loops ---- */

/* One iteration in a scope of its own. With `loop` NULL only the condition is asked. */
static dp_status iteration(dp_jrun *run, const dp_jnode *node, dp_jv item, dp_jloop *loop, bool *keep) {
    dp_jscope *outer = run->scope, *scope;
    TRY(dp_jrun_alloc(run, sizeof *scope, (void **)&scope));
    *scope = (dp_jscope){outer, NULL};
    run->scope = scope;
    dp_status status = assign(run, node->target, item);
    if (status == DP_OK && !loop) {
        dp_jv condition = {0};
        status = dp_jexpr_eval(run, node->filter, &condition);
        *keep = dp_jv_truth(condition);
    } else if (status == DP_OK) {
        status = dp_jscope_set(run, run->jinja->loop, (dp_jv){.type = DP_JV_LOOP, .loop = loop});
        if (status == DP_OK) status = dp_jnode_run(run, node->body);
    }
    run->scope = outer;
    return status;
}

static dp_status loop_filter(dp_jrun *run, const dp_jnode *node, const dp_jlist **list) {
    dp_jlist *kept;
    TRY(dp_jlist_new(run, &kept));
    for (size_t i = 0; i < (*list)->count; i++) {
        bool keep = false;
        TRY(iteration(run, node, (*list)->items[i], NULL, &keep));
        if (keep) TRY(dp_jlist_push(run, kept, (*list)->items[i]));
    }
    *list = kept;
    return DP_OK;
}

static dp_status run_for(dp_jrun *run, const dp_jnode *node) {
    const dp_jlist *list;
    dp_jv value;
    dp_jloop *loop;
    TRY(dp_jexpr_eval(run, node->expr, &value));
    TRY(dp_jv_iterate(run, value, &list));
    if (node->filter) TRY(loop_filter(run, node, &list));
    if (!list->count) return node->other ? run_scoped(run, node->other) : DP_OK;
    TRY(dp_jrun_alloc(run, sizeof *loop, (void **)&loop));
    *loop = (dp_jloop){.list = list, .changed = {.type = DP_JV_UNSET}};
    for (; loop->index < list->count; loop->index++) {
        TRY(iteration(run, node, list->items[loop->index], loop, NULL));
        dp_jflow flow = run->flow;
        run->flow = DP_JFLOW_NEXT;
        if (flow == DP_JFLOW_BREAK) break;
    }
    return DP_OK;
}

/* ---- statements ---- */

static dp_status run_with(dp_jrun *run, const dp_jnode *node) {
    dp_jscope *outer = run->scope, *scope;
    TRY(dp_jrun_alloc(run, sizeof *scope, (void **)&scope));
    *scope = (dp_jscope){outer, NULL};
    for (const dp_jnode *set = node->other; set; set = set->next) { /* values see the outer scope only */
        dp_jv value;
        TRY(dp_jexpr_eval(run, set->expr, &value));
        run->scope = scope;
        dp_status status = assign(run, set->target, value);
        run->scope = outer;
        TRY(status);
    }
    run->scope = scope;
    dp_status status = dp_jnode_run(run, node->body);
    run->scope = outer;
    return status;
}

static dp_status run_node(dp_jrun *run, const dp_jnode *node) {
    dp_jv value;
    switch ((dp_jnode_kind)node->kind) {
    case DP_JN_TEXT: return dp_jv_print(run, run->out, dp_jv_string(node->text));
    case DP_JN_OUTPUT:
        TRY(dp_jexpr_eval(run, node->expr, &value));
        return dp_jv_print(run, run->out, value);
    case DP_JN_IF:
        TRY(dp_jexpr_eval(run, node->expr, &value));
        return dp_jnode_run(run, dp_jv_truth(value) ? node->body : node->other);
    case DP_JN_FOR: return run_for(run, node);
    case DP_JN_SET:
        TRY(dp_jexpr_eval(run, node->expr, &value));
        return assign(run, node->target, value);
    case DP_JN_CAPTURE:
        TRY(filtered(run, node, &value));
        return assign(run, node->target, value);
    case DP_JN_FILTER:
        TRY(filtered(run, node, &value));
        return dp_jv_print(run, run->out, value);
    case DP_JN_MACRO:
        TRY(make_macro(run, node->macro, &value));
        return dp_jscope_set(run, node->macro->symbol, value);
    case DP_JN_CALL: return run_call_block(run, node);
    case DP_JN_WITH: return run_with(run, node);
    case DP_JN_BREAK: run->flow = DP_JFLOW_BREAK; return DP_OK;
    case DP_JN_CONTINUE: run->flow = DP_JFLOW_CONTINUE; return DP_OK;
    }
    return DP_OK;
}

dp_status dp_jnode_run(dp_jrun *run, const dp_jnode *node) {
    for (; node && run->flow == DP_JFLOW_NEXT; node = node->next) {
        run->line = node->line;
        TRY(dp_jrun_enter(run));
        TRY(run_node(run, node));
        dp_jrun_leave(run);
    }
    return DP_OK;
}

/* ---- the render ---- */

/* Only what the template names is converted. */
static dp_status set_globals(dp_jrun *run, const dp_json *variables) {
    const dp_jinja *jinja = run->jinja;
    TRY(dp_jrun_alloc(run, jinja->symbol_count * sizeof *run->globals, (void **)&run->globals));
    for (uint32_t i = 0; i < jinja->symbol_count; i++) run->globals[i] = (dp_jv){.type = DP_JV_UNSET};
    const dp_jfunction *function;
    for (size_t i = 0; (function = dp_jglobal_at(i)); i++) {
        const uint64_t *symbol = dp_map_find(&jinja->symbols, dp_str_of(function->name));
        if (symbol) run->globals[*symbol] = (dp_jv){.type = DP_JV_FUNCTION, .function = function};
    }
    for (const dp_json *m = variables ? variables->child : NULL; m; m = m->next) {
        const uint64_t *symbol = dp_map_find(&jinja->symbols, m->key.p ? m->key : DP_LIT(""));
        if (symbol) TRY(dp_jv_from_json(run, m, &run->globals[*symbol]));
    }
    return DP_OK;
}

dp_status dp_jinja_render(const dp_jinja *jinja, const dp_json *variables, int64_t now, char **text, size_t *size) {
    if (variables && variables->type != DP_JSON_OBJECT)
        return dp_fail(DP_E_ARG, "chat template: variables must be an object, found %s", dp_json_type_name(variables));
    dp_buf out = {0};
    dp_jrun run = {.jinja = jinja, .out = &out, .now = now, .line = 1};
    dp_status status = set_globals(&run, variables);
    if (status == DP_OK) status = dp_jnode_run(&run, jinja->body);
    if (status == DP_OK) status = dp_buf_take(&out, text, size);
    dp_buf_free(&out);
    dp_arena_free(&run.arena);
    return status;
}
