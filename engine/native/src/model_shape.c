// What the keys of a pack say: its architecture, its shape and its precision.
#include "model.h"

#include <stdio.h>
#include <string.h>

// int32 accumulators hold rows up to this length (docs/packed-model.md).
enum { MAX_ROW = 131072, MAX_LAYERS = 1024, MAX_HEADS = 4096, MAX_VOCAB = 1 << 24, MAX_CONTEXT = 1 << 24 };

static const struct aq_architecture architectures[] = {
    {.name = "llama", .norm = AQ_RMSNORM, .activation = AQ_SWIGLU, .positions = AQ_ROPE},
    {.name = "opt", .norm = AQ_LAYERNORM, .activation = AQ_RELU, .positions = AQ_LEARNED},
    {.name = "bloom",
     .norm = AQ_LAYERNORM,
     .activation = AQ_GELU,
     .positions = AQ_ALIBI,
     .fused_qkv = true,
     .embedding_norm = true},
};

// The architecture's key of that name.
struct key_name {
    char text[96];
};

static struct key_name key_of(const struct aq_model *m, const char *name) {
    struct key_name key;
    snprintf(key.text, sizeof key.text, "%s.%s", m->arch->name, name);
    return key;
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

static bool need(const struct aq_model *m, const char *name, uint64_t low, uint64_t high, size_t *out,
                 struct aq_error *err) {
    struct key_name key = key_of(m, name);
    return need_size(&m->file, key.text, low, high, out, err);
}

// As `need`, but *out stays as it is when there is no such key.
static bool may_have(const struct aq_model *m, const char *name, uint64_t low, uint64_t high, size_t *out,
                     struct aq_error *err) {
    struct key_name key = key_of(m, name);
    return !aq_gguf_find(&m->file, key.text) || need_size(&m->file, key.text, low, high, out, err);
}

static bool read_architecture(struct aq_model *m, struct aq_error *err) {
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++)
        if (aq_gguf_is_string(&m->file, "general.architecture", architectures[i].name)) {
            m->arch = &architectures[i];
            return true;
        }
    return aq_fail(err, "model-unsupported", "general.architecture is none of those supported: llama, opt, bloom");
}

// An option of a precision's name: its word, with a share behind it or without.
static bool is_option(const char *text, size_t length) {
    static const struct {
        const char *word;
        bool share;
    } options[] = {{"gptq", false},       {"asym", false}, {"trip", false},    {"trip-static", false},
                   {"mixed", false},      {"log2", false}, {"uniform", false}, {"softmax", false},
                   {"prune-paper", true}, {"prune", true}, {"low", true},      {"kv8", false}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        size_t word = strlen(options[i].word);
        if (length < word || memcmp(text, options[i].word, word) != 0) continue;
        if (length == word) return !options[i].share;
        if (options[i].share && strspn(text + word, "0123456789.") >= length - word) return true;
    }
    return false;
}

// BASE[+OPTION...]; sets the base. What the options mean stands in keys of their own.
static bool read_name(struct aq_model *m, const char *const bases[AQ_BASES], uint64_t format, struct aq_error *err) {
    size_t length = 0;
    const char *found = aq_gguf_string(&m->file, "agilequant.precision", &length);
    char name[128];
    if (!found || length >= sizeof name) return aq_fail(err, "model-corrupt", "agilequant.precision is no name");
    memcpy(name, found, length);
    name[length] = '\0';
    size_t base = 0, end = strcspn(name, "+");
    while (base < AQ_BASES && (strlen(bases[base]) != end || memcmp(bases[base], name, end) != 0)) base++;
    if (base == AQ_BASES || (format == 1 && (base == AQ_BASE_BF16 || end != length)))
        return aq_fail(err, "model-unsupported",
                       "pack format %u cannot have this precision; this engine knows fp16, bf16, w8a8, w4a8 and w4a4",
                       (unsigned)format);
    m->base = (enum aq_base)base;
    while (end < length) {
        size_t start = end + 1, option = strcspn(name + start, "+");
        if (!is_option(name + start, option))
            return aq_fail(
                err, "model-unsupported",
                "this engine knows the options gptq, asym, trip, trip-static, mixed, log2, uniform, softmax, "
                "low, prune, prune-paper and kv8; update it or pack the model without others");
        end = start + option;
    }
    return true;
}

static bool read_precision(struct aq_model *m, struct aq_error *err) {
    static const char *const names[AQ_BASES] = {"fp16", "bf16", "w8a8", "w4a8", "w4a4"};
    static const uint8_t bits[AQ_BASES][2] = {{16, 16}, {16, 16}, {8, 8}, {4, 8}, {4, 4}};
    const struct aq_gguf *g = &m->file;
    if (!aq_gguf_find(g, "agilequant.precision")) return true; // any llama.cpp file with F16 tensors
    uint64_t format, w, a;
    if (!aq_gguf_uint(g, "agilequant.format", &format) || format < 1 || format > 2)
        return aq_fail(err, "model-unsupported",
                       "this engine reads the pack formats 1 and 2; update the engine or pack the model again");
    if (!read_name(m, names, format, err)) return false;
    if ((aq_gguf_uint(g, "agilequant.weight_bits", &w) && w != bits[m->base][0]) ||
        (aq_gguf_uint(g, "agilequant.activation_bits", &a) && a != bits[m->base][1]))
        return aq_fail(err, "model-corrupt", "weight or activation bits contradict the precision");
    if (m->base < AQ_BASE_W4A8) return true;
    if (!need_size(g, "agilequant.group_size", 0, 128, &m->group, err)) return false;
    if (m->group != 0 && m->group != 32 && m->group != 64 && m->group != 128)
        return aq_fail(err, "model-unsupported", "group size %zu is not one of 0, 32, 64, 128", m->group);
    return true;
}

