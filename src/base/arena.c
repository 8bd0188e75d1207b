/* arena.c: a list of growing chunks; nothing is freed before the whole. */
#include "base/arena.h"

#include <stdio.h>

struct dp_arena_chunk {
    dp_arena_chunk *older;
    _Alignas(16) unsigned char data[];
};

enum { CHUNK_MIN = 4096, CHUNK_MAX = 1 << 20 };

static bool add_chunk(dp_arena *arena, size_t need) {
    size_t size = arena->size ? arena->size * 2 : CHUNK_MIN;
    if (size > CHUNK_MAX) size = CHUNK_MAX;
    if (size < need) size = need;
    if (size > SIZE_MAX - sizeof(dp_arena_chunk)) return false;
    dp_arena_chunk *chunk = dp_malloc(sizeof *chunk + size);
    if (!chunk) return false;
    chunk->older = arena->chunk;
    arena->chunk = chunk;
    arena->size = size;
    arena->used = 0;
    return true;
}

void *dp_arena_alloc(dp_arena *arena, size_t size) {
    if (size > SIZE_MAX - 15) return NULL;
    size = (size + 15) & ~(size_t)15;
    if (arena->size - arena->used < size && !add_chunk(arena, size)) return NULL;
    void *memory = arena->chunk ? arena->chunk->data + arena->used : NULL;
    if (!memory) return add_chunk(arena, 16) ? arena->chunk->data : NULL; /* zero bytes from an empty arena */
    arena->used += size;
    return memory;
}

void *dp_arena_calloc(dp_arena *arena, size_t count, size_t size) {
    size_t bytes;
    if (!dp_mul_size(count, size, &bytes)) return NULL;
    void *memory = dp_arena_alloc(arena, bytes);
    if (memory) memset(memory, 0, bytes);
    return memory;
}

char *dp_arena_copy(dp_arena *arena, const char *text, size_t size) {
    char *copy = size < SIZE_MAX ? dp_arena_alloc(arena, size + 1) : NULL;
    if (!copy) return NULL;
    if (size) memcpy(copy, text, size);
    copy[size] = 0;
    return copy;
}

char *dp_arena_printf(dp_arena *arena, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = n < 0 ? NULL : dp_arena_alloc(arena, (size_t)n + 1);
    if (!text) return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    return text;
}

void dp_arena_free(dp_arena *arena) {
    while (arena->chunk) {
        dp_arena_chunk *older = arena->chunk->older;
        dp_free(arena->chunk);
        arena->chunk = older;
    }
    arena->used = arena->size = 0;
}
