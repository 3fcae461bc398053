// The element-wise parts of a forward pass, included once by each instruction set's file and compiled with its flags.
// Plain C that compilers vectorize. Sums run in 16 fixed lanes that are added in a fixed order and nothing is
// contracted to FMA (-ffp-contract=off), so every instruction set gives the same bits.
#ifndef AQ_ELEMENTWISE_H
#define AQ_ELEMENTWISE_H

#include "half.h"
#include "kernels.h"

#include <math.h>

enum { AQ_LANES = 16 };

static inline float ew_sum_lanes(const float lane[AQ_LANES]) {
    float s[AQ_LANES];
    memcpy(s, lane, sizeof s);
    for (int width = AQ_LANES / 2; width; width /= 2)
        for (int i = 0; i < width; i++) s[i] += s[i + width];
    return s[0];
}

static inline float ew_max_lanes(const float lane[AQ_LANES]) {
    float m = lane[0];
    for (int i = 1; i < AQ_LANES; i++) m = lane[i] > m ? lane[i] : m;
    return m;
}

// Round half to even for |x| < 2^22: adding 1.5 * 2^23 leaves no fraction bits.
static inline float ew_round(float x) {
    return (x + 12582912.0f) - 12582912.0f;
}

// exp(x) for x <= 88, 0 below -87; within 2 units in the last place. x = n ln 2 + r, |r| <= 0.35, Taylor to r^7
// (next term below 5.2e-9).
static inline float ew_exp(float x) {
    float bounded = x < 88.0f ? x : 88.0f; // NaN too, so that the conversion to int stays defined
    bounded = bounded > -87.0f ? bounded : -87.0f;
    float n = ew_round(bounded * 1.44269504f);
    float r = (bounded - n * 0.693359375f) - n * -2.12194440e-4f; // ln 2 in two parts; the first product is exact
    float p = 1.0f / 5040.0f;
    p = p * r + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    float power = aq_bits_to_float((uint32_t)((int32_t)n + 127) << 23);
    float result = x < -87.0f ? 0.0f : p * power;
    return x == x ? result : x;
}

// x * w / sqrt(mean(x^2) + epsilon)
static void ew_rmsnorm(float *restrict dst, const float *restrict x, const float *restrict weight, size_t n,
                       float epsilon) {
    float lane[AQ_LANES] = {0};
    size_t i = 0;
    for (; i + AQ_LANES <= n; i += AQ_LANES)
        for (int l = 0; l < AQ_LANES; l++) lane[l] += x[i + (size_t)l] * x[i + (size_t)l];
    for (int l = 0; i < n; i++, l++) lane[l] += x[i] * x[i];
    float factor = 1.0f / sqrtf(ew_sum_lanes(lane) / (float)n + epsilon);
    for (i = 0; i < n; i++) dst[i] = x[i] * factor * weight[i];
}

// (x - mean) * (1 / sqrt(variance + epsilon)) * w + b
static void ew_layernorm(float *restrict dst, const float *restrict x, const float *restrict weight,
                         const float *restrict bias, size_t n, float epsilon) {
    float lane[AQ_LANES] = {0};
    size_t i = 0;
    for (; i + AQ_LANES <= n; i += AQ_LANES)
        for (int l = 0; l < AQ_LANES; l++) lane[l] += x[i + (size_t)l];
    for (int l = 0; i < n; i++, l++) lane[l] += x[i];
    float mean = ew_sum_lanes(lane) / (float)n;
    for (i = 0; i < n; i++) dst[i] = x[i] - mean;
    for (int l = 0; l < AQ_LANES; l++) lane[l] = 0.0f;
    for (i = 0; i + AQ_LANES <= n; i += AQ_LANES)
        for (int l = 0; l < AQ_LANES; l++) lane[l] += dst[i + (size_t)l] * dst[i + (size_t)l];
    for (int l = 0; i < n; i++, l++) lane[l] += dst[i] * dst[i];
    float factor = 1.0f / sqrtf(ew_sum_lanes(lane) / (float)n + epsilon);
    for (i = 0; i < n; i++) dst[i] = dst[i] * factor * weight[i] + bias[i];
}

#define EW_INLINE static inline __attribute__((always_inline))

// What the quantizer sees at place j; without factors and order this is x[j], and the loops stay plain.
EW_INLINE float ew_place(const float *restrict x, const float *restrict factor, const uint32_t *restrict order,
                         size_t j) {
    size_t channel = order ? order[j] : j;
    return factor ? x[channel] * factor[channel] : x[channel];
}

