/* Generation on the GPU with several tokens under way: the same tokens as one evaluation at a time gives, and a session that
 * shows no trace of what ran beyond the end. Skipped without a WebGPU device. */
#include "refmodel.h"

#include "engine/engine.h"
#include "engine/generate.h"
#include "engine/sampling.h"

enum { VOCAB = 512, PROMPT = 40, CONTEXT = 128, TOKENS_MAX = 200 };

typedef struct rig {
    dp_engine *engine;
    dp_model *model;
    int32_t prompt[PROMPT];
} rig;

static void rig_close(rig *r) {
    dp_model_close(r->model);
    dp_engine_close(r->engine);
}

/* False, with the test skipped or failed, if there is none. plain: as if the device had neither f16 nor subgroups. */
static bool rig_open(rig *r, const char *name, bool plain) {
    char folder[300];
    *r = (rig){0};
    for (int i = 0; i < PROMPT; i++) r->prompt[i] = 3 + (i * 37 + i / 7) % 500;
    snprintf(folder, sizeof folder, "%s/%s", test_folder(), name);
    dp_status status = refmodel_write(name, "config.json", folder);
    if (status == DP_OK) status = refmodel_add_tokenizer(folder);
    if (status == DP_OK) status = dp_engine_open(&(dp_engine_desc){.backend = DP_BACKEND_GPU, .gpu_plain = plain}, &r->engine);
    if (status == DP_OK) status = dp_model_open(r->engine, folder, NULL, &r->model);
    if (test_opened(status)) return true;
    rig_close(r);
    return false;
}

/* ahead: how many draws are kept under way, -n: sent n at a time; 0: as the engine sees fit. */
static dp_session *open_session(const rig *r, int32_t batch, int32_t ahead) {
    dp_session *s = NULL;
    if (dp_session_new(r->model, &(dp_session_desc){.context = CONTEXT, .batch = batch}, &s) != DP_OK) return NULL;
    s->ahead = DP_MAX(ahead, 0);
    s->together = DP_MAX(-ahead, 0);
    return s;
}

/* ---- what is generated ---- */

typedef struct heard {
    int32_t ids[TOKENS_MAX];
    int count, stop_at; /* stop_at: the caller stops at that token, 0: never */
    char text[4096];
    size_t size;
} heard;

static bool on_token(void *user, int32_t id) {
    heard *h = user;
    if (h->count < TOKENS_MAX) h->ids[h->count] = id;
    return ++h->count != h->stop_at;
}

static bool on_text(void *user, const char *text, size_t size) {
    heard *h = user;
    if (h->size + size < sizeof h->text) memcpy(h->text + h->size, text, size), h->size += size;
    return true;
}

static dp_status generate(dp_session *s, const int32_t *prompt, size_t count, heard *h, dp_generate_desc desc, dp_generate_result *result) {
    *h = (heard){.stop_at = h->stop_at};
    desc.prompt = prompt;
    desc.prompt_count = count;
    desc.on_token = on_token;
    desc.on_text = on_text;
    desc.user = h;
    return dp_session_generate(s, &desc, result);
}

/* The same, one evaluation at a time, drawn on the host. */
static dp_status step_by_step(dp_session *s, const int32_t *prompt, size_t count, const dp_sampling *sampling, int32_t tokens, int32_t *ids) {
    dp_sampler *sampler;
    TRY(dp_session_eval(s, prompt, count, NULL));
    TRY(dp_sampler_new(sampling, VOCAB, &sampler));
    dp_status status = DP_OK;
    for (int32_t i = 0; i < tokens && status == DP_OK; i++) {
        ids[i] = dp_sampler_draw(sampler, dp_session_logits(s), dp_session_ids(s), (size_t)dp_session_length(s));
        if (i + 1 < tokens) status = dp_session_eval(s, &ids[i], 1, NULL);
    }
    dp_sampler_free(sampler);
    return status;
}

