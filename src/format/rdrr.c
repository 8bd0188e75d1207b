#include "format/builder.h"
dp_status dp_rdrr_read(dp_checkpoint *c) { return dp_fail(DP_E_UNSUPPORTED, "%s: RDRR", c->path); }
