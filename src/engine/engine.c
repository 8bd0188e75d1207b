/* engine.c: engines and models. */
#include "engine/engine.h"

#include "cpu/cpu.h"
#include "gpu/gpu_backend.h"
#include "graph/experts.h"

#include <stdio.h>

/* A GPU that is no program on the CPU: such a one would be slower than our own. */
static bool real_gpu(const dp_gpu_desc *desc) {
    dp_gpu_caps best;
    size_t count = 0;
    return dp_gpu_list(desc, &best, 1, &count) == DP_OK && count && !best.software;
}

static dp_status open_backend(const dp_engine_desc *desc, dp_backend **out) {
    dp_gpu_desc gpu = {.adapter = desc->gpu_adapter - 1, .library = desc->gpu_library, .no_f16 = desc->gpu_plain,
                       .no_subgroups = desc->gpu_plain, .no_subgroup_matrix = desc->gpu_plain, .exact = desc->gpu_plain,
                       .part_most = desc->gpu_part_bytes, .timestamps = true, .unchecked = !desc->gpu_plain};
    if (desc->backend == DP_BACKEND_GPU) return dp_gpu_backend_open(&gpu, out);
    if (desc->backend == DP_BACKEND_AUTO && real_gpu(&gpu) && dp_gpu_backend_open(&gpu, out) == DP_OK) return DP_OK;
    dp_cpu_desc cpu = {.reference = desc->backend == DP_BACKEND_CPU_REF, .threads = desc->threads, .isa = desc->cpu_isa};
    return dp_cpu_open(&cpu, out);
}

dp_status dp_engine_open(const dp_engine_desc *desc, dp_engine **out) {
    dp_engine_desc zero = {0};
    if (!out) return dp_fail(DP_E_ARG, "dp_engine_open: out is NULL");
    if (!desc) desc = &zero;
    if ((unsigned)desc->backend > DP_BACKEND_GPU) return dp_fail(DP_E_ARG, "dp_engine_open: unknown backend %d", (int)desc->backend);
    if (desc->threads < 0 || desc->threads > 1024) return dp_fail(DP_E_ARG, "threads is %d, expected 0 to 1024", (int)desc->threads);
    dp_engine *engine = dp_calloc(1, sizeof *engine);
    if (!engine) return dp_no_memory(sizeof *engine);
    engine->reference = desc->backend == DP_BACKEND_CPU_REF;
    engine->threads = desc->threads;
    snprintf(engine->isa, sizeof engine->isa, "%s", desc->cpu_isa ? desc->cpu_isa : "");
    dp_status status = open_backend(desc, &engine->backend);
    if (status != DP_OK) {
        dp_free(engine);
        return status;
    }
    *out = engine;
    return DP_OK;
}

void dp_engine_close(dp_engine *engine) {
    if (!engine) return;
    engine->backend->api->close(engine->backend);
    dp_free(engine);
}

void dp_engine_memory(const dp_engine *engine, dp_device_memory *out) {
    *out = (dp_device_memory){0};
    if (engine->backend->api->memory) engine->backend->api->memory(engine->backend, out);
}

const char *dp_engine_describe(const dp_engine *engine) { return engine->backend->api->describe(engine->backend); }

/* ---- model ---- */

static void count_weights(dp_model_info *info, const dp_program *p) {
    for (size_t i = 0; i < p->weight_count; i++) {
        const dp_weight *w = &p->weights[i];
        uint64_t copies = w->experts ? (uint64_t)w->experts : 1;
        info->parameters += copies * (uint64_t)w->rows * (uint64_t)w->cols;
        info->weight_bytes += dp_weight_bytes(w);
    }
    for (size_t i = 0; i < p->op_count; i++) info->active_bytes += dp_program_op_bytes(p, &p->ops[i]);
    for (size_t i = 0; i < p->kv_count; i++)
        info->kv_bytes_per_token += 2 * (uint64_t)p->kv[i].heads * (uint64_t)(p->kv[i].k_dim + p->kv[i].v_dim);
}

static dp_status describe(dp_model *model) {
    const dp_shape *s = &model->built->shape;
    dp_str type = {0};
    TRY(dp_json_get_str(model->checkpoint->config, "model_type", &type));
    const char *architecture = dp_arena_copy(&model->checkpoint->arena, type.p ? type.p : "", type.n);
    if (!architecture) return dp_no_memory(type.n);
    model->info = (dp_model_info){.name = model->checkpoint->name,
                                  .architecture = architecture,
                                  .quantization = model->checkpoint->quantization,
                                  .layers = s->layers,
                                  .hidden = s->hidden,
                                  .heads = s->heads,
                                  .kv_heads = s->kv_heads,
                                  .head_dim = s->head_dim,
                                  .vocab = s->vocab,
                                  .context = s->context,
                                  .experts = s->experts,
                                  .experts_per_token = s->experts_per_token};
    count_weights(&model->info, model->built->program);
    return DP_OK;
}

