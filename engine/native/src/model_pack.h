// A linear of a file, packed for the kernels by all threads.
#ifndef AQ_MODEL_PACK_H
#define AQ_MODEL_PACK_H

#include "kernels/kernels.h"
#include "threadpool.h"

// A linear's rows in the mapped file, an output each.
struct aq_linear_file {
    const uint8_t *weights; // [n][row_bytes]
    size_t row_bytes;
    const void *scale;  // I8: F32 [n]; I4: F16 [n][groups]
    const int8_t *zero; // I4: [n][groups] or NULL
};

// Packs `file` into w's weights, scales and zeros. These are in zeroed memory of aq_packed_bytes, and scales and zeros
// of whole panels. The bytes do not depend on the number of threads. Lets the file's pages of weights go.
void aq_pack_linear(struct aq_pool *pool, const struct aq_kernels *kernels, const struct aq_linear_file *file,
                    const struct aq_matrix *w, void *weights, void *scales, int8_t *zeros);

#endif
