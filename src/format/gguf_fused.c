/* gguf_fused.c: see gguf_fused.h. */
#include "format/gguf_fused.h"
#include "format/gguf_config.h"

#include <stdio.h>

enum { NAME = 128, EXPERTS_MAX = 65536 };

static const char qkv[] = "attn_qkv.", gate_up[] = "ffn_gate_up_exps.";

/* "blk.3.attn_qkv.weight": what stands in front of the fused name and behind it. */
static bool split_name(dp_str name, const char *fused, dp_str *before, dp_str *behind) {
    size_t n = strlen(fused), at = 4;
    if (!dp_str_starts(name, "blk.")) return false;
    while (at < name.n && name.p[at] >= '0' && name.p[at] <= '9') at++;
    if (at == 4 || name.n < at + 1 + n || name.p[at] != '.' || memcmp(name.p + at + 1, fused, n) != 0) return false;
    *before = (dp_str){name.p, at + 1};
    *behind = (dp_str){name.p + at + 1 + n, name.n - at - 1 - n};
    return dp_str_is(*behind, "weight") || dp_str_is(*behind, "bias");
}

bool dp_gguf_is_fused(dp_gguf_arch arch, dp_str name) {
    dp_str before, behind;
    return arch != DP_GGUF_ARCH_OTHER &&
           (split_name(name, qkv, &before, &behind) || split_name(name, gate_up, &before, &behind));
}

/* A part: rows [row, row + rows) of `whole`, counted through all experts. */
typedef struct part {
    const char *name; /* GGUF's, without layer and suffix */
    int64_t expert;   /* -1: none */
    int64_t row, rows;
} part;

/* The canonical name; a single expert's number goes where the stack's name lacks it. */
static dp_status name_part(dp_gguf_arch arch, const char *gguf, int64_t expert, dp_buf *out) {
    dp_buf stack = {0};
    dp_gguf_name_to_hf(arch, dp_str_of(gguf), &stack);
    const char *at = stack.failed || expert < 0 ? NULL : strstr(stack.data, ".experts.");
    size_t head = at ? (size_t)(at - stack.data) + strlen(".experts.") : 0;
    if (!stack.failed) {
        dp_buf_append(out, stack.data, head);
        if (at) dp_buf_printf(out, "%lld.", (long long)expert);
        dp_buf_str(out, stack.data + head);
    }
    out->failed |= stack.failed;
    dp_buf_free(&stack);
    return out->failed ? dp_no_memory(NAME) : DP_OK;
}

/* The last `bias` ? 1 : 2 dimensions of a fused tensor are rows, or rows and columns. */
static dp_status add_part(dp_checkpoint *c, dp_gguf_arch arch, const dp_tensor_source *whole, bool bias, const part *p) {
    char gguf[NAME];
    dp_str before, behind;
    dp_buf name = {0};
    int64_t cols = bias ? 1 : whole->shape[whole->n_dims - 1];
    uint64_t row_bytes;
    TRY(dp_tensor_bytes(whole->dtype, &cols, 1, &row_bytes));
    dp_span span = whole->spans[0];
    span.offset += (uint64_t)p->row * row_bytes;
    span.size = (uint64_t)p->rows * row_bytes;
    dp_tensor_source s = *whole;
    s.n_dims = bias ? 1 : 2;
    s.shape[0] = p->rows;
    s.shape[1] = bias ? 0 : cols;
    s.spans = &span;
    if (!split_name(whole->source_name, p->expert < 0 ? qkv : gate_up, &before, &behind)) return DP_OK;
    snprintf(gguf, sizeof gguf, DP_STR_FMT "%s." DP_STR_FMT, DP_STR_ARG(before), p->name, DP_STR_ARG(behind));
    dp_status status = name_part(arch, gguf, p->expert, &name);
    s.name = (dp_str){name.data, name.size};
    if (status == DP_OK) status = dp_checkpoint_add_tensor(c, &s);
    dp_buf_free(&name);
    return status;
}

/* ---- query, key, value ---- */

