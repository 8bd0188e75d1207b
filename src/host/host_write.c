/* host_write.c: output files that appear whole or not at all. Bytes go to a hidden temporary in the target's folder;
 * commit syncs it and renames it over the target, so that a killed process leaves at most the temporary. POSIX and
 * wasi-libc share this file. */
#define _GNU_SOURCE
#define _DARWIN_C_SOURCE
#include "host/host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CALL_MAX = 1 << 30, NAME_TRIES = 100 };

struct dp_writer {
    int fd;
    uint64_t position; /* where dp_writer_write continues */
    char *path, *temporary;
};

static void writer_free(dp_writer *writer) {
    dp_free(writer->path);
    dp_free(writer->temporary);
    dp_free(writer);
}

/* "folder/.name.<number>.tmp" for "folder/name". */
static void name_temporary(const char *path, unsigned number, char *out, size_t size) {
    const char *slash = strrchr(path, '/');
    int folder = slash ? (int)(slash + 1 - path) : 0;
    snprintf(out, size, "%.*s.%s.%08x.tmp", folder, path, path + folder, number);
}

static dp_status open_temporary(dp_writer *writer, size_t room) {
    static atomic_uint counter;
    for (int i = 0; i < NAME_TRIES; i++) {
        unsigned number =
            (unsigned)dp_host_unix_time() * 4096u + (unsigned)(uint64_t)(dp_host_seconds() * 1e6) + atomic_fetch_add(&counter, 1);
        name_temporary(writer->path, number, writer->temporary, room);
        writer->fd = open(writer->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (writer->fd >= 0) return DP_OK;
        if (errno != EEXIST) break;
    }
    int code = errno;
    dp_status status = code == ENOENT ? DP_E_NOT_FOUND : code == ENOSPC || code == EDQUOT ? DP_E_DISK_FULL : DP_E_IO;
    return dp_fail(status, "%s: cannot create: %s", writer->path, strerror(code));
}

dp_status dp_writer_open(const char *path, dp_writer **out) {
    size_t length = strlen(path) + 1, room = length + sizeof "..00000000.tmp";
    if (!*path || dp_path_what(path) == DP_PATH_FOLDER)
        return dp_fail(DP_E_ARG, "%s%s, expected the name of a file", path, *path ? ": is a folder" : "an empty name");
    dp_writer *writer = dp_calloc(1, sizeof *writer);
    if (!writer) return dp_no_memory(sizeof *writer);
    writer->path = dp_malloc(length);
    writer->temporary = dp_malloc(room);
    dp_status status = writer->path && writer->temporary ? DP_OK : dp_no_memory(room);
    if (status == DP_OK) {
        memcpy(writer->path, path, length);
        status = open_temporary(writer, room);
    }
    if (status != DP_OK) {
        writer_free(writer);
        return status;
    }
    *out = writer;
    return DP_OK;
}

static dp_status write_failed(const dp_writer *writer, int code, uint64_t offset, size_t wanted) {
    if (code == ENOSPC || code == EDQUOT)
        return dp_fail(
            DP_E_DISK_FULL, "%s: the disk is full: wanted to write %zu bytes at offset %llu, %llu bytes are free",
            writer->path, wanted, (unsigned long long)offset, (unsigned long long)dp_path_free_space(writer->path, NULL));
    return dp_fail(DP_E_IO, "%s: cannot write: %s", writer->path, strerror(code));
}

dp_status dp_writer_write_at(dp_writer *writer, uint64_t offset, const void *data, size_t size) {
    if (offset > INT64_MAX - (uint64_t)size) return dp_fail(DP_E_ARG, "%s: offset beyond 2^63", writer->path);
    const char *from = data;
    while (size) {
        ssize_t n = pwrite(writer->fd, from, DP_MIN(size, (size_t)CALL_MAX), (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return write_failed(writer, n < 0 ? errno : ENOSPC, offset, size);
        from += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return DP_OK;
}

dp_status dp_writer_write(dp_writer *writer, const void *data, size_t size) {
    TRY(dp_writer_write_at(writer, writer->position, data, size));
    writer->position += size;
    return DP_OK;
}

/* The rename itself must survive a power cut too. Best effort: not every file system can sync a folder. */
static void sync_folder(char *path) {
    char *slash = strrchr(path, '/');
    if (slash) slash[slash == path] = 0;
    int fd = open(slash ? path : ".", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    (void)fsync(fd);
    close(fd);
}

dp_status dp_writer_commit(dp_writer *writer) {
    dp_status status = DP_OK;
    /* Delayed allocation reports a full disk only here. */
    if (fsync(writer->fd) != 0 && errno != EINVAL && errno != ENOTSUP)
        status = write_failed(writer, errno, 0, (size_t)writer->position);
    if (close(writer->fd) != 0 && errno != EINTR && status == DP_OK)
        status = write_failed(writer, errno, 0, (size_t)writer->position);
    if (status == DP_OK) status = dp_path_rename(writer->temporary, writer->path);
    if (status == DP_OK)
        sync_folder(writer->path);
    else
        unlink(writer->temporary);
    writer_free(writer);
    return status;
}

void dp_writer_abandon(dp_writer *writer) {
    if (!writer) return;
    close(writer->fd);
    unlink(writer->temporary);
    writer_free(writer);
}
