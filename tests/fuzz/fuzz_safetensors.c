/* fuzz_safetensors.c: a Hugging Face folder whose model.safetensors holds any bytes. */
#include "fuzz_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char config[] = "{\"model_type\":\"llama\",\"num_hidden_layers\":1,\"hidden_size\":8,\"intermediate_size\":8,"
                                 "\"num_attention_heads\":1,\"vocab_size\":4,\"tie_word_embeddings\":true}";
    fuzz_write("config.json", config, sizeof config - 1);
    fuzz_write("model.safetensors", data, size);
    fuzz_open(fuzz_path(""));
    return 0;
}
