/* host.h: everything the operating system does for DOPPLER. Two implementations, host_posix.c and host_wasm.c;
 * nothing outside this folder includes a POSIX header. Floor 1. */
#ifndef DP_HOST_H
#define DP_HOST_H

#include "base/base.h"
#include "base/buf.h"

/* ---- files ---- */

typedef struct dp_file dp_file;

dp_status dp_file_open(const char *path, dp_file **out); /* for reading; DP_E_NOT_FOUND or DP_E_IO name the path */
void dp_file_close(dp_file *file);
uint64_t dp_file_size(const dp_file *file);
const char *dp_file_path(const dp_file *file);
/* Exactly `size` bytes at `offset`; a short file is DP_E_FORMAT ("truncated"). Any thread. */
dp_status dp_file_read(dp_file *file, uint64_t offset, void *data, size_t size);
/* The same past the system's file cache where the host can, so that what is read does not stay in memory that nobody
 * asked for. offset and the address of data are multiples of DP_DIRECT; data has room for size rounded up to one. */
enum { DP_DIRECT = 4096 };
dp_status dp_file_read_direct(dp_file *file, uint64_t offset, void *data, size_t size);
/* Whole file (at most `limit` bytes, else DP_E_FORMAT); NUL-terminated; caller dp_free()s. */
dp_status dp_file_load(const char *path, size_t limit, char **data, size_t *size);

/* Maps pieces of files, in order, as one contiguous read-only range. offset and size of every piece but the last
 * size must be multiples of dp_host_page_size(), as RDRR guarantees on 4096-byte pages; *out points at the first byte
 * (an offset of the first piece that is no multiple is handled). DP_E_UNSUPPORTED where the host cannot map (wasm) or
 * alignment does not allow it: the caller reads instead. */
typedef struct dp_piece {
    dp_file *file;
    uint64_t offset, size;
} dp_piece;
typedef struct dp_mapping {
    const void *data;
    void *base; /* what was mapped, for dp_host_unmap */
    size_t base_size;
} dp_mapping;
dp_status dp_host_map(const dp_piece *pieces, size_t count, dp_mapping *out);
void dp_host_unmap(dp_mapping *mapping);
size_t dp_host_page_size(void);
/* Tells the system that a mapped range will be used soon, or not again (then its pages may be dropped). Hints only. */
typedef enum dp_advice { DP_ADVICE_WILL_NEED, DP_ADVICE_DONT_NEED, DP_ADVICE_SEQUENTIAL } dp_advice;
void dp_host_advise(const void *data, size_t size, dp_advice advice);

/* ---- writing: outputs appear whole or not at all ---- */

typedef struct dp_writer dp_writer;
/* Writes to a hidden temporary next to `path`; dp_writer_commit syncs and renames it to `path`,
 * dp_writer_abandon removes it. DP_E_DISK_FULL says how much was wanted. */
dp_status dp_writer_open(const char *path, dp_writer **out);
dp_status dp_writer_write(dp_writer *writer, const void *data, size_t size);
/* For writing out of order; any thread, ranges do not overlap. */
dp_status dp_writer_write_at(dp_writer *writer, uint64_t offset, const void *data, size_t size);
dp_status dp_writer_commit(dp_writer *writer); /* frees the writer on success and on failure */
void dp_writer_abandon(dp_writer *writer);

/* Keeps other programs, and other threads, from writing `output` at the same time: DP_E_ARG while one does. `path` is a
 * file that stands for it, made here and removed with the claim; its folder must exist. */
typedef struct dp_claim dp_claim;
dp_status dp_claim_take(const char *path, const char *output, dp_claim **out);
void dp_claim_release(dp_claim *claim);

/* ---- folders ---- */
typedef enum dp_path_kind {
    DP_PATH_NONE,
    DP_PATH_FILE,
    DP_PATH_FOLDER,
    DP_PATH_OTHER,
    DP_PATH_HIDDEN /* the system does not let us see whether there is something; opening it says why */
} dp_path_kind;
dp_path_kind dp_path_what(const char *path);
/* For a path that must be there: DP_E_NOT_FOUND, or DP_E_IO with the system's reason why it cannot be seen. */
dp_status dp_path_find(const char *path, dp_path_kind *kind);
dp_status dp_folder_make(const char *path); /* parents too; existing is fine */
/* Names (not paths) of the entries, sorted, newline-separated, appended to `names`; "." and ".." left out. */
dp_status dp_folder_list(const char *path, dp_buf *names);
/* Removes a folder and everything below it. A missing one is fine. */
dp_status dp_folder_remove(const char *path);
dp_status dp_path_rename(const char *from, const char *to);
dp_status dp_path_remove(const char *path);
/* Free bytes on the file system of `path` (or of its nearest existing parent), and how many it has if total is not NULL;
 * UINT64_MAX if not known. */
uint64_t dp_path_free_space(const char *path, uint64_t *total);
/* folder + "/" + name, no doubled slash; dp_free() it. NULL when memory is short. */
char *dp_path_join(const char *folder, const char *name);

/* ---- time, machine ---- */
double dp_host_seconds(void);   /* monotonic */
int64_t dp_host_unix_time(void); /* seconds since 1970 */
int dp_host_cpu_count(void);    /* cores this process may use (affinity and cgroup quota), at least 1 */
bool dp_host_permit_tiles(void); /* asks for the matrix registers of x86 (AMX), for all threads; false: none here */
uint64_t dp_host_memory_total(void);
uint64_t dp_host_memory_available(void); /* for programs to use now, by the system's estimate and control groups */
uint64_t dp_host_memory_resident(void);  /* of this process now; 0 if not known */
uint64_t dp_host_memory_peak(void);      /* peak resident bytes of this process; 0 if not known */

/* ---- shared libraries opened at run time; on wasm there are none ---- */
typedef struct dp_library dp_library;
/* name: a path, or a file name that the system searches for. DP_E_NOT_FOUND with the system's reason. */
dp_status dp_library_open(const char *name, dp_library **out);
void *dp_library_symbol(dp_library *library, const char *name); /* NULL if it has none of that name */
void dp_library_close(dp_library *library);

/* ---- threads. thread_start fails with DP_E_UNSUPPORTED where the system gives no more, as on wasm, where locks do nothing. ---- */
typedef struct dp_thread dp_thread;
typedef struct dp_mutex dp_mutex;
typedef struct dp_cond dp_cond;
dp_status dp_thread_start(void (*run)(void *), void *argument, dp_thread **out);
void dp_thread_join(dp_thread *thread); /* frees it */
void dp_thread_yield(void);
dp_status dp_mutex_new(dp_mutex **out);
void dp_mutex_free(dp_mutex *mutex);
void dp_mutex_lock(dp_mutex *mutex);
void dp_mutex_unlock(dp_mutex *mutex);
dp_status dp_cond_new(dp_cond **out);
void dp_cond_free(dp_cond *cond);
void dp_cond_wait(dp_cond *cond, dp_mutex *mutex);
void dp_cond_broadcast(dp_cond *cond);

#endif
