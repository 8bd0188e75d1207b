/* roofline.c: see roofline.h. */
#include "base/json_write.h"
#include "roofline.h"

#include <stdio.h>

#include "bandwidth.h"
#include "host/host.h"
#include "tool.h"

dp_status roofline_measure(bool on_cpu, roofline *out) {
    int threads = set.threads ? set.threads : dp_host_cpu_count();
    TRY(bandwidth_measure(threads, &out->bandwidth));
    return on_cpu ? dp_cpu_measure_peaks(set.isa, threads, &out->peaks) : DP_OK;
}

/* Multiply-adds of one token of a prompt: its weights but for the output head, which only the last token needs. */
static double multiplications(const dp_model_info *info) {
    double weights = (double)info->active_bytes / (double)info->weight_bytes * (double)info->parameters;
    double head = (double)info->vocab * info->hidden;
    return weights > head ? weights - head : weights;
}

/* Of the unit that prompts are multiplied on. */
static double prefill_peak(const roofline *r, const dp_model_info *info) {
    bool floats = strstr(info->quantization, "F16") || strstr(info->quantization, "F32");
    return r->peaks.halves > 0 ? r->peaks.halves : floats ? r->peaks.floats : r->peaks.bytes;
}

static double prefill_share(const roofline *r, const dp_model_info *info, phases p) {
    double peak = prefill_peak(r, info);
    return peak > 0 ? p.prefill_rate * multiplications(info) / peak : 0;
}

static double decode_share(const roofline *r, const dp_model_info *info, phases p) {
    return r->bandwidth > 0 && p.token_seconds > 0 ? (double)info->active_bytes / p.token_seconds / r->bandwidth : 0;
}

void roofline_print(const roofline *r, const dp_model_info *info, phases p) {
    if (r->bandwidth <= 0) return;
    printf("bandwidth  %s/s read from memory, measured now", show_bytes(r->bandwidth));
    if (p.token_seconds > 0) printf("; decoding uses %.0f %%", 100 * decode_share(r, info, p));
    putchar('\n');
    if (r->peaks.bytes <= 0) return;
    printf("peak       %.0f G multiply-adds/s of int8, %.0f G of f32", r->peaks.bytes * 1e-9, r->peaks.floats * 1e-9);
    if (r->peaks.halves > 0) printf(", %.0f G of bf16 on matrix units", r->peaks.halves * 1e-9);
    if (p.prefill_rate > 0) printf("; prefill uses %.0f %%", 100 * prefill_share(r, info, p));
    putchar('\n');
}

void roofline_put(const roofline *r, const dp_model_info *info, phases p, dp_buf *out) {
    if (r->bandwidth <= 0) return;
    dp_json_add_double(out, "bandwidth_bytes_per_second", r->bandwidth);
    if (r->peaks.bytes <= 0) return;
    dp_json_open(out, "peak_multiply_adds_per_second", '{');
    dp_json_add_double(out, "int8", r->peaks.bytes);
    dp_json_add_double(out, "f32", r->peaks.floats);
    if (r->peaks.halves > 0) dp_json_add_double(out, "bf16", r->peaks.halves);
    dp_json_close(out, '}');
    if (p.prefill_rate > 0) dp_json_add_double(out, "prefill_peak_share", prefill_share(r, info, p));
}
