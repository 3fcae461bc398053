// The AVX-VNNI kernels in EVEX encoding, for tests on CPUs with AVX-512, which have a faster table of their own.
#include <immintrin.h>

#define VNNI_ISA "avxvnni-evex"
#define VNNI_TABLE aq_kernels_avxvnni_evex
#define VNNI_DOT _mm256_dpbusd_epi32

#include "../avx2/avx2.h"

static bool supported(void) {
    return avx2_supported() && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") &&
           __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
}

#include "vnni256.h"
