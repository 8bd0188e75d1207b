/* arena.h: many allocations with one lifetime. Zero-initialise, use, dp_arena_free. Memory is 16-byte aligned. */
#ifndef DP_ARENA_H
#define DP_ARENA_H

#include "base/base.h"

typedef struct dp_arena_chunk dp_arena_chunk;
typedef struct dp_arena {
    dp_arena_chunk *chunk; /* newest first */
    size_t used, size;     /* of the newest chunk */
} dp_arena;

/* NULL when memory is short; callers turn that into dp_no_memory(). */
void *dp_arena_alloc(dp_arena *arena, size_t size);
void *dp_arena_calloc(dp_arena *arena, size_t count, size_t size);
/* NUL-terminated copy. */
char *dp_arena_copy(dp_arena *arena, const char *text, size_t size);
char *dp_arena_printf(dp_arena *arena, const char *format, ...) DP_PRINTF(2, 3);
void dp_arena_free(dp_arena *arena);

#endif