TEST(greedy_tokens_in_flight_are_those_of_single_steps) {
    for (size_t i = 0; refmodel_case(i); i++) {
        rig r;
        heard h = {0};
        int32_t expected[30];
        if (!rig_open(&r, refmodel_case(i), false)) return;
        dp_session *a = open_session(&r, 0, 0), *b = open_session(&r, 0, 4);
        CHECK(a && b);
        CHECK_OK(step_by_step(a, r.prompt, PROMPT, &(dp_sampling){0}, 30, expected));
        CHECK_OK(generate(b, r.prompt, PROMPT, &h, (dp_generate_desc){.max_tokens = 30, .ignore_end = true}, NULL));
        CHECK_MSG(h.count == 30 && memcmp(h.ids, expected, sizeof expected) == 0, "%s: other tokens", refmodel_case(i));
        CHECK(dp_session_length(b) == PROMPT + 29 && memcmp(dp_session_ids(b) + PROMPT, expected, 29 * sizeof(int32_t)) == 0);
        dp_session_free(a);
        dp_session_free(b);
        rig_close(&r);
    }
}

static void check_sampled(const rig *r, const dp_sampling *sampling) {
    int32_t expected[40];
    dp_session *a = open_session(r, 0, 0);
    CHECK(a);
    CHECK_OK(step_by_step(a, r->prompt, PROMPT, sampling, 40, expected));
    dp_session_free(a);
    for (int32_t ahead = 3; ahead >= -4; ahead -= 7) {
        heard h = {0};
        dp_session *b = open_session(r, 0, ahead);
        int same = 0;
        CHECK(b);
        CHECK_OK(generate(b, r->prompt, PROMPT, &h, (dp_generate_desc){.max_tokens = 40, .ignore_end = true, .sampling = *sampling}, NULL));
        while (same < 40 && h.ids[same] == expected[same]) same++;
        CHECK_MSG(h.count == 40 && same == 40, "%d ahead, temperature %g, top-k %d, top-p %g, min-p %g, penalty %g: token %d differs", (int)ahead,
                  (double)sampling->temperature, (int)sampling->top_k, (double)sampling->top_p, (double)sampling->min_p,
                  (double)sampling->repetition_penalty, same);
        dp_session_free(b);
    }
}

/* Random numbers, filters and the penalty's ids on the device against the host's sampler on the device's logits. */
TEST(sampled_tokens_in_flight_are_those_of_single_steps) {
    static const dp_sampling cases[] = {
        {.repetition_penalty = 1.5f},
        {.repetition_penalty = 1.3f, .repeat_last = 7},
        {.temperature = 1, .seed = 1},
        {.temperature = 0.7f, .seed = 99, .repetition_penalty = 1.2f, .repeat_last = 20},
        {.temperature = 1, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f, .seed = 5},
        {.temperature = 1.2f, .top_p = 0.9f, .repetition_penalty = 1.1f, .seed = 6},
    };
    for (int plain = 0; plain < 2; plain++) {
        rig r;
        if (!rig_open(&r, "llama", plain)) return;
        for (size_t i = 0; i < DP_COUNT(cases); i++) check_sampled(&r, &cases[i]);
        rig_close(&r);
    }
}

/* ---- what is left behind ---- */

/* The session must be as one that evaluated its ids, the first `prompt` of them in one go and the others one by one, and
 * both must go on alike: greedily from the logits they have, then after some given tokens. */
