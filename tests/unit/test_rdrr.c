/* RDRR folders: manifests as written today, as older writers left them, and hostile ones. */
#include "files.h"

#include "base/blake3.h"
#include "base/sha256.h"
#include "format/builder.h"

enum { SHARD = 8192 };

static unsigned char shard_bytes[SHARD];

/* A folder with two shards of 8 KiB whose byte i is i * 7, and that manifest. */
static void write_folder(const char *folder, const char *manifest) {
    char name[128];
    for (size_t i = 0; i < SHARD; i++) shard_bytes[i] = (unsigned char)(i * 7);
    for (int s = 0; s < 2; s++) {
        snprintf(name, sizeof name, "%s/shard_%05d.bin", folder, s);
        test_write(name, shard_bytes, SHARD);
    }
    snprintf(name, sizeof name, "%s/manifest.json", folder);
    test_write_text(name, manifest);
}

#define SHARDS                                                                                                         \
    "\"shards\":[{\"index\":0,\"filename\":\"shard_00000.bin\",\"size\":8192},"                                        \
    "{\"index\":1,\"filename\":\"shard_00001.bin\",\"size\":8192}]"
#define MANIFEST(version, shards, tensors) "{\"version\":" version "," shards ",\"tensors\":" tensors "}"
#define ENTRY(where, size, shape, dtype) "{" where ",\"size\":" #size ",\"shape\":" shape ",\"dtype\":\"" dtype "\"}"

static dp_checkpoint *open_good(const char *manifest) {
    dp_checkpoint *c = NULL;
    write_folder("model", manifest);
    if (dp_checkpoint_open(test_file("model"), &c) != DP_OK) test_fail(__FILE__, __LINE__, "%s", dp_error_message());
    return c;
}

static dp_status open_bad(const char *manifest) {
    dp_checkpoint *c;
    write_folder("model", manifest);
    dp_status status = dp_checkpoint_open(test_file("model"), &c);
    if (status == DP_OK) dp_checkpoint_close(c);
    return status;
}

TEST(current_manifest_opens) {
    dp_checkpoint *c = open_good(
        "{\"version\":\"1.0\",\"modelId\":\"tiny\",\"modelType\":\"llama\",\"quantization\":\"Q8_0\",\"config\":{"
        "\"model_type\":\"llama\","
        "\"hidden_size\":32},\"hashAlgorithm\":\"sha256\",\"shards\":[{\"index\":1,\"filename\":\"shard_00001.bin\","
        "\"size\":8192,"
        "\"type\":\"expert\",\"expertKey\":\"0_3\"},{\"index\":0,\"filename\":\"shard_00000.bin\",\"size\":8192,"
        "\"type\":\"dense\"}],"
        "\"tensors\":{\"model.norm.weight\":" ENTRY(
            "\"shard\":0,\"offset\":4096", 64, "[32]",
            "F16") ","
                   "\"model.cut\":{\"shard\":0,\"offset\":4096,\"size\":8192,\"shape\":[64,32],\"dtype\":\"F32\","
                   "\"spans\":["
                   "{\"shard\":0,\"offset\":4096,\"size\":4096},{\"shard\":1,\"offset\":0,\"size\":4096}]}}}");
    CHECK(c);
    CHECK(c->kind == DP_CHECKPOINT_RDRR && !strcmp(c->name, "tiny") && !strcmp(c->quantization, "Q8_0"));
    CHECK(c->shard_count == 2 && !strcmp(c->shards[1].expert_key, "0_3") && !strcmp(c->shards[0].type, "dense"));
    const dp_tensor *cut = dp_checkpoint_find(c, "model.cut");
    CHECK(cut && cut->span_count == 2 && dp_checkpoint_find(c, "model.norm.weight")->dtype == DP_F16);
    static unsigned char read[8192];
    CHECK_OK(dp_checkpoint_read(c, cut, 0, read, sizeof read));
    CHECK(!memcmp(read, shard_bytes + 4096, 4096) && !memcmp(read + 4096, shard_bytes, 4096));
    dp_mapping mapping;
    dp_status mapped = dp_checkpoint_map(c, cut, &mapping);
    CHECK(mapped == DP_OK || dp_host_page_size() > 4096);
    if (mapped == DP_OK) {
        CHECK(!memcmp(mapping.data, read, sizeof read));
        dp_host_unmap(&mapping);
    }
    dp_checkpoint_close(c);
}

