/* golden.c: see golden.h. */
#include "golden.h"

enum { PROMPT = 48, GREEDY = 24 };

typedef struct golden {
    ref_tensor ids, logits, greedy, margin;
} golden;

static void golden_free(golden *g) {
    dp_free(g->ids.data);
    dp_free(g->logits.data);
    dp_free(g->greedy.data);
    dp_free(g->margin.data);
}

void golden_ids(const ref_tensor *t, int32_t *out, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = t->size == n * 8 ? (int32_t)dp_load_u64((char *)t->data + 8 * i) : (int32_t)dp_load_u32((char *)t->data + 4 * i);
}

static dp_status golden_load(const char *file, golden *g) {
    TRY(ref_tensor_load(file, "input_ids", &g->ids));
    TRY(ref_tensor_load(file, "logits", &g->logits));
    if (ref_tensor_load(file, "greedy_ids", &g->greedy) == DP_E_NOT_FOUND) return DP_OK; /* the quantised cases have logits only */
    return ref_tensor_load(file, "greedy_margin", &g->margin);
}

static int32_t best(const float *logits, size_t n) {
    size_t at = 0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[at]) at = i;
    return (int32_t)at;
}

/* Prompt in chunks of `batch`, all logits compared; then greedy decoding with its margin. A tolerance for single tokens
 * holds for the decoded ones too. */
static void compare(const char *what, dp_model *model, const golden *g, int32_t batch, const golden_how *how) {
    size_t vocab = (size_t)dp_model_get_info(model)->vocab;
    dp_session *session = NULL;
    float *logits = dp_malloc(PROMPT * vocab * sizeof(float));
    int32_t ids[PROMPT], greedy[GREEDY];
    golden_ids(&g->ids, ids, PROMPT);
    if (g->greedy.data) golden_ids(&g->greedy, greedy, GREEDY);
    memset(logits, 0xff, PROMPT * vocab * sizeof(float));
    CHECK_OK(dp_session_new(model, &(dp_session_desc){.context = 128, .batch = batch, .kv = how->kv}, &session));
    CHECK_OK(dp_session_eval(session, ids, PROMPT, logits));
    double error = ref_relative_error(logits, g->logits.data, (size_t)(how->compared ? how->compared : PROMPT) * vocab);
    printf("  %-28s batch %2d: relative logit error %.2e\n", what, (int)batch, error);
    double singles = how->singles > 0 ? how->singles : how->tolerance, most = batch == 1 ? singles : how->tolerance;
    CHECK_MSG(error <= most, "%s: relative logit error %g, allowed %g", what, error, most);
    for (int i = 0; g->greedy.data && !how->compared && i < GREEDY; i++) {
        int32_t id = best(dp_session_logits(session), vocab);
        float margin = ((const float *)g->margin.data)[i];
        CHECK_MSG(id == greedy[i] || (double)margin <= singles * 10, "%s: greedy token %d is %d, expected %d (margin %g)", what, i, (int)id, (int)greedy[i], (double)margin);
        if (id != greedy[i]) break; /* a near tie went the other way: the rest has no meaning */
        CHECK_OK(dp_session_eval(session, &id, 1, NULL));
    }
    dp_session_free(session);
    dp_free(logits);
}

void golden_check(const char *what, const char *path, const char *golden_file, const golden_how *how) {
    golden g = {0};
    dp_engine *engine = NULL;
    dp_model *model = NULL;
    CHECK_OK(golden_load(golden_file, &g));
    CHECK_OK(dp_engine_open(&how->engine, &engine));
    CHECK_OK(dp_model_open(engine, path, &how->model, &model));
    compare(what, model, &g, 64, how);
    if (!how->no_singles) compare(what, model, &g, 1, how);
    compare(what, model, &g, 7, how);
    dp_model_close(model);
    dp_engine_close(engine);
    golden_free(&g);
}
