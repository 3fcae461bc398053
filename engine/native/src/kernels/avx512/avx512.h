// Shared by the AVX-512 VNNI kernels. Vectors have sixteen 32-bit lanes; integer tiles have 6 rows, their panels as
// many outputs as fill the 32 registers. fp16 panels have 16 outputs, as everywhere.
#ifndef AQ_AVX512_H
#define AQ_AVX512_H

#include "../half.h"
#include "../kernels.h"
#include "../tiles.h"

#include <immintrin.h>

enum { F16_NR = 16, I8_NR = 64, I4_NR = 32, VNNI_MR = 6 };

bool avx512_supported(void);
size_t avx512_scratch_bytes(size_t k);
void avx512_widen(float *dst, const uint16_t *src, size_t n);
void avx512_narrow(uint16_t *dst, const float *src, size_t n);
size_t avx512_scratch_i4(size_t k);
uint64_t avx512_peak_fma(size_t rounds);
uint64_t avx512_peak_vnni(size_t rounds);
void avx512_pack_i8(int8_t *dst, const int8_t *src, size_t n, size_t k);
void avx512_pack_i4(uint8_t *dst, const uint8_t *src, size_t n, size_t padded);
void avx512_product_f16(const struct aq_product *p);
void avx512_product_bf16(const struct aq_product *p);
void avx512_product_i8(const struct aq_product *p);
void avx512_product_i4(const struct aq_product *p);

// What the tables with and without vdpbf16ps share.
#define AVX512_DESCRIPTIONS "fp16 weights by vcvtph2ps, fp32 FMA", "uint8 x int8, vpdpbusd", "uint4 x int8, vpdpbusd"
#define AVX512_PRODUCTS avx512_product_f16, avx512_product_i8, avx512_product_i4
#define AVX512_PEAKS avx512_peak_fma, avx512_peak_vnni, avx512_peak_vnni
#define AVX512_COMMON                                                                                                  \
    .scratch_bytes = avx512_scratch_bytes, .pack_f16 = aq_pack_f16, .pack_i8 = avx512_pack_i8,                         \
    .pack_i4 = avx512_pack_i4, .k_unit_i8 = 4, .widen = avx512_widen, .narrow = avx512_narrow

// Of `columns` outputs, those that are lanes of the vector that starts at output `from`.
AQ_INLINE __mmask16 avx512_mask(size_t columns, size_t from) {
    if (columns >= from + 16) return 0xffff;
    return columns > from ? (__mmask16)((1u << (columns - from)) - 1) : 0;
}

// Four activations of a row in every lane.
AQ_INLINE __m512i avx512_quad(const int8_t *x) {
    int32_t quad;
    memcpy(&quad, x, sizeof quad);
    return _mm512_set1_epi32(quad);
}

#endif
