/* tokenizer_gguf.c: tokenizers from and to the vocabulary that a GGUF file holds.
 *
 *   "gpt2"   byte-level BPE: tokens, merges and the name of a pre-tokenizer (tokenizer_pre.c)
 *   "llama"  SentencePiece BPE: tokens and scores; two pieces join if the result is a token, higher scores first.
 *            That is the same as merges in order of falling score, which is how it is kept here.
 * Token types: 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte. */
#include <stdlib.h>

#include "base/json_write.h"
#include "text/tokenizer_parts.h"

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5, BYTE = 6 };
enum { PIECE_MAX = 1024 }; /* longer tokens are never made of two others: bounds the work on hostile vocabularies */

static const dp_str MARK = {"\xe2\x96\x81", 3}; /* stands for a space */

static int type_of(const dp_gguf_vocab *v, size_t id) { return v->types ? v->types[id] : NORMAL; }

/* ---- from GGUF: the fields that tokenizer.json would have ---- */

typedef dp_status (*field_fn)(dp_tokenizer *t, const dp_json *json);

/* Reads a field from generated JSON. */
static dp_status read_field(dp_tokenizer *t, dp_buf *text, field_fn read) {
    dp_arena arena = {0};
    const dp_json *json = NULL;
    dp_status status =
        text->failed ? dp_no_memory(text->size) : dp_json_parse(&arena, (dp_str){text->data, text->size}, &json);
    if (status == DP_OK) status = read(t, json);
    dp_arena_free(&arena);
    dp_buf_free(text);
    return status;
}

static dp_status read_text_field(dp_tokenizer *t, const char *json, field_fn read) {
    dp_buf text = {0};
    dp_buf_str(&text, json);
    return read_field(t, &text, read);
}

static dp_status byte_level_fields(dp_tokenizer *t, const dp_gguf_vocab *v) {
    const char *name = v->pre && v->pre[0] ? v->pre : "default";
    const dp_known_pre *known = dp_known_pre_find(name);
    if (!known)
        return dp_fail(
            DP_E_UNSUPPORTED,
            "GGUF: tokenizer.ggml.pre \"%s\" is a pre-tokenizer we do not have; the model's tokenizer.json would do",
            name);
    dp_buf pre = {0};
    dp_json_open(&pre, NULL, '{');
    dp_json_add_text(&pre, "type", "Sequence");
    dp_json_open(&pre, "pretokenizers", '[');
    for (size_t i = 0; i < DP_COUNT(known->patterns) && known->patterns[i]; i++) {
        dp_json_open(&pre, NULL, '{');
        dp_json_add_text(&pre, "type", "Split");
        dp_json_open(&pre, "pattern", '{');
        dp_json_add_text(&pre, "Regex", known->patterns[i]);
        dp_json_close(&pre, '}');
        dp_json_add_text(&pre, "behavior", "Isolated");
        dp_json_add_bool(&pre, "invert", false);
        dp_json_close(&pre, '}');
    }
    dp_json_add_raw(&pre, NULL, DP_LIT("{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":false}"));
    dp_json_close(&pre, ']');
    dp_json_close(&pre, '}');
    TRY(read_field(t, &pre, dp_tokenizer_read_pre_tokenizer));
    TRY(read_text_field(t, known->nfc ? "{\"type\":\"NFC\"}" : "null", dp_tokenizer_read_normalizer));
    t->bpe.ignore_merges = known->ignore_merges;
    return read_text_field(
        t, "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true}",
        dp_tokenizer_read_decoder);
}

#define MARK_SPACES "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xe2\x96\x81\"}"
#define UNMARK_SPACES "{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xe2\x96\x81\"},\"content\":\" \"}"
#define BYTES_AND_FUSE ",{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}"

static dp_status sentencepiece_fields(dp_tokenizer *t, const dp_gguf_vocab *v) {
    bool prefix = v->add_space_prefix;
    TRY(read_text_field(t, "null", dp_tokenizer_read_pre_tokenizer));
    TRY(read_text_field(
        t,
        prefix
            ? "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"\xe2\x96\x81\"}," MARK_SPACES
              "]}"
            : MARK_SPACES,
        dp_tokenizer_read_normalizer));
    t->bpe.byte_fallback = t->bpe.fuse_unk = true;
    return read_text_field(t,
                           prefix ? "{\"type\":\"Sequence\",\"decoders\":[" UNMARK_SPACES BYTES_AND_FUSE
                                    ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}"
                                  : "{\"type\":\"Sequence\",\"decoders\":[" UNMARK_SPACES BYTES_AND_FUSE "]}",
                           dp_tokenizer_read_decoder);
}

