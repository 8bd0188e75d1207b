/* quant_k_write.c: quantising to the super-block formats; their layouts stand in quant_k.c. Sub-block scales come from
 * quant_k_search.c; here they are rounded to integers in units of the super-block's d (and dmin), and the elements are
 * then coded with the scales as a reader will see them. Blocks equal llama.cpp's to the byte, except that where a scale
 * rounds to 0 all codes are the code of 0 (there any code reads as the same value). */
#include "quant/quant_k.h"
#include "quant/quant_k_search.h"

#include <math.h>

enum { SUPER = 256 };

/* Far below what an f16 can hold as a unit: the block is then zero, whatever its codes. */
#define NEGLIGIBLE 1e-20f

/* code = round((x + shift) / scale) within low..high, counted from low. A zero scale gives the code of 0. */
typedef struct grid {
    float scale, shift, low, high;
} grid;

static void encode(const grid *g, const float *x, int size, uint8_t *codes) {
    if (g->scale == 0.0f) {
        memset(codes, (int)-g->low, (size_t)size);
        return;
    }
    for (int i = 0; i < size; i++) {
        float code = round_even((x[i] + g->shift) / g->scale);
        code = code < g->low ? g->low : code;
        code = code > g->high ? g->high : code;
        codes[i] = (uint8_t)(int)(code - g->low);
    }
}

static float largest_of(const float *v, int n) {
    float largest = 0.0f;
    for (int i = 0; i < n; i++) largest = v[i] > largest ? v[i] : largest;
    return largest;
}

/* The first value of greatest magnitude, with its sign. */
static float extreme_of(const float *v, int n) {
    float extreme = 0.0f;
    for (int i = 0; i < n; i++) extreme = fabsf(v[i]) > fabsf(extreme) ? v[i] : extreme;
    return extreme;
}

/* The f16 unit in which the largest of `n` values is `top`, stored at `out`, and the values in that unit. */
static float store_unit(uint8_t *out, const float *v, int n, int top, uint8_t *levels) {
    float largest = largest_of(v, n), inverse = largest > NEGLIGIBLE ? (float)top / largest : 0.0f;
    for (int i = 0; i < n; i++) {
        int level = (int)round_even(inverse * v[i]);
        levels[i] = (uint8_t)DP_MIN(level, top);
    }
    quant_store_f16(out, largest / (float)top);
    return quant_load_f16(out);
}

/* Two-bit fields: 32 bytes hold 4 x 32 elements, lowest bits first. */
static void pack_pairs(const uint8_t *codes, uint8_t *out) {
    for (int half = 0; half < 2; half++, codes += 128, out += 32) {
        for (int l = 0; l < 32; l++) {
            out[l] = (uint8_t)((codes[l] & 3) | (codes[l + 32] & 3) << 2 | (codes[l + 64] & 3) << 4 |
                               (codes[l + 96] & 3) << 6);
        }
    }
}

/* ---- Q4_K, Q5_K: eight sub-blocks of 32 with scale and minimum of six bits ---- */

typedef struct fits {
    float scale[16], min[16];
} fits;

static void store_fit(fits *all, int first, range_fit fit) {
    for (int k = 0; k < LANES; k++) {
        all->scale[first + k] = fit.scale[k];
        all->min[first + k] = fit.min[k];
    }
}

/* Weight of an element: its magnitude above the root mean square of the sub-block. */
static void weigh_by_deviation(const lanes *x, lanes *weights) {
    lanes squares = lanes_all(0);
    for (int i = 0; i < 32; i++) squares += x[i] * x[i];
    for (int k = 0; k < LANES; k++) squares[k] = sqrtf(squares[k] / 32.0f);
    for (int i = 0; i < 32; i++) weights[i] = squares + lanes_abs(x[i]);
}

