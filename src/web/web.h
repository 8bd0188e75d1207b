/* web.h: what the browser's worker calls, and what it lends. The exports are short calls with numbers and pointers into
 * linear memory; web/src/core.js wraps them. One engine, one model, one session, one generation: a page that wants two
 * models starts two workers. Those marked `waits` reach the GPU and may suspend, so the worker calls them through
 * WebAssembly.promising and lets one in at a time. Where the browser cannot suspend, those marked `again` may return
 * DP_WAITING; the worker then waits for the GPU and calls them again. Floor 6.
 *
 * Texts passed in are NUL-terminated UTF-8. Pointers handed out belong to this module and are good until the next call
 * of the same function, unless web_free is named. A function that returns an int32_t returns a dp_status. */
#ifndef DP_WEB_H
#define DP_WEB_H

#include "doppler.h"

#define DP_EXPORT(name) __attribute__((export_name(#name)))
#define DP_IMPORT(name) __attribute__((import_module("doppler"), import_name(#name)))

/* ---- lent by the worker ---- */

/* Return 0 to stop. They may suspend, to let the worker read its messages. */
DP_IMPORT(on_text) int32_t web_on_text(const char *text, uint32_t size);
DP_IMPORT(on_prefill) int32_t web_on_prefill(uint32_t done, uint32_t total);
DP_IMPORT(on_progress) int32_t web_on_progress(const char *what, double done, double total);

/* ---- memory, errors ---- */

DP_EXPORT(web_alloc) void *web_alloc(uint32_t size); /* NULL when memory is short */
DP_EXPORT(web_free) void web_free(void *memory);
DP_EXPORT(web_error) const char *web_error(void);    /* of the last status that was not DP_OK */
DP_EXPORT(web_status) int32_t web_status(void);      /* of the last function that returned a pointer */
DP_EXPORT(web_memory) double web_memory(void);       /* bytes of linear memory */

/* ---- engine and model ---- */

DP_EXPORT(web_open) int32_t web_open(int32_t backend, int32_t plain); /* waits; dp_backend_kind, dp_engine_desc.gpu_plain */
DP_EXPORT(web_close) void web_close(void);                            /* the session and the model with it */
DP_EXPORT(web_describe) const char *web_describe(void);
/* Bytes, and of the session that they leave room for positions and tokens a step; 0: as in dp_model_desc, but that memory below
 * the slots of a GPU is not all there is. */
typedef struct web_budgets {
    double ram, vram;
    int32_t slots, context, batch;
} web_budgets;
DP_EXPORT(web_load) int32_t web_load(const char *path, const web_budgets *budgets); /* waits */
DP_EXPORT(web_unload) void web_unload(void);
DP_EXPORT(web_info) const char *web_info(void);     /* JSON, NULL when memory is short */
DP_EXPORT(web_paging) const char *web_paging(void); /* the same: dp_model_paging_json, or null where nothing is paged */

/* ---- text ---- */

/* web_free the result; NULL on failure. *count: tokens, or bytes. */
DP_EXPORT(web_encode) int32_t *web_encode(const char *text, uint32_t size, int32_t special, uint32_t *count);
DP_EXPORT(web_decode) char *web_decode(const int32_t *ids, uint32_t count, int32_t skip_special, uint32_t *size);
DP_EXPORT(web_chat) char *web_chat(const char *messages, const char *tools, const char *variables);

/* ---- session and generation ---- */

DP_EXPORT(web_session) int32_t web_session(int32_t context, int32_t batch, int32_t kv); /* waits */
DP_EXPORT(web_session_free) void web_session_free(void);
DP_EXPORT(web_eval) int32_t web_eval(const int32_t *ids, uint32_t count, float *logits); /* waits; logits [count][vocab] or NULL */
/* One token behind the session's last one. again: the same call as before, which gave DP_WAITING. */
DP_EXPORT(web_eval_one) int32_t web_eval_one(int32_t id, float *logits, int32_t again);
DP_EXPORT(web_truncate) int32_t web_truncate(int32_t length);
DP_EXPORT(web_length) int32_t web_length(void);

typedef struct web_request {
    const int32_t *ids; /* the whole conversation: what the session already holds of it is not evaluated again */
    uint32_t count;
    int32_t max_tokens, top_k, repeat_last, show_special;
    float temperature, top_p, min_p, repetition_penalty;
    uint32_t seed_low, seed_high;
    const char *stops; /* texts, one after the other, each with its NUL */
    uint32_t stop_count;
} web_request;
typedef struct web_result {
    double prefill_seconds, decode_seconds;
    int32_t reason, prompt_tokens, new_tokens;
    int32_t cached_tokens; /* of the conversation, that were not evaluated again */
    int32_t more;          /* steps follow */
} web_result;
DP_EXPORT(web_begin) const web_result *web_begin(const web_request *request); /* waits; NULL on failure */
DP_EXPORT(web_step) int32_t web_step(void);                                   /* waits, again */
DP_EXPORT(web_end) void web_end(void);

/* ---- files ---- */

/* quantize, name: empty for the default. sharding: dp_sharding. */
DP_EXPORT(web_convert) int32_t web_convert(const char *input, const char *output, const char *quantize, const char *name,
                                           int32_t sharding); /* waits, in on_progress only */
DP_EXPORT(web_inspect) char *web_inspect(const char *path); /* JSON, web_free it; NULL on failure */

/* Hashing for whoever checks shards, in a module of its own: sums of several files may be under way at once. */
typedef struct web_hash web_hash;
DP_EXPORT(web_hash_new) web_hash *web_hash_new(int32_t blake3); /* else SHA-256 */
DP_EXPORT(web_hash_update) void web_hash_update(web_hash *hash, const void *data, uint32_t size);
DP_EXPORT(web_hash_end) const char *web_hash_end(web_hash *hash); /* hexadecimal; frees it */

#endif
