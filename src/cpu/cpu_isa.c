/* cpu_isa.c: asks the processor. */
#include "cpu/cpu_isa.h"

#include "host/host.h"

#if defined(__x86_64__) || defined(__i386__)

#include <cpuid.h>

/* Not a name that every compiler's __builtin_cpu_supports knows. */
static bool has_f16c(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c >> 29 & 1);
}

bool dp_isa_has_avx2(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

bool dp_isa_has_avx512_vnni(void) {
    return dp_isa_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
}

/* CPUID leaf 7: subleaf 0 EDX has bit 22 AMX-BF16 and bit 24 AMX-TILE, subleaf 1 EAX bit 5 AVX512-BF16. */
bool dp_isa_has_amx(void) {
    unsigned unused[3], tiles, bf16;
    if (!dp_isa_has_avx512_vnni() || !__get_cpuid_count(7, 0, &unused[0], &unused[1], &unused[2], &tiles)) return false;
    if (!__get_cpuid_count(7, 1, &bf16, &unused[0], &unused[1], &unused[2])) return false;
    return (tiles >> 22 & 1) && (tiles >> 24 & 1) && (bf16 >> 5 & 1) && dp_host_permit_tiles();
}

#else

bool dp_isa_has_avx2(void) { return false; }
bool dp_isa_has_avx512_vnni(void) { return false; }
bool dp_isa_has_amx(void) { return false; }

#endif

#if defined(__aarch64__)
bool dp_isa_has_neon(void) { return true; }
#else
bool dp_isa_has_neon(void) { return false; }
#endif

#if defined(__aarch64__) && defined(__APPLE__)

bool dp_isa_has_dotprod(void) { return true; } /* all of Apple's 64-bit desktop processors */

#elif defined(__aarch64__) && defined(__linux__)

/* Linux answers reads of the identification registers from user space. Bits 47..44: dot products. */
bool dp_isa_has_dotprod(void) {
    unsigned long features;
    __asm__("mrs %0, ID_AA64ISAR0_EL1" : "=r"(features));
    return (features >> 44 & 15) != 0;
}

#else

bool dp_isa_has_dotprod(void) { return false; }

#endif
