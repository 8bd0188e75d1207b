/* unit.h: what is paged at once - an expert of a layer, or plain matrices of a layer - and how its bytes are found:
 * ranges of files, widened to whole sectors, that are read side by side into one block of memory so that every weight
 * lies in it as a contiguous piece. Also reads units: from the checkpoint or, where that fails, from copies of its files
 * elsewhere, and checked against the manifest's hashes when first read. Floor 4. */
#ifndef DP_UNIT_H
#define DP_UNIT_H

#include "format/checkpoint.h"
#include "graph/program.h"

/* A run of bytes of one file and where it goes; all multiples of DP_DIRECT but the end of a file. */
typedef struct dp_extent {
    int32_t file;
    uint64_t offset, size;
    size_t at;
} dp_extent;

/* A weight (of one expert) within the unit. */
typedef struct dp_unit_part {
    int32_t weight;
    size_t at, bytes;
    bool filled; /* by dp_unit_fill_fn, not read */
} dp_unit_part;

/* While a unit is built: a run of a part's bytes in one file. */
typedef struct dp_unit_piece {
    int32_t file;
    uint64_t offset, size;
    int32_t part;
    bool first; /* of its part */
} dp_unit_piece;

typedef struct dp_unit {
    int32_t layer, expert; /* layer -1: outside the layers; expert -1: plain matrices */
    int32_t first_part, part_count, first_extent, extent_count;
    size_t bytes;          /* of memory it needs */
} dp_unit;

/* Where to find `size` bytes of a tensor. */
typedef struct dp_unit_bytes {
    const dp_tensor *tensor;
    uint64_t offset, size;
} dp_unit_bytes;

/* Writes a weight that is not stored as it is used (converted or gathered). Any thread. */
typedef dp_status (*dp_unit_fill_fn)(void *user, int32_t weight, int32_t expert, void *out);
/* Reads like dp_file_read_direct; source 0 is the checkpoint, the others are the mirrors. For tests. Any thread. */
typedef dp_status (*dp_unit_read_fn)(void *user, int32_t source, int32_t file, uint64_t offset, void *data, size_t size);

typedef struct dp_units {
    const dp_checkpoint *checkpoint;
    const char *const *mirrors; /* folders */
    size_t mirror_count;
    dp_unit_fill_fn fill;
    void *fill_user;
    dp_unit_read_fn read; /* NULL: as it should be */
    void *read_user;
    dp_unit *list;
    size_t count, capacity;
    dp_unit_part *parts;
    size_t part_count, part_capacity;
    dp_unit_piece *pieces; /* of the unit under construction */
    size_t piece_count, piece_capacity;
    dp_extent *extents;
    size_t extent_count, extent_capacity;
    dp_mutex *lock;       /* of `checked` */
    dp_cond *checked_one;
    uint8_t *checked;     /* [files]: 0 not yet, 1 someone is at it, 2 its hash is right or it has none */
} dp_units;

dp_status dp_units_init(dp_units *units, const dp_checkpoint *checkpoint);
void dp_units_free(dp_units *units);

/* A new unit, to which parts are added; its index is units->count - 1. */
dp_status dp_units_begin(dp_units *units, int32_t layer, int32_t expert);
/* Bytes used as they are stored. DP_E_UNSUPPORTED where pieces cannot be put side by side: add it to be filled. */
dp_status dp_units_add_stored(dp_units *units, int32_t weight, dp_unit_bytes bytes);
dp_status dp_units_add_filled(dp_units *units, int32_t weight, size_t bytes);
/* Closes the unit: joins what lies together in a file and places it in memory. */
dp_status dp_units_end(dp_units *units);

/* Reads [from, to) of an extent into the unit's memory, from one source. */
dp_status dp_units_read(dp_units *units, int32_t source, const dp_extent *extent, uint64_t from, uint64_t to, void *memory);
/* What is left to do once all extents are there: fills parts, checks hashes. */
dp_status dp_units_finish(dp_units *units, int32_t source, const dp_unit *unit, void *memory);
/* The whole unit from one source, without further threads. */
dp_status dp_units_read_all(dp_units *units, int32_t source, const dp_unit *unit, void *memory);
int32_t dp_units_sources(const dp_units *units);

#endif