static void add_special_piece(dp_buf *text, dp_str token) {
    dp_json_open(text, NULL, '{');
    dp_json_open(text, "SpecialToken", '{');
    dp_json_add_str(text, "id", token);
    dp_json_add_int(text, "type_id", 0);
    dp_json_close(text, '}');
    dp_json_close(text, '}');
}

static void add_special_token(dp_buf *text, dp_str token, int32_t id) {
    dp_json_key(text, token);
    dp_json_open(text, NULL, '{');
    dp_json_add_str(text, "id", token);
    dp_json_add_ids(text, "ids", &id, 1);
    dp_json_open(text, "tokens", '[');
    dp_json_add_str(text, NULL, token);
    dp_json_close(text, ']');
    dp_json_close(text, '}');
}

#define SEQUENCE(name, type) DP_LIT("{\"Sequence\":{\"id\":\"" name "\",\"type_id\":" type "}}")

static dp_status post_processor(dp_tokenizer *t, const dp_gguf_vocab *v) {
    bool bos = v->add_bos && v->bos >= 0, eos = v->add_eos && v->eos >= 0;
    if (!bos && !eos) return read_text_field(t, "null", dp_tokenizer_read_post_processor);
    dp_buf text = {0};
    dp_json_open(&text, NULL, '{');
    dp_json_add_text(&text, "type", "TemplateProcessing");
    dp_json_open(&text, "single", '[');
    if (bos) add_special_piece(&text, v->tokens[v->bos]);
    dp_json_add_raw(&text, NULL, SEQUENCE("A", "0"));
    if (eos) add_special_piece(&text, v->tokens[v->eos]);
    dp_json_close(&text, ']');
    dp_json_open(&text, "pair", '[');
    dp_json_add_raw(&text, NULL, SEQUENCE("A", "0"));
    dp_json_add_raw(&text, NULL, SEQUENCE("B", "1"));
    dp_json_close(&text, ']');
    dp_json_open(&text, "special_tokens", '{');
    if (bos) add_special_token(&text, v->tokens[v->bos], (int32_t)v->bos);
    if (eos) add_special_token(&text, v->tokens[v->eos], (int32_t)v->eos);
    dp_json_close(&text, '}');
    dp_json_close(&text, '}');
    return read_field(t, &text, dp_tokenizer_read_post_processor);
}

/* ---- from GGUF: vocabulary ---- */

static dp_status read_listed_merges(dp_tokenizer *t, const dp_gguf_vocab *v, dp_buf *scratch) {
    bool known; /* merges of tokens that do not exist never apply */
    for (size_t i = 0; i < v->merge_count; i++) {
        dp_str m = v->merges[i];
        const char *space = m.n > 1 ? memchr(m.p + 1, ' ', m.n - 1) : NULL;
        if (!space)
            return dp_fail(DP_E_FORMAT, "GGUF: tokenizer.ggml.merges[%zu]: expected two tokens with a space between",
                           i);
        dp_str left = {m.p, (size_t)(space - m.p)};
        TRY(dp_tokenizer_add_merge(t, left, (dp_str){space + 1, m.n - left.n - 1}, scratch, &known));
    }
    return DP_OK;
}

typedef struct scored_merge {
    dp_merge merge;
    float score;
} scored_merge;

static int by_falling_score(const void *a, const void *b) {
    const scored_merge *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    if (x->merge.result != y->merge.result) return x->merge.result < y->merge.result ? -1 : 1;
    return x->merge.left != y->merge.left ? (x->merge.left < y->merge.left ? -1 : 1) : 0;
}

typedef struct merge_list {
    scored_merge *p;
    size_t count, capacity;
} merge_list;

static bool joins(const dp_gguf_vocab *v, int32_t id) {
    if (id < 0 || (size_t)id >= v->count) return false;
    int type = type_of(v, (size_t)id);
    return type == NORMAL || type == USER_DEFINED || type == UNUSED;
}

/* Every way to make the token from two others. */
static bool add_splits(const dp_tokenizer *t, const dp_gguf_vocab *v, int32_t id, merge_list *list) {
    dp_str text = v->tokens[id];
    if (!joins(v, id) || text.n > PIECE_MAX) return true;
    for (size_t i = 1; i < text.n; i++) {
        if (((unsigned char)text.p[i] & 0xC0) == 0x80) continue;
        int32_t left = dp_vocab_find(&t->bpe.vocab, (dp_str){text.p, i});
        int32_t right = left < 0 ? -1 : dp_vocab_find(&t->bpe.vocab, (dp_str){text.p + i, text.n - i});
        if (!joins(v, left) || !joins(v, right)) continue;
        if (!dp_grow((void **)&list->p, &list->capacity, list->count + 1, sizeof *list->p)) return false;
        list->p[list->count++] = (scored_merge){{left, right, id}, v->scores ? v->scores[id] : 0};
    }
    return true;
}

