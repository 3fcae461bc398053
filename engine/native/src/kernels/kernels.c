#include "kernels.h"

#include <string.h>

extern const struct aq_kernels aq_kernels_scalar;
#if defined(__x86_64__)
extern const struct aq_kernels aq_kernels_avx2, aq_kernels_avxvnni, aq_kernels_avxvnni_evex, aq_kernels_avx512,
    aq_kernels_avx512bf16;
#elif defined(__aarch64__)
extern const struct aq_kernels aq_kernels_neon, aq_kernels_neon_dotprod, aq_kernels_neon_i8mm;
extern const struct aq_kernels aq_kernels_neon_dotprod_fp16, aq_kernels_neon_i8mm_fp16, aq_kernels_neon_bf16;
#endif

const struct aq_kernels *const aq_kernel_sets[AQ_KERNEL_SETS] = {
    &aq_kernels_scalar,
#if defined(__x86_64__)
    &aq_kernels_avx2,   &aq_kernels_avxvnni_evex, &aq_kernels_avxvnni, &aq_kernels_avx512, &aq_kernels_avx512bf16,
#elif defined(__aarch64__)
    &aq_kernels_neon,      &aq_kernels_neon_dotprod,   &aq_kernels_neon_dotprod_fp16,
    &aq_kernels_neon_i8mm, &aq_kernels_neon_i8mm_fp16, &aq_kernels_neon_bf16,
#endif
};

const struct aq_kernels *aq_kernels_select(const char *isa, struct aq_error *err) {
    const struct aq_kernels *best = NULL;
    bool automatic = strcmp(isa, "auto") == 0;
    for (const struct aq_kernels *const *set = aq_kernel_sets; *set; set++) {
        if (!automatic && strcmp((*set)->isa, isa) != 0) continue;
        if ((*set)->supported())
            best = *set;
        else if (!automatic)
            aq_fail(err, "isa", "this CPU has no %s (use --isa auto, see `aqengine info`)", isa);
        if (!automatic) return best;
    }
    if (!best) aq_fail(err, "isa", "unknown instruction set %s (see `aqengine info`)", isa);
    return best;
}

size_t aq_panels(const struct aq_kernels *kernels, enum aq_format format, size_t n) {
    return (n + kernels->panel[format] - 1) / kernels->panel[format];
}

bool aq_packed_bytes(const struct aq_kernels *kernels, enum aq_format format, size_t n, size_t k, size_t *bytes) {
    size_t rows = aq_panels(kernels, format, n) * kernels->panel[format];
    if (format == AQ_F16) return aq_mul(rows, k, bytes) && aq_mul(*bytes, 2, bytes);
    if (format == AQ_BF16) return aq_mul(rows, aq_round_up(k, 2), bytes) && aq_mul(*bytes, 2, bytes);
    if (format == AQ_I8) return aq_mul(rows, aq_round_up(k, kernels->k_unit_i8), bytes);
    return aq_mul(rows, k / 2, bytes);
}

void aq_pack_f16(uint16_t *dst, const uint16_t *src, size_t n, size_t k) {
    enum { NR = 16 };
    for (size_t first = 0; first < n; first += NR, dst += k * NR)
        for (size_t j = 0; j < NR; j++)
            for (size_t i = 0; i < k; i++) dst[i * NR + j] = first + j < n ? src[(first + j) * k + i] : 0;
}

void aq_pack_i4_scales(const struct aq_kernels *kernels, uint16_t *dst, const uint16_t *src, size_t n, size_t groups) {
    size_t nr = kernels->panel[AQ_I4], rows = aq_panels(kernels, AQ_I4, n) * nr;
    for (size_t row = 0; row < rows; row++)
        for (size_t g = 0; g < groups; g++)
            dst[(row / nr * groups + g) * nr + row % nr] = row < n ? src[row * groups + g] : 0;
}

void aq_pack_i4_zeros(const struct aq_kernels *kernels, int8_t *dst, const int8_t *src, size_t n, size_t groups) {
    size_t nr = kernels->panel[AQ_I4], rows = aq_panels(kernels, AQ_I4, n) * nr;
    for (size_t row = 0; row < rows; row++)
        for (size_t g = 0; g < groups; g++)
            dst[(row / nr * groups + g) * nr + row % nr] = row < n ? (int8_t)(8 - src[row * groups + g]) : 0;
}
