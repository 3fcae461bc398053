// int4 x int4 by the paper's packed multiplier, for comparison with vpmaddubsw (product_i4.c), on the same panels: byte
// 4 * o + j of a step holds output o in its low and output o + 8 in its high nibble, both for input 4 * i + j.
//
// Spread to the two bytes of a 16-bit lane, both weights (0..15) are multiplied by the activation they share (1..15
// after adding 8) in one vpmullw: two products of at most 225. They are added in lanes of 16 bits, at most 128 before
// vpmaddwd widens them: 128 * 225 = 28,800 < 2^15. Then sum w (x + 8) less 8 sum w less 8 sum x = sum (w - 8) x.
#include "avx2.h"

enum { STEP = 32, CHAIN = 128 }; // bytes of four inputs; steps

// Two sums of four lanes an output: outputs 0..3 from `low`, 4..7 from `high`.
AQ_INLINE __m256i outputs_of(__m256i low, __m256i high) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sums = _mm256_hadd_epi32(_mm256_madd_epi16(low, ones), _mm256_madd_epi16(high, ones)); // 0 1 4 5 2 3 6 7
    return _mm256_permute4x64_epi64(sums, _MM_SHUFFLE(3, 1, 2, 0));
}

// Lanes of 16 bits: the nibbles of 16 bytes, one a byte.
AQ_INLINE __m256i spread(const uint8_t *packed) {
    __m256i wide = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)packed));
    return _mm256_and_si256(_mm256_or_si256(wide, _mm256_slli_epi16(wide, 4)), _mm256_set1_epi8(15));
}

// One group: sums of 16 outputs for a row (x: its activations + 8, widened), or of the weights (x NULL).
AQ_INLINE void group_sums(__m256i acc[2], const uint8_t *packed, const int16_t *x, size_t steps) {
    const __m256i low_byte = _mm256_set1_epi16(255), eight = _mm256_set1_epi16(8);
    acc[0] = acc[1] = _mm256_setzero_si256();
    for (size_t start = 0; start < steps; start += CHAIN) {
        __m256i sum[2][2] = {{_mm256_setzero_si256(), _mm256_setzero_si256()},
                             {_mm256_setzero_si256(), _mm256_setzero_si256()}};
        for (size_t i = start; i < aq_min(start + CHAIN, steps); i++) {
            __m256i v = _mm256_set1_epi16(1);
            if (x) {
                int64_t four;
                memcpy(&four, x + 4 * i, sizeof four);
                v = _mm256_add_epi16(_mm256_set1_epi64x(four), eight);
            }
            AQ_UNROLL
            for (size_t h = 0; h < 2; h++) {
                __m256i both = _mm256_mullo_epi16(spread(packed + i * STEP + 16 * h), v);
                sum[0][h] = _mm256_add_epi16(sum[0][h], _mm256_and_si256(both, low_byte));
                sum[1][h] = _mm256_add_epi16(sum[1][h], _mm256_srli_epi16(both, 8));
            }
        }
        AQ_UNROLL
        for (size_t v = 0; v < 2; v++) acc[v] = _mm256_add_epi32(acc[v], outputs_of(sum[v][0], sum[v][1]));
    }
}

static void store_group(const struct aq_product *p, size_t row, size_t output, size_t group, __m256i acc) {
    int32_t lane[8];
    _mm256_storeu_si256((__m256i *)lane, acc);
    for (size_t o = 0; o < 8 && output + o < p->w->n; o++)
        p->accumulators[(row * p->w->n + output + o) * p->w->groups + group] = lane[o];
}

static void one_row(const struct aq_product *p, size_t row, size_t panel, const __m256i (*weights)[2]) {
    const struct aq_matrix *w = p->w;
    size_t ld = p->rows->ld, steps = w->group / 4, output = panel * AVX2_NR;
    const uint8_t *packed = (const uint8_t *)w->weights + panel * w->padded / 4 * STEP;
    __m256 total[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (size_t g = 0; g < w->groups; g++) {
        __m256i acc[2];
        group_sums(acc, packed + g * steps * STEP, p->rows->q16 + row * ld + g * w->group, steps);
        int32_t offset = 0; // -8 * the sum of the group's activations
        for (size_t i = 0; i < w->group / 32; i++) offset += p->rows->offsets[row * (ld / 32) + g * w->group / 32 + i];
        AQ_UNROLL
        for (size_t v = 0; v < 2; v++) {
            acc[v] = _mm256_sub_epi32(acc[v], _mm256_slli_epi32(weights[g][v], 3));
            acc[v] = _mm256_add_epi32(acc[v], _mm256_set1_epi32(offset));
            if (p->accumulators) store_group(p, row, output + 8 * v, g, acc[v]);
            const uint16_t *scale = (const uint16_t *)w->scales + (panel * w->groups + g) * AVX2_NR + 8 * v;
            __m256 wide = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)scale));
            total[v] = _mm256_add_ps(total[v], _mm256_mul_ps(wide, _mm256_cvtepi32_ps(acc[v])));
        }
    }
    if (p->accumulators) return;
    AQ_UNROLL
    for (size_t v = 0; v < 2; v++)
        _mm256_maskstore_ps(p->y + row * p->ldy + output + 8 * v, avx2_mask(w->n, output + 8 * v),
                            _mm256_mul_ps(_mm256_set1_ps(p->rows->scale[row]), total[v]));
}

// The sums of a panel's weights (64 bytes a group, in the scratch memory) are taken once for all rows.
void avx2_product_packed4(const struct aq_product *p) {
    const struct aq_matrix *w = p->w;
    __m256i(*weights)[2] = p->scratch;
    for (size_t panel = p->first; panel < p->last; panel++) {
        const uint8_t *packed = (const uint8_t *)w->weights + panel * w->padded / 4 * STEP;
        for (size_t g = 0; g < w->groups; g++)
            group_sums(weights[g], packed + g * w->group / 4 * STEP, NULL, w->group / 4);
        for (size_t row = 0; row < p->m; row++) one_row(p, row, panel, (const __m256i(*)[2])weights);
    }
}
