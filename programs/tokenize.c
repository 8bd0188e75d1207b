/* tokenize.c: `doppler tokenize`: text to ids and back, whole or line by line. */
#include "base/json_write.h"
#include "host/host.h"
#include "tool.h"

static bool no_special, decode, jsonl;

static const option options[] = {
    {"decode", 'd', OPTION_FLAG, &decode, NULL, "standard input holds ids; print their text", 0, 0},
    {"no-special", 0, OPTION_FLAG, &no_special, NULL,
     "do not add the special tokens of the tokenizer's post-processor; with ids: leave special tokens out of the text",
     0, 0},
    {"jsonl", 0, OPTION_FLAG, &jsonl, NULL,
     "every line of input is an object with \"text\" or \"ids\", every line of output its answer", 0, 0},
    OPTIONS_END,
};
static const option_group own = {"Options", options};

static dp_status answer_text(const dp_tokenizer *tokenizer, dp_str text) {
    int32_t *ids;
    size_t count;
    dp_buf out = {0};
    TRY(dp_tokenizer_encode(tokenizer, text.n ? text.p : "", text.n, !no_special, &ids, &count));
    dp_json_open(&out, NULL, '{');
    dp_json_add_ids(&out, "ids", ids, count);
    dp_json_close(&out, '}');
    dp_free(ids);
    return stdout_print(&out);
}

static dp_status answer_ids(const dp_tokenizer *tokenizer, const int32_t *ids, size_t count) {
    char *text;
    size_t size;
    dp_buf out = {0};
    TRY(dp_tokenizer_decode(tokenizer, ids, count, no_special, &text, &size));
    dp_json_open(&out, NULL, '{');
    dp_json_add_str(&out, "text", (dp_str){text, size});
    dp_json_close(&out, '}');
    dp_free(text);
    return stdout_print(&out);
}

/* ---- JSON ---- */

static dp_status answer_json_ids(const dp_tokenizer *tokenizer, const dp_json *list) {
    int32_t *ids = dp_calloc((size_t)list->count + 1, sizeof *ids);
    if (!ids) return dp_no_memory(list->count * sizeof *ids);
    dp_status status = DP_OK;
    size_t n = 0;
    for (const dp_json *item = list->child; item && status == DP_OK; item = item->next) {
        if (item->type != DP_JSON_NUMBER || !item->is_integer || item->integer < 0 || item->integer > INT32_MAX)
            status = dp_fail(DP_E_FORMAT, "\"ids\"[%zu]: expected a token id", n);
        else
            ids[n++] = (int32_t)item->integer;
    }
    if (status == DP_OK) status = answer_ids(tokenizer, ids, n);
    dp_free(ids);
    return status;
}

static dp_status answer_json(const dp_tokenizer *tokenizer, dp_str source) {
    dp_arena arena = {0};
    const dp_json *root = NULL;
    dp_status status = dp_json_parse(&arena, source, &root);
    if (status == DP_OK) {
        const dp_json *text = dp_json_find(root, "text"), *ids = dp_json_find(root, "ids");
        if (root->type == DP_JSON_ARRAY) ids = root;
        if (ids && (decode || !text) && ids->type == DP_JSON_ARRAY)
            status = answer_json_ids(tokenizer, ids);
        else if (text && !decode && text->type == DP_JSON_STRING)
            status = answer_text(tokenizer, text->string);
        else
            status = dp_fail(DP_E_FORMAT, "expected %s",
                             decode ? "{\"ids\": [...]}" : "{\"text\": \"...\"} or {\"ids\": [...]}");
    }
    dp_arena_free(&arena);
    return status;
}

static dp_status answer_lines(const dp_tokenizer *tokenizer) {
    for (size_t number = 1; !interrupted(); number++) {
        char *line;
        size_t size;
        TRY(stdin_read_line(&line, &size));
        if (!line) return DP_OK;
        dp_status status = size ? answer_json(tokenizer, (dp_str){line, size}) : DP_OK;
        dp_free(line);
        if (status != DP_OK) return dp_fail_in(status, "standard input, line %zu", number);
    }
    return interrupted_status();
}

/* ---- the whole input ---- */

/* Ids as an object, an array or a plain list. */
static dp_status answer_list(const dp_tokenizer *tokenizer, const char *text, size_t size) {
    if (text[strspn(text, " \t\r\n")] == '{') return answer_json(tokenizer, (dp_str){text, size});
    int32_t *ids = NULL;
    size_t count = 0;
    if (text[strspn(text, " \t\r\n[]")]) TRY(ids_parse(text, size, &ids, &count));
    dp_status status = answer_ids(tokenizer, ids, count);
    dp_free(ids);
    return status;
}

static dp_status answer_input(const dp_tokenizer *tokenizer) {
    char *text;
    size_t size;
    TRY(stdin_read(&text, &size));
    dp_status status = decode ? answer_list(tokenizer, text, size) : answer_text(tokenizer, (dp_str){text, size});
    dp_free(text);
    return status == DP_OK ? DP_OK : dp_fail_in(status, "standard input");
}

static dp_status run(char **arguments, int count) {
    (void)count;
    dp_tokenizer *tokenizer;
    TRY(dp_tokenizer_open(arguments[0], &tokenizer));
    dp_status status = jsonl ? answer_lines(tokenizer) : answer_input(tokenizer);
    dp_tokenizer_close(tokenizer);
    return status;
}

const command command_tokenize = {
    .name = "tokenize",
    .summary = "turn text into token ids and back",
    .arguments = "MODEL|tokenizer.json",
    .details =
        "Reads text from standard input, to the last byte, and prints {\"ids\": [...]}; with --decode reads ids\n"
        "and prints {\"text\": \"...\"}.\n",
    .examples = "  printf 'Once upon a time' | doppler tokenize model/\n"
                "  echo '[1, 726, 289]' | doppler tokenize tokenizer.json --decode\n"
                "  doppler tokenize model.gguf --jsonl < lines.jsonl\n",
    .least = 1,
    .most = 1,
    .groups = {&own, &quiet_options},
    .run = run,
};
