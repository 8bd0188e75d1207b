/* tokenizer.c: the small public functions of a built tokenizer. Building stands in tokenizer_hf.c and tokenizer_gguf.c,
 * encoding and decoding in files of those names. */
#include "text/tokenizer_parts.h"

static void free_steps(dp_text_steps *steps) {
    for (size_t i = 0; i < steps->count; i++) dp_regex_free(steps->step[i].regex);
}

void dp_tokenizer_close(dp_tokenizer *t) {
    if (!t) return;
    free_steps(&t->normalizer);
    free_steps(&t->pre_tokenizer);
    free_steps(&t->decoder);
    dp_bpe_free(&t->bpe);
    dp_arena_free(&t->arena);
    dp_free(t);
}

int32_t dp_tokenizer_vocab_size(const dp_tokenizer *t) { return t->vocab_size; }
int32_t dp_tokenizer_eos(const dp_tokenizer *t) { return t->eos; }
dp_str dp_tokenizer_template(const dp_tokenizer *t) { return t->chat_template; }
dp_str dp_tokenizer_token(const dp_tokenizer *t, int32_t id) { return dp_vocab_raw(&t->bpe.vocab, id); }

static bool has_flag(const dp_tokenizer *t, int32_t id, int flag) {
    return id >= 0 && id < t->vocab_size && (t->flags[id] & flag);
}

bool dp_tokenizer_is_end(const dp_tokenizer *t, int32_t id) { return has_flag(t, id, DP_TOKEN_END); }
bool dp_tokenizer_is_special(const dp_tokenizer *t, int32_t id) { return has_flag(t, id, DP_TOKEN_SPECIAL); }
