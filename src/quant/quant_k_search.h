/* quant_k_search.h: the searches behind the super-block quantisers. Each works on LANES sub-blocks at once. */
#ifndef DP_QUANT_K_SEARCH_H
#define DP_QUANT_K_SEARCH_H

#include "quant/lanes.h"

enum { SEARCH_MAX = 32, SEARCH_SYMMETRIC = 16 }; /* elements of a sub-block: at most, and of the symmetric formats */

/* LANES consecutive sub-blocks of `size` elements, one to a lane. */
void search_load(const float *x, int size, lanes *out);

typedef struct range_search {
    const lanes *x, *weights; /* [size] */
    int size;
    float top;         /* largest code */
    float first, step; /* candidates span codes up to top + first + t * step, t = 0..steps */
    int steps;
    bool absolute; /* minimise the absolute instead of the squared error */
} range_search;

typedef struct range_fit {
    lanes scale, min; /* x ~ scale * code - min, both at least 0 */
} range_fit;
range_fit search_range(const range_search *search);

/* Scale for codes -half .. half - 1 by trying scales near that of the largest element. May be negative. */
lanes search_scale(const lanes *x, float half);
/* The same for few codes: starts from the largest element's scale and changes single codes while that helps. */
lanes search_scale_by_codes(const lanes *x, float half);

#endif
