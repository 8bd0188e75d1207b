/* tokenizer_steps.c: reads the normalizer, pre_tokenizer, decoder and post_processor of a tokenizer.json into steps.
 * A type or option that we do not have is DP_E_UNSUPPORTED naming it. */
#include "text/tokenizer_parts.h"

typedef dp_status (*read_fn)(dp_tokenizer *t, dp_text_steps *steps, const dp_json *json, dp_str type);

static dp_status unsupported(const char *what, dp_str type) {
    return dp_fail(DP_E_UNSUPPORTED, "tokenizer: %s \"" DP_STR_FMT "\" is not supported", what, DP_STR_ARG(type));
}

static dp_status add_step(dp_text_steps *steps, dp_text_step step) {
    if (steps->count == DP_STEPS_MAX)
        return dp_fail(DP_E_UNSUPPORTED, "tokenizer: more than %d steps in one field", DP_STEPS_MAX);
    steps->step[steps->count++] = step;
    return DP_OK;
}

/* Keeps the field's text, then reads it: null, one step, or a Sequence of steps in the member `list`. */
static dp_status read_steps(dp_tokenizer *t, dp_text_steps *steps, const dp_json *json, const char *list,
                            read_fn read) {
    dp_str type = {0};
    if (json && json->type == DP_JSON_NULL) json = NULL;
    TRY(dp_json_get_str(json, "type", &type));
    if (!json) return DP_OK;
    if (!dp_str_is(type, "Sequence")) return read(t, steps, json, type);
    const dp_json *member = dp_json_find(json, list);
    if (!member || member->type != DP_JSON_ARRAY)
        return dp_fail(DP_E_FORMAT, "tokenizer: a Sequence needs the array \"%s\"", list);
    for (const dp_json *m = member->child; m; m = m->next) TRY(read_steps(t, steps, m, list, read));
    return DP_OK;
}

static dp_status keep_json(dp_tokenizer *t, const dp_json *json, dp_str *out) {
    dp_buf buf = {0};
    if (json) dp_json_put(&buf, json);
    else dp_buf_str(&buf, "null");
    dp_status status = buf.failed ? dp_no_memory(buf.size) : dp_tokenizer_keep(t, (dp_str){buf.data, buf.size}, out);
    dp_buf_free(&buf);
    return status;
}

/* A step that owns a regex; the regex is freed here if the step cannot be added. */
static dp_status add_regex_step(dp_tokenizer *t, dp_text_steps *steps, dp_text_step step, dp_str pattern) {
    TRY(dp_tokenizer_keep(t, pattern, &step.source));
    TRY(dp_regex_compile(pattern, &step.regex));
    dp_status status = add_step(steps, step);
    if (status != DP_OK) dp_regex_free(step.regex);
    return status;
}

/* "pattern": {"String": ...} or {"Regex": ...} */
static dp_status add_pattern_step(dp_tokenizer *t, dp_text_steps *steps, dp_text_step step, const dp_json *json) {
    const dp_json *pattern = dp_json_find(json, "pattern");
    dp_str text = {0};
    TRY(dp_json_get_str(pattern, "Regex", &text));
    if (text.p) return add_regex_step(t, steps, step, text);
    TRY(dp_json_get_str(pattern, "String", &text));
    if (!text.p || !text.n)
        return dp_fail(DP_E_FORMAT, "tokenizer: \"pattern\": expected {\"String\": ...} or {\"Regex\": ...}");
    TRY(dp_tokenizer_keep(t, text, &step.text));
    return add_step(steps, step);
}

static dp_status add_text_step(dp_tokenizer *t, dp_text_steps *steps, dp_text_step step, dp_str text) {
    TRY(dp_tokenizer_keep(t, text, &step.text));
    return add_step(steps, step);
}

static dp_status add_replace(dp_tokenizer *t, dp_text_steps *steps, const dp_json *json) {
    dp_text_step step = {.kind = DP_STEP_REPLACE};
    TRY(dp_json_get_str(json, "content", &step.content));
    TRY(dp_tokenizer_keep(t, step.content, &step.content));
    return add_pattern_step(t, steps, step, json);
}

/* ---- normalizers ---- */

