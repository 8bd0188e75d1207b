/* fast_attend.h: attention of up to DP_ATTEND_ROWS query rows over a range of positions, DP_ATTEND_STEP at a time with
 * a running maximum (online softmax). K and V are converted as they are loaded; every load serves several rows.
 * Many rows: K is turned into a panel whose lanes are positions, then scores are a matrix product. Few rows: one dot
 * product per row and position. */
#ifndef DP_FAST_ATTEND_H
#define DP_FAST_ATTEND_H

#include "cpu/fast_panel.h"

enum { STEP = DP_ATTEND_STEP, PANEL_FROM_ROWS = 9 };

/* One step: positions [at, at + count) of one page. */
typedef struct attend_step {
    const dp_attend *job;
    int32_t at, count;
    const uint8_t *k, *v; /* of the first position */
    float *panel;         /* [k_dim][STEP] */
    float *line;          /* [k_dim] */
    float *scores;        /* [rows][STEP], then e^(score - max) */
    float *shrink;        /* [rows]: what the sums so far are multiplied by */
} attend_step;

/* ---- scores ---- */

INLINE void pack_keys(const attend_step *s, load_fn load, load1_fn load1, int bytes) {
    int32_t k_dim = s->job->k_dim;
    for (int32_t j = 0; j < s->count; j++) {
        const uint8_t *k = s->k + (size_t)j * (size_t)(k_dim * bytes);
        int32_t i = 0;
        for (; i + VL <= k_dim; i += VL) vf_store(s->line + i, load(k + i * bytes));
        for (; i < k_dim; i++) s->line[i] = load1(k + i * bytes);
        for (i = 0; i < k_dim; i++) s->panel[i * STEP + j] = s->line[i];
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

INLINE void score_dots(const attend_step *s, int32_t row, int count, load_fn load, load1_fn load1, int bytes) {
    int32_t k_dim = s->job->k_dim;
    for (int32_t j = 0; j < s->count; j++) {
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
    float *scores = s->scores + row * STEP, before = job->max[row];
    vi lane, mask[STEP / VL];
    vf x[STEP / VL], most = vf_set(before);
    for (int i = 0; i < VL; i++) lane[i] = s->at + i;
    for (int j = 0; j < STEP / VL; j++, lane += VL) {
        mask[j] = (lane >= first) & (lane < end);
        x[j] = vf_load(scores + j * VL) * job->scale;
        if (job->softcap > 0) x[j] = cap_scores(x[j], job->softcap);
        most = vf_max(most, vf_pick(mask[j], x[j], most));
    }
    float max = before;
    for (int i = 0; i < VL; i++) max = DP_MAX(max, most[i]);
    vf sum = {0};
    for (int j = 0; j < STEP / VL; j++) {
        vf e = vf_bits(vi_bits(vf_exp(x[j] - max)) & mask[j]);
        vf_store(scores + j * VL, e);
        sum += e;
    }
    s->shrink[row] = vf_exp(vf_set(before - max))[0];
    job->max[row] = max;
    job->sum[row] = job->sum[row] * s->shrink[row] + vf_sum(sum);
}

/* ---- values ---- */

INLINE void add_values(const attend_step *s, int32_t row, int count, load_fn load, load1_fn load1, int bytes) {
    const dp_attend *job = s->job;
    size_t stride = (size_t)((s->k == s->v ? job->k_dim : job->v_dim) * bytes);
    int32_t i = 0;
    for (; i + VL <= job->v_dim; i += VL) {
        vf acc[8];
        UNROLL(8)
        for (int t = 0; t < count; t++) acc[t] = vf_load(job->acc + (row + t) * job->v_dim + i) * s->shrink[row + t];
        for (int32_t j = 0; j < s->count; j++) {
            vf value = load(s->v + (size_t)j * stride + i * bytes);
            UNROLL(8)
            for (int t = 0; t < count; t++) acc[t] += value * s->scores[(row + t) * STEP + j];
        }
        UNROLL(8)
        for (int t = 0; t < count; t++) vf_store(job->acc + (row + t) * job->v_dim + i, acc[t]);
    }
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

static void attend(const dp_attend *job) {
    attend_step s = {.job = job, .panel = job->scratch};
    s.line = s.panel + job->k_dim * STEP;
    s.scores = s.line + job->k_dim;
    s.shrink = s.scores + DP_ATTEND_ROWS * STEP;
    for (int32_t r = 0; r < job->rows; r++) {
        job->max[r] = -1e30f;
        job->sum[r] = 0;
    }
    memset(job->acc, 0, (size_t)job->rows * (size_t)job->v_dim * sizeof(float));
    /* lanes behind the last position are computed and masked: they must be numbers */
    memset(job->scratch, 0, (size_t)(job->k_dim * (STEP + 1) + DP_ATTEND_ROWS * (STEP + 1)) * sizeof(float));
    bool own_values = job->kv->layers[job->layer].spec.v_dim != 0;
    for (s.at = job->from; s.at < job->to; s.at += STEP) {
        s.count = DP_MIN(STEP, job->to - s.at);
        s.k = dp_cpu_kv_k(job->kv, job->layer, job->kv_head, s.at);
        s.v = own_values ? dp_cpu_kv_v(job->kv, job->layer, job->kv_head, s.at) : s.k;
        if (job->kv->type == DP_KV_F16) attend_step_with(&s, load_f16, load1_f16, 2);
        else attend_step_with(&s, load_f32, load1_f32, 4);
    }
}

#endif
