// y = x W^T in fp16 FMLA: eight products an instruction, twice those of fp32. fp16 has 11 bits, so a chain is at most
// 32 products long and starts at zero; then it is added to an fp32 sum. Chains run over ascending inputs and are added
// in ascending order for any number of rows, so results do not depend on chunks or threads; they differ from fp32
// arithmetic by rounding (docs/engine-native.md has by how much).
//
// A row is multiplied by a power of two that brings its largest value to [4, 8), and the result by the inverse: a large
// row does not overflow while it is stored, a small one keeps its bits. Bound: 32 * 8 * |w| < 65,504 for weights below
// 255; beyond that a chain can become infinite, which a job reports as not-finite.
//
// Panel: [k][16], the table's common one. Tiles of 8 rows x 16 outputs: 16 accumulators, 8 vectors of activations
// (taken by element) and 2 of weights, so 2 loads serve 16 FMLA; fp32 sums stay in memory and are touched once in 32
// inputs.
#include "neon_fp16.h"

#include <math.h>

enum { MR = 8, NR = NEON_NR_F16, CHAIN = 32, BLOCK = 512, SINGLE = 4 };

typedef float16x8_t halves;

AQ_INLINE halves load(const void *from) {
    return vreinterpretq_f16_u16(vld1q_u16(from));
}

void neon_round_half(struct aq_rows *rows, size_t row, const float *restrict x, size_t k) {
    float32x4_t most = vdupq_n_f32(0);
    size_t i = 0;
    for (; i + 4 <= k; i += 4) most = vmaxnmq_f32(most, vabsq_f32(vld1q_f32(x + i)));
    float largest = vmaxnmvq_f32(most);
    for (; i < k; i++) largest = fmaxf(largest, fabsf(x[i]));
    // largest = m * 2^exponent, 1 <= m < 2; zero, infinite and subnormal rows take what fits a power of two
    int exponent = (int)(aq_float_to_bits(largest) >> 23 & 255) - 127;
    exponent = exponent < -100 ? -100 : exponent > 100 ? 100 : exponent;
    float factor = aq_bits_to_float((uint32_t)(129 - exponent) << 23); // 2^(2 - exponent)
    rows->scale[row] = aq_bits_to_float((uint32_t)(125 + exponent) << 23);
    uint16_t *half = (uint16_t *)(void *)(rows->q16 + row * rows->ld);
    for (i = 0; i + 4 <= k; i += 4)
        vst1_u16(half + i, vreinterpret_u16_f16(vcvt_f16_f32(vmulq_n_f32(vld1q_f32(x + i), factor))));
    for (; i < k; i++) half[i] = aq_float_to_half(x[i] * factor);
    memset(half + k, 0, (aq_round_up(k, 128) - k) * sizeof *half);
}

// acc += x[0..8) * w, one chain an output.
AQ_INLINE void multiply(const int rows, halves (*acc)[2], const uint16_t *x, size_t ld, const uint16_t *w) {
    halves row[MR];
    AQ_UNROLL
    for (int r = 0; r < rows; r++) row[r] = load(x + (size_t)r * ld);
#define LANE(lane)                                                                                                     \
    do {                                                                                                               \
        halves w0 = load(w + NR * (lane)), w1 = load(w + NR * (lane) + 8);                                             \
        AQ_UNROLL                                                                                                      \
        for (int r = 0; r < rows; r++) {                                                                               \
            acc[r][0] = vfmaq_laneq_f16(acc[r][0], w0, row[r], lane);                                                  \
            acc[r][1] = vfmaq_laneq_f16(acc[r][1], w1, row[r], lane);                                                  \
        }                                                                                                              \
    } while (0)
    LANE(0);
    LANE(1);
    LANE(2);
    LANE(3);
    LANE(4);
    LANE(5);
    LANE(6);
    LANE(7);
#undef LANE
}

AQ_INLINE void multiply_one(const int rows, halves (*acc)[2], const uint16_t *x, size_t ld, const uint16_t *w) {
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        halves value = vreinterpretq_f16_u16(vld1q_dup_u16(x + (size_t)r * ld));
        acc[r][0] = vfmaq_f16(acc[r][0], load(w), value);
        acc[r][1] = vfmaq_f16(acc[r][1], load(w + 8), value);
    }
}

// By hand: clang moves the upper half down first.
AQ_INLINE float32x4_t widen_high(halves from) {
    float32x4_t to;
    __asm__("fcvtl2 %0.4s, %1.8h" : "=w"(to) : "w"(from));
    return to;
}

AQ_INLINE void add_chain(float32x4_t sum[4], const halves acc[2]) {
    AQ_UNROLL
    for (int v = 0; v < 2; v++) {
        sum[2 * v] = vaddq_f32(sum[2 * v], vcvt_f32_f16(vget_low_f16(acc[v])));
        sum[2 * v + 1] = vaddq_f32(sum[2 * v + 1], widen_high(acc[v]));
    }
}

