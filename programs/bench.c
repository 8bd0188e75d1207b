/* bench.c: `doppler bench`: speed of prefill and decode, and how much of the machine's read bandwidth decoding uses. */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/json_write.h"
#include "host/host.h"
#include "profile.h"
#include "progress.h"
#include "roofline.h"
#include "routing.h"
#include "tiers.h"
#include "tool.h"

enum { LIST_MAX = 16, REPEATS_MAX = 100 };

static const char *prefill_list = "512", *depth_list = "0";
static int32_t decode_tokens = 128, repeats = 3;
static bool no_bandwidth, profiling, forced, sampled;
static const char *how_routed;
static bool tiers;

static const option options[] = {
    {"prefill", 'p', OPTION_TEXT, &prefill_list, "N,...", "prompt lengths to measure; 0: none (default: 512)", 0, 0},
    {"decode", 'd', OPTION_INT, &decode_tokens, "N", "tokens to generate greedily; 0: none (default: 128)", 0, 1 << 20},
    {"depth", 0, OPTION_TEXT, &depth_list, "N,...",
     "positions already in the context when decoding begins (default: 0)", 0, 0},
    {"sampled", 0, OPTION_FLAG, &sampled, NULL,
     "decode: draw with temperature 0.8, top-k 40, top-p 0.95 and min-p 0.05 instead of greedily", 0, 0},
    {"forced", 0, OPTION_FLAG, &forced, NULL,
     "decode: evaluate given tokens, logits read after each, instead of generating", 0, 0},
    {"repeat", 'r', OPTION_INT, &repeats, "N", "runs of each measurement; medians count (default: 3)", 1, REPEATS_MAX},
    {"no-bandwidth", 0, OPTION_FLAG, &no_bandwidth, NULL, "do not measure this machine's read bandwidth and peak rates",
     0, 0},
    {"tiers", 0, OPTION_FLAG, &tiers, NULL, "instead: how fast files get to memory, and memory to the GPU", 0, 0},
    {"routing", 0, OPTION_TEXT, &how_routed, "HOW",
     "how experts are chosen: uniform, local:P (each of the token before again with probability P), trace:FILE (default: by the model)",
     0, 0},
    {"profile", 0, OPTION_FLAG, &profiling, NULL, "split the time of a prompt and of a token by op", 0, 0},
    OPTIONS_END,
};
static const option_group own = {"Measurements", options};

/* Decoding of decode_tokens tokens after `depth` others. */
typedef struct decoding {
    int32_t depth;
    double seconds;       /* median of a whole run */
    double token_seconds; /* median of all tokens */
} decoding;

typedef struct job {
    setup s;
    int32_t prefills[LIST_MAX];
    double prefill_seconds[LIST_MAX]; /* medians */
    size_t prefill_count;
    double first_seconds; /* from the first of these prompts to its first new token, median */
    decoding decodes[LIST_MAX];
    size_t decode_count;
    roofline bounds;      /* of this machine */
    uint64_t peak_memory; /* before the bounds were measured, whose buffers would count */
    int32_t *ids;         /* random tokens, as many as the longest run needs */
    double *token_times;
    progress bar;
    uint64_t done, total; /* tokens */
} job;

/* Numbers apart by commas, at most LIST_MAX. */
static dp_status parse_list(const char *flag, const char *text, int32_t *list, size_t *count) {
    for (const char *p = text; *p;) {
        char *end;
        long n = strtol(p, &end, 10);
        if (end == p || n < 0 || n > 1 << 20 || (*end && *end != ',') || *count == LIST_MAX)
            return dp_fail(DP_E_ARG, "--%s: expected at most %d numbers from 0 to %d, apart by commas, found \"%s\"",
                           flag, LIST_MAX, 1 << 20, text);
        list[(*count)++] = (int32_t)n;
        p = *end ? end + 1 : end;
    }
    return DP_OK;
}

