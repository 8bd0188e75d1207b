/* gpu_backend.c: the backend table on the GPU: activation buffers, the KV cache, and a step's submit and readback. */
#include "gpu/gpu_plan.h"

#include <stdio.h>

static dp_gpu_backend *of(dp_backend *base) { return (dp_gpu_backend *)base; }

/* Bytes of all buffers. */
static uint64_t used(const dp_gpu_backend *b) {
    uint64_t buffers, transfer;
    dp_gpu_memory(b->gpu, &buffers, &transfer);
    return buffers;
}

/* ---- KV cache ---- */

static void kv_drop(dp_kv *kv) {
    for (size_t i = 0; kv->layers && i < kv->program->kv_count; i++) dp_gpu_buffer_free(kv->backend->gpu, kv->layers[i].buffer);
    dp_free(kv->layers);
    dp_free(kv);
}

/* Room for a step, or for tokens that run ahead of the host, without loss of what a window still sees. */
static int32_t kv_capacity(const dp_kv_spec *s, const dp_kv_size *size) {
    return s->window ? DP_MIN(size->context, s->window + DP_MAX(size->step, DP_DRAWS_MOST + 1)) : size->context;
}

static uint64_t kv_layer_bytes(const dp_kv_spec *s, const dp_kv_size *size) {
    return (uint64_t)s->heads * (uint64_t)(s->k_dim + s->v_dim) * (uint64_t)kv_capacity(s, size) * (size->type == DP_KV_F32 ? 4 : 2);
}

static dp_status kv_layers(dp_kv *kv, const dp_kv_size *size) {
    for (size_t i = 0; i < kv->program->kv_count; i++) {
        const dp_kv_spec *s = &kv->program->kv[i];
        if (s->k_dim % 2 || s->v_dim % 2)
            return dp_fail(DP_E_UNSUPPORTED, "heads of %d and %d columns: the GPU kernels need even numbers",
                           (int)s->k_dim, (int)s->v_dim);
        int32_t capacity = kv_capacity(s, size);
        kv->layers[i].capacity = (uint32_t)capacity;
        dp_status status = dp_gpu_storage_new(kv->backend->gpu, kv_layer_bytes(s, size), "kv", &kv->layers[i].buffer);
        if (status != DP_OK)
            return dp_fail_in(status, "the KV cache of layer %zu, %d positions (a smaller context needs less)", i,
                              (int)capacity);
    }
    return DP_OK;
}

static void kv_free(dp_kv *kv) {
    if (!kv) return;
    dp_gpu_backend *b = kv->backend;
    dp_mutex_lock(b->lock);
    uint64_t before = used(b);
    kv_drop(kv);
    b->kv_bytes -= before - used(b);
    dp_mutex_unlock(b->lock);
}

static dp_status kv_make(dp_backend *base, const dp_program *program, const dp_kv_size *size, dp_kv **out) {
    dp_kv *kv = dp_calloc(1, sizeof *kv);
    if (!kv) return dp_no_memory(sizeof *kv);
    *kv = (dp_kv){of(base), program, dp_calloc(program->kv_count, sizeof *kv->layers), size->context, 0, size->type == DP_KV_F32};
    dp_status status = kv->layers ? kv_layers(kv, size) : dp_no_memory(program->kv_count * sizeof *kv->layers);
    if (status != DP_OK) {
        kv_drop(kv);
        return status;
    }
    *out = kv;
    return DP_OK;
}

static dp_status kv_new(dp_backend *base, const dp_program *program, const dp_kv_size *size, dp_kv **out) {
    dp_gpu_backend *b = of(base);
    dp_mutex_lock(b->lock);
    uint64_t before = used(b);
    dp_status status = kv_make(base, program, size, out);
    b->kv_bytes += used(b) - before;
    dp_mutex_unlock(b->lock);
    return status;
}

static dp_status kv_reserve(dp_kv *kv, int32_t from, int32_t to) {
    (void)from;
    kv->written = DP_MAX(kv->written, to);
    return DP_OK;
}

