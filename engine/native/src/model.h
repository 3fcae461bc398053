// A LLaMA-architecture pack (docs/packed-model.md) in memory, its weights packed for one set of kernels.
#ifndef AQ_MODEL_H
#define AQ_MODEL_H

#include "gguf.h"
#include "kernels/kernels.h"

enum aq_precision { AQ_FP16, AQ_W8A8, AQ_W4A8, AQ_W4A4 };

const char *aq_precision_name(enum aq_precision precision);

struct aq_layer {
    const float *attn_norm, *ffn_norm;
    struct aq_matrix q, k, v, o, gate, up, down;
};

struct aq_model {
    const struct aq_kernels *kernels;
    struct aq_gguf file;
    enum aq_precision precision;
    bool random_weights;
    size_t dim, ffn, layers, heads, kv_heads, head_dim, kv_dim, rope_dim, vocab, context;
    float epsilon;
    double rope_base;
    const uint16_t *embedding; // F16 [vocab][dim], in the file
    const float *output_norm;  // all norms are copied into the arena
    const float *rope_freqs;   // [rope_dim / 2] or NULL
    struct aq_layer *layer;
    struct aq_matrix output;

    uint8_t *arena; // packed weights, huge pages where the kernel gives them
    size_t arena_size, arena_used;
};

bool aq_model_load(struct aq_model *model, const char *path, const struct aq_kernels *kernels, struct aq_error *err);
void aq_model_free(struct aq_model *model);

// Anonymous zeroed memory, huge pages if possible, refused when the machine shows less than that available.
void *aq_big_alloc(size_t bytes, const char *what, struct aq_error *err);
void aq_big_free(void *memory, size_t bytes);

#endif
