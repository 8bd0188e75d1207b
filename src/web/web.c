/* web.c: see web.h. Engine, model, text, session and generation for the browser's worker. */
#include "web/web.h"

#include "base/json_write.h"
#include "engine/engine.h"
#include "engine/generate.h"
#include "host/host.h"

static struct {
    dp_engine *engine;
    dp_model *model;
    dp_session *session;
    dp_generation *generation;
    dp_generate_desc desc; /* of the generation under way, with what it points at */
    dp_generate_result made;
    int32_t *prompt;
    char *stop_text;
    const char **stops;
    web_result result;
    dp_buf info;
    bool fed;     /* web_eval_one: the token is in the session */
    char *paging; /* JSON */
    dp_status status; /* of the last function that returned a pointer */
} the;

void *web_alloc(uint32_t size) { return dp_malloc(size ? size : 1); }
void web_free(void *memory) { dp_free(memory); }
const char *web_error(void) { return dp_error_message(); }
int32_t web_status(void) { return the.status; }
double web_memory(void) { return (double)dp_host_memory_peak(); }

/* ---- engine and model ---- */

static bool on_progress(void *user, const char *what, uint64_t done, uint64_t total) {
    (void)user;
    return web_on_progress(what, (double)done, (double)total) != 0;
}

int32_t web_open(int32_t backend, int32_t plain) {
    dp_engine_desc desc = {.backend = (dp_backend_kind)backend, .gpu_plain = plain != 0};
    web_close();
    return dp_engine_open(&desc, &the.engine);
}

void web_close(void) {
    web_unload();
    dp_engine_close(the.engine);
    the.engine = NULL;
}

const char *web_describe(void) { return the.engine ? dp_engine_describe(the.engine) : ""; }

int32_t web_load(const char *path, const web_budgets *b) {
    enum { BELOW_SLOTS = 512 << 20 }; /* a page's heap is better kept small */
    dp_model_desc desc = {.progress = on_progress, .ram = (uint64_t)b->ram, .vram = (uint64_t)b->vram, .expert_slots = b->slots,
                          .context = b->context, .batch = b->batch};
    if (!the.engine) return dp_fail(DP_E_ARG, "no engine is open");
    if (the.engine->backend->api->device_bytes && (desc.vram || desc.expert_slots) && !desc.ram) desc.ram = BELOW_SLOTS;
    web_unload();
    return dp_model_open(the.engine, path, &desc, &the.model);
}

void web_unload(void) {
    web_session_free();
    dp_model_close(the.model);
    the.model = NULL;
    dp_buf_free(&the.info);
    dp_free(the.paging);
    the.paging = NULL;
}

const char *web_paging(void) {
    dp_paging_stats stats = {0};
    if (the.model) dp_model_paging(the.model, &stats);
    if (!stats.paging) return "null";
    dp_free(the.paging);
    the.paging = NULL;
    return dp_model_paging_json(the.model, &the.paging) == DP_OK ? the.paging : NULL;
}

const char *web_info(void) {
    dp_buf *json = &the.info;
    if (!the.model) return NULL;
    const dp_model_info *i = dp_model_get_info(the.model);
    const dp_tokenizer *t = dp_model_tokenizer(the.model);
    dp_buf_clear(json);
    dp_json_open(json, NULL, '{');
    dp_json_add_text(json, "name", i->name);
    dp_json_add_text(json, "architecture", i->architecture);
    dp_json_add_text(json, "quantization", i->quantization);
    dp_json_add_int(json, "layers", i->layers);
    dp_json_add_int(json, "hidden", i->hidden);
    dp_json_add_int(json, "heads", i->heads);
    dp_json_add_int(json, "kvHeads", i->kv_heads);
    dp_json_add_int(json, "headDim", i->head_dim);
    dp_json_add_int(json, "vocab", i->vocab);
    dp_json_add_int(json, "context", i->context);
    dp_json_add_int(json, "experts", i->experts);
    dp_json_add_int(json, "expertsPerToken", i->experts_per_token);
    dp_json_add_uint(json, "parameters", i->parameters);
    dp_json_add_uint(json, "weightBytes", i->weight_bytes);
    dp_json_add_uint(json, "activeBytes", i->active_bytes);
    dp_json_add_uint(json, "kvBytesPerToken", i->kv_bytes_per_token);
    dp_json_add_bool(json, "tokenizer", t != NULL);
    dp_json_add_bool(json, "chat", t && dp_chat_available(t));
    dp_json_close(json, '}');
    return json->failed ? NULL : json->data;
}

