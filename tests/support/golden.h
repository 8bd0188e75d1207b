/* golden.h: loads published results and compares a model with them. */
#ifndef DP_GOLDEN_H
#define DP_GOLDEN_H

#include "refmodel.h"

typedef struct golden_how {
    dp_engine_desc engine;
    dp_kv_type kv;
    double tolerance; /* of the relative logit error */
} golden_how;

/* Opens `path` as `how` says, runs the golden prompt whole, token by token and in chunks of 7, then decodes
 * greedily. Records a failure where the relative logit error exceeds the tolerance or a token differs beyond its margin. */
void golden_check(const char *what, const char *path, const char *golden_file, const golden_how *how);

#endif
