// Linears: integer or fp16 products of all rows, their panels shared out among the threads.
#include "session.h"

static void add_bias(const struct aq_products *ps, const struct aq_product *p) {
    size_t nr = ps->s->kernels->panel[p->w->format], from = p->first * nr, to = aq_min(p->last * nr, p->w->n);
    for (size_t row = 0; row < p->m; row++)
        ps->s->kernels->add(p->y + row * p->ldy + from, p->w->bias + from, to - from);
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
            ps->s->kernels->product[p.w->format](&p);
            if (p.w->bias) add_bias(ps, &p);
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

void aq_products_run(struct aq_products *ps) {
    ps->rows = ps->s->quantized;
    ps->rows.limit = ps->limit;
    size_t total = 0, threads = aq_pool_threads(ps->s->pool);
    for (size_t i = 0; i < ps->count; i++) total += ps->panels[i];
    // Few rows stream weights, and all threads should finish together: small chunks, still many kilobytes each. Many
    // rows are blocked over up to 8 panels in the kernels, and take long enough a panel that 4 to 8 balance well.
    size_t chunk = ps->m <= 8 ? total / (threads * 32) : aq_min(8, total / (threads * 8) / 4 * 4);
    aq_pool_run(ps->s->pool, total, aq_max(ps->m <= 8 ? 1 : 4, chunk), run_products, ps);
}
