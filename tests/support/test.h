/* test.h: a test file is one executable. TEST(name) { ... } defines a test, CHECK* record failures, TEST_MAIN() runs them.
 * The last line printed is "N passed, N failed, N skipped". Arguments filter by substring of the test's name.
 * DOPPLER_SOURCE_DIR is the repository; test_path() makes paths in it. */
#ifndef DP_TEST_H
#define DP_TEST_H

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

typedef void (*test_fn)(void);
void test_register(const char *name, test_fn fn);
int test_run_all(int argc, char **argv);
/* Records a failure of the running test and returns false. */
bool test_fail(const char *file, int line, const char *format, ...) DP_PRINTF(3, 4);
/* Ends the running test as skipped; say why and return from it. */
void test_skip(const char *format, ...) DP_PRINTF(1, 2);
/* For what opening a device gave that may not be there: if not DP_OK, the running test is skipped (DP_E_UNSUPPORTED) or failed
 * with the error's message; return from it. */
bool test_opened(dp_status status);
/* "<repository>/<relative>" in one of eight rotating static buffers. */
const char *test_path(const char *relative);
/* A fresh empty folder for this process, removed at exit. */
const char *test_folder(void);

#define TEST(name)                                                                                                     \
    static void test_##name(void);                                                                                     \
    __attribute__((constructor)) static void register_##name(void) { test_register(#name, test_##name); }              \
    static void test_##name(void)
#define TEST_MAIN()                                                                                                    \
    int main(int argc, char **argv) { return test_run_all(argc, argv); }

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            test_fail(__FILE__, __LINE__, "%s", #condition);                                                           \
            return;                                                                                                    \
        }                                                                                                              \
    } while (0)
#define CHECK_MSG(condition, ...)                                                                                      \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            test_fail(__FILE__, __LINE__, __VA_ARGS__);                                                                \
            return;                                                                                                    \
        }                                                                                                              \
    } while (0)
/* The call must give DP_OK. */
#define CHECK_OK(call)                                                                                                 \
    do {                                                                                                               \
        dp_status check_status_ = (call);                                                                              \
        if (check_status_ != DP_OK) {                                                                                  \
            test_fail(__FILE__, __LINE__, "%s: %s: %s", #call, dp_status_name(check_status_), dp_error_message());     \
            return;                                                                                                    \
        }                                                                                                              \
    } while (0)
/* The call must fail with `status` and a message that contains `text`. */
#define CHECK_FAILS(call, status, text)                                                                                \
    do {                                                                                                               \
        dp_status check_status_ = (call);                                                                              \
        if (check_status_ != (status) || !strstr(dp_error_message(), text)) {                                          \
            test_fail(__FILE__, __LINE__, "%s: expected %s and \"%s\", got %s: %s", #call, dp_status_name(status),     \
                      text, dp_status_name(check_status_), dp_error_message());                                        \
            return;                                                                                                    \
        }                                                                                                              \
    } while (0)

/* Runs body(user) with the 1st, 2nd, ... allocation failing until it succeeds. body must release everything and return
 * DP_E_MEMORY or DP_OK; anything else fails the test. Returns the number of allocations that one run makes. */
size_t test_failing_allocations(dp_status (*body)(void *user), void *user);

#endif
