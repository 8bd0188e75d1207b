/* regex_parser.h: what the files that compile a pattern share. Every parse function leaves `at` behind what it took. Internal
 * to the regexes. */
#ifndef DP_REGEX_PARSER_H
#define DP_REGEX_PARSER_H

#include "base/json.h"
#include "text/regex_program.h"

enum { DP_RX_DEPTH_MAX = 48 };

typedef struct dp_rx_parser {
    dp_regex *regex;
    dp_str pattern;
    size_t at;
    bool fold; /* (?i) holds here */
    int depth;
} dp_rx_parser;

/* ---- regex_parse.c ---- */

dp_status dp_rx_unsupported(const dp_rx_parser *s, size_t from, const char *what);
dp_status dp_rx_malformed(const dp_rx_parser *s, const char *what); /* at `at` */
bool dp_rx_at_end(const dp_rx_parser *s);
int dp_rx_peek(const dp_rx_parser *s); /* a byte; -1 at the end */
bool dp_rx_take(dp_rx_parser *s, const char *text); /* false and nothing taken if something else comes */
dp_status dp_rx_next_code(dp_rx_parser *s, uint32_t *code);

/* ---- regex_parse_class.c ---- */

/* An empty class; ranges are added to one at a time, then it gets a place in the program. */
dp_rx_class dp_rx_empty_class(const dp_rx_parser *s);
dp_status dp_rx_add_range(dp_rx_parser *s, dp_rx_class *set, uint32_t first, uint32_t last);
dp_status dp_rx_add_class(dp_rx_parser *s, dp_rx_class *set, int32_t *index);
/* Behind the backslash. A single character goes to *code, a set into *set with *is_set. */
dp_status dp_rx_parse_escape(dp_rx_parser *s, dp_rx_class *set, bool *is_set, uint32_t *code);
/* Behind the opening bracket. */
dp_status dp_rx_parse_class(dp_rx_parser *s, int32_t *index);

/* ---- regex_first.c ---- */

/* Fills regex->first and may_be_empty of a finished program. */
dp_status dp_rx_find_first(dp_regex *regex);

#endif
