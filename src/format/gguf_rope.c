/* gguf_rope.c: RoPE scaling between GGUF and config.json.
 *
 *   Hugging Face                        GGUF
 *   linear                              rope.scaling.type "linear", .factor
 *   yarn                                "yarn", .factor, .original_context_length, .yarn_beta_fast, .yarn_beta_slow
 *   yarn with mscale_all_dim            .yarn_log_multiplier = 0.1 * mscale_all_dim
 *   llama3                              tensor rope_freqs.weight: what each frequency is divided by
 *   longrope                            tensors rope_factors_long.weight, rope_factors_short.weight, .attn_factor
 *
 * Reading keeps rope_freqs.weight a tensor and says nothing of llama3 in the config; long and short factors go into it.
 * Members are read in both spellings, rope_scaling + rope_theta and rope_parameters. */
#include "format/gguf_config.h"

#include "base/json_write.h"

#include <math.h>
#include <stdio.h>

enum { FACTORS_MAX = 4096 };

typedef struct keys {
    const dp_gguf *g;
    const char *architecture;
} keys;

static const char *key_text(const keys *k, const char *name, char *out, size_t size) {
    snprintf(out, size, "%s.rope.scaling.%s", k->architecture, name);
    return out;
}

static dp_status get_number(const keys *k, const char *name, double *out) {
    char key[128];
    return dp_gguf_get_double(k->g, key_text(k, name, key, sizeof key), out);
}

/* ---- GGUF -> config ---- */

static void put_number(dp_buf *json, const char *member, double value) {
    dp_json_add_double(json, member, (double)(float)value);
}

static void open_scaling(dp_buf *json, const char *type) {
    dp_json_open(json, "rope_scaling", '{');
    dp_json_add_text(json, "rope_type", type);
    dp_json_add_text(json, "type", type);
}

static void put_original(dp_buf *json, double length) {
    if (length > 0 && length < 1e9) dp_json_add_int(json, "original_max_position_embeddings", (int64_t)length);
}

static dp_status put_factors(dp_checkpoint *c, const char *tensor, const char *member, dp_buf *json) {
    const dp_tensor *t = dp_checkpoint_find(c, tensor);
    float values[FACTORS_MAX];
    if (!t || t->dtype != DP_F32 || t->n_dims != 1 || t->shape[0] > FACTORS_MAX)
        return dp_fail(DP_E_FORMAT, "%s: expected up to %d F32 values", tensor, FACTORS_MAX);
    TRY(dp_checkpoint_read(c, t, 0, values, (size_t)t->size));
    dp_json_open(json, member, '[');
    for (int64_t i = 0; i < t->shape[0]; i++) dp_json_add_double(json, NULL, (double)values[i]);
    dp_json_close(json, ']');
    return DP_OK;
}

static dp_status read_longrope(dp_checkpoint *c, const keys *k, dp_buf *json) {
    double original = 0, attention = 0;
    TRY(get_number(k, "original_context_length", &original));
    TRY(get_number(k, "attn_factor", &attention));
    put_original(json, original);
    open_scaling(json, "longrope");
    put_original(json, original);
    if (attention > 0) {
        put_number(json, "attention_factor", attention);
        put_number(json, "short_mscale", attention);
        put_number(json, "long_mscale", attention);
    }
    TRY(put_factors(c, "rope_factors_long.weight", "long_factor", json));
    TRY(put_factors(c, "rope_factors_short.weight", "short_factor", json));
    dp_json_close(json, '}');
    return DP_OK;
}

static dp_status read_yarn(const keys *k, double factor, dp_buf *json) {
    double original = 0, fast = 32, slow = 1, multiplier = 0, attention = 1;
    TRY(get_number(k, "original_context_length", &original));
    TRY(get_number(k, "yarn_beta_fast", &fast));
    TRY(get_number(k, "yarn_beta_slow", &slow));
    TRY(get_number(k, "yarn_log_multiplier", &multiplier));
    TRY(get_number(k, "attn_factor", &attention));
    open_scaling(json, "yarn");
    put_number(json, "factor", factor);
    put_number(json, "beta_fast", fast);
    put_number(json, "beta_slow", slow);
    put_original(json, original);
    if (multiplier > 0) {
        put_number(json, "mscale", multiplier / 0.1);
        put_number(json, "mscale_all_dim", multiplier / 0.1);
    } else if (attention > 0 && attention != 1) {
        put_number(json, "attention_factor", attention * (0.1 * log(factor) + 1));
    }
    if (strcmp(k->architecture, "gpt-oss") == 0) dp_json_add_bool(json, "truncate", false);
    dp_json_close(json, '}');
    return DP_OK;
}

