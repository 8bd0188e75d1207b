/* cpu.h: the CPU backend. It walks the program; each op is a function in a table. ref_*.c fill the table with the
 * specification (scalar, sums in double); fast_*.c replace entries with vectorised ones. Floor 4. */
#ifndef DP_CPU_H
#define DP_CPU_H

#include "host/pool.h"
#include "graph/backend.h"

/* reference: the scalar specification, one thread, f32 KV. isa: see dp_engine_desc.cpu_isa. */
typedef struct dp_cpu_desc {
    bool reference;
    int32_t threads;
    const char *isa;
} dp_cpu_desc;
dp_status dp_cpu_open(const dp_cpu_desc *desc, dp_backend **out);

/* Computes experts of a program that another backend runs, which must live as long (cpu_experts.c). */
dp_status dp_cpu_experts_open(const dp_cpu_desc *desc, const dp_program *program, struct dp_experts **out);

/* ---- inside the backend ---- */

enum { DP_KV_PAGE = 128 }; /* positions per page */

/* A page holds K as [heads][DP_KV_PAGE][k_dim], then V as [heads][DP_KV_PAGE][v_dim], f16 or f32. */
typedef struct dp_cpu_kv_layer {
    dp_kv_spec spec;
    void **pages; /* [page]; NULL: never written, or left by the window */
    size_t page_count;
    size_t page_bytes;
    void *spare; /* list of pages to reuse */
} dp_cpu_kv_layer;

struct dp_kv {
    dp_backend *backend;
    dp_kv_type type;
    size_t layer_count;
    dp_cpu_kv_layer *layers;
};

/* Address of head `head`'s row at `position` in a page of K / V; elements of 2 or 4 bytes. The page must exist. */
void *dp_cpu_kv_k(const dp_kv *kv, int32_t layer, int32_t head, int32_t position);
void *dp_cpu_kv_v(const dp_kv *kv, int32_t layer, int32_t head, int32_t position);

/* What an op function works on. */
typedef struct dp_cpu_run {
    const dp_program *program;
    const dp_step *step;
    float **slots;             /* [slot]; rows are dense: [rows][cols] */
    dp_pool *pool;
    struct dp_cpu_fast *fast;  /* scratch and state of the fast path, NULL on the reference path */
    const bool *only;          /* [experts]: MOE_MATMUL computes the pairs of these experts only; NULL: all */
} dp_cpu_run;

typedef dp_status (*dp_cpu_op_fn)(dp_cpu_run *run, const dp_op *op);
typedef struct dp_cpu_table {
    dp_cpu_op_fn op[DP_OP_COUNT];
} dp_cpu_table;

/* ref.h's functions: OP(NAME, name) -> dp_ref_<name>. */
#define OP(NAME, name) dp_status dp_ref_##name(dp_cpu_run *run, const dp_op *op);
#include "graph/ops.def"
#undef OP

/* Rows of the slot in this step: all tokens, or the wanted outputs. */
static inline int32_t dp_cpu_rows(const dp_cpu_run *run, int32_t slot) {
    return run->program->slots[slot].rows == DP_ROWS_TOKENS ? run->step->count : run->step->outputs;
}

/* ---- walking the program ---- */

/* Runs op `index` from the table, with profile and trace. */
dp_status dp_cpu_run_op(dp_cpu_run *run, const dp_cpu_table *table, size_t index);
/* Hands the output of an op to the step's trace, if it has one. */
dp_status dp_cpu_trace_op(const dp_cpu_run *run, const dp_op *op);
/* The whole program where weights are paged (cpu_paged.c). */
dp_status dp_cpu_run_paged(dp_cpu_run *run, const dp_cpu_table *table);
/* The op that writes what `reader` reads as its source; NULL if that is of another kind. */
const dp_op *dp_cpu_writer_of(const dp_program *program, const dp_op *reader, dp_op_kind kind);
float **dp_cpu_plan_slots(dp_plan *plan); /* rows of the program's slots, for who puts something there */
void dp_cpu_awake(dp_backend *backend, bool on); /* dp_pool_awake of its threads */
/* Nothing behind the last layer is needed when nobody wants logits. */
static inline bool dp_cpu_wants(const dp_cpu_run *run, const dp_op *op) {
    return op->dst < 0 || run->program->slots[op->dst].rows != DP_ROWS_OUTPUTS || run->step->outputs > 0;
}

/* ---- the fast path (fast.c): chosen at run time for the best instruction set up to `isa` ---- */

/* Replaces entries of `table`. *describe gets a static text such as "avx512+vnni". DP_E_ARG for an unknown isa name. */
dp_status dp_cpu_fast_table(const char *isa, dp_cpu_table *table, const char **describe);
/* State of one plan: quantised activations, accumulators. Freed with dp_cpu_fast_free. */
dp_status dp_cpu_fast_new(const dp_program *program, int32_t max_tokens, int32_t threads, struct dp_cpu_fast **out);
uint64_t dp_cpu_fast_bytes(const dp_program *program, int32_t max_tokens, int32_t threads); /* of such a state */
void dp_cpu_fast_free(struct dp_cpu_fast *fast);
/* Called by the walker before each step, and after each op that wrote `slot`. */
void dp_cpu_fast_begin(struct dp_cpu_fast *fast);
void dp_cpu_fast_written(struct dp_cpu_fast *fast, int32_t slot);

#endif
