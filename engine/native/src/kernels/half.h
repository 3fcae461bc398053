// fp16 <-> fp32 in plain C: exact, round to nearest even, subnormals kept.
#ifndef AQ_HALF_H
#define AQ_HALF_H

#include <stdint.h>
#include <string.h>

static inline float aq_bits_to_float(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t aq_float_to_bits(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline float aq_half_to_float(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, magnitude = h & 0x7fffu;
    // Read as fp32 the value is 2^112 too small, whether normal or subnormal; the product is exact.
    uint32_t bits = aq_float_to_bits(aq_bits_to_float(magnitude << 13) * 0x1p112f);
    bits = magnitude >= 0x7c00u ? 0x7f800000u | magnitude << 13 : bits; // infinities and NaN
    return aq_bits_to_float(sign | bits);
}

static inline uint16_t aq_float_to_half(float f) {
    uint32_t bits = aq_float_to_bits(f), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    // Below 2^-14 the result is subnormal, in units of 2^-24, the unit in the last place of numbers in [0.5, 1).
    uint32_t small = aq_float_to_bits(aq_bits_to_float(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t normal = (magnitude + 0xfffu + (magnitude >> 13 & 1u) - 0x38000000u) >> 13;
    uint32_t half = magnitude < 0x38800000u ? small : normal;
    half = magnitude >= 0x477ff000u ? 0x7c00u : half; // 65520 and more round to infinity
    half = magnitude > 0x7f800000u ? 0x7e00u : half;
    return (uint16_t)(sign | half);
}

static inline float aq_bf16_to_float(uint16_t b) {
    return aq_bits_to_float((uint32_t)b << 16);
}

// NaN stays NaN.
static inline uint16_t aq_float_to_bf16(float f) {
    uint32_t bits = aq_float_to_bits(f);
    uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? bits >> 16 | 0x40u : rounded);
}

#endif
