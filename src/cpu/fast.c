/* fast.c: choice of the instruction set, and the state that the vectorised path keeps for a plan: quantised copies of
 * slots that feed quantised weights, scratch per thread, lists of tokens. Kernels are in fast_<isa>.c. */
#include "cpu/fast.h"

#include "cpu/cpu_isa.h"

/* ---- instruction sets, best first ---- */

typedef struct isa_choice {
    const char *name;
    const dp_cpu_kernels *(*kernels)(void);
    bool (*present)(void);
} isa_choice;

static bool always(void) { return true; }

static const isa_choice choices[] = {
    {"amx", dp_kernels_amx, dp_isa_has_amx},
    {"avx512", dp_kernels_avx512, dp_isa_has_avx512_vnni},
    {"avxvnni", dp_kernels_avxvnni, dp_isa_has_avx_vnni},
    {"avx2", dp_kernels_avx2, dp_isa_has_avx2},
    {"i8mm", dp_kernels_i8mm, dp_isa_has_i8mm},
    {"dotprod", dp_kernels_dotprod, dp_isa_has_dotprod},
    {"neon", dp_kernels_neon, dp_isa_has_neon},
    {"wasm", dp_kernels_wasm, always}, /* a module runs only where all its instructions are known */
    {"scalar", dp_kernels_scalar, always},
};

/* Index of the first choice that `isa` allows. */
static dp_status first_allowed(const char *isa, size_t *out) {
    *out = 0;
    if (!isa) return DP_OK;
    for (size_t i = 0; i < DP_COUNT(choices); i++) {
        *out = i;
        if (strcmp(isa, choices[i].name) == 0) return DP_OK;
    }
    return dp_fail(
        DP_E_ARG,
        "unknown instruction set \"%s\": expected amx, avx512, avxvnni, avx2, i8mm, dotprod, neon, wasm or scalar",
        isa);
}

dp_status dp_cpu_fast_kernels(const char *isa, const dp_cpu_kernels **out) {
    size_t first;
    TRY(first_allowed(isa, &first));
    for (size_t i = first; i < DP_COUNT(choices); i++) {
        *out = choices[i].present() ? choices[i].kernels() : NULL;
        if (*out) return DP_OK;
    }
    return dp_fail(DP_E_UNSUPPORTED, "no instruction set up to \"%s\" on this machine", isa ? isa : "best");
}

dp_status dp_cpu_fast_table(const char *isa, dp_cpu_table *table, const char **describe) {
    const dp_cpu_kernels *kernels;
    TRY(dp_cpu_fast_kernels(isa, &kernels));
    for (int op = 0; op < DP_OP_COUNT; op++)
        if (kernels->table.op[op]) table->op[op] = kernels->table.op[op];
    *describe = kernels->describe;
    return DP_OK;
}

bool dp_fast_is_quantized(dp_dtype dtype) { return dtype >= DP_Q4_0 && dtype <= DP_MXFP4; }

bool dp_fast_multiplies(dp_dtype dtype) { return dtype <= DP_MXFP4; }

/* ---- state ---- */

enum { CACHE_LINE = 64 };

static bool reads_weights(const dp_op *op) { return op->kind == DP_OP_MATMUL || op->kind == DP_OP_MOE_MATMUL; }

static bool feeds_quantized(const dp_program *program, const dp_op *op) {
    return reads_weights(op) && dp_fast_is_quantized(program->weights[op->weight].dtype);
}

/* Rows that an op with weights reads from its source. */
static size_t source_rows(const dp_op *op, int32_t max_tokens) {
    bool pairs = op->kind == DP_OP_MOE_MATMUL && op->moe_matmul.per_expert;
    return (size_t)max_tokens * (pairs ? (size_t)op->moe_matmul.k : 1);
}

/* Makes room for quantised activations wherever a quantised weight is multiplied. */
static dp_status make_caches(struct dp_cpu_fast *fast, const dp_program *program, int32_t max_tokens) {
    for (size_t i = 0; i < program->op_count; i++) {
        const dp_op *op = &program->ops[i];
        if (!feeds_quantized(program, op)) continue;
        dp_act_cache *cache = &fast->acts[op->src];
        size_t bytes, row = (size_t)dp_act_units(program->weights[op->weight].cols) * sizeof(dp_act_unit);
        if (!dp_mul_size(source_rows(op, max_tokens), row, &bytes)) return dp_no_memory(SIZE_MAX);
        if (cache->bytes >= bytes) continue;
        dp_free(cache->units);
        cache->bytes = 0;
        cache->units = dp_malloc(bytes);
        if (!cache->units) return dp_no_memory(bytes);
        cache->bytes = bytes;
    }
    return DP_OK;
}

static void most_pairs(const dp_program *program, size_t *per_token, size_t *experts) {
    *per_token = 1;
    *experts = 0;
    for (size_t i = 0; i < program->op_count; i++) {
        const dp_op *op = &program->ops[i];
        if (op->kind != DP_OP_MOE_MATMUL) continue;
        *per_token = DP_MAX(*per_token, (size_t)op->moe_matmul.k);
        *experts = DP_MAX(*experts, (size_t)program->weights[op->weight].experts);
    }
}

