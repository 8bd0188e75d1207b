/* rdrr_write.c: writes an RDRR folder. Shards are independent, so each is one task: produced, hashed and written front
 * to back by one thread, with a megabyte of it in memory at a time. */
#include "base/sha256.h"
#include "convert/job.h"
#include "convert/output.h"

#include <stdio.h>

enum { STEP = 1 << 20 };

typedef struct writing {
    const dp_plan *plan;
    dp_layout *layout;
    const char *folder; /* where it grows */
} writing;

typedef struct shard_out {
    dp_writer *writer;
    dp_sha256 hash;
    uint64_t at;
} shard_out;

static dp_status emit(shard_out *out, const void *data, size_t size) {
    dp_sha256_update(&out->hash, data, size);
    out->at += size;
    return dp_writer_write(out->writer, data, size);
}

static dp_status emit_gap(shard_out *out, uint64_t until) {
    static const char zeros[DP_RDRR_ALIGN];
    while (out->at < until) TRY(emit(out, zeros, (size_t)DP_MIN(until - out->at, sizeof zeros)));
    return DP_OK;
}

static dp_status write_piece(const writing *w, const dp_layout_piece *piece, shard_out *out, dp_job *job,
                             dp_worker *worker) {
    TRY(emit_gap(out, piece->offset));
    TRY(dp_scratch_need(&worker->out, STEP));
    for (uint64_t done = 0; done < piece->range.size;) {
        dp_range range = {piece->range.offset + done, DP_MIN(piece->range.size - done, STEP)};
        TRY(dp_plan_produce(w->plan, piece->item, range, worker, worker->out.data));
        TRY(emit(out, worker->out.data, (size_t)range.size));
        TRY(dp_job_advance(job, worker, range.size));
        done += range.size;
    }
    return DP_OK;
}

static void put_hex(const uint8_t digest[32], char hex[65]) {
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 32; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[64] = 0;
}

static dp_status write_pieces(const writing *w, dp_layout_shard *shard, shard_out *out, dp_job *job,
                              dp_worker *worker) {
    dp_sha256_init(&out->hash);
    for (size_t i = 0; i < shard->count; i++)
        TRY(write_piece(w, &w->layout->pieces[shard->first + i], out, job, worker));
    uint8_t digest[32];
    dp_sha256_final(&out->hash, digest);
    put_hex(digest, shard->hash);
    return DP_OK;
}

static dp_status write_shard(void *context, int32_t index, dp_job *job, dp_worker *worker) {
    const writing *w = context;
    char name[32];
    snprintf(name, sizeof name, "shard_%05d.bin", (int)index);
    char *path = dp_path_join(w->folder, name);
    if (!path) return dp_no_memory(strlen(w->folder));
    shard_out out = {0};
    dp_status status = dp_writer_open(path, &out.writer);
    dp_free(path);
    TRY(status);
    status = write_pieces(w, &w->layout->shards[index], &out, job, worker);
    if (status == DP_OK) return dp_writer_commit(out.writer);
    dp_writer_abandon(out.writer);
    return status;
}

static dp_status write_text(const char *folder, const char *name, const char *data, size_t size) {
    char *path = dp_path_join(folder, name);
    if (!path) return dp_no_memory(strlen(folder));
    dp_writer *writer = NULL;
    dp_status status = dp_writer_open(path, &writer);
    dp_free(path);
    TRY(status);
    status = dp_writer_write(writer, data, size);
    if (status == DP_OK) return dp_writer_commit(writer);
    dp_writer_abandon(writer);
    return status;
}

static dp_status write_contents(const dp_plan *plan, dp_layout *layout, const dp_output *output, const char *folder) {
    writing w = {plan, layout, folder};
    if (layout->shard_count > INT32_MAX) return dp_fail(DP_E_ARG, "%zu shards are too many", layout->shard_count);
    TRY(dp_folder_make(folder));
    dp_job_desc job = {.threads = output->to.threads,
                       .what = "writing shards",
                       .total = dp_plan_bytes(plan),
                       .progress = output->to.progress,
                       .user = output->to.user,
                       .task = write_shard,
                       .context = &w,
                       .tasks = (int32_t)layout->shard_count};
    TRY(dp_job_run(&job));
    for (size_t i = 0; i < output->assets->count; i++) {
        const dp_asset *asset = &output->assets->files[i];
        TRY(write_text(folder, asset->name, asset->data, asset->size));
    }
    dp_buf manifest = {0};
    dp_status status = dp_manifest_write(plan, layout, output, &manifest);
    if (status == DP_OK) status = write_text(folder, "manifest.json", manifest.data, manifest.size);
    dp_buf_free(&manifest);
    return status;
}

/* Puts back what a run killed between the two renames of `publish` had moved away. */
static dp_status recover(const char *path, const char *old) {
    if (dp_path_what(old) != DP_PATH_FOLDER) return DP_OK;
    return dp_path_what(path) == DP_PATH_NONE ? dp_path_rename(old, path) : dp_folder_remove(old);
}

static dp_status publish(const char *part, const char *old, const char *path) {
    if (dp_path_what(path) == DP_PATH_NONE) return dp_path_rename(part, path);
    TRY(dp_path_rename(path, old));
    dp_status status = dp_path_rename(part, path);
    if (status != DP_OK) {
        char why[512];
        snprintf(why, sizeof why, "%s", dp_error_message());
        return dp_path_rename(old, path) == DP_OK ? dp_fail(status, "%s", why)
                                                  : dp_fail(status, "%s; the former output is now %s", why, old);
    }
    return dp_folder_remove(old);
}

typedef struct names {
    char *part, *old;
} names;

static dp_status write_and_publish(const dp_plan *plan, dp_layout *layout, const dp_output *output, const names *at) {
    TRY(recover(output->to.path, at->old));
    TRY(dp_folder_remove(at->part));
    TRY(dp_output_check(output, dp_layout_bytes(layout)));
    TRY(dp_output_check_input(output));
    dp_status status = write_contents(plan, layout, output, at->part);
    if (status == DP_OK) status = publish(at->part, at->old, output->to.path);
    if (status != DP_OK) {
        char why[1024]; /* tidying up must not replace the reason */
        snprintf(why, sizeof why, "%s", dp_error_message());
        (void)dp_folder_remove(at->part);
        return dp_fail(status, "%s", why);
    }
    return DP_OK;
}

dp_status dp_rdrr_write(const dp_plan *plan, const dp_output *output, dp_convert_result *result) {
    dp_layout layout = {0};
    names at = {0};
    dp_claim *claim = NULL;
    TRY(dp_layout_make(plan, output->to.sharding, output->to.shard_size, &layout));
    dp_status status = dp_output_part(output->to.path, ".part", &at.part);
    if (status == DP_OK) status = dp_output_part(output->to.path, ".old", &at.old);
    if (status == DP_OK) status = dp_output_check(output, 0);
    if (status == DP_OK) status = dp_output_claim(output, &claim);
    if (status == DP_OK) status = write_and_publish(plan, &layout, output, &at);
    if (status == DP_OK) {
        result->shards = layout.shard_count;
        result->bytes_out = dp_layout_bytes(&layout);
    }
    dp_claim_release(claim);
    dp_free(at.part);
    dp_free(at.old);
    dp_layout_free(&layout);
    return status;
}
