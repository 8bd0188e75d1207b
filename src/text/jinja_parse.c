/* jinja_parse.c: tokens -> statements, and what both parsers share. Ends with dp_jinja_parse.
 * Recursion is bounded by DP_JPARSER_DEPTH_MAX; everything is allocated in the template's arena. */
#include "text/jinja.h"
#include "text/jinja_ast.h"

/* ---- shared by the two parsers ---- */

dp_status dp_jparser_alloc(dp_jparser *p, size_t size, void **out) {
    *out = dp_arena_calloc(&p->jinja->arena, 1, size);
    return *out ? DP_OK : dp_no_memory(size);
}

dp_status dp_jparser_symbol(dp_jparser *p, dp_str name, uint32_t *out) {
    struct dp_jinja *jinja = p->jinja;
    const uint64_t *known = dp_map_find(&jinja->symbols, name);
    if (!known) {
        TRY(dp_map_set(&jinja->symbols, name, jinja->symbol_count, NULL));
        *out = jinja->symbol_count++;
        return DP_OK;
    }
    *out = (uint32_t)*known;
    return DP_OK;
}

bool dp_jparser_is(const dp_jparser *p, dp_jtoken_kind kind, const char *text) {
    return p->at->kind == kind && (!text || dp_str_is(p->at->text, text));
}

bool dp_jparser_skip(dp_jparser *p, dp_jtoken_kind kind, const char *text) {
    bool is = dp_jparser_is(p, kind, text);
    if (is) p->at++;
    return is;
}

dp_status dp_jparser_unexpected(const dp_jparser *p, const char *wanted) {
    static const char *const kinds[] = {
        "the end of the template", "text", "'{{'", "'}}'", "'{%'", "'%}'", "name", "string", "number", "operator"};
    const dp_jtoken *t = p->at;
    if (t->kind < DP_JT_NAME) return dp_jinja_syntax(t->line, "expected %s, found %s", wanted, kinds[t->kind]);
    return dp_jinja_syntax(t->line, "expected %s, found %s '%.*s'", wanted, kinds[t->kind], DP_STR_ARG(t->text));
}

dp_status dp_jparser_expect(dp_jparser *p, dp_jtoken_kind kind, const char *text) {
    if (dp_jparser_skip(p, kind, text)) return DP_OK;
    return dp_jparser_unexpected(p, text                         ? text
                                    : kind == DP_JT_BLOCK_END    ? "'%}'"
                                    : kind == DP_JT_VARIABLE_END ? "'}}'"
                                                                 : "a name");
}

dp_status dp_jparser_enter(dp_jparser *p) {
    if (++p->depth <= DP_JPARSER_DEPTH_MAX) return DP_OK;
    return dp_jinja_syntax(p->at->line, "nested deeper than %d levels", DP_JPARSER_DEPTH_MAX);
}

static bool is_word(const dp_jparser *p, const char *text) { return dp_jparser_is(p, DP_JT_NAME, text); }
static bool skip_word(dp_jparser *p, const char *text) { return dp_jparser_skip(p, DP_JT_NAME, text); }
static bool skip_op(dp_jparser *p, const char *text) { return dp_jparser_skip(p, DP_JT_OPERATOR, text); }
static dp_status block_end(dp_jparser *p) { return dp_jparser_expect(p, DP_JT_BLOCK_END, NULL); }

static dp_status expect_name(dp_jparser *p, dp_str *out) {
    *out = p->at->text;
    return dp_jparser_expect(p, DP_JT_NAME, NULL);
}

/* ---- bodies ---- */

static dp_status statement(dp_jparser *p, dp_jnode *node);

static bool ends_body(const dp_jparser *p, const char *const *ends) {
    if (p->at->kind != DP_JT_BLOCK_BEGIN || p->at[1].kind != DP_JT_NAME) return false;
    for (; ends && *ends; ends++)
        if (dp_str_is(p->at[1].text, *ends)) return true;
    return false;
}

