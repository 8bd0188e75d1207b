/* Generated models: shapes of the published ones, valid blocks of the wanted spread, the same bytes for the same seed.
 */
#include "convert/gguf_write.h"
#include "convert/synth.h"
#include "test.h"

static const char *config_of(const char *name) {
    for (size_t i = 0; dp_synth_name(i); i++)
        if (strcmp(dp_synth_name(i), name) == 0) return dp_synth_config(i);
    return NULL;
}

typedef struct synth {
    dp_arena arena;
    const dp_json *config;
    dp_source source;
} synth;

static dp_status synth_open(const char *name, synth *out) {
    TRY(dp_json_parse(&out->arena, dp_str_of(config_of(name)), &out->config));
    return dp_synth_tensors(out->config, &out->source);
}

static void synth_close(synth *s) {
    dp_source_free(&s->source);
    dp_arena_free(&s->arena);
}

/* Parameter counts as the publishers state them. */
TEST(shapes_have_the_published_sizes) {
    static const struct {
        const char *name;
        double parameters;
    } known[] = {{"llama-3.2-1b", 1235814400},   {"llama-3.2-3b", 3212749824},   {"llama-3.1-8b", 8030261248},
                 {"llama-3.1-70b", 70553706496}, {"gemma-3-270m", 268098176},    {"gemma-3-1b", 999885952},
                 {"gemma-3-4b", 3880263168},     {"gemma-3-12b", 11766034176},   {"mistral-7b", 7241732096},
                 {"qwen2.5-0.5b", 494032768},    {"qwen2.5-7b", 7615616512},     {"qwen3-0.6b", 596049920},
                 {"qwen3-1.7b", 1720574976},     {"qwen3-4b", 4022468096},       {"qwen3-8b", 8190735360},
                 {"qwen3-30b-a3b", 30532122624}, {"mixtral-8x7b", 46702792704},  {"phi-3.5-moe", 41873153344},
                 {"gpt-oss-20b", 20914757184},   {"gpt-oss-120b", 116829156672}, {"deepseek-v3", 671026419200}};
    for (size_t i = 0; i < DP_COUNT(known); i++) {
        synth s = {0};
        double sum = 0;
        CHECK_OK(synth_open(known[i].name, &s));
        for (size_t t = 0; t < s.source.count; t++) sum += (double)s.source.tensors[t].elements;
        synth_close(&s);
        CHECK_MSG(sum == known[i].parameters, "%s: %.0f parameters, published %.0f", known[i].name, sum,
                  known[i].parameters);
    }
}

/* As RDRR every tensor's rows are whole blocks; as GGUF every tensor has a name and experts stack. */
TEST(every_shape_can_be_planned) {
    for (size_t i = 0; dp_synth_name(i); i++) {
        synth s = {0};
        dp_mixture mixture;
        CHECK_OK(synth_open(dp_synth_name(i), &s));
        dp_mixture_init(&mixture, DP_QUANTIZE_Q4_K_M, s.config, false);
        CHECK_OK(dp_synth_weights(&s.source, &mixture, 1));
        for (size_t t = 0; t < s.source.count; t++) {
            const dp_source_tensor *tensor = &s.source.tensors[t];
            CHECK_MSG(dp_dtype_row_bytes(tensor->dtype, tensor->shape[tensor->n_dims - 1]) > 0, "%s: %s",
                      dp_synth_name(i), tensor->name);
        }
        dp_plan plan = {0};
        dp_output output = {.config = s.config};
        dp_mixture_init(&mixture, DP_QUANTIZE_KEEP, s.config, false);
        CHECK_OK(dp_plan_gguf(&s.source, &mixture, &output, &plan));
        bool moe = s.source.count > 2 * plan.count;
        CHECK_MSG(moe == (dp_json_find(s.config, "num_experts_per_tok") != NULL), "%s: %zu tensors", dp_synth_name(i),
                  plan.count);
        dp_plan_free(&plan);
        synth_close(&s);
    }
}

enum { SAMPLE = 8192 };

/* Mean 0 and deviation 1 / sqrt(cols) in every format. */
TEST(weights_have_the_wanted_spread) {
    static const dp_quantize targets[] = {DP_QUANTIZE_Q4_K_M, DP_QUANTIZE_Q5_K_M, DP_QUANTIZE_Q6_K, DP_QUANTIZE_Q8_0,
                                          DP_QUANTIZE_F16,    DP_QUANTIZE_BF16,   DP_QUANTIZE_MXFP4};
    static const char *const shapes[] = {"qwen3-30b-a3b", "gpt-oss-20b",
                                         "gemma-3-1b"}; /* the last two: 32-element blocks */
    for (size_t i = 0; i < DP_COUNT(targets) * DP_COUNT(shapes); i++) {
        synth s = {0};
        dp_mixture mixture;
        CHECK_OK(synth_open(shapes[i % DP_COUNT(shapes)], &s));
        dp_mixture_init(&mixture, targets[i / DP_COUNT(shapes)], s.config, false);
        CHECK_OK(dp_synth_weights(&s.source, &mixture, 5));
        for (size_t t = 0; t < 30; t++) {
            const dp_source_tensor *tensor = &s.source.tensors[t];
            static uint8_t blocks[SAMPLE * 4];
            static float values[SAMPLE];
            double sum = 0, squares = 0, wanted = 1 / sqrt((double)tensor->shape[tensor->n_dims - 1]);
            if (tensor->elements < SAMPLE || !strstr(tensor->name, "_proj.weight")) continue;
            CHECK_OK(s.source.read(&s.source, t, 0, SAMPLE, NULL, blocks));
            dp_dtype_get(tensor->dtype)->dequantize(blocks, values, SAMPLE);
            for (int k = 0; k < SAMPLE; k++) sum += (double)values[k], squares += (double)values[k] * (double)values[k];
            double deviation = sqrt(squares / SAMPLE), mean = sum / SAMPLE;
            CHECK_MSG(deviation > wanted * 0.65 && deviation < wanted * 1.5 && fabs(mean) < wanted * 0.2,
                      "%s as %s: deviation %g, mean %g, wanted %g", tensor->name, dp_dtype_get(tensor->dtype)->name,
                      deviation, mean, wanted);
        }
        synth_close(&s);
    }
}

