/* jinja.h: a small Jinja interpreter for chat templates: what published templates use, and nothing that could reach
 * outside (no files, no imports). Unknown constructs are DP_E_UNSUPPORTED naming the construct and its line. Floor 2. */
#ifndef DP_JINJA_H
#define DP_JINJA_H

#include "base/base.h"
#include "base/json.h"

enum { DP_JINJA_TEXT_MAX = 16 << 20 }; /* bytes of the result, or of any one string */

typedef struct dp_jinja dp_jinja; /* a parsed template; immutable, shared between threads */

dp_status dp_jinja_parse(dp_str source, dp_jinja **out);
void dp_jinja_free(dp_jinja *jinja);
/* variables: an object; each member is a template variable. now: seconds since 1970, what strftime_now() formats (UTC).
 * Whitespace control as transformers sets it: trim_blocks and lstrip_blocks on. raise_exception(msg) is DP_E_ARG with msg. */
dp_status dp_jinja_render(const dp_jinja *jinja, const dp_json *variables, int64_t now, char **text, size_t *size);

#endif
