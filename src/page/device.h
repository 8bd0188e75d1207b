/* device.h: the pager of a device with memory of its own: a layer's experts share a few slots there. What is in none comes
 * from the tier below, a pager of host memory (pages.h), whose groups this one passes on with a slot for each expert. Plain
 * weights may pass through slots of theirs; the backend takes those there by itself, in the order of the program. Floor 4. */
#ifndef DP_DEVICE_H
#define DP_DEVICE_H

#include "page/pages.h"

typedef struct dp_device_layer {
    int32_t layer, experts;
    uint64_t expert_bytes; /* as stored */
    dp_cache cache;
    dp_page_counts counts; /* reads: experts brought to the device */
} dp_device_layer;

typedef struct dp_device {
    dp_pager base;
    dp_pages *pages;
    dp_pager *host; /* that of these; NULL: no experts are paged */
    dp_mutex *lock; /* of the counts and caches: a pass changes them, any thread may look */
    dp_device_layer *layers;
    size_t layer_count;
    int32_t most_experts;
    /* the step under way */
    dp_device_layer *now; /* NULL: none */
    uint8_t *state;       /* [most_experts]: what the step wants of an expert */
    bool *member, *arrives; /* [most_experts]: of the group handed out last */
    bool *comes;          /* [most_experts]: what is borrowed and gets a slot */
    bool hits_left;       /* those in slots have not been handed out yet */
    bool borrows;         /* the others are used in host memory */
    int32_t missing;      /* to be had from the host */
    double asked;         /* when the step asked for them */
    double waited;        /* seconds that passes waited for the host's tier */
    dp_page_token spent;  /* on single tokens, */
    uint64_t tokens;      /* so many */
    int32_t borrowed;     /* since the last of these came to a slot that was not empty */
    const dp_stream *stream;     /* NULL: all plain weights stay on the device */
    dp_page_counts stream_counts; /* steps: passes through the model */
} dp_device;

/* slots: of each layer that `pages` has, on the device. The host's tier is `pages`, which must live as long; NULL where no experts
 * are paged. homed: it is that only until experts have come to their home. stream: NULL or what passes through, to live as long too. */
dp_status dp_device_new(dp_pages *pages, dp_cache_policy policy, const int32_t *slots, bool homed, const dp_stream *stream, dp_device **out);
void dp_device_free(dp_device *device);

void dp_device_stats(dp_device *device, dp_paging_stats *out); /* fills in what concerns the device's slots */
void dp_device_stats_json(dp_device *device, dp_buf *out); /* adds an object a layer to the open JSON list */
void dp_device_stats_reset(dp_device *device);

#endif
