/* blocks.c: see blocks.h. */
#include "arch/blocks.h"

#include <math.h>
#include <stdio.h>

int32_t dp_slot_hidden(dp_builder *b) { return dp_build_slot(b, "hidden", b->shape.hidden); }
int32_t dp_slot_normed(dp_builder *b) { return dp_build_slot(b, "normed", b->shape.hidden); }
int32_t dp_slot_branch(dp_builder *b) { return dp_build_slot(b, "branch", b->shape.hidden); }

int32_t dp_layer_window(dp_builder *b, bool otherwise) {
    const dp_json *type = dp_json_at(dp_json_find(b->config, "layer_types"), (size_t)b->layer);
    if (type && type->type == DP_JSON_STRING) otherwise = dp_str_is(type->string, "sliding_attention");
    return otherwise ? b->shape.window : 0;
}

/* "<name><suffix>" in the arena, so that the tensor's name and its parts are spelled once. */
static const char *with(dp_builder *b, const char *name, const char *suffix) {
    const char *text = dp_arena_printf(&b->program->arena, "%s%s", name, suffix);
    if (!text) dp_build_fail(b, DP_E_MEMORY, "out of memory while building the program");
    return text ? text : name;
}

void dp_block_embed(dp_builder *b, float scale) {
    dp_op *op = dp_build_op(b, DP_OP_EMBED, "embed", dp_slot_hidden(b), -1);
    op->weight = dp_build_matrix(b, "model.embed_tokens.weight", b->shape.vocab, b->shape.hidden);
    op->embed.scale = scale;
}

void dp_block_norm(dp_builder *b, dp_norm_kind kind, const char *name, const char *label, int32_t dst, int32_t src) {
    int32_t n = b->shape.hidden;
    dp_op *op = dp_build_op(b, DP_OP_NORM, label, dst, src);
    op->weight = dp_build_vector(b, with(b, name, ".weight"), n);
    if (kind == DP_NORM_LAYER) op->bias = dp_build_vector(b, with(b, name, ".bias"), n);
    op->norm.kind = kind;
    op->norm.eps = b->shape.norm_eps;
    op->norm.offset = b->norm_offset;
    op->norm.count = 1;
    op->norm.group = op->norm.stride = n;
}

void dp_block_group_norm(dp_builder *b, const char *name, const char *label, int32_t slot, int32_t count, int32_t group) {
    if (b->status != DP_OK) return;
    dp_op *op = dp_build_op(b, DP_OP_NORM, label, slot, slot);
    op->weight = dp_build_vector(b, name, group);
    op->norm.kind = DP_NORM_RMS;
    op->norm.eps = b->shape.norm_eps;
    op->norm.offset = b->norm_offset;
    op->norm.count = count;
    op->norm.group = group;
    op->norm.stride = b->program->slots[slot].cols / count;
}

void dp_block_rotate(dp_builder *b, const dp_rope *rope, const char *label, int32_t dst, int32_t src, dp_rotation where) {
    dp_op *op = dp_build_op(b, DP_OP_ROPE, label, dst, src);
    op->weight = rope->frequencies;
    op->bias = rope->long_frequencies;
    op->rope.heads = where.heads;
    op->rope.src_stride = where.src_stride;
    op->rope.src_offset = where.src_offset;
    op->rope.dst_stride = where.dst_stride;
    op->rope.dst_offset = where.dst_offset;
    op->rope.dim = rope->dim;
    op->rope.pairs = rope->pairs;
    op->rope.scale = rope->scale;
    op->rope.long_scale = rope->long_scale;
    op->rope.long_context = rope->long_context;
}

void dp_block_linear(dp_builder *b, const char *name, int32_t dst, int32_t src, bool bias_needed) {
    if (b->status != DP_OK) return;
    int32_t rows = b->program->slots[dst].cols, cols = b->program->slots[src].cols;
    const char *last = strrchr(name, '.');
    dp_op *op = dp_build_op(b, DP_OP_MATMUL, last ? last + 1 : name, dst, src);
    op->weight = dp_build_matrix(b, with(b, name, ".weight"), rows, cols);
    op->bias = bias_needed ? dp_build_vector(b, with(b, name, ".bias"), rows) : dp_build_maybe_vector(b, with(b, name, ".bias"), rows);
}

void dp_block_add(dp_builder *b, const char *label) {
    dp_build_op(b, DP_OP_ADD, label, dp_slot_hidden(b), dp_slot_hidden(b))->src2 = dp_slot_branch(b);
}

/* ---- attention ---- */

static void rotate_heads(dp_builder *b, const dp_rope *rope, const char *label, int32_t slot, int32_t heads) {
    int32_t dim = b->shape.head_dim;
    dp_block_rotate(b, rope, label, slot, slot, (dp_rotation){.heads = heads, .src_stride = dim, .dst_stride = dim});
}

