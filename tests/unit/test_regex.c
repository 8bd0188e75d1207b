/* Regular expressions and Unicode: what tokenizer files rely on. */
#include "test.h"

#include "text/regex.h"
#include "text/unicode.h"

/* All matches of `pattern` in `text`, as "[a][b]", text between them as it stands. */
static const char *matches(const char *pattern, const char *text) {
    static char out[4096];
    dp_regex *regex = NULL;
    dp_regex_scratch scratch = {0};
    dp_match match;
    dp_str all = dp_str_of(text);
    size_t done = 0, n = 0;
    if (dp_regex_compile(dp_str_of(pattern), &regex) != DP_OK) return dp_error_message();
    dp_regex_scratch_begin(&scratch, all.n);
    for (size_t from = 0; from <= all.n; from = match.end + (match.end == match.start)) {
        if (dp_regex_find(regex, &scratch, all, from, &match) != DP_OK) return dp_error_message();
        if (!match.found) break;
        n += (size_t)snprintf(out + n, sizeof out - n, "%.*s[%.*s]", (int)(match.start - done), text + done,
                              (int)(match.end - match.start), text + match.start);
        done = match.end;
    }
    snprintf(out + n, sizeof out - n, "%s", text + done);
    dp_regex_scratch_free(&scratch);
    dp_regex_free(regex);
    return out;
}

TEST(regex_matches) {
    static const struct { const char *pattern, *text, *expected; } cases[] = {
        {"a|ab", "abab", "[a]b[a]b"},
        {"(?:ab|a)c?", "abcac", "[abc][ac]"},
        {"a{2,3}", "aaaaaaa", "[aaa][aaa]a"},
        {"a{2}", "aaaaa", "[aa][aa]a"},
        {"a{,2}b", "aaab", "a[aab]"},
        {"a{x", "a{x", "[a{x]"},
        {"(?:ab){2,}", "ababab ab", "[ababab] ab"},
        {"(?:ab){1,2}?c", "ababc", "[ababc]"},
        {"a+?b", "aaab", "[aaab]"},
        {"a??b", "ab", "[ab]"},
        {"<.*?>", "<a><b>", "[<a>][<b>]"},
        {"a++a", "aaa", "aaa"},
        {"a*+b", "aab", "[aab]"},
        {"(?>a|ab)c", "abc", "abc"},
        {"(?:a|ab)++c", "ac", "[ac]"},
        {"\\s+(?!\\S)|\\s+", "a   b  ", "a[  ][ ]b[  ]"},
        {"x(?=y)", "xyxz", "[x]yxz"},
        {"(?i:'s|'ll)", "'S 'Ll 'sx", "['S] ['Ll] ['s]x"},
        {"(?i:'s)", "'\xc5\xbf", "['\xc5\xbf]"}, /* long s folds to s */
        {"(?i)ab", "aB", "[aB]"},
        {"(?i:a)b", "Ab AB", "[Ab] AB"},
        {"[^\\r\\n\\p{L}\\p{N}]?\\p{L}+", "a \xc3\xa9t\xc3\xa9-1", "[a][ \xc3\xa9t\xc3\xa9]-1"},
        {"[a-c\\]]+", "ab]d", "[ab]]d"},
        {"[]a]+", "]a", "[]a]"},
        {"[a-]+", "a-b", "[a-]b"},
        {"\\p{Lu}\\p{Ll}+", "Hello World", "[Hello] [World]"},
        {"\\P{L}+", "ab12cd", "ab[12]cd"},
        {"\\p{^L}+", "ab12cd", "ab[12]cd"},
        {"[\\p{L}&&[^\\p{Han}]]+", "ab\xe4\xb8\xad" "c", "[ab]\xe4\xb8\xad[c]"},
        {"\\p{Han}+", "a\xe4\xb8\xad\xe5\x9b\xbd", "a[\xe4\xb8\xad\xe5\x9b\xbd]"},
        {"[\\x{4e00}-\\u9fff]", "\xe4\xb8\xad", "[\xe4\xb8\xad]"},
        {"\\x41\\x{42}", "AB", "[AB]"},
        {"^a", "a\na", "[a]\n[a]"},
        {"\\s+$", "a \nb ", "a[ ]\nb[ ]"},
        {"\\Aa", "aa", "[a]a"},
        {"a\\z", "aa", "a[a]"},
        {"a\\Z", "aa\n", "a[a]\n"},
        {"\\bfoo\\b", "foo food", "[foo] food"},
        {"\\Bo", "o foo", "o f[o][o]"},
        {".", "a\n\xe2\x82\xac", "[a]\n[\xe2\x82\xac]"},
        {"\\d{1,3}(?=(?:\\d{3})*\\b)", "1234567", "[1][234][567]"},
        {"(?=(\\d{3})+(?!\\d))", "12345", "12[]345"},
        {"\\w+", "a_b\xcc\x81 c", "[a_b\xcc\x81] [c]"},
        {"\\s", "a\xc2\xa0" "b\xe3\x80\x80", "a[\xc2\xa0]b[\xe3\x80\x80]"},
        {"(?<name>a)(?P<other>b)", "ab", "[ab]"},
        {"x*", "ax", "[]a[x][]"},
        {"\\p{N}", "\xc2\xbd\xe2\x85\xa7", "[\xc2\xbd][\xe2\x85\xa7]"},
        {"[\\S\\n]+", "ab \ncd", "[ab] [\ncd]"},
    };
    for (size_t i = 0; i < DP_COUNT(cases); i++) {
        const char *found = matches(cases[i].pattern, cases[i].text);
        CHECK_MSG(strcmp(found, cases[i].expected) == 0, "/%s/ in \"%s\": %s, expected %s", cases[i].pattern,
                  cases[i].text, found, cases[i].expected);
    }
}

