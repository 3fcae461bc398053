// fp16 and bf16 products: weights widened, fp16 by vcvtph2ps, fp32 FMA; tiles of 12 rows x 32 outputs.
#include "avx512.h"

#define F16_VECTORS 1
#define F16_MR 12
#define F16_WIDE 2
#define F16_SINGLE 4
typedef __m512 f16_vector;

AQ_INLINE __m512 f16_zero(void) {
    return _mm512_setzero_ps();
}

AQ_INLINE __m512 f16_load(const float *from) {
    return _mm512_load_ps(from);
}

AQ_INLINE void f16_save(float *to, __m512 value) {
    _mm512_store_ps(to, value);
}

AQ_INLINE __m512 f16_widen(const bool bf16, const uint16_t *from) {
    __m256i half = _mm256_loadu_si256((const __m256i *)from);
    if (bf16) return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
    return _mm512_cvtph_ps(half);
}

AQ_INLINE __m512 f16_add(__m512 a, __m512 b) {
    return _mm512_add_ps(a, b);
}

AQ_INLINE __m512 f16_fma(__m512 acc, __m512 w, const float *x) {
    return _mm512_fmadd_ps(_mm512_set1_ps(*x), w, acc);
}

AQ_INLINE void f16_store(float *y, const __m512 acc[1], size_t columns, bool add) {
    __mmask16 mask = avx512_mask(columns, 0);
    __m512 value = add ? _mm512_add_ps(_mm512_maskz_loadu_ps(mask, y), acc[0]) : acc[0];
    if (columns >= 16)
        _mm512_storeu_ps(y, value); // masked stores are slow on some CPUs
    else
        _mm512_mask_storeu_ps(y, mask, value);
}

#include "../product_f16.h"

void avx512_product_f16(const struct aq_product *p) {
    f16_product(false, p);
}

void avx512_product_bf16(const struct aq_product *p) {
    f16_product(true, p);
}
