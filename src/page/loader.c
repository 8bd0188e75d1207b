/* loader.c: see loader.h. */
#include "page/loader.h"

#include <stdio.h>

enum { GUESSES_AT_ONCE = 2 }; /* pieces, so that little is in the way when something is needed */

typedef struct queue {
    dp_load_piece *first, *last;
} queue;

struct dp_loader {
    dp_units *units;
    dp_mutex *lock;
    dp_cond *work;    /* a piece was queued, or stop */
    dp_cond *changed; /* a slot's state changed */
    queue demand, guesses;
    int32_t guessing; /* threads that read pieces of guesses */
    bool stop;
    int32_t thread_count;
    dp_thread **threads;
};

/* ---- queues ---- */

static void push(queue *q, dp_load_piece *piece) {
    piece->next = NULL;
    if (q->last) q->last->next = piece;
    else q->first = piece;
    q->last = piece;
}

static dp_load_piece *pop(queue *q) {
    dp_load_piece *piece = q->first;
    if (!piece) return NULL;
    q->first = piece->next;
    if (!q->first) q->last = NULL;
    return piece;
}

/* ---- loading ---- */

static void record(dp_page_slot *slot, dp_status status) {
    if (status == DP_OK || slot->status != DP_OK) return;
    slot->status = status;
    snprintf(slot->error, sizeof slot->error, "%s", dp_error_message());
}

/* All pieces are there: the rest of the work, and the other sources if something failed. */
static void complete(dp_loader *l, dp_page_slot *slot) {
    if (slot->status == DP_OK) record(slot, dp_units_finish(l->units, 0, slot->unit, slot->memory));
    for (int32_t source = 1; slot->status != DP_OK && source < dp_units_sources(l->units); source++)
        if (dp_units_read_all(l->units, source, slot->unit, slot->memory) == DP_OK) slot->status = DP_OK;
}

/* Called and left with the lock held. */
static void run_piece(dp_loader *l, dp_load_piece *piece) {
    dp_page_slot *slot = piece->slot;
    bool skip = slot->status != DP_OK || !piece->extent;
    dp_mutex_unlock(l->lock);
    dp_status status = skip ? DP_OK : dp_units_read(l->units, 0, piece->extent, piece->from, piece->to, slot->memory);
    dp_mutex_lock(l->lock);
    record(slot, status);
    if (--slot->pending) return;
    dp_mutex_unlock(l->lock);
    complete(l, slot);
    dp_mutex_lock(l->lock);
    slot->seconds = dp_host_seconds() - slot->asked;
    slot->state = slot->status == DP_OK ? DP_SLOT_READY : DP_SLOT_FAILED;
    dp_cond_broadcast(l->changed);
}

static void serve(void *argument) {
    dp_loader *l = argument;
    dp_mutex_lock(l->lock);
    while (!l->stop) {
        dp_load_piece *piece = pop(&l->demand);
        bool guess = !piece && l->guessing < GUESSES_AT_ONCE && (piece = pop(&l->guesses));
        l->guessing += guess;
        if (piece) run_piece(l, piece);
        else dp_cond_wait(l->work, l->lock);
        l->guessing -= guess;
    }
    dp_mutex_unlock(l->lock);
}

/* ---- slots ---- */

dp_status dp_slot_reserve(dp_page_slot *slot, size_t bytes) {
    if (slot->room >= bytes && slot->memory) return DP_OK;
    dp_slot_release(slot);
    slot->block = dp_malloc(bytes + DP_DIRECT);
    if (!slot->block) return dp_no_memory(bytes);
    slot->memory = (unsigned char *)slot->block + (DP_DIRECT - (uintptr_t)slot->block % DP_DIRECT);
    slot->room = bytes;
    return DP_OK;
}

void dp_slot_release(dp_page_slot *slot) {
    dp_free(slot->block);
    dp_free(slot->pieces);
    *slot = (dp_page_slot){0};
}

static dp_status add_piece(dp_page_slot *slot, size_t count, const dp_extent *extent, uint64_t from, uint64_t to) {
    if (!dp_grow((void **)&slot->pieces, &slot->piece_capacity, count + 1, sizeof *slot->pieces)) return dp_no_memory(sizeof *slot->pieces);
    slot->pieces[count] = (dp_load_piece){slot, extent, from, to, NULL};
    return DP_OK;
}

