// The session of forward.h from the inside. session.c lays out its memory, linears.c runs products over the threads,
// attention.c has attention, cache.c what it remembers, selection.c which rows a layer has, forward.c the layers.
#ifndef AQ_SESSION_H
#define AQ_SESSION_H

#include "forward.h"

// Tokens that share one pass over the keys of a head; the score buffer is [AQ_TILE][context] a thread.
enum { AQ_TILE = 32, AQ_MAX_PRODUCTS = 3, AQ_LOW_LIMIT = 7 };

// What selection.c sorts by.
struct aq_ranked {
    float importance;
    uint32_t slot;
};

#define AQ_HAS_LEFT UINT32_MAX

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

    // Rows of x are tokens of the pass; everything else a layer computes stands in slots, which without pruning and
    // 4-bit tokens are the tokens too. Attention has the `active` tokens in their order. Its output linear has the same
    // rows, the low ones last; the feed-forward those that stay, low ones last.
    enum aq_pass pass;
    bool other_start; // the prompt does not begin with the model's start token
    size_t active, low_rows, feed_rows, feed_low;
    uint32_t *token;         // [chunk] of an attention slot
    uint32_t *order;         // [chunk] attention slot of an output slot
    uint32_t *feed_slot;     // [chunk] feed-forward slot of an output slot, or AQ_HAS_LEFT
    uint32_t *feed_token;    // [chunk] token of a feed-forward slot
    bool *is_low, *has_left; // [chunk] of a token
    // Where rows leave or get low, else NULL: probabilities on the first cache entry, by attention slot
    float *first;      // [heads][chunk]
    float *importance; // [chunk]
    struct aq_ranked *ranked;
    uint64_t rows_ran, rows_given; // halves of layers times rows since the last reset

    float *cosine, *sine; // RoPE: [context][rope_dim / 2]
    float *slopes;        // ALiBi: [heads]
    float *key_positions; // ALiBi: [layers][context] where rows leave by threshold, else [context]

    size_t *length; // [layers] cache entries; a pass adds those of `added`, [layers], at its end
    size_t *added;
    // fp16, in panels of NR so that attention is two products (shapes in docs/engine-native.md):
    uint16_t *keys;                   // [layers][kv_heads][context / NR][head_dim][NR]
    uint16_t *values;                 // [layers][kv_heads][head_dim / NR][context][NR]
    size_t head_keys, head_values;    // elements of one head
    int8_t *keys8, *values8;          // instead of them, the same shapes in int8,
    float *key_scales, *value_scales; // with a scale an entry: [layers][kv_heads][context]

    uint8_t *scratch; // per thread: kernel scratch, scores [AQ_TILE][context], a widened tile, what it gives
    size_t scratch_kernel, scratch_scores, scratch_tile, scratch_thread;

    uint8_t *memory;
    size_t memory_size;
};

// Products of the same m rows that are shared out together, one range of panels after the other.
struct aq_products {
    struct aq_session *s;
    size_t count, m, low; // the last `low` rows have 4-bit activations
    int limit;            // of the others
    struct aq_rows rows, low_rows;
    bool half; // in fp16 arithmetic
    struct aq_product part[AQ_MAX_PRODUCTS];
    size_t panels[AQ_MAX_PRODUCTS];
};

void aq_products_add(struct aq_products *ps, const struct aq_matrix *w, const float *x, size_t ldx, float *y,
                     size_t ldy);
void aq_products_run(struct aq_products *ps);

// RoPE on q and k, keys and values into the cache, then attention of the active rows into `mixed`.
void aq_attention_run(struct aq_session *s, size_t layer);

// Cache entries of attention slot `row`: its keys and values in `qkv`.
void aq_cache_store(struct aq_session *s, size_t layer, size_t row);
// Panels of `count` entries from entry `first` on, a multiple of NR, of one head: [count / NR][head_dim][NR] and
// [head_dim / NR][count][NR]. For int8 caches only.
void aq_cache_widen_keys(const struct aq_session *s, size_t layer, size_t head, size_t first, size_t count,
                         uint16_t *panels);
void aq_cache_widen_values(const struct aq_session *s, size_t layer, size_t head, size_t first, size_t count,
                           uint16_t *panels);
static inline float *aq_key_positions(const struct aq_session *s, size_t layer) {
    return s->key_positions + (s->model->prune == AQ_PRUNE_THRESHOLD ? layer * s->context : 0);
}

// A pass of s->rows tokens begins: all are there, none is low.
void aq_selection_begin(struct aq_session *s, enum aq_pass pass);
// After a layer's attention: which rows are low, and the order of rows for its output linear.
void aq_selection_low(struct aq_session *s, const struct aq_layer *layer);
// Then: which rows leave, and the slots of the feed-forward.
void aq_selection_leave(struct aq_session *s, const struct aq_layer *layer);
// Before the next layer: the rows that are left.
void aq_selection_next(struct aq_session *s);

#endif
