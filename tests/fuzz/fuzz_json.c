/* fuzz_json.c: any bytes parse or are refused; what parses is written so that it reads back as the same text. */
#include <stdlib.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dp_arena arena = {0};
    dp_buf first = {0}, second = {0};
    const dp_json *root;
    if (dp_json_parse(&arena, (dp_str){(const char *)data, size}, &root) == DP_OK) {
        dp_json_put(&first, root);
        if (dp_json_parse(&arena, (dp_str){first.data, first.size}, &root) != DP_OK) abort();
        dp_json_put(&second, root);
        if (first.size != second.size || memcmp(first.data, second.data, first.size) != 0) abort();
    }
    dp_buf_free(&first);
    dp_buf_free(&second);
    dp_arena_free(&arena);
    return 0;
}
