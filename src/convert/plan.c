/* plan.c: the plan of an RDRR folder; see plan.h. */
#include "convert/plan.h"

#include <stdlib.h>

enum { CLASS_FIRST, CLASS_LAYERS, CLASS_LAST };

void dp_plan_free(dp_plan *plan) {
    dp_arena_free(&plan->arena);
    *plan = (dp_plan){0};
}

uint64_t dp_plan_bytes(const dp_plan *plan) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < plan->count; i++) bytes += plan->items[i].size;
    return bytes;
}

bool dp_plan_has_experts(const dp_plan *plan) {
    for (size_t i = 0; i < plan->count; i++)
        if (plan->items[i].expert >= 0) return true;
    return false;
}

/* Place of a tensor within its expert. */
static int32_t expert_rank(const char *name) {
    static const char *const order[] = {".gate_proj.weight", ".w1.weight",        ".up_proj.weight",
                                        ".w3.weight",        ".down_proj.weight", ".w2.weight"};
    for (size_t i = 0; i < DP_COUNT(order); i++)
        if (dp_str_ends(dp_str_of(name), order[i])) return (int32_t)i;
    return DP_COUNT(order);
}

static int32_t dense_class(const dp_item *item) {
    if (item->layer >= 0) return CLASS_LAYERS;
    return strstr(item->name, "embed_tokens") ? CLASS_FIRST : CLASS_LAST;
}

static int compare(const void *left, const void *right) {
    const dp_item *a = left, *b = right;
    if (a->rank != b->rank) return a->rank < b->rank ? -1 : 1;
    if (a->layer != b->layer) return a->layer < b->layer ? -1 : 1;
    if (a->expert != b->expert) return a->expert < b->expert ? -1 : 1;
    int32_t ra = a->expert >= 0 ? expert_rank(a->name) : 0, rb = b->expert >= 0 ? expert_rank(b->name) : 0;
    if (ra != rb) return ra < rb ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

static void fill(dp_item *item, const dp_source_tensor *t, const dp_mixture *mixture) {
    int64_t cols = t->n_dims ? t->shape[t->n_dims - 1] : 1;
    *item = (dp_item){.name = t->name, .n_dims = t->n_dims, .part_count = 1};
    memcpy(item->shape, t->shape, sizeof item->shape);
    item->dtype = dp_mixture_choose(mixture, &(dp_mixture_tensor){t->name, t->dtype, t->n_dims, cols});
    item->size = dp_dtype_bytes(item->dtype, t->elements);
    item->layer = dp_name_layer(t->name);
    item->expert = dp_name_expert(t->name);
}

dp_status dp_plan_canonical(const dp_source *source, const dp_mixture *mixture, bool experts_last, dp_plan *out) {
    dp_plan plan = {.source = source, .count = source->count};
    plan.items = dp_arena_calloc(&plan.arena, source->count, sizeof *plan.items);
    plan.parts = dp_arena_calloc(&plan.arena, source->count, sizeof *plan.parts);
    if (!plan.items || !plan.parts) {
        dp_plan_free(&plan);
        return dp_no_memory(source->count * (sizeof *plan.items + sizeof *plan.parts));
    }
    for (size_t i = 0; i < source->count; i++) {
        dp_item *item = &plan.items[i];
        fill(item, &source->tensors[i], mixture);
        item->first_part = item->index = i;
        item->rank = experts_last && item->expert >= 0 ? CLASS_LAST + 1 : dense_class(item);
        plan.parts[i] = i;
    }
    qsort(plan.items, plan.count, sizeof *plan.items, compare);
    *out = plan;
    return DP_OK;
}
