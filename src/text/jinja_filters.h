/* jinja_filters.h: the filters that go through a sequence, for the table of jinja_filters.c. */
#ifndef DP_JINJA_FILTERS_H
#define DP_JINJA_FILTERS_H

#include "text/jinja_value.h"

const dp_jfunction *dp_jfilter_find_sequence(dp_str name); /* NULL when unknown */

#endif
