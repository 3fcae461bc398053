// bf16 x bf16 -> fp32. Panel: [k / 2][64 outputs][2]. Tiles of 6 rows x 64 outputs: 24 sums, 4 weights, 1 activation.
// Each output is one chain over all pairs of inputs, whatever the number of rows: blocks of inputs only decide which
// weights stay in the cache, and take up the sum where the block before left it in y.
#include "avx512bf16.h"

// BLOCK: inputs whose weights (64 KiB a panel) and rows (512 KiB for 512) stay in the second-level cache
enum { VECTORS = BF16_NR / 16, BLOCK = 512, STEP = 2 * BF16_NR };

void avx512_pack_bf16(uint16_t *dst, const uint16_t *src, size_t n, size_t k) {
    for (size_t first = 0; first < n; first += BF16_NR)
        for (size_t i = 0; i < k; i += 2)
            for (size_t o = first; o < first + BF16_NR; o++, dst += 2) {
                dst[0] = o < n ? src[o * k + i] : 0;
                dst[1] = o < n && i + 1 < k ? src[o * k + i + 1] : 0;
            }
}

AQ_INLINE __m512i pair(const int16_t *x) {
    int32_t both;
    memcpy(&both, x, sizeof both);
    return _mm512_set1_epi32(both);
}

// `pairs` pairs of inputs from `start` on.
AQ_INLINE void tile(const int rows, const struct aq_product *p, size_t row, size_t panel, size_t start, size_t pairs) {
    size_t ld = p->rows->ld, output = panel * BF16_NR, columns = p->w->n - output;
    const uint16_t *w = (const uint16_t *)p->w->weights + (panel * ((p->w->k + 1) / 2) + start / 2) * STEP;
    const int16_t *x = p->rows->q16 + row * ld + start;
    float *y = p->y + row * p->ldy + output;
    __m512 acc[VNNI_MR][VECTORS];
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        AQ_UNROLL
        for (size_t v = 0; v < VECTORS; v++)
            acc[r][v] =
                _mm512_maskz_loadu_ps(start ? avx512_mask(columns, 16 * v) : 0, y + (size_t)r * p->ldy + 16 * v);
    }
    for (size_t i = 0; i < pairs; i++, w += STEP, x += 2) {
        __m512i weight[VECTORS];
        AQ_UNROLL
        for (size_t v = 0; v < VECTORS; v++) weight[v] = _mm512_load_si512(w + 32 * v);
        AQ_UNROLL
        for (int r = 0; r < rows; r++) {
            __m512i both = pair(x + (size_t)r * ld);
            AQ_UNROLL
            for (size_t v = 0; v < VECTORS; v++) acc[r][v] = avx512_dot_bf16(acc[r][v], weight[v], both);
        }
    }
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        AQ_UNROLL
        for (size_t v = 0; v < VECTORS; v++) {
            float *out = y + (size_t)r * p->ldy + 16 * v;
            if (columns >= 16 * v + 16)
                _mm512_storeu_ps(out, acc[r][v]); // masked stores are slow on some CPUs
            else
                _mm512_mask_storeu_ps(out, avx512_mask(columns, 16 * v), acc[r][v]);
        }
    }
}

void avx512_product_bf16_dot(const struct aq_product *p) {
    size_t k = p->w->k, block = p->m > VNNI_MR ? BLOCK : k; // few rows stream a panel from end to end
    for (size_t start = 0; start < k; start += block) {
        size_t pairs = (aq_min(block, k - start) + 1) / 2;
        for (size_t panel = p->first; panel < p->last; panel++) {
#define TILE(rows) tile(rows, p, row, panel, start, pairs)
            AQ_FOR_TILES(p->m, VNNI_MR, TILE);
#undef TILE
        }
    }
}
