/* Block formats against published blocks and values, the quantisers' error bounds, the dtype table. */
#include "test.h"

#include <float.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/sha256.h"
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
    CHECK_MSG(wrong == n, "%s: value %zu is %.9g, expected %.9g", type, wrong, found,
              dp_load_f32(expected + 4 * wrong));
    CHECK_MSG(guard == 0x5A5A5A5A, "%s: wrote behind the output", type);
}

TEST(dequantises_published_blocks_exactly) {
    static const char *const types[] = {"q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k",
                                        "q3_k", "q4_k", "q5_k", "q6_k", "mxfp4"};
    if (!reference_load()) return;
    for (size_t i = 0; i < DP_COUNT(types); i++) compare_with_reference(types[i]);
    dp_arena_free(&file.arena);
}

/* ---- quantisers against llama.cpp ---- */

static float uniform(uint64_t seed) { return (float)(dp_splitmix64(seed) >> 40) / 16777216.0f * 2.0f - 1.0f; }

/* Bell-shaped around 0, as weights are. */
static void fill_bell(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float sum = 0;
        for (uint64_t k = 0; k < 4; k++) sum += uniform(4 * i + k);
        x[i] = 0.02f * sum;
    }
}

/* SHA-256 of the blocks that llama.cpp's ggml_quantize_chunk makes of fill_bell's first 16384 values, rows of 256,
 * without importance matrix. */
static const struct {
    dp_dtype dtype;
    const char *digest;
} published[] = {
    {DP_Q4_0, "c44bf88c02b724d90946ef557a681b2f8be5326e70ec8821b53c4a0cebd47572"},
    {DP_Q4_1, "3d67c9c2173e7c6bb412a8b2867e72d3ea8e7bf2463225793a226e20f81e968e"},
    {DP_Q5_0, "e5dfd32fb683a67a76a227929375553b7a37d239ad0a39bcea344fad90947971"},
    {DP_Q5_1, "7a5d8e9e1dc220016b3f108e747218fc5be6582e227f00e344ef86372ca02881"},
    {DP_Q8_0, "aa27bdde1ccaf9c77f62bc8aa90fe94ea063ad70411f6031f3e003cb2b516d22"},
    {DP_Q2_K, "ec53d8fc94be4aadb96e486cb9022d4875fb9441df6b008a087a4bdbd792ccbf"},
    {DP_Q3_K, "f691b19e65cf4efacebe147166c4c3a7dd34eb4137efd4cba589253eb7b4f05b"},
    {DP_Q4_K, "3cabe973ff2aaaa87067aa60c0186b9052f8b6771f4c123ffc0ed7865796c209"},
    {DP_Q5_K, "6e56d5da5b0da466d594e83bd4f8d275e071a2dfd1c45005936dd37a63cd8cf2"},
    {DP_Q6_K, "6801d900099b73839e5cf0a69bae6aa3cede3023bed866c0b5f871c63d41427c"},
    {DP_MXFP4, "132f6d99e532614f7c9c2582df777a25aa119ab458beb36b4e8ee17d24be7957"},
};

enum { BELL = 16384 };
static float bell[BELL], result[BELL];
static uint8_t blocks[4 * BELL + 8];

TEST(quantises_to_published_bytes) {
    fill_bell(bell, BELL);
    for (size_t i = 0; i < DP_COUNT(published); i++) {
        const dp_dtype_info *info = dp_dtype_get(published[i].dtype);
        char hex[65];
        info->quantize(bell, blocks, BELL);
        dp_sha256_hex(blocks, dp_dtype_row_bytes(published[i].dtype, BELL), hex);
        CHECK_MSG(strcmp(hex, published[i].digest) == 0, "%s: %s", info->name, hex);
    }
}

/* ---- round trips ---- */

/* Quantises n values of x at an odd address, checks that nothing is written behind either output, and leaves the
 * values read back in `result`. */
