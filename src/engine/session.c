/* session.c: one conversation: the KV cache, and the plan that runs tokens through the program. */
#include "engine/engine.h"

enum {
    CONTEXT_DEFAULT = 4096,
    BATCH_DEFAULT = 512,
    OUTPUTS_MAX = 32 /* rows of logits per step, when all are wanted: bounds the logits buffer */
};

static dp_status check(const dp_model *model, const dp_session_desc *desc) {
    if (desc->context < 0 || desc->batch < 0)
        return dp_fail(DP_E_ARG, "context %d, batch %d: expected 0 or more", (int)desc->context, (int)desc->batch);
    if ((unsigned)desc->kv > DP_KV_F32) return dp_fail(DP_E_ARG, "unknown KV cache type %d", (int)desc->kv);
    if (desc->context > model->built->shape.context)
        return dp_fail(DP_E_CONTEXT, "a context of %d positions was asked for, the model was made for at most %d", (int)desc->context,
                       (int)model->built->shape.context);
    return DP_OK;
}

typedef struct sizes {
    int32_t context, batch;
    dp_plan_size plan;
    dp_kv_size kv;
} sizes;

static sizes sizes_of(const dp_model *model, const dp_session_desc *desc) {
    int32_t context = desc->context ? desc->context : DP_MIN(model->built->shape.context, CONTEXT_DEFAULT);
    int32_t batch = DP_MIN(desc->batch ? desc->batch : BATCH_DEFAULT, context);
    dp_kv_type type = model->engine->reference ? DP_KV_F32 : desc->kv;
    return (sizes){context, batch, {batch, DP_MIN(OUTPUTS_MAX, batch)}, {type, context, batch}};
}

dp_session_needs dp_session_needs_of(const dp_model *model, const dp_session_desc *desc) {
    dp_backend *backend = model->engine->backend;
    const dp_program *program = model->built->program;
    sizes s = sizes_of(model, desc);
    uint64_t own = ((uint64_t)s.context + 2 * (uint64_t)program->vocab) * 4; /* ids, logits here and with the caller */
    if (backend->api->device_bytes) return (dp_session_needs){0, backend->api->device_bytes(backend, program, s.plan, &s.kv)};
    return (dp_session_needs){backend->api->session_bytes ? own + backend->api->session_bytes(backend, program, s.plan, &s.kv) : 0, 0};
}

/* Puts in front of what the budget is short of how large the session would be, and one of how many positions it can hold. */
static dp_status say_too_large(const dp_model *model, const dp_session_desc *desc, uint64_t bytes) {
    dp_session_desc fits = *desc;
    dp_session_needs room = dp_residency_room(&model->residency), needs;
    int32_t most = 0, context = sizes_of(model, desc).context;
    for (int32_t step = 1 << 30; step; step /= 2) {
        fits.context = step < context - most ? most + step : context;
        needs = dp_session_needs_of(model, &fits);
        if (needs.host <= room.host && needs.device <= room.device) most = fits.context;
    }
    return dp_fail_in(DP_E_MEMORY, "a session of %d positions takes %llu MB, one of at most %d would fit", (int)context,
                      (unsigned long long)((bytes + 999999) / 1000000), (int)most);
}

static dp_status set_up(dp_session *s, const dp_session_desc *desc) {
    dp_backend *backend = s->model->engine->backend;
    const dp_program *program = s->model->built->program;
    sizes n = sizes_of(s->model, desc);
    dp_session_needs needs = dp_session_needs_of(s->model, desc);
    dp_status status = dp_residency_reserve(&s->model->residency, needs);
    if (status != DP_OK) return say_too_large(s->model, desc, DP_MAX(needs.host, needs.device));
    s->reserved = needs;
    s->context = n.context;
    s->batch = n.batch;
    s->ids = dp_malloc((size_t)s->context * sizeof *s->ids);
    s->logits = dp_malloc((size_t)program->vocab * sizeof *s->logits);
    if (!s->ids || !s->logits) return dp_no_memory(((size_t)s->context + (size_t)program->vocab) * 4);
    TRY(backend->api->plan_new(backend, program, n.plan, &s->plan));
    return backend->api->kv_new(backend, program, &n.kv, &s->kv);
}

dp_status dp_session_new(dp_model *model, const dp_session_desc *desc, dp_session **out) {
    dp_session_desc zero = {0};
    if (!model || !out) return dp_fail(DP_E_ARG, "dp_session_new: model or out is NULL");
    if (!desc) desc = &zero;
    TRY(check(model, desc));
    dp_session *s = dp_calloc(1, sizeof *s);
    if (!s) return dp_no_memory(sizeof *s);
    s->model = model;
    dp_status status = set_up(s, desc);
    if (status != DP_OK) {
        dp_session_free(s);
        return status;
    }
    *out = s;
    return DP_OK;
}

void dp_session_free(dp_session *s) {
    if (!s) return;
    const dp_backend_api *api = s->model->engine->backend->api;
    api->plan_free(s->plan);
    api->kv_free(s->kv);
    dp_free(s->logits);
    dp_free(s->ids);
    dp_residency_release(&s->model->residency, s->reserved);
    dp_free(s);
}

/* ---- eval ---- */

