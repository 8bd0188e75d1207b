/* quant_k_search.c: finding the scale (and minimum) of each sub-block of the super-block formats. Instead of spanning
 * the range of the values, a number of slightly different scales is tried; for each the least-squares scale of the
 * codes that it leads to is taken, and the best of these is kept. Elements are weighted: large weights matter more. The
 * candidates and the order of all sums are those of llama.cpp's quantisers without importance matrix. */
#include "quant/quant_k_search.h"

void search_load(const float *x, int size, lanes *out) {
    for (int i = 0; i < size; i++) {
        for (int k = 0; k < LANES; k++) out[i][k] = x[k * size + i];
    }
}

/* ---- scale and minimum: x ~ scale * code + min, min <= 0 ---- */

typedef struct code_sums {
    lanes l, l2, xl; /* weighted sums of code, code^2 and x * code */
} code_sums;

static inline code_sums sum_codes(const range_search *s, lanes inverse, lanes min, lanes *codes) {
    code_sums sums = {lanes_all(0), lanes_all(0), lanes_all(0)};
    for (int i = 0; i < s->size; i++) {
        lanes code = lanes_clamp(lanes_round(inverse * (s->x[i] - min)), 0.0f, s->top);
        lanes weighted = s->weights[i] * code;
        codes[i] = code;
        sums.l += weighted;
        sums.l2 += weighted * code;
        sums.xl += weighted * s->x[i];
    }
    return sums;
}

static inline lanes range_error(const range_search *s, lanes scale, lanes min, const lanes *codes) {
    lanes error = lanes_all(0);
    if (s->absolute) {
        for (int i = 0; i < s->size; i++) error += s->weights[i] * lanes_abs(scale * codes[i] + min - s->x[i]);
        return error;
    }
    for (int i = 0; i < s->size; i++) {
        lanes difference = scale * codes[i] + min - s->x[i];
        error += s->weights[i] * (difference * difference);
    }
    return error;
}

range_fit search_range(const range_search *s) {
    lanes low = s->x[0], high = s->x[0], sum_w = s->weights[0], sum_x = sum_w * s->x[0];
    for (int i = 1; i < s->size; i++) {
        low = lanes_min(s->x[i], low);
        high = lanes_max(s->x[i], high);
        sum_w += s->weights[i];
        sum_x += s->weights[i] * s->x[i];
    }
    lanes min = lanes_min(low, lanes_all(0));
    lanes_mask constant = high - min < lanes_all(1e-30f); /* also where the reciprocal would overflow */
    high = lanes_select(constant, min + 1.0f, high);

    lanes codes[SEARCH_MAX];
    lanes inverse = s->top / (high - min), scale = 1.0f / inverse;
    sum_codes(s, inverse, min, codes);
    lanes best = range_error(s, scale, min, codes);
    for (int t = 0; t <= s->steps; t++) {
        inverse = (s->first + s->step * (float)t + s->top) / (high - min); /* min moves with the best fit so far */
        code_sums sums = sum_codes(s, inverse, min, codes);
        lanes determinant = sum_w * sums.l2 - sums.l * sums.l;
        lanes fit_scale = (sum_w * sums.xl - sum_x * sums.l) / determinant;
        lanes fit_min = (sums.l2 * sum_x - sums.l * sums.xl) / determinant;
        lanes_mask above = fit_min > lanes_all(0);
        fit_min = lanes_select(above, lanes_all(0), fit_min);
        fit_scale = lanes_select(above, sums.xl / sums.l2, fit_scale);
        lanes error = range_error(s, fit_scale, fit_min, codes);
        lanes_mask better = (determinant > lanes_all(0)) & (error < best);
        best = lanes_select(better, error, best);
        scale = lanes_select(better, fit_scale, scale);
        min = lanes_select(better, fit_min, min);
    }
    return (range_fit){lanes_select(constant, lanes_all(0), scale), -min};
}

/* ---- scale alone: x ~ scale * code, code from -half to half - 1, weights x^2 ---- */

