/* golden.h: loads published results and compares a model with them. */
#ifndef DP_GOLDEN_H
#define DP_GOLDEN_H

#include "refmodel.h"

typedef struct golden_how {
    dp_engine_desc engine;
    dp_model_desc model;
    dp_kv_type kv;
    double tolerance; /* of the relative logit error */
    double singles;   /* the same when the prompt runs token by token; 0: the same */
    bool no_singles;  /* not token by token */
    int32_t compared; /* tokens of the prompt whose logits count, without decoding behind them; 0: all, and decoding */
} golden_how;

/* Opens `path` as `how` says, runs the golden prompt whole, token by token and in chunks of 7, then decodes
 * greedily. Records a failure where the relative logit error exceeds the tolerance or a token differs beyond its margin. */
void golden_check(const char *what, const char *path, const char *golden_file, const golden_how *how);

/* The n token ids of a golden file's tensor: int64 or int32. */
void golden_ids(const ref_tensor *t, int32_t *out, size_t n);

#endif
