// int4 x int4 by the paper's packed multiplier, for comparison with SMLAL (product_i4.c), on the same panels.
//
// The weights (0..15) of two outputs are the two bytes of a 16-bit lane; one MUL by the activation that they share
// (1..15 after adding 8) leaves a product of at most 225 in each byte. The upper bytes are added by USRA, and whole
// lanes by ADD modulo 2^16, from which 256 times the upper sum is taken at the end of a chain: what is left is the
// lower sum. A chain is 64 runs of 32 inputs, 4 products a lane each: 64 * 4 * 15 * 15 = 57,600 < 2^16, so both are
// exact. Then sum w (x + 8) less 8 sum w less 8 sum x = sum (w - 8) x.
#include "neon.h"

enum { RUN = 32, BYTES = 16, CHAIN = 64, PAIRS = NEON_NR_INT / 2 };

// Inputs 8 * eighth .. + 7 of a run: the weights of two outputs in each lane.
AQ_INLINE void pairs_of(uint16x8_t out[PAIRS], const uint8_t *w, const int eighth) {
    AQ_UNROLL
    for (size_t o = 0; o < PAIRS; o++) {
        uint8x16_t one = vld1q_u8(w + 2 * o * BYTES), two = vld1q_u8(w + (2 * o + 1) * BYTES);
        one = eighth < 2 ? vandq_u8(one, vdupq_n_u8(15)) : vshrq_n_u8(one, 4);
        two = eighth < 2 ? vandq_u8(two, vdupq_n_u8(15)) : vshrq_n_u8(two, 4);
        out[o] = vreinterpretq_u16_u8(eighth % 2 ? vzip2q_u8(one, two) : vzip1q_u8(one, two));
    }
}

// acc += the sums of a chain, a lane an output.
AQ_INLINE int32x4_t add_chain(int32x4_t acc, const uint16x8_t whole[PAIRS], const uint16x8_t upper[PAIRS]) {
    uint32x4_t wide[NEON_NR_INT];
    AQ_UNROLL
    for (int o = 0; o < PAIRS; o++) {
        wide[2 * o] = vpaddlq_u16(vsubq_u16(whole[o], vshlq_n_u16(upper[o], 8)));
        wide[2 * o + 1] = vpaddlq_u16(upper[o]);
    }
    uint32x4_t sums = vpaddq_u32(vpaddq_u32(wide[0], wide[1]), vpaddq_u32(wide[2], wide[3]));
    return vaddq_s32(acc, vreinterpretq_s32_u32(sums));
}

// One chain: sums of w * (x + 8) for every row.
AQ_INLINE void chain(const int rows, int32x4_t acc[NEON_MR], const int16_t *x, size_t ld, const uint8_t *w,
                     size_t runs) {
    uint16x8_t whole[NEON_MR][PAIRS], upper[NEON_MR][PAIRS];
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        AQ_UNROLL
        for (int o = 0; o < PAIRS; o++) whole[r][o] = upper[r][o] = vdupq_n_u16(0);
    }
    for (size_t run = 0; run < runs; run++, w += BYTES * NEON_NR_INT, x += RUN) {
        AQ_UNROLL
        for (int eighth = 0; eighth < 4; eighth++) {
            uint16x8_t weight[PAIRS];
            __asm__ volatile("" : : : "memory"); // loads of later inputs stay there: no registers are left to hold them
            pairs_of(weight, w, eighth);
            AQ_UNROLL
            for (int r = 0; r < rows; r++) {
                int16x8_t eight = vaddq_s16(vld1q_s16(x + (size_t)r * ld + 8 * eighth), vdupq_n_s16(8));
                AQ_UNROLL
                for (int o = 0; o < PAIRS; o++) {
                    uint16x8_t both = vmulq_u16(weight[o], vreinterpretq_u16_s16(eight));
                    whole[r][o] = vaddq_u16(whole[r][o], both);
                    upper[r][o] = vsraq_n_u16(upper[r][o], both, 8);
                }
            }
        }
    }
    AQ_UNROLL
    for (int r = 0; r < rows; r++) acc[r] = add_chain(acc[r], whole[r], upper[r]);
}