static bool round_trip(dp_dtype dtype, const float *x, size_t n) {
    const dp_dtype_info *info = dp_dtype_get(dtype);
    size_t size = dp_dtype_row_bytes(dtype, (int64_t)n);
    uint8_t *data = blocks + 1;
    memset(blocks, 0xA5, sizeof blocks);
    info->quantize(x, data, n);
    for (size_t i = 0; i < 4; i++) {
        if (data[size + i] != 0xA5) return test_fail(__FILE__, __LINE__, "%s: quantiser wrote too far", info->name);
    }
    if (n < BELL) memset(result + n, 0x5A, 4);
    info->dequantize(data, result, n);
    if (n < BELL && dp_load_u32(result + n) != 0x5A5A5A5A) {
        return test_fail(__FILE__, __LINE__, "%s: dequantiser wrote too far", info->name);
    }
    return true;
}

TEST(error_of_a_round_trip_is_small) {
    static const struct {
        dp_dtype dtype;
        double relative; /* root mean square error over root mean square */
    } bounds[] = {{DP_F32, 0},      {DP_F16, 3e-4},    {DP_BF16, 2e-3},  {DP_Q8_0, 0.0055}, {DP_Q6_K, 0.018},
                  {DP_Q5_K, 0.037}, {DP_Q5_1, 0.039},  {DP_Q5_0, 0.043}, {DP_Q4_K, 0.072},  {DP_Q4_1, 0.079},
                  {DP_Q4_0, 0.086}, {DP_MXFP4, 0.117}, {DP_Q3_K, 0.152}, {DP_Q2_K, 0.3}};
    fill_bell(bell, BELL);
    for (size_t i = 0; i < DP_COUNT(bounds); i++) {
        double error = 0, square = 0;
        if (!round_trip(bounds[i].dtype, bell, BELL)) return;
        for (size_t j = 0; j < BELL; j++) {
            error += ((double)result[j] - bell[j]) * ((double)result[j] - bell[j]);
            square += (double)bell[j] * bell[j];
        }
        double relative = sqrt(error / square);
        CHECK_MSG(relative <= bounds[i].relative, "%s: %g", dp_dtype_get(bounds[i].dtype)->name, relative);
    }
}

static bool is_block_format(dp_dtype dtype) { return dp_dtype_get(dtype)->block > 1; }

TEST(zeros_stay_zeros) {
    static const float zeros[512];
    for (int d = 0; d < DP_DTYPE_COUNT; d++) {
        if (!dp_dtype_get((dp_dtype)d)->quantize) continue;
        if (!round_trip((dp_dtype)d, zeros, 512)) return;
        for (int i = 0; i < 512; i++) CHECK_MSG(result[i] == 0, "%s: %g", dp_dtype_get((dp_dtype)d)->name, result[i]);
    }
}

/* The worst that each format does to a block of equal values: Q2_K to Q6_K and Q4_0 keep the largest value to about the
 * precision of an integer scale, MXFP4 knows 1 and 1.5. */
TEST(constant_blocks_survive) {
    static const float constants[] = {1.0f, -1.0f, 0.37f, -0.0123f, 1000.0f, -7.5f};
    float x[512];
    for (size_t c = 0; c < DP_COUNT(constants); c++) {
        for (int i = 0; i < 512; i++) x[i] = constants[c];
        for (int d = 0; d < DP_DTYPE_COUNT; d++) {
            const dp_dtype_info *info = dp_dtype_get((dp_dtype)d);
            if (!info->quantize) continue;
            float bound = (d == DP_MXFP4 ? 0.25f : 0.01f) * fabsf(constants[c]);
            if (!round_trip((dp_dtype)d, x, 512)) return;
            for (int i = 0; i < 512; i++) {
                CHECK_MSG(fabsf(result[i] - x[i]) <= bound, "%s: %g became %g", info->name, x[i], result[i]);
            }
        }
    }
}

TEST(single_large_values_survive) {
    float x[512];
    for (size_t at = 0; at < 512; at += 37) {
        memset(x, 0, sizeof x);
        x[at] = at % 2 ? -5.0f : 5.0f;
        for (int d = 0; d < DP_DTYPE_COUNT; d++) {
            const dp_dtype_info *info = dp_dtype_get((dp_dtype)d);
            if (!info->quantize) continue;
            if (!round_trip((dp_dtype)d, x, 512)) return;
            float bound = d == DP_MXFP4 ? 1.0f : 0.05f;
            CHECK_MSG(fabsf(result[at] - x[at]) <= bound, "%s: %g became %g", info->name, x[at], result[at]);
            for (size_t i = 0; i < 512; i++) {
                CHECK_MSG(i == at || fabsf(result[i]) <= 0.01f, "%s: 0 became %g", info->name, result[i]);
            }
        }
    }
}