/* Nodes until a block whose name is in `ends` (NULL-terminated), whose "{%" is passed; the name stands next. */
static dp_status body(dp_jparser *p, const char *const *ends, dp_jnode **out) {
    TRY(dp_jparser_enter(p));
    dp_jnode **tail = out;
    int line = p->at->line;
    *out = NULL;
    while (!ends_body(p, ends)) {
        const dp_jtoken *t = p->at;
        if (t->kind == DP_JT_END) {
            if (ends) return dp_jinja_syntax(line, "block without end, '{%% %s %%}' is missing", ends[0]);
            break;
        }
        dp_jnode *node;
        TRY(dp_jparser_alloc(p, sizeof *node, (void **)&node));
        node->line = t->line;
        p->at++;
        if (t->kind == DP_JT_TEXT) {
            node->kind = DP_JN_TEXT;
            node->text = t->text;
        } else if (t->kind == DP_JT_VARIABLE_BEGIN) {
            node->kind = DP_JN_OUTPUT;
            TRY(dp_jexpr_parse_tuple(p, true, &node->expr));
            TRY(dp_jparser_expect(p, DP_JT_VARIABLE_END, NULL));
        } else {
            TRY(statement(p, node));
        }
        *tail = node;
        tail = &node->next;
    }
    if (ends) p->at++;
    p->depth--;
    return DP_OK;
}

/* A body that only one tag can end; that tag is passed whole. */
static dp_status body_until(dp_jparser *p, const char *end, dp_jnode **out) {
    TRY(body(p, (const char *const[]){end, NULL}, out));
    p->at++;
    return block_end(p);
}

/* ---- targets ---- */

static dp_status one_target(dp_jparser *p, bool attributes, dp_jtarget **out) {
    dp_str name;
    TRY(dp_jparser_alloc(p, sizeof **out, (void **)out));
    TRY(expect_name(p, &name));
    TRY(dp_jparser_symbol(p, name, &(*out)->symbol));
    if (attributes && skip_op(p, ".")) TRY(expect_name(p, &(*out)->attribute));
    return DP_OK;
}

/* a | a, b | (a, b) | a.b; nested tuples as in "for i, (a, b) in x". */
static dp_status target(dp_jparser *p, bool attributes, dp_jtarget **out) {
    TRY(dp_jparser_enter(p));
    dp_jtarget *parts = NULL, **tail = &parts;
    bool tuple = false;
    do {
        if (tuple && p->at->kind != DP_JT_NAME && !dp_jparser_is(p, DP_JT_OPERATOR, "(")) break;
        if (skip_op(p, "(")) {
            TRY(target(p, attributes, tail));
            TRY(dp_jparser_expect(p, DP_JT_OPERATOR, ")"));
        } else {
            TRY(one_target(p, attributes, tail));
        }
        tail = &(*tail)->next;
    } while (skip_op(p, ",") && (tuple = true));
    *out = parts;
    if (tuple) {
        TRY(dp_jparser_alloc(p, sizeof **out, (void **)out));
        (*out)->parts = parts;
    }
    p->depth--;
    return DP_OK;
}

/* ---- statements; each stands behind its name ---- */

static dp_status parse_if(dp_jparser *p, dp_jnode *node) {
    static const char *const ends[] = {"endif", "elif", "else", NULL};
    for (;;) {
        node->kind = DP_JN_IF;
        TRY(dp_jexpr_parse_tuple(p, false, &node->expr));
        TRY(block_end(p));
        TRY(body(p, ends, &node->body));
        if (!skip_word(p, "elif")) break;
        TRY(dp_jparser_alloc(p, sizeof *node, (void **)&node->other));
        node = node->other;
        node->line = p->at->line;
    }
    if (skip_word(p, "endif")) return block_end(p);
    p->at++;
    TRY(block_end(p));
    return body_until(p, "endif", &node->other);
}

static dp_status parse_for(dp_jparser *p, dp_jnode *node) {
    static const char *const ends[] = {"endfor", "else", NULL};
    node->kind = DP_JN_FOR;
    TRY(target(p, false, &node->target));
    TRY(dp_jparser_expect(p, DP_JT_NAME, "in"));
    TRY(dp_jexpr_parse_tuple(p, false, &node->expr));
    if (skip_word(p, "if")) TRY(dp_jexpr_parse(p, &node->filter));
    if (is_word(p, "recursive")) return dp_fail(DP_E_UNSUPPORTED, "chat template, line %d: recursive loop", node->line);
    TRY(block_end(p));
    p->loop_depth++;
    TRY(body(p, ends, &node->body));
    p->loop_depth--;
    if (skip_word(p, "endfor")) return block_end(p);
    p->at++;
    TRY(block_end(p));
    return body_until(p, "endfor", &node->other);
}

