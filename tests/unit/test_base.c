/* Base: arena, buffer, map, JSON read and written. */
#include "test.h"

#include "base/json_write.h"
#include "base/map.h"

static const dp_json *parse(dp_arena *arena, const char *text) {
    const dp_json *root = NULL;
    return dp_json_parse(arena, dp_str_of(text), &root) == DP_OK ? root : NULL;
}

TEST(json_reads_values) {
    dp_arena arena = {0};
    const dp_json *root = parse(&arena, " {\"a\": [1, -2.5e1, true, null, \"x\\u00e9\\ud83d\\ude00\\n\"], \"b\": {\"c\": 9007199254740993}} ");
    CHECK(root && root->count == 2);
    const dp_json *a = dp_json_get(root, "a");
    CHECK(a && a->count == 5 && dp_json_at(a, 0)->integer == 1 && dp_json_at(a, 1)->number == -25);
    CHECK(dp_str_is(dp_json_at(a, 4)->string, "x\xc3\xa9\xf0\x9f\x98\x80\n"));
    CHECK(dp_json_find(a, "nothing") == NULL && dp_json_at(a, 5) == NULL);
    CHECK(dp_json_get(dp_json_get(root, "b"), "c")->integer == 9007199254740993);
    dp_arena_free(&arena);
}

TEST(json_refuses_bad_text) {
    static const char *const bad[] = {"", "{", "[1,]", "{\"a\" 1}", "01", "1.", "\"\x80\"", "\"a", "nul", "[1] x", "{'a':1}", "\"\\q\"", "\"\\u12g4\"", "-", "[\"\t\"]"};
    for (size_t i = 0; i < DP_COUNT(bad); i++) {
        dp_arena arena = {0};
        const dp_json *root;
        dp_status status = dp_json_parse(&arena, dp_str_of(bad[i]), &root);
        dp_arena_free(&arena);
        CHECK_MSG(status == DP_E_FORMAT, "accepted: %s", bad[i]);
    }
    char deep[400];
    memset(deep, '[', sizeof deep);
    dp_arena arena = {0};
    const dp_json *root;
    CHECK_FAILS(dp_json_parse(&arena, (dp_str){deep, sizeof deep}, &root), DP_E_FORMAT, "128 levels");
    dp_arena_free(&arena);
}

TEST(json_round_trip) {
    const char *text = "{\"s\":\"q\\\"\\\\\\n\\u0001\",\"n\":[0.1,1e+300,-7,1.0],\"o\":{},\"t\":true}";
    dp_arena arena = {0};
    const dp_json *root = parse(&arena, text);
    CHECK(root);
    dp_buf buf = {0};
    dp_json_put(&buf, root);
    CHECK_MSG(strcmp(buf.data, text) == 0, "%s", buf.data);
    dp_buf_free(&buf);
    dp_arena_free(&arena);
}

static void write_document(dp_buf *buf) {
    dp_json_open(buf, NULL, '{');
    dp_json_add_text(buf, "a{", "b[");
    dp_json_open(buf, "empty", '[');
    dp_json_close(buf, ']');
    dp_json_add_int(buf, "least", INT64_MIN);
    dp_json_line(buf, 2);
    dp_json_open(buf, "list", '[');
    for (int i = 0; i < 2; i++) {
        dp_json_line(buf, 4);
        dp_json_open(buf, NULL, '{');
        dp_json_add_bool(buf, "first", i == 0);
        dp_json_close(buf, '}');
    }
    dp_json_line(buf, 2);
    dp_json_close(buf, ']');
    dp_json_add_ids(buf, "ids", (const int32_t[]){1, -2, 3}, 3);
    dp_json_add_uint(buf, "most", UINT64_MAX);
    dp_json_add_text(buf, "none", NULL);
    dp_json_add_double(buf, "x", 0.5);
    dp_json_key(buf, (dp_str){"a\0b", 3});
    dp_json_add_null(buf, NULL);
    dp_json_add_raw(buf, "raw", DP_LIT("null"));
    dp_json_close(buf, '}');
}

TEST(json_is_written_with_commas_where_they_are_due) {
    const char *expected = "{\"a{\": \"b[\", \"empty\": [], \"least\": -9223372036854775808,\n"
                           "  \"list\": [\n"
                           "    {\"first\": true},\n"
                           "    {\"first\": false}\n"
                           "  ], \"ids\": [1, -2, 3], \"most\": 18446744073709551615, \"none\": \"\", \"x\": 0.5, \"a\\u0000b\": null, \"raw\": null}";
    dp_buf buf = {0};
    write_document(&buf);
    CHECK_MSG(buf.data && strcmp(buf.data, expected) == 0, "%s", buf.data);
    dp_buf_free(&buf);
}

TEST(map_keeps_many_keys) {
    static char keys[5000][8];
    dp_map map = {0};
    for (uint64_t i = 0; i < 5000; i++) {
        bool there;
        snprintf(keys[i], sizeof keys[i], "k%u", (unsigned)i);
        CHECK_OK(dp_map_set(&map, dp_str_of(keys[i]), i, &there));
        CHECK(!there);
    }
    for (uint64_t i = 0; i < 5000; i++) CHECK(*dp_map_find(&map, dp_str_of(keys[i])) == i);
    CHECK(!dp_map_find(&map, DP_LIT("absent")) && map.count == 5000);
    dp_map_free(&map);
}

static dp_status allocate_things(void *user) {
    (void)user;
    dp_arena arena = {0};
    dp_map map = {0};
    const dp_json *root;
    dp_status status = dp_json_parse(&arena, dp_str_of("{\"a\\n\":[1,2,{\"b\":\"\\u00e9\"}]}"), &root);
    if (status == DP_OK) status = dp_map_set(&map, root->child->key, 1, NULL);
    dp_buf buf = {0};
    if (status == DP_OK) dp_json_put(&buf, root);
    if (status == DP_OK) write_document(&buf);
    if (status == DP_OK && buf.failed) status = dp_no_memory(1);
    dp_buf_free(&buf);
    dp_map_free(&map);
    dp_arena_free(&arena);
    return status;
}

TEST(base_survives_failing_allocations) { CHECK(test_failing_allocations(allocate_things, NULL) > 3); }

TEST_MAIN()
