/* test.c: the runner behind test.h. */
#include "test.h"

#include <stdatomic.h>

enum { TESTS_MAX = 512 };
static struct { const char *name; test_fn fn; } tests[TESTS_MAX];
static int test_count;
static const char *current;
static bool current_failed, current_skipped;

void test_register(const char *name, test_fn fn) {
    if (test_count == TESTS_MAX) abort();
    tests[test_count].name = name;
    tests[test_count++].fn = fn;
}

bool test_fail(const char *file, int line, const char *format, ...) {
    va_list args;
    fprintf(stdout, "FAIL %s (%s:%d): ", current, file, line);
    va_start(args, format);
    vfprintf(stdout, format, args);
    va_end(args);
    fputc('\n', stdout);
    current_failed = true;
    return false;
}

void test_skip(const char *format, ...) {
    va_list args;
    fprintf(stdout, "SKIP %s: ", current);
    va_start(args, format);
    vfprintf(stdout, format, args);
    va_end(args);
    fputc('\n', stdout);
    current_skipped = true;
}

bool test_opened(dp_status status) {
    if (status == DP_E_UNSUPPORTED) test_skip("%s", dp_error_message());
    else if (status != DP_OK) test_fail(__FILE__, __LINE__, "%s: %s", dp_status_name(status), dp_error_message());
    return status == DP_OK;
}

const char *test_path(const char *relative) {
    static char paths[8][1024];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", DOPPLER_SOURCE_DIR, relative);
    return path;
}

int test_run_all(int argc, char **argv) {
    int passed = 0, failed = 0, skipped = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 0; i < test_count; i++) {
        bool chosen = argc < 2;
        for (int a = 1; a < argc; a++) chosen |= strstr(tests[i].name, argv[a]) != NULL;
        if (!chosen) continue;
        current = tests[i].name;
        current_failed = current_skipped = false;
        tests[i].fn();
        if (current_failed) failed++;
        else if (current_skipped) skipped++;
        else passed++;
        if (!current_failed && !current_skipped) printf("ok   %s\n", current); /* the log of a test that hangs names those before it */
    }
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    return failed != 0;
}

/* ---- failing allocations ---- */

typedef struct countdown { /* threads of the library allocate too */
    atomic_long left, made, live;
} countdown;

static void *counting_realloc(void *user, void *memory, size_t size) {
    countdown *c = user;
    if (!size) {
        atomic_fetch_sub(&c->live, memory != NULL);
        free(memory);
        return NULL;
    }
    long left = atomic_load(&c->left);
    while (left > 0 && !atomic_compare_exchange_weak(&c->left, &left, left - 1)) {}
    if (left == 0) return NULL;
    atomic_fetch_add(&c->made, 1);
    atomic_fetch_add(&c->live, memory == NULL);
    return realloc(memory, size);
}

size_t test_failing_allocations(dp_status (*body)(void *), void *user) {
    countdown c;
    for (long n = 0;; n++) {
        atomic_init(&c.left, n);
        atomic_init(&c.made, 0);
        atomic_init(&c.live, 0);
        dp_set_allocator(counting_realloc, &c);
        dp_status status = body(user);
        dp_set_allocator(NULL, NULL);
        long live = c.live;
        if (live) test_fail(__FILE__, __LINE__, "allocation %ld failing: %ld blocks leaked", n, live);
        if (status == DP_OK && c.left != 0) return (size_t)c.made;
        if (status != DP_E_MEMORY && status != DP_OK) {
            test_fail(__FILE__, __LINE__, "allocation %ld failing: got %s: %s", n, dp_status_name(status), dp_error_message());
            return 0;
        }
        if (live) return 0;
    }
}