AQ_INLINE void zero(const int rows, halves acc[MR][2]) {
    AQ_UNROLL
    for (int r = 0; r < rows; r++) acc[r][0] = acc[r][1] = vreinterpretq_f16_u16(vdupq_n_u16(0));
}

// sum [row][4] of one block of inputs.
AQ_INLINE void block(const int rows, float32x4_t sum[MR][4], const uint16_t *x, size_t ld, const uint16_t *w,
                     size_t k) {
    halves acc[MR][2];
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        AQ_UNROLL
        for (int v = 0; v < 4; v++) sum[r][v] = vdupq_n_f32(0);
    }
    size_t i = 0;
    while (i + CHAIN <= k) {
        zero(rows, acc);
        for (size_t end = i + CHAIN; i < end; i += 8) multiply(rows, acc, x + i, ld, w + i * NR);
        AQ_UNROLL
        for (int r = 0; r < rows; r++) add_chain(sum[r], acc[r]);
    }
    if (i == k) return;
    zero(rows, acc);
    for (; i + 8 <= k; i += 8) multiply(rows, acc, x + i, ld, w + i * NR);
    for (; i < k; i++) multiply_one(rows, acc, x + i, ld, w + i * NR);
    AQ_UNROLL
    for (int r = 0; r < rows; r++) add_chain(sum[r], acc[r]);
}

AQ_INLINE void tile(const int rows, const struct aq_product *p, size_t row, size_t panel, size_t start) {
    const struct aq_matrix *w = p->w;
    size_t output = panel * NR, columns = aq_min(NR, w->n - output), ld = p->rows->ld;
    const uint16_t *x = (const uint16_t *)(const void *)p->rows->q16 + row * ld + start;
    float32x4_t sum[MR][4];
    block(rows, sum, x, ld, (const uint16_t *)w->weights + (panel * w->stride + start) * NR,
          aq_min(BLOCK, w->k - start));
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        float lane[NR], *y = p->y + (row + (size_t)r) * p->ldy + output;
        AQ_UNROLL
        for (int v = 0; v < 4; v++) vst1q_f32(lane + 4 * v, vmulq_n_f32(sum[r][v], p->rows->scale[row + (size_t)r]));
        for (size_t o = 0; o < columns; o++) y[o] = start ? y[o] + lane[o] : lane[o];
    }
}

// A single row is bound by memory and by the latency of its chains: several panels side by side.
AQ_INLINE void single_row(const int panels, const struct aq_product *p, size_t panel) {
    const struct aq_matrix *w = p->w;
    size_t stride = w->stride * NR;
    for (size_t start = 0; start < w->k; start += BLOCK) {
        const uint16_t *x = (const uint16_t *)(const void *)p->rows->q16 + start;
        const uint16_t *weights = (const uint16_t *)w->weights + panel * stride + start * NR;
        size_t k = aq_min(BLOCK, w->k - start), i = 0;
        float32x4_t sum[SINGLE][4];
        AQ_UNROLL
        for (int c = 0; c < panels; c++) {
            AQ_UNROLL
            for (int v = 0; v < 4; v++) sum[c][v] = vdupq_n_f32(0);
        }
        while (i < k) {
            halves acc[SINGLE][2];
            AQ_UNROLL
            for (int c = 0; c < panels; c++) acc[c][0] = acc[c][1] = vreinterpretq_f16_u16(vdupq_n_u16(0));
            size_t end = aq_min(i + CHAIN, k);
            for (; i + 8 <= end; i += 8) {
                AQ_UNROLL
                for (int c = 0; c < panels; c++) multiply(1, acc + c, x + i, 0, weights + (size_t)c * stride + i * NR);
            }
            for (; i < end; i++) {
                AQ_UNROLL
                for (int c = 0; c < panels; c++)
                    multiply_one(1, acc + c, x + i, 0, weights + (size_t)c * stride + i * NR);
            }
            AQ_UNROLL
            for (int c = 0; c < panels; c++) add_chain(sum[c], acc[c]);
        }
        AQ_UNROLL
        for (int c = 0; c < panels; c++) {
            size_t output = (panel + (size_t)c) * NR, columns = aq_min(NR, w->n - output);
            float lane[NR], *y = p->y + output;
            AQ_UNROLL
            for (int v = 0; v < 4; v++) vst1q_f32(lane + 4 * v, vmulq_n_f32(sum[c][v], p->rows->scale[0]));
            for (size_t o = 0; o < columns; o++) y[o] = start ? y[o] + lane[o] : lane[o];
        }
    }
}

void neon_product_half(const struct aq_product *p) {
    if (p->m == 1) {
        size_t panel = p->first;
        for (; panel + SINGLE <= p->last; panel += SINGLE) single_row(SINGLE, p, panel);
        for (; panel < p->last; panel++) single_row(1, p, panel);
        return;
    }
    for (size_t start = 0; start < p->w->k; start += BLOCK)
        for (size_t panel = p->first; panel < p->last; panel++) {
#define TILE(rows) tile(rows, p, row, panel, start)
            AQ_FOR_TILES(p->m, MR, TILE);
#undef TILE
        }
}
