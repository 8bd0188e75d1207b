/* host_posix_library.c: shared libraries opened at run time. A library stays in memory after it was closed: GPU drivers
 * leave threads and exit handlers behind that run its code. */
#include "host/host.h"

#include <dlfcn.h>

dp_status dp_library_open(const char *name, dp_library **out) {
    void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!handle) {
        const char *why = dlerror();
        return dp_fail(DP_E_NOT_FOUND, "%s", why ? why : name);
    }
    *out = (dp_library *)handle;
    return DP_OK;
}

void *dp_library_symbol(dp_library *library, const char *name) { return dlsym(library, name); }

void dp_library_close(dp_library *library) {
    if (library) dlclose(library);
}