static dp_status read_normalizer(dp_tokenizer *t, dp_text_steps *steps, const dp_json *json, dp_str type) {
    static const struct { const char *name; dp_normal_form form; } forms[] = {
        {"NFC", DP_NFC}, {"NFD", DP_NFD}, {"NFKC", DP_NFKC}, {"NFKD", DP_NFKD}};
    for (size_t i = 0; i < DP_COUNT(forms); i++)
        if (dp_str_is(type, forms[i].name))
            return add_step(steps, (dp_text_step){.kind = DP_STEP_NORMAL_FORM, .form = forms[i].form});
    if (dp_str_is(type, "Replace")) return add_replace(t, steps, json);
    if (dp_str_is(type, "Prepend")) {
        dp_str text = {0};
        TRY(dp_json_get_str(json, "prepend", &text));
        return add_text_step(t, steps, (dp_text_step){.kind = DP_STEP_PREPEND}, text);
    }
    if (dp_str_is(type, "Strip")) {
        bool left = true, right = true;
        TRY(dp_json_get_bool(json, "strip_left", &left));
        TRY(dp_json_get_bool(json, "strip_right", &right));
        return add_step(steps, (dp_text_step){.kind = DP_STEP_STRIP, .left = left, .right = right});
    }
    return unsupported("normalizer", type);
}

dp_status dp_tokenizer_read_normalizer(dp_tokenizer *t, const dp_json *json) {
    TRY(keep_json(t, json, &t->normalizer.json));
    return read_steps(t, &t->normalizer, json, "normalizers", read_normalizer);
}

/* ---- pre-tokenizers ---- */

static dp_status read_behavior(const dp_json *json, dp_split_behavior *out) {
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    dp_str name = {0};
    TRY(dp_json_get_str(json, "behavior", &name));
    for (size_t i = 0; i < DP_COUNT(names) && name.p; i++)
        if (dp_str_is(name, names[i])) return *out = (dp_split_behavior)i, DP_OK;
    return name.p ? unsupported("split behavior", name) : DP_OK;
}

static dp_status add_split(dp_tokenizer *t, dp_text_steps *steps, const char *pattern, dp_split_behavior behavior) {
    return add_regex_step(t, steps, (dp_text_step){.kind = DP_STEP_SPLIT, .behavior = behavior}, dp_str_of(pattern));
}

static dp_status read_byte_level(dp_tokenizer *t, dp_text_steps *steps, const dp_json *json) {
    bool prefix = true, use_regex = true;
    TRY(dp_json_get_bool(json, "add_prefix_space", &prefix));
    TRY(dp_json_get_bool(json, "use_regex", &use_regex));
    if (prefix) TRY(add_step(steps, (dp_text_step){.kind = DP_STEP_SPACE_FIRST}));
    if (use_regex) TRY(add_split(t, steps, DP_GPT2_PATTERN, DP_SPLIT_ISOLATED));
    return add_step(steps, (dp_text_step){.kind = DP_STEP_BYTE_LEVEL});
}

/* Shared by pre-tokenizer and decoder. Files before prepend_scheme have only add_prefix_space. */
static dp_status read_metaspace(dp_tokenizer *t, dp_text_steps *steps, const dp_json *json) {
    dp_text_step step = {.kind = DP_STEP_METASPACE, .split = true};
    dp_str text = DP_LIT("\xe2\x96\x81"), scheme = {0};
    bool prefix = true;
    TRY(dp_json_get_str(json, "replacement", &text));
    TRY(dp_json_get_bool(json, "split", &step.split));
    TRY(dp_json_get_bool(json, "add_prefix_space", &prefix));
    TRY(dp_json_get_str(json, "prepend_scheme", &scheme));
    if (!text.n) return dp_fail(DP_E_FORMAT, "tokenizer: Metaspace with an empty \"replacement\"");
    if (!scheme.p) step.scheme = prefix ? DP_PREPEND_ALWAYS : DP_PREPEND_NEVER;
    else if (dp_str_is(scheme, "always")) step.scheme = DP_PREPEND_ALWAYS;
    else if (dp_str_is(scheme, "first")) step.scheme = DP_PREPEND_FIRST;
    else if (dp_str_is(scheme, "never")) step.scheme = DP_PREPEND_NEVER;
    else return unsupported("prepend_scheme", scheme);
    return add_text_step(t, steps, step, text);
}

