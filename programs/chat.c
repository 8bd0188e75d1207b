/* chat.c: `doppler chat`: a conversation. The whole conversation is rendered for every answer; what its ids share with
 * those in the KV cache is not computed again. */
#include <stdio.h>
#include <stdlib.h>

#include "conversation.h"
#include "host/host.h"
#include "line.h"
#include "tool.h"

static const char *system_prompt, *load_path;

static const option options[] = {
    {"system", 0, OPTION_TEXT, &system_prompt, "TEXT", "system prompt", 0, 0},
    {"load", 0, OPTION_TEXT, &load_path, "FILE", "go on with a conversation saved by /save", 0, 0},
    OPTIONS_END,
};
static const option_group own = {"Conversation", options};

typedef struct chat {
    setup s;
    const dp_tokenizer *tokenizer;
    line_editor *editor;
    conversation talk;
    dp_buf answer;
    size_t reused; /* positions of the last prompt that were cached */
    dp_generate_result last;
    bool ended;
} chat;

/* ---- an answer ---- */

static bool on_text(void *user, const char *text, size_t size) {
    chat *c = user;
    dp_buf_append(&c->answer, text, size);
    return stdout_write(text, size) == DP_OK && fflush(stdout) == 0 && !interrupted();
}

static bool on_prefill(void *user, size_t done, size_t total) {
    (void)user, (void)done, (void)total;
    return !interrupted();
}

/* Makes the cache hold a prefix of `ids` as long as possible, but not all: the last id's logits are needed. */
static void reuse_cache(chat *c, const int32_t *ids, size_t count) {
    const int32_t *cached = dp_session_ids(c->s.session);
    size_t same = 0, cached_count = (size_t)dp_session_length(c->s.session);
    while (same < cached_count && same + 1 < count && cached[same] == ids[same]) same++;
    c->reused = (size_t)dp_session_truncate(c->s.session, (int32_t)same);
}

static dp_status generate(chat *c, const int32_t *ids, size_t count) {
    dp_generate_desc desc = {
        .prompt = ids + c->reused,
        .prompt_count = count - c->reused,
        .sampling = *settings_sampling(),
        .max_tokens = set.max_tokens,
        .stops = set.stops.items,
        .stop_count = set.stops.count,
        .on_text = on_text,
        .on_prefill = on_prefill,
        .user = c,
    };
    dp_status status = dp_session_generate(c->s.session, &desc, &c->last);
    fputs("\n", stdout);
    fflush(stdout);
    return status;
}

static void explain_end(const chat *c) {
    int32_t context = dp_session_context(c->s.session);
    if (c->last.reason == DP_STOP_CONTEXT)
        note("[the context of %d positions is full: /reset starts anew, %s]", (int)context, setup_more_context(&c->s));
    if (c->last.reason == DP_STOP_LENGTH) note("[ended after --max-tokens %d]", (int)set.max_tokens);
    if (c->last.reason == DP_STOP_CALLER) note("[stopped; /regenerate tries again]");
}

/* Answers the conversation as it stands. When that fails the question is taken back. */
static dp_status answer(chat *c) {
    int32_t *ids = NULL;
    size_t count = 0;
    TRY(conversation_encode(&c->talk, c->tokenizer, &ids, &count));
    int32_t context = dp_session_context(c->s.session);
    dp_status status = DP_OK;
    if (count >= (size_t)context)
        status = dp_fail(DP_E_CONTEXT,
                         "the conversation has %zu tokens, the context %d positions: /reset starts anew, "
                         "/undo takes the last exchange back, %s",
                         count, (int)context, setup_more_context(&c->s));
    if (status != DP_OK) {
        dp_free(ids);
        return status;
    }
    reuse_cache(c, ids, count);
    dp_buf_clear(&c->answer);
    status = generate(c, ids, count);
    dp_free(ids);
    TRY(status);
    if (c->answer.failed) return dp_no_memory(c->answer.size);
    explain_end(c);
    return conversation_add(&c->talk, "assistant", (dp_str){c->answer.data, c->answer.size});
}

/* Answers, or reports why not and takes the question back. */
static void try_answer(chat *c) {
    interrupts_reset();
    dp_status status = answer(c);
    interrupts_reset();
    if (status == DP_OK) return;
    conversation_cut(&c->talk, conversation_last_question(&c->talk));
    if (status == DP_E_CANCELLED)
        note("[stopped]");
    else
        complain("doppler: ", dp_error_message());
}

