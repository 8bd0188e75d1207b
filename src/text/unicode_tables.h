/* unicode_tables.h: what tools/gen_unicode.py writes; only unicode.c includes it.
 *
 *   category_runs        first code point << 5 | dp_category, sorted; a run ends where the next begins
 *   combining_runs       first code point << 8 | canonical combining class, likewise
 *   decomposition_keys   pairs: code point << 1 | compatibility, then offset << 8 | length in decomposition_codes
 *   compositions         triples: first, second, composed; sorted, exclusions left out
 *   folds                quadruples: first, count, stride, delta of simple case folding, sorted by first
 *   spaces, han          pairs: first, last of White_Space and of the Han script
 * Each `<name>_count` counts array elements. */
#ifndef DP_UNICODE_TABLES_H
#define DP_UNICODE_TABLES_H

#include <stdint.h>

extern const uint32_t dp_unicode_category_runs[], dp_unicode_category_runs_count;
extern const uint32_t dp_unicode_combining_runs[], dp_unicode_combining_runs_count;
extern const uint32_t dp_unicode_decomposition_keys[], dp_unicode_decomposition_keys_count;
extern const uint32_t dp_unicode_decomposition_codes[], dp_unicode_decomposition_codes_count;
extern const uint32_t dp_unicode_compositions[], dp_unicode_compositions_count;
extern const int32_t dp_unicode_folds[];
extern const uint32_t dp_unicode_folds_count;
extern const uint32_t dp_unicode_spaces[], dp_unicode_spaces_count;
extern const uint32_t dp_unicode_han[], dp_unicode_han_count;

#endif
