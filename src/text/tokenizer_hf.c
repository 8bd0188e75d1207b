/* tokenizer_hf.c: a tokenizer from Hugging Face's files, and what every tokenizer needs at last: roles, end tokens. */
#include "text/tokenizer_parts.h"

dp_status dp_tokenizer_keep(dp_tokenizer *t, dp_str text, dp_str *out) {
    char *copy = dp_arena_copy(&t->arena, text.p ? text.p : "", text.n);
    if (!copy) return dp_no_memory(text.n);
    *out = (dp_str){copy, text.n};
    return DP_OK;
}

/* ---- model ---- */

static dp_status read_vocab(dp_tokenizer *t, const dp_json *model) {
    const dp_json *vocab = dp_json_find(model, "vocab");
    if (!vocab || vocab->type != DP_JSON_OBJECT)
        return dp_fail(DP_E_FORMAT, "tokenizer: \"model.vocab\": expected an object of token ids");
    TRY(dp_vocab_reserve(&t->bpe.vocab, vocab->count));
    for (const dp_json *m = vocab->child; m; m = m->next) {
        if (m->type != DP_JSON_NUMBER || !m->is_integer)
            return dp_fail(DP_E_FORMAT, "tokenizer: the id of token \"" DP_STR_FMT "\" is no integer",
                           DP_STR_ARG(m->key));
        TRY(dp_vocab_add(&t->bpe.vocab, m->integer, m->key));
    }
    return DP_OK;
}

/* "a b" or ["a", "b"] */
static bool merge_sides(const dp_json *merge, dp_str *left, dp_str *right) {
    const dp_json *a = dp_json_at(merge, 0), *b = dp_json_at(merge, 1);
    if (a && b) {
        *left = a->string;
        *right = b->string;
        return merge->count == 2 && a->type == DP_JSON_STRING && b->type == DP_JSON_STRING;
    }
    if (merge->type != DP_JSON_STRING) return false;
    dp_str text = merge->string;
    const char *space = text.n ? memchr(text.p, ' ', text.n) : NULL;
    if (!space) return false;
    *left = (dp_str){text.p, (size_t)(space - text.p)};
    *right = (dp_str){space + 1, text.n - left->n - 1};
    return true;
}

dp_status dp_tokenizer_add_merge(dp_tokenizer *t, dp_str left, dp_str right, dp_buf *scratch, bool *known) {
    const dp_vocab *vocab = &t->bpe.vocab;
    dp_buf_clear(scratch);
    *known = true;
    if (!vocab->byte_level) dp_buf_append(scratch, left.p, left.n);
    else if (!dp_alphabet_decode(left, scratch)) return DP_OK; /* no text has such characters: it never applies */
    size_t cut = scratch->size;
    if (!vocab->byte_level) dp_buf_append(scratch, right.p, right.n);
    else if (!dp_alphabet_decode(right, scratch)) return DP_OK;
    if (scratch->failed) return dp_no_memory(left.n + right.n);
    dp_str all = {scratch->data ? scratch->data : "", scratch->size};
    dp_merge merge = {dp_vocab_find(vocab, (dp_str){all.p, cut}),
                      dp_vocab_find(vocab, (dp_str){all.p + cut, all.n - cut}), dp_vocab_find(vocab, all)};
    *known = merge.left >= 0 && merge.right >= 0 && merge.result >= 0;
    return *known ? dp_bpe_add_merge(&t->bpe, merge) : DP_OK;
}

static dp_status read_merges(dp_tokenizer *t, const dp_json *model, dp_buf *scratch) {
    const dp_json *merges = dp_json_find(model, "merges");
    size_t index = 0;
    if (!merges || merges->type != DP_JSON_ARRAY)
        return dp_fail(DP_E_FORMAT, "tokenizer: \"model.merges\": expected an array");
    for (const dp_json *m = merges->child; m; m = m->next, index++) {
        dp_str left, right;
        bool known;
        if (!merge_sides(m, &left, &right))
            return dp_fail(DP_E_FORMAT, "tokenizer: merge %zu: expected \"a b\" or [\"a\", \"b\"]", index);
        TRY(dp_tokenizer_add_merge(t, left, right, scratch, &known));
        if (!known)
            return dp_fail(DP_E_FORMAT,
                           "tokenizer: merge %zu, \"" DP_STR_FMT "\" + \"" DP_STR_FMT
                           "\", makes or uses a token that is not in the vocabulary",
                           index, DP_STR_ARG(left), DP_STR_ARG(right));
    }
    return DP_OK;
}

