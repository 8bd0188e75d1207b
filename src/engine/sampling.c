/* sampling.c: candidates live in a heap by logit, so that only those that top-k and top-p let through are ever sorted. */
#include "engine/sampling.h"

#include <math.h>

typedef struct candidate {
    float logit;
    int32_t id;
} candidate;

struct dp_sampler {
    dp_sampling s;
    int32_t vocab;
    uint64_t drawn;    /* draws made: with the seed and an id they give a random number */
    float *logits;     /* [vocab] with penalty and temperature */
    candidate *heap;   /* [vocab] */
    float *weights;    /* [vocab] of the candidates kept */
};

dp_status dp_sampler_new(const dp_sampling *s, int32_t vocab, dp_sampler **out) {
    bool finite = isfinite(s->temperature) && isfinite(s->top_p) && isfinite(s->min_p) && isfinite(s->repetition_penalty);
    if (!finite || s->temperature < 0 || s->top_k < 0 || s->top_p < 0 || s->top_p > 1 || s->min_p < 0 || s->min_p > 1 ||
        s->repetition_penalty < 0 || s->repeat_last < 0)
        return dp_fail(
            DP_E_ARG,
            "sampling: temperature %g, top-k %d, top-p %g, min-p %g, repetition penalty %g: temperature, top-k and penalty "
            "must not be negative, top-p and min-p lie in 0 to 1",
            (double)s->temperature, (int)s->top_k, (double)s->top_p, (double)s->min_p, (double)s->repetition_penalty);
    dp_sampler *sampler = dp_calloc(1, sizeof *sampler);
    if (!sampler) return dp_no_memory(sizeof *sampler);
    *sampler = (dp_sampler){.s = *s, .vocab = vocab};
    sampler->logits = dp_malloc((size_t)vocab * sizeof *sampler->logits);
    sampler->heap = dp_malloc((size_t)vocab * sizeof *sampler->heap);
    sampler->weights = dp_malloc((size_t)vocab * sizeof *sampler->weights);
    if (!sampler->logits || !sampler->heap || !sampler->weights) {
        dp_sampler_free(sampler);
        return dp_no_memory((size_t)vocab * 16);
    }
    *out = sampler;
    return DP_OK;
}

void dp_sampler_free(dp_sampler *sampler) {
    if (!sampler) return;
    dp_free(sampler->logits);
    dp_free(sampler->heap);
    dp_free(sampler->weights);
    dp_free(sampler);
}

/* ---- heap: largest logit first, lower id first among equals ---- */

static bool before(candidate a, candidate b) { return a.logit > b.logit || (a.logit == b.logit && a.id < b.id); }

static void sift_down(candidate *heap, int32_t n, int32_t i) {
    for (;;) {
        int32_t child = 2 * i + 1;
        if (child >= n) return;
        if (child + 1 < n && before(heap[child + 1], heap[child])) child++;
        if (!before(heap[child], heap[i])) return;
        candidate swap = heap[i];
        heap[i] = heap[child];
        heap[child] = swap;
        i = child;
    }
}

/* Moves the best of heap[0..n) to heap[n - 1]. */
static candidate pop(candidate *heap, int32_t n) {
    candidate best = heap[0];
    heap[0] = heap[n - 1];
    heap[n - 1] = best;
    sift_down(heap, n - 1, 0);
    return best;
}

/* ---- the chain ---- */

/* As in CTRL (arXiv 1909.05858): positive logits are divided, negative ones multiplied, once per distinct id. */
static void penalise(dp_sampler *d, const float *logits, const int32_t *recent, size_t count) {
    float penalty = d->s.repetition_penalty;
    size_t window = d->s.repeat_last ? (size_t)d->s.repeat_last : 64;
    if (penalty == 0 || penalty == 1) return;
    for (size_t i = count > window ? count - window : 0; i < count; i++) {
        float logit = logits[recent[i]];
        d->logits[recent[i]] = logit > 0 ? logit / penalty : logit * penalty;
    }
}

