/* paging.h: what the tests of paging share: mixtures of experts to run, and files of theirs that go bad. */
#ifndef DP_TEST_PAGING_H
#define DP_TEST_PAGING_H

#include <stdatomic.h>

#include "engine/engine.h"

enum { PAGING_TOKENS = 40, PAGING_CONTEXT = 128 };
void paging_ids(int32_t *ids); /* [PAGING_TOKENS] */

/* A reference model (refmodel.h) as a Hugging Face folder with a tokenizer, and what conversion makes of it. */
const char *paging_folder(const char *name);
dp_status paging_convert(const char *name, const char *ending, const char *quantize, dp_sharding sharding, char out[400]);

/* A copy of the bundled model below the test folder. */
const char *paging_copy(const char *name);
/* Changes its shards 1 to 48, every expert, in place: an open model sees it. */
void paging_damage(const char *folder, bool truncate);

/* The GPU; NULL, and the test skipped or failed, where it cannot be opened. Kernels compile once for an engine, so a test keeps
 * it for all its models. how: NULL or the rest of what is asked of it. */
dp_engine *paging_gpu(const dp_engine_desc *how);

/* Whether that device reads host memory by itself; else the running test is skipped. */
bool paging_fetches(const dp_engine *engine);

/* Bytes that everything open takes on it. */
uint64_t paging_on_device(const dp_engine *engine);

/* A model with a session whose context is PAGING_CONTEXT. */
typedef struct rig {
    dp_engine *engine; /* its own, closed with it; NULL: the test keeps one */
    dp_model *model;
    dp_session *session;
    size_t vocab;
} rig;
dp_status rig_open(rig *r, dp_engine *engine, const char *path, const dp_model_desc *desc, int32_t batch); /* after *r = {0} */
void rig_close(rig *r);
/* All logits of paging_ids in chunks of the session's batch. */
dp_status rig_run(rig *r, float *logits);

/* After paging_damage: one that has nothing else to read from fails with that status and text, naming expert and shard; one with
 * a mirror gives the expected logits. */
void rig_check_damaged(rig *bad, rig *mirrored, dp_status status, const char *text, const float *expected, float *found);

/* A disk that fails: reads until one does; -1: all work. */
typedef struct sick_disk {
    dp_pages *pages;
    atomic_int countdown;
} sick_disk;
void sick_disk_install(sick_disk *disk, dp_model *model);
/* Lets the read after `reads` others fail, which a run must tell, naming layer and expert; a second run then gives `found`. The disk
 * must live as long as the model. */
void rig_check_sick(rig *r, sick_disk *disk, int reads, float *found);

#endif
