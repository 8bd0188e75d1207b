/* buf.h: a growing byte buffer and string builder. Zero-initialise. A failed append sticks in `failed`, so that
 * callers may append many times and check once. */
#ifndef DP_BUF_H
#define DP_BUF_H

#include "base/base.h"

typedef struct dp_buf {
    char *data; /* always NUL-terminated once anything was appended */
    size_t size, capacity;
    bool failed;
} dp_buf;

void dp_buf_append(dp_buf *buf, const void *data, size_t size);
void dp_buf_char(dp_buf *buf, char c);
void dp_buf_str(dp_buf *buf, const char *text);
void dp_buf_printf(dp_buf *buf, const char *format, ...) DP_PRINTF(2, 3);
/* UTF-8 of one code point (surrogates and values above 0x10FFFF become U+FFFD). */
void dp_buf_utf8(dp_buf *buf, uint32_t code_point);
void dp_buf_clear(dp_buf *buf); /* keeps the memory */
void dp_buf_free(dp_buf *buf);
/* Hands the memory over (never NULL on DP_OK) and empties the buffer; on failure frees it and returns DP_E_MEMORY. */
dp_status dp_buf_take(dp_buf *buf, char **text, size_t *size);

#endif