static int32_t greatest(const float *logits, int32_t n) {
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

/* ---- the draw ---- */

/* A hash of four words (pcg4d, Jarzynski and Olano 2020), made of what every device has: 32-bit integers. */
static uint32_t hash(uint32_t x, uint32_t y, uint32_t z, uint32_t w) {
    uint32_t v[4] = {x, y, z, w};
    for (int i = 0; i < 4; i++) v[i] = v[i] * 1664525u + 1013904223u;
    for (int round = 0; round < 2; round++) {
        v[0] += v[1] * v[3];
        v[1] += v[2] * v[0];
        v[2] += v[0] * v[1];
        v[3] += v[1] * v[2];
        for (int i = 0; round == 0 && i < 4; i++) v[i] ^= v[i] >> 16;
    }
    return v[3];
}

/* The draw is a race (Gumbel's trick): each candidate's logit gets a random handicap -ln(-ln(1 - u)), and the greatest sum
 * wins, which happens to each with the probability that softmax gives it. Unlike a walk along sums of probabilities this
 * needs no order of candidates, so a device can run it in parallel and come to the same token. */
static double handicap(const dp_sampler *d, int32_t id) {
    uint32_t bits = hash((uint32_t)d->s.seed, (uint32_t)(d->s.seed >> 32), (uint32_t)d->drawn, (uint32_t)id);
    return -log(-log1p(-((double)bits + 0.5) / 4294967296.0));
}

typedef struct race {
    double best;
    int32_t winner;
} race;

/* A candidate so far behind that no handicap lets it win is not asked for one. */
static void run(const dp_sampler *d, race *r, float logit, int32_t id) {
    const double most = 22.9; /* a handicap's bound: -ln(2^-33) */
    if (r->winner >= 0 && (double)logit + most < r->best) return;
    double score = (double)logit + handicap(d, id);
    if (r->winner >= 0 && (score < r->best || (score == r->best && id > r->winner))) return;
    *r = (race){score, id};
}

/* The sum of exp(logit - top) over all candidates. */
static double total_weight(const dp_sampler *d, float top) {
    double sum = 0;
    for (int32_t i = 0; i < d->vocab; i++) sum += exp((double)(d->logits[i] - top));
    return sum;
}

/* Top-k, top-p (arXiv 1904.09751) and min-p (2407.01082): the number of candidates kept, which then stand at the end of the heap. */
static int32_t keep(dp_sampler *d) {
    int32_t n = d->vocab, most = d->s.top_k > 0 ? DP_MIN(d->s.top_k, n) : n, kept = 0;
    for (int32_t i = 0; i < n; i++) d->heap[i] = (candidate){d->logits[i], i};
    for (int32_t i = n / 2 - 1; i >= 0; i--) sift_down(d->heap, n, i);
    bool cut = most < n; /* then top-p is a share of these alone */
    float top = d->heap[0].logit;
    double share = d->s.top_p > 0 ? (double)d->s.top_p : 1;
    double total = cut || share == 1 ? 0 : total_weight(d, top), reached = 0;
    for (; kept < most; kept++) {
        candidate c = pop(d->heap, n - kept);
        double weight = exp((double)(c.logit - top));
        if (weight < (double)d->s.min_p || (!cut && kept > 0 && share < 1 && reached >= share * total)) break;
        d->weights[kept] = (float)weight;
        reached += weight;
    }
    if (!cut || share == 1) return kept;
    int32_t i = 0;
    for (double part = 0; i < kept && part < share * reached; i++) part += (double)d->weights[i];
    return i;
}

int32_t dp_sampler_draw(dp_sampler *d, const float *logits, const int32_t *recent, size_t count) {
    int32_t n = d->vocab;
    race r = {.winner = -1};
    memcpy(d->logits, logits, (size_t)n * sizeof *logits);
    penalise(d, logits, recent, count);
    if (d->s.temperature == 0) return greatest(d->logits, n);
    for (int32_t i = 0; i < n; i++) d->logits[i] /= d->s.temperature;
    bool all = (d->s.top_k == 0 || d->s.top_k >= n) && (d->s.top_p == 0 || d->s.top_p == 1) && d->s.min_p == 0;
    if (all) {
        for (int32_t i = 0; i < n; i++) run(d, &r, d->logits[i], i);
    } else {
        int32_t kept = keep(d);
        for (int32_t i = 0; i < kept; i++) run(d, &r, d->heap[n - 1 - i].logit, d->heap[n - 1 - i].id);
    }
    d->drawn++;
    return r.winner;
}

void dp_sampler_seek(dp_sampler *d, uint64_t drawn) { d->drawn = drawn; }
