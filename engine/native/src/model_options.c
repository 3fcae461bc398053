// The options of a pack (docs/packed-model.md, "Format 2") that stand in its keys. Those in tensors: model_load.c.
#include "model.h"

#include <math.h>

// A value a layer, finite and in 0..high. *out stays as it is when there is no such key and it is not needed.
static bool read_per_layer(struct aq_model *m, const char *key, bool needed, float high, size_t offset,
                           struct aq_error *err) {
    if (!needed && !aq_gguf_find(&m->file, key)) return true;
    for (size_t i = 0; i < m->layers; i++) {
        float value;
        if (!aq_gguf_float_at(&m->file, key, m->layers, i, &value) || !isfinite(value) || value < 0 || value > high)
            return aq_fail(err, "model-corrupt", "%s must have %zu fp32 values in 0..%g", key, m->layers, (double)high);
        *(float *)(void *)((uint8_t *)&m->layer[i] + offset) = value;
    }
    return true;
}

static bool read_limits(struct aq_model *m, struct aq_error *err) {
    static const char key[] = "agilequant.activation_limits";
    bool given = aq_gguf_find(&m->file, key) != NULL;
    for (size_t i = 0; i < m->layers * AQ_PLACES; i++) {
        uint32_t limit = m->base == AQ_BASE_W4A4 ? 7 : 127;
        if (given &&
            (!aq_gguf_uint_at(&m->file, key, m->layers * AQ_PLACES, i, &limit) || (limit != 7 && limit != 127)))
            return aq_fail(err, "model-corrupt", "%s must have %zu values of 7 or 127", key, m->layers * AQ_PLACES);
        m->layer[i / AQ_PLACES].limit[i % AQ_PLACES] = (int)limit;
    }
    return true;
}

static bool read_probabilities(struct aq_model *m, struct aq_error *err) {
    static const char key[] = "agilequant.probabilities", *const names[] = {"fp32", "log2", "uniform"};
    m->probabilities = m->base == AQ_BASE_W4A4 ? AQ_PROBABILITIES_LOG2 : AQ_PROBABILITIES_FP32;
    if (!aq_gguf_find(&m->file, key)) return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (aq_gguf_is_string(&m->file, key, names[i])) {
            m->probabilities = (enum aq_probabilities)i;
            return true;
        }
    return aq_fail(err, "model-unsupported", "%s is none of fp32, log2, uniform", key);
}

// Two sets, the second of prompts that do not begin with the start token; absent: the first.
static bool read_thresholds(struct aq_model *m, const char *key, const char *other, size_t offset,
                            struct aq_error *err) {
    if (!read_per_layer(m, key, true, 1e6f, offset, err)) return false;
    for (size_t i = 0; i < m->layers; i++) {
        float *thresholds = (float *)(void *)((uint8_t *)&m->layer[i] + offset);
        thresholds[1] = thresholds[0];
    }
    return read_per_layer(m, other, false, 1e6f, offset + sizeof(float), err);
}

static bool read_low(struct aq_model *m, struct aq_error *err) {
    m->low = aq_gguf_find(&m->file, "agilequant.low.ratio") || aq_gguf_find(&m->file, "agilequant.low.thresholds");
    if (m->low && !aq_model_quantized(m))
        return aq_fail(err, "model-corrupt", "4-bit tokens need a precision with integer activations");
    return !m->low || read_thresholds(m, "agilequant.low.thresholds", "agilequant.low.thresholds_other",
                                      offsetof(struct aq_layer, low_below), err);
}

static bool read_prune(struct aq_model *m, struct aq_error *err) {
    static const char key[] = "agilequant.prune.mode";
    if (!aq_gguf_find(&m->file, key)) return true;
    bool paper = aq_gguf_is_string(&m->file, key, "paper");
    if (!paper && !aq_gguf_is_string(&m->file, key, "threshold"))
        return aq_fail(err, "model-unsupported", "%s is neither threshold nor paper", key);
    m->prune = paper ? AQ_PRUNE_PAPER : AQ_PRUNE_THRESHOLD;
    return paper ? read_per_layer(m, "agilequant.prune.keep", true, 1.0f, offsetof(struct aq_layer, keep), err)
                 : read_thresholds(m, "agilequant.prune.thresholds", "agilequant.prune.thresholds_other",
                                   offsetof(struct aq_layer, prune_below), err);
}

bool aq_model_read_options(struct aq_model *m, struct aq_error *err) {
    for (size_t i = 0; i < m->layers; i++) m->layer[i].keep = 1.0f;
    uint64_t kv_bits = 16;
    if (aq_gguf_find(&m->file, "agilequant.kv_bits") &&
        (!aq_gguf_uint(&m->file, "agilequant.kv_bits", &kv_bits) || (kv_bits != 8 && kv_bits != 16)))
        return aq_fail(err, "model-unsupported", "agilequant.kv_bits is neither 8 nor 16");
    m->int8_kv = kv_bits == 8;
    m->start_token = UINT64_MAX;
    if (aq_gguf_find(&m->file, "agilequant.start_token") &&
        !aq_gguf_uint(&m->file, "agilequant.start_token", &m->start_token))
        return aq_fail(err, "model-corrupt", "agilequant.start_token is no whole number");
    return read_limits(m, err) && read_probabilities(m, err) && read_low(m, err) && read_prune(m, err);
}
