/* console.c: signals, standard streams, numbers for people. See tool.h. */
#define _DEFAULT_SOURCE /* POSIX within -std=c11 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tool.h"

/* ---- interrupts ---- */

static volatile sig_atomic_t interrupt_count;

static void on_interrupt(int signal_number) {
    if (interrupt_count++ == 0) return;
    signal(signal_number, SIG_DFL);
    raise(signal_number); /* delivered when this handler returns */
}

void interrupts_catch(void) {
    struct sigaction action = {.sa_handler = on_interrupt}; /* no SA_RESTART: waiting reads return */
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool interrupted(void) { return interrupt_count > 0; }
void interrupts_reset(void) { interrupt_count = 0; }
dp_status interrupted_status(void) { return dp_fail(DP_E_CANCELLED, "interrupted"); }

/* ---- streams ---- */

void streams_keep(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
        int taken = open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY); /* of all numbers the lowest: this one */
        if (taken >= 0 && taken != fd) close(taken);
    }
}

bool stdin_is_terminal(void) { return isatty(STDIN_FILENO); }
bool stdout_is_terminal(void) { return isatty(STDOUT_FILENO); }
bool stderr_is_terminal(void) { return isatty(STDERR_FILENO); }

int terminal_width(void) {
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

static dp_status stdin_problem(void) {
    if (interrupted()) return interrupted_status();
    return dp_fail(DP_E_IO, "standard input: %s", strerror(errno));
}

/* A program that waits for a pipe in silence looks hung: says so after a moment. */
static void explain_wait(void) {
    struct pollfd wait = {.fd = STDIN_FILENO, .events = POLLIN};
    if (poll(&wait, 1, 2000) == 0) note("reading standard input up to its end ...");
}

dp_status stdin_read(char **text, size_t *size) {
    dp_buf buf = {0};
    char chunk[16384];
    ssize_t n;
    explain_wait();
    while ((n = read(STDIN_FILENO, chunk, sizeof chunk)) > 0) dp_buf_append(&buf, chunk, (size_t)n);
    if (n < 0) {
        dp_buf_free(&buf);
        return stdin_problem();
    }
    return dp_buf_take(&buf, text, size);
}

dp_status stdin_read_line(char **line, size_t *size) {
    dp_buf buf = {0};
    int c;
    errno = 0;
    while ((c = getchar()) != EOF && c != '\n') dp_buf_char(&buf, (char)c);
    if (c == EOF && ferror(stdin)) {
        dp_buf_free(&buf);
        return stdin_problem();
    }
    if (c == EOF && buf.size == 0) {
        *line = NULL;
        return DP_OK;
    }
    if (buf.size && buf.data[buf.size - 1] == '\r') buf.data[--buf.size] = 0;
    return dp_buf_take(&buf, line, size);
}

dp_status stdout_write(const void *data, size_t size) {
    if (fwrite(data, 1, size, stdout) == size && !ferror(stdout)) return DP_OK;
    return dp_fail(errno == ENOSPC ? DP_E_DISK_FULL : DP_E_IO, "standard output: %s", strerror(errno));
}

dp_status stdout_print(dp_buf *buf) {
    dp_buf_char(buf, '\n');
    dp_status status = buf->failed ? dp_no_memory(buf->size) : stdout_write(buf->data, buf->size);
    dp_buf_free(buf);
    if (status == DP_OK && fflush(stdout) != 0) return stdout_write("", 1);
    return status;
}

dp_status stdout_puts(const char *text) { return puts(text) < 0 ? stdout_write("", 1) : DP_OK; }

void complain(const char *prefix, const char *message) {
    fputs(prefix, stderr);
    for (; *message; message++) fputc((unsigned char)*message < ' ' || *message == 127 ? '?' : *message, stderr);
    fputc('\n', stderr);
}

void note(const char *format, ...) {
    if (set.quiet) return;
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

/* ---- numbers ---- */

static char *rotating(size_t *size) {
    static char buffers[8][32];
    static unsigned next;
    *size = sizeof buffers[0];
    return buffers[next++ % DP_COUNT(buffers)];
}

/* Three digits and a unit. */
static const char *scaled(double value, const char *const *units, size_t unit_count) {
    size_t size, unit = 0;
    char *text = rotating(&size);
    while (value >= 999.5 && unit + 1 < unit_count) value /= 1000, unit++;
    snprintf(text, size, "%.*f%s", unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2, value, units[unit]);
    return text;
}

const char *show_bytes(double bytes) {
    static const char *const units[] = {" B", " kB", " MB", " GB", " TB"};
    return scaled(bytes, units, DP_COUNT(units));
}

const char *show_count(double count) {
    static const char *const units[] = {"", " k", " M", " G", " T"};
    return scaled(count, units, DP_COUNT(units));
}

const char *show_duration(double seconds) {
    size_t size;
    char *text = rotating(&size);
    if (!(seconds < 360000)) seconds = 359999;
    long s = (long)(seconds + 0.5);
    if (seconds < 0.00995) snprintf(text, size, "%.1f ms", seconds * 1e3);
    else if (seconds < 0.995) snprintf(text, size, "%.0f ms", seconds * 1e3);
    else if (seconds < 9.95) snprintf(text, size, "%.1f s", seconds);
    else if (s >= 3600)
        snprintf(text, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, size, "%ld:%02ld", s / 60, s % 60);
    return text;
}

double per_second(double amount, double seconds) { return seconds > 0 ? amount / seconds : 0; }

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *values, size_t count) {
    qsort(values, count, sizeof *values, by_value);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

dp_status text_check(const char *what, const char *text, size_t size) {
    size_t length = strlen(text);
    return length == size ? DP_OK : dp_fail(DP_E_ARG, "%s has a NUL byte at offset %zu: expected text", what, length);
}

dp_status text_copy(dp_str text, char **out) {
    dp_buf buf = {0};
    dp_buf_append(&buf, text.n ? text.p : "", text.n);
    return dp_buf_take(&buf, out, NULL);
}