TEST(tiny_and_huge_values_give_finite_blocks) {
    static const float sizes[] = {FLT_TRUE_MIN, 1e-42f, FLT_MIN, 1e-30f, 1e-20f, 1e-12f, 1e-8f,
                                  1e5f,         1e9f,   1e15f,   1e30f,  1e38f,  FLT_MAX};
    float x[512];
    for (size_t s = 0; s < DP_COUNT(sizes); s++) {
        for (uint64_t i = 0; i < 512; i++) x[i] = i % 5 ? uniform(i) * sizes[s] : sizes[s];
        for (int d = 0; d < DP_DTYPE_COUNT; d++) {
            const dp_dtype_info *info = dp_dtype_get((dp_dtype)d);
            if (!is_block_format((dp_dtype)d)) continue;
            if (!round_trip((dp_dtype)d, x, 512)) return;
            for (int i = 0; i < 512; i++) {
                CHECK_MSG(isfinite(result[i]), "%s: %g became %g", info->name, x[i], result[i]);
                CHECK_MSG(fabsf(result[i]) <= 1.5f * sizes[s] + 1e-6f, "%s: %g became %g", info->name, x[i], result[i]);
            }
        }
    }
}

TEST(infinities_and_nan_count_as_zero) {
    static const float odd[] = {INFINITY, -INFINITY, NAN};
    static uint8_t expected[4 * 512];
    float clean[512], dirty[512];
    fill_bell(clean, 512);
    memcpy(dirty, clean, sizeof dirty);
    for (size_t i = 0; i < 512; i += 7) {
        clean[i] = 0;
        dirty[i] = odd[i % 3];
    }
    for (int d = 0; d < DP_DTYPE_COUNT; d++) {
        const dp_dtype_info *info = dp_dtype_get((dp_dtype)d);
        if (!is_block_format((dp_dtype)d)) continue;
        info->quantize(clean, expected, 512);
        info->quantize(dirty, blocks, 512);
        CHECK_MSG(memcmp(expected, blocks, dp_dtype_row_bytes((dp_dtype)d, 512)) == 0, "%s", info->name);
    }
}

/* Whatever the bytes are (scales may be infinite or NaN), reading block by block and reading all at once agree. */
TEST(any_bytes_can_be_read) {
    static float whole[2048], part[256];
    for (size_t i = 0; i < sizeof blocks; i++) blocks[i] = (uint8_t)dp_splitmix64(i);
    for (int d = 0; d < DP_DTYPE_COUNT; d++) {
        const dp_dtype_info *info = dp_dtype_get((dp_dtype)d);
        if (!info->dequantize) continue;
        info->dequantize(blocks, whole, 2048);
        for (size_t i = 0; i < 2048; i += info->block) {
            info->dequantize(blocks + i / info->block * info->bytes, part, info->block);
            for (size_t j = 0; j < info->block; j++) {
                bool same = part[j] == whole[i + j] || (isnan(part[j]) && isnan(whole[i + j]));
                CHECK_MSG(same, "%s at %zu: %g, alone %g", info->name, i + j, whole[i + j], part[j]);
            }
        }
    }
}

TEST(blocks_do_not_depend_on_their_neighbours) {
    uint8_t single[1024];
    fill_bell(bell, BELL);
    for (int d = 0; d < DP_DTYPE_COUNT; d++) {
        const dp_dtype_info *info = dp_dtype_get((dp_dtype)d);
        if (!info->quantize) continue;
        info->quantize(bell, blocks, 2048);
        for (size_t i = 0; i < 2048; i += info->block) {
            info->quantize(bell + i, single, info->block);
            CHECK_MSG(memcmp(single, blocks + i / info->block * info->bytes, info->bytes) == 0, "%s at %zu", info->name,
                      i);
        }
    }
}

