/* json.h: RFC 8259 reader into a tree, and the few helpers that writing needs.
 * Strings without escapes point into the source text, which must outlive the tree. Depth is limited to 128.
 * Text must be valid UTF-8. Lone surrogate escapes become U+FFFD. */
#ifndef DP_JSON_H
#define DP_JSON_H

#include "base/arena.h"
#include "base/buf.h"

typedef enum dp_json_type { DP_JSON_NULL, DP_JSON_BOOL, DP_JSON_NUMBER, DP_JSON_STRING, DP_JSON_ARRAY, DP_JSON_OBJECT } dp_json_type;

typedef struct dp_json dp_json;
struct dp_json {
    uint8_t type;     /* dp_json_type */
    bool boolean;
    bool is_integer;  /* a number written without fraction or exponent that fits int64 */
    uint32_t count;   /* of children */
    dp_str key;       /* within an object */
    union {
        dp_str string;
        struct { double number; int64_t integer; }; /* integer: the number truncated and clamped when !is_integer */
        dp_json *child; /* first child */
    };
    dp_json *next; /* sibling */
};

/* On failure DP_E_FORMAT with line and column. The root is in *out. */
dp_status dp_json_parse(dp_arena *arena, dp_str text, const dp_json **out);

/* First member of that name; NULL if absent or `object` is NULL or no object. Does not treat null specially. */
const dp_json *dp_json_get(const dp_json *object, const char *key);
/* Same, but a null member counts as absent. */
const dp_json *dp_json_find(const dp_json *object, const char *key);
const dp_json *dp_json_at(const dp_json *array, size_t index); /* NULL past the end */
const char *dp_json_type_name(const dp_json *value);

/* Optional members: absent or null leaves *out unchanged; a value of another type is DP_E_FORMAT naming the member. */
dp_status dp_json_get_int(const dp_json *object, const char *key, int64_t *out);
dp_status dp_json_get_double(const dp_json *object, const char *key, double *out);
dp_status dp_json_get_bool(const dp_json *object, const char *key, bool *out);
dp_status dp_json_get_str(const dp_json *object, const char *key, dp_str *out);

/* ---- writing ---- */
void dp_json_put_string(dp_buf *buf, dp_str text); /* quoted and escaped; invalid UTF-8 becomes U+FFFD */
void dp_json_put_double(dp_buf *buf, double value); /* shortest form that reads back the same; inf and nan as null */
void dp_json_put(dp_buf *buf, const dp_json *value); /* compact */

/* Length of the valid UTF-8 sequence at p (1-4) or 0. *code_point may be NULL. */
size_t dp_utf8_decode(const char *p, size_t n, uint32_t *code_point);

#endif
