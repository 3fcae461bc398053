// vdpbf16ps: two products of bf16 numbers added to an fp32 lane.
#ifndef AQ_AVX512BF16_H
#define AQ_AVX512BF16_H

#include "../avx512/avx512.h"

enum { BF16_NR = 64 };

void avx512_pack_bf16(uint16_t *dst, const uint16_t *src, size_t n, size_t k);
void avx512_product_bf16_dot(const struct aq_product *p);

#endif
