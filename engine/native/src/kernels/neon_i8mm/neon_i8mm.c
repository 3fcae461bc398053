// NEON with 8-bit matrix products: the table. Products are in product_*.c beside it; fp16 is that of baseline NEON.
#include "neon_i8mm.h"

#include "../elementwise.h"

#include <sys/auxv.h>

#define HWCAP2_I8MM_BIT (1ul << 13)

static bool supported(void) {
    return getauxval(AT_HWCAP2) & HWCAP2_I8MM_BIT;
}

size_t i8mm_scratch_bytes(size_t k) {
    return aq_max(aq_max(i8mm_scratch_i8(k), i8mm_scratch_i4(k)), AQ_F16_BLOCK * NEON_NR_F16 * sizeof(float));
}

extern const struct aq_kernels aq_kernels_neon_i8mm;
const struct aq_kernels aq_kernels_neon_i8mm = {
    .isa = "neon-i8mm",
    .description = {"fp16 weights by FCVTL, fp32 FMLA", "int8 x int8, SMMLA", "int4 x int8, SMMLA",
                    "bf16 weights widened, fp32 FMLA"},
    .supported = supported,
    .panel = {NEON_NR_F16, MM_NR, MM_NR, NEON_NR_F16},
    .scratch_bytes = i8mm_scratch_bytes,
    .pack_f16 = aq_pack_f16,
    .pack_i8 = i8mm_pack_i8,
    .pack_i4 = i8mm_pack_i4,
    .pack_bf16 = aq_pack_f16,
    .k_unit_i8 = 16,
    .product = {neon_product_f16, i8mm_product_i8, i8mm_product_i4, neon_product_bf16},
    .widen = neon_widen,
    .narrow = neon_narrow,
    AQ_ELEMENTWISE,
};
