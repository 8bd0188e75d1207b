/* json_out.c: members of JSON objects. A comma is due unless an opening bracket was written last; strings end in a
 * quote, so the last byte tells. */
#include "base/json.h"
#include "tool.h"

static void begin(dp_buf *buf, const char *key) {
    if (buf->size && !strchr("{[", buf->data[buf->size - 1])) dp_buf_str(buf, ", ");
    if (!key) return;
    dp_json_put_string(buf, dp_str_of(key));
    dp_buf_str(buf, ": ");
}

void json_open(dp_buf *buf, const char *key, char bracket) {
    begin(buf, key);
    dp_buf_char(buf, bracket);
}

void json_close(dp_buf *buf, char bracket) { dp_buf_char(buf, bracket); }

void json_text(dp_buf *buf, const char *key, dp_str text) {
    begin(buf, key);
    dp_json_put_string(buf, text);
}

void json_number(dp_buf *buf, const char *key, double value) {
    begin(buf, key);
    dp_json_put_double(buf, value);
}

void json_integer(dp_buf *buf, const char *key, int64_t value) {
    begin(buf, key);
    dp_buf_printf(buf, "%lld", (long long)value);
}

void json_unsigned(dp_buf *buf, const char *key, uint64_t value) {
    begin(buf, key);
    dp_buf_printf(buf, "%llu", (unsigned long long)value);
}

void json_ids(dp_buf *buf, const char *key, const int32_t *ids, size_t count) {
    begin(buf, key);
    dp_buf_char(buf, '[');
    for (size_t i = 0; i < count; i++) dp_buf_printf(buf, i ? ", %d" : "%d", (int)ids[i]);
    dp_buf_char(buf, ']');
}

void json_raw(dp_buf *buf, const char *key, const char *json) {
    begin(buf, key);
    dp_buf_str(buf, json);
}
