// NEON with dot products: the table. Products are in product_*.c beside it; fp16 is that of baseline NEON.
#include "neon_dotprod.h"

#include "../elementwise.h"

#include <sys/auxv.h>

#define HWCAP_ASIMDDP_BIT (1ul << 20)

static bool supported(void) {
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP_BIT;
}

extern const struct aq_kernels aq_kernels_neon_dotprod;
const struct aq_kernels aq_kernels_neon_dotprod = {
    .isa = "neon-dotprod",
    .description = {"fp16 weights by FCVTL, fp32 FMLA", "int8 x int8, SDOT", "int4 x int8, SDOT",
                    "bf16 weights widened, fp32 FMLA"},
    .supported = supported,
    .panel = {NEON_NR_F16, DOT_NR, DOT_NR, NEON_NR_F16},
    .scratch_bytes = dotprod_scratch_bytes,
    .pack_f16 = aq_pack_f16,
    .pack_i8 = dotprod_pack_i8,
    .pack_i4 = dotprod_pack_i4,
    .pack_bf16 = aq_pack_f16,
    .k_unit_i8 = 16,
    .product = {neon_product_f16, dotprod_product_i8, dotprod_product_i4, neon_product_bf16},
    .widen = neon_widen,
    .narrow = neon_narrow,
    AQ_ELEMENTWISE,
};
