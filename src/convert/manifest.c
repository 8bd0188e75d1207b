/* manifest.c: manifest.json of an RDRR folder (docs/RDRR.md lists the fields). */
#include "convert/output.h"

#include <stdio.h>

static void put_key(dp_buf *buf, const char *indent, const char *key) {
    dp_buf_str(buf, indent);
    dp_json_put_string(buf, dp_str_of(key));
    dp_buf_str(buf, ": ");
}

static void put_field(dp_buf *buf, const char *key, const char *text) {
    put_key(buf, "  ", key);
    dp_json_put_string(buf, dp_str_of(text));
    dp_buf_str(buf, ",\n");
}

static void put_uint(dp_buf *buf, const char *before, uint64_t value) {
    dp_buf_printf(buf, "%s%llu", before, (unsigned long long)value);
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
    put_key(buf, "  ", "architecture");
    if (class && class->type == DP_JSON_STRING)
        dp_json_put_string(buf, class->string);
    else
        dp_json_put_string(buf, dp_str_of(text_of(output->config, "model_type", "transformer", &room)));
    dp_buf_str(buf, ",\n");
    put_key(buf, "  ", "config");
    dp_json_put(buf, output->config);
    dp_buf_str(buf, ",\n");
    put_field(buf, "hashAlgorithm", "sha256");
    put_field(buf, "shardingStrategy", strategy[output->to.sharding]);
    put_field(buf, "defaultWeightLayout", "row");
    if (room.failed) buf->failed = true;
    dp_buf_free(&room);
}

static void put_shards(const dp_layout *layout, dp_buf *buf) {
    put_key(buf, "  ", "shards");
    for (size_t i = 0; i < layout->shard_count; i++) {
        const dp_layout_shard *s = &layout->shards[i];
        dp_buf_printf(buf, "%s\n    {\"index\": %zu, \"filename\": \"shard_%05zu.bin\"", i ? "," : "[", i, i);
        put_uint(buf, ", \"size\": ", s->size);
        dp_buf_printf(buf, ", \"hash\": \"%s\", \"type\": \"%s\"", s->hash, s->expert >= 0 ? "expert" : "dense");
        if (s->expert >= 0) dp_buf_printf(buf, ", \"expertKey\": \"%d_%d\"", (int)s->layer, (int)s->expert);
        dp_buf_char(buf, '}');
    }
    dp_buf_str(buf, "\n  ],\n");
}

static void put_tensor(const dp_layout_piece *pieces, size_t count, dp_buf *buf) {
    const dp_item *item = pieces[0].item;
    put_key(buf, "    ", item->name);
    dp_buf_printf(buf, "{\"shard\": %zu", pieces[0].shard);
    put_uint(buf, ", \"offset\": ", pieces[0].offset);
    put_uint(buf, ", \"size\": ", item->size);
    dp_buf_str(buf, ", \"shape\": [");
    for (int32_t d = 0; d < item->n_dims; d++) put_uint(buf, d ? ", " : "", (uint64_t)item->shape[d]);
    dp_buf_printf(buf, "], \"dtype\": \"%s\"", dp_dtype_get(item->dtype)->name);
    for (size_t i = 0; count > 1 && i < count; i++) {
        dp_buf_printf(buf, "%s{\"shard\": %zu", i ? ", " : ", \"spans\": [", pieces[i].shard);
        put_uint(buf, ", \"offset\": ", pieces[i].offset);
        put_uint(buf, ", \"size\": ", pieces[i].range.size);
        dp_buf_char(buf, '}');
    }
    dp_buf_str(buf, count > 1 ? "]}" : "}");
}

static size_t pieces_of_item(const dp_layout *layout, size_t first) {
    size_t n = 1;
    while (first + n < layout->piece_count && layout->pieces[first + n].item == layout->pieces[first].item) n++;
    return n;
}

