// Shared by the AVX2 kernels. Every format has panels of 16 outputs: two vectors of eight 32-bit lanes. Tiles are 6
// rows x 16 outputs: 12 accumulators, 2 weights, 1 activation and 1 temporary fill the 16 registers.
#ifndef AQ_AVX2_H
#define AQ_AVX2_H

#include "../half.h"
#include "../kernels.h"
#include "../tiles.h"

#include <immintrin.h>

enum { AVX2_NR = 16, AVX2_MR = 6 };

bool avx2_supported(void);
size_t avx2_scratch_bytes(size_t k);
void avx2_widen(float *dst, const uint16_t *src, size_t n);
void avx2_narrow(uint16_t *dst, const float *src, size_t n);
uint64_t avx2_peak_fma(size_t rounds);
uint64_t avx2_peak_i8(size_t rounds);
uint64_t avx2_peak_i4(size_t rounds);
void avx2_pack_i8(int8_t *dst, const int8_t *src, size_t n, size_t k);
void avx2_pack_i4(uint8_t *dst, const uint8_t *src, size_t n, size_t padded);
void avx2_product_f16(const struct aq_product *p);
void avx2_product_bf16(const struct aq_product *p);
void avx2_product_i8(const struct aq_product *p);
void avx2_product_i4(const struct aq_product *p);
void avx2_product_packed4(const struct aq_product *p);

// Lanes 0..columns-1 of the panel's half that starts at output `from` are stored.
AQ_INLINE __m256i avx2_mask(size_t columns, size_t from) {
    int left = columns > from ? (int)(columns - from) : 0;
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(left), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

#endif
