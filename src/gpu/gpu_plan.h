/* gpu_plan.h: what the files of the GPU backend share: the backend, weights on the device, the KV cache, planned
 * dispatches. Floor 4. */
#ifndef DP_GPU_PLAN_H
#define DP_GPU_PLAN_H

#include "gpu/gpu_backend.h"
#include "gpu/kernels.h"
#include "gpu/repack.h"
#include "graph/pager.h"
#include "host/pool.h"

typedef struct dp_gpu_params_slot dp_gpu_params_slot;

typedef struct dp_gpu_backend {
    dp_backend base;
    dp_gpu *gpu;
    dp_kernels *kernels;
    dp_mutex *lock;     /* one thread uses the device at a time */
    dp_pool *pool;      /* threads that repack weights on their way to it */
    dp_gpu_buffer nothing; /* stands in for bindings that a kernel variant does not read */
    dp_gpu_buffer sink;    /* the same for bindings that it does not write */
    bool exact;            /* activations are never rounded to 8 bits */
    bool fuses;            /* single tokens run fused dispatches */
    bool lean;             /* those of gpu_lean.c */
    bool reads_host;       /* the device reads buffers in host memory */
    uint64_t part_most;    /* bytes of a weight's part at most */
    uint64_t weight_bytes, kv_bytes; /* of all programs, of all caches */
    dp_gpu_params_slot *params; /* of the device's parameter block (gpu_params.c) */
    size_t params_count, params_capacity;
    struct dp_plan *flying; /* has draws under way whose steps fetch experts; NULL: none has */
    char text[200];
} dp_gpu_backend;

/* A range of a matrix's rows or of its experts, in buffers that can be bound whole. scales is quants for plain floats. */
typedef struct dp_gpu_part {
    dp_gpu_buffer quants, scales;
    uint32_t first, count;
} dp_gpu_part;

/* program->device: parallel to program->weights. What is larger than one binding is split. */
typedef struct dp_gpu_stream dp_gpu_stream; /* gpu_streamed.c */
/* A plain weight that passes through slots, repacked in host memory that the device reads, part by part. */
typedef struct dp_gpu_kept {
    dp_gpu_buffer buffer;
    uint8_t *room, *memory; /* the same; the latter NULL until it is filled */
} dp_gpu_kept;

typedef struct dp_gpu_weight {
    dp_gpu_buffer quants, scales; /* the only part's; 0 if there are more */
    dp_gpu_part *parts;
    size_t part_count;
    dp_gpu_stream *stream; /* whose slots these buffers are; NULL: its own */
    struct dp_gpu_home *home; /* of a layer's experts; NULL: they have none */
    bool later;            /* its values come when they are wanted */
    dp_gpu_kept kept;
} dp_gpu_weight;

/* dp_gpu_buffer_new for what is to be bound whole. */
dp_status dp_gpu_storage_new(dp_gpu *gpu, uint64_t size, const char *label, dp_gpu_buffer *out);

/* ---- weights: their room (gpu_room.c), and their way there (gpu_weights.c) ---- */

/* Room is made some way ahead of what is sent: what is sent goes on meanwhile. Further ahead it would wait behind that. */
typedef struct dp_gpu_room {
    dp_gpu_backend *backend;
    dp_program *program;
    size_t now, next;           /* weights: the one being sent, the next to get room */
    bool refused;               /* the next one was */
    uint64_t made, sent, total; /* bytes */
} dp_gpu_room;
void dp_gpu_room_begin(dp_gpu_room *room, dp_gpu_backend *backend, dp_program *program);
dp_status dp_gpu_room_make(dp_gpu_room *room);
/* Room for the first weights (dp_backend_api.reserve); load makes what is not there. */
dp_status dp_gpu_weights_reserve(dp_gpu_backend *backend, dp_program *program);
dp_status dp_gpu_weights_load(dp_gpu_backend *backend, dp_program *program, dp_progress_fn progress, void *user);
void dp_gpu_weights_unload(dp_gpu_backend *backend, dp_program *program);
/* Bytes of a weight, or of one of its experts, on the device. */
uint64_t dp_gpu_weight_bytes(const dp_weight *weight);
/* Rows of a plain weight, or experts, of a part, when there are `units` of them; bytes of a part's buffers, scales 0 where it
 * has none. */
