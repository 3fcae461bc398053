// The multiply instructions alone: twelve chains in registers, enough to hide their latency.
#include "avx512.h"

enum { CHAINS = 12, REPEAT = 8 };

uint64_t avx512_peak_fma(size_t rounds) {
    __m512 acc[CHAINS], w = _mm512_set1_ps(0.5f), x = _mm512_set1_ps(0.25f);
    AQ_UNROLL
    for (int c = 0; c < CHAINS; c++) acc[c] = _mm512_setzero_ps();
    for (size_t i = 0; i < rounds; i++) {
        AQ_UNROLL
        for (int r = 0; r < REPEAT; r++) {
            AQ_UNROLL
            for (int c = 0; c < CHAINS; c++) acc[c] = _mm512_fmadd_ps(w, x, acc[c]);
        }
    }
    AQ_UNROLL
    for (int c = 0; c < CHAINS; c++) __asm__ __volatile__("" : : "v"(acc[c]));
    return (uint64_t)rounds * REPEAT * CHAINS * 16 * 2;
}

uint64_t avx512_peak_vnni(size_t rounds) {
    __m512i acc[CHAINS], w = _mm512_set1_epi8(3), x = _mm512_set1_epi8(1);
    AQ_UNROLL
    for (int c = 0; c < CHAINS; c++) acc[c] = _mm512_setzero_si512();
    for (size_t i = 0; i < rounds; i++) {
        AQ_UNROLL
        for (int r = 0; r < REPEAT; r++) {
            AQ_UNROLL
            for (int c = 0; c < CHAINS; c++) acc[c] = _mm512_dpbusd_epi32(acc[c], w, x);
        }
    }
    AQ_UNROLL
    for (int c = 0; c < CHAINS; c++) __asm__ __volatile__("" : : "v"(acc[c]));
    return (uint64_t)rounds * REPEAT * CHAINS * 64 * 2;
}
