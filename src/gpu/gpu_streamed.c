/* gpu_streamed.c: plain weights of layers that pass through a few slots on the device, because not all have room there. Which
 * do is the pager's choice (graph/pager.h). A slot is a set of buffers, large enough for each of the units that pass through
 * it, that dispatches are bound to as to any weight's. The device does what it is given in order, so a unit may be sent to a
 * slot as soon as what reads the one before it has been submitted: the host repacks and sends while the device computes. */
#include "gpu/gpu_plan.h"
#include "graph/pager.h"

struct dp_gpu_stream {
    dp_pager *pager;
    const dp_stream *what;
    size_t width;           /* buffers of a slot at most */
    dp_gpu_buffer *buffers; /* [slots][width], 0 where there is none */
    size_t *taken;          /* [units]: of the buffers of its slot */
    int32_t *holds;         /* [slots]: a unit; -1: none, or part of one */
};

/* ---- slots ---- */

/* A weight's buffers within its unit's slot: widens sizes[slot][], from index *at on, which moves behind them. */
static dp_status widen(const dp_gpu_backend *b, const dp_weight *w, uint64_t *sizes, size_t *at) {
    uint32_t each = 0;
    TRY(dp_gpu_part_units(b, w, (uint32_t)w->rows, &each));
    for (uint32_t first = 0; first < (uint32_t)w->rows; first += each) {
        dp_repack_size size = dp_gpu_part_bytes(w, DP_MIN(each, (uint32_t)w->rows - first));
        if (sizes) sizes[*at] = DP_MAX(sizes[*at], size.quants);
        if (sizes && size.scales) sizes[*at + 1] = DP_MAX(sizes[*at + 1], size.scales);
        *at += size.scales ? 2 : 1;
    }
    return DP_OK;
}

/* sizes: NULL or [slots][width]; ends: [units], zero, becomes how many buffers each needs. */
static dp_status measure(const dp_gpu_backend *b, const dp_program *program, const dp_stream *s, size_t width,
                         uint64_t *sizes, size_t *ends) {
    for (size_t i = 0; i < program->weight_count; i++) {
        int32_t unit = s->unit_of[i];
        if (unit < 0) continue;
        uint64_t *slot = sizes ? sizes + (size_t)(unit % s->slots) * width : NULL;
        TRY(widen(b, &program->weights[i], slot, &ends[unit]));
    }
    return DP_OK;
}

/* *sizes: [slots][*width], the caller's to free. */
static dp_status slot_sizes(const dp_gpu_backend *b, const dp_program *program, const dp_stream *s, size_t *width, uint64_t **sizes) {
    size_t *ends = dp_calloc((size_t)s->units, sizeof *ends);
    *sizes = NULL;
    *width = 0;
    dp_status status = ends ? measure(b, program, s, 0, NULL, ends) : dp_no_memory((size_t)s->units * sizeof *ends);
    for (int32_t u = 0; status == DP_OK && u < s->units; u++) {
        *width = DP_MAX(*width, ends[u]);
        ends[u] = 0;
    }
    if (status == DP_OK) *sizes = dp_calloc((size_t)s->slots * *width, sizeof **sizes);
    if (status == DP_OK)
        status = *sizes ? measure(b, program, s, *width, *sizes, ends)
                        : dp_no_memory((size_t)s->slots * *width * sizeof **sizes);
    dp_free(ends);
    return status;
}

dp_status dp_gpu_stream_bytes(dp_backend *base, const dp_program *program, const dp_stream *s, uint64_t *out) {
    size_t width;
    uint64_t *sizes;
    dp_status status = slot_sizes((const dp_gpu_backend *)base, program, s, &width, &sizes);
    *out = 0;
    for (size_t i = 0; status == DP_OK && i < (size_t)s->slots * width; i++) *out += sizes[i];
    dp_free(sizes);
    return status;
}

static dp_status make_buffers(dp_gpu_backend *b, const dp_program *program, dp_gpu_stream *stream) {
    uint64_t *sizes;
    dp_status status = slot_sizes(b, program, stream->what, &stream->width, &sizes);
    size_t count = (size_t)stream->what->slots * stream->width;
    if (status == DP_OK) stream->buffers = dp_calloc(count, sizeof *stream->buffers);
    if (status == DP_OK && !stream->buffers) status = dp_no_memory(count * sizeof *stream->buffers);
    for (size_t i = 0; status == DP_OK && i < count; i++)
        if (sizes[i]) status = dp_gpu_buffer_new(b->gpu, sizes[i], "layer", &stream->buffers[i]);
    dp_free(sizes);
    return status;
}