static dp_status merges_from_scores(dp_tokenizer *t, const dp_gguf_vocab *v) {
    merge_list list = {0};
    bool ok = true;
    for (size_t id = 0; ok && id < v->count; id++) {
        if (v->scores && v->scores[id] != v->scores[id]) continue; /* NaN has no place in the order */
        ok = add_splits(t, v, (int32_t)id, &list);
    }
    if (list.count) qsort(list.p, list.count, sizeof *list.p, by_falling_score);
    dp_status status = ok ? DP_OK : dp_no_memory(list.count * sizeof *list.p);
    for (size_t i = 0; i < list.count && status == DP_OK; i++) status = dp_bpe_add_merge(&t->bpe, list.p[i].merge);
    dp_free(list.p);
    return status;
}

static bool named_special(const dp_gguf_vocab *v, size_t id) {
    const int64_t roles[] = {v->bos, v->eos, v->eot, v->unk, v->pad};
    for (size_t i = 0; i < DP_COUNT(roles); i++)
        if (roles[i] == (int64_t)id) return !v->types;
    return false;
}

static dp_status read_added(dp_tokenizer *t, const dp_gguf_vocab *v) {
    size_t count = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t id = 0; id < v->count; id++) {
            int type = type_of(v, id);
            bool special = type == CONTROL || type == UNKNOWN || named_special(v, id);
            if ((!special && type != USER_DEFINED) || !v->tokens[id].n) continue;
            if (pass == 0) {
                count++;
                continue;
            }
            dp_added_token *token = &t->added[t->added_count++];
            *token = (dp_added_token){.content = v->tokens[id], .special = special};
            TRY(dp_tokenizer_add_added(t, token, (int64_t)id));
        }
        if (pass == 0) t->added = dp_arena_calloc(&t->arena, count, sizeof *t->added);
        if (!t->added) return dp_no_memory(count * sizeof *t->added);
    }
    return DP_OK;
}

static dp_status add_roles(dp_tokenizer *t, const dp_gguf_vocab *v) {
    const struct { const char *name; int64_t id;
    } roles[] = {{"bos_token", v->bos},
                 {"eos_token", v->eos},
                 {"eot_token", v->eot},
                 {"unk_token", v->unk},
                 {"pad_token", v->pad}};
    for (size_t i = 0; i < DP_COUNT(roles); i++) {
        if (roles[i].id >= (int64_t)v->count)
            return dp_fail(DP_E_FORMAT, "GGUF: the id of %s is %lld, but there are %zu tokens", roles[i].name,
                           (long long)roles[i].id, v->count);
        if (roles[i].id >= 0) TRY(dp_tokenizer_add_role(t, dp_str_of(roles[i].name), v->tokens[roles[i].id]));
    }
    return DP_OK;
}

static dp_status read_vocab(dp_tokenizer *t, const dp_gguf_vocab *v, bool byte_level) {
    TRY(dp_vocab_reserve(&t->bpe.vocab, v->count));
    for (size_t id = 0; id < v->count; id++) TRY(dp_vocab_add(&t->bpe.vocab, (int64_t)id, v->tokens[id]));
    t->bpe.unk = byte_level ? -1 : (int32_t)v->unk;
    if (!byte_level) return merges_from_scores(t, v);
    dp_buf scratch = {0};
    dp_status status = read_listed_merges(t, v, &scratch);
    dp_buf_free(&scratch);
    return status;
}

static dp_status read_gguf(dp_tokenizer *t, const dp_gguf_vocab *v) {
    bool byte_level = v->model && strcmp(v->model, "gpt2") == 0;
    if (!byte_level && (!v->model || strcmp(v->model, "llama") != 0))
        return dp_fail(DP_E_UNSUPPORTED, "GGUF: tokenizer.ggml.model \"%s\" is not supported, only gpt2 and llama are",
                       v->model ? v->model : "");
    if (!v->count) return dp_fail(DP_E_FORMAT, "GGUF: tokenizer.ggml.tokens is missing or empty");
    TRY(add_roles(t, v));
    TRY(byte_level ? byte_level_fields(t, v) : sentencepiece_fields(t, v));
    TRY(post_processor(t, v));
    TRY(read_vocab(t, v, byte_level));
    TRY(read_added(t, v));
    TRY(dp_tokenizer_keep(t, v->chat_template, &t->chat_template));
    return dp_tokenizer_finish(t, NULL);
}

