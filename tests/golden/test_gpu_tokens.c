/* One token at a time on the GPU, where quantised weights meet activations rounded to 8 bits: each token behind a prompt
 * that was read exactly, so that its error is its own; what a trace of such a step shows; and whole texts of the bundled
 * model, token by token. Without a WebGPU device these tests are skipped. */
#include "base/json.h"
#include "files.h"
#include "golden.h"

enum { PROMPT = 48, BATCH = 4, VOCAB = 512, EXPERTS = 8, RECORDS = 120, WIDEST = 1024 };

/* One traced step. */
typedef struct record {
    char op[16], label[48];
    size_t n;
    float data[WIDEST];
} record;

typedef struct recorded {
    record records[RECORDS];
    size_t count;
} recorded;

typedef struct rig {
    dp_engine *engine;
    dp_model *model;
    dp_session *session;
} rig;

/* Steps of a few tokens compute in f32, longer ones perhaps on matrix units: a prompt must choose the reference's experts. */
static dp_status rig_open(rig *r, dp_backend_kind backend, const char *file, int32_t context) {
    TRY(dp_engine_open(&(dp_engine_desc){.backend = backend}, &r->engine));
    TRY(dp_model_open(r->engine, file, NULL, &r->model));
    return dp_session_new(r->model, &(dp_session_desc){.context = context, .batch = BATCH}, &r->session);
}

static void rig_close(rig *r) {
    dp_session_free(r->session);
    dp_model_close(r->model);
    dp_engine_close(r->engine);
}

static bool record_op(void *user, const char *op, const char *label, const float *data, size_t rows, size_t cols) {
    recorded *to = user;
    if (rows != 1 || cols > WIDEST || to->count == RECORDS) return false;
    record *r = &to->records[to->count++];
    snprintf(r->op, sizeof r->op, "%s", op);
    snprintf(r->label, sizeof r->label, "%s", label);
    r->n = cols;
    memcpy(r->data, data, cols * sizeof *data);
    return true;
}

static const record *find(const recorded *all, const char *label) {
    for (size_t i = 0; i < all->count; i++)
        if (strcmp(all->records[i].label, label) == 0) return &all->records[i];
    return NULL;
}

/* ids[0, t) as a prompt, then ids[t] alone, traced into `to`; its logits stay in the session. The prompt's batches are of more than
 * one token (but for t = 1): a single one would be rounded, too. */
static dp_status run_token(rig *r, const int32_t *ids, int t, recorded *to) {
    int first = t % BATCH == 1 && t > 1 ? 2 : 0;
    dp_session_set_trace(r->session, NULL, NULL);
    dp_session_truncate(r->session, 0);
    if (first) TRY(dp_session_eval(r->session, ids, (size_t)first, NULL));
    if (t > first) TRY(dp_session_eval(r->session, ids + first, (size_t)(t - first), NULL));
    to->count = 0;
    dp_session_set_trace(r->session, record_op, to);
    return dp_session_eval(r->session, ids + t, 1, NULL);
}

/* The k experts with the largest router logits, as bits. */
static unsigned chosen(const float *logits, int k_most) {
    unsigned bits = 0;
    for (int k = 0; k < k_most; k++) {
        int top = -1;
        for (int i = 0; i < EXPERTS; i++)
            if (!(bits >> i & 1) && (top < 0 || logits[i] > logits[top])) top = i;
        bits |= 1u << top;
    }
    return bits;
}

/* Whether the two steps chose different experts in a layer. *error: the largest relative one of routers' logits, up to the first
 * such layer. */
static bool chose_differently(const recorded *expected, const recorded *found, double *error) {
    for (size_t i = 1; i < expected->count; i++) {
        const record *route = &expected->records[i], *router = route - 1, *other = find(found, router->label);
        if (strcmp(route->op, "route") != 0 || !other) continue;
        *error = fmax(*error, ref_relative_error(other->data, router->data, router->n));
        if (chosen(router->data, (int)route->n) != chosen(other->data, (int)route->n)) return true;
    }
    return false;
}

static void load_ids(const char *golden, int32_t *ids) {
    ref_tensor t;
    CHECK_OK(ref_tensor_load(golden, "input_ids", &t));
    golden_ids(&t, ids, PROMPT);
    dp_free(t.data);
}

