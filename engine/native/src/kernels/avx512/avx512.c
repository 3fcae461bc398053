// AVX-512 with VNNI: one table. Products are in product_*.c beside it.
#include "avx512.h"

#include "../elementwise.h"

#include <cpuid.h>

// The compiler's CPU check asks the operating system for the wide registers too.
bool avx512_supported(void) {
    unsigned a, b, c, d;
    bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C); // not every compiler has a name for it
    return f16c && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

size_t avx512_scratch_bytes(size_t k) {
    return avx512_scratch_i4(k); // int4 alone needs some
}

void avx512_widen(float *dst, const uint16_t *src, size_t n) {
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(dst + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(src + i))));
    for (; i < n; i++) dst[i] = aq_half_to_float(src[i]);
}

void avx512_narrow(uint16_t *dst, const float *src, size_t n) {
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm256_storeu_si256((__m256i *)(dst + i), _mm512_cvtps_ph(_mm512_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT));
    for (; i < n; i++) dst[i] = aq_float_to_half(src[i]);
}

extern const struct aq_kernels aq_kernels_avx512;
const struct aq_kernels aq_kernels_avx512 = {
    .isa = "avx512vnni",
    .description = {AVX512_DESCRIPTIONS, "bf16 weights widened, fp32 FMA"},
    .supported = avx512_supported,
    .panel = {F16_NR, I8_NR, I4_NR, F16_NR},
    .pack_bf16 = aq_pack_f16,
    .product = {AVX512_PRODUCTS, avx512_product_bf16},
    .peak = {AVX512_PEAKS, avx512_peak_fma},
    AVX512_COMMON,
    AQ_ELEMENTWISE,
};
