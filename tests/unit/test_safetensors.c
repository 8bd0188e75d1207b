/* safetensors files and Hugging Face folders through dp_checkpoint_open. */
#include "files.h"

#include "format/builder.h"

#define TENSOR(name, dtype, shape, begin, end)                                                                         \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

/* Opens and must succeed; NULL after recording the failure. */
static dp_checkpoint *open_good(const char *name) {
    dp_checkpoint *c = NULL;
    if (dp_checkpoint_open(test_file(name), &c) != DP_OK)
        test_fail(__FILE__, __LINE__, "%s: %s", name, dp_error_message());
    return c;
}

static dp_status open_bad(const char *name) {
    dp_checkpoint *c;
    dp_status status = dp_checkpoint_open(test_file(name), &c);
    if (status == DP_OK) dp_checkpoint_close(c);
    return status;
}

TEST(single_file_opens_reads_and_maps) {
    test_write_safetensors(
        "one.safetensors",
        "{\"__metadata__\":{\"format\":\"pt\"}," TENSOR("a", "F32", "[2,3]", 0, 24) "," TENSOR(
            "b", "BF16", "[4]", 24, 32) "," TENSOR("none", "F16", "[0,7]", 32,
                                                   32) "," TENSOR("scalar", "I64", "[]", 32,
                                                                  40) "," TENSOR("raw", "U8", "[5]", 40, 45) "}",
        45);
    dp_checkpoint *c = open_good("one.safetensors");
    CHECK(c);
    CHECK(c->kind == DP_CHECKPOINT_HF && c->tensor_count == 5 && c->config && !strcmp(c->quantization, "F32"));
    const dp_tensor *a = dp_checkpoint_find(c, "a"), *raw = dp_checkpoint_find(c, "raw");
    CHECK(a && a->dtype == DP_F32 && a->n_dims == 2 && a->shape[0] == 2 && a->shape[1] == 3 && a->size == 24);
    CHECK(dp_checkpoint_find(c, "scalar")->size == 8 && dp_checkpoint_find(c, "none")->size == 0);
    CHECK(!dp_checkpoint_find(c, "absent"));
    unsigned char bytes[8];
    CHECK_OK(dp_checkpoint_read(c, raw, 2, bytes, 3));
    CHECK(bytes[0] == 42 && bytes[2] == 44);
    CHECK_FAILS(dp_checkpoint_read(c, raw, 3, bytes, 3), DP_E_ARG, "raw");
    dp_mapping mapping;
    CHECK_OK(dp_checkpoint_map(c, raw, &mapping));
    CHECK(((const unsigned char *)mapping.data)[4] == 44);
    dp_host_unmap(&mapping);
    dp_checkpoint_close(c);
}

TEST(sharded_folder_opens) {
    test_write_safetensors("sharded/m-1.safetensors",
                           "{" TENSOR("x", "F32", "[1]", 0, 4) "," TENSOR("stray", "F32", "[1]", 0, 4) "}", 4);
    test_write_safetensors("sharded/m-2.safetensors", "{" TENSOR("y", "F16", "[2]", 4, 8) "}", 8);
    test_write_text("sharded/model.safetensors.index.json",
                    "{\"metadata\":{},\"weight_map\":{\"x\":\"m-1.safetensors\",\"y\":\"m-2.safetensors\"}}");
    test_write_text("sharded/config.json", "{\"model_type\":\"llama\",\"torch_dtype\":\"bfloat16\"}");
    dp_checkpoint *c = open_good("sharded");
    CHECK(c);
    CHECK(c->tensor_count == 2 && c->file_count == 2 && !strcmp(c->quantization, "BF16") &&
          !strcmp(c->name, "sharded"));
    unsigned char bytes[4];
    CHECK_OK(dp_checkpoint_read(c, dp_checkpoint_find(c, "y"), 0, bytes, 4));
    CHECK(bytes[0] == 4);
    dp_checkpoint_close(c);
}

