/* weights.h: gives the weights of a program their bytes: mapped from the checkpoint where they can be used as stored,
 * converted into memory where not. This is the place where residency (tiers, expert paging) will decide. Floor 5. */
#ifndef DP_WEIGHTS_H
#define DP_WEIGHTS_H

#include "arch/builder.h"

typedef struct dp_weights {
    dp_mapping *files; /* [checkpoint's files], mapped on first use: one mapping serves all tensors of a file */
    size_t file_count;
    dp_mapping *pieces; /* tensors cut at shard boundaries, mapped as one range each */
    size_t piece_count, piece_capacity;
    void **owned;
    size_t owned_count, owned_capacity;
} dp_weights;

/* Fills data / expert of every weight of builder->program. On failure what was taken is released by dp_weights_free.
 * stream: what can be read again and not be mapped stays NULL, and program->reader reads it. */
dp_status dp_weights_load(dp_builder *builder, bool stream, dp_weights *weights, dp_progress_fn progress, void *user);
void dp_weights_free(dp_weights *weights);

#endif
