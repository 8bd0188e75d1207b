/* trace.c: `doppler trace`: statistics of every intermediate result of one evaluation, and where two backends part. */
#include <math.h>
#include <stdio.h>

#include "base/json_write.h"
#include "base/arena.h"
#include "tool.h"

static const char *ids_source, *compare;
static float tolerance = 5e-2f;

static const option options[] = {
    {"ids", 'i', OPTION_TEXT, &ids_source, "FILE|LIST", "token ids instead of a prompt", 0, 0},
    {"compare", 0, OPTION_TEXT, &compare, "A,B", "run on devices A and B, e.g. cpu-ref,gpu; stop where they part", 0, 0},
    {"tolerance", 0, OPTION_FLOAT, &tolerance, "X", "relative error that counts as parting (default: 0.05)", 0, 1e6},
    OPTIONS_END,
};
static const option_group own = {"Options", options};

typedef struct record {
    char *label, *op;
    size_t rows, cols;
    float *data;                          /* kept for comparing, else NULL */
    double mean, rms, least, most, error; /* error: relative, of the second backend */
    size_t not_finite;
    bool compared;
} record;

typedef struct job {
    setup s;
    int32_t *ids;
    size_t id_count;
    record *records;
    size_t count, capacity;
    size_t next;    /* second run: where the next op is looked for */
    size_t parted;  /* record where the backends part; SIZE_MAX: nowhere */
    bool routed;    /* between the choice of experts and the sum of their results */
    size_t suspect; /* first record there with too large an error, or SIZE_MAX */
    float *router;  /* [rows][cols] the second backend's latest router logits */
    size_t tie;     /* record of a route whose choices differ by a near tie, or SIZE_MAX; `tied` says which */
    char tied[160];
    bool ended;     /* at that tie: what follows cannot be compared */
    bool keep;
    dp_status status; /* of what went wrong within a callback */
    dp_arena arena;
} job;

/* ---- the first run: records ---- */

static void measure(record *r, const float *data) {
    size_t n = r->rows * r->cols;
    double sum = 0, squares = 0;
    r->least = INFINITY;
    r->most = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        double x = (double)data[i];
        if (!isfinite(x)) {
            r->not_finite++;
            continue;
        }
        sum += x;
        squares += x * x;
        r->least = fmin(r->least, x);
        r->most = fmax(r->most, x);
    }
    size_t finite = n - r->not_finite;
    if (!finite) return;
    r->mean = sum / (double)finite;
    r->rms = sqrt(squares / (double)finite);
}

static dp_status add_record(job *j, const record *given, const float *data) {
    record r = *given;
    size_t values = r.rows * r.cols;
    r.label = dp_arena_copy(&j->arena, given->label, strlen(given->label));
    r.op = dp_arena_copy(&j->arena, given->op, strlen(given->op));
    if (j->keep) r.data = dp_arena_alloc(&j->arena, values * sizeof *data);
    if (!r.label || !r.op || (j->keep && !r.data)) return dp_no_memory(values * sizeof *data);
    if (j->keep) memcpy(r.data, data, values * sizeof *data);
    measure(&r, data);
    if (!dp_grow((void **)&j->records, &j->capacity, j->count + 1, sizeof r)) return dp_no_memory(j->count * sizeof r);
    j->records[j->count++] = r;
    return DP_OK;
}

static bool on_op(void *user, const char *op, const char *label, const float *data, size_t rows, size_t cols) {
    job *j = user;
    record r = {.label = (char *)label, .op = (char *)op, .rows = rows, .cols = cols};
    if (interrupted())
        j->status = interrupted_status();
    else
        j->status = add_record(j, &r, data);
    return j->status == DP_OK;
}

/* ---- the second run: comparison ---- */

/* |b - a| / |a| over the whole result; infinite if b is not finite where a is. */
static double relative_error(const float *a, const float *b, size_t n) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(a[i]) && (a[i] == b[i] || (isnan(a[i]) && isnan(b[i])))) continue; /* masked alike */
        difference += ((double)b[i] - a[i]) * ((double)b[i] - a[i]);
        size += (double)a[i] * a[i];
    }
    if (isnan(difference)) return INFINITY;
    return size > 0 ? sqrt(difference / size) : difference > 0 ? INFINITY : 0;
}

/* How many of n logits come before logit i; ties go to the lower index. */
static size_t rank_of(const float *logits, size_t n, size_t i) {
    size_t before = 0;
    for (size_t o = 0; o < n; o++) before += logits[o] > logits[i] || (logits[o] == logits[i] && o < i);
    return before;
}

/* Record `at` is a route, the one before it its logits. Notes the first token of which the backends chose different
 * experts though the logits of the two agree: a near tie. */
