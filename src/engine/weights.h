/* weights.h: gives the weights of a program their bytes: mapped from the checkpoint where they can be used as stored,
 * converted into memory where not. Where they are paged, only vectors are loaded here. Floor 5. */
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

typedef enum dp_weights_how {
    DP_WEIGHTS_HERE,    /* all that is there is mapped, or read where that is impossible */
    DP_WEIGHTS_READER,  /* what can be read again and not be mapped stays NULL: program->reader reads it */
    DP_WEIGHTS_PLAIN,   /* the same, and experts get empty tables: they are paged */
    DP_WEIGHTS_VECTORS  /* matrices stay NULL, experts get empty tables: they are paged */
} dp_weights_how;

/* Fills data / expert of the weights of builder->program, and sets its reader. On failure what was taken is released by
 * dp_weights_free. */
dp_status dp_weights_load(dp_builder *builder, dp_weights_how how, dp_weights *weights, dp_progress_fn progress, void *user);
/* Writes a matrix (of one expert) as the backends want it to out [bytes]. Any thread. */
dp_status dp_weights_fill(const dp_builder *builder, int32_t weight, int32_t expert, void *out);
void dp_weights_free(dp_weights *weights);

#endif
