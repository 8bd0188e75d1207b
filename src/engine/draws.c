/* draws.c: see draws.h. On the device a draw is enqueued behind the step that makes its logits, and the step behind it takes
 * its token from the device. How many are under way follows from the time that a token takes: enough to keep the device busy
 * while the host waits for an id, looks at it and encodes the next step, and no more, since what runs behind the last token
 * of a text is work for nothing. Where the host is a browser and the device a program, both on the same processors, what a
 * submit and a readback cost slows the device: short tokens are sent some at a time, and as many are under way meanwhile. */
#include "engine/draws.h"

#include "engine/engine.h"
#include "engine/sampling.h"

#ifdef __wasm__
#define SLACK 1e-3 /* seconds of work that hide the host's part of a token: JavaScript takes its time for each dispatch */
#define TOGETHER 25e-3 /* seconds of work that are sent at once where host and device share processors: so much later comes a text */
#else
#define SLACK 0.5e-3
#define TOGETHER 0
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
    bool shares;     /* it computes on the host's processors */
    int32_t flying;  /* draws under way there */
    int32_t unsent;  /* the last ones of these, which wait for others */
    int32_t undecided; /* draws that the device left to the host */
    bool here;         /* the next one is such a draw, or one that the device would take long to be ready for */
    double interval; /* seconds between tokens, of late */
    double timed_at; /* when that was found */
    int32_t since;   /* tokens taken since */
};

static const dp_backend_api *api_of(const dp_draws *d) { return d->session->model->engine->backend->api; }

dp_status dp_draws_new(dp_session *session, const dp_sampling *sampling, int32_t most, dp_draws **out) {
    dp_draws *d = dp_calloc(1, sizeof *d);
    if (!d) return dp_no_memory(sizeof *d);
    *d = (dp_draws){.session = session, .sampling = *sampling, .most = most, .last = -1};
    bool routed = session->routing && !session->routing_blind;
    d->device = api_of(d)->draw && !session->trace && !session->profile && !routed;
    d->here = d->device && api_of(d)->draw_is_far(session->plan);
    d->shares = d->device && api_of(d)->draw_shares(session->plan);
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
    d->flying = d->unsent = 0;
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
    dp_pager *pager = d->session->model->built->program->pager;
    bool waits = pager && (!pager->homed || (pager->api->stream && pager->api->stream(pager)));
    if (d->last < 0 || waits) return 1; /* paged steps wait for the device anyway, unless it fetches experts by itself */
    if (d->session->ahead > 0) return DP_MIN(d->session->ahead, DP_DRAWS_MOST);
    if (d->interval > LONG) return 1;
    return d->interval > 0 ? (int32_t)DP_MIN(1 + SLACK / d->interval + 1, DP_DRAWS_MOST) : 2;
}

/* How many are sent at once. Ids come together then, so that the time between tokens says something of several only. */
static int32_t together(const dp_draws *d) {
    int32_t most = DP_DRAWS_MOST / 2, few = (int32_t)(d->interval > 0 ? DP_MIN(TOGETHER / d->interval, most) : 1);
    if (d->last < 0 || d->session->model->built->program->pager) return 1;
    if (d->session->together > 0) return DP_MIN(d->session->together, most);
    return d->shares && d->session->ahead == 0 ? DP_MAX(few, 1) : 1;
}

/* One more draw, with the step that evaluates the token before it. */
static dp_status enqueue(dp_draws *d, bool send) {
    dp_session *s = d->session;
    dp_step step;
    if (d->last < 0) {
        TRY(api_of(d)->draw(s->plan, NULL, send));
    } else {
        TRY(dp_session_step(s, d->there ? NULL : &d->last, 1, d->flying, 1, &step));
        TRY(api_of(d)->draw(s->plan, &step, send));
    }
    d->there = true;
    d->flying++;
    d->unsent = send ? 0 : d->unsent + 1;
    return DP_OK;
}

/* Whether one is wanted behind so many under way. */
static bool may_enqueue(const dp_draws *d, int32_t flying) {
    bool wanted = d->most == 0 || d->taken + (uint64_t)flying < (uint64_t)d->most;
    return wanted && (d->last < 0 || d->session->length + flying < d->session->context);
}

/* Sends what there is room for, whole groups: while one is waited for, the device has the next. */
static dp_status enqueue_more(dp_draws *d, int32_t group) {
    int32_t wanted = group > 1 ? 2 * group : depth(d);
    if (d->flying && !d->unsent && d->flying > wanted - group) return DP_OK;
    while (d->flying == 0 || (d->flying < wanted && may_enqueue(d, d->flying)))
        TRY(enqueue(d, d->unsent + 1 >= group || d->flying + 1 >= wanted || !may_enqueue(d, d->flying + 1)));
    return DP_OK;
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

static void find_interval(dp_draws *d, int32_t group) {
    double now = dp_host_seconds(), passed = (now - d->timed_at) / ++d->since;
    if (d->last >= 0 && d->since < group) return;
    if (d->last >= 0) d->interval = d->interval > 0 ? 0.75 * d->interval + 0.25 * passed : passed;
    d->timed_at = now;
    d->since = 0;
}

static dp_status draw_there(dp_draws *d, int32_t *id) {
    int32_t group = together(d);
    TRY(enqueue_more(d, group));
    TRY(api_of(d)->drawn(d->session->plan, id));
    d->flying--;
    join(d);
    find_interval(d, group);
    return *id < 0 ? draw_undecided(d, id) : DP_OK;
}

dp_status dp_draws_next(dp_draws *d, int32_t *id) {
    if (d->device && !d->here && !d->begun) TRY(begin(d));
    TRY(d->device && !d->here ? draw_there(d, id) : draw_here(d, id));
    d->last = *id;
    d->taken++;
    return DP_OK;
}
