// A pack (docs/packed-model.md) in memory, its weights packed for one set of kernels. model_shape.c and
// model_options.c read what the keys say, model_load.c the tensors.
#ifndef AQ_MODEL_H
#define AQ_MODEL_H

#include "gguf.h"
#include "kernels/kernels.h"
#include "threadpool.h"

enum aq_base { AQ_BASE_FP16, AQ_BASE_BF16, AQ_BASE_W8A8, AQ_BASE_W4A8, AQ_BASE_W4A4, AQ_BASES };

enum aq_norm_kind { AQ_RMSNORM, AQ_LAYERNORM };
enum aq_activation { AQ_SWIGLU, AQ_RELU, AQ_GELU };
enum aq_positions { AQ_ROPE, AQ_LEARNED, AQ_ALIBI };

// What sets the architectures apart. Everything else in a layer is the same for all.
struct aq_architecture {
    const char *name; // general.architecture, and the prefix of the keys
    enum aq_norm_kind norm;
    enum aq_activation activation; // SwiGLU has a gate beside `up`
    enum aq_positions positions;
    bool fused_qkv;      // one linear with the rows of q, then k, then v
    bool embedding_norm; // a norm follows the embedding
};

// Rows that leave after a layer's attention: those of low importance, or in the paper's way a share of the prompt.
enum aq_prune { AQ_PRUNE_NONE, AQ_PRUNE_THRESHOLD, AQ_PRUNE_PAPER };

struct aq_norm {
    const float *weight, *bias; // bias: LayerNorm only
};

// The four inputs of linears in a layer: of q, k and v; of the attention's output linear; of up and gate; of down.
enum aq_place { AQ_ATTN_IN, AQ_ATTN_OUT, AQ_FFN_IN, AQ_FFN_MID, AQ_PLACES };

struct aq_layer {
    struct aq_norm attn_norm, ffn_norm;
    struct aq_matrix q, k, v; // fused: q has all three, k and v are empty
    struct aq_matrix o, gate, up, down;
    struct aq_input input[AQ_PLACES];
    int limit[AQ_PLACES]; // largest absolute quantized activation: 127 or 7
    // Importance below which a token has 4-bit activations from here on; 0: none. [1] of prompts with another start
    float low_below[2];
    float prune_below[2]; // threshold: importance below which a token leaves; 0: none
    float keep;           // paper: share of the rows that stay; 1: all
};

struct aq_model {
    const struct aq_kernels *kernels;
    struct aq_gguf file;
    const struct aq_architecture *arch;
    enum aq_base base;
    size_t group; // I4: inputs a scale is for, 0: the whole row
    bool random_weights;
    bool norm_after; // each norm follows its residual addition, and there is none before the head
    size_t dim, width, ffn, layers, heads, kv_heads, head_dim, kv_dim, rope_dim, vocab, context;
    float epsilon;
    double rope_base;
    enum aq_probabilities probabilities;
    enum aq_prune prune;
    uint64_t start_token; // thresholds [0] are of prompts that begin with it, [1] of others; UINT64_MAX: both are one
    bool low;             // some layer has 4-bit tokens
    bool int8_kv;         // keys and values in int8

    const uint16_t *embedding; // F16, of bf16 packs BF16, [vocab][width], in the file
    const uint16_t *positions; // F16 [context][dim], in the file, or NULL
    // width differs from dim: linears between them, else empty
    struct aq_matrix embedding_in, embedding_out;
    struct aq_norm embedding_norm, output_norm; // all norms are copied into the arena
    const float *rope_freqs;                    // [rope_dim / 2] or NULL
    struct aq_layer *layer;
    struct aq_matrix output;

    uint8_t *arena; // packed weights, huge pages where the kernel gives them
    size_t arena_size, arena_used;
};

// The pool's threads pack the weights.
bool aq_model_load(struct aq_model *model, const char *path, const struct aq_kernels *kernels, struct aq_pool *pool,
                   struct aq_error *err);
void aq_model_free(struct aq_model *model);

// Whether the linears multiply integers.
static inline bool aq_model_quantized(const struct aq_model *model) {
    return model->base >= AQ_BASE_W8A8;
}

// The parts of aq_model_load. Shape and options from the keys, every value checked; then the tensors.
bool aq_model_read_keys(struct aq_model *model, struct aq_error *err);
bool aq_model_read_options(struct aq_model *model, struct aq_error *err); // needs `layer`
bool aq_model_read_tensors(struct aq_model *model, struct aq_pool *pool, struct aq_error *err);

// Anonymous zeroed memory, huge pages if possible, refused when the machine shows less than that available.
void *aq_big_alloc(size_t bytes, const char *what, struct aq_error *err);
void aq_big_free(void *memory, size_t bytes);

#endif
