// Shared by the kernels for Armv8.2-A with dot products (Cortex-A76, Neoverse N1 and later).
#ifndef AQ_NEON_DOTPROD_H
#define AQ_NEON_DOTPROD_H

#include "../neon/neon.h"

enum { DOT_NR = 8, DOT_MR_I8 = 8, DOT_MR_I4 = 4 };

void dotprod_pack_i8(int8_t *dst, const int8_t *src, size_t n, size_t k);
void dotprod_pack_i4(uint8_t *dst, const uint8_t *src, size_t n, size_t padded);
void dotprod_product_i8(const struct aq_product *p);
void dotprod_product_i4(const struct aq_product *p);
size_t dotprod_scratch_bytes(size_t k);

#endif
