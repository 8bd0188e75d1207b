/* base.h: what every file needs: status and TRY, the allocator, string slices.
 * Floor 0. Depends on the C library only. */
#ifndef DP_BASE_H
#define DP_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "doppler.h"

#if defined(__GNUC__)
#define DP_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define DP_PRINTF(text, first)
#endif

/* Records a message for this thread and returns `status`, so that `return dp_fail(...)` reads well. */
dp_status dp_fail(dp_status status, const char *format, ...) DP_PRINTF(2, 3);
/* Puts "prefix: " in front of the recorded message and returns `status` unchanged. Used to add the file's name. */
dp_status dp_fail_in(dp_status status, const char *format, ...) DP_PRINTF(2, 3);

/* Evaluates a call that returns dp_status and returns from the caller if it failed. */
#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        dp_status try_status_ = (call);                                                                                \
        if (try_status_ != DP_OK) return try_status_;                                                                  \
    } while (0)

/* Not an error, and never seen by callers of doppler.h: the device has not answered yet, and this host cannot wait for it (a
 * browser that cannot suspend WebAssembly). The same call, made again later, goes on where this one stopped. */
#define DP_WAITING ((dp_status)255)

/* ---- memory: one realloc-shaped allocator for the process (dp_set_allocator) ---- */

/* NULL on failure (then nothing changed) or when size is 0 (then memory was freed). */
void *dp_realloc(void *memory, size_t size);
void *dp_malloc(size_t size);
void *dp_calloc(size_t count, size_t size); /* zeroed; checks the product */
/* Fails with DP_E_MEMORY and says how much was asked for. */
dp_status dp_no_memory(size_t size);
/* count * size into *out, DP_E_FORMAT on overflow. */
bool dp_mul_size(size_t a, size_t b, size_t *out);

/* Grows *array so that it holds at least `need` elements. Returns false when memory is short. */
bool dp_grow(void **array, size_t *capacity, size_t need, size_t element);

/* ---- string slices: not NUL-terminated, not owned ---- */

typedef struct dp_str {
    const char *p;
    size_t n;
} dp_str;

#define DP_LIT(literal) ((dp_str){(literal), sizeof(literal) - 1})
#define DP_STR_FMT "%.*s"
#define DP_STR_ARG(s) (int)((s).n > 200 ? 200 : (s).n), (s).p

static inline dp_str dp_str_of(const char *z) { return (dp_str){z, z ? strlen(z) : 0}; }
static inline bool dp_str_eq(dp_str a, dp_str b) { return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0); }
static inline bool dp_str_is(dp_str a, const char *z) { return dp_str_eq(a, dp_str_of(z)); }
bool dp_str_starts(dp_str s, const char *prefix);
bool dp_str_ends(dp_str s, const char *suffix);
/* Equal without regard to the case of ASCII letters. */
bool dp_str_is_nocase(dp_str s, const char *z);

/* ---- little-endian loads and stores at any alignment ---- */

static inline uint16_t dp_load_u16(const void *p) { uint16_t v; memcpy(&v, p, 2); return v; }
static inline uint32_t dp_load_u32(const void *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static inline uint64_t dp_load_u64(const void *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static inline float dp_load_f32(const void *p) { float v; memcpy(&v, p, 4); return v; }
static inline void dp_store_u16(void *p, uint16_t v) { memcpy(p, &v, 2); }
static inline void dp_store_u32(void *p, uint32_t v) { memcpy(p, &v, 4); }
static inline void dp_store_u64(void *p, uint64_t v) { memcpy(p, &v, 8); }
static inline void dp_store_f32(void *p, float v) { memcpy(p, &v, 4); }

#define DP_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define DP_MIN(a, b) ((a) < (b) ? (a) : (b))
#define DP_MAX(a, b) ((a) > (b) ? (a) : (b))

#endif