/* Every scale byte and code of MXFP4 that its own quantiser can choose comes back unchanged. */
TEST(mxfp4_keeps_what_it_can_represent) {
    static const float table[16] = {0, .5f, 1, 1.5f, 2, 3, 4, 6, 0, -.5f, -1, -1.5f, -2, -3, -4, -6};
    const dp_dtype_info *info = dp_dtype_get(DP_MXFP4);
    for (int e = 0; e <= 252; e++) {
        float x[32], back[32];
        for (int i = 0; i < 32; i++) x[i] = ldexpf(table[i % 16], e - 127);
        info->quantize(x, blocks, 32);
        CHECK_MSG(blocks[0] == e, "exponent %d became %d", e, blocks[0]);
        info->dequantize(blocks, back, 32);
        for (int i = 0; i < 32; i++) CHECK_MSG(back[i] == x[i], "exponent %d: %g became %g", e, x[i], back[i]);
    }
}

/* ---- 16-bit floats, all of them ---- */

static double exact_f16(uint32_t h) {
    int exponent = h >> 10 & 31, fraction = h & 1023;
    double value = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return h & 0x8000 ? -value : value;
}

TEST(f16_reads_all_values) {
    for (uint32_t h = 0; h < 65536; h++) {
        float f = dp_f16_to_f32((uint16_t)h);
        if ((h & 0x7C00) != 0x7C00) {
            CHECK_MSG(f == (float)exact_f16(h) && !!signbit(f) == (h >> 15), "%04x: %a", h, f);
        } else if (h & 0x3FF) {
            CHECK_MSG(isnan(f), "%04x: %a", h, f);
        } else {
            CHECK_MSG(f == (h & 0x8000 ? -INFINITY : INFINITY), "%04x: %a", h, f);
        }
        CHECK_MSG(isnan(f) ? isnan(dp_f16_to_f32(dp_f32_to_f16(f))) : dp_f32_to_f16(f) == h, "%04x comes back as %04x",
                  h, dp_f32_to_f16(f));
    }
}

TEST(f16_rounds_to_nearest_even) {
    for (uint32_t h = 0; h < 0x7C00; h++) {
        double upper = h + 1 == 0x7C00 ? 65536.0 : exact_f16(h + 1);
        float middle = (float)((exact_f16(h) + upper) / 2); /* exact: one bit more than an f16 */
        uint32_t even = h & 1 ? h + 1 : h;
        CHECK_MSG(dp_f32_to_f16(middle) == even, "%a: %04x", middle, dp_f32_to_f16(middle));
        CHECK_MSG(dp_f32_to_f16(-middle) == (even | 0x8000), "%a: %04x", -middle, dp_f32_to_f16(-middle));
        CHECK(dp_f32_to_f16(nextafterf(middle, 0)) == h);
        CHECK(dp_f32_to_f16(nextafterf(middle, INFINITY)) == h + 1);
    }
    CHECK(dp_f32_to_f16(1e30f) == 0x7C00 && dp_f32_to_f16(-1e30f) == 0xFC00);
    CHECK(dp_f32_to_f16(FLT_TRUE_MIN) == 0 && dp_f32_to_f16(-FLT_TRUE_MIN) == 0x8000);
}

static float float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

TEST(bf16_rounds_to_nearest_even) {
    for (uint32_t h = 0; h < 65536; h++) {
        float f = dp_bf16_to_f32((uint16_t)h);
        uint32_t magnitude = h & 0x7FFF;
        if (magnitude > 0x7F80) {
            CHECK_MSG(isnan(f) && isnan(dp_bf16_to_f32(dp_f32_to_bf16(f))), "%04x", h);
            CHECK_MSG(isnan(dp_bf16_to_f32(dp_f32_to_bf16(float_of(h << 16 | 0xFFFF)))), "%04x", h);
            continue;
        }
        CHECK_MSG(dp_f32_to_bf16(f) == h, "%04x: %04x", h, dp_f32_to_bf16(f));
        if (magnitude == 0x7F80) continue;
        CHECK(dp_f32_to_bf16(float_of(h << 16 | 0x7FFF)) == h);
        CHECK(dp_f32_to_bf16(float_of(h << 16 | 0x8000)) == (h & 1 ? h + 1 : h));
        CHECK(dp_f32_to_bf16(float_of(h << 16 | 0x8001)) == h + 1);
    }
    CHECK(isnan(dp_bf16_to_f32(dp_f32_to_bf16(float_of(0x7F800001)))));
}

