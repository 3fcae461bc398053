// bf16 x bf16 -> fp32 by BFDOT: two products added to a lane. Panel: [k / 2][8 outputs][2]; tiles of 8 rows x 8
// outputs: 16 sums, 8 vectors of activations (a pair is taken by element), 2 of weights. Each output is one chain over
// all pairs of inputs, whatever the number of rows.
#include "neon_bf16.h"

enum { VECTORS = BF16_NR / 4, STEP = 2 * BF16_NR };

void bf16_pack(uint16_t *dst, const uint16_t *src, size_t n, size_t k) {
    for (size_t first = 0; first < n; first += BF16_NR)
        for (size_t i = 0; i < k; i += 2)
            for (size_t o = first; o < first + BF16_NR; o++, dst += 2) {
                dst[0] = o < n ? src[o * k + i] : 0;
                dst[1] = o < n && i + 1 < k ? src[o * k + i + 1] : 0;
            }
}

AQ_INLINE bfloat16x8_t load(const void *from) {
    return vreinterpretq_bf16_u16(vld1q_u16(from));
}

// acc + w . the pair of inputs number `lane`. The intrinsic makes clang 16 spread each pair into a register first.
#define DOT(acc, w, four, lane) __asm__("bfdot %0.4s, %1.8h, %2.2h[%3]" : "+w"(acc) : "w"(w), "w"(four), "i"(lane))

AQ_INLINE void tile(const int rows, const struct aq_product *p, size_t row, size_t panel) {
    size_t pairs = (p->w->k + 1) / 2, ld = p->rows->ld, output = panel * BF16_NR;
    size_t columns = aq_min(BF16_NR, p->w->n - output);
    const uint16_t *w = (const uint16_t *)p->w->weights + panel * pairs * STEP;
    const int16_t *x = p->rows->q16 + row * ld;
    float32x4_t acc[BF16_MR][VECTORS];
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        AQ_UNROLL
        for (int v = 0; v < VECTORS; v++) acc[r][v] = vdupq_n_f32(0);
    }
#define PAIR(lane)                                                                                                     \
    do {                                                                                                               \
        bfloat16x8_t w0 = load(w + STEP * (lane)), w1 = load(w + STEP * (lane) + 8);                                   \
        AQ_UNROLL                                                                                                      \
        for (int r = 0; r < rows; r++) {                                                                               \
            DOT(acc[r][0], w0, four[r], lane);                                                                         \
            DOT(acc[r][1], w1, four[r], lane);                                                                         \
        }                                                                                                              \
    } while (0)
    for (; pairs >= 4; pairs -= 4, x += 8, w += 4 * STEP) {
        bfloat16x8_t four[BF16_MR];
        AQ_UNROLL
        for (int r = 0; r < rows; r++) four[r] = load(x + (size_t)r * ld);
        PAIR(0);
        PAIR(1);
        PAIR(2);
        PAIR(3);
    }
    for (; pairs; pairs--, x += 2, w += STEP) { // rows are zero up to a multiple of 128, weights are not
        bfloat16x8_t four[BF16_MR];
        AQ_UNROLL
        for (int r = 0; r < rows; r++) {
            uint32_t both;
            memcpy(&both, x + (size_t)r * ld, sizeof both);
            four[r] = vreinterpretq_bf16_u32(vdupq_n_u32(both));
        }
        PAIR(0);
    }
#undef PAIR
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        float lane[BF16_NR];
        AQ_UNROLL
        for (size_t v = 0; v < VECTORS; v++) vst1q_f32(lane + 4 * v, acc[r][v]);
        memcpy(p->y + (row + (size_t)r) * p->ldy + output, lane, columns * sizeof *lane);
    }
}

void bf16_product_dot(const struct aq_product *p) {
    for (size_t panel = p->first; panel < p->last; panel++) {
#define TILE(rows) tile(rows, p, row, panel)
        AQ_FOR_TILES(p->m, BF16_MR, TILE);
#undef TILE
    }
}
