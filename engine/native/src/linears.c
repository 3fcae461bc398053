// Linears: integer or fp16 products of all rows, their panels shared out among the threads.
#include "session.h"

static void add_bias(const struct aq_products *ps, const struct aq_product *p) {
    size_t nr = ps->s->kernels->panel[p->w->format], from = p->first * nr, to = aq_min(p->last * nr, p->w->n);
    for (size_t row = 0; row < p->m; row++)
        ps->s->kernels->add(p->y + row * p->ldy + from, p->w->bias + from, to - from);
}

// The rows of full width, then the low ones with the limit that their kernels know.
static void run_panels(const struct aq_products *ps, struct aq_product p) {
    size_t full = ps->m - ps->low, parts[] = {full, ps->low};
    for (int i = 0; i < 2; i++) {
        p.m = parts[i];
        if (!p.m) continue;
        if (i == 1) {
            p.rows = &ps->low_rows;
            p.x += full * p.ldx;
            p.y += full * p.ldy;
        }
        if (ps->half)
            ps->s->kernels->product_half(&p);
        else
            ps->s->kernels->product[p.w->format](&p);
        if (p.w->bias) add_bias(ps, &p);
    }
}

// [first, last) counts panels of all parts one after the other.
static void run_products(void *context, size_t first, size_t last, unsigned thread) {
    struct aq_products *ps = context;
    for (size_t i = 0; i < ps->count && first < last; i++) {
        if (first < ps->panels[i]) {
            struct aq_product p = ps->part[i];
            p.first = first;
            p.last = aq_min(last, ps->panels[i]);
            p.scratch = ps->s->scratch + thread * ps->s->scratch_thread;
            run_panels(ps, p);
            first = p.last;
        }
        first -= ps->panels[i];
        last -= ps->panels[i];
        if ((ptrdiff_t)last <= 0) return;
    }
}

void aq_products_add(struct aq_products *ps, const struct aq_matrix *w, const float *x, size_t ldx, float *y,
                     size_t ldy) {
    struct aq_product *p = &ps->part[ps->count];
    *p = (struct aq_product){.w = w, .m = ps->m, .x = x, .ldx = ldx, .rows = &ps->rows, .y = y, .ldy = ldy};
    ps->panels[ps->count++] = aq_panels(ps->s->kernels, w->format, w->n);
}

static void round_rows(void *context, size_t first, size_t last, unsigned thread) {
    (void)thread;
    const struct aq_products *ps = context;
    const struct aq_product *p = ps->part;
    for (size_t row = first; row < last; row++)
        ps->s->kernels->round_half(&ps->s->quantized, row, p->x + row * p->ldx, p->w->k);
}

// All parts of an fp16 pack's products have the same x.
void aq_products_run(struct aq_products *ps) {
    if (!ps->m) return;
    struct aq_rows rows = ps->s->quantized;
    size_t full = ps->m - ps->low;
    rows.limit = ps->limit;
    ps->rows = rows;
    if (ps->low)
        ps->low_rows = (struct aq_rows){.ld = rows.ld,
                                        .q = rows.q + full * rows.ld,
                                        .q16 = rows.q16 + full * rows.ld,
                                        .offsets = rows.offsets + full * (rows.ld / 32),
                                        .scale = rows.scale + full,
                                        .limit = AQ_LOW_LIMIT};
    size_t total = 0, threads = aq_pool_threads(ps->s->pool);
    for (size_t i = 0; i < ps->count; i++) total += ps->panels[i];
    ps->half = ps->s->kernels->product_half && ps->s->model->base == AQ_BASE_FP16 && ps->part[0].w->format == AQ_F16;
    if (ps->half && ps->m == 1)
        round_rows(ps, 0, 1, 0);
    else if (ps->half)
        aq_pool_run(ps->s->pool, ps->m, 4, round_rows, ps);
    // Few rows stream weights, and all threads should finish together: small chunks, still many kilobytes each. Many
    // rows are blocked over up to 8 panels in the kernels, and take long enough a panel that 4 to 8 balance well.
    size_t chunk = ps->m <= 8 ? total / (threads * 32) : aq_min(8, total / (threads * 8) / 4 * 4);
    aq_pool_run(ps->s->pool, total, aq_max(ps->m <= 8 ? 1 : 4, chunk), run_products, ps);
}
