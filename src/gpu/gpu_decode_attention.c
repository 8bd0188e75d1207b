/* gpu_decode_attention.c: attention of one token: norms of heads, RoPE, the cache's new entries and attention in one dispatch,
 * or in two where the past is long and shared out among workgroups. */
#include "gpu/gpu_decode.h"

enum { THREADS = 256, UNSPLIT_WINDOW = 512, SPLIT_GROUPS = 256 };

typedef struct attend {
    const dp_op *q_norm, *k_norm; /* NULL: none */
    const dp_op *q, *k, *write, *attention;
    const dp_kv_spec *kv;
    size_t ops;
} attend;

static bool is_plain_rope(const dp_op *op, int32_t dim) {
    return op->kind == DP_OP_ROPE && op->dst == op->src && op->rope.src_stride == dim && op->rope.dst_stride == dim &&
           op->rope.src_offset == 0 && op->rope.dst_offset == 0;
}

static bool is_head_norm(const dp_op *op, int32_t slot, int32_t dim) {
    return op->kind == DP_OP_NORM && op->src == slot && op->dst == slot && op->norm.kind == DP_NORM_RMS &&
           op->norm.group == dim && op->norm.stride == dim && op->bias < 0;
}

static bool are_alike(const dp_op *q, const dp_op *k) {
    return q->weight == k->weight && q->bias == k->bias && q->rope.pairs == k->rope.pairs && q->rope.dim == k->rope.dim;
}

/* The kinds of the ops; what they must have in common is for the caller. */
static attend attend_at(const dp_planner *p, size_t ahead) {
    attend a = {.q_norm = dp_decode_op(p, ahead), .k_norm = dp_decode_op(p, ahead + 1)};
    bool norms = a.q_norm->kind == DP_OP_NORM && a.k_norm->kind == DP_OP_NORM;
    if (!norms) a.q_norm = a.k_norm = NULL;
    ahead += norms ? 2 : 0;
    a.q = dp_decode_op(p, ahead);
    a.k = dp_decode_op(p, ahead + 1);
    a.write = dp_decode_op(p, ahead + 2);
    a.attention = dp_decode_op(p, ahead + 3);
    if (a.write->kind != DP_OP_KV_WRITE || a.attention->kind != DP_OP_ATTENTION ||
        a.attention->attention.kv != a.write->kv_write.kv)
        return a;
    a.kv = &p->plan->program->kv[a.write->kv_write.kv];
    a.ops = norms ? 6 : 4;
    return a;
}

/* What the kernel takes, with an f16 cache. */
static bool is_fit(const dp_planner *p, const attend *a, size_t behind) {
    if (!a->ops || p->kv->exact) return false;
    const dp_kv_spec *s = a->kv;
    if (!is_plain_rope(a->q, s->k_dim) || !is_plain_rope(a->k, s->k_dim) || !are_alike(a->q, a->k) ||
        a->write->src != a->k->dst || a->write->src2 < 0 || a->attention->src != a->q->dst)
        return false;
    if (a->q_norm && (!is_head_norm(a->q_norm, a->q->dst, s->k_dim) || !is_head_norm(a->k_norm, a->k->dst, s->k_dim) ||
                      a->q_norm->norm.eps != a->k_norm->norm.eps || a->q_norm->norm.offset != a->k_norm->norm.offset))
        return false;
    return s->k_dim % 16 == 0 && s->v_dim % 16 == 0 && s->k_dim <= 256 && s->v_dim >= 16 && s->v_dim <= 256 &&
           dp_decode_unread(p, a->q->dst, behind) && dp_decode_unread(p, a->k->dst, behind);
}

bool dp_decode_attends(const dp_planner *p, size_t ahead, int32_t q, int32_t k, int32_t v) {
    attend a = attend_at(p, ahead);
    return is_fit(p, &a, ahead + a.ops) && a.q->dst == q && a.k->dst == k && a.write->src2 == v && dp_decode_unread(p, v, ahead + a.ops);
}

/* ---- what the kernel reads beside q, k and v ---- */

typedef struct vectors {
    const dp_op *biased[3]; /* q, k and v, whose biases attention adds; NULL where there are none */
    uint32_t sinks_at, gains_at, bias_at;
    dp_gpu_buffer buffer;
} vectors;