TEST(nested_text_model_opens_as_text_model) {
    test_write_safetensors("nested/model.safetensors",
                           "{" TENSOR("language_model.model.norm.weight", "F32", "[1]", 0, 4) "," TENSOR(
                               "language_model.lm_head.weight", "F32", "[1]", 0,
                               4) "," TENSOR("model.language_model.embed_tokens.weight", "F32", "[1]", 0,
                                             4) "," TENSOR("vision_tower.x", "F32", "[1]", 0, 4) "}",
                           4);
    test_write_text("nested/config.json", "{\"model_type\":\"gemma3\",\"dtype\":\"float32\",\"text_config\":"
                                          "{\"model_type\":\"gemma3_text\",\"hidden_size\":8}}");
    dp_checkpoint *c = open_good("nested");
    CHECK(c);
    CHECK(dp_str_is(dp_json_find(c->config, "model_type")->string, "gemma3_text") && c->config->count == 3);
    CHECK(dp_json_find(c->config, "hidden_size")->integer == 8 && dp_json_find(c->config, "dtype"));
    CHECK(dp_checkpoint_find(c, "model.norm.weight") && dp_checkpoint_find(c, "lm_head.weight"));
    CHECK(dp_checkpoint_find(c, "model.embed_tokens.weight") && dp_checkpoint_find(c, "vision_tower.x"));
    CHECK(!strcmp(dp_checkpoint_find(c, "model.norm.weight")->source_name, "language_model.model.norm.weight"));
    dp_checkpoint_close(c);
}

TEST(malformed_headers_are_refused) {
    static const struct {
        const char *header;
        dp_status status;
        const char *text;
    } cases[] = {
        {"[]", DP_E_FORMAT, "expected an object"},
        {"{\"a\":1}", DP_E_FORMAT, "tensor a"},
        {"{\"a\":", DP_E_FORMAT, "header"},
        {"{" TENSOR("a", "F32", "[2]", 0, 8) "," TENSOR("a", "F32", "[2]", 0, 8) "}", DP_E_FORMAT, "twice"},
        {"{" TENSOR("a", "F32", "[2]", 0, 4) "}", DP_E_FORMAT, "takes 8 bytes, found 4"},
        {"{" TENSOR("a", "F32", "[2]", 12, 20) "}", DP_E_FORMAT, "beyond the end"},
        {"{" TENSOR("a", "F32", "[2]", 8, 0) "}", DP_E_FORMAT, "data_offsets"},
        {"{" TENSOR("a", "F32", "[2]", -8, 0) "}", DP_E_FORMAT, "non-negative"},
        {"{" TENSOR("a", "F32", "[-2]", 0, 8) "}", DP_E_FORMAT, "non-negative"},
        {"{" TENSOR("a", "F32", "[1.5]", 0, 8) "}", DP_E_FORMAT, "non-negative"},
        {"{" TENSOR("a", "F32", "2", 0, 8) "}", DP_E_FORMAT, "expected an array"},
        {"{" TENSOR("a", "F32", "[4294967296,4294967296,4]", 0, 8) "}", DP_E_FORMAT, "overflows"},
        {"{" TENSOR("a", "F32", "[9007199254740992,1024]", 0, 8) "}", DP_E_FORMAT, "overflows"},
        {"{" TENSOR("a", "F32", "[0]", 9000000000000000000, 9000000000000000000) "}", DP_E_FORMAT, "beyond the end"},
        {"{" TENSOR("a", "F32", "[1,1,1,1,1]", 0, 4) "}", DP_E_UNSUPPORTED, "at most 4"},
        {"{" TENSOR("a", "F8_E9M9", "[2]", 0, 8) "}", DP_E_UNSUPPORTED, "F8_E9M9"},
        {"{" TENSOR("", "F32", "[2]", 0, 8) "}", DP_E_FORMAT, "without a name"},
        {"{" TENSOR("a\\u0000b", "F32", "[2]", 0, 8) "}", DP_E_FORMAT, "NUL"},
    };
    for (size_t i = 0; i < DP_COUNT(cases); i++) {
        test_write_safetensors("bad.safetensors", cases[i].header, 16);
        CHECK_FAILS(open_bad("bad.safetensors"), cases[i].status, cases[i].text);
    }
}

TEST(every_truncation_is_refused) {
    char bytes[256];
    const char *header = "{" TENSOR("a", "F32", "[2]", 0, 8) "}";
    size_t n = strlen(header), total = 8 + n + 8;
    dp_store_u64(bytes, n);
    memcpy(bytes + 8, header, n);
    for (size_t size = 0; size < total; size++) {
        test_write("cut.safetensors", bytes, size);
        CHECK_MSG(open_bad("cut.safetensors") == DP_E_FORMAT, "%zu bytes: %s", size, dp_error_message());
    }
    static const uint64_t lengths[] = {1000, 100000001, UINT64_MAX, UINT64_MAX - 7, (uint64_t)1 << 63};
    for (size_t i = 0; i < DP_COUNT(lengths); i++) {
        dp_store_u64(bytes, lengths[i]);
        test_write("cut.safetensors", bytes, total);
        CHECK_FAILS(open_bad("cut.safetensors"), DP_E_FORMAT, "header of");
    }
}

