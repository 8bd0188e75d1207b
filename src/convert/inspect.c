/* inspect.c: dp_inspect: everything a checkpoint says of itself, as JSON. Headers only; no weight is read.
 *
 *   kind           "rdrr", "gguf" or "huggingface"
 *   name, architecture, quantization
 *   parameters, tensorCount, totalBytes (of tensors), fileBytes, sharding (RDRR)
 *   config         Hugging Face keys
 *   tokenizer      vocabSize, bosToken, eosToken, eosId, chatTemplate; {"error"} when it cannot be read; absent without
 * one dtypes[]       dtype, tensors, bytes files[]        name, size shards[]       RDRR: filename, size, type,
 * expertKey, hash tensors[]      name, dtype, shape, size, file, offset (of the first span), spans (when cut),
 * sourceName (when it differs) */
#include "convert/source.h"

typedef struct listing {
    dp_buf *buf;
    bool some; /* an entry has been written */
} listing;

static void next_entry(listing *list) {
    dp_buf_str(list->buf, list->some ? ",\n    {" : "\n    {");
    list->some = true;
}

static void put_text(dp_buf *buf, const char *before, const char *text) {
    dp_buf_str(buf, before);
    dp_json_put_string(buf, dp_str_of(text ? text : ""));
}

static void put_uint(dp_buf *buf, const char *before, uint64_t value) {
    dp_buf_printf(buf, "%s%llu", before, (unsigned long long)value);
}

static void put_architecture(const dp_checkpoint *c, dp_buf *buf) {
    dp_str type = {"unknown", 7};
    const dp_json *classes = dp_json_find(c->config, "architectures");
    const dp_json *first = classes && classes->type == DP_JSON_ARRAY ? dp_json_at(classes, 0) : NULL;
    if (dp_json_get_str(c->config, "model_type", &type) != DP_OK || dp_str_is(type, "unknown"))
        if (first && first->type == DP_JSON_STRING) type = first->string;
    dp_buf_str(buf, ",\n  \"architecture\": ");
    dp_json_put_string(buf, type);
}

static void put_identity(const dp_checkpoint *c, dp_buf *buf) {
    static const char *const kinds[] = {
        [DP_CHECKPOINT_HF] = "huggingface", [DP_CHECKPOINT_GGUF] = "gguf", [DP_CHECKPOINT_RDRR] = "rdrr"};
    uint64_t bytes = 0, parameters = 0, files = 0;
    dp_str sharding = {NULL, 0};
    for (size_t i = 0; i < c->tensor_count; i++) {
        const dp_tensor *t = &c->tensors[i];
        bool scales = dp_str_ends(dp_str_of(t->name), "_proj_scales"),
             blocks = dp_str_ends(dp_str_of(t->name), "_proj_blocks");
        uint64_t elements = (uint64_t)dp_shape_elements(t->shape, t->n_dims);
        bytes += t->size;
        parameters += scales ? 0 : blocks ? 2 * elements : elements; /* gpt-oss: two 4-bit values per byte */
    }
    for (size_t i = 0; i < c->file_count; i++) files += dp_file_size(c->files[i]);
    put_text(buf, "{\n  \"kind\": ", kinds[c->kind]);
    put_text(buf, ",\n  \"name\": ", c->name);
    put_architecture(c, buf);
    put_text(buf, ",\n  \"quantization\": ", c->quantization);
    put_uint(buf, ",\n  \"parameters\": ", parameters);
    put_uint(buf, ",\n  \"tensorCount\": ", c->tensor_count);
    put_uint(buf, ",\n  \"totalBytes\": ", bytes);
    put_uint(buf, ",\n  \"fileBytes\": ", files);
    if (dp_json_get_str(c->manifest, "shardingStrategy", &sharding) == DP_OK && sharding.n) {
        dp_buf_str(buf, ",\n  \"sharding\": ");
        dp_json_put_string(buf, sharding);
    }
    dp_buf_str(buf, ",\n  \"config\": ");
    dp_json_put(buf, c->config);
}

static void put_special(const dp_tokenizer *tokenizer, const char *role, const char *before, dp_buf *buf) {
    dp_str text = dp_tokenizer_special(tokenizer, role);
    if (!text.n) return;
    dp_buf_str(buf, before);
    dp_json_put_string(buf, text);
}

static dp_status put_tokenizer(const dp_checkpoint *c, dp_buf *buf) {
    dp_tokenizer *tokenizer = NULL;
    dp_status status = dp_checkpoint_tokenizer(c, &tokenizer);
    if (status == DP_E_MEMORY) return status;
    if (status == DP_E_NOT_FOUND) return DP_OK;
    dp_buf_str(buf, ",\n  \"tokenizer\": {");
    if (status != DP_OK) {
        put_text(buf, "\"error\": ", dp_error_message());
    } else {
        dp_buf_printf(buf, "\"vocabSize\": %d", (int)dp_tokenizer_vocab_size(tokenizer));
        put_special(tokenizer, "bos_token", ", \"bosToken\": ", buf);
        put_special(tokenizer, "eos_token", ", \"eosToken\": ", buf);
        dp_buf_printf(buf, ", \"eosId\": %d, \"chatTemplate\": %s", (int)dp_tokenizer_eos(tokenizer),
                      dp_tokenizer_template(tokenizer).n ? "true" : "false");
    }
    dp_buf_char(buf, '}');
    dp_tokenizer_close(tokenizer);
    return DP_OK;
}

