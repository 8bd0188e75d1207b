/* mixture.c: see mixture.h. A tensor's role comes from the end of its name; a role and the target give a type; the
 * shape then may force a fallback. */
#include "convert/mixture.h"

typedef enum role {
    ROLE_KEPT, /* not a matrix to quantise */
    ROLE_PLAIN,
    ROLE_OUTPUT,
    ROLE_EMBEDDING,
    ROLE_ATTN_V, /* also fused QKV and DeepSeek's KV up-projection */
    ROLE_ATTN_K,
    ROLE_ATTN_OUTPUT,
    ROLE_FFN_DOWN,
} role;

static const struct {
    const char *suffix;
    role role;
} roles[] = {
    {"lm_head.weight", ROLE_OUTPUT},
    {"embed_tokens.weight", ROLE_EMBEDDING},
    {".self_attn.v_proj.weight", ROLE_ATTN_V},
    {".self_attn.qkv_proj.weight", ROLE_ATTN_V},
    {".self_attn.kv_b_proj.weight", ROLE_ATTN_V},
    {".self_attn.k_proj.weight", ROLE_ATTN_K},
    {".self_attn.o_proj.weight", ROLE_ATTN_OUTPUT},
    {".down_proj.weight", ROLE_FFN_DOWN},
    {".w2.weight", ROLE_FFN_DOWN},
    {"norm.weight", ROLE_KEPT},
    {".mlp.gate.weight", ROLE_KEPT},
    {".mlp.router.weight", ROLE_KEPT},
    {".block_sparse_moe.gate.weight", ROLE_KEPT},
    {".weight", ROLE_PLAIN},
};

static const struct {
    const char *name, *label;
    dp_dtype base;
} targets[] = {
    [DP_QUANTIZE_KEEP] = {"keep", NULL, DP_F32},          [DP_QUANTIZE_Q4_K_M] = {"q4_k_m", "Q4_K_M", DP_Q4_K},
    [DP_QUANTIZE_Q5_K_M] = {"q5_k_m", "Q5_K_M", DP_Q5_K}, [DP_QUANTIZE_Q6_K] = {"q6_k", "Q6_K", DP_Q6_K},
    [DP_QUANTIZE_Q8_0] = {"q8_0", "Q8_0", DP_Q8_0},       [DP_QUANTIZE_F16] = {"f16", "F16", DP_F16},
    [DP_QUANTIZE_BF16] = {"bf16", "BF16", DP_BF16},       [DP_QUANTIZE_MXFP4] = {"mxfp4", "MXFP4", DP_Q8_0},
};

dp_status dp_quantize_parse(const char *text, dp_quantize *out) {
    dp_str wanted = text ? dp_str_of(text) : DP_LIT("keep");
    for (size_t i = 0; i < DP_COUNT(targets); i++)
        if (dp_str_is_nocase(wanted, targets[i].name)) {
            *out = (dp_quantize)i;
            return DP_OK;
        }
    return dp_fail(DP_E_ARG,
                   "quantize: unknown format \"" DP_STR_FMT
                   "\", expected keep, q4_k_m, q5_k_m, q6_k, q8_0, f16, bf16 or mxfp4",
                   DP_STR_ARG(wanted));
}

const char *dp_quantize_label(dp_quantize quantize) { return targets[quantize].label; }

static int32_t number_after(const char *name, const char *mark) {
    const char *at = strstr(name, mark);
    if (!at) return -1;
    at += strlen(mark);
    int32_t value = 0;
    const char *p = at;
    for (; *p >= '0' && *p <= '9' && value < 100000; p++) value = value * 10 + (*p - '0');
    return p > at && (*p == '.' || *p == 0) ? value : -1;
}

int32_t dp_name_layer(const char *name) { return number_after(name, "layers."); }
int32_t dp_name_expert(const char *name) { return number_after(name, ".experts."); }

static role role_of(const dp_mixture_tensor *tensor) {
    if (tensor->n_dims < 2 || strstr(tensor->name, "vision")) return ROLE_KEPT;
    for (size_t i = 0; i < DP_COUNT(roles); i++)
        if (dp_str_ends(dp_str_of(tensor->name), roles[i].suffix)) return roles[i].role;
    return ROLE_KEPT;
}

bool dp_mixture_quantizable(const dp_mixture_tensor *tensor) {
    return role_of(tensor) != ROLE_KEPT && dp_dtype_get(tensor->dtype)->dequantize;
}

