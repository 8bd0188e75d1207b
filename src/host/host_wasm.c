/* host_wasm.c: what WebAssembly lacks beside host_files.c and host_write.c: it cannot map files, has one thread and
 * knows little of its machine. */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#include "host/host.h"

#include <time.h>

size_t dp_host_page_size(void) { return 65536; }

dp_status dp_host_map(const dp_piece *pieces, size_t count, dp_mapping *out) {
    (void)pieces, (void)count, (void)out;
    return dp_fail(DP_E_UNSUPPORTED, "files cannot be mapped in WebAssembly");
}

void dp_host_unmap(dp_mapping *mapping) { *mapping = (dp_mapping){0}; }
void dp_host_advise(const void *data, size_t size, dp_advice advice) { (void)data, (void)size, (void)advice; }

dp_status dp_file_read_direct(dp_file *file, uint64_t offset, void *data, size_t size) {
    return dp_file_read(file, offset, data, size);
}

uint64_t dp_path_free_space(const char *path, uint64_t *total) {
    (void)path;
    if (total) *total = UINT64_MAX;
    return UINT64_MAX;
}

double dp_host_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int64_t dp_host_unix_time(void) { return (int64_t)time(NULL); }
int dp_host_cpu_count(void) { return 1; }
bool dp_host_permit_tiles(void) { return false; }
uint64_t dp_host_memory_total(void) { return UINT32_MAX; }
uint64_t dp_host_memory_available(void) { return UINT32_MAX; }
uint64_t dp_host_memory_resident(void) { return dp_host_memory_peak(); }
uint64_t dp_host_memory_peak(void) {
    return (uint64_t)__builtin_wasm_memory_size(0) * 65536;
} /* memory never shrinks */

/* Nobody else writes here. */
dp_status dp_claim_take(const char *path, const char *output, dp_claim **out) {
    (void)path, (void)output;
    *out = NULL;
    return DP_OK;
}
void dp_claim_release(dp_claim *claim) { (void)claim; }

dp_status dp_library_open(const char *name, dp_library **out) {
    (void)out;
    return dp_fail(DP_E_UNSUPPORTED, "%s: no shared libraries in WebAssembly", name);
}
void *dp_library_symbol(dp_library *library, const char *name) {
    (void)library, (void)name;
    return NULL;
}
void dp_library_close(dp_library *library) { (void)library; }

dp_status dp_thread_start(void (*run)(void *), void *argument, dp_thread **out) {
    (void)run, (void)argument, (void)out;
    return dp_fail(DP_E_UNSUPPORTED, "no threads in WebAssembly");
}

void dp_thread_join(dp_thread *thread) { (void)thread; }
void dp_thread_yield(void) {}

/* With one thread a lock has nothing to hold: every mutex and condition is the same unused object. */
struct dp_mutex {
    char unused;
};
struct dp_cond {
    char unused;
};
static dp_mutex the_mutex;
static dp_cond the_cond;

dp_status dp_mutex_new(dp_mutex **out) {
    *out = &the_mutex;
    return DP_OK;
}
void dp_mutex_free(dp_mutex *mutex) { (void)mutex; }
void dp_mutex_lock(dp_mutex *mutex) { (void)mutex; }
void dp_mutex_unlock(dp_mutex *mutex) { (void)mutex; }

dp_status dp_cond_new(dp_cond **out) {
    *out = &the_cond;
    return DP_OK;
}
void dp_cond_free(dp_cond *cond) { (void)cond; }
void dp_cond_wait(dp_cond *cond, dp_mutex *mutex) { (void)cond, (void)mutex; }
void dp_cond_broadcast(dp_cond *cond) { (void)cond; }
