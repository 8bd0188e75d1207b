/* fuzz_gguf.c: a GGUF file of any bytes is refused, or opens and holds what it says. */
#include "fuzz_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_write("model.gguf", data, size);
    fuzz_open(fuzz_path("model.gguf"));
    return 0;
}