static dp_status compile(const char *pattern) {
    dp_regex *regex = NULL;
    dp_status status = dp_regex_compile(dp_str_of(pattern), &regex);
    dp_regex_free(regex);
    return status;
}

TEST(regex_refuses_what_it_cannot_do) {
    static const char *const malformed[] = {"(",     ")",     "[a",     "a)",   "*",           "a|*", "\\",
                                            "\\p{L", "[b-a]", "a{3,2}", "(?:a", "\\x{110000}", "\xff"};
    static const char *const unsupported[] = {"(?<=a)b",
                                              "(?<!a)b",
                                              "\\1",
                                              "\\p{Greek}",
                                              "[a[b]]",
                                              "(?x:a)",
                                              "\\y",
                                              "a{2000}",
                                              "(?:a*)*",
                                              "(?:a|b?)+",
                                              "(?:(?:a{500}){500}){500}"};
    for (size_t i = 0; i < DP_COUNT(malformed); i++)
        CHECK_MSG(compile(malformed[i]) == DP_E_FORMAT, "/%s/ should be malformed", malformed[i]);
    for (size_t i = 0; i < DP_COUNT(unsupported); i++)
        CHECK_MSG(compile(unsupported[i]) == DP_E_UNSUPPORTED, "/%s/ should be unsupported", unsupported[i]);
    char deep[1000];
    memset(deep, '(', sizeof deep - 1);
    deep[sizeof deep - 1] = 0;
    CHECK(compile(deep) == DP_E_FORMAT);
}

/* Patterns that take exponential or quadratic time end in an error instead. */
TEST(regex_bounds_its_work) {
    static const char *const hostile[] = {"(?:a|a)+b", "(?:a+)+b", "(?:(?:a+)+)+b", "(?=(?:a|aa)+b)a", "(?:a|b|ab)+c"};
    static char text[20001];
    memset(text, 'a', sizeof text - 1);
    for (size_t i = 0; i < DP_COUNT(hostile); i++) {
        dp_regex *regex = NULL;
        dp_regex_scratch scratch = {0};
        dp_match match;
        CHECK_OK(dp_regex_compile(dp_str_of(hostile[i]), &regex));
        dp_regex_scratch_begin(&scratch, sizeof text - 1);
        dp_status status = dp_regex_find(regex, &scratch, dp_str_of(text), 0, &match);
        dp_regex_scratch_free(&scratch);
        dp_regex_free(regex);
        CHECK_MSG(status == DP_E_UNSUPPORTED, "/%s/: %s", hostile[i], dp_status_name(status));
    }
}

static dp_status compile_and_match(void *user) {
    (void)user;
    dp_regex *regex = NULL;
    dp_regex_scratch scratch = {0};
    dp_match match;
    TRY(dp_regex_compile(DP_LIT("(?i:'s|'t)|(?:[ab&&[a]]|c\\p{Han}?){2,4}(?=x)|\\s++|(?:de){3}"), &regex));
    dp_regex_scratch_begin(&scratch, 4);
    dp_status status = dp_regex_find(regex, &scratch, DP_LIT("acacx"), 0, &match);
    dp_regex_scratch_free(&scratch);
    dp_regex_free(regex);
    return status;
}

TEST(regex_survives_failing_allocations) { CHECK(test_failing_allocations(compile_and_match, NULL) > 4); }

/* ---- Unicode ---- */

