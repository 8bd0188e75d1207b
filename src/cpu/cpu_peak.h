/* cpu_peak.h: how many multiply-adds this processor makes in a second, by a probe of a fraction of a second. Floor 4. */
#ifndef DP_CPU_PEAK_H
#define DP_CPU_PEAK_H

#include "base/base.h"

/* Multiply-adds per second of `threads` threads. */
typedef struct dp_cpu_peaks {
    double bytes;  /* 8-bit integers, which quantised weights are multiplied as */
    double floats; /* f32 */
    double halves; /* bf16 on matrix units, which prompts are multiplied on; 0: there are none */
} dp_cpu_peaks;

/* isa, threads: as in dp_engine_desc. */
dp_status dp_cpu_measure_peaks(const char *isa, int32_t threads, dp_cpu_peaks *out);

#endif
