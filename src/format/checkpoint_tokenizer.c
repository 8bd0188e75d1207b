/* checkpoint_tokenizer.c: finds the parts of a checkpoint's tokenizer and hands them to text/. Folders hold Hugging
 * Face's files, GGUF files a vocabulary among their metadata. */
#include "format/builder.h"
#include "format/gguf.h"

enum { JSON_MAX = 256 << 20, SIDE_MAX = 16 << 20 };

/* ---- folders ---- */

/* Appends the file's bytes; a missing one leaves the buffer empty. */
static dp_status load(const char *folder, const char *name, size_t limit, dp_buf *out) {
    char *path = dp_path_join(folder, name), *text = NULL;
    if (!path) return dp_no_memory(strlen(folder));
    size_t size = 0;
    dp_path_kind what = dp_path_what(path);
    dp_status status = what == DP_PATH_FILE || what == DP_PATH_HIDDEN ? dp_file_load_text(path, limit, &text, &size) : DP_OK;
    dp_free(path);
    if (text) *out = (dp_buf){text, size, size + 1, false};
    return status;
}

static dp_str slice(const dp_buf *buf) { return (dp_str){buf->data ? buf->data : "", buf->size}; }

static dp_status from_folder(const char *folder, const char *name, dp_tokenizer **out) {
    dp_buf json = {0}, config = {0}, generation = {0}, chat_template = {0};
    dp_status status = load(folder, name, JSON_MAX, &json);
    if (status == DP_OK && !json.data)
        status = dp_fail(DP_E_NOT_FOUND, "%s: no tokenizer: expected %s in the folder", folder, name);
    if (status == DP_OK) status = load(folder, "tokenizer_config.json", SIDE_MAX, &config);
    if (status == DP_OK) status = load(folder, "generation_config.json", SIDE_MAX, &generation);
    if (status == DP_OK) status = load(folder, "chat_template.jinja", SIDE_MAX, &chat_template);
    if (status == DP_OK) {
        status = dp_tokenizer_from_hf(slice(&json), slice(&config), slice(&generation), slice(&chat_template), out);
        if (status != DP_OK && status != DP_E_MEMORY) status = dp_fail_in(status, "%s/%s", folder, name);
    }
    dp_buf_free(&json);
    dp_buf_free(&config);
    dp_buf_free(&generation);
    dp_buf_free(&chat_template);
    return status;
}

/* The manifest may name another file; what it calls the type does not matter, the file shows it. */
static dp_status from_manifest(const dp_checkpoint *c, dp_tokenizer **out) {
    dp_str file = DP_LIT("tokenizer.json");
    TRY(dp_json_get_str(dp_json_find(c->manifest, "tokenizer"), "file", &file));
    if (!dp_filename_is_safe(file))
        return dp_fail(DP_E_FORMAT, "%s: tokenizer: unsafe file name \"" DP_STR_FMT "\"", c->path, DP_STR_ARG(file));
    char name[256];
    if (file.n >= sizeof name) return dp_fail(DP_E_FORMAT, "%s: tokenizer: a file name of %zu bytes", c->path, file.n);
    memcpy(name, file.p, file.n);
    name[file.n] = 0;
    return from_folder(c->folder, name, out);
}

/* ---- GGUF ---- */

static dp_status strings(const dp_gguf *g, const char *key, dp_arena *arena, const dp_str **out, size_t *count) {
    const dp_gguf_kv *kv = dp_gguf_find(g, key);
    dp_gguf_strings items = dp_gguf_strings_of(kv);
    if (kv && (kv->type != DP_GGUF_ARRAY || kv->item_type != DP_GGUF_STRING))
        return dp_fail(DP_E_FORMAT, "metadata \"%s\": expected an array of strings", key);
    dp_str *list = dp_arena_calloc(arena, (size_t)items.left, sizeof *list);
    if (!list) return dp_no_memory((size_t)items.left * sizeof *list);
    *out = list;
    *count = (size_t)items.left;
    while (dp_gguf_next_string(&items, list)) list++;
    return DP_OK;
}

/* Copies an array of 4-byte values of one type out of the unaligned header; NULL when absent. */
static dp_status words(const dp_gguf *g, const char *key, dp_gguf_type type, size_t count, dp_arena *arena,
                       void **out) {
    const dp_gguf_kv *kv = dp_gguf_find(g, key);
    if (!kv) return DP_OK;
    if (kv->type != DP_GGUF_ARRAY || kv->item_type != type || kv->count != count)
        return dp_fail(DP_E_FORMAT, "metadata \"%s\": expected %zu values, one per token", key, count);
    *out = dp_arena_alloc(arena, count * 4);
    if (!*out) return dp_no_memory(count * 4);
    memcpy(*out, kv->data, count * 4);
    return DP_OK;
}

static dp_status text(const dp_gguf *g, const char *key, const char *otherwise, dp_arena *arena, const char **out) {
    dp_str value = dp_str_of(otherwise);
    TRY(dp_gguf_get_str(g, key, &value));
    *out = dp_arena_copy(arena, value.p, value.n);
    return *out ? DP_OK : dp_no_memory(value.n);
}

