/* story.c: runs a model in WebAssembly, through the public interface. story.mjs calls story() with the model's folder at
 * /model and compares what comes out with the native program's text. */
#include <stdio.h>
#include <string.h>

#include "doppler.h"

__attribute__((export_name("story"))) int story(void);

static bool print(void *user, const char *text, size_t size) { return fwrite(text, 1, size, user) == size; }

static dp_status generate(dp_model *model, dp_session *session) {
    dp_chat_desc chat = {.messages = "[{\"role\":\"user\",\"content\":\"Tell me a story about a brave fox.\"}]",
                         .add_generation_prompt = true};
    dp_generate_desc desc = {.max_tokens = 40, .on_text = print, .user = stdout};
    dp_generate_result result;
    char *prompt = NULL;
    int32_t *ids = NULL;
    dp_status status = dp_chat_render(dp_model_tokenizer(model), &chat, &prompt);
    if (!status) status = dp_tokenizer_encode(dp_model_tokenizer(model), prompt, strlen(prompt), false, &ids, &desc.prompt_count);
    desc.prompt = ids;
    if (!status) status = dp_session_generate(session, &desc, &result);
    dp_free(ids);
    dp_free(prompt);
    return status;
}

/* 0, or the status of what failed, with its message on stderr. */
int story(void) {
    dp_engine *engine = NULL;
    dp_model *model = NULL;
    dp_session *session = NULL;
    dp_engine_desc desc = {.backend = DP_BACKEND_CPU_REF};
    dp_status status = dp_engine_open(&desc, &engine);
    if (!status) status = dp_model_open(engine, "/model", NULL, &model);
    if (!status) status = dp_session_new(model, NULL, &session);
    if (!status) status = generate(model, session);
    if (status) fprintf(stderr, "%s\n", dp_error_message());
    dp_session_free(session);
    dp_model_close(model);
    dp_engine_close(engine);
    fflush(stdout);
    return (int)status;
}
