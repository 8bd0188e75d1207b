/* gguf_checkpoint.c: a GGUF file, or all parts of a split one, as a checkpoint. Parts are named
 * <base>-00001-of-0000N.gguf; the first carries the metadata, each carries its own tensors. */
#include "format/builder.h"
#include "format/gguf_config.h"
#include "format/gguf_fused.h"

#include <stdio.h>

enum { SUFFIX = 20, PARTS_MAX = 65535 }; /* length of "-00001-of-00002.gguf" */

void dp_checkpoint_free_gguf(dp_checkpoint *c) {
    if (!c->gguf) return;
    dp_gguf *g = (dp_gguf *)c->gguf;
    dp_gguf_free(g);
    dp_free(g);
    c->gguf = NULL;
}

/* ---- tensors ---- */

typedef struct adding {
    dp_checkpoint *c;
    const dp_gguf *metadata; /* the first part's */
    dp_gguf_arch arch;
} adding;

static dp_status add_source(const adding *a, dp_tensor_source *s) {
    dp_buf name = {0};
    if (dp_gguf_is_fused(a->arch, s->source_name)) return dp_gguf_add_fused(a->c, a->metadata, a->arch, s);
    dp_gguf_name_to_hf(a->arch, s->source_name, &name);
    s->name = (dp_str){name.data, name.size};
    dp_status status = name.failed ? dp_no_memory(name.size) : dp_checkpoint_add_tensor(a->c, s);
    dp_buf_free(&name);
    return status;
}

/* GGUF names a matrix's contiguous dimension first, we last. */
static dp_status add_tensor(const adding *a, int32_t file, const dp_gguf *g, const dp_gguf_tensor *t) {
    dp_checkpoint *c = a->c;
    dp_tensor_source s = {.source_name = t->name,
                          .n_dims = (int32_t)t->n_dims,
                          .span_count = 1,
                          .file = dp_file_path(c->files[file])};
    dp_span span = {.file = file};
    if (!dp_dtype_by_ggml(t->type, &s.dtype))
        return dp_fail(DP_E_UNSUPPORTED, "%s: tensor " DP_STR_FMT ": type %s (%u) is not supported", s.file,
                       DP_STR_ARG(t->name), dp_ggml_type_name(t->type), t->type);
    for (uint32_t d = 0; d < t->n_dims; d++) s.shape[d] = (int64_t)t->dims[t->n_dims - 1 - d];
    dp_status status = dp_tensor_bytes(s.dtype, s.shape, s.n_dims, &span.size);
    if (status == DP_OK && t->offset > UINT64_MAX - g->data_start)
        status = dp_fail(DP_E_FORMAT, "offset %llu overflows", (unsigned long long)t->offset);
    if (status != DP_OK) return dp_fail_in(status, "%s: tensor " DP_STR_FMT, s.file, DP_STR_ARG(t->name));
    span.offset = g->data_start + t->offset;
    s.spans = &span;
    return add_source(a, &s);
}

static dp_status add_tensors(const adding *a, int32_t file, const dp_gguf *g) {
    for (size_t i = 0; i < g->tensor_count; i++) TRY(add_tensor(a, file, g, &g->tensors[i]));
    return DP_OK;
}

/* ---- parts ---- */

static dp_status add_part(const adding *a, const char *name) {
    dp_gguf part = {0};
    int32_t file;
    TRY(dp_checkpoint_add_file(a->c, dp_str_of(name), &file));
    dp_status status = dp_gguf_parse(a->c->files[file], &part);
    if (status == DP_OK) status = add_tensors(a, file, &part);
    dp_gguf_free(&part);
    return status;
}

/* "<base>-00001-of-0000N.gguf": replaces the part's number within the copy at `name`. */
static dp_status add_other_parts(const adding *a, const char *first, int64_t parts) {
    dp_checkpoint *c = a->c;
    char expected[SUFFIX + 16];
    size_t n = strlen(first);
    snprintf(expected, sizeof expected, "-%05d-of-%05d.gguf", 1, (int)parts);
    if (parts > PARTS_MAX || !dp_str_ends(dp_str_of(first), expected))
        return dp_fail(DP_E_FORMAT, "%s: the first of %lld parts is expected to be named <name>%s", c->path,
                       (long long)parts, expected);
    for (int part = 2; part <= (int)parts; part++) {
        char *name = dp_arena_printf(&c->arena, "%.*s-%05d-of-%05d.gguf", (int)(n - SUFFIX), first, part, (int)parts);
        if (!name) return dp_no_memory(n);
        dp_status status = add_part(a, name);
        if (status != DP_OK) return dp_fail_in(status, "part %d of %lld", part, (long long)parts);
    }
    return DP_OK;
}

/* ---- whole ---- */

static dp_status describe(dp_checkpoint *c, const dp_gguf *g) {
    dp_str name = {"", 0};
    int64_t file_type = -1;
    TRY(dp_gguf_get_str(g, "general.name", &name));
    TRY(dp_gguf_get_int(g, "general.file_type", &file_type));
    c->quantization = dp_gguf_file_type_name(file_type);
    if (!name.n || memchr(name.p, 0, name.n)) return DP_OK;
    c->name = dp_arena_copy(&c->arena, name.p, name.n);
    return c->name ? DP_OK : dp_no_memory(name.n);
}

static dp_status read_first(dp_checkpoint *c, dp_gguf *g, const char *file) {
    dp_str architecture = {"", 0};
    int64_t parts = 1, number = 0;
    TRY(dp_checkpoint_add_file(c, dp_str_of(file), NULL));
    TRY(dp_gguf_parse(c->files[0], g));
    TRY(dp_gguf_get_str(g, "general.architecture", &architecture));
    TRY(dp_gguf_get_int(g, "split.count", &parts));
    TRY(dp_gguf_get_int(g, "split.no", &number));
    if (number != 0)
        return dp_fail(DP_E_FORMAT, "%s: this is part %lld of %lld: open the first part", c->path,
                       (long long)number + 1, (long long)parts);
    dp_gguf_arch arch = dp_gguf_arch_of(architecture);
    const adding a = {c, g, arch};
    TRY(add_tensors(&a, 0, g));
    if (parts > 1) TRY(add_other_parts(&a, file, parts));
    TRY(describe(c, g));
    c->rope_pairs = arch == DP_GGUF_ARCH_LLAMA;
    c->norms_plus_one = dp_str_starts(architecture, "gemma");
    dp_status status = dp_gguf_config_read(c, g);
    return status == DP_OK || status == DP_E_MEMORY ? status : dp_fail_in(status, "%s", c->path);
}

dp_status dp_gguf_read(dp_checkpoint *c, const char *file) {
    dp_gguf *g = dp_calloc(1, sizeof *g);
    if (!g) return dp_no_memory(sizeof *g);
    c->kind = DP_CHECKPOINT_GGUF;
    c->gguf = g;
    return read_first(c, g, file);
}
