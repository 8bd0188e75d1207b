/* bandwidth.h: how fast this machine reads memory: the bound of decoding. */
#ifndef TOOL_BANDWIDTH_H
#define TOOL_BANDWIDTH_H

#include "base/base.h"

/* Bytes per second that `threads` threads read together from a buffer several times the size of the last-level cache:
 * the median of several passes. */
dp_status bandwidth_measure(int threads, double *bytes_per_second);

#endif
