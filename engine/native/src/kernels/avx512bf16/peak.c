// vdpbf16ps alone: twelve chains in registers.
#include "avx512bf16.h"

enum { CHAINS = 12, REPEAT = 8 };

uint64_t avx512_peak_bf16(size_t rounds) {
    __m512 acc[CHAINS];
    __m512i w = _mm512_set1_epi16(0x3f00), x = _mm512_set1_epi16(0x3e80);
    AQ_UNROLL
    for (int c = 0; c < CHAINS; c++) acc[c] = _mm512_setzero_ps();
    for (size_t i = 0; i < rounds; i++) {
        AQ_UNROLL
        for (int r = 0; r < REPEAT; r++) {
            AQ_UNROLL
            for (int c = 0; c < CHAINS; c++) acc[c] = avx512_dot_bf16(acc[c], w, x);
        }
    }
    AQ_UNROLL
    for (int c = 0; c < CHAINS; c++) __asm__ __volatile__("" : : "v"(acc[c]));
    return (uint64_t)rounds * REPEAT * CHAINS * 32 * 2;
}