/* A ring still holds what `length` sees if nothing newer has overwritten it. */
static int32_t kv_truncate(dp_kv *kv, int32_t length) {
    for (size_t i = 0; i < kv->program->kv_count; i++) {
        int32_t window = kv->program->kv[i].window, oldest = kv->written - (int32_t)kv->layers[i].capacity;
        if (window && oldest > 0 && length - window + 1 < oldest) length = 0;
    }
    if (length == 0) kv->written = 0;
    return length;
}

/* ---- plan ---- */

/* What was begun to be read and never fetched. */
static void drop_reading(dp_plan *plan) {
    if (plan->reading.under_way) dp_gpu_read_drop(plan->backend->gpu, plan->reading.read);
    plan->reading.under_way = false;
}

static void plan_drop(dp_plan *plan) {
    dp_gpu *gpu = plan->backend->gpu;
    drop_reading(plan);
    dp_gpu_paged_forget(plan);
    dp_gpu_plan_clear(plan);
    for (size_t i = 0; plan->slots && i < plan->program->slot_count; i++) dp_gpu_buffer_free(gpu, plan->slots[i]);
    dp_gpu_buffer_free(gpu, plan->tokens);
    dp_gpu_buffer_free(gpu, plan->step);
    dp_gpu_buffer_free(gpu, plan->partial);
    dp_gpu_prefill_free(plan);
    dp_gpu_draws_free(plan); /* whose records the pager is told of */
    dp_gpu_paged_free(plan);
    for (size_t i = 0; plan->packed && i < plan->program->slot_count; i++) dp_gpu_buffer_free(gpu, plan->packed[i]);
    dp_free(plan->packed);
    dp_free(plan->slots);
    dp_free(plan);
}

static void plan_free(dp_plan *plan) {
    if (!plan) return;
    dp_gpu_backend *b = plan->backend;
    dp_mutex_lock(b->lock);
    plan_drop(plan);
    dp_mutex_unlock(b->lock);
}

/* Floats that attention's partial results of one token need at most. */
static uint64_t partial_size(const dp_program *p) {
    uint64_t most = 1;
    for (size_t i = 0; i < p->op_count; i++) {
        if (p->ops[i].kind != DP_OP_ATTENTION) continue;
        const dp_kv_spec *s = &p->kv[p->ops[i].attention.kv];
        most = DP_MAX(most, (uint64_t)p->ops[i].attention.heads * (uint64_t)((s->v_dim ? s->v_dim : s->latent) + 2));
    }
    return most * DP_GPU_SPLITS_MOST;
}

static dp_status plan_buffers(dp_plan *plan) {
    dp_gpu *gpu = plan->backend->gpu;
    const dp_program *p = plan->program;
    for (size_t i = 0; i < p->slot_count; i++) {
        int32_t rows = p->slots[i].rows == DP_ROWS_TOKENS ? plan->size.tokens : plan->size.outputs;
        TRY(dp_gpu_storage_new(gpu, (uint64_t)rows * (uint64_t)p->slots[i].cols * 4, p->slots[i].name, &plan->slots[i]));
    }
    TRY(dp_gpu_buffer_new(gpu, (uint64_t)plan->size.tokens * 4, "tokens", &plan->tokens));
    TRY(dp_gpu_buffer_new(gpu, DP_GPU_STEP_WORDS * 4, "step", &plan->step));
    TRY(dp_gpu_buffer_new(gpu, partial_size(p) * 4, "partial", &plan->partial));
    TRY(dp_gpu_paged_new(plan));
    return dp_gpu_prefill_buffers(plan);
}

static dp_status plan_make(dp_backend *base, const dp_program *program, dp_plan_size size, dp_plan **out) {
    dp_plan *plan = dp_calloc(1, sizeof *plan);
    if (!plan) return dp_no_memory(sizeof *plan);
    *plan = (dp_plan){.backend = of(base), .program = program, .size = size, .stream = dp_gpu_stream_of(program)};
    plan->slots = dp_calloc(program->slot_count, sizeof *plan->slots);
    plan->packed = dp_calloc(program->slot_count, sizeof *plan->packed);
    dp_status status = plan->slots && plan->packed ? plan_buffers(plan) : dp_no_memory(program->slot_count * sizeof *plan->slots);
    if (status != DP_OK) {
        plan_drop(plan);
        return dp_fail_in(status, "activations for %d tokens (a smaller batch needs less)", (int)size.tokens);
    }
    *out = plan;
    return DP_OK;
}

