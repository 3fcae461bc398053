// int8 x int8 -> int32. Panel: [k / 4][64 outputs][4] bytes, each w + 128. Tiles of 6 rows x 64 outputs: 24
// accumulators, 4 weights and 1 activation.
//
// vpdpbusd multiplies unsigned bytes (weights, 1..255) with signed ones (activations) and adds four products to an
// int32 lane. Accumulators start at -128 * (sum of the row's activations), so that they end as the sum of w * x.
// Bounds: the start is at most 131,072 * 128 * 127 = 2,130,706,432 < 2^31 in absolute value; a product at most
// 255 * 127 = 32,385; on the way a lane may pass 2^31 and wraps, as the instruction does not saturate, and the end,
// at most 131,072 * 127 * 127 = 2,114,060,288 < 2^31, is exact modulo 2^32 and so exact.
#include "avx512.h"

// STEP: bytes of four inputs
enum { VECTORS = I8_NR / 16, STEP = 4 * I8_NR };

void avx512_pack_i8(int8_t *dst, const int8_t *src, size_t n, size_t k) {
    uint8_t *out = (uint8_t *)dst;
    for (size_t first = 0; first < n; first += I8_NR)
        for (size_t i = 0; i < k; i += 4)
            for (size_t o = first; o < first + I8_NR; o++, out += 4) {
                AQ_UNROLL
                for (size_t j = 0; j < 4; j++) out[j] = (uint8_t)(o < n && i + j < k ? src[o * k + i + j] + 128 : 128);
            }
}

// -128 * the sum of the row; the quantizer left -8 times the sums of 32.
static int32_t start_of(const struct aq_product *p, size_t row) {
    const int32_t *offsets = p->rows->offsets + row * (p->rows->ld / 32);
    int32_t sum = 0;
    for (size_t i = 0; i < (p->w->k + 31) / 32; i++) sum += offsets[i];
    return 16 * sum;
}

// y = s_x * (s_w * (float)acc); no FMA, so that all instruction sets round alike.
AQ_INLINE void store(const struct aq_product *p, size_t row, size_t output, __m512i acc, __mmask16 mask) {
    if (p->accumulators) {
        _mm512_mask_storeu_epi32(p->accumulators + row * p->w->n + output, mask, acc);
        return;
    }
    __m512 scale = _mm512_maskz_loadu_ps(mask, (const float *)p->w->scales + output);
    __m512 y = _mm512_mul_ps(_mm512_set1_ps(p->rows->scale[row]), _mm512_mul_ps(scale, _mm512_cvtepi32_ps(acc)));
    float *out = p->y + row * p->ldy + output;
    if (mask == 0xffff)
        _mm512_storeu_ps(out, y);
    else
        _mm512_mask_storeu_ps(out, mask, y);
}

AQ_INLINE void tile(const int rows, const struct aq_product *p, size_t row, size_t panel) {
    size_t steps = (p->w->k + 3) / 4, ld = p->rows->ld;
    const uint8_t *w = (const uint8_t *)p->w->weights + panel * steps * STEP;
    const int8_t *x = p->rows->q + row * ld;
    __m512i acc[VNNI_MR][VECTORS];
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        AQ_UNROLL
        for (int v = 0; v < VECTORS; v++) acc[r][v] = _mm512_set1_epi32(start_of(p, row + (size_t)r));
    }
    for (size_t s = 0; s < steps; s++, w += STEP) {
        __m512i weight[VECTORS];
        AQ_UNROLL
        for (size_t v = 0; v < VECTORS; v++) weight[v] = _mm512_load_si512(w + 64 * v);
        AQ_UNROLL
        for (int r = 0; r < rows; r++) {
            __m512i quad = avx512_quad(x + (size_t)r * ld + 4 * s);
            AQ_UNROLL
            for (int v = 0; v < VECTORS; v++) acc[r][v] = _mm512_dpbusd_epi32(acc[r][v], weight[v], quad);
        }
    }
    size_t output = panel * I8_NR, columns = p->w->n - output;
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        AQ_UNROLL
        for (size_t v = 0; v < VECTORS; v++) {
            __mmask16 mask = avx512_mask(columns, 16 * v);
            if (mask) store(p, row + (size_t)r, output + 16 * v, acc[r][v], mask);
        }
    }
}

// ROWS rows at a time stay in the second-level cache for TOGETHER panels, which come from the third-level one.
void avx512_product_i8(const struct aq_product *p) {
    enum { ROWS = 16 * VNNI_MR, TOGETHER = 4 };
    for (size_t first = p->first; first < p->last; first += TOGETHER)
        for (size_t rows = 0; rows < p->m; rows += ROWS)
            for (size_t panel = first; panel < aq_min(first + TOGETHER, p->last); panel++) {
#define TILE(count) tile(count, p, rows + row, panel)
                AQ_FOR_TILES(aq_min(ROWS, p->m - rows), VNNI_MR, TILE);
#undef TILE
            }
}
