/* tokenizer_encode.c: text to ids. Pre-tokenizer steps run one inside the other: each hands its pieces to the next as
 * it finds them, so no list of words is ever made. */
#include "text/tokenizer_parts.h"

typedef struct encoder {
    const dp_tokenizer *t;
    dp_ids ids;
    dp_bpe_scratch bpe;
    dp_normalizer_scratch normalizer;
    dp_regex_scratch regex;
    dp_buf spaced[DP_STEPS_MAX]; /* by pre-tokenizer step: its piece with spaces added or replaced */
} encoder;

static dp_status run_step(encoder *e, size_t index, dp_str piece, bool first);

/* ---- splitting ---- */

typedef struct splitter {
    encoder *e;
    size_t index; /* of the step */
    dp_str text;
    bool first;   /* `text` starts where the whole input starts */
    size_t start, end;
    bool has, match; /* a piece start..end is being held back, and whether it ends in a match */
} splitter;

static dp_status release(splitter *s) {
    bool has = s->has;
    s->has = false;
    if (!has || s->start == s->end) return DP_OK;
    return run_step(s->e, s->index + 1, (dp_str){s->text.p + s->start, s->end - s->start}, s->first && s->start == 0);
}

/* Takes the next stretch of the text, which is a match of the pattern or lies between two, and decides whether it
 * belongs to the piece that is held back. */
static dp_status feed(splitter *s, size_t start, size_t end, bool match) {
    const dp_text_step *step = &s->e->t->pre_tokenizer.step[s->index];
    bool join = false;
    if (start == end) return DP_OK;
    match = match != step->invert;
    switch (step->behavior) {
    case DP_SPLIT_REMOVED:
        if (match) return release(s);
        break;
    case DP_SPLIT_ISOLATED: break;
    case DP_SPLIT_CONTIGUOUS: join = s->has && s->match == match; break;
    case DP_SPLIT_MERGED_WITH_PREVIOUS: join = s->has && match && !s->match; break;
    case DP_SPLIT_MERGED_WITH_NEXT: join = s->has && !match && s->match; break;
    }
    if (!join) {
        TRY(release(s));
        s->start = start;
    }
    s->end = end;
    s->has = true;
    s->match = match;
    return DP_OK;
}

static dp_status split(encoder *e, size_t index, dp_str text, bool first) {
    const dp_text_step *step = &e->t->pre_tokenizer.step[index];
    splitter s = {.e = e, .index = index, .text = text, .first = first};
    size_t done = 0, from = 0;
    for (dp_match match; from <= text.n; from = match.end + (match.end == match.start)) {
        TRY(dp_text_step_find(step, &e->regex, text, from, &match));
        if (!match.found) break;
        TRY(feed(&s, done, match.start, false));
        if (match.start == match.end) TRY(release(&s)); /* an empty match only separates */
        TRY(feed(&s, match.start, match.end, true));
        done = match.end;
    }
    TRY(feed(&s, done, text.n, false));
    return release(&s);
}

static dp_status metaspace(encoder *e, size_t index, dp_str text, bool first) {
    const dp_text_step *step = &e->t->pre_tokenizer.step[index];
    dp_buf *out = &e->spaced[index];
    dp_buf_clear(out);
    bool starts =
        text.n && (text.p[0] == ' ' || (text.n >= step->text.n && !memcmp(text.p, step->text.p, step->text.n)));
    bool prepend = step->scheme == DP_PREPEND_ALWAYS || (step->scheme == DP_PREPEND_FIRST && first);
    if (prepend && !starts) dp_buf_append(out, step->text.p, step->text.n);
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == ' ') dp_buf_append(out, step->text.p, step->text.n);
        else dp_buf_char(out, text.p[i]);
    }
    if (out->failed) return dp_no_memory(text.n);
    dp_str all = {out->data, out->size};
    if (!step->split) return run_step(e, index + 1, all, first);
    dp_text_step mark = {.text = step->text};
    for (size_t start = 0; start < all.n;) { /* pieces begin at each mark */
        dp_match next;
        TRY(dp_text_step_find(&mark, &e->regex, all, DP_MIN(start + step->text.n, all.n), &next));
        if (start == 0 && memcmp(all.p, step->text.p, DP_MIN(step->text.n, all.n)) != 0)
            TRY(dp_text_step_find(&mark, &e->regex, all, 0, &next));
        size_t end = next.found ? next.start : all.n;
        TRY(run_step(e, index + 1, (dp_str){all.p + start, end - start}, first && start == 0));
        start = end;
    }
    return DP_OK;
}

