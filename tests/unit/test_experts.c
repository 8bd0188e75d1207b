/* Experts that a device lacks, computed by the CPU from slots of host memory: against plain sums over the weights; what then gets
 * a slot on the device; with threads that read, compute and look on at once. */
#include <stdatomic.h>

#include "cpu/cpu.h"
#include "graph/experts.h"
#include "host/host.h"
#include "paging.h"
#include "test.h"

enum { K = 2, EXPERTS = 8, WIDEST = 1024, SLOTS = 3 };

/* A model whose experts are paged in host memory, and a device above it. */
typedef struct stage {
    rig r;
    dp_device *device;
    dp_experts *experts;
    const dp_program *program;
    size_t route; /* of the first mixture */
} stage;

static dp_status open_stage(stage *s, int32_t host_slots) {
    char path[400];
    int32_t slots[64];
    *s = (stage){0};
    TRY(paging_convert("mixtral", ".rdrr", "keep", DP_SHARD_EXPERT, path));
    TRY(dp_engine_open(&(dp_engine_desc){.backend = DP_BACKEND_CPU, .threads = 2}, &s->r.engine));
    TRY(rig_open(&s->r, s->r.engine, path, &(dp_model_desc){.expert_slots = host_slots}, 1));
    for (size_t i = 0; i < DP_COUNT(slots); i++) slots[i] = SLOTS;
    TRY(dp_device_new(s->r.model->residency.pages, DP_CACHE_LRFU, slots, false, NULL, &s->device));
    s->program = s->r.model->built->program;
    while (s->program->ops[s->route].kind != DP_OP_ROUTE) s->route++;
    return dp_cpu_experts_open(&(dp_cpu_desc){.threads = 2}, s->program, &s->experts);
}

static void close_stage(stage *s) {
    if (s->experts) s->experts->api->close(s->experts);
    dp_device_free(s->device);
    rig_close(&s->r);
}

/* ---- plain sums ---- */

static float dot(const dp_weight *w, int32_t expert, int32_t row, const float *x) {
    float values[WIDEST];
    double sum = 0;
    dp_dtype_get(w->dtype)->dequantize((const char *)w->expert[expert] + (size_t)row * w->row_bytes, values, (size_t)w->cols);
    for (int32_t i = 0; i < w->cols; i++) sum += (double)values[i] * (double)x[i];
    return (float)sum;
}

/* Mixtral's expert behind its RMSNorm. */
static void plain(const stage *s, int32_t expert, const float *row, float *out) {
    const dp_op *gate = &s->program->ops[s->route + 1], *norm = gate;
    const dp_weight *w = &s->program->weights[gate->weight], *up = &s->program->weights[gate[1].weight], *down = &s->program->weights[gate[3].weight];
    float x[WIDEST], made[WIDEST];
    double squares = 0;
    while (norm->kind != DP_OP_NORM) norm--;
    const float *gain = s->program->weights[norm->weight].data;
    for (int32_t i = 0; i < w->cols; i++) squares += (double)row[i] * (double)row[i];
    for (int32_t i = 0; i < w->cols; i++) x[i] = (float)((double)row[i] / sqrt(squares / w->cols + (double)norm->norm.eps)) * gain[i];
    for (int32_t i = 0; i < w->rows; i++) {
        float g = dot(w, expert, i, x);
        made[i] = g / (1 + expf(-g)) * dot(up, expert, i, x);
    }
    for (int32_t i = 0; i < down->rows; i++) out[i] = dot(down, expert, i, made);
}

/* ---- a token ---- */

static int32_t columns(const stage *s) { return s->program->slots[s->experts->api->source(s->experts, s->route)].cols; }

static bool is_close(const stage *s, int32_t expert, const float *row, const float *out) {
    float expected[WIDEST];
    plain(s, expert, row, expected);
    for (int32_t i = 0; i < columns(s); i++)
        if (fabsf(expected[i] - out[i]) > 1e-4f) return false;
    return true;
}

/* Borrows what is in no slot and computes it; *computed, *came: how many experts. */
static dp_status borrow(stage *s, const int32_t *ids, int32_t count, const float *row, bool compares, int32_t *computed, int32_t *came) {
    dp_pager *pager = &s->device->base;
    int32_t layer = s->program->ops[s->route].layer;
    float memory[K][WIDEST], *out[K] = {memory[0], memory[1]};
    dp_page_group group;
    *computed = *came = 0;
    TRY(pager->api->borrow(pager, layer, ids, (size_t)count));
    for (;;) {
        int32_t some[K], n = 0;
        TRY(pager->api->next(pager, &group));
        if (!group.count) break;
        for (int32_t i = 0; i < count; i++)
            if (group.member[ids[i]]) some[n++] = ids[i], *came += group.arrives[ids[i]];
        TRY(s->experts->api->compute(s->experts, s->route, some, n, row, out));
        for (int32_t i = 0; compares && i < n; i++)
            if (!is_close(s, some[i], row, out[i])) return dp_fail(DP_E_ARG, "expert %d: another result", (int)some[i]);
        pager->api->computed(pager, n, 1e-6);
        *computed += n;
    }
    pager->api->done(pager);
    return DP_OK;
}

