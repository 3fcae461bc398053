// What multiplies in each format, alone: ten chains in registers.
#include "avx2.h"

enum { CHAINS = 10, REPEAT = 8 };

uint64_t avx2_peak_fma(size_t rounds) {
    __m256 acc[CHAINS], w = _mm256_set1_ps(0.5f), x = _mm256_set1_ps(0.25f);
    AQ_UNROLL
    for (int c = 0; c < CHAINS; c++) acc[c] = _mm256_setzero_ps();
    for (size_t i = 0; i < rounds; i++) {
        AQ_UNROLL
        for (int r = 0; r < REPEAT; r++) {
            AQ_UNROLL
            for (int c = 0; c < CHAINS; c++) acc[c] = _mm256_fmadd_ps(w, x, acc[c]);
        }
    }
    AQ_UNROLL
    for (int c = 0; c < CHAINS; c++) __asm__ __volatile__("" : : "x"(acc[c]));
    return (uint64_t)rounds * REPEAT * CHAINS * 8 * 2;
}

// The product of the same two registers would be computed once for all chains; the empty statement hides that it is.
AQ_INLINE __m256i hide(__m256i v) {
    __asm__("" : "+x"(v));
    return v;
}

// vpmaddwd and vpaddd
uint64_t avx2_peak_i8(size_t rounds) {
    __m256i acc[CHAINS], w = _mm256_set1_epi16(3), x = _mm256_set1_epi16(1);
    AQ_UNROLL
    for (int c = 0; c < CHAINS; c++) acc[c] = _mm256_setzero_si256();
    for (size_t i = 0; i < rounds; i++) {
        AQ_UNROLL
        for (int r = 0; r < REPEAT; r++) {
            AQ_UNROLL
            for (int c = 0; c < CHAINS; c++) {
                w = hide(w);
                acc[c] = _mm256_add_epi32(acc[c], _mm256_madd_epi16(w, x));
            }
        }
    }
    AQ_UNROLL
    for (int c = 0; c < CHAINS; c++) __asm__ __volatile__("" : : "x"(acc[c]));
    return (uint64_t)rounds * REPEAT * CHAINS * 16 * 2;
}

// vpmaddubsw and vpaddw
uint64_t avx2_peak_i4(size_t rounds) {
    __m256i acc[CHAINS], w = _mm256_set1_epi8(3), x = _mm256_set1_epi8(1);
    AQ_UNROLL
    for (int c = 0; c < CHAINS; c++) acc[c] = _mm256_setzero_si256();
    for (size_t i = 0; i < rounds; i++) {
        AQ_UNROLL
        for (int r = 0; r < REPEAT; r++) {
            AQ_UNROLL
            for (int c = 0; c < CHAINS; c++) {
                w = hide(w);
                acc[c] = _mm256_add_epi16(acc[c], _mm256_maddubs_epi16(w, x));
            }
        }
    }
    AQ_UNROLL
    for (int c = 0; c < CHAINS; c++) __asm__ __volatile__("" : : "x"(acc[c]));
    return (uint64_t)rounds * REPEAT * CHAINS * 32 * 2;
}