dp_status dp_tokenizer_from_gguf(const dp_gguf_vocab *vocab, dp_tokenizer **out) {
    dp_tokenizer *t = dp_tokenizer_new();
    if (!t) return dp_no_memory(sizeof *t);
    dp_status status = read_gguf(t, vocab);
    if (status != DP_OK) dp_tokenizer_close(t);
    else *out = t;
    return status;
}

/* ---- to GGUF ---- */

static bool is_replace(const dp_text_step *step, dp_str text, dp_str content) {
    return step->kind == DP_STEP_REPLACE && !step->regex && dp_str_eq(step->text, text) &&
           dp_str_eq(step->content, content);
}

/* SentencePiece's way with spaces, in the forms that tokenizer.json files give it. */
static bool is_sentencepiece(const dp_tokenizer *t, bool *prefix) {
    const dp_text_steps *n = &t->normalizer, *p = &t->pre_tokenizer;
    if (t->bpe.vocab.byte_level || !t->bpe.byte_fallback || p->count > 1 || n->count > 2) return false;
    const dp_text_step *split = p->count ? &p->step[0] : NULL;
    if (split && split->kind == DP_STEP_METASPACE) {
        *prefix = split->scheme != DP_PREPEND_NEVER;
        return n->count == 0 && dp_str_eq(split->text, MARK);
    }
    if (split && (split->regex || !dp_str_is(split->text, " "))) return false;
    *prefix = n->count == 2;
    if (*prefix && (n->step[0].kind != DP_STEP_PREPEND || !dp_str_eq(n->step[0].text, MARK))) return false;
    return n->count && is_replace(&n->step[n->count - 1], DP_LIT(" "), MARK);
}

static dp_status choose_model(const dp_tokenizer *t, dp_gguf_vocab *out) {
    const dp_known_pre *known = dp_known_pre_of(t);
    out->model = known ? "gpt2" : "llama";
    out->pre = known ? known->names[0] : "default";
    if (known || is_sentencepiece(t, &out->add_space_prefix)) return DP_OK;
    return dp_fail(DP_E_UNSUPPORTED, "tokenizer: GGUF has no name for this pre-tokenizer: " DP_STR_FMT,
                   DP_STR_ARG(t->pre_tokenizer.json));
}

static dp_status choose_roles(const dp_tokenizer *t, dp_gguf_vocab *out) {
    struct { const char *name; int64_t *id;
    } roles[] = {{"bos_token", &out->bos},
                 {"eos_token", &out->eos},
                 {"eot_token", &out->eot},
                 {"unk_token", &out->unk},
                 {"pad_token", &out->pad}};
    for (size_t i = 0; i < DP_COUNT(roles); i++) {
        dp_str text = dp_tokenizer_special(t, roles[i].name);
        *roles[i].id = text.n ? dp_tokenizer_find(t, text) : -1;
    }
    if (out->eos < 0) out->eos = t->eos;
    if (out->unk < 0) out->unk = t->bpe.unk;
    if (out->bos < 0 && t->prefix_count) out->bos = t->prefix[0];
    for (int32_t id = 0; id < t->vocab_size && out->eot < 0; id++)
        if (id != out->eos && (t->flags[id] & DP_TOKEN_END)) out->eot = id;
    bool bos_only = t->prefix_count == 0 || (t->prefix_count == 1 && t->prefix[0] == out->bos);
    bool eos_only = t->suffix_count == 0 || (t->suffix_count == 1 && t->suffix[0] == out->eos);
    if (!bos_only || !eos_only)
        return dp_fail(DP_E_UNSUPPORTED, "tokenizer: GGUF cannot express this post-processor: " DP_STR_FMT,
                       DP_STR_ARG(t->post_processor));
    out->add_bos = t->prefix_count > 0;
    out->add_eos = t->suffix_count > 0;
    return DP_OK;
}

static bool is_byte(dp_str raw) { return raw.n == 6 && memcmp(raw.p, "<0x", 3) == 0 && raw.p[5] == '>'; }

/* An added token that merges make as well stays a normal one, so that merging still reaches it, unless a literal match
 * is what it is for; one with marks for spaces never is. */
