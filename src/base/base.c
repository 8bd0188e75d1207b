/* base.c: status messages, the process's allocator, string slices. */
#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>

static _Thread_local char message[1024];

dp_status dp_fail(dp_status status, const char *format, ...) {
    char text[sizeof message]; /* the arguments may point into `message` */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    memcpy(message, text, sizeof message);
    return status;
}

dp_status dp_fail_in(dp_status status, const char *format, ...) {
    char text[sizeof message];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n < 0) n = 0;
    if ((size_t)n < sizeof text) snprintf(text + n, sizeof text - (size_t)n, ": %s", message);
    memcpy(message, text, sizeof message);
    return status;
}

const char *dp_error_message(void) { return message; }

const char *dp_status_name(dp_status status) {
    static const char *const names[DP_STATUS_COUNT] = {
        "ok",          "argument", "memory",    "io",        "not found", "format", "corrupt",
        "unsupported", "context",  "disk full", "cancelled", "device"};
    return (unsigned)status < DP_STATUS_COUNT ? names[status] : "unknown";
}

static void *libc_realloc(void *user, void *memory, size_t size) {
    (void)user;
    if (size) return realloc(memory, size);
    free(memory);
    return NULL;
}

static dp_realloc_fn allocator = libc_realloc;
static void *allocator_user;

void dp_set_allocator(dp_realloc_fn fn, void *user) {
    allocator = fn ? fn : libc_realloc;
    allocator_user = user;
}

void *dp_realloc(void *memory, size_t size) {
    if (!memory && !size) return NULL;
    return allocator(allocator_user, memory, size);
}

void *dp_malloc(size_t size) { return dp_realloc(NULL, size ? size : 1); }

void *dp_calloc(size_t count, size_t size) {
    size_t bytes;
    if (!dp_mul_size(count, size, &bytes)) return NULL;
    void *memory = dp_malloc(bytes);
    if (memory) memset(memory, 0, bytes);
    return memory;
}

void dp_free(void *memory) { dp_realloc(memory, 0); }

dp_status dp_no_memory(size_t size) {
    return dp_fail(DP_E_MEMORY, "out of memory: an allocation of %zu bytes failed", size);
}

bool dp_mul_size(size_t a, size_t b, size_t *out) {
    if (b && a > SIZE_MAX / b) return false;
    *out = a * b;
    return true;
}

bool dp_grow(void **array, size_t *capacity, size_t need, size_t element) {
    if (need <= *capacity) return true;
    size_t room = *capacity ? *capacity : 8;
    while (room < need) {
        if (room > SIZE_MAX / 2) return false;
        room *= 2;
    }
    size_t bytes;
    if (!dp_mul_size(room, element, &bytes)) return false;
    void *grown = dp_realloc(*array, bytes);
    if (!grown) return false;
    *array = grown;
    *capacity = room;
    return true;
}

bool dp_str_starts(dp_str s, const char *prefix) {
    size_t n = strlen(prefix);
    return s.n >= n && memcmp(s.p, prefix, n) == 0;
}

bool dp_str_ends(dp_str s, const char *suffix) {
    size_t n = strlen(suffix);
    return s.n >= n && memcmp(s.p + s.n - n, suffix, n) == 0;
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

bool dp_str_is_nocase(dp_str s, const char *z) {
    if (s.n != strlen(z)) return false;
    for (size_t i = 0; i < s.n; i++)
        if (lower(s.p[i]) != lower(z[i])) return false;
    return true;
}
