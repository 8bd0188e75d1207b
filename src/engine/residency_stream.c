/* residency_stream.c: which layers' plain weights pass through slots on a device that has no room for all of them. Each pass
 * through the model needs them in the same order, so what is kept is kept for good: any rule that gave a layer's place to
 * another would have to bring it again. Those that pass are spread evenly between those that stay. Matrices outside the layers
 * - embedding and head - stay. */
#include "engine/residency.h"

enum { SLOTS = 2 };

typedef struct chooser {
    dp_residency *residency;
    const dp_program *program;
    int32_t *number; /* [weights]: of the layer among those that can pass, -1: the weight stays */
    int32_t layers;  /* that can */
    uint64_t plain;  /* bytes of all plain weights */
} chooser;

static bool may_pass(const dp_program *program, const dp_op *op) {
    return (op->kind == DP_OP_MATMUL || op->kind == DP_OP_HEAD_MATMUL) && op->layer >= 0 && !program->weights[op->weight].experts;
}

/* Numbers the layers in the order of their ops. What two layers read stays. */
static void find_layers(chooser *c) {
    enum { STAYS = -1, UNSEEN = -2, SHARED = -3 };
    int32_t last = -1;
    for (size_t i = 0; i < c->program->weight_count; i++) c->number[i] = UNSEEN;
    for (size_t i = 0; i < c->program->op_count; i++) {
        const dp_op *op = &c->program->ops[i];
        if (!may_pass(c->program, op)) continue;
        if (op->layer != last) c->layers++;
        last = op->layer;
        int32_t *number = &c->number[op->weight];
        *number = *number == UNSEEN || *number == c->layers - 1 ? c->layers - 1 : SHARED;
    }
    for (size_t i = 0; i < c->program->weight_count; i++)
        if (c->number[i] < 0) c->number[i] = STAYS;
}

/* Of `count` layers that pass, how many stand before this one. */
static int32_t passed_before(const chooser *c, int32_t layer, int32_t count) { return (int32_t)((int64_t)layer * count / c->layers); }

/* Lets `count` layers pass through so many slots; vram_plain becomes what plain weights take then. */
static dp_status try(chooser *c, int32_t count, int32_t slots) {
    dp_residency *r = c->residency;
    uint64_t taken;
    r->vram_plain = c->plain;
    for (size_t i = 0; i < c->program->weight_count; i++) {
        int32_t layer = c->number[i], unit = layer < 0 ? 0 : passed_before(c, layer, count);
        bool passes = layer >= 0 && passed_before(c, layer + 1, count) > unit;
        r->unit_of[i] = passes ? unit : -1;
        if (passes) r->vram_plain -= r->backend->api->weight_bytes(&c->program->weights[i]);
    }
    r->streamed = (dp_stream){.unit_of = r->unit_of, .units = count, .slots = slots};
    TRY(r->backend->api->stream_bytes(r->backend, c->program, &r->streamed, &taken));
    r->vram_plain += taken;
    return DP_OK;
}

static dp_status choose(chooser *c, uint64_t room) {
    uint64_t least = c->plain;
    for (int32_t slots = SLOTS; slots > 0; slots--) {
        for (int32_t count = slots + 1; count <= c->layers; count++) {
            TRY(try(c, count, slots));
            if (c->residency->vram_plain <= room) return DP_OK;
            least = DP_MIN(least, c->residency->vram_plain);
        }
    }
    c->residency->streamed.units = 0;
    c->residency->vram_plain = least;
    return DP_OK;
}

/* Whether host memory can hold what passes, so that no pass has to map or read it again. */
static bool is_kept(const dp_residency *r, const dp_program *program) {
    uint64_t bytes = 0, room = r->budget ? r->budget - DP_MIN(r->budget, r->base + r->first_session) : dp_host_memory_available();
    for (size_t i = 0; i < program->weight_count; i++)
        if (r->unit_of[i] >= 0) bytes += dp_weight_bytes(&program->weights[i]);
    return bytes <= room / 10 * 9;
}

dp_status dp_residency_stream(dp_residency *r, const dp_program *program, uint64_t room) {
    chooser c = {.residency = r, .program = program, .plain = r->vram_plain, .number = dp_malloc(program->weight_count * sizeof *c.number)};
    r->unit_of = dp_malloc(program->weight_count * sizeof *r->unit_of);
    dp_status status = c.number && r->unit_of ? DP_OK : dp_no_memory(program->weight_count * sizeof *c.number);
    if (status == DP_OK) {
        find_layers(&c);
        status = choose(&c, room);
        r->streamed.kept = status == DP_OK && is_kept(r, program);
    }
    dp_free(c.number);
    return status;
}
