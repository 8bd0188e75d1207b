/* plan.h: what an output file will hold, decided in full before anything is written: for each stored tensor its name,
 * dtype, shape, where its values come from and what happens to them on the way. Floor 5. */
#ifndef DP_PLAN_H
#define DP_PLAN_H

#include "convert/mixture.h"
#include "convert/source.h"

typedef struct dp_item {
    const char *name; /* as the output spells it */
    dp_dtype dtype;
    int32_t n_dims;
    int64_t shape[4];  /* outermost first */
    uint64_t size;     /* bytes as stored */
    size_t first_part; /* into plan.parts: source tensors, one after another along the first dimension */
    size_t part_count;
    const void *data;      /* or the bytes themselves, for tensors that only this output has */
    int64_t head_dim;      /* > 0: rows are put into pair order within heads of that many rows */
    bool plus_one;         /* norms that are to contain the 1 */
    int32_t layer, expert; /* -1: belongs to none */
    int32_t rank;          /* sort keys */
    size_t index;
} dp_item;

typedef struct dp_plan {
    dp_arena arena;
    const dp_source *source;
    dp_item *items;
    size_t count;
    size_t *parts;
} dp_plan;

/* One item per source tensor, for RDRR: the embedding, the layers in order, the rest. Experts follow the dense tensors
 * of their layer, or with experts_last those of all layers; an expert's tensors stand together: gate, up, down, biases.
 */
dp_status dp_plan_canonical(const dp_source *source, const dp_mixture *mixture, bool experts_last, dp_plan *out);
void dp_plan_free(dp_plan *plan);
uint64_t dp_plan_bytes(const dp_plan *plan);
bool dp_plan_has_experts(const dp_plan *plan);

/* Memory of one thread that produces. Zero-initialise, dp_worker_free. */
typedef struct dp_worker {
    dp_scratch source, raw, rows, floats, chunk, out;
} dp_worker;
void dp_worker_free(dp_worker *worker);

/* Bytes [offset, offset + size) of an item as they are stored. Any thread, each with its own worker. */
typedef struct dp_range {
    uint64_t offset, size;
} dp_range;
dp_status dp_plan_produce(const dp_plan *plan, const dp_item *item, dp_range range, dp_worker *worker, void *out);

#endif
