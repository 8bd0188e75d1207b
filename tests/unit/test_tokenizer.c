/* Tokenizers made for the purpose: each step and option by itself, bad files, bad bytes, hostile words, no memory. */
#include "test.h"

#include "text/tokenizer.h"

static const dp_str NONE = {0};

/* A tokenizer.json of the given fields, with single quotes for double ones. */
static dp_status make(const char *fields, const char *config, dp_tokenizer **out) {
    char json[8192], settings[1024];
    snprintf(json, sizeof json, "{%s}", fields);
    snprintf(settings, sizeof settings, "%s", config ? config : "");
    for (char *p = json; *p; p++) *p = *p == '\'' ? '"' : *p;
    for (char *p = settings; *p; p++) *p = *p == '\'' ? '"' : *p;
    return dp_tokenizer_from_hf(dp_str_of(json), dp_str_of(settings), NONE, NONE, out);
}

/* Words are letters; ids tell how a text was split: every letter is a token, "|" joins nothing. */
#define LETTERS                                                                                                        \
    "'vocab':{'a':0,'b':1,'c':2,'ab':3,'bc':4,'abc':5,'\xe2\x96\x81':6,'\xe2\x96\x81"                                  \
    "a':7,'1':8,'.':9,'-':10}"
#define MERGES "'merges':['a b','b c','ab c','\xe2\x96\x81 a']"
#define MODEL "'model':{'type':'BPE'," LETTERS "," MERGES "}"

/* The ids of `text`, "-1" where encoding fails. */
static const char *ids_of(const dp_tokenizer *t, const char *text, bool special) {
    static char out[2048];
    int32_t *ids = NULL;
    size_t count = 0, n = 0;
    out[0] = 0;
    if (dp_tokenizer_encode(t, text, strlen(text), special, &ids, &count) != DP_OK) return dp_error_message();
    for (size_t i = 0; i < count; i++)
        n += (size_t)snprintf(out + n, sizeof out - n, "%s%d", i ? " " : "", (int)ids[i]);
    dp_free(ids);
    return out;
}

static const char *encoded(const char *fields, const char *text) {
    static char out[2048];
    dp_tokenizer *t = NULL;
    if (make(fields, NULL, &t) != DP_OK) return dp_error_message();
    snprintf(out, sizeof out, "%s", ids_of(t, text, true));
    dp_tokenizer_close(t);
    return out;
}

typedef struct encoding {
    const char *fields, *text, *expected;
} encoding;

static void check_encodings(const encoding *list, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const char *got = encoded(list[i].fields, list[i].text);
        CHECK_MSG(strcmp(got, list[i].expected) == 0, "case %zu, \"%s\": %s, expected %s", i, list[i].text, got,
                  list[i].expected);
    }
}

TEST(merges_go_by_rank) {
    static const encoding list[] = {
        {MODEL, "abc", "5"},
        {MODEL, "bcab", "4 3"},
        {MODEL, "aabcc", "0 5 2"},
        {MODEL, "axb", "3"}, /* unknown and no unk_token: left out */
        {"'model':{'type':'BPE'," LETTERS ",'merges':['b c','a b','ab c']}", "abc", "0 4"},
        {"'model':{'type':'BPE','ignore_merges':true," LETTERS ",'merges':[]}", "abc", "5"},
        {"'model':{'type':'BPE','unk_token':'c'," LETTERS "," MERGES "}", "xxa", "2 2 0"},
        {"'model':{'type':'BPE','unk_token':'c','fuse_unk':true," LETTERS "," MERGES "}", "xxa", "2 0"},
        {"'model':{'type':'BPE','byte_fallback':true,'unk_token':'a','vocab':{'a':0,'<0xC3>':1,'<0xA9>':2},'merges':[]"
         "}",
         "a\xc3\xa9\xc3\xa8", "0 1 2 0"},
        {"'model':{'vocab':{'a':0},'merges':[]}", "aa", "0 0"}, /* files before `type` */
    };
    check_encodings(list, DP_COUNT(list));
}