TEST(older_spellings_open) {
    dp_checkpoint *c = open_good("{\"version\":1,\"modelType\":\"gemma3\",\"architecture\":{\"numLayers\":2,"
                                 "\"hiddenSize\":8,\"numAttentionHeads\":4,\"headDim\":2,"
                                 "\"maxSeqLen\":99},\"moeConfig\":{\"numExperts\":8,\"numExpertsPerToken\":2},"
                                 "\"shards\":[{\"fileName\":\"shard_00000.bin\",\"size\":8192},"
                                 "{\"fileName\":\"shard_00001.bin\",\"size\":8192}],\"tensors\":["
                                 "{\"name\":\"layers.0.self_attn.q_proj.weight\",\"shardIndex\":1,\"offset\":3,"
                                 "\"size\":4,\"shape\":[1],\"dtype\":\"float32\"},"
                                 "{\"name\":\"norm.weight\",\"size\":4,\"shape\":[2],\"dtype\":\"bf16\",\"spans\":[{"
                                 "\"shardIndex\":1,\"offset\":5,\"size\":4}]}]}");
    CHECK(c);
    int64_t value = 0;
    CHECK_OK(dp_json_get_int(c->config, "max_position_embeddings", &value));
    CHECK(value == 99 && dp_str_is(dp_json_find(c->config, "model_type")->string, "gemma3"));
    CHECK_OK(dp_json_get_int(c->config, "num_local_experts", &value));
    CHECK(value == 8 && dp_checkpoint_find(c, "model.layers.0.self_attn.q_proj.weight"));
    const dp_tensor *norm = dp_checkpoint_find(c, "model.norm.weight");
    unsigned char bytes[4];
    CHECK(norm && norm->dtype == DP_BF16);
    CHECK_OK(dp_checkpoint_read(c, norm, 0, bytes, 4));
    CHECK(bytes[0] == 35);
    dp_checkpoint_close(c);
    test_write_text("model/tensors.json",
                    "{\"tensors\":{\"a\":" ENTRY("\"shard\":0,\"offset\":0", 4, "[1]", "F32") "}}");
    c = open_good("{\"version\":\"2\"," SHARDS ",\"tensorsFile\":\"tensors.json\"}");
    CHECK(c && dp_checkpoint_find(c, "a"));
    dp_checkpoint_close(c);
}

TEST(bad_manifests_are_refused) {
    static const struct {
        const char *manifest;
        dp_status status;
        const char *text;
    } cases[] = {
        {"[]", DP_E_FORMAT, "expected an object"},
        {"{}", DP_E_FORMAT, "version"},
        {MANIFEST("\"x\"", SHARDS, "{}"), DP_E_FORMAT, "version"},
        {MANIFEST("3", SHARDS, "{}"), DP_E_UNSUPPORTED, "version"},
        {MANIFEST("1", "\"shards\":{}", "{}"), DP_E_FORMAT, "shards"},
        {MANIFEST("1", "\"shards\":[{\"size\":1}]", "{}"), DP_E_FORMAT, "filename"},
        {MANIFEST("1", "\"shards\":[{\"filename\":\"../x\",\"size\":1}]", "{}"), DP_E_FORMAT, "unsafe"},
        {MANIFEST("1", "\"shards\":[{\"filename\":\"/etc/passwd\",\"size\":1}]", "{}"), DP_E_FORMAT, "unsafe"},
        {MANIFEST("1", "\"shards\":[{\"filename\":\"gone.bin\",\"size\":1}]", "{}"), DP_E_NOT_FOUND, "gone.bin"},
        {MANIFEST("1", "\"shards\":[{\"filename\":\"shard_00000.bin\",\"size\":8191}]", "{}"), DP_E_FORMAT,
         "expected 8191"},
        {MANIFEST("1", "\"shards\":[{\"filename\":\"shard_00000.bin\",\"size\":-1}]", "{}"), DP_E_FORMAT, "size"},
        {MANIFEST("1", "\"shards\":[{\"index\":5,\"filename\":\"shard_00000.bin\",\"size\":8192}]", "{}"), DP_E_FORMAT,
         "index"},
        {MANIFEST("1",
                  "\"shards\":[{\"index\":0,\"filename\":\"shard_00000.bin\",\"size\":8192},"
                  "{\"index\":0,\"filename\":\"shard_00001.bin\",\"size\":8192}]",
                  "{}"),
         DP_E_FORMAT, "twice"},
        {MANIFEST("1", SHARDS, "7"), DP_E_FORMAT, "tensors"},
        {MANIFEST("1", SHARDS, "{\"a\":1}"), DP_E_FORMAT, "tensor a"},
        {MANIFEST("1", SHARDS, "{\"a\":" ENTRY("\"shard\":2,\"offset\":0", 4, "[1]", "F32") "}"), DP_E_FORMAT,
         "shard 2 of 2"},
        {MANIFEST("1", SHARDS, "{\"a\":" ENTRY("\"shard\":0,\"offset\":8192", 4, "[1]", "F32") "}"), DP_E_FORMAT,
         "beyond the end"},
        {MANIFEST("1", SHARDS, "{\"a\":" ENTRY("\"shard\":0,\"offset\":9000000000000000000", 4, "[1]", "F32") "}"),
         DP_E_FORMAT, "beyond"},
        {MANIFEST("1", SHARDS, "{\"a\":" ENTRY("\"shard\":0,\"offset\":0", 8, "[1]", "F32") "}"), DP_E_FORMAT,
         "takes 4 bytes, found 8"},
        {MANIFEST("1", SHARDS, "{\"a\":" ENTRY("\"shard\":0,\"offset\":0", 4, "[1]", "F33") "}"), DP_E_UNSUPPORTED,
         "F33"},
        {MANIFEST("1", SHARDS, "{\"a\":" ENTRY("\"shard\":0,\"offset\":0", 4, "[1,1,1,1,1]", "F32") "}"), DP_E_FORMAT,
         "at most 4"},
        {MANIFEST("1", SHARDS, "{\"a\":" ENTRY("\"sliceCount\":4,\"shard\":0,\"offset\":0", 4, "[1]", "F32") "}"),
         DP_E_UNSUPPORTED, "slice"},
        {MANIFEST("1", SHARDS,
                  "[{\"name\":\"a\",\"shard\":0,\"offset\":0,\"size\":4,\"shape\":[1],\"dtype\":\"F32\"},"
                  "{\"name\":\"a\",\"shard\":0,\"offset\":0,\"size\":4,\"shape\":[1],\"dtype\":\"F32\"}]"),
         DP_E_FORMAT, "twice"},
        {"{\"version\":1," SHARDS ",\"tensorsFile\":\"../../x\"}", DP_E_FORMAT, "unsafe"},
        {"{\"version\":1," SHARDS ",\"tensorsFile\":\"none.json\"}", DP_E_NOT_FOUND, "none.json"},
        {"{\"version\":1," SHARDS ",\"tensors\":{},\"config\":[]}", DP_E_FORMAT, "config"},
    };
    for (size_t i = 0; i < DP_COUNT(cases); i++)
        CHECK_FAILS(open_bad(cases[i].manifest), cases[i].status, cases[i].text);
}