/* ---- commands ---- */

static dp_status do_help(chat *c, const char *argument);

static dp_status do_exit(chat *c, const char *argument) {
    (void)argument;
    c->ended = true;
    return DP_OK;
}

static dp_status do_reset(chat *c, const char *argument) {
    (void)argument;
    bool has_system = c->talk.count && strcmp(c->talk.messages[0].role, "system") == 0;
    conversation_cut(&c->talk, has_system ? 1 : 0);
    note("[a new conversation]");
    return DP_OK;
}

static dp_status do_system(chat *c, const char *argument) {
    TRY(conversation_set_system(&c->talk, dp_str_of(argument)));
    note(*argument ? "[system prompt set]" : "[no system prompt]");
    return DP_OK;
}

static dp_status do_save(chat *c, const char *argument) {
    if (!*argument) return dp_fail(DP_E_ARG, "/save needs a file name");
    TRY(conversation_save(&c->talk, argument));
    note("[%zu messages saved to %s]", c->talk.count, argument);
    return DP_OK;
}

static dp_status do_load(chat *c, const char *argument) {
    if (!*argument) return dp_fail(DP_E_ARG, "/load needs a file name");
    TRY(conversation_load(&c->talk, argument));
    note("[%zu messages loaded]", c->talk.count);
    return DP_OK;
}

static dp_status do_undo(chat *c, const char *argument) {
    (void)argument;
    size_t question = conversation_last_question(&c->talk);
    if (question == c->talk.count) return dp_fail(DP_E_ARG, "/undo: there is no question to take back");
    conversation_cut(&c->talk, question);
    note("[the last exchange is taken back]");
    return DP_OK;
}

static dp_status do_regenerate(chat *c, const char *argument) {
    (void)argument;
    size_t question = conversation_last_question(&c->talk);
    if (question == c->talk.count) return dp_fail(DP_E_ARG, "/regenerate: there is no question to answer");
    conversation_cut(&c->talk, question + 1);
    set.sampling.seed++; /* another text than before */
    try_answer(c);
    return DP_OK;
}

static dp_status do_stats(chat *c, const char *argument) {
    (void)argument;
    const dp_generate_result *r = &c->last;
    fprintf(stderr, "model    %s, %s\n", dp_model_get_info(c->s.model)->name, dp_engine_describe(c->s.engine));
    fprintf(stderr, "context  %d of %d positions used\n", (int)dp_session_length(c->s.session),
            (int)dp_session_context(c->s.session));
    fprintf(stderr, "prompt   %d tokens in %s (%.1f tokens/s), %zu more from the cache\n", (int)r->prompt_tokens,
            show_duration(r->prefill_seconds), per_second(r->prompt_tokens, r->prefill_seconds), c->reused);
    fprintf(stderr, "answer   %d tokens in %s (%.1f tokens/s), seed %llu\n", (int)r->new_tokens, show_duration(r->decode_seconds),
            per_second(r->new_tokens, r->decode_seconds), (unsigned long long)set.sampling.seed);
    return DP_OK;
}

static const struct {
    const char *name, *argument, *help;
    dp_status (*run)(chat *c, const char *argument);
} chat_commands[] = {
    {"/help", "", "this list", do_help},
    {"/system", "TEXT", "set the system prompt; without TEXT remove it", do_system},
    {"/reset", "", "start a new conversation, with the same system prompt", do_reset},
    {"/undo", "", "take the last question and its answer back", do_undo},
    {"/regenerate", "", "answer the last question again", do_regenerate},
    {"/save", "FILE", "save the conversation", do_save},
    {"/load", "FILE", "go on with a saved conversation", do_load},
    {"/stats", "", "speed and use of the context", do_stats},
    {"/exit", "", "leave (as does Ctrl-D)", do_exit},
};

static dp_status do_help(chat *c, const char *argument) {
    (void)c, (void)argument;
    for (size_t i = 0; i < DP_COUNT(chat_commands); i++)
        fprintf(stderr, "%-12s%-6s%s\n", chat_commands[i].name, chat_commands[i].argument, chat_commands[i].help);
    fprintf(stderr, "Ctrl-C stops an answer. Alt-Enter begins a new line; pasted lines stay together.\n");
    return DP_OK;
}

