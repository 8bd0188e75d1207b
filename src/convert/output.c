/* output.c: taking an output's place safely. A folder grows under a hidden name beside its final one and is renamed
 * when it is complete; its manifest is written last, so that what a killed run leaves is no model. The next run for the
 * same output removes it. */
#include "convert/output.h"

#include <stdio.h>

enum { SLACK = 1 << 20 }; /* room for the manifest and what file systems add */

dp_status dp_output_part(const char *path, const char *suffix, char **out) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    size_t base = n;
    while (base && path[base - 1] != '/') base--;
    size_t size = n + strlen(suffix) + 2;
    char *name = dp_malloc(size);
    if (!name) return dp_no_memory(size);
    snprintf(name, size, "%.*s.%.*s%s", (int)base, path, (int)(n - base), path + base, suffix);
    *out = name;
    return DP_OK;
}

static dp_status is_empty(const char *folder, bool *out) {
    dp_buf names = {0};
    dp_status status = dp_folder_list(folder, &names);
    *out = names.size == 0;
    dp_buf_free(&names);
    return status;
}

static dp_status is_model(const char *folder, bool *out) {
    char *manifest = dp_path_join(folder, "manifest.json");
    if (!manifest) return dp_no_memory(strlen(folder));
    *out = dp_path_what(manifest) == DP_PATH_FILE;
    dp_free(manifest);
    return DP_OK;
}

static dp_status check_folder(const dp_output *output) {
    bool empty = false, model = false;
    TRY(is_empty(output->to.path, &empty));
    if (empty) return DP_OK;
    if (!output->to.overwrite)
        return dp_fail(DP_E_ARG, "%s: already exists; choose another output or ask to overwrite it", output->to.path);
    TRY(is_model(output->to.path, &model));
    if (!model) return dp_fail(DP_E_ARG, "%s: holds files but no manifest.json, so it is not replaced", output->to.path);
    return DP_OK;
}

static dp_status check_place(const dp_output *output) {
    bool file = dp_str_ends(dp_str_of(output->to.path), ".gguf");
    switch (dp_path_what(output->to.path)) {
    case DP_PATH_NONE:
        return DP_OK;
    case DP_PATH_FOLDER:
        if (!file) return check_folder(output);
        return dp_fail(DP_E_ARG, "%s: is a folder, expected the name of a GGUF file", output->to.path);
    case DP_PATH_FILE:
        if (file && output->to.overwrite) return DP_OK;
        if (file)
            return dp_fail(DP_E_ARG, "%s: already exists; choose another output or ask to overwrite it", output->to.path);
        return dp_fail(DP_E_ARG, "%s: is a file, expected a folder to make", output->to.path);
    case DP_PATH_HIDDEN:
        return dp_path_find(output->to.path, NULL);
    default:
        return dp_fail(DP_E_ARG, "%s: is neither a file nor a folder", output->to.path);
    }
}

dp_status dp_output_check(const dp_output *output, uint64_t bytes) {
    TRY(check_place(output));
    uint64_t free_space = dp_path_free_space(output->to.path, NULL);
    if (free_space < bytes || free_space - bytes < SLACK)
        return dp_fail(DP_E_DISK_FULL, "%s: needs %llu bytes, only %llu are free", output->to.path,
                       (unsigned long long)(bytes + SLACK), (unsigned long long)free_space);
    return DP_OK;
}

static dp_status make_parent(const char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    while (n && path[n - 1] != '/') n--;
    while (n > 1 && path[n - 1] == '/') n--;
    char *folder = n ? dp_malloc(n + 1) : NULL;
    if (!n) return DP_OK;
    if (!folder) return dp_no_memory(n + 1);
    memcpy(folder, path, n);
    folder[n] = 0;
    dp_status status = dp_folder_make(folder);
    dp_free(folder);
    return status;
}

dp_status dp_output_claim(const dp_output *output, dp_claim **out) {
    char *name = NULL;
    TRY(make_parent(output->to.path));
    TRY(dp_output_part(output->to.path, ".lock", &name));
    dp_status status = dp_claim_take(name, output->to.path, out);
    dp_free(name);
    return status;
}

/* ---- assets ---- */

enum { ASSET_MAX_BYTES = 256 << 20 };

void dp_assets_free(dp_assets *assets) {
    for (size_t i = 0; i < assets->count; i++) dp_free(assets->files[i].data);
    *assets = (dp_assets){0};
}

const dp_asset *dp_assets_find(const dp_assets *assets, const char *name) {
    for (size_t i = 0; i < assets->count; i++)
        if (strcmp(assets->files[i].name, name) == 0) return &assets->files[i];
    return NULL;
}

static dp_status load_files(const char *folder, dp_assets *out) {
    static const char *const names[DP_ASSETS_MAX] = {"tokenizer.json", "tokenizer_config.json",
                                                     "generation_config.json", "chat_template.jinja"};
    for (size_t i = 0; i < DP_COUNT(names); i++) {
        char *path = dp_path_join(folder, names[i]);
        if (!path) return dp_no_memory(strlen(folder));
        dp_asset asset = {.name = names[i]};
        dp_status status = DP_OK;
        bool there = dp_path_what(path) == DP_PATH_FILE;
        if (there) status = dp_file_load_text(path, ASSET_MAX_BYTES, &asset.data, &asset.size);
        dp_free(path);
        TRY(status);
        if (there) out->files[out->count++] = asset;
    }
    return DP_OK;
}

dp_status dp_assets_take(dp_assets *out, const char *name, dp_buf *buf) {
    dp_asset *asset = &out->files[out->count];
    TRY(dp_buf_take(buf, &asset->data, &asset->size));
    asset->name = name;
    out->count++;
    return DP_OK;
}

static dp_status write_files(const dp_checkpoint *checkpoint, dp_assets *out) {
    dp_tokenizer *tokenizer = NULL;
    dp_status status = dp_checkpoint_tokenizer(checkpoint, &tokenizer);
    if (status == DP_E_NOT_FOUND) return DP_OK;
    TRY(status);
    dp_buf json = {0}, config = {0};
    status = dp_tokenizer_write_hf(tokenizer, &json, &config);
    if (status == DP_OK) status = dp_assets_take(out, "tokenizer.json", &json);
    if (status == DP_OK) status = dp_assets_take(out, "tokenizer_config.json", &config);
    dp_buf_free(&json);
    dp_buf_free(&config);
    dp_tokenizer_close(tokenizer);
    return status;
}

dp_status dp_assets_from_checkpoint(const dp_checkpoint *checkpoint, dp_assets *out) {
    dp_assets assets = {0};
    dp_status status = checkpoint->kind == DP_CHECKPOINT_GGUF ? write_files(checkpoint, &assets)
                                                              : load_files(checkpoint->folder, &assets);
    if (status != DP_OK) {
        dp_assets_free(&assets);
        return status;
    }
    *out = assets;
    return DP_OK;
}
