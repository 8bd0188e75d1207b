/* map.h: byte string -> 64-bit value, open addressing. Keys are not copied: they must outlive the map.
 * Zero-initialise. */
#ifndef DP_MAP_H
#define DP_MAP_H

#include "base/base.h"

typedef struct dp_map_entry {
    dp_str key; /* p == NULL: free */
    uint64_t value;
} dp_map_entry;

typedef struct dp_map {
    dp_map_entry *entries;
    size_t capacity, count;
} dp_map;

/* Inserts or replaces. *was_there (may be NULL) says which. DP_E_MEMORY on failure. key.p must not be NULL. */
dp_status dp_map_set(dp_map *map, dp_str key, uint64_t value, bool *was_there);
/* NULL when absent. */
const uint64_t *dp_map_find(const dp_map *map, dp_str key);
dp_status dp_map_reserve(dp_map *map, size_t count);
void dp_map_free(dp_map *map);

#endif
