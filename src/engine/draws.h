/* draws.h: where generated tokens come from: drawn on the host from logits that it reads, or on the device, which then runs
 * some tokens ahead of the host. What runs ahead and is not taken is as if it had never been. Floor 5. */
#ifndef DP_DRAWS_H
#define DP_DRAWS_H

#include "base/base.h"

typedef struct dp_draws dp_draws;

/* most: how many tokens will be wanted at most; 0: no end but the context's. */
dp_status dp_draws_new(dp_session *session, const dp_sampling *sampling, int32_t most, dp_draws **out);
/* The session is then where the last token taken was drawn: that one is not part of it. */
void dp_draws_free(dp_draws *draws);
/* The next token behind the session's last one; DP_WAITING where the host cannot wait for it. A token taken joins the session
 * when the next one is taken, which must fit the context. */
dp_status dp_draws_next(dp_draws *draws, int32_t *id);
/* Whether logits stay on the device, so that the prompt need not be waited for. */
bool dp_draws_on_device(const dp_draws *draws);

#endif
