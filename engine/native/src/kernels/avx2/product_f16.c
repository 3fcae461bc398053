// fp16 and bf16 products: weights widened, fp16 by F16C, fp32 FMA; tiles of 6 rows x 16 outputs.
#include "avx2.h"

#define F16_VECTORS 2
#define F16_MR AVX2_MR
#define F16_WIDE 1
#define F16_SINGLE 4
typedef __m256 f16_vector;

AQ_INLINE __m256 f16_zero(void) {
    return _mm256_setzero_ps();
}

AQ_INLINE __m256 f16_load(const float *from) {
    return _mm256_load_ps(from);
}

AQ_INLINE void f16_save(float *to, __m256 value) {
    _mm256_store_ps(to, value);
}

AQ_INLINE __m256 f16_widen(const bool bf16, const uint16_t *from) {
    __m128i half = _mm_loadu_si128((const __m128i *)from);
    if (bf16) return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
    return _mm256_cvtph_ps(half);
}

AQ_INLINE __m256 f16_add(__m256 a, __m256 b) {
    return _mm256_add_ps(a, b);
}

AQ_INLINE __m256 f16_fma(__m256 acc, __m256 w, const float *x) {
    return _mm256_fmadd_ps(_mm256_broadcast_ss(x), w, acc);
}

AQ_INLINE void f16_store(float *y, const __m256 acc[2], size_t columns, bool add) {
    AQ_UNROLL
    for (size_t v = 0; v < 2; v++) {
        __m256i mask = avx2_mask(columns, 8 * v);
        __m256 value = add ? _mm256_add_ps(_mm256_maskload_ps(y + 8 * v, mask), acc[v]) : acc[v];
        if (columns >= 8 * v + 8)
            _mm256_storeu_ps(y + 8 * v, value); // masked stores are slow on some CPUs
        else
            _mm256_maskstore_ps(y + 8 * v, mask, value);
    }
}

#include "../product_f16.h"

void avx2_product_f16(const struct aq_product *p) {
    f16_product(false, p);
}

void avx2_product_bf16(const struct aq_product *p) {
    f16_product(true, p);
}
