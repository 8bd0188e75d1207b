/* gpu_ahead.h: what the device and the host tell each other of a single token's experts: the table, in which the device finds
 * slots (gpu_table.c), and the record, in which it leaves what it chose (gpu_ahead.c). Floor 4. */
#ifndef DP_GPU_AHEAD_H
#define DP_GPU_AHEAD_H

#include "gpu/gpu_decode.h"
#include "graph/pager.h"

enum { DP_AHEAD_DRAWN, DP_AHEAD_IDS }; /* words of the record: the token drawn, then the experts of each block; their shares; the last
                                        * block's row. Where the device fetches: the slots of those it fetched, and no more */

struct dp_gpu_ahead {
    dp_gpu_buffer table, record;
    uint32_t *slots;   /* the table: slots of each block's experts, then the experts that somebody wants of each, then their uses */
    size_t slot_words, uses, words; /* where those wanted begin, where uses do, all */
    uint32_t *used;    /* the record */
    size_t used_words, shares, row, record_words; /* of it: those always read; where what only the host's part needs begins; all */
    size_t fetched;    /* where slots of what was fetched begin; 0: the device fetches nothing */
    size_t *places;    /* [blocks]: where in the queue their experts are placed */
    uint64_t changes;  /* of the pager, as of the table */
    bool wanting;      /* some are wanted */
};

/* Whether somebody looks on who is to see nothing that is done again, or layers pass through in order. */
bool dp_gpu_ahead_is_watched(const dp_plan *plan, const dp_step *step);

/* ---- gpu_table.c ---- */

/* Where each block's words stand; ids: how many are chosen of all. */
dp_status dp_gpu_table_new(dp_plan *plan, size_t ids);
void dp_gpu_table_free(dp_plan *plan);
/* Other sessions, and passes that failed, change slots too. */
dp_status dp_gpu_table_refresh(dp_plan *plan);
/* Tells the device what is in the block's slots now. */
dp_status dp_gpu_table_tell(dp_plan *plan, const dp_gpu_block *block);
/* What somebody wants instead of the router's choice; as far as it can tell before the token; of one block, now. */
uint32_t *dp_gpu_table_wanted(const dp_plan *plan, const dp_gpu_block *block);
dp_status dp_gpu_table_prepare_wanted(dp_plan *plan, const dp_step *step);
dp_status dp_gpu_table_tell_wanted(dp_plan *plan, const dp_gpu_block *block);

/* ---- gpu_fetch.c ---- */

/* Whether the device fetches experts by itself. */
bool dp_gpu_fetches(const dp_program *program);
uint64_t dp_gpu_fetch_bytes(void); /* on the device, of what a block takes for it, the table and the record apart */
/* Sees to it that all of a block's slots hold an expert, as the device needs it to choose which goes. */
dp_status dp_gpu_fetch_fill(dp_plan *plan, const dp_gpu_block *block);
/* The dispatch that fetches what the one before it gave slots. */
dp_status dp_gpu_fetch_add(dp_planner *planner, int32_t block);
/* Tells the pager what the record says of a block. */
void dp_gpu_fetch_take(dp_plan *plan, const dp_gpu_block *block);
/* Tokens of which several may be under way. Whether this step is one; makes ready for it, and says what is to be read behind it;
 * takes what was read. submitted: seconds that submitting took. lost: what the device fetched last nobody will ever know. */
bool dp_gpu_fetch_flies(const dp_plan *plan, const dp_step *step);
dp_status dp_gpu_fetch_begin(dp_plan *plan, const dp_step *step, dp_gpu_range *record);
dp_status dp_gpu_fetch_end(dp_plan *plan, dp_gpu_read read, double submitted, int32_t *id);
void dp_gpu_fetch_lost(dp_plan *plan);

#endif
