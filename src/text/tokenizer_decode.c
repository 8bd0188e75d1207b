/* tokenizer_decode.c: ids to text, streaming. Each decoder step takes pieces of text and passes pieces on; only whole
 * characters come out at the end. Decoding a list of ids is feeding them one by one, so both give the same text. */
#include "text/tokenizer_parts.h"

typedef struct step_state {
    dp_buf held;      /* BYTE_LEVEL: the bytes of an unfinished character. BYTE_FALLBACK: the run of byte tokens */
    int64_t at_start; /* STRIP behind FUSE: characters that may still be dropped at the start */
    int64_t at_end;   /* ... and that are held back because they may be the last */
} step_state;

struct dp_decoder {
    const dp_tokenizer *t;
    bool skip_special;
    uint64_t tokens; /* fed and not skipped */
    step_state state[DP_STEPS_MAX];
    dp_buf token, out;
    dp_regex_scratch regex;
};

static dp_status push(dp_decoder *d, size_t index, dp_str piece);

static dp_status check(const dp_buf *buf) { return buf->failed ? dp_no_memory(buf->size) : DP_OK; }

/* ---- steps ---- */

/* From the byte-level alphabet to bytes; a token that is not written in it stands for itself. */
static dp_status push_byte_level(dp_decoder *d, size_t index, dp_str piece) {
    dp_buf *held = &d->state[index].held, whole = {0};
    if (!dp_alphabet_decode(piece, held)) dp_buf_append(held, piece.p, piece.n);
    size_t used = dp_utf8_repair((dp_str){held->data, held->size}, true, &whole);
    dp_status status = check(held);
    if (status == DP_OK) status = check(&whole);
    if (status == DP_OK && whole.size) status = push(d, index + 1, (dp_str){whole.data, whole.size});
    if (status == DP_OK && used) {
        memmove(held->data, held->data + used, held->size - used);
        held->size -= used;
    }
    dp_buf_free(&whole);
    return status;
}