static void check_clean(const rig *r, dp_session *s, int32_t prompt, int32_t batch) {
    static const int32_t more[] = {17, 400, 3};
    heard a = {0}, b = {0};
    dp_session *fresh = open_session(r, batch, 1);
    int32_t length = dp_session_length(s), room = dp_session_context(s) - length, want = DP_MIN(6, room);
    CHECK(fresh);
    CHECK_OK(dp_session_eval(fresh, dp_session_ids(s), (size_t)prompt, NULL));
    for (int32_t i = prompt; i < length; i++) CHECK_OK(dp_session_eval(fresh, dp_session_ids(s) + i, 1, NULL));
    CHECK(dp_session_logits(s) && memcmp(dp_session_logits(s), dp_session_logits(fresh), VOCAB * sizeof(float)) == 0);
    if (want > 0) {
        const dp_generate_desc desc = {.max_tokens = want, .ignore_end = true};
        CHECK_OK(generate(s, NULL, 0, &a, desc, NULL));
        CHECK_OK(generate(fresh, NULL, 0, &b, desc, NULL));
        CHECK(a.count == want && b.count == want && memcmp(a.ids, b.ids, (size_t)want * sizeof(int32_t)) == 0);
    }
    if (room >= want + 3) {
        CHECK_OK(dp_session_eval(s, more, 3, NULL));
        CHECK_OK(dp_session_eval(fresh, more, 3, NULL));
        CHECK(memcmp(dp_session_logits(s), dp_session_logits(fresh), VOCAB * sizeof(float)) == 0);
    }
    dp_session_free(fresh);
}

/* All ways to end, with `ahead` draws under way, at places where more would come. */
static void check_ends(const char *name, int32_t batch, int32_t ahead) {
    rig r;
    heard whole = {0}, h = {0};
    dp_generate_result result;
    if (!rig_open(&r, name, false)) return;
    dp_session *s = open_session(&r, batch, ahead);
    CHECK(s);
    CHECK_OK(generate(s, r.prompt, PROMPT, &whole, (dp_generate_desc){.max_tokens = 30, .ignore_end = true}, &result));
    CHECK(result.reason == DP_STOP_LENGTH && result.new_tokens == 30 && whole.count == 30);
    check_clean(&r, s, PROMPT, batch);

    for (int at = 1; at < 12; at += 5) { /* the caller stops */
        CHECK(dp_session_truncate(s, 0) == 0);
        h.stop_at = at;
        CHECK_OK(generate(s, r.prompt, PROMPT, &h, (dp_generate_desc){.max_tokens = 30, .ignore_end = true}, &result));
        CHECK(result.reason == DP_STOP_CALLER && h.count == at && dp_session_length(s) == PROMPT + at - 1);
        CHECK(memcmp(h.ids, whole.ids, (size_t)at * sizeof(int32_t)) == 0);
        check_clean(&r, s, PROMPT, batch);
    }
    h.stop_at = 0;

    size_t middle = whole.size / 2; /* a stop string */
    char stop[4] = {whole.text[middle], whole.text[middle + 1], whole.text[middle + 2], 0};
    const char *stops[] = {stop};
    CHECK(dp_session_truncate(s, 0) == 0);
    CHECK_OK(generate(s, r.prompt, PROMPT, &h, (dp_generate_desc){.max_tokens = 30, .ignore_end = true, .stops = stops, .stop_count = 1}, &result));
    CHECK(result.reason == DP_STOP_STRING && h.size <= middle && memcmp(h.text, whole.text, h.size) == 0);
    CHECK(dp_session_length(s) == PROMPT + h.count - 1);
    check_clean(&r, s, PROMPT, batch);

    CHECK(dp_session_truncate(s, 0) == 0); /* a full context: the last token drawn has no place in it */
    CHECK_OK(generate(s, r.prompt, PROMPT, &h, (dp_generate_desc){.ignore_end = true}, &result));
    CHECK(result.reason == DP_STOP_CONTEXT && result.new_tokens == CONTEXT - PROMPT + 1 && dp_session_length(s) == CONTEXT);
    check_clean(&r, s, PROMPT, batch);

    dp_session_free(s);
    rig_close(&r);
}

TEST(every_end_leaves_a_clean_session) {
    for (int32_t ahead = -4; ahead <= DP_DRAWS_MOST; ahead += 4) check_ends("llama", 0, ahead);
    check_ends("llama", 0, -3);
}

/* Batches of one make the rings as small as they can be. */
TEST(every_end_leaves_sliding_windows_whole) {
    check_ends("gemma3", 1, DP_DRAWS_MOST);
    check_ends("mistral", 7, DP_DRAWS_MOST);
    check_ends("gpt-oss", 1, 3);
    check_ends("mistral", 1, -4);
}