static dp_status plan_new(dp_backend *base, const dp_program *program, dp_plan_size size, dp_plan **out) {
    dp_mutex_lock(of(base)->lock);
    dp_status status = plan_make(base, program, size, out);
    dp_mutex_unlock(of(base)->lock);
    return status;
}

/* ---- what a session takes ---- */

/* Of what is made when dispatches are planned: packed twins of one row, q, k and v side by side, experts' biases. */
static uint64_t planned_bytes(const dp_gpu_backend *b, const dp_program *p) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < p->slot_count; i++) bytes += (uint64_t)p->slots[i].cols * (b->lean ? 5 : 44 / 16 + 1);
    for (size_t i = 0; i < p->op_count; i++)
        if (p->ops[i].kind == DP_OP_MOE_MATMUL && p->ops[i].bias >= 0) bytes += p->weights[p->ops[i].bias].bytes;
    return bytes;
}

static uint64_t device_bytes(dp_backend *base, const dp_program *p, dp_plan_size size, const dp_kv_size *kv) {
    const dp_plan plan = {.backend = of(base), .program = p, .size = size};
    uint64_t bytes = (uint64_t)size.tokens * 4 + partial_size(p) * 4 + planned_bytes(plan.backend, p) + dp_gpu_prefill_bytes(&plan) +
                     dp_gpu_draws_bytes(p) + dp_gpu_ahead_bytes(p);
    for (size_t i = 0; i < p->slot_count; i++)
        bytes += (uint64_t)(p->slots[i].rows == DP_ROWS_TOKENS ? size.tokens : size.outputs) *
                 (uint64_t)p->slots[i].cols * 4;
    for (size_t i = 0; i < p->kv_count; i++) bytes += kv_layer_bytes(&p->kv[i], kv);
    return bytes + (uint64_t)kv->context * 4;
}

/* ---- run ---- */

/* Where the host cannot wait it comes again with the same wish, and what was begun then goes on. */
static dp_status read_locked(dp_plan *plan, int32_t slot, int32_t first, int32_t rows, float *out) {
    uint64_t cols = (uint64_t)plan->program->slots[slot].cols;
    bool same = plan->reading.under_way && plan->reading.slot == slot && plan->reading.first == first && plan->reading.rows == rows;
    if (!same) {
        dp_gpu_read read;
        drop_reading(plan);
        TRY(dp_gpu_read_begin(plan->backend->gpu, plan->slots[slot], (uint64_t)first * cols * 4,
                              (size_t)((uint64_t)rows * cols * 4), &read));
        plan->reading.read = read;
        plan->reading.slot = slot;
        plan->reading.first = first;
        plan->reading.rows = rows;
    }
    dp_status status = dp_gpu_read_end(plan->backend->gpu, plan->reading.read, out);
    plan->reading.under_way = status == DP_WAITING;
    return status;
}

/* Puts the dispatch on the queue if this step wants it, its grid filled in. */
static void enqueue(dp_plan *plan, const dp_planned *d, const dp_step *step, size_t *count) {
    int32_t rows = d->rows == DP_GRID_OUTPUTS ? step->outputs : step->count;
    bool fused = step->count == 1;
    if (d->when == DP_WHEN_BACK || (d->traced && !step->trace)) return;
    if (d->when != DP_WHEN_ALWAYS && fused != (d->when == DP_WHEN_FUSED)) return;
    bool split = step->count == 1 && step->position >= DP_GPU_SPLIT_FROM;
    if (rows < d->at_least || rows > d->at_most || (!d->either && d->split != split)) return;
    plan->queue[*count] = d->dispatch;
    plan->queue_ops[*count] = (size_t)(d - plan->planned);
    if (d->rows != DP_GRID_FIXED) plan->queue[*count].grid[d->axis] = ((uint32_t)rows * d->times + d->per - 1) / d->per;
    ++*count;
}

