// The tensors of a pack: found, checked, and packed into the arena. The same walk runs twice, first to check and to add
// up sizes, then to pack.
#include "model.h"
#include "model_pack.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct loader {
    struct aq_model *model;
    struct aq_pool *pool;
    bool packing;
    size_t total;
    struct aq_error *err;
};

// Next `bytes` of the arena, 64-byte aligned; while only counting, NULL.
static void *arena_take(struct loader *l, size_t bytes) {
    struct aq_model *m = l->model;
    if (bytes > SIZE_MAX / 4 || l->total > SIZE_MAX / 4) {
        l->total = SIZE_MAX / 2;
        return NULL;
    }
    bytes = aq_round_up(bytes, 64);
    if (!l->packing) {
        l->total += bytes;
        return NULL;
    }
    void *p = m->arena + m->arena_used;
    m->arena_used += bytes;
    return p;
}

struct tensor_name {
    char text[96];
};

static struct tensor_name join(const char *base, const char *suffix) {
    struct tensor_name name;
    snprintf(name.text, sizeof name.text, "%.64s%.31s", base, suffix); // ours, and shorter: bounds for gcc's warning
    return name;
}

static struct tensor_name in_layer(size_t layer, const char *name) {
    struct tensor_name full;
    snprintf(full.text, sizeof full.text, "blk.%zu.%s", layer, name);
    return full;
}

static bool load_vector(struct loader *l, const float **out, const char *name, size_t n) {
    const void *data = aq_gguf_data(&l->model->file, name, AQ_TENSOR_F32, n, 0, l->err);
    if (!data) return false;
    float *copy = arena_take(l, n * sizeof(float));
    if (l->packing) {
        memcpy(copy, data, n * sizeof(float));
        *out = copy;
    }
    return true;
}

static bool load_norm(struct loader *l, struct aq_norm *norm, const char *base) {
    struct aq_model *m = l->model;
    return load_vector(l, &norm->weight, join(base, ".weight").text, m->dim) &&
           (m->arch->norm == AQ_RMSNORM || load_vector(l, &norm->bias, join(base, ".bias").text, m->dim));
}

static uint32_t tensor_type(enum aq_format format) {
    return format == AQ_F16 ? AQ_TENSOR_F16 : format == AQ_BF16 ? AQ_TENSOR_BF16 : AQ_TENSOR_I8;
}

// What a linear has beside its weights, in the file.
struct sides {
    const void *scale, *zero; // as the format has them, or NULL
    size_t scale_bytes, zero_bytes;
};

static bool find_sides(struct loader *l, const struct aq_matrix *w, const char *base, struct sides *sides) {
    const struct aq_gguf *g = &l->model->file;
    struct tensor_name scale = join(base, ".scale"), zero = join(base, ".zero");
    size_t nr = l->model->kernels->panel[w->format], rows = aq_panels(l->model->kernels, w->format, w->n) * nr;
    *sides = (struct sides){0};
    if (w->format != AQ_I8 && w->format != AQ_I4) return true;
    sides->scale = w->format == AQ_I8 ? aq_gguf_data(g, scale.text, AQ_TENSOR_F32, w->n, 0, l->err)
                                      : aq_gguf_data(g, scale.text, AQ_TENSOR_F16, w->groups, w->n, l->err);
    if (!sides->scale) return false;
    sides->scale_bytes = rows * (w->format == AQ_I8 ? 4 : 2 * w->groups);
    if (w->format != AQ_I4 || !aq_gguf_tensor(g, zero.text)) return true;
    const int8_t *zeros = aq_gguf_data(g, zero.text, AQ_TENSOR_I8, w->groups, w->n, l->err);
    if (!zeros) return false;
    for (size_t i = 0; !l->packing && i < w->n * w->groups; i++)
        if (zeros[i] < 0 || zeros[i] > 15)
            return aq_fail(l->err, "model-corrupt", "%s has a zero point outside 0..15", zero.text);
    sides->zero = zeros;
    sides->zero_bytes = rows * w->groups;
    return true;
}