TEST(every_truncation_is_refused) {
    const char *whole = MANIFEST("1", SHARDS, "{\"a\":" ENTRY("\"shard\":0,\"offset\":0", 4, "[1]", "F32") "}");
    char text[512];
    for (size_t n = 0; n < strlen(whole); n++) {
        memcpy(text, whole, n);
        text[n] = 0;
        CHECK_FAILS(open_bad(text), DP_E_FORMAT, "manifest.json");
    }
}

/* ---- other layouts ---- */

/* Writes the blocks of `stored` values as a folder with one Q4_K tensor and returns its F32 view. */
static bool read_view(const float *stored, size_t count, const char *fields, float *out, size_t out_count) {
    unsigned char blocks[144 * 64];
    char manifest[512], *p = manifest;
    const dp_dtype_info *info = dp_dtype_get(DP_Q4_K);
    size_t size = count / 256 * 144;
    info->quantize(stored, blocks, count);
    test_write("layout/w.bin", blocks, size);
    p += snprintf(p, sizeof manifest,
                  "{\"version\":1,\"shards\":[{\"filename\":\"w.bin\",\"size\":%zu}],\"tensors\":{\"w\":{\"shard\":0,"
                  "\"offset\":0,\"size\":%zu,\"dtype\":\"q4_k_m\",%s}}}",
                  size, size, fields);
    test_write("layout/manifest.json", manifest, (size_t)(p - manifest));
    dp_checkpoint *c;
    if (dp_checkpoint_open(test_file("layout"), &c) != DP_OK)
        return test_fail(__FILE__, __LINE__, "%s", dp_error_message());
    const dp_tensor *t = dp_checkpoint_find(c, "w");
    dp_mapping mapping;
    bool fine = t->dtype == DP_F32 && t->size == out_count * 4 &&
                dp_checkpoint_map(c, t, &mapping) == DP_E_UNSUPPORTED &&
                dp_checkpoint_read(c, t, 0, out, out_count * 4) == DP_OK;
    float part[5];
    fine = fine && dp_checkpoint_read(c, t, 4 * 7, part, sizeof part) == DP_OK && !memcmp(part, out + 7, sizeof part);
    dp_checkpoint_close(c);
    return fine || test_fail(__FILE__, __LINE__, "view: %s", dp_error_message());
}

/* Rows of 100 of a 3 x 100 matrix, value = row * 100 + column, at quantised precision. */
static bool is_ramp(const float *w, size_t rows, size_t cols) {
    for (size_t i = 0; i < rows * cols; i++)
        if (fabsf(w[i] - (float)i) > 12) return test_fail(__FILE__, __LINE__, "[%zu] is %g", i, (double)w[i]);
    return true;
}