static int32_t token_type(const dp_tokenizer *t, int32_t id, bool llama) {
    const dp_token *token = &t->bpe.vocab.tokens[id];
    dp_str raw = dp_vocab_raw(&t->bpe.vocab, id);
    if (!token->present) return UNUSED;
    if (llama && id == t->bpe.unk) return UNKNOWN;
    if (t->flags[id] & DP_TOKEN_SPECIAL) return CONTROL;
    bool marked = llama && raw.n >= MARK.n && memcmp(raw.p, MARK.p, MARK.n) == 0;
    if ((t->flags[id] & DP_TOKEN_ADDED) && !marked) return USER_DEFINED;
    return llama && is_byte(raw) ? BYTE : NORMAL;
}

static dp_status put_tokens(const dp_tokenizer *t, dp_arena *arena, bool llama, dp_gguf_vocab *out) {
    size_t count = (size_t)t->vocab_size;
    dp_str *tokens = dp_arena_calloc(arena, count, sizeof *tokens);
    int32_t *types = dp_arena_calloc(arena, count, sizeof *types);
    if (!tokens || !types) return dp_no_memory(count * sizeof *tokens);
    dp_buf text = {0};
    bool ok = true;
    for (size_t id = 0; id < count && ok; id++) {
        dp_buf_clear(&text);
        types[id] = token_type(t, (int32_t)id, llama);
        if (t->bpe.vocab.tokens[id].present) dp_vocab_put_text(&t->bpe.vocab, (int64_t)id, &text);
        else dp_buf_printf(&text, "[PAD%zu]", id);
        tokens[id] =
            (dp_str){text.failed ? NULL : dp_arena_copy(arena, text.data ? text.data : "", text.size), text.size};
        ok = tokens[id].p != NULL;
    }
    dp_buf_free(&text);
    for (size_t i = 0; i < t->added_count && ok; i++) { /* what is looked for literally */
        int32_t id = t->added[i].id;
        if (types[id] != CONTROL && types[id] != USER_DEFINED) continue;
        tokens[id] =
            (dp_str){dp_arena_copy(arena, t->added[i].content.p, t->added[i].content.n), t->added[i].content.n};
        ok = tokens[id].p != NULL;
    }
    out->tokens = tokens;
    out->types = types;
    out->count = count;
    return ok ? DP_OK : dp_no_memory(count);
}

/* A token scores by the rank of the first merge that makes it. */
static dp_status put_scores(const dp_tokenizer *t, dp_arena *arena, dp_gguf_vocab *out) {
    float *scores = dp_arena_alloc(arena, out->count * sizeof *scores);
    if (!scores) return dp_no_memory(out->count * sizeof *scores);
    float least = -(float)t->bpe.merge_count - 1;
    for (size_t id = 0; id < out->count; id++) scores[id] = least;
    for (size_t m = t->bpe.merge_count; m-- > 0;) scores[t->bpe.merges[m].result] = -(float)m;
    out->scores = scores;
    return DP_OK;
}

static dp_status put_merges(const dp_tokenizer *t, dp_arena *arena, dp_gguf_vocab *out) {
    size_t count = t->bpe.merge_count;
    dp_str *merges = dp_arena_alloc(arena, count * sizeof *merges);
    if (!merges) return dp_no_memory(count * sizeof *merges);
    dp_buf text = {0};
    bool ok = true;
    for (size_t m = 0; m < count && ok; m++) {
        dp_buf_clear(&text);
        dp_vocab_put_text(&t->bpe.vocab, t->bpe.merges[m].left, &text);
        dp_buf_char(&text, ' ');
        dp_vocab_put_text(&t->bpe.vocab, t->bpe.merges[m].right, &text);
        merges[m] = (dp_str){text.failed ? NULL : dp_arena_copy(arena, text.data, text.size), text.size};
        ok = merges[m].p != NULL;
    }
    dp_buf_free(&text);
    out->merges = merges;
    out->merge_count = count;
    return ok ? DP_OK : dp_no_memory(count);
}

dp_status dp_tokenizer_to_gguf(const dp_tokenizer *t, dp_arena *arena, dp_gguf_vocab *out) {
    dp_gguf_vocab vocab = {0};
    TRY(choose_model(t, &vocab));
    TRY(choose_roles(t, &vocab));
    bool llama = strcmp(vocab.model, "llama") == 0;
    TRY(put_tokens(t, arena, llama, &vocab));
    TRY(llama ? put_scores(t, arena, &vocab) : put_merges(t, arena, &vocab));
    char *source = dp_arena_copy(arena, t->chat_template.p, t->chat_template.n);
    if (!source) return dp_no_memory(t->chat_template.n);
    vocab.chat_template = (dp_str){source, t->chat_template.n};
    *out = vocab;
    return DP_OK;
}
