/* manifest.c: manifest.json of an RDRR folder (docs/RDRR.md lists the fields). */
#include "base/json_write.h"
#include "convert/output.h"

#include <stdio.h>

static void put_field(dp_buf *buf, const char *key, const char *text) {
    dp_json_line(buf, 2);
    dp_json_add_text(buf, key, text);
}

static const char *text_of(const dp_json *config, const char *key, const char *otherwise, dp_buf *room) {
    dp_str value = {NULL, 0};
    if (dp_json_get_str(config, key, &value) != DP_OK || !value.n) return otherwise;
    dp_buf_clear(room);
    dp_buf_append(room, value.p, value.n);
    return room->failed ? otherwise : room->data;
}

static void put_identity(const dp_output *output, dp_buf *buf) {
    static const char *const strategy[] = {[DP_SHARD_AUTO] = "fixed",
                                           [DP_SHARD_FIXED] = "fixed",
                                           [DP_SHARD_LAYER] = "layer",
                                           [DP_SHARD_EXPERT] = "expert"};
    dp_buf room = {0};
    put_field(buf, "version", "1.0");
    put_field(buf, "modelId", output->name);
    put_field(buf, "modelType", text_of(output->config, "model_type", "transformer", &room));
    put_field(buf, "quantization", output->quantization);
    const dp_json *classes = dp_json_find(output->config, "architectures");
    const dp_json *class = classes && classes->type == DP_JSON_ARRAY ? dp_json_at(classes, 0) : NULL;
    dp_json_line(buf, 2);
    if (class && class->type == DP_JSON_STRING)
        dp_json_add_str(buf, "architecture", class->string);
    else
        dp_json_add_text(buf, "architecture", text_of(output->config, "model_type", "transformer", &room));
    dp_json_line(buf, 2);
    dp_json_add_value(buf, "config", output->config);
    put_field(buf, "hashAlgorithm", "sha256");
    put_field(buf, "shardingStrategy", strategy[output->to.sharding]);
    put_field(buf, "defaultWeightLayout", "row");
    if (room.failed) buf->failed = true;
    dp_buf_free(&room);
}

/* "3_17" */
static void name_expert(int32_t layer, int32_t expert, char out[24]) { snprintf(out, 24, "%d_%d", (int)layer, (int)expert); }

static void put_shard(size_t index, const dp_layout_shard *s, dp_buf *buf) {
    char filename[40], key[24];
    snprintf(filename, sizeof filename, "shard_%05zu.bin", index);
    dp_json_open(buf, NULL, '{');
    dp_json_add_uint(buf, "index", index);
    dp_json_add_text(buf, "filename", filename);
    dp_json_add_uint(buf, "size", s->size);
    dp_json_add_text(buf, "hash", s->hash);
    dp_json_add_text(buf, "type", s->expert >= 0 ? "expert" : "dense");
    name_expert(s->layer, s->expert, key);
    if (s->expert >= 0) dp_json_add_text(buf, "expertKey", key);
    dp_json_close(buf, '}');
}

static void put_shards(const dp_layout *layout, dp_buf *buf) {
    dp_json_line(buf, 2);
    dp_json_open(buf, "shards", '[');
    for (size_t i = 0; i < layout->shard_count; i++) {
        dp_json_line(buf, 4);
        put_shard(i, &layout->shards[i], buf);
    }
    dp_json_line(buf, 2);
    dp_json_close(buf, ']');
}

/* Where a tensor that is cut has its parts. */
static void put_spans(const dp_layout_piece *pieces, size_t count, dp_buf *buf) {
    dp_json_open(buf, "spans", '[');
    for (size_t i = 0; i < count; i++) {
        dp_json_open(buf, NULL, '{');
        dp_json_add_uint(buf, "shard", pieces[i].shard);
        dp_json_add_uint(buf, "offset", pieces[i].offset);
        dp_json_add_uint(buf, "size", pieces[i].range.size);
        dp_json_close(buf, '}');
    }
    dp_json_close(buf, ']');
}

static void put_tensor(const dp_layout_piece *pieces, size_t count, dp_buf *buf) {
    const dp_item *item = pieces[0].item;
    dp_json_open(buf, item->name, '{');
    dp_json_add_uint(buf, "shard", pieces[0].shard);
    dp_json_add_uint(buf, "offset", pieces[0].offset);
    dp_json_add_uint(buf, "size", item->size);
    dp_json_open(buf, "shape", '[');
    for (int32_t d = 0; d < item->n_dims; d++) dp_json_add_int(buf, NULL, item->shape[d]);
    dp_json_close(buf, ']');
    dp_json_add_text(buf, "dtype", dp_dtype_get(item->dtype)->name);
    if (count > 1) put_spans(pieces, count, buf);
    dp_json_close(buf, '}');
}

static size_t pieces_of_item(const dp_layout *layout, size_t first) {
    size_t n = 1;
    while (first + n < layout->piece_count && layout->pieces[first + n].item == layout->pieces[first].item) n++;
    return n;
}

static void put_tensors(const dp_layout *layout, dp_buf *buf) {
    dp_json_line(buf, 2);
    dp_json_open(buf, "tensors", '{');
    for (size_t i = 0; i < layout->piece_count; i += pieces_of_item(layout, i)) {
        dp_json_line(buf, 4);
        put_tensor(&layout->pieces[i], pieces_of_item(layout, i), buf);
    }
    dp_json_line(buf, 2);
    dp_json_close(buf, '}');
}

/* ---- experts: their tensors stand together in the plan and so in the layout ---- */

