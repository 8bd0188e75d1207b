/* routing.h: records which experts a model chooses, or chooses them in its place, for benchmarks of paging. */
#ifndef TOOL_ROUTING_H
#define TOOL_ROUTING_H

#include "tool.h"

/* How experts are chosen: NULL: by the model; "uniform", "local:P" or "trace:FILE". Parses it; DP_E_ARG if it is none of
 * these. To be called before sessions are made. */
dp_status routing_choose(const char *how);
/* Watches the session's routing if it is to be recorded or chosen (set.record_routing, routing_choose). */
dp_status routing_attach(setup *s);
/* Finishes the recording and forgets what was read. `keep`: false throws the recording away. */
dp_status routing_finish(bool keep);

#endif
