/* sampling.h: from logits to a token. Order: repetition penalty, temperature, top-k, top-p, min-p, then a draw. Floor 5. */
#ifndef DP_SAMPLING_H
#define DP_SAMPLING_H

#include "base/base.h"

typedef struct dp_sampler dp_sampler;

dp_status dp_sampler_new(const dp_sampling *sampling, int32_t vocab, dp_sampler **out);
void dp_sampler_free(dp_sampler *sampler);
/* logits [vocab] are not changed. recent: the ids the repetition penalty looks at, newest last. */
int32_t dp_sampler_draw(dp_sampler *sampler, const float *logits, const int32_t *recent, size_t recent_count);

#endif
