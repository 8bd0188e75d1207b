/* tiers.c: how much each tier of memory holds here, and how fast what lies in one gets to the next: files to host memory,
 * host memory to the GPU. What a paged model can hope for. */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/json_write.h"
#include "format/checkpoint.h"
#include "gpu/gpu.h"
#include "page/loader.h"

enum { SMALL = 4096, SMALL_READS = 256, READERS = 8, UPLOAD = 64 << 20, UPLOADS = 8, ROUND_TRIPS = 32 };
#define PHASE_BYTES ((uint64_t)1 << 30)
#define PHASE_SECONDS 2.0

/* Reads of `size` bytes at places spread over the files, by several threads. */
typedef struct probe {
    const dp_checkpoint *checkpoint;
    size_t size;
    int32_t reads;
    double *seconds;   /* [reads] */
    double give_up;    /* no read begins after this */
    atomic_int next, done;
    atomic_int failed; /* dp_status */
} probe;

/* A place for the n-th read: files by their number, offsets at random; two reads seldom meet. */
static dp_file *place_of(const probe *p, int32_t n, uint64_t *offset) {
    const dp_checkpoint *c = p->checkpoint;
    for (uint64_t draw = (uint64_t)n;; draw += 7919) {
        dp_file *file = c->files[dp_splitmix64(draw) % c->file_count];
        uint64_t places = dp_file_size(file) / p->size;
        if (!places) continue;
        *offset = dp_splitmix64(draw ^ 0x5bd1e995) % places * p->size;
        return file;
    }
}

