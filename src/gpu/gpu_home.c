/* gpu_home.c: all experts of a program in host memory, repacked as the device keeps them, in buffers that it reads across the bus:
 * so it can fetch what a slot lacks without the host (gpu_fetch.c). A layer has one buffer; an expert's matrices lie one behind
 * the other in it, each its quants, then its scales. */
#include "gpu/gpu_plan.h"
#include "graph/pager.h"

enum { QUAD = 16 /* bytes that are copied at once */ };

/* ---- how it lies there ---- */

/* The experts behind the router at ops[route]; false if the kernel that fetches them cannot. */
static bool lay_out(const dp_gpu_backend *b, const dp_program *program, size_t route, dp_gpu_home *h) {
    *h = (dp_gpu_home){.layer = program->ops[route].layer};
    for (size_t i = route + 1; i < program->op_count && program->ops[i].layer == h->layer; i++) {
        if (program->ops[i].kind != DP_OP_MOE_MATMUL) continue;
        const dp_weight *w = &program->weights[program->ops[i].weight];
        dp_repack_size size = dp_gpu_part_bytes(w, 1);
        uint32_t each = 0;
        if (h->weight_count == DP_GPU_HOME_WEIGHTS || size.quants % QUAD || size.scales % QUAD) return false;
        if (dp_gpu_part_units(b, w, (uint32_t)w->experts, &each) != DP_OK || each != (uint32_t)w->experts) return false;
        h->at[h->weight_count] = h->expert_bytes;
        h->weights[h->weight_count++] = program->ops[i].weight;
        h->expert_bytes += size.quants + size.scales;
        h->experts = w->experts;
    }
    return h->weight_count > 0 && h->expert_bytes * (uint64_t)h->experts <= b->part_most;
}

uint64_t dp_gpu_home_bytes(dp_backend *base, const dp_program *program) {
    const dp_gpu_backend *b = (const dp_gpu_backend *)base;
    const dp_gpu_caps *caps = dp_gpu_get_caps(b->gpu);
    uint64_t bytes = 0;
    if (!b->reads_host || caps->storage_buffers < 2 * DP_GPU_HOME_WEIGHTS + 2) return 0;
    for (size_t i = 0; i < program->op_count; i++) {
        dp_gpu_home h;
        if (program->ops[i].kind != DP_OP_ROUTE) continue;
        if (!lay_out(b, program, i, &h)) return 0;
        bytes += h.expert_bytes * (uint64_t)h.experts + 2 * (uint64_t)caps->host_align;
    }
    return bytes;
}

/* ---- filling it ---- */

typedef struct filling {
    const dp_program *program;
    const dp_gpu_home *home;
    const int32_t *members;
    int32_t pieces; /* of an expert */
} filling;

static size_t elements_of(const dp_weight *w) { return (size_t)w->rows * (size_t)w->cols; }

static int32_t pieces_of(const dp_weight *w) { return dp_gpu_pieces(elements_of(w)); }

static void repack_piece(void *user, int32_t i, int32_t thread) {
    const filling *f = user;
    int32_t expert = f->members[i / f->pieces], piece = i % f->pieces, k = 0;
    (void)thread;
    for (; piece >= pieces_of(&f->program->weights[f->home->weights[k]]); k++) piece -= pieces_of(&f->program->weights[f->home->weights[k]]);
    const dp_weight *w = &f->program->weights[f->home->weights[k]];
    dp_repack_size size = dp_gpu_part_bytes(w, 1);
    uint8_t *to = f->home->memory + (size_t)expert * f->home->expert_bytes + f->home->at[k];
    dp_gpu_repack_piece(w->dtype, w->expert[expert], elements_of(w), (size_t)piece, to, size.scales ? to + size.quants : NULL);
}

/* ids: [experts]: room. */
static dp_status fill_group(dp_gpu_backend *b, filling *f, const dp_page_group *group, int32_t *ids) {
    int32_t count = 0;
    for (int32_t e = 0; e < f->home->experts; e++)
        if (!group->member || group->member[e]) ids[count++] = e;
    f->members = ids;
    dp_pool_run(b->pool, repack_piece, f, count * f->pieces);
    return DP_OK;
}

static dp_status fill_layer(dp_gpu_backend *b, const dp_program *program, const dp_gpu_home *h, int32_t *ids) {
    dp_pager *below = program->pager->api->below(program->pager);
    filling f = {.program = program, .home = h};
    dp_page_group group = {.count = 1};
    for (int32_t k = 0; k < h->weight_count; k++) f.pieces += pieces_of(&program->weights[h->weights[k]]);
    for (int32_t e = 0; e < h->experts; e++) ids[e] = e;
    dp_status status = below->api->want(below, h->layer, ids, (size_t)h->experts);
    while (status == DP_OK && group.count) {
        status = below->api->next(below, &group);
        if (status == DP_OK && group.count) status = fill_group(b, &f, &group, ids);
    }
    below->api->done(below);
    program->pager->api->filled(program->pager, h->layer);
    return status;
}