dp_status dp_gpu_part_units(const dp_gpu_backend *backend, const dp_weight *weight, uint32_t units, uint32_t *out);
dp_repack_size dp_gpu_part_bytes(const dp_weight *weight, uint32_t units);
dp_repack_size dp_gpu_repacked(dp_dtype dtype, size_t elements);
/* Bytes of the first weights as stored. */
uint64_t dp_gpu_weights_before(const dp_program *program, size_t count);
/* A failure, in words about weight i. */
dp_status dp_gpu_weight_failed(dp_status status, const dp_program *program, size_t i);
/* Elements that are repacked at once: a multiple of every block size times 64; how many pieces there are of so many. */
enum { DP_GPU_PIECE = 1 << 17 };
static inline int32_t dp_gpu_pieces(size_t elements) { return (int32_t)((elements + DP_GPU_PIECE - 1) / DP_GPU_PIECE); }
/* What takes quants and the scales behind them, of that size, from `at` in a buffer to the index-th such place in a part: how many
 * of the two moves there are. */
size_t dp_gpu_moves(dp_gpu_buffer from, uint64_t at, const dp_gpu_part *part, dp_repack_size size, uint64_t index, dp_gpu_move moves[2]);
/* Repacks piece `i` of the elements in `blocks` to where all of them are staged; scales: NULL if there are none. Any thread. */
void dp_gpu_repack_piece(dp_dtype dtype, const uint8_t *blocks, size_t elements, size_t i, uint8_t *quants, uint8_t *scales);
/* Takes a plain weight to its buffers. */
dp_status dp_gpu_weights_send(dp_gpu_backend *backend, const dp_program *program, size_t weight);

/* ---- experts on their way to slots (gpu_put.c) ---- */

typedef struct dp_gpu_put_slab {
    dp_dtype dtype;
    const uint8_t *blocks; /* as stored */
    size_t elements;
    const dp_gpu_part *to;
    size_t quants_at, scales_at;
    dp_repack_size size; /* scales 0: none */
    uint8_t *memory;     /* staged */
    int32_t first_piece;
} dp_gpu_put_slab;

/* backend and program are the caller's to set. */
typedef struct dp_gpu_puts {
    dp_gpu_backend *backend;
    const dp_program *program;
    dp_gpu_put_slab slabs[64];
    size_t count, bytes;
    int32_t pieces;
} dp_gpu_puts;

/* Takes an expert, which is in host memory, to a slot of a paged weight; at the latest the end does. */
dp_status dp_gpu_put(dp_gpu_puts *puts, int32_t weight, int32_t expert, int32_t slot);
dp_status dp_gpu_put_end(dp_gpu_puts *puts);

/* ---- experts at home in host memory (gpu_home.c) ---- */

enum { DP_GPU_HOME_WEIGHTS = 3 };
/* A layer's: [experts][expert_bytes]. */
typedef struct dp_gpu_home {
    dp_gpu_buffer buffer;
    uint8_t *memory;
    size_t expert_bytes, at[DP_GPU_HOME_WEIGHTS]; /* where its matrices begin: quants, then scales */
    int32_t weights[DP_GPU_HOME_WEIGHTS], weight_count, experts, layer;
} dp_gpu_home;

uint64_t dp_gpu_home_bytes(dp_backend *backend, const dp_program *program); /* dp_backend_api.home_bytes */
/* Makes and fills it if the pager says that there is one. */
dp_status dp_gpu_home_load(dp_gpu_backend *backend, const dp_program *program, dp_progress_fn progress, void *user);
void dp_gpu_home_free(dp_gpu_backend *backend, const dp_program *program);
/* Of a weight's experts; NULL: they have none. */
const dp_gpu_home *dp_gpu_home_of(const dp_program *program, int32_t weight);
/* Takes those of a group that arrive to their slots. */
dp_status dp_gpu_home_bring(dp_gpu_backend *backend, const dp_program *program, const dp_gpu_home *home, const dp_page_group *group);

/* ---- plain weights that pass through slots (gpu_streamed.c) ---- */

