/* routing.c: see routing.h. A recording is text: a line that names the format, then a line for each step of a layer, in
 * the order they ran: the layer, then the experts of each token, tokens apart by semicolons.
 *
 *   doppler-routing 1
 *   0 5 2
 *   1 0 7;3 7;0 1 */
#include "routing.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "host/host.h"

enum { EXPERTS_MAX = 65536, LAYERS_MAX = 4096 };

typedef enum choosing { BY_MODEL, UNIFORM, LOCAL, TRACE } choosing;

/* The experts of a layer, token by token. */
typedef struct layer_trace {
    int32_t *ids;
    size_t count, capacity, at;
} layer_trace;

typedef struct routing {
    choosing how;
    double locality;         /* LOCAL: probability that an expert of the token before is used again */
    uint64_t draws;          /* random numbers so far */
    layer_trace *layers;     /* [LAYERS_MAX]: TRACE: what is to come. LOCAL: the token before */
    int32_t experts;
    dp_writer *writer;
    dp_buf line;
    dp_status failed;        /* of writing, which a callback cannot report */
} routing;

static routing state;

static double draw(void) { return (double)(dp_splitmix64(++state.draws) >> 11) * 0x1p-53; }

/* ---- choosing ---- */

static bool among(const int32_t *ids, int32_t count, int32_t id) {
    for (int32_t i = 0; i < count; i++)
        if (ids[i] == id) return true;
    return false;
}

static void choose_uniform(int32_t *ids, int32_t from, int32_t k) {
    for (int32_t i = from; i < k;) {
        int32_t id = (int32_t)(draw() * state.experts);
        if (!among(ids, i, id)) ids[i++] = id;
    }
}

/* Each expert of the token before stays with the probability asked for; the rest is drawn from the others. */
static void choose_local(layer_trace *l, int32_t *ids, int32_t k) {
    int32_t kept = 0, tries = 0;
    for (size_t i = 0; i < l->count; i++)
        if (draw() < state.locality) ids[kept++] = l->ids[i];
    while (kept < k) {
        int32_t id = (int32_t)(draw() * state.experts);
        bool before = among(l->ids, (int32_t)l->count, id) && tries++ < 64;
        if (!before && !among(ids, kept, id)) ids[kept++] = id;
    }
    if (!dp_grow((void **)&l->ids, &l->capacity, (size_t)k, sizeof *l->ids)) return;
    memcpy(l->ids, ids, (size_t)k * sizeof *ids);
    l->count = (size_t)k;
}

/* From the beginning again when the trace has ended. */
static void choose_traced(layer_trace *l, int32_t *ids, int32_t k) {
    for (int32_t i = 0; i < k && l->count; i++) {
        ids[i] = l->ids[l->at++ % l->count];
        if (ids[i] >= state.experts) ids[i] %= state.experts;
    }
}

static void choose(int32_t layer, int32_t *ids, size_t tokens, int32_t k) {
    layer_trace *l = &state.layers[layer < LAYERS_MAX ? layer : 0];
    for (size_t t = 0; t < tokens; t++, ids += k) {
        if (state.how == UNIFORM) choose_uniform(ids, 0, k);
        else if (state.how == LOCAL) choose_local(l, ids, k);
        else choose_traced(l, ids, k);
    }
}

/* ---- recording ---- */

static void record(int32_t layer, const int32_t *ids, size_t tokens, int32_t k) {
    dp_buf_clear(&state.line);
    dp_buf_printf(&state.line, "%d", (int)layer);
    for (size_t t = 0; t < tokens; t++)
        for (int32_t i = 0; i < k; i++) dp_buf_printf(&state.line, "%c%d", t && !i ? ';' : ' ', (int)*ids++);
    dp_buf_char(&state.line, '\n');
    if (state.failed != DP_OK) return;
    state.failed = state.line.failed ? dp_no_memory(state.line.size) : dp_writer_write(state.writer, state.line.data, state.line.size);
}

