/* gguf_plan.c: the plan of a GGUF file: GGUF names, experts stacked, rows of q and k in pair order where the
 * architecture wants it, Gemma's norms with their 1, vectors as F32, RoPE factors as tensors. */
#include "convert/gguf_write.h"
#include "format/gguf_config.h"

#include <stdlib.h>

enum { NAME_MAX_BYTES = 63 }; /* ggml's limit */

typedef struct planning {
    const dp_source *source;
    const dp_mixture *mixture;
    const dp_json *config;
    dp_gguf_arch arch;
    int32_t layers;
    dp_plan *plan;
    dp_map by_name;   /* GGUF name -> item */
    int64_t *item_of; /* [source tensor] item, -1: left out */
    int64_t *expert_of;
    dp_buf name;
} planning;

/* Multi-token prediction heads stand behind the layers of the model. */
static bool is_left_out(const planning *p, const char *name) {
    return p->layers > 0 && dp_name_layer(name) >= p->layers;
}

static dp_dtype type_of(const planning *p, const dp_source_tensor *t) {
    dp_mixture_tensor tensor = {t->name, t->dtype, t->n_dims, t->n_dims ? t->shape[t->n_dims - 1] : 1};
    if (!dp_mixture_quantizable(&tensor) && dp_dtype_get(t->dtype)->dequantize) return DP_F32;
    return dp_mixture_choose(p->mixture, &tensor);
}

static dp_status fill_item(planning *p, const dp_source_tensor *t, bool stacked, dp_item *item) {
    item->dtype = type_of(p, t);
    if (dp_dtype_get(item->dtype)->ggml_type < 0)
        return dp_fail(DP_E_UNSUPPORTED, "tensor %s: GGUF cannot hold %s", t->name, dp_dtype_get(t->dtype)->name);
    if (t->n_dims + stacked > 4) return dp_fail(DP_E_UNSUPPORTED, "tensor %s: too many dimensions for GGUF", t->name);
    item->n_dims = t->n_dims + stacked;
    memcpy(item->shape + stacked, t->shape, (size_t)t->n_dims * sizeof t->shape[0]);
    item->plus_one = p->arch == DP_GGUF_ARCH_GEMMA3 && dp_str_ends(dp_str_of(t->name), "norm.weight");
    int64_t heads = p->arch == DP_GGUF_ARCH_LLAMA ? dp_rope_heads(t->name, p->config) : 0;
    if (heads && t->shape[0] % (2 * heads))
        return dp_fail(DP_E_FORMAT, "tensor %s: %lld rows do not divide into %lld heads", t->name,
                       (long long)t->shape[0], (long long)heads);
    if (heads) item->head_dim = t->shape[0] / heads;
    return DP_OK;
}

static dp_status new_item(planning *p, const dp_source_tensor *t, int64_t expert, size_t *out) {
    dp_plan *plan = p->plan;
    dp_item *item = &plan->items[plan->count];
    *item = (dp_item){.layer = dp_name_layer(t->name), .expert = -1, .index = plan->count};
    item->name = dp_arena_copy(&plan->arena, p->name.data, p->name.size);
    if (!item->name) return dp_no_memory(p->name.size);
    if (p->name.size > NAME_MAX_BYTES)
        return dp_fail(DP_E_UNSUPPORTED, "tensor %s: its GGUF name %s is too long", t->name, item->name);
    TRY(fill_item(p, t, expert >= 0, item));
    TRY(dp_map_set(&p->by_name, (dp_str){item->name, p->name.size}, plan->count, NULL));
    *out = plan->count++;
    return DP_OK;
}

/* Finds or makes the item of source tensor i. */
static dp_status assign(planning *p, size_t i) {
    const dp_source_tensor *t = &p->source->tensors[i];
    p->item_of[i] = -1;
    if (is_left_out(p, t->name)) return DP_OK;
    dp_buf_clear(&p->name);
    if (!dp_gguf_name_from_hf(p->arch, dp_str_of(t->name), &p->name, &p->expert_of[i]))
        return p->name.failed ? dp_no_memory(64) : dp_fail(DP_E_UNSUPPORTED, "tensor %s has no name in GGUF", t->name);
    if (p->name.failed) return dp_no_memory(p->name.size);
    const uint64_t *known = dp_map_find(&p->by_name, (dp_str){p->name.data, p->name.size});
    size_t index = known ? (size_t)*known : 0;
    if (!known) TRY(new_item(p, t, p->expert_of[i], &index));
    dp_item *item = &p->plan->items[index];
    int64_t per_part = dp_shape_elements(item->shape, item->n_dims);
    if (p->expert_of[i] >= 0) per_part = dp_shape_elements(item->shape + 1, item->n_dims - 1);
    if (known && (p->expert_of[i] < 0 || t->elements != per_part))
        return dp_fail(DP_E_FORMAT, "tensor %s does not fit the others of %s", t->name, item->name);
    item->part_count++;
    p->item_of[i] = (int64_t)index;
    return DP_OK;
}