dp_status dp_gpu_stream_bytes(dp_backend *backend, const dp_program *program, const dp_stream *stream, uint64_t *out);
/* Makes the slots that the program's pager asks for; *out is NULL if it asks for none. */
dp_status dp_gpu_stream_new(dp_gpu_backend *backend, const dp_program *program, dp_gpu_stream **out);
void dp_gpu_stream_free(dp_gpu_backend *backend, dp_gpu_stream *stream);
dp_gpu_stream *dp_gpu_stream_of(const dp_program *program); /* NULL: none of its weights is streamed */
bool dp_gpu_streams(const dp_gpu_stream *stream, size_t weight);
/* The slot's buffers for the parts of a streamed weight, which are asked for once, in the order of weights and parts. */
void dp_gpu_stream_buffers(dp_gpu_stream *stream, size_t weight, dp_gpu_part *part, bool scales);

/* The KV cache: one buffer a layer, of f16 or (exact) f32. A layer with a window keeps a ring of `capacity` positions. */
typedef struct dp_gpu_kv_layer {
    dp_gpu_buffer buffer;
    uint32_t capacity;
} dp_gpu_kv_layer;

struct dp_kv {
    dp_gpu_backend *backend;
    const dp_program *program;
    dp_gpu_kv_layer *layers;
    int32_t context;
    int32_t written; /* positions ever written since the last truncate to 0 */
    bool exact;
};

/* How a dispatch's grid follows the step: that axis is multiplied by its token or output count, times `times`, over `per`. */
typedef enum dp_grid_rows { DP_GRID_FIXED, DP_GRID_TOKENS, DP_GRID_OUTPUTS } dp_grid_rows;
/* One-token steps run fused dispatches (gpu_decode.c) instead of the plain ones of the same ops. BACK: those of gpu_ahead.c that
 * put a layer's input back, no part of a step. */
typedef enum dp_when { DP_WHEN_ALWAYS, DP_WHEN_FUSED, DP_WHEN_PLAIN, DP_WHEN_BACK } dp_when;
typedef struct dp_planned {
    dp_gpu_dispatch dispatch;
    dp_grid_rows rows;
    uint8_t axis;
    uint32_t times, per;
    size_t op;         /* index of the op it belongs to */
    size_t ops;        /* how many ops it does, from that one on; 0: part of one */
    size_t last;       /* index of the op whose result stands in its slot behind it: what a trace sees */
    size_t behind;     /* ops that it does behind that one, whose results are in packed twins only */
    bool hidden;       /* that result is not in its slot but in its packed twin */
    bool traced;       /* only runs in steps that are traced */
    dp_when when;
    int32_t at_least, at_most; /* tokens (or outputs) in the step for which it runs */
    bool split;        /* attention: true runs only for one token with a long past, false otherwise; `either` ignores it */
    bool either;
    bool by_length;    /* `split` counts though the op is not attention: it is fused with others */
    int32_t block;     /* number of the paged experts' block that it is part of, from 1 on; 0: none */
} dp_planned;

/* The products with a layer's experts and what lies between them, where these experts are paged (gpu_paged.c). */
enum { DP_GPU_BLOCK_WEIGHTS = 8 };
typedef struct dp_gpu_block {
    int32_t layer, experts, k;
    size_t first, end; /* ops, behind the router and before the sum */
    int32_t ids;       /* slot of the router's choice */
    int32_t weights[DP_GPU_BLOCK_WEIGHTS];
    int32_t weight_count;
    /* of single tokens (gpu_ahead.c) */
    uint32_t table, uses, choice; /* where its slots and their uses stand in the table, and what is chosen among all that is */
    size_t back;            /* the dispatch that puts its input back; SIZE_MAX: there is none */
    size_t resume;          /* the op from which it then runs */
    double found;           /* in how many tokens, of late, all its experts were in slots */
    int32_t row;            /* the slot that its sum is added to, where the host can compute what is in no slot; -1: it cannot */
    float scale;            /* of its shares */
} dp_gpu_block;

/* Who computes a token's experts that are in no slot (gpu_missed.c). */
typedef struct dp_gpu_missed {
    bool computes; /* the host does; else they are brought */
    double start;  /* of the token under way */
    uint64_t count; /* of its experts that are in no slot */
    bool lacked;    /* the token before had some */
    float *outputs; /* [choices][columns], then the sum */
    /* DP_MISSES_AUTO: the tokens, and the least that one took for each expert when these were brought, were computed */
    uint64_t tokens;
    double seconds[2];
} dp_gpu_missed;

typedef struct dp_gpu_draws dp_gpu_draws; /* gpu_draw.c */
typedef struct dp_gpu_ahead dp_gpu_ahead; /* gpu_ahead.c */

