/* paging.c: what callers see and ask of a model whose weights are not all in memory: numbers, and experts by hand. */
#include "base/json_write.h"
#include "engine/engine.h"

void dp_model_paging(dp_model *model, dp_paging_stats *stats) {
    dp_paging_stats host = {0};
    *stats = (dp_paging_stats){0};
    if (model->residency.pages) dp_pages_stats(model->residency.pages, &host);
    if (!model->residency.device) {
        *stats = host;
        return;
    }
    dp_device_stats(model->residency.device, stats);
    stats->plain_bytes = model->residency.vram_plain;
    stats->host_slots_least = host.slots_least;
    stats->host_slots_most = host.slots_most;
    stats->host_bytes = host.expert_bytes;
    stats->host_hits = host.hits;
    stats->host_misses = host.misses;
    stats->file_reads = host.reads;
    stats->file_bytes = host.read_bytes;
    stats->fetched = model->residency.home || model->residency.passing;
    if (!model->residency.home) return;
    stats->host_slots_least = stats->host_slots_most = stats->experts;
    stats->host_bytes = model->residency.home;
    stats->host_hits = stats->reads;
    stats->host_misses = 0;
}

/* ---- as JSON ---- */

static void put_slots(dp_buf *out, int32_t least, int32_t most) { dp_json_add_ids(out, "slots", (int32_t[]){least, most}, 2); }

static void put_layers(dp_pages *pages, dp_device *device, dp_buf *out) {
    dp_json_open(out, "layers", '[');
    if (device) dp_device_stats_json(device, out);
    else if (pages) dp_pages_stats_json(pages, out);
    dp_json_close(out, ']');
}

static void put_counts(const dp_paging_stats *s, dp_buf *out) {
    dp_json_add_uint(out, "hits", s->hits);
    dp_json_add_uint(out, "misses", s->misses);
    dp_json_add_uint(out, "evictions", s->evictions);
    dp_json_add_uint(out, "guesses", s->guesses);
    dp_json_add_uint(out, "guessesUsed", s->guesses_used);
    dp_json_add_uint(out, "reads", s->reads);
    dp_json_add_uint(out, "readBytes", s->read_bytes);
    dp_json_add_double(out, "waitSeconds", s->wait_seconds);
    dp_json_add_double(out, "latencyMean", s->latency_mean);
    dp_json_add_double(out, "latencyP50", s->latency_p50);
    dp_json_add_double(out, "latencyP95", s->latency_p95);
    dp_json_add_double(out, "latencyMax", s->latency_max);
}

static void put_streamed(const dp_paging_stats *s, dp_buf *out) {
    dp_json_open(out, "streamed", '{');
    dp_json_add_int(out, "units", s->streamed_units);
    dp_json_add_uint(out, "passes", s->streamed_passes);
    dp_json_add_uint(out, "bytes", s->streamed_bytes);
    dp_json_add_double(out, "seconds", s->streamed_seconds);
    dp_json_close(out, '}');
}

static void put_computed(const dp_paging_stats *s, dp_buf *out) {
    dp_json_open(out, "computed", '{');
    dp_json_add_uint(out, "experts", s->computed);
    dp_json_add_uint(out, "bytes", s->computed_bytes);
    dp_json_add_double(out, "seconds", s->compute_seconds);
    dp_json_close(out, '}');
}

static void put_single(const dp_paging_stats *s, dp_buf *out) {
    dp_json_open(out, "single", '{');
    dp_json_add_uint(out, "tokens", s->single_tokens);
    dp_json_add_double(out, "seconds", s->single_seconds);
    dp_json_add_uint(out, "waits", s->device_waits);
    dp_json_add_double(out, "waitSeconds", s->device_wait_seconds);
    dp_json_add_double(out, "submitSeconds", s->submit_seconds);
    dp_json_add_double(out, "bringSeconds", s->bring_seconds);
    dp_json_close(out, '}');
}

/* Host memory below a device's slots. */
static void put_host(const dp_residency *residency, const dp_paging_stats *s, dp_buf *out) {
    dp_json_open(out, "host", '{');
    put_slots(out, s->host_slots_least, s->host_slots_most);
    dp_json_add_uint(out, "bytes", s->host_bytes);
    dp_json_add_bool(out, "fetched", s->fetched);
    dp_json_add_uint(out, "hits", s->host_hits);
    dp_json_add_uint(out, "misses", s->host_misses);
    dp_json_add_uint(out, "reads", s->file_reads);
    dp_json_add_uint(out, "readBytes", s->file_bytes);
    put_layers(residency->pages, NULL, out);
    dp_json_close(out, '}');
}

dp_status dp_model_paging_json(dp_model *model, char **json) {
    const dp_residency *residency = &model->residency;
    dp_paging_stats s;
    dp_buf out = {0};
    dp_model_paging(model, &s);
    dp_json_open(&out, NULL, '{');
    dp_json_add_bool(&out, "paging", s.paging);
    dp_json_add_uint(&out, "ramBudget", residency->budget);
    dp_json_add_uint(&out, "expertBytes", s.expert_bytes);
    dp_json_add_uint(&out, "plainBytes", s.plain_bytes);
    dp_json_add_int(&out, "streamedUnits", s.streamed_units);
    put_slots(&out, s.slots_least, s.slots_most);
    dp_json_add_int(&out, "residentExperts", s.resident_experts);
    put_counts(&s, &out);
    if (residency->device) dp_json_add_uint(&out, "vramBudget", residency->vram);
    if (residency->device) put_streamed(&s, &out);
    if (residency->device && residency->pages) put_computed(&s, &out);
    if (residency->device && residency->pages) put_single(&s, &out);
    if (residency->device && residency->pages) put_host(residency, &s, &out);
    put_layers(residency->pages, residency->device, &out);
    dp_json_close(&out, '}');
    return dp_buf_take(&out, json, NULL);
}

/* ---- by hand ---- */

void dp_model_paging_reset(dp_model *model) {
    if (model->residency.pages) dp_pages_stats_reset(model->residency.pages);
    if (model->residency.device) dp_device_stats_reset(model->residency.device);
}

/* At home all experts are in host memory, for good. */
dp_status dp_model_load_expert(dp_model *model, int32_t layer, int32_t expert) {
    if (model->residency.home) return dp_pages_check(model->residency.pages, layer, expert);
    return model->residency.pages ? dp_pages_load(model->residency.pages, layer, expert) : DP_OK;
}

dp_status dp_model_pin_expert(dp_model *model, int32_t layer, int32_t expert, bool pin) {
    if (model->residency.home) return dp_pages_check(model->residency.pages, layer, expert);
    return model->residency.pages ? dp_pages_pin(model->residency.pages, layer, expert, pin) : DP_OK;
}

dp_status dp_model_evict_expert(dp_model *model, int32_t layer, int32_t expert) {
    if (model->residency.home) return dp_fail(DP_E_ARG, "expert %d of layer %d: the GPU fetches experts from host memory, where all stay", (int)expert, (int)layer);
    return model->residency.pages ? dp_pages_evict(model->residency.pages, layer, expert) : DP_OK;
}
