/* golden.h: loads published results and compares a model with them. */
#ifndef DP_GOLDEN_H
#define DP_GOLDEN_H

#include "refmodel.h"

/* Opens `path` on an engine of `desc`, runs the golden prompt whole, token by token and in chunks of 7, then decodes
 * greedily. Records a failure where the relative logit error exceeds `tolerance` or a token differs beyond its margin. */
void golden_check(const char *what, const char *path, const char *golden_file, dp_engine_desc desc, double tolerance);

#endif
