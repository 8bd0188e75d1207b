/* layout.c: see layout.h. */
#include "convert/layout.h"

void dp_layout_free(dp_layout *layout) {
    dp_free(layout->pieces);
    dp_free(layout->shards);
    *layout = (dp_layout){0};
}

static uint64_t align(uint64_t n) { return (n + DP_RDRR_ALIGN - 1) / DP_RDRR_ALIGN * DP_RDRR_ALIGN; }

static dp_status open_shard(dp_layout *layout, int32_t layer, int32_t expert) {
    if (!dp_grow((void **)&layout->shards, &layout->shard_capacity, layout->shard_count + 1, sizeof *layout->shards))
        return dp_no_memory((layout->shard_count + 1) * sizeof *layout->shards);
    layout->shards[layout->shard_count++] =
        (dp_layout_shard){.first = layout->piece_count, .layer = layer, .expert = expert};
    return DP_OK;
}

static dp_status place(dp_layout *layout, const dp_item *item, dp_range range) {
    if (!dp_grow((void **)&layout->pieces, &layout->piece_capacity, layout->piece_count + 1, sizeof *layout->pieces))
        return dp_no_memory((layout->piece_count + 1) * sizeof *layout->pieces);
    dp_layout_shard *shard = &layout->shards[layout->shard_count - 1];
    uint64_t offset = align(shard->size);
    layout->pieces[layout->piece_count++] = (dp_layout_piece){item, range, layout->shard_count - 1, offset};
    shard->count++;
    shard->size = offset + range.size;
    return DP_OK;
}

static uint64_t room(const dp_layout *layout, uint64_t shard_size) {
    uint64_t used = align(layout->shards[layout->shard_count - 1].size);
    return used < shard_size ? shard_size - used : 0;
}

static dp_status place_fixed(dp_layout *layout, const dp_item *item, uint64_t shard_size) {
    if (item->size <= shard_size) {
        if (room(layout, shard_size) < item->size) TRY(open_shard(layout, -1, -1));
        return place(layout, item, (dp_range){0, item->size});
    }
    for (uint64_t at = 0; at < item->size;) {
        if (!room(layout, shard_size)) TRY(open_shard(layout, -1, -1));
        dp_range range = {at, DP_MIN(item->size - at, room(layout, shard_size))};
        TRY(place(layout, item, range));
        at += range.size;
    }
    return DP_OK;
}

/* The shard that the item has for itself and its like: {layer, expert}, or {-1, -1} for shards of fixed size. */
static void group_of(const dp_item *item, dp_sharding sharding, int32_t *layer, int32_t *expert) {
    bool own = sharding == DP_SHARD_LAYER ? item->layer >= 0 : sharding == DP_SHARD_EXPERT && item->expert >= 0;
    *layer = own ? item->layer : -1;
    *expert = own && sharding == DP_SHARD_EXPERT ? item->expert : -1;
}

static dp_status place_all(dp_layout *layout, const dp_plan *plan, dp_sharding sharding, uint64_t shard_size) {
    TRY(open_shard(layout, -1, -1));
    for (size_t i = 0; i < plan->count; i++) {
        const dp_item *item = &plan->items[i];
        dp_layout_shard *shard = &layout->shards[layout->shard_count - 1];
        int32_t layer, expert;
        group_of(item, sharding, &layer, &expert);
        if (shard->layer != layer || shard->expert != expert) {
            if (shard->count) {
                TRY(open_shard(layout, layer, expert));
            } else {
                shard->layer = layer;
                shard->expert = expert;
            }
        }
        if (layer >= 0)
            TRY(place(layout, item, (dp_range){0, item->size}));
        else
            TRY(place_fixed(layout, item, shard_size));
    }
    return DP_OK;
}

dp_status dp_layout_make(const dp_plan *plan, dp_sharding sharding, uint64_t shard_size, dp_layout *out) {
    dp_layout layout = {0};
    dp_status status = place_all(&layout, plan, sharding, shard_size);
    if (status != DP_OK) {
        dp_layout_free(&layout);
        return status;
    }
    *out = layout;
    return DP_OK;
}

uint64_t dp_layout_bytes(const dp_layout *layout) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < layout->shard_count; i++) bytes += layout->shards[i].size;
    return bytes;
}