static dp_status parse_set(dp_jparser *p, dp_jnode *node) {
    TRY(target(p, true, &node->target));
    if (skip_op(p, "=")) {
        node->kind = DP_JN_SET;
        TRY(dp_jexpr_parse_tuple(p, true, &node->expr));
        return block_end(p);
    }
    node->kind = DP_JN_CAPTURE;
    TRY(dp_jexpr_parse_filters(p, &node->expr));
    TRY(block_end(p));
    return body_until(p, "endset", &node->body);
}

/* Behind '(' of a macro or call block. */
static dp_status parameters(dp_jparser *p, dp_jmacro_code *macro) {
    dp_jparam **tail = &macro->params;
    while (!skip_op(p, ")")) {
        dp_jparam *param;
        TRY(dp_jparser_alloc(p, sizeof *param, (void **)&param));
        TRY(expect_name(p, &param->name));
        TRY(dp_jparser_symbol(p, param->name, &param->symbol));
        if (skip_op(p, "=")) TRY(dp_jexpr_parse(p, &param->otherwise));
        else if (macro->has_defaults)
            return dp_jinja_syntax(p->at->line, "parameter without default behind one with a default");
        macro->has_defaults |= param->otherwise != NULL;
        *tail = param;
        tail = &param->next;
        if (!skip_op(p, ",")) return dp_jparser_expect(p, DP_JT_OPERATOR, ")");
    }
    return DP_OK;
}

/* The body of a macro or call block; loops around it do not reach inside. */
static dp_status macro_body(dp_jparser *p, const char *end, dp_jmacro_code *macro) {
    int loop_depth = p->loop_depth;
    TRY(block_end(p));
    p->loop_depth = 0;
    TRY(body_until(p, end, &macro->body));
    p->loop_depth = loop_depth;
    return DP_OK;
}

static dp_status parse_macro(dp_jparser *p, dp_jnode *node) {
    node->kind = DP_JN_MACRO;
    TRY(dp_jparser_alloc(p, sizeof *node->macro, (void **)&node->macro));
    TRY(expect_name(p, &node->macro->name));
    TRY(dp_jparser_symbol(p, node->macro->name, &node->macro->symbol));
    TRY(dp_jparser_expect(p, DP_JT_OPERATOR, "("));
    TRY(parameters(p, node->macro));
    return macro_body(p, "endmacro", node->macro);
}

static dp_status parse_call_block(dp_jparser *p, dp_jnode *node) {
    node->kind = DP_JN_CALL;
    TRY(dp_jparser_alloc(p, sizeof *node->macro, (void **)&node->macro));
    node->macro->name = DP_LIT("caller");
    if (skip_op(p, "(")) TRY(parameters(p, node->macro));
    TRY(dp_jexpr_parse_call(p, &node->expr));
    if (node->expr->kind != DP_JX_CALL) return dp_jinja_syntax(node->line, "'call' needs a call");
    return macro_body(p, "endcall", node->macro);
}

static dp_status parse_filter_block(dp_jparser *p, dp_jnode *node) {
    node->kind = DP_JN_FILTER;
    TRY(dp_jexpr_parse_filter(p, &node->expr));
    TRY(dp_jexpr_parse_filters(p, &node->expr));
    TRY(block_end(p));
    return body_until(p, "endfilter", &node->body);
}

static dp_status parse_with(dp_jparser *p, dp_jnode *node) {
    dp_jnode **tail = &node->other;
    node->kind = DP_JN_WITH;
    while (p->at->kind == DP_JT_NAME) {
        TRY(dp_jparser_alloc(p, sizeof **tail, (void **)tail));
        (*tail)->kind = DP_JN_SET;
        (*tail)->line = p->at->line;
        TRY(one_target(p, false, &(*tail)->target));
        TRY(dp_jparser_expect(p, DP_JT_OPERATOR, "="));
        TRY(dp_jexpr_parse(p, &(*tail)->expr));
        tail = &(*tail)->next;
        if (!skip_op(p, ",")) break;
    }
    TRY(block_end(p));
    return body_until(p, "endwith", &node->body);
}