// k inputs, n outputs; the bias too where there is one.
static bool load_linear(struct loader *l, struct aq_matrix *w, enum aq_format format, const char *base, size_t k,
                        size_t n) {
    struct aq_model *m = l->model;
    struct tensor_name name = join(base, ".weight"), bias = join(base, ".bias");
    *w = (struct aq_matrix){.format = format, .n = n, .k = k, .stride = k};
    size_t stored = k, bytes, unit = format == AQ_F16 || format == AQ_BF16 ? 2 : 1;
    if (format == AQ_I4) {
        w->group = m->group ? m->group : aq_round_up(k, 32);
        w->groups = (k + w->group - 1) / w->group;
        w->padded = w->groups * w->group;
        stored = w->padded / 2;
    }
    const void *data = aq_gguf_data(&m->file, name.text, tensor_type(format), stored, n, l->err);
    struct sides sides;
    if (!data || !find_sides(l, w, base, &sides)) return false;
    if (!aq_packed_bytes(m->kernels, format, n, format == AQ_I4 ? w->padded : k, &bytes))
        return aq_fail(l->err, "model-corrupt", "%s: too big", name.text);
    void *packed = arena_take(l, bytes), *scales = sides.scale ? arena_take(l, sides.scale_bytes) : NULL;
    int8_t *zeros = sides.zero ? arena_take(l, sides.zero_bytes) : NULL;
    if (aq_gguf_tensor(&m->file, bias.text) && !load_vector(l, &w->bias, bias.text, n)) return false;
    if (!l->packing) return true;
    const struct aq_linear_file source = {data, stored * unit, sides.scale, sides.zero};
    aq_pack_linear(l->pool, m->kernels, &source, w, packed, scales, zeros);
    w->weights = packed;
    w->scales = scales;
    w->zeros = zeros;
    return true;
}

// Of a layer's linear. Packs of int4 weights keep some linears in int8: their scales are F32.
static enum aq_format linear_format(const struct aq_model *m, const char *base) {
    if (m->base == AQ_BASE_FP16) return AQ_F16;
    if (m->base == AQ_BASE_BF16) return AQ_BF16;
    const struct aq_gguf_tensor *scale = aq_gguf_tensor(&m->file, join(base, ".scale").text);
    return m->base == AQ_BASE_W8A8 || (scale && scale->type == AQ_TENSOR_F32) ? AQ_I8 : AQ_I4;
}

// TRIP's factors 2^-a of the k channels, a in 0..15.
static bool load_factors(struct loader *l, struct aq_input *input, const char *base, size_t k) {
    struct tensor_name name = join(base, ".trip");
    if (!aq_gguf_tensor(&l->model->file, name.text)) return true;
    const int8_t *exponents = aq_gguf_data(&l->model->file, name.text, AQ_TENSOR_I8, k, 0, l->err);
    if (!exponents) return false;
    float *factor = arena_take(l, k * sizeof *factor);
    for (size_t i = 0; i < k; i++) {
        if (exponents[i] < 0 || exponents[i] > 15)
            return aq_fail(l->err, "model-corrupt", "%s has a factor outside 0..15", name.text);
        if (l->packing) factor[i] = ldexpf(1.0f, -exponents[i]);
    }
    if (l->packing) input->factor = factor;
    return true;
}

static bool load_order(struct loader *l, struct aq_input *input, const char *base, size_t k) {
    struct tensor_name name = join(base, ".order");
    if (!aq_gguf_tensor(&l->model->file, name.text)) return true;
    const float *places = aq_gguf_data(&l->model->file, name.text, AQ_TENSOR_F32, k, 0, l->err);
    if (!places) return false;
    enum { TAKEN = 1 << 30 };                           // beside the place: this channel was seen
    uint32_t *order = arena_take(l, k * sizeof *order); // zeros
    for (size_t j = 0; l->packing && j < k; j++) {
        float channel = places[j];
        if (!(channel >= 0 && channel < (float)k) || channel != floorf(channel) || order[(size_t)channel] & TAKEN)
            return aq_fail(l->err, "model-corrupt", "%s is no permutation of 0..%zu", name.text, k - 1);
        order[(size_t)channel] |= TAKEN;
        order[j] |= (uint32_t)channel;
    }
    for (size_t j = 0; l->packing && j < k; j++) order[j] &= ~(uint32_t)TAKEN;
    if (l->packing) input->order = order;
    return true;
}

static bool load_static(struct loader *l, struct aq_input *input, const char *base) {
    struct tensor_name name = join(base, ".static");
    if (!aq_gguf_tensor(&l->model->file, name.text)) return true;
    const float *values = aq_gguf_data(&l->model->file, name.text, AQ_TENSOR_F32, 2, 0, l->err);
    if (!values) return false;
    float scale = values[0], zero = values[1];
    if (!(scale > 1e-30f && scale < 1e30f) || !(fabsf(zero) <= 1024.0f) || zero != floorf(zero))
        return aq_fail(l->err, "model-corrupt", "%s: a scale of %g and a zero point of %g are impossible", name.text,
                       (double)scale, (double)zero);
    input->fixed = true;
    input->scale = scale;
    input->zero = zero;
    return true;
}