static dp_status parse_lists(job *j) {
    int32_t list[LIST_MAX];
    size_t count = 0;
    TRY(parse_list("prefill", prefill_list, list, &count));
    for (size_t i = 0; i < count; i++)
        if (list[i] > 0) j->prefills[j->prefill_count++] = list[i];
    count = 0;
    TRY(parse_list("depth", depth_list, list, &count));
    if (decode_tokens) j->decode_count = count;
    for (size_t i = 0; i < count; i++) j->decodes[i].depth = list[i];
    return DP_OK;
}

static dp_status prepare(job *j) {
    size_t longest = 1;
    for (size_t i = 0; i < j->prefill_count; i++) {
        longest = DP_MAX(longest, (size_t)j->prefills[i]);
        j->total += (uint64_t)j->prefills[i] * (uint64_t)repeats * (i == 0 ? 2 : 1);
    }
    for (size_t i = 0; i < j->decode_count; i++) {
        longest = DP_MAX(longest, (size_t)j->decodes[i].depth + (size_t)decode_tokens + 1);
        j->total += (uint64_t)decode_tokens * (uint64_t)repeats;
    }
    TRY(setup_session(&j->s, longest));
    int32_t context = dp_session_context(j->s.session);
    if (longest > (size_t)context)
        return dp_fail(DP_E_CONTEXT, "%zu tokens do not fit the context of %d positions: %s", longest, (int)context,
                       setup_more_context(&j->s));
    j->ids = dp_malloc(longest * sizeof *j->ids);
    j->token_times = dp_malloc(((size_t)decode_tokens * (size_t)repeats + 1) * sizeof *j->token_times);
    if (!j->ids || !j->token_times) return dp_no_memory(longest * sizeof *j->ids);
    uint64_t vocab = (uint64_t)dp_model_get_info(j->s.model)->vocab;
    for (size_t i = 0; i < longest; i++) j->ids[i] = (int32_t)(dp_splitmix64(i) % vocab);
    return dp_session_eval(j->s.session, j->ids, 1, NULL); /* warms up: first touch of weights is no measurement */
}

static dp_status advance(job *j, const char *what, int32_t tokens) {
    j->done += (uint64_t)tokens;
    return progress_update(&j->bar, what, j->done, j->total) ? DP_OK : interrupted_status();
}

/* A GPU that has only been copied to for some seconds needs a while to come back to its clock, longer than a prompt takes. */
static dp_status wake(job *j, size_t which) {
    enum { ENOUGH = 1 }; /* seconds */
    if (strncmp(dp_engine_describe(j->s.engine), "cpu", 3) == 0) return DP_OK;
    for (double start = dp_host_seconds(); dp_host_seconds() - start < ENOUGH;) {
        dp_session_truncate(j->s.session, 0);
        TRY(dp_session_eval(j->s.session, j->ids, (size_t)j->prefills[which], NULL));
        TRY(advance(j, "Warming up", 0));
    }
    return DP_OK;
}

static dp_status measure_prefill(job *j, size_t which) {
    double seconds[REPEATS_MAX];
    if (which == 0) TRY(wake(j, which));
    for (int32_t r = 0; r < repeats; r++) {
        dp_session_truncate(j->s.session, 0);
        double start = dp_host_seconds();
        TRY(dp_session_eval(j->s.session, j->ids, (size_t)j->prefills[which], NULL));
        seconds[r] = dp_host_seconds() - start;
        TRY(advance(j, "Prefill", j->prefills[which]));
    }
    j->prefill_seconds[which] = median(seconds, (size_t)repeats);
    return DP_OK;
}

/* What a user waits for: a prompt, then the first token drawn behind it. */
static dp_status measure_first(job *j) {
    double seconds[REPEATS_MAX];
    dp_generate_desc desc = {.prompt = j->ids, .prompt_count = (size_t)j->prefills[0], .max_tokens = 1};
    for (int32_t r = 0; r < repeats; r++) {
        dp_session_truncate(j->s.session, 0);
        double start = dp_host_seconds();
        TRY(dp_session_generate(j->s.session, &desc, NULL));
        seconds[r] = dp_host_seconds() - start;
        TRY(advance(j, "First token", j->prefills[0]));
    }
    j->first_seconds = median(seconds, (size_t)repeats);
    return DP_OK;
}