static dp_status make(dp_gpu_backend *b, const dp_program *program, size_t route, dp_gpu_home **out) {
    dp_gpu_home *h = dp_malloc(sizeof *h);
    void *memory;
    if (!h) return dp_no_memory(sizeof *h);
    if (!lay_out(b, program, route, h)) {
        dp_free(h);
        return dp_fail(DP_E_UNSUPPORTED, "layer %d: its experts cannot have a home", (int)program->ops[route].layer);
    }
    dp_status status = dp_gpu_buffer_host(b->gpu, h->expert_bytes * (uint64_t)h->experts, "experts' home", &h->buffer, &memory);
    if (status != DP_OK) {
        dp_free(h);
        return status;
    }
    h->memory = memory;
    for (int32_t k = 0; k < h->weight_count; k++) ((dp_gpu_weight *)program->device)[h->weights[k]].home = h;
    *out = h;
    return DP_OK;
}

static dp_status make_filled(dp_gpu_backend *b, const dp_program *program, size_t route, dp_gpu_home **out) {
    TRY(make(b, program, route, out));
    int32_t *ids = dp_malloc((size_t)(*out)->experts * sizeof *ids);
    dp_status status = ids ? fill_layer(b, program, *out, ids) : dp_no_memory((size_t)(*out)->experts * sizeof *ids);
    dp_free(ids);
    return status;
}

dp_status dp_gpu_home_load(dp_gpu_backend *b, const dp_program *program, dp_progress_fn progress, void *user) {
    uint64_t total = dp_gpu_home_bytes(&b->base, program), done = 0;
    if (!program->pager || !program->pager->homed) return DP_OK;
    for (size_t i = 0; i < program->op_count; i++) {
        dp_gpu_home *h = NULL;
        if (program->ops[i].kind != DP_OP_ROUTE) continue;
        dp_status status = make_filled(b, program, i, &h);
        if (status != DP_OK) return dp_fail_in(status, "layer %d's experts, on their way to host memory that the GPU reads (misses: upload does without)", (int)program->ops[i].layer);
        done += h->expert_bytes * (uint64_t)h->experts;
        if (progress && !progress(user, "experts to memory", i + 1 < program->op_count && done < total ? done : total, total)) return dp_fail(DP_E_CANCELLED, "loading was cancelled");
    }
    return DP_OK;
}

void dp_gpu_home_free(dp_gpu_backend *b, const dp_program *program) {
    const dp_gpu_weight *weights = program->device;
    for (size_t i = 0; weights && i < program->weight_count; i++) {
        dp_gpu_home *h = weights[i].home;
        if (!h || h->weights[0] != (int32_t)i) continue;
        for (int32_t k = 1; k < h->weight_count; k++) ((dp_gpu_weight *)program->device)[h->weights[k]].home = NULL;
        dp_gpu_buffer_free(b->gpu, h->buffer);
        dp_free(h);
    }
}

const dp_gpu_home *dp_gpu_home_of(const dp_program *program, int32_t weight) {
    return ((const dp_gpu_weight *)program->device)[weight].home;
}

/* ---- from there to slots ---- */

static size_t add_moves(const dp_program *program, const dp_gpu_home *h, int32_t expert, int32_t slot, dp_gpu_move *moves) {
    size_t count = 0;
    for (int32_t k = 0; k < h->weight_count; k++) {
        const dp_gpu_part *part = ((const dp_gpu_weight *)program->device)[h->weights[k]].parts;
        dp_repack_size size = dp_gpu_part_bytes(&program->weights[h->weights[k]], 1);
        uint64_t at = (uint64_t)expert * h->expert_bytes + h->at[k];
        count += dp_gpu_moves(h->buffer, at, part, size, (uint64_t)slot, moves + count);
    }
    return count;
}

dp_status dp_gpu_home_bring(dp_gpu_backend *b, const dp_program *program, const dp_gpu_home *h, const dp_page_group *group) {
    dp_gpu_move moves[16 * 2 * DP_GPU_HOME_WEIGHTS];
    size_t count = 0;
    for (int32_t e = 0; e < h->experts; e++) {
        if (!group->member[e] || !group->arrives[e]) continue;
        if (count + 2 * DP_GPU_HOME_WEIGHTS > DP_COUNT(moves)) {
            TRY(dp_gpu_copy(b->gpu, moves, count));
            count = 0;
        }
        count += add_moves(program, h, e, group->slot[e], moves + count);
    }
    return count ? dp_gpu_copy(b->gpu, moves, count) : DP_OK;
}
