/* gguf_write.c: the bytes of a GGUF file (layout: format/gguf.h). Every tensor's place is known ahead, so its pieces
 * are made by any thread in any order and written where they belong. */
#include "convert/gguf_write.h"

#include "convert/job.h"

enum { VERSION = 3, ALIGNMENT = 32, STEP = 4 << 20 };

typedef struct piece {
    const dp_item *item;
    dp_range range;
    uint64_t offset; /* in the file */
} piece;

typedef struct writing {
    const dp_plan *plan;
    dp_writer *writer;
    piece *pieces;
    size_t count, capacity;
    uint64_t end; /* of the data so far, from its start */
} writing;

static uint64_t align(uint64_t n) { return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

static void put_u32(dp_buf *buf, uint32_t value) {
    char bytes[4];
    dp_store_u32(bytes, value);
    dp_buf_append(buf, bytes, sizeof bytes);
}

static void put_u64(dp_buf *buf, uint64_t value) {
    char bytes[8];
    dp_store_u64(bytes, value);
    dp_buf_append(buf, bytes, sizeof bytes);
}

static void put_info(dp_buf *buf, const dp_item *item, uint64_t offset) {
    dp_str name = dp_str_of(item->name);
    put_u64(buf, name.n);
    dp_buf_append(buf, name.p, name.n);
    put_u32(buf, (uint32_t)item->n_dims);
    for (int32_t d = item->n_dims - 1; d >= 0; d--) put_u64(buf, (uint64_t)item->shape[d]);
    put_u32(buf, (uint32_t)dp_dtype_get(item->dtype)->ggml_type);
    put_u64(buf, offset);
}

static dp_status add_pieces(writing *w, const dp_item *item, uint64_t offset) {
    for (uint64_t at = 0; at < item->size; at += STEP) {
        if (!dp_grow((void **)&w->pieces, &w->capacity, w->count + 1, sizeof *w->pieces))
            return dp_no_memory((w->count + 1) * sizeof *w->pieces);
        w->pieces[w->count++] = (piece){item, {at, DP_MIN(item->size - at, STEP)}, offset + at};
    }
    return DP_OK;
}

/* Header with all tensor infos; the pieces' offsets become those in the file. */
static dp_status make_header(writing *w, dp_gguf_kvs *kvs, dp_buf *header) {
    dp_buf_str(header, "GGUF");
    put_u32(header, VERSION);
    put_u64(header, w->plan->count);
    put_u64(header, kvs->count);
    dp_buf_append(header, kvs->bytes.data, kvs->bytes.size);
    for (size_t i = 0; i < w->plan->count; i++) {
        put_info(header, &w->plan->items[i], w->end);
        TRY(add_pieces(w, &w->plan->items[i], w->end));
        w->end = align(w->end + w->plan->items[i].size);
    }
    while (header->size % ALIGNMENT && !header->failed) dp_buf_char(header, 0);
    if (header->failed) return dp_no_memory(header->size);
    for (size_t i = 0; i < w->count; i++) w->pieces[i].offset += header->size;
    return DP_OK;
}

static dp_status write_piece(void *context, int32_t index, dp_job *job, dp_worker *worker) {
    const writing *w = context;
    const piece *p = &w->pieces[index];
    TRY(dp_scratch_need(&worker->out, (size_t)p->range.size));
    TRY(dp_plan_produce(w->plan, p->item, p->range, worker, worker->out.data));
    TRY(dp_writer_write_at(w->writer, p->offset, worker->out.data, (size_t)p->range.size));
    return dp_job_advance(job, worker, p->range.size);
}

static dp_status write_contents(writing *w, const dp_output *output, const dp_buf *header) {
    static const char zeros[ALIGNMENT];
    dp_job_desc job = {.threads = output->to.threads,
                       .what = "writing tensors",
                       .total = dp_plan_bytes(w->plan),
                       .progress = output->to.progress,
                       .user = output->to.user,
                       .task = write_piece,
                       .context = w,
                       .tasks = (int32_t)w->count};
    if (w->count > INT32_MAX) return dp_fail(DP_E_ARG, "%zu pieces are too many", w->count);
    TRY(dp_writer_write_at(w->writer, 0, header->data, header->size));
    TRY(dp_job_run(&job));
    if (!w->plan->count) return DP_OK;
    uint64_t last = w->pieces[w->count - 1].offset + w->pieces[w->count - 1].range.size;
    return dp_writer_write_at(w->writer, last, zeros, (size_t)(align(last) - last));
}

/* Temporaries that killed runs left for this very output. */
static dp_status remove_leftovers(const char *path) {
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    dp_arena arena = {0};
    dp_buf names = {0};
    const char *folder = slash ? dp_arena_copy(&arena, path, (size_t)(slash - path) + 1) : ".";
    const char *prefix = dp_arena_printf(&arena, ".%s.", base);
    dp_status status = folder && prefix ? DP_OK : dp_no_memory(strlen(path));
    if (status == DP_OK && dp_path_what(folder) == DP_PATH_FOLDER) status = dp_folder_list(folder, &names);
    for (const char *p = names.data; status == DP_OK && p && *p; p += strcspn(p, "\n") + 1) {
        dp_str name = {p, strcspn(p, "\n")};
        if (!dp_str_starts(name, prefix) || !dp_str_ends(name, ".tmp")) continue;
        char *left = dp_arena_printf(&arena, "%s/%.*s", folder, (int)name.n, name.p);
        status = left ? dp_path_remove(left) : dp_no_memory(name.n);
    }
    dp_buf_free(&names);
    dp_arena_free(&arena);
    return status;
}

static dp_status write_claimed(writing *w, const dp_output *output, const dp_buf *header) {
    TRY(remove_leftovers(output->to.path));
    TRY(dp_output_check(output, header->size + w->end));
    TRY(dp_output_check_input(output));
    TRY(dp_writer_open(output->to.path, &w->writer));
    dp_status status = write_contents(w, output, header);
    if (status == DP_OK) return dp_writer_commit(w->writer);
    dp_writer_abandon(w->writer);
    return status;
}

static dp_status write_file(writing *w, const dp_output *output, const dp_buf *header) {
    dp_claim *claim = NULL;
    TRY(dp_output_check(output, 0));
    TRY(dp_output_claim(output, &claim));
    dp_status status = write_claimed(w, output, header);
    dp_claim_release(claim);
    return status;
}

dp_status dp_gguf_write(const dp_plan *plan, const dp_output *output, dp_convert_result *result) {
    writing w = {.plan = plan};
    dp_gguf_kvs kvs = {0};
    dp_buf header = {0};
    dp_status status = dp_gguf_metadata(output, plan, &kvs);
    if (status == DP_OK) status = make_header(&w, &kvs, &header);
    if (status == DP_OK) status = write_file(&w, output, &header);
    if (status == DP_OK) {
        result->shards = 1;
        result->bytes_out = header.size + w.end;
    }
    dp_free(w.pieces);
    dp_buf_free(&header);
    dp_buf_free(&kvs.bytes);
    return status;
}