static int32_t config_int(const dp_json *config, const char *key) {
    int64_t value = -1;
    if (dp_json_get_int(config, key, &value) != DP_OK || value < 0 || value > INT32_MAX) return -1;
    return (int32_t)value;
}

void dp_mixture_init(dp_mixture *mixture, dp_quantize quantize, const dp_json *config, bool tied) {
    static const char *const expert_keys[] = {"num_local_experts", "num_experts", "n_routed_experts"};
    const dp_json *text = dp_json_find(config, "text_config");
    if (text) config = text;
    *mixture = (dp_mixture){.quantize = quantize, .tied = tied, .layers = config_int(config, "num_hidden_layers")};
    for (size_t i = 0; i < DP_COUNT(expert_keys) && mixture->experts <= 0; i++)
        mixture->experts = config_int(config, expert_keys[i]);
    dp_str type = {"", 0};
    if (dp_json_get_str(config, "model_type", &type) != DP_OK) type = (dp_str){"", 0};
    mixture->seventy = mixture->layers == 80 && (dp_str_is(type, "llama") || dp_str_is(type, "qwen2"));
}

/* Half of the layers: the first and last eighth, and every third between. */
static bool more_bits(int32_t i, int32_t n) { return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2; }

static dp_dtype attn_v_type(const dp_mixture *mixture, dp_dtype type, bool more) {
    if (mixture->experts == 8) return DP_Q8_0; /* small beside the experts, and shared by all of them */
    if (more && (type == DP_Q4_K || type == DP_Q5_K)) return DP_Q6_K;
    return mixture->seventy && type == DP_Q4_K ? DP_Q5_K : type;
}

static dp_dtype mixture_type(const dp_mixture *mixture, const dp_mixture_tensor *tensor, role what) {
    dp_dtype type = targets[mixture->quantize].base;
    if (type == DP_F16 || type == DP_BF16) return type;
    if (mixture->quantize == DP_QUANTIZE_MXFP4) return strstr(tensor->name, ".experts.") ? DP_MXFP4 : DP_Q8_0;
    if (what == ROLE_EMBEDDING && mixture->tied) what = ROLE_OUTPUT;
    bool more = more_bits(dp_name_layer(tensor->name), mixture->layers);
    switch (what) {
    case ROLE_OUTPUT:
        return type == DP_Q8_0 || tensor->cols % 256 ? DP_Q8_0 : DP_Q6_K;
    case ROLE_ATTN_V:
        return attn_v_type(mixture, type, more);
    case ROLE_ATTN_K:
        return mixture->experts == 8 ? DP_Q8_0 : type;
    case ROLE_ATTN_OUTPUT:
        return mixture->experts == 8 && type == DP_Q4_K ? DP_Q5_K : type;
    case ROLE_FFN_DOWN:
        return more && (type == DP_Q4_K || type == DP_Q5_K) ? DP_Q6_K : type;
    default:
        return type;
    }
}

/* Rows that are no multiple of 256 take the nearest format of 32-element blocks, odd rows F16. */
static dp_dtype fit_shape(dp_dtype type, int64_t cols) {
    if (cols % 256) {
        if (type == DP_Q4_K) type = DP_Q5_0;
        if (type == DP_Q5_K) type = DP_Q5_1;
        if (type == DP_Q6_K) type = DP_Q8_0;
    }
    return cols % dp_dtype_get(type)->block ? DP_F16 : type;
}

static bool needs_more_bits(dp_dtype type, dp_dtype than) {
    const dp_dtype_info *a = dp_dtype_get(type), *b = dp_dtype_get(than);
    return (uint32_t)a->bytes * b->block > (uint32_t)b->bytes * a->block;
}

dp_dtype dp_mixture_choose(const dp_mixture *mixture, const dp_mixture_tensor *tensor) {
    const dp_dtype_info *now = dp_dtype_get(tensor->dtype);
    if (mixture->quantize == DP_QUANTIZE_KEEP || !now->dequantize) return tensor->dtype;
    role what = role_of(tensor);
    if (what == ROLE_KEPT) return strstr(tensor->name, "vision") ? tensor->dtype : DP_F32;
    dp_dtype type = fit_shape(mixture_type(mixture, tensor, what), tensor->cols);
    bool to_float = dp_dtype_get(type)->block == 1;
    return !to_float && now->block > 1 && !needs_more_bits(tensor->dtype, type) ? tensor->dtype : type;
}