static dp_status read_pre_tokenizer(dp_tokenizer *t, dp_text_steps *steps, const dp_json *json, dp_str type) {
    dp_text_step step = {.kind = DP_STEP_SPLIT, .behavior = DP_SPLIT_ISOLATED};
    if (steps->count && steps->step[steps->count - 1].kind == DP_STEP_BYTE_LEVEL)
        return dp_fail(DP_E_UNSUPPORTED,
                       "tokenizer: pre-tokenizer \"" DP_STR_FMT "\" behind ByteLevel is not supported",
                       DP_STR_ARG(type));
    if (dp_str_is(type, "Split")) {
        TRY(dp_json_get_bool(json, "invert", &step.invert));
        TRY(read_behavior(json, &step.behavior));
        return add_pattern_step(t, steps, step, json);
    }
    if (dp_str_is(type, "ByteLevel")) return read_byte_level(t, steps, json);
    if (dp_str_is(type, "Metaspace")) return read_metaspace(t, steps, json);
    if (dp_str_is(type, "Digits")) {
        bool single = false;
        TRY(dp_json_get_bool(json, "individual_digits", &single));
        return add_split(t, steps, single ? "\\p{N}" : "\\p{N}+", DP_SPLIT_ISOLATED);
    }
    if (dp_str_is(type, "Punctuation")) {
        TRY(read_behavior(json, &step.behavior));
        return add_split(t, steps, "[\\p{P}$+<=>^`|~]", step.behavior);
    }
    if (dp_str_is(type, "WhitespaceSplit")) return add_split(t, steps, "\\s", DP_SPLIT_REMOVED);
    if (dp_str_is(type, "Whitespace")) {
        step.invert = true;
        step.behavior = DP_SPLIT_REMOVED;
        return add_regex_step(t, steps, step, DP_LIT("\\w+|[^\\w\\s]+"));
    }
    return unsupported("pre-tokenizer", type);
}

dp_status dp_tokenizer_read_pre_tokenizer(dp_tokenizer *t, const dp_json *json) {
    dp_text_steps *steps = &t->pre_tokenizer;
    TRY(keep_json(t, json, &steps->json));
    TRY(read_steps(t, steps, json, "pretokenizers", read_pre_tokenizer));
    t->bpe.vocab.byte_level = steps->count && steps->step[steps->count - 1].kind == DP_STEP_BYTE_LEVEL;
    return DP_OK;
}

/* ---- decoders ---- */

static bool one_character(dp_str text) { return text.n && dp_utf8_decode(text.p, text.n, NULL) == text.n; }

static dp_status add_decoder_step(dp_tokenizer *t, dp_text_steps *steps, const dp_json *json, dp_str type) {
    if (dp_str_is(type, "ByteLevel")) return add_step(steps, (dp_text_step){.kind = DP_STEP_BYTE_LEVEL});
    if (dp_str_is(type, "ByteFallback")) return add_step(steps, (dp_text_step){.kind = DP_STEP_BYTE_FALLBACK});
    if (dp_str_is(type, "Fuse")) return add_step(steps, (dp_text_step){.kind = DP_STEP_FUSE});
    if (dp_str_is(type, "Metaspace")) return read_metaspace(t, steps, json);
    if (dp_str_is(type, "Replace")) return add_replace(t, steps, json);
    if (!dp_str_is(type, "Strip")) return unsupported("decoder", type);
    dp_text_step step = {.kind = DP_STEP_STRIP};
    dp_str text = {0};
    TRY(dp_json_get_str(json, "content", &text));
    TRY(dp_json_get_int(json, "start", &step.left));
    TRY(dp_json_get_int(json, "stop", &step.right));
    if (!one_character(text))
        return dp_fail(DP_E_FORMAT, "tokenizer: decoder Strip needs one character as \"content\"");
    return add_text_step(t, steps, step, text);
}

/* Behind Fuse there are no tokens any more: text comes in fragments. A step that would have to see the whole text at
 * once, or the borders of tokens, cannot stand there. */
static dp_status read_decoder(dp_tokenizer *t, dp_text_steps *steps, const dp_json *json, dp_str type) {
    const dp_text_step *last = steps->count ? &steps->step[steps->count - 1] : NULL;
    bool fused = last && (last->fused || last->kind == DP_STEP_FUSE || last->kind == DP_STEP_BYTE_LEVEL);
    TRY(add_decoder_step(t, steps, json, type));
    dp_text_step *step = &steps->step[steps->count - 1];
    step->fused = fused;
    bool fine = step->kind == DP_STEP_FUSE || step->kind == DP_STEP_STRIP ||
                (step->kind == DP_STEP_REPLACE && !step->regex && one_character(step->text));
    if (fused && !fine)
        return dp_fail(DP_E_UNSUPPORTED, "tokenizer: decoder \"" DP_STR_FMT "\" behind Fuse is not supported",
                       DP_STR_ARG(type));
    return DP_OK;
}

