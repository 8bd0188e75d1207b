/* cpu_isa.h: which instruction sets this processor has, the operating system's support included. Floor 4. */
#ifndef DP_CPU_ISA_H
#define DP_CPU_ISA_H

#include <stdbool.h>

bool dp_isa_has_avx2(void);        /* with FMA and F16C */
bool dp_isa_has_avx_vnni(void);    /* AVX2, and VNNI in its encoding */
bool dp_isa_has_avx512_vnni(void); /* F, BW, VL, DQ and VNNI */
bool dp_isa_has_amx(void);         /* AVX-512 with VNNI and BF16, AMX-BF16, and the system's leave to use it */
bool dp_isa_has_neon(void);
bool dp_isa_has_dotprod(void);
bool dp_isa_has_i8mm(void);        /* dot products too */

#endif