static dp_status run_command(chat *c, const char *line) {
    const char *words[DP_COUNT(chat_commands) + 1] = {0};
    char typed[32];
    size_t n = strcspn(line, " \n");
    for (size_t i = 0; i < DP_COUNT(chat_commands); i++) {
        words[i] = chat_commands[i].name;
        if (strlen(words[i]) == n && memcmp(words[i], line, n) == 0)
            return chat_commands[i].run(c, line + n + strspn(line + n, " \n"));
    }
    if (strcmp(line, "/quit") == 0) return do_exit(c, "");
    snprintf(typed, sizeof typed, "%.*s", (int)DP_MIN(n, sizeof typed - 1), line);
    const char *near = options_nearest(typed, words);
    if (near) return dp_fail(DP_E_ARG, "unknown command %s; did you mean %s?", typed, near);
    return dp_fail(DP_E_ARG, "unknown command %s; /help lists them", typed);
}

/* ---- the loop ---- */

/* Where the history is kept, its folder made; NULL if there is no place for it. */
static char *history_path(void) {
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    dp_buf path = {0};
    char *text = NULL;
    if (state && *state)
        dp_buf_printf(&path, "%s/doppler", state);
    else if (home && *home)
        dp_buf_printf(&path, "%s/.local/state/doppler", home);
    else
        return NULL;
    if (path.failed || dp_folder_make(path.data) != DP_OK) {
        dp_buf_free(&path);
        return NULL;
    }
    dp_buf_str(&path, "/chat_history");
    return dp_buf_take(&path, &text, NULL) == DP_OK ? text : NULL;
}

static dp_status take_line(chat *c, const char *line) {
    if (line[0] == '/') {
        if (run_command(c, line) != DP_OK) complain("", dp_error_message());
        return DP_OK;
    }
    if (!line[strspn(line, " \n\t")]) return DP_OK;
    TRY(conversation_add(&c->talk, "user", dp_str_of(line)));
    try_answer(c);
    return DP_OK;
}

static dp_status talk(chat *c) {
    while (!c->ended) {
        char *line;
        TRY(line_editor_read(c->editor, "> ", &line));
        if (interrupted()) { /* a signal from outside */
            dp_free(line);
            return interrupted_status();
        }
        if (!line) break;
        dp_status status = take_line(c, line);
        dp_free(line);
        TRY(status);
    }
    return DP_OK;
}

static dp_status begin(chat *c, char **arguments, int count) {
    char *bundled = NULL, *history = NULL;
    if (count == 0) TRY(setup_find_bundled(&bundled));
    dp_status status = setup_open(&c->s, count ? arguments[0] : bundled);
    dp_free(bundled);
    TRY(status);
    TRY(setup_tokenizer(&c->s, &c->tokenizer));
    if (!dp_chat_available(c->tokenizer))
        return dp_fail(DP_E_UNSUPPORTED, "this model has no chat template; doppler run continues a text with it");
    TRY(setup_session(&c->s, 0));
    if (load_path) TRY(conversation_load(&c->talk, load_path));
    if (system_prompt) TRY(conversation_set_system(&c->talk, dp_str_of(system_prompt)));
    if (stdin_is_terminal()) history = history_path();
    status = line_editor_new(history, &c->editor);
    dp_free(history);
    return status;
}

static dp_status run(char **arguments, int count) {
    chat c = {0};
    dp_status status = begin(&c, arguments, count);
    if (status == DP_OK) {
        if (stdin_is_terminal())
            note("%s, %s, context %d. /help lists the commands, Ctrl-D leaves.", dp_model_get_info(c.s.model)->name,
                 dp_engine_describe(c.s.engine), (int)dp_session_context(c.s.session));
        status = talk(&c);
        if (status == DP_OK) status = setup_finish(&c.s);
    }
    line_editor_free(c.editor);
    conversation_cut(&c.talk, 0);
    dp_buf_free(&c.answer);
    setup_close(&c.s);
    return status;
}

const command command_chat = {
    .name = "chat",
    .summary = "talk with a model",
    .arguments = "[MODEL]",
    .details = "Without MODEL the bundled model answers. Lines that begin with / are commands: /help lists them.\n"
               "Ctrl-C stops an answer, Ctrl-D leaves. The lines typed are kept in $XDG_STATE_HOME/doppler, or\n"
               "~/.local/state/doppler.\n",
    .examples = "  doppler chat\n"
                "  doppler chat llama-3.2-1b.gguf --system \"You are a pirate.\" --context 8192\n"
                "  doppler chat model/ --load conversation.json\n",
    .most = 1,
    .groups = {&own, &sampling_options, &session_options, &engine_options, &memory_options, &quiet_options},
    .run = run,
};
