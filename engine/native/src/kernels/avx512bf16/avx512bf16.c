// AVX-512 VNNI with BF16: the avx512vnni table with bf16 products by vdpbf16ps.
#include "avx512bf16.h"

#include "../elementwise.h"

static bool supported(void) {
    return avx512_supported() && __builtin_cpu_supports("avx512bf16");
}

extern const struct aq_kernels aq_kernels_avx512bf16;
const struct aq_kernels aq_kernels_avx512bf16 = {
    .isa = "avx512bf16",
    .description = {AVX512_DESCRIPTIONS, "bf16 x bf16, vdpbf16ps (pairs, not the order of fp16)"},
    .supported = supported,
    .panel = {F16_NR, I8_NR, I4_NR, BF16_NR},
    .pack_bf16 = avx512_pack_bf16,
    .product = {AVX512_PRODUCTS, avx512_product_bf16_dot},
    .bf16_dot = true,
    .peak = {AVX512_PEAKS, avx512_peak_bf16},
    AVX512_COMMON,
    AQ_ELEMENTWISE,
};
