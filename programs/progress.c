/* progress.c: see progress.h. */
#include "progress.h"

#include <stdio.h>

#include "host/host.h"
#include "tool.h"

static const double REDRAW_SECONDS = 0.1, FIRST_SECONDS = 0.3; /* what ends before that shows nothing */

static const char *amount(const progress *p, double value) { return p->unit ? show_count(value) : show_bytes(value); }

/* "  1.2 GB of 3.4 GB, 350 MB/s, 0:12 left" */
static int describe(const progress *p, uint64_t done, double now, char *text, size_t size) {
    double seconds = now - p->start, rate = seconds > 0.3 ? (double)(done - p->first) / seconds : 0;
    int n = snprintf(text, size, "  %s of %s%s%s", amount(p, (double)done), amount(p, (double)p->total),
                     p->unit ? " " : "", p->unit ? p->unit : "");
    if (rate > 0 && n > 0 && (size_t)n < size)
        n += snprintf(text + n, size - (size_t)n, ", %s/s, %s left", amount(p, rate),
                      show_duration((double)(p->total - done) / rate));
    return n;
}

static void draw(const progress *p, const char *what, uint64_t done, double now) {
    char numbers[160], bar[64];
    int tail = describe(p, done, now, numbers, sizeof numbers), room = terminal_width() - 4; /* "^C" may follow */
    int name = DP_MIN((int)strlen(what), DP_MAX(room - tail - 18, 8));
    int cells = DP_MIN(room - tail - name - 8, 40);
    int full = p->total ? (int)((double)done / (double)p->total * cells) : 0;
    if (cells < 4) cells = full = 0;
    memset(bar, '#', (size_t)full);
    memset(bar + full, '.', (size_t)(cells - full));
    bar[cells] = 0;
    fprintf(stderr, "\r\033[K%.*s %s%s%s %3.0f %%%s", name, what, cells ? "[" : "", bar, cells ? "]" : "",
            p->total ? 100.0 * (double)done / (double)p->total : 0.0, tail + name < room ? numbers : "");
    fflush(stderr);
}

bool progress_update(void *user, const char *what, uint64_t done, uint64_t total) {
    progress *p = user;
    if (interrupted()) return false;
    if (set.quiet || !stderr_is_terminal()) return true;
    double now = dp_host_seconds();
    if (total != p->total || done < p->first || p->start == 0) {
        p->total = total;
        p->first = done;
        p->start = now;
    }
    if (now - p->last < REDRAW_SECONDS || (!p->shown && now - p->start < FIRST_SECONDS)) return true;
    p->last = now;
    p->shown = true;
    draw(p, what, DP_MIN(done, total), now);
    return true;
}

void progress_end(progress *p) {
    if (p->shown) fputs("\r\033[K", stderr);
    *p = (progress){.unit = p->unit};
}