static dp_status read_ids(const dp_gguf *g, dp_gguf_vocab *v) {
    bool pieces = strcmp(v->model, "llama") == 0; /* SentencePiece's usual ids need not be stored */
    v->bos = pieces ? 1 : -1;
    v->eos = pieces ? 2 : -1;
    v->unk = pieces ? 0 : -1;
    v->eot = v->pad = -1;
    TRY(dp_gguf_get_int(g, "tokenizer.ggml.bos_token_id", &v->bos));
    TRY(dp_gguf_get_int(g, "tokenizer.ggml.eos_token_id", &v->eos));
    TRY(dp_gguf_get_int(g, "tokenizer.ggml.eot_token_id", &v->eot));
    TRY(dp_gguf_get_int(g, "tokenizer.ggml.unknown_token_id", &v->unk));
    return dp_gguf_get_int(g, "tokenizer.ggml.padding_token_id", &v->pad);
}

/* SentencePiece vocabularies add a space and a start token unless the file says otherwise, some byte-level ones a start
 * token. */
static dp_status read_flags(const dp_gguf *g, dp_gguf_vocab *v) {
    static const char *const started[] = {"llama-bpe", "llama3",  "llama-v3", "falcon3", "falcon-h1",
                                          "pixtral",   "midm-2.0", "lfm2",     "tekken"};
    v->add_bos = v->add_space_prefix = strcmp(v->model, "llama") == 0;
    for (size_t i = 0; i < DP_COUNT(started); i++) v->add_bos |= strcmp(v->pre, started[i]) == 0;
    TRY(dp_gguf_get_bool(g, "tokenizer.ggml.add_bos_token", &v->add_bos));
    TRY(dp_gguf_get_bool(g, "tokenizer.ggml.add_eos_token", &v->add_eos));
    TRY(dp_gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", &v->add_space_prefix));
    v->chat_template = (dp_str){"", 0};
    return dp_gguf_get_str(g, "tokenizer.chat_template", &v->chat_template);
}

static dp_status read_vocab(const dp_gguf *g, dp_arena *arena, dp_gguf_vocab *v) {
    void *scores = NULL, *types = NULL;
    TRY(text(g, "tokenizer.ggml.model", "", arena, &v->model));
    TRY(text(g, "tokenizer.ggml.pre", "default", arena, &v->pre));
    TRY(strings(g, "tokenizer.ggml.tokens", arena, &v->tokens, &v->count));
    TRY(strings(g, "tokenizer.ggml.merges", arena, &v->merges, &v->merge_count));
    TRY(words(g, "tokenizer.ggml.scores", DP_GGUF_F32, v->count, arena, &scores));
    TRY(words(g, "tokenizer.ggml.token_type", DP_GGUF_I32, v->count, arena, &types));
    v->scores = scores;
    v->types = types;
    TRY(read_ids(g, v));
    return read_flags(g, v);
}

static dp_status from_gguf(const dp_checkpoint *c, dp_tokenizer **out) {
    if (!dp_gguf_find(c->gguf, "tokenizer.ggml.tokens"))
        return dp_fail(DP_E_NOT_FOUND, "%s: no tokenizer: the metadata have no tokenizer.ggml.tokens", c->path);
    dp_arena arena = {0};
    dp_gguf_vocab vocab = {0};
    dp_status status = read_vocab(c->gguf, &arena, &vocab);
    if (status == DP_OK) status = dp_tokenizer_from_gguf(&vocab, out);
    dp_arena_free(&arena);
    return status == DP_OK || status == DP_E_MEMORY ? status : dp_fail_in(status, "%s", c->path);
}

/* ---- whole ---- */

dp_status dp_checkpoint_tokenizer(const dp_checkpoint *c, dp_tokenizer **out) {
    switch (c->kind) {
    case DP_CHECKPOINT_GGUF:
        return from_gguf(c, out);
    case DP_CHECKPOINT_RDRR:
        return from_manifest(c, out);
    case DP_CHECKPOINT_HF:
        break;
    }
    return from_folder(c->folder, "tokenizer.json", out);
}

static dp_status from_json_file(const char *path, dp_tokenizer **out) {
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    if (!slash) return from_folder(".", path, out);
    char *folder = dp_malloc(n + 2);
    if (!folder) return dp_no_memory(n);
    memcpy(folder, path, n + 1);
    folder[n ? n : 1] = 0;
    dp_status status = from_folder(folder, slash + 1, out);
    dp_free(folder);
    return status;
}

dp_status dp_tokenizer_open(const char *path, dp_tokenizer **out) {
    dp_str name = dp_str_of(path);
    dp_path_kind what;
    if (!path || !out) return dp_fail(DP_E_ARG, "dp_tokenizer_open: path or out is NULL");
    TRY(dp_path_find(path, &what));
    if (what == DP_PATH_FILE && dp_str_ends(name, ".json") && !dp_str_ends(name, "manifest.json"))
        return from_json_file(path, out);
    if (what == DP_PATH_FOLDER) {
        /* Weights are not needed, so a folder may lack them. */
        char *json = dp_path_join(path, "tokenizer.json");
        if (!json) return dp_no_memory(name.n);
        bool plain = dp_path_what(json) == DP_PATH_FILE;
        dp_free(json);
        if (plain) return from_folder(path, "tokenizer.json", out);
    }
    dp_checkpoint *checkpoint;
    TRY(dp_checkpoint_open(path, &checkpoint));
    dp_status status = dp_checkpoint_tokenizer(checkpoint, out);
    dp_checkpoint_close(checkpoint);
    return status;
}