static int hex(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

/* A run of byte tokens is one string if it is valid UTF-8 as a whole, else one U+FFFD per byte. */
static dp_status end_byte_run(dp_decoder *d, size_t index) {
    dp_buf *held = &d->state[index].held, text = {0};
    if (!held->size) return DP_OK;
    if (dp_utf8_valid((dp_str){held->data, held->size})) dp_buf_append(&text, held->data, held->size);
    else for (size_t i = 0; i < held->size; i++) dp_buf_utf8(&text, 0xFFFD);
    dp_buf_clear(held);
    dp_status status = check(&text);
    if (status == DP_OK) status = push(d, index + 1, (dp_str){text.data, text.size});
    dp_buf_free(&text);
    return status;
}

static dp_status push_byte_fallback(dp_decoder *d, size_t index, dp_str piece) {
    bool byte = piece.n == 6 && memcmp(piece.p, "<0x", 3) == 0 && piece.p[5] == '>' && hex(piece.p[3]) >= 0 &&
                hex(piece.p[4]) >= 0;
    if (byte) {
        dp_buf_char(&d->state[index].held, (char)(hex(piece.p[3]) << 4 | hex(piece.p[4])));
        return check(&d->state[index].held);
    }
    TRY(end_byte_run(d, index));
    return push(d, index + 1, piece);
}

static bool at(dp_str text, size_t offset, dp_str what) {
    return offset <= text.n && text.n - offset >= what.n && memcmp(text.p + offset, what.p, what.n) == 0;
}

/* The first `left` and last `right` characters of each token, as far as they are the step's character. */
static dp_status strip_token(dp_decoder *d, size_t index, dp_str piece) {
    const dp_text_step *step = &d->t->decoder.step[index];
    for (int64_t i = 0; i < step->left && at(piece, 0, step->text); i++)
        piece.p += step->text.n, piece.n -= step->text.n;
    for (int64_t i = 0; i < step->right && piece.n >= step->text.n && at(piece, piece.n - step->text.n, step->text);
         i++)
        piece.n -= step->text.n;
    return push(d, index + 1, piece);
}

/* The same for one text that comes in fragments. */
static dp_status strip_fragment(dp_decoder *d, size_t index, dp_str piece) {
    const dp_text_step *step = &d->t->decoder.step[index];
    step_state *state = &d->state[index];
    dp_buf out = {0};
    while (state->at_start && at(piece, 0, step->text)) {
        piece.p += step->text.n;
        piece.n -= step->text.n;
        state->at_start--;
    }
    if (piece.n) state->at_start = 0;
    for (size_t i = 0; i < piece.n;) {
        if (at(piece, i, step->text)) {
            if (state->at_end < step->right) state->at_end++;
            else dp_buf_append(&out, step->text.p, step->text.n);
            i += step->text.n;
        } else {
            for (; state->at_end; state->at_end--) dp_buf_append(&out, step->text.p, step->text.n);
            dp_buf_char(&out, piece.p[i++]);
        }
    }
    dp_status status = check(&out);
    if (status == DP_OK && out.size) status = push(d, index + 1, (dp_str){out.data, out.size});
    dp_buf_free(&out);
    return status;
}

static dp_status push_replace(dp_decoder *d, size_t index, dp_str piece) {
    dp_buf out = {0};
    dp_regex_scratch_begin(&d->regex, piece.n);
    dp_status status = dp_text_step_replace(&d->t->decoder.step[index], &d->regex, piece, &out);
    if (status == DP_OK) status = push(d, index + 1, (dp_str){out.data ? out.data : "", out.size});
    dp_buf_free(&out);
    return status;
}

/* Marks become spaces; in the very first token they vanish, as encoding put one there. */
static dp_status push_metaspace(dp_decoder *d, size_t index, dp_str piece) {
    const dp_text_step *step = &d->t->decoder.step[index];
    dp_text_step replace = {.kind = DP_STEP_REPLACE, .text = step->text, .content = DP_LIT(" ")};
    if (d->tokens == 1 && step->scheme != DP_PREPEND_NEVER) replace.content = DP_LIT("");
    dp_buf out = {0};
    dp_status status = dp_text_step_replace(&replace, &d->regex, piece, &out);
    if (status == DP_OK) status = push(d, index + 1, (dp_str){out.data ? out.data : "", out.size});
    dp_buf_free(&out);
    return status;
}

static dp_status push(dp_decoder *d, size_t index, dp_str piece) {
    const dp_text_steps *steps = &d->t->decoder;
    if (index == steps->count) {
        dp_buf_append(&d->out, piece.p, piece.n);
        return check(&d->out);
    }
    const dp_text_step *step = &steps->step[index];
    switch (step->kind) {
    case DP_STEP_BYTE_LEVEL: return push_byte_level(d, index, piece);
    case DP_STEP_BYTE_FALLBACK: return push_byte_fallback(d, index, piece);
    case DP_STEP_STRIP: return step->fused ? strip_fragment(d, index, piece) : strip_token(d, index, piece);
    case DP_STEP_REPLACE: return push_replace(d, index, piece);
    case DP_STEP_METASPACE: return push_metaspace(d, index, piece);
    default: return push(d, index + 1, piece); /* FUSE: the steps behind it know */
    }
}

static dp_status flush(dp_decoder *d) {
    for (size_t i = 0; i < d->t->decoder.count; i++) {
        if (d->t->decoder.step[i].kind == DP_STEP_BYTE_FALLBACK) TRY(end_byte_run(d, i));
        if (d->t->decoder.step[i].kind != DP_STEP_BYTE_LEVEL) continue;
        dp_buf *held = &d->state[i].held, text = {0};
        dp_utf8_repair((dp_str){held->data ? held->data : "", held->size}, false, &text);
        dp_buf_clear(held);
        dp_status status = check(&text);
        if (status == DP_OK && text.size) status = push(d, i + 1, (dp_str){text.data, text.size});
        dp_buf_free(&text);
        TRY(status);
    }
    return DP_OK;
}

/* ---- interface ---- */

/* A decoder at the start of a text. */
static void begin(dp_decoder *d) {
    d->tokens = 0;
    for (size_t i = 0; i < d->t->decoder.count; i++) {
        d->state[i].at_start = d->t->decoder.step[i].left;
        d->state[i].at_end = 0;
    }
}

dp_status dp_decoder_new(const dp_tokenizer *t, bool skip_special, dp_decoder **out) {
    if (!t || !out) return dp_fail(DP_E_ARG, "dp_decoder_new: tokenizer or out is NULL");
    dp_decoder *d = dp_calloc(1, sizeof *d);
    if (!d) return dp_no_memory(sizeof *d);
    d->t = t;
    d->skip_special = skip_special;
    begin(d);
    *out = d;
    return DP_OK;
}

void dp_decoder_free(dp_decoder *d) {
    if (!d) return;
    for (size_t i = 0; i < DP_STEPS_MAX; i++) dp_buf_free(&d->state[i].held);
    dp_buf_free(&d->token);
    dp_buf_free(&d->out);
    dp_regex_scratch_free(&d->regex);
    dp_free(d);
}

/* The text of one id joins what is in d->out. Ids without a token are passed over. */
static dp_status feed(dp_decoder *d, int32_t id) {
    const dp_tokenizer *t = d->t;
    if (id < 0 || id >= t->vocab_size || !t->bpe.vocab.tokens[id].present) return DP_OK;
    if (d->skip_special && (t->flags[id] & DP_TOKEN_SPECIAL)) return DP_OK;
    dp_buf_clear(&d->token);
    dp_vocab_put_text(&t->bpe.vocab, id, &d->token);
    TRY(check(&d->token));
    if (d->tokens++ && !t->has_decoder) dp_buf_char(&d->out, ' '); /* published tokenizers join with spaces then */
    return push(d, 0, (dp_str){d->token.data ? d->token.data : "", d->token.size});
}

static void give(const dp_decoder *d, const char **text, size_t *size) {
    *text = d->out.data ? d->out.data : "";
    if (size) *size = d->out.size;
}

dp_status dp_decoder_feed(dp_decoder *d, int32_t id, const char **text, size_t *size) {
    dp_buf_clear(&d->out);
    TRY(feed(d, id));
    give(d, text, size);
    return DP_OK;
}

dp_status dp_decoder_finish(dp_decoder *d, const char **text, size_t *size) {
    dp_buf_clear(&d->out);
    TRY(flush(d));
    begin(d);
    give(d, text, size);
    return DP_OK;
}

dp_status dp_tokenizer_decode(const dp_tokenizer *t, const int32_t *ids, size_t count, bool skip_special, char **text,
                              size_t *size) {
    dp_decoder *d = NULL;
    if (!t || !text || (!ids && count)) return dp_fail(DP_E_ARG, "dp_tokenizer_decode: tokenizer, ids or text is NULL");
    TRY(dp_decoder_new(t, skip_special, &d));
    dp_status status = DP_OK;
    for (size_t i = 0; i < count && status == DP_OK; i++) status = feed(d, ids[i]);
    if (status == DP_OK) status = flush(d);
    if (status == DP_OK) status = dp_buf_take(&d->out, text, size);
    dp_decoder_free(d);
    return status;
}
