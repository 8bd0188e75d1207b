/* inspect.c: dp_inspect: a checkpoint's headers as JSON. docs/RDRR.md, section 10, lists the members. */
#include "base/json_write.h"
#include "convert/source.h"

static void put_architecture(const dp_checkpoint *c, dp_buf *buf) {
    dp_str type = {"unknown", 7};
    const dp_json *classes = dp_json_find(c->config, "architectures");
    const dp_json *first = classes && classes->type == DP_JSON_ARRAY ? dp_json_at(classes, 0) : NULL;
    if (dp_json_get_str(c->config, "model_type", &type) != DP_OK || dp_str_is(type, "unknown"))
        if (first && first->type == DP_JSON_STRING) type = first->string;
    dp_json_line(buf, 2);
    dp_json_add_str(buf, "architecture", type);
}

/* gpt-oss as published: of its blocks and scales only the blocks hold parameters, two 4-bit ones in a byte. */
static uint64_t parameters_of(const dp_tensor *t) {
    uint64_t elements = (uint64_t)dp_shape_elements(t->shape, t->n_dims);
    if (dp_str_ends(dp_str_of(t->name), "_proj_scales")) return 0;
    return dp_str_ends(dp_str_of(t->name), "_proj_blocks") ? 2 * elements : elements;
}

static void put_totals(const dp_checkpoint *c, dp_buf *buf) {
    uint64_t bytes = 0, parameters = 0, files = 0;
    for (size_t i = 0; i < c->tensor_count; i++) {
        bytes += c->tensors[i].size;
        parameters += parameters_of(&c->tensors[i]);
    }
    for (size_t i = 0; i < c->file_count; i++) files += dp_file_size(c->files[i]);
    dp_json_line(buf, 2);
    dp_json_add_uint(buf, "parameters", parameters);
    dp_json_line(buf, 2);
    dp_json_add_uint(buf, "tensorCount", c->tensor_count);
    dp_json_line(buf, 2);
    dp_json_add_uint(buf, "totalBytes", bytes);
    dp_json_line(buf, 2);
    dp_json_add_uint(buf, "fileBytes", files);
}

static void put_identity(const dp_checkpoint *c, dp_buf *buf) {
    static const char *const kinds[] = {
        [DP_CHECKPOINT_HF] = "huggingface", [DP_CHECKPOINT_GGUF] = "gguf", [DP_CHECKPOINT_RDRR] = "rdrr"};
    dp_str sharding = {NULL, 0};
    dp_json_line(buf, 2);
    dp_json_add_text(buf, "kind", kinds[c->kind]);
    dp_json_line(buf, 2);
    dp_json_add_text(buf, "name", c->name);
    put_architecture(c, buf);
    dp_json_line(buf, 2);
    dp_json_add_text(buf, "quantization", c->quantization);
    put_totals(c, buf);
    if (dp_json_get_str(c->manifest, "shardingStrategy", &sharding) == DP_OK && sharding.n) {
        dp_json_line(buf, 2);
        dp_json_add_str(buf, "sharding", sharding);
    }
    dp_json_line(buf, 2);
    dp_json_add_value(buf, "config", c->config);
}

static void put_special(const dp_tokenizer *tokenizer, const char *role, const char *key, dp_buf *buf) {
    dp_str text = dp_tokenizer_special(tokenizer, role);
    if (text.n) dp_json_add_str(buf, key, text);
}

static dp_status put_tokenizer(const dp_checkpoint *c, dp_buf *buf) {
    dp_tokenizer *tokenizer = NULL;
    dp_status status = dp_checkpoint_tokenizer(c, &tokenizer);
    if (status == DP_E_MEMORY) return status;
    if (status == DP_E_NOT_FOUND) return DP_OK;
    dp_json_line(buf, 2);
    dp_json_open(buf, "tokenizer", '{');
    if (status != DP_OK) {
        dp_json_add_text(buf, "error", dp_error_message());
    } else {
        dp_json_add_int(buf, "vocabSize", dp_tokenizer_vocab_size(tokenizer));
        put_special(tokenizer, "bos_token", "bosToken", buf);
        put_special(tokenizer, "eos_token", "eosToken", buf);
        dp_json_add_int(buf, "eosId", dp_tokenizer_eos(tokenizer));
        dp_json_add_bool(buf, "chatTemplate", dp_tokenizer_template(tokenizer).n > 0);
    }
    dp_json_close(buf, '}');
    dp_tokenizer_close(tokenizer);
    return DP_OK;
}

/* ---- lists: an entry a line ---- */

static void open_list(dp_buf *buf, const char *key) {
    dp_json_line(buf, 2);
    dp_json_open(buf, key, '[');
}

static void open_entry(dp_buf *buf) {
    dp_json_line(buf, 4);
    dp_json_open(buf, NULL, '{');
}