static void read_some(void *user) {
    probe *p = user;
    unsigned char *block = dp_malloc(p->size + DP_DIRECT);
    unsigned char *data = block ? block + (DP_DIRECT - (uintptr_t)block % DP_DIRECT) : NULL;
    if (!block) atomic_store(&p->failed, DP_E_MEMORY);
    for (int32_t n; data && (n = atomic_fetch_add(&p->next, 1)) < p->reads && dp_host_seconds() < p->give_up;) {
        uint64_t offset = 0;
        dp_file *file = place_of(p, n, &offset);
        double start = dp_host_seconds();
        dp_status status = dp_file_read_direct(file, offset, data, p->size);
        p->seconds[atomic_fetch_add(&p->done, 1)] = dp_host_seconds() - start;
        if (status != DP_OK) atomic_store(&p->failed, (int)status);
    }
    dp_free(block);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

typedef struct speed {
    double p50, p95, rate; /* seconds a read, bytes per second of all */
} speed;

static dp_status run_probe(probe *p, int32_t threads, speed *out) {
    dp_thread *others[READERS] = {0};
    double start = dp_host_seconds();
    p->give_up = start + PHASE_SECONDS;
    for (int32_t i = 1; i < threads; i++)
        if (dp_thread_start(read_some, p, &others[i]) != DP_OK) break;
    read_some(p);
    for (int32_t i = 1; i < threads; i++) dp_thread_join(others[i]);
    double seconds = dp_host_seconds() - start;
    int32_t done = p->done;
    if (p->failed != DP_OK) return dp_fail((dp_status)p->failed, "%s: reading it failed", p->checkpoint->path);
    if (done) qsort(p->seconds, (size_t)done, sizeof *p->seconds, by_value);
    if (done) *out = (speed){p->seconds[done / 2], p->seconds[done * 95 / 100], (double)done * (double)p->size / seconds};
    return DP_OK;
}

static dp_status measure_reads(const dp_checkpoint *c, size_t size, int32_t reads, int32_t threads, speed *out) {
    probe p = {.checkpoint = c, .size = size, .reads = reads};
    p.seconds = dp_malloc((size_t)reads * sizeof *p.seconds);
    dp_status status = p.seconds ? run_probe(&p, threads, out) : dp_no_memory((size_t)reads * sizeof *p.seconds);
    dp_free(p.seconds);
    return status;
}

static uint64_t largest_file(const dp_checkpoint *c) {
    uint64_t most = 0;
    for (size_t i = 0; i < c->file_count; i++) most = DP_MAX(most, dp_file_size(c->files[i]));
    return most;
}

static dp_status measure_store(const dp_checkpoint *c, dp_buf *out) {
    speed small = {0}, one = {0}, many = {0};
    uint64_t most = largest_file(c);
    size_t large = most >= DP_LOAD_PIECE ? DP_LOAD_PIECE : SMALL;
    if (most < SMALL) return dp_fail(DP_E_UNSUPPORTED, "%s: its files are too small to measure with", c->path);
    TRY(measure_reads(c, SMALL, SMALL_READS, 1, &small));
    TRY(measure_reads(c, large, (int32_t)(PHASE_BYTES / large), 1, &one));
    TRY(measure_reads(c, large, (int32_t)(PHASE_BYTES / large), READERS, &many));
    dp_json_open(out, "store", '{');
    dp_json_add_uint(out, "freeBytes", dp_path_free_space(c->path, NULL));
    dp_json_add_double(out, "smallReadP50", small.p50);
    dp_json_add_double(out, "smallReadP95", small.p95);
    dp_json_add_uint(out, "readBytes", large);
    dp_json_add_double(out, "readP50", one.p50);
    dp_json_add_double(out, "readP95", one.p95);
    dp_json_add_double(out, "bytesPerSecond", one.rate);
    dp_json_add_int(out, "readers", READERS);
    dp_json_add_double(out, "readersP50", many.p50);
    dp_json_add_double(out, "readersP95", many.p95);
    dp_json_add_double(out, "readersBytesPerSecond", many.rate);
    dp_json_close(out, '}');
    return DP_OK;
}

/* ---- the GPU ---- */

/* Waits until what has been written is there: a read comes behind it. */
static dp_status settle(dp_gpu *gpu, dp_gpu_buffer buffer) {
    uint32_t word;
    dp_gpu_read read;
    TRY(dp_gpu_read_begin(gpu, buffer, 0, sizeof word, &read));
    return dp_gpu_read_end(gpu, read, &word);
}

/* Seconds that all of UPLOADS large writes take. */
static dp_status time_uploads(dp_gpu *gpu, dp_gpu_buffer buffer, const void *data, double *seconds) {
    TRY(dp_gpu_write(gpu, buffer, 0, data, UPLOAD)); /* makes the ring */
    TRY(dp_gpu_wait(gpu));
    double start = dp_host_seconds();
    for (int i = 0; i < UPLOADS; i++) TRY(dp_gpu_write(gpu, buffer, 0, data, UPLOAD));
    TRY(settle(gpu, buffer));
    *seconds = dp_host_seconds() - start;
    return DP_OK;
}

/* Seconds that a small write and the answer to it take. */
static dp_status time_round_trip(dp_gpu *gpu, dp_gpu_buffer buffer, const void *data, double *seconds) {
    double start = dp_host_seconds();
    for (int i = 0; i < ROUND_TRIPS; i++) {
        TRY(dp_gpu_write(gpu, buffer, 0, data, SMALL));
        TRY(settle(gpu, buffer));
    }
    *seconds = (dp_host_seconds() - start) / ROUND_TRIPS;
    return DP_OK;
}

static dp_status measure_gpu(dp_gpu *gpu, dp_buf *out) {
    const dp_gpu_caps *caps = dp_gpu_get_caps(gpu);
    dp_gpu_buffer buffer;
    double seconds = 0, trip = 0;
    void *data = dp_calloc(1, UPLOAD);
    if (!data) return dp_no_memory(UPLOAD);
    dp_status status = dp_gpu_buffer_new(gpu, UPLOAD, "upload", &buffer);
    if (status == DP_OK) {
        status = time_uploads(gpu, buffer, data, &seconds);
        if (status == DP_OK) status = time_round_trip(gpu, buffer, data, &trip);
        if (status == DP_OK) status = dp_gpu_check(gpu);
        dp_gpu_buffer_free(gpu, buffer);
    }
    dp_free(data);
    TRY(status);
    dp_json_open(out, "device", '{');
    dp_json_add_text(out, "name", caps->name);
    dp_json_add_uint(out, "memoryBytes", caps->memory);
    dp_json_add_bool(out, "unifiedMemory", caps->unified);
    dp_json_add_double(out, "uploadBytesPerSecond", (double)UPLOAD * UPLOADS / seconds);
    dp_json_add_double(out, "roundTripSeconds", trip);
    dp_json_close(out, '}');
    return DP_OK;
}

/* Without a GPU "device" is null. */
static dp_status put_gpu(const dp_engine_desc *desc, dp_buf *out) {
    dp_gpu *gpu = NULL;
    dp_gpu_desc how = {.adapter = desc->gpu_adapter - 1, .library = desc->gpu_library};
    bool wanted = desc->backend == DP_BACKEND_AUTO || desc->backend == DP_BACKEND_GPU;
    dp_status status = wanted ? dp_gpu_open(&how, &gpu) : DP_E_DEVICE;
    if (status != DP_OK) {
        dp_json_add_null(out, "device");
        return wanted && desc->backend == DP_BACKEND_GPU ? status : DP_OK;
    }
    status = measure_gpu(gpu, out);
    dp_gpu_close(gpu);
    return status;
}

dp_status dp_measure_tiers(const dp_engine_desc *desc, const char *path, char **json) {
    dp_engine_desc zero = {0};
    dp_checkpoint *checkpoint;
    dp_buf out = {0};
    if (!path || !json) return dp_fail(DP_E_ARG, "dp_measure_tiers: path or json is NULL");
    TRY(dp_checkpoint_open(path, &checkpoint));
    dp_json_open(&out, NULL, '{');
    dp_json_open(&out, "host", '{');
    dp_json_add_uint(&out, "totalBytes", dp_host_memory_total());
    dp_json_add_uint(&out, "availableBytes", dp_host_memory_available());
    dp_json_close(&out, '}');
    dp_status status = measure_store(checkpoint, &out);
    dp_checkpoint_close(checkpoint);
    if (status == DP_OK) status = put_gpu(desc ? desc : &zero, &out);
    dp_json_close(&out, '}');
    if (status == DP_OK) return dp_buf_take(&out, json, NULL);
    dp_buf_free(&out);
    return status;
}