/* Random models seldom draw an end token: seeds are tried until one does so in mid-flight. */
TEST(an_end_token_in_flight_leaves_a_clean_session) {
    rig r;
    int found = 0;
    if (!rig_open(&r, "llama", false)) return;
    dp_session *s = open_session(&r, 0, -4);
    CHECK(s);
    for (uint64_t seed = 1; seed <= 200 && found < 2; seed++) {
        heard h = {0};
        dp_generate_result result;
        const dp_generate_desc desc = {.max_tokens = CONTEXT - PROMPT, .sampling = {.temperature = 3, .seed = seed}};
        CHECK(dp_session_truncate(s, 0) == 0);
        CHECK_OK(generate(s, r.prompt, PROMPT, &h, desc, &result));
        if (result.reason != DP_STOP_END || h.count < 2) continue;
        found++;
        CHECK(result.new_tokens == h.count && dp_session_length(s) == PROMPT + h.count);
        CHECK(memcmp(dp_session_ids(s) + PROMPT, h.ids, (size_t)h.count * sizeof(int32_t)) == 0);
        check_clean(&r, s, PROMPT, 0);
    }
    CHECK_MSG(found == 2, "no seed drew an end token");
    dp_session_free(s);
    rig_close(&r);
}

/* A host that drives the steps itself may give up at any of them. */
TEST(a_generation_given_up_leaves_a_clean_session) {
    rig r;
    if (!rig_open(&r, "qwen3", false)) return;
    for (int steps = 1; steps < 8; steps += 2) {
        dp_generation *g;
        dp_generate_result result;
        bool more = true;
        dp_session *s = open_session(&r, 16, steps == 5 ? -3 : 5);
        const dp_generate_desc desc = {.prompt = r.prompt, .prompt_count = 16, .ignore_end = true};
        CHECK(s);
        CHECK_OK(dp_generation_new(s, &desc, &result, &g));
        for (int i = 0; i < steps; i++) CHECK_OK(dp_generation_step(g, &more));
        dp_generation_free(g);
        CHECK(more && dp_session_length(s) == 16 + DP_MAX(0, steps - 2));
        check_clean(&r, s, 16, 16);
        dp_session_free(s);
    }
    rig_close(&r);
}

/* Where the device cannot tell which token is next, the host draws, and the device goes on from there. */
static const dp_backend_api *real;
static int draws_seen, undecided_every;

static dp_status sometimes_undecided(dp_plan *plan, int32_t *id) {
    dp_status status = real->drawn(plan, id);
    if (++draws_seen % undecided_every == 0) *id = -1;
    return status;
}

TEST(draws_left_to_the_host_change_nothing) {
    const dp_sampling sampling = {.temperature = 0.8f, .repetition_penalty = 1.2f, .repeat_last = 9, .seed = 3};
    rig r;
    int32_t expected[40];
    if (!rig_open(&r, "gemma3", false)) return;
    dp_session *s = open_session(&r, 0, 1);
    CHECK(s);
    CHECK_OK(step_by_step(s, r.prompt, PROMPT, &sampling, 40, expected));
    dp_session_free(s);
    real = r.engine->backend->api;
    dp_backend_api patched = *real;
    patched.drawn = sometimes_undecided;
    for (int ahead = -3; ahead < 6; ahead += 2) {
        for (undecided_every = 1; undecided_every < 16; undecided_every += 5) {
            heard h = {0};
            draws_seen = 0;
            s = open_session(&r, 0, ahead);
            CHECK(s);
            r.engine->backend->api = &patched;
            CHECK_OK(generate(s, r.prompt, PROMPT, &h, (dp_generate_desc){.max_tokens = 40, .ignore_end = true, .sampling = sampling}, NULL));
            r.engine->backend->api = real;
            CHECK_MSG(h.count == 40 && memcmp(h.ids, expected, sizeof expected) == 0, "%d ahead, every %dth left to the host: other tokens", ahead, undecided_every);
            check_clean(&r, s, PROMPT, 0);
            dp_session_free(s);
        }
    }
    rig_close(&r);
}

TEST_MAIN()