// The sums of a panel's weights in one group, a lane an output.
static int32x4_t weight_sums(const uint8_t *w, size_t runs) {
    uint32x4_t sums[NEON_NR_INT] = {vdupq_n_u32(0), vdupq_n_u32(0), vdupq_n_u32(0), vdupq_n_u32(0)};
    for (size_t run = 0; run < runs; run++, w += BYTES * NEON_NR_INT) {
        AQ_UNROLL
        for (size_t o = 0; o < NEON_NR_INT; o++) {
            uint8x16_t both = vld1q_u8(w + o * BYTES);
            uint8x16_t sum = vaddq_u8(vandq_u8(both, vdupq_n_u8(15)), vshrq_n_u8(both, 4));
            sums[o] = vpadalq_u16(sums[o], vpaddlq_u8(sum));
        }
    }
    return vreinterpretq_s32_u32(vpaddq_u32(vpaddq_u32(sums[0], sums[1]), vpaddq_u32(sums[2], sums[3])));
}

// `weights`: 8 * the sums of the panel's weights, [groups][4].
AQ_INLINE void tile(const int rows, const struct aq_product *p, size_t row, size_t panel, const int32_t *weights) {
    const struct aq_matrix *w = p->w;
    size_t ld = p->rows->ld, output = panel * NEON_NR_INT, columns = aq_min(NEON_NR_INT, w->n - output);
    size_t runs = w->group / RUN;
    const int16_t *x = p->rows->q16 + row * ld;
    const int32_t *offsets = p->rows->offsets + row * (ld / RUN); // -8 * the sums of 32 activations
    const uint8_t *packed = (const uint8_t *)w->weights + panel * w->padded / 2 * NEON_NR_INT;
    const uint16_t *scales = (const uint16_t *)w->scales + panel * w->groups * NEON_NR_INT;
    float32x4_t total[NEON_MR];
    AQ_UNROLL
    for (int r = 0; r < rows; r++) total[r] = vdupq_n_f32(0);
    for (size_t g = 0; g < w->groups; g++, offsets += runs) {
        int32x4_t acc[NEON_MR], less = vld1q_s32(weights + g * NEON_NR_INT);
        float32x4_t scale = neon_load_half(scales + g * NEON_NR_INT);
        AQ_UNROLL
        for (int r = 0; r < rows; r++) {
            int32_t start = 0;
            for (size_t i = 0; i < runs; i++) start += offsets[(size_t)r * (ld / RUN) + i];
            acc[r] = vsubq_s32(vdupq_n_s32(start), less);
        }
        for (size_t at = g * runs, end = at + runs; at < end; at += CHAIN)
            chain(rows, acc, x + at * RUN, ld, packed + at * BYTES * NEON_NR_INT, aq_min(CHAIN, end - at));
        AQ_UNROLL
        for (int r = 0; r < rows; r++) {
            if (p->accumulators) {
                int32_t lane[NEON_NR_INT];
                vst1q_s32(lane, acc[r]);
                for (size_t o = 0; o < columns; o++)
                    p->accumulators[((row + (size_t)r) * w->n + output + o) * w->groups + g] = lane[o];
            } else { // no FMA, so that all instruction sets round alike
                total[r] = vaddq_f32(total[r], vmulq_f32(scale, vcvtq_f32_s32(acc[r])));
            }
        }
    }
    if (p->accumulators) return;
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        float lane[NEON_NR_INT];
        vst1q_f32(lane, vmulq_n_f32(total[r], p->rows->scale[row + (size_t)r]));
        memcpy(p->y + (row + (size_t)r) * p->ldy + output, lane, columns * sizeof *lane);
    }
}

// The sums of a panel's weights, 16 bytes a group in the scratch memory, are taken once for all rows.
void neon_product_packed4(const struct aq_product *p) {
    const struct aq_matrix *w = p->w;
    int32_t *weights = p->scratch;
    for (size_t panel = p->first; panel < p->last; panel++) {
        const uint8_t *packed = (const uint8_t *)w->weights + panel * w->padded / 2 * NEON_NR_INT;
        for (size_t g = 0; g < w->groups; g++)
            vst1q_s32(weights + g * NEON_NR_INT,
                      vshlq_n_s32(weight_sums(packed + g * w->group / 2 * NEON_NR_INT, w->group / RUN), 3));
#define TILE(rows) tile(rows, p, row, panel, weights)
        AQ_FOR_TILES(p->m, NEON_MR, TILE);
#undef TILE
    }
}