/* Where a router's last chosen expert leads by little, rounding may choose another. How much that is follows from the logits' errors,
 * which have the bound of the model's own: with Mixtral's they are 0.3, 0.7 and 1.0 % of the logits' size in its three layers, up to
 * 2 %, and sizes are 2.6 to 4.8, so two logits of the last layer move by 0.07 against each other, and by three times that at times. */
static void check_tokens(rig *exact, rig *gpu, const int32_t *ids, const float *logits, double most, int *ties, double *error, double *routers) {
    static recorded expected, found;
    double difference = 0, size = 0;
    for (int t = 1; t < PROMPT; t++) {
        double router = 0;
        CHECK_OK(run_token(exact, ids, t, &expected));
        CHECK_OK(run_token(gpu, ids, t, &found));
        bool tie = chose_differently(&expected, &found, &router);
        CHECK_MSG(router < 2.5 * most, "token %d: relative error %g in a router's logits", t, router);
        *routers = fmax(*routers, router);
        *ties += tie;
        if (tie) continue;
        const float *want = logits + t * VOCAB, *have = dp_session_logits(gpu->session);
        double one = ref_relative_error(have, want, VOCAB);
        CHECK_MSG(one < 2.5 * most, "token %d: relative error %g", t, one);
        for (int i = 0; i < VOCAB; i++) {
            difference += ((double)have[i] - (double)want[i]) * ((double)have[i] - (double)want[i]);
            size += (double)want[i] * (double)want[i];
        }
    }
    *error = sqrt(difference / size);
}

static bool device_missing(void) {
    dp_engine *engine = NULL;
    dp_status status = dp_engine_open(&(dp_engine_desc){.backend = DP_BACKEND_GPU}, &engine);
    dp_engine_close(engine);
    return !test_opened(status);
}

/* most: of the relative error of all tokens' logits. */
static void check_model(const char *name, const char *path, const char *golden, double most, int most_ties) {
    int32_t ids[PROMPT];
    rig exact = {0}, gpu = {0};
    ref_tensor logits;
    int ties = 0;
    double error = INFINITY, routers = 0;
    load_ids(golden, ids);
    CHECK_OK(ref_tensor_load(golden, "logits", &logits));
    CHECK_OK(rig_open(&exact, DP_BACKEND_CPU_REF, path, PROMPT));
    CHECK_OK(rig_open(&gpu, DP_BACKEND_GPU, path, PROMPT));
    check_tokens(&exact, &gpu, ids, logits.data, most, &ties, &error, &routers);
    printf("  %-8s relative logit error of single tokens %.2e; routers' up to %.1e, %d of %d tokens at near ties of one\n", name, error,
           routers, ties, PROMPT - 1);
    rig_close(&exact);
    rig_close(&gpu);
    dp_free(logits.data);
    CHECK_MSG(error < most, "%s: relative error %g", name, error);
    CHECK_MSG(ties <= most_ties, "%s: %d near ties", name, ties);
}

static void check_file(const char *name, int most_ties) {
    char file[100], golden[100];
    snprintf(file, sizeof file, "tests/data/gguf/%s.Q4_K_M.gguf", name);
    snprintf(golden, sizeof golden, "tests/data/gguf/%s.Q4_K_M.golden.safetensors", name);
    check_model(name, test_path(file), test_path(golden), 2e-2, most_ties);
}

TEST(single_tokens_on_the_gpu) {
    if (device_missing()) return;
    check_file("llama", 0);
    check_file("qwen3", 0);
    check_file("mixtral", 4);
}

/* Experts make up nearly all of this model's residual, and each layer of them doubles what rounding has moved. */
TEST(single_tokens_and_mxfp4) {
    char folder[300];
    if (device_missing()) return;
    snprintf(folder, sizeof folder, "%s/gpt-oss", test_folder());
    CHECK_OK(refmodel_write("gpt-oss", "config.json", folder));
    check_model("gpt-oss", folder, test_path("tests/data/models/gpt-oss/golden.safetensors"), 2e-2, 8);
}

