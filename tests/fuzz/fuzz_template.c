/* fuzz_template.c: a chat template of any bytes is refused, or renders a conversation or says why not. */
#include "text/jinja.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char variables[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"Hi <b>\"},"
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":{\"x\":1.5}}}]},"
    "{\"role\":\"tool\",\"content\":\"42\"}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}],"
    "\"add_generation_prompt\":true,\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dp_jinja *jinja = NULL;
    dp_arena arena = {0};
    const dp_json *root;
    char *text = NULL;
    size_t length;
    if (dp_json_parse(&arena, DP_LIT(variables), &root) == DP_OK &&
        dp_jinja_parse((dp_str){(const char *)data, size}, &jinja) == DP_OK &&
        dp_jinja_render(jinja, root, 1700000000, &text, &length) == DP_OK)
        dp_free(text);
    dp_jinja_free(jinja);
    dp_arena_free(&arena);
    return 0;
}
