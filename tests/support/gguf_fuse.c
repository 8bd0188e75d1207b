/* gguf_fuse.c: see gguf_file.h. */
#include "gguf_file.h"

typedef struct fusing {
    dp_str whole; /* the file's bytes */
    dp_gguf gguf;
    gguf_file out;
    bool done[256];
} fusing;

static size_t tensor_bytes(const dp_gguf_tensor *t, uint64_t rows) {
    dp_dtype dtype;
    if (!dp_dtype_by_ggml(t->type, &dtype)) abort();
    return dp_dtype_row_bytes(dtype, (int64_t)t->dims[0]) * (size_t)rows;
}

static size_t find(const fusing *f, const char *layer, const char *name) {
    char full[80];
    snprintf(full, sizeof full, "%s%s.weight", layer, name);
    for (size_t i = 0; i < f->gguf.tensor_count; i++)
        if (dp_str_is(f->gguf.tensors[i].name, full)) return i;
    return SIZE_MAX;
}

/* Joins the parts, each in `count` equal pieces: for each piece all parts, one after the other. */
static bool join(fusing *f, const char *layer, const char *const *parts, size_t n, const char *joined) {
    size_t at[3];
    uint64_t rows = 0;
    char name[80];
    for (size_t i = 0; i < n; i++) {
        at[i] = find(f, layer, parts[i]);
        if (at[i] == SIZE_MAX || f->gguf.tensors[at[i]].type != f->gguf.tensors[at[0]].type) return false;
        rows += f->gguf.tensors[at[i]].dims[1];
    }
    const dp_gguf_tensor *first = &f->gguf.tensors[at[0]];
    uint64_t pieces = first->n_dims > 2 ? first->dims[2] : 1;
    snprintf(name, sizeof name, "%s%s.weight", layer, joined);
    gguf_add_info(&f->out, name, first->type, (uint64_t[]){first->dims[0], rows, pieces}, first->n_dims, f->out.data.size);
    for (uint64_t piece = 0; piece < pieces; piece++) {
        for (size_t i = 0; i < n; i++) {
            const dp_gguf_tensor *t = &f->gguf.tensors[at[i]];
            size_t size = tensor_bytes(t, t->dims[1]);
            dp_buf_append(&f->out.data, f->whole.p + f->gguf.data_start + t->offset + piece * size, size);
            f->done[at[i]] = true;
        }
    }
    while (f->out.data.size % 32) dp_buf_char(&f->out.data, 0);
    return true;
}

static void copy(fusing *f, const dp_gguf_tensor *t) {
    uint64_t rows = 1;
    char name[80];
    for (uint32_t d = 1; d < t->n_dims; d++) rows *= t->dims[d];
    snprintf(name, sizeof name, DP_STR_FMT, DP_STR_ARG(t->name));
    gguf_add_info(&f->out, name, t->type, t->dims, t->n_dims, f->out.data.size);
    dp_buf_append(&f->out.data, f->whole.p + f->gguf.data_start + t->offset, tensor_bytes(t, rows));
    while (f->out.data.size % 32) dp_buf_char(&f->out.data, 0);
}

static size_t fuse(fusing *f) {
    static const char *const qkv[] = {"attn_q", "attn_k", "attn_v"}, *const experts[] = {"ffn_gate_exps", "ffn_up_exps"};
    const char *pairs = f->gguf.header + 24, *behind = f->gguf.tensors[0].name.p - 8;
    size_t joined = 0;
    dp_buf_append(&f->out.kvs.bytes, pairs, (size_t)(behind - pairs));
    f->out.kvs.count = f->gguf.kv_count;
    for (int l = 0; l < 64; l++) {
        char layer[16];
        snprintf(layer, sizeof layer, "blk.%d.", l);
        joined += join(f, layer, qkv, 3, "attn_qkv");
        joined += join(f, layer, experts, 2, "ffn_gate_up_exps");
    }
    for (size_t i = 0; i < f->gguf.tensor_count; i++)
        if (!f->done[i]) copy(f, &f->gguf.tensors[i]);
    return joined;
}

size_t gguf_fuse(const char *from, const char *name) {
    fusing f = {.whole = test_load(from)};
    dp_file *file;
    if (!f.whole.p || dp_file_open(from, &file) != DP_OK) abort();
    if (dp_gguf_parse(file, &f.gguf) != DP_OK || f.gguf.tensor_count > DP_COUNT(f.done)) abort();
    size_t joined = fuse(&f);
    gguf_write(name, &f.out);
    dp_gguf_free(&f.gguf);
    dp_file_close(file);
    dp_free((void *)(uintptr_t)f.whole.p);
    return joined;
}
