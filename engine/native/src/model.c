#include "model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// int32 accumulators hold rows up to this length (docs/packed-model.md).
enum { MAX_ROW = 131072, MAX_LAYERS = 1024, MAX_VOCAB = 1 << 24, MAX_CONTEXT = 1 << 24 };

const char *aq_precision_name(enum aq_precision precision) {
    static const char *const names[] = {"fp16", "w8a8", "w4a8", "w4a4"};
    return names[precision];
}

static uint64_t memory_available(void) {
    char *text = aq_read_file("/proc/meminfo", 65536, NULL);
    if (!text) return 0;
    const char *line = strstr(text, "MemAvailable:");
    uint64_t kib = line ? strtoull(line + 13, NULL, 10) : 0;
    free(text);
    return kib * 1024;
}

void *aq_big_alloc(size_t bytes, const char *what, struct aq_error *err) {
    uint64_t available = memory_available();
    if (available && bytes > available) {
        aq_fail(err, "memory", "%s needs %.2f GiB, the board has %.2f GiB available", what, (double)bytes / 0x1p30,
                (double)available / 0x1p30);
        return NULL;
    }
    void *memory = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        aq_fail(err, "memory", "cannot allocate %.2f GiB for %s", (double)bytes / 0x1p30, what);
        return NULL;
    }
    madvise(memory, bytes, MADV_HUGEPAGE); // only a wish
    return memory;
}

void aq_big_free(void *memory, size_t bytes) {
    if (memory) munmap(memory, bytes ? bytes : 1);
}

static bool need_size(const struct aq_gguf *g, const char *key, uint64_t low, uint64_t high, size_t *out,
                      struct aq_error *err) {
    uint64_t value;
    if (!aq_gguf_uint(g, key, &value)) return aq_fail(err, "model-corrupt", "key %s is missing or not a number", key);
    if (value < low || value > high)
        return aq_fail(err, "model-unsupported", "%s is %llu, possible are %llu to %llu", key,
                       (unsigned long long)value, (unsigned long long)low, (unsigned long long)high);
    *out = (size_t)value;
    return true;
}

static bool read_precision(struct aq_model *m, size_t *group, struct aq_error *err) {
    const struct aq_gguf *g = &m->file;
    *group = 0;
    if (!aq_gguf_find(g, "agilequant.precision")) return true; // any llama.cpp file with F16 tensors
    uint64_t format;
    if (!aq_gguf_uint(g, "agilequant.format", &format) || format != 1)
        return aq_fail(err, "model-unsupported", "pack format is not 1; update the engine or pack the model again");
    for (int p = AQ_FP16; p <= AQ_W4A4; p++)
        if (aq_gguf_is_string(g, "agilequant.precision", aq_precision_name((enum aq_precision)p))) {
            static const uint8_t bits[][2] = {{16, 16}, {8, 8}, {4, 8}, {4, 4}};
            uint64_t w, a;
            m->precision = (enum aq_precision)p;
            if ((aq_gguf_uint(g, "agilequant.weight_bits", &w) && w != bits[p][0]) ||
                (aq_gguf_uint(g, "agilequant.activation_bits", &a) && a != bits[p][1]))
                return aq_fail(err, "model-corrupt", "weight or activation bits contradict the precision");
            if (p < AQ_W4A8) return true;
            if (!need_size(g, "agilequant.group_size", 0, 128, group, err)) return false;
            if (*group != 0 && *group != 32 && *group != 64 && *group != 128)
                return aq_fail(err, "model-unsupported", "group size %zu is not one of 0, 32, 64, 128", *group);
            return true;
        }
    return aq_fail(err, "model-unsupported", "this engine knows the precisions fp16, w8a8, w4a8, w4a4 only");
}

