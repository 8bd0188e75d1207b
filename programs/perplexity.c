/* perplexity.c: `doppler perplexity`: how well a model predicts a text: exp of the mean loss over its tokens. */
#include <math.h>
#include <stdio.h>

#include "base/json_write.h"
#include "host/host.h"
#include "progress.h"
#include "tool.h"

static int32_t stride;

static const option options[] = {
    {"stride", 0, OPTION_INT, &stride, "N", "plain text: tokens between windows (default: half the context)", 1,
     INT32_MAX},
    OPTIONS_END,
};
static const option_group own = {"Options", options};

/* Losses add up here: token i + 1 is predicted from the logits after token i. */
typedef struct job {
    setup s;
    const dp_tokenizer *tokenizer;
    const char *file;
    char *text;
    size_t size;
    const int32_t *ids;        /* of the sequence under evaluation */
    size_t count, scored_from; /* predictions of tokens before this one do not count */
    double loss, loss_squared;
    uint64_t tokens, sequences, done; /* done: of the input, in bytes or tokens */
    double seconds;
    progress bar;
} job;

static double log_probability(const float *logits, size_t vocab, int32_t id) {
    float most = logits[0];
    double sum = 0;
    for (size_t i = 1; i < vocab; i++) most = DP_MAX(most, logits[i]);
    for (size_t i = 0; i < vocab; i++) sum += exp((double)logits[i] - most);
    return (double)logits[id] - most - log(sum);
}

static dp_status score(void *user, size_t first, size_t count, const float *logits) {
    job *j = user;
    size_t vocab = (size_t)dp_model_get_info(j->s.model)->vocab;
    for (size_t i = 0; i < count; i++) {
        size_t target = first + i + 1;
        if (target < j->scored_from || target >= j->count) continue;
        double loss = -log_probability(logits + i * vocab, vocab, j->ids[target]);
        if (!isfinite(loss)) return dp_fail(DP_E_DEVICE, "the loss of token %zu is not finite", target);
        j->loss += loss;
        j->loss_squared += loss * loss;
        j->tokens++;
    }
    return DP_OK;
}

/* Scores ids[scored_from..count) of a sequence that starts anew. The last token predicts nothing. */
static dp_status score_sequence(job *j, const int32_t *ids, size_t count, size_t scored_from) {
    j->ids = ids;
    j->count = count;
    j->scored_from = scored_from;
    j->sequences++;
    dp_session_truncate(j->s.session, 0);
    return count < 2 ? DP_OK : setup_each_logits(&j->s, ids, count - 1, score, j);
}

/* ---- JSON lines ---- */

static dp_status score_text(job *j, dp_str text) {
    int32_t *ids;
    size_t count;
    TRY(dp_tokenizer_encode(j->tokenizer, text.n ? text.p : "", text.n, true, &ids, &count));
    int32_t end = dp_tokenizer_eos(j->tokenizer);
    if (end >= 0 && (count == 0 || ids[count - 1] != end)) {
        int32_t *longer = dp_realloc(ids, (count + 1) * sizeof *ids);
        if (!longer) {
            dp_free(ids);
            return dp_no_memory((count + 1) * sizeof *ids);
        }
        ids = longer;
        ids[count++] = end;
    }
    dp_status status = score_sequence(j, ids, count, 1);
    dp_free(ids);
    return status;
}

static dp_status score_line(job *j, dp_str line) {
    dp_arena arena = {0};
    const dp_json *root = NULL;
    dp_status status = dp_json_parse(&arena, line, &root);
    const dp_json *text = status == DP_OK ? dp_json_find(root, "text") : NULL;
    if (text && text->type == DP_JSON_STRING)
        status = score_text(j, text->string);
    else if (status == DP_OK)
        status = dp_fail(DP_E_FORMAT, "expected an object with a string \"text\"");
    dp_arena_free(&arena);
    return status;
}

static dp_status score_lines(job *j) {
    const char *p = j->text, *end = j->text + j->size;
    for (size_t number = 1; p < end; number++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        dp_str line = {p, (size_t)((stop ? stop : end) - p)};
        dp_status status = line.n && line.p[0] != '\r' ? score_line(j, line) : DP_OK;
        if (status == DP_E_CANCELLED) return status;
        if (status != DP_OK) return dp_fail_in(status, "%s, line %zu", j->file, number);
        p = stop ? stop + 1 : end;
        progress_update(&j->bar, "Scoring", (uint64_t)(p - j->text), j->size);
    }
    return DP_OK;
}

/* ---- plain text ---- */

/* What the tokenizer puts before every text: usually one begin token, or nothing. */
static dp_status begin_tokens(const job *j, int32_t *begin, size_t *count) {
    int32_t *ids;
    size_t n;
    TRY(dp_tokenizer_encode(j->tokenizer, "", 0, true, &ids, &n));
    *count = n > 0 && ids[0] != dp_tokenizer_eos(j->tokenizer) ? 1 : 0;
    if (*count) *begin = ids[0];
    dp_free(ids);
    return DP_OK;
}

