/* unicode.h: properties of code points, and the four normal forms. The data stand in unicode_tables.c. Floor 2. */
#ifndef DP_UNICODE_H
#define DP_UNICODE_H

#include "base/base.h"
#include "base/buf.h"

/* General categories, in the order that the generated table uses. */
typedef enum dp_category {
    DP_CAT_CN, DP_CAT_LU, DP_CAT_LL, DP_CAT_LT, DP_CAT_LM, DP_CAT_LO, DP_CAT_MN, DP_CAT_MC, DP_CAT_ME, DP_CAT_ND,
    DP_CAT_NL, DP_CAT_NO, DP_CAT_PC, DP_CAT_PD, DP_CAT_PS, DP_CAT_PE, DP_CAT_PI, DP_CAT_PF, DP_CAT_PO, DP_CAT_SM,
    DP_CAT_SC, DP_CAT_SK, DP_CAT_SO, DP_CAT_ZS, DP_CAT_ZL, DP_CAT_ZP, DP_CAT_CC, DP_CAT_CF, DP_CAT_CS, DP_CAT_CO,
    DP_CAT_COUNT
} dp_category;

dp_category dp_unicode_category(uint32_t code_point);
/* The set of categories, one bit each, that a name such as "L", "Lu" or "P" stands for; 0 if there is no such name. */
uint32_t dp_unicode_category_set(dp_str name);
bool dp_unicode_is_space(uint32_t code_point); /* White_Space */
bool dp_unicode_is_han(uint32_t code_point);
/* Letters, marks, decimal digits, letter numbers and connectors: \w. */
bool dp_unicode_is_word(uint32_t code_point);
uint32_t dp_unicode_fold(uint32_t code_point); /* simple case folding */

typedef enum dp_normal_form { DP_NFC, DP_NFD, DP_NFKC, DP_NFKD } dp_normal_form;
/* Appends the normal form of valid UTF-8 `text` to `out`. */
dp_status dp_unicode_normalize(dp_normal_form form, dp_str text, dp_buf *out);

/* Appends `text` with every maximal invalid part replaced by one U+FFFD, as published decoders do. With `more`, a
 * sequence that is cut by the end of `text` is left alone. Returns how many bytes of `text` were used. */
size_t dp_utf8_repair(dp_str text, bool more, dp_buf *out);
bool dp_utf8_valid(dp_str text);

#endif