static dp_status verify_shards(const dp_checkpoint *checkpoint, const dp_model_desc *desc) {
    for (size_t i = 0; desc->verify && i < checkpoint->shard_count; i++)
        TRY(dp_checkpoint_verify_shard(checkpoint, i, desc->progress, desc->user));
    return DP_OK;
}

/* The CPU computes what a GPU's slots lack, if that is wanted; what it takes counts in the budget of host memory. */
static dp_status open_experts(dp_model *model, dp_misses misses) {
    const dp_engine *engine = model->engine;
    const dp_cpu_desc desc = {.threads = engine->threads, .isa = engine->isa[0] ? engine->isa : NULL};
    if (misses == DP_MISSES_UPLOAD || !engine->backend->api->device_bytes || !dp_residency_is_paged(&model->residency)) return DP_OK;
    if (model->residency.home) return DP_OK;
    TRY(dp_cpu_experts_open(&desc, model->built->program, &model->experts));
    model->experts->misses = misses;
    model->built->program->experts = model->experts;
    model->residency.base += model->experts->bytes;
    return DP_OK;
}

/* Decides where weights lie, and makes room for them there. */
static dp_status place_weights(dp_model *model, const dp_model_desc *desc) {
    dp_backend *backend = model->engine->backend;
    dp_residency *residency = &model->residency;
    const dp_session_desc size = {.context = DP_MIN(desc->context, model->built->shape.context), .batch = desc->batch};
    bool copies = backend->api->copies;
    TRY(dp_residency_init(residency, model->built, desc, backend, dp_session_needs_of(model, &size)));
    dp_weights_how how = dp_residency_is_paged(residency) ? (copies ? DP_WEIGHTS_PLAIN : DP_WEIGHTS_VECTORS)
                         : copies                         ? DP_WEIGHTS_READER
                                                          : DP_WEIGHTS_HERE;
    TRY(dp_weights_load(model->built, how, &model->weights, desc->progress, desc->user));
    TRY(open_experts(model, desc->misses));
    TRY(dp_residency_open(residency, model->built, desc));
    return backend->api->reserve ? backend->api->reserve(backend, model->built->program) : DP_OK;
}

static dp_status open_tokenizer(dp_model *model) {
    dp_status status = dp_checkpoint_tokenizer(model->checkpoint, &model->tokenizer);
    return status == DP_E_NOT_FOUND ? DP_OK : status;
}

static dp_status open_model(dp_model *model, const char *path, const dp_model_desc *desc) {
    dp_backend *backend = model->engine->backend;
    bool meanwhile = backend->api->reserve && !desc->ram; /* a budget of host memory counts the tokenizer */
    TRY(dp_checkpoint_open(path, &model->checkpoint));
    TRY(verify_shards(model->checkpoint, desc));
    TRY(dp_arch_build(model->checkpoint, &model->built));
    TRY(describe(model));
    if (!meanwhile) TRY(open_tokenizer(model));
    TRY(place_weights(model, desc));
    if (meanwhile) TRY(open_tokenizer(model)); /* while the device makes the room */
    return backend->api->load(backend, model->built->program, desc->progress, desc->user);
}

/* The formats' own messages begin with the file, "<path>: ..." or "<path>/manifest.json: ...", some with "./" before it. */
static bool names_path(const char *message, const char *path) {
    size_t n = strlen(path);
    if (strncmp(message, "./", 2) == 0 && path[0] != '.') message += 2;
    return strncmp(message, path, n) == 0 && (message[n] == ':' || message[n] == '/' || (n && path[n - 1] == '/'));
}

dp_status dp_model_open(dp_engine *engine, const char *path, const dp_model_desc *desc, dp_model **out) {
    dp_model_desc zero = {0};
    if (!engine || !path || !out) return dp_fail(DP_E_ARG, "dp_model_open: engine, path or out is NULL");
    dp_model *model = dp_calloc(1, sizeof *model);
    if (!model) return dp_no_memory(sizeof *model);
    model->engine = engine;
    dp_status status = open_model(model, path, desc ? desc : &zero);
    if (status != DP_OK) {
        dp_model_close(model);
        return names_path(dp_error_message(), path) ? status : dp_fail_in(status, "%s", path);
    }
    *out = model;
    return DP_OK;
}

void dp_model_close(dp_model *model) {
    if (!model) return;
    dp_tokenizer_close(model->tokenizer);
    if (model->built) model->engine->backend->api->unload(model->engine->backend, model->built->program);
    if (model->experts) model->experts->api->close(model->experts);
    dp_residency_close(&model->residency);
    dp_weights_free(&model->weights);
    dp_builder_free(model->built);
    dp_checkpoint_close(model->checkpoint);
    dp_free(model);
}

const dp_model_info *dp_model_get_info(const dp_model *model) { return &model->info; }
const dp_tokenizer *dp_model_tokenizer(const dp_model *model) { return model->tokenizer; }
