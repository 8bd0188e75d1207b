/* tokenizer_write.c: a built tokenizer as tokenizer.json and tokenizer_config.json. The fields that are read as steps
 * are written as they were read. The ids that end a generation, which elsewhere come from generation_config.json or a
 * GGUF, go to tokenizer_config.json as "end_token_ids". */
#include "text/tokenizer_parts.h"

/* The token's text as a JSON string. */
static void put_token(const dp_vocab *vocab, int64_t id, dp_buf *text, dp_buf *out) {
    dp_buf_clear(text);
    dp_vocab_put_text(vocab, id, text);
    if (text->failed) out->failed = true;
    else dp_json_put_string(out, (dp_str){text->data ? text->data : "", text->size});
}

static void put_bool(dp_buf *out, const char *key, bool value) {
    dp_buf_printf(out, "\"%s\":%s", key, value ? "true" : "false");
}

static void put_added(const dp_tokenizer *t, dp_buf *out) {
    dp_buf_str(out, "\"added_tokens\":[");
    for (size_t i = 0; i < t->added_count; i++) {
        const dp_added_token *token = &t->added[i];
        dp_buf_printf(out, "%s{\"id\":%d,\"content\":", i ? "," : "", (int)token->id);
        dp_json_put_string(out, token->content);
        const struct { const char *key; bool value; } options[] = {
            {"single_word", token->single_word}, {"lstrip", token->lstrip}, {"rstrip", token->rstrip},
            {"normalized", token->normalized},   {"special", token->special}};
        for (size_t k = 0; k < DP_COUNT(options); k++)
            dp_buf_char(out, ','), put_bool(out, options[k].key, options[k].value);
        dp_buf_char(out, '}');
    }
    dp_buf_char(out, ']');
}

static void put_step_fields(const dp_tokenizer *t, dp_buf *out) {
    const struct { const char *key; dp_str json; } fields[] = {{"normalizer", t->normalizer.json},
                                                               {"pre_tokenizer", t->pre_tokenizer.json},
                                                               {"post_processor", t->post_processor},
                                                               {"decoder", t->decoder.json}};
    for (size_t i = 0; i < DP_COUNT(fields); i++) {
        dp_buf_printf(out, ",\"%s\":", fields[i].key);
        dp_buf_append(out, fields[i].json.p, fields[i].json.n);
    }
}

static void put_model(const dp_tokenizer *t, dp_buf *text, dp_buf *out) {
    const dp_vocab *vocab = &t->bpe.vocab;
    const char *comma = "";
    dp_buf_str(out, ",\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":");
    if (t->bpe.unk >= 0) put_token(vocab, t->bpe.unk, text, out);
    else dp_buf_str(out, "null");
    dp_buf_str(out, ",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,");
    put_bool(out, "fuse_unk", t->bpe.fuse_unk), dp_buf_char(out, ',');
    put_bool(out, "byte_fallback", t->bpe.byte_fallback), dp_buf_char(out, ',');
    put_bool(out, "ignore_merges", t->bpe.ignore_merges);
    dp_buf_str(out, ",\"vocab\":{");
    for (size_t id = 0; id < vocab->count; id++) {
        if (!vocab->tokens[id].present) continue;
        dp_buf_str(out, comma);
        put_token(vocab, (int64_t)id, text, out);
        dp_buf_printf(out, ":%zu", id);
        comma = ",";
    }
    dp_buf_str(out, "},\"merges\":[");
    for (size_t m = 0; m < t->bpe.merge_count; m++) {
        dp_buf_str(out, m ? ",[" : "[");
        put_token(vocab, t->bpe.merges[m].left, text, out), dp_buf_char(out, ',');
        put_token(vocab, t->bpe.merges[m].right, text, out), dp_buf_char(out, ']');
    }
    dp_buf_str(out, "]}");
}

static void put_config(const dp_tokenizer *t, dp_buf *out) {
    dp_buf_str(out, "{\"tokenizer_class\":\"PreTrainedTokenizerFast\",");
    put_bool(out, "add_bos_token", t->prefix_count > 0), dp_buf_char(out, ',');
    put_bool(out, "add_eos_token", t->suffix_count > 0);
    for (size_t i = 0; i < t->role_count; i++) {
        dp_buf_char(out, ',');
        dp_json_put_string(out, t->roles[i].name), dp_buf_char(out, ':');
        dp_json_put_string(out, t->roles[i].text);
    }
    const char *comma = ",\"end_token_ids\":[";
    for (int32_t id = 0; id < t->vocab_size; id++) {
        if (!dp_tokenizer_is_end(t, id)) continue;
        dp_buf_printf(out, "%s%d", comma, (int)id);
        comma = ",";
    }
    if (comma[1] == 0) dp_buf_char(out, ']');
    if (t->chat_template.n) {
        dp_buf_str(out, ",\"chat_template\":");
        dp_json_put_string(out, t->chat_template);
    }
    dp_buf_char(out, '}');
}

dp_status dp_tokenizer_write_hf(const dp_tokenizer *t, dp_buf *json, dp_buf *config) {
    dp_buf text = {0};
    dp_buf_str(json, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,");
    put_added(t, json);
    put_step_fields(t, json);
    put_model(t, &text, json);
    dp_buf_char(json, '}');
    put_config(t, config);
    dp_buf_free(&text);
    return json->failed || config->failed ? dp_no_memory(json->size + config->size) : DP_OK;
}
