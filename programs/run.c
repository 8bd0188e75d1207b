/* run.c: `doppler run`: one prompt, one text. */
#include <stdio.h>

#include "base/json_write.h"
#include "conversation.h"
#include "host/host.h"
#include "tool.h"

static bool raw, show_special;
static const char *system_prompt;

static const option options[] = {
    {"system", 0, OPTION_TEXT, &system_prompt, "TEXT", "system prompt, for models with a chat template", 0, 0},
    {"raw", 0, OPTION_FLAG, &raw, NULL, "continue the prompt as it is, without the chat template", 0, 0},
    {"special", 0, OPTION_FLAG, &show_special, NULL, "also show special tokens", 0, 0},
    OPTIONS_END,
};
static const option_group own = {"Text", options};

static const char default_prompt[] = "Tell me a story about a brave fox.";

typedef struct job {
    setup s;
    char *model, *prompt; /* owned */
    int32_t *ids;
    size_t id_count;
    dp_buf text; /* all that was generated */
    dp_generate_result result;
    dp_status output; /* of writing to standard output */
} job;

/* ---- what to run ---- */

static bool looks_like_path(const char *text) {
    dp_str s = dp_str_of(text);
    return dp_str_ends(s, ".gguf") || (strchr(text, '/') && !strpbrk(text, " \n"));
}

/* Without its line end; *prompt stays NULL if there is nothing. */
static dp_status read_prompt(char **prompt) {
    char *text = NULL;
    size_t size;
    TRY(stdin_read(&text, &size));
    if (size && text[size - 1] == '\n') text[--size] = 0;
    dp_status status = text_check("the prompt", text, size);
    if (status == DP_OK && size) *prompt = text;
    else dp_free(text);
    return status;
}

/* `model` and `prompt` as they were given, or NULL. Without a model the bundled one runs, and has a prompt of its own. */
static dp_status choose(job *j, const char *model, const char *prompt) {
    if (model) TRY(dp_path_find(model, NULL));
    TRY(model ? text_copy(dp_str_of(model), &j->model) : setup_find_bundled(&j->model));
    bool from_stdin = prompt ? strcmp(prompt, "-") == 0 : !stdin_is_terminal();
    if (prompt && !from_stdin) return text_copy(dp_str_of(prompt), &j->prompt);
    if (from_stdin) TRY(read_prompt(&j->prompt));
    if (j->prompt) return DP_OK;
    if (model) return dp_fail(DP_E_ARG, "no prompt: give it behind the model, in quotes, or on standard input");
    note("prompt: %s", default_prompt);
    return text_copy(dp_str_of(default_prompt), &j->prompt);
}

/* One argument is a model if there is such a path, a prompt for the bundled model otherwise. */
static dp_status choose_by_arguments(job *j, char **arguments, int count) {
    if (count == 0) return choose(j, NULL, NULL);
    if (count == 2) return choose(j, arguments[0], arguments[1]);
    bool is_model = dp_path_what(arguments[0]) != DP_PATH_NONE || looks_like_path(arguments[0]);
    return is_model ? choose(j, arguments[0], NULL) : choose(j, NULL, arguments[0]);
}

static dp_status encode_chat(job *j, const dp_tokenizer *tokenizer) {
    conversation talk = {0};
    dp_status status = system_prompt ? conversation_set_system(&talk, dp_str_of(system_prompt)) : DP_OK;
    if (status == DP_OK) status = conversation_add(&talk, "user", dp_str_of(j->prompt));
    if (status == DP_OK) status = conversation_encode(&talk, tokenizer, &j->ids, &j->id_count);
    conversation_cut(&talk, 0);
    return status;
}

static dp_status encode(job *j) {
    const dp_tokenizer *tokenizer;
    TRY(setup_tokenizer(&j->s, &tokenizer));
    if (!raw && dp_chat_available(tokenizer)) return encode_chat(j, tokenizer);
    if (system_prompt)
        return dp_fail(DP_E_ARG, "--system needs a chat template, and %s",
                       raw ? "--raw skips it" : "this model has none");
    return dp_tokenizer_encode(tokenizer, j->prompt, strlen(j->prompt), true, &j->ids, &j->id_count);
}

/* ---- generation ---- */

static bool on_text(void *user, const char *text, size_t size) {
    job *j = user;
    dp_buf_append(&j->text, text, size);
    if (!set.json) j->output = stdout_write(text, size);
    if (!set.json && j->output == DP_OK && fflush(stdout) != 0) j->output = stdout_write("", 1);
    return j->output == DP_OK && !interrupted();
}

static bool on_prefill(void *user, size_t done, size_t total) {
    (void)user, (void)done, (void)total;
    return !interrupted();
}

