/* builder.c: what every reader needs to fill a checkpoint: files, checked tensors, JSON side files. */
#include "format/builder.h"
#include "format/relayout.h"

#include <stdio.h>

enum { FILES_MAX = 100000 };

bool dp_filename_is_safe(dp_str name) {
    if (!name.n || name.p[0] == '/') return false;
    size_t start = 0;
    for (size_t i = 0; i <= name.n; i++) {
        char c = i < name.n ? name.p[i] : '/';
        if (c == '\\' || c == ':' || c == 0) return false;
        if (c != '/') continue;
        dp_str part = {name.p + start, i - start};
        if (!part.n || dp_str_is(part, ".") || dp_str_is(part, "..")) return false;
        start = i + 1;
    }
    return true;
}

const char *dp_shape_text(const int64_t *shape, int32_t n_dims, char *out, size_t size) {
    size_t used = 0;
    out[0] = 0;
    for (int32_t i = 0; i < n_dims && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "[%lld]", (long long)shape[i]);
    return out;
}

/* ---- files ---- */

dp_status dp_file_check_pointer(dp_file *file) {
    static const char begin[] = "version https://git-lfs.";
    enum { N = sizeof begin - 1, POINTER_MAX = 1024 };
    char found[N];
    if (dp_file_size(file) < N || dp_file_size(file) > POINTER_MAX) return DP_OK;
    TRY(dp_file_read(file, 0, found, N));
    if (memcmp(found, begin, N) != 0) return DP_OK;
    return dp_fail(DP_E_FORMAT, "%s: a Git LFS pointer, not the file that it stands for: fetch that (git lfs pull)", dp_file_path(file));
}

dp_status dp_checkpoint_add_listed_file(dp_checkpoint *c, dp_str name, int32_t *index) {
    if (!dp_filename_is_safe(name))
        return dp_fail(DP_E_FORMAT, "%s: unsafe file name \"" DP_STR_FMT "\": it must stay within the model's folder",
                       c->path, DP_STR_ARG(name));
    return dp_checkpoint_add_file(c, name, index);
}

dp_status dp_checkpoint_add_file(dp_checkpoint *c, dp_str name, int32_t *index) {
    if (c->file_count == FILES_MAX) return dp_fail(DP_E_FORMAT, "%s: more than %d files", c->path, FILES_MAX);
    size_t capacity = c->file_capacity;
    if (!dp_grow((void **)&c->files, &capacity, c->file_count + 1, sizeof *c->files) ||
        !dp_grow((void **)&c->file_names, &c->file_capacity, c->file_count + 1, sizeof *c->file_names))
        return dp_no_memory(c->file_count * sizeof *c->files);
    char *copy = dp_arena_copy(&c->arena, name.p, name.n);
    char *path = copy ? dp_path_join(c->folder, copy) : NULL;
    if (!path) return dp_no_memory(name.n);
    dp_file *file = NULL;
    dp_status status = dp_file_open(path, &file);
    dp_free(path);
    if (status == DP_OK) status = dp_file_check_pointer(file);
    if (status != DP_OK) {
        dp_file_close(file);
        return status;
    }
    c->files[c->file_count] = file;
    c->file_names[c->file_count] = copy;
    if (index) *index = (int32_t)c->file_count;
    c->file_count++;
    return DP_OK;
}

bool dp_checkpoint_has_file(const dp_checkpoint *c, const char *name) {
    char *path = dp_path_join(c->folder, name);
    dp_path_kind what = path ? dp_path_what(path) : DP_PATH_NONE;
    dp_free(path);
    return what == DP_PATH_FILE || what == DP_PATH_HIDDEN; /* reading a hidden one will say why it cannot be read */
}

dp_status dp_file_load_text(const char *path, size_t limit, char **text, size_t *size) {
    dp_file *file;
    TRY(dp_file_open(path, &file));
    dp_status status = dp_file_check_pointer(file);
    dp_file_close(file);
    return status == DP_OK ? dp_file_load(path, limit, text, size) : status;
}

dp_status dp_checkpoint_load_value(dp_checkpoint *c, const char *name, size_t limit, const dp_json **out) {
    char *path = dp_path_join(c->folder, name), *loaded = NULL;
    size_t size = 0;
    if (!path) return dp_no_memory(strlen(name));
    dp_status status = dp_file_load_text(path, limit, &loaded, &size);
    if (status == DP_OK) {
        char *text = dp_arena_copy(&c->arena, loaded, size);
        status = text ? dp_json_parse(&c->arena, (dp_str){text, size}, out) : dp_no_memory(size);
        if (status == DP_E_FORMAT) status = dp_fail_in(status, "%s", path);
    }
    dp_free(loaded);
    dp_free(path);
    return status;
}

