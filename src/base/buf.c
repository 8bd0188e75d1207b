/* buf.c: see buf.h. */
#include "base/buf.h"

#include <stdio.h>

static bool reserve(dp_buf *buf, size_t more) {
    if (buf->failed || more > SIZE_MAX - buf->size - 1 ||
        !dp_grow((void **)&buf->data, &buf->capacity, buf->size + more + 1, 1))
        buf->failed = true;
    return !buf->failed;
}

void dp_buf_append(dp_buf *buf, const void *data, size_t size) {
    if (!reserve(buf, size)) return;
    if (size) memcpy(buf->data + buf->size, data, size);
    buf->size += size;
    buf->data[buf->size] = 0;
}

void dp_buf_char(dp_buf *buf, char c) { dp_buf_append(buf, &c, 1); }
void dp_buf_str(dp_buf *buf, const char *text) { dp_buf_append(buf, text, strlen(text)); }

void dp_buf_printf(dp_buf *buf, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) buf->failed = true;
    if (n < 0 || !reserve(buf, (size_t)n)) return;
    va_start(args, format);
    vsnprintf(buf->data + buf->size, (size_t)n + 1, format, args);
    va_end(args);
    buf->size += (size_t)n;
}

void dp_buf_utf8(dp_buf *buf, uint32_t c) {
    if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) c = 0xFFFD;
    char u[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = n - 1; i > 0; i--, c >>= 6) u[i] = (char)(0x80 | (c & 0x3F));
    u[0] = (char)(lead[n] | c);
    dp_buf_append(buf, u, n);
}

void dp_buf_clear(dp_buf *buf) {
    buf->size = 0;
    buf->failed = false;
    if (buf->data) buf->data[0] = 0;
}

void dp_buf_free(dp_buf *buf) {
    dp_free(buf->data);
    *buf = (dp_buf){0};
}

dp_status dp_buf_take(dp_buf *buf, char **text, size_t *size) {
    dp_buf_append(buf, "", 0);
    if (buf->failed) {
        size_t wanted = buf->size;
        dp_buf_free(buf);
        return dp_no_memory(wanted);
    }
    *text = buf->data;
    if (size) *size = buf->size;
    *buf = (dp_buf){0};
    return DP_OK;
}
