/* source_apart.c: DeepSeek's kv_b_proj as llama.cpp wants it since it caches the latent: k_b_proj, transposed, and v_b_proj
 * apart. kv_b_proj [heads][nope + v][lora] holds both, head by head. Floats only: the rows of a transposed matrix would be
 * other blocks. */
#include "convert/source.h"
#include "format/gguf_config.h"

#define KV_B ".self_attn.kv_b_proj.weight"

enum { PIECE = 32, FLOAT_MAX = 8 }; /* elements read at once, bytes of one */

/* Of each head's rows in the original, those from `first_row` on. */
typedef struct part {
    size_t tensor; /* in the original */
    bool whole;    /* nothing is taken apart */
    bool transposed;
    int64_t first_row, rows;
} part;

typedef struct apart {
    const dp_source *original;
    dp_mla_sizes sizes;
    part *parts;
} apart;

/* rows of `lora` elements -> `lora` rows. */
static dp_status read_transposed(const apart *a, const part *p, int64_t from, dp_scratch *scratch, char *out) {
    char piece[PIECE * FLOAT_MAX];
    size_t size = dp_dtype_get(a->original->tensors[p->tensor].dtype)->bytes;
    for (int64_t row = 0; row < p->rows; row++)
        for (int64_t col = 0; col < a->sizes.lora; col += PIECE) {
            int64_t n = DP_MIN(PIECE, a->sizes.lora - col);
            TRY(a->original->read(a->original, p->tensor, from + row * a->sizes.lora + col, n, scratch, piece));
            for (int64_t i = 0; i < n; i++) memcpy(out + (size_t)((col + i) * p->rows + row) * size, piece + (size_t)i * size, size);
        }
    return DP_OK;
}

static dp_status read_part(const dp_source *source, size_t tensor, int64_t first, int64_t n, dp_scratch *scratch, void *out) {
    const apart *a = source->state;
    const part *p = &a->parts[tensor];
    if (p->whole) return a->original->read(a->original, p->tensor, first, n, scratch, out);
    int64_t head = source->tensors[tensor].grain; /* elements of one */
    size_t bytes = (size_t)dp_dtype_bytes(source->tensors[tensor].dtype, head);
    char *to = out;
    for (int64_t h = first / head; h < (first + n) / head; h++, to += bytes) {
        int64_t from = (h * (a->sizes.nope + a->sizes.value) + p->first_row) * a->sizes.lora;
        if (p->transposed) TRY(read_transposed(a, p, from, scratch, to));
        else TRY(a->original->read(a->original, p->tensor, from, head, scratch, to));
    }
    return DP_OK;
}

static bool is_kv_b(const dp_source_tensor *t) { return dp_str_ends(dp_str_of(t->name), KV_B); }

static dp_status check_shape(const dp_source_tensor *t, const dp_mla_sizes *s) {
    int64_t rows = s->heads * (s->nope + s->value);
    if (t->n_dims == 2 && t->shape[0] == rows && t->shape[1] == s->lora) return DP_OK;
    return dp_fail(DP_E_FORMAT, "tensor %s: expected [%lld][%lld], as the config has %lld heads of %lld + %lld rows and kv_lora_rank %lld",
                   t->name, (long long)rows, (long long)s->lora, (long long)s->heads, (long long)s->nope, (long long)s->value,
                   (long long)s->lora);
}

static dp_status add(apart *a, dp_source *out, const dp_source_tensor *t, const part *p) {
    a->parts[out->count] = *p;
    out->tensors[out->count++] = *t;
    return t->name ? DP_OK : dp_no_memory(64);
}

static dp_status add_halves(apart *a, dp_source *out, size_t tensor) {
    const dp_source_tensor *t = &a->original->tensors[tensor];
    const dp_mla_sizes *s = &a->sizes;
    int layer = (int)(strlen(t->name) - strlen(KV_B));
    TRY(check_shape(t, s));
    dp_source_tensor k = {.dtype = t->dtype, .n_dims = 3, .shape = {s->heads, s->lora, s->nope}, .grain = s->lora * s->nope};
    dp_source_tensor v = {.dtype = t->dtype, .n_dims = 3, .shape = {s->heads, s->value, s->lora}, .grain = s->lora * s->value};
    k.name = dp_arena_printf(&out->arena, "%.*s.self_attn.k_b_proj.weight", layer, t->name);
    v.name = dp_arena_printf(&out->arena, "%.*s.self_attn.v_b_proj.weight", layer, t->name);
    k.elements = s->heads * k.grain;
    v.elements = s->heads * v.grain;
    TRY(add(a, out, &k, &(part){.tensor = tensor, .transposed = true, .rows = s->nope}));
    return add(a, out, &v, &(part){.tensor = tensor, .first_row = s->nope, .rows = s->value});
}

static dp_status add_all(apart *a, dp_source *out, size_t capacity) {
    out->tensors = dp_arena_calloc(&out->arena, capacity, sizeof *out->tensors);
    a->parts = dp_arena_calloc(&out->arena, capacity, sizeof *a->parts);
    if (!out->tensors || !a->parts) return dp_no_memory(capacity * (sizeof *out->tensors + sizeof *a->parts));
    for (size_t i = 0; i < a->original->count; i++) {
        const dp_source_tensor *t = &a->original->tensors[i];
        if (is_kv_b(t)) TRY(add_halves(a, out, i));
        else TRY(add(a, out, t, &(part){.tensor = i, .whole = true}));
    }
    return DP_OK;
}

dp_status dp_source_apart(const dp_source *original, const dp_json *config, dp_source *out) {
    size_t count = 0;
    bool floats = true;
    for (size_t i = 0; i < original->count; i++) {
        if (!is_kv_b(&original->tensors[i])) continue;
        count++;
        floats &= dp_dtype_get(original->tensors[i].dtype)->block == 1;
    }
    *out = (dp_source){.read = read_part};
    if (!count || !floats) return DP_OK;
    apart *a = dp_arena_calloc(&out->arena, 1, sizeof *a);
    if (!a) return dp_no_memory(sizeof *a);
    a->original = original;
    out->state = a;
    dp_status status = dp_mla_sizes_of(config, &a->sizes);
    if (status == DP_OK) status = add_all(a, out, original->count + count);
    if (status != DP_OK) dp_source_free(out);
    return status;
}
