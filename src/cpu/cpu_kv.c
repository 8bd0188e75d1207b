/* cpu_kv.c: the CPU's KV cache: pages of DP_KV_PAGE positions per layer, allocated as the conversation grows. A layer
 * with a sliding window gives pages that the window has left to the positions that come. */
#include "cpu/cpu_kv.h"

static size_t element_size(dp_kv_type type) { return type == DP_KV_F16 ? 2 : 4; }

static void *row(const dp_kv *kv, int32_t layer, int32_t position, size_t element) {
    const dp_cpu_kv_layer *l = &kv->layers[layer];
    return (char *)l->pages[position / DP_KV_PAGE] + element * element_size(kv->type);
}

void *dp_cpu_kv_k(const dp_kv *kv, int32_t layer, int32_t head, int32_t position) {
    const dp_kv_spec *s = &kv->layers[layer].spec;
    return row(kv, layer, position, (size_t)(head * DP_KV_PAGE + position % DP_KV_PAGE) * (size_t)s->k_dim);
}

void *dp_cpu_kv_v(const dp_kv *kv, int32_t layer, int32_t head, int32_t position) {
    const dp_kv_spec *s = &kv->layers[layer].spec;
    size_t keys = (size_t)s->heads * DP_KV_PAGE * (size_t)s->k_dim;
    return row(kv, layer, position, keys + (size_t)(head * DP_KV_PAGE + position % DP_KV_PAGE) * (size_t)s->v_dim);
}

static size_t page_size(const dp_kv_spec *spec, dp_kv_type type) {
    return (size_t)spec->heads * (size_t)(spec->k_dim + spec->v_dim) * DP_KV_PAGE * element_size(type);
}

/* A window holds the pages that it and a step touch, begun ones at both ends. */
uint64_t dp_cpu_kv_bytes(const dp_program *program, const dp_kv_size *size) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < program->kv_count; i++) {
        const dp_kv_spec *s = &program->kv[i];
        uint64_t all = ((uint64_t)size->context + DP_KV_PAGE - 1) / DP_KV_PAGE, most = all;
        if (s->window) most = DP_MIN(all, ((uint64_t)s->window + (uint64_t)size->step) / DP_KV_PAGE + 2);
        bytes += most * page_size(s, size->type) + all * sizeof(void *);
    }
    return bytes;
}

dp_status dp_cpu_kv_new(dp_backend *backend, const dp_program *program, const dp_kv_size *size, dp_kv **out) {
    dp_kv *kv = dp_calloc(1, sizeof *kv);
    if (!kv) return dp_no_memory(sizeof *kv);
    *kv = (dp_kv){backend, size->type, program->kv_count, dp_calloc(program->kv_count, sizeof *kv->layers)};
    if (!kv->layers) {
        dp_free(kv);
        return dp_no_memory(program->kv_count * sizeof *kv->layers);
    }
    for (size_t i = 0; i < program->kv_count; i++) {
        const dp_kv_spec *s = &program->kv[i];
        kv->layers[i] = (dp_cpu_kv_layer){.spec = *s, .page_bytes = page_size(s, size->type)};
    }
    *out = kv;
    return DP_OK;
}

void dp_cpu_kv_free(dp_kv *kv) {
    if (!kv) return;
    for (size_t i = 0; i < kv->layer_count; i++) {
        dp_cpu_kv_layer *l = &kv->layers[i];
        for (size_t p = 0; p < l->page_count; p++) dp_free(l->pages[p]);
        while (l->spare) {
            void *next = *(void **)l->spare;
            dp_free(l->spare);
            l->spare = next;
        }
        dp_free(l->pages);
    }
    dp_free(kv->layers);
    dp_free(kv);
}

static void drop_page(dp_cpu_kv_layer *l, size_t page) {
    if (!l->pages[page]) return;
    *(void **)l->pages[page] = l->spare;
    l->spare = l->pages[page];
    l->pages[page] = NULL;
}

static dp_status add_page(dp_cpu_kv_layer *l, size_t page) {
    void *memory = l->spare;
    if (memory) l->spare = *(void **)memory;
    else memory = dp_malloc(l->page_bytes);
    if (!memory) {
        dp_no_memory(l->page_bytes);
        return dp_fail_in(DP_E_MEMORY, "the KV cache, position %zu", page * DP_KV_PAGE);
    }
    l->pages[page] = memory;
    return DP_OK;
}

static dp_status reserve_layer(dp_cpu_kv_layer *l, int32_t from, int32_t to) {
    size_t pages = ((size_t)to + DP_KV_PAGE - 1) / DP_KV_PAGE;
    if (pages > l->page_count) {
        void *grown = dp_realloc(l->pages, pages * sizeof *l->pages);
        if (!grown) return dp_no_memory(pages * sizeof *l->pages);
        l->pages = grown;
        memset(l->pages + l->page_count, 0, (pages - l->page_count) * sizeof *l->pages);
        l->page_count = pages;
    }
    /* the oldest position that the token at `from` still sees */
    int32_t oldest = l->spec.window && from >= l->spec.window ? from - l->spec.window + 1 : 0;
    for (size_t p = 0; p < (size_t)oldest / DP_KV_PAGE; p++) drop_page(l, p);
    for (size_t p = (size_t)from / DP_KV_PAGE; p < pages; p++)
        if (!l->pages[p]) TRY(add_page(l, p));
    return DP_OK;
}

dp_status dp_cpu_kv_reserve(dp_kv *kv, int32_t from, int32_t to) {
    for (size_t i = 0; i < kv->layer_count; i++) TRY(reserve_layer(&kv->layers[i], from, to));
    return DP_OK;
}

/* A length can be continued from if every layer still has the pages that the next position sees. */
int32_t dp_cpu_kv_truncate(dp_kv *kv, int32_t length) {
    for (size_t i = 0; i < kv->layer_count; i++) {
        const dp_cpu_kv_layer *l = &kv->layers[i];
        int32_t oldest = l->spec.window && length >= l->spec.window ? length - l->spec.window + 1 : 0;
        for (int32_t p = oldest / DP_KV_PAGE; p * DP_KV_PAGE < length; p++)
            if ((size_t)p >= l->page_count || !l->pages[p]) length = 0;
    }
    for (size_t i = 0; i < kv->layer_count; i++)
        for (size_t p = ((size_t)length + DP_KV_PAGE - 1) / DP_KV_PAGE; p < kv->layers[i].page_count; p++) drop_page(&kv->layers[i], p);
    return length;
}
