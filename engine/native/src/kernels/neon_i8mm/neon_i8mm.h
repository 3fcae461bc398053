// Shared by the kernels for Armv8.6-A with 8-bit matrix products (Cortex-A710, Neoverse N2 and V1 and later).
#ifndef AQ_NEON_I8MM_H
#define AQ_NEON_I8MM_H

#include "../neon_dotprod/neon_dotprod.h"

enum { MM_NR = 8, MM_MR_I8 = 8, MM_MR_I4 = 4 };

size_t i8mm_scratch_i8(size_t k);
size_t i8mm_scratch_i4(size_t k);
size_t i8mm_scratch_bytes(size_t k); // the table's
void i8mm_pack_i8(int8_t *dst, const int8_t *src, size_t n, size_t k);
void i8mm_pack_i4(uint8_t *dst, const uint8_t *src, size_t n, size_t padded);
void i8mm_product_i8(const struct aq_product *p);
void i8mm_product_i4(const struct aq_product *p);

// Eight inputs of two rows from 16 of each: the operand of SMMLA.
AQ_INLINE void i8mm_pair(int8x16_t out[2], const int8_t *one, const int8_t *two) {
    int64x2_t a = vreinterpretq_s64_s8(vld1q_s8(one)), b = vreinterpretq_s64_s8(vld1q_s8(two));
    out[0] = vreinterpretq_s8_s64(vzip1q_s64(a, b));
    out[1] = vreinterpretq_s8_s64(vzip2q_s64(a, b));
}

#endif
