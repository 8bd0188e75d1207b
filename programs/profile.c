/* profile.c: sums the times of ops that differ in their layer only, and prints them, largest first. */
#include "profile.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/json_write.h"
#include "tool.h"

enum { LINES_MAX = 64, TOKENS = 16 };

typedef struct line {
    char op[24], label[40];
    double seconds;
    uint64_t bytes;
    int calls;
} line;

typedef struct table {
    line lines[LINES_MAX];
    size_t count;
} table;

/* "layers.12.q_proj" counts as "q_proj". */
static const char *short_label(const char *label) {
    const char *dot = strncmp(label, "layers.", 7) == 0 ? strchr(label + 7, '.') : NULL;
    return dot ? dot + 1 : label;
}

static void add(void *user, const char *op, const char *label, double seconds, uint64_t bytes) {
    table *t = user;
    const char *name = short_label(label);
    size_t i = 0;
    while (i < t->count && strcmp(t->lines[i].label, name) != 0) i++;
    if (i == LINES_MAX) return;
    line *l = &t->lines[i];
    if (i == t->count) {
        t->count++;
        *l = (line){0};
        snprintf(l->op, sizeof l->op, "%s", op);
        snprintf(l->label, sizeof l->label, "%s", name);
    }
    l->seconds += seconds;
    l->bytes += bytes;
    l->calls++;
}

static int by_time(const void *a, const void *b) {
    double x = ((const line *)a)->seconds, y = ((const line *)b)->seconds;
    return x < y ? 1 : x > y ? -1 : 0;
}

static void print_table(const table *t, const char *what, int runs) {
    double total = 0;
    for (size_t i = 0; i < t->count; i++) total += t->lines[i].seconds;
    printf("\n%-24s %-12s %8s %12s %7s %10s\n", what, "op", "calls", "time", "share", "weights/s");
    for (size_t i = 0; i < t->count; i++) {
        const line *l = &t->lines[i];
        printf("%-24s %-12s %8d %9.3f ms %5.1f %%", l->label, l->op, l->calls / runs, l->seconds * 1e3 / runs,
               total > 0 ? 100 * l->seconds / total : 0);
        if (l->bytes && l->seconds > 0) printf(" %10s/s", show_bytes((double)l->bytes / l->seconds));
        putchar('\n');
    }
    printf("%-24s %-12s %8s %9.3f ms\n", "sum", "", "", total * 1e3 / runs);
}

static void put_table(const table *t, const char *key, int runs, dp_buf *json) {
    dp_json_open(json, key, '[');
    for (size_t i = 0; i < t->count; i++) {
        const line *l = &t->lines[i];
        dp_json_open(json, NULL, '{');
        dp_json_add_text(json, "label", l->label);
        dp_json_add_text(json, "op", l->op);
        dp_json_add_int(json, "calls", l->calls / runs);
        dp_json_add_double(json, "seconds", l->seconds / runs);
        dp_json_add_uint(json, "weight_bytes", l->bytes / (uint64_t)runs);
        dp_json_close(json, '}');
    }
    dp_json_close(json, ']');
}

static void report(table *t, bool decode, dp_buf *json) {
    int runs = decode ? TOKENS : 1;
    qsort(t->lines, t->count, sizeof t->lines[0], by_time);
    if (json) put_table(t, decode ? "decode" : "prefill", runs, json);
    else print_table(t, decode ? "decode, one token" : "prefill", runs);
}

static dp_status measure(dp_session *session, const int32_t *ids, size_t count, table *t) {
    dp_session_set_profile(session, add, t);
    dp_status status = dp_session_eval(session, ids, count, NULL);
    dp_session_set_profile(session, NULL, NULL);
    return status;
}

dp_status profile_report(dp_session *session, const int32_t *ids, int32_t prompt, dp_buf *json) {
    table *t = dp_calloc(1, sizeof *t);
    if (!t) return dp_no_memory(sizeof *t);
    dp_status status = DP_OK;
    dp_session_truncate(session, 0);
    if (json) dp_json_open(json, "profile", '{');
    if (prompt > TOKENS && prompt + TOKENS <= dp_session_context(session)) {
        status = measure(session, ids, (size_t)prompt, t);
        if (status == DP_OK) report(t, false, json);
    }
    *t = (table){0};
    for (int i = 0; status == DP_OK && i < TOKENS; i++) status = measure(session, ids, 1, t);
    if (status == DP_OK) report(t, true, json);
    if (json) dp_json_close(json, '}');
    dp_free(t);
    return status;
}
