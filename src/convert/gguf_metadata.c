/* gguf_metadata.c: the metadata of a GGUF file. What a GGUF source said is said again as it was; only the vocabulary,
 * the chat template and the labels are written anew. */
#include "convert/gguf_write.h"
#include "format/gguf_config.h"

#include <stdio.h>

enum { UNUSED = 5, QUANTIZATION_VERSION = 2 };

/* GGUF wants a token for each row of the embedding, which publishers pad. */
typedef struct tokens {
    dp_arena arena;
    dp_str *text;
    int32_t *types;
    float *scores; /* NULL: none */
    size_t count;
} tokens;

static dp_status fit_tokens(const dp_gguf_vocab *vocab, size_t count, tokens *out) {
    out->count = count;
    out->text = dp_arena_calloc(&out->arena, count, sizeof *out->text);
    out->types = dp_arena_calloc(&out->arena, count, sizeof *out->types);
    out->scores = vocab->scores ? dp_arena_calloc(&out->arena, count, sizeof *out->scores) : NULL;
    if (!out->text || !out->types || (vocab->scores && !out->scores)) return dp_no_memory(count * sizeof *out->text);
    for (size_t i = 0; i < count; i++) {
        bool known = i < vocab->count;
        char *pad = known ? NULL : dp_arena_printf(&out->arena, "[PAD%zu]", i);
        if (!known && !pad) return dp_no_memory(16);
        out->text[i] = known ? vocab->tokens[i] : dp_str_of(pad);
        out->types[i] = !known ? UNUSED : vocab->types ? vocab->types[i] : 1;
        if (out->scores) out->scores[i] = known ? vocab->scores[i] : -1000.0f;
    }
    return DP_OK;
}

static dp_status put_tokens(const dp_gguf_vocab *vocab, int64_t rows, dp_gguf_kvs *kvs) {
    tokens t = {0};
    dp_status status = fit_tokens(vocab, rows > 0 ? (size_t)rows : vocab->count, &t);
    if (status == DP_OK) {
        dp_gguf_put_strs(kvs, "tokenizer.ggml.tokens", t.text, t.count);
        if (t.scores) dp_gguf_put_array(kvs, "tokenizer.ggml.scores", DP_GGUF_F32, t.scores, t.count);
        dp_gguf_put_array(kvs, "tokenizer.ggml.token_type", DP_GGUF_I32, t.types, t.count);
        if (vocab->merges || strcmp(vocab->model, "gpt2") == 0)
            dp_gguf_put_strs(kvs, "tokenizer.ggml.merges", vocab->merges, vocab->merge_count);
    }
    dp_arena_free(&t.arena);
    return status;
}

static void put_id(const char *key, int64_t id, dp_gguf_kvs *kvs) {
    if (id >= 0 && id <= UINT32_MAX) dp_gguf_put_u32(kvs, key, (uint32_t)id);
}

static void put_vocab_keys(const dp_gguf_vocab *vocab, dp_gguf_kvs *kvs) {
    dp_gguf_put_str(kvs, "tokenizer.ggml.model", dp_str_of(vocab->model));
    if (vocab->pre) dp_gguf_put_str(kvs, "tokenizer.ggml.pre", dp_str_of(vocab->pre));
    put_id("tokenizer.ggml.bos_token_id", vocab->bos, kvs);
    put_id("tokenizer.ggml.eos_token_id", vocab->eos, kvs);
    put_id("tokenizer.ggml.eot_token_id", vocab->eot, kvs);
    put_id("tokenizer.ggml.unknown_token_id", vocab->unk, kvs);
    put_id("tokenizer.ggml.padding_token_id", vocab->pad, kvs);
    dp_gguf_put_bool(kvs, "tokenizer.ggml.add_bos_token", vocab->add_bos);
    dp_gguf_put_bool(kvs, "tokenizer.ggml.add_eos_token", vocab->add_eos);
    if (strcmp(vocab->model, "llama") == 0)
        dp_gguf_put_bool(kvs, "tokenizer.ggml.add_space_prefix", vocab->add_space_prefix);
}

static dp_status open_tokenizer(const dp_assets *assets, dp_tokenizer **out) {
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", "generation_config.json",
                                        "chat_template.jinja"};
    dp_str text[DP_COUNT(names)] = {{NULL, 0}};
    for (size_t i = 0; i < DP_COUNT(names); i++) {
        const dp_asset *asset = dp_assets_find(assets, names[i]);
        if (asset) text[i] = (dp_str){asset->data, asset->size};
    }
    return dp_tokenizer_from_hf(text[0], text[1], text[2], text[3], out);
}

static dp_status put_tokenizer(const dp_output *output, int64_t rows, dp_gguf_kvs *kvs) {
    if (!dp_assets_find(output->assets, "tokenizer.json")) {
        if (!output->gguf) dp_gguf_put_str(kvs, "tokenizer.ggml.model", DP_LIT("no_vocab"));
        return DP_OK;
    }
    dp_tokenizer *tokenizer = NULL;
    dp_arena arena = {0};
    dp_gguf_vocab vocab = {0};
    TRY(open_tokenizer(output->assets, &tokenizer));
    dp_status status = dp_tokenizer_to_gguf(tokenizer, &arena, &vocab);
    if (status == DP_OK && !output->gguf) put_vocab_keys(&vocab, kvs);
    if (status == DP_OK) status = put_tokens(&vocab, rows, kvs);
    if (status == DP_OK && vocab.chat_template.n) dp_gguf_put_str(kvs, "tokenizer.chat_template", vocab.chat_template);
    dp_arena_free(&arena);
    dp_tokenizer_close(tokenizer);
    return status;
}

static const dp_item *find(const dp_plan *plan, const char *name) {
    for (size_t i = 0; i < plan->count; i++)
        if (strcmp(plan->items[i].name, name) == 0) return &plan->items[i];
    return NULL;
}

dp_status dp_gguf_metadata(const dp_output *output, const dp_plan *plan, dp_gguf_kvs *kvs) {
    const dp_item *embedding = find(plan, "token_embd.weight");
    if (output->gguf)
        TRY(dp_gguf_extra_put(output->gguf, kvs));
    else
        TRY(dp_gguf_config_put(output->config, find(plan, "blk.0.attn_k_b.weight"), kvs));
    dp_gguf_put_str(kvs, "general.name", dp_str_of(output->name));
    int32_t file_type = dp_gguf_file_type_by_name(dp_str_of(output->quantization));
    if (file_type >= 0) dp_gguf_put_u32(kvs, "general.file_type", (uint32_t)file_type);
    if (!output->gguf) dp_gguf_put_u32(kvs, "general.quantization_version", QUANTIZATION_VERSION);
    TRY(put_tokenizer(output, embedding ? embedding->shape[0] : 0, kvs));
    return kvs->bytes.failed ? dp_no_memory(kvs->bytes.size) : DP_OK;
}