/* ---- text ---- */

static dp_status tokenizer(const dp_tokenizer **out) {
    *out = the.model ? dp_model_tokenizer(the.model) : NULL;
    return *out ? DP_OK : dp_fail(DP_E_NOT_FOUND, the.model ? "the model has no tokenizer" : "no model is loaded");
}

int32_t *web_encode(const char *text, uint32_t size, int32_t special, uint32_t *count) {
    const dp_tokenizer *t;
    int32_t *ids = NULL;
    size_t n = 0;
    the.status = tokenizer(&t);
    if (the.status == DP_OK) the.status = dp_tokenizer_encode(t, text, size, special != 0, &ids, &n);
    *count = (uint32_t)n;
    return ids;
}

char *web_decode(const int32_t *ids, uint32_t count, int32_t skip_special, uint32_t *size) {
    const dp_tokenizer *t;
    char *text = NULL;
    size_t n = 0;
    the.status = tokenizer(&t);
    if (the.status == DP_OK) the.status = dp_tokenizer_decode(t, ids, count, skip_special != 0, &text, &n);
    *size = (uint32_t)n;
    return text;
}

char *web_chat(const char *messages, const char *tools, const char *variables) {
    const dp_tokenizer *t;
    char *text = NULL;
    dp_chat_desc desc = {.messages = messages, .tools = *tools ? tools : NULL, .variables = *variables ? variables : NULL,
                         .add_generation_prompt = true};
    the.status = tokenizer(&t);
    if (the.status == DP_OK) the.status = dp_chat_render(t, &desc, &text);
    return text;
}

/* ---- session ---- */

int32_t web_session(int32_t context, int32_t batch, int32_t kv) {
    dp_session_desc desc = {.context = context, .batch = batch, .kv = (dp_kv_type)kv};
    web_session_free();
    if (!the.model) return dp_fail(DP_E_ARG, "no model is loaded");
    return dp_session_new(the.model, &desc, &the.session);
}

void web_session_free(void) {
    web_end();
    dp_session_free(the.session);
    the.session = NULL;
}

int32_t web_eval(const int32_t *ids, uint32_t count, float *logits) {
    if (!the.session) return dp_fail(DP_E_ARG, "no session is open");
    return dp_session_eval(the.session, ids, count, logits);
}

static dp_status eval_one(int32_t id, float *logits, bool again) {
    if (!the.session) return dp_fail(DP_E_ARG, "no session is open");
    if (!again) the.fed = false;
    if (!the.fed) TRY(dp_session_feed(the.session, &id, 1));
    the.fed = true;
    TRY(dp_session_fetch_logits(the.session, false));
    memcpy(logits, dp_session_logits(the.session), (size_t)dp_model_get_info(the.model)->vocab * sizeof *logits);
    return DP_OK;
}

int32_t web_eval_one(int32_t id, float *logits, int32_t again) { return eval_one(id, logits, again != 0); }

int32_t web_truncate(int32_t length) { return the.session ? dp_session_truncate(the.session, length) : 0; }
int32_t web_length(void) { return the.session ? dp_session_length(the.session) : 0; }

/* ---- generation ---- */

static bool on_text(void *user, const char *text, size_t size) {
    (void)user;
    return web_on_text(text, (uint32_t)size) != 0;
}

static bool on_prefill(void *user, size_t done, size_t total) {
    (void)user;
    return web_on_prefill((uint32_t)done, (uint32_t)total) != 0;
}