TEST(bytes_do_not_depend_on_how_they_are_read) {
    synth s = {0};
    dp_mixture mixture;
    CHECK_OK(synth_open("llama-3.2-1b", &s));
    dp_mixture_init(&mixture, DP_QUANTIZE_Q4_K_M, s.config, true);
    CHECK_OK(dp_synth_weights(&s.source, &mixture, 7));
    for (size_t t = 0; t < 12; t++) {
        static uint8_t whole[4096 * 4], part[4096 * 4];
        const dp_source_tensor *tensor = &s.source.tensors[t];
        int64_t n = DP_MIN(tensor->elements, 4096);
        CHECK_OK(s.source.read(&s.source, t, 0, n, NULL, whole));
        for (int64_t at = 0; at < n; at += 1024)
            CHECK_OK(s.source.read(&s.source, t, at, 1024, NULL, part + dp_dtype_bytes(tensor->dtype, at)));
        CHECK_MSG(memcmp(whole, part, (size_t)dp_dtype_bytes(tensor->dtype, n)) == 0, "%s", tensor->name);
    }
    synth_close(&s);
}

TEST(tokenizers_encode_and_decode_any_text) {
    for (size_t i = 0; dp_synth_name(i); i++) {
        dp_arena arena = {0};
        const dp_json *config = NULL;
        dp_buf json = {0}, more = {0};
        dp_tokenizer *tokenizer = NULL;
        int64_t vocab = 0;
        int32_t *ids = NULL;
        size_t count = 0;
        char *text = NULL;
        static const char sample[] = "the caf\xC3\xA9 and \xF0\x9F\x90\xBA in 1999\n";
        CHECK_OK(dp_json_parse(&arena, dp_str_of(dp_synth_config(i)), &config));
        CHECK_OK(dp_synth_tokenizer(config, &json, &more));
        CHECK_OK(dp_tokenizer_from_hf((dp_str){json.data, json.size}, (dp_str){more.data, more.size}, (dp_str){NULL, 0},
                                      (dp_str){NULL, 0}, &tokenizer));
        CHECK_OK(dp_json_get_int(config, "vocab_size", &vocab));
        CHECK_MSG(dp_tokenizer_vocab_size(tokenizer) == vocab, "%s: %d tokens of %d", dp_synth_name(i),
                  (int)dp_tokenizer_vocab_size(tokenizer), (int)vocab);
        CHECK_OK(dp_tokenizer_encode(tokenizer, sample, strlen(sample), true, &ids, &count));
        CHECK_OK(dp_tokenizer_decode(tokenizer, ids, count, false, &text, NULL));
        CHECK_MSG(strcmp(text, sample) == 0 && dp_tokenizer_eos(tokenizer) >= 0, "%s: %s", dp_synth_name(i), text);
        dp_free(ids);
        dp_free(text);
        dp_tokenizer_close(tokenizer);
        dp_buf_free(&json);
        dp_buf_free(&more);
        dp_arena_free(&arena);
    }
}

static bool stop_early(void *user, const char *what, uint64_t done, uint64_t total) {
    (void)user;
    (void)what;
    return done < total / 100;
}

/* The smallest shape; two hundred megabytes are written in about a second. */
TEST(a_generated_model_opens) {
    char folder[300];
    snprintf(folder, sizeof folder, "%s/small", test_folder());
    dp_synth_desc desc = {.like = "gemma-3-270m", .output = {.path = folder, .progress = stop_early}};
    CHECK_FAILS(dp_synth(&desc, NULL), DP_E_CANCELLED, "cancelled");
    desc.output.progress = NULL;
    dp_convert_result result = {0};
    CHECK_OK(dp_synth(&desc, &result));
    CHECK(result.tensors == 236 && result.shards > 1);
    dp_checkpoint *c = NULL;
    dp_tokenizer *tokenizer = NULL;
    CHECK_OK(dp_checkpoint_open(folder, &c));
    CHECK_OK(dp_checkpoint_tokenizer(c, &tokenizer));
    const dp_tensor *embedding = dp_checkpoint_find(c, "model.embed_tokens.weight");
    CHECK(embedding && embedding->dtype == DP_Q8_0 && embedding->shape[0] == 262144 && embedding->span_count > 1);
    CHECK_OK(dp_checkpoint_verify_shard(c, 1, NULL, NULL));
    dp_tokenizer_close(tokenizer);
    dp_checkpoint_close(c);
}

TEST_MAIN()