TEST(q4k_layouts_show_as_f32) {
    static float stored[256 * 100], out[300];
    for (size_t r = 0; r < 3; r++)
        for (size_t k = 0; k < 256; k++) stored[r * 256 + k] = k < 100 ? (float)(r * 100 + k) : 0;
    CHECK(read_view(stored, 3 * 256, "\"shape\":[3,100],\"layout\":\"row_wise\"", out, 300) && is_ramp(out, 3, 100));
    for (size_t i = 0; i < 512; i++) stored[i] = i < 300 ? (float)i : 0;
    CHECK(read_view(stored, 512, "\"shape\":[3,100],\"layout\":\"flat\"", out, 300) && is_ramp(out, 3, 100));
    /* Transposed: 20 stored rows of 10 logical rows. Both spellings of the shape. */
    for (size_t k = 0; k < 20; k++)
        for (size_t r = 0; r < 256; r++) stored[k * 256 + r] = r < 10 ? (float)(r * 20 + k) : 0;
    CHECK(read_view(stored, 20 * 256, "\"shape\":[10,20],\"layout\":\"column_wise\"", out, 200) &&
          is_ramp(out, 10, 20));
    CHECK(read_view(stored, 20 * 256, "\"shape\":[20,10],\"originalShape\":[10,20],\"layout\":\"col\"", out, 200) &&
          is_ramp(out, 10, 20));
}

/* ---- verification ---- */

static bool cancel(void *user, const char *what, uint64_t done, uint64_t total) {
    (void)what, (void)done, (void)total;
    ++*(int *)user;
    return false;
}

TEST(shards_are_verified) {
    char manifest[1024], sha[65], blake[65];
    write_folder("model", "{}");
    dp_sha256_hex(shard_bytes, SHARD, sha);
    dp_blake3_hex(shard_bytes, SHARD, blake);
    snprintf(manifest, sizeof manifest,
             "{\"version\":1,\"hashAlgorithm\":\"sha256\",\"shards\":[{\"filename\":\"shard_00000.bin\",\"size\":8192,"
             "\"hash\":\"%s\"},{\"filename\":\"shard_00001.bin\",\"size\":8192,\"hash\":\"%s\"}],\"tensors\":{}}",
             sha, blake);
    dp_checkpoint *c = open_good(manifest);
    const char *algorithm = "";
    int calls = 0;
    CHECK(c);
    CHECK_OK(dp_checkpoint_match_shard(c, 0, NULL, NULL, &algorithm));
    CHECK(!strcmp(algorithm, "sha256"));
    CHECK_OK(dp_checkpoint_match_shard(c, 1, NULL, NULL, &algorithm));
    CHECK(!strcmp(algorithm, "blake3")); /* labelled sha256 */
    CHECK_FAILS(dp_checkpoint_verify_shard(c, 0, cancel, &calls), DP_E_CANCELLED, "shard_00000.bin");
    CHECK(calls == 1);
    dp_checkpoint_close(c);
    shard_bytes[100] ^= 1;
    test_write("model/shard_00001.bin", shard_bytes, SHARD);
    CHECK_OK(dp_checkpoint_open(test_file("model"), &c));
    CHECK_FAILS(dp_checkpoint_verify_shard(c, 1, NULL, NULL), DP_E_CORRUPT, "shard_00001.bin");
    CHECK_FAILS(dp_checkpoint_verify_shard(c, 2, NULL, NULL), DP_E_ARG, "shard 2");
    dp_checkpoint_close(c);
    c = open_good(MANIFEST("1", SHARDS, "{}"));
    CHECK(c);
    CHECK_FAILS(dp_checkpoint_verify_shard(c, 0, NULL, NULL), DP_E_NOT_FOUND, "no hash");
    dp_checkpoint_close(c);
}

static dp_status open_once(void *user) {
    dp_checkpoint *c;
    TRY(dp_checkpoint_open(user, &c));
    dp_checkpoint_close(c);
    return DP_OK;
}

TEST(rdrr_survives_failing_allocations) {
    write_folder(
        "model",
        "{\"version\":1,\"modelType\":\"llama\",\"config\":{\"hidden_size\":1,\"text_config\":{\"a\":1}}," SHARDS
        ",\"tensors\":{\"layers.0.x\":" ENTRY("\"shard\":0,\"offset\":0", 4, "[1]", "F32") "}}");
    char path[512];
    snprintf(path, sizeof path, "%s", test_file("model"));
    CHECK(test_failing_allocations(open_once, path) > 10);
}

TEST_MAIN()