static dp_status make(dp_gpu_backend *b, const dp_program *program, dp_gpu_stream *stream) {
    size_t units = (size_t)stream->what->units, slots = (size_t)stream->what->slots;
    stream->taken = dp_calloc(units, sizeof *stream->taken);
    stream->holds = dp_malloc(slots * sizeof *stream->holds);
    if (!stream->taken || !stream->holds) return dp_no_memory(units * sizeof *stream->taken);
    for (size_t i = 0; i < slots; i++) stream->holds[i] = -1;
    return make_buffers(b, program, stream);
}

dp_status dp_gpu_stream_new(dp_gpu_backend *b, const dp_program *program, dp_gpu_stream **out) {
    dp_pager *pager = program->pager;
    const dp_stream *what = pager && pager->api->stream ? pager->api->stream(pager) : NULL;
    *out = NULL;
    if (!what) return DP_OK;
    dp_gpu_stream *stream = dp_calloc(1, sizeof *stream);
    if (!stream) return dp_no_memory(sizeof *stream);
    stream->pager = pager;
    stream->what = what;
    dp_status status = make(b, program, stream);
    if (status != DP_OK) dp_gpu_stream_free(b, stream);
    else *out = stream;
    return status;
}

void dp_gpu_stream_free(dp_gpu_backend *b, dp_gpu_stream *stream) {
    if (!stream) return;
    for (size_t i = 0; stream->buffers && i < (size_t)stream->what->slots * stream->width; i++)
        dp_gpu_buffer_free(b->gpu, stream->buffers[i]);
    dp_free(stream->buffers);
    dp_free(stream->taken);
    dp_free(stream->holds);
    dp_free(stream);
}

dp_gpu_stream *dp_gpu_stream_of(const dp_program *program) {
    const dp_gpu_weight *weights = program->device;
    for (size_t i = 0; weights && i < program->weight_count; i++)
        if (weights[i].stream) return weights[i].stream;
    return NULL;
}

bool dp_gpu_streams(const dp_gpu_stream *stream, size_t weight) { return stream->what->unit_of[weight] >= 0; }

void dp_gpu_stream_buffers(dp_gpu_stream *stream, size_t weight, dp_gpu_part *part, bool scales) {
    int32_t unit = stream->what->unit_of[weight];
    const dp_gpu_buffer *buffers = stream->buffers + (size_t)(unit % stream->what->slots) * stream->width;
    part->quants = part->scales = buffers[stream->taken[unit]++];
    if (scales) part->scales = buffers[stream->taken[unit]++];
}

/* ---- a step ---- */

static void advise(const dp_program *program, const dp_stream *s, int32_t unit) {
    for (size_t i = 0; i < program->weight_count; i++) {
        const dp_weight *w = &program->weights[i];
        if (s->unit_of[i] == unit && w->data) dp_host_advise(w->data, w->bytes, DP_ADVICE_WILL_NEED);
    }
}

/* What the host maps is read ahead by the system, a unit at a time. */
static dp_status bring(dp_plan *plan, int32_t unit) {
    dp_gpu_stream *stream = plan->stream;
    const dp_program *program = plan->program;
    const dp_stream *s = stream->what;
    double start = dp_host_seconds();
    uint64_t bytes = 0;
    stream->holds[unit % s->slots] = -1;
    if (!s->fetched) advise(program, s, (unit + 1) % s->units);
    for (size_t i = 0; i < program->weight_count; i++) {
        if (s->unit_of[i] != unit) continue;
        TRY(dp_gpu_weights_send(plan->backend, program, i));
        bytes += dp_gpu_weight_bytes(&program->weights[i]);
    }
    stream->holds[unit % s->slots] = unit;
    stream->pager->api->sent(stream->pager, unit, bytes, dp_host_seconds() - start);
    return DP_OK;
}

/* The unit that an op reads and that is in no slot; -1: none. */
static int32_t missing(const dp_plan *plan, size_t op) {
    const dp_gpu_stream *stream = plan->stream;
    int32_t weight = plan->program->ops[op].weight, unit = weight < 0 ? -1 : stream->what->unit_of[weight];
    return unit >= 0 && stream->holds[unit % stream->what->slots] != unit ? unit : -1;
}

/* Of the ops that a dispatch does, those that have a unit have the same: that of their layer. */
static int32_t missing_for(const dp_plan *plan, size_t at) {
    const dp_planned *d = &plan->planned[plan->queue_ops[at]];
    for (size_t op = d->op; op <= d->last; op++) {
        int32_t unit = missing(plan, op);
        if (unit >= 0) return unit;
    }
    return -1;
}

dp_status dp_gpu_stream_bring(dp_plan *plan, size_t from, size_t to, size_t *end) {
    *end = to;
    if (!plan->stream) return DP_OK;
    int32_t unit = missing_for(plan, from);
    if (unit >= 0) TRY(bring(plan, unit));
    for (*end = from + 1; *end < to && missing_for(plan, *end) < 0;) ++*end;
    return DP_OK;
}
