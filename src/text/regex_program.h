/* regex_program.h: what the regex compiler hands to the matcher. Only regex*.c include it.
 * Jumps are relative to the instruction that holds them, so that pieces of program can be moved and copied. */
#ifndef DP_REGEX_PROGRAM_H
#define DP_REGEX_PROGRAM_H

#include "text/regex.h"

typedef enum dp_rx_op {
    DP_RX_MATCH,    /* end of the program, or of the body of LOOK and ATOMIC */
    DP_RX_CHAR,     /* a: code point */
    DP_RX_CLASS,    /* a: class */
    DP_RX_LOOP,     /* a: class, min..max times one character; mode: dp_rx_mode */
    DP_RX_SPLIT,    /* try a, then b */
    DP_RX_JUMP,     /* to a */
    DP_RX_LOOK,     /* the body behind must match here, or not (negative); go on at a */
    DP_RX_ATOMIC,   /* first match of the body behind, never reconsidered; go on at a */
    DP_RX_LINE_START, DP_RX_LINE_END, DP_RX_TEXT_START, DP_RX_TEXT_END, DP_RX_TEXT_END_NEWLINE,
    DP_RX_WORD_EDGE /* negative: no edge */
} dp_rx_op;

typedef enum dp_rx_mode { DP_RX_GREEDY, DP_RX_LAZY, DP_RX_POSSESSIVE } dp_rx_mode;

typedef struct dp_rx_inst {
    uint8_t op, mode;
    bool negative;
    int32_t a, b;
    uint32_t min, max; /* max UINT32_MAX: no limit */
} dp_rx_inst;

/* A set of code points: any of the ranges, categories or flags, then negated, then intersected with class `both`. */
typedef struct dp_rx_class {
    uint64_t ascii[2]; /* the answer for code points below 128 */
    uint32_t categories;
    uint32_t range, range_count; /* pairs in dp_regex.ranges */
    int32_t both;                /* -1: none */
    bool negated, fold, space, not_space, han, not_han;
} dp_rx_class;

struct dp_regex {
    dp_rx_inst *code;
    dp_rx_class *classes;
    uint32_t *ranges; /* first, last pairs */
    size_t code_count, code_capacity, class_count, class_capacity, range_count, range_capacity;
    bool first[256]; /* bytes that a match can start with */
    bool may_be_empty;
};

bool dp_rx_class_has(const dp_regex *regex, const dp_rx_class *set, uint32_t code_point);
/* Fills in the ASCII answers once the class is complete. */
void dp_rx_class_finish(const dp_regex *regex, dp_rx_class *set);
unsigned dp_rx_lead_byte(uint32_t code_point); /* the first byte of its UTF-8 form */
/* Marks in `first` the lead bytes of the class's members, possibly too many. */
void dp_rx_class_first(const dp_regex *regex, const dp_rx_class *set, bool first[256]);

#endif
