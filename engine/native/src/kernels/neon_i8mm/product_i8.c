// int8 x int8 -> int32 by SMMLA: two rows x two outputs x eight inputs each. Panel: [k / 8][8 outputs][8 inputs]; tiles
// of 8 rows x 8 outputs: 16 accumulators, 4 vectors of activations and 4 of weights. The rows of a tile are brought
// into pairs once for all panels; a missing row is a second copy of the last one.
//
// Bound: a lane is one output's sum, |acc| <= 131,072 * 127 * 127 = 2,114,060,288 < 2^31.
#include "neon_i8mm.h"

enum { STEP = 8, UNIT = 16, PAIRS = MM_NR / 2 };

size_t i8mm_scratch_i8(size_t k) { // the rows of a tile
    return aq_round_up(k, UNIT) * MM_MR_I8;
}

void i8mm_pack_i8(int8_t *dst, const int8_t *src, size_t n, size_t k) {
    for (size_t first = 0; first < n; first += MM_NR)
        for (size_t i = 0; i < aq_round_up(k, UNIT); i += STEP)
            for (size_t o = first; o < first + MM_NR; o++)
                for (size_t j = i; j < i + STEP; j++) *dst++ = o < n && j < k ? src[o * k + j] : 0;
}

// Lanes of acc: outputs 0 and 1 of the first row, then of the second. One row's outputs:
AQ_INLINE int32x4_t row_of(const bool second, int32x4_t low, int32x4_t high) {
    int64x2_t a = vreinterpretq_s64_s32(low), b = vreinterpretq_s64_s32(high);
    return vreinterpretq_s32_s64(second ? vzip2q_s64(a, b) : vzip1q_s64(a, b));
}

AQ_INLINE void store(const struct aq_product *p, size_t row, size_t output, int32x4_t low, int32x4_t high) {
    size_t columns = aq_min(MM_NR, p->w->n - output);
    int32_t lane[MM_NR];
    vst1q_s32(lane, low);
    vst1q_s32(lane + 4, high);
    if (p->accumulators) {
        memcpy(p->accumulators + row * p->w->n + output, lane, columns * sizeof *lane);
        return;
    }
    const float *scales = (const float *)p->w->scales + output;
    for (size_t o = 0; o < columns; o++)
        p->y[row * p->ldy + output + o] = p->rows->scale[row] * (scales[o] * (float)lane[o]);
}

// x: [k / 8][pairs of rows][16]
AQ_INLINE void tile(const int rows, const struct aq_product *p, size_t row, size_t panel, const int8_t *x) {
    enum { MOST = MM_MR_I8 / 2 };
    const int pairs = (rows + 1) / 2;
    size_t steps = aq_round_up(p->w->k, UNIT) / STEP, output = panel * MM_NR;
    const int8_t *w = (const int8_t *)p->w->weights + panel * steps * STEP * MM_NR;
    int32x4_t acc[MOST][PAIRS];
    AQ_UNROLL
    for (int r = 0; r < pairs; r++) {
        AQ_UNROLL
        for (int o = 0; o < PAIRS; o++) acc[r][o] = vdupq_n_s32(0);
    }
    for (size_t s = 0; s < steps; s++, x += 16 * pairs, w += STEP * MM_NR) {
        int8x16_t weight[PAIRS];
        AQ_UNROLL
        for (int o = 0; o < PAIRS; o++) weight[o] = vld1q_s8(w + 16 * o);
        AQ_UNROLL
        for (int r = 0; r < pairs; r++) {
            int8x16_t two = vld1q_s8(x + 16 * r);
            AQ_UNROLL
            for (int o = 0; o < PAIRS; o++) acc[r][o] = vmmlaq_s32(acc[r][o], two, weight[o]);
        }
    }
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        const int32x4_t *a = acc[r / 2];
        store(p, row + (size_t)r, output, row_of(r % 2, a[0], a[1]), row_of(r % 2, a[2], a[3]));
    }
}

AQ_INLINE void tile_panels(const int rows, const struct aq_product *p, size_t row) {
    size_t ld = p->rows->ld;
    const int8_t *x = p->rows->q + row * ld;
    int8_t *paired = p->scratch, *at = paired;
    for (size_t i = 0; i < p->w->k; i += UNIT)
        for (int half = 0; half < 2; half++) {
            AQ_UNROLL
            for (int r = 0; r < rows; r += 2, at += 16) {
                int8x16_t pair[2];
                i8mm_pair(pair, x + (size_t)r * ld + i, x + (size_t)(r + 1 < rows ? r + 1 : r) * ld + i);
                vst1q_s8(at, pair[half]);
            }
        }
    for (size_t panel = p->first; panel < p->last; panel++) tile(rows, p, row, panel, paired);
}

void i8mm_product_i8(const struct aq_product *p) {
#define TILE(rows) tile_panels(rows, p, row)
    AQ_FOR_TILES(p->m, MM_MR_I8, TILE);
#undef TILE
}
