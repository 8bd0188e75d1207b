/* fast_attend.h: attention of up to DP_ATTEND_ROWS query rows over a range of positions, DP_ATTEND_STEP at a time with
 * a running maximum (online softmax, arXiv 1805.02867). K and V are converted as they are loaded; every load serves several rows.
 * Many rows: K is turned into a panel whose lanes are positions, then scores are a matrix product. Few rows: one dot
 * product per row and position. */
#ifndef DP_FAST_ATTEND_H
#define DP_FAST_ATTEND_H

#include "cpu/fast_panel.h"

/* VALUE_VECTORS: the columns of values, in vectors, that eight rows' sums take at a time: as many as there are registers for. */
enum { STEP = DP_ATTEND_STEP, PANEL_FROM_ROWS = 9, VALUE_VECTORS = VL == 16 ? 2 : 1 };
static const float NO_SCORE = -1e30f;

/* One step: positions [at, at + count) of one page. */
typedef struct attend_step {
    const dp_attend *job;
    int32_t at, count;
    const uint8_t *k, *v; /* of the first position */
    float *panel;         /* [k_dim][STEP] */
    float *lines;         /* [4][k_dim] */
    float *scores;        /* [rows][STEP], then e^(score - max) */
    float *shrink;        /* [rows]: what the sums so far are multiplied by */
} attend_step;

/* ---- scores ---- */

/* Four lines to four lanes of the panel, 4 x 4 at a time. */
INLINE void turn_lines(const float *line, int32_t stride, int32_t n, float *to) {
    typedef float quad __attribute__((vector_size(16), aligned(4), may_alias));
    int32_t i = 0;
    for (; i + 4 <= n; i += 4, line += 4, to += 4 * STEP) {
        quad a = *(const quad *)line, b = *(const quad *)(line + stride);
        quad c = *(const quad *)(line + 2 * stride), d = *(const quad *)(line + 3 * stride);
        quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
        *(quad *)to = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
        *(quad *)(to + STEP) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
        ab = __builtin_shufflevector(a, b, 2, 6, 3, 7);
        cd = __builtin_shufflevector(c, d, 2, 6, 3, 7);
        *(quad *)(to + 2 * STEP) = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
        *(quad *)(to + 3 * STEP) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    }
    for (; i < n; i++, line++, to += STEP)
        for (int j = 0; j < 4; j++) to[j] = line[j * stride];
}

INLINE void pack_keys(const attend_step *s, load_fn load, load1_fn load1, int bytes) {
    int32_t k_dim = s->job->k_dim;
    for (int32_t j = 0; j < s->count; j++) {
        const uint8_t *k = s->k + (size_t)j * (size_t)(k_dim * bytes);
        float *line = s->lines + j % 4 * k_dim;
        int32_t i = 0;
        for (; i + VL <= k_dim; i += VL) vf_store(line + i, load(k + i * bytes));
        for (; i < k_dim; i++) line[i] = load1(k + i * bytes);
        if (j % 4 == 3 || j + 1 == s->count) turn_lines(s->lines, k_dim, k_dim, s->panel + j / 4 * 4);
    }
}

/* STEP positions are one or several panels' worth of lanes. */
INLINE void score_panel(const attend_step *s, int32_t row, int count) {
    for (int lane = 0; lane < STEP; lane += PANEL_ROWS) {
        vf acc[PANEL_TOKENS_F32][PANEL_VECTORS] = {{{0}}};
        for (int32_t k = 0; k < s->job->k_dim; k++) {
            vf w[PANEL_VECTORS];
            for (int v = 0; v < PANEL_VECTORS; v++) w[v] = vf_load(s->panel + k * STEP + lane + v * VL);
            UNROLL(16)
            for (int t = 0; t < count; t++)
                for (int v = 0; v < PANEL_VECTORS; v++) acc[t][v] += w[v] * s->job->q[row + t][k];
        }
        for (int t = 0; t < count; t++)
            for (int v = 0; v < PANEL_VECTORS; v++) vf_store(s->scores + (row + t) * STEP + lane + v * VL, acc[t][v]);
    }
}

/* Four positions at once; `count` rows times four sums must fit the registers. */
INLINE void score_dots4(const attend_step *s, int32_t row, int count, int32_t j, load_fn load, int bytes) {
    size_t stride = (size_t)(s->job->k_dim * bytes);
    const uint8_t *k = s->k + (size_t)j * stride;
    vf acc[4][4] = {{{0}}};
    for (int32_t i = 0; i < s->job->k_dim; i += VL)
        for (int p = 0; p < 4; p++) {
            vf key = load(k + (size_t)p * stride + i * bytes);
            for (int t = 0; t < count; t++) acc[t][p] += key * vf_load(s->job->q[row + t] + i);
        }
    for (int t = 0; t < count; t++) vf_sum4(acc[t], s->scores + (row + t) * STEP + j);
}