EW_INLINE float ew_absmax(const float *restrict x, size_t k, const float *restrict factor,
                          const uint32_t *restrict order) {
    float lane[AQ_LANES] = {0};
    size_t i = 0;
    for (; i + AQ_LANES <= k; i += AQ_LANES)
        for (int l = 0; l < AQ_LANES; l++) {
            float a = fabsf(ew_place(x, factor, order, i + (size_t)l));
            lane[l] = a > lane[l] ? a : lane[l];
        }
    for (int l = 0; i < k; i++, l++) {
        float a = fabsf(ew_place(x, factor, order, i));
        lane[l] = a > lane[l] ? a : lane[l];
    }
    return ew_max_lanes(lane);
}

// s = absmax / limit and 1 / s; a row of zeros, or of numbers so small that 1 / s overflows, counts as zeros.
EW_INLINE float ew_scale(float absmax, float limit, float *inverse) {
    *inverse = absmax > 0.0f ? limit / absmax : 0.0f;
    *inverse = *inverse > 3.0e38f ? 0.0f : *inverse;
    return *inverse > 0.0f ? absmax / limit : 0.0f;
}

EW_INLINE void ew_quantize_as(struct aq_rows *rows, size_t row, const float *restrict x, size_t k,
                              const struct aq_input *input, const float *restrict factor,
                              const uint32_t *restrict order) {
    float limit = (float)rows->limit, inverse, zero = 0.0f;
    if (input->fixed) {
        inverse = 1.0f / input->scale;
        zero = input->zero;
        rows->scale[row] = input->scale;
    } else {
        rows->scale[row] = ew_scale(ew_absmax(x, k, factor, order), limit, &inverse);
    }
    int8_t *restrict q = rows->q + row * rows->ld;
    int16_t *restrict q16 = rows->q16 + row * rows->ld;
    for (size_t i = 0; i < k; i++) {
        float v = ew_place(x, factor, order, i) * inverse;
        v = v < 65536.0f ? v : 65536.0f; // NaN too; far beyond every limit and zero point, and safe to round
        v = v > -65536.0f ? v : -65536.0f;
        v = ew_round(v) + zero;
        v = v < limit ? v : limit;
        v = v > -limit ? v : -limit;
        int16_t value = (int16_t)(int32_t)v;
        q16[i] = value;
        q[i] = (int8_t)value;
    }
}

// s = absmax / limit, q = clamp(rint(x * (limit / absmax))); fixed: s as given, q = clamp(rint(x * (1 / s)) + zero).
// x is what `input` makes of it.
static void ew_quantize(struct aq_rows *rows, size_t row, const float *restrict x, size_t k,
                        const struct aq_input *input) {
    if (input->order)
        ew_quantize_as(rows, row, x, k, input, input->factor, input->order);
    else if (input->factor)
        ew_quantize_as(rows, row, x, k, input, input->factor, NULL);
    else
        ew_quantize_as(rows, row, x, k, input, NULL, NULL);
    size_t padded = aq_round_up(k, 128);
    memset(rows->q + row * rows->ld + k, 0, padded - k);
    memset(rows->q16 + row * rows->ld + k, 0, (padded - k) * sizeof *rows->q16);
    const int16_t *restrict q16 = rows->q16 + row * rows->ld;
    int32_t *restrict offsets = rows->offsets + row * (rows->ld / 32);
    for (size_t g = 0; g < padded / 32; g++) {
        int32_t sum = 0;
        for (size_t j = 0; j < 32; j++) sum += q16[g * 32 + j];
        offsets[g] = -8 * sum;
    }
}

static float ew_row_scale(const float *restrict x, size_t n, float *inverse) {
    return ew_scale(ew_absmax(x, n, NULL, NULL), 127.0f, inverse);
}

static void ew_to_int8(int8_t *restrict q, const float *restrict x, size_t n, float inverse) {
    for (size_t i = 0; i < n; i++) {
        float v = ew_round(x[i] * inverse);
        v = v < 127.0f ? v : 127.0f; // NaN too
        v = v > -127.0f ? v : -127.0f;
        q[i] = (int8_t)(int32_t)v;
    }
}

static void ew_from_int8(float *restrict x, const int8_t *restrict q, const float *restrict scale, size_t rows,
                         bool by_row) {
    for (size_t row = 0; row < rows; row++, x += AQ_LANES, q += AQ_LANES) {
        if (by_row)
            for (int l = 0; l < AQ_LANES; l++) x[l] = scale[row] * (float)q[l];
        else
            for (int l = 0; l < AQ_LANES; l++) x[l] = scale[l] * (float)q[l];
    }
}

