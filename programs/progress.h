/* progress.h: one line on stderr that shows how far long work has come. Silent unless stderr is a terminal. */
#ifndef TOOL_PROGRESS_H
#define TOOL_PROGRESS_H

#include "base/base.h"

typedef struct progress {
    const char *unit;   /* NULL: bytes; else e.g. "tokens" */
    uint64_t total;     /* of the phase being shown */
    uint64_t first;     /* done when the phase was first seen */
    double start, last; /* seconds */
    bool shown;
} progress;

/* A dp_progress_fn; user is a progress. False once the user has interrupted. */
bool progress_update(void *user, const char *what, uint64_t done, uint64_t total);
/* Removes the line. */
void progress_end(progress *p);

#endif