INLINE void score_dots(const attend_step *s, int32_t row, int count, load_fn load, load1_fn load1, int bytes) {
    int32_t k_dim = s->job->k_dim, j = 0;
    if (k_dim % VL == 0 && count * 4 <= VL)
        for (; j + 4 <= s->count; j += 4) score_dots4(s, row, count, j, load, bytes);
    for (; j < s->count; j++) {
        const uint8_t *k = s->k + (size_t)j * (size_t)(k_dim * bytes);
        vf acc[4] = {{0}};
        int32_t i = 0;
        for (; i + VL <= k_dim; i += VL) {
            vf key = load(k + i * bytes);
            for (int t = 0; t < count; t++) acc[t] += key * vf_load(s->job->q[row + t] + i);
        }
        float rest[4] = {0};
        for (; i < k_dim; i++)
            for (int t = 0; t < count; t++) rest[t] += load1(k + i * bytes) * s->job->q[row + t][i];
        for (int t = 0; t < count; t++) s->scores[(row + t) * STEP + j] = vf_sum(acc[t]) + rest[t];
    }
}

INLINE void score(const attend_step *s, load_fn load, load1_fn load1, int bytes) {
    int32_t row = 0, rows = s->job->rows;
    if (rows >= PANEL_FROM_ROWS) {
        pack_keys(s, load, load1, bytes);
        for (; row + PANEL_TOKENS_F32 <= rows; row += PANEL_TOKENS_F32) score_panel(s, row, PANEL_TOKENS_F32);
        for (; row + 4 <= rows; row += 4) score_panel(s, row, 4);
        for (; row < rows; row++) score_panel(s, row, 1);
        return;
    }
    for (; row + 4 <= rows; row += 4) score_dots(s, row, 4, load, load1, bytes);
    for (; row < rows; row++) score_dots(s, row, 1, load, load1, bytes);
}

/* ---- softmax ---- */

INLINE vf cap_scores(vf x, float cap) {
    vf e = vf_exp(x * (2 / cap));
    return cap - 2 * cap / (e + 1);
}

/* Turns a row of scores into weights and moves its maximum and sum on. */
INLINE void weigh_row(const attend_step *s, int32_t row) {
    const dp_attend *job = s->job;
    int32_t last = job->position[row], first = job->window ? last - job->window + 1 : 0;
    int32_t end = DP_MIN(last + 1, s->at + s->count);
    bool whole = first <= s->at && end == s->at + STEP;
    float *scores = s->scores + row * STEP, before = job->max[row];
    vi lane, mask[STEP / VL];
    vf x[STEP / VL], most = vf_set(before);
    for (int i = 0; i < VL; i++) lane[i] = s->at + i;
    for (int j = 0; j < STEP / VL; j++, lane += VL) {
        x[j] = vf_load(scores + j * VL) * job->scale;
        if (job->softcap > 0) x[j] = cap_scores(x[j], job->softcap);
        if (!whole) {
            mask[j] = (lane >= first) & (lane < end);
            x[j] = vf_pick(mask[j], x[j], vf_set(NO_SCORE));
        }
        most = vf_max(most, x[j]);
    }
    float max = vf_most(most);
    vf sum = {0};
    for (int j = 0; j < STEP / VL; j++) {
        vf e = vf_exp(x[j] - max);
        if (!whole) e = vf_bits(vi_bits(e) & mask[j]);
        vf_store(scores + j * VL, e);
        sum += e;
    }
    s->shrink[row] = max > before ? vf_exp(vf_set(before - max))[0] : 1;
    job->max[row] = max;
    job->sum[row] = job->sum[row] * s->shrink[row] + vf_sum(sum);
}

/* ---- values ---- */

