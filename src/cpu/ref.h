/* ref.h: what the files of the scalar reference share. The op functions themselves are declared in cpu.h. */
#ifndef DP_REF_H
#define DP_REF_H

#include "cpu/cpu.h"

/* A vector weight (always F32), NULL for index -1. */
static inline const float *dp_ref_vector(const dp_cpu_run *run, int32_t weight) {
    return weight < 0 ? NULL : run->program->weights[weight].data;
}

#endif