/* Brings the context to `depth` positions; sliding windows may make it start over. Not measured, in steps that can be
 * interrupted. */
static dp_status fill_context(job *j, int32_t depth) {
    int32_t have = dp_session_truncate(j->s.session, depth);
    while (have < depth) {
        int32_t step = DP_MIN(depth - have, 512);
        TRY(dp_session_eval(j->s.session, j->ids + have, (size_t)step, NULL));
        have += step;
        TRY(advance(j, "Context", 0));
    }
    return DP_OK;
}

typedef struct token_clock {
    job *job;
    double *times; /* where the next token's time goes; the first token of a generation ends its prompt and has none */
    double last;
    dp_status status;
} token_clock;

static bool on_token(void *user, int32_t id) {
    token_clock *c = user;
    double now = dp_host_seconds();
    (void)id;
    if (c->last > 0) {
        *c->times++ = now - c->last;
        c->status = advance(c->job, "Decode", 1);
    }
    c->last = now;
    return c->status == DP_OK;
}

/* Tokens as users get them: drawn and fed back. */
static dp_status generate_tokens(job *j, int32_t depth, double *times) {
    token_clock clock = {.job = j, .times = times};
    dp_generate_desc desc = {.prompt = j->ids + depth, .prompt_count = 1, .max_tokens = decode_tokens + 1, .ignore_end = true,
                             .on_token = on_token, .user = &clock};
    if (sampled) desc.sampling = (dp_sampling){.temperature = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f, .seed = 1};
    TRY(dp_session_generate(j->s.session, &desc, NULL));
    return clock.status;
}

static dp_status force_tokens(job *j, int32_t depth, double *times) {
    for (int32_t i = 0; i < decode_tokens; i++) {
        double start = dp_host_seconds();
        TRY(dp_session_eval(j->s.session, j->ids + depth + i, 1, NULL));
        times[i] = dp_host_seconds() - start;
        TRY(advance(j, "Decode", 1));
    }
    return DP_OK;
}

static dp_status measure_decode(job *j, decoding *d) {
    double seconds[REPEATS_MAX], *times = j->token_times;
    for (int32_t r = 0; r < repeats; r++, times += decode_tokens) {
        TRY(fill_context(j, d->depth));
        TRY(forced ? force_tokens(j, d->depth, times) : generate_tokens(j, d->depth, times));
        seconds[r] = 0;
        for (int32_t i = 0; i < decode_tokens; i++) seconds[r] += times[i];
    }
    d->seconds = median(seconds, (size_t)repeats);
    d->token_seconds = median(j->token_times, (size_t)decode_tokens * (size_t)repeats);
    return DP_OK;
}

static dp_status measure(job *j) {
    TRY(prepare(j));
    for (size_t i = 0; i < j->prefill_count; i++) TRY(measure_prefill(j, i));
    if (j->prefill_count) TRY(measure_first(j));
    if (j->decode_count) dp_model_paging_reset(j->s.model); /* what it then tells is of single tokens: a prompt uses each expert once */
    for (size_t i = 0; i < j->decode_count; i++) TRY(measure_decode(j, &j->decodes[i]));
    progress_end(&j->bar);
    j->peak_memory = dp_host_memory_peak();
    return no_bandwidth ? DP_OK : roofline_measure(strncmp(dp_engine_describe(j->s.engine), "cpu", 3) == 0, &j->bounds);
}

/* ---- report ---- */

static const char *how_decoded(void) { return forced ? "evaluated" : sampled ? "sampled" : "generated"; }

static void report_decodes(const job *j) {
    for (size_t i = 0; i < j->decode_count; i++) {
        const decoding *d = &j->decodes[i];
        printf("decode     %.1f tokens/s (%d tokens %s in %.3f s, median %.2f ms a token", decode_tokens / d->seconds, (int)decode_tokens,
               how_decoded(), d->seconds, d->token_seconds * 1e3);
        if (d->depth) printf(", after %d others", (int)d->depth);
        printf(")\n");
    }
}

