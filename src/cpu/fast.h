/* fast.h: inside of the vectorised CPU path.
 *
 *   fast.c          chooses the instruction set, fills the op table, keeps the state of a plan
 *   fast_matmul.c   products with weights: how work is cut into tiles for the threads
 *   fast_pack.c     activations rearranged for kernels that multiply blocks of tokens
 *   fast_attention.c  attention: rows, parts of the context, merging
 *   fast_rows.c     everything that treats rows one by one
 *   fast_<isa>.c    the kernels of one instruction set: its few primitives, then the shared bodies
 *                   fast_vec.h, fast_unpack.h, fast_dot.h, fast_fill.h, fast_panel.h, fast_attend.h, fast_rows.h
 *   fast_amx.h      products for many tokens on AMX's tiles
 *
 * Weights stay as they are mapped. Quantised ones are multiplied as integers: activations become int8 with a scale per
 * 32 columns, once per slot and step. F32, F16 and BF16 weights are multiplied with f32 activations. */
#ifndef DP_FAST_H
#define DP_FAST_H

#include "cpu/cpu.h"

enum {
    DP_UNIT = 256,             /* columns that are quantised, unpacked and multiplied at a time */
    DP_PANEL_ROWS_MAX = 32,    /* weight rows of a panel, at most */
    DP_PANEL_COLS = 8 * DP_UNIT,
    DP_PANEL_COLS_F32 = 4 * DP_UNIT,
    DP_PACKED_ROWS = 256,      /* of kernels that pack: weight rows of a panel, */
    DP_PACKED_TOKENS = 512,    /* tokens whose sums are kept */
#if defined(__x86_64__)
    /* two panels of bf16, and the sums */
    DP_TILE_SCRATCH = DP_PACKED_ROWS * (DP_UNIT * 4 + DP_PACKED_TOKENS * 4)
#else
    /* bytes and two floats per 16 columns; a panel of f32 is smaller */
    DP_TILE_SCRATCH = DP_PANEL_ROWS_MAX * (DP_PANEL_COLS + DP_PANEL_COLS / 16 * 8)
#endif
};

/* 256 columns of one token's activations. Columns behind the row's end are zero. */
typedef struct dp_act_unit {
    int8_t q[DP_UNIT];
    float scale[DP_UNIT / 16]; /* per 16 columns: equal in pairs */
    float sum16[DP_UNIT / 16]; /* scale * sum of q over 16 columns, and over 32 */
    float sum32[DP_UNIT / 32];
#if defined(__wasm_simd128__)
    int16_t wide[DP_UNIT]; /* q again: of each 16 columns the even ones, then the odd ones */
#endif
} dp_act_unit;

static inline int32_t dp_act_units(int32_t cols) { return cols / DP_UNIT + (cols % DP_UNIT != 0); }

/* Some rows of a weight matrix times some tokens: y[t][row] = sum_k x[t][k] W[row][k] + bias[row]. */
typedef struct dp_tile {
    const dp_weight *weight;
    const uint8_t *matrix;   /* row 0 */
    int32_t first, rows;     /* the rows to compute */
    int32_t tokens;
    const void *const *x;    /* [tokens]: f32 rows, or rows of dp_act_unit for quantised weights */
    const uint8_t *packed;   /* [tokens / DP_PACK_TOKENS, rounded up]: blocks, for kernels that pack */
    float *const *y;         /* [tokens]: where row 0's result goes */
    const float *bias;       /* of row 0, or NULL */
    void *scratch;           /* DP_TILE_SCRATCH bytes on a cache line */
} dp_tile;

/* Attention of some query rows of one KV head over a range of positions. A row is a query head at a token.
 * Results stay unfinished: acc is the sum of e^(score - max) V, sum that of e^(score - max). */
enum { DP_ATTEND_ROWS = 64, DP_ATTEND_STEP = 32 }; /* rows, positions at a time; the latter divides DP_KV_PAGE */

typedef struct dp_attend {
    const dp_kv *kv;
    int32_t layer, kv_head;
    int32_t k_dim, v_dim;    /* v_dim: columns of the result, also where V is the start of K */
    int32_t window;
    float scale, softcap;
    int32_t rows;
    const float *q[DP_ATTEND_ROWS];
    int32_t position[DP_ATTEND_ROWS];
    int32_t from, to;        /* from is a multiple of DP_ATTEND_STEP */
    float *max, *sum, *acc;  /* [rows], [rows], [rows][v_dim]; filled */
    float *scratch;          /* k_dim * (DP_ATTEND_STEP + 4) + DP_ATTEND_ROWS * (DP_ATTEND_STEP + 1) */
} dp_attend;

/* Rearranges up to DP_PACK_TOKENS rows of f32 into a block of dp_pack_bytes: bf16 and, for `parts` 2, what that leaves. */
enum { DP_PACK_TOKENS = 16 };
typedef void (*dp_pack_fn)(const float *const *x, int32_t tokens, int32_t cols, int32_t parts, void *block);

static inline size_t dp_pack_bytes(int32_t cols, int32_t parts) {
    return (size_t)dp_act_units(cols) * DP_UNIT * DP_PACK_TOKENS * 2 * (size_t)parts;
}

/* Weights that are more exact than a bf16 is want the second part of the activations too. */
static inline int32_t dp_pack_parts(dp_dtype dtype) { return dtype < DP_Q4_0 ? 2 : 1; }

/* Makes multiply-adds on one unit of the processor, `rounds` times many; returns how many. */
typedef double (*dp_spin_fn)(int32_t rounds);

