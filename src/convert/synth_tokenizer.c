/* synth_tokenizer.c: a tokenizer for generated models: byte-level BPE whose vocabulary has exactly the model's size.
 * Any text can be encoded, any id decoded; nothing is downloaded. Special tokens take the ids that the config names.
 * The other ids go, in order, to the 256 bytes, a few merged pairs and fillers " wN", which no text produces but a
 * random model does. */
#include "base/json_write.h"
#include "convert/synth.h"

#include <stdio.h>

enum { BYTES = 256, SPECIALS_MAX = 16, VOCAB_MAX = 1 << 24 };

/* Merges in order; each result is a token. In the byte-level alphabet, where U+0120 is the space. */
static const char *const merges[][2] = {{"t", "h"}, {"th", "e"}, {"\xC4\xA0", "the"},
                                        {"i", "n"}, {"a", "n"},  {"an", "d"}};

typedef struct special {
    int64_t id;
    const char *name;
} special;

typedef struct specials {
    special list[SPECIALS_MAX];
    size_t count;
} specials;

static bool is_special(const specials *s, int64_t id) {
    for (size_t i = 0; i < s->count; i++)
        if (s->list[i].id == id) return true;
    return false;
}

/* One id, or several in a list. */
static void add_ids(specials *s, const dp_json *value, int64_t vocab, const char *name) {
    if (value && value->type == DP_JSON_ARRAY) value = value->child;
    for (; value && value->type == DP_JSON_NUMBER; value = value->next) {
        if (value->integer >= 0 && value->integer < vocab && !is_special(s, value->integer) && s->count < SPECIALS_MAX)
            s->list[s->count++] = (special){value->integer, name};
        if (value->key.n) break; /* a member, not an item of a list */
    }
}

/* <s>, </s>, </s2>, ...: the names count per kind. */
static void add_special_name(const specials *s, size_t i, const char *key, dp_buf *out) {
    char name[32];
    int number = 1;
    for (size_t k = 0; k < i; k++) number += strcmp(s->list[k].name, s->list[i].name) == 0;
    snprintf(name, sizeof name, number == 1 ? "<%s>" : "<%s%d>", s->list[i].name, number);
    dp_json_add_text(out, key, name);
}

/* The printable character that stands for a byte (GPT-2's table). */
static uint32_t alphabet(int byte) {
    int shifted = 0;
    for (int b = 0; b <= byte; b++) {
        bool plain = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        if (b == byte && plain) return (uint32_t)b;
        if (!plain) shifted++;
    }
    return 256 + (uint32_t)shifted - 1;
}

static void put_token_text(size_t index, dp_buf *text) {
    if (index < BYTES) {
        dp_buf_utf8(text, alphabet((int)index));
    } else if (index < BYTES + DP_COUNT(merges)) {
        dp_buf_str(text, merges[index - BYTES][0]);
        dp_buf_str(text, merges[index - BYTES][1]);
    } else {
        dp_buf_printf(text, "\xC4\xA0w%zu", index);
    }
}

static void add_vocab(const specials *s, int64_t vocab, dp_buf *out) {
    dp_buf text = {0};
    size_t index = 0;
    dp_json_open(out, "vocab", '{');
    for (int64_t id = 0; id < vocab && !out->failed; id++) {
        if (is_special(s, id)) continue;
        dp_buf_clear(&text);
        put_token_text(index++, &text);
        out->failed |= text.failed;
        dp_json_line(out, 0);
        dp_json_key(out, (dp_str){text.data ? text.data : "", text.size});
        dp_json_add_int(out, NULL, id);
    }
    dp_json_close(out, '}');
    dp_buf_free(&text);
}

static void add_merges(dp_buf *out) {
    dp_json_line(out, 0);
    dp_json_open(out, "merges", '[');
    for (size_t i = 0; i < DP_COUNT(merges); i++) {
        dp_json_open(out, NULL, '[');
        dp_json_add_text(out, NULL, merges[i][0]);
        dp_json_add_text(out, NULL, merges[i][1]);
        dp_json_close(out, ']');
    }
    dp_json_close(out, ']');
}