static phases phases_of(const job *j) {
    phases p = {.token_seconds = j->decode_count ? j->decodes[0].token_seconds : 0};
    for (size_t i = 0; i < j->prefill_count; i++) p.prefill_rate = DP_MAX(p.prefill_rate, j->prefills[i] / j->prefill_seconds[i]);
    return p;
}

static void report_text(const job *j) {
    const dp_model_info *info = dp_model_get_info(j->s.model);
    double bytes = (double)info->active_bytes, rate = j->decode_count ? per_second(bytes, j->decodes[0].token_seconds) : 0;
    printf("model      %s, %s, %s: %s parameters, %s\n", info->name, info->architecture, info->quantization,
           show_count((double)info->parameters), show_bytes((double)info->weight_bytes));
    printf("backend    %s\n", dp_engine_describe(j->s.engine));
    printf("load       %.3f s\n", j->s.load_seconds);
    for (size_t i = 0; i < j->prefill_count; i++)
        printf("prefill    %.1f tokens/s (%d tokens in %.3f s)\n", j->prefills[i] / j->prefill_seconds[i],
               (int)j->prefills[i], j->prefill_seconds[i]);
    if (j->prefill_count)
        printf("first      %.1f ms from a prompt of %d tokens to its first new token\n", j->first_seconds * 1e3, (int)j->prefills[0]);
    report_decodes(j);
    if (j->decode_count) printf("reads      %s of weights a token, %s/s\n", show_bytes(bytes), show_bytes(rate));
    roofline_print(&j->bounds, info, phases_of(j));
    printf("memory     %s at the peak, mapped weights included\n", show_bytes((double)j->peak_memory));
    dp_device_memory m;
    dp_engine_memory(j->s.engine, &m);
    if (m.weights)
        printf("on the GPU weights %s, KV cache %s, activations %s, transfer buffers %s\n",
               show_bytes((double)m.weights), show_bytes((double)m.kv), show_bytes((double)m.activations),
               show_bytes((double)m.transfer));
}

static void put_prefills(const job *j, dp_buf *out) {
    dp_json_open(out, "prefill", '[');
    for (size_t i = 0; i < j->prefill_count; i++) {
        dp_json_open(out, NULL, '{');
        dp_json_add_int(out, "tokens", j->prefills[i]);
        dp_json_add_double(out, "seconds", j->prefill_seconds[i]);
        dp_json_add_double(out, "tokens_per_second", j->prefills[i] / j->prefill_seconds[i]);
        dp_json_close(out, '}');
    }
    dp_json_close(out, ']');
}

static void put_decode(const job *j, const decoding *d, dp_buf *out) {
    double bytes = (double)dp_model_get_info(j->s.model)->active_bytes, rate = bytes / d->token_seconds;
    dp_json_open(out, NULL, '{');
    dp_json_add_int(out, "depth", d->depth);
    dp_json_add_int(out, "tokens", decode_tokens);
    dp_json_add_text(out, "kind", how_decoded());
    dp_json_add_double(out, "seconds", d->seconds);
    dp_json_add_double(out, "tokens_per_second", decode_tokens / d->seconds);
    dp_json_add_double(out, "median_token_seconds", d->token_seconds);
    dp_json_add_double(out, "bytes_per_token", bytes);
    dp_json_add_double(out, "bytes_per_second", rate);
    if (j->bounds.bandwidth > 0) dp_json_add_double(out, "bandwidth_share", rate / j->bounds.bandwidth);
    dp_json_close(out, '}');
}

static void put_decodes(const job *j, dp_buf *out) {
    dp_json_open(out, "decode", '[');
    for (size_t i = 0; i < j->decode_count; i++) put_decode(j, &j->decodes[i], out);
    dp_json_close(out, ']');
}

