/* families.h: declares the dp_arch of every family. */
#ifndef DP_FAMILIES_H
#define DP_FAMILIES_H

#include "arch/blocks.h"

#define FAMILY(name) extern const dp_arch dp_arch_##name;
#include "arch/families.def"
#undef FAMILY

#endif
