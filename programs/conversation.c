/* conversation.c: see conversation.h. */
#include "conversation.h"

#include "base/json_write.h"
#include "host/host.h"
#include "tool.h"

dp_status conversation_add(conversation *c, const char *role, dp_str content) {
    message m = {0};
    if (!dp_grow((void **)&c->messages, &c->capacity, c->count + 1, sizeof m)) return dp_no_memory(sizeof m);
    TRY(text_copy(dp_str_of(role), &m.role));
    dp_status status = text_copy(content, &m.content);
    if (status == DP_OK)
        c->messages[c->count++] = m;
    else
        dp_free(m.role);
    return status;
}

void conversation_cut(conversation *c, size_t count) {
    while (c->count > count) {
        dp_free(c->messages[--c->count].role);
        dp_free(c->messages[c->count].content);
    }
    if (count) return;
    dp_free(c->messages);
    *c = (conversation){0};
}

dp_status conversation_set_system(conversation *c, dp_str text) {
    bool has = c->count && strcmp(c->messages[0].role, "system") == 0;
    if (has) {
        dp_free(c->messages[0].role);
        dp_free(c->messages[0].content);
        memmove(c->messages, c->messages + 1, --c->count * sizeof *c->messages);
    }
    if (!text.n) return DP_OK;
    TRY(conversation_add(c, "system", text));
    message last = c->messages[c->count - 1];
    memmove(c->messages + 1, c->messages, (c->count - 1) * sizeof *c->messages);
    c->messages[0] = last;
    return DP_OK;
}

size_t conversation_last_question(const conversation *c) {
    for (size_t i = c->count; i-- > 0;)
        if (strcmp(c->messages[i].role, "user") == 0) return i;
    return c->count;
}

static void put_json(const conversation *c, dp_buf *buf) {
    dp_json_open(buf, NULL, '[');
    for (size_t i = 0; i < c->count; i++) {
        dp_json_open(buf, NULL, '{');
        dp_json_add_text(buf, "role", c->messages[i].role);
        dp_json_add_text(buf, "content", c->messages[i].content);
        dp_json_close(buf, '}');
    }
    dp_json_close(buf, ']');
}

dp_status conversation_encode(const conversation *c, const dp_tokenizer *tokenizer, int32_t **ids, size_t *count) {
    dp_buf messages = {0};
    char *json = NULL, *text = NULL;
    put_json(c, &messages);
    TRY(dp_buf_take(&messages, &json, NULL));
    dp_status status =
        dp_chat_render(tokenizer, &(dp_chat_desc){.messages = json, .add_generation_prompt = true}, &text);
    dp_free(json);
    TRY(status);
    status = dp_tokenizer_encode(tokenizer, text, strlen(text), false, ids, count);
    dp_free(text);
    return status;
}

dp_status conversation_save(const conversation *c, const char *path) {
    dp_writer *writer;
    dp_buf out = {0};
    dp_buf_str(&out, "{\"messages\": ");
    dp_buf list = {0};
    put_json(c, &list);
    dp_buf_append(&out, list.data ? list.data : "", list.size);
    dp_buf_str(&out, "}\n");
    dp_status status = out.failed || list.failed ? dp_no_memory(out.size) : dp_writer_open(path, &writer);
    if (status == DP_OK) {
        status = dp_writer_write(writer, out.data, out.size);
        if (status == DP_OK)
            status = dp_writer_commit(writer);
        else
            dp_writer_abandon(writer);
    }
    dp_buf_free(&list);
    dp_buf_free(&out);
    return status;
}

static dp_status add_all(conversation *c, const dp_json *root) {
    const dp_json *list = dp_json_find(root, "messages");
    if (!list || list->type != DP_JSON_ARRAY) return dp_fail(DP_E_FORMAT, "expected {\"messages\": [...]}");
    for (const dp_json *item = list->child; item; item = item->next) {
        const dp_json *role = dp_json_find(item, "role"), *content = dp_json_find(item, "content");
        char name[32];
        if (!role || role->type != DP_JSON_STRING || role->string.n >= sizeof name || !content ||
            content->type != DP_JSON_STRING)
            return dp_fail(DP_E_FORMAT, "message %zu: expected strings \"role\" and \"content\"", c->count + 1);
        memcpy(name, role->string.p, role->string.n);
        name[role->string.n] = 0;
        TRY(conversation_add(c, name, content->string));
    }
    return DP_OK;
}

dp_status conversation_load(conversation *c, const char *path) {
    enum { LIMIT = 64 << 20 };
    char *text;
    size_t size;
    dp_arena arena = {0};
    const dp_json *root = NULL;
    conversation loaded = {0};
    TRY(dp_file_load(path, LIMIT, &text, &size));
    dp_status status = dp_json_parse(&arena, (dp_str){text, size}, &root);
    if (status == DP_OK) status = add_all(&loaded, root);
    dp_arena_free(&arena);
    dp_free(text);
    conversation_cut(status == DP_OK ? c : &loaded, 0);
    if (status != DP_OK) return dp_fail_in(status, "%s", path);
    *c = loaded;
    return DP_OK;
}
