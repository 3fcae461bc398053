// The reference kernels: they read like the formulas and run on every CPU. Integer weights stay as they lie in the file
// (panels of one row); fp16 panels have 16 outputs, [k][16], as everywhere.
#include "../elementwise.h"

enum { NR = 16 };

static bool supported(void) {
    return true;
}

static size_t scratch_bytes(size_t k) {
    (void)k;
    return 64;
}

static void pack_i8(int8_t *dst, const int8_t *src, size_t n, size_t k) {
    memcpy(dst, src, n * k);
}

static void pack_i4(uint8_t *dst, const uint8_t *src, size_t n, size_t padded) {
    memcpy(dst, src, n * (padded / 2));
}

static void widen(float *restrict dst, const uint16_t *restrict src, size_t n) {
    for (size_t i = 0; i < n; i++) dst[i] = aq_half_to_float(src[i]);
}

static void narrow(uint16_t *restrict dst, const float *restrict src, size_t n) {
    for (size_t i = 0; i < n; i++) dst[i] = aq_float_to_half(src[i]);
}

// One row of x against one panel over one block of inputs.
static inline __attribute__((always_inline)) void block(bool bf16, const float *restrict x, const uint16_t *restrict w,
                                                        size_t k, float *restrict sum) {
    float acc[NR] = {0};
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < NR; j++) {
            uint16_t half = w[i * NR + j];
            acc[j] = fmaf(x[i], bf16 ? aq_bf16_to_float(half) : aq_half_to_float(half), acc[j]);
        }
    for (size_t j = 0; j < NR; j++) sum[j] += acc[j];
}

static void block_plain(bool bf16, const float *restrict x, const uint16_t *restrict w, size_t k, float *restrict sum) {
    block(bf16, x, w, k, sum);
}

#if defined(__x86_64__)
// fmaf is exact with or without the instruction, but slow without it.
__attribute__((target("avx2,fma"))) static void block_fma(bool bf16, const float *restrict x,
                                                          const uint16_t *restrict w, size_t k, float *restrict sum) {
    block(bf16, x, w, k, sum);
}
#endif

static void product_halves(const struct aq_product *p) {
    void (*run)(bool, const float *restrict, const uint16_t *restrict, size_t, float *restrict) = block_plain;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) run = block_fma;
#endif
    for (size_t panel = p->first; panel < p->last; panel++) {
        const uint16_t *w = (const uint16_t *)p->w->weights + panel * p->w->stride * NR;
        for (size_t m = 0; m < p->m; m++) {
            float sum[NR] = {0};
            for (size_t start = 0; start < p->w->k; start += AQ_F16_BLOCK)
                run(p->w->format == AQ_BF16, p->x + m * p->ldx + start, w + start * NR,
                    aq_min(AQ_F16_BLOCK, p->w->k - start), sum);
            size_t first = panel * NR;
            memcpy(p->y + m * p->ldy + first, sum, aq_min(NR, p->w->n - first) * sizeof *sum);
        }
    }
}

// |acc| <= k * 127 * 127 < 2^31 for k <= 131,072.
static void product_i8(const struct aq_product *p) {
    const int8_t *weights = p->w->weights;
    const float *scales = p->w->scales;
    for (size_t n = p->first; n < p->last; n++) {
        const int8_t *w = weights + n * p->w->k;
        for (size_t m = 0; m < p->m; m++) {
            const int8_t *q = p->rows->q + m * p->rows->ld;
            int32_t acc = 0;
            for (size_t i = 0; i < p->w->k; i++) acc += (int32_t)q[i] * w[i];
            if (p->accumulators)
                p->accumulators[m * p->w->n + n] = acc;
            else
                p->y[m * p->ldy + n] = p->rows->scale[m] * (scales[n] * (float)acc);
        }
    }
}