/* How many tokens of the conversation the session keeps. The last one is evaluated in any case, for its logits. */
static uint32_t reuse(const web_request *r) {
    const int32_t *held = dp_session_ids(the.session);
    uint32_t length = (uint32_t)dp_session_length(the.session), same = 0;
    while (same < length && same + 1 < r->count && held[same] == r->ids[same]) same++;
    return (uint32_t)dp_session_truncate(the.session, (int32_t)same);
}

static dp_status copy_stops(const web_request *r) {
    size_t size = 0;
    const char *text = r->stops;
    for (uint32_t i = 0; i < r->stop_count; i++) size += strlen(r->stops + size) + 1;
    the.stop_text = dp_malloc(size + 1);
    the.stops = dp_calloc(r->stop_count + 1, sizeof *the.stops);
    if (!the.stop_text || !the.stops) return dp_no_memory(size);
    if (size) memcpy(the.stop_text, text, size);
    char *at = the.stop_text;
    for (uint32_t i = 0; i < r->stop_count; i++, at += strlen(at) + 1) the.stops[i] = at;
    return DP_OK;
}

static dp_status begin(const web_request *r) {
    if (!the.session) return dp_fail(DP_E_ARG, "no session is open");
    TRY(copy_stops(r));
    uint32_t cached = reuse(r), fresh = r->count - cached;
    the.prompt = dp_malloc(((size_t)fresh + 1) * sizeof *the.prompt);
    if (!the.prompt) return dp_no_memory(fresh * sizeof *the.prompt);
    if (fresh) memcpy(the.prompt, r->ids + cached, fresh * sizeof *the.prompt);
    the.desc = (dp_generate_desc){
        .prompt = the.prompt, .prompt_count = fresh, .max_tokens = r->max_tokens, .stops = the.stops, .stop_count = r->stop_count,
        .show_special = r->show_special != 0, .on_text = on_text, .on_prefill = on_prefill,
        .sampling = {.temperature = r->temperature, .top_k = r->top_k, .top_p = r->top_p, .min_p = r->min_p,
                     .repetition_penalty = r->repetition_penalty, .repeat_last = r->repeat_last,
                     .seed = (uint64_t)r->seed_high << 32 | r->seed_low}};
    the.result = (web_result){.cached_tokens = (int32_t)cached, .more = 1};
    return dp_generation_new(the.session, &the.desc, &the.made, &the.generation);
}

const web_result *web_begin(const web_request *request) {
    web_end();
    the.status = begin(request);
    return the.status == DP_OK ? &the.result : NULL;
}

int32_t web_step(void) {
    bool more = false;
    if (!the.generation) return dp_fail(DP_E_ARG, "no generation is under way");
    dp_status status = dp_generation_step(the.generation, &more);
    if (status == DP_WAITING) return status;
    the.result.more = more;
    the.result.reason = the.made.reason;
    the.result.prompt_tokens = the.made.prompt_tokens;
    the.result.new_tokens = the.made.new_tokens;
    the.result.prefill_seconds = the.made.prefill_seconds;
    the.result.decode_seconds = the.made.decode_seconds;
    return status;
}

void web_end(void) {
    dp_generation_free(the.generation);
    dp_free(the.prompt);
    dp_free(the.stop_text);
    dp_free(the.stops);
    the.generation = NULL;
    the.prompt = NULL;
    the.stop_text = NULL;
    the.stops = NULL;
}

/* ---- files ---- */

int32_t web_convert(const char *input, const char *output, const char *quantize, const char *name, int32_t sharding) {
    dp_convert_desc desc = {.input = input,
                            .name = *name ? name : NULL,
                            .output = {.path = output, .quantize = *quantize ? quantize : NULL, .sharding = (dp_sharding)sharding,
                                       .overwrite = true, .progress = on_progress}};
    return dp_convert(&desc, NULL);
}

char *web_inspect(const char *path) {
    char *json = NULL;
    the.status = dp_inspect(path, &json);
    return json;
}
