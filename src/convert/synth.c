/* synth.c: dp_synth: a model of a published model's shapes with random weights, through the same plan and writers as a
 * conversion. */
#include "convert/synth.h"

#include <stdlib.h>

#include "convert/convert.h"

static dp_status find_shape(const char *like, size_t *out) {
    dp_str wanted = dp_str_of(like);
    for (size_t i = 0; dp_synth_name(i); i++)
        if (dp_str_is_nocase(wanted, dp_synth_name(i))) {
            *out = i;
            return DP_OK;
        }
    dp_buf names = {0};
    for (size_t i = 0; dp_synth_name(i); i++) dp_buf_printf(&names, "%s%s", i ? ", " : "", dp_synth_name(i));
    dp_status status = names.failed ? dp_no_memory(names.size)
                                    : dp_fail(DP_E_NOT_FOUND, "no shapes of \"" DP_STR_FMT "\"; known are %s",
                                              DP_STR_ARG(wanted), names.data);
    dp_buf_free(&names);
    return status;
}

static dp_status make_assets(const dp_json *config, dp_assets *out) {
    dp_buf json = {0}, tokenizer_config = {0};
    dp_status status = dp_synth_tokenizer(config, &json, &tokenizer_config);
    if (status == DP_OK) status = dp_assets_take(out, "tokenizer.json", &json);
    if (status == DP_OK) status = dp_assets_take(out, "tokenizer_config.json", &tokenizer_config);
    dp_buf_free(&json);
    dp_buf_free(&tokenizer_config);
    return status;
}

static bool is_gpt_oss(const dp_json *config) {
    dp_str type = {"", 0};
    return dp_json_get_str(config, "model_type", &type) == DP_OK && dp_str_is(type, "gpt_oss");
}

/* The plan must take the generated blocks as they are. */
static dp_status write_source(dp_source *source, const dp_output *output, dp_convert_result *result) {
    dp_mixture keep;
    dp_mixture_init(&keep, DP_QUANTIZE_KEEP, output->config, false);
    for (size_t i = 0; i < source->count; i++)
        result->bytes_in += dp_dtype_bytes(source->tensors[i].dtype, source->tensors[i].elements);
    return dp_write_model(source, &keep, output, result);
}

static dp_status synth_source(const dp_synth_desc *desc, const dp_json *config, dp_source *source,
                              dp_convert_result *result) {
    dp_quantize quantize = is_gpt_oss(config) ? DP_QUANTIZE_MXFP4 : DP_QUANTIZE_Q4_K_M;
    dp_mixture mixture;
    bool tied = false;
    size_t shape;
    if (desc->output.quantize) TRY(dp_quantize_parse(desc->output.quantize, &quantize));
    TRY(dp_json_get_bool(config, "tie_word_embeddings", &tied));
    TRY(find_shape(desc->like, &shape));
    dp_mixture_init(&mixture, quantize, config, tied);
    TRY(dp_synth_weights(source, &mixture, desc->seed));
    dp_assets assets = {0};
    dp_output output = {.to = desc->output, .source = "synthetic", .config = config, .assets = &assets};
    output.quantization = dp_quantize_label(quantize) ? dp_quantize_label(quantize) : "BF16";
    const char *name = dp_synth_name(shape);
    output.name = desc->layers ? dp_arena_printf(&source->arena, "%s-%d-layers-synthetic", name, (int)desc->layers)
                               : dp_arena_printf(&source->arena, "%s-synthetic", name);
    if (!output.name) return dp_no_memory(64);
    TRY(dp_output_settle(&output.to, source));
    dp_status status = make_assets(config, &assets);
    if (status == DP_OK) status = write_source(source, &output, result);
    dp_assets_free(&assets);
    return status;
}

static dp_status synth_config(const dp_synth_desc *desc, const dp_json *config, dp_convert_result *result) {
    dp_source source = {0};
    TRY(dp_synth_tensors(config, &source));
    dp_status status = synth_source(desc, config, &source, result);
    dp_source_free(&source);
    return status;
}

/* The published config, with as many layers as wanted. */
static dp_status choose_config(const dp_synth_desc *desc, dp_buf *out) {
    static const char key[] = "\"num_hidden_layers\":";
    size_t shape;
    TRY(find_shape(desc->like, &shape));
    const char *config = dp_synth_config(shape), *number = strstr(config, key) + sizeof key - 1;
    char *end;
    long published = strtol(number, &end, 10);
    if (desc->layers < 0 || desc->layers > published)
        return dp_fail(DP_E_ARG, "layers: %s has %ld; expected 1 to %ld, or 0 for all, found %d", desc->like, published, published,
                       (int)desc->layers);
    dp_buf_append(out, config, (size_t)(number - config));
    dp_buf_printf(out, "%ld%s", desc->layers ? (long)desc->layers : published, end);
    return out->failed ? dp_no_memory(out->size) : DP_OK;
}

dp_status dp_synth(const dp_synth_desc *desc, dp_convert_result *result) {
    if (!desc || !desc->like || !*desc->like) return dp_fail(DP_E_ARG, "like: expected the name of a model");
    dp_arena arena = {0};
    const dp_json *config = NULL;
    dp_buf text = {0};
    dp_convert_result done = {0};
    dp_status status = choose_config(desc, &text);
    if (status == DP_OK) status = dp_json_parse(&arena, (dp_str){text.data, text.size}, &config);
    if (status == DP_OK) status = synth_config(desc, config, &done);
    dp_arena_free(&arena);
    dp_buf_free(&text);
    if (status == DP_OK && result) *result = done;
    return status;
}
