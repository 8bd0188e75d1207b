/* host_posix.c: what Linux and macOS add to host_files.c and host_write.c: mapped files, free space, the machine's
 * facts and threads. */
#define _GNU_SOURCE
#define _DARWIN_C_SOURCE
#include "host/host.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

#include "host/host_fd.h"

/* ---- mapping ---- */

size_t dp_host_page_size(void) {
    long size = sysconf(_SC_PAGESIZE);
    return size > 0 ? (size_t)size : 4096;
}

static dp_status check_length(const dp_piece *p, uint64_t length) {
    if (p->offset <= length && p->size <= length - p->offset) return DP_OK;
    return dp_fail(DP_E_FORMAT, "%s: truncated: cannot map %llu bytes at offset %llu, the file has %llu",
                   dp_file_path(p->file), (unsigned long long)p->size, (unsigned long long)p->offset,
                   (unsigned long long)length);
}

/* Checks that a piece still lies within its file, and that it can stand beside the others. */
static dp_status check_piece(const dp_piece *p, int fd, bool first, bool last) {
    size_t page = dp_host_page_size();
    struct stat st;
    TRY(check_length(p, fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0));
    bool start_fits = first || p->offset % page == 0;
    bool end_fits = last || (p->offset + p->size) % page == 0;
    if (start_fits && end_fits && p->size > 0) return DP_OK;
    return dp_fail(DP_E_UNSUPPORTED,
                   "%s: cannot map %llu bytes at offset %llu beside other pieces: no multiple of the %zu-byte page",
                   dp_file_path(p->file), (unsigned long long)p->size, (unsigned long long)p->offset, page);
}

/* Adds up the pieces' bytes, the first one's from its page boundary on. */
static dp_status measure(const dp_piece *pieces, size_t count, size_t *total) {
    size_t page = dp_host_page_size(), sum = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t lead = i == 0 ? pieces[i].offset % page : 0;
        TRY(check_length(&pieces[i], dp_file_size(pieces[i].file)));
        if (!pieces[i].size) return dp_fail(DP_E_UNSUPPORTED, "%s: no bytes to map", dp_file_path(pieces[i].file));
        if (pieces[i].size > SIZE_MAX - page - sum - lead)
            return dp_fail(DP_E_UNSUPPORTED, "cannot map: larger than the address space");
        sum += (size_t)(pieces[i].size + lead);
    }
    *total = sum;
    return DP_OK;
}

/* Maps the bytes of a piece, `lead` bytes more in front, over the reservation at `at`. */
static dp_status map_piece(const dp_piece *p, unsigned char *at, size_t lead, bool first, bool last) {
    int fd;
    TRY(dp_file_borrow(p->file, &fd));
    dp_status status = check_piece(p, fd, first, last);
    if (status == DP_OK && mmap(at, (size_t)p->size + lead, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd,
                                (off_t)(p->offset - lead)) == MAP_FAILED)
        status = dp_fail(DP_E_UNSUPPORTED, "%s: cannot map: %s", dp_file_path(p->file), strerror(errno));
    dp_file_return(p->file, fd);
    return status;
}

dp_status dp_host_map(const dp_piece *pieces, size_t count, dp_mapping *out) {
    if (!count) return dp_fail(DP_E_ARG, "dp_host_map: no pieces");
    size_t total = 0, page = dp_host_page_size(), head = (size_t)(pieces[0].offset % page);
    TRY(measure(pieces, count, &total));
    /* One reservation keeps the range contiguous; the pieces then replace it from front to back. */
    unsigned char *base = mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return dp_fail(DP_E_MEMORY, "cannot reserve %zu bytes of addresses: %s", total, strerror(errno));
    unsigned char *at = base;
    for (size_t i = 0; i < count; i++) {
        size_t lead = i == 0 ? head : 0;
        dp_status status = map_piece(&pieces[i], at, lead, i == 0, i + 1 == count);
        if (status != DP_OK) {
            munmap(base, total);
            return status;
        }
        at += (size_t)pieces[i].size + lead;
    }
    *out = (dp_mapping){base + head, base, total};
    return DP_OK;
}

void dp_host_unmap(dp_mapping *mapping) {
    if (mapping->base) munmap(mapping->base, mapping->base_size);
    *mapping = (dp_mapping){0};
}