static bool read_shape(struct aq_model *m, struct aq_error *err) {
    const struct aq_gguf *g = &m->file;
    double value;
    if (!aq_gguf_is_string(g, "general.architecture", "llama"))
        return aq_fail(err, "model-unsupported", "general.architecture is not llama");
    if (!need_size(g, "llama.embedding_length", 1, MAX_ROW, &m->dim, err) ||
        !need_size(g, "llama.feed_forward_length", 1, MAX_ROW, &m->ffn, err) ||
        !need_size(g, "llama.block_count", 1, MAX_LAYERS, &m->layers, err) ||
        !need_size(g, "llama.attention.head_count", 1, 4096, &m->heads, err) ||
        !need_size(g, "llama.context_length", 1, MAX_CONTEXT, &m->context, err))
        return false;
    m->kv_heads = m->heads;
    if (aq_gguf_find(g, "llama.attention.head_count_kv") &&
        !need_size(g, "llama.attention.head_count_kv", 1, m->heads, &m->kv_heads, err))
        return false;
    if (m->dim % m->heads || m->heads % m->kv_heads)
        return aq_fail(err, "model-unsupported", "%zu heads divide neither %zu channels nor into %zu key-value heads",
                       m->heads, m->dim, m->kv_heads);
    m->head_dim = m->dim / m->heads;
    m->kv_dim = m->head_dim * m->kv_heads;
    m->rope_dim = m->head_dim;
    uint64_t key_length;
    if (aq_gguf_uint(g, "llama.attention.key_length", &key_length) && key_length != m->head_dim)
        return aq_fail(err, "model-unsupported", "heads of a size other than channels / heads are not supported");
    if (aq_gguf_find(g, "llama.rope.dimension_count") &&
        !need_size(g, "llama.rope.dimension_count", 2, m->head_dim, &m->rope_dim, err))
        return false;
    if (m->rope_dim % 2) return aq_fail(err, "model-unsupported", "odd number of rotary channels (%zu)", m->rope_dim);
    if (aq_gguf_find(g, "llama.rope.scaling.type") && !aq_gguf_is_string(g, "llama.rope.scaling.type", "none"))
        return aq_fail(err, "model-unsupported", "RoPE scaling by key is not supported (rope_freqs.weight is)");
    if (!aq_gguf_float(g, "llama.attention.layer_norm_rms_epsilon", &value) || !(value >= 0 && value < 1))
        return aq_fail(err, "model-corrupt", "llama.attention.layer_norm_rms_epsilon is missing or impossible");
    m->epsilon = (float)value;
    m->rope_base = 10000.0;
    if (aq_gguf_find(g, "llama.rope.freq_base") &&
        (!aq_gguf_float(g, "llama.rope.freq_base", &m->rope_base) || !(m->rope_base >= 1 && m->rope_base < 1e12)))
        return aq_fail(err, "model-corrupt", "llama.rope.freq_base is impossible");
    const struct aq_gguf_tensor *t = aq_gguf_tensor(g, "token_embd.weight");
    if (!t) return aq_fail(err, "model-corrupt", "tensor token_embd.weight is missing");
    if (t->size[1] < 1 || t->size[1] > MAX_VOCAB)
        return aq_fail(err, "model-unsupported", "vocabulary of %llu entries", (unsigned long long)t->size[1]);
    m->vocab = (size_t)t->size[1];
    return true;
}