dp_status dp_checkpoint_load_json(dp_checkpoint *c, const char *name, size_t limit, const dp_json **out) {
    const dp_json *root = NULL;
    TRY(dp_checkpoint_load_value(c, name, limit, &root));
    if (root->type != DP_JSON_OBJECT)
        return dp_fail(DP_E_FORMAT, "%s/%s: expected an object, found %s", c->folder, name, dp_json_type_name(root));
    *out = root;
    return DP_OK;
}

/* ---- tensors ---- */

static dp_status mul_u64(uint64_t a, uint64_t b, uint64_t *out) {
    if (b && a > UINT64_MAX / b) return dp_fail(DP_E_FORMAT, "its size overflows 64 bits");
    *out = a * b;
    return DP_OK;
}

dp_status dp_tensor_bytes(dp_dtype dtype, const int64_t *shape, int32_t n_dims, uint64_t *out) {
    const dp_dtype_info *info = dp_dtype_get(dtype);
    uint64_t elements = 1, cols = n_dims ? (uint64_t)shape[n_dims - 1] : 1;
    for (int32_t i = 0; i < n_dims; i++) {
        if (shape[i] < 0) return dp_fail(DP_E_FORMAT, "dimension %d is %lld", i, (long long)shape[i]);
        TRY(mul_u64(elements, (uint64_t)shape[i], &elements));
    }
    if (elements > INT64_MAX) return dp_fail(DP_E_FORMAT, "its size overflows 64 bits");
    if (cols % info->block)
        return dp_fail(DP_E_FORMAT, "rows of %llu elements are no whole number of %u-element %s blocks",
                       (unsigned long long)cols, info->block, info->name);
    return mul_u64(elements / info->block, info->bytes, out);
}

static dp_status check_spans(const dp_checkpoint *c, const dp_tensor_source *s, uint64_t expected) {
    uint64_t total = 0;
    for (size_t i = 0; i < s->span_count; i++) {
        const dp_span *span = &s->spans[i];
        uint64_t length = dp_file_size(c->files[span->file]);
        if (span->offset > length || span->size > length - span->offset)
            return dp_fail(DP_E_FORMAT,
                           "%llu bytes at offset %llu lie beyond the end of %s (%llu bytes): is it truncated?",
                           (unsigned long long)span->size, (unsigned long long)span->offset, c->file_names[span->file],
                           (unsigned long long)length);
        if (span->size > UINT64_MAX - total) return dp_fail(DP_E_FORMAT, "its spans overflow 64 bits");
        total += span->size;
    }
    if (total == expected) return DP_OK;
    char shape[96];
    return dp_fail(DP_E_FORMAT, "%s %s takes %llu bytes, found %llu", dp_dtype_get(s->dtype)->name,
                   dp_shape_text(s->shape, s->n_dims, shape, sizeof shape), (unsigned long long)expected,
                   (unsigned long long)total);
}

static dp_status add_checked(dp_checkpoint *c, const dp_tensor_source *s) {
    dp_tensor t = {.dtype = s->dtype, .n_dims = s->n_dims, .span_count = (int32_t)s->span_count};
    if (s->n_dims < 0 || s->n_dims > 4 || s->span_count > INT32_MAX)
        return dp_fail(DP_E_UNSUPPORTED, "%d dimensions, at most 4 are supported", s->n_dims);
    TRY(dp_tensor_bytes(s->dtype, s->shape, s->n_dims, &t.size));
    TRY(check_spans(c, s, s->relayout ? s->relayout->stored_size : t.size));
    if (s->relayout) {
        dp_relayout *relayout = dp_arena_alloc(&c->arena, sizeof *relayout);
        if (!relayout) return dp_no_memory(sizeof *relayout);
        *relayout = *s->relayout;
        t.relayout = relayout;
    }
    memcpy(t.shape, s->shape, sizeof t.shape);
    dp_span *spans = dp_arena_calloc(&c->arena, s->span_count, sizeof *spans);
    t.name = dp_arena_copy(&c->arena, s->name.p, s->name.n);
    t.source_name =
        dp_str_eq(s->name, s->source_name) ? t.name : dp_arena_copy(&c->arena, s->source_name.p, s->source_name.n);
    if (!spans || !t.name || !t.source_name ||
        !dp_grow((void **)&c->tensors, &c->tensor_capacity, c->tensor_count + 1, sizeof t))
        return dp_no_memory(sizeof t);
    if (s->span_count) memcpy(spans, s->spans, s->span_count * sizeof *spans);
    t.spans = spans;
    bool twice;
    TRY(dp_map_set(&c->tensor_map, (dp_str){t.name, s->name.n}, c->tensor_count, &twice));
    if (twice) return dp_fail(DP_E_FORMAT, "the name occurs twice");
    c->tensors[c->tensor_count++] = t;
    return DP_OK;
}

