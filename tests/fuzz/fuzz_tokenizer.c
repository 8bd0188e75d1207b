/* fuzz_tokenizer.c: a tokenizer.json of any bytes is refused, or encodes and decodes texts that are easy to get wrong. */
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const texts[] = {
    "", "Hello, world!  It's 12345 o'clock.\r\n\n\tx", "<|e|>a<s> b</s>", "na\xc3\xafve \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x98\x80\xcc\x81",
    "\xff\xc3", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

static void round_trip(const dp_tokenizer *tokenizer, const char *text) {
    int32_t *ids = NULL;
    size_t count = 0, size = 0;
    char *back = NULL;
    if (dp_tokenizer_encode(tokenizer, text, strlen(text), true, &ids, &count) != DP_OK) return;
    for (size_t i = 0; i < count; i++) (void)dp_tokenizer_token(tokenizer, ids[i]);
    if (dp_tokenizer_decode(tokenizer, ids, count, false, &back, &size) == DP_OK) dp_free(back);
    dp_free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dp_tokenizer *tokenizer = NULL;
    dp_str none = {0};
    if (dp_tokenizer_from_hf((dp_str){(const char *)data, size}, none, none, none, &tokenizer) != DP_OK) return 0;
    for (size_t i = 0; i < DP_COUNT(texts); i++) round_trip(tokenizer, texts[i]);
    dp_tokenizer_close(tokenizer);
    return 0;
}
