/* layout.h: where every planned tensor lies in the shards of an RDRR folder (docs/RDRR.md). Floor 5.
 *
 *   fixed   shards of at most shard_size; a tensor starts a new shard when it does not fit in the rest of this one;
 *           only a tensor larger than a shard is cut, at the boundary
 *   layer   one shard per layer; what belongs to no layer as in `fixed`
 *   expert  dense tensors first, as in `fixed`; then one shard per expert
 * Every tensor starts at a multiple of 4096 and so does every cut, so that shards can be mapped next to each other. */
#ifndef DP_LAYOUT_H
#define DP_LAYOUT_H

#include "convert/plan.h"

enum { DP_RDRR_ALIGN = 4096 };

typedef struct dp_layout_piece {
    const dp_item *item;
    dp_range range; /* of the item */
    size_t shard;
    uint64_t offset; /* in the shard */
} dp_layout_piece;

typedef struct dp_layout_shard {
    size_t first, count; /* pieces */
    uint64_t size;
    int32_t layer, expert; /* expert >= 0: an expert shard */
    char hash[65];         /* filled by the writer */
} dp_layout_shard;

typedef struct dp_layout {
    dp_layout_piece *pieces; /* in the order of the plan's items */
    size_t piece_count, piece_capacity;
    dp_layout_shard *shards;
    size_t shard_count, shard_capacity;
} dp_layout;

/* sharding is not AUTO; shard_size is a positive multiple of DP_RDRR_ALIGN. The plan must outlive the layout. */
dp_status dp_layout_make(const dp_plan *plan, dp_sharding sharding, uint64_t shard_size, dp_layout *out);
void dp_layout_free(dp_layout *layout);
uint64_t dp_layout_bytes(const dp_layout *layout); /* of all shards */

#endif
