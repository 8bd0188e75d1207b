/* host_posix_tiles.c: Linux hands out AMX's tile registers, 8 KB of state per thread, on request only. */
#define _GNU_SOURCE
#include "host/host.h"

#if defined(__linux__) && defined(__x86_64__)

#include <sys/syscall.h>
#include <unistd.h>

bool dp_host_permit_tiles(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0;
}

#else

bool dp_host_permit_tiles(void) { return false; }

#endif
