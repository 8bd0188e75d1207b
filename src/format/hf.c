/* hf.c: Hugging Face folders: config.json and the files that hold the tensors.
 *
 *   model.safetensors.index.json   its weight_map {tensor: file} says which files there are and where each tensor is
 *   model.safetensors              else
 *   one other *.safetensors        else
 *
 * Text models inside multimodal checkpoints (Gemma 3) open as the text model alone: "text_config" is laid over the rest
 * of the config and the tensors of the language model lose their prefix. Other tensors keep their names. */
#include "format/builder.h"

enum { CONFIG_MAX = 16 << 20, INDEX_MAX = 64 << 20 };

/* ---- config ---- */

static dp_status read_config(dp_checkpoint *c) {
    const dp_json *whole;
    TRY(dp_checkpoint_load_json(c, "config.json", CONFIG_MAX, &whole));
    return dp_checkpoint_set_config(c, whole);
}

/* "MXFP4" from quantization_config, else torch_dtype (transformers 5: dtype); other names are derived from the tensors.
 */
static dp_status label(dp_checkpoint *c) {
    dp_str method = {"", 0}, dtype = {"", 0};
    dp_dtype id;
    TRY(dp_json_get_str(dp_json_find(c->config, "quantization_config"), "quant_method", &method));
    TRY(dp_json_get_str(c->config, "dtype", &dtype));
    TRY(dp_json_get_str(c->config, "torch_dtype", &dtype));
    if (method.n ? dp_dtype_by_name(method, &id) : dp_dtype_by_name(dtype, &id))
        c->quantization = dp_dtype_get(id)->name;
    return DP_OK;
}

/* ---- tensors ---- */

/* Fills keep (tensor -> file index) and opens each file of the weight map once. */
static dp_status open_mapped(dp_checkpoint *c, const dp_json *weight_map, dp_map *keep, dp_map *files) {
    for (const dp_json *m = weight_map->child; m; m = m->next) {
        if (m->type != DP_JSON_STRING)
            return dp_fail(DP_E_FORMAT, "%s: weight_map \"" DP_STR_FMT "\": expected a file name, found %s", c->path,
                           DP_STR_ARG(m->key), dp_json_type_name(m));
        const uint64_t *known = dp_map_find(files, m->string);
        int32_t file = known ? (int32_t)*known : -1;
        if (!known) {
            TRY(dp_checkpoint_add_listed_file(c, m->string, &file));
            TRY(dp_map_set(files, m->string, (uint64_t)file, NULL));
        }
        TRY(dp_map_set(keep, m->key, (uint64_t)file, NULL));
    }
    return DP_OK;
}

static dp_status add_mapped(dp_checkpoint *c, const dp_json *weight_map, dp_map *keep) {
    dp_map files = {0};
    dp_status status = open_mapped(c, weight_map, keep, &files);
    dp_map_free(&files);
    for (size_t i = 0; status == DP_OK && i < c->file_count; i++) status = dp_safetensors_add(c, (int32_t)i, keep);
    if (status != DP_OK) return status;
    for (const dp_json *m = weight_map->child; m; m = m->next)
        if (!dp_map_find(&c->tensor_map, m->key))
            return dp_fail(DP_E_FORMAT, "%s: the index places tensor " DP_STR_FMT " in " DP_STR_FMT ", which lacks it",
                           c->path, DP_STR_ARG(m->key), DP_STR_ARG(m->string));
    return DP_OK;
}

static dp_status add_indexed(dp_checkpoint *c) {
    const dp_json *index;
    TRY(dp_checkpoint_load_json(c, "model.safetensors.index.json", INDEX_MAX, &index));
    const dp_json *weight_map = dp_json_find(index, "weight_map");
    if (!weight_map || weight_map->type != DP_JSON_OBJECT)
        return dp_fail(DP_E_FORMAT, "%s: model.safetensors.index.json: \"weight_map\": expected an object, found %s",
                       c->path, dp_json_type_name(weight_map));
    dp_map keep = {0};
    dp_status status = add_mapped(c, weight_map, &keep);
    dp_map_free(&keep);
    return status;
}

/* The only *.safetensors file of the folder. */
static dp_status add_single(dp_checkpoint *c) {
    dp_buf names = {0};
    dp_str found = {NULL, 0};
    size_t count = 0;
    dp_status status = dp_folder_list(c->folder, &names);
    for (const char *p = names.data; status == DP_OK && p && *p; p += strcspn(p, "\n") + 1) {
        dp_str name = {p, strcspn(p, "\n")};
        if (dp_str_ends(name, ".safetensors")) found = name, count++;
    }
    if (status == DP_OK && count == 0) status = dp_fail(DP_E_NOT_FOUND, "%s: no *.safetensors file", c->path);
    if (status == DP_OK && count > 1)
        status = dp_fail(DP_E_FORMAT,
                         "%s: %zu *.safetensors files, but no model.safetensors or model.safetensors.index.json "
                         "to say which to use",
                         c->path, count);
    if (status == DP_OK) status = dp_checkpoint_add_file(c, found, NULL);
    dp_buf_free(&names);
    return status == DP_OK ? dp_safetensors_add(c, 0, NULL) : status;
}

static dp_status add_named(dp_checkpoint *c, const char *file) {
    TRY(dp_checkpoint_add_file(c, dp_str_of(file), NULL));
    return dp_safetensors_add(c, 0, NULL);
}

static dp_status finish(dp_checkpoint *c) {
    TRY(label(c));
    return dp_checkpoint_canonical_names(c);
}

dp_status dp_hf_read(dp_checkpoint *c) {
    c->kind = DP_CHECKPOINT_HF;
    TRY(read_config(c));
    if (dp_checkpoint_has_file(c, "model.safetensors.index.json"))
        TRY(add_indexed(c));
    else if (dp_checkpoint_has_file(c, "model.safetensors"))
        TRY(add_named(c, "model.safetensors"));
    else
        TRY(add_single(c));
    return finish(c);
}

dp_status dp_safetensors_read(dp_checkpoint *c, const char *file) {
    static const dp_json no_config = {.type = DP_JSON_OBJECT};
    c->kind = DP_CHECKPOINT_HF;
    c->config = &no_config;
    if (dp_checkpoint_has_file(c, "config.json")) TRY(read_config(c));
    TRY(add_named(c, file));
    return finish(c);
}
