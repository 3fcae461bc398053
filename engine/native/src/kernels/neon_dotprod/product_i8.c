// int8 x int8 -> int32 by SDOT. Panel: [k / 16][4][8 outputs][4 inputs]; tiles of 8 rows x 8 outputs: 16 accumulators,
// 8 vectors of 16 activations (a row's quad is taken by element) and 2 of weights, so 16 loads serve 64 SDOT.
//
// Bound: a lane is one output's sum, |acc| <= 131,072 * 127 * 127 = 2,114,060,288 < 2^31.
#include "neon_dotprod.h"

enum { STEP = 16, VECTORS = DOT_NR / 4 };

void dotprod_pack_i8(int8_t *dst, const int8_t *src, size_t n, size_t k) {
    for (size_t first = 0; first < n; first += DOT_NR)
        for (size_t i = 0; i < aq_round_up(k, STEP); i += 4)
            for (size_t o = first; o < first + DOT_NR; o++)
                for (size_t j = i; j < i + 4; j++) *dst++ = o < n && j < k ? src[o * k + j] : 0;
}

AQ_INLINE void store(const struct aq_product *p, size_t row, size_t output, const int32x4_t acc[VECTORS]) {
    size_t columns = aq_min(DOT_NR, p->w->n - output);
    int32_t lane[DOT_NR];
    float y[DOT_NR], scale[DOT_NR] = {0};
    if (p->accumulators) {
        AQ_UNROLL
        for (size_t v = 0; v < VECTORS; v++) vst1q_s32(lane + 4 * v, acc[v]);
        memcpy(p->accumulators + row * p->w->n + output, lane, columns * sizeof *lane);
        return;
    }
    memcpy(scale, (const float *)p->w->scales + output, columns * sizeof *scale);
    AQ_UNROLL
    for (size_t v = 0; v < VECTORS; v++)
        vst1q_f32(y + 4 * v,
                  vmulq_n_f32(vmulq_f32(vld1q_f32(scale + 4 * v), vcvtq_f32_s32(acc[v])), p->rows->scale[row]));
    memcpy(p->y + row * p->ldy + output, y, columns * sizeof *y);
}

AQ_INLINE void tile(const int rows, const struct aq_product *p, size_t row, size_t panel) {
    size_t steps = (p->w->k + STEP - 1) / STEP, ld = p->rows->ld;
    const int8_t *w = (const int8_t *)p->w->weights + panel * steps * STEP * DOT_NR;
    const int8_t *x = p->rows->q + row * ld;
    int32x4_t acc[DOT_MR_I8][VECTORS];
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        AQ_UNROLL
        for (int v = 0; v < VECTORS; v++) acc[r][v] = vdupq_n_s32(0);
    }
    for (size_t s = 0; s < steps; s++, x += STEP, w += STEP * DOT_NR) {
        int8x16_t quads[DOT_MR_I8];
        AQ_UNROLL
        for (int r = 0; r < rows; r++) quads[r] = vld1q_s8(x + (size_t)r * ld);
#define QUAD(lane)                                                                                                     \
    do {                                                                                                               \
        int8x16_t w0 = vld1q_s8(w + 4 * DOT_NR * (lane)), w1 = vld1q_s8(w + 4 * DOT_NR * (lane) + 16);                 \
        AQ_UNROLL                                                                                                      \
        for (int r = 0; r < rows; r++) {                                                                               \
            acc[r][0] = vdotq_laneq_s32(acc[r][0], w0, quads[r], lane);                                                \
            acc[r][1] = vdotq_laneq_s32(acc[r][1], w1, quads[r], lane);                                                \
        }                                                                                                              \
    } while (0)
        QUAD(0);
        QUAD(1);
        QUAD(2);
        QUAD(3);
#undef QUAD
    }
    AQ_UNROLL
    for (int r = 0; r < rows; r++) store(p, row + (size_t)r, panel * DOT_NR, acc[r]);
}

void dotprod_product_i8(const struct aq_product *p) {
    for (size_t panel = p->first; panel < p->last; panel++) {
#define TILE(rows) tile(rows, p, row, panel)
        AQ_FOR_TILES(p->m, DOT_MR_I8, TILE);
#undef TILE
    }
}
