/* quant.h: the table of dtypes and the block formats weights are stored in. Byte layouts: docs/RDRR.md.
 * Floor 1. One file per format family implements them; quant.c holds the table. */
#ifndef DP_QUANT_H
#define DP_QUANT_H

#include "base/base.h"

typedef enum dp_dtype {
    DP_F32, DP_F16, DP_BF16,
    DP_Q4_0, DP_Q4_1, DP_Q5_0, DP_Q5_1, DP_Q8_0,
    DP_Q2_K, DP_Q3_K, DP_Q4_K, DP_Q5_K, DP_Q6_K,
    DP_MXFP4,
    DP_U8, DP_I8, DP_I16, DP_I32, DP_I64, DP_F64, /* carried and listed, never multiplied */
    DP_DTYPE_COUNT
} dp_dtype;

typedef struct dp_dtype_info {
    const char *name;   /* "Q4_K" */
    int32_t ggml_type;  /* id in GGUF; -1 if GGUF has none */
    uint16_t block;     /* elements per block */
    uint16_t bytes;     /* per block */
    /* n is a multiple of block. Both are NULL for the integer types and F64. Any alignment of `blocks`. */
    void (*dequantize)(const void *blocks, float *values, size_t n);
    /* Deterministic, the same values as llama.cpp without importance matrix. Block formats take infinities and NaN as 0
     * and never hold either; F32, F16 and BF16 convert as IEEE 754 says. */
    void (*quantize)(const float *values, void *blocks, size_t n);
} dp_dtype_info;

const dp_dtype_info *dp_dtype_get(dp_dtype dtype); /* never NULL for a valid id */
/* By name, without regard to case ("q4_k", "Q4_K_M" means Q4_K, "bfloat16" == "BF16", "float32", "uint8", ...). False if unknown. */
bool dp_dtype_by_name(dp_str name, dp_dtype *out);
bool dp_dtype_by_ggml(uint32_t ggml_type, dp_dtype *out);
/* The name ggml gives to a type id, also one we cannot read (for messages); "unknown" otherwise. */
const char *dp_ggml_type_name(uint32_t ggml_type);
/* Bytes of a row of n elements; 0 if n is no multiple of the block. */
size_t dp_dtype_row_bytes(dp_dtype dtype, int64_t n);

float dp_f16_to_f32(uint16_t h);
uint16_t dp_f32_to_f16(float f); /* round to nearest even */
static inline float dp_bf16_to_f32(uint16_t h) {
    uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}
uint16_t dp_f32_to_bf16(float f); /* round to nearest even, NaN stays NaN */

#endif
