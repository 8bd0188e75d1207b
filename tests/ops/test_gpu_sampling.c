/* Tokens drawn on the GPU against the host's sampler, on the same logits with the same seeds: every filter, vocabularies of odd
 * sizes, ties. A difference is allowed only where the two candidates' race, or a filter's border, is a tie within rounding,
 * which is checked in double precision. Skipped without a WebGPU device. */
#include "test.h"

#include "engine/sampling.h"
#include "gpu/gpu_backend.h"

enum { COLS = 32, CONTEXT = 160, PAST = 90 };

/* A program whose logits are the first column of its output matrix, as they are. */
typedef struct rig {
    dp_program program;
    dp_op ops[2];
    dp_slot slots[2];
    dp_weight weights[2];
    float one[COLS], *matrix, *logits;
    int32_t vocab;
    dp_backend *gpu;
    dp_plan *plan;
    dp_kv *kv;
} rig;

typedef enum shape { FLAT, STEEP, STEPS, EQUAL } shape;

static double uniform(uint64_t *seed) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return ((double)(*seed >> 11) + 0.5) / 9007199254740992.0;
}

static float logit_of(shape how, uint64_t *seed) {
    double normal = sqrt(-2 * log(uniform(seed))) * cos(6.283185307179586 * uniform(seed));
    if (how == EQUAL) return 2;
    if (how == STEPS) return (float)round(normal * 4) / 2;
    return (float)(normal * (how == FLAT ? 1 : 5));
}

static void rig_free(rig *r) {
    if (r->gpu) {
        r->gpu->api->plan_free(r->plan);
        r->gpu->api->kv_free(r->kv);
        r->gpu->api->unload(r->gpu, &r->program);
    }
    free(r->matrix);
    free(r->logits);
}

static dp_status rig_make(rig *r, dp_backend *gpu, int32_t vocab, shape how) {
    uint64_t seed = (uint64_t)vocab * 77 + how;
    const int32_t token = 0;
    *r = (rig){.one = {1}, .vocab = vocab, .gpu = gpu};
    r->matrix = calloc((size_t)vocab * COLS, sizeof(float));
    r->logits = calloc((size_t)vocab, sizeof(float));
    for (int32_t i = 0; i < vocab; i++) r->matrix[(size_t)i * COLS] = logit_of(how, &seed);
    r->slots[0] = (dp_slot){"x", DP_ROWS_TOKENS, COLS};
    r->slots[1] = (dp_slot){"y", DP_ROWS_OUTPUTS, vocab};
    r->weights[0] = (dp_weight){.name = "one", .dtype = DP_F32, .rows = 1, .cols = COLS, .row_bytes = COLS * 4, .bytes = COLS * 4, .data = r->one};
    r->weights[1] = (dp_weight){.name = "w", .dtype = DP_F32, .rows = vocab, .cols = COLS, .row_bytes = COLS * 4, .bytes = (uint64_t)vocab * COLS * 4, .data = r->matrix};
    r->ops[0] = (dp_op){.kind = DP_OP_EMBED, .layer = -1, .label = "embed", .dst = 0, .dst2 = -1, .src = -1, .src2 = -1, .weight = 0, .bias = -1, .embed = {1}};
    r->ops[1] = (dp_op){.kind = DP_OP_MATMUL, .layer = -1, .label = "head", .dst = 1, .dst2 = -1, .src = 0, .src2 = -1, .weight = 1, .bias = -1};
    r->program = (dp_program){.ops = r->ops, .op_count = 2, .slots = r->slots, .slot_count = 2, .weights = r->weights, .weight_count = 2, .vocab = vocab, .logits = 1};
    TRY(gpu->api->load(gpu, &r->program, NULL, NULL));
    TRY(gpu->api->plan_new(gpu, &r->program, (dp_plan_size){1, 1}, &r->plan));
    TRY(gpu->api->kv_new(gpu, &r->program, &(dp_kv_size){DP_KV_F16, CONTEXT, 1}, &r->kv));
    TRY(gpu->api->run(r->plan, &(dp_step){.tokens = &token, .count = 1, .outputs = 1, .context = CONTEXT, .kv = r->kv}));
    return gpu->api->read(r->plan, 1, 0, 1, r->logits);
}

/* ---- an account of a draw in double precision ---- */

typedef struct entry {
    double logit, before; /* before: the share of the weight that lies ahead of it in the order of filters */
    int32_t id;
} entry;

static int by_rank(const void *a, const void *b) {
    const entry *x = a, *y = b;
    return x->logit != y->logit ? (x->logit < y->logit ? 1 : -1) : (x->id > y->id) - (x->id < y->id);
}

