// y = x W^T, fp16 or bf16 weights widened to fp32, fused multiply-add, in the order of kernels.h. Panel: [k][16].
// Included once by each instruction set, which defines before:
//
//   F16_VECTORS, F16_MR    vectors of 16 outputs; rows of a tile
//   F16_SINGLE             panels side by side for a single row, which is bound by memory and by its chains' latency
//   f16_vector             the type; f16_zero(), f16_load(from), f16_save(to, v), f16_add(a, b)
//   f16_widen(bf16, from)  from fp16, or bf16 when the constant says so
//   f16_fma(acc, w, x)     acc + w * *x, fused
//   f16_store(y, acc, columns, add)    the panel's first `columns` outputs to y, or added to what is there
#include "kernels.h"
#include "tiles.h"

enum { F16_PANEL = 16, F16_LANES = F16_PANEL / F16_VECTORS };

// One tile over one block of inputs; weights widened (wide) or of 16 bits (narrow). Adds to y when `add`.
AQ_INLINE void f16_tile(const bool bf16, const int rows, const float *x, size_t ldx, const float *wide,
                        const uint16_t *narrow, size_t k, float *y, size_t ldy, size_t columns, bool add) {
    f16_vector acc[F16_MR][F16_VECTORS];
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        AQ_UNROLL
        for (int v = 0; v < F16_VECTORS; v++) acc[r][v] = f16_zero();
    }
    for (size_t i = 0; i < k; i++) {
        f16_vector w[F16_VECTORS];
        AQ_UNROLL
        for (size_t v = 0; v < F16_VECTORS; v++)
            w[v] = wide ? f16_load(wide + i * F16_PANEL + v * F16_LANES)
                        : f16_widen(bf16, narrow + i * F16_PANEL + v * F16_LANES);
        AQ_UNROLL
        for (int r = 0; r < rows; r++) {
            AQ_UNROLL
            for (int v = 0; v < F16_VECTORS; v++) acc[r][v] = f16_fma(acc[r][v], w[v], x + (size_t)r * ldx + i);
        }
    }
    AQ_UNROLL
    for (int r = 0; r < rows; r++) f16_store(y + (size_t)r * ldy, acc[r], columns, add);
}

AQ_INLINE void f16_single_row(const bool bf16, const int panels, const struct aq_product *p, size_t panel) {
    size_t stride = p->w->stride * F16_PANEL;
    const uint16_t *w = (const uint16_t *)p->w->weights + panel * stride;
    f16_vector sum[F16_SINGLE][F16_VECTORS];
    AQ_UNROLL
    for (int c = 0; c < panels; c++) {
        AQ_UNROLL
        for (int v = 0; v < F16_VECTORS; v++) sum[c][v] = f16_zero();
    }
    for (size_t start = 0; start < p->w->k; start += AQ_F16_BLOCK) {
        size_t end = aq_min(start + AQ_F16_BLOCK, p->w->k);
        f16_vector acc[F16_SINGLE][F16_VECTORS];
        AQ_UNROLL
        for (int c = 0; c < panels; c++) {
            AQ_UNROLL
            for (int v = 0; v < F16_VECTORS; v++) acc[c][v] = f16_zero();
        }
        for (size_t i = start; i < end; i++) {
            AQ_UNROLL
            for (int c = 0; c < panels; c++) {
                AQ_UNROLL
                for (size_t v = 0; v < F16_VECTORS; v++)
                    acc[c][v] = f16_fma(
                        acc[c][v], f16_widen(bf16, w + (size_t)c * stride + i * F16_PANEL + v * F16_LANES), p->x + i);
            }
        }
        AQ_UNROLL
        for (int c = 0; c < panels; c++) {
            AQ_UNROLL
            for (int v = 0; v < F16_VECTORS; v++) sum[c][v] = start ? f16_add(sum[c][v], acc[c][v]) : acc[c][v];
        }
    }
    AQ_UNROLL
    for (int c = 0; c < panels; c++) {
        size_t at = (panel + (size_t)c) * F16_PANEL;
        f16_store(p->y + at, sum[c], p->w->n - at, false);
    }
}

// A widened block (16 KiB) stays in the first-level cache for all rows, the rows' 256 inputs in the second-level one
// for all panels. Few rows take the weights as they are.
AQ_INLINE void f16_many_rows(const bool bf16, const struct aq_product *p) {
    const struct aq_matrix *w = p->w;
    for (size_t start = 0; start < w->k; start += AQ_F16_BLOCK) {
        size_t k = aq_min(AQ_F16_BLOCK, w->k - start);
        for (size_t panel = p->first; panel < p->last; panel++) {
            size_t columns = w->n - panel * F16_PANEL;
            const uint16_t *narrow = (const uint16_t *)w->weights + (panel * w->stride + start) * F16_PANEL;
            const float *x = p->x + start;
            float *y = p->y + panel * F16_PANEL, *wide = p->scratch;
            if (p->m <= F16_MR) {
#define TILE(rows)                                                                                                     \
    f16_tile(bf16, rows, x + row * p->ldx, p->ldx, NULL, narrow, k, y + row * p->ldy, p->ldy, columns, start > 0)
                AQ_FOR_TILES(p->m, F16_MR, TILE);
#undef TILE
                continue;
            }
            for (size_t i = 0; i < k * F16_PANEL; i += F16_LANES) f16_save(wide + i, f16_widen(bf16, narrow + i));
#define TILE(rows)                                                                                                     \
    f16_tile(bf16, rows, x + row * p->ldx, p->ldx, wide, NULL, k, y + row * p->ldy, p->ldy, columns, start > 0)
            AQ_FOR_TILES(p->m, F16_MR, TILE);
#undef TILE
        }
    }
}

AQ_INLINE void f16_product(const bool bf16, const struct aq_product *p) {
    if (p->m > 1) {
        f16_many_rows(bf16, p);
        return;
    }
    size_t panel = p->first;
    for (; panel + F16_SINGLE <= p->last; panel += F16_SINGLE) f16_single_row(bf16, F16_SINGLE, p, panel);
    if (F16_SINGLE > 2 && panel + 2 <= p->last) {
        f16_single_row(bf16, F16_SINGLE > 2 ? 2 : 1, p, panel);
        panel += 2;
    }
    for (; panel < p->last; panel++) f16_single_row(bf16, 1, p, panel);
}
