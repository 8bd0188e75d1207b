/* host_posix_claim.c: places that one program at a time may write. The lock belongs to an open file, so that it ends with
 * its program however that ends; only the empty file may stay, for the next one to take. */
#define _GNU_SOURCE
#define _DARWIN_C_SOURCE
#include "host/host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRIES = 100 };

struct dp_claim {
    int fd;
    char *path;
};

/* Who held the claim before may have removed the file between our opening and locking it. */
static bool is_still_there(int fd, const char *path) {
    struct stat ours, named;
    return fstat(fd, &ours) == 0 && stat(path, &named) == 0 && ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
}

static dp_status lock(const char *path, const char *output, int *out) {
    for (int i = 0; i < TRIES; i++) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (fd < 0) {
            int code = errno;
            dp_status status = code == ENOSPC || code == EDQUOT ? DP_E_DISK_FULL : DP_E_IO;
            return dp_fail(status, "%s: cannot be written: %s", output, strerror(code));
        }
        bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
        if (!locked && errno == EWOULDBLOCK) {
            close(fd);
            return dp_fail(DP_E_ARG, "%s: another program is writing it now; wait for it, or choose another output", output);
        }
        /* Not every file system has locks: then nobody is kept out. */
        if (!locked || is_still_there(fd, path)) return *out = fd, DP_OK;
        close(fd);
    }
    return dp_fail(DP_E_IO, "%s: cannot be written: %s comes and goes", output, path);
}

dp_status dp_claim_take(const char *path, const char *output, dp_claim **out) {
    size_t length = strlen(path) + 1;
    dp_claim *claim = dp_calloc(1, sizeof *claim);
    char *copy = claim ? dp_malloc(length) : NULL;
    dp_status status = copy ? lock(path, output, &claim->fd) : dp_no_memory(length);
    if (status != DP_OK) {
        dp_free(copy);
        dp_free(claim);
        return status;
    }
    memcpy(copy, path, length);
    claim->path = copy;
    *out = claim;
    return DP_OK;
}

void dp_claim_release(dp_claim *claim) {
    if (!claim) return;
    unlink(claim->path); /* before the lock ends: whoever waits for it sees that the file is gone */
    close(claim->fd);
    dp_free(claim->path);
    dp_free(claim);
}