static int32_t add_kv(dp_builder *b, dp_kv_spec spec) {
    dp_program *p = b->program;
    if (b->status != DP_OK) return 0;
    if (!dp_grow((void **)&p->kv, &p->kv_capacity, p->kv_count + 1, sizeof *p->kv)) {
        dp_build_fail(b, DP_E_MEMORY, "out of memory while building the program");
        return 0;
    }
    p->kv[p->kv_count] = spec;
    return (int32_t)p->kv_count++;
}

int32_t dp_block_kv(dp_builder *b, dp_kv_spec spec, int32_t k, int32_t v) {
    int32_t kv = add_kv(b, spec);
    dp_op *op = dp_build_op(b, DP_OP_KV_WRITE, "kv_write", -1, k);
    op->src2 = v;
    op->kv_write.kv = kv;
    return kv;
}

void dp_block_attention(dp_builder *b, const dp_attention *a) {
    const dp_shape *s = &b->shape;
    int32_t normed = dp_slot_normed(b);
    int32_t q = dp_build_slot(b, "q", s->heads * s->head_dim), k = dp_build_slot(b, "k", s->kv_heads * s->head_dim);
    int32_t v = dp_build_slot(b, "v", s->kv_heads * s->head_dim), out = dp_build_slot(b, "attention", s->heads * s->head_dim);
    dp_block_linear(b, "model.layers.%d.self_attn.q_proj", q, normed, a->qkv_bias);
    dp_block_linear(b, "model.layers.%d.self_attn.k_proj", k, normed, a->qkv_bias);
    dp_block_linear(b, "model.layers.%d.self_attn.v_proj", v, normed, a->qkv_bias);
    if (a->qk_norm) {
        dp_block_group_norm(b, "model.layers.%d.self_attn.q_norm.weight", "q_norm", q, s->heads, s->head_dim);
        dp_block_group_norm(b, "model.layers.%d.self_attn.k_norm.weight", "k_norm", k, s->kv_heads, s->head_dim);
    }
    rotate_heads(b, &a->rope, "q_rope", q, s->heads);
    rotate_heads(b, &a->rope, "k_rope", k, s->kv_heads);
    int32_t kv = dp_block_kv(b, (dp_kv_spec){.heads = s->kv_heads, .k_dim = s->head_dim, .v_dim = s->head_dim, .window = a->window}, k, v);
    dp_op *op = dp_build_op(b, DP_OP_ATTENTION, "attention", out, q);
    op->weight = dp_build_maybe_vector(b, "model.layers.%d.self_attn.sinks", s->heads);
    op->attention.kv = kv;
    op->attention.heads = s->heads;
    op->attention.scale = a->scale > 0 ? a->scale : 1 / sqrtf((float)s->head_dim);
    op->attention.softcap = a->softcap;
    dp_block_linear(b, "model.layers.%d.self_attn.o_proj", dp_slot_branch(b), out, a->out_bias);
}

/* ---- feed-forward ---- */

static void act_mul(dp_builder *b, dp_act_kind act, float limit, int32_t gate, int32_t up) {
    dp_op *op = dp_build_op(b, DP_OP_ACT_MUL, "act_mul", gate, gate);
    op->src2 = up;
    op->act_mul.kind = act;
    op->act_mul.alpha = 1.702f; /* gpt-oss; the other kinds have none */
    op->act_mul.limit = limit;
}

static void gated(dp_builder *b, const char *prefix, dp_act_kind act, int32_t gate, int32_t up) {
    dp_block_linear(b, with(b, prefix, ".gate_proj"), gate, dp_slot_normed(b), false);
    dp_block_linear(b, with(b, prefix, ".up_proj"), up, dp_slot_normed(b), false);
    act_mul(b, act, 0, gate, up);
    dp_block_linear(b, with(b, prefix, ".down_proj"), dp_slot_branch(b), gate, false);
}

void dp_block_ffn(dp_builder *b, const char *prefix, dp_act_kind act, int32_t intermediate) {
    int32_t gate = dp_build_slot(b, "gate", intermediate), up = dp_build_slot(b, "up", intermediate);
    gated(b, prefix, act, gate, up);
}

void dp_block_shared_ffn(dp_builder *b, const char *prefix, dp_act_kind act, int32_t intermediate) {
    int32_t gate = dp_build_slot(b, "shared_gate", intermediate), up = dp_build_slot(b, "shared_up", intermediate);
    gated(b, prefix, act, gate, up);
}

/* ---- experts ---- */

static void expert_linear(dp_builder *b, const dp_moe *moe, const char *part, int32_t dst, int32_t src) {
    if (b->status != DP_OK) return;
    int32_t k = b->shape.experts_per_token;
    bool per_expert = src != dp_slot_normed(b);
    int32_t rows = b->program->slots[dst].cols / k, cols = b->program->slots[src].cols / (per_expert ? k : 1);
    dp_op *op = dp_build_op(b, DP_OP_MOE_MATMUL, part, dst, src);
    op->src2 = dp_build_slot(b, "expert_ids", k);
    op->weight = dp_build_experts(b, moe->prefix, part, rows, cols);
    op->bias = dp_build_maybe_expert_bias(b, moe->prefix, part, rows);
    op->moe_matmul.k = k;
    op->moe_matmul.per_expert = per_expert;
}

