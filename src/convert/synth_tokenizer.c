/* synth_tokenizer.c: a tokenizer for generated models: byte-level BPE whose vocabulary has exactly the model's size.
 * Any text can be encoded, any id decoded; nothing is downloaded. Special tokens take the ids that the config names.
 * The other ids go, in order, to the 256 bytes, a few merged pairs and fillers " wN", which no text produces but a
 * random model does. */
#include "convert/synth.h"

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
static void put_special_name(const specials *s, size_t i, dp_buf *out) {
    int number = 1;
    for (size_t k = 0; k < i; k++) number += strcmp(s->list[k].name, s->list[i].name) == 0;
    dp_buf_char(out, '"');
    if (number == 1)
        dp_buf_printf(out, "<%s>", s->list[i].name);
    else
        dp_buf_printf(out, "<%s%d>", s->list[i].name, number);
    dp_buf_char(out, '"');
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

static void put_vocab(const specials *s, int64_t vocab, dp_buf *out) {
    dp_buf text = {0};
    size_t index = 0;
    dp_buf_str(out, "\"vocab\":{");
    for (int64_t id = 0; id < vocab; id++) {
        if (is_special(s, id)) continue;
        dp_buf_clear(&text);
        put_token_text(index, &text);
        if (text.failed) out->failed = true;
        if (out->failed) break;
        dp_buf_str(out, index++ ? ",\n" : "\n");
        dp_json_put_string(out, (dp_str){text.data, text.size});
        dp_buf_printf(out, ":%lld", (long long)id);
    }
    dp_buf_str(out, "},\n\"merges\":[");
    for (size_t i = 0; i < DP_COUNT(merges); i++)
        dp_buf_printf(out, "%s[\"%s\",\"%s\"]", i ? "," : "", merges[i][0], merges[i][1]);
    dp_buf_char(out, ']');
    dp_buf_free(&text);
}

static void put_added(const specials *s, dp_buf *out) {
    dp_buf_str(out, "\"added_tokens\":[");
    for (size_t i = 0; i < s->count; i++) {
        dp_buf_printf(out, "%s{\"id\":%lld,\"content\":", i ? "," : "", (long long)s->list[i].id);
        put_special_name(s, i, out);
        dp_buf_str(out,
                   ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true}");
    }
    dp_buf_str(out, "],\n");
}

static void put_tokenizer(const specials *s, int64_t vocab, dp_buf *out) {
    dp_buf_str(out, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\n");
    put_added(s, out);
    dp_buf_str(out, "\"normalizer\":null,\n\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                    "\"trim_offsets\":true,\"use_regex\":true},\n\"post_processor\":null,\n"
                    "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,"
                    "\"use_regex\":true},\n\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"
                    "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":false,"
                    "\"byte_fallback\":false,\"ignore_merges\":false,\n");
    put_vocab(s, vocab, out);
    dp_buf_str(out, "}}\n");
}

static void put_config(const specials *s, dp_buf *out) {
    static const char *const roles[][2] = {{"s", "bos_token"}, {"/s", "eos_token"}, {"pad", "pad_token"}};
    dp_buf_str(out, "{\"tokenizer_class\":\"PreTrainedTokenizerFast\"");
    for (size_t r = 0; r < DP_COUNT(roles); r++)
        for (size_t i = 0; i < s->count; i++) {
            if (strcmp(s->list[i].name, roles[r][0]) != 0) continue;
            dp_buf_printf(out, ",\"%s\":", roles[r][1]);
            put_special_name(s, i, out);
            break;
        }
    dp_buf_str(out, "}\n");
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
