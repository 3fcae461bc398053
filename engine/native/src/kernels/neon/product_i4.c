// int4 x int8 (or int4) -> int32 a group, scaled in fp32. Panel: [k / 32][4 outputs][16 bytes], nibbles as in the file;
// tiles of 4 rows x 4 outputs.
//
// Weights are unpacked to -8..7. Bounds of the 16-bit chains: a run of 32 inputs adds 4 products to a lane.
//   8-bit activations: 4 * 8 * 127 = 4,064 a run; a chain of 8 runs (256 inputs): 32,512 < 2^15
//   4-bit activations: 4 * 8 * 7 = 224 a run; a chain of 128 runs (4,096 inputs): 28,672 < 2^15
// Chains are then summed in int32, with zero points |acc| <= 131,072 * 15 * 127 < 2^31.
#include "neon.h"

enum { RUN = 32, BYTES = 16 };

void neon_pack_i4(uint8_t *dst, const uint8_t *src, size_t n, size_t padded) {
    for (size_t first = 0; first < n; first += NEON_NR_INT)
        for (size_t run = 0; run < padded / RUN; run++)
            for (size_t o = 0; o < NEON_NR_INT; o++, dst += BYTES) {
                if (first + o < n)
                    memcpy(dst, src + (first + o) * (padded / 2) + run * BYTES, BYTES);
                else
                    memset(dst, 0x88, BYTES);
            }
}

// Sum over `runs` runs, one int32 lane an output, for every row.
AQ_INLINE void chain(const int rows, int32x4_t acc[NEON_MR], const int8_t *x, size_t ld, const uint8_t *w,
                     size_t runs) {
    int16x8_t part[NEON_MR][NEON_NR_INT];
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        AQ_UNROLL
        for (int o = 0; o < NEON_NR_INT; o++) part[r][o] = vdupq_n_s16(0);
    }
    for (size_t run = 0; run < runs; run++, w += BYTES * NEON_NR_INT, x += RUN) {
        int8x16_t low[NEON_NR_INT], high[NEON_NR_INT];
        AQ_UNROLL
        for (size_t o = 0; o < NEON_NR_INT; o++) {
            uint8x16_t both = vld1q_u8(w + o * BYTES);
            low[o] = vsubq_s8(vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15))), vdupq_n_s8(8));
            high[o] = vsubq_s8(vreinterpretq_s8_u8(vshrq_n_u8(both, 4)), vdupq_n_s8(8));
        }
        AQ_UNROLL
        for (int r = 0; r < rows; r++) {
            int8x16_t x0 = vld1q_s8(x + (size_t)r * ld), x1 = vld1q_s8(x + (size_t)r * ld + 16);
            AQ_UNROLL
            for (int o = 0; o < NEON_NR_INT; o++) {
                part[r][o] = vmlal_s8(part[r][o], vget_low_s8(x0), vget_low_s8(low[o]));
                part[r][o] = vmlal_high_s8(part[r][o], x0, low[o]);
                part[r][o] = vmlal_s8(part[r][o], vget_low_s8(x1), vget_low_s8(high[o]));
                part[r][o] = vmlal_high_s8(part[r][o], x1, high[o]);
            }
        }
    }
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        int32x4_t wide[NEON_NR_INT];
        AQ_UNROLL
        for (int o = 0; o < NEON_NR_INT; o++) wide[o] = vpaddlq_s16(part[r][o]);
        acc[r] = vaddq_s32(acc[r], vpaddq_s32(vpaddq_s32(wide[0], wide[1]), vpaddq_s32(wide[2], wide[3])));
    }
}
// acc += zero * (sum of the group's activations); offsets are -8 * sums of 32.
AQ_INLINE void add_zeros(const int rows, int32x4_t acc[NEON_MR], const int8_t *zero, const int32_t *offsets, size_t ld,
                         size_t g, size_t group) {
    const int32_t lane[NEON_NR_INT] = {zero[0], zero[1], zero[2], zero[3]};
    int32x4_t wide = vld1q_s32(lane);
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        int32_t sum = 0;
        for (size_t i = 0; i < group / 32; i++) sum -= offsets[(size_t)r * ld + g * (group / 32) + i] / 8;
        acc[r] = vmlaq_n_s32(acc[r], wide, sum);
    }
}

AQ_INLINE void tile(const int rows, const struct aq_product *p, size_t row, size_t panel) {
    const struct aq_matrix *w = p->w;
    size_t ld = p->rows->ld, output = panel * NEON_NR_INT, columns = aq_min(NEON_NR_INT, w->n - output);
    size_t longest = p->rows->limit <= 7 ? 4096 : 256;
    const int8_t *x = p->rows->q + row * ld;
    const int32_t *offsets = p->rows->offsets + row * (ld / 32);
    const uint8_t *weights = (const uint8_t *)w->weights + panel * w->padded / 2 * NEON_NR_INT;
    const uint16_t *scales = (const uint16_t *)w->scales + panel * w->groups * NEON_NR_INT;
    float32x4_t total[NEON_MR];
    AQ_UNROLL
    for (int r = 0; r < rows; r++) total[r] = vdupq_n_f32(0);
    for (size_t g = 0; g < w->groups; g++, scales += NEON_NR_INT) {
        int32x4_t acc[NEON_MR];
        AQ_UNROLL
        for (int r = 0; r < rows; r++) acc[r] = vdupq_n_s32(0);
        for (size_t at = g * w->group, end = at + w->group; at < end; at += longest)
            chain(rows, acc, x + at, ld, weights + at / 2 * NEON_NR_INT, aq_min(longest, end - at) / RUN);
        if (w->zeros)
            add_zeros(rows, acc, w->zeros + (panel * w->groups + g) * NEON_NR_INT, offsets, ld / 32, g, w->group);
        float32x4_t scale = neon_load_half(scales);
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

void neon_product_i4(const struct aq_product *p) {
    for (size_t panel = p->first; panel < p->last; panel++) {
#define TILE(rows) tile(rows, p, row, panel)
        AQ_FOR_TILES(p->m, NEON_MR, TILE);
#undef TILE
    }
}
