/* tokenizer_normalize.c: runs a normalizer's steps over a text, and finds and replaces the patterns of any step. */
#include "text/tokenizer_parts.h"

static size_t find_text(dp_str text, dp_str what, size_t from) {
    for (const char *p; from + what.n <= text.n; from++) {
        p = memchr(text.p + from, what.p[0], text.n - what.n + 1 - from);
        if (!p) break;
        from = (size_t)(p - text.p);
        if (memcmp(p, what.p, what.n) == 0) return from;
    }
    return SIZE_MAX;
}

dp_status dp_text_step_find(const dp_text_step *step, dp_regex_scratch *scratch, dp_str text, size_t from,
                            dp_match *out) {
    if (step->regex) return dp_regex_find(step->regex, scratch, text, from, out);
    size_t at = find_text(text, step->text, from);
    *out = (dp_match){at, at + step->text.n, at != SIZE_MAX};
    return DP_OK;
}

dp_status dp_text_step_replace(const dp_text_step *step, dp_regex_scratch *scratch, dp_str text, dp_buf *out) {
    size_t done = 0, from = 0;
    dp_match match;
    for (;;) {
        if (from > text.n) break;
        TRY(dp_text_step_find(step, scratch, text, from, &match));
        if (!match.found) break;
        dp_buf_append(out, text.p + done, match.start - done);
        dp_buf_append(out, step->content.p, step->content.n);
        done = match.end;
        from = match.end > match.start ? match.end : match.end + 1; /* behind an empty match: the next place */
    }
    dp_buf_append(out, text.p + done, text.n - done);
    return out->failed ? dp_no_memory(text.n) : DP_OK;
}

static dp_str strip(dp_str text, bool left, bool right) {
    uint32_t code;
    for (size_t n; left && text.n; text.p += n, text.n -= n) {
        n = dp_utf8_decode(text.p, text.n, &code);
        if (!n || !dp_unicode_is_space(code)) break;
    }
    while (right && text.n) {
        size_t at = text.n - 1;
        while (at && ((unsigned char)text.p[at] & 0xC0) == 0x80) at--;
        if (!dp_utf8_decode(text.p + at, text.n - at, &code) || !dp_unicode_is_space(code)) break;
        text.n = at;
    }
    return text;
}

static dp_status apply(const dp_text_step *step, dp_normalizer_scratch *scratch, dp_str text, dp_buf *out) {
    switch (step->kind) {
    case DP_STEP_NORMAL_FORM: return dp_unicode_normalize(step->form, text, out);
    case DP_STEP_REPLACE: return dp_text_step_replace(step, &scratch->regex, text, out);
    case DP_STEP_STRIP: text = strip(text, step->left, step->right); break;
    case DP_STEP_PREPEND:
        if (text.n) dp_buf_append(out, step->text.p, step->text.n);
        break;
    default: break;
    }
    dp_buf_append(out, text.p, text.n);
    return out->failed ? dp_no_memory(text.n) : DP_OK;
}

dp_status dp_tokenizer_normalize(const dp_text_steps *steps, dp_normalizer_scratch *scratch, dp_str text, dp_str *out) {
    dp_regex_scratch_begin(&scratch->regex, text.n);
    for (size_t i = 0; i < steps->count; i++) {
        dp_buf *buffer = &scratch->buffers[i & 1];
        dp_buf_clear(buffer);
        TRY(apply(&steps->step[i], scratch, text, buffer));
        text = (dp_str){buffer->data ? buffer->data : "", buffer->size};
    }
    *out = text;
    return DP_OK;
}
