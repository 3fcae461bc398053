// The tables that multiply fp16 packs in fp16. All else is that of the table whose name they extend, attention too.
#include "neon_fp16.h"

#include "../elementwise.h"
#include "../neon_dotprod/neon_dotprod.h"
#include "../neon_i8mm/neon_i8mm.h"

#include <sys/auxv.h>

#define HWCAP_ASIMDHP_BIT (1ul << 10)

extern const struct aq_kernels aq_kernels_neon_dotprod, aq_kernels_neon_i8mm;
extern const struct aq_kernels aq_kernels_neon_dotprod_fp16, aq_kernels_neon_i8mm_fp16;

static bool has_fp16(void) {
    return getauxval(AT_HWCAP) & HWCAP_ASIMDHP_BIT;
}

static bool supported_dotprod(void) {
    return has_fp16() && aq_kernels_neon_dotprod.supported();
}

static bool supported_i8mm(void) {
    return has_fp16() && aq_kernels_neon_i8mm.supported();
}

#define DESCRIPTION "fp16 FMLA in chains of 32, added in fp32; agrees by tolerance; attention fp32 FMLA"

const struct aq_kernels aq_kernels_neon_dotprod_fp16 = {
    .isa = "neon-dotprod-fp16",
    .description = {DESCRIPTION, "int8 x int8, SDOT", "int4 x int8, SDOT", "bf16 weights widened, fp32 FMLA"},
    .supported = supported_dotprod,
    .panel = {NEON_NR_F16, DOT_NR, DOT_NR, NEON_NR_F16},
    .scratch_bytes = dotprod_scratch_bytes,
    .pack_f16 = aq_pack_f16,
    .pack_i8 = dotprod_pack_i8,
    .pack_i4 = dotprod_pack_i4,
    .pack_bf16 = aq_pack_f16,
    .k_unit_i8 = 16,
    .product = {neon_product_f16, dotprod_product_i8, dotprod_product_i4, neon_product_bf16},
    .round_half = neon_round_half,
    .product_half = neon_product_half,
    .widen = neon_widen,
    .narrow = neon_narrow,
    AQ_ELEMENTWISE,
};

const struct aq_kernels aq_kernels_neon_i8mm_fp16 = {
    .isa = "neon-i8mm-fp16",
    .description = {DESCRIPTION, "int8 x int8, SMMLA", "int4 x int8, SMMLA", "bf16 weights widened, fp32 FMLA"},
    .supported = supported_i8mm,
    .panel = {NEON_NR_F16, MM_NR, MM_NR, NEON_NR_F16},
    .scratch_bytes = i8mm_scratch_bytes,
    .pack_f16 = aq_pack_f16,
    .pack_i8 = i8mm_pack_i8,
    .pack_i4 = i8mm_pack_i4,
    .pack_bf16 = aq_pack_f16,
    .k_unit_i8 = 16,
    .product = {neon_product_f16, i8mm_product_i8, i8mm_product_i4, neon_product_bf16},
    .round_half = neon_round_half,
    .product_half = neon_product_half,
    .widen = neon_widen,
    .narrow = neon_narrow,
    AQ_ELEMENTWISE,
};
