/* tokenizer.h: text <-> token ids. The public functions dp_tokenizer_encode/decode, dp_decoder_* stand in doppler.h;
 * here is how a tokenizer is built. Floor 2. */
#ifndef DP_TOKENIZER_H
#define DP_TOKENIZER_H

#include "base/base.h"
#include "base/json.h"

/* From the bytes of a tokenizer.json (Hugging Face). `config` is the text of tokenizer_config.json, `generation` that of
 * generation_config.json, `chat_template` that of chat_template.jinja (empty slices where missing): special tokens
 * (bos_token, eos_token, ...), end tokens and the chat template come from them. Nothing is kept of the inputs. */
dp_status dp_tokenizer_from_hf(dp_str json, dp_str config, dp_str generation, dp_str chat_template, dp_tokenizer **out);

/* From a GGUF vocabulary; the arrays are borrowed for the call. */
typedef struct dp_gguf_vocab {
    const char *model;            /* tokenizer.ggml.model: "gpt2" (byte-level BPE) or "llama" (SentencePiece BPE) */
    const char *pre;              /* tokenizer.ggml.pre, e.g. "llama-bpe", "qwen2", "deepseek-v3", "tekken", "default" */
    const dp_str *tokens;         /* [count] */
    const float *scores;          /* [count] or NULL */
    const int32_t *types;         /* [count] or NULL: 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte */
    size_t count;
    const dp_str *merges;         /* [merge_count] "a b", for gpt2 */
    size_t merge_count;
    int64_t bos, eos, eot, unk, pad; /* ids or -1 */
    bool add_bos, add_eos, add_space_prefix;
    dp_str chat_template;         /* empty when missing */
} dp_gguf_vocab;
dp_status dp_tokenizer_from_gguf(const dp_gguf_vocab *vocab, dp_tokenizer **out);

/* The text of one special token such as "bos_token"; empty when the tokenizer has none. */
dp_str dp_tokenizer_special(const dp_tokenizer *tokenizer, const char *role);
/* The chat template's source; empty when missing. */
dp_str dp_tokenizer_template(const dp_tokenizer *tokenizer);
/* Bytes a token stands for as text pieces with kind flags; id out of range gives an empty slice. */
dp_str dp_tokenizer_token(const dp_tokenizer *tokenizer, int32_t id);
bool dp_tokenizer_is_special(const dp_tokenizer *tokenizer, int32_t id);

/* Writes a tokenizer.json that dp_tokenizer_from_hf reads back as the same tokenizer (for GGUF -> RDRR), and the matching
 * tokenizer_config.json (special tokens, add_bos/eos, chat template). */
dp_status dp_tokenizer_write_hf(const dp_tokenizer *tokenizer, dp_buf *json, dp_buf *config);

/* What a GGUF needs of a tokenizer (for RDRR/HF -> GGUF). Slices and arrays are owned by `arena`. DP_E_UNSUPPORTED when GGUF
 * cannot express the tokenizer (then it says why). */
dp_status dp_tokenizer_to_gguf(const dp_tokenizer *tokenizer, dp_arena *arena, dp_gguf_vocab *out);

#endif