static void on_routing(void *user, int32_t layer, int32_t *ids, size_t tokens, int32_t k) {
    (void)user;
    if (state.how != BY_MODEL) choose(layer, ids, tokens, k);
    if (state.writer) record(layer, ids, tokens, k);
}

/* ---- reading a trace ---- */

static dp_status read_line(const char *p, const char *end) {
    char *next;
    long layer = strtol(p, &next, 10);
    if (next == p || layer < 0 || layer >= LAYERS_MAX) return dp_fail(DP_E_FORMAT, "expected a layer");
    layer_trace *l = &state.layers[layer];
    for (p = next; p < end; p = next) {
        if (*p == ';') p++;
        long id = strtol(p, &next, 10);
        if (next == p || id < 0 || id >= EXPERTS_MAX) return dp_fail(DP_E_FORMAT, "expected experts");
        if (!dp_grow((void **)&l->ids, &l->capacity, l->count + 1, sizeof *l->ids)) return dp_no_memory(l->count * sizeof *l->ids);
        l->ids[l->count++] = (int32_t)id;
    }
    return DP_OK;
}

static dp_status read_trace(const char *path) {
    enum { TRACE_MAX = 1 << 30 };
    static const char title[] = "doppler-routing 1\n";
    char *text;
    size_t number = 1;
    TRY(dp_file_load(path, TRACE_MAX, &text, NULL));
    dp_status status = strncmp(text, title, strlen(title)) == 0 ? DP_OK : dp_fail(DP_E_FORMAT, "%s: no routing trace", path);
    for (char *p = strchr(text, '\n'), *end; status == DP_OK && p && p[1]; p = end) {
        end = strchr(p + 1, '\n');
        if (!end) end = p + strlen(p);
        number++;
        status = read_line(p + 1, end);
        if (status != DP_OK) dp_fail_in(status, "%s, line %zu", path, number);
    }
    dp_free(text);
    return status;
}

dp_status routing_choose(const char *how) {
    char *end = NULL;
    if (!how) return DP_OK;
    state.layers = dp_calloc(LAYERS_MAX, sizeof *state.layers);
    if (!state.layers) return dp_no_memory(LAYERS_MAX * sizeof *state.layers);
    if (strcmp(how, "uniform") == 0) {
        state.how = UNIFORM;
        return DP_OK;
    }
    if (strncmp(how, "trace:", 6) == 0) {
        state.how = TRACE;
        return read_trace(how + 6);
    }
    state.how = LOCAL;
    if (strncmp(how, "local:", 6) == 0) state.locality = strtod(how + 6, &end);
    if (end && end != how + 6 && !*end && state.locality >= 0 && state.locality <= 1) return DP_OK;
    return dp_fail(DP_E_ARG, "--routing: expected uniform, local:P with P from 0 to 1, or trace:FILE, found \"%s\"", how);
}

dp_status routing_attach(setup *s) {
    static const char title[] = "doppler-routing 1\n";
    state.experts = dp_model_get_info(s->model)->experts;
    bool chosen = state.how != BY_MODEL;
    if (!chosen && !set.record_routing) return DP_OK;
    if (!state.experts) return dp_fail(DP_E_ARG, "this model has no experts whose routing could be recorded or chosen");
    if (set.record_routing && !state.writer) {
        TRY(dp_writer_open(set.record_routing, &state.writer));
        TRY(dp_writer_write(state.writer, title, strlen(title)));
    }
    if (chosen) dp_session_choose_routing(s->session, on_routing, NULL);
    else dp_session_set_routing(s->session, on_routing, NULL);
    return DP_OK;
}

dp_status routing_finish(bool keep) {
    dp_status status = state.failed;
    if (state.writer && keep && status == DP_OK) status = dp_writer_commit(state.writer);
    else if (state.writer) dp_writer_abandon(state.writer);
    for (int i = 0; state.layers && i < LAYERS_MAX; i++) dp_free(state.layers[i].ids);
    dp_free(state.layers);
    dp_buf_free(&state.line);
    state = (routing){0};
    return status;
}
