/* verify.c: `doppler verify`: structure and every hash of a model. */
#include <stdio.h>

#include "base/json_write.h"
#include "progress.h"
#include "tool.h"

typedef struct job {
    progress bar;
    dp_buf bad; /* JSON array of what failed */
    bool hashed; /* there are hashes */
} job;

static bool on_progress(void *user, const char *what, uint64_t done, uint64_t total) {
    job *j = user;
    j->hashed = true;
    return progress_update(&j->bar, what, done, total);
}

static void on_bad(void *user, const char *file, const char *why) {
    job *j = user;
    progress_end(&j->bar);
    j->hashed = true;
    if (!set.json) printf("bad   %s\n", why);
    dp_json_open(&j->bad, NULL, '{');
    dp_json_add_text(&j->bad, "file", file);
    dp_json_add_text(&j->bad, "why", why);
    dp_json_close(&j->bad, '}');
}

static dp_status report(job *j, const char *path, dp_status status) {
    dp_buf out = {0};
    dp_json_close(&j->bad, ']');
    dp_json_open(&out, NULL, '{');
    dp_json_add_text(&out, "model", path);
    dp_json_add_text(&out, "status", dp_status_name(status));
    dp_json_add_bool(&out, "hashed", j->hashed);
    if (status != DP_OK) dp_json_add_text(&out, "message", dp_error_message());
    dp_json_add_raw(&out, "bad", (dp_str){j->bad.data, j->bad.size});
    dp_json_close(&out, '}');
    return stdout_print(&out);
}

static dp_status run(char **arguments, int count) {
    (void)count;
    job j = {0};
    dp_json_open(&j.bad, NULL, '[');
    dp_status status =
        dp_verify(arguments[0], &(dp_verify_desc){.progress = on_progress, .on_bad = on_bad, .user = &j});
    progress_end(&j.bar);
    dp_status printed = DP_OK;
    if (set.json && !j.bad.failed)
        printed = report(&j, arguments[0], status);
    else if (status == DP_OK)
        printf("ok    %s%s\n", arguments[0], j.hashed ? "" : " (its structure: only RDRR models have hashes)");
    dp_buf_free(&j.bad);
    return status == DP_OK ? printed : status;
}

const command command_verify = {
    .name = "verify",
    .summary = "check structure and every hash of a model",
    .arguments = "MODEL",
    .details = "Names every shard that is missing, has another size or another hash. The exit code is 16 if any does.\n"
               "Only RDRR models have hashes; of others the structure is checked.\n",
    .examples = "  doppler verify model/\n"
                "  doppler verify model.gguf --json\n",
    .least = 1,
    .most = 1,
    .groups = {&output_options},
    .run = run,
};