static dp_status fill(const dp_planner *p, const attend *a, const vectors *v, int32_t frequencies, float *out) {
    const dp_kv_spec *s = a->kv;
    size_t heads = (size_t)a->attention->attention.heads, dim = (size_t)s->k_dim;
    TRY(dp_decode_read_vector(p, frequencies, out, (size_t)a->q->rope.dim / 2));
    if (a->attention->weight >= 0) TRY(dp_decode_read_vector(p, a->attention->weight, out + v->sinks_at, heads));
    if (a->q_norm) {
        TRY(dp_decode_read_vector(p, a->q_norm->weight, out + v->gains_at, dim));
        TRY(dp_decode_read_vector(p, a->k_norm->weight, out + v->gains_at + dim, dim));
    }
    out += v->bias_at;
    for (size_t i = 0; i < 3 && v->biased[0]; i++) {
        size_t n = (size_t)dp_decode_matrix(p, v->biased[i])->rows;
        TRY(dp_decode_read_vector(p, v->biased[i]->bias, out, n));
        out += n;
    }
    return DP_OK;
}

static dp_status join_vectors(dp_planner *p, const attend *a, int32_t frequencies, vectors *v) {
    const dp_kv_spec *s = a->kv;
    uint32_t heads = (uint32_t)a->attention->attention.heads, dim = (uint32_t)s->k_dim;
    v->sinks_at = (uint32_t)a->q->rope.dim / 2;
    v->gains_at = v->sinks_at + heads;
    v->bias_at = v->gains_at + 2 * dim;
    size_t n = v->bias_at + (heads + (uint32_t)s->heads) * dim + (uint32_t)(s->heads * s->v_dim);
    float *all = dp_calloc(n, sizeof *all);
    if (!all) return dp_no_memory(n * sizeof *all);
    dp_status status = fill(p, a, v, frequencies, all);
    if (status == DP_OK) status = dp_decode_buffer(p, n * sizeof *all, all, "attention", &v->buffer);
    dp_free(all);
    return status;
}

/* ---- dispatches ---- */

/* The size of the device's subgroups if the kernel that needs them can be used, else 0: eight threads of one share a key, and
 * sums of each subgroup meet in workgroup memory. */
static uint32_t subgroup_of(const dp_planner *p, const attend *a) {
    const dp_gpu_caps *caps = dp_gpu_get_caps(p->plan->backend->gpu);
    bool fixed = caps->subgroups && caps->subgroup_min == caps->subgroup_max && caps->subgroup_max >= 8;
    if (!fixed || THREADS / caps->subgroup_max * (uint32_t)a->kv->v_dim * 4 > caps->workgroup_memory / 2) return 0;
    return caps->subgroup_max;
}

/* Query heads that a workgroup takes at once where the past is long: two. Four read less, but too few threads fit at once; the
 * kernel without subgroups keeps too little in registers for two. */
static uint32_t heads_of(const dp_planner *p, const attend *a) {
    uint32_t group = (uint32_t)(a->attention->attention.heads / a->kv->heads);
    return subgroup_of(p, a) && group % 2 == 0 && a->kv->k_dim + a->kv->v_dim <= 256 ? 2 : 1;
}

/* heads: query heads of a workgroup, which share keys and values. Keys of a round: many at once hide the memory's latency, up
 * to what registers hold. */
static void set_heads(const dp_planner *p, dp_recipe *r, const attend *a, uint32_t heads) {
    uint32_t k_own = ((uint32_t)a->kv->k_dim + 63) / 64, v_own = ((uint32_t)a->kv->v_dim + 63) / 64, *c = r->variant.constants;
    c[DP_ATTEND_HEADS] = heads;
    c[DP_ATTEND_SUBGROUP] = subgroup_of(p, a);
    c[DP_ATTEND_THREADS] = THREADS;
    c[DP_ATTEND_KEYS] = k_own + v_own > 4 || heads > 1 ? 64 : 128;
    if (dp_gpu_get_caps(p->plan->backend->gpu)->clears_slowly && !c[DP_ATTEND_SUBGROUP]) {
        c[DP_ATTEND_KEYS] = 64;
        c[DP_ATTEND_THREADS] = a->kv->v_dim <= 64 ? 64 : a->kv->v_dim <= 128 ? 128 : THREADS;
    }
    c[DP_ATTEND_ROUND] = c[DP_ATTEND_KEYS] / 32;
    c[DP_ATTEND_K_OWN] = k_own;
    c[DP_ATTEND_V_OWN] = v_own;
    r->grid[1] = (uint32_t)a->attention->attention.heads / heads;
}

static uint32_t splits_for(uint32_t groups) {
    uint32_t splits = 16;
    while (splits < DP_GPU_SPLITS_MOST && splits * groups < SPLIT_GROUPS) splits *= 2;
    return splits;
}