/* Of ops that were done by one dispatch only the last has its result in its slot. */
static dp_status trace(dp_plan *plan, const dp_step *step, const dp_planned *done) {
    const dp_op *op = &plan->program->ops[done->last];
    if (op->dst < 0 || done->hidden) return DP_OK;
    const dp_slot *slot = &plan->program->slots[op->dst];
    size_t rows = (size_t)(slot->rows == DP_ROWS_TOKENS ? step->count : step->outputs), cols = (size_t)slot->cols;
    if (!rows) return DP_OK;
    float *data = dp_malloc(rows * cols * sizeof(float));
    if (!data) return dp_no_memory(rows * cols * sizeof(float));
    dp_status status = read_locked(plan, op->dst, 0, (int32_t)rows, data);
    if (status == DP_OK && !step->trace(step->trace_user, dp_op_name(op->kind), op->label, data, rows, cols))
        status = dp_fail(DP_E_CANCELLED, "cancelled by the trace callback at %s", op->label);
    dp_free(data);
    return status;
}

static dp_status profile(dp_plan *plan, const dp_step *step, size_t from, size_t count) {
    uint64_t *times = dp_malloc(count * sizeof *times);
    if (!times) return dp_no_memory(count * sizeof *times);
    dp_status status = dp_gpu_submit_timed(plan->backend->gpu, plan->queue + from, count, times);
    for (size_t i = 0; status == DP_OK && i < count; i++) {
        const dp_planned *d = &plan->planned[plan->queue_ops[from + i]];
        const dp_op *op = &plan->program->ops[d->op];
        uint64_t bytes = 0;
        for (size_t k = 0; k < d->ops; k++) bytes += dp_program_op_bytes_most(plan->program, &op[k], step->count);
        step->profile(step->profile_user, dp_op_name(op->kind), op->label, (double)times[i] * 1e-9, bytes);
    }
    dp_free(times);
    return status;
}

/* The device begins while the rest is encoded. */
static dp_status submit_in_pieces(dp_plan *plan, size_t from, size_t to) {
    for (size_t n; from < to; from += n) {
        n = DP_MIN(to - from, (size_t)DP_GPU_SUBMIT_PIECE);
        TRY(dp_gpu_submit(plan->backend->gpu, plan->queue + from, n));
    }
    return DP_OK;
}

/* Behind the dispatches from `from` on that belong to the same op. */
static size_t op_end(const dp_plan *plan, size_t from, size_t to) {
    size_t end = from + 1;
    while (end < to && plan->planned[plan->queue_ops[end]].op == plan->planned[plan->queue_ops[from]].op) end++;
    return end;
}

dp_status dp_gpu_step_trace(dp_plan *plan, const dp_step *step, size_t from, size_t to) {
    for (size_t end; step->trace && from < to; from = end) {
        end = op_end(plan, from, to);
        TRY(trace(plan, step, &plan->planned[plan->queue_ops[end - 1]]));
    }
    return DP_OK;
}

static dp_status traced(dp_plan *plan, const dp_step *step, size_t from, size_t to) {
    for (size_t end; from < to; from = end) {
        end = op_end(plan, from, to);
        TRY(dp_gpu_submit(plan->backend->gpu, plan->queue + from, end - from));
        TRY(dp_gpu_step_trace(plan, step, from, end));
    }
    return DP_OK;
}

dp_status dp_gpu_step_submit(dp_plan *plan, const dp_step *step, size_t from, size_t to) {
    for (size_t end; from < to; from = end) {
        TRY(dp_gpu_stream_bring(plan, from, to, &end));
        if (step->trace) TRY(traced(plan, step, from, end));
        else TRY(step->profile ? profile(plan, step, from, end - from) : submit_in_pieces(plan, from, end));
    }
    return DP_OK;
}

