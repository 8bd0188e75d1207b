/* minimal.c: the least a program needs to let a model answer: minimal MODEL. README.md shows what follows. */
#include <doppler.h>
#include <stdio.h>
#include <string.h>

static bool print(void *user, const char *text, size_t size) { return fwrite(text, 1, size, user) == size; }

int main(int argc, char **argv) {
    dp_engine *engine = NULL;
    dp_model *model = NULL;
    dp_session *session = NULL;
    char *prompt = NULL;
    int32_t *ids = NULL;
    dp_chat_desc chat = {.add_generation_prompt = true,
                         .messages = "[{\"role\": \"user\", \"content\": \"Tell me a story about a brave fox.\"}]"};
    dp_generate_desc generate = {.max_tokens = 200, .on_text = print, .user = stdout};
    dp_generate_result result;

    dp_status status = dp_engine_open(NULL, &engine);
    if (!status) status = dp_model_open(engine, argc > 1 ? argv[1] : "models/storyteller", NULL, &model);
    if (!status) status = dp_chat_render(dp_model_tokenizer(model), &chat, &prompt);
    if (!status) status = dp_tokenizer_encode(dp_model_tokenizer(model), prompt, strlen(prompt), false, &ids, &generate.prompt_count);
    if (!status) status = dp_session_new(model, NULL, &session);
    generate.prompt = ids;
    if (!status) status = dp_session_generate(session, &generate, &result);
    puts(status ? dp_error_message() : "");

    dp_free(ids);
    dp_free(prompt);
    dp_session_free(session);
    dp_model_close(model);
    dp_engine_close(engine);
    return status != DP_OK;
}
