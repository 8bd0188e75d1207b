/* tokenizer_write.c: a built tokenizer as tokenizer.json and tokenizer_config.json. The fields that are read as steps
 * are written as they were read. The ids that end a generation, which elsewhere come from generation_config.json or a
 * GGUF, go to tokenizer_config.json as "end_token_ids". */
#include "base/json_write.h"
#include "text/tokenizer_parts.h"

/* The token's text, in `text`. */
static dp_str text_of(const dp_vocab *vocab, int64_t id, dp_buf *text, dp_buf *out) {
    dp_buf_clear(text);
    dp_vocab_put_text(vocab, id, text);
    if (text->failed) out->failed = true;
    return (dp_str){text->data ? text->data : "", text->size};
}

static void put_added(const dp_tokenizer *t, dp_buf *out) {
    dp_json_open(out, "added_tokens", '[');
    for (size_t i = 0; i < t->added_count; i++) {
        const dp_added_token *token = &t->added[i];
        dp_json_open(out, NULL, '{');
        dp_json_add_int(out, "id", token->id);
        dp_json_add_str(out, "content", token->content);
        dp_json_add_bool(out, "single_word", token->single_word);
        dp_json_add_bool(out, "lstrip", token->lstrip);
        dp_json_add_bool(out, "rstrip", token->rstrip);
        dp_json_add_bool(out, "normalized", token->normalized);
        dp_json_add_bool(out, "special", token->special);
        dp_json_close(out, '}');
    }
    dp_json_close(out, ']');
}

static void put_vocab(const dp_vocab *vocab, dp_buf *text, dp_buf *out) {
    dp_json_open(out, "vocab", '{');
    for (size_t id = 0; id < vocab->count; id++) {
        if (!vocab->tokens[id].present) continue;
        dp_json_key(out, text_of(vocab, (int64_t)id, text, out));
        dp_json_add_uint(out, NULL, id);
    }
    dp_json_close(out, '}');
}

static void put_merges(const dp_tokenizer *t, dp_buf *text, dp_buf *out) {
    dp_json_open(out, "merges", '[');
    for (size_t m = 0; m < t->bpe.merge_count; m++) {
        dp_json_open(out, NULL, '[');
        dp_json_add_str(out, NULL, text_of(&t->bpe.vocab, t->bpe.merges[m].left, text, out));
        dp_json_add_str(out, NULL, text_of(&t->bpe.vocab, t->bpe.merges[m].right, text, out));
        dp_json_close(out, ']');
    }
    dp_json_close(out, ']');
}

static void put_model(const dp_tokenizer *t, dp_buf *text, dp_buf *out) {
    dp_json_open(out, "model", '{');
    dp_json_add_text(out, "type", "BPE");
    dp_json_add_null(out, "dropout");
    if (t->bpe.unk >= 0) dp_json_add_str(out, "unk_token", text_of(&t->bpe.vocab, t->bpe.unk, text, out));
    else dp_json_add_null(out, "unk_token");
    dp_json_add_null(out, "continuing_subword_prefix");
    dp_json_add_null(out, "end_of_word_suffix");
    dp_json_add_bool(out, "fuse_unk", t->bpe.fuse_unk);
    dp_json_add_bool(out, "byte_fallback", t->bpe.byte_fallback);
    dp_json_add_bool(out, "ignore_merges", t->bpe.ignore_merges);
    put_vocab(&t->bpe.vocab, text, out);
    put_merges(t, text, out);
    dp_json_close(out, '}');
}

static void put_tokenizer(const dp_tokenizer *t, dp_buf *out) {
    dp_buf text = {0};
    dp_json_open(out, NULL, '{');
    dp_json_add_text(out, "version", "1.0");
    dp_json_add_null(out, "truncation");
    dp_json_add_null(out, "padding");
    put_added(t, out);
    dp_json_add_raw(out, "normalizer", t->normalizer.json);
    dp_json_add_raw(out, "pre_tokenizer", t->pre_tokenizer.json);
    dp_json_add_raw(out, "post_processor", t->post_processor);
    dp_json_add_raw(out, "decoder", t->decoder.json);
    put_model(t, &text, out);
    dp_json_close(out, '}');
    dp_buf_free(&text);
}

static void put_ends(const dp_tokenizer *t, dp_buf *out) {
    bool any = false;
    for (int32_t id = 0; id < t->vocab_size; id++) {
        if (!dp_tokenizer_is_end(t, id)) continue;
        if (!any) dp_json_open(out, "end_token_ids", '[');
        any = true;
        dp_json_add_int(out, NULL, id);
    }
    if (any) dp_json_close(out, ']');
}

static void put_config(const dp_tokenizer *t, dp_buf *out) {
    dp_json_open(out, NULL, '{');
    dp_json_add_text(out, "tokenizer_class", "PreTrainedTokenizerFast");
    dp_json_add_bool(out, "add_bos_token", t->prefix_count > 0);
    dp_json_add_bool(out, "add_eos_token", t->suffix_count > 0);
    for (size_t i = 0; i < t->role_count; i++) {
        dp_json_key(out, t->roles[i].name);
        dp_json_add_str(out, NULL, t->roles[i].text);
    }
    put_ends(t, out);
    if (t->chat_template.n) dp_json_add_str(out, "chat_template", t->chat_template);
    dp_json_close(out, '}');
}

dp_status dp_tokenizer_write_hf(const dp_tokenizer *t, dp_buf *json, dp_buf *config) {
    put_tokenizer(t, json);
    put_config(t, config);
    return json->failed || config->failed ? dp_no_memory(json->size + config->size) : DP_OK;
}
