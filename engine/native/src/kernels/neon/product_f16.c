// y = x W^T, fp16 weights widened to fp32, fused multiply-add. Panel: [k][16] fp16; tiles of 4 rows x 16 outputs.
#include "neon.h"

void neon_pack_f16(uint16_t *dst, const uint16_t *src, size_t n, size_t k) {
    for (size_t first = 0; first < n; first += NEON_NR_F16, dst += k * NEON_NR_F16)
        for (size_t j = 0; j < NEON_NR_F16; j++)
            for (size_t i = 0; i < k; i++) dst[i * NEON_NR_F16 + j] = first + j < n ? src[(first + j) * k + i] : 0;
}

// `count` of the panel's 16 outputs to y, added to what stands there when `add`.
NEON_INLINE void store(float *y, const float32x4_t acc[4], size_t columns, bool add) {
    if (columns >= NEON_NR_F16) {
        for (size_t v = 0; v < 4; v++) vst1q_f32(y + 4 * v, add ? vaddq_f32(vld1q_f32(y + 4 * v), acc[v]) : acc[v]);
        return;
    }
    float lane[NEON_NR_F16];
    for (size_t v = 0; v < 4; v++) vst1q_f32(lane + 4 * v, acc[v]);
    for (size_t j = 0; j < columns; j++) y[j] = add ? y[j] + lane[j] : lane[j];
}

NEON_INLINE void tile(const int rows, const float *x, size_t ldx, const float *wide, const uint16_t *narrow, size_t k,
                      float *y, size_t ldy, size_t columns, bool add) {
    float32x4_t acc[NEON_MR][4];
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < 4; v++) acc[r][v] = vdupq_n_f32(0);
    for (size_t i = 0; i < k; i++) {
        float32x4_t w[4];
#pragma GCC unroll 4
        for (size_t v = 0; v < 4; v++)
            w[v] = wide ? vld1q_f32(wide + i * NEON_NR_F16 + 4 * v) : neon_load_half(narrow + i * NEON_NR_F16 + 4 * v);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            float value = x[(size_t)r * ldx + i];
#pragma GCC unroll 4
            for (int v = 0; v < 4; v++) acc[r][v] = vfmaq_n_f32(acc[r][v], w[v], value);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) store(y + (size_t)r * ldy, acc[r], columns, add);
}

static void widen_block(float *wide, const uint16_t *w, size_t k) {
    for (size_t i = 0; i < k * NEON_NR_F16; i += 4) vst1q_f32(wide + i, neon_load_half(w + i));
}

void neon_product_f16(const struct aq_product *p) {
    const struct aq_matrix *w = p->w;
    for (size_t start = 0; start < w->k; start += AQ_F16_BLOCK) {
        size_t k = aq_min(AQ_F16_BLOCK, w->k - start);
        for (size_t panel = p->first; panel < p->last; panel++) {
            size_t columns = w->n - panel * NEON_NR_F16;
            const uint16_t *narrow = (const uint16_t *)w->weights + (panel * w->stride + start) * NEON_NR_F16;
            const float *x = p->x + start;
            float *y = p->y + panel * NEON_NR_F16, *wide = p->scratch;
            if (p->m <= NEON_MR) {
#define TILE(rows) tile(rows, x + row * p->ldx, p->ldx, NULL, narrow, k, y + row * p->ldy, p->ldy, columns, start > 0)
                NEON_FOR_TILES(p->m, TILE);
#undef TILE
                continue;
            }
            widen_block(wide, narrow, k);
#define TILE(rows) tile(rows, x + row * p->ldx, p->ldx, wide, NULL, k, y + row * p->ldy, p->ldy, columns, start > 0)
            NEON_FOR_TILES(p->m, TILE);
#undef TILE
        }
    }
}
