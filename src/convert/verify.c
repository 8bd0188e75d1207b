/* verify.c: dp_verify: the files and hashes of RDRR shards, each bad one reported, then structure, which opening a
 * checkpoint checks for every format. And what a converter wants to know of its input before it gives it new hashes. */
#include "convert/job.h"
#include "convert/output.h"

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

static dp_status hash_shard(const dp_checkpoint *c, int32_t index, dp_job *job, const dp_worker *worker) {
    return dp_checkpoint_verify_shard(c, (size_t)index, advance, &(passing){.job = job, .worker = worker});
}

static dp_status hash_shards(const dp_checkpoint *c, dp_job_desc job) {
    if (!c->shard_count) return DP_OK;
    job.tasks = (int32_t)c->shard_count;
    for (size_t i = 0; i < c->shard_count; i++) job.total += c->shards[i].size;
    return dp_job_run(&job);
}

/* ---- each bad one reported ---- */

typedef struct report {
    const dp_checkpoint *checkpoint;
    char **why; /* [shards]; NULL: it is as it should be */
} report;

static dp_status note_shard(void *context, int32_t index, dp_job *job, dp_worker *worker) {
    report *r = context;
    dp_status status = hash_shard(r->checkpoint, index, job, worker);
    if (status == DP_OK || status == DP_E_CANCELLED || status == DP_E_MEMORY) return status;
    size_t size = strlen(dp_error_message()) + 1;
    r->why[index] = dp_malloc(size);
    if (!r->why[index]) return dp_no_memory(size);
    memcpy(r->why[index], dp_error_message(), size);
    return DP_OK;
}

/* In the order of the manifest, however the threads came to them. */
static dp_status tell(const report *r, const dp_verify_desc *desc) {
    const dp_checkpoint *c = r->checkpoint;
    const char *last = "";
    size_t bad = 0;
    for (size_t i = 0; i < c->shard_count; i++) {
        if (!r->why[i]) continue;
        bad++;
        last = c->shards[i].filename;
        if (desc->on_bad) desc->on_bad(desc->user, last, r->why[i]);
    }
    if (bad == 1) return dp_fail(DP_E_CORRUPT, "%s: shard %s is bad", c->path, last);
    if (bad) return dp_fail(DP_E_CORRUPT, "%s: %zu of %zu shards are bad, the last of them %s", c->path, bad, c->shard_count, last);
    return DP_OK;
}

static dp_status verify_shards(const dp_checkpoint *c, const dp_verify_desc *desc) {
    report r = {c, dp_calloc(c->shard_count + 1, sizeof *r.why)};
    if (!r.why) return dp_no_memory(c->shard_count * sizeof *r.why);
    dp_job_desc job = {.what = "hashing", .progress = desc->progress, .user = desc->user, .task = note_shard, .context = &r};
    dp_status status = hash_shards(c, job);
    if (status == DP_OK) status = tell(&r, desc);
    for (size_t i = 0; i < c->shard_count; i++) dp_free(r.why[i]);
    dp_free(r.why);
    return status;
}

/* ---- before a conversion ---- */

static dp_status check_shard(void *context, int32_t index, dp_job *job, dp_worker *worker) {
    const dp_checkpoint *c = context;
    return c->shards[index].hash ? hash_shard(c, index, job, worker) : DP_OK;
}

dp_status dp_output_check_input(const dp_output *output) {
    dp_job_desc job = {.threads = output->to.threads,
                       .what = "checking the input",
                       .progress = output->to.progress,
                       .user = output->to.user,
                       .task = check_shard,
                       .context = output->input};
    return output->input ? hash_shards(output->input, job) : DP_OK;
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
