/* folder.c: test_folder() of test.h, which WebAssembly has no calls for. */
#define _XOPEN_SOURCE 700
#include "test.h"

#include <ftw.h>
#include <unistd.h>

static char folder[64];

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *ftw) {
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static void remove_folder(void) { nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS); }

const char *test_folder(void) {
    if (!folder[0]) {
        strcpy(folder, "/tmp/doppler-test-XXXXXX");
        if (!mkdtemp(folder)) abort();
        atexit(remove_folder);
    }
    return folder;
}