TEST(bad_folders_are_refused) {
    CHECK_FAILS(open_bad("absent"), DP_E_NOT_FOUND, "absent");
    test_write_text("empty/readme", "");
    CHECK_FAILS(open_bad("empty"), DP_E_NOT_FOUND, "no model here");
    test_write_text("text.txt", "hello");
    CHECK_FAILS(open_bad("text.txt"), DP_E_FORMAT, "no model file");
    test_write_safetensors("f/a.safetensors", "{}", 0);
    CHECK_FAILS(open_bad("f"), DP_E_NOT_FOUND, "config.json");
    test_write_text("f/config.json", "[]");
    CHECK_FAILS(open_bad("f"), DP_E_FORMAT, "expected an object");
    test_write_text("f/config.json", "{}");
    dp_checkpoint *c = open_good("f");
    CHECK(c && c->tensor_count == 0);
    dp_checkpoint_close(c);
    test_write_safetensors("f/b.safetensors", "{}", 0);
    CHECK_FAILS(open_bad("f"), DP_E_FORMAT, "2 *.safetensors");
}

TEST(bad_indexes_are_refused) {
    test_write_safetensors("index/a.safetensors", "{" TENSOR("x", "F32", "[1]", 0, 4) "}", 4);
    test_write_safetensors("outside.safetensors", "{" TENSOR("x", "F32", "[1]", 0, 4) "}", 4);
    test_write_text("index/config.json", "{}");
    char absolute[512];
    snprintf(absolute, sizeof absolute, "{\"weight_map\":{\"x\":\"%s\"}}", test_file("outside.safetensors"));
    const struct {
        const char *text;
        dp_status status;
        const char *message;
    } cases[] = {
        {"{}", DP_E_FORMAT, "weight_map"},
        {"{\"weight_map\":[]}", DP_E_FORMAT, "weight_map"},
        {"{\"weight_map\":{\"x\":1}}", DP_E_FORMAT, "expected a file name"},
        {"{\"weight_map\":{\"x\":\"b.safetensors\"}}", DP_E_NOT_FOUND, "b.safetensors"},
        {"{\"weight_map\":{\"y\":\"a.safetensors\"}}", DP_E_FORMAT, "lacks it"},
        {"{\"weight_map\":{\"x\":\"../outside.safetensors\"}}", DP_E_FORMAT, "unsafe"},
        {"{\"weight_map\":{\"x\":\"\"}}", DP_E_FORMAT, "unsafe"},
        {"{\"weight_map\":{\"x\":\"a.safetensors\\u0000\"}}", DP_E_FORMAT, "unsafe"},
        {"{\"weight_map\":{\"x\":\"model.safetensors.index.json\"}}", DP_E_FORMAT, "no safetensors file"},
        {absolute, DP_E_FORMAT, "unsafe"},
    };
    for (size_t i = 0; i < DP_COUNT(cases); i++) {
        test_write_text("index/model.safetensors.index.json", cases[i].text);
        CHECK_FAILS(open_bad("index"), cases[i].status, cases[i].message);
    }
}

TEST(file_names_stay_inside) {
    static const char *const good[] = {"a", "a.bin", "sub/a", "..a", "a..b"};
    static const char *const bad[] = {"", "/a", "../a", "a/../b", "a/..", ".", "..", "a//b", "a/", "a\\b", "c:a"};
    for (size_t i = 0; i < DP_COUNT(good); i++) CHECK_MSG(dp_filename_is_safe(dp_str_of(good[i])), "%s", good[i]);
    for (size_t i = 0; i < DP_COUNT(bad); i++) CHECK_MSG(!dp_filename_is_safe(dp_str_of(bad[i])), "%s", bad[i]);
}

static dp_status open_once(void *user) {
    dp_checkpoint *c;
    TRY(dp_checkpoint_open(user, &c));
    dp_checkpoint_close(c);
    return DP_OK;
}

TEST(safetensors_survive_failing_allocations) {
    test_write_safetensors("alloc/m.safetensors", "{" TENSOR("language_model.model.x", "F32", "[1]", 0, 4) "}", 4);
    test_write_text("alloc/model.safetensors.index.json",
                    "{\"weight_map\":{\"language_model.model.x\":\"m.safetensors\"}}");
    test_write_text("alloc/config.json", "{\"text_config\":{\"a\":1},\"b\":2}");
    char path[512];
    snprintf(path, sizeof path, "%s", test_file("alloc"));
    test_failing_allocations(open_once, path);
}

TEST_MAIN()
