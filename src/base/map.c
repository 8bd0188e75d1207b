/* map.c: linear probing, at most half full. */
#include "base/map.h"

#include "base/hash.h"

static dp_map_entry *probe(const dp_map *map, dp_str key) {
    size_t mask = map->capacity - 1;
    size_t i = (size_t)dp_hash_bytes(key.p, key.n) & mask;
    while (map->entries[i].key.p && !dp_str_eq(map->entries[i].key, key)) i = (i + 1) & mask;
    return &map->entries[i];
}

static dp_status rehash(dp_map *map, size_t capacity) {
    dp_map bigger = {dp_calloc(capacity, sizeof(dp_map_entry)), capacity, map->count};
    if (!bigger.entries) return dp_no_memory(capacity * sizeof(dp_map_entry));
    for (size_t i = 0; i < map->capacity; i++)
        if (map->entries[i].key.p) *probe(&bigger, map->entries[i].key) = map->entries[i];
    dp_free(map->entries);
    *map = bigger;
    return DP_OK;
}

dp_status dp_map_reserve(dp_map *map, size_t count) {
    size_t capacity = map->capacity ? map->capacity : 16;
    while (capacity / 2 < count) {
        if (capacity > SIZE_MAX / 64) return dp_no_memory(SIZE_MAX);
        capacity *= 2;
    }
    return capacity == map->capacity ? DP_OK : rehash(map, capacity);
}

dp_status dp_map_set(dp_map *map, dp_str key, uint64_t value, bool *was_there) {
    TRY(dp_map_reserve(map, map->count + 1));
    dp_map_entry *entry = probe(map, key);
    bool found = entry->key.p != NULL;
    if (was_there) *was_there = found;
    if (!found) map->count++;
    *entry = (dp_map_entry){key, value};
    return DP_OK;
}

const uint64_t *dp_map_find(const dp_map *map, dp_str key) {
    if (!map->count || !key.p) return NULL;
    const dp_map_entry *entry = probe(map, key);
    return entry->key.p ? &entry->value : NULL;
}

void dp_map_free(dp_map *map) {
    dp_free(map->entries);
    *map = (dp_map){0};
}