/* Ops that became one dispatch show the last one's result; what is shown is right. */
TEST(trace_of_a_token_on_the_gpu) {
    static recorded expected, found;
    int32_t ids[PROMPT];
    rig exact = {0}, gpu = {0};
    if (device_missing()) return;
    load_ids(test_path("tests/data/gguf/llama.Q4_K_M.golden.safetensors"), ids);
    CHECK_OK(rig_open(&exact, DP_BACKEND_CPU_REF, test_path("tests/data/gguf/llama.Q4_K_M.gguf"), PROMPT));
    CHECK_OK(rig_open(&gpu, DP_BACKEND_GPU, test_path("tests/data/gguf/llama.Q4_K_M.gguf"), PROMPT));
    CHECK_OK(run_token(&exact, ids, 20, &expected));
    CHECK_OK(run_token(&gpu, ids, 20, &found));
    for (size_t i = 0; i < found.count; i++) {
        const record *f = &found.records[i], *e = find(&expected, f->label);
        CHECK_MSG(e && e->n == f->n, "%s is no op of the reference", f->label);
        double error = ref_relative_error(f->data, e->data, e->n);
        CHECK_MSG(error < 3e-2, "%s: relative error %g", f->label, error);
    }
    CHECK_MSG(found.count < expected.count && found.count >= 2 * 3 + 3, "%zu results of %zu ops", found.count, expected.count);
    CHECK(find(&found, "layers.0.input_norm") && find(&found, "layers.0.residual") && find(&found, "lm_head"));
    rig_close(&exact);
    rig_close(&gpu);
}

/* ---- forced decoding: a text's own tokens, one at a time; the likeliest next token against the reference's ---- */

enum { FORCED = 512 };

static int32_t likeliest(const float *logits, int32_t vocab) {
    int32_t top = 0;
    for (int32_t i = 1; i < vocab; i++)
        if (logits[i] > logits[top]) top = i;
    return top;
}

typedef struct agreement {
    int tokens, equal;
    double gap; /* by which the reference's token leads the other one at most */
} agreement;

/* One text, or as much of it as is still wanted. */
static dp_status compare_text(rig *exact, rig *gpu, dp_str text, agreement *a) {
    int32_t *ids = NULL, vocab = dp_model_get_info(exact->model)->vocab;
    size_t count = 0;
    TRY(dp_tokenizer_encode(dp_model_tokenizer(exact->model), text.p, text.n, true, &ids, &count));
    count = DP_MIN(count, (size_t)(FORCED - a->tokens));
    float *logits = dp_malloc(count * (size_t)vocab * sizeof *logits);
    dp_session_truncate(exact->session, 0);
    dp_session_truncate(gpu->session, 0);
    dp_status status = logits ? dp_session_eval(exact->session, ids, count, logits) : DP_E_MEMORY;
    for (size_t i = 0; status == DP_OK && i < count; i++) {
        status = dp_session_eval(gpu->session, ids + i, 1, NULL);
        if (status != DP_OK) break;
        a->tokens++;
        const float *expected = logits + i * (size_t)vocab;
        int32_t want = likeliest(expected, vocab), have = likeliest(dp_session_logits(gpu->session), vocab);
        a->equal += want == have;
        a->gap = fmax(a->gap, (double)expected[want] - (double)expected[have]);
    }
    dp_free(logits);
    dp_free(ids);
    return status;
}

static dp_status compare_texts(rig *exact, rig *gpu, dp_str lines, agreement *a) {
    dp_status status = DP_OK;
    for (size_t at = 0, end; status == DP_OK && a->tokens < FORCED && at < lines.n; at = end + 1) {
        dp_arena arena = {0};
        const dp_json *line;
        for (end = at; end < lines.n && lines.p[end] != '\n';) end++;
        status = dp_json_parse(&arena, (dp_str){lines.p + at, end - at}, &line);
        if (status == DP_OK) status = compare_text(exact, gpu, dp_json_get(line, "text")->string, a);
        dp_arena_free(&arena);
    }
    return status;
}

TEST(forced_decoding_on_the_gpu) {
    rig exact = {0}, gpu = {0};
    agreement a = {0};
    if (device_missing()) return;
    dp_str lines = test_load(test_path("tests/data/storyteller/eval.jsonl"));
    CHECK(lines.p);
    CHECK_OK(rig_open(&exact, DP_BACKEND_CPU_REF, test_path("models/storyteller"), 0));
    CHECK_OK(rig_open(&gpu, DP_BACKEND_GPU, test_path("models/storyteller"), 0));
    CHECK_OK(compare_texts(&exact, &gpu, lines, &a));
    printf("  the bundled model: %d of %d likeliest tokens are those of the reference, the others lead by up to %.3f\n", a.equal, a.tokens, a.gap);
    CHECK(a.tokens == FORCED && 100 * a.equal >= 99 * a.tokens && a.gap < 0.1);
    rig_close(&exact);
    rig_close(&gpu);
    dp_free((void *)(uintptr_t)lines.p);
}

TEST_MAIN()