static dp_status refuse_text(const dp_json *model, const char *key) {
    dp_str text = {0};
    TRY(dp_json_get_str(model, key, &text));
    return text.n ? dp_fail(DP_E_UNSUPPORTED, "tokenizer: \"model.%s\" is not supported", key) : DP_OK;
}

static dp_status read_model(dp_tokenizer *t, const dp_json *model) {
    dp_str type = {0}, unk = {0};
    double dropout = 0;
    if (!model || model->type != DP_JSON_OBJECT)
        return dp_fail(DP_E_FORMAT, "tokenizer: \"model\": expected an object");
    TRY(dp_json_get_str(model, "type", &type));
    bool old_bpe = !type.p && dp_json_find(model, "merges");
    if (!old_bpe && !dp_str_is(type, "BPE"))
        return dp_fail(DP_E_UNSUPPORTED, "tokenizer: model type \"" DP_STR_FMT "\" is not supported, only BPE is",
                       DP_STR_ARG(type));
    TRY(refuse_text(model, "continuing_subword_prefix"));
    TRY(refuse_text(model, "end_of_word_suffix"));
    TRY(dp_json_get_double(model, "dropout", &dropout));
    if (dropout != 0) return dp_fail(DP_E_UNSUPPORTED, "tokenizer: \"model.dropout\" other than 0 is not supported");
    TRY(dp_json_get_bool(model, "byte_fallback", &t->bpe.byte_fallback));
    TRY(dp_json_get_bool(model, "fuse_unk", &t->bpe.fuse_unk));
    TRY(dp_json_get_bool(model, "ignore_merges", &t->bpe.ignore_merges));
    TRY(dp_json_get_str(model, "unk_token", &unk));
    TRY(read_vocab(t, model));
    t->bpe.unk = unk.n ? dp_vocab_find_text(&t->bpe.vocab, unk) : -1;
    dp_buf scratch = {0};
    dp_status status = read_merges(t, model, &scratch);
    dp_buf_free(&scratch);
    return status;
}

/* ---- added tokens ---- */

static dp_status read_added_token(dp_tokenizer *t, const dp_json *json, dp_added_token *token) {
    int64_t id = -1;
    token->normalized = true;
    TRY(dp_json_get_str(json, "content", &token->content));
    TRY(dp_json_get_int(json, "id", &id));
    TRY(dp_json_get_bool(json, "special", &token->special));
    token->normalized = !token->special;
    TRY(dp_json_get_bool(json, "single_word", &token->single_word));
    TRY(dp_json_get_bool(json, "lstrip", &token->lstrip));
    TRY(dp_json_get_bool(json, "rstrip", &token->rstrip));
    TRY(dp_json_get_bool(json, "normalized", &token->normalized));
    if (!token->content.p || id < 0)
        return dp_fail(DP_E_FORMAT, "tokenizer: an added token needs \"id\" and \"content\"");
    return dp_tokenizer_add_added(t, token, id);
}

dp_status dp_tokenizer_add_added(dp_tokenizer *t, dp_added_token *token, int64_t id) {
    const dp_vocab *vocab = &t->bpe.vocab;
    TRY(dp_tokenizer_keep(t, token->content, &token->content));
    bool there = id < (int64_t)vocab->count && vocab->tokens[id].present;
    if (!there) TRY(dp_vocab_add(&t->bpe.vocab, id, token->content));
    token->id = (int32_t)id;
    return DP_OK;
}

static dp_status read_added(dp_tokenizer *t, const dp_json *added) {
    size_t count = added && added->type == DP_JSON_ARRAY ? added->count : 0, i = 0;
    if (!count) return DP_OK;
    t->added = dp_arena_calloc(&t->arena, count, sizeof *t->added);
    if (!t->added) return dp_no_memory(count * sizeof *t->added);
    TRY(dp_vocab_reserve(&t->bpe.vocab, count));
    t->added_count = count;
    for (const dp_json *m = added->child; m; m = m->next) TRY(read_added_token(t, m, &t->added[i++]));
    return DP_OK;
}

/* ---- roles and end tokens ---- */

int32_t dp_tokenizer_find(const dp_tokenizer *t, dp_str text) {
    for (size_t i = 0; i < t->added_count; i++)
        if (dp_str_eq(t->added[i].content, text)) return t->added[i].id;
    return dp_vocab_find_text(&t->bpe.vocab, text);
}

