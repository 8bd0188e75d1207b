/* json_write.h: JSON objects and lists under construction in a dp_buf. Each call adds one member to the object that is open,
 * or with a NULL key one element to the list; commas are put where they are due. Check buf.failed once, at the end. Floor 0. */
#ifndef DP_JSON_WRITE_H
#define DP_JSON_WRITE_H

#include "base/json.h"

/* The key of the member that the next call adds with a NULL key: for keys that are no C strings. */
void dp_json_key(dp_buf *buf, dp_str key);
/* Opens an object ('{') or a list ('['); the outermost has no key. */
void dp_json_open(dp_buf *buf, const char *key, char bracket);
void dp_json_close(dp_buf *buf, char bracket); /* '}' or ']' */
/* What comes next, a closing bracket too, begins a line of its own behind so many spaces. */
void dp_json_line(dp_buf *buf, int indent);

void dp_json_add_text(dp_buf *buf, const char *key, const char *text); /* NULL: "" */
void dp_json_add_str(dp_buf *buf, const char *key, dp_str text);
void dp_json_add_bool(dp_buf *buf, const char *key, bool value);
void dp_json_add_int(dp_buf *buf, const char *key, int64_t value);
void dp_json_add_uint(dp_buf *buf, const char *key, uint64_t value);
void dp_json_add_double(dp_buf *buf, const char *key, double value);
void dp_json_add_value(dp_buf *buf, const char *key, const dp_json *value);
void dp_json_add_null(dp_buf *buf, const char *key);
void dp_json_add_raw(dp_buf *buf, const char *key, dp_str json); /* text that is JSON already */
/* A list. */
void dp_json_add_ids(dp_buf *buf, const char *key, const int32_t *ids, size_t count);

#endif