/* A draw leaves token and position of the step behind it on the device. */
static dp_status prepare(dp_plan *plan, const dp_step *step) {
    const uint32_t words[4] = {(uint32_t)step->position, (uint32_t)step->count, (uint32_t)step->outputs, (uint32_t)step->context};
    if (step->count > plan->size.tokens || step->outputs > plan->size.outputs || step->outputs > step->count)
        return dp_fail(DP_E_ARG, "a step of %d tokens and %d outputs in a plan for %d and %d", (int)step->count, (int)step->outputs,
                       (int)plan->size.tokens, (int)plan->size.outputs);
    drop_reading(plan);
    if (step->routing && !plan->block_count)
        return dp_fail(
            DP_E_UNSUPPORTED,
            "the GPU routes on the device: routing can be seen or chosen only where experts are paged (a number of slots, or a budget of graphics memory, makes it so)");
    bool resumes = dp_gpu_paged_resumes(plan, step);
    if (plan->kv != step->kv) TRY(dp_gpu_plan_build(plan, step->kv));
    if (!step->tokens || resumes) return DP_OK;
    TRY(dp_gpu_write(plan->backend->gpu, plan->step, 0, words, sizeof words));
    return dp_gpu_write(plan->backend->gpu, plan->tokens, 0, step->tokens, (size_t)step->count * 4);
}

dp_status dp_gpu_step_queue(dp_plan *plan, const dp_step *step, size_t *count) {
    TRY(prepare(plan, step));
    *count = 0;
    for (size_t i = 0; i < plan->planned_count; i++) enqueue(plan, &plan->planned[i], step, count);
    return DP_OK;
}

static dp_status run_locked(dp_plan *plan, const dp_step *step) {
    size_t count, done;
    TRY(dp_gpu_step_queue(plan, step, &count));
    TRY(dp_gpu_prepare(plan->backend->gpu, plan->queue, count));
    TRY(dp_gpu_paged_run(plan, step, count, &done));
    TRY(dp_gpu_step_submit(plan, step, done, count));
    return dp_gpu_check(plan->backend->gpu);
}

static dp_status run(dp_plan *plan, const dp_step *step) {
    dp_mutex_lock(plan->backend->lock);
    dp_status status = run_locked(plan, step);
    dp_mutex_unlock(plan->backend->lock);
    return status;
}

static dp_status read_slot(dp_plan *plan, int32_t slot, int32_t first, int32_t rows, float *out) {
    dp_mutex_lock(plan->backend->lock);
    dp_status status = read_locked(plan, slot, first, rows, out);
    dp_mutex_unlock(plan->backend->lock);
    return status;
}

/* ---- open ---- */

static const char *describe(const dp_backend *base) { return ((const dp_gpu_backend *)base)->text; }

static void close_backend(dp_backend *base) {
    dp_gpu_backend *b = of(base);
    if (!b) return;
    dp_kernels_free(b->kernels);
    if (b->gpu) dp_gpu_buffer_free(b->gpu, b->nothing);
    if (b->gpu) dp_gpu_buffer_free(b->gpu, b->sink);
    dp_gpu_close(b->gpu);
    dp_pool_free(b->pool);
    dp_mutex_free(b->lock);
    dp_free(b->params);
    dp_free(b);
}

static dp_status reserve(dp_backend *base, dp_program *program) {
    dp_gpu_backend *b = of(base);
    dp_mutex_lock(b->lock);
    uint64_t before = used(b);
    dp_status status = dp_gpu_weights_reserve(b, program);
    b->weight_bytes += used(b) - before;
    dp_mutex_unlock(b->lock);
    return status;
}

static dp_status load(dp_backend *base, dp_program *program, dp_progress_fn progress, void *user) {
    dp_gpu_backend *b = of(base);
    dp_mutex_lock(b->lock);
    uint64_t before = used(b);
    dp_status status = dp_gpu_weights_load(b, program, progress, user);
    b->weight_bytes += used(b) - before;
    dp_mutex_unlock(b->lock);
    return status;
}

static void unload(dp_backend *base, dp_program *program) {
    dp_gpu_backend *b = of(base);
    dp_mutex_lock(b->lock);
    uint64_t before = used(b);
    dp_gpu_weights_unload(b, program);
    b->weight_bytes -= before - used(b);
    dp_mutex_unlock(b->lock);
}