dp_status dp_gguf_rope_read(dp_checkpoint *c, const dp_gguf *g, const char *architecture, dp_buf *json) {
    keys k = {g, architecture};
    char key[128];
    dp_str type = {"", 0};
    double factor = 0; /* none, as 1 */
    if (dp_checkpoint_find(c, "rope_factors_long.weight")) return read_longrope(c, &k, json);
    TRY(dp_gguf_get_str(g, key_text(&k, "type", key, sizeof key), &type));
    snprintf(key, sizeof key, "%s.rope.scale_linear", architecture); /* the older spelling of linear */
    TRY(dp_gguf_get_double(g, key, &factor));
    TRY(get_number(&k, "factor", &factor));
    bool linear = !type.n || dp_str_is(type, "linear");
    if (dp_str_is(type, "none") || factor == 0 || (linear && factor == 1)) return DP_OK;
    if (!(factor > 0))
        return dp_fail(DP_E_FORMAT, "metadata \"%s.rope.scaling.factor\": expected a number above 0", architecture);
    if (dp_str_is(type, "yarn")) return read_yarn(&k, factor, json);
    if (!linear) return dp_fail(DP_E_UNSUPPORTED, "RoPE scaling type \"" DP_STR_FMT "\"", DP_STR_ARG(type));
    open_scaling(json, "linear");
    put_number(json, "factor", factor);
    dp_json_close(json, '}');
    return DP_OK;
}

/* ---- config -> GGUF ---- */

/* The object with the scaling's members, NULL if there is none. Gemma 3 nests it per kind of layer in rope_parameters.
 */
static const dp_json *scaling_of(const dp_json *config) {
    const dp_json *parameters = dp_json_find(config, "rope_parameters");
    const dp_json *full = dp_json_find(parameters, "full_attention"), *scaling = dp_json_find(config, "rope_scaling");
    return scaling ? scaling : full ? full : parameters;
}

static dp_status type_of(const dp_json *scaling, dp_str *type) {
    *type = DP_LIT("default");
    TRY(dp_json_get_str(scaling, "type", type));
    TRY(dp_json_get_str(scaling, "rope_type", type));
    if (dp_str_is(*type, "su")) *type = DP_LIT("longrope");
    return DP_OK;
}

static void put_scaling(dp_gguf_kvs *kvs, const char *architecture, const char *name, double value) {
    char key[128];
    snprintf(key, sizeof key, "%s.rope.scaling.%s", architecture, name);
    dp_gguf_put_f32(kvs, key, (float)value);
}

static dp_status original_length(const dp_json *config, const dp_json *scaling, int64_t *out) {
    TRY(dp_json_get_int(config, "max_position_embeddings", out));
    TRY(dp_json_get_int(config, "original_max_position_embeddings", out));
    return dp_json_get_int(scaling, "original_max_position_embeddings", out);
}

static dp_status put_yarn(const dp_json *scaling, const char *architecture, dp_gguf_kvs *kvs) {
    double fast = 32, slow = 1, all = 0;
    TRY(dp_json_get_double(scaling, "beta_fast", &fast));
    TRY(dp_json_get_double(scaling, "beta_slow", &slow));
    TRY(dp_json_get_double(scaling, "mscale_all_dim", &all));
    put_scaling(kvs, architecture, "yarn_beta_fast", fast);
    put_scaling(kvs, architecture, "yarn_beta_slow", slow);
    if (all > 0) put_scaling(kvs, architecture, "yarn_log_multiplier", 0.1 * all);
    return DP_OK;
}

/* How much attention scores grow with the context, unless the config says. */
static dp_status put_longrope(const dp_json *config, const dp_json *scaling, const char *architecture,
                              dp_gguf_kvs *kvs) {
    int64_t longest = 0, original = 0;
    TRY(dp_json_get_int(config, "max_position_embeddings", &longest));
    TRY(original_length(config, scaling, &original));
    double factor = original > 0 ? (double)longest / (double)original : 1;
    double attention = factor > 1 && original > 1 ? sqrt(1 + log(factor) / log((double)original)) : 1;
    TRY(dp_json_get_double(scaling, "long_mscale", &attention));
    TRY(dp_json_get_double(scaling, "attention_factor", &attention));
    put_scaling(kvs, architecture, "attn_factor", attention);
    return DP_OK;
}

