/* arch.c: the list of families, and what is common to building any of them. */
#include "arch/families.h"

#include <stdio.h>

static const dp_arch *const families[] = {
#define FAMILY(name) &dp_arch_##name,
#include "arch/families.def"
#undef FAMILY
};

const dp_arch *dp_arch_find(dp_str model_type) {
    for (size_t i = 0; i < DP_COUNT(families); i++)
        for (const char *const *type = families[i]->model_types; *type; type++)
            if (dp_str_is(model_type, *type)) return families[i];
    return NULL;
}

/* A positive count, at most `limit`: keeps products of two within 64 bits and sizes within reason. */
static int32_t need_count(dp_builder *b, const char *key, int32_t limit) {
    int32_t value = dp_build_int(b, key, 0);
    if (value < 1 || value > limit)
        dp_build_fail(b, DP_E_FORMAT, "config: \"%s\" is %s%d, expected 1 to %d", key,
                      dp_json_find(b->config, key) ? "" : "missing or ", (int)value, (int)limit);
    return value;
}

static int32_t first_int(dp_builder *b, const char *const *keys) {
    int32_t value = 0;
    for (; *keys && value == 0; keys++) value = dp_build_int(b, *keys, 0);
    return value;
}

static void read_shape(dp_builder *b) {
    static const char *const expert_keys[] = {"num_local_experts", "num_experts", "n_routed_experts", NULL};
    static const char *const used_keys[] = {"num_experts_per_tok", "num_experts_per_token", NULL};
    dp_shape *s = &b->shape;
    s->layers = need_count(b, "num_hidden_layers", 4096);
    s->hidden = need_count(b, "hidden_size", 1 << 20);
    s->heads = need_count(b, "num_attention_heads", 4096);
    s->vocab = need_count(b, "vocab_size", 1 << 24);
    s->kv_heads = dp_build_int(b, "num_key_value_heads", s->heads);
    s->head_dim = dp_build_int(b, "head_dim", b->status == DP_OK ? s->hidden / s->heads : 0);
    s->intermediate = dp_build_int(b, "intermediate_size", 0);
    s->context = dp_build_int(b, "max_position_embeddings", 4096);
    s->experts = first_int(b, expert_keys);
    s->experts_per_token = first_int(b, used_keys);
    s->window = dp_build_int(b, "sliding_window", 0);
    s->norm_eps = dp_build_float(b, "rms_norm_eps", 1e-6f);
    s->tied = dp_build_bool(b, "tie_word_embeddings", false);
    if (b->status == DP_OK && (s->kv_heads < 1 || s->heads % s->kv_heads != 0 || s->head_dim < 1 ||
                               s->head_dim > 65536 || s->intermediate < 0 || s->intermediate > 1 << 24 ||
                               s->experts < 0 || s->experts > 65536 || s->context < 1 || s->window < 0))
        dp_build_fail(
            b, DP_E_FORMAT,
            "config: %d heads, %d KV heads, head_dim %d, intermediate_size %d, %d experts, context %d, window %d: impossible",
            (int)s->heads, (int)s->kv_heads, (int)s->head_dim, (int)s->intermediate, (int)s->experts, (int)s->context,
            (int)s->window);
}

static void say_unknown(dp_builder *b, dp_str type) {
    char known[300];
    size_t at = 0;
    known[0] = 0;
    for (size_t i = 0; i < DP_COUNT(families); i++)
        for (const char *const *name = families[i]->model_types; *name && at < sizeof known; name++)
            at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", at ? ", " : "", *name);
    if (type.n)
        dp_build_fail(b, DP_E_UNSUPPORTED, "architecture \"" DP_STR_FMT "\" is not supported; these are: %s",
                      DP_STR_ARG(type), known);
    else dp_build_fail(b, DP_E_FORMAT, "config: \"model_type\" is missing; expected one of %s", known);
}

static void build(dp_builder *b) {
    dp_str type = {0};
    b->status = dp_json_get_str(b->config, "model_type", &type);
    if (b->status != DP_OK) return;
    const dp_arch *family = dp_arch_find(type);
    if (!family) {
        say_unknown(b, type);
        return;
    }
    read_shape(b);
    if (b->status == DP_OK) family->build(b);
}

dp_status dp_arch_build(const dp_checkpoint *checkpoint, dp_builder **out) {
    dp_builder *b = dp_calloc(1, sizeof *b);
    if (!b) return dp_no_memory(sizeof *b);
    b->checkpoint = checkpoint;
    b->config = checkpoint->config;
    b->layer = -1;
    b->program = dp_calloc(1, sizeof *b->program);
    if (!b->program) b->status = dp_no_memory(sizeof *b->program);
    else build(b);
    dp_status status = b->status;
    if (status != DP_OK) dp_builder_free(b);
    else *out = b;
    return status;
}

void dp_builder_free(dp_builder *b) {
    if (!b) return;
    dp_program_free(b->program);
    dp_free(b->sources);
    dp_map_free(&b->weight_map);
    dp_map_free(&b->slot_map);
    dp_free(b);
}
