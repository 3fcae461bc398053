// int8 x int8 -> int32. Panel: [k / 2][16 outputs][2] int8, widened to 16 bits and multiplied in pairs by vpmaddwd.
//
// Bounds: a pair sum is at most 2 * 127 * 127 = 32,258 in an int32 lane; the lane sums k / 2 of them, at most
// 65,536 * 32,258 = 2,114,060,288 < 2^31 for k <= 131,072. (vpmaddubsw would save nothing: s8 x s8 needs a sign
// transfer a row and its 16-bit pairs leave no room to add two.)
#include "avx2.h"

void avx2_pack_i8(int8_t *dst, const int8_t *src, size_t n, size_t k) {
    size_t pairs = (k + 1) / 2;
    for (size_t first = 0; first < n; first += AVX2_NR, dst += pairs * 2 * AVX2_NR)
        for (size_t j = 0; j < AVX2_NR; j++)
            for (size_t i = 0; i < pairs * 2; i++)
                dst[(i / 2 * AVX2_NR + j) * 2 + i % 2] = first + j < n && i < k ? src[(first + j) * k + i] : 0;
}

AQ_INLINE __m256i load_pairs(const int8_t *w) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)w));
}

AQ_INLINE __m256i broadcast_pair(const int16_t *x) {
    int32_t pair;
    memcpy(&pair, x, sizeof pair);
    return _mm256_set1_epi32(pair);
}

// y = s_x * (s_w * (float)acc); no FMA, so that all instruction sets round alike.
AQ_INLINE void store(const struct aq_product *p, size_t row, size_t output, __m256i acc, size_t columns, size_t from) {
    __m256i mask = avx2_mask(columns, from);
    if (p->accumulators) {
        _mm256_maskstore_epi32(p->accumulators + row * p->w->n + output, mask, acc);
        return;
    }
    __m256 scale = _mm256_maskload_ps((const float *)p->w->scales + output, mask);
    __m256 y = _mm256_mul_ps(_mm256_set1_ps(p->rows->scale[row]), _mm256_mul_ps(scale, _mm256_cvtepi32_ps(acc)));
    float *out = p->y + row * p->ldy + output;
    if (columns >= from + 8)
        _mm256_storeu_ps(out, y);
    else
        _mm256_maskstore_ps(out, mask, y);
}

// Weights: widened (wide) or as packed (narrow).
AQ_INLINE void tile(const int rows, const struct aq_product *p, size_t row, size_t panel, const int16_t *wide,
                    const int8_t *narrow) {
    size_t pairs = (p->w->k + 1) / 2, ld = p->rows->ld;
    const int16_t *x = p->rows->q16 + row * ld;
    __m256i acc[AVX2_MR][2];
    AQ_UNROLL
    for (int r = 0; r < rows; r++) acc[r][0] = acc[r][1] = _mm256_setzero_si256();
    for (size_t i = 0; i < pairs; i++) {
        __m256i w0 = wide ? _mm256_load_si256((const __m256i *)(wide + i * 32)) : load_pairs(narrow + i * 32);
        __m256i w1 = wide ? _mm256_load_si256((const __m256i *)(wide + i * 32 + 16)) : load_pairs(narrow + i * 32 + 16);
        AQ_UNROLL
        for (int r = 0; r < rows; r++) {
            __m256i v = broadcast_pair(x + (size_t)r * ld + 2 * i);
            acc[r][0] = _mm256_add_epi32(acc[r][0], _mm256_madd_epi16(v, w0));
            acc[r][1] = _mm256_add_epi32(acc[r][1], _mm256_madd_epi16(v, w1));
        }
    }
    size_t columns = p->w->n - panel * AVX2_NR;
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        store(p, row + (size_t)r, panel * AVX2_NR, acc[r][0], columns, 0);
        if (columns > 8) store(p, row + (size_t)r, panel * AVX2_NR + 8, acc[r][1], columns, 8);
    }
}

void avx2_product_i8(const struct aq_product *p) {
    size_t bytes = (p->w->k + 1) / 2 * 2 * AVX2_NR;
    for (size_t panel = p->first; panel < p->last; panel++) {
        const int8_t *narrow = (const int8_t *)p->w->weights + panel * bytes;
        if (p->m <= AVX2_MR) {
#define TILE(rows) tile(rows, p, row, panel, NULL, narrow)
            AQ_FOR_TILES(p->m, AVX2_MR, TILE);
#undef TILE
            continue;
        }
        int16_t *wide = p->scratch; // widened once for all rows
        for (size_t i = 0; i < bytes; i += 16) _mm256_store_si256((__m256i *)(wide + i), load_pairs(narrow + i));
#define TILE(rows) tile(rows, p, row, panel, wide, NULL)
        AQ_FOR_TILES(p->m, AVX2_MR, TILE);
#undef TILE
    }
}
