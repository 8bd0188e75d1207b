/* generate.h: generation in pieces, for hosts that must come up for air between tokens (a browser's worker).
 * dp_session_generate is the same in one go. Floor 5. */
#ifndef DP_GENERATE_H
#define DP_GENERATE_H

#include "base/base.h"
#include "doppler.h"

typedef struct dp_generation dp_generation;

/* desc and result stay the caller's and must outlive the generation; result is complete when no more follows. */
dp_status dp_generation_new(dp_session *session, const dp_generate_desc *desc, dp_generate_result *result, dp_generation **out);
/* Runs one chunk of the prompt, or samples one token and runs it. *more is false behind the last. On a host that cannot wait for
 * its device it may return DP_WAITING: the step is to be made again later. */
dp_status dp_generation_step(dp_generation *generation, bool *more);
void dp_generation_free(dp_generation *generation);

#endif