struct dp_plan {
    dp_gpu_backend *backend;
    const dp_program *program;
    dp_plan_size size;
    const dp_kv *kv;      /* the cache that the attention bindings were made for */
    dp_gpu_buffer *slots, tokens, step, partial;
    dp_gpu_buffer halves, halves_scales, groups; /* scratch of gpu_prefill.c, 0 where it needs none */
    dp_gpu_buffer *packed; /* [slots]: packed twins of one row, 0 where none is needed */
    dp_gpu_buffer joined;  /* q, k and v of one token side by side; one of `owned` */
    uint64_t joined_size;
    dp_gpu_buffer routed;  /* what route.wgsl leaves of one token for choose_placed.wgsl; one of `owned`, 0 until it is needed */
    dp_gpu_buffer *owned;  /* made for the dispatches of gpu_decode*.c, freed with them */
    size_t owned_count, owned_capacity;
    dp_planned *planned;
    size_t planned_count, planned_capacity;
    dp_gpu_dispatch *queue; /* [planned_count + DP_GPU_DRAW_DISPATCHES] of one step */
    size_t *queue_ops;      /* [planned_count] their places in planned */
    dp_gpu_draws *draws;    /* NULL until tokens are drawn */
    struct {                /* a slot's readback, while the host comes again for it (DP_WAITING) */
        bool under_way;
        int32_t slot, first, rows;
        dp_gpu_read read;
    } reading;
    /* of a program whose experts are paged */
    struct {                /* a step that waits for a readback in its middle, while the host comes again for it (DP_WAITING) */
        bool under_way;
        uint64_t step;      /* which: step_id in gpu_paged.c */
        dp_gpu_read read;
        size_t from, to, block; /* on the queue, as gpu_paged.c or gpu_ahead.c left it */
    } paused;
    dp_gpu_block *blocks;
    size_t block_count, block_capacity;
    dp_gpu_buffer places; /* [tokens * k]: slot | expert << 16 of each pair, or DP_GPU_NO_PLACE */
    dp_gpu_buffer placed; /* of one token: kernels/place.wgsl */
    uint32_t *pairs;      /* [tokens * k] */
    dp_gpu_stream *stream; /* of a program whose layers pass through slots, else NULL */
    dp_gpu_ahead *ahead;
    dp_gpu_missed missed;
    dp_page_token spent;  /* on the single token under way; seconds: when it began */
};

/* A slot's packed twin, as long as the slot is not written anew: what packs others leaves it as it is. */
typedef struct dp_packed_twin {
    bool valid;
    const dp_op *norm; /* dp_planner.packed_norm of it */
} dp_packed_twin;

typedef struct dp_planner {
    dp_plan *plan;
    const dp_op *op;
    size_t index;
    const dp_kv *kv;
    dp_when when;        /* of the dispatches added now */
    dp_packed_twin *twins; /* [slots]: as of the ops that are planned */
    int32_t packed_slot; /* the slot whose packed twin is used now, up to date in one-token steps; -1: none */
    const dp_op *packed_norm; /* the norm whose factor it wants yet, with sums of squares behind it; NULL: none */
    bool joined;         /* q, k and v are in plan->joined and not in their slots */
    bool routed;         /* the router of a mixture of experts that is fused stands right before */
    uint32_t parts;      /* its logits are sums of so many; 0: they are in their slot */
    int32_t halves_slot, grouped_slot; /* what plan->halves and plan->groups hold in longer steps; -1: nothing */
    dp_dtype halves_order;             /* the weights' dtype, which decides the order of columns in plan->halves */
    int32_t block;       /* of the dispatches added now: dp_planned.block */
} dp_planner;

/* What one dispatch is made of. ranges: in the order of the kernel's bindings. */
typedef struct dp_recipe {
    dp_kernel_variant variant;
    dp_gpu_range ranges[10];
    size_t range_count;
    uint32_t params[16];
    uint32_t grid[3];
    dp_planned planned; /* its dispatch is filled in when it is added */
} dp_recipe;

/* A slot of the device's parameter block: of one's own, to be written with dp_gpu_params; or one that holds these words (of
 * DP_GPU_PARAM_BYTES) and is shared. Both are given back. */
