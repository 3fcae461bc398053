// AVX2 + FMA + F16C: one table. Products are in product_*.c beside it.
#include "avx2.h"

#include "../elementwise.h"

#include <cpuid.h>

bool avx2_supported(void) {
    unsigned a, b, c, d;
    bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C); // not every compiler has a name for it
    return f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

// The largest of: a block of widened fp16 weights, a panel of int8 weights widened to 16 bits (k rounded to even),
// a panel of unpacked int4 weights (k rounded to a group).
size_t avx2_scratch_bytes(size_t k) {
    return aq_max(AQ_F16_BLOCK * AVX2_NR * sizeof(float), aq_round_up(k, 128) * AVX2_NR * sizeof(int16_t));
}

void avx2_widen(float *dst, const uint16_t *src, size_t n) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(src + i))));
    for (; i < n; i++) dst[i] = aq_half_to_float(src[i]);
}

void avx2_narrow(uint16_t *dst, const float *src, size_t n) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(dst + i), _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT));
    for (; i < n; i++) dst[i] = aq_float_to_half(src[i]);
}

extern const struct aq_kernels aq_kernels_avx2;
const struct aq_kernels aq_kernels_avx2 = {
    .isa = "avx2",
    .description = {"fp16 weights by F16C, fp32 FMA", "int8 x int8, vpmovsxbw + vpmaddwd",
                    "uint4 x int8, vpmaddubsw, 16-bit chains", "bf16 weights widened, fp32 FMA"},
    .supported = avx2_supported,
    .panel = {AVX2_NR, AVX2_NR, AVX2_NR, AVX2_NR},
    .scratch_bytes = avx2_scratch_bytes,
    .pack_f16 = aq_pack_f16,
    .pack_i8 = avx2_pack_i8,
    .pack_i4 = avx2_pack_i4,
    .pack_bf16 = aq_pack_f16,
    .k_unit_i8 = 2,
    .product = {avx2_product_f16, avx2_product_i8, avx2_product_i4, avx2_product_bf16},
    .peak = {avx2_peak_fma, avx2_peak_i8, avx2_peak_i4, avx2_peak_fma},
    .product_packed4 = avx2_product_packed4,
    .widen = avx2_widen,
    .narrow = avx2_narrow,
    AQ_ELEMENTWISE,
};