static bool read_rope(struct aq_model *m, struct aq_error *err) {
    const struct aq_gguf *g = &m->file;
    struct key_name scaling = key_of(m, "rope.scaling.type"), base = key_of(m, "rope.freq_base");
    m->rope_dim = m->head_dim;
    if (!may_have(m, "rope.dimension_count", 2, m->head_dim, &m->rope_dim, err)) return false;
    if (m->rope_dim % 2) return aq_fail(err, "model-unsupported", "odd number of rotary channels (%zu)", m->rope_dim);
    if (aq_gguf_find(g, scaling.text) && !aq_gguf_is_string(g, scaling.text, "none"))
        return aq_fail(err, "model-unsupported", "RoPE scaling by key is not supported (rope_freqs.weight is)");
    m->rope_base = 10000.0;
    if (aq_gguf_find(g, base.text) &&
        (!aq_gguf_float(g, base.text, &m->rope_base) || !(m->rope_base >= 1 && m->rope_base < 1e12)))
        return aq_fail(err, "model-corrupt", "%s is impossible", base.text);
    return true;
}

static bool read_heads(struct aq_model *m, struct aq_error *err) {
    if (!need(m, "attention.head_count", 1, MAX_HEADS, &m->heads, err)) return false;
    m->kv_heads = m->heads;
    if (!may_have(m, "attention.head_count_kv", 1, m->heads, &m->kv_heads, err)) return false;
    if (m->dim % m->heads || m->heads % m->kv_heads)
        return aq_fail(err, "model-unsupported", "%zu heads divide neither %zu channels nor into %zu key-value heads",
                       m->heads, m->dim, m->kv_heads);
    if (m->arch->fused_qkv && m->kv_heads != m->heads)
        return aq_fail(err, "model-unsupported", "%s has as many key-value heads as heads, not %zu of %zu",
                       m->arch->name, m->kv_heads, m->heads);
    m->head_dim = m->dim / m->heads;
    m->kv_dim = m->head_dim * m->kv_heads;
    size_t key_length = m->head_dim;
    if (!may_have(m, "attention.key_length", 0, UINT32_MAX, &key_length, err)) return false;
    if (key_length != m->head_dim)
        return aq_fail(err, "model-unsupported", "heads of a size other than channels / heads are not supported");
    return true;
}

static bool read_vocabulary(struct aq_model *m, struct aq_error *err) {
    const struct aq_gguf_tensor *t = aq_gguf_tensor(&m->file, "token_embd.weight");
    if (!t) return aq_fail(err, "model-corrupt", "tensor token_embd.weight is missing");
    if (t->size[1] < 1 || t->size[1] > MAX_VOCAB)
        return aq_fail(err, "model-unsupported", "vocabulary of %llu entries", (unsigned long long)t->size[1]);
    m->vocab = (size_t)t->size[1];
    return true;
}

static bool read_shape(struct aq_model *m, struct aq_error *err) {
    const struct aq_gguf *g = &m->file;
    if (!need(m, "embedding_length", 1, MAX_ROW, &m->dim, err) ||
        !need(m, "feed_forward_length", 1, MAX_ROW, &m->ffn, err) ||
        !need(m, "block_count", 1, MAX_LAYERS, &m->layers, err) ||
        !need(m, "context_length", 1, MAX_CONTEXT, &m->context, err) || !read_heads(m, err))
        return false;
    if (m->arch->positions == AQ_ROPE && !read_rope(m, err)) return false;
    m->width = m->dim;
    if (!may_have(m, "embedding_projection", 1, MAX_ROW, &m->width, err)) return false;
    struct key_name after = key_of(m, "norm_after");
    m->norm_after = aq_gguf_is_true(g, after.text);
    struct key_name epsilon =
        key_of(m, m->arch->norm == AQ_RMSNORM ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon");
    double value;
    if (!aq_gguf_float(g, epsilon.text, &value) || !(value >= 0 && value < 1))
        return aq_fail(err, "model-corrupt", "%s is missing or impossible", epsilon.text);
    m->epsilon = (float)value;
    return read_vocabulary(m, err);
}

bool aq_model_read_keys(struct aq_model *m, struct aq_error *err) {
    m->random_weights = aq_gguf_is_true(&m->file, "agilequant.random_weights");
    return read_architecture(m, err) && read_precision(m, err) && read_shape(m, err);
}