dp_status dp_gpu_params_take(dp_gpu_backend *backend, uint32_t *out);
dp_status dp_gpu_params_share(dp_gpu_backend *backend, const uint32_t *words, uint32_t *out);
void dp_gpu_params_give(dp_gpu_backend *backend, uint32_t slot);

/* The number of an activation: KIND in kernels/elementwise.wgsl. */
uint32_t dp_gpu_act_kind(dp_act_kind kind);
dp_status dp_gpu_plan_add(dp_planner *planner, const dp_recipe *recipe);
/* A router's choice, and for one token what choose_placed.wgsl reads of it. placed: 0: not wanted. */
dp_status dp_gpu_plan_route(dp_planner *planner, const dp_op *op, dp_gpu_buffer placed);
/* Adds the dispatches of a one-token step for the op at planner->index and those behind it that they do with it: *ops of
 * them, 0 if there is nothing better than the plain ones (gpu_decode*.c). */
dp_status dp_gpu_fuse(dp_planner *planner, size_t *ops);

/* Dispatches of the op for steps of at least `from` tokens; *done is false, and nothing added, where the device or the
 * shapes allow none better than the plain ones (gpu_prefill.c). */
dp_status dp_gpu_prefill_matmul(dp_planner *planner, int32_t from);
dp_status dp_gpu_prefill_moe_matmul(dp_planner *planner, int32_t from, bool *done);
/* plain: the dispatch that takes token by token. */
dp_status dp_gpu_prefill_attention(dp_planner *planner, const dp_recipe *plain, int32_t from, bool *done);
/* To be called behind every op: forgets what its results have made stale. */
void dp_gpu_prefill_written(dp_planner *planner);
dp_status dp_gpu_prefill_buffers(dp_plan *plan);
uint64_t dp_gpu_prefill_bytes(const dp_plan *plan); /* of them, before they are made */
void dp_gpu_prefill_free(dp_plan *plan);

/* Turns the whole program into dispatches for this plan and cache (gpu_plan.c). */
dp_status dp_gpu_plan_build(dp_plan *plan, const dp_kv *kv);
void dp_gpu_plan_clear(dp_plan *plan);

/* Brings a step's position and tokens to the device and puts its dispatches on plan->queue (gpu_backend.c). */
dp_status dp_gpu_step_queue(dp_plan *plan, const dp_step *step, size_t *count);
/* Submits [from, to) of the queue, with times or traces if the step wants them. */
dp_status dp_gpu_step_submit(dp_plan *plan, const dp_step *step, size_t from, size_t to);
/* Hands the results of the ops in [from, to) of the queue, which have run, to the step's trace, if it has one. */
dp_status dp_gpu_step_trace(dp_plan *plan, const dp_step *step, size_t from, size_t to);

/* ---- paged experts (gpu_paged.c): a plan without them has no blocks ---- */

#define DP_GPU_NO_PLACE 0xffffffffu
dp_status dp_gpu_paged_new(dp_plan *plan);
void dp_gpu_paged_free(dp_plan *plan);
/* The number of the block that an op is part of; 0: none. */
int32_t dp_gpu_block_of(const dp_plan *plan, size_t op);
/* What a product with experts takes for their ids: [tokens * k]. */
dp_gpu_range dp_gpu_expert_ids(const dp_planner *planner);
/* Of the slots that a paged weight has, or of its experts. */
uint32_t dp_gpu_expert_room(const dp_program *program, const dp_op *op);
/* Runs a queued step up to the end of its last block or, of a single token, all of it; *done: how many of its dispatches that were. */
dp_status dp_gpu_paged_run(dp_plan *plan, const dp_step *step, size_t count, size_t *done);
/* A single token's step and, behind it on the queue, `draw` dispatches that draw the next one. */
dp_status dp_gpu_paged_draw(dp_plan *plan, const dp_step *step, size_t count, size_t draw, int32_t *id);
/* Takes the experts that the pager brings to a block's slots: a group's, all of these. */
dp_status dp_gpu_paged_bring(const dp_plan *plan, const dp_gpu_block *block, const dp_page_group *group);
dp_status dp_gpu_paged_bring_all(dp_plan *plan, const dp_gpu_block *block, const int32_t *ids, int32_t count);
/* Whether this is the step that is paused, which then goes on where it was. Forgets one that it is not. */
bool dp_gpu_paged_resumes(dp_plan *plan, const dp_step *step);
void dp_gpu_paged_forget(dp_plan *plan);
/* Ends a readback that a step needs to go on, or pauses the step: DP_WAITING. */
dp_status dp_gpu_paged_await(dp_plan *plan, const dp_step *step, dp_gpu_read read, void *data);

