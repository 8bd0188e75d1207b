/* pages_own.h: what the files of the pager share: pages.c (experts) and pages_plain.c (plain matrices). Floor 4. */
#ifndef DP_PAGES_OWN_H
#define DP_PAGES_OWN_H

#include "page/pages.h"

/* pages.c: slots of either kind, under the loader's lock. */
void dp_page_point(dp_pages *pages, const dp_page_slot *slot, bool there); /* the weights of its unit point into it, or nowhere */
void dp_page_empty(dp_pages *pages, dp_page_slot *slot);
dp_status dp_page_failed(const dp_page_slot *slot, const dp_unit *unit); /* records the failure of its read, with the unit's name */
void dp_page_count_read(dp_page_counts *counts, dp_page_slot *slot);     /* a read that has ended */

/* pages_plain.c */
dp_status dp_pages_start_plain(dp_pages *pages, const bool *streamed); /* [plain_count] */
dp_status dp_pages_plain(dp_pager *pager, const dp_op *op);            /* dp_pager_api.plain */

#endif
