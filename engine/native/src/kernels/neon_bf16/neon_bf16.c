// The neon-i8mm-fp16 table with bf16 products by BFDOT.
#include "neon_bf16.h"

#include "../elementwise.h"
#include "../neon_fp16/neon_fp16.h"

#include <sys/auxv.h>

#define HWCAP2_BF16_BIT (1ul << 14)

extern const struct aq_kernels aq_kernels_neon_i8mm_fp16, aq_kernels_neon_bf16;

static bool supported(void) {
    return (getauxval(AT_HWCAP2) & HWCAP2_BF16_BIT) && aq_kernels_neon_i8mm_fp16.supported();
}

const struct aq_kernels aq_kernels_neon_bf16 = {
    .isa = "neon-i8mm-fp16-bf16",
    .description = {"fp16 FMLA in chains of 32, added in fp32; agrees by tolerance; attention fp32 FMLA",
                    "int8 x int8, SMMLA", "int4 x int8, SMMLA", "bf16 x bf16, BFDOT (pairs, not the order of fp16)"},
    .supported = supported,
    .panel = {NEON_NR_F16, MM_NR, MM_NR, BF16_NR},
    .scratch_bytes = i8mm_scratch_bytes,
    .pack_f16 = aq_pack_f16,
    .pack_i8 = i8mm_pack_i8,
    .pack_i4 = i8mm_pack_i4,
    .pack_bf16 = bf16_pack,
    .k_unit_i8 = 16,
    .product = {neon_product_f16, i8mm_product_i8, i8mm_product_i4, bf16_product_dot},
    .bf16_dot = true,
    .round_half = neon_round_half,
    .product_half = neon_product_half,
    .widen = neon_widen,
    .narrow = neon_narrow,
    AQ_ELEMENTWISE,
};