static void put_tensors(const dp_layout *layout, dp_buf *buf) {
    dp_buf_str(buf, "  \"tensors\": {");
    for (size_t i = 0; i < layout->piece_count; i += pieces_of_item(layout, i)) {
        dp_buf_str(buf, i ? ",\n" : "\n");
        put_tensor(&layout->pieces[i], pieces_of_item(layout, i), buf);
    }
    dp_buf_str(buf, "\n  },\n");
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
        if (i == 0 || pieces[i].shard != pieces[i - 1].shard)
            dp_buf_printf(buf, "%s%zu", i ? ", " : "", pieces[i].shard);
}

static void put_names_of(const dp_layout_piece *pieces, size_t count, dp_buf *buf) {
    for (size_t i = 0; i < count; i++) {
        if (i && pieces[i].item == pieces[i - 1].item) continue;
        if (i) dp_buf_str(buf, ", ");
        dp_json_put_string(buf, dp_str_of(pieces[i].item->name));
    }
}

static void put_expert_map(const dp_layout *layout, const char *key, dp_buf *buf,
                           void (*put)(const dp_layout_piece *, size_t, dp_buf *)) {
    put_key(buf, "    ", key);
    const char *before = "{\n";
    for (size_t i = 0, n; i < layout->piece_count; i += n) {
        const dp_layout_piece *p = &layout->pieces[i];
        n = pieces_of_expert(layout, i);
        if (p->item->expert < 0) continue;
        dp_buf_printf(buf, "%s      \"%d_%d\": [", before, (int)p->item->layer, (int)p->item->expert);
        put(p, n, buf);
        dp_buf_char(buf, ']');
        before = ",\n";
    }
    dp_buf_str(buf, "\n    },\n");
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
    dp_buf_printf(buf, "  \"moeConfig\": {\n    \"numExperts\": %d,\n    \"numExpertsPerToken\": %lld,\n",
                  (int)DP_MAX(mixture.experts, 0), (long long)per_token);
    put_expert_map(layout, "expertShardMap", buf, put_shards_of);
    put_expert_map(layout, "expertTensors", buf, put_names_of);
    put_uint(buf, "    \"expertBytes\": ", expert_bytes(layout));
    dp_buf_str(buf, "\n  },\n");
}

static void put_tokenizer(const dp_output *output, dp_buf *buf) {
    if (!dp_assets_find(output->assets, "tokenizer.json")) return;
    int64_t vocab = 0;
    if (dp_json_get_int(output->config, "vocab_size", &vocab) != DP_OK) vocab = 0;
    dp_buf_printf(buf,
                  "  \"tokenizer\": {\"type\": \"huggingface\", \"file\": \"tokenizer.json\", \"vocabSize\": %lld},\n",
                  (long long)vocab);
}

static void put_totals(const dp_plan *plan, const dp_layout *layout, const dp_output *output, dp_buf *buf) {
    uint64_t total = 0;
    for (size_t i = 0; i < layout->shard_count; i++) total += layout->shards[i].size;
    put_uint(buf, "  \"totalSize\": ", total);
    put_uint(buf, ",\n  \"tensorCount\": ", plan->count);
    dp_buf_str(buf, ",\n  \"conversion\": {\"source\": ");
    dp_json_put_string(buf, dp_str_of(output->source));
    dp_buf_str(buf,
               ", \"converter\": \"doppler\", \"converterVersion\": \"" DP_VERSION_STRING "\", \"quantization\": ");
    dp_json_put_string(buf, dp_str_of(output->quantization));
    if (output->gguf) {
        dp_buf_str(buf, ", \"gguf\": ");
        dp_json_put(buf, output->gguf);
    }
    dp_buf_str(buf, "}\n}\n");
}

dp_status dp_manifest_write(const dp_plan *plan, const dp_layout *layout, const dp_output *output, dp_buf *buf) {
    dp_buf_str(buf, "{\n");
    put_identity(output, buf);
    put_shards(layout, buf);
    put_tensors(layout, buf);
    if (dp_plan_has_experts(plan)) put_experts(layout, output, buf);
    put_tokenizer(output, buf);
    put_totals(plan, layout, output, buf);
    return buf->failed ? dp_no_memory(buf->size) : DP_OK;
}
