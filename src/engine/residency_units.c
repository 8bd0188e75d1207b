/* residency_units.c: cuts a program's weights into what is paged at once: the plain matrices of a layer, a matrix outside
 * the layers, an expert's matrices. See page/unit.h. */
#include "engine/residency_units.h"

#include "engine/weights.h"

static bool is_plain(const dp_program *program, const dp_op *op) {
    bool reads = op->kind == DP_OP_EMBED || op->kind == DP_OP_MATMUL || op->kind == DP_OP_HEAD_MATMUL;
    return reads && op->weight >= 0 && !program->weights[op->weight].experts;
}

static const dp_tensor *tensor_of(const dp_weight_source *source, int32_t expert) {
    return source->kind == DP_SOURCE_SEPARATE ? source->experts[expert] : source->tensor;
}

/* A matrix, of one expert: read where its bytes lie as they are used, else filled. */
static dp_status add_matrix(dp_pages *pages, const dp_builder *b, int32_t weight, int32_t expert) {
    const dp_weight *w = &b->program->weights[weight];
    const dp_weight_source *s = &b->sources[weight];
    uint64_t offset = s->kind == DP_SOURCE_STACKED ? (uint64_t)expert * w->bytes : 0;
    if (s->kind != DP_SOURCE_MXFP4_HF) {
        dp_status status = dp_units_add_stored(&pages->units, weight, (dp_unit_bytes){tensor_of(s, expert), offset, w->bytes});
        if (status != DP_E_UNSUPPORTED) return status;
    }
    return dp_units_add_filled(&pages->units, weight, w->bytes);
}

/* ---- plain matrices, in the order of the program ---- */

static dp_status add_plain(dp_pages *pages, const dp_builder *b) {
    const dp_program *program = b->program;
    dp_units *units = &pages->units;
    bool open = false;
    for (size_t i = 0; i < program->op_count; i++) {
        const dp_op *op = &program->ops[i];
        if (!is_plain(program, op) || pages->plain_of[op->weight] >= 0) continue;
        if (!open || op->layer < 0 || units->list[units->count - 1].layer != op->layer) {
            if (open) TRY(dp_units_end(units));
            TRY(dp_units_begin(units, op->layer, -1));
            open = true;
        }
        TRY(add_matrix(pages, b, op->weight, -1));
        pages->plain_of[op->weight] = (int32_t)units->count - 1;
    }
    pages->plain_count = (int32_t)units->count;
    return open ? dp_units_end(units) : DP_OK;
}

/* ---- experts ---- */

enum { PARTS_MAX = 8 };

static dp_status add_layer(dp_pages *pages, const dp_builder *b, int32_t layer, const int32_t *weights, int32_t count) {
    if (!dp_grow((void **)&pages->layers, &pages->layer_capacity, pages->layer_count + 1, sizeof *pages->layers))
        return dp_no_memory((pages->layer_count + 1) * sizeof *pages->layers);
    int32_t experts = b->program->weights[weights[0]].experts;
    pages->layers[pages->layer_count++] = (dp_page_layer){.layer = layer, .first_unit = (int32_t)pages->units.count, .experts = experts};
    for (int32_t e = 0; e < experts; e++) {
        TRY(dp_units_begin(&pages->units, layer, e));
        for (int32_t i = 0; i < count; i++) TRY(add_matrix(pages, b, weights[i], e));
        TRY(dp_units_end(&pages->units));
    }
    return DP_OK;
}

static dp_status add_experts(dp_pages *pages, const dp_builder *b) {
    const dp_program *program = b->program;
    for (size_t i = 0; i < program->op_count;) {
        int32_t layer = program->ops[i].layer, weights[PARTS_MAX], count = 0;
        for (; i < program->op_count && program->ops[i].layer == layer; i++)
            if (program->ops[i].kind == DP_OP_MOE_MATMUL && count < PARTS_MAX) weights[count++] = program->ops[i].weight;
        if (count) TRY(add_layer(pages, b, layer, weights, count));
    }
    return DP_OK;
}

static dp_status fill(void *user, int32_t weight, int32_t expert, void *out) { return dp_weights_fill(user, weight, expert, out); }

dp_status dp_residency_cut(dp_builder *builder, const dp_model_desc *desc, dp_pages *pages) {
    size_t weights = builder->program->weight_count;
    TRY(dp_units_init(&pages->units, builder->checkpoint));
    pages->program = builder->program;
    pages->units.mirrors = desc->mirrors;
    pages->units.mirror_count = desc->mirror_count;
    pages->units.fill = fill;
    pages->units.fill_user = builder;
    pages->plain_of = dp_malloc(weights * sizeof *pages->plain_of);
    if (!pages->plain_of) return dp_no_memory(weights * sizeof *pages->plain_of);
    for (size_t i = 0; i < weights; i++) pages->plain_of[i] = -1;
    if (!pages->experts_only) TRY(add_plain(pages, builder));
    return add_experts(pages, builder);
}