static void fit_of_32(const float *x, range_search search, fits *all) {
    lanes columns[32], weights[32];
    search.x = columns;
    search.weights = weights;
    search.size = 32;
    for (int j = 0; j < 8; j += LANES) {
        search_load(x + 32 * j, 32, columns);
        weigh_by_deviation(columns, weights);
        store_fit(all, j, search_range(&search));
    }
}

/* Scales and minimums as quant_k_scale_min reads them. */
static void pack_scale_min(const uint8_t *scale, const uint8_t *min, uint8_t *packed) {
    for (int j = 0; j < 4; j++) {
        packed[j] = (uint8_t)(scale[j] | scale[j + 4] >> 4 << 6);
        packed[j + 4] = (uint8_t)(min[j] | min[j + 4] >> 4 << 6);
        packed[j + 8] = (uint8_t)((scale[j + 4] & 15) | (min[j + 4] & 15) << 4);
    }
}

/* Bytes 0..15, the same in both formats, and the codes of all elements. */
static void encode_of_32(const float *x, const range_search *search, uint8_t *block, uint8_t *codes) {
    fits all;
    uint8_t scale[8], min[8];
    fit_of_32(x, *search, &all);
    float d = store_unit(block, all.scale, 8, 63, scale), dmin = store_unit(block + 2, all.min, 8, 63, min);
    pack_scale_min(scale, min, block + 4);
    for (int j = 0; j < 8; j++) {
        grid g = {d * (float)scale[j], dmin * (float)min[j], 0, search->top};
        encode(&g, x + 32 * j, 32, codes + 32 * j);
    }
}

/* Nibbles: 32 bytes hold 2 x 32 elements, low nibbles first. */
static void pack_nibbles(const uint8_t *codes, uint8_t *out) {
    for (int pair = 0; pair < 4; pair++, codes += 64, out += 32) {
        for (int l = 0; l < 32; l++) out[l] = (uint8_t)((codes[l] & 15) | (codes[l + 32] & 15) << 4);
    }
}

static void write_block_q4_k(const float *x, uint8_t *block) {
    static const range_search search = {.top = 15, .first = -1.0f, .step = 0.1f, .steps = 20};
    uint8_t codes[SUPER];
    encode_of_32(x, &search, block, codes);
    pack_nibbles(codes, block + 16);
}

static void write_block_q5_k(const float *x, uint8_t *block) {
    static const range_search search = {.top = 31, .first = -0.5f, .step = 0.1f, .steps = 15};
    uint8_t codes[SUPER];
    encode_of_32(x, &search, block, codes);
    pack_nibbles(codes, block + 48);
    memset(block + 16, 0, 32);
    for (int j = 0; j < 8; j++) {
        for (int l = 0; l < 32; l++) block[16 + l] |= (uint8_t)(codes[32 * j + l] >> 4 << j);
    }
}

/* ---- Q2_K: sixteen sub-blocks of 16 with scale and minimum of four bits ---- */

static void write_block_q2_k(const float *x, uint8_t *block) {
    lanes columns[16], weights[16];
    range_search search = {columns, weights, 16, .top = 3, .first = -0.5f, .step = 0.1f, .steps = 15, .absolute = true};
    fits all;
    for (int j = 0; j < 16; j += LANES) {
        search_load(x + 16 * j, 16, columns);
        for (int i = 0; i < 16; i++) weights[i] = lanes_abs(columns[i]);
        store_fit(&all, j, search_range(&search));
    }
    uint8_t scale[16], min[16], codes[SUPER];
    float d = store_unit(block + 80, all.scale, 16, 15, scale), dmin = store_unit(block + 82, all.min, 16, 15, min);
    for (int j = 0; j < 16; j++) {
        block[j] = (uint8_t)(scale[j] | min[j] << 4);
        grid g = {d * (float)scale[j], dmin * (float)min[j], 0, 3};
        encode(&g, x + 16 * j, 16, codes + 16 * j);
    }
    pack_pairs(codes, block + 16);
}

/* ---- Q3_K, Q6_K: sixteen sub-blocks of 16 with a signed scale ---- */

