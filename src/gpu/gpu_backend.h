/* gpu_backend.h: the GPU backend: a program becomes lists of dispatches made once; a step writes a few integers and
 * submits. Used through graph/backend.h. Floor 4. */
#ifndef DP_GPU_BACKEND_H
#define DP_GPU_BACKEND_H

#include "gpu/gpu.h"
#include "graph/backend.h"

dp_status dp_gpu_backend_open(const dp_gpu_desc *desc, dp_backend **out);
/* Whether its single tokens run the kernels for devices that are programs, for tests. */
bool dp_gpu_backend_is_lean(const dp_backend *backend);

#endif