static void find_tie(job *j, size_t at) {
    const record *route = &j->records[at], *gate = &j->records[at - 1];
    if (!j->router || gate->error > (double)tolerance || gate->rows != route->rows || j->tie != SIZE_MAX) return;
    for (size_t t = 0; t < gate->rows; t++)
        for (size_t i = 0; i < gate->cols; i++) {
            const float *a = gate->data + t * gate->cols, *b = j->router + t * gate->cols;
            if ((rank_of(a, gate->cols, i) < route->cols) == (rank_of(b, gate->cols, i) < route->cols)) continue;
            j->tie = at;
            snprintf(j->tied, sizeof j->tied, "expert %zu of token %zu has router logits %.5g and %.5g", i, t, (double)a[i], (double)b[i]);
            return;
        }
}

/* Sets j->parted if record `at` shows that the backends part. Of nearly equal experts they may take another, or take
 * them in another order, which is no fault: the results of single experts count only once their sum is off too. */
static void judge(job *j, size_t at) {
    const record *r = &j->records[at];
    bool off = r->error > (double)tolerance, sum = strcmp(r->op, "moe_sum") == 0;
    if (j->routed && !sum) {
        if (off && j->suspect == SIZE_MAX) j->suspect = at;
        return;
    }
    if (off && j->tie != SIZE_MAX) j->ended = true;
    else if (off) j->parted = j->suspect != SIZE_MAX ? j->suspect : at;
    j->suspect = SIZE_MAX;
    j->routed = strcmp(r->op, "route") == 0;
    if (j->routed) find_tie(j, at);
}

/* The record before a route is its router. */
static void keep_router(job *j, size_t at, const float *data) {
    if (at + 1 >= j->count || strcmp(j->records[at + 1].op, "route") != 0) return;
    size_t bytes = j->records[at].rows * j->records[at].cols * sizeof *data;
    float *grown = dp_realloc(j->router, bytes);
    if (!grown) j->status = dp_no_memory(bytes);
    else memcpy(j->router = grown, data, bytes);
}

/* Backends may fuse ops: results that only one of them has are passed over. So is head_matmul: of each head it may write
 * some columns and leave the rest, which holds anything, to the op after it. */
static bool on_second(void *user, const char *op, const char *label, const float *data, size_t rows, size_t cols) {
    job *j = user;
    if (interrupted()) j->status = interrupted_status();
    if (strcmp(op, "head_matmul") == 0) return j->status == DP_OK;
    for (size_t i = j->next; i < j->count && j->status == DP_OK; i++) {
        record *r = &j->records[i];
        if (strcmp(r->label, label) != 0 || r->rows != rows || r->cols != cols) continue;
        r->error = relative_error(r->data, data, rows * cols);
        r->compared = true;
        j->next = i + 1;
        keep_router(j, i, data);
        judge(j, i);
        break;
    }
    return j->status == DP_OK && j->parted == SIZE_MAX && !j->ended;
}

/* ---- running ---- */

static dp_status find_ids(job *j, const char *prompt) {
    const dp_tokenizer *tokenizer;
    if (ids_source) return ids_load(ids_source, &j->ids, &j->id_count);
    TRY(setup_tokenizer(&j->s, &tokenizer));
    const char *text = prompt ? prompt : "Once upon a time";
    return dp_tokenizer_encode(tokenizer, text, strlen(text), true, &j->ids, &j->id_count);
}

/* One chunk, so that every op has one result. */
static dp_status evaluate(job *j, char **arguments, int count, dp_trace_fn each) {
    TRY(setup_open(&j->s, arguments[0]));
    if (!j->ids) TRY(find_ids(j, count > 1 ? arguments[1] : NULL));
    if (!set.batch) set.batch = (int32_t)DP_MAX(j->id_count, 1);
    TRY(setup_session(&j->s, j->id_count));
    dp_session_set_trace(j->s.session, each, j);
    dp_status status = dp_session_eval(j->s.session, j->ids, j->id_count, NULL);
    setup_close(&j->s);
    if (j->status != DP_OK) return j->status;
    return j->parted != SIZE_MAX || j->ended ? DP_OK : status;
}

static dp_status run_both(job *j, char **arguments, int count) {
    const char *comma = strchr(compare, ',');
    if (!comma) return dp_fail(DP_E_ARG, "--compare: expected two devices apart by a comma, e.g. cpu-ref,gpu, found \"%s\"", compare);
    char *first = dp_arena_copy(&j->arena, compare, (size_t)(comma - compare));
    if (!first) return dp_no_memory(strlen(compare));
    j->keep = true;
    if (set.kv < 0) set.kv = DP_KV_F32; /* rounding of the cache is not what is looked for */
    set.device = first;
    TRY(evaluate(j, arguments, count, on_op));
    set.device = comma + 1;
    return evaluate(j, arguments, count, on_second);
}

/* ---- report ---- */