TEST(normalizers) {
    static const encoding list[] = {
        {"'normalizer':{'type':'Replace','pattern':{'String':'x'},'content':'b'}," MODEL, "axc", "5"},
        {"'normalizer':{'type':'Replace','pattern':{'Regex':'x+'},'content':'b'}," MODEL, "axxc", "5"},
        {"'normalizer':{'type':'Prepend','prepend':'a'}," MODEL, "bc", "5"},
        {"'normalizer':{'type':'Prepend','prepend':'a'}," MODEL, "", ""},
        {"'normalizer':{'type':'Strip','strip_left':true,'strip_right':true}," MODEL,
         " \xc2\xa0"
         "abc \n",
         "5"},
        {"'normalizer':{'type':'NFKC'}," MODEL,
         "\xef\xbd\x81"
         "bc",
         "5"},
        {"'normalizer':{'type':'Sequence','normalizers':[{'type':'Replace','pattern':{'String':'x'},'content':'b'},{'"
         "type':'Prepend','prepend':'a'}]}," MODEL,
         "xc", "5"},
    };
    check_encodings(list, DP_COUNT(list));
}

#define SPLIT(pattern, behavior, invert)                                                                               \
    "'pre_tokenizer':{'type':'Split','pattern':{'Regex':'" pattern "'},'behavior':'" behavior "','invert':" invert     \
    "}," MODEL

TEST(pre_tokenizers) {
    static const encoding list[] = {
        {SPLIT("b", "Isolated", "false"), "abc", "0 1 2"},
        {SPLIT("b", "Removed", "false"), "abc", "0 2"},
        {SPLIT("b", "MergedWithPrevious", "false"), "abc", "3 2"},
        {SPLIT("b", "MergedWithNext", "false"), "abc", "0 4"},
        {SPLIT("[ab]", "Contiguous", "false"), "abc", "3 2"},
        {SPLIT("b", "Removed", "true"), "abc", "1"},
        {SPLIT("b", "MergedWithPrevious", "false"), "bbabb", "1 1 3 1"},
        {SPLIT("a", "MergedWithNext", "false"), "aaab", "0 0 3"},
        {"'pre_tokenizer':{'type':'Split','pattern':{'String':'.'},'behavior':'Isolated'}," MODEL, "ab.c", "3 9 2"},
        {"'pre_tokenizer':{'type':'Digits','individual_digits':true}," MODEL, "ab11", "3 8 8"},
        {"'pre_tokenizer':{'type':'Punctuation'}," MODEL, "ab.-c", "3 9 10 2"},
        {"'pre_tokenizer':{'type':'Whitespace'}," MODEL, "ab .-c", "3 9 10 2"},
        {"'pre_tokenizer':{'type':'WhitespaceSplit'}," MODEL, "ab \n c", "3 2"},
        {"'pre_tokenizer':{'type':'Metaspace','replacement':'\xe2\x96\x81','prepend_scheme':'always'}," MODEL, "a a",
         "7 7"},
        {"'pre_tokenizer':{'type':'Metaspace','replacement':'\xe2\x96\x81','prepend_scheme':'never'}," MODEL, "a  a",
         "0 6 7"},
        {"'pre_tokenizer':{'type':'Metaspace','replacement':'\xe2\x96\x81','add_prefix_space':true}," MODEL, " a", "7"},
        {"'pre_tokenizer':{'type':'Metaspace','replacement':'\xe2\x96\x81','prepend_scheme':'first','split':false},"
         "'added_tokens':[{'id':11,'content':'<x>','special':true}]," MODEL,
         "a<x>a", "7 11 0"},
        {"'pre_tokenizer':{'type':'ByteLevel','add_prefix_space':true,'use_regex':true},"
         "'model':{'type':'BPE','vocab':{'a':0,'\xc4\xa0':1,'\xc4\xa0"
         "a':2,'\xc3\x83':3,'\xc2\xa9':4},'merges':['\xc4\xa0 a']}",
         "a a\xc3\xa9", "2 2 3 4"},
    };
    check_encodings(list, DP_COUNT(list));
}

#define ADDED(options)                                                                                                 \
    "'added_tokens':[{'id':20,'content':'<x>'," options "},{'id':21,'content':'<x>>','special':true}]," MODEL