static bool check_moe(dp_builder *b, const dp_moe *moe) {
    int32_t k = b->shape.experts_per_token, experts = b->shape.experts;
    bool grouped = moe->groups > 1;
    bool fits = experts >= 1 && k >= 1 && k <= experts;
    bool groups_fit = !grouped || (experts % moe->groups == 0 && moe->groups <= DP_ROUTE_GROUPS_MAX && moe->top_groups >= 1 &&
                                   moe->top_groups <= moe->groups);
    if (fits && groups_fit) return true;
    dp_build_fail(b, DP_E_FORMAT, "config: %d experts, %d per token, %d groups, %d chosen: these do not go together", (int)experts, (int)k,
                  (int)moe->groups, (int)moe->top_groups);
    return false;
}

/* normed -> expert_ids [T][k] and expert_weights [T][k], which is returned. */
static int32_t route_tokens(dp_builder *b, const dp_moe *moe) {
    int32_t k = b->shape.experts_per_token, experts = b->shape.experts;
    int32_t logits = dp_build_slot(b, "router_logits", experts), weights = dp_build_slot(b, "expert_weights", k);
    dp_block_linear(b, moe->router, logits, dp_slot_normed(b), false);
    dp_op *op = dp_build_op(b, DP_OP_ROUTE, "route", weights, logits);
    op->dst2 = dp_build_slot(b, "expert_ids", k);
    op->bias = moe->correction ? dp_build_vector(b, moe->correction, experts) : -1;
    op->route.kind = moe->route;
    op->route.k = k;
    op->route.groups = moe->groups > 0 ? moe->groups : 1;
    op->route.top_groups = moe->top_groups > 0 ? moe->top_groups : 1;
    op->route.normalise = moe->normalise;
    op->route.scale = moe->scale;
    op->route.jitter = moe->jitter;
    return weights;
}

void dp_block_moe(dp_builder *b, const dp_moe *moe) {
    if (!check_moe(b, moe)) return;
    int32_t k = b->shape.experts_per_token, weights = route_tokens(b, moe);
    int32_t gate = dp_build_slot(b, "expert_gate", k * moe->intermediate), up = dp_build_slot(b, "expert_up", k * moe->intermediate);
    int32_t down = dp_build_slot(b, "expert_down", k * b->shape.hidden);
    expert_linear(b, moe, moe->gate, gate, dp_slot_normed(b));
    expert_linear(b, moe, moe->up, up, dp_slot_normed(b));
    act_mul(b, moe->act, moe->limit, gate, up);
    expert_linear(b, moe, moe->down, down, gate);
    dp_op *sum = dp_build_op(b, DP_OP_MOE_SUM, "moe_sum", dp_slot_branch(b), down);
    sum->src2 = weights;
    sum->moe_sum.k = k;
}

/* ---- head ---- */

void dp_block_head(dp_builder *b, dp_norm_kind kind, float softcap) {
    b->layer = -1;
    int32_t wanted = dp_build_output_slot(b, "wanted", b->shape.hidden), logits = dp_build_output_slot(b, "logits", b->shape.vocab);
    dp_build_op(b, DP_OP_SELECT, "select", wanted, dp_slot_hidden(b));
    dp_block_norm(b, kind, "model.norm", "norm", wanted, wanted);
    dp_op *op = dp_build_op(b, DP_OP_MATMUL, "lm_head", logits, wanted);
    const char *name = dp_build_has(b, "lm_head.weight") ? "lm_head.weight" : "model.embed_tokens.weight";
    if (!b->shape.tied && strcmp(name, "lm_head.weight") != 0)
        dp_build_fail(b, DP_E_FORMAT, "tensor lm_head.weight is missing, and the config does not tie it to the embedding");
    op->weight = dp_build_matrix(b, name, b->shape.vocab, b->shape.hidden);
    op->bias = dp_build_maybe_vector(b, "lm_head.bias", b->shape.vocab);
    if (softcap > 0) dp_build_op(b, DP_OP_SOFTCAP, "softcap", logits, logits)->softcap.cap = softcap;
    b->program->logits = logits;
    b->program->vocab = b->shape.vocab;
    b->program->layers = b->shape.layers;
}

/* ---- the whole ---- */

static void prenorm_layer(dp_builder *b, const dp_stack *stack) {
    int32_t normed = dp_slot_normed(b), hidden = dp_slot_hidden(b);
    dp_block_norm(b, stack->norm, "model.layers.%d.input_layernorm", "input_norm", normed, hidden);
    stack->attention(b, stack->user);
    dp_block_add(b, "attention_residual");
    dp_block_norm(b, stack->norm, "model.layers.%d.post_attention_layernorm", "ffn_norm", normed, hidden);
    stack->ffn(b);
    dp_block_add(b, "residual");
}

void dp_block_stack(dp_builder *b, const dp_stack *stack) {
    dp_block_embed(b, 1);
    for (b->layer = 0; b->layer < b->shape.layers; b->layer++) prenorm_layer(b, stack);
    dp_block_head(b, stack->norm, 0);
}
