/* fuzz_regex.c: the bytes up to the first NUL are a pattern, the rest is text. Matches lie in order within the text. */
#include <stdlib.h>

#include "text/regex.h"
#include "text/unicode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *cut = size ? memchr(data, 0, size) : NULL;
    dp_str pattern = {(const char *)data, cut ? (size_t)(cut - data) : size};
    dp_str text = {cut ? (const char *)cut + 1 : "", cut ? size - pattern.n - 1 : 0};
    dp_regex *regex = NULL;
    if (!dp_utf8_valid(text) || dp_regex_compile(pattern, &regex) != DP_OK) return 0;
    dp_regex_scratch scratch = {0};
    dp_regex_scratch_begin(&scratch, text.n);
    dp_match match;
    for (size_t from = 0; from <= text.n; from = match.end + (match.end == match.start)) {
        if (dp_regex_find(regex, &scratch, text, from, &match) != DP_OK || !match.found) break;
        if (match.start < from || match.end < match.start || match.end > text.n) abort();
    }
    dp_regex_scratch_free(&scratch);
    dp_regex_free(regex);
    return 0;
}
