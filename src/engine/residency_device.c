/* residency_device.c: which weights lie on a device with memory of its own. The sum that must stay below its budget:
 *
 *   plain      weights outside the experts: all, or, if these do not fit beside the rest, as many as fit beside slots that
 *              the other layers' pass through (residency_stream.c)
 *   slots      of all layers: as many as fit, at least the experts of one token
 *   sessions   activations and KV caches, full
 *
 * What is in no slot waits in host memory as residency.c's budget allows, or in files. */
#include "engine/residency.h"

enum { MB = 1000000 };

/* As numbers of megabytes, rounded up. */
static unsigned long long mb(uint64_t bytes) { return (bytes + MB - 1) / MB; }

typedef struct needs {
    uint64_t plain, experts; /* of all weights */
    uint64_t token;          /* the experts of one token in all layers */
} needs;

static needs needs_of(const dp_residency *r, const dp_program *program) {
    needs n = {0};
    for (size_t i = 0; i < program->weight_count; i++) {
        const dp_weight *w = &program->weights[i];
        uint64_t bytes = r->backend->api->weight_bytes(w);
        if (!w->experts) n.plain += bytes;
        n.experts += bytes * (uint64_t)w->experts;
        if (w->experts) n.token += bytes * (uint64_t)DP_MIN(w->experts, DP_MAX(r->used_experts, r->vram_slots));
    }
    return n;
}

static dp_status say_short(const dp_residency *r, const needs *n) {
    uint64_t least = r->vram_plain + r->vram_first + n->token, all = n->plain + n->experts + r->vram_first;
    if (!n->experts)
        return dp_fail(
            DP_E_MEMORY,
            "the budget of %llu MB of graphics memory is %llu MB short: one token needs %llu MB (%llu for embedding, head and slots that layers "
            "pass through, %llu for a session); with %llu MB everything fits",
            mb(r->vram), mb(least - r->vram), mb(least), mb(r->vram_plain), mb(r->vram_first), mb(all));
    return dp_fail(
        DP_E_MEMORY,
        "the budget of %llu MB of graphics memory is %llu MB short: one token needs %llu MB (%llu for weights outside the experts, with layers "
        "passing through, %llu for a session, %llu for %d experts a layer); with %llu MB no layer passes through, with %llu MB everything fits",
        mb(r->vram), mb(least - r->vram), mb(least), mb(r->vram_plain), mb(r->vram_first), mb(n->token),
        (int)DP_MAX(r->used_experts, r->vram_slots), mb(n->plain + n->token + r->vram_first), mb(all));
}

/* Without a budget, most of what the device is known to have counts as one if the model does not fit that. */
static void set_automatic_budget(dp_residency *r, const needs *n) {
    dp_device_memory memory;
    r->backend->api->memory(r->backend, &memory);
    uint64_t room = memory.total / 10 * 9;
    if (room && n->plain + n->experts + r->vram_first > room) r->vram = room;
}

dp_status dp_residency_init_device(dp_residency *r, const dp_builder *builder, const dp_model_desc *desc, bool *paged) {
    r->vram = desc->vram;
    r->vram_slots = desc->expert_slots;
    needs n = needs_of(r, builder->program);
    *paged = false;
    r->vram_plain = n.plain;
    r->vram_weights = n.plain + n.experts;
    if (desc->expert_slots && r->used_experts > desc->expert_slots)
        return dp_fail(DP_E_ARG, "%d slots a layer: on this device one token's %d experts must be there at once",
                       (int)desc->expert_slots, (int)r->used_experts);
    if (!r->vram && !desc->expert_slots) set_automatic_budget(r, &n);
    bool fits = !r->vram || n.plain + n.experts + r->vram_first <= r->vram;
    *paged = n.experts && (!fits || desc->expert_slots);
    uint64_t others = r->vram_first + n.token;
    if (fits || n.plain + others <= r->vram) return DP_OK;
    TRY(dp_residency_stream(r, builder->program, r->vram - DP_MIN(r->vram, others)));
    return r->streamed.units ? DP_OK : say_short(r, &n);
}

/* ---- host memory that the device reads by itself ---- */

/* What experts take on their way home: the largest layer's come together, and there is a slot for one of each layer at least. */
static uint64_t on_the_way(const dp_program *program) {
    uint64_t most = 0, each = 0, together = 0;
    for (size_t i = 0; i < program->op_count; i++) {
        if (program->ops[i].kind == DP_OP_ROUTE) together = 0;
        if (program->ops[i].kind != DP_OP_MOE_MATMUL) continue;
        const dp_weight *w = &program->weights[program->ops[i].weight];
        together += dp_weight_bytes(w);
        most = DP_MAX(most, together);
        each += w->bytes + DP_DIRECT;
    }
    return DP_MAX(most, each);
}