static dp_status check_ids(const dp_session *s, const int32_t *ids, size_t count) {
    int32_t vocab = s->model->built->program->vocab;
    if (count > (size_t)(s->context - s->length))
        return dp_fail(DP_E_CONTEXT, "%zu tokens do not fit: %d of the context's %d positions are used", count,
                       (int)s->length, (int)s->context);
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= vocab)
            return dp_fail(DP_E_ARG, "token id %d at index %zu, expected 0 to %d", (int)ids[i], i, (int)vocab - 1);
    return DP_OK;
}

dp_status dp_session_step(dp_session *s, const int32_t *ids, int32_t count, int32_t ahead, int32_t outputs, dp_step *out) {
    int32_t position = s->length + ahead;
    *out = (dp_step){.tokens = ids,
                     .count = count,
                     .position = position,
                     .outputs = outputs,
                     .context = s->context,
                     .kv = s->kv,
                     .routing = s->routing,
                     .routing_user = s->routing_user,
                     .routing_blind = s->routing_blind,
                     .trace = s->trace,
                     .trace_user = s->trace_user,
                     .profile = s->profile,
                     .profile_user = s->profile_user};
    return s->model->engine->backend->api->kv_reserve(s->kv, position, position + count);
}

/* Runs one step and reads nothing. */
static dp_status advance(dp_session *s, const int32_t *ids, int32_t count, int32_t outputs) {
    dp_step step;
    TRY(dp_session_step(s, ids, count, 0, outputs, &step));
    TRY(s->model->engine->backend->api->run(s->plan, &step));
    s->logits_at = outputs ? DP_LOGITS_DEVICE : DP_LOGITS_NONE;
    memcpy(s->ids + s->length, ids, (size_t)count * sizeof *ids);
    s->length += count;
    return DP_OK;
}

/* The last of the last step's rows. */
static dp_status read_last(dp_session *s, int32_t outputs) {
    TRY(s->model->engine->backend->api->read(s->plan, s->model->built->program->logits, outputs - 1, 1, s->logits));
    s->logits_at = DP_LOGITS_HERE;
    return DP_OK;
}

/* logits: NULL, or room for `outputs` rows. */
static dp_status run(dp_session *s, const int32_t *ids, int32_t count, int32_t outputs, float *logits) {
    const dp_backend_api *api = s->model->engine->backend->api;
    TRY(advance(s, ids, count, outputs));
    if (logits) TRY(api->read(s->plan, s->model->built->program->logits, 0, outputs, logits));
    return outputs ? read_last(s, outputs) : DP_OK;
}

dp_status dp_session_eval(dp_session *s, const int32_t *ids, size_t count, float *logits) {
    if (!s || (!ids && count)) return dp_fail(DP_E_ARG, "dp_session_eval: session or ids is NULL");
    TRY(check_ids(s, ids, count));
    size_t chunk = (size_t)(logits ? DP_MIN(s->batch, OUTPUTS_MAX) : s->batch);
    size_t vocab = (size_t)s->model->built->program->vocab;
    for (size_t done = 0; done < count;) {
        size_t n = DP_MIN(chunk, count - done);
        int32_t outputs = logits ? (int32_t)n : done + n == count;
        TRY(run(s, ids + done, (int32_t)n, outputs, logits ? logits + done * vocab : NULL));
        done += n;
    }
    return DP_OK;
}

dp_status dp_session_feed(dp_session *s, const int32_t *ids, size_t count) {
    TRY(check_ids(s, ids, count));
    for (size_t done = 0, n; done < count; done += n) {
        n = DP_MIN((size_t)s->batch, count - done);
        TRY(advance(s, ids + done, (int32_t)n, done + n == count));
    }
    return DP_OK;
}

dp_status dp_session_fetch_logits(dp_session *s, bool device) {
    if (s->logits_at == DP_LOGITS_NONE) return dp_fail(DP_E_ARG, "no token has been evaluated: there is nothing to continue");
    if (s->logits_at == DP_LOGITS_LOST) {
        const int32_t last = s->ids[--s->length];
        dp_status status = advance(s, &last, 1, 1);
        if (status != DP_OK) s->length++;
        TRY(status);
    }
    return device || s->logits_at == DP_LOGITS_HERE ? DP_OK : read_last(s, 1);
}

const float *dp_session_logits(const dp_session *s) {
    /* not const for us: where the logits are is nothing a caller sees */
    return dp_session_fetch_logits((dp_session *)s, false) == DP_OK ? s->logits : NULL;
}

int32_t dp_session_length(const dp_session *s) { return s->length; }
int32_t dp_session_context(const dp_session *s) { return s->context; }
const int32_t *dp_session_ids(const dp_session *s) { return s->ids; }

int32_t dp_session_truncate(dp_session *s, int32_t length) {
    if (length < 0) length = 0;
    if (length >= s->length) return s->length;
    s->length = s->model->engine->backend->api->kv_truncate(s->kv, length);
    s->logits_at = DP_LOGITS_NONE;
    return s->length;
}

void dp_session_set_routing(dp_session *s, dp_routing_fn fn, void *user) {
    s->routing = fn;
    s->routing_user = user;
    s->routing_blind = false;
}

void dp_session_choose_routing(dp_session *s, dp_routing_fn fn, void *user) {
    dp_session_set_routing(s, fn, user);
    s->routing_blind = true;
}

void dp_session_set_trace(dp_session *s, dp_trace_fn fn, void *user) {
    s->trace = fn;
    s->trace_user = user;
}

void dp_session_set_profile(dp_session *s, dp_profile_fn fn, void *user) {
    s->profile = fn;
    s->profile_user = user;
}
