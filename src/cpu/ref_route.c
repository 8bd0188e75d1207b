/* ref_route.c: the specification of expert selection. All four published routers choose the k best by a score; ties go
 * to the lower index. */
#include <math.h>

#include "cpu/ref.h"

/* Index of the largest of n scores that is not yet taken (taken scores are -INFINITY); 0 if all are. */
static int32_t best_of(const double *scores, int32_t n) {
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        if (scores[i] > scores[best]) best = i;
    return best;
}

static void softmax(double *x, int32_t n) {
    double max = x[best_of(x, n)], sum = 0;
    for (int32_t i = 0; i < n; i++) sum += x[i] = exp(x[i] - max);
    for (int32_t i = 0; i < n; i++) x[i] /= sum;
}

/* Takes the k best of scores (destroyed) into ids. */
static void take_top(double *scores, int32_t n, int32_t k, int32_t *ids) {
    for (int32_t i = 0; i < k; i++) {
        ids[i] = best_of(scores, n);
        scores[ids[i]] = -INFINITY;
    }
}

/* DeepSeek-V3: keeps the top_groups groups with the largest sum of their two best scores, masks the others. */
static void mask_groups(const dp_op *op, double *scores, int32_t n) {
    int32_t groups = op->route.groups, size = n / groups;
    bool keep[DP_ROUTE_GROUPS_MAX] = {false};
    double rank[DP_ROUTE_GROUPS_MAX];
    for (int32_t g = 0; g < groups; g++) {
        double first = -INFINITY, second = -INFINITY;
        for (int32_t i = g * size; i < (g + 1) * size; i++) {
            if (scores[i] > first) second = first, first = scores[i];
            else if (scores[i] > second) second = scores[i];
        }
        rank[g] = first + second;
    }
    for (int32_t i = 0; i < op->route.top_groups; i++) {
        int32_t g = best_of(rank, groups);
        keep[g] = true;
        rank[g] = -INFINITY;
    }
    for (int32_t i = 0; i < n; i++)
        if (!keep[i / size]) scores[i] = -INFINITY;
}

/* Phi-MoE: the weight of each choice is a softmax over the experts whose logit is within a relative margin of it;
 * `left` has -INFINITY at experts already taken. */
static void sparsemixer(const dp_op *op, const float *logits, int32_t n, double *left, int32_t *ids, float *weights) {
    for (int32_t i = 0; i < op->route.k; i++) {
        int32_t best = best_of(left, n);
        double top = left[best], sum = 0;
        for (int32_t e = 0; e < n; e++) {
            double logit = (double)logits[e], factor = DP_MAX(fabs(logit), top);
            if (left[e] != -INFINITY && (top - logit) / factor <= 2 * (double)op->route.jitter) sum += exp(left[e] - top);
        }
        ids[i] = best;
        weights[i] = (float)(1 / sum);
        left[best] = -INFINITY;
    }
}

static void route_token(const dp_op *op, const float *logits, const float *correction, int32_t n, double *scratch, int32_t *ids,
                        float *weights) {
    double *p = scratch, *choice = scratch + n, sum = 0;
    int32_t k = op->route.k;
    for (int32_t i = 0; i < n; i++) p[i] = choice[i] = (double)logits[i];
    switch (op->route.kind) {
    case DP_ROUTE_SPARSEMIXER: sparsemixer(op, logits, n, choice, ids, weights); return;
    case DP_ROUTE_SOFTMAX:
        softmax(p, n);
        take_top(choice, n, k, ids);
        break;
    case DP_ROUTE_TOPK_SOFTMAX: {
        take_top(choice, n, k, ids);
        double top = p[ids[0]];
        for (int32_t i = 0; i < k; i++) p[ids[i]] = exp(p[ids[i]] - top);
        break;
    }
    case DP_ROUTE_SIGMOID_GROUPS:
        for (int32_t i = 0; i < n; i++) {
            p[i] = 1 / (1 + exp(-p[i]));
            choice[i] = p[i] + (correction ? (double)correction[i] : 0);
        }
        if (op->route.groups > 1) mask_groups(op, choice, n);
        take_top(choice, n, k, ids);
        break;
    }
    for (int32_t i = 0; i < k; i++) sum += p[ids[i]];
    if (!op->route.normalise) sum = 1;
    else if (op->route.kind == DP_ROUTE_SIGMOID_GROUPS) sum += 1e-20;
    for (int32_t i = 0; i < k; i++) weights[i] = (float)(p[ids[i]] / sum * (double)op->route.scale);
}

dp_status dp_ref_route(dp_cpu_run *run, const dp_op *op) {
    int32_t n = run->program->slots[op->src].cols, k = op->route.k;
    const float *correction = dp_ref_vector(run, op->bias);
    int32_t *ids = (int32_t *)(void *)run->slots[op->dst2];
    double *scratch = dp_malloc((size_t)n * 2 * sizeof(double));
    if (!scratch) return dp_no_memory((size_t)n * 2 * sizeof(double));
    for (int32_t t = 0; t < run->step->count; t++)
        route_token(op, run->slots[op->src] + (size_t)t * (size_t)n, correction, n, scratch, ids + (size_t)t * (size_t)k,
                    run->slots[op->dst] + (size_t)t * (size_t)k);
    dp_free(scratch);
    return DP_OK;
}
