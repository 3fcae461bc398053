// vdpbf16ps: two products of bf16 numbers added to an fp32 lane.
#ifndef AQ_AVX512BF16_H
#define AQ_AVX512BF16_H

#include "../avx512/avx512.h"

enum { BF16_NR = 64 };

void avx512_pack_bf16(uint16_t *dst, const uint16_t *src, size_t n, size_t k);
void avx512_product_bf16_dot(const struct aq_product *p);
uint64_t avx512_peak_bf16(size_t rounds);

// By hand: clang 16 crashes on bf16 vectors that come from a broadcast.
AQ_INLINE __m512 avx512_dot_bf16(__m512 acc, __m512i a, __m512i b) {
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
    return acc;
}

#endif
