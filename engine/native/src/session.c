// A session's memory: one piece, carved into buffers of known strides.
#include "session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Strides that are multiples of a kilobyte would put the rows of a tile into the same few cache sets.
static size_t row_stride(size_t n) {
    n = aq_round_up(n, 16);
    return n % 256 == 0 ? n + 16 : n;
}

// Gives out 64-byte aligned pieces; with base NULL it only counts.
struct carver {
    uint8_t *base;
    size_t used;
    bool overflow;
};

static void *carve(struct carver *c, size_t a, size_t b, size_t unit) {
    size_t bytes;
    if (!aq_mul(a, b, &bytes) || !aq_mul(bytes, unit, &bytes) || bytes > SIZE_MAX / 4 || c->used > SIZE_MAX / 4) {
        c->overflow = true;
        return NULL;
    }
    void *p = c->base ? c->base + c->used : NULL;
    c->used += aq_round_up(bytes, 64);
    return p;
}

static void lay_out_selection(struct aq_session *s, struct carver *c) {
    const struct aq_model *m = s->model;
    s->token = carve(c, s->chunk, 1, 4);
    s->order = carve(c, s->chunk, 1, 4);
    s->feed_slot = carve(c, s->chunk, 1, 4);
    s->feed_token = carve(c, s->chunk, 1, 4);
    s->is_low = carve(c, s->chunk, 1, sizeof(bool));
    s->has_left = carve(c, s->chunk, 1, sizeof(bool));
    if (!m->low && m->prune == AQ_PRUNE_NONE) return;
    s->first = carve(c, s->chunk, m->heads, 4);
    s->importance = carve(c, s->chunk, 1, 4);
    s->ranked = carve(c, s->chunk, 1, sizeof *s->ranked);
}

static void lay_out_cache(struct aq_session *s, struct carver *c) {
    const struct aq_model *m = s->model;
    size_t nr = s->kernels->panel[AQ_F16], capacity = aq_round_up(s->context, nr), heads = m->layers * m->kv_heads;
    s->length = carve(c, m->layers, 1, sizeof *s->length);
    s->added = carve(c, m->layers, 1, sizeof *s->added);
    s->head_keys = capacity * m->head_dim;
    s->head_values = aq_round_up(m->head_dim, nr) * capacity;
    if (m->int8_kv) {
        s->keys8 = carve(c, heads, s->head_keys, 1);
        s->values8 = carve(c, heads, s->head_values, 1);
        s->key_scales = carve(c, heads, capacity, 4);
        s->value_scales = carve(c, heads, capacity, 4);
    } else {
        s->keys = carve(c, heads, s->head_keys, 2);
        s->values = carve(c, heads, s->head_values, 2);
    }
}

static void lay_out(struct aq_session *s, struct carver *c) {
    const struct aq_model *m = s->model;
    size_t nr = s->kernels->panel[AQ_F16], widest = aq_max(aq_max(m->dim, m->width), m->ffn), half = m->rope_dim / 2;
    s->ld = row_stride(m->dim);
    s->ld_qkv = row_stride(m->dim + 2 * m->kv_dim);
    s->ld_ffn = row_stride(m->ffn);
    s->ld_width = row_stride(m->width);
    s->ld_scores = row_stride(s->context);
    s->x = carve(c, s->chunk, s->ld, 4);
    s->normed = carve(c, s->chunk, s->ld, 4);
    s->qkv = carve(c, s->chunk, s->ld_qkv, 4);
    s->mixed = carve(c, s->chunk, s->ld, 4);
    s->gate = carve(c, s->chunk, s->ld_ffn, 4);
    if (m->arch->activation == AQ_SWIGLU) s->up = carve(c, s->chunk, s->ld_ffn, 4);
    if (m->width != m->dim) s->embedded = carve(c, s->chunk, s->ld_width, 4);
    s->logits = carve(c, s->logit_rows, m->vocab, 4);
    lay_out_selection(s, c);
    if (m->arch->positions == AQ_ROPE) {
        s->cosine = carve(c, s->context, half, 4);
        s->sine = carve(c, s->context, half, 4);
    } else if (m->arch->positions == AQ_ALIBI) {
        s->slopes = carve(c, m->heads, 1, 4);
        s->key_positions = carve(c, s->context, m->prune == AQ_PRUNE_THRESHOLD ? m->layers : 1, 4);
    }
    s->quantized.ld = aq_round_up(widest, 128) + 32;
    bool rounds = s->kernels->product_half; // fp16 packs round their rows to fp16 then
    if (m->base != AQ_BASE_FP16 || rounds) s->quantized.q16 = carve(c, s->chunk, s->quantized.ld, 2);
    if (aq_model_quantized(m) || rounds) s->quantized.scale = carve(c, s->chunk, 1, 4);
    if (aq_model_quantized(m)) {
        s->quantized.q = carve(c, s->chunk, s->quantized.ld, 1);
        s->quantized.offsets = carve(c, s->chunk, s->quantized.ld / 32, 4);
    }
    lay_out_cache(s, c);
    s->scratch_kernel = aq_round_up(s->kernels->scratch_bytes(widest), 64);
    s->scratch_scores = aq_round_up(aq_max(AQ_TILE, m->heads) * s->ld_scores * 4, 64);
    size_t wide = aq_round_up(m->head_dim, nr);
    s->scratch_tile = m->int8_kv ? AQ_F16_BLOCK * wide * 2 : 0;
    size_t given = m->int8_kv ? aq_round_up(aq_max(AQ_TILE, m->heads) * wide * 4, 64) : 0;
    s->scratch_thread = s->scratch_kernel + s->scratch_scores + s->scratch_tile + given;
    s->scratch = carve(c, aq_pool_threads(s->pool), s->scratch_thread, 1);
}