TEST(added_tokens) {
    static const encoding list[] = {
        {ADDED("'special':true"), "a<x>b", "0 20 1"},
        {ADDED("'special':true"), "<x>><x>", "21 20"}, /* the longest */
        {ADDED("'single_word':true"), "a<x> <x>.", "0 20 9"},
        {ADDED("'lstrip':true,'rstrip':true"), "a  <x>  b", "0 20 1"},
        {"'normalizer':{'type':'Replace','pattern':{'String':'y'},'content':'x'}," ADDED("'normalized':true"), "a<y>b",
         "0 20 1"},
        {"'normalizer':{'type':'Replace','pattern':{'String':'y'},'content':'x'}," ADDED("'normalized':false"), "a<y>b",
         "3"},
        {"'post_processor':{'type':'TemplateProcessing','single':[{'SpecialToken':{'id':'<x>','type_id':0}},{'Sequence'"
         ":{'id':'A','type_id':0}},"
         "{'SpecialToken':{'id':'c','type_id':0}}],'special_tokens':{'<x>':{'id':'<x>','ids':[20]},'c':{'id':'c','ids':"
         "[2,2]}}}," ADDED("'special':true"),
         "a", "20 0 2 2"},
        {"'post_processor':{'type':'RobertaProcessing','sep':['c',2],'cls':['a',0]}," MODEL, "b", "0 1 2"},
    };
    check_encodings(list, DP_COUNT(list));
}

/* ---- decoding ---- */

/* Decodes at once and piece by piece; NULL if the two differ. */
static const char *decoded(const char *fields, const int32_t *ids, size_t count, bool skip) {
    static char out[1024];
    dp_tokenizer *t = NULL;
    dp_decoder *d = NULL;
    char *whole = NULL;
    const char *part;
    if (make(fields, NULL, &t) != DP_OK) return dp_error_message();
    out[0] = 0;
    bool same = dp_tokenizer_decode(t, ids, count, skip, &whole, NULL) == DP_OK && dp_decoder_new(t, skip, &d) == DP_OK;
    for (int round = 0; round < 2 && same; round++) { /* a finished decoder starts afresh */
        out[0] = 0;
        for (size_t i = 0; i < count; i++)
            if (dp_decoder_feed(d, ids[i], &part, NULL) == DP_OK) strcat(out, part);
        if (dp_decoder_finish(d, &part, NULL) == DP_OK) strcat(out, part);
        same = strcmp(out, whole) == 0;
    }
    dp_free(whole);
    dp_decoder_free(d);
    dp_tokenizer_close(t);
    return same ? out : "(streaming differs)";
}

#define DECODE_MODEL                                                                                                   \
    "'added_tokens':[{'id':9,'content':'<s>','special':true}],'model':{'type':'BPE','vocab':{'\xe2\x96\x81"            \
    "a':0,'b':1,'<0xE2>':2,'<0x82>':3,'<0xAC>':4,'\xe2\x96\x81':5,'<0xFF>':6},'merges':[]}"
#define SPIECE                                                                                                         \
    "'decoder':{'type':'Sequence','decoders':[{'type':'Replace','pattern':{'String':'\xe2\x96\x81'},'content':' "      \
    "'},{'type':'ByteFallback'},{'type':'Fuse'},{'type':'Strip','content':' ','start':1,'stop':1}]}," DECODE_MODEL
#define BYTES                                                                                                          \
    "'pre_tokenizer':{'type':'ByteLevel','add_prefix_space':false},'decoder':{'type':'ByteLevel'},'model':{'type':'"   \
    "BPE','vocab':{'a':0,'\xc3\xa2':1,'\xc4\xa4':2,'\xc2\xac':3,'\xe2\x96\x81':4,'\xc4\xa0"                            \
    "b':5},'merges':[]}"