static uint64_t passing_bytes(const dp_residency *r, const dp_program *program) {
    uint64_t bytes = 0;
    for (size_t i = 0; r->streamed.units && i < program->weight_count; i++)
        if (r->unit_of[i] >= 0) bytes += r->backend->api->weight_bytes(&program->weights[i]);
    return bytes;
}

/* Whether it can be is a question of the device, and of host memory: the budget, or most of what is free. */
dp_status dp_residency_init_home(dp_residency *r, const dp_program *program, dp_misses misses, bool paged) {
    const dp_backend_api *api = r->backend->api;
    dp_device_memory device;
    api->memory(r->backend, &device);
    if (misses != DP_MISSES_FETCH && (misses != DP_MISSES_AUTO || device.unified)) return DP_OK;
    uint64_t home = paged && api->home_bytes ? api->home_bytes(r->backend, program) : 0, passing = passing_bytes(r, program);
    bool can = api->reads_host && api->reads_host(r->backend) && (home || !paged);
    uint64_t need = home + passing + on_the_way(program) + r->first_session + 8 * (uint64_t)MB, room = dp_host_memory_available() / 10 * 9;
    if (r->budget) room = DP_MIN(room, r->budget - DP_MIN(r->budget, r->base + r->budget / 20));
    if (can && need <= room) {
        r->home = home;
        r->passing = passing;
        r->streamed.fetched = passing > 0;
        return DP_OK;
    }
    if (misses != DP_MISSES_FETCH) return DP_OK;
    if (!can)
        return dp_fail(DP_E_UNSUPPORTED, "this GPU, or its driver, does not fetch this model's experts from host memory by itself (misses: "
                                         "upload, cpu and auto do without)");
    return dp_fail(DP_E_MEMORY,
                   "what the GPU is to fetch by itself needs %llu MB of host memory, of which the model may take %llu MB (misses: upload, "
                   "cpu and auto do with less)",
                   mb(need), mb(room));
}

/* ---- slots ---- */

/* What an expert of the layer takes on the device. */
static uint64_t expert_bytes(const dp_residency *r, const dp_program *program, const dp_page_layer *l) {
    const dp_unit *unit = &r->pages->units.list[l->first_unit];
    uint64_t bytes = 0;
    for (int32_t i = 0; i < unit->part_count; i++)
        bytes += r->backend->api->weight_bytes(&program->weights[r->pages->units.parts[unit->first_part + i].weight]);
    return bytes;
}

/* The same number for all layers, then one more for the first of them as long as that fits. */
static void deal_slots(dp_residency *r, const dp_program *program, int32_t *slots) {
    uint64_t one = 0, left = r->vram - r->vram_weights - r->vram_first, each;
    for (size_t i = 0; i < r->pages->layer_count; i++) one += expert_bytes(r, program, &r->pages->layers[i]);
    each = r->vram_slots ? (uint64_t)r->vram_slots : one ? left / one : 0;
    left = r->vram_slots ? 0 : left - each * one;
    for (size_t i = 0; i < r->pages->layer_count; i++) {
        const dp_page_layer *l = &r->pages->layers[i];
        uint64_t more = expert_bytes(r, program, l), count = each;
        if (left >= more) count++, left -= more;
        slots[i] = (int32_t)DP_MIN(count, (uint64_t)l->experts);
        r->vram_weights += (uint64_t)slots[i] * more;
    }
}

dp_status dp_residency_open_device(dp_residency *r, dp_program *program, dp_cache_policy policy) {
    size_t layers = r->pages ? r->pages->layer_count : 0;
    int32_t *slots = dp_calloc(layers + 1, sizeof *slots);
    if (!slots) return dp_no_memory(layers * sizeof *slots);
    r->vram_weights = r->vram_plain;
    if (r->pages) deal_slots(r, program, slots);
    dp_status status = dp_device_new(r->pages, policy, slots, r->home > 0, r->streamed.units ? &r->streamed : NULL, &r->device);
    dp_free(slots);
    if (status == DP_OK) program->pager = &r->device->base;
    return status;
}

dp_status dp_residency_reserve_device(dp_residency *r, uint64_t bytes) {
    uint64_t need = r->vram_weights + r->vram_sessions + bytes;
    if (r->vram && need > r->vram)
        return dp_fail(DP_E_MEMORY, "the budget of %llu MB of graphics memory is %llu MB short for this session", mb(r->vram),
                       mb(need - r->vram));
    r->vram_sessions += bytes;
    return DP_OK;
}
