/* page_stats.c: what paging did and how long it took. */
#include <math.h>

#include "base/json_write.h"
#include "page/pages.h"

void dp_latency_add(dp_latency *l, double seconds) {
    int bucket = seconds > 1e-6 ? (int)ceil(4 * log2(seconds * 1e6)) : 0;
    l->count[DP_MIN(bucket, DP_LATENCY_BUCKETS - 1)]++;
    l->total++;
    l->sum += seconds;
    l->most = DP_MAX(l->most, seconds);
}

double dp_latency_at(const dp_latency *l, double share) {
    uint64_t seen = 0, need = (uint64_t)ceil(share * (double)l->total);
    for (int i = 0; i < DP_LATENCY_BUCKETS; i++) {
        seen += l->count[i];
        if (seen >= need && seen) return DP_MIN(l->most, 1e-6 * exp2(i / 4.0));
    }
    return l->most;
}

void dp_page_counts_add(dp_page_counts *sum, const dp_page_counts *c) {
    sum->steps += c->steps;
    sum->hits += c->hits;
    sum->misses += c->misses;
    sum->guesses += c->guesses;
    sum->guesses_used += c->guesses_used;
    sum->reads += c->reads;
    sum->bytes += c->bytes;
    sum->evictions += c->evictions;
    sum->computed += c->computed;
    sum->compute_seconds += c->compute_seconds;
    for (int i = 0; i < DP_LATENCY_BUCKETS; i++) sum->latency.count[i] += c->latency.count[i];
    sum->latency.total += c->latency.total;
    sum->latency.sum += c->latency.sum;
    sum->latency.most = DP_MAX(sum->latency.most, c->latency.most);
}

void dp_page_counts_put(const dp_page_counts *sum, dp_paging_stats *out) {
    out->hits = sum->hits;
    out->misses = sum->misses;
    out->evictions = sum->evictions;
    out->guesses = sum->guesses;
    out->guesses_used = sum->guesses_used;
    out->reads = sum->reads;
    out->read_bytes = sum->bytes;
    out->computed = sum->computed;
    out->compute_seconds = sum->compute_seconds;
    out->latency_mean = sum->latency.total ? sum->latency.sum / (double)sum->latency.total : 0;
    out->latency_p50 = dp_latency_at(&sum->latency, 0.5);
    out->latency_p95 = dp_latency_at(&sum->latency, 0.95);
    out->latency_max = sum->latency.most;
}

static int32_t resident_experts(const dp_page_layer *l) {
    int32_t count = 0;
    for (int32_t s = 0; s < l->experts; s++) count += l->slots[s]->state == DP_SLOT_READY;
    return count;
}

static uint64_t held_bytes(const dp_page_layer *l) {
    uint64_t bytes = 0;
    for (int32_t s = 0; s < l->experts; s++) bytes += l->slots[s]->block ? l->slots[s]->room : 0;
    return bytes;
}

static void fill(const dp_pages *p, dp_paging_stats *out) {
    dp_page_counts sum = {0};
    for (size_t i = 0; i < p->layer_count; i++) {
        const dp_page_layer *l = &p->layers[i];
        dp_page_counts_add(&sum, &l->counts);
        out->expert_bytes += held_bytes(l);
        out->resident_experts += resident_experts(l);
        out->slots_least = i ? DP_MIN(out->slots_least, l->cache.slots) : l->cache.slots;
        out->slots_most = DP_MAX(out->slots_most, l->cache.slots);
    }
    for (int32_t i = 0; i < p->guess_count; i++) out->expert_bytes += p->guesses[i]->block ? p->guesses[i]->room : 0;
    for (int32_t i = 0; i < p->plain_count; i++) {
        if (p->plain_slot[i]) out->plain_bytes += p->units.list[i].bytes;
        else out->streamed_units++;
    }
    out->layers = (int32_t)p->layer_count;
    out->experts = p->most_experts;
    sum.reads += p->plain_counts.reads;
    sum.bytes += p->plain_counts.bytes;
    if (!p->layer_count) sum.latency = p->plain_counts.latency;
    dp_page_counts_put(&sum, out);
    out->wait_seconds = p->waited;
}

void dp_pages_stats(dp_pages *p, dp_paging_stats *out) {
    *out = (dp_paging_stats){.paging = true};
    dp_loader_lock(p->loader);
    fill(p, out);
    dp_loader_unlock(p->loader);
}

void dp_page_counts_json(const dp_page_counts *c, int32_t layer, int32_t slots, int32_t resident, dp_buf *out) {
    dp_json_open(out, NULL, '{');
    dp_json_add_int(out, "layer", layer);
    dp_json_add_int(out, "slots", slots);
    dp_json_add_int(out, "resident", resident);
    dp_json_add_uint(out, "steps", c->steps);
    dp_json_add_uint(out, "hits", c->hits);
    dp_json_add_uint(out, "misses", c->misses);
    dp_json_add_uint(out, "computed", c->computed);
    dp_json_add_uint(out, "evictions", c->evictions);
    dp_json_add_uint(out, "reads", c->reads);
    dp_json_add_uint(out, "bytes", c->bytes);
    dp_json_add_double(out, "latencyP50", dp_latency_at(&c->latency, 0.5));
    dp_json_add_double(out, "latencyP95", dp_latency_at(&c->latency, 0.95));
    dp_json_close(out, '}');
}

void dp_pages_stats_json(dp_pages *p, dp_buf *out) {
    dp_loader_lock(p->loader);
    for (size_t i = 0; i < p->layer_count; i++) {
        const dp_page_layer *l = &p->layers[i];
        dp_page_counts_json(&l->counts, l->layer, l->cache.slots, resident_experts(l), out);
    }
    dp_loader_unlock(p->loader);
}

void dp_pages_stats_reset(dp_pages *p) {
    dp_loader_lock(p->loader);
    for (size_t i = 0; i < p->layer_count; i++) p->layers[i].counts = (dp_page_counts){0};
    p->plain_counts = (dp_page_counts){0};
    p->waited = 0;
    dp_loader_unlock(p->loader);
}
