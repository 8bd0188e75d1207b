/* quant.c: the table of dtypes, and looking dtypes up by name or by GGUF id. */
#include "quant/blocks.h"

#define BLOCKS(NAME, lower, type, block, bytes)                                                                        \
    [DP_##NAME] = {#NAME, type, block, bytes, quant_read_##lower, quant_write_##lower}
#define PLAIN(NAME, type, bytes) [DP_##NAME] = {#NAME, type, 1, bytes, NULL, NULL}

static const dp_dtype_info table[DP_DTYPE_COUNT] = {
    BLOCKS(F32, f32, 0, 1, 4),
    BLOCKS(F16, f16, 1, 1, 2),
    BLOCKS(BF16, bf16, 30, 1, 2),
    BLOCKS(Q4_0, q4_0, 2, 32, 18),
    BLOCKS(Q4_1, q4_1, 3, 32, 20),
    BLOCKS(Q5_0, q5_0, 6, 32, 22),
    BLOCKS(Q5_1, q5_1, 7, 32, 24),
    BLOCKS(Q8_0, q8_0, 8, 32, 34),
    BLOCKS(Q2_K, q2_k, 10, 256, 84),
    BLOCKS(Q3_K, q3_k, 11, 256, 110),
    BLOCKS(Q4_K, q4_k, 12, 256, 144),
    BLOCKS(Q5_K, q5_k, 13, 256, 176),
    BLOCKS(Q6_K, q6_k, 14, 256, 210),
    BLOCKS(MXFP4, mxfp4, 39, 32, 17),
    PLAIN(U8, -1, 1),
    PLAIN(I8, 24, 1),
    PLAIN(I16, 25, 2),
    PLAIN(I32, 26, 4),
    PLAIN(I64, 27, 8),
    PLAIN(F64, 28, 8),
};

/* Spellings besides the table's own. Model-wide mixtures stand for the type of most of their tensors. */
static const struct {
    const char *name;
    dp_dtype dtype;
} aliases[] = {
    {"float32", DP_F32}, {"fp32", DP_F32},      {"float", DP_F32},   {"float16", DP_F16},     {"fp16", DP_F16},
    {"half", DP_F16},    {"bfloat16", DP_BF16}, {"float64", DP_F64}, {"fp64", DP_F64},        {"double", DP_F64},
    {"uint8", DP_U8},    {"int8", DP_I8},       {"int16", DP_I16},   {"int32", DP_I32},       {"int64", DP_I64},
    {"Q2_K_S", DP_Q2_K}, {"Q3_K_S", DP_Q3_K},   {"Q3_K_M", DP_Q3_K}, {"Q3_K_L", DP_Q3_K},     {"Q4_K_S", DP_Q4_K},
    {"Q4_K_M", DP_Q4_K}, {"Q5_K_S", DP_Q5_K},   {"Q5_K_M", DP_Q5_K}, {"Q2K", DP_Q2_K},        {"Q3K", DP_Q3_K},
    {"Q4K", DP_Q4_K},    {"Q5K", DP_Q5_K},      {"Q6K", DP_Q6_K},    {"MXFP4_MOE", DP_MXFP4},
};

const dp_dtype_info *dp_dtype_get(dp_dtype dtype) { return (unsigned)dtype < DP_DTYPE_COUNT ? &table[dtype] : NULL; }

bool dp_dtype_by_name(dp_str name, dp_dtype *out) {
    for (size_t i = 0; i < DP_DTYPE_COUNT; i++) {
        if (!dp_str_is_nocase(name, table[i].name)) continue;
        *out = (dp_dtype)i;
        return true;
    }
    for (size_t i = 0; i < DP_COUNT(aliases); i++) {
        if (!dp_str_is_nocase(name, aliases[i].name)) continue;
        *out = aliases[i].dtype;
        return true;
    }
    return false;
}

bool dp_dtype_by_ggml(uint32_t ggml_type, dp_dtype *out) {
    for (size_t i = 0; i < DP_DTYPE_COUNT; i++) {
        if (table[i].ggml_type < 0 || (uint32_t)table[i].ggml_type != ggml_type) continue;
        *out = (dp_dtype)i;
        return true;
    }
    return false;
}

const char *dp_ggml_type_name(uint32_t ggml_type) {
    /* Ids 4, 5, 31-33 and 36-38 belonged to types that ggml has removed. */
    static const char *const names[] = {
        "F32",        "F16",        "Q4_0",       "Q4_1",  "Q4_2",     "Q4_3",     "Q5_0",     "Q5_1",    "Q8_0",
        "Q8_1",       "Q2_K",       "Q3_K",       "Q4_K",  "Q5_K",     "Q6_K",     "Q8_K",     "IQ2_XXS", "IQ2_XS",
        "IQ3_XXS",    "IQ1_S",      "IQ4_NL",     "IQ3_S", "IQ2_S",    "IQ4_XS",   "I8",       "I16",     "I32",
        "I64",        "F64",        "IQ1_M",      "BF16",  "Q4_0_4_4", "Q4_0_4_8", "Q4_0_8_8", "TQ1_0",   "TQ2_0",
        "IQ4_NL_4_4", "IQ4_NL_4_8", "IQ4_NL_8_8", "MXFP4", "NVFP4",    "Q1_0",     "Q2_0"};
    return ggml_type < DP_COUNT(names) ? names[ggml_type] : "unknown";
}

size_t dp_dtype_row_bytes(dp_dtype dtype, int64_t n) {
    const dp_dtype_info *info = dp_dtype_get(dtype);
    if (!info || n < 0 || n % info->block) return 0;
    uint64_t blocks = (uint64_t)n / info->block;
    return blocks > SIZE_MAX / info->bytes ? 0 : (size_t)blocks * info->bytes;
}