// A linear: where it is in the file, and how it is packed. Called twice: first to add up sizes, then to pack.
struct loader {
    struct aq_model *model;
    size_t group;
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

static bool load_linear(struct loader *l, struct aq_matrix *w, enum aq_format format, const char *base, size_t k,
                        size_t n) {
    struct aq_model *m = l->model;
    const struct aq_kernels *kernels = m->kernels;
    char name[128], scale_name[128];
    snprintf(name, sizeof name, "%s.weight", base);
    snprintf(scale_name, sizeof scale_name, "%s.scale", base);
    *w = (struct aq_matrix){.format = format, .n = n, .k = k, .stride = k};
    const void *data, *scale = NULL;
    size_t bytes, file_bytes, row = k;
    if (format == AQ_F16) {
        data = aq_gguf_data(&m->file, name, AQ_TENSOR_F16, k, n, l->err);
        file_bytes = n * k * 2;
    } else if (format == AQ_I8) {
        data = aq_gguf_data(&m->file, name, AQ_TENSOR_I8, k, n, l->err);
        scale = data ? aq_gguf_data(&m->file, scale_name, AQ_TENSOR_F32, n, 0, l->err) : NULL;
        file_bytes = n * k;
    } else {
        w->group = l->group ? l->group : aq_round_up(k, 32);
        w->groups = (k + w->group - 1) / w->group;
        row = w->padded = w->groups * w->group;
        data = aq_gguf_data(&m->file, name, AQ_TENSOR_I8, w->padded / 2, n, l->err);
        scale = data ? aq_gguf_data(&m->file, scale_name, AQ_TENSOR_F16, w->groups, n, l->err) : NULL;
        file_bytes = n * w->padded / 2;
    }
    if (!data || (format != AQ_F16 && !scale)) return false;
    if (!aq_packed_bytes(kernels, format, n, row, &bytes)) return aq_fail(l->err, "model-corrupt", "%s: too big", name);
    void *packed = arena_take(l, bytes);
    size_t nr = kernels->panel[format], rows = aq_panels(kernels, format, n) * nr;
    void *scales = format == AQ_F16 ? NULL : arena_take(l, rows * (format == AQ_I8 ? 4 : 2 * w->groups));
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

static bool load_layer(struct loader *l, size_t index) {
    struct aq_model *m = l->model;
    struct aq_layer *layer = &m->layer[index];
    enum aq_format format = m->precision == AQ_FP16 ? AQ_F16 : m->precision == AQ_W8A8 ? AQ_I8 : AQ_I4;
    const struct {
        const char *name;
        struct aq_matrix *w;
        size_t k, n;
    } linears[] = {
        {"attn_q", &layer->q, m->dim, m->dim},      {"attn_k", &layer->k, m->dim, m->kv_dim},
        {"attn_v", &layer->v, m->dim, m->kv_dim},   {"attn_output", &layer->o, m->dim, m->dim},
        {"ffn_gate", &layer->gate, m->dim, m->ffn}, {"ffn_up", &layer->up, m->dim, m->ffn},
        {"ffn_down", &layer->down, m->ffn, m->dim},
    };
    char name[64];
    snprintf(name, sizeof name, "blk.%zu.attn_norm.weight", index);
    if (!load_vector(l, &layer->attn_norm, name, m->dim)) return false;
    snprintf(name, sizeof name, "blk.%zu.ffn_norm.weight", index);
    if (!load_vector(l, &layer->ffn_norm, name, m->dim)) return false;
    for (size_t i = 0; i < sizeof linears / sizeof *linears; i++) {
        snprintf(name, sizeof name, "blk.%zu.%s", index, linears[i].name);
        if (!load_linear(l, linears[i].w, format, name, linears[i].k, linears[i].n)) return false;
    }
    return true;
}

static bool load_weights(struct loader *l) {
    struct aq_model *m = l->model;
    m->embedding = aq_gguf_data(&m->file, "token_embd.weight", AQ_TENSOR_F16, m->dim, m->vocab, l->err);
    if (!m->embedding || !load_vector(l, &m->output_norm, "output_norm.weight", m->dim)) return false;
    if (aq_gguf_tensor(&m->file, "rope_freqs.weight") &&
        !load_vector(l, &m->rope_freqs, "rope_freqs.weight", m->rope_dim / 2))
        return false;
    for (size_t i = 0; i < m->layers; i++)
        if (!load_layer(l, i)) return false;
    bool tied = m->precision == AQ_FP16 && !aq_gguf_tensor(&m->file, "output.weight");
    return load_linear(l, &m->output, m->precision == AQ_FP16 ? AQ_F16 : AQ_I8, tied ? "token_embd" : "output", m->dim,
                       m->vocab);
}

bool aq_model_load(struct aq_model *m, const char *path, const struct aq_kernels *kernels, struct aq_error *err) {
    *m = (struct aq_model){.kernels = kernels};
    struct loader l = {.model = m, .err = err};
    if (!aq_gguf_open(&m->file, path, err)) return false;
    if (!read_precision(m, &l.group, err) || !read_shape(m, err)) goto failed;
    const struct aq_gguf_key *random = aq_gguf_find(&m->file, "agilequant.random_weights");
    m->random_weights = random && random->type == GGUF_BOOL && random->value[0];
    m->layer = calloc(m->layers, sizeof *m->layer);
    if (!m->layer) {
        aq_fail(err, "memory", "out of memory for %zu layers", m->layers);
        goto failed;
    }
    if (!load_weights(&l)) goto failed;
    m->arena_size = l.total;
    m->arena = aq_big_alloc(m->arena_size, "the model", err);
    if (!m->arena) goto failed;
    l.packing = true;
    if (!load_weights(&l)) goto failed;
    for (size_t i = 0; m->rope_freqs && i < m->rope_dim / 2; i++)
        if (!(m->rope_freqs[i] > 0)) {
            aq_fail(err, "model-corrupt", "rope_freqs.weight has a value that is not positive");
            goto failed;
        }
    return true;
failed:
    aq_model_free(m);
    return false;
}

void aq_model_free(struct aq_model *m) {
    aq_big_free(m->arena, m->arena_size);
    free(m->layer);
    aq_gguf_close(&m->file);
    *m = (struct aq_model){0};
}
