/* refmodel.c: see refmodel.h. Formulas: tests/data/models/README.md. */
#include "refmodel.h"

#include "base/hash.h"
#include "base/json.h"
#include "host/host.h"
#include "quant/quant.h"

const char *refmodel_case(size_t i) {
    static const char *const cases[] = {"llama", "llama-tied", "mistral", "gemma3", "qwen2", "qwen3", "mixtral", "qwen3-moe", "gpt-oss", "phimoe", "deepseek-v3"};
    return i < DP_COUNT(cases) ? cases[i] : NULL;
}

double ref_relative_error(const float *a, const float *b, size_t n) {
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        norm += (double)b[i] * (double)b[i];
    }
    double error = sqrt(difference / norm);
    return isfinite(error) ? error : INFINITY;
}

/* ---- the weight generator ---- */

typedef struct rule {
    double base, gain;
    uint64_t key;
} rule;

static rule rule_of(dp_str name, const dp_json *shape, bool gemma, bool tied) {
    int64_t cols = dp_json_at(shape, shape->count - 1)->integer;
    rule r = {0, sqrt(3.0 / (double)cols), dp_fnv1a64(name.p, name.n) ^ 1};
    char text[256];
    snprintf(text, sizeof text, "%.*s", (int)name.n, name.p);
    if (strstr(text, "e_score_correction_bias")) r.gain = 0.1;
    else if (strstr(text, "sinks")) r.gain = 1;
    else if (dp_str_ends(name, "bias")) r.gain = 0.1;
    else if (shape->count == 1) r = (rule){gemma ? 0 : 1, 0.1, r.key};
    else if (strstr(text, "embed_tokens")) r.gain = tied ? r.gain : 1;
    else if (strstr(text, "lm_head") || dp_str_ends(name, "router.weight") || dp_str_ends(name, "gate.weight")) r.gain *= 4;
    return r;
}

static uint64_t random_at(const rule *r, uint64_t index) { return dp_splitmix64(r->key + index) >> 40; }

static uint16_t value_at(const rule *r, uint64_t index) {
    float unit = (float)((double)random_at(r, index) / 16777216.0 * 2 - 1);
    float product = (float)r->gain * unit; /* product and sum in f32, as published */
    return dp_f32_to_bf16((float)r->base + product);
}

static void fill(const dp_json *tensor, bool gemma, bool tied, size_t count, uint8_t *out) {
    const dp_json *shape = dp_json_at(tensor, 1);
    rule r = rule_of(tensor->key, shape, gemma, tied);
    if (dp_str_is(dp_json_at(tensor, 0)->string, "bfloat16")) {
        for (size_t i = 0; i < count; i++) dp_store_u16(out + 2 * i, value_at(&r, i));
        return;
    }
    bool scales = dp_str_ends(tensor->key, "_scales");
    double cols = 32 * (double)dp_json_at(shape, 2)->integer;
    uint8_t first = (uint8_t)(127 - (int)round(log2(2.7 * sqrt(cols))) - 1);
    for (size_t i = 0; i < count; i++) out[i] = (uint8_t)(scales ? first + (random_at(&r, i) & 3) : random_at(&r, i) & 255);
}

/* ---- files ---- */

static size_t element_count(const dp_json *shape) {
    size_t n = 1;
    for (const dp_json *d = shape->child; d; d = d->next) n *= (size_t)d->integer;
    return n;
}

static dp_status save(const char *folder, const char *name, const void *a, size_t a_size, const void *b, size_t b_size) {
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    dp_writer *writer;
    TRY(dp_writer_open(path, &writer));
    dp_status status = dp_writer_write(writer, a, a_size);
    if (status == DP_OK) status = dp_writer_write(writer, b, b_size);
    if (status == DP_OK) return dp_writer_commit(writer);
    dp_writer_abandon(writer);
    return status;
}

