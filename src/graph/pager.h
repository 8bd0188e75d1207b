/* pager.h: what a backend asks before it reads weights that may not be in memory. A program whose weights are all
 * resident has none, and then no backend asks. One forward pass at a time uses a pager. Floor 3. */
#ifndef DP_PAGER_H
#define DP_PAGER_H

#include "graph/program.h"

typedef struct dp_pager dp_pager;

/* Some of a layer's experts whose weights stand in dp_weight.expert[] until the next call.
 * On a device with slots of its own a member belongs into slot[member] there; weights stand in dp_weight.expert[] only of
 * those that `arrive`: the backend takes them to their slots. The others are in theirs. A slot is given to nobody else before
 * the next call, and, as long as there are others, not within the step. Behind `borrow` members' weights stand in
 * dp_weight.expert[], and those that arrive are for later steps. */
typedef struct dp_page_group {
    const bool *member; /* [experts]; NULL: all that the step wants */
    int32_t count;      /* 0: all have been handed out */
    const int32_t *slot;  /* [experts], -1: in none; NULL without such a device */
    const bool *arrives;  /* [experts] */
} dp_page_group;

/* Plain weights without a place of their own on a device: unit after unit, in the order of the program, they pass through a few
 * slots there, unit i through slot i % slots. */
typedef struct dp_stream {
    const int32_t *unit_of; /* [weights]; -1: it stays */
    int32_t units, slots;
    bool kept; /* the host has room for all of it, so that it is left in memory for the next pass */
    bool fetched; /* it has room for a copy that the device fetches by itself */
} dp_stream;

/* What a device's cache knows of a layer's experts, for a device that decides by itself which one goes. */
typedef struct dp_page_uses {
    uint64_t clock;        /* steps of the layer */
    const uint64_t *last;  /* [experts]: the step that last used it; 0: never */
    const double *score;   /* [experts]: of its uses as of then, each of which halves in half_life steps */
    double half_life;      /* 0: the longest unused goes, and not the one with the least score */
} dp_page_uses;

/* Where the time of a device's single token went; what is left is the host's own. */
typedef struct dp_page_token {
    double seconds;
    double wait, submit, bring; /* waiting for the device; submitting to it; taking experts to its slots */
    uint64_t waits;
} dp_page_token;

typedef struct dp_pager_api {
    /* Makes the plain weight that an op reads resident; it stays so until the call for another op. */
    dp_status (*plain)(dp_pager *pager, const dp_op *op);
    /* A step is going to use these experts of a layer; ids may repeat. Reads what is missing, without waiting. */
    dp_status (*want)(dp_pager *pager, int32_t layer, const int32_t *ids, size_t count);
    /* The same on a device, of which the step uses what is in no slot in host memory: only that is handed out, and some of it
     * is to arrive beside that, as it comes in use. */
    dp_status (*borrow)(dp_pager *pager, int32_t layer, const int32_t *ids, size_t count);
    /* So many of the borrowed have been computed in that time. */
    void (*computed)(dp_pager *pager, int32_t count, double seconds);
    /* A device's single token has ended. */
    void (*token)(dp_pager *pager, const dp_page_token *token);
    /* The next of the wanted experts that are in memory; waits for at least one. Those handed out before may go. */
    dp_status (*next)(dp_pager *pager, dp_page_group *group);
    /* The next token of a later layer will likely use these: what is missing may be read while nothing else is. */
    void (*guess)(dp_pager *pager, int32_t layer, const int32_t *ids, size_t count);
    /* The layer's experts, or the whole pass if it failed, are done with. */
    void (*done)(dp_pager *pager);
    /* How many of a layer's experts the device is to have room for; NULL where weights are used in host memory. */
    int32_t (*slots)(dp_pager *pager, int32_t layer);
    /* What passes through slots on the device; NULL: nothing does, as where the entry is NULL. */
    const dp_stream *(*stream)(dp_pager *pager);
    /* A unit of these has been sent to its slot, which kept the host busy for so long. */
    void (*sent)(dp_pager *pager, int32_t unit, uint64_t bytes, double seconds);
    /* The same device: where each of a layer's experts is, -1: in no slot. Holds until the next change. */
    const int32_t *(*where)(dp_pager *pager, int32_t layer);
    /* A step used these experts of a layer, if all of them are in slots; else false, and nothing happens. */
    bool (*found)(dp_pager *pager, int32_t layer, const int32_t *ids, size_t count);
    /* The tier below, from which all experts come to their home (dp_pager.homed) while the model is loaded; a layer's have come. */
    dp_pager *(*below)(dp_pager *pager);
    void (*filled)(dp_pager *pager, int32_t layer);
    /* With a home: what a device must know to choose slots by itself; and that it used these experts, of which those with a slot
     * (not -1) were in none and are now in that one. */
    dp_page_uses (*uses)(dp_pager *pager, int32_t layer);
    void (*fetched)(dp_pager *pager, int32_t layer, const int32_t *ids, const int32_t *slots, size_t count);
    /* What is in the device's slots nobody knows any more. */
    void (*forget)(dp_pager *pager);
} dp_pager_api;

struct dp_pager {
    const dp_pager_api *api;
    uint64_t changes; /* of what is in the device's slots */
    bool homed;       /* all experts have a home in host memory that the device reads: what arrives is there, and dp_weight.expert[] empty */
};

#endif
