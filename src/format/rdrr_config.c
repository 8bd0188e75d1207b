/* rdrr_config.c: the configuration of an RDRR model. "config" is that of the source and is taken as it is; manifests
 * without one have an "architecture" object with names of their own. What either lacks (model_type, expert counts) is
 * filled in from the manifest's other fields. */
#include "base/json_write.h"
#include "format/builder.h"

static const char *const members[][2] = {
    {"numLayers", "num_hidden_layers"},
    {"hiddenSize", "hidden_size"},
    {"intermediateSize", "intermediate_size"},
    {"numAttentionHeads", "num_attention_heads"},
    {"numKeyValueHeads", "num_key_value_heads"},
    {"headDim", "head_dim"},
    {"vocabSize", "vocab_size"},
    {"maxSeqLen", "max_position_embeddings"},
    {"ropeTheta", "rope_theta"},
    {"rmsNormEps", "rms_norm_eps"},
};

static void put_number(dp_buf *json, const dp_json *config, const char *key, const dp_json *value) {
    if (!value || value->type != DP_JSON_NUMBER || dp_json_find(config, key)) return;
    dp_json_add_value(json, key, value);
}

/* Fields that are missing from config, as members of a JSON object. */
static void put_missing(const dp_json *manifest, const dp_json *config, dp_buf *json) {
    const dp_json *architecture = dp_json_find(manifest, "architecture"), *moe = dp_json_find(manifest, "moeConfig");
    const dp_json *type = dp_json_find(manifest, "modelType");
    dp_json_open(json, NULL, '{');
    for (size_t i = 0; i < DP_COUNT(members); i++)
        put_number(json, config, members[i][1], dp_json_find(architecture, members[i][0]));
    if (!dp_json_find(config, "n_routed_experts") && !dp_json_find(config, "num_experts"))
        put_number(json, config, "num_local_experts", dp_json_find(moe, "numExperts"));
    put_number(json, config, "num_experts_per_tok", dp_json_find(moe, "numExpertsPerToken"));
    bool named = type && type->type == DP_JSON_STRING;
    if (named && !dp_json_find(config, "model_type")) dp_json_add_value(json, "model_type", type);
    dp_json_close(json, '}');
}

/* config's members, then the filled-in ones. */
static dp_status join(dp_checkpoint *c, const dp_json *config, const dp_json *more) {
    if (!config || !config->count) return dp_checkpoint_set_config(c, more);
    if (!more->count) return dp_checkpoint_set_config(c, config);
    dp_json *whole = dp_arena_calloc(&c->arena, 1, sizeof *whole), **tail = whole ? &whole->child : NULL;
    if (!whole) return dp_no_memory(sizeof *whole);
    whole->type = DP_JSON_OBJECT;
    whole->count = config->count + more->count;
    for (const dp_json *m = config->child; m; m = m->next) {
        dp_json *copy = dp_arena_alloc(&c->arena, sizeof *copy);
        if (!copy) return dp_no_memory(sizeof *copy);
        *copy = *m;
        *tail = copy;
        tail = &copy->next;
    }
    *tail = more->child;
    return dp_checkpoint_set_config(c, whole);
}

dp_status dp_rdrr_read_config(dp_checkpoint *c, const dp_json *manifest) {
    const dp_json *config = dp_json_find(manifest, "config"), *more = NULL;
    if (config && config->type != DP_JSON_OBJECT)
        return dp_fail(DP_E_FORMAT, "\"config\": expected an object, found %s", dp_json_type_name(config));
    dp_buf json = {0};
    put_missing(manifest, config, &json);
    char *text = json.failed ? NULL : dp_arena_copy(&c->arena, json.data, json.size);
    size_t size = json.size;
    dp_buf_free(&json);
    if (!text) return dp_no_memory(size);
    TRY(dp_json_parse(&c->arena, (dp_str){text, size}, &more));
    return join(c, config, more);
}