static dp_status space_first(encoder *e, size_t index, dp_str text, bool first) {
    dp_buf *out = &e->spaced[index];
    if (text.p[0] == ' ') return run_step(e, index + 1, text, first);
    dp_buf_clear(out);
    dp_buf_char(out, ' ');
    dp_buf_append(out, text.p, text.n);
    return out->failed ? dp_no_memory(text.n) : run_step(e, index + 1, (dp_str){out->data, out->size}, first);
}

/* Runs the pre-tokenizer from step `index` on over one piece, which is not empty. */
static dp_status run_step(encoder *e, size_t index, dp_str piece, bool first) {
    const dp_text_steps *steps = &e->t->pre_tokenizer;
    if (index == steps->count) return dp_bpe_encode(&e->t->bpe, &e->bpe, piece, &e->ids);
    switch (steps->step[index].kind) {
    case DP_STEP_SPLIT: return split(e, index, piece, first);
    case DP_STEP_METASPACE: return metaspace(e, index, piece, first);
    case DP_STEP_SPACE_FIRST: return space_first(e, index, piece, first);
    default: return run_step(e, index + 1, piece, first); /* BYTE_LEVEL: words are bytes already */
    }
}

/* ---- added tokens ---- */

static dp_status add_id(encoder *e, int32_t id) {
    return dp_ids_add(&e->ids, id) ? DP_OK : dp_no_memory((e->ids.count + 1) * sizeof id);
}

typedef dp_status (*between_fn)(encoder *e, dp_str text, bool first);

/* Hands what lies between the set's tokens to `between`, and adds the tokens' ids. */
static dp_status split_at_added(encoder *e, const dp_added_set *set, dp_str text, bool first, between_fn between) {
    size_t done = 0;
    for (size_t start, end; done < text.n; done = end) {
        const dp_added_token *token = dp_added_find(set, text, done, &start, &end);
        if (!token) break;
        if (start > done) TRY(between(e, (dp_str){text.p + done, start - done}, first && done == 0));
        TRY(add_id(e, token->id));
    }
    if (done == text.n) return DP_OK;
    return between(e, (dp_str){text.p + done, text.n - done}, first && done == 0);
}

static dp_status pre_tokenize(encoder *e, dp_str text, bool first) {
    dp_regex_scratch_begin(&e->regex, text.n);
    return run_step(e, 0, text, first);
}

static dp_status normalize(encoder *e, dp_str text, bool first) {
    TRY(dp_tokenizer_normalize(&e->t->normalizer, &e->normalizer, text, &text));
    return text.n ? split_at_added(e, &e->t->normalized, text, first, pre_tokenize) : DP_OK;
}

static dp_status encode(encoder *e, dp_str text, bool special) {
    const dp_tokenizer *t = e->t;
    for (size_t i = 0; i < t->prefix_count && special; i++) TRY(add_id(e, t->prefix[i]));
    TRY(dp_bpe_scratch_begin(&e->bpe, text.n));
    TRY(split_at_added(e, &t->plain, text, true, normalize));
    for (size_t i = 0; i < t->suffix_count && special; i++) TRY(add_id(e, t->suffix[i]));
    if (!e->ids.p && !dp_grow((void **)&e->ids.p, &e->ids.capacity, 1, sizeof *e->ids.p)) /* never hand out NULL */
        return dp_no_memory(sizeof *e->ids.p);
    return DP_OK;
}

static void encoder_free(encoder *e) {
    dp_free(e->ids.p);
    dp_bpe_scratch_free(&e->bpe);
    dp_buf_free(&e->normalizer.buffers[0]);
    dp_buf_free(&e->normalizer.buffers[1]);
    dp_regex_scratch_free(&e->normalizer.regex);
    dp_regex_scratch_free(&e->regex);
    for (size_t i = 0; i < DP_STEPS_MAX; i++) dp_buf_free(&e->spaced[i]);
}

dp_status dp_tokenizer_encode(const dp_tokenizer *t, const char *text, size_t size, bool special, int32_t **ids,
                              size_t *count) {
    encoder e = {.t = t};
    dp_buf repaired = {0};
    if (!t || !ids || !count || (!text && size)) return dp_fail(DP_E_ARG, "dp_tokenizer_encode: tokenizer, text, ids or count is NULL");
    dp_str input = {text ? text : "", text ? size : 0};
    if (!dp_utf8_valid(input)) {
        dp_utf8_repair(input, false, &repaired);
        input = (dp_str){repaired.data, repaired.size};
    }
    dp_status status = repaired.failed ? dp_no_memory(size) : encode(&e, input, special);
    if (status == DP_OK) {
        *ids = e.ids.p;
        *count = e.ids.count;
        e.ids.p = NULL;
    }
    encoder_free(&e);
    dp_buf_free(&repaired);
    return status;
}