static void scales_of_16(const float *x, lanes (*search)(const lanes *x, float half), float half, float *scales) {
    lanes columns[16];
    for (int j = 0; j < 16; j += LANES) {
        search_load(x + 16 * j, 16, columns);
        lanes scale = search(columns, half);
        for (int k = 0; k < LANES; k++) scales[j + k] = scale[k];
    }
}

/* The f16 unit in which the scale of greatest magnitude is -top, stored at `out`; the scales in that unit. */
static float store_signed_unit(uint8_t *out, const float *scales, int top, int8_t *levels) {
    float extreme = extreme_of(scales, 16);
    float inverse = fabsf(extreme) > NEGLIGIBLE ? (float)-top / extreme : 0.0f;
    for (int j = 0; j < 16; j++) {
        int level = (int)round_even(inverse * scales[j]);
        levels[j] = (int8_t)DP_MAX(-top, DP_MIN(level, top - 1));
    }
    quant_store_f16(out, inverse != 0.0f ? 1.0f / inverse : 0.0f);
    return quant_load_f16(out);
}

static void write_block_q3_k(const float *x, uint8_t *block) {
    float scales[16];
    int8_t levels[16];
    uint8_t codes[SUPER], *packed = block + 96;
    scales_of_16(x, search_scale_by_codes, 4, scales);
    float d = store_signed_unit(block + 108, scales, 32, levels);
    memset(packed, 0, 12);
    for (int j = 0; j < 16; j++) {
        unsigned level = (unsigned)(levels[j] + 32);
        packed[j % 8] |= (uint8_t)((level & 15) << j / 8 * 4);
        packed[8 + j % 4] |= (uint8_t)(level >> 4 << j / 4 * 2);
        grid g = {d * (float)levels[j], 0, -4, 3};
        encode(&g, x + 16 * j, 16, codes + 16 * j);
    }
    pack_pairs(codes, block + 32);
    memset(block, 0, 32);
    for (int j = 0; j < 8; j++) {
        for (int l = 0; l < 32; l++) block[l] |= (uint8_t)(codes[32 * j + l] >> 2 << j);
    }
}

static void write_block_q6_k(const float *x, uint8_t *block) {
    float scales[16];
    int8_t levels[16];
    uint8_t codes[SUPER];
    scales_of_16(x, search_scale, 32, scales);
    float d = store_signed_unit(block + 208, scales, 128, levels);
    memcpy(block + 192, levels, 16);
    for (int j = 0; j < 16; j++) {
        grid g = {d * (float)levels[j], 0, -32, 31};
        encode(&g, x + 16 * j, 16, codes + 16 * j);
    }
    for (int h = 0; h < 2; h++) {
        const uint8_t *c = codes + 128 * h;
        uint8_t *low = block + 64 * h, *high = block + 128 + 32 * h;
        for (int l = 0; l < 64; l++) low[l] = (uint8_t)((c[l] & 15) | (c[l + 64] & 15) << 4);
        for (int l = 0; l < 32; l++) {
            high[l] = (uint8_t)(c[l] >> 4 | c[l + 32] >> 4 << 2 | c[l + 64] >> 4 << 4 | c[l + 96] >> 4 << 6);
        }
    }
}

#define WRITE(name, bytes)                                                                                             \
    void quant_write_##name(const float *values, void *blocks, size_t n) {                                             \
        uint8_t *block = blocks;                                                                                       \
        float x[SUPER];                                                                                                \
        for (size_t i = 0; i < n; i += SUPER, block += (bytes)) {                                                      \
            quant_clean(values + i, x, SUPER);                                                                         \
            write_block_##name(x, block);                                                                              \
        }                                                                                                              \
    }
WRITE(q2_k, Q2_K_BYTES)
WRITE(q3_k, Q3_K_BYTES)
WRITE(q4_k, Q4_K_BYTES)
WRITE(q5_k, Q5_K_BYTES)
WRITE(q6_k, Q6_K_BYTES)
