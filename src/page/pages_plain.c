/* pages_plain.c: see pages.h. Plain matrices stay where they were read to, or pass through two buffers: while a layer is
 * computed from one, the next layer that does not stay is read into the other. */
#include "page/pages_own.h"

dp_status dp_pages_start_plain(dp_pages *p, const bool *streamed) {
    p->plain_slot = dp_calloc((size_t)p->plain_count + 1, sizeof *p->plain_slot);
    p->resident = dp_calloc((size_t)p->plain_count + 1, sizeof *p->resident);
    p->plain_now = -1;
    if (!p->plain_slot || !p->resident) return dp_no_memory((size_t)p->plain_count * sizeof *p->resident);
    for (int32_t i = 0; i < p->plain_count; i++)
        if (!streamed[i]) p->plain_slot[i] = &p->resident[p->resident_count++];
    return DP_OK;
}

static dp_page_slot *stream_slot(dp_pages *p, int32_t unit) {
    for (int i = 0; i < DP_STREAM_SLOTS; i++)
        if (p->stream[i].unit == &p->units.list[unit]) return &p->stream[i];
    return NULL;
}

/* A buffer that neither holds the unit at work nor is being read into. */
static dp_page_slot *free_stream(dp_pages *p) {
    for (int i = 0; i < DP_STREAM_SLOTS; i++)
        if (!p->stream[i].held && p->stream[i].state != DP_SLOT_LOADING) return &p->stream[i];
    return NULL;
}

static dp_status start_stream(dp_pages *p, dp_page_slot *slot, int32_t unit) {
    dp_page_empty(p, slot);
    return dp_loader_start(p->loader, slot, &p->units.list[unit], false);
}

/* The streamed unit that follows in the program, which begins anew behind its end. */
static int32_t next_streamed(const dp_pages *p, int32_t unit) {
    for (int32_t i = 1; i < p->plain_count; i++)
        if (!p->plain_slot[(unit + i) % p->plain_count]) return (unit + i) % p->plain_count;
    return -1;
}

static dp_status stream_in(dp_pages *p, int32_t unit) {
    dp_page_slot *slot = stream_slot(p, unit);
    while (!slot && !(slot = free_stream(p))) dp_loader_wait(p->loader);
    if (slot->unit != &p->units.list[unit]) TRY(start_stream(p, slot, unit));
    while (slot->state == DP_SLOT_LOADING) dp_loader_wait(p->loader);
    if (slot->state == DP_SLOT_FAILED) {
        const dp_unit *failed = slot->unit;
        dp_page_empty(p, slot);
        return dp_page_failed(slot, failed);
    }
    if (slot->bytes) dp_page_count_read(&p->plain_counts, slot);
    dp_page_point(p, slot, true);
    slot->held = true;
    int32_t following = next_streamed(p, unit);
    dp_page_slot *other = following >= 0 && !stream_slot(p, following) ? free_stream(p) : NULL;
    return other ? start_stream(p, other, following) : DP_OK;
}

dp_status dp_pages_plain(dp_pager *pager, const dp_op *op) {
    dp_pages *p = (dp_pages *)pager;
    int32_t unit = p->plain_of[op->weight];
    if (unit < 0 || p->plain_slot[unit] || unit == p->plain_now) return DP_OK;
    double start = dp_host_seconds();
    dp_loader_lock(p->loader);
    for (int i = 0; i < DP_STREAM_SLOTS; i++) p->stream[i].held = false;
    p->plain_now = -1;
    dp_status status = stream_in(p, unit);
    if (status == DP_OK) p->plain_now = unit;
    p->waited += dp_host_seconds() - start;
    dp_loader_unlock(p->loader);
    return status;
}

static dp_status wait_plain(dp_pages *p, dp_page_slot *slot) {
    dp_loader_lock(p->loader);
    while (slot->state == DP_SLOT_LOADING) dp_loader_wait(p->loader);
    dp_status status = slot->state == DP_SLOT_READY ? DP_OK : dp_page_failed(slot, slot->unit);
    if (status == DP_OK) dp_page_point(p, slot, true);
    slot->bytes = 0; /* loading is no paging */
    dp_loader_unlock(p->loader);
    return status;
}

dp_status dp_pages_read_plain(dp_pages *p, dp_progress_fn progress, void *user) {
    uint64_t total = 0, read = 0;
    dp_status status = DP_OK;
    dp_loader_lock(p->loader);
    for (int32_t i = 0; i < p->plain_count && status == DP_OK; i++) {
        if (!p->plain_slot[i]) continue;
        total += p->units.list[i].bytes;
        status = dp_loader_start(p->loader, p->plain_slot[i], &p->units.list[i], false);
    }
    dp_loader_unlock(p->loader);
    for (int32_t i = 0; i < p->plain_count && status == DP_OK; i++) {
        if (!p->plain_slot[i]) continue;
        status = wait_plain(p, p->plain_slot[i]);
        read += p->units.list[i].bytes;
        if (status == DP_OK && progress && !progress(user, "loading weights", read, total)) status = dp_fail(DP_E_CANCELLED, "loading was cancelled");
    }
    return status;
}
