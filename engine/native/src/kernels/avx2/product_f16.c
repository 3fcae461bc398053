// y = x W^T, fp16 weights widened to fp32, fused multiply-add. Panel: [k][16] fp16.
#include "avx2.h"

void avx2_pack_f16(uint16_t *dst, const uint16_t *src, size_t n, size_t k) {
    for (size_t first = 0; first < n; first += AVX2_NR, dst += k * AVX2_NR)
        for (size_t j = 0; j < AVX2_NR; j++)
            for (size_t i = 0; i < k; i++) dst[i * AVX2_NR + j] = first + j < n ? src[(first + j) * k + i] : 0;
}

AVX2_INLINE __m256 load_half(const uint16_t *w) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)w));
}

// One tile over k inputs; weights widened (wide) or fp16 (narrow). Adds to y when `add`.
AVX2_INLINE void tile(const int rows, const float *x, size_t ldx, const float *wide, const uint16_t *narrow, size_t k,
                      float *y, size_t ldy, size_t columns, bool add) {
    __m256 acc[AVX2_MR][2];
    __m256i mask[2] = {avx2_mask(columns, 0), avx2_mask(columns, 8)};
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        acc[r][0] = add ? _mm256_maskload_ps(y + (size_t)r * ldy, mask[0]) : _mm256_setzero_ps();
        acc[r][1] = add ? _mm256_maskload_ps(y + (size_t)r * ldy + 8, mask[1]) : _mm256_setzero_ps();
    }
    for (size_t i = 0; i < k; i++) {
        __m256 w0 = wide ? _mm256_load_ps(wide + i * AVX2_NR) : load_half(narrow + i * AVX2_NR);
        __m256 w1 = wide ? _mm256_load_ps(wide + i * AVX2_NR + 8) : load_half(narrow + i * AVX2_NR + 8);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            __m256 v = _mm256_broadcast_ss(x + (size_t)r * ldx + i);
            acc[r][0] = _mm256_fmadd_ps(v, w0, acc[r][0]);
            acc[r][1] = _mm256_fmadd_ps(v, w1, acc[r][1]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        if (columns >= AVX2_NR) { // masked stores are slow on some CPUs
            _mm256_storeu_ps(y + (size_t)r * ldy, acc[r][0]);
            _mm256_storeu_ps(y + (size_t)r * ldy + 8, acc[r][1]);
        } else {
            _mm256_maskstore_ps(y + (size_t)r * ldy, mask[0], acc[r][0]);
            _mm256_maskstore_ps(y + (size_t)r * ldy + 8, mask[1], acc[r][1]);
        }
    }
}

// A single row is bound by memory: four independent chains hide the latency of FMA.
static void single_row(const float *x, const uint16_t *w, size_t k, float *y, size_t columns) {
    __m256 acc[4][2];
    for (int c = 0; c < 4; c++) acc[c][0] = acc[c][1] = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + 4 <= k; i += 4)
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) {
            __m256 v = _mm256_broadcast_ss(x + i + (size_t)c);
            acc[c][0] = _mm256_fmadd_ps(v, load_half(w + (i + (size_t)c) * AVX2_NR), acc[c][0]);
            acc[c][1] = _mm256_fmadd_ps(v, load_half(w + (i + (size_t)c) * AVX2_NR + 8), acc[c][1]);
        }
    for (; i < k; i++) {
        __m256 v = _mm256_broadcast_ss(x + i);
        acc[0][0] = _mm256_fmadd_ps(v, load_half(w + i * AVX2_NR), acc[0][0]);
        acc[0][1] = _mm256_fmadd_ps(v, load_half(w + i * AVX2_NR + 8), acc[0][1]);
    }
    for (int half = 0; half < 2; half++) {
        __m256 sum =
            _mm256_add_ps(_mm256_add_ps(acc[0][half], acc[1][half]), _mm256_add_ps(acc[2][half], acc[3][half]));
        if (columns >= AVX2_NR)
            _mm256_storeu_ps(y + 8 * half, sum);
        else
            _mm256_maskstore_ps(y + 8 * half, avx2_mask(columns, 8 * (size_t)half), sum);
    }
}

static void widen_block(float *wide, const uint16_t *w, size_t k) {
    for (size_t i = 0; i < k * AVX2_NR; i += 8) _mm256_store_ps(wide + i, load_half(w + i));
}

// Blocks of 256 inputs: a widened block (16 KiB) stays in the first-level cache for all rows, the rows' 256 inputs in
// the second-level one for all panels.
static void many_rows(const struct aq_product *p) {
    const struct aq_matrix *w = p->w;
    float *wide = p->scratch;
    for (size_t start = 0; start < w->k; start += AVX2_F16_BLOCK) {
        size_t k = aq_min(AVX2_F16_BLOCK, w->k - start);
        for (size_t panel = p->first; panel < p->last; panel++) {
            size_t columns = w->n - panel * AVX2_NR;
            widen_block(wide, (const uint16_t *)w->weights + (panel * w->stride + start) * AVX2_NR, k);
            const float *x = p->x + start;
            float *y = p->y + panel * AVX2_NR;
#define TILE(rows) tile(rows, x + row * p->ldx, p->ldx, wide, NULL, k, y + row * p->ldy, p->ldy, columns, start > 0)
            AVX2_FOR_TILES(p->m, TILE);
#undef TILE
        }
    }
}

void avx2_product_f16(const struct aq_product *p) {
    const struct aq_matrix *w = p->w;
    if (p->m > AVX2_MR) {
        many_rows(p);
        return;
    }
    for (size_t panel = p->first; panel < p->last; panel++) {
        const uint16_t *weights = (const uint16_t *)w->weights + panel * w->stride * AVX2_NR;
        size_t columns = w->n - panel * AVX2_NR;
        float *y = p->y + panel * AVX2_NR;
        if (p->m == 1) {
            single_row(p->x, weights, w->k, y, columns);
            continue;
        }
#define TILE(rows)                                                                                                     \
    tile(rows, p->x + row * p->ldx, p->ldx, NULL, weights, w->k, y + row * p->ldy, p->ldy, columns, false)
        AVX2_FOR_TILES(p->m, TILE);
#undef TILE
    }
}
