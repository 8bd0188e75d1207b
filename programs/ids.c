/* ids.c: token ids from the command line. See tool.h. */
#include <stdlib.h>

#include "host/host.h"
#include "tool.h"

static bool is_separator(char c) {
    return c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '[' || c == ']';
}

dp_status ids_parse(const char *text, size_t size, int32_t **ids, size_t *count) {
    int32_t *list = NULL;
    size_t n = 0, capacity = 0;
    const char *p = text, *end = text + size; /* *end is NUL */
    for (;;) {
        while (p < end && is_separator(*p)) p++;
        if (p == end) break;
        char *behind;
        long value = strtol(p, &behind, 10);
        if (behind == p || value < 0 || value > INT32_MAX || (behind < end && !is_separator(*behind))) {
            dp_free(list);
            return dp_fail(DP_E_ARG, "token ids: expected numbers apart by commas or spaces, found \"%.20s\"", p);
        }
        if (!dp_grow((void **)&list, &capacity, n + 1, sizeof *list)) {
            dp_free(list);
            return dp_no_memory(n * sizeof *list);
        }
        list[n++] = (int32_t)value;
        p = behind;
    }
    if (!n) return dp_fail(DP_E_ARG, "token ids: none found; expected numbers apart by commas or spaces");
    *ids = list;
    *count = n;
    return DP_OK;
}

dp_status ids_load(const char *source, int32_t **ids, size_t *count) {
    bool from_stdin = strcmp(source, "-") == 0;
    if (!from_stdin && dp_path_what(source) == DP_PATH_NONE) {
        if (source[strspn(source, "-0123456789, \t\n[]")] == 0) return ids_parse(source, strlen(source), ids, count);
        return dp_fail(DP_E_NOT_FOUND, "%s: no such file, and no list of token ids such as 1,2,3", source);
    }
    char *text = NULL;
    size_t size = 0;
    TRY(from_stdin ? stdin_read(&text, &size) : dp_file_load(source, (size_t)1 << 30, &text, &size));
    dp_status status = ids_parse(text, size, ids, count);
    dp_free(text);
    return status == DP_OK ? DP_OK : dp_fail_in(status, "%s", from_stdin ? "standard input" : source);
}