static dp_status generate(job *j) {
    TRY(setup_session(&j->s, j->id_count + (size_t)(set.max_tokens ? set.max_tokens : 1024)));
    int32_t context = dp_session_context(j->s.session);
    if (j->id_count >= (size_t)context)
        return dp_fail(DP_E_CONTEXT, "the prompt has %zu tokens, the context %d positions: %s", j->id_count, (int)context,
                       setup_more_context(&j->s));
    dp_generate_desc desc = {
        .prompt = j->ids,
        .prompt_count = j->id_count,
        .sampling = *settings_sampling(),
        .max_tokens = set.max_tokens,
        .stops = set.stops.items,
        .stop_count = set.stops.count,
        .show_special = show_special,
        .on_text = on_text,
        .on_prefill = on_prefill,
        .user = j,
    };
    dp_status status = dp_session_generate(j->s.session, &desc, &j->result);
    if (status == DP_OK && j->output != DP_OK) return stdout_write("", 0);
    return status;
}

/* ---- what came of it ---- */

/* By dp_stop_reason: for people, and in JSON. */
static const char *const reasons[] = {"end of text", "stop string", "--max-tokens reached", "context full",
                                      "interrupted"};
static const char *const reason_words[] = {"end", "stop", "length", "context", "interrupted"};

static void print_summary(const job *j) {
    const dp_generate_result *r = &j->result;
    if (j->text.size && j->text.data[j->text.size - 1] != '\n') putchar('\n');
    fflush(stdout);
    char seed[32] = "greedy";
    if (set.sampling.temperature > 0) snprintf(seed, sizeof seed, "seed %llu", (unsigned long long)set.sampling.seed);
    note("%s%d prompt tokens in %s (%.1f tokens/s), %d new tokens in %s (%.1f tokens/s), %s, %s",
         stderr_is_terminal() ? "\n" : "", (int)r->prompt_tokens, show_duration(r->prefill_seconds),
         per_second(r->prompt_tokens, r->prefill_seconds), (int)r->new_tokens, show_duration(r->decode_seconds),
         per_second(r->new_tokens, r->decode_seconds), reasons[r->reason], seed);
}

static dp_status print_json(const job *j) {
    const dp_generate_result *r = &j->result;
    dp_buf out = {0};
    dp_json_open(&out, NULL, '{');
    dp_json_add_text(&out, "model", dp_model_get_info(j->s.model)->name);
    dp_json_add_text(&out, "backend", dp_engine_describe(j->s.engine));
    dp_json_add_text(&out, "prompt", j->prompt);
    dp_json_add_str(&out, "text", (dp_str){j->text.data ? j->text.data : "", j->text.size});
    dp_json_add_text(&out, "stop", reason_words[r->reason]);
    dp_json_add_uint(&out, "seed", set.sampling.seed);
    dp_json_add_int(&out, "prompt_tokens", r->prompt_tokens);
    dp_json_add_int(&out, "new_tokens", r->new_tokens);
    dp_json_add_double(&out, "load_seconds", j->s.load_seconds);
    dp_json_add_double(&out, "prefill_seconds", r->prefill_seconds);
    dp_json_add_double(&out, "decode_seconds", r->decode_seconds);
    dp_json_add_double(&out, "prefill_tokens_per_second", per_second(r->prompt_tokens, r->prefill_seconds));
    dp_json_add_double(&out, "decode_tokens_per_second", per_second(r->new_tokens, r->decode_seconds));
    setup_put_paging(&j->s, &out);
    dp_json_close(&out, '}');
    return stdout_print(&out);
}

static dp_status run_job(job *j, char **arguments, int count) {
    TRY(choose_by_arguments(j, arguments, count));
    TRY(setup_open(&j->s, j->model));
    TRY(encode(j));
    TRY(generate(j));
    if (j->text.failed) return dp_no_memory(j->text.size);
    if (set.json)
        TRY(print_json(j));
    else
        print_summary(j);
    TRY(setup_finish(&j->s));
    return j->result.reason == DP_STOP_CALLER ? interrupted_status() : DP_OK;
}

static dp_status run(char **arguments, int count) {
    job j = {0};
    dp_status status = run_job(&j, arguments, count);
    setup_close(&j.s);
    dp_buf_free(&j.text);
    dp_free(j.model);
    dp_free(j.prompt);
    dp_free(j.ids);
    return status;
}

const command command_run = {
    .name = "run",
    .summary = "write a text with a model",
    .arguments = "[MODEL] [PROMPT]",
    .details = "MODEL is an RDRR folder, a .gguf file or a Hugging Face folder; without it the bundled model runs.\n"
               "A single argument is a model if such a path exists, otherwise a prompt for the bundled model.\n"
               "Without PROMPT, or with -, the prompt is read from standard input. The model's chat template is\n"
               "applied where it has one. Tokens appear as they come; a summary goes to stderr. Ctrl-C ends the\n"
               "text, a second Ctrl-C the program.\n",
    .examples = "  doppler run \"Tell me a story about a brave fox.\"\n"
                "  doppler run llama-3.2-1b.gguf \"Why is the sky blue?\" --max-tokens 200\n"
                "  doppler run qwen3/ --greedy --system \"Answer in one sentence.\" \"What is a shard?\"\n"
                "  doppler run base-model.gguf --raw \"Once upon a time\" --seed 7 --stop \"The End\"\n"
                "  cat letter.txt | doppler run llama.gguf --json\n",
    .most = 2,
    .groups = {&own, &sampling_options, &session_options, &engine_options, &memory_options, &output_options},
    .run = run,
};