/* Joins what the splits of a long past left. */
static dp_status merge(dp_planner *p, const attend *a, const vectors *v, const dp_recipe *from, dp_gpu_range dst, bool packs) {
    dp_recipe r = {
        .variant = {DP_KERNEL_ATTENTION_DECODE_MERGE,
                    DP_F32,
                    {from->variant.constants[DP_ATTEND_SINKS], from->variant.constants[DP_ATTEND_SPLITS], packs,
                     (uint32_t)a->kv->v_dim}},
        .ranges = {dp_decode_whole(p->plan->step), dp_decode_whole(p->plan->partial), dp_decode_whole(v->buffer), dst},
        .range_count = 4,
        .params = {(uint32_t)a->attention->attention.heads, (uint32_t)a->kv->window, v->sinks_at},
        .grid = {(uint32_t)a->attention->attention.heads, 1, 1},
        .planned = {.split = true, .by_length = true, .hidden = packs}};
    return dp_gpu_plan_add(p, &r);
}

static dp_status split(dp_planner *p, const attend *a, const vectors *v, dp_recipe *r, dp_gpu_range dst, bool packs) {
    set_heads(p, r, a, heads_of(p, a));
    r->variant.constants[DP_ATTEND_SPLITS] = splits_for(r->grid[1]);
    r->variant.constants[DP_ATTEND_PACK] = false;
    r->ranges[6] = dp_decode_whole(p->plan->partial);
    r->grid[0] = r->variant.constants[DP_ATTEND_SPLITS];
    r->planned.split = true;
    r->planned.hidden = false;
    TRY(dp_gpu_plan_add(p, r));
    return merge(p, a, v, r, dst, packs);
}

/* q, k and v: in their slots, or side by side. */
static void sources(dp_planner *p, const attend *a, dp_gpu_range *out) {
    const int32_t slots[3] = {a->q->src, a->k->src, a->write->src2};
    uint64_t at = 0;
    for (size_t i = 0; i < 3; i++) {
        uint64_t bytes = (uint64_t)dp_decode_cols(p, slots[i]) * 4;
        out[i] = p->joined ? (dp_gpu_range){p->plan->joined, at, bytes} : dp_decode_slot(p, slots[i]);
        at += (bytes + 255) / 256 * 256;
    }
}

dp_status dp_decode_attention(dp_planner *p, size_t *ops) {
    attend a = attend_at(p, 0);
    if (!is_fit(p, &a, a.ops)) return DP_OK;
    const dp_op *o = a.attention, *next = dp_decode_op(p, a.ops);
    const dp_gpu_kv_layer *layer = &p->kv->layers[o->attention.kv];
    bool packs = dp_decode_is_dot(p, next) && next->src == o->dst && dp_decode_unread(p, o->dst, a.ops + 1);
    bool use_long = a.q->bias >= 0 && p->kv->context > a.q->rope.long_context;
    vectors v = {.buffer = 0};
    for (size_t i = 0; i < 3 && p->joined; i++) /* the three products stand before the norms */
        if (p->plan->program->ops[p->index - 3].bias >= 0) v.biased[i] = &p->plan->program->ops[p->index - 3 + i];
    TRY(join_vectors(p, &a, use_long ? a.q->bias : a.q->weight, &v));
    dp_gpu_range dst = dp_decode_slot(p, o->dst), q[3];
    sources(p, &a, q);
    if (packs) TRY(dp_decode_packed(p, o->dst, &dst));
    dp_recipe r = {.variant = {DP_KERNEL_ATTENTION_DECODE,
                               DP_F32,
                               {o->weight >= 0, 1, packs, a.q->rope.pairs, a.q_norm != NULL, v.biased[0] != NULL,
                                (uint32_t)a.kv->k_dim, (uint32_t)a.kv->v_dim}},
                   .ranges = {dp_decode_whole(p->plan->step), q[0], q[1], q[2], dp_decode_whole(layer->buffer),
                              dp_decode_whole(v.buffer), dst},
                   .range_count = 7,
                   .params = {(uint32_t)o->attention.heads, (uint32_t)a.kv->heads, layer->capacity,
                              (uint32_t)a.kv->window, dp_decode_bits(o->attention.scale),
                              dp_decode_bits(o->attention.softcap), (uint32_t)a.q->rope.dim,
                              dp_decode_bits(use_long ? a.q->rope.long_scale : a.q->rope.scale),
                              dp_decode_bits(a.q_norm ? a.q_norm->norm.eps : 0),
                              dp_decode_bits(a.q_norm ? a.q_norm->norm.offset : 0), v.sinks_at, v.gains_at, v.bias_at},
                   .grid = {1, 1, 1}};
    bool splits = !a.kv->window || a.kv->window > UNSPLIT_WINDOW;
    r.planned.by_length = splits;
    r.planned.hidden = packs;
    set_heads(p, &r, &a, 1);
    TRY(dp_gpu_plan_add(p, &r));
    if (splits) TRY(split(p, &a, &v, &r, dst, packs));
    p->packed_slot = packs ? o->dst : -1;
    p->packed_norm = NULL;
    p->joined = false;
    *ops = a.ops;
    return DP_OK;
}
