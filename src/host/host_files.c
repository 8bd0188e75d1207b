/* host_files.c: files, folders and paths. Uses only what POSIX and wasi-libc share, so that one implementation serves
 * every host; mapping, threads and the machine's facts stand in host_posix.c and host_wasm.c, writing in host_write.c.
 *
 * Invariant: a dp_file is a regular file whose size was taken when it was opened. If it shrinks later, reads fail with
 * DP_E_FORMAT. Limit: touching a mapped page behind the new end still raises SIGBUS; models must not be cut while open.
 */
#define _GNU_SOURCE
#define _DARWIN_C_SOURCE
#include "host/host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/host_fd.h"

/* One read or write system call moves at most this much: some systems refuse 2 GiB and more. */
enum { CALL_MAX = 1 << 30 };

/* A model of thousands of shards must not use up the process's descriptors: files beyond this many are opened again for
 * each access. */
enum { KEPT_OPEN_MAX = 256 };
static atomic_int kept_open;

struct dp_file {
    int fd; /* -1: opened again for each access */
    uint64_t size;
    dev_t device;
    ino_t inode;
    char *path;
};

/* ---- reading ---- */

static dp_status file_failed(const char *path, const char *verb) {
    int code = errno;
    if (code == ENOENT || code == ENOTDIR) return dp_fail(DP_E_NOT_FOUND, "%s: no such file", path);
    return dp_fail(DP_E_IO, "%s: cannot %s: %s", path, verb, strerror(code));
}

/* Opens a regular file and says what it is. Not blocking: opening a pipe must fail here, not wait for a writer. */
static dp_status open_regular(const char *path, int *fd, struct stat *st) {
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) return file_failed(path, "open");
    dp_status status = DP_OK;
    if (fstat(*fd, st) != 0)
        status = file_failed(path, "examine");
    else if (!S_ISREG(st->st_mode))
        status = dp_fail(DP_E_IO, "%s: expected a regular file, found %s", path,
                         S_ISDIR(st->st_mode) ? "a folder" : "a device or pipe");
    if (status != DP_OK) close(*fd);
    return status;
}

dp_status dp_file_open(const char *path, dp_file **out) {
    struct stat st;
    int fd;
    TRY(open_regular(path, &fd, &st));
    dp_file *file = dp_calloc(1, sizeof *file);
    size_t length = strlen(path) + 1;
    char *copy = file ? dp_malloc(length) : NULL;
    if (!copy) {
        dp_free(file);
        close(fd);
        return dp_no_memory(length);
    }
    memcpy(copy, path, length);
    if (atomic_fetch_add(&kept_open, 1) >= KEPT_OPEN_MAX) {
        atomic_fetch_sub(&kept_open, 1);
        close(fd);
        fd = -1;
    }
    *file = (dp_file){fd, (uint64_t)st.st_size, st.st_dev, st.st_ino, copy};
    *out = file;
    return DP_OK;
}

void dp_file_close(dp_file *file) {
    if (!file) return;
    if (file->fd >= 0) {
        close(file->fd);
        atomic_fetch_sub(&kept_open, 1);
    }
    dp_free(file->path);
    dp_free(file);
}

uint64_t dp_file_size(const dp_file *file) { return file->size; }
const char *dp_file_path(const dp_file *file) { return file->path; }

dp_status dp_file_borrow(const dp_file *file, int *fd) {
    struct stat st;
    if (file->fd >= 0) return *fd = file->fd, DP_OK;
    TRY(open_regular(file->path, fd, &st));
    if (st.st_dev == file->device && st.st_ino == file->inode) return DP_OK;
    close(*fd);
    return dp_fail(DP_E_IO, "%s: was replaced by another file while the model is open; open the model again",
                   file->path);
}

void dp_file_return(const dp_file *file, int fd) {
    if (file->fd < 0) close(fd);
}

