/* setup.c: engine, model and session from the settings; the bundled model. See tool.h. */
#define _DEFAULT_SOURCE /* POSIX within -std=c11 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__APPLE__)
#include <mach-o/dyld.h>
#endif

#include "base/json_write.h"
#include "host/host.h"
#include "progress.h"
#include "routing.h"
#include "tool.h"

/* "auto", "cpu", "cpu-ref", "gpu" or "gpu:N" into the desc. */
static dp_status parse_device(const char *name, dp_engine_desc *desc) {
    static const char *const names[] = {"auto", "cpu", "cpu-ref", "gpu"};
    static const dp_backend_kind kinds[] = {DP_BACKEND_AUTO, DP_BACKEND_CPU, DP_BACKEND_CPU_REF, DP_BACKEND_GPU};
    if (!name) name = names[0];
    for (size_t i = 0; i < DP_COUNT(names); i++) {
        desc->backend = kinds[i];
        if (strcmp(name, names[i]) == 0) return DP_OK;
    }
    char *end;
    long number = strncmp(name, "gpu:", 4) == 0 ? strtol(name + 4, &end, 10) : 0;
    if (number < 1 || number > 999 || *end)
        return dp_fail(DP_E_ARG, "device: expected auto, cpu, cpu-ref, gpu or gpu:N, found \"%s\"", name);
    desc->gpu_adapter = (int32_t)number;
    return DP_OK;
}

dp_status setup_engine(dp_engine_desc *desc) {
    *desc = (dp_engine_desc){.threads = set.threads, .cpu_isa = set.isa, .gpu_library = set.gpu_library};
    return parse_device(set.device, desc);
}

static dp_status open_model(setup *s, const dp_engine_desc *desc, const char *model) {
    progress bar = {0};
    TRY(dp_engine_open(desc, &s->engine));
    dp_model_desc how = {.verify = set.verify, .progress = progress_update, .user = &bar,
                         .ram = set.ram, .vram = set.vram, .expert_slots = set.expert_slots,
                         .cache = (dp_cache_policy)set.cache, .misses = (dp_misses)set.misses, .mirrors = (const char *const *)set.mirrors.items,
                         .mirror_count = set.mirrors.count, .context = set.context, .batch = set.batch};
    dp_status status = dp_model_open(s->engine, model, &how, &s->model);
    progress_end(&bar);
    return status;
}

/* A model that the GPU of auto's choice cannot take runs on the CPU. */
static dp_status open_auto(setup *s, dp_engine_desc *desc, const char *model) {
    dp_status status = open_model(s, desc, model);
    bool gpu = s->engine && strncmp(dp_engine_describe(s->engine), "gpu", 3) == 0;
    if (gpu && (status == DP_E_MEMORY || status == DP_E_UNSUPPORTED)) {
        note("not on the GPU: %s", dp_error_message());
        setup_close(s);
        desc->backend = DP_BACKEND_CPU;
        status = open_model(s, desc, model);
    }
    if (status == DP_OK && stderr_is_terminal()) note("on %s", dp_engine_describe(s->engine));
    return status;
}

/* One that is not there would be missed only when it is needed. */
static dp_status check_mirrors(void) {
    for (size_t i = 0; i < set.mirrors.count; i++)
        if (dp_path_what(set.mirrors.items[i]) != DP_PATH_FOLDER)
            return dp_fail(DP_E_NOT_FOUND, "--mirror: %s is no folder", set.mirrors.items[i]);
    return DP_OK;
}

dp_status setup_open(setup *s, const char *model) {
    dp_engine_desc desc;
    double start = dp_host_seconds();
    *s = (setup){0};
    TRY(setup_engine(&desc));
    TRY(dp_path_find(model, NULL));
    TRY(check_mirrors());
    dp_status status = desc.backend == DP_BACKEND_AUTO ? open_auto(s, &desc, model) : open_model(s, &desc, model);
    s->load_seconds = dp_host_seconds() - start;
    return status;
}

