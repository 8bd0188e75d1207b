/* draws.c: see draws.h. On the device a draw is enqueued behind the step that makes its logits, and the step behind it takes
 * its token from the device. How many are under way follows from the time that a token takes: enough to keep the device busy
 * while the host waits for an id, looks at it and encodes the next step, and no more, since what runs behind the last token
 * of a text is work for nothing. */
#include "engine/draws.h"

#include "engine/engine.h"
#include "engine/sampling.h"

#ifdef __wasm__
#define SLACK 1e-3 /* seconds of work that hide the host's part of a token: JavaScript takes its time for each dispatch */
#else
#define SLACK 0.5e-3
#endif
#define LONG 20e-3   /* a token that takes so long hides nothing worth having */
enum { UNDECIDED_MOST = 4 };

struct dp_draws {
    dp_session *session;
    dp_sampling sampling;
    dp_sampler *sampler;
    uint64_t taken;  /* tokens */
    int32_t most;    /* of them; 0: no limit */
    int32_t last;    /* the last one taken, not yet part of the session; -1: none */
    bool device;     /* draws happen there */
    bool begun;      /* and have their rules */
    bool there;      /* the device has the last token */
    int32_t flying;  /* draws under way there */
    int32_t undecided; /* draws that the device left to the host */
    bool here;         /* the next one is such a draw, or one that the device would take long to be ready for */
    double interval; /* seconds between tokens, of late */
    double taken_at; /* when the last one was taken */
};

static const dp_backend_api *api_of(const dp_draws *d) { return d->session->model->engine->backend->api; }

dp_status dp_draws_new(dp_session *session, const dp_sampling *sampling, int32_t most, dp_draws **out) {
    dp_draws *d = dp_calloc(1, sizeof *d);
    if (!d) return dp_no_memory(sizeof *d);
    *d = (dp_draws){.session = session, .sampling = *sampling, .most = most, .last = -1};
    bool routed = session->routing && !session->routing_blind;
    d->device = api_of(d)->draw && !session->trace && !session->profile && !routed;
    d->here = d->device && api_of(d)->draw_is_far(session->plan);
    dp_status status = dp_sampler_new(sampling, session->model->built->program->vocab, &d->sampler);
    if (status != DP_OK) {
        dp_free(d);
        return status;
    }
    *out = d;
    return DP_OK;
}

bool dp_draws_on_device(const dp_draws *d) { return d->device; }

/* Steps under way behind the last token taken never were. */
static void land(dp_draws *d) {
    dp_session *s = d->session;
    if (!d->flying) return;
    api_of(d)->draw_end(s->plan);
    d->flying = 0;
    if (d->last < 0) return; /* that draw had no step */
    s->length = api_of(d)->kv_truncate(s->kv, s->length);
    s->logits_at = DP_LOGITS_LOST;
}

void dp_draws_free(dp_draws *d) {
    if (!d) return;
    land(d);
    dp_sampler_free(d->sampler);
    dp_free(d);
}

/* ---- on the host ---- */

static dp_status draw_here(dp_draws *d, int32_t *id) {
    dp_session *s = d->session;
    if (d->last >= 0) TRY(dp_session_feed(s, &d->last, 1));
    d->last = -1; /* it has joined: a call that comes again after DP_WAITING does not feed it again */
    TRY(dp_session_fetch_logits(s, false));
    dp_sampler_seek(d->sampler, d->taken);
    *id = dp_sampler_draw(d->sampler, s->logits, s->ids, (size_t)s->length);
    d->here = false;
    return DP_OK;
}

/* ---- on the device ---- */

/* Sets the rules; draws stay on the host where the device does not know them. */
static dp_status begin(dp_draws *d) {
    dp_session *s = d->session;
    int32_t count = s->length;
    if (d->last >= 0) s->ids[count++] = d->last;
    else TRY(dp_session_fetch_logits(s, true));
    const dp_draw_rules rules = {d->sampling, d->taken, s->ids, count, s->context};
    dp_status status = api_of(d)->draw_begin(s->plan, &rules);
    d->begun = status == DP_OK;
    d->there = false;
    d->device = status != DP_E_UNSUPPORTED;
    return d->device ? status : DP_OK;
}

/* Draws wanted under way. None runs ahead of the first token: it may be the last, and the prompt's logits are worth keeping. */
static int32_t depth(const dp_draws *d) {
    const dp_pager *pager = d->session->model->built->program->pager;
    if (d->last < 0 || (pager && !pager->homed)) return 1; /* paged steps wait for the device anyway, unless it fetches by itself */
    if (d->session->ahead > 0) return DP_MIN(d->session->ahead, DP_DRAWS_MOST);
    if (d->interval > LONG) return 1;
    return d->interval > 0 ? (int32_t)DP_MIN(1 + SLACK / d->interval + 1, DP_DRAWS_MOST) : 2;
}

/* One more draw, with the step that evaluates the token before it. */
static dp_status enqueue(dp_draws *d) {
    dp_session *s = d->session;
    dp_step step;
    if (d->last < 0) {
        TRY(api_of(d)->draw(s->plan, NULL));
    } else {
        TRY(dp_session_step(s, d->there ? NULL : &d->last, 1, d->flying, 1, &step));
        TRY(api_of(d)->draw(s->plan, &step));
    }
    d->there = true;
    d->flying++;
    return DP_OK;
}

static bool may_enqueue(const dp_draws *d) {
    bool wanted = d->most == 0 || d->taken + (uint64_t)d->flying < (uint64_t)d->most;
    return wanted && (d->last < 0 || d->session->length + d->flying < d->session->context);
}

/* The last token has become part of the session. */
static void join(dp_draws *d) {
    dp_session *s = d->session;
    if (d->last < 0) return;
    s->ids[s->length++] = d->last;
    s->logits_at = DP_LOGITS_DEVICE;
}

/* The device could not tell: the host draws from the same logits, and the device goes on from that token, unless this
 * happens too often. */
static dp_status draw_undecided(dp_draws *d, int32_t *id) {
    land(d);
    d->last = -1; /* it has joined */
    d->begun = false;
    d->here = true;
    if (++d->undecided >= UNDECIDED_MOST) d->device = false;
    return draw_here(d, id);
}

static dp_status draw_there(dp_draws *d, int32_t *id) {
    dp_session *s = d->session;
    for (int32_t wanted = depth(d); d->flying == 0 || (d->flying < wanted && may_enqueue(d));) TRY(enqueue(d));
    TRY(api_of(d)->drawn(s->plan, id));
    d->flying--;
    join(d);
    double now = dp_host_seconds(), passed = now - d->taken_at;
    if (d->last >= 0) d->interval = d->interval > 0 ? 0.75 * d->interval + 0.25 * passed : passed;
    d->taken_at = now;
    return *id < 0 ? draw_undecided(d, id) : DP_OK;
}

dp_status dp_draws_next(dp_draws *d, int32_t *id) {
    if (d->device && !d->here && !d->begun) TRY(begin(d));
    TRY(d->device && !d->here ? draw_there(d, id) : draw_here(d, id));
    d->last = *id;
    d->taken++;
    return DP_OK;
}
