/* residency_units.h: a program's weights as units that can be paged. Floor 5. */
#ifndef DP_RESIDENCY_UNITS_H
#define DP_RESIDENCY_UNITS_H

#include "arch/builder.h"
#include "page/pages.h"

/* Fills units, plain_of, plain_count and layers of pages that are zero but for `experts_only`. */
dp_status dp_residency_cut(dp_builder *builder, const dp_model_desc *desc, dp_pages *pages);

#endif