/* Scratch per thread serves products and attention in turn. */
static void size_scratch(struct dp_cpu_fast *fast, const dp_program *program) {
    size_t floats = 0;
    for (size_t i = 0; i < program->kv_count; i++) {
        size_t state = dp_attend_state_floats(&program->kv[i]);
        fast->partial_floats = DP_MAX(fast->partial_floats, state);
        floats = DP_MAX(floats, state + dp_attend_scratch_floats(&program->kv[i]));
    }
    size_t bytes = (floats * sizeof(float) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    fast->scratch_bytes = DP_MAX(bytes, (size_t)DP_TILE_SCRATCH);
}

static size_t lists_bytes(const struct dp_cpu_fast *fast, size_t pairs, size_t experts) {
    size_t lists = pairs * (3 * sizeof(void *) + sizeof(int32_t)) + (2 * experts + 1) * sizeof(int32_t);
    size_t partials = 2 * (size_t)fast->threads * fast->partial_floats;
    return (size_t)fast->threads * fast->scratch_bytes + CACHE_LINE + lists + partials * sizeof(float);
}

static dp_status make_lists(struct dp_cpu_fast *fast, const dp_program *program, int32_t max_tokens) {
    size_t per_token, experts;
    most_pairs(program, &per_token, &experts);
    fast->pair_count = (size_t)max_tokens * per_token;
    size_t bytes = lists_bytes(fast, fast->pair_count, experts);
    fast->memory = dp_malloc(bytes);
    if (!fast->memory) return dp_no_memory(bytes);
    uint8_t *at = (uint8_t *)fast->memory + (CACHE_LINE - (uintptr_t)fast->memory % CACHE_LINE);
    fast->scratch = at;
    at += (size_t)fast->threads * fast->scratch_bytes;
    fast->x = (const void **)(void *)at;
    fast->pair_x = fast->x + fast->pair_count;
    fast->y = (float **)(void *)(fast->pair_x + fast->pair_count);
    fast->order = (int32_t *)(void *)(fast->y + fast->pair_count);
    fast->starts = fast->order + fast->pair_count;
    fast->active = fast->starts + experts + 1;
    fast->partial = (float *)(void *)(fast->active + experts);
    return DP_OK;
}

uint64_t dp_cpu_fast_bytes(const dp_program *program, int32_t max_tokens, int32_t threads) {
    struct dp_cpu_fast fast = {.threads = threads};
    size_t per_token, experts;
    uint64_t bytes = 0;
    most_pairs(program, &per_token, &experts);
    size_scratch(&fast, program);
    for (size_t slot = 0; slot < program->slot_count; slot++) {
        uint64_t most = 0;
        for (size_t i = 0; i < program->op_count; i++) {
            const dp_op *op = &program->ops[i];
            if (!feeds_quantized(program, op) || (size_t)op->src != slot) continue;
            uint64_t row = (uint64_t)dp_act_units(program->weights[op->weight].cols) * sizeof(dp_act_unit);
            most = DP_MAX(most, source_rows(op, max_tokens) * row);
        }
        bytes += most;
    }
    return bytes + lists_bytes(&fast, (size_t)max_tokens * per_token, experts);
}

dp_status dp_cpu_fast_new(const dp_program *program, int32_t max_tokens, int32_t threads, struct dp_cpu_fast **out) {
    struct dp_cpu_fast *fast = dp_calloc(1, sizeof *fast);
    if (!fast) return dp_no_memory(sizeof *fast);
    fast->threads = threads;
    fast->slot_count = program->slot_count;
    fast->acts = dp_calloc(fast->slot_count, sizeof *fast->acts);
    dp_status status = fast->acts ? make_caches(fast, program, max_tokens) : dp_no_memory(fast->slot_count * sizeof *fast->acts);
    size_scratch(fast, program);
    if (status == DP_OK) status = make_lists(fast, program, max_tokens);
    if (status != DP_OK) {
        dp_cpu_fast_free(fast);
        return status;
    }
    *out = fast;
    return DP_OK;
}

void dp_cpu_fast_free(struct dp_cpu_fast *fast) {
    if (!fast) return;
    for (size_t i = 0; fast->acts && i < fast->slot_count; i++) {
        dp_free(fast->acts[i].units);
        dp_free(fast->acts[i].packed.memory);
    }
    dp_free(fast->acts);
    dp_free(fast->experts.memory);
    dp_free(fast->memory);
    dp_free(fast);
}

void dp_cpu_fast_begin(struct dp_cpu_fast *fast) {
    for (size_t i = 0; i < fast->slot_count; i++) dp_cpu_fast_written(fast, (int32_t)i);
}

void dp_cpu_fast_written(struct dp_cpu_fast *fast, int32_t slot) {
    fast->acts[slot].valid = false;
    fast->acts[slot].packed.valid_parts = 0;
}
