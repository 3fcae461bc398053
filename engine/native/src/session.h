// The session of forward.h from the inside. session.c lays out its memory, linears.c runs products over the threads,
// attention.c has the cache and its products, forward.c the layers.
#ifndef AQ_SESSION_H
#define AQ_SESSION_H

#include "forward.h"

// Tokens that share one pass over the keys of a head; the score buffer is [AQ_TILE][context] a thread.
enum { AQ_TILE = 32, AQ_MAX_PRODUCTS = 3 };

struct aq_session {
    const struct aq_model *model;
    const struct aq_kernels *kernels;
    struct aq_pool *pool;
    const atomic_bool *stop;
    size_t context, chunk, logit_rows, position, rows;
    size_t ld, ld_qkv, ld_ffn, ld_width,
        ld_scores; // strides of rows of dim, q + k + v, ffn, width and context elements

    // [chunk][...] each
    float *x;         // [dim] residual stream
    float *normed;    // [dim]
    float *qkv;       // [dim + 2 kv_dim] q, k, v; after the attention, its first dim hold what a linear adds to x
    float *mixed;     // [dim] attention output
    float *gate, *up; // [ffn]; up only where the activation has a gate: else gate alone is the input of down
    float *embedded;  // [width] embedding before, or hidden state after, a projection; NULL: there is none
    float *logits;    // [logit_rows][vocab]
    struct aq_rows quantized;

    float *cosine, *sine; // RoPE: [context][rope_dim / 2]
    float *slopes;        // ALiBi: [heads]
    float *key_positions; // ALiBi: [context]

    // fp16, in panels of NR so that attention is two products (shapes in docs/engine-native.md):
    uint16_t *keys;                // [layers][kv_heads][context / NR][head_dim][NR]
    uint16_t *values;              // [layers][kv_heads][head_dim / NR][context][NR]
    size_t head_keys, head_values; // elements of one head

    uint8_t *scratch; // per thread: kernel scratch, then scores [AQ_TILE][context]
    size_t scratch_kernel, scratch_thread;

    uint8_t *memory;
    size_t memory_size;
};

// Products of the same m rows that are shared out together, one range of panels after the other.
struct aq_products {
    struct aq_session *s;
    size_t count, m;
    int limit; // of the quantized rows
    struct aq_rows rows;
    struct aq_product part[AQ_MAX_PRODUCTS];
    size_t panels[AQ_MAX_PRODUCTS];
};

void aq_products_add(struct aq_products *ps, const struct aq_matrix *w, const float *x, size_t ldx, float *y,
                     size_t ldy);
void aq_products_run(struct aq_products *ps);

// RoPE on q and k, keys and values into the cache, then attention of the session's rows into `mixed`.
void aq_attention_run(struct aq_session *s, size_t layer);

#endif