static void memory(dp_backend *base, dp_device_memory *out) {
    dp_gpu_backend *b = of(base);
    uint64_t buffers, transfer;
    dp_mutex_lock(b->lock);
    dp_gpu_memory(b->gpu, &buffers, &transfer);
    *out = (dp_device_memory){b->weight_bytes, b->kv_bytes, buffers - b->weight_bytes - b->kv_bytes, transfer, 0, false};
    out->total = dp_gpu_get_caps(b->gpu)->memory;
    out->unified = dp_gpu_get_caps(b->gpu)->unified;
    dp_mutex_unlock(b->lock);
}

static bool reads_host(dp_backend *base) { return of(base)->reads_host; }

static const dp_backend_api api = {
    .name = "gpu",
    .copies = true,
    .close = close_backend,
    .describe = describe,
    .memory = memory,
    .reserve = reserve,
    .load = load,
    .unload = unload,
    .plan_new = plan_new,
    .plan_free = plan_free,
    .kv_new = kv_new,
    .kv_free = kv_free,
    .kv_reserve = kv_reserve,
    .kv_truncate = kv_truncate,
    .weight_bytes = dp_gpu_weight_bytes,
    .device_bytes = device_bytes,
    .stream_bytes = dp_gpu_stream_bytes,
    .home_bytes = dp_gpu_home_bytes,
    .reads_host = reads_host,
    .run = run,
    .read = read_slot,
    .draw_is_far = dp_gpu_draw_is_far,
    .draw_shares = dp_gpu_draw_shares,
    .draw_begin = dp_gpu_draw_begin,
    .draw = dp_gpu_draw,
    .drawn = dp_gpu_drawn,
    .draw_end = dp_gpu_draw_end,
};

/* A driver that says that it reads host memory may refuse all the same. */
static bool can_read_host(dp_gpu *gpu) {
    dp_gpu_buffer probe;
    void *memory;
    if (!dp_gpu_get_caps(gpu)->host_align || dp_gpu_buffer_host(gpu, 1 << 16, "probe", &probe, &memory) != DP_OK) return false;
    dp_gpu_buffer_free(gpu, probe);
    return true;
}

enum { REPACK_THREADS = 16 }; /* they share the memory's bandwidth */

static dp_status set_up(dp_gpu_backend *b, const dp_gpu_desc *desc) {
    TRY(dp_mutex_new(&b->lock));
    TRY(dp_pool_new(DP_MIN(dp_host_cpu_count(), REPACK_THREADS), &b->pool));
    TRY(dp_gpu_open(desc, &b->gpu));
    TRY(dp_kernels_new(b->gpu, &b->kernels));
    TRY(dp_gpu_buffer_new(b->gpu, 256, "nothing", &b->nothing));
    TRY(dp_gpu_buffer_new(b->gpu, 256, "sink", &b->sink));
    const dp_gpu_caps *caps = dp_gpu_get_caps(b->gpu);
    b->exact = desc->exact;
    b->reads_host = can_read_host(b->gpu);
    b->lean = !desc->exact && !desc->fused && caps->slow_barriers && caps->subgroups && caps->subgroup_min == 4 && caps->subgroup_max == 4 &&
              caps->storage_buffers >= 8;
    b->fuses = !desc->exact && (desc->fused || !caps->slow_barriers || b->lean);
    b->part_most = DP_MIN(caps->binding_max, caps->buffer_max);
    if (desc->part_most) b->part_most = DP_MIN(b->part_most, desc->part_most);
    snprintf(b->text, sizeof b->text, "gpu, %s (%s%s)", caps->name, caps->api, caps->software ? ", software" : "");
    return DP_OK;
}

bool dp_gpu_backend_is_lean(const dp_backend *backend) { return ((const dp_gpu_backend *)backend)->lean; }

dp_status dp_gpu_backend_open(const dp_gpu_desc *desc, dp_backend **out) {
    dp_gpu_backend *b = dp_calloc(1, sizeof *b);
    if (!b) return dp_no_memory(sizeof *b);
    b->base.api = &api;
    dp_status status = set_up(b, desc);
    if (status != DP_OK) {
        close_backend(&b->base);
        return status;
    }
    *out = &b->base;
    return DP_OK;
}
