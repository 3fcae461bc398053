// y = x W^T, fp16 or bf16 weights widened to fp32, fused multiply-add, in the order of kernels.h. Panel: [k][16].
// Included once by each instruction set, which defines before:
//
//   F16_VECTORS, F16_MR    vectors of 16 outputs; rows of a tile
//   F16_WIDE               panels side by side for many rows
//   F16_SINGLE             panels side by side for a single row, which is bound by memory and by its chains' latency
//   f16_vector             the type; f16_zero(), f16_load(from), f16_save(to, v), f16_add(a, b)
//   f16_widen(bf16, from)  from fp16, or bf16 when the constant says so
//   f16_fma(acc, w, x)     acc + w * *x, fused
//   F16_QUADS              optional: f16_quads(bf16, rows, panels, acc, x, ldx, wide, narrow, stride, k), for a tile's
//                          inputs from the first on: adds their products to acc, returns how many inputs that were
//   f16_store(y, acc, columns, add)    the panel's first `columns` outputs to y, or added to what is there
#include "kernels.h"
#include "tiles.h"

enum { F16_PANEL = 16, F16_LANES = F16_PANEL / F16_VECTORS, F16_TOGETHER = 8, F16_ROWS = 10 * F16_MR };

// One tile over one block of inputs: `panels` panels side by side, `stride` apart; weights widened (wide, one panel
// only) or of 16 bits (narrow). Adds to y when `add`. (columns: outputs from the first panel on.)
AQ_INLINE void f16_tile(const bool bf16, const int rows, const int panels, const float *x, size_t ldx,
                        const float *wide, const uint16_t *narrow, size_t stride, size_t k, float *y, size_t ldy,
                        size_t columns, bool add) {
    f16_vector acc[F16_MR][F16_WIDE][F16_VECTORS];
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        AQ_UNROLL
        for (int c = 0; c < panels; c++) {
            AQ_UNROLL
            for (int v = 0; v < F16_VECTORS; v++) acc[r][c][v] = f16_zero();
        }
    }
    size_t i = 0;
#ifdef F16_QUADS
    i = f16_quads(bf16, rows, panels, acc, x, ldx, wide, narrow, stride, k);
#endif
    for (; i < k; i++) {
        f16_vector w[F16_WIDE][F16_VECTORS];
        AQ_UNROLL
        for (size_t c = 0; c < (size_t)panels; c++) {
            AQ_UNROLL
            for (size_t v = 0; v < F16_VECTORS; v++)
                w[c][v] = wide ? f16_load(wide + c * stride + i * F16_PANEL + v * F16_LANES)
                               : f16_widen(bf16, narrow + c * stride + i * F16_PANEL + v * F16_LANES);
        }
        AQ_UNROLL
        for (int r = 0; r < rows; r++) {
            AQ_UNROLL
            for (int c = 0; c < panels; c++) {
                AQ_UNROLL
                for (int v = 0; v < F16_VECTORS; v++)
                    acc[r][c][v] = f16_fma(acc[r][c][v], w[c][v], x + (size_t)r * ldx + i);
            }
        }
    }
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        AQ_UNROLL
        for (size_t c = 0; c < (size_t)panels; c++)
            f16_store(y + (size_t)r * ldy + c * F16_PANEL, acc[r][c], columns - c * F16_PANEL, add);
    }
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

// `panels` panels from `panel` on, one block of inputs, `m` rows from `top` on. The widened block (16 KiB a panel)
// serves all full tiles; the last few rows, or few rows at all, take the weights as they are.
AQ_INLINE void f16_panels(const bool bf16, const int panels, const struct aq_product *p, size_t panel, size_t start,
                          size_t top, size_t m) {
    const struct aq_matrix *w = p->w;
    size_t k = aq_min(AQ_F16_BLOCK, w->k - start), stride = w->stride * F16_PANEL, full = m / F16_MR * F16_MR;
    size_t columns = w->n - panel * F16_PANEL;
    const uint16_t *narrow = (const uint16_t *)w->weights + panel * stride + start * F16_PANEL;
    const float *x = p->x + top * p->ldx + start;
    float *y = p->y + top * p->ldy + panel * F16_PANEL, *wide = p->scratch;
    if (m < 2 * F16_MR) full = 0;
    for (size_t c = 0; full && c < (size_t)panels; c++)
        for (size_t i = 0; i < k * F16_PANEL; i += F16_LANES)
            f16_save(wide + c * AQ_F16_BLOCK * F16_PANEL + i, f16_widen(bf16, narrow + c * stride + i));
    for (size_t row = 0; row < full; row += F16_MR)
        f16_tile(bf16, F16_MR, panels, x + row * p->ldx, p->ldx, wide, NULL, AQ_F16_BLOCK * F16_PANEL, k,
                 y + row * p->ldy, p->ldy, columns, start > 0);
#define TILE(rows)                                                                                                     \
    f16_tile(bf16, rows, panels, x + (full + row) * p->ldx, p->ldx, NULL, narrow, stride, k,                           \
             y + (full + row) * p->ldy, p->ldy, columns, start > 0)
    AQ_FOR_TILES(m - full, F16_MR, TILE);
#undef TILE
}

// F16_ROWS rows at a time, so that their blocks of 256 inputs and what they have of y, which every block adds to, stay
// in the second-level cache for a few panels.
AQ_INLINE void f16_many_rows(const bool bf16, const struct aq_product *p) {
    for (size_t panel = p->first; panel < p->last; panel += F16_TOGETHER)
        for (size_t top = 0; top < p->m; top += F16_ROWS)
            for (size_t start = 0; start < p->w->k; start += AQ_F16_BLOCK)
                for (size_t at = panel, last = aq_min(panel + F16_TOGETHER, p->last); at < last;) {
                    size_t m = aq_min(F16_ROWS, p->m - top);
                    bool several = F16_WIDE > 1 && at + F16_WIDE <= last;
                    if (several)
                        f16_panels(bf16, F16_WIDE, p, at, start, top, m);
                    else
                        f16_panels(bf16, 1, p, at, start, top, m);
                    at += several ? F16_WIDE : 1;
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
