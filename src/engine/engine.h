/* engine.h: what the files of the engine share. Floor 5. */
#ifndef DP_ENGINE_H
#define DP_ENGINE_H

#include "arch/builder.h"
#include "engine/residency.h"
#include "engine/weights.h"
#include "graph/backend.h"

struct dp_engine {
    dp_backend *backend;
    bool reference;
    int32_t threads; /* as asked for; 0: all */
    char isa[16];    /* the same, "": the best */
};

struct dp_model {
    dp_engine *engine;
    dp_checkpoint *checkpoint;
    dp_builder *built; /* program, weight sources, shape */
    dp_weights weights;
    dp_residency residency;
    struct dp_experts *experts; /* computes what a GPU's slots lack; NULL: nobody does */
    dp_tokenizer *tokenizer; /* NULL if the checkpoint has none */
    dp_model_info info;
};

/* Where the logits of the last token are. */
typedef enum dp_logits_place {
    DP_LOGITS_NONE,
    DP_LOGITS_HERE,   /* in session->logits */
    DP_LOGITS_DEVICE, /* still on the device: read when somebody asks */
    DP_LOGITS_LOST    /* steps of tokens that were then dropped took their place: the last token runs again */
} dp_logits_place;

struct dp_session {
    dp_model *model;
    dp_plan *plan;
    dp_kv *kv;
    dp_session_needs reserved; /* memory that the model's residency keeps for this session */
    int32_t context, batch, length;
    int32_t *ids;      /* [context], those at positions < length */
    float *logits;     /* [vocab] after the last token, if that is where they are */
    dp_logits_place logits_at;
    int32_t ahead, together; /* draws under way, and sent, at a time (draws.h); 0: as many as pay. For tests */
    dp_routing_fn routing;
    void *routing_user;
    bool routing_blind;
    dp_trace_fn trace;
    void *trace_user;
    dp_profile_fn profile;
    void *profile_user;
};

/* As dp_session_eval without logits, but does not wait until the device is done. */
dp_status dp_session_feed(dp_session *session, const int32_t *ids, size_t count);
/* A step of `count` tokens at session->length + ahead, room in the cache made; NULL ids as in dp_step. */
dp_status dp_session_step(dp_session *session, const int32_t *ids, int32_t count, int32_t ahead, int32_t outputs, dp_step *out);
/* Sees to it that the logits of the last token are in session->logits, or, if `device`, at least on the device. DP_E_ARG if
 * there is no such token. */
dp_status dp_session_fetch_logits(dp_session *session, bool device);
/* Memory that a session takes at most. */
dp_session_needs dp_session_needs_of(const dp_model *model, const dp_session_desc *desc);

#endif