TEST(decoders) {
    static const struct {
        const char *fields;
        int32_t ids[6];
        size_t count;
        bool skip;
        const char *expected;
    } list[] = {
        {SPIECE, {0, 1, 0}, 3, false, "ab a"},
        {SPIECE, {0, 5}, 2, false, "a"},
        {SPIECE, {5, 5, 1, 5, 5}, 5, false, " b "},
        {SPIECE,
         {2, 3, 4, 1},
         4,
         false,
         "\xe2\x82\xac"
         "b"},
        {SPIECE,
         {2, 3, 1},
         3,
         false,
         "\xef\xbf\xbd\xef\xbf\xbd"
         "b"},
        {SPIECE, {2, 3, 4, 6}, 4, false, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {SPIECE, {9, 1, 100, -1}, 4, false, "<s>b"},
        {SPIECE, {9, 1}, 2, true, "b"},
        {"'decoder':{'type':'Metaspace','replacement':'\xe2\x96\x81','prepend_scheme':'always'}," DECODE_MODEL,
         {0, 0},
         2,
         false,
         "a a"},
        {"'decoder':{'type':'Metaspace','replacement':'\xe2\x96\x81','prepend_scheme':'never'}," DECODE_MODEL,
         {0, 0},
         2,
         false,
         " a a"},
        {"'decoder':{'type':'Strip','content':'b','start':1,'stop':0}," DECODE_MODEL,
         {1, 0, 1},
         3,
         false,
         "\xe2\x96\x81"
         "a"},
        {DECODE_MODEL, {1, 1}, 2, false, "b b"}, /* no decoder: joined with spaces */
        {BYTES, {0, 1, 2, 3, 5}, 5, false, "a\xe2\x82\xac b"},
        {BYTES,
         {1, 2, 0},
         3,
         false,
         "\xef\xbf\xbd"
         "a"},
        {BYTES, {0, 1, 2}, 3, false, "a\xef\xbf\xbd"},
        {BYTES, {4, 3}, 2, false, "\xe2\x96\x81\xef\xbf\xbd"}, /* a token outside the alphabet stands for itself */
    };
    for (size_t i = 0; i < DP_COUNT(list); i++) {
        const char *got = decoded(list[i].fields, list[i].ids, list[i].count, list[i].skip);
        CHECK_MSG(strcmp(got, list[i].expected) == 0, "case %zu: \"%s\", expected \"%s\"", i, got, list[i].expected);
    }
}

/* ---- roles ---- */

TEST(roles_and_end_tokens) {
    static const char fields[] =
        "'added_tokens':[{'id':20,'content':'<s>','special':true},{'id':21,'content':'</s>','special':true},"
        "{'id':22,'content':'<|im_end|>','special':true},{'id':23,'content':'<|end|>','special':false}]," MODEL;
    dp_tokenizer *t = NULL;
    CHECK_OK(
        make(fields,
             "{'bos_token':'<s>','eos_token':{'content':'</"
             "s>','lstrip':false},'chat_template':[{'name':'x','template':'1'},{'name':'default','template':'2'}]}",
             &t));
    bool fine = dp_tokenizer_eos(t) == 21 && dp_tokenizer_is_end(t, 21) && dp_tokenizer_is_end(t, 22) &&
                !dp_tokenizer_is_end(t, 23) && !dp_tokenizer_is_end(t, -1) && !dp_tokenizer_is_end(t, 1000) &&
                dp_tokenizer_vocab_size(t) == 24 && dp_str_is(dp_tokenizer_special(t, "bos_token"), "<s>") &&
                !dp_tokenizer_special(t, "pad_token").n && dp_str_is(dp_tokenizer_template(t), "2") &&
                dp_tokenizer_is_special(t, 20) && !dp_tokenizer_is_special(t, 23) &&
                dp_str_is(dp_tokenizer_token(t, 5), "abc") && !dp_tokenizer_token(t, 15).n &&
                !dp_tokenizer_token(t, -5).n;
    dp_tokenizer_close(t);
    CHECK(fine);
    dp_str generation = DP_LIT("{\"eos_token_id\":[1,2]}"),
           json = DP_LIT("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"c\":2},\"merges\":[]}}");
    CHECK_OK(dp_tokenizer_from_hf(json, NONE, generation, DP_LIT("template"), &t));
    fine = dp_tokenizer_eos(t) == 1 && dp_tokenizer_is_end(t, 1) && dp_tokenizer_is_end(t, 2) &&
           !dp_tokenizer_is_end(t, 0) && dp_str_is(dp_tokenizer_template(t), "template");
    dp_tokenizer_close(t);
    CHECK(fine);
}

/* ---- bad files ---- */

TEST(refuses_bad_files) {
    static const struct { const char *fields; dp_status status; const char *message;
    } list[] = {
        {"", DP_E_FORMAT, "model"},
        {"'model':{'type':'WordPiece','vocab':{}}", DP_E_UNSUPPORTED, "WordPiece"},
        {"'model':{'type':'Unigram','vocab':[]}", DP_E_UNSUPPORTED, "Unigram"},
        {"'model':{'type':'BPE','vocab':{'a':'b'},'merges':[]}", DP_E_FORMAT, "no integer"},
        {"'model':{'type':'BPE','vocab':{'a':-1},'merges':[]}", DP_E_FORMAT, "out of range"},
        {"'model':{'type':'BPE','vocab':{'a':2000000000},'merges':[]}", DP_E_FORMAT, "out of range"},
        {"'model':{'type':'BPE','vocab':{'a':0},'merges':['a a']}", DP_E_FORMAT, "merge 0"},
        {"'model':{'type':'BPE','vocab':{'a':0},'merges':[['a']]}", DP_E_FORMAT, "merge 0"},
        {"'model':{'type':'BPE','vocab':{'a':0},'merges':[5]}", DP_E_FORMAT, "merge 0"},
        {"'model':{'type':'BPE','vocab':{'a':0}}", DP_E_FORMAT, "merges"},
        {"'model':{'type':'BPE','end_of_word_suffix':'</w>','vocab':{'a':0},'merges':[]}", DP_E_UNSUPPORTED,
         "end_of_word_suffix"},
        {"'model':{'type':'BPE','dropout':0.1,'vocab':{'a':0},'merges':[]}", DP_E_UNSUPPORTED, "dropout"},
        {"'normalizer':{'type':'Precompiled'}," MODEL, DP_E_UNSUPPORTED, "Precompiled"},
        {"'normalizer':{'type':'Replace','content':'x'}," MODEL, DP_E_FORMAT, "pattern"},
        {"'normalizer':{'type':'Sequence'}," MODEL, DP_E_FORMAT, "normalizers"},
        {"'pre_tokenizer':{'type':'BertPreTokenizer'}," MODEL, DP_E_UNSUPPORTED, "BertPreTokenizer"},
        {"'pre_tokenizer':{'type':'Split','pattern':{'Regex':'(?<=a)'},'behavior':'Isolated'}," MODEL, DP_E_UNSUPPORTED,
         "(?<="},
        {"'pre_tokenizer':{'type':'Split','pattern':{'Regex':'a'},'behavior':'Sideways'}," MODEL, DP_E_UNSUPPORTED,
         "Sideways"},
        {"'pre_tokenizer':{'type':'Sequence','pretokenizers':[{'type':'ByteLevel'},{'type':'Digits'}]}," MODEL,
         DP_E_UNSUPPORTED, "behind ByteLevel"},
        {"'decoder':{'type':'WordPiece'}," MODEL, DP_E_UNSUPPORTED, "WordPiece"},
        {"'decoder':{'type':'Sequence','decoders':[{'type':'Fuse'},{'type':'ByteFallback'}]}," MODEL, DP_E_UNSUPPORTED,
         "behind Fuse"},
        {"'post_processor':{'type':'TemplateProcessing','single':[{'SpecialToken':{'id':'<s>'}}],'special_tokens':{}}"
         "," MODEL,
         DP_E_FORMAT, "<s>"},
        {"'post_processor':{'type':'RobertaProcessing','sep':['c',2],'cls':['a',99]}," MODEL, DP_E_FORMAT, "99"},
        {"'added_tokens':[{'content':'x'}]," MODEL, DP_E_FORMAT, "added token"},
        {"'added_tokens':[{'content':'x','id':1e9}]," MODEL, DP_E_FORMAT, "out of range"},
    };
    for (size_t i = 0; i < DP_COUNT(list); i++) {
        dp_tokenizer *t = NULL;
        dp_status status = make(list[i].fields, NULL, &t);
        dp_tokenizer_close(t);
        CHECK_MSG(status == list[i].status && strstr(dp_error_message(), list[i].message), "%s: got %s: %s",
                  list[i].fields, dp_status_name(status), dp_error_message());
    }
    char many[8000] = "'pre_tokenizer':{'type':'Sequence','pretokenizers':[";
    for (int i = 0; i < 40; i++) strcat(many, "{'type':'Digits'},");
    strcat(many, "{'type':'Digits'}]}," MODEL);
    dp_tokenizer *t = NULL;
    CHECK_FAILS(make(many, NULL, &t), DP_E_UNSUPPORTED, "32 steps");
}

/* ---- bytes, sizes, memory ---- */

TEST(invalid_utf8_becomes_replacement_characters) {
    dp_tokenizer *t = NULL;
    CHECK_OK(make("'model':{'type':'BPE','vocab':{'a':0,'\xef\xbf\xbd':1},'merges':[]}", NULL, &t));
    char got[64];
    snprintf(got, sizeof got, "%s", ids_of(t, "a\xff\xe2\x82" "a", false));
    dp_tokenizer_close(t);
    CHECK_MSG(strcmp(got, "0 1 1 0") == 0, "%s", got);
}

/* One "word" of a megabyte whose merges cascade: must not take quadratic time. */
TEST(long_words_are_quick) {
    enum { SIZE = 1 << 20 };
    dp_tokenizer *t = NULL;
    CHECK_OK(
        make("'model':{'type':'BPE','vocab':{'a':0,'aa':1,'aaaa':2,'aaaaaaaa':3},'merges':['a a','aa aa','aaaa aaaa']}",
             NULL, &t));
    char *text = dp_malloc(SIZE);
    int32_t *ids = NULL;
    size_t count = 0;
    CHECK(text);
    memset(text, 'a', SIZE);
    dp_status status = dp_tokenizer_encode(t, text, SIZE, false, &ids, &count);
    bool all = status == DP_OK && count == SIZE / 8;
    for (size_t i = 0; i < count; i++) all = all && ids[i] == 3;
    dp_free(ids);
    dp_free(text);
    dp_tokenizer_close(t);
    CHECK(all);
}

/* A SentencePiece-like tokenizer with all bytes. */
static dp_status make_with_bytes(const char *more_merges, dp_tokenizer **out) {
    char fields[8000] =
        "'model':{'type':'BPE','byte_fallback':true,'vocab':{'a':0,'b':1,'c':2,'ab':3,'bc':4,'abc':5,'\xe2\x96\x81':6,"
        "'\xe2\x96\x81"
        "a':7,'1':8,'<0x41>a':9";
    size_t n = strlen(fields);
    for (int b = 0; b < 256; b++)
        n += (size_t)snprintf(fields + n, sizeof fields - n, ",'<0x%02X>':%d", (unsigned)b, b + 10);
    snprintf(fields + n, sizeof fields - n, "},'merges':['a b','b c','ab c','\xe2\x96\x81 a'%s]}", more_merges);
    return make(fields, NULL, out);
}

/* Cutting long texts where no merge reaches across must not change any id. A merge with a byte token, as only the
 * second tokenizer has, turns the cutting off. */
TEST(cutting_changes_nothing) {
    static const char *const parts[] = {"abc", ("\xe2\x96\x81" "a"), "bcab", ".", "\xe2\x96\x81", "c", "1-", "xa"};
    dp_tokenizer *cut = NULL, *whole = NULL;
    char text[1200] = "", expected[2048];
    for (unsigned i = 0, r = 1; i < 200; i++, r = r * 1103515245 + 12345)
        strcat(text, parts[(r >> 16) % DP_COUNT(parts)]);
    CHECK_OK(make_with_bytes("", &cut));
    CHECK_OK(make_with_bytes(",'<0x41> a'", &whole));
    snprintf(expected, sizeof expected, "%s", ids_of(whole, text, false));
    const char *got = ids_of(cut, text, false);
    dp_tokenizer_close(cut);
    dp_tokenizer_close(whole);
    CHECK_MSG(strlen(expected) > 400 && strcmp(got, expected) == 0, "%s\nexpected %s", got, expected);
    CHECK_MSG(strcmp(encoded(MODEL, "\xe2\x96\x81xa"), "7") == 0,
              "a character that vanishes lets its neighbours merge");
}

/* ---- GGUF ---- */

TEST(gguf_names_pre_tokenizers) {
    static const char *const names[] = {"llama-bpe", "smaug-bpe",  "qwen2",       "stablelm2",    "qwen35",
                                        "tekken",    "gpt-4o",     "deepseek-v3", "deepseek-llm", "deepseek-coder",
                                        "kimi-k2",   "bailingmoe", "seed-coder",  "refact",       "falcon",
                                        "gpt-2",     "bloom",      "viking",      "default"};
    static const dp_str tokens[] = {{"a", 1}, {"b", 1}, {"ab", 2}, {"\xc4\xa0", 2}, {"<e>", 3}},
                        merges[] = {{"a b", 3}};
    static const int32_t types[] = {1, 1, 1, 1, 3};
    dp_gguf_vocab vocab = {.model = "gpt2",
                           .tokens = tokens,
                           .types = types,
                           .count = 5,
                           .merges = merges,
                           .merge_count = 1,
                           .bos = 4,
                           .eos = 4,
                           .eot = -1,
                           .unk = -1,
                           .pad = -1,
                           .add_bos = true};
    for (size_t i = 0; i < DP_COUNT(names); i++) {
        dp_tokenizer *t = NULL;
        dp_gguf_vocab back = {0};
        dp_arena arena = {0};
        vocab.pre = names[i];
        CHECK_OK(dp_tokenizer_from_gguf(&vocab, &t));
        bool same = strcmp(ids_of(t, "ab a<e>", true), "4 2 3 0 4") == 0 && dp_tokenizer_is_end(t, 4);
        same = same && dp_tokenizer_to_gguf(t, &arena, &back) == DP_OK && strcmp(back.pre, names[i]) == 0 &&
               back.add_bos && back.bos == 4 && back.count == 5 && back.merge_count == 1 &&
               dp_str_is(back.merges[0], "a b") && dp_str_is(back.tokens[3], "\xc4\xa0") && back.types[4] == 3;
        dp_arena_free(&arena);
        dp_tokenizer_close(t);
        CHECK_MSG(same, "%s", names[i]);
    }
    dp_tokenizer *t = NULL;
    vocab.pre = "no-such";
    CHECK_FAILS(dp_tokenizer_from_gguf(&vocab, &t), DP_E_UNSUPPORTED, "no-such");
    vocab.pre = "gpt-2";
    vocab.model = "t5";
    CHECK_FAILS(dp_tokenizer_from_gguf(&vocab, &t), DP_E_UNSUPPORTED, "t5");
    vocab.model = "gpt2";
    vocab.eos = 5;
    CHECK_FAILS(dp_tokenizer_from_gguf(&vocab, &t), DP_E_FORMAT, "eos_token");
}

TEST(gguf_scores_order_merges) {
    static const dp_str tokens[] = {{"<unk>", 5},
                                    {"<0x78>", 6},
                                    {"a", 1},
                                    {"b", 1},
                                    {"c", 1},
                                    {"ab", 2},
                                    {"bc", 2},
                                    {"\xe2\x96\x81", 3},
                                    {"\xe2\x96\x81"
                                     "a",
                                     4}};
    static const float scores[] = {0, 0, -9, -9, -9, -2, -1, -9, -3};
    static const int32_t types[] = {2, 6, 1, 1, 1, 1, 1, 1, 1};
    dp_gguf_vocab vocab = {.model = "llama", .tokens = tokens, .scores = scores, .types = types, .count = 9,
                           .bos = -1, .eos = -1, .eot = -1, .unk = 0, .pad = -1, .add_space_prefix = true};
    dp_tokenizer *t = NULL;
    CHECK_OK(dp_tokenizer_from_gguf(&vocab, &t));
    bool same = strcmp(ids_of(t, "abc", false), "8 6") == 0 && strcmp(ids_of(t, "xab", false), "7 1 5") == 0 &&
                strcmp(ids_of(t, "\xc3\xa9", false), "7 0") == 0;
    char *text = NULL;
    same = same && dp_tokenizer_decode(t, (const int32_t[]){8, 6, 7, 1}, 4, false, &text, NULL) == DP_OK &&
           strcmp(text, "abc x") == 0;
    dp_free(text);
    dp_tokenizer_close(t);
    CHECK(same);
}

static dp_status use_tokenizer(void *user) {
    dp_tokenizer *t = NULL, *again = NULL;
    dp_decoder *d = NULL;
    dp_buf json = {0}, config = {0};
    dp_arena arena = {0};
    dp_gguf_vocab vocab;
    int32_t *ids = NULL;
    size_t count = 0;
    char *text = NULL;
    const char *part;
    dp_status status = make(user, "{'eos_token':'c'}", &t);
    if (status == DP_OK)
        status = dp_tokenizer_encode(t,
                                     "<x> ab\xff"
                                     "c aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
                                     55, true, &ids, &count);
    if (status == DP_OK) status = dp_tokenizer_decode(t, ids, count, false, &text, NULL);
    if (status == DP_OK) status = dp_decoder_new(t, true, &d);
    for (size_t i = 0; i < count && status == DP_OK; i++) status = dp_decoder_feed(d, ids[i], &part, NULL);
    if (status == DP_OK) status = dp_decoder_finish(d, &part, NULL);
    if (status == DP_OK) status = dp_tokenizer_write_hf(t, &json, &config);
    if (status == DP_OK) status = dp_tokenizer_to_gguf(t, &arena, &vocab);
    if (status == DP_OK) status = dp_tokenizer_from_gguf(&vocab, &again);
    dp_free(ids);
    dp_free(text);
    dp_decoder_free(d);
    dp_buf_free(&json);
    dp_buf_free(&config);
    dp_arena_free(&arena);
    dp_tokenizer_close(t);
    dp_tokenizer_close(again);
    return status;
}

TEST(missing_arguments_are_refused) {
    dp_tokenizer *t = NULL;
    dp_decoder *decoder = NULL;
    int32_t *ids = NULL;
    size_t count = 0;
    char *text = NULL;
    CHECK_FAILS(dp_tokenizer_open(NULL, &t), DP_E_ARG, "path");
    CHECK_FAILS(dp_tokenizer_encode(NULL, "a", 1, false, &ids, &count), DP_E_ARG, "tokenizer");
    CHECK_FAILS(dp_tokenizer_decode(NULL, NULL, 0, false, &text, NULL), DP_E_ARG, "tokenizer");
    CHECK_FAILS(dp_decoder_new(NULL, false, &decoder), DP_E_ARG, "tokenizer");
}

TEST(tokenizer_survives_failing_allocations) {
    static char sentencepiece[] =
        "'added_tokens':[{'id':11,'content':'<x>','normalized':true}],'normalizer':{'type':'Sequence','normalizers':["
        "{'type':'Prepend','prepend':'\xe2\x96\x81'},{'type':'Replace','pattern':{'String':' "
        "'},'content':'\xe2\x96\x81'}]},'decoder':{'type':'Sequence','decoders':["
        "{'type':'ByteFallback'},{'type':'Fuse'},{'type':'Strip','content':' "
        "','start':1,'stop':0}]},'model':{'type':'BPE','byte_fallback':true,'vocab':"
        "{'a':0,'b':1,'c':2,'ab':3,'\xe2\x96\x81':4,'aa':5,'<0xEF>':6,'<0xBF>':7,'<0xBD>':8},'merges':['a b','a a']}";
    static char bytes[] = "'added_tokens':[{'id':11,'content':'<x>','special':true}],'normalizer':{'type':'NFC'},'pre_"
                          "tokenizer':{'type':'ByteLevel','add_prefix_space':false},"
                          "'decoder':{'type':'ByteLevel'},'model':{'type':'BPE','vocab':{'a':0,'b':1,'c':2,'ab':3,'"
                          "\xc4\xa0':4,'aa':5},'merges':['a b','a a']}";
    CHECK(test_failing_allocations(use_tokenizer, sentencepiece) > 20);
    CHECK(test_failing_allocations(use_tokenizer, bytes) > 20);
}

TEST_MAIN()
