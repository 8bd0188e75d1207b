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

/* CPUID leaf 7, subleaf 1: EAX has bit 4 AVX-VNNI and bit 5 AVX512-BF16. */
static bool leaf7_1(int bit) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> bit & 1);
}

bool dp_isa_has_avx_vnni(void) { return dp_isa_has_avx2() && leaf7_1(4); }

/* CPUID leaf 7, subleaf 0: EDX has bit 22 AMX-BF16 and bit 24 AMX-TILE. */
bool dp_isa_has_amx(void) {
    unsigned a, b, c, d;
    if (!dp_isa_has_avx512_vnni() || !leaf7_1(5) || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    return (d >> 22 & 1) && (d >> 24 & 1) && dp_host_permit_tiles();
}

#else

bool dp_isa_has_avx2(void) { return false; }
bool dp_isa_has_avx512_vnni(void) { return false; }
bool dp_isa_has_amx(void) { return false; }
bool dp_isa_has_avx_vnni(void) { return false; }

#endif

#if defined(__aarch64__)
bool dp_isa_has_neon(void) { return true; }
#else
bool dp_isa_has_neon(void) { return false; }
#endif

#if defined(__aarch64__) && defined(__APPLE__)

bool dp_isa_has_dotprod(void) { return true; } /* all of Apple's 64-bit desktop processors */
bool dp_isa_has_i8mm(void) { return false; }   /* from the M2 on; not asked for */

#elif defined(__aarch64__) && defined(__linux__)

/* Linux answers reads of the identification registers from user space. Bits 47..44: dot products. */
bool dp_isa_has_dotprod(void) {
    unsigned long features;
    __asm__("mrs %0, ID_AA64ISAR0_EL1" : "=r"(features));
    return (features >> 44 & 15) != 0;
}

/* Bits 55..52: products of 8-bit matrices. */
bool dp_isa_has_i8mm(void) {
    unsigned long features;
    __asm__("mrs %0, ID_AA64ISAR1_EL1" : "=r"(features));
    return (features >> 52 & 15) != 0 && dp_isa_has_dotprod();
}

#else

bool dp_isa_has_i8mm(void) { return false; }
bool dp_isa_has_dotprod(void) { return false; }

#endif
