/* options.c: see options.h. */
#include "options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- did you mean ---- */

static size_t least3(size_t a, size_t b, size_t c) { return DP_MIN(DP_MIN(a, b), c); }

/* Levenshtein distance; words of 32 characters and more count as far apart. */
static size_t distance(const char *a, const char *b) {
    enum { MAX = 32 };
    size_t row[MAX], na = strlen(a), nb = strlen(b);
    if (na >= MAX || nb >= MAX) return MAX;
    for (size_t j = 0; j <= nb; j++) row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t replaced = corner + (a[i - 1] != b[j - 1]);
            corner = row[j];
            row[j] = least3(row[j] + 1, row[j - 1] + 1, replaced);
        }
    }
    return row[nb];
}

const char *options_nearest(const char *typed, const char *const *words) {
    const char *best = NULL;
    size_t n = strlen(typed), best_distance = n < 3 ? 2 : 3; /* exclusive */
    for (; *words; words++) {
        size_t d = n >= 3 && strncmp(typed, *words, n) == 0 ? 0 : distance(typed, *words);
        if (d >= best_distance) continue;
        best_distance = d;
        best = *words;
    }
    return best;
}

/* With the arguments, since elsewhere model and prompt are options. */
static dp_status unknown(const command *cmd, const char *dashes, const char *name) {
    return dp_fail(DP_E_ARG, "unknown option %s%s; usage: doppler %s%s%s [options], see doppler %s --help", dashes, name, cmd->name,
                   *cmd->arguments ? " " : "", cmd->arguments, cmd->name);
}

static dp_status unknown_option(const command *cmd, const char *name) {
    const char *words[128];
    size_t count = 0;
    for (int g = 0; g < GROUPS_MAX && cmd->groups[g]; g++)
        for (const option *o = cmd->groups[g]->options; o->name && count + 1 < DP_COUNT(words); o++)
            words[count++] = o->name;
    words[count] = NULL;
    const char *near = options_nearest(name, words);
    if (near) return dp_fail(DP_E_ARG, "unknown option --%s; did you mean --%s?", name, near);
    return unknown(cmd, "--", name);
}

/* ---- values ---- */

static dp_status bad_value(const option *o, const char *text, const char *expected) {
    return dp_fail(DP_E_ARG, "--%s: expected %s, found \"%s\"", o->name, expected, text);
}

static dp_status parse_number(const option *o, const char *text) {
    char expected[96], *end;
    errno = 0;
    double value = o->type == OPTION_INT ? (double)strtol(text, &end, 10) : strtod(text, &end);
    snprintf(expected, sizeof expected, "%s from %.10g to %.10g", o->type == OPTION_INT ? "a whole number" : "a number",
             o->min, o->max);
    if (end == text || *end || errno || !isfinite(value) || value < o->min || value > o->max)
        return bad_value(o, text, expected);
    if (o->type == OPTION_INT)
        *(int32_t *)o->value = (int32_t)value;
    else
        *(float *)o->value = (float)value;
    return DP_OK;
}

static dp_status parse_seed(const option *o, const char *text) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno) return bad_value(o, text, "a whole number from 0 to 2^64 - 1");
    *(uint64_t *)o->value = value;
    return DP_OK;
}

static dp_status parse_size(const option *o, const char *text) {
    static const char units[] = "KMGT", expected[] = "a size such as 64M or 8G";
    char *end;
    double value = strtod(text, &end), unit = 1;
    if (end == text || !(value >= 0)) return bad_value(o, text, expected);
    const char *found = *end ? strchr(units, *end >= 'a' ? *end - 32 : *end) : NULL;
    if (found) {
        dp_str rest = dp_str_of(++end);
        bool decimal = dp_str_is_nocase(rest, "b");
        if (rest.n && !decimal && !dp_str_is_nocase(rest, "ib")) return bad_value(o, text, expected);
        for (const char *u = units; u <= found; u++) unit *= decimal ? 1000 : 1024;
    } else if (*end && !dp_str_is_nocase(dp_str_of(end), "b")) {
        return bad_value(o, text, expected);
    }
    if (value * unit > 9e18) return bad_value(o, text, "a size below 8 EiB");
    if (value * unit < o->min) return bad_value(o, text, "at least 1M (a number without a unit is bytes)");
    *(uint64_t *)o->value = (uint64_t)(value * unit);
    return DP_OK;
}

static dp_status parse_choice(const option *o, const char *text) {
    size_t n = strlen(text);
    int index = 0;
    for (const char *word = o->argument;; index++) {
        size_t length = strcspn(word, "|");
        if (length == n && memcmp(word, text, n) == 0) {
            *(int *)o->value = index;
            return DP_OK;
        }
        if (!word[length]) break;
        word += length + 1;
    }
    return dp_fail(DP_E_ARG, "--%s: expected one of %s, found \"%s\"", o->name, o->argument, text);
}