/* The published pcg4d. */
static uint32_t pcg4d(uint32_t x, uint32_t y, uint32_t z, uint32_t w) {
    x = x * 1664525u + 1013904223u, y = y * 1664525u + 1013904223u, z = z * 1664525u + 1013904223u, w = w * 1664525u + 1013904223u;
    x += y * w, y += z * x, z += x * y, w += y * z;
    x ^= x >> 16, y ^= y >> 16, z ^= z >> 16, w ^= w >> 16;
    x += y * w, y += z * x, z += x * y, w += y * z;
    return w;
}

static double score(const dp_sampling *s, uint64_t drawn, const entry *e) {
    double u = ((double)pcg4d((uint32_t)s->seed, (uint32_t)(s->seed >> 32), (uint32_t)drawn, (uint32_t)e->id) + 0.5) / 4294967296.0;
    return e->logit - log(-log1p(-u));
}

/* Whether two answers differ by a tie: of their scores, or of one of them with a filter's border. */
static bool is_tie(const rig *r, const dp_sampling *s, const float *penalised, uint64_t drawn, int32_t a, int32_t b) {
    entry *all = malloc((size_t)r->vocab * sizeof *all), *x = NULL, *y = NULL;
    double sum = 0, part = 0, counted = 0;
    for (int32_t i = 0; i < r->vocab; i++) all[i] = (entry){(double)(penalised[i] / (s->temperature > 0 ? s->temperature : 1)), 0, i};
    qsort(all, (size_t)r->vocab, sizeof *all, by_rank);
    int32_t kept = s->top_k > 0 ? DP_MIN(s->top_k, r->vocab) : r->vocab;
    for (int32_t i = 0; i < r->vocab; i++) {
        double weight = exp(all[i].logit - all[0].logit);
        sum += weight;
        if (i < kept && weight >= (double)s->min_p) counted += weight;
    }
    if (kept < r->vocab) sum = counted;
    for (int32_t i = 0; i < r->vocab; i++) {
        all[i].before = part / sum;
        part += exp(all[i].logit - all[0].logit);
        if (all[i].id == a) x = &all[i];
        if (all[i].id == b) y = &all[i];
    }
    const double slack = 2e-6;
    bool tie = x && y && fabs(score(s, drawn, x) - score(s, drawn, y)) < 2e-5;
    for (int k = 0; k < 2 && x && y; k++) {
        const entry *e = k ? x : y;
        if (s->top_p > 0 && s->top_p < 1 && fabs(e->before - (double)s->top_p) < slack) tie = true;
        if (s->min_p > 0 && fabs(exp(e->logit - all[0].logit) - (double)s->min_p) < slack) tie = true;
        if (kept < r->vocab && fabs(e->logit - all[kept - 1].logit) < slack) tie = true; /* temperature may merge or part neighbours */
    }
    free(all);
    return tie;
}

/* ---- the comparison ---- */

static void penalise(const rig *r, const dp_sampling *s, const int32_t *ids, int32_t count, float *out) {
    int32_t window = s->repeat_last ? s->repeat_last : 64;
    memcpy(out, r->logits, (size_t)r->vocab * sizeof(float));
    if (s->repetition_penalty == 0) return;
    for (int32_t i = count > window ? count - window : 0; i < count; i++) {
        float logit = r->logits[ids[i]];
        out[ids[i]] = logit > 0 ? logit / s->repetition_penalty : logit * s->repetition_penalty;
    }
}

/* undecided: how many draws the device may leave to the host. */
static void compare(rig *r, const dp_sampling *s, int draws, int undecided) {
    int32_t ids[CONTEXT];
    dp_sampler *sampler = NULL;
    float *penalised = malloc((size_t)r->vocab * sizeof *penalised);
    for (int i = 0; i < PAST; i++) ids[i] = (int32_t)((uint32_t)(i * i * 31 + 7) % (uint32_t)r->vocab);
    CHECK_OK(dp_sampler_new(s, r->vocab, &sampler));
    for (int i = 0; i < draws; i++) {
        int32_t count = PAST + i, found;
        CHECK_OK(r->gpu->api->draw_begin(r->plan, &(dp_draw_rules){*s, (uint64_t)i, ids, count, CONTEXT}));
        CHECK_OK(r->gpu->api->draw(r->plan, NULL, true));
        CHECK_OK(r->gpu->api->drawn(r->plan, &found));
        dp_sampler_seek(sampler, (uint64_t)i);
        ids[count] = dp_sampler_draw(sampler, r->logits, ids, (size_t)count);
        if (found < 0) undecided--;
        if (found < 0 || found == ids[count]) continue;
        penalise(r, s, ids, count, penalised);
        CHECK_MSG(is_tie(r, s, penalised, (uint64_t)i, found, ids[count]),
                  "vocabulary %d, temperature %g, top-k %d, top-p %g, min-p %g, penalty %g, draw %d: %d (%g), expected %d (%g)", (int)r->vocab,
                  (double)s->temperature, (int)s->top_k, (double)s->top_p, (double)s->min_p, (double)s->repetition_penalty, i, (int)found,
                  found < r->vocab ? (double)r->logits[found] : NAN, (int)ids[count], (double)r->logits[ids[count]]);
    }
    CHECK_MSG(undecided >= 0, "vocabulary %d, top-k %d, top-p %g: %d draws too many left to the host", (int)r->vocab, (int)s->top_k, (double)s->top_p, -undecided);
    dp_sampler_free(sampler);
    free(penalised);
}

