// Baseline NEON: one table. Products are in product_*.c beside it.
#include "neon.h"

#include "../elementwise.h"

#include <sys/auxv.h>

#define HWCAP_ASIMD_BIT (1u << 1)

static bool supported(void) {
    return getauxval(AT_HWCAP) & HWCAP_ASIMD_BIT;
}

// A block of widened fp16 weights, or a panel's sums of weights in groups of at least 32 (packed4.c).
static size_t scratch_bytes(size_t k) {
    return aq_max(AQ_F16_BLOCK * NEON_NR_F16 * sizeof(float), aq_round_up(k, 128) / 32 * NEON_NR_INT * sizeof(int32_t));
}

void neon_widen(float *dst, const uint16_t *src, size_t n) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4) vst1q_f32(dst + i, neon_load_half(src + i));
    for (; i < n; i++) dst[i] = aq_half_to_float(src[i]);
}

void neon_narrow(uint16_t *dst, const float *src, size_t n) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4) vst1_u16(dst + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(src + i))));
    for (; i < n; i++) dst[i] = aq_float_to_half(src[i]);
}

extern const struct aq_kernels aq_kernels_neon;
const struct aq_kernels aq_kernels_neon = {
    .isa = "neon",
    .description = {"fp16 weights by FCVTL, fp32 FMLA", "int8 x int8, SMULL + SMLAL2 + SADALP",
                    "int4 x int8, SMULL + SMLAL chains + SADALP", "bf16 weights widened, fp32 FMLA"},
    .supported = supported,
    .panel = {NEON_NR_F16, NEON_NR_INT, NEON_NR_INT, NEON_NR_F16},
    .scratch_bytes = scratch_bytes,
    .pack_f16 = aq_pack_f16,
    .pack_i8 = neon_pack_i8,
    .pack_i4 = neon_pack_i4,
    .pack_bf16 = aq_pack_f16,
    .k_unit_i8 = 16,
    .product = {neon_product_f16, neon_product_i8, neon_product_i4, neon_product_bf16},
    .product_packed4 = neon_product_packed4,
    .widen = neon_widen,
    .narrow = neon_narrow,
    AQ_ELEMENTWISE,
};