static void put_dtypes(const dp_checkpoint *c, dp_buf *buf) {
    uint64_t counts[DP_DTYPE_COUNT] = {0}, bytes[DP_DTYPE_COUNT] = {0};
    listing list = {buf, false};
    for (size_t i = 0; i < c->tensor_count; i++) {
        counts[c->tensors[i].dtype]++;
        bytes[c->tensors[i].dtype] += c->tensors[i].size;
    }
    dp_buf_str(buf, ",\n  \"dtypes\": [");
    for (size_t d = 0; d < DP_DTYPE_COUNT; d++) {
        if (!counts[d]) continue;
        next_entry(&list);
        put_text(buf, "\"dtype\": ", dp_dtype_get((dp_dtype)d)->name);
        put_uint(buf, ", \"tensors\": ", counts[d]);
        put_uint(buf, ", \"bytes\": ", bytes[d]);
        dp_buf_char(buf, '}');
    }
    dp_buf_str(buf, "]");
}

static void put_shards(const dp_checkpoint *c, dp_buf *buf) {
    listing list = {buf, false};
    dp_buf_str(buf, ",\n  \"shards\": [");
    for (size_t i = 0; i < c->shard_count; i++) {
        const dp_shard *s = &c->shards[i];
        next_entry(&list);
        put_text(buf, "\"filename\": ", s->filename);
        put_uint(buf, ", \"size\": ", s->size);
        put_text(buf, ", \"type\": ", s->type);
        if (s->expert_key) put_text(buf, ", \"expertKey\": ", s->expert_key);
        if (s->hash) put_text(buf, ", \"hash\": ", s->hash);
        dp_buf_char(buf, '}');
    }
    dp_buf_str(buf, "]");
}

static void put_files(const dp_checkpoint *c, dp_buf *buf) {
    listing list = {buf, false};
    dp_buf_str(buf, ",\n  \"files\": [");
    for (size_t i = 0; i < c->file_count; i++) {
        next_entry(&list);
        put_text(buf, "\"name\": ", c->file_names[i]);
        put_uint(buf, ", \"size\": ", dp_file_size(c->files[i]));
        dp_buf_char(buf, '}');
    }
    dp_buf_str(buf, "]");
}

static void put_place(const dp_checkpoint *c, const dp_span *span, dp_buf *buf) {
    put_text(buf, "\"file\": ", c->file_names[span->file]);
    put_uint(buf, ", \"offset\": ", span->offset);
}

static void put_tensor(const dp_checkpoint *c, const dp_tensor *t, dp_buf *buf) {
    put_text(buf, "\"name\": ", t->name);
    put_text(buf, ", \"dtype\": ", dp_dtype_get(t->dtype)->name);
    dp_buf_str(buf, ", \"shape\": [");
    for (int32_t d = 0; d < t->n_dims; d++) put_uint(buf, d ? ", " : "", (uint64_t)t->shape[d]);
    put_uint(buf, "], \"size\": ", t->size);
    if (t->span_count) {
        dp_buf_str(buf, ", ");
        put_place(c, &t->spans[0], buf);
    }
    if (t->span_count > 1) {
        dp_buf_str(buf, ", \"spans\": [");
        for (int32_t i = 0; i < t->span_count; i++) {
            dp_buf_str(buf, i ? ", {" : "{");
            put_place(c, &t->spans[i], buf);
            put_uint(buf, ", \"size\": ", t->spans[i].size);
            dp_buf_char(buf, '}');
        }
        dp_buf_char(buf, ']');
    }
    if (strcmp(t->source_name, t->name) != 0) put_text(buf, ", \"sourceName\": ", t->source_name);
    dp_buf_char(buf, '}');
}

static void put_tensors(const dp_checkpoint *c, dp_buf *buf) {
    listing list = {buf, false};
    dp_buf_str(buf, ",\n  \"tensors\": [");
    for (size_t i = 0; i < c->tensor_count; i++) {
        next_entry(&list);
        put_tensor(c, &c->tensors[i], buf);
    }
    dp_buf_str(buf, "]\n}\n");
}

dp_status dp_inspect(const char *path, char **json) {
    if (!path || !*path || !json) return dp_fail(DP_E_ARG, "inspect: expected a path and a place for the text");
    dp_checkpoint *c = NULL;
    dp_buf buf = {0};
    TRY(dp_checkpoint_open(path, &c));
    put_identity(c, &buf);
    dp_status status = put_tokenizer(c, &buf);
    put_dtypes(c, &buf);
    put_files(c, &buf);
    if (c->kind == DP_CHECKPOINT_RDRR) put_shards(c, &buf);
    put_tensors(c, &buf);
    dp_checkpoint_close(c);
    if (status == DP_OK) return dp_buf_take(&buf, json, NULL);
    dp_buf_free(&buf);
    return status;
}
