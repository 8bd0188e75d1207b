/* What the converter writes is the same model: every family through RDRR and through GGUF keeps the published logits. */
#include "golden.h"
#include "host/host.h"

static const golden_how reference = {.engine = {.backend = DP_BACKEND_CPU_REF}, .kv = DP_KV_F32, .tolerance = 1e-4};

/* Converts `from` to `to` without requantising and checks the result against the family's golden file. */
static void convert_and_check(const char *what, const char *from, const char *to, dp_sharding sharding, uint64_t shard_size) {
    char golden[200], label[120];
    snprintf(golden, sizeof golden, "tests/data/models/%s/golden.safetensors", what);
    snprintf(label, sizeof label, "%s %s", what, strrchr(to, '.') ? strrchr(to, '.') : "rdrr");
    dp_output_desc output = {.path = to, .sharding = sharding, .shard_size = shard_size};
    CHECK_OK(dp_convert(&(dp_convert_desc){.input = from, .output = output}, NULL));
    golden_check(label, to, test_path(golden), &reference);
}

TEST(every_family_survives_rdrr_and_gguf) {
    for (size_t i = 0; refmodel_case(i); i++) {
        const char *name = refmodel_case(i);
        char hf[300], rdrr[320], gguf[320], back[320];
        snprintf(hf, sizeof hf, "%s/%s", test_folder(), name);
        snprintf(rdrr, sizeof rdrr, "%s.rdrr", hf);
        snprintf(gguf, sizeof gguf, "%s.gguf", hf);
        snprintf(back, sizeof back, "%s.back.rdrr", hf);
        CHECK_OK(refmodel_write(name, "config.json", hf));
        CHECK_OK(refmodel_add_tokenizer(hf));
        convert_and_check(name, hf, rdrr, DP_SHARD_AUTO, 0);
        convert_and_check(name, rdrr, gguf, DP_SHARD_AUTO, 0);
        convert_and_check(name, gguf, back, DP_SHARD_FIXED, 1 << 20);
    }
}

TEST(quantised_reference_files_survive_rdrr) {
    static const char *const names[] = {"llama", "qwen3", "mixtral"};
    for (size_t i = 0; i < DP_COUNT(names); i++) {
        char gguf[120], golden[120], rdrr[300];
        snprintf(gguf, sizeof gguf, "tests/data/gguf/%s.Q4_K_M.gguf", names[i]);
        snprintf(golden, sizeof golden, "tests/data/gguf/%s.Q4_K_M.golden.safetensors", names[i]);
        snprintf(rdrr, sizeof rdrr, "%s/%s.q4.rdrr", test_folder(), names[i]);
        CHECK_OK(dp_convert(&(dp_convert_desc){.input = test_path(gguf), .output.path = rdrr}, NULL));
        golden_check(names[i], rdrr, test_path(golden), &reference);
    }
}

TEST_MAIN()