static void add_added(const specials *s, dp_buf *out) {
    static const char *const options[] = {"single_word", "lstrip", "rstrip", "normalized"};
    dp_json_open(out, "added_tokens", '[');
    for (size_t i = 0; i < s->count; i++) {
        dp_json_open(out, NULL, '{');
        dp_json_add_int(out, "id", s->list[i].id);
        add_special_name(s, i, "content", out);
        for (size_t k = 0; k < DP_COUNT(options); k++) dp_json_add_bool(out, options[k], false);
        dp_json_add_bool(out, "special", true);
        dp_json_close(out, '}');
    }
    dp_json_close(out, ']');
}

static void add_byte_level(dp_buf *out, const char *key, bool prefix_space) {
    dp_json_line(out, 0);
    dp_json_open(out, key, '{');
    dp_json_add_text(out, "type", "ByteLevel");
    dp_json_add_bool(out, "add_prefix_space", prefix_space);
    dp_json_add_bool(out, "trim_offsets", true);
    dp_json_add_bool(out, "use_regex", true);
    dp_json_close(out, '}');
}

static void add_model(const specials *s, int64_t vocab, dp_buf *out) {
    static const char *const nulls[] = {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"};
    static const char *const options[] = {"fuse_unk", "byte_fallback", "ignore_merges"};
    dp_json_line(out, 0);
    dp_json_open(out, "model", '{');
    dp_json_add_text(out, "type", "BPE");
    for (size_t i = 0; i < DP_COUNT(nulls); i++) dp_json_add_null(out, nulls[i]);
    for (size_t i = 0; i < DP_COUNT(options); i++) dp_json_add_bool(out, options[i], false);
    add_vocab(s, vocab, out);
    add_merges(out);
    dp_json_close(out, '}');
}

static void put_tokenizer(const specials *s, int64_t vocab, dp_buf *out) {
    dp_json_open(out, NULL, '{');
    dp_json_add_text(out, "version", "1.0");
    dp_json_add_null(out, "truncation");
    dp_json_add_null(out, "padding");
    add_added(s, out);
    dp_json_add_null(out, "normalizer");
    add_byte_level(out, "pre_tokenizer", false);
    dp_json_add_null(out, "post_processor");
    add_byte_level(out, "decoder", true);
    add_model(s, vocab, out);
    dp_json_close(out, '}');
}

static void put_config(const specials *s, dp_buf *out) {
    static const char *const roles[][2] = {{"s", "bos_token"}, {"/s", "eos_token"}, {"pad", "pad_token"}};
    dp_json_open(out, NULL, '{');
    dp_json_add_text(out, "tokenizer_class", "PreTrainedTokenizerFast");
    for (size_t r = 0; r < DP_COUNT(roles); r++)
        for (size_t i = 0; i < s->count; i++) {
            if (strcmp(s->list[i].name, roles[r][0]) != 0) continue;
            add_special_name(s, i, roles[r][1], out);
            break;
        }
    dp_json_close(out, '}');
}

dp_status dp_synth_tokenizer(const dp_json *config, dp_buf *json, dp_buf *tokenizer_config) {
    int64_t vocab = 0;
    specials s = {0};
    TRY(dp_json_get_int(config, "vocab_size", &vocab));
    if (vocab < BYTES + (int64_t)DP_COUNT(merges) + SPECIALS_MAX || vocab > VOCAB_MAX)
        return dp_fail(DP_E_ARG, "a vocabulary of %lld tokens", (long long)vocab);
    add_ids(&s, dp_json_find(config, "bos_token_id"), vocab, "s");
    add_ids(&s, dp_json_find(config, "eos_token_id"), vocab, "/s");
    add_ids(&s, dp_json_find(config, "pad_token_id"), vocab, "pad");
    put_tokenizer(&s, vocab, json);
    put_config(&s, tokenizer_config);
    return json->failed || tokenizer_config->failed ? dp_no_memory(json->size) : DP_OK;
}