static dp_status read_fd(const dp_file *file, int fd, uint64_t offset, char *to, size_t size) {
    while (size) {
        ssize_t n = pread(fd, to, DP_MIN(size, (size_t)CALL_MAX), (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return dp_fail(DP_E_IO, "%s: cannot read: %s", file->path, strerror(errno));
        if (n == 0)
            return dp_fail(DP_E_FORMAT, "%s: truncated: it shrank while open and ends before offset %llu", file->path,
                           (unsigned long long)offset + size);
        to += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return DP_OK;
}

dp_status dp_file_read(dp_file *file, uint64_t offset, void *data, size_t size) {
    int fd;
    if (offset > file->size || size > file->size - offset)
        return dp_fail(DP_E_FORMAT, "%s: truncated: wanted %zu bytes at offset %llu, the file has %llu", file->path,
                       size, (unsigned long long)offset, (unsigned long long)file->size);
    TRY(dp_file_borrow(file, &fd));
    dp_status status = read_fd(file, fd, offset, data, size);
    dp_file_return(file, fd);
    return status;
}

static dp_status load_open(dp_file *file, size_t limit, char **data, size_t *size) {
    if (file->size > limit)
        return dp_fail(DP_E_FORMAT, "%s: expected at most %zu bytes, found %llu", file->path, limit,
                       (unsigned long long)file->size);
    size_t bytes = (size_t)file->size;
    char *text = bytes < SIZE_MAX ? dp_malloc(bytes + 1) : NULL;
    if (!text) return dp_no_memory(bytes);
    dp_status status = dp_file_read(file, 0, text, bytes);
    if (status != DP_OK) {
        dp_free(text);
        return status;
    }
    text[bytes] = 0;
    *data = text;
    if (size) *size = bytes;
    return DP_OK;
}

dp_status dp_file_load(const char *path, size_t limit, char **data, size_t *size) {
    dp_file *file;
    TRY(dp_file_open(path, &file));
    dp_status status = load_open(file, limit, data, size);
    dp_file_close(file);
    return status;
}

/* ---- folders and paths ---- */

dp_path_kind dp_path_what(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) { /* no file has a name that is too long: a prompt, say */
        bool none = errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG;
        return none ? DP_PATH_NONE : DP_PATH_HIDDEN;
    }
    return S_ISREG(st.st_mode) ? DP_PATH_FILE : S_ISDIR(st.st_mode) ? DP_PATH_FOLDER : DP_PATH_OTHER;
}

dp_status dp_path_find(const char *path, dp_path_kind *kind) {
    if (!*path) return dp_fail(DP_E_NOT_FOUND, "a file or folder with an empty name was asked for");
    dp_path_kind found = dp_path_what(path);
    if (found == DP_PATH_NONE) return dp_fail(DP_E_NOT_FOUND, "%s: no such file or folder", path);
    if (found == DP_PATH_HIDDEN) return dp_fail(DP_E_IO, "%s: cannot examine it: %s", path, strerror(errno));
    if (kind) *kind = found;
    return DP_OK;
}

static dp_status make_one(const char *path) {
    if (mkdir(path, 0777) == 0) return DP_OK;
    int code = errno;
    if (dp_path_what(path) == DP_PATH_FOLDER) return DP_OK;
    if (code == ENOSPC) return dp_fail(DP_E_DISK_FULL, "%s: cannot make the folder: the disk is full", path);
    return dp_fail(DP_E_IO, "%s: cannot make the folder: %s", path, strerror(code));
}

dp_status dp_folder_make(const char *path) {
    size_t length = strlen(path) + 1;
    char *prefix = dp_malloc(length);
    if (!prefix) return dp_no_memory(length);
    memcpy(prefix, path, length);
    dp_status status = DP_OK;
    for (size_t i = 1; status == DP_OK && i + 1 < length; i++) {
        if (prefix[i] != '/' || prefix[i - 1] == '/') continue;
        prefix[i] = 0;
        status = make_one(prefix);
        prefix[i] = '/';
    }
    if (status == DP_OK) status = make_one(prefix);
    dp_free(prefix);
    return status;
}

typedef struct name_list {
    char **names;
    size_t count, capacity;
} name_list;

static void names_free(name_list *list) {
    for (size_t i = 0; i < list->count; i++) dp_free(list->names[i]);
    dp_free(list->names);
}

static dp_status names_add(name_list *list, const char *name) {
    size_t length = strlen(name) + 1;
    if (!dp_grow((void **)&list->names, &list->capacity, list->count + 1, sizeof *list->names))
        return dp_no_memory(length);
    char *copy = dp_malloc(length);
    if (!copy) return dp_no_memory(length);
    memcpy(copy, name, length);
    list->names[list->count++] = copy;
    return DP_OK;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static dp_status names_of(const char *path, name_list *list) {
    DIR *folder = opendir(path);
    if (!folder) return file_failed(path, "list the folder");
    dp_status status = DP_OK;
    for (const struct dirent *entry; status == DP_OK && (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            status = names_add(list, entry->d_name);
    closedir(folder);
    if (list->count) qsort(list->names, list->count, sizeof *list->names, by_name);
    return status;
}

dp_status dp_folder_list(const char *path, dp_buf *names) {
    name_list list = {0};
    dp_status status = names_of(path, &list);
    for (size_t i = 0; status == DP_OK && i < list.count; i++) {
        if (strchr(list.names[i], '\n')) continue; /* would read as two names */
        dp_buf_str(names, list.names[i]);
        dp_buf_char(names, '\n');
    }
    names_free(&list);
    return status == DP_OK && names->failed ? dp_no_memory(names->capacity) : status;
}

enum { FOLDER_DEPTH_MAX = 64 };

static dp_status remove_tree(const char *path, int depth) {
    struct stat st;
    if (lstat(path, &st) != 0) return errno == ENOENT ? DP_OK : file_failed(path, "examine");
    if (!S_ISDIR(st.st_mode)) return dp_path_remove(path); /* links are removed, never followed */
    if (depth == FOLDER_DEPTH_MAX)
        return dp_fail(DP_E_IO, "%s: cannot remove: nested deeper than %d folders", path, depth);
    name_list list = {0};
    dp_status status = names_of(path, &list);
    for (size_t i = 0; status == DP_OK && i < list.count; i++) {
        char *below = dp_path_join(path, list.names[i]);
        status = below ? remove_tree(below, depth + 1) : dp_no_memory(strlen(path));
        dp_free(below);
    }
    names_free(&list);
    if (status == DP_OK && rmdir(path) != 0) status = file_failed(path, "remove the folder");
    return status;
}

dp_status dp_folder_remove(const char *path) { return remove_tree(path, 0); }

dp_status dp_path_rename(const char *from, const char *to) {
    if (rename(from, to) == 0) return DP_OK;
    int code = errno;
    return dp_fail(code == ENOENT ? DP_E_NOT_FOUND : DP_E_IO, "%s: cannot rename to %s: %s", from, to, strerror(code));
}

dp_status dp_path_remove(const char *path) { return unlink(path) == 0 ? DP_OK : file_failed(path, "remove"); }

char *dp_path_join(const char *folder, const char *name) {
    size_t n = strlen(folder), m = strlen(name);
    bool slash = n && folder[n - 1] != '/';
    char *path = dp_malloc(n + slash + m + 1);
    if (!path) return NULL;
    memcpy(path, folder, n);
    if (slash) path[n] = '/';
    memcpy(path + n + slash, name, m + 1);
    return path;
}