static size_t pieces_of_expert(const dp_layout *layout, size_t first) {
    const dp_item *item = layout->pieces[first].item;
    size_t n = 1;
    for (; first + n < layout->piece_count; n++) {
        const dp_item *next = layout->pieces[first + n].item;
        if (next->layer != item->layer || next->expert != item->expert) break;
    }
    return n;
}

static void put_shards_of(const dp_layout_piece *pieces, size_t count, dp_buf *buf) {
    for (size_t i = 0; i < count; i++)
        if (i == 0 || pieces[i].shard != pieces[i - 1].shard) dp_json_add_uint(buf, NULL, pieces[i].shard);
}

static void put_names_of(const dp_layout_piece *pieces, size_t count, dp_buf *buf) {
    for (size_t i = 0; i < count; i++)
        if (i == 0 || pieces[i].item != pieces[i - 1].item) dp_json_add_text(buf, NULL, pieces[i].item->name);
}

static void put_expert_map(const dp_layout *layout, const char *key, dp_buf *buf,
                           void (*put)(const dp_layout_piece *, size_t, dp_buf *)) {
    char name[24];
    dp_json_line(buf, 4);
    dp_json_open(buf, key, '{');
    for (size_t i = 0, n; i < layout->piece_count; i += n) {
        const dp_layout_piece *p = &layout->pieces[i];
        n = pieces_of_expert(layout, i);
        if (p->item->expert < 0) continue;
        name_expert(p->item->layer, p->item->expert, name);
        dp_json_line(buf, 6);
        dp_json_open(buf, name, '[');
        put(p, n, buf);
        dp_json_close(buf, ']');
    }
    dp_json_line(buf, 4);
    dp_json_close(buf, '}');
}

/* Of the largest expert. */
static uint64_t expert_bytes(const dp_layout *layout) {
    uint64_t most = 0;
    for (size_t i = 0, n; i < layout->piece_count; i += n) {
        uint64_t bytes = 0;
        n = pieces_of_expert(layout, i);
        for (size_t k = i; k < i + n; k++) bytes += layout->pieces[k].range.size;
        if (layout->pieces[i].item->expert >= 0) most = DP_MAX(most, bytes);
    }
    return most;
}

static void put_experts(const dp_layout *layout, const dp_output *output, dp_buf *buf) {
    dp_mixture mixture;
    int64_t per_token = 0;
    dp_mixture_init(&mixture, DP_QUANTIZE_KEEP, output->config, false);
    if (dp_json_get_int(output->config, "num_experts_per_tok", &per_token) != DP_OK) per_token = 0;
    dp_json_line(buf, 2);
    dp_json_open(buf, "moeConfig", '{');
    dp_json_line(buf, 4);
    dp_json_add_int(buf, "numExperts", DP_MAX(mixture.experts, 0));
    dp_json_line(buf, 4);
    dp_json_add_int(buf, "numExpertsPerToken", per_token);
    put_expert_map(layout, "expertShardMap", buf, put_shards_of);
    put_expert_map(layout, "expertTensors", buf, put_names_of);
    dp_json_line(buf, 4);
    dp_json_add_uint(buf, "expertBytes", expert_bytes(layout));
    dp_json_line(buf, 2);
    dp_json_close(buf, '}');
}

static void put_tokenizer(const dp_output *output, dp_buf *buf) {
    if (!dp_assets_find(output->assets, "tokenizer.json")) return;
    int64_t vocab = 0;
    if (dp_json_get_int(output->config, "vocab_size", &vocab) != DP_OK) vocab = 0;
    dp_json_line(buf, 2);
    dp_json_open(buf, "tokenizer", '{');
    dp_json_add_text(buf, "type", "huggingface");
    dp_json_add_text(buf, "file", "tokenizer.json");
    dp_json_add_int(buf, "vocabSize", vocab);
    dp_json_close(buf, '}');
}

static void put_totals(const dp_plan *plan, const dp_layout *layout, dp_buf *buf) {
    uint64_t total = 0;
    for (size_t i = 0; i < layout->shard_count; i++) total += layout->shards[i].size;
    dp_json_line(buf, 2);
    dp_json_add_uint(buf, "totalSize", total);
    dp_json_line(buf, 2);
    dp_json_add_uint(buf, "tensorCount", plan->count);
}

static void put_conversion(const dp_output *output, dp_buf *buf) {
    dp_json_line(buf, 2);
    dp_json_open(buf, "conversion", '{');
    dp_json_add_text(buf, "source", output->source);
    dp_json_add_text(buf, "converter", "doppler");
    dp_json_add_text(buf, "converterVersion", DP_VERSION_STRING);
    dp_json_add_text(buf, "quantization", output->quantization);
    if (output->gguf) dp_json_add_value(buf, "gguf", output->gguf);
    dp_json_close(buf, '}');
}

dp_status dp_manifest_write(const dp_plan *plan, const dp_layout *layout, const dp_output *output, dp_buf *buf) {
    dp_json_open(buf, NULL, '{');
    put_identity(output, buf);
    put_shards(layout, buf);
    put_tensors(layout, buf);
    if (dp_plan_has_experts(plan)) put_experts(layout, output, buf);
    put_tokenizer(output, buf);
    put_totals(plan, layout, buf);
    put_conversion(output, buf);
    dp_json_line(buf, 0);
    dp_json_close(buf, '}');
    dp_json_line(buf, 0);
    return buf->failed ? dp_no_memory(buf->size) : DP_OK;
}
