/* checkpoint.c: tells the formats apart, and reads or maps tensors once a reader has filled the checkpoint. All access
 * to weight bytes goes through dp_checkpoint_read and dp_checkpoint_map.
 *
 *   path given                        read by
 *   folder with manifest.json         rdrr.c
 *   folder with config.json or        hf.c
 *     *.safetensors
 *   folder with .gguf files           gguf_checkpoint.c, the first in name order
 *   file starting with "GGUF"         gguf_checkpoint.c
 *   *.safetensors file                hf.c
 *   .../manifest.json                 rdrr.c */
#include "format/builder.h"
#include "format/relayout.h"

/* ---- opening ---- */

static dp_status set_place(dp_checkpoint *c, const char *path, bool is_folder) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    size_t slash = n;
    while (slash > 0 && path[slash - 1] != '/') slash--;
    size_t folder = slash > 1 ? slash - 1 : slash;
    size_t name_end = n;
    if (!is_folder && name_end - slash > 5 && dp_str_ends((dp_str){path, n}, ".gguf")) name_end -= 5;
    c->path = dp_arena_copy(&c->arena, path, strlen(path));
    c->folder = is_folder ? dp_arena_copy(&c->arena, path, n) : folder ? dp_arena_copy(&c->arena, path, folder) : ".";
    c->name = dp_arena_copy(&c->arena, path + slash, name_end - slash);
    return c->path && c->folder && c->name ? DP_OK : dp_no_memory(n);
}

/* First name (in order) in the folder with that ending, copied into the arena; "" when there is none. */
static dp_status first_ending(dp_checkpoint *c, const char *ending, const char **out) {
    dp_buf names = {0};
    dp_status status = dp_folder_list(c->folder, &names);
    *out = "";
    for (const char *p = names.data; status == DP_OK && p && *p && !**out; p += strcspn(p, "\n") + 1) {
        dp_str name = {p, strcspn(p, "\n")};
        if (!dp_str_ends(name, ending)) continue;
        *out = dp_arena_copy(&c->arena, name.p, name.n);
        if (!*out) {
            *out = "";
            status = dp_no_memory(name.n);
        }
    }
    dp_buf_free(&names);
    return status;
}

static dp_status open_folder(dp_checkpoint *c) {
    const char *safetensors, *gguf;
    if (dp_checkpoint_has_file(c, "manifest.json")) return dp_rdrr_read(c);
    TRY(first_ending(c, ".safetensors", &safetensors));
    if (*safetensors || dp_checkpoint_has_file(c, "model.safetensors.index.json")) return dp_hf_read(c);
    TRY(first_ending(c, ".gguf", &gguf));
    if (*gguf) return dp_gguf_read(c, gguf);
    return dp_fail(DP_E_NOT_FOUND,
                   "%s: no model here: expected manifest.json (RDRR), config.json with *.safetensors "
                   "(Hugging Face) or a .gguf file",
                   c->path);
}

static dp_status starts_with_gguf(const char *path, bool *out) {
    dp_file *file;
    char magic[4] = {0};
    TRY(dp_file_open(path, &file));
    dp_status status = dp_file_check_pointer(file);
    if (status == DP_OK && dp_file_size(file) >= 4) status = dp_file_read(file, 0, magic, 4);
    dp_file_close(file);
    *out = memcmp(magic, "GGUF", 4) == 0;
    return status;
}

static dp_status open_file(dp_checkpoint *c) {
    const char *slash = strrchr(c->path, '/'), *file = slash ? slash + 1 : c->path;
    bool gguf;
    TRY(starts_with_gguf(c->path, &gguf));
    if (gguf) return dp_gguf_read(c, file);
    if (strcmp(file, "manifest.json") == 0) return dp_rdrr_read(c);
    if (dp_str_ends(dp_str_of(file), ".safetensors")) return dp_safetensors_read(c, file);
    return dp_fail(DP_E_FORMAT,
                   "%s: no model file: expected GGUF (its first bytes), a name ending in .safetensors, or "
                   "manifest.json",
                   c->path);
}

/* The dtype that most bytes have. */
static const char *commonest_dtype(const dp_checkpoint *c) {
    uint64_t bytes[DP_DTYPE_COUNT] = {0};
    int best = 0;
    for (size_t i = 0; i < c->tensor_count; i++) bytes[c->tensors[i].dtype] += c->tensors[i].size;
    for (int d = 1; d < DP_DTYPE_COUNT; d++)
        if (bytes[d] > bytes[best]) best = d;
    return dp_dtype_get((dp_dtype)best)->name;
}

static dp_status open_whole(dp_checkpoint *c, bool is_folder) {
    TRY(is_folder ? open_folder(c) : open_file(c));
    if (!c->quantization) c->quantization = commonest_dtype(c);
    return DP_OK;
}