/* Windows of the context's size, each `stride` further; a window scores what the one before did not. */
static dp_status score_windows(job *j, const int32_t *ids, size_t count) {
    int32_t first_token = 0, *sequence;
    size_t begin, room = (size_t)dp_session_context(j->s.session), scored = 0;
    TRY(begin_tokens(j, &first_token, &begin));
    if (room < begin + 2)
        return dp_fail(DP_E_CONTEXT, "a context of %zu positions is too small to predict anything", room);
    if ((size_t)stride > room - begin)
        return dp_fail(DP_E_ARG, "--stride: windows of %zu tokens %d apart would leave tokens out", room - begin, (int)stride);
    size_t step = stride ? (size_t)stride : DP_MIN(room / 2, room - begin);
    sequence = dp_malloc(room * sizeof *sequence);
    if (!sequence) return dp_no_memory(room * sizeof *sequence);
    dp_status status = DP_OK;
    for (size_t first = 0; scored < count && status == DP_OK; first += step) {
        size_t n = DP_MIN(room - begin, count - first);
        sequence[0] = first_token; /* overwritten unless begin is 1 */
        memcpy(sequence + begin, ids + first, n * sizeof *sequence);
        status = score_sequence(j, sequence, begin + n, begin + scored - first);
        scored = first + n;
        progress_update(&j->bar, "Scoring", scored, count);
    }
    dp_free(sequence);
    return status;
}

static dp_status score_plain(job *j) {
    int32_t *ids;
    size_t count;
    TRY(dp_tokenizer_encode(j->tokenizer, j->text, j->size, false, &ids, &count));
    j->bar.unit = "tokens";
    dp_status status = score_windows(j, ids, count);
    dp_free(ids);
    return status;
}

/* ---- the command ---- */

static dp_status report(const job *j) {
    double mean = j->loss / (double)j->tokens, n = (double)j->tokens;
    double deviation = n > 1 ? sqrt(fmax(0, j->loss_squared / n - mean * mean) / (n - 1)) : 0;
    if (!set.json) {
        printf("perplexity  %.6f +- %.6f\n"
               "loss        %.7f nats per token\n"
               "tokens      %llu in %llu %s\n"
               "time        %s (%.1f tokens/s)\n",
               exp(mean), exp(mean) * deviation, mean, (unsigned long long)j->tokens, (unsigned long long)j->sequences,
               j->bar.unit ? "windows" : "lines", show_duration(j->seconds), n / j->seconds);
        return DP_OK;
    }
    dp_buf out = {0};
    dp_json_open(&out, NULL, '{');
    dp_json_add_text(&out, "model", dp_model_get_info(j->s.model)->name);
    dp_json_add_text(&out, "backend", dp_engine_describe(j->s.engine));
    dp_json_add_double(&out, "perplexity", exp(mean));
    dp_json_add_double(&out, "nll_per_token", mean);
    dp_json_add_double(&out, "nll_standard_error", deviation);
    dp_json_add_uint(&out, "tokens", j->tokens);
    dp_json_add_uint(&out, "sequences", j->sequences);
    dp_json_add_double(&out, "seconds", j->seconds);
    setup_put_paging(&j->s, &out);
    dp_json_close(&out, '}');
    return stdout_print(&out);
}

/* The first line decides: an object with a "text" is the start of JSON lines. */
static bool is_json_lines(const job *j) {
    dp_arena arena = {0};
    const dp_json *root = NULL;
    const char *stop = memchr(j->text, '\n', j->size);
    dp_str line = {j->text, stop ? (size_t)(stop - j->text) : j->size};
    bool yes = dp_str_ends(dp_str_of(j->file), ".jsonl") ||
               (dp_json_parse(&arena, line, &root) == DP_OK && dp_json_find(root, "text"));
    dp_arena_free(&arena);
    return yes;
}

static dp_status run_job(job *j, char **arguments) {
    bool from_stdin = strcmp(arguments[1], "-") == 0;
    j->file = from_stdin ? "standard input" : arguments[1];
    TRY(from_stdin ? stdin_read(&j->text, &j->size) : dp_file_load(j->file, (size_t)1 << 30, &j->text, &j->size));
    TRY(setup_open(&j->s, arguments[0]));
    TRY(setup_tokenizer(&j->s, &j->tokenizer));
    TRY(setup_session(&j->s, 0));
    double start = dp_host_seconds();
    dp_status status = is_json_lines(j) ? score_lines(j) : score_plain(j);
    j->seconds = dp_host_seconds() - start;
    progress_end(&j->bar);
    TRY(status);
    if (!j->tokens) return dp_fail(DP_E_FORMAT, "%s: no text to score", j->file);
    TRY(report(j));
    return setup_finish(&j->s);
}

static dp_status run(char **arguments, int count) {
    (void)count;
    job j = {0};
    dp_status status = run_job(&j, arguments);
    setup_close(&j.s);
    dp_free(j.text);
    return status;
}

const command command_perplexity = {
    .name = "perplexity",
    .summary = "measure how well a model predicts a text",
    .arguments = "MODEL FILE",
    .details =
        "FILE is plain text, scored in overlapping windows of the context's size, or JSON lines with \"text\":\n"
        "each line is scored on its own, between the tokenizer's special tokens and an end token. The result\n"
        "is exp of the mean loss of all predicted tokens. --context 4096 is the default where the model allows it.\n"
        "FILE - is standard input.\n",
    .examples = "  doppler perplexity model/ eval.jsonl\n"
                "  doppler perplexity model.gguf wikitext.txt --context 512 --json\n"
                "  doppler perplexity model/ eval.jsonl --device cpu-ref\n",
    .least = 2,
    .most = 2,
    .groups = {&own, &session_options, &engine_options, &memory_options, &output_options},
    .run = run,
};
