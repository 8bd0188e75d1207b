/* tokenizer_parts.h: what a tokenizer is made of. Only src/text/tokenizer*.c include it.
 *
 * Encoding: split at added tokens written in the text; normalise what lies between, split at added tokens of the
 * normalised kind; run the pre-tokenizer's steps one inside the other; encode each word (bpe.h); add the template.
 * Decoding: each token's text runs through the decoder's steps, which pass on pieces of text. */
#ifndef DP_TOKENIZER_PARTS_H
#define DP_TOKENIZER_PARTS_H

#include "text/bpe.h"
#include "text/regex.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

typedef enum dp_text_step_kind {
    /* normalizers; REPLACE and STRIP are decoders too */
    DP_STEP_REPLACE,     /* every match of text or regex by content */
    DP_STEP_STRIP,       /* white space at the left, right end; decoder: left, right times at most the character text */
    DP_STEP_PREPEND,     /* text, unless empty */
    DP_STEP_NORMAL_FORM,
    /* pre-tokenizers */
    DP_STEP_SPLIT,       /* at matches of text or regex */
    DP_STEP_SPACE_FIRST, /* a space in front, unless there is one */
    DP_STEP_METASPACE,   /* pre-tokenizer and decoder; text: what stands for a space */
    DP_STEP_BYTE_LEVEL,  /* words as bytes; always last. Decoder: from the byte-level alphabet to bytes */
    /* decoders */
    DP_STEP_BYTE_FALLBACK,
    DP_STEP_FUSE
} dp_text_step_kind;

typedef enum dp_split_behavior {
    DP_SPLIT_REMOVED, DP_SPLIT_ISOLATED, DP_SPLIT_MERGED_WITH_PREVIOUS, DP_SPLIT_MERGED_WITH_NEXT, DP_SPLIT_CONTIGUOUS
} dp_split_behavior;

typedef enum dp_prepend_scheme { DP_PREPEND_ALWAYS, DP_PREPEND_FIRST, DP_PREPEND_NEVER } dp_prepend_scheme;

typedef struct dp_text_step {
    dp_text_step_kind kind;
    dp_str text, content;
    dp_regex *regex;   /* NULL: the pattern is `text` itself */
    dp_str source;     /* the regex's source */
    int64_t left, right;
    dp_split_behavior behavior;
    dp_prepend_scheme scheme;
    dp_normal_form form;
    bool invert, split;
    bool fused; /* a decoder's step that gets fragments of one text instead of tokens */
} dp_text_step;

enum { DP_STEPS_MAX = 32 };

typedef struct dp_text_steps {
    dp_text_step step[DP_STEPS_MAX];
    size_t count;
    dp_str json; /* the field as it was written, for writing it again; "null" when missing */
} dp_text_steps;

typedef struct dp_added_token {
    dp_str content;
    dp_str pattern; /* what is looked for: the content, normalised where `normalized` says so */
    int32_t id;
    bool special, single_word, lstrip, rstrip, normalized;
} dp_added_token;

/* Added tokens to look for, sorted by pattern. */
typedef struct dp_added_set {
    const dp_added_token **sorted;
    size_t count;
    bool first[256];
} dp_added_set;

typedef struct dp_role {
    dp_str name, text; /* e.g. "bos_token", "<s>" */
} dp_role;

struct dp_tokenizer {
    dp_arena arena;
    dp_bpe bpe;
    dp_text_steps normalizer, pre_tokenizer, decoder;
    dp_str post_processor; /* JSON */
    int32_t *prefix, *suffix; /* what the post-processor adds */
    size_t prefix_count, suffix_count;
    dp_added_token *added;
    size_t added_count;
    dp_added_set plain, normalized; /* looked for in the text, in the normalised text */
    uint8_t *flags; /* [vocab_size], DP_TOKEN_* */
    int32_t vocab_size;
    dp_role *roles;
    size_t role_count;
    dp_str chat_template;
    int32_t eos;
    bool has_decoder;
};

enum { DP_TOKEN_SPECIAL = 1, DP_TOKEN_ADDED = 2, DP_TOKEN_END = 4 };

/* tokenizer_steps.c: from the JSON of one field (NULL: missing). Patterns and texts go to the tokenizer's arena. */
dp_status dp_tokenizer_read_normalizer(dp_tokenizer *t, const dp_json *json);
dp_status dp_tokenizer_read_pre_tokenizer(dp_tokenizer *t, const dp_json *json);
dp_status dp_tokenizer_read_decoder(dp_tokenizer *t, const dp_json *json);
dp_status dp_tokenizer_read_post_processor(dp_tokenizer *t, const dp_json *json);

/* tokenizer_normalize.c: `text` through the normalizer; *out is `text` itself or lies in one of the two buffers. */
typedef struct dp_normalizer_scratch {
    dp_buf buffers[2];
    dp_regex_scratch regex;
} dp_normalizer_scratch;
dp_status dp_tokenizer_normalize(const dp_text_steps *steps, dp_normalizer_scratch *scratch, dp_str text, dp_str *out);
/* Appends `text` with the step's matches replaced. */
dp_status dp_text_step_replace(const dp_text_step *step, dp_regex_scratch *scratch, dp_str text, dp_buf *out);
/* The step's next match at or behind `from`; work is counted in `scratch`. */
dp_status dp_text_step_find(const dp_text_step *step, dp_regex_scratch *scratch, dp_str text, size_t from,
                            dp_match *out);

/* tokenizer_added.c. Sorts `added` into the two sets; call once they and the normalizer are complete. */
dp_status dp_tokenizer_index_added(dp_tokenizer *t);
/* The longest token at the leftmost place at or behind `from`; NULL if there is none. *start and *end include the white
 * space that it swallows, never before `from`. */
const dp_added_token *dp_added_find(const dp_added_set *set, dp_str text, size_t from, size_t *start, size_t *end);

/* tokenizer_hf.c: what from_hf and from_gguf do last: added tokens' flags, roles, end tokens; `generation` or NULL. */
dp_status dp_tokenizer_finish(dp_tokenizer *t, const dp_json *generation);
dp_status dp_tokenizer_add_role(dp_tokenizer *t, dp_str name, dp_str text);
/* The id of a token by its text as files write it; -1 when absent. */
int32_t dp_tokenizer_find(const dp_tokenizer *t, dp_str text);
dp_tokenizer *dp_tokenizer_new(void); /* empty; NULL when memory is short */
/* Texts as the file writes them; *known is false, and nothing added, if a side or the result is no token. */
dp_status dp_tokenizer_add_merge(dp_tokenizer *t, dp_str left, dp_str right, dp_buf *scratch, bool *known);
/* Completes `token`, one of t->added: its id, and its text in the vocabulary. */
dp_status dp_tokenizer_add_added(dp_tokenizer *t, dp_added_token *token, int64_t id);
/* Copies into the arena. */
dp_status dp_tokenizer_keep(dp_tokenizer *t, dp_str text, dp_str *out);

/* What ByteLevel splits by unless told otherwise. */
#define DP_GPT2_PATTERN "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* tokenizer_pre.c: pre-tokenizers that GGUF knows by name. */
typedef struct dp_known_pre {
    const char *names[16];      /* the first is the one we write */
    const char *patterns[8];    /* each a Split of behaviour Isolated; then ByteLevel */
    bool ignore_merges, nfc;
} dp_known_pre;
const dp_known_pre *dp_known_pre_find(const char *name);
const dp_known_pre *dp_known_pre_of(const dp_tokenizer *t);

#endif