/* The element of greatest magnitude in each lane; the first of equals. */
static lanes extreme_of(const lanes *x, int size) {
    lanes extreme = lanes_all(0);
    for (int i = 0; i < size; i++) {
        extreme = lanes_select(lanes_abs(x[i]) > lanes_abs(extreme), x[i], extreme);
    }
    return extreme;
}

/* Sub-blocks smaller than this become zeros. */
#define NEGLIGIBLE 1e-15f

typedef struct scale_sums {
    lanes lx, l2;
} scale_sums;

static inline scale_sums sum_scaled(const lanes *x, lanes inverse, float half, lanes *codes) {
    scale_sums sums = {lanes_all(0), lanes_all(0)};
    for (int i = 0; i < SEARCH_SYMMETRIC; i++) {
        lanes code = lanes_clamp(lanes_round(inverse * x[i]), -half, half - 1), weight = x[i] * x[i];
        codes[i] = code;
        sums.lx += weight * x[i] * code;
        sums.l2 += weight * code * code;
    }
    return sums;
}

lanes search_scale(const lanes *x, float half) {
    lanes extreme = extreme_of(x, SEARCH_SYMMETRIC), codes[SEARCH_SYMMETRIC];
    lanes_mask negligible = lanes_abs(extreme) < lanes_all(NEGLIGIBLE);
    extreme = lanes_select(negligible, lanes_all(1), extreme);
    scale_sums sums = sum_scaled(x, -half / extreme, half, codes);
    lanes scale = lanes_select(sums.l2 > lanes_all(0), sums.lx / sums.l2, lanes_all(0)), best = scale * sums.lx;
    for (int t = -9; t <= 9; t++) {
        if (t == 0) continue;
        sums = sum_scaled(x, -(half + 0.1f * (float)t) / extreme, half, codes);
        lanes_mask better = (sums.l2 > lanes_all(0)) & (sums.lx * sums.lx > best * sums.l2);
        scale = lanes_select(better, sums.lx / sums.l2, scale);
        best = lanes_select(better, scale * sums.lx, best);
    }
    return lanes_select(negligible, lanes_all(0), scale);
}

/* One pass of single-code changes that lower the error. Returns where a code changed. */
static lanes_mask improve_codes(const lanes *x, float half, lanes *codes, scale_sums *sums) {
    lanes_mask changed = {0};
    for (int i = 0; i < SEARCH_SYMMETRIC; i++) {
        lanes weight = x[i] * x[i];
        lanes lx = sums->lx - weight * x[i] * codes[i], l2 = sums->l2 - weight * codes[i] * codes[i];
        lanes_mask usable = lx > lanes_all(0);
        lanes code = lanes_clamp(lanes_round(x[i] * l2 / lanes_select(usable, lx, lanes_all(1))), -half, half - 1);
        lx += weight * x[i] * code;
        l2 += weight * code * code;
        lanes_mask better =
            usable & (code != codes[i]) & (l2 > lanes_all(0)) & (lx * lx * sums->l2 > sums->lx * sums->lx * l2);
        codes[i] = lanes_select(better, code, codes[i]);
        sums->lx = lanes_select(better, lx, sums->lx);
        sums->l2 = lanes_select(better, l2, sums->l2);
        changed |= better;
    }
    return changed;
}

lanes search_scale_by_codes(const lanes *x, float half) {
    lanes extreme = extreme_of(x, SEARCH_SYMMETRIC), codes[SEARCH_SYMMETRIC];
    lanes_mask negligible = lanes_abs(extreme) < lanes_all(NEGLIGIBLE);
    extreme = lanes_select(negligible, lanes_all(1), extreme);
    scale_sums sums = sum_scaled(x, -half / extreme, half, codes);
    for (int pass = 0; pass < 5 && lanes_any(improve_codes(x, half, codes, &sums)); pass++) {}
    lanes_mask usable = (sums.l2 > lanes_all(0)) & ~negligible;
    return lanes_select(usable, sums.lx / sums.l2, lanes_all(0));
}