// |acc[g]| <= group * 127 * 15 < 2^31 for every allowed length: a weight less its zero point is -15..15.
static void product_i4(const struct aq_product *p) {
    const uint8_t *weights = p->w->weights;
    const uint16_t *scales = p->w->scales;
    size_t groups = p->w->groups, runs = p->w->group / 32;
    for (size_t n = p->first; n < p->last; n++) {
        for (size_t m = 0; m < p->m; m++) {
            const uint8_t *w = weights + n * (p->w->padded / 2);
            const int8_t *q = p->rows->q + m * p->rows->ld;
            float sum = 0.0f;
            for (size_t g = 0; g < groups; g++) {
                int32_t acc = 0;
                for (size_t run = 0; run < runs; run++, w += 16, q += 32)
                    for (size_t j = 0; j < 16; j++) {
                        acc += (int32_t)q[j] * ((w[j] & 15) - 8);
                        acc += (int32_t)q[j + 16] * ((w[j] >> 4) - 8);
                    }
                if (p->w->zeros) {
                    int32_t sum_q = 0;
                    for (size_t j = 0; j < p->w->group; j++) sum_q += q[(ptrdiff_t)j - (ptrdiff_t)p->w->group];
                    acc += p->w->zeros[n * groups + g] * sum_q;
                }
                if (p->accumulators)
                    p->accumulators[(m * p->w->n + n) * groups + g] = acc;
                else
                    sum += aq_half_to_float(scales[n * groups + g]) * (float)acc;
            }
            if (!p->accumulators) p->y[m * p->ldy + n] = p->rows->scale[m] * sum;
        }
    }
}

// One group of two outputs by the paper's multiplier: their weights (0..15) in the bytes of one number, times the
// activation that they share (1..15 after adding 8), are two products of at most 225 in one multiplication. Spread to
// 0 | product | 0 | product, up to 256 of them add up in two fields of 16 bits: 256 * 225 = 57,600 < 2^16.
static void packed_group(const uint8_t *w[2], const int8_t *q, size_t group, int32_t acc[2]) {
    uint32_t fields = 0;
    int32_t weights[2] = {0, 0}, activations = 0, products[2] = {0, 0};
    for (size_t i = 0; i < group; i++) {
        size_t byte = i / 32 * 16 + i % 16, shift = i % 32 < 16 ? 0 : 4;
        uint32_t one = (uint32_t)(w[0][byte] >> shift) & 15, two = (uint32_t)(w[1][byte] >> shift) & 15;
        uint32_t both = (one | two << 8) * (uint32_t)(q[i] + 8);
        fields += (both & 0xff) | (both & 0xff00) << 8;
        weights[0] += (int32_t)one, weights[1] += (int32_t)two, activations += q[i];
        if (i % 256 == 255 || i + 1 == group) {
            products[0] += (int32_t)(fields & 0xffff), products[1] += (int32_t)(fields >> 16);
            fields = 0;
        }
    }
    // sum w (x + 8) less 8 sum w less 8 sum x = sum (w - 8) x
    for (size_t o = 0; o < 2; o++) acc[o] = products[o] - 8 * weights[o] - 8 * activations;
}

static void product_packed4(const struct aq_product *p) {
    const struct aq_matrix *w = p->w;
    size_t groups = w->groups, row_bytes = w->padded / 2;
    for (size_t n = p->first; n < p->last; n += 2)
        for (size_t m = 0; m < p->m; m++) {
            size_t outputs = aq_min(2, p->last - n);
            float sum[2] = {0, 0};
            for (size_t g = 0; g < groups; g++) {
                const uint8_t *weights = (const uint8_t *)w->weights + n * row_bytes + g * w->group / 2;
                const uint8_t *pair[2] = {weights, outputs == 2 ? weights + row_bytes : weights};
                int32_t acc[2];
                packed_group(pair, p->rows->q + m * p->rows->ld + g * w->group, w->group, acc);
                for (size_t o = 0; o < outputs; o++) {
                    size_t at = (n + o) * groups + g;
                    if (p->accumulators) p->accumulators[m * w->n * groups + at] = acc[o];
                    sum[o] += aq_half_to_float(((const uint16_t *)w->scales)[at]) * (float)acc[o];
                }
            }
            for (size_t o = 0; o < outputs && !p->accumulators; o++)
                p->y[m * p->ldy + n + o] = p->rows->scale[m] * sum[o];
        }
}

extern const struct aq_kernels aq_kernels_scalar;
const struct aq_kernels aq_kernels_scalar = {
    .isa = "scalar",
    .description = {"fp16 weights, fp32 multiply-add", "int8 x int8", "int4 x int8", "bf16 weights, fp32 multiply-add"},
    .supported = supported,
    .panel = {NR, 1, 1, NR},
    .scratch_bytes = scratch_bytes,
    .pack_f16 = aq_pack_f16,
    .pack_i8 = pack_i8,
    .pack_i4 = pack_i4,
    .pack_bf16 = aq_pack_f16,
    .k_unit_i8 = 1,
    .product = {product_halves, product_i8, product_i4, product_halves},
    .product_packed4 = product_packed4,
    .widen = widen,
    .narrow = narrow,
    AQ_ELEMENTWISE,
};