// Angles pos * base^(-2i/d) / freqs[i] in fp64.
static void fill_rope(struct aq_session *s) {
    const struct aq_model *m = s->model;
    size_t half = m->rope_dim / 2;
    for (size_t i = 0; i < half; i++) {
        double frequency = pow(m->rope_base, -2.0 * (double)i / (double)m->rope_dim);
        if (m->rope_freqs) frequency /= (double)m->rope_freqs[i];
        for (size_t p = 0; p < s->context; p++) {
            s->cosine[p * half + i] = (float)cos((double)p * frequency);
            s->sine[p * half + i] = (float)sin((double)p * frequency);
        }
    }
}

// With n the largest power of 2 not above the heads: 2^(-8 (h + 1) / n), from head n on 2^(-4 (2 (h - n) + 1) / n).
static void fill_alibi(struct aq_session *s) {
    size_t heads = s->model->heads, n = 1;
    while (2 * n <= heads) n *= 2;
    for (size_t h = 0; h < heads; h++) {
        double exponent = h < n ? -8.0 * (double)(h + 1) : -4.0 * (double)(2 * (h - n) + 1);
        s->slopes[h] = (float)pow(2.0, exponent / (double)n);
    }
    // Where rows leave by threshold, entries get their positions when they are stored.
    for (size_t p = 0; p < s->context; p++) s->key_positions[p] = (float)p;
}

struct aq_session *aq_session_create(const struct aq_model *model, struct aq_pool *pool, size_t context, size_t chunk,
                                     size_t logit_rows, const atomic_bool *stop, struct aq_error *err) {
    if (context < 1 || context > (1u << 24) || chunk < 1 || chunk > (1u << 16) || logit_rows < 1) {
        aq_fail(err, "plan", "context %zu or chunk %zu is out of range", context, chunk);
        return NULL;
    }
    if (model->positions && context > model->context) {
        aq_fail(err, "plan", "context %zu: this model has learned positions for %zu tokens only", context,
                model->context);
        return NULL;
    }
    if (model->prune == AQ_PRUNE_PAPER) { // the share that leaves is of the whole prompt
        if (context > 1u << 16) {
            aq_fail(err, "plan", "context %zu: packs that prune as in the paper run a prompt in one piece, up to 65536",
                    context);
            return NULL;
        }
        chunk = context;
    }
    struct aq_session *s = calloc(1, sizeof *s);
    if (!s) {
        aq_fail(err, "memory", "out of memory for a session");
        return NULL;
    }
    s->model = model;
    s->kernels = model->kernels;
    s->pool = pool;
    s->stop = stop;
    s->context = context;
    s->chunk = aq_min(chunk, context);
    s->logit_rows = aq_min(logit_rows, s->chunk);
    struct carver counter = {0};
    lay_out(s, &counter);
    if (counter.overflow) {
        aq_fail(err, "memory", "context %zu with %zu rows a step is too big", context, chunk);
        free(s);
        return NULL;
    }
    s->memory_size = counter.used;
    s->memory = aq_big_alloc(counter.used, "the KV cache and buffers", err);
    if (!s->memory) {
        free(s);
        return NULL;
    }
    struct carver c = {.base = s->memory};
    lay_out(s, &c);
    if (model->arch->positions == AQ_ROPE) fill_rope(s);
    if (model->arch->positions == AQ_ALIBI) fill_alibi(s);
    return s;
}

void aq_session_free(struct aq_session *s) {
    if (!s) return;
    aq_big_free(s->memory, s->memory_size);
    free(s);
}

void aq_session_reset(struct aq_session *s) {
    s->position = 0;
    s->rows = 0;
    s->rows_ran = s->rows_given = 0;
    memset(s->length, 0, s->model->layers * sizeof *s->length);
}

size_t aq_session_chunk(const struct aq_session *s) {
    return s->chunk;
}

bool aq_session_stayed(const struct aq_session *s, size_t row) {
    return !s->has_left[row];
}

double aq_session_row_share(const struct aq_session *s) {
    return s->rows_given ? (double)s->rows_ran / (double)s->rows_given : 1.0;
}
