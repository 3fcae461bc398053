// Shared by the baseline NEON kernels (Armv8.0-A, as in Cortex-A72: no dotprod, no fp16 arithmetic, no i8mm).
#ifndef AQ_NEON_H
#define AQ_NEON_H

#include "../half.h"
#include "../kernels.h"
#include "../tiles.h"

#include <arm_neon.h>
#include <string.h>

enum { NEON_NR_F16 = 16, NEON_NR_INT = 4, NEON_MR = 4 };

void neon_pack_i8(int8_t *dst, const int8_t *src, size_t n, size_t k);
void neon_pack_i4(uint8_t *dst, const uint8_t *src, size_t n, size_t padded);
void neon_widen(float *dst, const uint16_t *src, size_t n);
void neon_narrow(uint16_t *dst, const float *src, size_t n);
void neon_product_f16(const struct aq_product *p);
void neon_product_bf16(const struct aq_product *p);
void neon_product_i8(const struct aq_product *p);
void neon_product_i4(const struct aq_product *p);
void neon_product_packed4(const struct aq_product *p);

// The inputs i..i+3 of one output of an int4 matrix as in the file, a byte each, in two's complement; 0 beyond n
// outputs.
static inline uint32_t neon_four_inputs(const uint8_t *src, size_t row, size_t n, size_t padded, size_t i) {
    uint32_t four = 0x88888888u;
    if (row < n) memcpy(&four, src + row * (padded / 2) + i / 32 * 16 + i % 16, sizeof four);
    return ((i % 32 < 16 ? four : four >> 4) ^ 0x08080808u) & 0x0f0f0f0fu;
}

AQ_INLINE float32x4_t neon_load_half(const uint16_t *w) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(w)));
}

#endif
