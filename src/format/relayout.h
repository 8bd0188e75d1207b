/* relayout.h: tensors whose bytes are not rows of whole blocks: some published RDRR manifests pad each row to 256
 * elements, quantise the flattened tensor, or store the transposed matrix. Such a tensor shows as F32 in Hugging Face's
 * shape; dp_checkpoint_read converts what is asked for, dp_checkpoint_map refuses. */
#ifndef DP_RELAYOUT_H
#define DP_RELAYOUT_H

#include "format/checkpoint.h"

/* Logical element (r, c) is stored element r * stride + c, transposed: c * stride + r. */
typedef struct dp_relayout {
    dp_dtype stored;
    uint64_t stored_size;
    int64_t rows, cols; /* logical, all dims but the last are rows */
    int64_t stride;     /* stored elements per stored row */
    bool transposed;
} dp_relayout;

/* Bytes [offset, offset + size) of the F32 view, both multiples of 4. */
dp_status dp_relayout_read(const dp_checkpoint *checkpoint, const dp_tensor *tensor, uint64_t offset, float *data,
                           size_t size);
/* Bytes as stored, whatever the tensor shows. */
dp_status dp_checkpoint_read_stored(const dp_checkpoint *checkpoint, const dp_tensor *tensor, uint64_t offset,
                                    void *data, size_t size);

#endif
