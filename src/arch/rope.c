/* rope.c: RoPE frequencies from a config. Sources: the papers of YaRN (arXiv 2309.00071) and LongRoPE (2402.13753) and the
 * published Llama 3.1 scaling rule. Everything is computed in double and rounded to f32 once. */
#include <math.h>

#include "arch/blocks.h"

#define PI 3.14159265358979323846

static double number(dp_builder *b, const dp_json *object, const char *key, double fallback) {
    if (b->status == DP_OK) b->status = dp_json_get_double(object, key, &fallback);
    return fallback;
}

/* Llama 3.1: long wavelengths are stretched by `factor`, short ones kept, those between blended. */
static void scale_llama3(dp_builder *b, const dp_json *scaling, double *f, int32_t n) {
    double factor = number(b, scaling, "factor", 8), low = number(b, scaling, "low_freq_factor", 1);
    double high = number(b, scaling, "high_freq_factor", 4), old = number(b, scaling, "original_max_position_embeddings", 8192);
    for (int32_t i = 0; i < n; i++) {
        double wavelength = 2 * PI / f[i];
        double blend = (old / wavelength - low) / (high - low);
        if (wavelength > old / low) blend = 0;
        if (wavelength < old / high) blend = 1;
        f[i] = (1 - blend) * f[i] / factor + blend * f[i];
    }
}

static double yarn_scale(double factor, double m) { return factor <= 1 ? 1 : 0.1 * m * log(factor) + 1; }

/* The dimension whose wavelength makes `rotations` turns within the original context. */
static double correction_dim(double rotations, int32_t dim, double theta, double original) {
    return dim * log(original / (rotations * 2 * PI)) / (2 * log(theta));
}

/* YaRN: interpolates slow dimensions, keeps fast ones, ramps between; returns the scale of cos and sin. */
static double scale_yarn(dp_builder *b, const dp_json *scaling, double theta, bool truncate, double *f, int32_t n) {
    double factor = number(b, scaling, "factor", 1), original = number(b, scaling, "original_max_position_embeddings", b->shape.context);
    double low = correction_dim(number(b, scaling, "beta_fast", 32), 2 * n, theta, original);
    double high = correction_dim(number(b, scaling, "beta_slow", 1), 2 * n, theta, original);
    if (b->status == DP_OK) b->status = dp_json_get_bool(scaling, "truncate", &truncate);
    if (truncate) low = floor(low), high = ceil(high);
    low = DP_MAX(low, 0);
    high = DP_MIN(high, 2 * n - 1);
    if (low == high) high += 0.001;
    for (int32_t i = 0; i < n; i++) {
        double ramp = DP_MIN(DP_MAX((i - low) / (high - low), 0), 1);
        f[i] = f[i] / factor * ramp + f[i] * (1 - ramp);
    }
    double m = number(b, scaling, "mscale", 0), m_all = number(b, scaling, "mscale_all_dim", 0);
    double fallback = m > 0 && m_all > 0 ? yarn_scale(factor, m) / yarn_scale(factor, m_all) : yarn_scale(factor, 1);
    return number(b, scaling, "attention_factor", fallback);
}

/* LongRoPE: each frequency is divided by its own factor. */
static int32_t long_table(dp_builder *b, const dp_json *factors, const char *name, const double *f, int32_t n) {
    float table[512];
    if (!factors || factors->type != DP_JSON_ARRAY || (int32_t)factors->count != n) {
        dp_build_fail(b, DP_E_FORMAT, "config: rope_scaling needs %d numbers in short_factor and long_factor", (int)n);
        return -1;
    }
    const dp_json *v = factors->child;
    for (int32_t i = 0; i < n; i++, v = v->next) table[i] = (float)(f[i] / (v->type == DP_JSON_NUMBER ? v->number : 1));
    return dp_build_values(b, name, table, n);
}

static void scale_long(dp_builder *b, const dp_json *scaling, const dp_rope_desc *desc, const double *f, dp_rope *rope) {
    int32_t n = desc->dim / 2;
    double original = dp_build_int(b, "original_max_position_embeddings", 0);
    original = number(b, scaling, "original_max_position_embeddings", original > 0 ? original : b->shape.context);
    double factor = number(b, scaling, "factor", b->shape.context / original);
    double scale = number(b, scaling, "attention_factor", factor <= 1 ? 1 : sqrt(1 + log(factor) / log(original)));
    rope->scale = (float)number(b, scaling, "short_mscale", scale);
    rope->long_scale = (float)number(b, scaling, "long_mscale", scale);
    rope->long_context = (int32_t)original;
    rope->frequencies = long_table(b, dp_json_find(scaling, "short_factor"), desc->name, f, n);
    const char *name = dp_arena_printf(&b->program->arena, "%s.long", desc->name);
    if (name) rope->long_frequencies = long_table(b, dp_json_find(scaling, "long_factor"), name, f, n);
    else dp_build_fail(b, DP_E_MEMORY, "out of memory while building the program");
}

