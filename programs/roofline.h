/* roofline.h: the two bounds of this machine, memory and multiplications, and how much of them a model uses. */
#ifndef TOOL_ROOFLINE_H
#define TOOL_ROOFLINE_H

#include "base/buf.h"
#include "cpu/cpu_peak.h"
#include "doppler.h"

typedef struct roofline {
    double bandwidth;   /* bytes per second read from memory; 0: not measured */
    dp_cpu_peaks peaks; /* zeros: not measured */
} roofline;

/* What was measured of the model. 0: was not. */
typedef struct phases {
    double prefill_rate;  /* tokens per second, of the fastest prompt */
    double token_seconds; /* decoding */
} phases;

/* The peaks only where the CPU computes. */
dp_status roofline_measure(bool on_cpu, roofline *out);
void roofline_print(const roofline *r, const dp_model_info *info, phases p);
void roofline_put(const roofline *r, const dp_model_info *info, phases p, dp_buf *out);

#endif
