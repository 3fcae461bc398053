// The tensors of a pack: found, checked, and packed into the arena. The same walk runs twice, first to check and to add
// up sizes, then to pack.
#include "model.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct loader {
    struct aq_model *model;
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

// Lets the kernel forget file pages that were packed, so that weights are not in memory twice.
static void forget(const void *data, size_t bytes) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = ((uintptr_t)data + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)data + bytes) & ~(page - 1);
    if (end > start) madvise((void *)start, end - start, MADV_DONTNEED);
}

struct tensor_name {
    char text[96];
};

static struct tensor_name join(const char *base, const char *suffix) {
    struct tensor_name name;
    snprintf(name.text, sizeof name.text, "%s%s", base, suffix);
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

// k inputs, n outputs; the bias too where there is one.
static bool load_linear(struct loader *l, struct aq_matrix *w, enum aq_format format, const char *base, size_t k,
                        size_t n) {
    struct aq_model *m = l->model;
    const struct aq_kernels *kernels = m->kernels;
    struct tensor_name name = join(base, ".weight"), scale_name = join(base, ".scale"), bias_name = join(base, ".bias");
    *w = (struct aq_matrix){.format = format, .n = n, .k = k, .stride = k};
    const void *data, *scale = NULL;
    size_t bytes, file_bytes, row = k;
    if (format == AQ_F16) {
        data = aq_gguf_data(&m->file, name.text, AQ_TENSOR_F16, k, n, l->err);
        file_bytes = n * k * 2;
    } else if (format == AQ_I8) {
        data = aq_gguf_data(&m->file, name.text, AQ_TENSOR_I8, k, n, l->err);
        scale = data ? aq_gguf_data(&m->file, scale_name.text, AQ_TENSOR_F32, n, 0, l->err) : NULL;
        file_bytes = n * k;
    } else {
        w->group = m->group ? m->group : aq_round_up(k, 32);
        w->groups = (k + w->group - 1) / w->group;
        row = w->padded = w->groups * w->group;
        data = aq_gguf_data(&m->file, name.text, AQ_TENSOR_I8, w->padded / 2, n, l->err);
        scale = data ? aq_gguf_data(&m->file, scale_name.text, AQ_TENSOR_F16, w->groups, n, l->err) : NULL;
        file_bytes = n * w->padded / 2;
    }
    if (!data || (format != AQ_F16 && !scale)) return false;
    if (!aq_packed_bytes(kernels, format, n, row, &bytes))
        return aq_fail(l->err, "model-corrupt", "%s: too big", name.text);
    void *packed = arena_take(l, bytes);
    size_t nr = kernels->panel[format], rows = aq_panels(kernels, format, n) * nr;
    void *scales = format == AQ_F16 ? NULL : arena_take(l, rows * (format == AQ_I8 ? 4 : 2 * w->groups));
    if (aq_gguf_tensor(&m->file, bias_name.text) && !load_vector(l, &w->bias, bias_name.text, n)) return false;
    if (!l->packing) return true;
    if (format == AQ_F16) {
        kernels->pack_f16(packed, data, n, k);
    } else if (format == AQ_I8) {
        kernels->pack_i8(packed, data, n, k);
        memcpy(scales, scale, n * 4);
    } else {
        kernels->pack_i4(packed, data, n, w->padded);
        aq_pack_i4_scales(kernels, scales, scale, n, w->groups);
    }
    w->weights = packed;
    w->scales = scales;
    forget(data, file_bytes);
    return true;
}

static bool load_layer(struct loader *l, size_t index) {
    struct aq_model *m = l->model;
    struct aq_layer *layer = &m->layer[index];
    enum aq_format format = m->base == AQ_BASE_FP16 ? AQ_F16 : m->base == AQ_BASE_W8A8 ? AQ_I8 : AQ_I4;
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
    for (size_t i = 0; i < sizeof linears / sizeof *linears; i++)
        if (linears[i].there &&
            !load_linear(l, linears[i].w, format, in_layer(index, linears[i].name).text, linears[i].k, linears[i].n))
            return false;
    for (size_t place = 0; place < AQ_PLACES; place++) layer->limit[place] = m->base == AQ_BASE_W4A4 ? 7 : 127;
    return true;
}

static bool load_embedding(struct loader *l) {
    struct aq_model *m = l->model;
    m->embedding = aq_gguf_data(&m->file, "token_embd.weight", AQ_TENSOR_F16, m->width, m->vocab, l->err);
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
    return load_linear(l, &m->output, quantized ? AQ_I8 : AQ_F16, tied ? "token_embd" : "output", m->width, m->vocab);
}

bool aq_model_read_tensors(struct aq_model *m, struct aq_error *err) {
    struct loader l = {.model = m, .err = err};
    if (!load_all(&l)) return false;
    m->arena_size = l.total;
    m->arena = aq_big_alloc(m->arena_size, "the model", err);
    if (!m->arena) return false;
    l.packing = true;
    return load_all(&l);
}