/* Room for the parts of each item, one after another; then every source tensor to its place. */
static dp_status place_parts(planning *p) {
    dp_plan *plan = p->plan;
    size_t at = 0;
    for (size_t i = 0; i < plan->count; i++) {
        plan->items[i].first_part = at;
        at += plan->items[i].part_count;
    }
    memset(plan->parts, 0xff, p->source->count * sizeof *plan->parts);
    for (size_t i = 0; i < p->source->count; i++) {
        if (p->item_of[i] < 0) continue;
        dp_item *item = &plan->items[p->item_of[i]];
        int64_t expert = DP_MAX(p->expert_of[i], 0);
        if (expert >= (int64_t)item->part_count || plan->parts[item->first_part + (size_t)expert] != SIZE_MAX)
            return dp_fail(DP_E_FORMAT, "tensor %s: the layer has %zu experts, numbered from 0 without gaps",
                           p->source->tensors[i].name, item->part_count);
        plan->parts[item->first_part + (size_t)expert] = i;
    }
    for (size_t i = 0; i < plan->count; i++) {
        dp_item *item = &plan->items[i];
        const dp_source_tensor *first = &p->source->tensors[plan->parts[item->first_part]];
        if (item->n_dims > first->n_dims) item->shape[0] = (int64_t)item->part_count;
        item->size = dp_dtype_bytes(item->dtype, first->elements) * item->part_count;
    }
    return DP_OK;
}

static dp_status add_rope_tensors(planning *p) {
    dp_plan *plan = p->plan;
    for (size_t i = 0;; i++) {
        const char *name;
        float *values;
        size_t count;
        TRY(dp_gguf_rope_tensor(p->config, i, &plan->arena, &name, &values, &count));
        if (!count) return DP_OK;
        if (dp_map_find(&p->by_name, dp_str_of(name))) continue;
        plan->items[plan->count] = (dp_item){.name = name,
                                             .dtype = DP_F32,
                                             .n_dims = 1,
                                             .shape = {(int64_t)count},
                                             .size = count * sizeof *values,
                                             .part_count = 1,
                                             .data = values,
                                             .layer = -1,
                                             .expert = -1,
                                             .index = plan->count};
        plan->count++;
    }
}

static int by_rank(const void *left, const void *right) {
    const dp_item *a = left, *b = right;
    if (a->rank != b->rank) return a->rank < b->rank ? -1 : 1;
    if (a->layer != b->layer) return a->layer < b->layer ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

/* As the GGUF it came from, if any; else what belongs to no layer first, as llama.cpp's tools write it. */
static dp_status order(planning *p, const dp_json *names) {
    dp_plan *plan = p->plan;
    dp_map places = {0};
    dp_status status = DP_OK;
    uint64_t place = 0;
    for (const dp_json *n = names && names->type == DP_JSON_ARRAY ? names->child : NULL; n && status == DP_OK;
         n = n->next)
        if (n->type == DP_JSON_STRING) status = dp_map_set(&places, n->string, place++, NULL);
    for (size_t i = 0; i < plan->count && status == DP_OK; i++) {
        const uint64_t *at = dp_map_find(&places, dp_str_of(plan->items[i].name));
        plan->items[i].rank = at && *at < INT32_MAX ? (int32_t)*at : INT32_MAX;
    }
    dp_map_free(&places);
    if (status == DP_OK) qsort(plan->items, plan->count, sizeof *plan->items, by_rank);
    return status;
}

enum { ROPE_TENSORS_MAX = 4 };

static dp_status make_plan(planning *p, const dp_json *names) {
    size_t n = p->source->count;
    dp_arena *arena = &p->plan->arena;
    p->plan->items = dp_arena_calloc(arena, n + ROPE_TENSORS_MAX, sizeof *p->plan->items);
    p->plan->parts = dp_arena_calloc(arena, n, sizeof *p->plan->parts);
    p->item_of = dp_arena_calloc(arena, n, sizeof *p->item_of);
    p->expert_of = dp_arena_calloc(arena, n, sizeof *p->expert_of);
    if (!p->plan->items || !p->plan->parts || !p->item_of || !p->expert_of)
        return dp_no_memory(n * (sizeof *p->plan->items + 3 * sizeof *p->item_of));
    for (size_t i = 0; i < n; i++) TRY(assign(p, i));
    TRY(place_parts(p));
    TRY(add_rope_tensors(p));
    return order(p, names);
}

dp_status dp_plan_gguf(const dp_source *source, const dp_mixture *mixture, const dp_output *output, dp_plan *out) {
    dp_plan plan = {.source = source};
    dp_str type = {"", 0};
    TRY(dp_json_get_str(output->config, "model_type", &type));
    const char *architecture = dp_gguf_arch_for_model_type(type);
    if (!architecture)
        return dp_fail(DP_E_UNSUPPORTED, "model_type \"" DP_STR_FMT "\" has no GGUF architecture", DP_STR_ARG(type));
    planning p = {.source = source,
                  .mixture = mixture,
                  .config = output->config,
                  .plan = &plan,
                  .arch = dp_gguf_arch_of(dp_str_of(architecture)),
                  .layers = mixture->layers};
    dp_status status = make_plan(&p, dp_json_find(output->gguf, "tensors"));
    dp_map_free(&p.by_name);
    dp_buf_free(&p.name);
    if (status != DP_OK) {
        dp_plan_free(&plan);
        return status;
    }
    *out = plan;
    return DP_OK;
}
