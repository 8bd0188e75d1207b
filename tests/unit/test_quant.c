/* Block formats against published blocks and values, the quantisers' error bounds, the dtype table. */
#include "test.h"

#include "base/hash.h"
#include "base/json.h"
#include "quant/quant.h"

/* ---- tests/data/quants.safetensors: <type>.blocks and the exact <type>.values, not made with this code ---- */

typedef struct reference {
    uint8_t bytes[256 * 1024];
    size_t size;
    dp_arena arena;
    const dp_json *header;
    const uint8_t *data;
} reference;

static reference file;

static bool reference_load(void) {
    FILE *f = fopen(test_path("tests/data/quants.safetensors"), "rb");
    if (!f) return test_fail(__FILE__, __LINE__, "tests/data/quants.safetensors is missing");
    file.size = fread(file.bytes, 1, sizeof file.bytes, f);
    fclose(f);
    uint64_t header = file.size < 8 ? 0 : dp_load_u64(file.bytes);
    if (header == 0 || header > file.size - 8) return test_fail(__FILE__, __LINE__, "truncated reference file");
    file.data = file.bytes + 8 + header;
    dp_str text = {(const char *)file.bytes + 8, (size_t)header};
    return dp_json_parse(&file.arena, text, &file.header) == DP_OK || test_fail(__FILE__, __LINE__, "bad header");
}

static const uint8_t *reference_find(const char *type, const char *part, size_t *size) {
    char name[32];
    snprintf(name, sizeof name, "%s.%s", type, part);
    const dp_json *offsets = dp_json_get(dp_json_get(file.header, name), "data_offsets");
    const dp_json *begin = dp_json_at(offsets, 0), *end = dp_json_at(offsets, 1);
    if (!begin || !end) return NULL;
    *size = (size_t)(end->integer - begin->integer);
    return file.data + begin->integer;
}

static void compare_with_reference(const char *type) {
    dp_dtype dtype;
    size_t block_bytes, value_bytes;
    CHECK(dp_dtype_by_name(dp_str_of(type), &dtype));
    const dp_dtype_info *info = dp_dtype_get(dtype);
    const uint8_t *blocks = reference_find(type, "blocks", &block_bytes);
    const uint8_t *expected = reference_find(type, "values", &value_bytes);
    CHECK_MSG(blocks && expected, "%s: not in the reference file", type);
    size_t n = value_bytes / 4;
    CHECK(dp_dtype_row_bytes(dtype, (int64_t)n) == block_bytes);
    float *values = malloc(value_bytes + 4);
    memset(values, 0x5A, value_bytes + 4);
    info->dequantize(blocks, values, n);
    size_t wrong = 0;
    while (wrong < n && memcmp(&values[wrong], expected + 4 * wrong, 4) == 0) wrong++;
    uint32_t guard = dp_load_u32(values + n);
    float found = wrong < n ? values[wrong] : 0;
    free(values);
    CHECK_MSG(wrong == n, "%s: value %zu is %.9g, expected %.9g", type, wrong, found, dp_load_f32(expected + 4 * wrong));
    CHECK_MSG(guard == 0x5A5A5A5A, "%s: wrote behind the output", type);
}

TEST(dequantises_published_blocks_exactly) {
    static const char *const types[] = {"q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k",
                                        "q3_k", "q4_k", "q5_k", "q6_k", "mxfp4"};
    if (!reference_load()) return;
    for (size_t i = 0; i < DP_COUNT(types); i++) compare_with_reference(types[i]);
    dp_arena_free(&file.arena);
}

TEST_MAIN()
