// AVX-VNNI: VEX-encoded vpdpbusd, 16 registers.
#include <cpuid.h>
#include <immintrin.h>

#define VNNI_ISA "avxvnni"
#define VNNI_TABLE aq_kernels_avxvnni
#define VNNI_DOT _mm256_dpbusd_avx_epi32

#include "../avx2/avx2.h"

static bool supported(void) {
    unsigned a, b, c, d;
    bool vnni = __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4); // not every compiler has a name for it
    return vnni && avx2_supported();
}

#include "vnni256.h"