dp_status setup_session(setup *s, size_t positions) {
    static const dp_kv_type types[] = {DP_KV_F16, DP_KV_F32};
    enum { CONTEXT_DEFAULT = 4096 };
    int32_t most = dp_model_get_info(s->model)->context, context = set.context;
    if (!context && positions > CONTEXT_DEFAULT && positions <= (size_t)most) context = (int32_t)positions;
    TRY(dp_session_new(s->model, &(dp_session_desc){.context = context, .batch = set.batch, .kv = types[DP_MAX(set.kv, 0)]}, &s->session));
    return routing_attach(s);
}

const char *setup_more_context(const setup *s) {
    bool more = dp_session_context(s->session) < dp_model_get_info(s->model)->context;
    return more ? "--context N makes it larger" : "the model has no more";
}

void setup_close(setup *s) {
    if (s->session) (void)routing_finish(false);
    dp_session_free(s->session);
    dp_model_close(s->model);
    dp_engine_close(s->engine);
    *s = (setup){0};
}

dp_status setup_tokenizer(const setup *s, const dp_tokenizer **out) {
    *out = dp_model_tokenizer(s->model);
    if (*out) return DP_OK;
    return dp_fail(DP_E_UNSUPPORTED, "the model has no tokenizer: put its tokenizer.json into the folder");
}

/* ---- paging ---- */

/* Where the time of a token went. */
static void note_single(const dp_paging_stats *p) {
    double ms = 1e3 / (double)p->single_tokens;
    double rest = p->single_seconds - p->device_wait_seconds - p->submit_seconds - p->bring_seconds - p->compute_seconds;
    note("paging: of %.2f ms a token %.2f waiting for the GPU, %.1f times; %.2f submitting; %.2f bringing experts; %.2f computing them, %s/s; "
         "%.2f the rest",
         p->single_seconds * ms, p->device_wait_seconds * ms, (double)p->device_waits / (double)p->single_tokens, p->submit_seconds * ms,
         p->bring_seconds * ms, p->compute_seconds * ms, show_bytes(per_second((double)p->computed_bytes, p->compute_seconds)), rest * ms);
}

static void note_paging(const setup *s) {
    dp_paging_stats p;
    dp_model_paging(s->model, &p);
    if (!p.paging) {
        note("paging: none, all weights are in memory");
        return;
    }
    if (p.layers)
        note("paging: %d to %d slots a layer, %llu hits, %llu misses: %.1f %% hits", (int)p.slots_least, (int)p.slots_most,
             (unsigned long long)p.hits, (unsigned long long)p.misses, 100 * per_second((double)p.hits, (double)(p.hits + p.misses)));
    if (p.fetched && p.host_slots_most)
        note("paging: all %d experts of a layer are in host memory (%s), from where the GPU fetched %llu", (int)p.experts,
             show_bytes((double)p.host_bytes), (unsigned long long)p.host_hits);
    else if (p.host_slots_most)
        note("paging: below that %d to %d slots a layer in host memory (%s), %llu hits, %llu misses; %s read from files in %llu reads",
             (int)p.host_slots_least, (int)p.host_slots_most, show_bytes((double)p.host_bytes), (unsigned long long)p.host_hits,
             (unsigned long long)p.host_misses, show_bytes((double)p.file_bytes), (unsigned long long)p.file_reads);
    if (p.computed)
        note("paging: %llu of the misses (%s) computed by the CPU, in %.2f ms each", (unsigned long long)p.computed,
             show_bytes((double)p.computed_bytes), p.compute_seconds * 1e3 / (double)p.computed);
    if (p.single_tokens) note_single(&p);
    if (p.streamed_passes)
        note("paging: %s sent to the GPU in %llu passes of %d layers: %s each, in %.2f ms of the host's time",
             show_bytes((double)p.streamed_bytes), (unsigned long long)p.streamed_passes, (int)p.streamed_units,
             show_bytes((double)p.streamed_bytes / (double)p.streamed_passes),
             p.streamed_seconds * 1e3 / (double)p.streamed_passes);
    note("paging: %s of experts and %s of other weights in memory, %d parts pass through; %s read in %llu reads, waited %.2f s",
         show_bytes((double)p.expert_bytes), show_bytes((double)p.plain_bytes), (int)p.streamed_units, show_bytes((double)p.read_bytes),
         (unsigned long long)p.reads, p.wait_seconds);
    if (p.guesses)
        note("paging: %llu experts read ahead, of which %llu were wanted next", (unsigned long long)p.guesses,
             (unsigned long long)p.guesses_used);
    if (p.reads)
        note("paging: a read took %.2f ms in the mean, 95 %% took less than %.2f ms, the longest %.2f ms", p.latency_mean * 1e3,
         p.latency_p95 * 1e3, p.latency_max * 1e3);
}

