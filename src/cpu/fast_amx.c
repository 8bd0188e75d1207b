/* fast_amx.c: kernels for AVX-512 with VNNI and BF16 and AMX-BF16 (Sapphire Rapids and later). Few tokens are multiplied
 * as in fast_avx512.c, on tiles those that fill one: unpacking to bf16 takes five times as long as filling a panel of bytes. */
#include "cpu/fast.h"

#if defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__AVX512VNNI__)

#include "cpu/fast_avx512.h"
#include "cpu/fast_amx.h"

#define DOT_TILE few_tile
#define PANEL_TILE packed_tile
#define PACK_TOKENS pack_tokens
#define TASK_ROWS GROUP_ROWS
#define SPIN_HALVES spin_tiles
#include "cpu/fast_table.h"

KERNELS(amx, "amx-bf16, avx512+vnni", 16)

#else

const dp_cpu_kernels *dp_kernels_amx(void) { return NULL; }

#endif
