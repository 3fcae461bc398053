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

AVX2_INLINE void store(float *y, __m256 value, size_t columns, size_t from) {
    if (columns >= from + 8)
        _mm256_storeu_ps(y + from, value); // masked stores are slow on some CPUs
    else
        _mm256_maskstore_ps(y + from, avx2_mask(columns, from), value);
}

// One tile over one block of inputs; weights widened (wide) or fp16 (narrow). Adds to y when `add`.
AVX2_INLINE void tile(const int rows, const float *x, size_t ldx, const float *wide, const uint16_t *narrow, size_t k,
                      float *y, size_t ldy, size_t columns, bool add) {
    __m256 acc[AVX2_MR][2];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) acc[r][0] = acc[r][1] = _mm256_setzero_ps();
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
    __m256i mask[2] = {avx2_mask(columns, 0), avx2_mask(columns, 8)};
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        float *out = y + (size_t)r * ldy;
        if (add) {
            acc[r][0] = _mm256_add_ps(_mm256_maskload_ps(out, mask[0]), acc[r][0]);
            acc[r][1] = _mm256_add_ps(_mm256_maskload_ps(out + 8, mask[1]), acc[r][1]);
        }
        store(out, acc[r][0], columns, 0);
        store(out, acc[r][1], columns, 8);
    }
}

// A single row is bound by memory and by the latency of its chains: up to four panels go side by side.
AVX2_INLINE void single_row(const int panels, const struct aq_product *p, size_t panel) {
    size_t stride = p->w->stride * AVX2_NR;
    const uint16_t *w = (const uint16_t *)p->w->weights + panel * stride;
    const float *x = p->x;
    __m256 sum[4][2];
#pragma GCC unroll 4
    for (int c = 0; c < panels; c++) sum[c][0] = sum[c][1] = _mm256_setzero_ps();
    for (size_t start = 0; start < p->w->k; start += AQ_F16_BLOCK) {
        size_t end = aq_min(start + AQ_F16_BLOCK, p->w->k);
        __m256 acc[4][2];
#pragma GCC unroll 4
        for (int c = 0; c < panels; c++) acc[c][0] = acc[c][1] = _mm256_setzero_ps();
        for (size_t i = start; i < end; i++) {
            __m256 v = _mm256_broadcast_ss(x + i);
#pragma GCC unroll 4
            for (int c = 0; c < panels; c++) {
                const uint16_t *at = w + (size_t)c * stride + i * AVX2_NR;
                acc[c][0] = _mm256_fmadd_ps(v, load_half(at), acc[c][0]);
                acc[c][1] = _mm256_fmadd_ps(v, load_half(at + 8), acc[c][1]);
            }
        }
#pragma GCC unroll 4
        for (int c = 0; c < panels; c++) {
            sum[c][0] = start ? _mm256_add_ps(sum[c][0], acc[c][0]) : acc[c][0];
            sum[c][1] = start ? _mm256_add_ps(sum[c][1], acc[c][1]) : acc[c][1];
        }
    }
#pragma GCC unroll 4
    for (int c = 0; c < panels; c++) {
        size_t at = (panel + (size_t)c) * AVX2_NR;
        store(p->y + at, sum[c][0], p->w->n - at, 0);
        store(p->y + at, sum[c][1], p->w->n - at, 8);
    }
}

static void widen_block(float *wide, const uint16_t *w, size_t k) {
    for (size_t i = 0; i < k * AVX2_NR; i += 8) _mm256_store_ps(wide + i, load_half(w + i));
}

// A widened block (16 KiB) stays in the first-level cache for all rows, the rows' 256 inputs in the second-level one
// for all panels. Few rows take the weights as they are.
static void many_rows(const struct aq_product *p) {
    const struct aq_matrix *w = p->w;
    for (size_t start = 0; start < w->k; start += AQ_F16_BLOCK) {
        size_t k = aq_min(AQ_F16_BLOCK, w->k - start);
        for (size_t panel = p->first; panel < p->last; panel++) {
            size_t columns = w->n - panel * AVX2_NR;
            const uint16_t *narrow = (const uint16_t *)w->weights + (panel * w->stride + start) * AVX2_NR;
            const float *x = p->x + start;
            float *y = p->y + panel * AVX2_NR, *wide = p->scratch;
            if (p->m <= AVX2_MR) {
#define TILE(rows) tile(rows, x + row * p->ldx, p->ldx, NULL, narrow, k, y + row * p->ldy, p->ldy, columns, start > 0)
                AVX2_FOR_TILES(p->m, TILE);
#undef TILE
                continue;
            }
            widen_block(wide, narrow, k);
#define TILE(rows) tile(rows, x + row * p->ldx, p->ldx, wide, NULL, k, y + row * p->ldy, p->ldy, columns, start > 0)
            AVX2_FOR_TILES(p->m, TILE);
#undef TILE
        }
    }
}

void avx2_product_f16(const struct aq_product *p) {
    if (p->m > 1) {
        many_rows(p);
        return;
    }
    size_t panel = p->first;
    for (; panel + 4 <= p->last; panel += 4) single_row(4, p, panel);
    if (p->last - panel == 3) single_row(3, p, panel);
    if (p->last - panel == 2) single_row(2, p, panel);
    if (p->last - panel == 1) single_row(1, p, panel);
}