static void make_row(float *row, int n) {
    for (int i = 0; i < WIDEST; i++) row[i] = (float)((i * 31 + n * 17) % 101 - 50) / 37;
}

TEST(experts_of_a_token) {
    stage s;
    float row[WIDEST];
    int32_t computed, came, ids[K];
    CHECK_OK(open_stage(&s, 1)); /* in a single slot of host memory: one after the other */
    CHECK(s.experts->bytes > 0 && s.experts->api->source(s.experts, s.route) >= 0 && s.experts->api->source(s.experts, s.route + 1) == -1);
    for (int n = 0; n < EXPERTS; n++) {
        make_row(row, n);
        ids[0] = n, ids[1] = (n + 3) % EXPERTS;
        CHECK_OK(borrow(&s, ids, n % 2 + 1, row, true, &computed, &came));
    }
    CHECK_FAILS(s.experts->api->compute(s.experts, s.route, ids, K + 1, row, NULL), DP_E_ARG, "3 experts");
    CHECK_FAILS(s.experts->api->compute(s.experts, s.route + 1, ids, 1, row, NULL), DP_E_ARG, "not a mixture");
    CHECK_FAILS(borrow(&s, (int32_t[]){1, EXPERTS}, K, row, false, &computed, &came), DP_E_ARG, "expert 8 chosen");
    s.device->base.api->done(&s.device->base);
    close_stage(&s);
}

/* Empty slots are filled at once; then one of very many borrowed experts takes the place of one that was used less. */
TEST(what_gets_a_slot) {
    stage s;
    float row[WIDEST];
    int32_t computed, came, first = -1;
    make_row(row, 1);
    CHECK_OK(open_stage(&s, EXPERTS));
    dp_pager *pager = &s.device->base;
    int32_t layer = s.program->ops[s.route].layer;
    CHECK_OK(borrow(&s, (int32_t[]){0, 1}, 2, row, true, &computed, &came));
    CHECK(computed == 2 && came == 2 && pager->api->found(pager, layer, (int32_t[]){1, 0}, 2));
    CHECK_OK(borrow(&s, (int32_t[]){1, 2}, 2, row, true, &computed, &came));
    CHECK(computed == 1 && came == 1 && pager->api->found(pager, layer, (int32_t[]){2}, 1));
    for (int n = 0; n < 200 && first < 0; n++) {
        CHECK_OK(borrow(&s, (int32_t[]){5, 0}, 2, row, false, &computed, &came));
        CHECK(computed == 1);
        if (came) first = n;
    }
    CHECK_MSG(first == 127, "came at use %d", (int)first);
    const int32_t *where = pager->api->where(pager, layer);
    CHECK(where[5] >= 0 && where[0] >= 0 && where[1] >= 0 && where[2] < 0); /* used least */
    dp_paging_stats stats;
    dp_device_stats(s.device, &stats);
    CHECK(stats.computed == 131 && stats.reads == 4 && stats.evictions == 1 && stats.computed_bytes == 131 * (stats.read_bytes / 4));
    close_stage(&s);
}

/* ---- several threads ---- */

static void look_on(void *user) {
    stage *s = user;
    dp_paging_stats stats;
    for (int n = 0; n < 200; n++) {
        dp_device_stats(s->device, &stats);
        (void)dp_model_load_expert(s->r.model, 0, n % EXPERTS);
        (void)dp_model_evict_expert(s->r.model, 0, (n + 1) % EXPERTS);
        dp_thread_yield();
    }
}

TEST(while_others_load_and_evict) {
    stage s;
    float row[WIDEST];
    int32_t computed, came;
    dp_thread *other;
    make_row(row, 2);
    CHECK_OK(open_stage(&s, SLOTS));
    CHECK_OK(dp_thread_start(look_on, &s, &other));
    dp_status status = DP_OK;
    for (int n = 0; n < 60 && status == DP_OK; n++) status = borrow(&s, (int32_t[]){n % EXPERTS, (n + 5) % EXPERTS}, 2, row, true, &computed, &came);
    dp_thread_join(other);
    CHECK_OK(status);
    close_stage(&s);
}

/* ---- out of memory ---- */

static dp_status open_and_close(void *user) {
    const stage *s = user;
    dp_experts *experts;
    TRY(dp_cpu_experts_open(&(dp_cpu_desc){.threads = 1}, s->program, &experts));
    experts->api->close(experts);
    return DP_OK;
}

TEST(allocations_may_fail) {
    stage s;
    CHECK_OK(open_stage(&s, SLOTS));
    CHECK(test_failing_allocations(open_and_close, &s) > 5);
    close_stage(&s);
}

TEST_MAIN()
