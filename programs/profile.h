/* profile.h: where the time of an evaluation goes, by op. */
#ifndef PROFILE_H
#define PROFILE_H

#include "base/buf.h"
#include "doppler.h"

/* Measures a prompt of `prompt` tokens (0: none) and then single tokens behind it; prints a table for each, or with `json` adds
 * the member "profile" to it. */
dp_status profile_report(dp_session *session, const int32_t *ids, int32_t prompt, dp_buf *json);

#endif
