/* convert.c: dp_convert: from any checkpoint to an RDRR folder or a GGUF file. */
#include "convert/convert.h"

#include "convert/gguf_write.h"

enum { SHARD_SIZE = 64 << 20 };

static bool has_experts(const dp_source *source) {
    for (size_t i = 0; i < source->count; i++)
        if (dp_name_expert(source->tensors[i].name) >= 0) return true;
    return false;
}

static bool has_tensor(const dp_source *source, const char *name) {
    for (size_t i = 0; i < source->count; i++)
        if (strcmp(source->tensors[i].name, name) == 0) return true;
    return false;
}

dp_status dp_output_settle(dp_output_desc *to, const dp_source *source) {
    if (!to->path || !*to->path) return dp_fail(DP_E_ARG, "output: expected the name of a folder or a .gguf file");
    if (dp_str_ends(dp_str_of(to->path), ".safetensors"))
        return dp_fail(DP_E_UNSUPPORTED, "%s: safetensors are read, not written; expected the name of a folder or a .gguf file",
                       to->path);
    if (to->sharding < DP_SHARD_AUTO || to->sharding > DP_SHARD_EXPERT)
        return dp_fail(DP_E_ARG, "sharding: expected %d to %d (enum dp_sharding), found %d", DP_SHARD_AUTO, DP_SHARD_EXPERT,
                       (int)to->sharding);
    if (to->shard_size > INT64_MAX)
        return dp_fail(DP_E_ARG, "shard size: expected at most 2^63 bytes, found %llu", (unsigned long long)to->shard_size);
    if (!to->shard_size) to->shard_size = SHARD_SIZE;
    to->shard_size = (to->shard_size + DP_RDRR_ALIGN - 1) / DP_RDRR_ALIGN * DP_RDRR_ALIGN;
    if (to->sharding == DP_SHARD_AUTO) to->sharding = has_experts(source) ? DP_SHARD_EXPERT : DP_SHARD_FIXED;
    return DP_OK;
}

static dp_status write_gguf(const dp_source *source, const dp_mixture *mixture, const dp_output *output, dp_convert_result *result) {
    dp_plan plan = {0};
    TRY(dp_plan_gguf(source, mixture, output, &plan));
    dp_status status = dp_gguf_write(&plan, output, result);
    if (status == DP_OK) result->tensors = plan.count;
    dp_plan_free(&plan);
    return status;
}

static dp_status write_rdrr(const dp_source *source, const dp_mixture *mixture, const dp_output *output, dp_convert_result *result) {
    dp_plan plan = {0};
    TRY(dp_plan_canonical(source, mixture, output->to.sharding == DP_SHARD_EXPERT, &plan));
    dp_status status = dp_rdrr_write(&plan, output, result);
    if (status == DP_OK) result->tensors = plan.count;
    dp_plan_free(&plan);
    return status;
}

/* What came from a GGUF file goes back as it was. */
dp_status dp_write_model(const dp_source *source, const dp_mixture *mixture, const dp_output *output, dp_convert_result *result) {
    dp_source apart = {0};
    if (!dp_str_ends(dp_str_of(output->to.path), ".gguf")) return write_rdrr(source, mixture, output, result);
    if (!output->gguf) TRY(dp_source_apart(source, output->config, &apart));
    dp_status status = write_gguf(apart.count ? &apart : source, mixture, output, result);
    dp_source_free(&apart);
    return status;
}

/* The last part of a path, without trailing slashes, so that the record does not tell of this machine. */
static char *last_part(dp_arena *arena, const char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    size_t from = n;
    while (from && path[from - 1] != '/') from--;
    return dp_arena_copy(arena, path + from, n - from);
}

/* What a GGUF said besides the config: from the file itself, or as an RDRR made from one recorded it. */
static dp_status find_gguf_extra(const dp_checkpoint *checkpoint, dp_arena *arena, const dp_json **out) {
    if (checkpoint->kind == DP_CHECKPOINT_GGUF) return dp_gguf_extra_collect(checkpoint, arena, out);
    *out = dp_json_find(dp_json_find(checkpoint->manifest, "conversion"), "gguf");
    return DP_OK;
}

static dp_status convert_source(const dp_convert_desc *desc, dp_checkpoint *checkpoint, dp_source *source,
                                dp_convert_result *result) {
    dp_quantize quantize;
    dp_mixture mixture;
    dp_assets assets = {0};
    TRY(dp_quantize_parse(desc->output.quantize, &quantize));
    dp_mixture_init(&mixture, quantize, checkpoint->config, !has_tensor(source, "lm_head.weight"));
    dp_output output = {.to = desc->output,
                        .input = checkpoint,
                        .name = desc->name ? desc->name : checkpoint->name,
                        .config = checkpoint->config,
                        .assets = &assets};
    output.quantization = dp_quantize_label(quantize) ? dp_quantize_label(quantize) : checkpoint->quantization;
    output.source = last_part(&source->arena, checkpoint->path);
    if (!output.source) return dp_no_memory(strlen(checkpoint->path));
    TRY(find_gguf_extra(checkpoint, &source->arena, &output.gguf));
    TRY(dp_output_settle(&output.to, source));
    TRY(dp_assets_from_checkpoint(checkpoint, &assets));
    dp_status status = dp_write_model(source, &mixture, &output, result);
    dp_assets_free(&assets);
    return status;
}

static dp_status convert_checkpoint(const dp_convert_desc *desc, dp_checkpoint *checkpoint,
                                    dp_convert_result *result) {
    dp_source source = {0};
    TRY(dp_source_from_checkpoint(checkpoint, &source));
    for (size_t i = 0; i < checkpoint->tensor_count; i++) result->bytes_in += checkpoint->tensors[i].size;
    dp_status status = convert_source(desc, checkpoint, &source, result);
    dp_source_free(&source);
    return status;
}

dp_status dp_convert(const dp_convert_desc *desc, dp_convert_result *result) {
    if (!desc || !desc->input || !*desc->input) return dp_fail(DP_E_ARG, "input: expected a model folder or file");
    dp_convert_result done = {0};
    dp_checkpoint *checkpoint = NULL;
    TRY(dp_checkpoint_open(desc->input, &checkpoint));
    dp_status status = convert_checkpoint(desc, checkpoint, &done);
    dp_checkpoint_close(checkpoint);
    if (status == DP_OK && result) *result = done;
    return status;
}