dp_status dp_checkpoint_add_tensor(dp_checkpoint *c, const dp_tensor_source *s) {
    dp_status status = s->name.n == 0                    ? dp_fail(DP_E_FORMAT, "a tensor without a name")
                       : memchr(s->name.p, 0, s->name.n) ? dp_fail(DP_E_FORMAT, "a name with a NUL byte")
                                                         : add_checked(c, s);
    return status == DP_OK || status == DP_E_MEMORY
               ? status
               : dp_fail_in(status, "%s: tensor " DP_STR_FMT, s->file, DP_STR_ARG(s->source_name));
}

/* ---- names ---- */

/* Spellings of wrappers around a text model and of checkpoints of the bare decoder. */
static dp_status rename_canonical(dp_checkpoint *c, dp_tensor *t) {
    static const char *const forms[][2] = {
        {"language_model.model.", "model."},      {"model.language_model.", "model."},
        {"language_model.lm_head.", "lm_head."},  {"layers.", "model.layers."},
        {"embed_tokens.", "model.embed_tokens."}, {"norm.", "model.norm."},
    };
    for (size_t f = 0; f < DP_COUNT(forms); f++) {
        if (!dp_str_starts(dp_str_of(t->source_name), forms[f][0])) continue;
        t->name = dp_arena_printf(&c->arena, "%s%s", forms[f][1], t->source_name + strlen(forms[f][0]));
        return t->name ? DP_OK : dp_no_memory(strlen(t->source_name));
    }
    return DP_OK;
}

dp_status dp_checkpoint_canonical_names(dp_checkpoint *c) {
    bool renamed = false;
    for (size_t i = 0; i < c->tensor_count; i++) {
        TRY(rename_canonical(c, &c->tensors[i]));
        renamed |= c->tensors[i].name != c->tensors[i].source_name;
    }
    if (!renamed) return DP_OK;
    dp_map_free(&c->tensor_map);
    for (size_t i = 0; i < c->tensor_count; i++) {
        bool twice;
        TRY(dp_map_set(&c->tensor_map, dp_str_of(c->tensors[i].name), i, &twice));
        if (twice) return dp_fail(DP_E_FORMAT, "%s: two tensors mean %s", c->path, c->tensors[i].name);
    }
    return DP_OK;
}

/* ---- config ---- */

static dp_status append_member(dp_checkpoint *c, dp_json *object, dp_json **tail, const dp_json *member) {
    dp_json *copy = dp_arena_alloc(&c->arena, sizeof *copy);
    if (!copy) return dp_no_memory(sizeof *copy);
    *copy = *member;
    copy->next = NULL;
    if (*tail)
        (*tail)->next = copy;
    else
        object->child = copy;
    *tail = copy;
    object->count++;
    return DP_OK;
}

/* text_config's members, then those of the whole that it does not have. */
static dp_status merge_text_config(dp_checkpoint *c, const dp_json *whole, const dp_json *text) {
    dp_json *merged = dp_arena_calloc(&c->arena, 1, sizeof *merged), *tail = NULL;
    dp_map own = {0};
    dp_status status = merged ? DP_OK : dp_no_memory(sizeof *merged);
    for (const dp_json *m = text->child; status == DP_OK && m; m = m->next) {
        status = append_member(c, merged, &tail, m);
        if (status == DP_OK) status = dp_map_set(&own, m->key, 1, NULL);
    }
    for (const dp_json *m = whole->child; status == DP_OK && m; m = m->next)
        if (m != text && !dp_map_find(&own, m->key)) status = append_member(c, merged, &tail, m);
    dp_map_free(&own);
    if (status != DP_OK) return status;
    merged->type = DP_JSON_OBJECT;
    c->config = merged;
    return DP_OK;
}

dp_status dp_checkpoint_set_config(dp_checkpoint *c, const dp_json *config) {
    const dp_json *text = dp_json_find(config, "text_config");
    c->config = config;
    return text && text->type == DP_JSON_OBJECT ? merge_text_config(c, config, text) : DP_OK;
}