dp_status dp_tokenizer_read_decoder(dp_tokenizer *t, const dp_json *json) {
    TRY(keep_json(t, json, &t->decoder.json));
    TRY(read_steps(t, &t->decoder, json, "decoders", read_decoder));
    t->has_decoder = t->decoder.count > 0;
    return DP_OK;
}

/* ---- post-processors ---- */

static dp_status add_ids(dp_tokenizer *t, bool behind, const int32_t *ids, size_t count) {
    int32_t **list = behind ? &t->suffix : &t->prefix;
    size_t *have = behind ? &t->suffix_count : &t->prefix_count;
    int32_t *longer = dp_arena_alloc(&t->arena, (*have + count) * sizeof *longer);
    if (!longer) return dp_no_memory((*have + count) * sizeof *longer);
    if (*have) memcpy(longer, *list, *have * sizeof *longer);
    memcpy(longer + *have, ids, count * sizeof *ids);
    *list = longer;
    *have += count;
    return DP_OK;
}

static dp_status add_special(dp_tokenizer *t, const dp_json *specials, dp_str name, bool behind) {
    const dp_json *special = specials ? specials->child : NULL;
    while (special && !dp_str_eq(special->key, name)) special = special->next;
    const dp_json *ids = dp_json_find(special, "ids");
    if (!ids || ids->type != DP_JSON_ARRAY)
        return dp_fail(DP_E_FORMAT, "tokenizer: the template names \"" DP_STR_FMT "\", which has no \"ids\"",
                       DP_STR_ARG(name));
    for (const dp_json *m = ids->child; m; m = m->next) {
        if (m->type != DP_JSON_NUMBER || !m->is_integer || m->integer < 0 || m->integer > INT32_MAX)
            return dp_fail(DP_E_FORMAT, "tokenizer: the template's token \"" DP_STR_FMT "\" has a bad id",
                           DP_STR_ARG(name));
        int32_t id = (int32_t)m->integer;
        TRY(add_ids(t, behind, &id, 1));
    }
    return DP_OK;
}

static dp_status read_template(dp_tokenizer *t, const dp_json *json) {
    const dp_json *single = dp_json_find(json, "single"), *specials = dp_json_find(json, "special_tokens");
    bool behind = false;
    if (!single || single->type != DP_JSON_ARRAY || (specials && specials->type != DP_JSON_OBJECT))
        return dp_fail(DP_E_FORMAT,
                       "tokenizer: TemplateProcessing needs the array \"single\" and the object \"special_tokens\"");
    for (const dp_json *m = single->child; m; m = m->next) {
        dp_str name = {0};
        TRY(dp_json_get_str(dp_json_find(m, "SpecialToken"), "id", &name));
        if (name.p) TRY(add_special(t, specials, name, behind));
        else if (dp_json_find(m, "Sequence") && !behind) behind = true;
        else return dp_fail(DP_E_FORMAT, "tokenizer: TemplateProcessing: \"single\" has an unexpected piece");
    }
    return DP_OK;
}

/* RoBERTa's and BERT's: "cls" in front, "sep" behind, each [text, id]. */
static dp_status read_cls_sep(dp_tokenizer *t, const dp_json *json) {
    const dp_json *cls = dp_json_at(dp_json_find(json, "cls"), 1), *sep = dp_json_at(dp_json_find(json, "sep"), 1);
    for (int behind = 0; behind < 2; behind++) {
        const dp_json *m = behind ? sep : cls;
        if (!m || m->type != DP_JSON_NUMBER || !m->is_integer || m->integer < 0 || m->integer > INT32_MAX)
            return dp_fail(DP_E_FORMAT, "tokenizer: post-processor: expected \"cls\" and \"sep\" as [text, id]");
        int32_t id = (int32_t)m->integer;
        TRY(add_ids(t, behind, &id, 1));
    }
    return DP_OK;
}

static dp_status read_post_processor(dp_tokenizer *t, dp_text_steps *steps, const dp_json *json, dp_str type) {
    (void)steps;
    if (dp_str_is(type, "ByteLevel")) return DP_OK; /* it moves offsets only */
    if (dp_str_is(type, "TemplateProcessing")) return read_template(t, json);
    if (dp_str_is(type, "RobertaProcessing") || dp_str_is(type, "BertProcessing")) return read_cls_sep(t, json);
    return unsupported("post-processor", type);
}

dp_status dp_tokenizer_read_post_processor(dp_tokenizer *t, const dp_json *json) {
    TRY(keep_json(t, json, &t->post_processor));
    return read_steps(t, NULL, json, "processors", read_post_processor);
}
