#include "model_pack.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 // Linux 5.14; older ones refuse it, and the pages come one fault at a time
#endif

// Chunks a thread, so that one that is held up does not hold up the others.
enum { CHUNKS = 4 };

struct packing {
    const struct aq_kernels *kernels;
    const struct aq_linear_file *file;
    const struct aq_matrix *w;
    uint8_t *weights, *scales;
    int8_t *zeros;
    size_t panel_bytes, page;
};

// Maps the pages of `bytes` from `data` at once, rather than by some faults each.
static void populate(const void *data, size_t bytes, size_t page) {
    uintptr_t start = (uintptr_t)data & ~(uintptr_t)(page - 1), end = (uintptr_t)data + bytes;
    madvise((void *)start, end - start, MADV_POPULATE_READ); // only a wish
}

// Lets the kernel forget file pages that were packed, so that weights are not in memory twice.
static void forget(const void *data, size_t bytes, size_t page) {
    uintptr_t start = ((uintptr_t)data + page - 1) & ~(uintptr_t)(page - 1);
    uintptr_t end = ((uintptr_t)data + bytes) & ~(uintptr_t)(page - 1);
    if (end > start) madvise((void *)start, end - start, MADV_DONTNEED);
}

// Panels first..last-1: a panel's bytes come from its own rows only.
static void pack_panels(void *context, size_t first, size_t last, unsigned thread) {
    (void)thread;
    const struct packing *p = context;
    const struct aq_matrix *w = p->w;
    const struct aq_kernels *kernels = p->kernels;
    size_t nr = kernels->panel[w->format], row = first * nr, rows = aq_min(last * nr, w->n) - row;
    const void *source = p->file->weights + row * p->file->row_bytes;
    void *packed = p->weights + first * p->panel_bytes;
    populate(source, rows * p->file->row_bytes, p->page);
    if (w->format == AQ_F16) {
        kernels->pack_f16(packed, source, rows, w->k);
    } else if (w->format == AQ_BF16) {
        kernels->pack_bf16(packed, source, rows, w->k);
    } else if (w->format == AQ_I8) {
        kernels->pack_i8(packed, source, rows, w->k);
        memcpy(p->scales + row * 4, (const uint8_t *)p->file->scale + row * 4, rows * 4);
    } else {
        const uint16_t *scale = p->file->scale;
        uint16_t *scales = (uint16_t *)(void *)p->scales;
        kernels->pack_i4(packed, source, rows, w->padded);
        aq_pack_i4_scales(kernels, scales + row * w->groups, scale + row * w->groups, rows, w->groups);
        if (p->zeros)
            aq_pack_i4_zeros(kernels, p->zeros + row * w->groups, p->file->zero + row * w->groups, rows, w->groups);
    }
}

void aq_pack_linear(struct aq_pool *pool, const struct aq_kernels *kernels, const struct aq_linear_file *file,
                    const struct aq_matrix *w, void *weights, void *scales, int8_t *zeros) {
    struct packing p = {.kernels = kernels, .file = file, .w = w, .weights = weights, .scales = scales, .zeros = zeros};
    size_t nr = kernels->panel[w->format], panels = aq_panels(kernels, w->format, w->n);
    p.page = (size_t)sysconf(_SC_PAGESIZE);
    aq_packed_bytes(kernels, w->format, nr, w->format == AQ_I4 ? w->padded : w->k, &p.panel_bytes); // all of them fit
    size_t chunks = (size_t)aq_pool_threads(pool) * CHUNKS;
    aq_pool_run(pool, panels, (panels + chunks - 1) / chunks, pack_panels, &p);
    forget(file->weights, w->n * file->row_bytes, p.page);
}
