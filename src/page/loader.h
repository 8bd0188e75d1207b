/* loader.h: slots, the memory that units are read into, and the threads that read. A load is cut into pieces that several
 * threads read at once; the last one checks the hashes and, if anything failed, tries the other sources. Guesses are read
 * when nothing that is waited for is left to read. Floor 4. */
#ifndef DP_LOADER_H
#define DP_LOADER_H

#include "page/unit.h"

typedef struct dp_loader dp_loader;
typedef enum dp_slot_state { DP_SLOT_EMPTY, DP_SLOT_LOADING, DP_SLOT_READY, DP_SLOT_FAILED } dp_slot_state;

enum {
    DP_READERS = 8,          /* threads of a model */
    DP_LOAD_PIECE = 4 << 20, /* bytes read at once: past 1 MiB larger reads gain little, and threads share the rest */
};

typedef struct dp_load_piece {
    struct dp_page_slot *slot;
    const dp_extent *extent; /* NULL: the unit has nothing to read */
    uint64_t from, to;
    struct dp_load_piece *next;
} dp_load_piece;

typedef struct dp_page_slot {
    void *block;           /* what was allocated */
    unsigned char *memory; /* on a sector's boundary within it; NULL: not yet needed */
    size_t room;
    const dp_unit *unit;   /* that it holds or waits for; NULL when empty or failed */
    dp_slot_state state;   /* read and written under the loader's lock */
    bool held;             /* a forward pass is using it */
    bool guess;            /* read ahead of need, and nobody has waited for it yet */
    double asked, seconds; /* when the load began, how long it took */
    uint64_t bytes;        /* that it read */
    dp_load_piece *pieces;
    size_t piece_capacity;
    int32_t pending;       /* pieces not yet read */
    dp_status status;      /* of the load, with its message when it failed */
    char error[320];
} dp_page_slot;

/* threads: 0 where none can start; then loads happen within dp_loader_start. */
dp_status dp_loader_new(dp_units *units, int32_t threads, dp_loader **out);
bool dp_loader_has_threads(const dp_loader *loader); /* else a guess would be waited for */
void dp_loader_free(dp_loader *loader); /* waits for pieces that are being read */

/* The lock of every slot's state. */
void dp_loader_lock(dp_loader *loader);
void dp_loader_unlock(dp_loader *loader);
/* Under the lock: waits until the state of some slot has changed. */
void dp_loader_wait(dp_loader *loader);

/* Makes sure that an empty slot has room for `bytes`. */
dp_status dp_slot_reserve(dp_page_slot *slot, size_t bytes);
void dp_slot_release(dp_page_slot *slot); /* frees its memory */
/* Under the lock: starts reading the unit into a slot that is neither held nor loading. */
dp_status dp_loader_start(dp_loader *loader, dp_page_slot *slot, const dp_unit *unit, bool guess);
/* Under the lock: a guess turned out right: what of it is still to be read is waited for from now on. */
void dp_loader_demand(dp_loader *loader, dp_page_slot *slot);

#endif
