// Products of bf16 numbers by BFDOT (FEAT_BF16: Cortex-A710, Neoverse N2 and V1 and later).
#ifndef AQ_NEON_BF16_H
#define AQ_NEON_BF16_H

#include "../neon_i8mm/neon_i8mm.h"

enum { BF16_NR = 8, BF16_MR = 8 };

void bf16_pack(uint16_t *dst, const uint16_t *src, size_t n, size_t k);
void bf16_product_dot(const struct aq_product *p);

#endif