dp_status dp_tokenizer_add_role(dp_tokenizer *t, dp_str name, dp_str text) {
    dp_role *longer = dp_arena_alloc(&t->arena, (t->role_count + 1) * sizeof *longer);
    if (!longer) return dp_no_memory((t->role_count + 1) * sizeof *longer);
    if (t->role_count) memcpy(longer, t->roles, t->role_count * sizeof *longer);
    TRY(dp_tokenizer_keep(t, name, &longer[t->role_count].name));
    TRY(dp_tokenizer_keep(t, text, &longer[t->role_count].text));
    t->roles = longer;
    t->role_count++;
    return DP_OK;
}

dp_str dp_tokenizer_special(const dp_tokenizer *t, const char *role) {
    for (size_t i = 0; i < t->role_count; i++)
        if (dp_str_is(t->roles[i].name, role)) return t->roles[i].text;
    return (dp_str){"", 0};
}

/* Every member "..._token" that is a text, or an object with the text in "content". */
static dp_status read_roles(dp_tokenizer *t, const dp_json *config) {
    enum { ROLES_MAX = 64 };
    if (!config || config->type != DP_JSON_OBJECT) return DP_OK;
    for (const dp_json *m = config->child; m; m = m->next) {
        const dp_json *text = m->type == DP_JSON_OBJECT ? dp_json_find(m, "content") : m;
        if (!dp_str_ends(m->key, "_token") || !text || text->type != DP_JSON_STRING || t->role_count == ROLES_MAX)
            continue;
        TRY(dp_tokenizer_add_role(t, m->key, text->string));
    }
    return DP_OK;
}

/* A text, or a list of {"name", "template"} of which "default" counts. */
static dp_status read_template(dp_tokenizer *t, const dp_json *config, dp_str file) {
    const dp_json *member = dp_json_find(config, "chat_template");
    dp_str text = file;
    if (!text.n && member && member->type == DP_JSON_STRING) text = member->string;
    for (const dp_json *m = member && member->type == DP_JSON_ARRAY && !text.n ? member->child : NULL; m; m = m->next) {
        dp_str name = {0};
        TRY(dp_json_get_str(m, "name", &name));
        if (dp_str_is(name, "default")) TRY(dp_json_get_str(m, "template", &text));
    }
    return dp_tokenizer_keep(t, text, &t->chat_template);
}

static void mark_end(dp_tokenizer *t, int64_t id) {
    if (id >= 0 && id < t->vocab_size) t->flags[id] |= DP_TOKEN_END;
}

/* One id or an array of ids; the first is the end of text where nothing else says so. */
static void mark_ends(dp_tokenizer *t, const dp_json *ids) {
    bool array = ids && ids->type == DP_JSON_ARRAY;
    for (const dp_json *m = array ? ids->child : ids; m; m = array ? m->next : NULL) {
        if (m->type != DP_JSON_NUMBER) continue;
        if (t->eos < 0 && m->integer >= 0 && m->integer < t->vocab_size) t->eos = (int32_t)m->integer;
        mark_end(t, m->integer);
    }
}

/* Texts that end a text or a turn in published chat formats; those that end a text stand first. */
static const char *const END_TOKENS[] = {"<|end_of_text|>",
                                         "<|endoftext|>",
                                         "</s>",
                                         "<eos>",
                                         ("<\xef\xbd\x9c"
                                          "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>"),
                                         "[EOS]",
                                         "<|return|>",
                                         "<|im_end|>",
                                         "<|eot_id|>",
                                         "<|eom_id|>",
                                         "<end_of_turn>",
                                         "<|end|>",
                                         "<|call|>",
                                         "<|end_of_turn|>",
                                         "<|endofprompt|>"};
enum { END_OF_TEXT_COUNT = 7 };

/* In gpt-oss's format <|end|> ends one message of several: a turn ends with <|return|> or <|call|>. */
static bool ends_messages_only(const dp_tokenizer *t, dp_str text) {
    return dp_str_is(text, "<|end|>") && dp_tokenizer_find(t, DP_LIT("<|return|>")) >= 0 &&
           dp_tokenizer_find(t, DP_LIT("<|call|>")) >= 0;
}