/* transformers marks the assistant's text with it; the text itself is unchanged. Becomes an always-true if. */
static dp_status parse_generation(dp_jparser *p, dp_jnode *node) {
    node->kind = DP_JN_IF;
    TRY(dp_jparser_alloc(p, sizeof *node->expr, (void **)&node->expr));
    node->expr->kind = DP_JX_CONST;
    node->expr->value = dp_jv_bool(true);
    TRY(block_end(p));
    return body_until(p, "endgeneration", &node->body);
}

static dp_status parse_jump(dp_jparser *p, dp_jnode *node) {
    node->kind = dp_str_is(p->at[-1].text, "break") ? DP_JN_BREAK : DP_JN_CONTINUE;
    if (!p->loop_depth) return dp_jinja_syntax(node->line, "'%.*s' outside of a loop", DP_STR_ARG(p->at[-1].text));
    return block_end(p);
}

static dp_status statement(dp_jparser *p, dp_jnode *node) {
    static const struct { const char *name; dp_status (*parse)(dp_jparser *, dp_jnode *);
    } statements[] = {
        {"if", parse_if},
        {"for", parse_for},
        {"set", parse_set},
        {"macro", parse_macro},
        {"call", parse_call_block},
        {"with", parse_with},
        {"filter", parse_filter_block},
        {"generation", parse_generation},
        {"break", parse_jump},
        {"continue", parse_jump},
    };
    static const char *const misplaced[] = {"elif",     "else",    "endif",   "endfor",    "endset",
                                            "endmacro", "endcall", "endwith", "endfilter", "endgeneration"};
    if (p->at->kind != DP_JT_NAME) return dp_jparser_unexpected(p, "a statement");
    dp_str name = p->at++->text;
    for (size_t i = 0; i < DP_COUNT(statements); i++)
        if (dp_str_is(name, statements[i].name)) return statements[i].parse(p, node);
    for (size_t i = 0; i < DP_COUNT(misplaced); i++)
        if (dp_str_is(name, misplaced[i]))
            return dp_jinja_syntax(node->line, "'%.*s' where no block needs it", DP_STR_ARG(name));
    return dp_fail(DP_E_UNSUPPORTED, "chat template, line %d: unknown statement '%.*s'", node->line, DP_STR_ARG(name));
}

/* ---- the template ---- */

/* Copies the source with "\n" line ends and without the last newline. */
static dp_status normalise(dp_arena *arena, dp_str source, dp_str *out) {
    char *copy = dp_arena_alloc(arena, source.n + 1);
    if (!copy) return dp_no_memory(source.n);
    size_t n = 0;
    for (size_t i = 0; i < source.n; i++) {
        bool carriage = source.p[i] == '\r';
        if (carriage && i + 1 < source.n && source.p[i + 1] == '\n') i++;
        copy[n++] = carriage ? '\n' : source.p[i];
    }
    if (n && copy[n - 1] == '\n') n--;
    copy[n] = 0;
    *out = (dp_str){copy, n};
    return DP_OK;
}

static dp_status parse_into(dp_jinja *jinja, dp_jtokens *tokens, dp_str source) {
    dp_jparser parser = {.jinja = jinja};
    TRY(normalise(&jinja->arena, source, &source));
    TRY(dp_jinja_lex(&jinja->arena, source, tokens));
    parser.at = tokens->items;
    TRY(dp_jparser_symbol(&parser, DP_LIT("loop"), &jinja->loop));
    TRY(dp_jparser_symbol(&parser, DP_LIT("caller"), &jinja->caller));
    return body(&parser, NULL, &jinja->body);
}

dp_status dp_jinja_parse(dp_str source, dp_jinja **out) {
    dp_jinja *jinja = dp_calloc(1, sizeof *jinja);
    if (!jinja) return dp_no_memory(sizeof *jinja);
    dp_jtokens tokens = {0};
    dp_status status = parse_into(jinja, &tokens, source);
    dp_free(tokens.items);
    if (status == DP_OK) *out = jinja;
    else dp_jinja_free(jinja);
    return status;
}

void dp_jinja_free(dp_jinja *jinja) {
    if (!jinja) return;
    dp_map_free(&jinja->symbols);
    dp_arena_free(&jinja->arena);
    dp_free(jinja);
}
