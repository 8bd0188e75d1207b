/* engine.h: what the files of the engine share. Floor 5. */
#ifndef DP_ENGINE_H
#define DP_ENGINE_H

#include "arch/builder.h"
#include "engine/weights.h"
#include "graph/backend.h"

struct dp_engine {
    dp_backend *backend;
    bool reference;
};

struct dp_model {
    dp_engine *engine;
    dp_checkpoint *checkpoint;
    dp_builder *built; /* program, weight sources, shape */
    dp_weights weights;
    dp_tokenizer *tokenizer; /* NULL if the checkpoint has none */
    dp_model_info info;
};

struct dp_session {
    dp_model *model;
    dp_plan *plan;
    dp_kv *kv;
    int32_t context, batch, length;
    int32_t *ids;      /* [context], those at positions < length */
    float *logits;     /* [vocab] after the last token */
    bool has_logits;
    dp_trace_fn trace;
    void *trace_user;
    dp_profile_fn profile;
    void *profile_user;
};

#endif
