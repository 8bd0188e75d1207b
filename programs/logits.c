/* logits.c: `doppler logits`: the raw output of the model, for comparing implementations. */
#include "host/host.h"
#include "progress.h"
#include "tool.h"

static const char *ids_source, *output;
static bool reference;

static const option options[] = {
    {"ids", 'i', OPTION_TEXT, &ids_source, "FILE|LIST", "token ids: a file (JSON array or numbers), - or a list 1,2,3",
     0, 0},
    {"output", 'o', OPTION_TEXT, &output, "FILE", "where to write [tokens][vocabulary] f32, little-endian; - is standard output", 0, 0},
    {"reference", 0, OPTION_FLAG, &reference, NULL, "compute on the scalar reference (as --device cpu-ref)", 0, 0},
    OPTIONS_END,
};
static const option_group own = {"Options", options};

typedef struct job {
    setup s;
    int32_t *ids;
    size_t count, vocab;
    dp_writer *writer; /* NULL: standard output */
    progress bar;
} job;

static dp_status write_rows(void *user, size_t first, size_t count, const float *logits) {
    job *j = user;
    progress_update(&j->bar, "Evaluating", first + count, j->count);
    size_t size = count * j->vocab * sizeof *logits;
    return j->writer ? dp_writer_write(j->writer, logits, size) : stdout_write(logits, size);
}

static dp_status run_job(job *j, const char *model) {
    TRY(ids_load(ids_source, &j->ids, &j->count));
    if (reference) set.device = "cpu-ref";
    TRY(setup_open(&j->s, model));
    TRY(setup_session(&j->s, j->count));
    j->vocab = (size_t)dp_model_get_info(j->s.model)->vocab;
    if (strcmp(output, "-") != 0) TRY(dp_writer_open(output, &j->writer));
    dp_status status = setup_each_logits(&j->s, j->ids, j->count, write_rows, j);
    progress_end(&j->bar);
    if (status != DP_OK) {
        dp_writer_abandon(j->writer);
        return status;
    }
    if (j->writer) TRY(dp_writer_commit(j->writer));
    note("%s: %zu x %zu f32, %s", output, j->count, j->vocab,
         show_bytes((double)(j->count * j->vocab * sizeof(float))));
    return setup_finish(&j->s);
}

static dp_status run(char **arguments, int count) {
    (void)count;
    if (!ids_source || !output) return dp_fail(DP_E_ARG, "logits needs --ids FILE|LIST and --output FILE");
    job j = {.bar = {.unit = "tokens"}};
    dp_status status = run_job(&j, arguments[0]);
    setup_close(&j.s);
    dp_free(j.ids);
    return status;
}

const command command_logits = {
    .name = "logits",
    .summary = "write the raw logits of given token ids",
    .arguments = "MODEL",
    .details = "FILE becomes f32 [tokens][vocabulary] without a header. --batch 1 evaluates token by token, as\n"
               "decoding does.\n",
    .examples = "  doppler logits model/ --ids 1,726,289 --output logits.f32\n"
                "  doppler logits model.gguf --ids ids.json --output exact.f32 --reference\n",
    .least = 1,
    .most = 1,
    .groups = {&own, &session_options, &engine_options, &memory_options, &quiet_options},
    .run = run,
};
