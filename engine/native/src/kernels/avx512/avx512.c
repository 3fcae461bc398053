// AVX-512 with VNNI: one table. Products are in product_*.c beside it.
#include "avx512.h"

#include "../elementwise.h"

#include <cpuid.h>

// The compiler's CPU check asks the operating system for the wide registers too.
static bool supported(void) {
    unsigned a, b, c, d;
    bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C); // not every compiler has a name for it
    return f16c && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

// The larger of a block of widened fp16 weights and a panel of unpacked int4 weights (k rounded to a group).
static size_t scratch_bytes(size_t k) {
    return aq_max(AQ_F16_BLOCK * 16 * sizeof(float), aq_round_up(k, 128) * I4_NR);
}

static void widen(float *dst, const uint16_t *src, size_t n) {
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(dst + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(src + i))));
    for (; i < n; i++) dst[i] = aq_half_to_float(src[i]);
}

static void narrow(uint16_t *dst, const float *src, size_t n) {
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm256_storeu_si256((__m256i *)(dst + i), _mm512_cvtps_ph(_mm512_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT));
    for (; i < n; i++) dst[i] = aq_float_to_half(src[i]);
}

extern const struct aq_kernels aq_kernels_avx512;
const struct aq_kernels aq_kernels_avx512 = {
    .isa = "avx512vnni",
    .description = {"fp16 weights by vcvtph2ps, fp32 FMA", "uint8 x int8, vpdpbusd", "uint4 x int8, vpdpbusd"},
    .supported = supported,
    .panel = {16, I8_NR, I4_NR},
    .scratch_bytes = scratch_bytes,
    .pack_f16 = aq_pack_f16,
    .pack_i8 = avx512_pack_i8,
    .pack_i4 = avx512_pack_i4,
    .k_unit_i8 = 4,
    .product = {avx512_product_f16, avx512_product_i8, avx512_product_i4},
    .widen = widen,
    .narrow = narrow,
    AQ_ELEMENTWISE,
};