static dp_status open_shards(dp_checkpoint *c, bool is_folder) {
    dp_str path = dp_str_of(c->path);
    bool rdrr = is_folder ? dp_checkpoint_has_file(c, "manifest.json")
                          : dp_str_is(path, "manifest.json") || dp_str_ends(path, "/manifest.json");
    return rdrr ? dp_rdrr_list_shards(c) : DP_OK;
}

static dp_status open_into(dp_checkpoint *c, const char *path, dp_status (*open)(dp_checkpoint *c, bool is_folder)) {
    dp_path_kind what;
    TRY(dp_path_find(path, &what));
    TRY(set_place(c, path, what == DP_PATH_FOLDER));
    return open(c, what == DP_PATH_FOLDER);
}

static dp_status open_new(const char *path, dp_status (*open)(dp_checkpoint *c, bool is_folder), dp_checkpoint **out) {
    dp_checkpoint *c = dp_calloc(1, sizeof *c);
    if (!c) return dp_no_memory(sizeof *c);
    dp_status status = open_into(c, path, open);
    if (status != DP_OK) {
        dp_checkpoint_close(c);
        return status;
    }
    *out = c;
    return DP_OK;
}

dp_status dp_checkpoint_open(const char *path, dp_checkpoint **out) { return open_new(path, open_whole, out); }

dp_status dp_checkpoint_open_shards(const char *path, dp_checkpoint **out) { return open_new(path, open_shards, out); }

void dp_checkpoint_close(dp_checkpoint *c) {
    if (!c) return;
    for (size_t i = 0; i < c->file_count; i++) dp_file_close(c->files[i]);
    dp_checkpoint_free_gguf(c);
    dp_free(c->files);
    dp_free(c->file_names);
    dp_free(c->tensors);
    dp_map_free(&c->tensor_map);
    dp_arena_free(&c->arena);
    dp_free(c);
}

/* ---- tensors ---- */

const dp_tensor *dp_checkpoint_find(const dp_checkpoint *c, const char *name) {
    const uint64_t *index = dp_map_find(&c->tensor_map, dp_str_of(name));
    return index ? &c->tensors[*index] : NULL;
}

enum { PIECES_ON_STACK = 16 };

dp_status dp_checkpoint_map(const dp_checkpoint *c, const dp_tensor *t, dp_mapping *out) {
    dp_piece few[PIECES_ON_STACK] = {{0}}, *pieces = few;
    size_t count = (size_t)t->span_count, bytes;
    if (t->size == 0) return dp_fail(DP_E_UNSUPPORTED, "tensor %s: empty, nothing to map", t->name);
    if (t->relayout) return dp_fail(DP_E_UNSUPPORTED, "tensor %s: it is converted while it is read", t->name);
    if (count > PIECES_ON_STACK) {
        pieces = dp_mul_size(count, sizeof *pieces, &bytes) ? dp_malloc(bytes) : NULL;
        if (!pieces) return dp_no_memory(count);
    }
    for (size_t i = 0; i < count; i++)
        pieces[i] = (dp_piece){c->files[t->spans[i].file], t->spans[i].offset, t->spans[i].size};
    dp_status status = dp_host_map(pieces, count, out);
    if (pieces != few) dp_free(pieces);
    return status == DP_OK ? DP_OK : dp_fail_in(status, "tensor %s", t->name);
}

dp_status dp_checkpoint_map_file(const dp_checkpoint *c, int32_t file, dp_mapping *out) {
    dp_piece whole = {c->files[file], 0, dp_file_size(c->files[file])};
    return dp_host_map(&whole, 1, out);
}

dp_status dp_checkpoint_read_stored(const dp_checkpoint *c, const dp_tensor *t, uint64_t offset, void *data,
                                    size_t size) {
    char *to = data;
    for (int32_t i = 0; i < t->span_count && size; i++) {
        const dp_span *span = &t->spans[i];
        if (offset >= span->size) {
            offset -= span->size;
            continue;
        }
        size_t part = (size_t)DP_MIN((uint64_t)size, span->size - offset);
        TRY(dp_file_read(c->files[span->file], span->offset + offset, to, part));
        to += part;
        size -= part;
        offset = 0;
    }
    return DP_OK;
}

dp_status dp_checkpoint_read(const dp_checkpoint *c, const dp_tensor *t, uint64_t offset, void *data, size_t size) {
    if (offset > t->size || size > t->size - offset)
        return dp_fail(DP_E_ARG, "tensor %s: %zu bytes at offset %llu asked for, it has %llu", t->name, size,
                       (unsigned long long)offset, (unsigned long long)t->size);
    return t->relayout ? dp_relayout_read(c, t, offset, data, size)
                       : dp_checkpoint_read_stored(c, t, offset, data, size);
}