TEST(unicode_properties) {
    CHECK(dp_unicode_category('A') == DP_CAT_LU && dp_unicode_category(0x4E2D) == DP_CAT_LO &&
          dp_unicode_category(0x10FFFF) == DP_CAT_CN);
    CHECK(dp_unicode_category(0x301) == DP_CAT_MN && dp_unicode_category(0x1F600) == DP_CAT_SO &&
          dp_unicode_category(0xE000) == DP_CAT_CO);
    CHECK(dp_unicode_category(0) == DP_CAT_CC && dp_unicode_category(0xD800) == DP_CAT_CS &&
          dp_unicode_category(0x9FFF) == DP_CAT_LO);
    CHECK(dp_unicode_is_space(0x85) && dp_unicode_is_space(0x3000) && !dp_unicode_is_space(0x200B) &&
          !dp_unicode_is_space(0x180E));
    CHECK(dp_unicode_fold(0x17F) == 's' && dp_unicode_fold(0x212A) == 'k' && dp_unicode_fold(0x410) == 0x430 &&
          dp_unicode_fold(0x104) == 0x105);
    CHECK(dp_unicode_fold(0x105) == 0x105 && dp_unicode_fold(0x1E9E) == 0xDF && dp_unicode_fold(0x10400) == 0x10428);
}

TEST(unicode_normal_forms) {
    static const struct { dp_normal_form form; const char *text, *expected;
    } cases[] = {
        {DP_NFC, "e\xcc\x81", "\xc3\xa9"},
        {DP_NFC, "abc e\xcc\x81 xyz e\xcc\x81", "abc \xc3\xa9 xyz \xc3\xa9"},
        {DP_NFC, "plain", "plain"},
        {DP_NFC, "\xe2\x84\xab", "\xc3\x85"}, /* Angstrom sign */
        {DP_NFC, "\xe1\xba\x9b\xcc\xa3", "\xe1\xba\x9b\xcc\xa3"},
        {DP_NFC, "a\xcc\x81\xcc\xa3", "\xe1\xba\xa1\xcc\x81"},            /* reordered, then composed */
        {DP_NFC, "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "\xed\x95\x9c"}, /* Hangul */
        {DP_NFC, "\xe0\xa5\x98", "\xe0\xa4\x95\xe0\xa4\xbc"},             /* excluded from composition */
        {DP_NFC, "\xef\xac\x81", "\xef\xac\x81"},
        {DP_NFD, "\xc3\xa9\xed\x95\x9c", "e\xcc\x81\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab"},
        {DP_NFD, "\xe1\xbb\x87", "e\xcc\xa3\xcc\x82"},
        {DP_NFKC, "\xef\xac\x81\xc2\xa0\xe2\x91\xa0", "fi 1"},
        {DP_NFKC, "\xef\xb7\xba",
         "\xd8\xb5\xd9\x84\xd9\x89 \xd8\xa7\xd9\x84\xd9\x84\xd9\x87 \xd8\xb9\xd9\x84\xd9\x8a\xd9\x87 "
         "\xd9\x88\xd8\xb3\xd9\x84\xd9\x85"},
        {DP_NFKD, "\xef\xac\x81\xc3\xa9", "fie\xcc\x81"},
    };
    for (size_t i = 0; i < DP_COUNT(cases); i++) {
        dp_buf out = {0};
        dp_status status = dp_unicode_normalize(cases[i].form, dp_str_of(cases[i].text), &out);
        bool same = status == DP_OK && strcmp(out.data, cases[i].expected) == 0;
        if (!same) test_fail(__FILE__, __LINE__, "case %zu gives %s", i, out.data ? out.data : "nothing");
        dp_buf_free(&out);
        if (!same) return;
    }
}

TEST(utf8_repair_follows_maximal_parts) {
    static const struct { const char *text; bool more; const char *expected; size_t used; } cases[] = {
        {"a\xff" "b", false, "a\xef\xbf\xbd" "b", 3},
        {"\xe2\x82", false, "\xef\xbf\xbd", 2},
        {"x\xe2\x82", true, "x", 1},
        {"\xe2\x82x", true, "\xef\xbf\xbdx", 3},
        {"\xf0\x90\x80\xf0\x90", false, "\xef\xbf\xbd\xef\xbf\xbd", 5},
        {"\xed\xa0\x80", false, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", 3},
        {"\xc0\xaf", false, "\xef\xbf\xbd\xef\xbf\xbd", 2},
        {"\xf5\x80", true, "\xef\xbf\xbd\xef\xbf\xbd", 2},
    };
    for (size_t i = 0; i < DP_COUNT(cases); i++) {
        dp_buf out = {0};
        size_t used = dp_utf8_repair(dp_str_of(cases[i].text), cases[i].more, &out);
        bool same = used == cases[i].used && strcmp(out.data, cases[i].expected) == 0;
        dp_buf_free(&out);
        CHECK_MSG(same, "case %zu", i);
    }
}

TEST_MAIN()
