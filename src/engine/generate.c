/* generate.c: the loop from a prompt to text: prefill, then sample, decode, stop, feed back. */
#include "engine/generate.h"

#include "engine/draws.h"
#include "engine/engine.h"

typedef struct dp_generation generation;
struct dp_generation {
    dp_session *session;
    const dp_generate_desc *desc;
    dp_generate_result *result;
    dp_draws *draws;
    dp_decoder *decoder;
    dp_buf held; /* text not yet passed on: it may be the beginning of a stop string */
    size_t prompt_done;
    bool feeding;   /* the device has the next chunk, but was not waited for yet */
    double step_began; /* seconds; 0: between two steps */
    bool decoding; /* the first token is there */
    bool stopped;
};

/* ---- text ---- */

static void stop(generation *g, dp_stop_reason reason) {
    g->result->reason = reason;
    g->stopped = true;
}

static void pass_on(generation *g, size_t size) {
    if (size && g->desc->on_text && !g->desc->on_text(g->desc->user, g->held.data, size)) stop(g, DP_STOP_CALLER);
    memmove(g->held.data, g->held.data + size, g->held.size - size);
    g->held.size -= size;
}

/* The first place where a stop string stands, or where one might begin at the end of the text; held.size if none. */
static size_t first_stop(const generation *g, bool *whole) {
    size_t best = g->held.size;
    *whole = false;
    for (size_t i = 0; i < g->desc->stop_count; i++) {
        size_t n = strlen(g->desc->stops[i]);
        for (size_t at = 0; n && at < best; at++) {
            size_t room = g->held.size - at;
            if (memcmp(g->held.data + at, g->desc->stops[i], DP_MIN(n, room)) != 0) continue;
            best = at;
            *whole = n <= room;
        }
    }
    return best;
}

static dp_status emit(generation *g, const char *text, size_t size) {
    bool whole;
    if (!size) return DP_OK;
    dp_buf_append(&g->held, text, size);
    if (g->held.failed) return dp_no_memory(size);
    size_t at = first_stop(g, &whole);
    if (at) pass_on(g, at);
    if (whole && !g->stopped) stop(g, DP_STOP_STRING);
    return DP_OK;
}

/* What the decoder and the stop check still hold, unless a stop string ended the text. */
static dp_status flush(generation *g) {
    const char *text;
    size_t size;
    if (g->result->reason == DP_STOP_STRING || g->result->reason == DP_STOP_CALLER) return DP_OK;
    if (g->decoder) {
        TRY(dp_decoder_finish(g->decoder, &text, &size));
        TRY(emit(g, text, size));
    }
    if (g->held.size && g->result->reason != DP_STOP_STRING) pass_on(g, g->held.size);
    return DP_OK;
}

/* ---- tokens ---- */

/* The seconds that a step took, waiting included, once it is over. */
static double since_began(generation *g) {
    double seconds = dp_host_seconds() - g->step_began;
    g->step_began = 0;
    return seconds;
}

static dp_status check_prompt(const generation *g) {
    size_t room = (size_t)(g->session->context - g->session->length);
    if (g->desc->prompt_count <= room) return DP_OK;
    return dp_fail(DP_E_CONTEXT, "the prompt has %zu tokens, but only %zu of the context's %d positions are free", g->desc->prompt_count,
                   room, (int)g->session->context);
}

/* One chunk of the prompt. The device may still be at work on the last one when this returns: the first token waits. */
static dp_status prefill(generation *g) {
    const dp_generate_desc *d = g->desc;
    size_t n = DP_MIN((size_t)g->session->batch, d->prompt_count - g->prompt_done);
    bool last = g->prompt_done + n == d->prompt_count;
    if (!g->feeding) TRY(dp_session_feed(g->session, d->prompt + g->prompt_done, n));
    g->feeding = true;
    if (!last || !dp_draws_on_device(g->draws)) TRY(dp_session_fetch_logits(g->session, false));
    g->feeding = false;
    g->prompt_done += n;
    g->result->prompt_tokens = (int32_t)g->prompt_done;
    g->result->prefill_seconds += since_began(g);
    if (d->on_prefill && !d->on_prefill(d->user, g->prompt_done, d->prompt_count))
        return dp_fail(DP_E_CANCELLED, "cancelled while reading the prompt");
    return DP_OK;
}

static dp_status next_token(generation *g) {
    const dp_session *s = g->session;
    const dp_tokenizer *tokenizer = s->model->tokenizer;
    int32_t id;
    TRY(dp_draws_next(g->draws, &id));
    if (tokenizer && !g->desc->ignore_end && dp_tokenizer_is_end(tokenizer, id)) {
        stop(g, DP_STOP_END);
        return DP_OK;
    }
    g->result->new_tokens++;
    if (g->desc->on_token && !g->desc->on_token(g->desc->user, id)) {
        stop(g, DP_STOP_CALLER);
        return DP_OK;
    }
    if (g->decoder) {
        const char *text;
        size_t size;
        TRY(dp_decoder_feed(g->decoder, id, &text, &size));
        TRY(emit(g, text, size));
    }
    if (g->stopped) return DP_OK;
    if (g->desc->max_tokens > 0 && g->result->new_tokens >= g->desc->max_tokens) stop(g, DP_STOP_LENGTH);
    else if (s->length >= s->context) stop(g, DP_STOP_CONTEXT);
    return DP_OK;
}

static dp_status decode(generation *g) {
    if (g->session->logits_at == DP_LOGITS_NONE) return dp_fail(DP_E_ARG, "the prompt is empty: there is nothing to continue");
    dp_status status = next_token(g);
    if (status == DP_WAITING) return status;
    *(g->decoding ? &g->result->decode_seconds : &g->result->prefill_seconds) += since_began(g);
    g->decoding = true;
    if (status == DP_OK && g->stopped) status = flush(g);
    return status;
}

dp_status dp_generation_new(dp_session *session, const dp_generate_desc *desc, dp_generate_result *result, dp_generation **out) {
    generation *g = dp_calloc(1, sizeof *g);
    if (!g) return dp_no_memory(sizeof *g);
    *g = (generation){.session = session, .desc = desc, .result = result};
    *result = (dp_generate_result){0};
    dp_status status = dp_draws_new(session, &desc->sampling, desc->max_tokens, &g->draws);
    if (status == DP_OK && session->model->tokenizer) status = dp_decoder_new(session->model->tokenizer, !desc->show_special, &g->decoder);
    if (status == DP_OK) status = check_prompt(g);
    if (status == DP_OK) *out = g;
    else dp_generation_free(g);
    return status;
}

dp_status dp_generation_step(dp_generation *g, bool *more) {
    if (g->step_began == 0) g->step_began = dp_host_seconds();
    TRY(g->prompt_done < g->desc->prompt_count ? prefill(g) : decode(g));
    *more = !g->stopped;
    return DP_OK;
}

void dp_generation_free(dp_generation *g) {
    if (!g) return;
    dp_draws_free(g->draws);
    dp_decoder_free(g->decoder);
    dp_buf_free(&g->held);
    dp_free(g);
}

dp_status dp_session_generate(dp_session *session, const dp_generate_desc *desc, dp_generate_result *result) {
    dp_generate_result own;
    dp_generation *g;
    bool more = true;
    if (!session || !desc || (!desc->prompt && desc->prompt_count))
        return dp_fail(DP_E_ARG, "dp_session_generate: session, desc or prompt is NULL");
    TRY(dp_generation_new(session, desc, result ? result : &own, &g));
    dp_status status = DP_OK;
    while (status == DP_OK && more) status = dp_generation_step(g, &more);
    dp_generation_free(g);
    return status;
}
