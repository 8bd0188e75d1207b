/* sampling.h: from logits to a token. Order: repetition penalty, temperature, top-k, top-p, min-p, then a draw. Floor 5.
 * Devices that draw tokens themselves (graph/backend.h) do the same with the same random numbers. */
#ifndef DP_SAMPLING_H
#define DP_SAMPLING_H

#include "base/base.h"

typedef struct dp_sampler dp_sampler;

dp_status dp_sampler_new(const dp_sampling *sampling, int32_t vocab, dp_sampler **out);
void dp_sampler_free(dp_sampler *sampler);
/* logits [vocab] are not changed. recent: the ids the repetition penalty looks at, newest last. */
int32_t dp_sampler_draw(dp_sampler *sampler, const float *logits, const int32_t *recent, size_t recent_count);
/* Goes on as if `drawn` tokens had been drawn before. */
void dp_sampler_seek(dp_sampler *sampler, uint64_t drawn);

#endif
