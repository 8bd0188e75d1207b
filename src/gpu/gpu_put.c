/* gpu_put.c: takes experts that are in host memory to their slots. Their matrices are staged in batches, whose pieces the
 * backend's threads repack, while the device copies the batch before. */
#include "gpu/gpu_plan.h"

enum {
    SLAB_ELEMENTS = 1 << 20,
    BATCH_BYTES = DP_GPU_STAGE_BYTES
};

typedef dp_gpu_put_slab slab;

static const slab *slab_of(const dp_gpu_puts *puts, int32_t piece) {
    const slab *s = puts->slabs;
    while (s + 1 < puts->slabs + puts->count && s[1].first_piece <= piece) s++;
    return s;
}

static void repack_piece(void *user, int32_t i, int32_t thread) {
    (void)thread;
    const slab *s = slab_of(user, i);
    dp_gpu_repack_piece(s->dtype, s->blocks, s->elements, (size_t)(i - s->first_piece), s->memory,
                        s->size.scales ? s->memory + s->size.quants : NULL);
}

dp_status dp_gpu_put_end(dp_gpu_puts *puts) {
    dp_gpu *gpu = puts->backend->gpu;
    void *memory;
    size_t count = puts->count;
    if (!count) return DP_OK;
    TRY(dp_gpu_stage(gpu, puts->bytes, &memory));
    uint8_t *at = memory;
    for (size_t i = 0; i < count; at += puts->slabs[i].size.quants + puts->slabs[i].size.scales, i++) puts->slabs[i].memory = at;
    dp_pool_run(puts->backend->pool, repack_piece, puts, puts->pieces);
    puts->count = puts->bytes = 0;
    puts->pieces = 0;
    for (size_t i = 0; i < count; i++) {
        const slab *s = &puts->slabs[i];
        TRY(dp_gpu_stage_commit(gpu, s->size.quants, s->to->quants, s->quants_at));
        if (s->size.scales) TRY(dp_gpu_stage_commit(gpu, s->size.scales, s->to->scales, s->scales_at));
    }
    return dp_gpu_stage_send(gpu);
}

static dp_status add(dp_gpu_puts *puts, slab s) {
    size_t bytes = s.size.quants + s.size.scales;
    if (puts->count == DP_COUNT(puts->slabs) || puts->bytes + bytes > BATCH_BYTES) TRY(dp_gpu_put_end(puts));
    s.first_piece = puts->pieces;
    puts->slabs[puts->count++] = s;
    puts->bytes += bytes;
    puts->pieces += dp_gpu_pieces(s.elements);
    return DP_OK;
}

static const dp_gpu_part *part_of(const dp_gpu_weight *w, uint32_t unit) {
    const dp_gpu_part *part = w->parts;
    while (unit - part->first >= part->count) part++;
    return part;
}

/* Elements that are staged at once. */
static size_t slab_elements(dp_dtype dtype, size_t all) {
    size_t n = SLAB_ELEMENTS;
    while (n < all) {
        dp_repack_size size = dp_repack_bytes(dtype, 2 * n);
        if (size.quants + size.scales > BATCH_BYTES) break;
        n *= 2;
    }
    return n;
}

dp_status dp_gpu_put(dp_gpu_puts *puts, int32_t weight, int32_t expert, int32_t slot) {
    const dp_weight *w = &puts->program->weights[weight];
    const dp_gpu_part *part = part_of(&((const dp_gpu_weight *)puts->program->device)[weight], (uint32_t)slot);
    const dp_dtype_info *info = dp_dtype_get(w->dtype);
    size_t elements = (size_t)w->rows * (size_t)w->cols, most = slab_elements(w->dtype, elements);
    dp_repack_size all = dp_repack_bytes(w->dtype, elements);
    size_t place = (size_t)slot - part->first;
    for (size_t at = 0; at < elements; at += most) {
        dp_repack_size before = dp_repack_bytes(w->dtype, at);
        slab s = {.dtype = w->dtype,
                  .blocks = (const uint8_t *)w->expert[expert] + at / info->block * info->bytes,
                  .elements = DP_MIN(most, elements - at),
                  .to = part,
                  .quants_at = place * all.quants + before.quants,
                  .scales_at = place * all.scales + before.scales};
        s.size = dp_repack_bytes(w->dtype, s.elements);
        if (part->scales == part->quants) s.size.scales = 0;
        TRY(add(puts, s));
    }
    return DP_OK;
}