static void ew_round_bf16(struct aq_rows *rows, size_t row, float *restrict x, size_t k) {
    int16_t *restrict bits = rows->q16 + row * rows->ld;
    for (size_t i = 0; i < k; i++) {
        uint16_t b = aq_float_to_bf16(x[i]);
        bits[i] = (int16_t)b;
        x[i] = aq_bf16_to_float(b);
    }
    memset(bits + k, 0, (aq_round_up(k, 128) - k) * sizeof *bits);
}

// gate = gate / (1 + exp(-gate)) * up
static void ew_swiglu(float *restrict gate, const float *restrict up, size_t n) {
    for (size_t i = 0; i < n; i++) gate[i] = gate[i] / (1.0f + ew_exp(-gate[i])) * up[i];
}

// NaN stays NaN.
static void ew_relu(float *restrict x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = x[i] < 0.0f ? 0.0f : x[i];
}

// The tanh form: x * sigmoid(2 sqrt(2 / pi) * (x + 0.044715 x^3)).
static void ew_gelu(float *restrict x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float u = 0.79788456f * x[i] * (1.0f + 0.044715f * x[i] * x[i]);
        x[i] = x[i] / (1.0f + ew_exp(-2.0f * u));
    }
}

static void ew_alibi(float *restrict x, size_t n, float scale, float slope, const float *restrict key_positions,
                     float query_position) {
    for (size_t i = 0; i < n; i++) x[i] = x[i] * scale + slope * (key_positions[i] - query_position);
}

// p' = 2^-rint(-log2 p), 0 when the exponent exceeds 15. p = f * 2^e with 1 <= f < 2 rounds down to 2^e exactly when
// f < sqrt 2, and no fp32 number equals sqrt 2: 0x3504f3 are the fraction bits of the largest one below it.
static inline float ew_log2(float p) {
    uint32_t bits = aq_float_to_bits(p), power = (bits >> 23) + ((bits & 0x7fffffu) > 0x3504f3u);
    return power < 127 - 15 ? 0.0f : aq_bits_to_float(power << 23);
}

static void ew_softmax(float *restrict x, size_t n, float scale, enum aq_probabilities probabilities) {
    float lane[AQ_LANES];
    for (int l = 0; l < AQ_LANES; l++) lane[l] = x[0];
    size_t i = 0;
    for (; i + AQ_LANES <= n; i += AQ_LANES)
        for (int l = 0; l < AQ_LANES; l++) lane[l] = x[i + (size_t)l] > lane[l] ? x[i + (size_t)l] : lane[l];
    for (int l = 0; i < n; i++, l++) lane[l] = x[i] > lane[l] ? x[i] : lane[l];
    float maximum = ew_max_lanes(lane) * scale;
    for (i = 0; i < n; i++) x[i] = ew_exp(x[i] * scale - maximum);
    for (int l = 0; l < AQ_LANES; l++) lane[l] = 0.0f;
    for (i = 0; i + AQ_LANES <= n; i += AQ_LANES)
        for (int l = 0; l < AQ_LANES; l++) lane[l] += x[i + (size_t)l];
    for (int l = 0; i < n; i++, l++) lane[l] += x[i];
    float sum = ew_sum_lanes(lane);
    for (i = 0; i < n; i++) x[i] = x[i] / sum;
    if (probabilities == AQ_PROBABILITIES_LOG2)
        for (i = 0; i < n; i++) x[i] = ew_log2(x[i]);
    if (probabilities == AQ_PROBABILITIES_UNIFORM)
        for (i = 0; i < n; i++) x[i] = ew_round(x[i] * 15.0f) / 15.0f;
}

static void ew_add(float *restrict x, const float *restrict y, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] += y[i];
}

// log(sum exp(l - max)) + max - l[target]; the sum in fp64
static double ew_nll(const float *logits, size_t n, size_t target) {
    float maximum = logits[0];
    for (size_t i = 1; i < n; i++) maximum = logits[i] > maximum ? logits[i] : maximum;
    double sum = 0;
    size_t i = 0;
    float term[256];
    while (i < n) {
        size_t count = aq_min(256, n - i);
        for (size_t j = 0; j < count; j++) term[j] = ew_exp(logits[i + j] - maximum);
        for (size_t j = 0; j < count; j++) sum += (double)term[j];
        i += count;
    }
    return log(sum) + (double)maximum - (double)logits[target];
}

#define AQ_ELEMENTWISE                                                                                                 \
    .rmsnorm = ew_rmsnorm, .layernorm = ew_layernorm, .quantize = ew_quantize, .row_scale = ew_row_scale,              \
    .to_int8 = ew_to_int8, .from_int8 = ew_from_int8, .round_bf16 = ew_round_bf16, .swiglu = ew_swiglu,                \
    .relu = ew_relu, .gelu = ew_gelu, .alibi = ew_alibi, .softmax = ew_softmax, .add = ew_add, .nll = ew_nll

#endif