dp_status dp_gguf_rope_put(const dp_json *config, const char *architecture, dp_gguf_kvs *kvs) {
    const dp_json *scaling = scaling_of(config);
    char key[128];
    dp_str type;
    double factor = 1;
    int64_t original = 0;
    TRY(type_of(scaling, &type));
    TRY(dp_json_get_double(scaling, "factor", &factor));
    if (dp_str_is(type, "default") || dp_str_is(type, "llama3")) return DP_OK;
    bool yarn = dp_str_is(type, "yarn"), longrope = dp_str_is(type, "longrope");
    if (!yarn && !longrope && !dp_str_is(type, "linear"))
        return dp_fail(DP_E_UNSUPPORTED, "GGUF cannot express RoPE scaling \"" DP_STR_FMT "\"", DP_STR_ARG(type));
    if (yarn || longrope) {
        TRY(original_length(config, scaling, &original));
        snprintf(key, sizeof key, "%s.rope.scaling.original_context_length", architecture);
        dp_gguf_put_u32(kvs, key, (uint32_t)original);
    }
    if (longrope) return put_longrope(config, scaling, architecture, kvs);
    snprintf(key, sizeof key, "%s.rope.scaling.type", architecture);
    dp_gguf_put_str(kvs, key, type);
    put_scaling(kvs, architecture, "factor", factor);
    return yarn ? put_yarn(scaling, architecture, kvs) : DP_OK;
}

/* ---- config -> tensors ---- */

static dp_status head_dim_of(const dp_json *config, int64_t *out) {
    int64_t hidden = 0, heads = 0;
    TRY(dp_json_get_int(config, "hidden_size", &hidden));
    TRY(dp_json_get_int(config, "num_attention_heads", &heads));
    *out = heads > 0 ? hidden / heads : 0;
    TRY(dp_json_get_int(config, "head_dim", out));
    if (*out < 2 || *out > 2 * FACTORS_MAX) return dp_fail(DP_E_FORMAT, "config: head_dim is %lld", (long long)*out);
    return DP_OK;
}

/* Llama 3: high frequencies stay, low ones are divided by factor, those between are blended. */
static dp_status llama3_factors(const dp_json *config, dp_arena *arena, float **values, size_t *count) {
    const dp_json *scaling = scaling_of(config);
    double factor = 8, low = 1, high = 4, theta = 10000;
    int64_t original = 8192, dim;
    TRY(head_dim_of(config, &dim));
    TRY(dp_json_get_double(config, "rope_theta", &theta));
    TRY(dp_json_get_double(scaling, "rope_theta", &theta));
    TRY(dp_json_get_double(scaling, "factor", &factor));
    TRY(dp_json_get_double(scaling, "low_freq_factor", &low));
    TRY(dp_json_get_double(scaling, "high_freq_factor", &high));
    TRY(original_length(config, scaling, &original));
    size_t half = (size_t)dim / 2;
    float *out = dp_arena_calloc(arena, half, sizeof *out);
    if (!out) return dp_no_memory(half * sizeof *out);
    for (size_t i = 0; i < half; i++) {
        double wavelength = 2 * 3.14159265358979323846 * pow(theta, (double)(2 * i) / (double)dim);
        double smooth = ((double)original / wavelength - low) / (high - low);
        bool keep = wavelength<(double)original / high, divide = wavelength>(double) original / low;
        out[i] = (float)(keep ? 1 : divide ? factor : 1 / ((1 - smooth) / factor + smooth));
    }
    *values = out;
    *count = half;
    return DP_OK;
}

static dp_status listed_factors(const dp_json *array, dp_arena *arena, float **values, size_t *count) {
    if (!array || array->type != DP_JSON_ARRAY || array->count == 0 || array->count > FACTORS_MAX)
        return dp_fail(DP_E_FORMAT, "config: longrope without long_factor and short_factor");
    float *out = dp_arena_calloc(arena, array->count, sizeof *out);
    if (!out) return dp_no_memory(array->count * sizeof *out);
    size_t n = 0;
    for (const dp_json *m = array->child; m; m = m->next) out[n++] = m->type == DP_JSON_NUMBER ? (float)m->number : 1;
    *values = out;
    *count = n;
    return DP_OK;
}

dp_status dp_gguf_rope_tensor(const dp_json *config, size_t i, dp_arena *arena, const char **name, float **values,
                              size_t *count) {
    const dp_json *scaling = scaling_of(config);
    dp_str type;
    *count = 0;
    TRY(type_of(scaling, &type));
    if (dp_str_is(type, "llama3") && i == 0) {
        *name = "rope_freqs.weight";
        return llama3_factors(config, arena, values, count);
    }
    if (!dp_str_is(type, "longrope") || i > 1) return DP_OK;
    *name = i == 0 ? "rope_factors_long.weight" : "rope_factors_short.weight";
    return listed_factors(dp_json_find(scaling, i == 0 ? "long_factor" : "short_factor"), arena, values, count);
}