typedef struct heads {
    int64_t q, kv, dim;
} heads;

static dp_status read_heads(const dp_gguf *g, heads *out) {
    int64_t hidden = 0;
    *out = (heads){0};
    TRY(dp_gguf_arch_int(g, "embedding_length", &hidden));
    TRY(dp_gguf_arch_int(g, "attention.head_count", &out->q));
    out->kv = out->q;
    TRY(dp_gguf_arch_int(g, "attention.head_count_kv", &out->kv));
    if (out->q > 0) out->dim = hidden / out->q;
    return dp_gguf_arch_int(g, "attention.key_length", &out->dim);
}

static dp_status check_qkv(const dp_gguf *g, const dp_tensor_source *whole, bool bias, heads *h) {
    const int64_t most = INT32_MAX;
    TRY(read_heads(g, h));
    bool sane = h->q > 0 && h->kv > 0 && h->dim > 0 && h->q <= most && h->kv <= most && h->dim <= most;
    if (sane && whole->n_dims == (bias ? 1 : 2) && h->q * h->dim + 2 * (h->kv * h->dim) == whole->shape[0]) return DP_OK;
    char shape[96];
    return dp_fail(DP_E_FORMAT, "%lld query heads and twice %lld key and value heads of %lld rows expected, found %s",
                   (long long)h->q, (long long)h->kv, (long long)h->dim,
                   dp_shape_text(whole->shape, whole->n_dims, shape, sizeof shape));
}

static dp_status add_qkv(dp_checkpoint *c, dp_gguf_arch arch, const dp_tensor_source *whole, bool bias, const heads *h) {
    int64_t q = h->q * h->dim, kv = h->kv * h->dim;
    TRY(add_part(c, arch, whole, bias, &(part){"attn_q", -1, 0, q}));
    TRY(add_part(c, arch, whole, bias, &(part){"attn_k", -1, q, kv}));
    return add_part(c, arch, whole, bias, &(part){"attn_v", -1, q + kv, kv});
}

/* ---- gate, up ---- */

static dp_status check_gate_up(const dp_tensor_source *whole, bool bias) {
    bool fits = whole->n_dims == (bias ? 2 : 3) && whole->shape[0] > 0 && whole->shape[0] <= EXPERTS_MAX;
    if (fits && whole->shape[1] > 0 && whole->shape[1] % 2 == 0) return DP_OK;
    char shape[96];
    return dp_fail(DP_E_FORMAT, "1 to %d experts expected, each with as many rows of gate as of up, found %s", EXPERTS_MAX,
                   dp_shape_text(whole->shape, whole->n_dims, shape, sizeof shape));
}

static dp_status add_gate_up(dp_checkpoint *c, dp_gguf_arch arch, const dp_tensor_source *whole, bool bias) {
    int64_t rows = whole->shape[1] / 2;
    for (int64_t e = 0; e < whole->shape[0]; e++) {
        TRY(add_part(c, arch, whole, bias, &(part){"ffn_gate_exps", e, 2 * e * rows, rows}));
        TRY(add_part(c, arch, whole, bias, &(part){"ffn_up_exps", e, (2 * e + 1) * rows, rows}));
    }
    return DP_OK;
}

dp_status dp_gguf_add_fused(dp_checkpoint *c, const dp_gguf *metadata, dp_gguf_arch arch, const dp_tensor_source *whole) {
    dp_str before, behind;
    heads h;
    bool attention = split_name(whole->source_name, qkv, &before, &behind);
    if (!attention && !split_name(whole->source_name, gate_up, &before, &behind)) return DP_OK;
    bool bias = dp_str_is(behind, "bias");
    dp_status status = attention ? check_qkv(metadata, whole, bias, &h) : check_gate_up(whole, bias);
    if (status != DP_OK)
        return dp_fail_in(status, "%s: tensor " DP_STR_FMT, whole->file, DP_STR_ARG(whole->source_name));
    return attention ? add_qkv(c, arch, whole, bias, &h) : add_gate_up(c, arch, whole, bias);
}