static bool load_inputs(struct loader *l, struct aq_layer *layer, size_t index) {
    static const char *const names[AQ_PLACES] = {"attn_in", "attn_out", "ffn_in", "ffn_mid"};
    struct aq_model *m = l->model;
    for (size_t place = 0; aq_model_quantized(m) && place < AQ_PLACES; place++) {
        struct tensor_name base = in_layer(index, names[place]);
        struct aq_input *input = &layer->input[place];
        size_t k = place == AQ_FFN_MID ? m->ffn : m->dim;
        if (!load_factors(l, input, base.text, k) || !load_order(l, input, base.text, k) ||
            !load_static(l, input, base.text))
            return false;
    }
    return true;
}

static bool load_layer(struct loader *l, size_t index) {
    struct aq_model *m = l->model;
    struct aq_layer *layer = &m->layer[index];
    bool fused = m->arch->fused_qkv, gate = m->arch->activation == AQ_SWIGLU;
    const struct {
        bool there;
        const char *name;
        struct aq_matrix *w;
        size_t k, n;
    } linears[] = {
        {fused, "attn_qkv", &layer->q, m->dim, m->dim + 2 * m->kv_dim},
        {!fused, "attn_q", &layer->q, m->dim, m->dim},
        {!fused, "attn_k", &layer->k, m->dim, m->kv_dim},
        {!fused, "attn_v", &layer->v, m->dim, m->kv_dim},
        {true, "attn_output", &layer->o, m->dim, m->dim},
        {gate, "ffn_gate", &layer->gate, m->dim, m->ffn},
        {true, "ffn_up", &layer->up, m->dim, m->ffn},
        {true, "ffn_down", &layer->down, m->ffn, m->dim},
    };
    if (!load_norm(l, &layer->attn_norm, in_layer(index, "attn_norm").text) ||
        !load_norm(l, &layer->ffn_norm, in_layer(index, "ffn_norm").text))
        return false;
    for (size_t i = 0; i < sizeof linears / sizeof *linears; i++) {
        struct tensor_name name = in_layer(index, linears[i].name);
        if (linears[i].there &&
            !load_linear(l, linears[i].w, linear_format(m, name.text), name.text, linears[i].k, linears[i].n))
            return false;
    }
    return load_inputs(l, layer, index);
}

static bool load_embedding(struct loader *l) {
    struct aq_model *m = l->model;
    m->embedding = aq_gguf_data(&m->file, "token_embd.weight", m->base == AQ_BASE_BF16 ? AQ_TENSOR_BF16 : AQ_TENSOR_F16,
                                m->width, m->vocab, l->err);
    if (!m->embedding) return false;
    if (m->arch->positions == AQ_LEARNED) {
        m->positions = aq_gguf_data(&m->file, "position_embd.weight", AQ_TENSOR_F16, m->dim, m->context, l->err);
        if (!m->positions) return false;
    }
    if (m->width != m->dim && (!load_linear(l, &m->embedding_in, AQ_F16, "embd_in", m->width, m->dim) ||
                               !load_linear(l, &m->embedding_out, AQ_F16, "embd_out", m->dim, m->width)))
        return false;
    return !m->arch->embedding_norm || load_norm(l, &m->embedding_norm, "token_embd_norm");
}

static bool load_rope_freqs(struct loader *l) {
    struct aq_model *m = l->model;
    if (m->arch->positions != AQ_ROPE || !aq_gguf_tensor(&m->file, "rope_freqs.weight")) return true;
    if (!load_vector(l, &m->rope_freqs, "rope_freqs.weight", m->rope_dim / 2)) return false;
    for (size_t i = 0; l->packing && i < m->rope_dim / 2; i++)
        if (!(m->rope_freqs[i] > 0))
            return aq_fail(l->err, "model-corrupt", "rope_freqs.weight has a value that is not positive");
    return true;
}

static bool load_all(struct loader *l) {
    struct aq_model *m = l->model;
    if (!load_embedding(l) || !load_rope_freqs(l)) return false;
    if (!m->norm_after && !load_norm(l, &m->output_norm, "output_norm")) return false;
    for (size_t i = 0; i < m->layers; i++)
        if (!load_layer(l, i)) return false;
    bool quantized = aq_model_quantized(m), tied = !quantized && !aq_gguf_tensor(&m->file, "output.weight");
    enum aq_format format = quantized ? AQ_I8 : m->base == AQ_BASE_BF16 ? AQ_BF16 : AQ_F16;
    return load_linear(l, &m->output, format, tied ? "token_embd" : "output", m->width, m->vocab);
}

bool aq_model_read_tensors(struct aq_model *m, struct aq_pool *pool, struct aq_error *err) {
    struct loader l = {.model = m, .pool = pool, .err = err};
    if (!load_all(&l)) return false;
    m->arena_size = l.total;
    m->arena = aq_big_alloc(m->arena_size, "the model", err);
    if (!m->arena) return false;
    l.packing = true;
    return load_all(&l);
}
