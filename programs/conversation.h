/* conversation.h: the messages of a chat, and their JSON form: an array of {"role", "content"}. */
#ifndef TOOL_CONVERSATION_H
#define TOOL_CONVERSATION_H

#include "base/base.h"
#include "base/buf.h"

typedef struct message {
    char *role, *content; /* owned */
} message;

typedef struct conversation {
    message *messages;
    size_t count, capacity;
} conversation;

dp_status conversation_add(conversation *c, const char *role, dp_str content);
/* Forgets all messages from `count` on. */
void conversation_cut(conversation *c, size_t count);
/* Puts a system message first, in place of one there; an empty text removes it. */
dp_status conversation_set_system(conversation *c, dp_str text);
/* Number of messages up to and without the last user message; `count` if there is none. */
size_t conversation_last_question(const conversation *c);
/* Ids (dp_free() them) of the rendered chat template, ready for an answer. The template writes the special tokens. */
dp_status conversation_encode(const conversation *c, const dp_tokenizer *tokenizer, int32_t **ids, size_t *count);
/* A file {"messages": [...]}; on failure the conversation is as before. */
dp_status conversation_save(const conversation *c, const char *path);
dp_status conversation_load(conversation *c, const char *path);

#endif
