/* regex.h: the regular expressions of tokenizer files, a subset of Oniguruma's Ruby syntax over Unicode:
 *   a|b  (...)  (?:...)  (?i:...)  (?i)  (?=...)  (?!...)  (?>...)  .  ^  $  \A  \z  \Z  \b  \B
 *   ?  *  +  {m}  {m,}  {m,n}, each greedy, lazy (*?) or, but for braces, possessive (*+)
 *   [...] with ranges, escapes, negation and &&;  \s \S \d \D \w \W \r \n \t \f \v \xHH \x{...} \uHHHH
 *   \p{..} \P{..} \p{^..} of general categories (L, Lu, ...) and Han
 * Anything else is DP_E_UNSUPPORTED naming it. Matching is leftmost-first by backtracking on an explicit stack; the
 * work is bounded by the text's length, so a hostile pattern ends in an error. Floor 2. */
#ifndef DP_REGEX_H
#define DP_REGEX_H

#include "base/base.h"

typedef struct dp_regex dp_regex; /* immutable, shared between threads */

dp_status dp_regex_compile(dp_str pattern, dp_regex **out);
void dp_regex_free(dp_regex *regex);

/* The memory and the work that one text may use. Zero-initialise, dp_regex_scratch_begin for each text, free at the
 * end. */
typedef struct dp_regex_scratch {
    struct dp_regex_frame *frames;
    size_t count, capacity;
    uint64_t steps_left;
} dp_regex_scratch;

void dp_regex_scratch_begin(dp_regex_scratch *scratch, size_t text_size);
void dp_regex_scratch_free(dp_regex_scratch *scratch);

typedef struct dp_match {
    size_t start, end;
    bool found;
} dp_match;

/* The first match that starts at or behind `from`. `text` must be valid UTF-8 and `from` a character's start. */
dp_status dp_regex_find(const dp_regex *regex, dp_regex_scratch *scratch, dp_str text, size_t from, dp_match *out);

#endif