static dp_status cut(const dp_units *units, dp_page_slot *slot, const dp_unit *unit, size_t *count) {
    *count = 0;
    slot->bytes = 0;
    for (int32_t i = 0; i < unit->extent_count; i++) {
        const dp_extent *e = &units->extents[unit->first_extent + i];
        slot->bytes += e->size;
        for (uint64_t from = 0; from < e->size; from += DP_LOAD_PIECE)
            TRY(add_piece(slot, (*count)++, e, from, DP_MIN(from + DP_LOAD_PIECE, e->size)));
    }
    if (*count == 0) TRY(add_piece(slot, (*count)++, NULL, 0, 0));
    for (int32_t i = 0; i < unit->part_count; i++)
        if (units->parts[unit->first_part + i].filled) slot->bytes += units->parts[unit->first_part + i].bytes;
    return DP_OK;
}

void dp_loader_demand(dp_loader *l, dp_page_slot *slot) {
    queue others = {NULL, NULL};
    if (!slot->guess) return;
    slot->guess = false;
    slot->asked = dp_host_seconds();
    slot->seconds = 0;
    for (dp_load_piece *piece; (piece = pop(&l->guesses));) push(piece->slot == slot ? &l->demand : &others, piece);
    l->guesses = others;
    dp_cond_broadcast(l->work);
}

dp_status dp_loader_start(dp_loader *l, dp_page_slot *slot, const dp_unit *unit, bool guess) {
    size_t count;
    TRY(dp_slot_reserve(slot, unit->bytes));
    TRY(cut(l->units, slot, unit, &count));
    slot->unit = unit;
    slot->state = DP_SLOT_LOADING;
    slot->status = DP_OK;
    slot->guess = guess;
    slot->asked = dp_host_seconds();
    slot->pending = (int32_t)count;
    if (l->thread_count == 0)
        for (size_t i = 0; i < count; i++) run_piece(l, &slot->pieces[i]);
    else
        for (size_t i = 0; i < count; i++) push(guess ? &l->guesses : &l->demand, &slot->pieces[i]);
    dp_cond_broadcast(l->work);
    return DP_OK;
}

/* ---- life ---- */

void dp_loader_lock(dp_loader *l) { dp_mutex_lock(l->lock); }
void dp_loader_unlock(dp_loader *l) { dp_mutex_unlock(l->lock); }
void dp_loader_wait(dp_loader *l) { dp_cond_wait(l->changed, l->lock); }

static dp_status start(dp_loader *l, int32_t threads) {
    TRY(dp_mutex_new(&l->lock));
    TRY(dp_cond_new(&l->work));
    TRY(dp_cond_new(&l->changed));
    l->threads = dp_calloc((size_t)threads + 1, sizeof(dp_thread *));
    if (!l->threads) return dp_no_memory(((size_t)threads + 1) * sizeof(dp_thread *));
    while (l->thread_count < threads) {
        dp_status status = dp_thread_start(serve, l, &l->threads[l->thread_count]);
        if (status == DP_E_MEMORY) return status;
        if (status != DP_OK) return DP_OK; /* the system gives no more: go on with those there are */
        l->thread_count++;
    }
    return DP_OK;
}

dp_status dp_loader_new(dp_units *units, int32_t threads, dp_loader **out) {
    dp_loader *l = dp_calloc(1, sizeof *l);
    if (!l) return dp_no_memory(sizeof *l);
    l->units = units;
    dp_status status = start(l, threads);
    if (status != DP_OK) {
        dp_loader_free(l);
        return status;
    }
    *out = l;
    return DP_OK;
}

bool dp_loader_has_threads(const dp_loader *l) { return l->thread_count > 0; }

void dp_loader_free(dp_loader *l) {
    if (!l) return;
    if (l->thread_count) {
        dp_mutex_lock(l->lock);
        l->stop = true;
        dp_cond_broadcast(l->work);
        dp_mutex_unlock(l->lock);
    }
    for (int32_t i = 0; i < l->thread_count; i++) dp_thread_join(l->threads[i]);
    dp_free(l->threads);
    if (l->work) dp_cond_free(l->work);
    if (l->changed) dp_cond_free(l->changed);
    if (l->lock) dp_mutex_free(l->lock);
    dp_free(l);
}
