#include "format/builder.h"
dp_status dp_gguf_read(dp_checkpoint *c, const char *file) { (void)file; return dp_fail(DP_E_UNSUPPORTED, "%s: GGUF", c->path); }
void dp_checkpoint_free_gguf(dp_checkpoint *c) { (void)c; }