dp_status setup_finish(const setup *s) {
    TRY(routing_finish(true));
    if (set.paging_stats && !set.json) note_paging(s);
    return DP_OK;
}

void setup_put_paging(const setup *s, dp_buf *json) {
    char *text = NULL;
    if (!set.paging_stats) return;
    dp_json_add_raw(json, "paging", dp_str_of(dp_model_paging_json(s->model, &text) == DP_OK ? text : "null"));
    dp_free(text);
}

/* ---- logits in pieces ---- */

static dp_status check_ids(const setup *s, const int32_t *ids, size_t count) {
    int32_t vocab = dp_model_get_info(s->model)->vocab, context = dp_session_context(s->session);
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= vocab)
            return dp_fail(DP_E_ARG, "token id %d is outside the model's vocabulary of %d", (int)ids[i], (int)vocab);
    if (count > (size_t)context - (size_t)dp_session_length(s->session))
        return dp_fail(DP_E_CONTEXT, "%zu tokens do not fit the context of %d positions; --context N sets its size",
                       count, (int)context);
    return DP_OK;
}

dp_status setup_each_logits(setup *s, const int32_t *ids, size_t count, logits_fn each, void *user) {
    enum { BUFFER_BYTES = 64 << 20, PIECE_MAX = 512 };
    TRY(check_ids(s, ids, count));
    size_t vocab = (size_t)dp_model_get_info(s->model)->vocab, row = vocab * sizeof(float);
    size_t piece = DP_MAX(1, DP_MIN(BUFFER_BYTES / row, set.batch ? (size_t)set.batch : PIECE_MAX));
    float *logits = dp_malloc(piece * row);
    if (!logits) return dp_no_memory(piece * row);
    dp_status status = DP_OK;
    for (size_t i = 0; i < count && status == DP_OK; i += piece) {
        size_t n = DP_MIN(piece, count - i);
        status = interrupted() ? interrupted_status() : dp_session_eval(s->session, ids + i, n, logits);
        if (status == DP_OK) status = each(user, i, n, logits);
    }
    dp_free(logits);
    return status;
}

/* ---- the bundled model ---- */

/* The folder of this program, without a slash at its end; false if not known. */
static bool program_folder(char *path, size_t size) {
#if defined(__APPLE__)
    uint32_t room = (uint32_t)size;
    if (_NSGetExecutablePath(path, &room) != 0) return false;
#else
    ssize_t n = readlink("/proc/self/exe", path, size - 1);
    if (n <= 0) return false;
    path[n] = 0;
#endif
    char *slash = strrchr(path, '/');
    if (!slash) return false;
    *slash = 0;
    return true;
}

dp_status setup_find_bundled(char **path) {
    static const char *const places[] = {"../models/storyteller", "../share/doppler/models/storyteller"};
    static const char here[] = "models/storyteller";
    char folder[4096], candidate[4096 + 64];
    const char *chosen = getenv("DOPPLER_MODEL");
    if (chosen && *chosen) return text_copy(dp_str_of(chosen), path);
    if (program_folder(folder, sizeof folder))
        for (size_t i = 0; i < DP_COUNT(places); i++) {
            snprintf(candidate, sizeof candidate, "%s/%s", folder, places[i]);
            if (dp_path_what(candidate) == DP_PATH_FOLDER) return text_copy(dp_str_of(candidate), path);
        }
    if (dp_path_what(here) == DP_PATH_FOLDER) return text_copy(dp_str_of(here), path);
    return dp_fail(DP_E_NOT_FOUND,
                   "the bundled model was not found beside the program (%s); name a model, or set "
                   "DOPPLER_MODEL",
                   places[0]);
}