/* `vectors` columns of lanes of `count` rows. */
INLINE void add_columns(const attend_step *s, int32_t row, int count, int32_t i, int vectors, size_t stride, load_fn load, int bytes) {
    const dp_attend *job = s->job;
    float *sums = job->acc + row * job->v_dim + i;
    vf acc[8][2];
    UNROLL(8)
    for (int t = 0; t < count; t++)
        for (int v = 0; v < vectors; v++) acc[t][v] = vf_load(sums + t * job->v_dim + v * VL) * s->shrink[row + t];
    for (int32_t j = 0; j < s->count; j++) {
        vf value[2];
        for (int v = 0; v < vectors; v++) value[v] = load(s->v + (size_t)j * stride + (i + v * VL) * bytes);
        UNROLL(8)
        for (int t = 0; t < count; t++)
            for (int v = 0; v < vectors; v++) acc[t][v] += value[v] * s->scores[(row + t) * STEP + j];
    }
    UNROLL(8)
    for (int t = 0; t < count; t++)
        for (int v = 0; v < vectors; v++) vf_store(sums + t * job->v_dim + v * VL, acc[t][v]);
}

INLINE void add_values(const attend_step *s, int32_t row, int count, load_fn load, load1_fn load1, int bytes) {
    const dp_attend *job = s->job;
    size_t stride = (size_t)((s->k == s->v ? job->k_dim : job->v_dim) * bytes);
    int32_t i = 0;
    if (VALUE_VECTORS == 2)
        for (; i + 2 * VL <= job->v_dim; i += 2 * VL) add_columns(s, row, count, i, 2, stride, load, bytes);
    for (; i + VL <= job->v_dim; i += VL) add_columns(s, row, count, i, 1, stride, load, bytes);
    for (; i < job->v_dim; i++)
        for (int t = 0; t < count; t++) {
            float sum = job->acc[(row + t) * job->v_dim + i] * s->shrink[row + t];
            for (int32_t j = 0; j < s->count; j++) sum += load1(s->v + (size_t)j * stride + i * bytes) * s->scores[(row + t) * STEP + j];
            job->acc[(row + t) * job->v_dim + i] = sum;
        }
}

INLINE void attend_step_with(const attend_step *s, load_fn load, load1_fn load1, int bytes) {
    score(s, load, load1, bytes);
    for (int32_t r = 0; r < s->job->rows; r++) weigh_row(s, r);
    int32_t row = 0;
    for (; row + 8 <= s->job->rows; row += 8) add_values(s, row, 8, load, load1, bytes);
    for (; row + 4 <= s->job->rows; row += 4) add_values(s, row, 4, load, load1, bytes);
    for (; row < s->job->rows; row++) add_values(s, row, 1, load, load1, bytes);
}

/* Asks for the keys and values of the step at `at`. */
INLINE void fetch_step(const dp_attend *job, int32_t at, bool own_values) {
    size_t bytes = (size_t)DP_MIN(STEP, job->to - at) * (job->kv->type == DP_KV_F16 ? 2 : 4);
    const char *k = dp_cpu_kv_k(job->kv, job->layer, job->kv_head, at);
    const char *v = own_values ? dp_cpu_kv_v(job->kv, job->layer, job->kv_head, at) : k;
    for (size_t i = 0; i < bytes * (size_t)job->k_dim; i += LINE_BYTES) __builtin_prefetch(k + i);
    for (size_t i = 0; own_values && i < bytes * (size_t)job->v_dim; i += LINE_BYTES) __builtin_prefetch(v + i);
}

static void attend(const dp_attend *job) {
    attend_step s = {.job = job, .panel = job->scratch};
    s.lines = s.panel + job->k_dim * STEP;
    s.scores = s.lines + 4 * job->k_dim;
    s.shrink = s.scores + DP_ATTEND_ROWS * STEP;
    for (int32_t r = 0; r < job->rows; r++) {
        job->max[r] = NO_SCORE;
        job->sum[r] = 0;
    }
    memset(job->acc, 0, (size_t)job->rows * (size_t)job->v_dim * sizeof(float));
    /* lanes behind the last position are computed and masked: they must be numbers */
    memset(job->scratch, 0, (size_t)(job->k_dim * (STEP + 4) + DP_ATTEND_ROWS * (STEP + 1)) * sizeof(float));
    bool few = job->rows < PANEL_FROM_ROWS; /* decoding waits for memory */
    bool own_values = job->kv->layers[job->layer].spec.v_dim != 0;
    for (s.at = job->from; s.at < job->to; s.at += STEP) {
        s.count = DP_MIN(STEP, job->to - s.at);
        s.k = dp_cpu_kv_k(job->kv, job->layer, job->kv_head, s.at);
        s.v = own_values ? dp_cpu_kv_v(job->kv, job->layer, job->kv_head, s.at) : s.k;
        if (few && s.at + STEP < job->to) fetch_step(job, s.at + STEP, own_values);
        if (job->kv->type == DP_KV_F16) attend_step_with(&s, load_f16, load1_f16, 2);
        else attend_step_with(&s, load_f32, load1_f32, 4);
    }
}

#endif