static void put_dtypes(const dp_checkpoint *c, dp_buf *buf) {
    uint64_t counts[DP_DTYPE_COUNT] = {0}, bytes[DP_DTYPE_COUNT] = {0};
    for (size_t i = 0; i < c->tensor_count; i++) {
        counts[c->tensors[i].dtype]++;
        bytes[c->tensors[i].dtype] += c->tensors[i].size;
    }
    open_list(buf, "dtypes");
    for (size_t d = 0; d < DP_DTYPE_COUNT; d++) {
        if (!counts[d]) continue;
        open_entry(buf);
        dp_json_add_text(buf, "dtype", dp_dtype_get((dp_dtype)d)->name);
        dp_json_add_uint(buf, "tensors", counts[d]);
        dp_json_add_uint(buf, "bytes", bytes[d]);
        dp_json_close(buf, '}');
    }
    dp_json_close(buf, ']');
}

static void put_shards(const dp_checkpoint *c, dp_buf *buf) {
    open_list(buf, "shards");
    for (size_t i = 0; i < c->shard_count; i++) {
        const dp_shard *s = &c->shards[i];
        open_entry(buf);
        dp_json_add_text(buf, "filename", s->filename);
        dp_json_add_uint(buf, "size", s->size);
        dp_json_add_text(buf, "type", s->type);
        if (s->expert_key) dp_json_add_text(buf, "expertKey", s->expert_key);
        if (s->hash) dp_json_add_text(buf, "hash", s->hash);
        dp_json_close(buf, '}');
    }
    dp_json_close(buf, ']');
}

static void put_files(const dp_checkpoint *c, dp_buf *buf) {
    open_list(buf, "files");
    for (size_t i = 0; i < c->file_count; i++) {
        open_entry(buf);
        dp_json_add_text(buf, "name", c->file_names[i]);
        dp_json_add_uint(buf, "size", dp_file_size(c->files[i]));
        dp_json_close(buf, '}');
    }
    dp_json_close(buf, ']');
}

static void put_place(const dp_checkpoint *c, const dp_span *span, dp_buf *buf) {
    dp_json_add_text(buf, "file", c->file_names[span->file]);
    dp_json_add_uint(buf, "offset", span->offset);
}

static void put_spans(const dp_checkpoint *c, const dp_tensor *t, dp_buf *buf) {
    dp_json_open(buf, "spans", '[');
    for (int32_t i = 0; i < t->span_count; i++) {
        dp_json_open(buf, NULL, '{');
        put_place(c, &t->spans[i], buf);
        dp_json_add_uint(buf, "size", t->spans[i].size);
        dp_json_close(buf, '}');
    }
    dp_json_close(buf, ']');
}

static void put_tensor(const dp_checkpoint *c, const dp_tensor *t, dp_buf *buf) {
    dp_json_add_text(buf, "name", t->name);
    dp_json_add_text(buf, "dtype", dp_dtype_get(t->dtype)->name);
    dp_json_open(buf, "shape", '[');
    for (int32_t d = 0; d < t->n_dims; d++) dp_json_add_int(buf, NULL, t->shape[d]);
    dp_json_close(buf, ']');
    dp_json_add_uint(buf, "size", t->size);
    if (t->span_count) put_place(c, &t->spans[0], buf);
    if (t->span_count > 1) put_spans(c, t, buf);
    if (strcmp(t->source_name, t->name) != 0) dp_json_add_text(buf, "sourceName", t->source_name);
}

static void put_tensors(const dp_checkpoint *c, dp_buf *buf) {
    open_list(buf, "tensors");
    for (size_t i = 0; i < c->tensor_count; i++) {
        open_entry(buf);
        put_tensor(c, &c->tensors[i], buf);
        dp_json_close(buf, '}');
    }
    dp_json_close(buf, ']');
}

dp_status dp_inspect(const char *path, char **json) {
    if (!path || !*path || !json) return dp_fail(DP_E_ARG, "inspect: expected a path and a place for the text");
    dp_checkpoint *c = NULL;
    dp_buf buf = {0};
    TRY(dp_checkpoint_open(path, &c));
    dp_json_open(&buf, NULL, '{');
    put_identity(c, &buf);
    dp_status status = put_tokenizer(c, &buf);
    put_dtypes(c, &buf);
    put_files(c, &buf);
    if (c->kind == DP_CHECKPOINT_RDRR) put_shards(c, &buf);
    put_tensors(c, &buf);
    dp_json_line(&buf, 0);
    dp_json_close(&buf, '}');
    dp_json_line(&buf, 0);
    dp_checkpoint_close(c);
    if (status == DP_OK) return dp_buf_take(&buf, json, NULL);
    dp_buf_free(&buf);
    return status;
}