static const dp_sampling cases[] = {
    {0},
    {.repetition_penalty = 1.4f},
    {.repetition_penalty = 0.6f, .repeat_last = 5},
    {.temperature = 1, .seed = 1},
    {.temperature = 0.3f, .seed = 0x123456789abcdef0, .repetition_penalty = 1.2f, .repeat_last = 1000},
    {.temperature = 2, .min_p = 0.1f, .seed = 2},
    {.temperature = 1, .min_p = 1, .seed = 2},
    {.temperature = 1, .top_k = 1, .seed = 3},
    {.temperature = 1, .top_k = 40, .seed = 4},
    {.temperature = 1.5f, .top_k = 5, .min_p = 0.3f, .repetition_penalty = 1.1f, .seed = 5},
    {.temperature = 1, .top_p = 0.9f, .seed = 6},
    {.temperature = 0.7f, .top_p = 0.5f, .min_p = 0.02f, .seed = 7},
    {.temperature = 1, .top_p = 1e-6f, .seed = 8},
    {.temperature = 1, .top_p = 0.999f, .seed = 8},
    {.temperature = 0.8f, .top_k = 100, .top_p = 0.95f, .min_p = 0.05f, .seed = 9},
    {.temperature = 1, .top_k = 300, .top_p = 0.5f, .seed = 10},
};

static dp_backend *open_gpu(bool plain) {
    dp_backend *gpu = NULL;
    test_opened(dp_gpu_backend_open(&(dp_gpu_desc){.adapter = -1, .no_f16 = plain, .no_subgroups = plain, .unchecked = !plain}, &gpu));
    return gpu;
}

/* undecided: of the draws of one case. */
static void check(dp_backend *gpu, int32_t vocab, shape how, int draws, int undecided) {
    rig r;
    if (!gpu) return;
    dp_status status = rig_make(&r, gpu, vocab, how);
    if (status != DP_OK) test_fail(__FILE__, __LINE__, "%s", dp_error_message());
    for (size_t i = 0; status == DP_OK && i < DP_COUNT(cases); i++) compare(&r, &cases[i], draws, undecided);
    rig_free(&r);
}

static void close_gpu(dp_backend *gpu) {
    if (gpu) gpu->api->close(gpu);
}

TEST(small_vocabularies_draw_what_the_host_draws) {
    static const int32_t sizes[] = {1, 2, 7, 1000};
    dp_backend *gpu = open_gpu(true);
    for (size_t i = 0; i < DP_COUNT(sizes); i++)
        for (shape how = FLAT; how <= EQUAL; how++) check(gpu, sizes[i], how, 10, 0);
    close_gpu(gpu);
}

TEST(odd_vocabularies_draw_what_the_host_draws) {
    dp_backend *gpu = open_gpu(false);
    check(gpu, 1025, STEEP, 40, 0);
    check(gpu, 50257, FLAT, 25, 0);
    check(gpu, 50257, STEEP, 25, 0);
    close_gpu(gpu);
}

TEST(large_vocabularies_draw_what_the_host_draws) {
    dp_backend *gpu = open_gpu(false);
    check(gpu, 128256, STEEP, 25, 0);
    check(gpu, 262145, STEEP, 20, 0);
    check(gpu, 262144, FLAT, 20, 0);
    close_gpu(gpu);
}

/* So many equals that the device gives up on them rather than count them; it must not draw anything else. */
TEST(crowds_of_equals_are_left_to_the_host) {
    dp_backend *gpu = open_gpu(false);
    check(gpu, 50257, STEPS, 10, 10);
    check(gpu, 5000, EQUAL, 10, 10);
    close_gpu(gpu);
}

TEST_MAIN()