static void print_table(const job *j) {
    size_t shown = j->parted != SIZE_MAX ? j->parted + 1 : j->ended ? j->tie + 1 : j->count;
    printf("%-34s %-14s %12s %12s %12s %12s %12s %8s%s\n", "label", "op", "shape", "mean", "rms", "min", "max", "bad",
           compare ? "        error" : "");
    for (size_t i = 0; i < shown; i++) {
        const record *r = &j->records[i];
        char shape[32];
        snprintf(shape, sizeof shape, "%zux%zu", r->rows, r->cols);
        printf("%-34s %-14s %12s %12.5g %12.5g %12.5g %12.5g %8zu", r->label, r->op, shape, r->mean, r->rms, r->least,
               r->most, r->not_finite);
        if (compare && r->compared)
            printf(" %12.4g", r->error);
        else if (compare)
            printf(" %12s", "-");
        putchar('\n');
    }
}

static dp_status print_json(const job *j) {
    dp_buf out = {0};
    dp_json_open(&out, NULL, '{');
    dp_json_add_ids(&out, "ids", j->ids, j->id_count);
    if (compare && j->ended) dp_json_add_text(&out, "tie", j->records[j->tie].label);
    if (compare) dp_json_add_text(&out, "parted", j->parted == SIZE_MAX ? "" : j->records[j->parted].label);
    dp_json_open(&out, "ops", '[');
    for (size_t i = 0; i < j->count; i++) {
        const record *r = &j->records[i];
        dp_json_open(&out, NULL, '{');
        dp_json_add_text(&out, "label", r->label);
        dp_json_add_text(&out, "op", r->op);
        dp_json_add_uint(&out, "rows", r->rows);
        dp_json_add_uint(&out, "cols", r->cols);
        dp_json_add_double(&out, "mean", r->mean);
        dp_json_add_double(&out, "rms", r->rms);
        dp_json_add_double(&out, "min", r->least);
        dp_json_add_double(&out, "max", r->most);
        dp_json_add_uint(&out, "not_finite", r->not_finite);
        if (r->compared) dp_json_add_double(&out, "error", r->error);
        dp_json_close(&out, '}');
    }
    dp_json_close(&out, ']');
    dp_json_close(&out, '}');
    return stdout_print(&out);
}

static dp_status report(const job *j) {
    size_t compared = 0;
    if (set.json)
        TRY(print_json(j));
    else
        print_table(j);
    if (!compare) return DP_OK;
    for (size_t i = 0; i < j->count; i++) compared += j->records[i].compared;
    if (j->parted != SIZE_MAX)
        return dp_fail(DP_E_DEVICE, "%s part at %s (%s): relative error %.3g, tolerance %.3g", compare,
                       j->records[j->parted].label, j->records[j->parted].op, j->records[j->parted].error,
                       (double)tolerance);
    if (!compared) return dp_fail(DP_E_DEVICE, "%s have no op in common", compare);
    if (j->ended)
        note("%s can be compared up to %s, where they choose different experts in a near tie: %s", compare,
             j->records[j->tie].label, j->tied);
    note("%s agree within %.3g in %zu of %zu ops compared", compare, (double)tolerance, compared, j->count);
    return DP_OK;
}

static dp_status run(char **arguments, int count) {
    job j = {.suspect = SIZE_MAX, .parted = SIZE_MAX, .tie = SIZE_MAX};
    dp_status status = compare ? run_both(&j, arguments, count) : evaluate(&j, arguments, count, on_op);
    if (status == DP_OK) status = report(&j);
    setup_close(&j.s);
    dp_free(j.ids);
    dp_free(j.records);
    dp_free(j.router);
    dp_arena_free(&j.arena);
    return status;
}

const command command_trace = {
    .name = "trace",
    .summary = "show the intermediate results, or where two backends part",
    .arguments = "MODEL [PROMPT]",
    .details =
        "Evaluates the prompt once and shows shape, mean, root mean square, extremes and the number of values that\n"
        "are not finite for each op. --compare runs two backends and ends at the first op whose relative error\n"
        "exceeds --tolerance (exit code 21). --batch 1 evaluates token by token, as decoding does; there the GPU does\n"
        "several ops at once, and those that leave no result of their own are not compared (\"-\"). The cache is f32\n"
        "unless --kv f16 says otherwise.\n",
    .examples = "  doppler trace model/ \"Once upon a time\"\n"
                "  doppler trace model.gguf --ids 1,726,289 --compare cpu-ref,cpu\n"
                "  doppler trace model/ --compare cpu-ref,cpu --tolerance 0.01 --json\n"
                "  doppler trace model/ --compare cpu-ref,gpu --batch 1 --kv f16\n",
    .least = 1,
    .most = 2,
    .groups = {&own, &session_options, &engine_options, &memory_options, &output_options},
    .run = run,
};
