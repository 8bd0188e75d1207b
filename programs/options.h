/* options.h: command lines. A command is one table entry: its texts, its options, its function; parsing, checking and
 * the help page all come from that table. */
#ifndef TOOL_OPTIONS_H
#define TOOL_OPTIONS_H

#include "base/base.h"

typedef enum option_type {
    OPTION_FLAG,   /* bool */
    OPTION_INT,    /* int32_t within min..max */
    OPTION_FLOAT,  /* float within min..max */
    OPTION_SEED,   /* uint64_t */
    OPTION_SIZE,   /* uint64_t bytes: 4096, 64K, 64M, 8G (powers of 1024), 64MB (powers of 1000) */
    OPTION_TEXT,   /* const char * */
    OPTION_TEXTS,  /* text_list, given any number of times */
    OPTION_CHOICE, /* int: the index of the word within `argument`, "auto|cpu|cpu-ref" */
} option_type;

typedef struct text_list {
    const char **items;
    size_t count, capacity;
} text_list;

typedef struct option {
    const char *name; /* without the dashes */
    char letter;      /* one-letter form, 0: none */
    option_type type;
    void *value;
    const char *argument; /* its name on the help page; the words of a choice; NULL for a flag */
    const char *help;
    double min, max; /* of numbers */
} option;

#define OPTIONS_END {.name = NULL}

typedef struct option_group {
    const char *title;
    const option *options; /* ended by OPTIONS_END */
} option_group;

enum { GROUPS_MAX = 6 };

typedef struct command {
    const char *name, *summary;
    const char *arguments; /* e.g. "[MODEL] [PROMPT]" */
    const char *details;   /* paragraphs under the usage line */
    const char *examples;  /* lines, each ending in \n */
    int least, most;       /* number of positional arguments */
    const option_group *groups[GROUPS_MAX];
    dp_status (*run)(char **arguments, int count);
} command;

/* Reads argv[0..count) into the options' values and moves the positional arguments to the front of argv; *count becomes
 * their number. *help is set when --help was met (the rest is not read then). DP_E_ARG names the argument at fault. */
dp_status options_parse(const command *cmd, char **argv, int *count, bool *help);
void options_print_help(const command *cmd);
/* The word of `words` (up to a NULL) nearest to `typed`, NULL if none is near. */
const char *options_nearest(const char *typed, const char *const *words);

#endif
