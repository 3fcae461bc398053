// int8 x int8 -> int32. Panel: [k / 16][4 outputs][16] int8; tiles of 4 rows x 4 outputs.
//
// Bounds: SMULL and SMLAL2 leave two products in a 16-bit lane, at most 2 * 127 * 127 = 32,258 < 2^15; SADALP then adds
// pairs of lanes into int32, in all at most k / 4 products a lane: 32,768 * 16,129 = 528,515,072 < 2^31 for k <=
// 131,072, and 4 lanes together 2,114,060,288 < 2^31.
#include "neon.h"

enum { STEP = 16 };

void neon_pack_i8(int8_t *dst, const int8_t *src, size_t n, size_t k) {
    size_t steps = (k + STEP - 1) / STEP;
    for (size_t first = 0; first < n; first += NEON_NR_INT)
        for (size_t s = 0; s < steps; s++) {
            AQ_UNROLL
            for (size_t o = 0; o < NEON_NR_INT; o++)
                for (size_t j = 0; j < STEP; j++) {
                    size_t i = s * STEP + j;
                    *dst++ = first + o < n && i < k ? src[(first + o) * k + i] : 0;
                }
        }
}

AQ_INLINE int32x4_t sum_lanes(const int32x4_t acc[4]) {
    return vpaddq_s32(vpaddq_s32(acc[0], acc[1]), vpaddq_s32(acc[2], acc[3]));
}

static void store(const struct aq_product *p, size_t row, size_t output, int32x4_t acc) {
    const float *scales = (const float *)p->w->scales + output;
    size_t columns = aq_min(NEON_NR_INT, p->w->n - output);
    int32_t lane[NEON_NR_INT];
    vst1q_s32(lane, acc);
    for (size_t o = 0; o < columns; o++) {
        if (p->accumulators)
            p->accumulators[row * p->w->n + output + o] = lane[o];
        else
            p->y[row * p->ldy + output + o] = p->rows->scale[row] * (scales[o] * (float)lane[o]);
    }
}

AQ_INLINE void tile(const int rows, const struct aq_product *p, size_t row, size_t panel) {
    size_t steps = (p->w->k + STEP - 1) / STEP, ld = p->rows->ld;
    const int8_t *w = (const int8_t *)p->w->weights + panel * steps * STEP * NEON_NR_INT;
    const int8_t *x = p->rows->q + row * ld;
    int32x4_t acc[NEON_MR][NEON_NR_INT];
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        AQ_UNROLL
        for (int o = 0; o < NEON_NR_INT; o++) acc[r][o] = vdupq_n_s32(0);
    }
    for (size_t s = 0; s < steps; s++, w += STEP * NEON_NR_INT) {
        int8x16_t weight[NEON_NR_INT];
        AQ_UNROLL
        for (size_t o = 0; o < NEON_NR_INT; o++) weight[o] = vld1q_s8(w + o * STEP);
        AQ_UNROLL
        for (int r = 0; r < rows; r++) {
            int8x16_t v = vld1q_s8(x + (size_t)r * ld + s * STEP);
            AQ_UNROLL
            for (int o = 0; o < NEON_NR_INT; o++) {
                int16x8_t pair = vmull_s8(vget_low_s8(v), vget_low_s8(weight[o]));
                pair = vmlal_high_s8(pair, v, weight[o]);
                acc[r][o] = vpadalq_s16(acc[r][o], pair);
            }
        }
    }
    AQ_UNROLL
    for (int r = 0; r < rows; r++) store(p, row + (size_t)r, panel * NEON_NR_INT, sum_lanes(acc[r]));
}

void neon_product_i8(const struct aq_product *p) {
    for (size_t panel = p->first; panel < p->last; panel++) {
#define TILE(rows) tile(rows, p, row, panel)
        AQ_FOR_TILES(p->m, NEON_MR, TILE);
#undef TILE
    }
}