typedef void (*dp_row_fn)(const dp_cpu_run *run, const dp_op *op, int32_t row);

/* The kernels of one instruction set. */
typedef struct dp_cpu_kernels {
    const char *isa;      /* as in dp_engine_desc.cpu_isa */
    const char *describe;
    int32_t panel_rows;   /* rows that the panel kernels take at a time */
    int32_t panel_tokens; /* from this many tokens on panels are faster than dot */
    void (*quantize)(const float *x, int32_t cols, dp_act_unit *out);
    void (*dot)(const dp_tile *tile);   /* for few tokens: row by row */
    void (*panel)(const dp_tile *tile); /* blocks of rows unpacked once for many tokens */
    dp_pack_fn pack;      /* NULL: panel takes x; else it takes blocks of DP_PACK_TOKENS tokens, made by this */
    void (*attend)(const dp_attend *attend);
    void (*head)(const dp_cpu_run *run, const dp_op *op, int32_t head, float *row); /* one head of HEAD_MATMUL; row: [cols] */
    dp_spin_fn spin_bytes, spin_floats, spin_halves; /* halves: bf16 on matrix units, else NULL */
    dp_row_fn row[DP_OP_COUNT];         /* ops that treat rows one by one */
    dp_cpu_table table;                 /* NULL entries stay with the reference */
} dp_cpu_kernels;

/* NULL where the file was compiled without the instruction set. */
const dp_cpu_kernels *dp_kernels_scalar(void);
const dp_cpu_kernels *dp_kernels_avx2(void);
const dp_cpu_kernels *dp_kernels_avx512(void);
const dp_cpu_kernels *dp_kernels_amx(void);
const dp_cpu_kernels *dp_kernels_neon(void);
const dp_cpu_kernels *dp_kernels_avxvnni(void);
const dp_cpu_kernels *dp_kernels_i8mm(void);
const dp_cpu_kernels *dp_kernels_dotprod(void);
const dp_cpu_kernels *dp_kernels_wasm(void);

/* The best of this machine up to `isa`, as dp_cpu_fast_table chooses. */
dp_status dp_cpu_fast_kernels(const char *isa, const dp_cpu_kernels **out);

/* True if the fast path multiplies with this dtype through int8 activations / at all. */
bool dp_fast_is_quantized(dp_dtype dtype);
bool dp_fast_multiplies(dp_dtype dtype);

/* ---- state of a plan ---- */

/* Blocks made by a dp_pack_fn. */
typedef struct dp_packed {
    void *memory;
    uint8_t *blocks;     /* in memory, on a cache line */
    size_t bytes;        /* room */
    int32_t valid_parts; /* of a slot: parts that hold what the slot holds; 0: none */
} dp_packed;

typedef struct dp_act_cache {
    dp_act_unit *units; /* NULL: no op needs this slot quantised */
    size_t bytes;       /* room */
    bool valid;         /* holds what the slot holds */
    dp_packed packed;
} dp_act_cache;

struct dp_cpu_fast {
    size_t slot_count;
    dp_act_cache *acts;  /* [slot_count] */
    int32_t threads;
    size_t scratch_bytes; /* per thread */
    uint8_t *scratch;     /* [threads], on a cache line */
    float *partial;       /* attention over parts of the context: [2 * threads] states */
    size_t partial_floats; /* of one state */
    dp_packed experts;   /* activations in the order of experts */
    size_t pair_count;   /* most (token, expert) pairs, or tokens, of a step */
    const void **x;      /* [pair_count]: rows of the slot */
    const void **pair_x; /* [pair_count]: the same in the order of experts */
    float **y;           /* [pair_count]: results, in the order that the tiles use */
    int32_t *order;      /* [pair_count]: pairs sorted by expert */
    int32_t *starts;     /* [experts + 1]: where an expert's pairs start in order */
    int32_t *active;     /* [experts]: experts that have pairs */
    void *memory;        /* what the pointers above live in */
};

static inline uint8_t *dp_fast_scratch(const struct dp_cpu_fast *fast, int32_t thread) {
    return fast->scratch + (size_t)thread * fast->scratch_bytes;
}

/* Activations for kernels that pack (fast_pack.c): a slot's; those of the sorted pairs, into fast->experts. */
dp_status dp_fast_pack_slot(dp_cpu_run *run, const dp_cpu_kernels *kernels, const dp_op *op, int32_t rows, const uint8_t **out);
dp_status dp_fast_pack_experts(dp_cpu_run *run, const dp_cpu_kernels *kernels, const dp_op *op, int32_t active);
/* First block of the expert that is active[index]. */
size_t dp_fast_expert_block(const struct dp_cpu_fast *fast, int32_t index);

/* The ops; each instruction set wraps them with its kernels. */
dp_status dp_fast_matmul(dp_cpu_run *run, const dp_op *op, const dp_cpu_kernels *kernels);
dp_status dp_fast_moe_matmul(dp_cpu_run *run, const dp_op *op, const dp_cpu_kernels *kernels);
dp_status dp_fast_head_matmul(dp_cpu_run *run, const dp_op *op, const dp_cpu_kernels *kernels);
dp_status dp_fast_attention(dp_cpu_run *run, const dp_op *op, const dp_cpu_kernels *kernels);
dp_status dp_fast_rows(dp_cpu_run *run, const dp_op *op, const dp_cpu_kernels *kernels);
/* Floats that one task of attention needs: its state, and its kernel's scratch. */
size_t dp_attend_state_floats(const dp_kv_spec *spec);
size_t dp_attend_scratch_floats(const dp_kv_spec *spec);

#endif