/* ---- single tokens with paged experts (gpu_ahead.c) ---- */

dp_status dp_gpu_ahead_new(dp_plan *plan);
void dp_gpu_ahead_free(dp_plan *plan);
uint64_t dp_gpu_ahead_bytes(const dp_program *program); /* of all it takes, if experts are paged */
dp_gpu_buffer dp_gpu_ahead_drawn(const dp_plan *plan); /* where a token that is drawn is to be left; 0: anywhere */
/* Add the dispatch that places the experts of the router at planner->index, for its fused dispatches, which read the slot
 * `from` and whose layer needs no more than the residual and the packed slot; for its plain ones. */
dp_status dp_gpu_place_fused(dp_planner *planner, const dp_kernel_variant *variant, int32_t from, int32_t residual, int32_t packed);
dp_status dp_gpu_place_routed(dp_planner *planner);
dp_status dp_gpu_ahead_run(dp_plan *plan, const dp_step *step, size_t count, size_t draw, int32_t *id);

/* ---- what a single token's experts that are in no slot make of it, computed by the host (gpu_missed.c) ---- */

/* The slot whose row the host needs to do that for the mixture behind op `route`; -1: it cannot. */
int32_t dp_gpu_missed_row(const dp_program *program, size_t route);
dp_status dp_gpu_missed_new(dp_plan *plan, size_t columns); /* of the largest row */
/* Whether the host is busy with a token: then it polls, and the threads that compute or repack stay awake. */
void dp_gpu_missed_awake(dp_plan *plan, bool on);
/* A token begins, which may be computed so; lacks experts of a block; ends. */
void dp_gpu_missed_begin(dp_plan *plan, bool may);
void dp_gpu_missed_count(dp_plan *plan, const dp_gpu_block *block, const int32_t *ids);
void dp_gpu_missed_end(dp_plan *plan);
/* Adds the sum to the block's row on the device, whose content is `row`, and brings what the pager would have there. */
dp_status dp_gpu_missed_add(dp_plan *plan, const dp_gpu_block *block, const int32_t *ids, const float *shares, const float *row);

/* Brings what the dispatch at `from` of the queue reads to its slot; *end: the first behind it, up to `to`, that wants
 * something else brought. */
dp_status dp_gpu_stream_bring(dp_plan *plan, size_t from, size_t to, size_t *end);

/* Tokens drawn on the device (gpu_draw.c): the entries of dp_backend_api. */
bool dp_gpu_draw_is_far(const dp_plan *plan);
bool dp_gpu_draw_shares(const dp_plan *plan);
dp_status dp_gpu_draw_begin(dp_plan *plan, const dp_draw_rules *rules);
dp_status dp_gpu_draw(dp_plan *plan, const dp_step *step, bool send);
dp_status dp_gpu_drawn(dp_plan *plan, int32_t *id);
void dp_gpu_draw_end(dp_plan *plan);
/* Before the last draw is made again: makes the step what it was. */
dp_status dp_gpu_draw_again(dp_plan *plan, const dp_step *step);
void dp_gpu_draws_free(dp_plan *plan);
/* Waits for steps under way that fetch experts: before the host, or another plan, looks at what is in slots. */
dp_status dp_gpu_draws_land(dp_gpu_backend *backend);
uint64_t dp_gpu_draws_bytes(const dp_program *program); /* that drawing takes, without the ids of a context */

enum {
    DP_GPU_SPLITS = 16,       /* workgroups that share one head's past in decode */
    DP_GPU_SPLITS_MOST = 128, /* the same for fused attention */
    DP_GPU_SPLIT_FROM = 256,  /* positions from which that pays */
    DP_GPU_MATVEC_MOST = 4,   /* tokens up to which weights are read once per token */
    DP_GPU_STEP_WORDS = 8,    /* of plan->step: position, tokens, outputs, context, draws made */
    DP_GPU_DRAW_DISPATCHES = 4,
    DP_GPU_SUBMIT_PIECE = 80 /* dispatches: encoding them takes about as long as a submit costs, several times over */
};

#endif
