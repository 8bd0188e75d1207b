/* fuzz_manifest.c: an RDRR folder with one shard of 16 KiB and a manifest of any bytes. */
#include "fuzz_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char shard[16384];
    fuzz_write("shard_00000.bin", shard, sizeof shard);
    fuzz_write("manifest.json", data, size);
    fuzz_open(fuzz_path(""));
    return 0;
}