/* ---- the table ---- */

TEST(dtypes_are_found_by_name_and_id) {
    for (int d = 0; d < DP_DTYPE_COUNT; d++) {
        const dp_dtype_info *info = dp_dtype_get((dp_dtype)d);
        dp_dtype found = DP_DTYPE_COUNT;
        CHECK(dp_dtype_by_name(dp_str_of(info->name), &found) && found == (dp_dtype)d);
        if (info->ggml_type < 0) continue;
        CHECK(dp_dtype_by_ggml((uint32_t)info->ggml_type, &found) && found == (dp_dtype)d);
        CHECK_MSG(strcmp(dp_ggml_type_name((uint32_t)info->ggml_type), info->name) == 0, "%s", info->name);
    }
}

TEST(dtypes_have_other_spellings) {
    static const struct {
        const char *name;
        dp_dtype dtype;
    } names[] = {{"q4_k_m", DP_Q4_K}, {"Q4_K_S", DP_Q4_K}, {"bfloat16", DP_BF16}, {"float32", DP_F32},
                 {"uint8", DP_U8},    {"mxfp4", DP_MXFP4}, {"q5_k_m", DP_Q5_K},   {"Float16", DP_F16}};
    dp_dtype found = DP_DTYPE_COUNT;
    for (size_t i = 0; i < DP_COUNT(names); i++) {
        CHECK_MSG(dp_dtype_by_name(dp_str_of(names[i].name), &found) && found == names[i].dtype, "%s", names[i].name);
    }
    static const char *const unknown[] = {"", "q4", "Q4_KM", "q4_k_", "IQ4_NL", "f8_e4m3", "F321"};
    for (size_t i = 0; i < DP_COUNT(unknown); i++) {
        CHECK_MSG(!dp_dtype_by_name(dp_str_of(unknown[i]), &found), "%s", unknown[i]);
    }
}

TEST(unreadable_ggml_types_have_names) {
    static const struct {
        uint32_t type;
        const char *name;
    } names[] = {{16, "IQ2_XXS"}, {20, "IQ4_NL"},  {23, "IQ4_XS"},         {29, "IQ1_M"},
                 {34, "TQ1_0"},   {35, "TQ2_0"},   {40, "NVFP4"},          {9, "Q8_1"},
                 {15, "Q8_K"},    {43, "unknown"}, {UINT32_MAX, "unknown"}};
    dp_dtype found;
    for (size_t i = 0; i < DP_COUNT(names); i++) {
        CHECK_MSG(strcmp(dp_ggml_type_name(names[i].type), names[i].name) == 0, "%u", names[i].type);
        CHECK_MSG(!dp_dtype_by_ggml(names[i].type, &found), "%u", names[i].type);
    }
}

TEST(row_bytes_refuse_partial_blocks) {
    CHECK(dp_dtype_row_bytes(DP_Q4_K, 512) == 288 && dp_dtype_row_bytes(DP_Q6_K, 256) == 210);
    CHECK(dp_dtype_row_bytes(DP_Q5_0, 96) == 66 && dp_dtype_row_bytes(DP_I64, 3) == 24);
    CHECK(dp_dtype_row_bytes(DP_Q4_K, 0) == 0 && dp_dtype_row_bytes(DP_F32, -4) == 0);
    CHECK(dp_dtype_row_bytes(DP_Q4_K, 255) == 0 && dp_dtype_row_bytes(DP_Q4_K, 288) == 0);
    CHECK(dp_dtype_row_bytes(DP_Q8_0, 33) == 0 && dp_dtype_row_bytes(DP_MXFP4, 16) == 0);
    CHECK(dp_dtype_row_bytes(DP_F64, INT64_MAX) == 0);
    CHECK(dp_dtype_row_bytes(DP_DTYPE_COUNT, 32) == 0 && dp_dtype_get(DP_DTYPE_COUNT) == NULL);
}

TEST_MAIN()