/* The object that holds the scaling, in either spelling; theta is updated if it stands there. */
static const dp_json *find_scaling(dp_builder *b, const dp_rope_desc *desc, double *theta) {
    const dp_json *params = dp_json_find(b->config, "rope_parameters");
    const dp_json *typed = desc->layer_type ? dp_json_find(params, desc->layer_type) : NULL;
    if (typed) params = typed;
    if (params) {
        *theta = number(b, params, "rope_theta", *theta);
        return params;
    }
    *theta = number(b, b->config, desc->theta_key ? desc->theta_key : "rope_theta", *theta);
    return desc->theta_key ? NULL : dp_json_find(b->config, "rope_scaling");
}

static bool is_kind(const dp_json *scaling, const char *kind) {
    const dp_json *type = dp_json_find(scaling, "rope_type");
    if (!type) type = dp_json_find(scaling, "type");
    return type && type->type == DP_JSON_STRING && dp_str_is(type->string, kind);
}

/* GGUF keeps Llama 3.1's rule as a tensor of divisors. */
static const char *const DIVISORS = "rope_freqs.weight";

static void apply(dp_builder *b, const dp_json *scaling, const dp_rope_desc *desc, double theta, double *f, dp_rope *rope) {
    int32_t n = desc->dim / 2;
    if (!scaling || is_kind(scaling, "default") || !(dp_json_find(scaling, "rope_type") || dp_json_find(scaling, "type"))) return;
    if (is_kind(scaling, "llama3")) scale_llama3(b, scaling, f, n);
    else if (is_kind(scaling, "linear")) {
        double factor = number(b, scaling, "factor", 1);
        for (int32_t i = 0; i < n; i++) f[i] /= factor;
    } else if (is_kind(scaling, "yarn")) {
        rope->scale = rope->long_scale = (float)scale_yarn(b, scaling, theta, !desc->exact_yarn, f, n);
        rope->yarn_factor = (float)number(b, scaling, "factor", 1);
    } else if (is_kind(scaling, "longrope") || is_kind(scaling, "su")) scale_long(b, scaling, desc, f, rope);
    else {
        dp_buf text = {0};
        dp_json_put(&text, scaling);
        dp_build_fail(b, DP_E_UNSUPPORTED, "config: RoPE scaling of an unknown kind: %.200s", text.failed ? "" : text.data);
        dp_buf_free(&text);
    }
}

static void divide_by_tensor(dp_builder *b, double *f, int32_t n) {
    const dp_tensor *t = b->status == DP_OK ? dp_checkpoint_find(b->checkpoint, DIVISORS) : NULL;
    float divisors[512];
    if (!t) return;
    if (t->dtype != DP_F32 || t->size != (uint64_t)n * sizeof(float)) {
        dp_build_fail(b, DP_E_FORMAT, "tensor %s: expected %d F32 values", DIVISORS, (int)n);
        return;
    }
    if (b->status == DP_OK) b->status = dp_checkpoint_read(b->checkpoint, t, 0, divisors, (size_t)t->size);
    for (int32_t i = 0; b->status == DP_OK && i < n; i++) f[i] /= (double)divisors[i];
}

dp_rope dp_build_rope(dp_builder *b, const dp_rope_desc *desc) {
    dp_rope rope = {.dim = desc->dim, .frequencies = -1, .long_frequencies = -1, .scale = 1, .long_scale = 1, .yarn_factor = 1};
    double theta = (double)desc->theta, f[512];
    int32_t n = desc->dim / 2;
    rope.pairs = b->checkpoint->rope_pairs;
    if (desc->dim < 2 || desc->dim % 2 || n > 512) {
        dp_build_fail(b, DP_E_UNSUPPORTED,
                      "config: RoPE over %d dimensions of a head (expected an even number up to 1024)", (int)desc->dim);
        return rope;
    }
    const dp_json *scaling = find_scaling(b, desc, &theta);
    if (!(theta > 0)) dp_build_fail(b, DP_E_FORMAT, "config: rope_theta is %g, expected a positive number", theta);
    for (int32_t i = 0; i < n; i++) f[i] = pow(theta, -2.0 * i / desc->dim);
    apply(b, scaling, desc, theta, f, &rope);
    divide_by_tensor(b, f, n);
    float table[512];
    for (int32_t i = 0; i < n; i++) table[i] = (float)f[i];
    if (rope.frequencies < 0) rope.frequencies = dp_build_values(b, desc->name, table, n);
    return rope;
}
