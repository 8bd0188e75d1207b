/* verify.c: dp_verify: the files and hashes of RDRR shards, each bad one reported, then structure, which opening a
 * checkpoint checks for every format. And what a converter wants to know of its input before it gives it new hashes. */
#include "convert/job.h"
#include "convert/output.h"

/* Turns the bytes of one shard into bytes of the whole. */
typedef struct relay {
    const dp_verify_desc *desc;
    uint64_t before, total;
} relay;

static bool pass_on(void *user, const char *what, uint64_t done, uint64_t total) {
    const relay *r = user;
    (void)total;
    return r->desc->progress(r->desc->user, what, r->before + done, r->total);
}

static dp_status verify_shards(const dp_checkpoint *c, const dp_verify_desc *desc) {
    relay r = {.desc = desc};
    size_t bad = 0;
    const char *last = "";
    for (size_t i = 0; i < c->shard_count; i++) r.total += c->shards[i].size;
    for (size_t i = 0; i < c->shard_count; i++) {
        dp_status status = dp_checkpoint_verify_shard(c, i, desc->progress ? pass_on : NULL, &r);
        r.before += c->shards[i].size;
        if (status == DP_E_CANCELLED || status == DP_E_MEMORY) return status;
        if (status == DP_OK) continue;
        bad++;
        last = c->shards[i].filename;
        if (desc->on_bad) desc->on_bad(desc->user, last, dp_error_message());
    }
    if (bad == 1) return dp_fail(DP_E_CORRUPT, "%s: shard %s is bad", c->path, last);
    if (bad)
        return dp_fail(DP_E_CORRUPT, "%s: %zu of %zu shards are bad, the last of them %s", c->path, bad, c->shard_count,
                       last);
    return DP_OK;
}

/* ---- before a conversion ---- */

typedef struct passing {
    dp_job *job;
    const dp_worker *worker;
    uint64_t done; /* of the shard; a second attempt at its hash starts anew */
} passing;

static bool advance(void *user, const char *what, uint64_t done, uint64_t total) {
    passing *p = user;
    (void)what, (void)total;
    uint64_t more = done > p->done ? done - p->done : 0;
    p->done += more;
    return dp_job_advance(p->job, p->worker, more) == DP_OK;
}

static dp_status check_shard(void *context, int32_t index, dp_job *job, dp_worker *worker) {
    const dp_checkpoint *c = context;
    passing p = {.job = job, .worker = worker};
    return c->shards[index].hash ? dp_checkpoint_verify_shard(c, (size_t)index, advance, &p) : DP_OK;
}

dp_status dp_output_check_input(const dp_output *output) {
    const dp_checkpoint *c = output->input;
    if (!c || !c->shard_count) return DP_OK;
    dp_job_desc job = {.threads = output->to.threads,
                       .what = "checking the input",
                       .progress = output->to.progress,
                       .user = output->to.user,
                       .task = check_shard,
                       .context = output->input,
                       .tasks = (int32_t)c->shard_count};
    for (size_t i = 0; i < c->shard_count; i++) job.total += c->shards[i].size;
    return dp_job_run(&job);
}

/* ---- on its own ---- */

dp_status dp_verify(const char *path, const dp_verify_desc *desc) {
    static const dp_verify_desc silent = {0};
    if (!path || !*path) return dp_fail(DP_E_ARG, "verify: expected a path");
    dp_checkpoint *c = NULL;
    TRY(dp_checkpoint_open_shards(path, &c));
    dp_status status = verify_shards(c, desc ? desc : &silent);
    dp_checkpoint_close(c);
    TRY(status);
    TRY(dp_checkpoint_open(path, &c));
    dp_checkpoint_close(c);
    return DP_OK;
}
