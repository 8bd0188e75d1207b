/* json_write.c: see json_write.h. Whether a comma is due shows in what has been written: it is, unless an opening bracket
 * or a key's colon stands last. Strings end in a quote, so no text is mistaken for one. */
#include "base/json_write.h"

/* The comma stands where the previous member ends, in front of a line break. */
static void put_comma(dp_buf *buf) {
    size_t end = buf->size;
    while (end && strchr(" \n", buf->data[end - 1])) end--;
    if (buf->failed || !end || strchr("{[:", buf->data[end - 1])) return;
    bool same_line = end == buf->size;
    dp_buf_char(buf, ' ');
    if (buf->failed) return;
    memmove(buf->data + end + 1, buf->data + end, buf->size - end - 1);
    buf->data[end] = ',';
    if (same_line) dp_buf_char(buf, ' ');
}

void dp_json_key(dp_buf *buf, dp_str key) {
    put_comma(buf);
    dp_json_put_string(buf, key);
    dp_buf_str(buf, ": ");
}

static void begin(dp_buf *buf, const char *key) {
    if (key) dp_json_key(buf, dp_str_of(key));
    else put_comma(buf);
}

void dp_json_open(dp_buf *buf, const char *key, char bracket) {
    begin(buf, key);
    dp_buf_char(buf, bracket);
}

void dp_json_close(dp_buf *buf, char bracket) { dp_buf_char(buf, bracket); }

void dp_json_line(dp_buf *buf, int indent) { dp_buf_printf(buf, "\n%*s", indent, ""); }

void dp_json_add_str(dp_buf *buf, const char *key, dp_str text) {
    begin(buf, key);
    dp_json_put_string(buf, text);
}

void dp_json_add_text(dp_buf *buf, const char *key, const char *text) { dp_json_add_str(buf, key, dp_str_of(text)); }

void dp_json_add_raw(dp_buf *buf, const char *key, dp_str json) {
    begin(buf, key);
    dp_buf_append(buf, json.p, json.n);
}

void dp_json_add_null(dp_buf *buf, const char *key) { dp_json_add_raw(buf, key, DP_LIT("null")); }

void dp_json_add_bool(dp_buf *buf, const char *key, bool value) { dp_json_add_raw(buf, key, dp_str_of(value ? "true" : "false")); }

void dp_json_add_int(dp_buf *buf, const char *key, int64_t value) {
    begin(buf, key);
    dp_buf_printf(buf, "%lld", (long long)value);
}

void dp_json_add_uint(dp_buf *buf, const char *key, uint64_t value) {
    begin(buf, key);
    dp_buf_printf(buf, "%llu", (unsigned long long)value);
}

void dp_json_add_double(dp_buf *buf, const char *key, double value) {
    begin(buf, key);
    dp_json_put_double(buf, value);
}

void dp_json_add_value(dp_buf *buf, const char *key, const dp_json *value) {
    begin(buf, key);
    dp_json_put(buf, value);
}

void dp_json_add_ids(dp_buf *buf, const char *key, const int32_t *ids, size_t count) {
    dp_json_open(buf, key, '[');
    for (size_t i = 0; i < count; i++) dp_json_add_int(buf, NULL, ids[i]);
    dp_json_close(buf, ']');
}
