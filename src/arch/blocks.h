/* blocks.h: the parts that families share. A block appends its ops and leaves its result in a slot. What a block does
 * depends on its arguments and on which optional tensors exist, never on the family's name. Floor 4. */
#ifndef DP_BLOCKS_H
#define DP_BLOCKS_H

#include "arch/builder.h"

/* ---- slots every family uses ---- */
int32_t dp_slot_hidden(dp_builder *b); /* the residual stream [T][hidden] */
int32_t dp_slot_normed(dp_builder *b); /* what a block reads [T][hidden] */
int32_t dp_slot_branch(dp_builder *b); /* what a block adds [T][hidden] */

/* ---- RoPE ---- */
typedef struct dp_rope {
    int32_t dim;
    int32_t frequencies, long_frequencies; /* weights; long: -1 */
    float scale, long_scale;               /* of cos and sin */
    int32_t long_context;
    bool pairs;
    float yarn_factor; /* 1 unless YaRN */
} dp_rope;

/* Reads rope_theta + rope_scaling, or rope_parameters (of `layer_type` where that is per type). `name` names the table. */
typedef struct dp_rope_desc {
    const char *name;
    const char *layer_type; /* "full_attention", ... or NULL */
    int32_t dim;
    float theta;         /* when the config has none */
    const char *theta_key; /* NULL: "rope_theta" with rope_scaling; else only this key, without scaling (Gemma's local base) */
    bool exact_yarn;     /* YaRN does not round its correction range unless the config says so */
} dp_rope_desc;
dp_rope dp_build_rope(dp_builder *b, const dp_rope_desc *desc);

/* ---- sliding windows: the layer's window, 0 for full attention ---- */
/* From config.layer_types if there; else `otherwise`. */
int32_t dp_layer_window(dp_builder *b, bool otherwise);

/* ---- blocks ---- */
void dp_block_embed(dp_builder *b, float scale);
/* dst = norm(src) with tensor `name`.weight (and .bias for LayerNorm). */
void dp_block_norm(dp_builder *b, dp_norm_kind kind, const char *name, const char *label, int32_t dst, int32_t src);
/* RMSNorm in place: the slot is `count` groups of equal width, of each of which the first `group` columns are normed, all with
 * the gains of vector `name`: one group a head (QK norm), or one in front of columns that stay (MLA's latent). */
void dp_block_group_norm(dp_builder *b, const char *name, const char *label, int32_t slot, int32_t count, int32_t group);
/* Rotates rope->dim columns of each head: those from src_offset on, into those from dst_offset on. Strides: columns from head to
 * head. */
typedef struct dp_rotation {
    int32_t heads, src_stride, src_offset, dst_stride, dst_offset;
} dp_rotation;
void dp_block_rotate(dp_builder *b, const dp_rope *rope, const char *label, int32_t dst, int32_t src, dp_rotation where);
/* dst = src * <name>.weight^T + <name>.bias, which must be there if bias_needed and is used if there otherwise. */
void dp_block_linear(dp_builder *b, const char *name, int32_t dst, int32_t src, bool bias_needed);
/* Gives the layer a KV cache and writes k (and v, or -1) to it; returns its index. */
int32_t dp_block_kv(dp_builder *b, dp_kv_spec spec, int32_t k, int32_t v);
void dp_block_add(dp_builder *b, const char *label); /* hidden += branch */

typedef struct dp_attention {
    dp_rope rope;
    int32_t window;
    float scale;   /* 0: 1 / sqrt(head_dim) */
    float softcap;
    bool qkv_bias, out_bias; /* must be there; otherwise used if there */
    bool qk_norm;
} dp_attention;
/* GQA attention: normed -> branch, tensors below model.layers.%d.self_attn. */
void dp_block_attention(dp_builder *b, const dp_attention *attention);

/* Gated feed-forward: normed -> branch. prefix: "model.layers.%d.mlp"; tensors gate_proj, up_proj, down_proj. */
void dp_block_ffn(dp_builder *b, const char *prefix, dp_act_kind act, int32_t intermediate);
/* The same for experts that every token takes, in slots of their own, since their width is another than that of dense layers. */
void dp_block_shared_ffn(dp_builder *b, const char *prefix, dp_act_kind act, int32_t intermediate);

typedef struct dp_moe {
    const char *prefix;          /* "model.layers.%d.mlp": experts below it */
    const char *router;          /* "model.layers.%d.mlp.gate" */
    const char *gate, *up, *down; /* "gate_proj", ... or "w1", "w3", "w2" */
    const char *correction;      /* e_score_correction_bias or NULL */
    int32_t intermediate;        /* columns of gate and up of one expert */
    dp_act_kind act;
    float limit;                 /* of SWIGLU_OAI */
    dp_route_kind route;         /* graph/program.h has the rules and what they do with the rest */
    int32_t groups, top_groups;  /* 0: no groups */
    bool normalise;
    float scale, jitter;
} dp_moe;
/* Routed experts: normed -> branch. */
void dp_block_moe(dp_builder *b, const dp_moe *moe);

/* A pre-norm decoder from embedding to head: in each layer hidden += attention(norm(hidden)), then hidden += ffn(norm(hidden)).
 * The two functions read `normed` and leave their result in `branch`; b->layer says which layer it is. */
typedef struct dp_stack {
    dp_norm_kind norm;
    void (*attention)(dp_builder *b, const void *user);
    void (*ffn)(dp_builder *b);
    const void *user; /* for attention: usually its dp_rope */
} dp_stack;
void dp_block_stack(dp_builder *b, const dp_stack *stack);

/* Final norm, selection of the wanted rows, output head (the embedding when tied), optional softcap. */
void dp_block_head(dp_builder *b, dp_norm_kind kind, float softcap);

#endif