static dp_status write_tensors(const dp_json *tensors, bool gemma, bool tied, const char *folder) {
    dp_buf header = {0}, data = {0};
    dp_buf_append(&header, "\0\0\0\0\0\0\0\0{", 9);
    for (const dp_json *t = tensors->child; t; t = t->next) {
        const dp_json *shape = dp_json_at(t, 1);
        bool bf16 = dp_str_is(dp_json_at(t, 0)->string, "bfloat16");
        size_t count = element_count(shape), at = data.size, size = count * (bf16 ? 2 : 1);
        uint8_t *bytes = dp_malloc(size);
        if (!bytes) return dp_no_memory(size);
        fill(t, gemma, tied, count, bytes);
        dp_buf_append(&data, bytes, size);
        dp_free(bytes);
        dp_json_put_string(&header, t->key);
        dp_buf_printf(&header, ":{\"dtype\":\"%s\",\"shape\":", bf16 ? "BF16" : "U8");
        dp_json_put(&header, shape);
        dp_buf_printf(&header, ",\"data_offsets\":[%zu,%zu]}%s", at, at + size, t->next ? "," : "}");
    }
    dp_status status = header.failed || data.failed ? dp_no_memory(data.size) : DP_OK;
    if (status == DP_OK) {
        dp_store_u64(header.data, header.size - 8);
        status = save(folder, "model.safetensors", header.data, header.size, data.data, data.size);
    }
    dp_buf_free(&header);
    dp_buf_free(&data);
    return status;
}

static dp_status load_json(dp_arena *arena, const char *name, const char *file, const dp_json **out) {
    char relative[200], *text;
    size_t size;
    snprintf(relative, sizeof relative, "tests/data/models/%s/%s", name, file);
    TRY(dp_file_load(test_path(relative), 1 << 24, &text, &size));
    char *kept = dp_arena_copy(arena, text, size);
    dp_free(text);
    return kept ? dp_json_parse(arena, (dp_str){kept, size}, out) : dp_no_memory(size);
}

dp_status refmodel_write(const char *name, const char *config_file, const char *folder) {
    dp_arena arena = {0};
    const dp_json *config, *tensors;
    dp_buf text = {0};
    bool tied = false;
    dp_status status = load_json(&arena, name, config_file, &config);
    if (status == DP_OK) status = load_json(&arena, name, "tensors.json", &tensors);
    if (status == DP_OK) status = dp_json_get_bool(config, "tie_word_embeddings", &tied);
    if (status == DP_OK) status = dp_folder_make(folder);
    if (status == DP_OK) {
        dp_json_put(&text, config);
        status = save(folder, "config.json", text.data, text.size, "\n", 1);
    }
    if (status == DP_OK) status = write_tensors(tensors, strstr(name, "gemma") != NULL, tied, folder);
    dp_buf_free(&text);
    dp_arena_free(&arena);
    return status;
}

dp_status refmodel_add_tokenizer(const char *folder) {
    char *data;
    size_t size;
    TRY(dp_file_load(test_path("tests/data/tiny-tokenizer.json"), 1 << 24, &data, &size));
    dp_status status = save(folder, "tokenizer.json", data, size, "", 0);
    dp_free(data);
    return status;
}

dp_status ref_tensor_load(const char *file, const char *name, ref_tensor *out) {
    dp_arena arena = {0};
    char *bytes;
    size_t size;
    TRY(dp_file_load(file, 1 << 30, &bytes, &size));
    size_t header = (size_t)dp_load_u64(bytes);
    const dp_json *root = NULL;
    dp_status status = dp_json_parse(&arena, (dp_str){bytes + 8, header}, &root);
    const dp_json *entry = status == DP_OK ? dp_json_get(root, name) : NULL;
    if (status == DP_OK && !entry) status = dp_fail(DP_E_NOT_FOUND, "%s: no tensor %s", file, name);
    if (status == DP_OK) {
        const dp_json *offsets = dp_json_get(entry, "data_offsets"), *shape = dp_json_get(entry, "shape");
        size_t from = (size_t)dp_json_at(offsets, 0)->integer, to = (size_t)dp_json_at(offsets, 1)->integer;
        *out = (ref_tensor){dp_malloc(to - from), to - from, {0}, (int)shape->count};
        for (int i = 0; i < out->n_dims && i < 4; i++) out->shape[i] = dp_json_at(shape, (size_t)i)->integer;
        if (out->data) memcpy(out->data, bytes + 8 + header + from, to - from);
        else status = dp_no_memory(to - from);
    }
    dp_arena_free(&arena);
    dp_free(bytes);
    return status;
}