static dp_status parse_value(const option *o, const char *text) {
    text_list *list = o->value;
    switch (o->type) {
    case OPTION_FLAG:
        break;
    case OPTION_INT:
    case OPTION_FLOAT:
        return parse_number(o, text);
    case OPTION_SEED:
        return parse_seed(o, text);
    case OPTION_SIZE:
        return parse_size(o, text);
    case OPTION_CHOICE:
        return parse_choice(o, text);
    case OPTION_TEXT:
        *(const char **)o->value = text;
        return DP_OK;
    case OPTION_TEXTS:
        if (!dp_grow((void **)&list->items, &list->capacity, list->count + 1, sizeof *list->items))
            return dp_no_memory(list->count * sizeof *list->items);
        list->items[list->count++] = text;
        return DP_OK;
    }
    return DP_OK;
}

/* ---- parsing ---- */

static const option *find(const command *cmd, dp_str name, char letter) {
    for (int g = 0; g < GROUPS_MAX && cmd->groups[g]; g++)
        for (const option *o = cmd->groups[g]->options; o->name; o++)
            if (letter ? o->letter == letter : dp_str_is(name, o->name)) return o;
    return NULL;
}

/* One option at argv[*i], with its value there or in the next argument. */
static dp_status parse_one(const command *cmd, char **argv, int count, int *i) {
    const char *text = argv[*i], *value = NULL;
    bool is_long = text[1] == '-';
    dp_str name = {text + 2, strcspn(text + 2, "=")};
    const option *o = is_long ? find(cmd, name, 0) : find(cmd, name, text[1]);
    if (!o && is_long) {
        char typed[64];
        snprintf(typed, sizeof typed, DP_STR_FMT, DP_STR_ARG(name));
        return unknown_option(cmd, typed);
    }
    if (!o) return unknown(cmd, "-", (const char[]){text[1], 0});
    if (is_long && name.p[name.n] == '=') value = name.p + name.n + 1;
    if (!is_long && text[2]) value = text + 2;
    if (o->type == OPTION_FLAG) {
        if (value) return dp_fail(DP_E_ARG, "--%s takes no value, found \"%s\"", o->name, value);
        *(bool *)o->value = true;
        return DP_OK;
    }
    if (!value && *i + 1 >= count) return dp_fail(DP_E_ARG, "--%s needs a value: %s", o->name, o->argument);
    if (!value) value = argv[++*i];
    return parse_value(o, value);
}

dp_status options_parse(const command *cmd, char **argv, int *count, bool *help) {
    int kept = 0;
    bool ended = false;
    *help = false;
    for (int i = 0; i < *count; i++) {
        if (!ended && strcmp(argv[i], "--") == 0) {
            ended = true;
        } else if (!ended && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            *help = true;
            return DP_OK;
        } else if (!ended && argv[i][0] == '-' && argv[i][1]) {
            TRY(parse_one(cmd, argv, *count, &i));
        } else {
            argv[kept++] = argv[i];
        }
    }
    *count = kept;
    if (kept < cmd->least)
        return dp_fail(DP_E_ARG, "missing argument; usage: doppler %s %s (see doppler %s --help)", cmd->name,
                       cmd->arguments, cmd->name);
    if (kept > cmd->most)
        return dp_fail(DP_E_ARG, "unexpected argument \"%s\"; usage: doppler %s%s%s%s", argv[cmd->most], cmd->name,
                       *cmd->arguments ? " " : "", cmd->arguments, strstr(cmd->arguments, "PROMPT") ? " (put texts in quotes)" : "");
    return DP_OK;
}

/* ---- help ---- */

enum { HELP_COLUMN = 30, HELP_WIDTH = 100 };

/* Prints `text` wrapped at spaces; all its lines start at `indent`, where the cursor stands already. */
static void print_wrapped(const char *text, int indent) {
    int column = indent;
    for (;;) {
        int word = (int)strcspn(text, " ");
        printf("%.*s", word, text);
        column += word;
        text += word;
        if (!*text++) break;
        if (column + 1 + (int)strcspn(text, " ") > HELP_WIDTH)
            printf("\n%*s", column = indent, "");
        else
            column++, putchar(' ');
    }
    putchar('\n');
}

static void print_option(const option *o) {
    char left[80];
    int n = o->letter ? snprintf(left, sizeof left, "  -%c, --%s", o->letter, o->name)
                      : snprintf(left, sizeof left, "      --%s", o->name);
    if (o->argument) n += snprintf(left + n, sizeof left - (size_t)n, " %s", o->argument);
    if (n < HELP_COLUMN - 1)
        printf("%-*s", HELP_COLUMN, left);
    else
        printf("%s\n%*s", left, HELP_COLUMN, "");
    print_wrapped(o->help, HELP_COLUMN);
}

void options_print_help(const command *cmd) {
    printf("doppler %s: %s\n\nUsage: doppler %s%s%s [options]\n", cmd->name, cmd->summary, cmd->name,
           *cmd->arguments ? " " : "", cmd->arguments);
    if (cmd->details) printf("\n%s", cmd->details);
    for (int g = 0; g < GROUPS_MAX && cmd->groups[g]; g++) {
        printf("\n%s\n", cmd->groups[g]->title);
        for (const option *o = cmd->groups[g]->options; o->name; o++) print_option(o);
    }
    if (cmd->examples) printf("\nExamples\n%s", cmd->examples);
}
