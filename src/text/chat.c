/* chat.c: dp_chat_render and dp_chat_available: a conversation through the tokenizer's chat template, with the
 * variables that transformers' apply_chat_template provides. */
#include "base/json.h"
#include "host/host.h"
#include "text/jinja.h"
#include "text/tokenizer.h"

bool dp_chat_available(const dp_tokenizer *tokenizer) { return tokenizer && dp_tokenizer_template(tokenizer).n > 0; }

static dp_status parse_part(dp_arena *arena, const char *text, dp_json_type type, const char *what,
                            const dp_json **out) {
    dp_status status = dp_json_parse(arena, dp_str_of(text), out);
    if (status != DP_OK) return dp_fail_in(status == DP_E_FORMAT ? DP_E_ARG : status, "%s of the chat", what);
    if ((*out)->type == type) return DP_OK;
    return dp_fail(DP_E_ARG, "%s of the chat: expected %s, found %s", what,
                   type == DP_JSON_ARRAY ? "a JSON array" : "a JSON object", dp_json_type_name(*out));
}

/* Puts a copy of `value` (NULL: null) under `key` in front of the members: of two with one name the template sees the
 * last, so those that the caller gave win. */
static dp_status add(dp_arena *arena, dp_json *object, const char *key, const dp_json *value) {
    dp_json *member = dp_arena_calloc(arena, 1, sizeof *member);
    if (!member) return dp_no_memory(sizeof *member);
    if (value) *member = *value;
    member->key = dp_str_of(key);
    member->next = object->child;
    object->child = member;
    object->count++;
    return DP_OK;
}

static dp_status add_special(dp_arena *arena, dp_json *object, const dp_tokenizer *tokenizer) {
    static const char *const roles[] = {"bos_token", "eos_token", "pad_token", "unk_token"};
    for (size_t i = 0; i < DP_COUNT(roles); i++) {
        dp_json text = {.type = DP_JSON_STRING, .string = dp_tokenizer_special(tokenizer, roles[i])};
        if (text.string.n) TRY(add(arena, object, roles[i], &text));
    }
    return DP_OK;
}

static uint64_t text_bytes(const dp_json *value) {
    uint64_t bytes = value->type == DP_JSON_STRING ? value->string.n : 0;
    bool list = value->type == DP_JSON_ARRAY || value->type == DP_JSON_OBJECT;
    for (const dp_json *m = list ? value->child : NULL; m; m = m->next) bytes += text_bytes(m);
    return bytes;
}

/* The interpreter would refuse them too, but as a fault of the template. */
static dp_status check_size(const dp_json *messages) {
    uint64_t bytes = text_bytes(messages);
    if (bytes <= DP_JINJA_TEXT_MAX) return DP_OK;
    return dp_fail(DP_E_CONTEXT, "the conversation has %llu bytes of text, a chat template takes at most %d (%d MiB): shorten it",
                   (unsigned long long)bytes, DP_JINJA_TEXT_MAX, DP_JINJA_TEXT_MAX >> 20);
}

static dp_status variables_of(dp_arena *arena, const dp_tokenizer *tokenizer, const dp_chat_desc *desc, dp_json **out) {
    const dp_json *messages, *tools = NULL, *given;
    dp_json prompt = {.type = DP_JSON_BOOL, .boolean = desc->add_generation_prompt};
    dp_json *object = dp_arena_calloc(arena, 1, sizeof *object);
    if (!object) return dp_no_memory(sizeof *object);
    object->type = DP_JSON_OBJECT;
    if (desc->variables) {
        TRY(parse_part(arena, desc->variables, DP_JSON_OBJECT, "variables", &given));
        *object = *given;
    }
    TRY(parse_part(arena, desc->messages, DP_JSON_ARRAY, "messages", &messages));
    TRY(check_size(messages));
    if (desc->tools) TRY(parse_part(arena, desc->tools, DP_JSON_ARRAY, "tools", &tools));
    TRY(add_special(arena, object, tokenizer));
    TRY(add(arena, object, "add_generation_prompt", &prompt));
    TRY(add(arena, object, "documents", NULL));
    TRY(add(arena, object, "tools", tools));
    TRY(add(arena, object, "messages", messages));
    *out = object;
    return DP_OK;
}

dp_status dp_chat_render(const dp_tokenizer *tokenizer, const dp_chat_desc *desc, char **text) {
    if (!tokenizer || !desc || !desc->messages || !text)
        return dp_fail(DP_E_ARG, "dp_chat_render: tokenizer, messages and text must be given");
    if (!dp_chat_available(tokenizer))
        return dp_fail(DP_E_UNSUPPORTED, "the model has no chat template: prompt it with plain text");
    dp_arena arena = {0};
    dp_json *variables = NULL;
    dp_jinja *jinja = NULL;
    dp_status status = variables_of(&arena, tokenizer, desc, &variables);
    if (status == DP_OK) status = dp_jinja_parse(dp_tokenizer_template(tokenizer), &jinja);
    if (status == DP_OK)
        status = dp_jinja_render(jinja, variables, desc->now ? desc->now : dp_host_unix_time(), text, NULL);
    dp_jinja_free(jinja);
    dp_arena_free(&arena);
    return status;
}
