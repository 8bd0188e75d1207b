/* tiers.h: `doppler bench --tiers`. */
#ifndef TOOL_TIERS_H
#define TOOL_TIERS_H

#include "tool.h"

/* Measures and prints how fast the tiers of memory feed each other, with the model's files. */
dp_status tiers_report(const char *model);

#endif