static void put_device_memory(const job *j, dp_buf *out) {
    dp_device_memory m;
    dp_engine_memory(j->s.engine, &m);
    if (!m.weights) return;
    dp_json_open(out, "device_memory_bytes", '{');
    dp_json_add_uint(out, "weights", m.weights);
    dp_json_add_uint(out, "kv", m.kv);
    dp_json_add_uint(out, "activations", m.activations);
    dp_json_add_uint(out, "transfer", m.transfer);
    dp_json_close(out, '}');
}

static dp_status profile(const job *j, dp_buf *json) {
    return profile_report(j->s.session, j->ids, j->prefill_count ? j->prefills[0] : 0, json);
}

static dp_status report_json(const job *j) {
    const dp_model_info *info = dp_model_get_info(j->s.model);
    dp_buf out = {0};
    dp_json_open(&out, NULL, '{');
    dp_json_add_text(&out, "model", info->name);
    dp_json_add_text(&out, "architecture", info->architecture);
    dp_json_add_text(&out, "quantization", info->quantization);
    dp_json_add_text(&out, "backend", dp_engine_describe(j->s.engine));
    dp_json_add_uint(&out, "parameters", info->parameters);
    dp_json_add_uint(&out, "weight_bytes", info->weight_bytes);
    dp_json_add_int(&out, "repeats", repeats);
    dp_json_add_double(&out, "load_seconds", j->s.load_seconds);
    put_prefills(j, &out);
    if (j->prefill_count) dp_json_add_double(&out, "first_token_seconds", j->first_seconds);
    put_decodes(j, &out);
    roofline_put(&j->bounds, info, phases_of(j), &out);
    dp_json_add_uint(&out, "peak_memory_bytes", j->peak_memory);
    if (how_routed) dp_json_add_text(&out, "routing", how_routed);
    setup_put_paging(&j->s, &out);
    put_device_memory(j, &out);
    dp_status status = profiling ? profile(j, &out) : DP_OK;
    dp_json_close(&out, '}');
    if (status == DP_OK) return stdout_print(&out);
    dp_buf_free(&out);
    return status;
}

static dp_status report(const job *j) {
    if (set.json) return report_json(j);
    report_text(j);
    return profiling ? profile(j, NULL) : DP_OK;
}

static dp_status run(char **arguments, int count) {
    job j = {.bar = {.unit = "tokens"}};
    char *bundled = NULL;
    if (forced && sampled) return dp_fail(DP_E_ARG, "--forced and --sampled: expected one of them");
    TRY(parse_lists(&j));
    TRY(routing_choose(how_routed));
    if (count == 0) TRY(setup_find_bundled(&bundled));
    if (tiers) {
        dp_status status = tiers_report(count ? arguments[0] : bundled);
        dp_free(bundled);
        return status;
    }
    dp_status status = setup_open(&j.s, count ? arguments[0] : bundled);
    if (status == DP_OK) status = measure(&j);
    progress_end(&j.bar);
    if (status == DP_OK) status = report(&j);
    if (status == DP_OK) status = setup_finish(&j.s);
    setup_close(&j.s);
    dp_free(bundled);
    dp_free(j.ids);
    dp_free(j.token_times);
    return status;
}

const command command_bench = {
    .name = "bench",
    .summary = "measure how fast a model runs here",
    .arguments = "[MODEL]",
    .details = "Measures prefill on random tokens, greedy generation as `run` does it (a GPU draws tokens itself, several\n"
               "under way at a time), then how fast as many threads read memory, the bound of decoding, which reads all\n"
               "active weights once a token, and how fast they multiply, the bound of prefill. Medians of all repeats.\n",
    .examples = "  doppler bench\n"
                "  doppler bench model.gguf --prefill 128,512,2048 --decode 256 --json\n"
                "  doppler bench model/ --prefill 0 --depth 0,2000,8000 --context 8200\n",
    .most = 1,
    .groups = {&own, &session_options, &engine_options, &memory_options, &output_options},
    .run = run,
};
