// What the int4 kernels that accumulate 16 * (sum of a group) in int32 lanes share. A nibble q (two's complement)
// stands in the upper half of a byte as 16 * q: SHL or AND unpacks it, one instruction a vector, and the factor goes
// into the scale. Bounds with activations up to 127:
//   a group of at most 128: |acc| <= 128 * 128 * 127 = 2,080,768; with zero points 16 * 128 * 15 * 127 = 3,901,440;
//   both
//     < 2^22, so a lane that starts at the bits of 1.5 * 2^23 holds the bits of 1.5 * 2^23 + acc, and one fp32
//     subtraction converts it (SCVTF takes two cycles on these cores). Exact.
//   a longer group: 131,072 * 128 * 127 = 2,130,706,432 < 2^31; shifted by 4 before zero points are added:
//     131,072 * 15 * 127 = 249,692,160 < 2^31. Converted by SCVTF.
#ifndef AQ_NEON_GROUPS_H
#define AQ_NEON_GROUPS_H

#include "neon.h"

enum { GROUPS_SHORT = 128, GROUPS_MAGIC = 0x4B400000 };

// Every combination is compiled by itself, so that what a matrix does not need costs nothing in its loops.
struct groups_kind {
    size_t run;    // the group size as a constant, or 0: groups of 32 are the common ones, their short loop is unrolled
    bool is_short; // groups of at most 128
    bool zeros;    // zero points
    bool raw;      // accumulators wanted, for tests
};

#define GROUPS_DISPATCH(p, product)                                                                                    \
    do {                                                                                                               \
        bool is_short = (p)->w->group <= GROUPS_SHORT, zeros = (p)->w->zeros, raw = (p)->accumulators;                 \
        if (raw)                                                                                                       \
            if (zeros)                                                                                                 \
                is_short ? product((struct groups_kind){0, true, true, true}, p)                                       \
                         : product((struct groups_kind){0, false, true, true}, p);                                     \
            else                                                                                                       \
                is_short ? product((struct groups_kind){0, true, false, true}, p)                                      \
                         : product((struct groups_kind){0, false, false, true}, p);                                    \
        else if (zeros)                                                                                                \
            is_short ? product((struct groups_kind){0, true, true, false}, p)                                          \
                     : product((struct groups_kind){0, false, true, false}, p);                                        \
        else if ((p)->w->group == 32)                                                                                  \
            product((struct groups_kind){32, true, false, false}, p);                                                  \
        else                                                                                                           \
            is_short ? product((struct groups_kind){0, true, false, false}, p)                                         \
                     : product((struct groups_kind){0, false, false, false}, p);                                       \
    } while (0)

// What zero points add is zeros * this: the sum of a row's activations in a group, 16 times for a short one. `offsets`
// are -8 * the sums of 32.
AQ_INLINE int32_t groups_factor(const bool is_short, const int32_t *offsets, size_t group) {
    int32_t sum = 0;
    for (size_t i = 0; i < group / 32; i++) sum += offsets[i];
    return is_short ? -2 * sum : -sum / 8;
}

// Eight zero points in int32.
AQ_INLINE void groups_zeros(int32x4_t out[2], const int8_t *zeros) {
    int16x8_t wide = vmovl_s8(vld1_s8(zeros));
    out[0] = vmovl_s16(vget_low_s16(wide));
    out[1] = vmovl_high_s16(wide);
}

// The accumulator at its start.
AQ_INLINE int32x4_t groups_start(const bool is_short) {
    return vdupq_n_s32(is_short ? GROUPS_MAGIC : 0);
}

// After the last product: a long group's accumulator loses its factor, which a short one keeps.
AQ_INLINE int32x4_t groups_end(const bool is_short, int32x4_t acc) {
    return is_short ? acc : vshrq_n_s32(acc, 4);
}

// The group's sum itself, from an accumulator at its end; for tests.
AQ_INLINE int32x4_t groups_integer(const bool is_short, int32x4_t acc) {
    return is_short ? vshrq_n_s32(vsubq_s32(acc, vdupq_n_s32(GROUPS_MAGIC)), 4) : acc;
}

// 16 * sum of a short group or the sum of a long one, as fp32.
AQ_INLINE float32x4_t groups_float(const bool is_short, int32x4_t acc) {
    return is_short ? vsubq_f32(vreinterpretq_f32_s32(acc), vdupq_n_f32(0x1.8p23f)) : vcvtq_f32_s32(acc);
}

#endif