/* Only for ranges inside a mapping: Linux would zero dropped pages of ordinary memory. */
void dp_host_advise(const void *data, size_t size, dp_advice advice) {
    uintptr_t page = dp_host_page_size(), start = (uintptr_t)data, end = start + size;
    /* Pages shared with neighbours may be fetched for nothing but must not be dropped. */
    if (advice == DP_ADVICE_DONT_NEED)
        start = (start + page - 1) / page * page, end = end / page * page;
    else
        start = start / page * page;
    if (start >= end) return;
    int hint = advice == DP_ADVICE_WILL_NEED    ? MADV_WILLNEED
               : advice == DP_ADVICE_SEQUENTIAL ? MADV_SEQUENTIAL
                                                : MADV_DONTNEED;
    (void)madvise((void *)start, (size_t)(end - start), hint);
}

/* ---- reading past the file cache ---- */

/* A second descriptor of the file at `fd` whose reads go to the disk; -1 where the system or its disk has no such. */
static int open_direct(int fd) {
#if defined(__linux__) && defined(O_DIRECT)
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
#else
    return (void)fd, -1;
#endif
}

/* How much of the range whole direct reads delivered; the rest is for dp_file_read, which also finds the words for
 * errors. The last read asks for whole sectors and may end with the file. */
static size_t read_direct(int fd, uint64_t offset, char *to, size_t size) {
    enum { CALL_MAX = 1 << 30 };
    size_t done = 0, whole = (size + DP_DIRECT - 1) / DP_DIRECT * DP_DIRECT;
    while (done < size) {
        ssize_t n = pread(fd, to + done, DP_MIN(whole - done, (size_t)CALL_MAX), (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        done += (size_t)n;
        if (done % DP_DIRECT) break;
    }
    return DP_MIN(done, size);
}

dp_status dp_file_read_direct(dp_file *file, uint64_t offset, void *data, size_t size) {
    int fd;
    TRY(dp_file_borrow(file, &fd));
    int direct = open_direct(fd);
    size_t done = direct >= 0 ? read_direct(direct, offset, data, size) : 0;
    if (direct >= 0) close(direct);
    dp_status status = DP_OK;
    if (done < size) {
        status = dp_file_read(file, offset + done, (char *)data + done, size - done);
#ifdef POSIX_FADV_DONTNEED
        (void)posix_fadvise(fd, (off_t)(offset + done), (off_t)(size - done), POSIX_FADV_DONTNEED);
#endif
    }
    dp_file_return(file, fd);
    return status;
}

/* ---- disk ---- */

uint64_t dp_path_free_space(const char *path, uint64_t *total) {
    size_t length = strlen(path);
    char *prefix = dp_malloc(length + 2);
    if (total) *total = UINT64_MAX;
    if (!prefix) return UINT64_MAX;
    memcpy(prefix, path, length + 1);
    struct statvfs fs;
    uint64_t bytes = UINT64_MAX;
    for (;;) {
        if (statvfs(length ? prefix : ".", &fs) == 0) {
            bytes = (uint64_t)fs.f_bavail * (uint64_t)fs.f_frsize;
            if (total) *total = (uint64_t)fs.f_blocks * (uint64_t)fs.f_frsize;
            break;
        }
        if (length <= 1) break;
        while (length && prefix[length - 1] != '/') length--;
        while (length > 1 && prefix[length - 1] == '/') length--;
        prefix[length] = 0;
    }
    dp_free(prefix);
    return bytes;
}

/* ---- time ---- */

double dp_host_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int64_t dp_host_unix_time(void) { return (int64_t)time(NULL); }

/* ---- machine ---- */

#ifdef __linux__

/* Start of a small system file as text; false if it is not there. */
static bool read_small(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n = read(fd, text, size - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    return n > 0;
}

/* The process's control group (version 2) below /sys/fs/cgroup, "" for the root. */
static void cgroup_folder(char *folder, size_t size) {
    char text[1024];
    folder[0] = 0;
    if (!read_small("/proc/self/cgroup", text, sizeof text)) return;
    const char *line = strncmp(text, "0::/", 4) == 0 ? text : strstr(text, "\n0::/");
    if (!line) return;
    line = strchr(line, '/');
    snprintf(folder, size, "%.*s", (int)strcspn(line, "\n"), line);
    if (strcmp(folder, "/") == 0) folder[0] = 0;
}

/* Version 1 has a tree of groups for each resource. */
static void memory_group_folder(char *folder, size_t size) {
    char text[1024];
    folder[0] = 0;
    const char *line = read_small("/proc/self/cgroup", text, sizeof text) ? strstr(text, ":memory:/") : NULL;
    if (line) snprintf(folder, size, "%.*s", (int)strcspn(line + 8, "\n"), line + 8);
}

/* Calls limit(text) for a file of the control group and of each of its parents; the smallest answer counts. */
static uint64_t cgroup_smallest(const char *file, uint64_t (*limit)(const char *text)) {
    char folder[512], path[640], text[128];
    uint64_t smallest = UINT64_MAX;
    cgroup_folder(folder, sizeof folder);
    for (;;) {
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/%s", folder, file);
        if (read_small(path, text, sizeof text)) smallest = DP_MIN(smallest, limit(text));
        char *slash = strrchr(folder, '/');
        if (!slash) return smallest;
        *slash = 0;
    }
}

/* "max 100000" or "150000 100000": microseconds of CPU per period; a started core counts. */
static uint64_t quota_cores(const char *text) {
    char *end;
    unsigned long long quota = strtoull(text, &end, 10);
    unsigned long long period = end == text ? 0 : strtoull(end, NULL, 10);
    return period && quota ? (quota + period - 1) / period : UINT64_MAX;
}

static uint64_t byte_limit(const char *text) {
    char *end;
    unsigned long long bytes = strtoull(text, &end, 10);
    return end == text ? UINT64_MAX : bytes;
}

static uint64_t version1_cores(void) {
    char quota[32], period[32], both[80];
    if (!read_small("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota, sizeof quota) || quota[0] == '-' ||
        !read_small("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period, sizeof period))
        return UINT64_MAX;
    snprintf(both, sizeof both, "%s %s", quota, period);
    return quota_cores(both);
}

int dp_host_cpu_count(void) {
    cpu_set_t set;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t count = online > 0 ? (uint64_t)online : 1;
    if (sched_getaffinity(0, sizeof set, &set) == 0) count = (uint64_t)CPU_COUNT(&set);
    count = DP_MIN(count, cgroup_smallest("cpu.max", quota_cores));
    count = DP_MIN(count, version1_cores());
    return count ? (int)count : 1;
}

uint64_t dp_host_memory_total(void) {
    long pages = sysconf(_SC_PHYS_PAGES);
    uint64_t bytes = pages > 0 ? (uint64_t)pages * dp_host_page_size() : UINT64_MAX;
    bytes = DP_MIN(bytes, cgroup_smallest("memory.max", byte_limit));
    char folder[512], path[640], text[64];
    if (read_small("/sys/fs/cgroup/memory/memory.limit_in_bytes", text, sizeof text))
        bytes = DP_MIN(bytes, byte_limit(text));
    memory_group_folder(folder, sizeof folder);
    snprintf(path, sizeof path, "/sys/fs/cgroup/memory%s/memory.limit_in_bytes", folder);
    return read_small(path, text, sizeof text) ? DP_MIN(bytes, byte_limit(text)) : bytes;
}

/* The number behind `key` in the file. */
static uint64_t number_at(const char *path, const char *key, uint64_t otherwise) {
    char text[4096];
    const char *line = read_small(path, text, sizeof text) ? strstr(text, key) : NULL;
    return line ? strtoull(line + strlen(key), NULL, 10) : otherwise;
}

/* The same in a table of "key: 123 kB", in bytes. */
static uint64_t kilobytes_at(const char *path, const char *key, uint64_t otherwise) {
    uint64_t number = number_at(path, key, UINT64_MAX);
    return number == UINT64_MAX ? otherwise : number * 1024;
}

/* The names of a control group's files: its limit, what its processes hold, the line of memory.stat that counts file cache
 * which the system can drop. */
typedef struct group_files {
    const char *limit, *usage, *cache;
} group_files;

/* What the processes of the group at `folder` may still take. */
static uint64_t group_left(const char *folder, const group_files *names) {
    char path[704], text[64];
    snprintf(path, sizeof path, "%s/%s", folder, names->limit);
    uint64_t limit = read_small(path, text, sizeof text) ? byte_limit(text) : UINT64_MAX;
    snprintf(path, sizeof path, "%s/%s", folder, names->usage);
    if (limit == UINT64_MAX || !read_small(path, text, sizeof text)) return limit;
    uint64_t used = byte_limit(text);
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    uint64_t cache = number_at(path, names->cache, 0);
    used -= DP_MIN(used, cache);
    return limit - DP_MIN(limit, used);
}

/* Of the process's groups, from its own to the root of both versions' trees, the least. */
static uint64_t groups_left(void) {
    static const group_files version1 = {"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "};
    static const group_files version2 = {"memory.max", "memory.current", "\ninactive_file "};
    char folder[512], path[640];
    memory_group_folder(folder, sizeof folder);
    snprintf(path, sizeof path, "/sys/fs/cgroup/memory%s", folder);
    uint64_t left = DP_MIN(group_left("/sys/fs/cgroup/memory", &version1), group_left(path, &version1));
    cgroup_folder(folder, sizeof folder);
    for (;;) {
        snprintf(path, sizeof path, "/sys/fs/cgroup%s", folder);
        left = DP_MIN(left, group_left(path, &version2));
        char *slash = strrchr(folder, '/');
        if (!slash) return left;
        *slash = 0;
    }
}

uint64_t dp_host_memory_available(void) {
    uint64_t free_now = kilobytes_at("/proc/meminfo", "MemAvailable:", UINT64_MAX);
    return DP_MIN(DP_MIN(free_now, groups_left()), dp_host_memory_total());
}

uint64_t dp_host_memory_resident(void) { return kilobytes_at("/proc/self/status", "VmRSS:", 0); }

uint64_t dp_host_memory_peak(void) {
    /* Not getrusage: its figure survives exec and so may be the parent's. */
    uint64_t peak = kilobytes_at("/proc/self/status", "VmHWM:", 0);
    struct rusage usage;
    if (peak) return peak;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss * 1024 : 0;
}

#else

int dp_host_cpu_count(void) {
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

uint64_t dp_host_memory_total(void) {
    uint64_t bytes = 0;
    size_t size = sizeof bytes;
    return sysctlbyname("hw.memsize", &bytes, &size, NULL, 0) == 0 ? bytes : UINT64_MAX;
}

uint64_t dp_host_memory_available(void) { return dp_host_memory_total(); }
uint64_t dp_host_memory_resident(void) { return 0; }

uint64_t dp_host_memory_peak(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss : 0; /* bytes here, KiB on Linux */
}

#endif

/* ---- threads ---- */

enum { STACK_BYTES = 4 << 20 }; /* macOS would give 512 KiB */

struct dp_thread {
    pthread_t id;
    void (*run)(void *);
    void *argument;
};
struct dp_mutex {
    pthread_mutex_t mutex;
};
struct dp_cond {
    pthread_cond_t cond;
};

static void *thread_main(void *user) {
    dp_thread *thread = user;
    thread->run(thread->argument);
    return NULL;
}

dp_status dp_thread_start(void (*run)(void *), void *argument, dp_thread **out) {
    dp_thread *thread = dp_calloc(1, sizeof *thread);
    if (!thread) return dp_no_memory(sizeof *thread);
    thread->run = run;
    thread->argument = argument;
    pthread_attr_t attributes;
    int code = pthread_attr_init(&attributes);
    if (code == 0) {
        pthread_attr_setstacksize(&attributes, STACK_BYTES);
        code = pthread_create(&thread->id, &attributes, thread_main, thread);
        pthread_attr_destroy(&attributes);
    }
    if (code != 0) {
        dp_free(thread);
        return dp_fail(code == EAGAIN ? DP_E_UNSUPPORTED : DP_E_MEMORY, "cannot start a thread: %s", strerror(code));
    }
    *out = thread;
    return DP_OK;
}

void dp_thread_join(dp_thread *thread) {
    if (!thread) return;
    pthread_join(thread->id, NULL);
    dp_free(thread);
}

void dp_thread_yield(void) { sched_yield(); }

dp_status dp_mutex_new(dp_mutex **out) {
    dp_mutex *mutex = dp_malloc(sizeof *mutex);
    if (!mutex || pthread_mutex_init(&mutex->mutex, NULL) != 0) {
        dp_free(mutex);
        return dp_no_memory(sizeof *mutex);
    }
    *out = mutex;
    return DP_OK;
}

void dp_mutex_free(dp_mutex *mutex) {
    if (!mutex) return;
    pthread_mutex_destroy(&mutex->mutex);
    dp_free(mutex);
}

void dp_mutex_lock(dp_mutex *mutex) { pthread_mutex_lock(&mutex->mutex); }
void dp_mutex_unlock(dp_mutex *mutex) { pthread_mutex_unlock(&mutex->mutex); }

dp_status dp_cond_new(dp_cond **out) {
    dp_cond *cond = dp_malloc(sizeof *cond);
    if (!cond || pthread_cond_init(&cond->cond, NULL) != 0) {
        dp_free(cond);
        return dp_no_memory(sizeof *cond);
    }
    *out = cond;
    return DP_OK;
}

void dp_cond_free(dp_cond *cond) {
    if (!cond) return;
    pthread_cond_destroy(&cond->cond);
    dp_free(cond);
}

void dp_cond_wait(dp_cond *cond, dp_mutex *mutex) { pthread_cond_wait(&cond->cond, &mutex->mutex); }
void dp_cond_broadcast(dp_cond *cond) { pthread_cond_broadcast(&cond->cond); }