static void mark_known_ends(dp_tokenizer *t) {
    for (size_t e = 0; e < DP_COUNT(END_TOKENS); e++) {
        dp_str text = dp_str_of(END_TOKENS[e]);
        if (ends_messages_only(t, text)) continue;
        for (size_t i = 0; i < t->added_count; i++) {
            if (!t->added[i].special || !dp_str_eq(t->added[i].content, text)) continue;
            if (t->eos < 0 && e < END_OF_TEXT_COUNT) t->eos = t->added[i].id;
            mark_end(t, t->added[i].id);
        }
    }
}

dp_status dp_tokenizer_finish(dp_tokenizer *t, const dp_json *generation) {
    TRY(dp_bpe_finish(&t->bpe));
    TRY(dp_tokenizer_index_added(t));
    t->vocab_size = (int32_t)t->bpe.vocab.count;
    t->flags = dp_arena_calloc(&t->arena, (size_t)t->vocab_size, 1);
    if (!t->flags) return dp_no_memory((size_t)t->vocab_size);
    for (size_t i = 0; i < t->added_count; i++)
        t->flags[t->added[i].id] |= (uint8_t)(DP_TOKEN_ADDED | (t->added[i].special ? DP_TOKEN_SPECIAL : 0));
    dp_str eos = dp_tokenizer_special(t, "eos_token"), eot = dp_tokenizer_special(t, "eot_token");
    if (eos.n) t->eos = dp_tokenizer_find(t, eos);
    mark_ends(t, dp_json_find(generation, "eos_token_id"));
    mark_known_ends(t);
    mark_end(t, t->eos);
    if (eot.n) mark_end(t, dp_tokenizer_find(t, eot));
    return DP_OK;
}

/* ---- all together ---- */

static dp_status check_template_ids(const dp_tokenizer *t) {
    for (size_t i = 0; i < t->prefix_count + t->suffix_count; i++) {
        int32_t id = i < t->prefix_count ? t->prefix[i] : t->suffix[i - t->prefix_count];
        if (id >= t->vocab_size)
            return dp_fail(DP_E_FORMAT, "tokenizer: the post-processor adds id %d, which is no token", (int)id);
    }
    return DP_OK;
}

/* The pre-tokenizer comes first: it says whether the vocabulary is byte-level. */
static dp_status read_tokenizer(dp_tokenizer *t, const dp_json *root) {
    TRY(dp_tokenizer_read_pre_tokenizer(t, dp_json_get(root, "pre_tokenizer")));
    TRY(dp_tokenizer_read_normalizer(t, dp_json_get(root, "normalizer")));
    TRY(dp_tokenizer_read_decoder(t, dp_json_get(root, "decoder")));
    TRY(dp_tokenizer_read_post_processor(t, dp_json_get(root, "post_processor")));
    TRY(read_model(t, dp_json_find(root, "model")));
    return read_added(t, dp_json_find(root, "added_tokens"));
}

static dp_status parse_optional(dp_arena *arena, dp_str text, const char *name, const dp_json **out) {
    *out = NULL;
    if (!text.n) return DP_OK;
    dp_status status = dp_json_parse(arena, text, out);
    return status == DP_OK ? DP_OK : dp_fail_in(status, "%s", name);
}

static dp_status read_files(dp_tokenizer *t, dp_arena *arena, const dp_str file[4]) {
    const dp_json *root, *config, *generation;
    TRY(parse_optional(arena, file[1], "tokenizer_config.json", &config));
    TRY(parse_optional(arena, file[2], "generation_config.json", &generation));
    TRY(dp_json_parse(arena, file[0], &root));
    TRY(read_tokenizer(t, root));
    TRY(read_roles(t, config));
    TRY(read_template(t, config, file[3]));
    TRY(dp_tokenizer_finish(t, generation));
    mark_ends(t, dp_json_find(config, "end_token_ids")); /* dp_tokenizer_write_hf keeps them there */
    return check_template_ids(t);
}

dp_tokenizer *dp_tokenizer_new(void) {
    dp_tokenizer *t = dp_calloc(1, sizeof *t);
    if (t) t->eos = t->bpe.unk = -1;
    return t;
}

dp_status dp_tokenizer_from_hf(dp_str json, dp_str config, dp_str generation, dp_str chat_template,
                               dp_tokenizer **out) {
    dp_tokenizer *t = dp_tokenizer_new();
    if (!t) return dp_no_memory(sizeof *t);
    dp_arena arena = {0};
    dp_status status = read_files(t, &arena, (const dp_str[4]){json, config, generation, chat_template});
    dp_arena_free(&arena);
    if (status != DP_OK) dp_tokenizer_close(t);
    else *out = t;
    return status;
}
